//! What one connector may reach under one revision of its grant: recipes parsed once, upstreams, and connections that no other grant shares.

use crate::gate::{Shared, Timeouts};
use crate::recipe::Recipe;
use crate::upstream::{Upstream, Upstreams};
use crate::wire::Wire;
use crate::{Session, SessionOptions};
use sluice_model::manifest::{AuthKind, Quota};
use sluice_model::{Grant, Manifest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use url::Url;

/// What an [`Egress`] is made of.
pub struct EgressOptions {
    /// The connector's name, for refusals.
    pub connector: String,
    /// What the operator accepted.
    pub grant: Arc<Grant>,
    /// What the connector declares: quotas, recipes, the host's own URLs.
    pub manifest: Arc<Manifest>,
    /// Prefixes that are served from elsewhere.
    pub upstreams: Vec<Upstream>,
}

/// Why an egress can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EgressError {
    /// An upstream is no pair of URL prefixes.
    #[error("[[connectors.{connector}.upstream]]: {why}")]
    Upstream {
        /// Whose.
        connector: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The way out for one connector.
pub struct Egress {
    connector: String,
    grant: Arc<Grant>,
    manifest: Arc<Manifest>,
    upstreams: Upstreams,
    /// By profile, then by the name that guests use.
    recipes: BTreeMap<String, BTreeMap<String, Arc<Recipe>>>,
    user_agent: http::HeaderValue,
    wire: Wire,
    shared: Arc<Shared>,
}

impl Egress {
    pub(crate) fn new(shared: Arc<Shared>, options: EgressOptions) -> Result<Self, EgressError> {
        let EgressOptions { connector, grant, manifest, upstreams } = options;
        let upstreams = Upstreams::new(&upstreams).map_err(|why| EgressError::Upstream { connector: connector.clone(), why })?;
        let of_profile = |profile: &str| -> BTreeMap<String, Arc<Recipe>> {
            let named = |name: &str| Some((name.to_owned(), Arc::new(Recipe::new(grant.recipe(name, profile)?))));
            grant.recipes(profile).into_iter().filter_map(named).collect()
        };
        let recipes = manifest.auth.iter().map(|auth| (auth.id.clone(), of_profile(&auth.id))).collect();
        let agent = format!("sluice/{} ({connector} {})", env!("CARGO_PKG_VERSION"), manifest.version);
        let user_agent = http::HeaderValue::from_str(&agent).unwrap_or(http::HeaderValue::from_static("sluice"));
        let wire = Wire::new(&connector, Arc::clone(&shared));
        Ok(Self { connector, grant, manifest, upstreams, recipes, user_agent, wire, shared })
    }

    /// What one run may use of it.
    #[must_use]
    pub fn session(self: &Arc<Self>, options: SessionOptions) -> Session {
        Session::new(Arc::clone(self), options)
    }

    pub(crate) fn connector(&self) -> &str {
        &self.connector
    }

    pub(crate) fn grant(&self) -> &Grant {
        &self.grant
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// Where a URL of the manifest is really served; what a browser is sent to.
    #[must_use]
    pub fn upstream_of(&self, original: &Url) -> Url {
        self.upstreams.forward(original.clone()).url
    }

    pub(crate) fn user_agent(&self) -> http::HeaderValue {
        self.user_agent.clone()
    }

    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.shared.timeouts
    }

    /// The recipe that a guest of this profile means by a name.
    pub(crate) fn recipe(&self, name: &str, profile: &str) -> Option<&Arc<Recipe>> {
        self.recipes.get(profile)?.get(name)
    }

    /// All recipes of a profile.
    pub(crate) fn recipes_of(&self, profile: &str) -> impl Iterator<Item = &Arc<Recipe>> {
        self.recipes.get(profile).into_iter().flat_map(BTreeMap::values)
    }

    /// Whether a recipe of any profile writes this header.
    pub(crate) fn owns_header(&self, name: &str) -> bool {
        self.recipes.values().flat_map(BTreeMap::values).any(|r| r.owns_header(name))
    }

    /// Names of recipes that apply there under some profile.
    pub(crate) fn recipes_at(&self, method: &str, url: &Url) -> Vec<&str> {
        let all = self.recipes.values().flat_map(BTreeMap::values).filter(|r| r.matches(method, url)).map(|r| r.name());
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Quotas that count a request to this URL.
    pub(crate) fn quotas_at(&self, url: &Url) -> impl Iterator<Item = &Quota> {
        self.manifest.quotas.iter().filter(|q| crate::quota::counts(q, url))
    }

    /// URLs that only the host itself requests, with the method where it is known: where tokens are handed out, exchanged and revoked.
    pub(crate) fn host_urls(&self) -> impl Iterator<Item = (Option<&str>, &str)> {
        self.manifest.auth.iter().flat_map(|auth| {
            let (token, revoke) = match &auth.kind {
                AuthKind::Oauth2(o) => (Some(o.token_url.as_str()), o.revoke_url.as_deref()),
                _ => (None, None),
            };
            let exchanges = auth.exchanges.iter().map(|e| (Some(e.method.as_str()), e.url.as_str()));
            token.map(|t| (Some("POST"), t)).into_iter().chain(revoke.map(|r| (None, r))).chain(exchanges)
        })
    }

    #[cfg(test)]
    pub(crate) fn with_rule(mut self, rule: crate::resolve::IpRule) -> Self {
        self.wire = self.wire.with_rule(rule);
        self
    }
}
