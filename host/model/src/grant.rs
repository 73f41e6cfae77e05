//! What the operator accepted, in the form that judges a request.

use crate::manifest::{Attach, Manifest};
use url::Url;

/// A connector's grant: the manifest's authority with the operator's settings filled in.
#[derive(Clone, Debug)]
pub struct Grant {}

/// What the grant says of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may be sent.
    Allowed,
    /// It may not, and why, for people (the multi-line text with what is granted and what to do).
    Denied(String),
}

/// Why a URL is not one that Sluice would ever request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadUrl(pub String);

impl Grant {
    /// The grant of a manifest with settings (`base-url` and the like) filled in.
    ///
    /// # Errors
    /// A setting that an origin needs is missing or no origin.
    pub fn new(_manifest: &Manifest, _settings: &[(String, String)]) -> Result<Self, BadUrl> {
        todo!("model helper")
    }

    /// Parses and normalises a guest's URL: absolute http(s), no userinfo, no fragment, no backslash, no control characters, dot segments
    /// (also encoded) resolved or refused.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_url(_text: &str) -> Result<Url, BadUrl> {
        todo!("model helper")
    }

    /// May a request of this method go to this URL?
    #[must_use]
    pub fn decide(&self, _method: &str, _url: &Url) -> Decision {
        todo!("model helper")
    }

    /// The recipe that a guest means by `name` under `profile`.
    #[must_use]
    pub fn recipe(&self, _name: &str, _profile: &str) -> Option<&Attach> {
        todo!("model helper")
    }
}
