//! Sign-in dances, exchanges, renewal and taking back: everything between a person's account at a provider and a connection's sealed keys.
//!
//! The problem: one OAuth client serves connectors that do not trust each other, for people who do not know each other, at providers that each read
//! the RFCs in their own way. A code must reach the token endpoint of the provider it came from and no other; a sign-in must end in the browser where it
//! began; a token must never be lost to a crash, printed in an error, or used by two at once.
//!
//! The contract, by file:
//! - `begin`, `flow`, `finish`: from the button to the provider and back. A flow is single use, ten minutes long, and bound to connector, profile,
//!   session and person; all of that is judged before any request goes out. `issuer` is RFC 9207, `pkce` RFC 7636.
//! - `settle`: the connector says whose account it is; the same account is the same connection. Also the way in by a form.
//! - `token_request`, `token_answer`, `exchange`, `template`: what the host sends itself, and the readers of what comes back, which are total.
//! - `refresh`: one at a time, intent before request, commit before use.
//! - `ending`: keys that end and that only the person can replace.
//! - `disconnect`, `revoke`: the local secret goes at once, the grant as soon as the provider lets it.
//! - `registration`, `misconfigured`: the operator's side.
//! - `keyring`, `wire`, `error`: the open keys, the one way out, and errors in two voices.
//!
//! What is deliberately absent: SQL, sockets and wasm. Rows go to the store, requests through the connector's own egress to URLs of its manifest's
//! `[[auth]]` only, `identify` through `runs`. And no session of this host is ever made of what a provider or connector says about a person.

mod begin;
mod disconnect;
mod ending;
mod error;
mod exchange;
mod finish;
mod flow;
mod issuer;
mod keyring;
#[cfg(test)]
mod loopback_tests;
mod misconfigured;
mod pkce;
mod refresh;
mod registration;
mod revoke;
mod settle;
mod template;
pub mod token_answer;
mod token_request;
mod wire;

pub use begin::{Begin, Started, authorize_origin, begin};
pub use disconnect::{Disconnected, Removed, Revoked, disconnect, revocations, revoke_due};
pub use ending::key_ends_soon;
pub use error::{LinkError, LinkErrorKind};
pub use finish::{Callback, finish};
pub use refresh::{BEFORE_END_MS, Grants, RefreshError, can_refresh, data_key, keys, needs_refresh, refresh};
pub use registration::{callback_url, setup_of, setup_text};
pub use settle::{Linked, link_fields};
