//! A sign-in under way: begun by a signed-in person, finished once, by the same browser, within ten minutes, at the connector it was begun for.
//!
//! The row is found by the SHA-256 of a random value that only the provider's redirect carries, and it is removed by being looked up: whatever the
//! judgement, a second look finds nothing. What must not be read from the database (the PKCE verifier) is sealed, bound to the flow it belongs to.
//! [`Pending::judge`] is the whole of what stands between a callback and the first request to a token endpoint.

use super::error::{LinkError, LinkErrorKind};
use sluice_model::UserId;
use sluice_store::Flow;
use sluice_vault::{SealError, Secret, Vault};

/// How long a person has at the provider. GitHub's code lives as long, Last.fm's token an hour.
pub(super) const LIFETIME_MS: i64 = 10 * 60_000;

/// What is sealed in the row.
pub(super) struct Pending {
    /// Where the provider was told to send the person; the token request must repeat it.
    pub redirect_uri: String,
    /// PKCE's.
    pub verifier: Option<Secret>,
}

/// Who and what a callback comes with.
pub(super) struct Arrival<'a> {
    pub connector: &'a str,
    pub profile: &'a str,
    pub session: Option<[u8; 32]>,
    pub user: Option<UserId>,
    pub now: i64,
}

impl Pending {
    fn context(connector: &str, profile: &str, state_hash: &[u8; 32]) -> String {
        let hex: String = state_hash.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("flow/{connector}/{profile}/{hex}")
    }

    pub fn seal(&self, vault: &Vault, connector: &str, profile: &str, state_hash: &[u8; 32]) -> Vec<u8> {
        // One line each; neither can hold a newline.
        let mut plain = zeroize::Zeroizing::new(self.redirect_uri.clone().into_bytes());
        plain.push(b'\n');
        plain.extend_from_slice(self.verifier.as_ref().map_or(&[][..], Secret::expose));
        vault.seal(&Self::context(connector, profile, state_hash), &plain)
    }

    pub fn open(vault: &Vault, flow: &Flow) -> Result<Self, SealError> {
        let plain = vault.open_sealed(&Self::context(&flow.connector, &flow.profile, &flow.state_hash), &flow.sealed)?;
        let (redirect_uri, verifier) = plain.expose_str().and_then(|text| text.split_once('\n')).ok_or(SealError::Malformed)?;
        let verifier = (!verifier.is_empty()).then(|| Secret::text(verifier.to_owned()));
        Ok(Self { redirect_uri: redirect_uri.to_owned(), verifier })
    }
}

/// Does this callback finish this flow? The row is gone already.
///
/// # Errors
/// What does not fit; the internal text goes to the audit log.
pub(super) fn judge(flow: &Flow, arrival: &Arrival<'_>) -> Result<(), LinkError> {
    let refused = |kind, public: &str, why: &str| {
        let internal = format!(
            "callback at {}/{} of a sign-in begun for {}/{}: {why}",
            arrival.connector, arrival.profile, flow.connector, flow.profile
        );
        Err(LinkError::new(kind, public, internal))
    };
    // First of all: a code must never reach a token endpoint other than that of the provider it was asked from.
    if flow.connector != arrival.connector || flow.profile != arrival.profile {
        return refused(
            LinkErrorKind::NotYours,
            "this answer belongs to the sign-in of another provider; nothing was linked, start again from the page of the provider you want",
            "another connector or profile",
        );
    }
    // A flow without a session could be finished by anybody; begin makes none such.
    if flow.session.is_none() || flow.session != arrival.session || arrival.user != Some(flow.user) {
        return refused(
            LinkErrorKind::NotYours,
            "this sign-in was begun in another browser, or before you signed in here; nothing was linked, start it again in this one",
            "another session",
        );
    }
    // Both ends: a clock that was set back must not make a sign-in live for ever.
    if arrival.now >= flow.expires_at || arrival.now < flow.created_at - LIFETIME_MS {
        return refused(LinkErrorKind::Expired, "this sign-in took longer than ten minutes; start it again", "expired");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_vault::OsRandom;
    use std::sync::Arc;

    fn flow() -> Flow {
        Flow {
            state_hash: [7; 32],
            session: Some([1; 32]),
            user: UserId(3),
            connector: "honest".into(),
            profile: "app".into(),
            relink: None,
            sealed: Vec::new(),
            created_at: 1_000_000,
            expires_at: 1_000_000 + LIFETIME_MS,
        }
    }

    fn arrival() -> Arrival<'static> {
        Arrival { connector: "honest", profile: "app", session: Some([1; 32]), user: Some(UserId(3)), now: 1_000_001 }
    }

    fn check(change: impl Fn(&mut Flow, &mut Arrival<'static>)) -> Option<LinkErrorKind> {
        let (mut flow, mut arrival) = (flow(), arrival());
        change(&mut flow, &mut arrival);
        judge(&flow, &arrival).err().map(|error| error.kind())
    }

    #[test]
    fn only_the_browser_that_began_finishes_where_it_began_and_in_time() {
        use LinkErrorKind::{Expired, NotYours};
        assert_eq!(check(|_, _| {}), None);
        assert_eq!(check(|_, a| a.connector = "hostile"), Some(NotYours));
        assert_eq!(check(|_, a| a.profile = "other"), Some(NotYours));
        assert_eq!(check(|_, a| a.session = Some([2; 32])), Some(NotYours));
        assert_eq!(check(|_, a| a.session = None), Some(NotYours));
        assert_eq!(check(|_, a| a.user = Some(UserId(4))), Some(NotYours));
        assert_eq!(check(|_, a| a.user = None), Some(NotYours));
        assert_eq!(check(|f, a| (f.session, a.session) = (None, None)), Some(NotYours));
        assert_eq!(check(|f, a| a.now = f.expires_at - 1), None);
        assert_eq!(check(|f, a| a.now = f.expires_at), Some(Expired));
        assert_eq!(check(|_, a| a.now = 0), Some(Expired));
        // The wrong place counts before the wrong session: no order of mistakes reaches a token endpoint.
        assert_eq!(check(|_, a| (a.connector, a.session) = ("hostile", None)), Some(NotYours));
    }

    #[test]
    fn what_is_sealed_opens_for_its_own_flow_only() {
        let dir = tempfile::tempdir().unwrap();
        let (vault, _) = Vault::open(&dir.path().join("key"), false, Arc::new(OsRandom)).unwrap();
        for verifier in [None, Some("v".repeat(43))] {
            let pending = Pending {
                redirect_uri: "https://s.example/connect/honest/app/callback".into(),
                verifier: verifier.clone().map(Secret::text),
            };
            let mut flow = flow();
            flow.sealed = pending.seal(&vault, &flow.connector, &flow.profile, &flow.state_hash);
            let opened = Pending::open(&vault, &flow).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(opened.redirect_uri, pending.redirect_uri);
            assert_eq!(opened.verifier.as_ref().and_then(Secret::expose_str), verifier.as_deref());
            for change in [
                |f: &mut Flow| f.connector = "hostile".into(),
                |f: &mut Flow| f.profile = "b".into(),
                |f: &mut Flow| f.state_hash = [8; 32],
            ] {
                let mut moved = flow.clone();
                change(&mut moved);
                assert!(Pending::open(&vault, &moved).is_err());
            }
        }
    }
}
