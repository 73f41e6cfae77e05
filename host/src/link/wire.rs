//! The requests that the host itself makes while somebody signs in: one shape in, one shape out.
//!
//! All of them go through the connector's own egress, to URLs of the manifest's `[[auth]]` and nowhere else. What matters to callers is what a
//! missing answer *means*: [`CallError::NotSent`] changed nothing at the provider, [`CallError::Lost`] may have. A refresh whose answer was lost may
//! have used up its token, so the two are told apart here, once.

use crate::modules::Connector;
use sluice_gate::{Egress, HostRequest, HostRequestError};
use sluice_vault::Secret;
use url::Url;

/// A request of the host.
#[derive(Default)]
pub(super) struct Call {
    pub method: String,
    pub url: String,
    pub query: Vec<(String, Secret)>,
    pub form: Vec<(String, Secret)>,
    pub json: Option<Secret>,
    pub headers: Vec<(String, Secret)>,
    pub basic: Option<(String, Secret)>,
}

/// What came back.
pub(super) struct Answer {
    pub status: u16,
    pub body: Secret,
    /// As the provider wrote it.
    pub retry_after: Option<String>,
}

/// Why nothing did. Holds no query, no header and no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// Not allowed by the gate: nothing was sent.
    #[error("the request was refused by the gate: {0}")]
    Refused(String),
    /// No connection: the provider has seen nothing of it.
    #[error("the provider could not be reached: {0}")]
    NotSent(String),
    /// It went out; whether it was acted on nobody knows.
    #[error("the provider's answer was lost: {0}")]
    Lost(String),
}

/// Sends it. The gate allows it less than a minute altogether, far less than a run's lease, so that nobody else takes a connection over while its
/// refresh is under way.
pub(super) async fn send(egress: &Egress, call: Call) -> Result<Answer, CallError> {
    let Call { method, url, query, form, json, headers, basic } = call;
    let request = HostRequest { method, url, query, form, json, headers, basic, accept_json: true };
    let response = egress.host_request(request).await.map_err(|error| {
        let why = error.to_string();
        match error {
            HostRequestError::Denied(_) | HostRequestError::Invalid(_) => CallError::Refused(why),
            HostRequestError::Unreachable(_) => CallError::NotSent(why),
            // Whatever is not known to have stayed here may have arrived.
            _ => CallError::Lost(why),
        }
    })?;
    let retry_after = response.headers.into_iter().find(|(name, _)| name == "retry-after").map(|(_, value)| value);
    Ok(Answer { status: response.status, body: response.body, retry_after })
}

/// Where a URL of the manifest is really served: what a browser must be sent to.
pub(super) fn upstream(connector: &Connector, url: &Url) -> Url {
    connector.egress.upstream_of(url)
}
