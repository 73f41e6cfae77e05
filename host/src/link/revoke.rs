//! Taking a grant back at the provider.
//!
//! Two shapes exist, and the manifest's `revoke-url` says which: with `{app.client-id}` in its path, it is GitHub's, a DELETE of the app's grant with Basic
//! authentication and the token as JSON; without, it is RFC 7009's form, the refresh token first (a server that follows the RFC ends the whole grant
//! with it), then the access token.
//!
//! Which answers mean "done" is decided here, and leans to the safe side: a token that the provider no longer knows is revoked; a provider that is
//! busy, or does not accept our app just now, is asked again.

use super::keyring::Keyring;
use super::token_answer::{self, Refusal};
use super::token_request::{self, TokenRequestError, prove};
use super::wire::{self, Answer, Call, CallError};
use sluice_gate::Egress;
use sluice_model::manifest::Oauth2;
use sluice_vault::Secret;

/// The path segment that makes a `revoke-url` GitHub's kind, as a URL is written.
const CLIENT_ID: &str = "%7Bapp.client-id%7D";

/// What is needed to revoke a grant; sealed while it waits.
pub(super) struct Tokens {
    pub access: Option<Secret>,
    pub refresh: Option<Secret>,
}

impl Tokens {
    /// One line each, for sealing; a token has no line break (see `token_answer`).
    pub fn to_bytes(&self) -> zeroize::Zeroizing<Vec<u8>> {
        let mut out = zeroize::Zeroizing::new(Vec::with_capacity(256));
        out.extend_from_slice(self.access.as_ref().map_or(&[][..], Secret::expose));
        out.push(b'\n');
        out.extend_from_slice(self.refresh.as_ref().map_or(&[][..], Secret::expose));
        out
    }

