//! Every outbound request of Sluice goes through here, and nothing else opens a connection.
//!
//! The problem: strangers' code says where to go. It must reach the places its grant names and no others, must not see the keys that are put
//! into its requests, and a provider that lies, stalls or floods must not hurt the host.
//!
//! The contract, in the order a request meets it:
//! 1. The URL is parsed once ([`sluice_model::Grant::parse_url`]); from then on only the parsed form counts. Method, origin and path must be in the
//!    grant. Headers that shape framing or that a recipe owns are refused by name.
//! 2. A key gets in by recipe only, and only where the recipe's `to` says. A recipe that does not match is an error: the request never goes bare.
//! 3. Declared quotas are counted before sending. A short wait happens here, a long one is handed back.
//! 4. Names are resolved once, each address is judged, the judged one is dialled, and what was dialled is compared. No proxy, no automatic retry.
//! 5. Redirects are new requests: same rules, at most five.
//! 6. The answer is bounded (headers, bytes on the wire, decoded bytes, time), and scrubbed of the secrets the host holds, before anybody sees it.
//!
//! A [`Gate`] is made once; an [`Egress`] for each connector and revision of its grant, with connections of its own, so that nothing is ever
//! sent over a connection that another grant opened; a [`Session`] for each run. What is shared between sessions is the count of quotas that
//! a whole app shares, nothing else.
#![forbid(unsafe_code)]

mod answer;
mod client;
mod deadline;
mod decode;
mod egress;
mod explain;
mod gate;
mod headers;
mod host_request;
mod inbound;
mod keys;
mod quota;
mod recipe;
mod redirect;
mod resolve;
mod retry_after;
pub mod scrub;
mod seen;
mod session;
mod sign;
mod tls;
mod upstream;
mod wire;

pub use egress::{Egress, EgressError, EgressOptions};
pub use explain::Explanation;
pub use gate::{Gate, GateOptions, Timeouts};
pub use host_request::{HostRequest, HostRequestError, HostResponse};
pub use keys::Keys;
pub use quota::{QuotaState, quota_after};
pub use resolve::{Resolve, SystemResolver};
pub use retry_after::retry_after;
pub use seen::Seen;
pub use session::{Session, SessionOptions};
pub use sign::sign_sorted_md5;
pub use tls::Roots;
pub use upstream::Upstream;
