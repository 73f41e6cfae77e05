//! The two requests to a token endpoint: a code for a first pair, a refresh token for the next.
//!
//! How the app proves itself is the manifest's `client-auth`. In `basic` the gate form-encodes id and secret first, as RFC 6749 §2.3.1 says; without a
//! secret (a public client) only the id goes, in the body. Nothing here decides what an error means for a connection: see `token_answer` for what
//! the endpoint said and `wire` for what a missing answer says.

use super::keyring::{ACCESS, Keyring, REFRESH};
use super::token_answer::{self, Refusal, TokenAnswer, TokenError};
use super::wire::{self, Call, CallError};
use sluice_gate::Egress;
use sluice_model::manifest::{ClientAuth, Oauth2};
use sluice_vault::Secret;

/// Why there is no answer to read, or none with a token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenRequestError {
    /// No answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// An answer without a token.
    #[error("{error}")]
    Token {
        /// What was wrong with it.
        error: TokenError,
        /// When to come again, as the provider wrote it.
        retry_after: Option<String>,
    },
}

impl TokenRequestError {
    /// The host saw, with its own eyes, that the provider does not know the app.
    pub fn is_invalid_client(&self) -> bool {
        matches!(self, Self::Token { error, .. } if error.class() == Refusal::InvalidClient)
    }
}

/// RFC 6749 §4.1.3.
pub(super) async fn by_code(
    egress: &Egress,
    oauth: &Oauth2,
    ring: &Keyring,
    code: Secret,
    redirect_uri: &str,
    verifier: Option<Secret>,
) -> Result<TokenAnswer, TokenRequestError> {
    let mut form = vec![
        ("grant_type".to_owned(), Secret::text("authorization_code".into())),
        ("code".to_owned(), code),
        ("redirect_uri".to_owned(), Secret::text(redirect_uri.to_owned())),
    ];
    form.extend(verifier.map(|verifier| ("code_verifier".to_owned(), verifier)));
    send(egress, oauth, ring, form).await
}

/// RFC 6749 §6.
pub(super) async fn by_refresh_token(
    egress: &Egress,
    oauth: &Oauth2,
    ring: &Keyring,
    refresh: Secret,
) -> Result<TokenAnswer, TokenRequestError> {
    let form = vec![("grant_type".to_owned(), Secret::text("refresh_token".into())), ("refresh_token".to_owned(), refresh)];
    send(egress, oauth, ring, form).await
}

async fn send(egress: &Egress, oauth: &Oauth2, ring: &Keyring, mut form: Vec<(String, Secret)>) -> Result<TokenAnswer, TokenRequestError> {
    let basic = prove(oauth.client_auth, ring, &mut form);
    let call = Call { method: "POST".into(), url: oauth.token_url.clone(), form, basic, ..Call::default() };
    let answer = wire::send(egress, call).await?;
    token_answer::read(answer.status, answer.body.expose(), oauth.token_path.as_deref())
        .map_err(|error| TokenRequestError::Token { error, retry_after: answer.retry_after })
}

/// Puts the app's id and secret where the provider wants them.
pub(super) fn prove(client_auth: ClientAuth, ring: &Keyring, form: &mut Vec<(String, Secret)>) -> Option<(String, Secret)> {
    let id = ring.app_field("client-id")?;
    match (client_auth, ring.app_field("client-secret")) {
        (ClientAuth::Basic, Some(secret)) => Some((id.expose_str()?.to_owned(), secret.duplicate())),
        (_, secret) => {
            form.push(("client_id".to_owned(), id.duplicate()));
            form.extend(secret.map(|secret| ("client_secret".to_owned(), secret.duplicate())));
            None
        }
    }
}

/// Takes an answer's tokens into a ring, the old refresh token staying where no new one came.
pub(super) fn keep(ring: &mut Keyring, answer: TokenAnswer, now: i64) -> Option<Vec<String>> {
    let ends = |ms: Option<i64>| ms.map(|ms| now.saturating_add(ms));
    ring.put(ACCESS, answer.access_token, true, ends(answer.expires_in_ms));
    if let Some(refresh) = answer.refresh_token {
        ring.put(REFRESH, refresh, true, ends(answer.refresh_expires_in_ms));
    }
    answer.scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(fields: &[(&str, &str)]) -> Keyring {
        Keyring::new(fields.iter().map(|(name, value)| ((*name).to_owned(), (Secret::text((*value).to_owned()), true))).collect())
    }

    /// The header's pair, if any, and the form, as text.
    fn check(client_auth: ClientAuth, fields: &[(&str, &str)]) -> (String, String) {
        let mut form = Vec::new();
        let text = |secret: &Secret| secret.expose_str().unwrap_or_default().to_owned();
        let basic = prove(client_auth, &ring(fields), &mut form).map(|(id, secret)| format!("{id}/{}", text(&secret)));
        let form: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
        (basic.unwrap_or_default(), form.join(" "))
    }

    #[test]
    fn the_app_proves_itself_as_the_manifest_says() {
        let both = [("client-id", "id"), ("client-secret", "s:e c")];
        assert_eq!(check(ClientAuth::Basic, &both), ("id/s:e c".into(), String::new()));
        assert_eq!(check(ClientAuth::Body, &both), (String::new(), "client_id=id client_secret=s:e c".into()));
        for client_auth in [ClientAuth::Basic, ClientAuth::Body] {
            assert_eq!(check(client_auth, &[("client-id", "id")]), (String::new(), "client_id=id".into()));
        }
    }

    #[test]
    fn an_answer_without_a_refresh_token_keeps_the_old_one() {
        let mut ring = ring(&[]);
        ring.put(ACCESS, Secret::text("a1".into()), true, Some(1));
        ring.put(REFRESH, Secret::text("r1".into()), true, None);
        let answer = token_answer::read(200, br#"{"access_token":"a2","expires_in":60}"#, None).unwrap();
        keep(&mut ring, answer, 1_000);
        assert_eq!(ring.look_up(ACCESS).unwrap().expose(), b"a2");
        assert_eq!(ring.keys[ACCESS].expires_at, Some(61_000));
        assert_eq!(ring.look_up(REFRESH).unwrap().expose(), b"r1");
        let answer = token_answer::read(200, br#"{"access_token":"a3","refresh_token":"r2"}"#, None).unwrap();
        keep(&mut ring, answer, 1_000);
        assert_eq!(ring.keys[ACCESS].expires_at, None);
        assert_eq!(ring.look_up(REFRESH).unwrap().expose(), b"r2");
    }
}