    pub fn from_secret(sealed: &Secret) -> Option<Self> {
        let (access, refresh) = sealed.expose_str()?.split_once('\n')?;
        let some = |text: &str| (!text.is_empty()).then(|| Secret::text(text.to_owned()));
        Some(Self { access: some(access), refresh: some(refresh) })
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The provider no longer honours it.
    Done,
    /// Ask again later.
    Later(String),
    /// Asking again would not help.
    Never(String),
}

/// Revokes what `tokens` holds.
pub(super) async fn revoke(egress: &Egress, oauth: &Oauth2, revoke_url: &str, ring: &Keyring, tokens: &Tokens) -> Verdict {
    // A manifest's URLs are in their normal form, where braces are encoded.
    let revoke_url = revoke_url.replace('{', "%7B").replace('}', "%7D");
    if revoke_url.contains(CLIENT_ID) {
        return grant(egress, oauth, &revoke_url, ring, tokens).await;
    }
    for (token, hint) in [(&tokens.refresh, "refresh_token"), (&tokens.access, "access_token")] {
        let Some(token) = token else { continue };
        let mut form = vec![("token".to_owned(), token.duplicate()), ("token_type_hint".to_owned(), Secret::text(hint.into()))];
        let basic = prove(oauth.client_auth, ring, &mut form);
        let call = Call { method: "POST".into(), url: revoke_url.clone(), form, basic, ..Call::default() };
        match judge_token(wire::send(egress, call).await) {
            Verdict::Done => {}
            other => return other,
        }
    }
    Verdict::Done
}

/// GitHub's kind. It answers "unknown" to an access token that has ended while its refresh token lives on, so that one is used for a fresh one first.
async fn grant(egress: &Egress, oauth: &Oauth2, revoke_url: &str, ring: &Keyring, tokens: &Tokens) -> Verdict {
    let ask = async |token: &Secret| match grant_call(revoke_url, ring, token) {
        Some(call) => judge_grant(wire::send(egress, call).await),
        None => Grant::Told(Verdict::Never("client-id and client-secret are needed to revoke, and one of them is missing".into())),
    };
    if let Some(access) = &tokens.access
        && let Grant::Told(verdict) = ask(access).await
    {
        return verdict;
    }
    let Some(refresh) = &tokens.refresh else { return Verdict::Done };
    match token_request::by_refresh_token(egress, oauth, ring, refresh.duplicate()).await {
        Ok(fresh) => match ask(&fresh.access_token).await {
            Grant::Told(verdict) => verdict,
            Grant::Unknown => Verdict::Done,
        },
        Err(TokenRequestError::Call(error)) => unanswered(error),
        Err(TokenRequestError::Token { error, .. }) => match error.class() {
            Refusal::SignInAgain | Refusal::Declined => Verdict::Done,
            Refusal::InvalidClient | Refusal::Misregistered | Refusal::Transient => Verdict::Later(error.to_string()),
            Refusal::Other => Verdict::Never(error.to_string()),
        },
    }
}

fn grant_call(revoke_url: &str, ring: &Keyring, token: &Secret) -> Option<Call> {
    let id = ring.app_field("client-id")?.expose_str()?;
    let secret = ring.app_field("client-secret")?.duplicate();
    let segment = percent_encoding::utf8_percent_encode(id, percent_encoding::NON_ALPHANUMERIC).to_string();
    // Ids are letters, digits and dots; those are not encoded, so that the address is the one the provider documents.
    let segment =
        if id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-' || b == b'_') { id.to_owned() } else { segment };
    let body = serde_json::json!({ "access_token": token.expose_str()? });
    Some(Call {
        method: "DELETE".into(),
        url: revoke_url.replace(CLIENT_ID, &segment),
        json: Some(Secret::text(body.to_string())),
        basic: Some((id.to_owned(), secret)),
        ..Call::default()
    })
}

fn unanswered(error: CallError) -> Verdict {
    match error {
        CallError::Refused(why) => Verdict::Never(why),
        other => Verdict::Later(other.to_string()),
    }
}

/// What GitHub's kind answers.
#[derive(Debug, PartialEq, Eq)]
enum Grant {
    /// It knows of no such token.
    Unknown,
    Told(Verdict),
}

fn judge_grant(answer: Result<Answer, CallError>) -> Grant {
    match answer {
        Err(error) => Grant::Told(unanswered(error)),
        Ok(answer) => match answer.status {
            200..=299 => Grant::Told(Verdict::Done),
            404 | 422 => Grant::Unknown,
            status => Grant::Told(Verdict::Later(format!("status {status}"))),
        },
    }
}

fn judge_token(answer: Result<Answer, CallError>) -> Verdict {
    let answer = match answer {
        Err(error) => return unanswered(error),
        Ok(answer) => answer,
    };
    match answer.status {
        200..=299 => Verdict::Done,
        400 => {
            let root: Option<serde_json::Value> = serde_json::from_slice(answer.body.expose()).ok();
            match root.as_ref().and_then(token_answer::error_of).map(|(_, code)| code) {
                // RFC 7009 §2.2.1: a server that cannot revoke this kind; and those that tell us that it is dead already.
                Some("unsupported_token_type" | "invalid_token" | "invalid_grant" | "expired_token") => Verdict::Done,
                Some("invalid_client" | "unauthorized_client") => Verdict::Later("the provider does not know the app".into()),
                code => Verdict::Never(format!("status 400, {}", code.unwrap_or("no error code"))),
            }
        }
        401 | 403 | 408 | 425 | 429 | 500.. => Verdict::Later(format!("status {}", answer.status)),
        status => Verdict::Never(format!("status {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Answer, CallError> {
        Ok(Answer { status, body: Secret::text(body.to_owned()), retry_after: None })
    }

    #[test]
    fn a_token_that_the_provider_no_longer_knows_is_revoked() {
        for status in [200, 204] {
            assert_eq!(judge_grant(answer(status, "")), Grant::Told(Verdict::Done));
        }
        for status in [404, 422] {
            assert_eq!(judge_grant(answer(status, "")), Grant::Unknown);
        }
        for status in [401, 403, 429, 500, 503] {
            assert_eq!(judge_grant(answer(status, "")), Grant::Told(Verdict::Later(format!("status {status}"))));
        }
        for (status, body, done) in [
            (200, "", true),
            (400, r#"{"error":"unsupported_token_type"}"#, true),
            (400, r#"{"error":"invalid_token"}"#, true),
            (400, r#"{"error":"invalid_request"}"#, false),
            (400, "<html>", false),
            (404, "", false),
            (503, "", false),
        ] {
            assert_eq!(judge_token(answer(status, body)) == Verdict::Done, done, "{status} {body}");
        }
    }

    #[test]
    fn only_what_may_pass_is_asked_again() {
        let later = |verdict| matches!(verdict, Verdict::Later(_));
        assert!(later(judge_token(answer(503, ""))));
        assert!(later(judge_token(answer(429, ""))));
        assert!(later(judge_token(answer(400, r#"{"error":"invalid_client"}"#))));
        assert!(later(judge_token(Err(CallError::NotSent("x".into())))));
        assert!(matches!(judge_grant(Err(CallError::Lost("x".into()))), Grant::Told(Verdict::Later(_))));
        assert!(matches!(judge_grant(Err(CallError::Refused("x".into()))), Grant::Told(Verdict::Never(_))));
        assert!(!later(judge_token(answer(404, ""))));
    }

    #[test]
    fn github_gets_a_delete_of_the_grant_with_the_token_as_json() {
        let app = [("client-id", "Iv1.abc"), ("client-secret", "s")];
        let ring = Keyring::new(app.iter().map(|(n, v)| ((*n).to_owned(), (Secret::text((*v).to_owned()), true))).collect());
        let call =
            grant_call("https://api.github.com/applications/%7Bapp.client-id%7D/grant", &ring, &Secret::text("gho_x".into())).unwrap();
        assert_eq!((call.method.as_str(), call.url.as_str()), ("DELETE", "https://api.github.com/applications/Iv1.abc/grant"));
        assert_eq!(call.json.unwrap().expose(), br#"{"access_token":"gho_x"}"#);
        let (id, secret) = call.basic.unwrap();
        assert_eq!((id.as_str(), secret.expose()), ("Iv1.abc", &b"s"[..]));
        assert!(grant_call("x%7Bapp.client-id%7D", &Keyring::default(), &Secret::text("t".into())).is_none());
        let odd = Keyring::new(
            [
                ("client-id".to_owned(), (Secret::text("a/../b".into()), false)),
                ("client-secret".to_owned(), (Secret::text("s".into()), true)),
            ]
            .into(),
        );
        assert_eq!(
            grant_call("https://h/%7Bapp.client-id%7D/g", &odd, &Secret::text("t".into())).unwrap().url,
            "https://h/a%2F%2E%2E%2Fb/g"
        );
    }

    #[test]
    fn tokens_survive_being_put_aside() {
        for (access, refresh) in [(Some("a"), Some("r")), (Some("a"), None), (None, Some("r"))] {
            let secret = |text: Option<&str>| text.map(|text| Secret::text(text.to_owned()));
            let bytes = Tokens { access: secret(access), refresh: secret(refresh) }.to_bytes();
            let back = Tokens::from_secret(&Secret::new(bytes.to_vec())).unwrap();
            assert_eq!(back.access.as_ref().and_then(Secret::expose_str), access);
            assert_eq!(back.refresh.as_ref().and_then(Secret::expose_str), refresh);
        }
    }
}
