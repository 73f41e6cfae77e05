//! `/login/oauth/access_token`, and the application's own calls about tokens (`/applications/{client_id}/…`).
//!
//! Errors come with status 200 and an `error` in the body. The answer is a form unless `Accept` asks for JSON; scopes are separated by commas. A code
//! works once; a refresh token works once, kills the pair it replaces, and kills its whole family when it comes again.

use super::auth::{App, AppKind, Code, Token, TokenKind};
use super::rest::{not_found, problem};
use super::users::brief;
use super::world::World;
use crate::http::{Answer, Call, encode, find};
use crate::time::iso;
use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

type Fields = Vec<(String, String)>;

/// The S256 challenge of a verifier (RFC 7636).
pub(super) fn challenge(verifier: &str) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// Writes pairs as the request asked: JSON (numbers as numbers) or a form.
fn written(call: &Call, pairs: Fields) -> Answer {
    if !call.header("accept").unwrap_or_default().contains("json") {
        return Answer::new(200, "application/x-www-form-urlencoded; charset=utf-8", encode(&pairs));
    }
    let number = |name: &str, value: String| match value.parse::<i64>() {
        Ok(number) if name.ends_with("expires_in") => json!(number),
        _ => json!(value),
    };
    let body: serde_json::Map<String, Value> = pairs.into_iter().map(|(name, value)| (name.clone(), number(&name, value))).collect();
    Answer::json(200, &Value::Object(body))
}

fn refused(call: &Call, error: &str) -> Answer {
    let text = match error {
        "incorrect_client_credentials" => "The client_id and/or client_secret passed are incorrect.",
        "bad_verification_code" => "The code passed is incorrect or expired.",
        "redirect_uri_mismatch" => "The redirect_uri MUST match the registered callback URL for this application.",
        "bad_refresh_token" => "The refresh token passed is incorrect or expired.",
        _ => "The grant_type is not supported.",
    };
    let pairs = [
        ("error", error),
        ("error_description", text),
        ("error_uri", "https://docs.github.com/apps/oauth-apps/maintaining-oauth-apps/troubleshooting"),
    ];
    written(call, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
}

impl World {
    pub(super) fn access_token(&mut self, call: &Call) -> Answer {
        if call.method != "POST" {
            return Answer::html(404, "<!DOCTYPE html><title>Not Found</title>".to_owned());
        }
        let mut fields = call.fields();
        fields.extend(call.query.iter().cloned());
        let Some(app) = find(&fields, "client_id").and_then(|id| self.auth.app(id)).cloned() else {
            return Answer::json(404, &json!({"error": "Not Found"}));
        };
        if find(&fields, "client_secret") != Some(app.client_secret.as_str()) {
            return refused(call, "incorrect_client_credentials");
        }
        let granted = match find(&fields, "grant_type").unwrap_or("authorization_code") {
            "authorization_code" => self.redeem(&app, &fields, call.seconds()),
            "refresh_token" => self.renew(&app, &fields, call.seconds()),
            _ => Err("unsupported_grant_type"),
        };
        match granted {
            Ok(pairs) => written(call, pairs).with("cache-control", "no-store"),
            Err(error) => refused(call, error),
        }
    }

    fn redeem(&mut self, app: &App, fields: &Fields, now: i64) -> Result<Fields, &'static str> {
        let code: Code = find(fields, "code").and_then(|code| self.auth.codes.remove(code)).ok_or("bad_verification_code")?;
        if code.client_id != app.client_id || code.ends_at <= now {
            return Err("bad_verification_code");
        }
        if find(fields, "redirect_uri").is_some_and(|given| given != code.redirect_uri) {
            return Err("redirect_uri_mismatch");
        }
        if let Some(expected) = &code.challenge
            && find(fields, "code_verifier").map(challenge).as_ref() != Some(expected)
        {
            return Err("bad_verification_code");
        }
        let family = self.auth.new_family();
        if app.kind == AppKind::GitHub {
            return Ok(self.pair(app, code.user, family, now));
        }
        let value = format!("gho_{}", self.auth.random(36));
        let scope = code.scopes.join(",");
        let client_id = Some(app.client_id.clone());
        let token = Token {
            value: value.clone(),
            kind: TokenKind::OAuth,
            user: code.user,
            client_id,
            scopes: code.scopes,
            permissions: Vec::new(),
            expires_at: None,
            issued_at: now,
            revoked: false,
            family,
            sso: false,
        };
        self.auth.add(token);
        Ok(vec![("access_token".to_owned(), value), ("scope".to_owned(), scope), ("token_type".to_owned(), "bearer".to_owned())])
    }

    fn renew(&mut self, app: &App, fields: &Fields, now: i64) -> Result<Fields, &'static str> {
        let value = find(fields, "refresh_token").unwrap_or_default();
        let refresh =
            self.auth.refresh.get(value).filter(|refresh| refresh.client_id == app.client_id).cloned().ok_or("bad_refresh_token")?;
        if refresh.used {
            self.auth.kill_family(refresh.family);
            self.auth.revoked_families += 1;
            return Err("bad_refresh_token");
        }
        if refresh.expires_at <= now {
            return Err("bad_refresh_token");
        }
        if let Some(old) = self.auth.refresh.get_mut(value) {
            old.used = true;
        }
        if let Some(old) = self.auth.find_mut(&refresh.access) {
            old.revoked = true;
        }
        self.auth.refreshes += 1;
        Ok(self.pair(app, refresh.user, refresh.family, now))
    }

    fn pair(&mut self, app: &App, user: u64, family: u64, now: i64) -> Fields {
        let (access, access_life, refresh, refresh_life) = self.auth.pair(app, user, family, now);
        vec![
            ("access_token".to_owned(), access),
            ("expires_in".to_owned(), access_life.to_string()),
            ("refresh_token".to_owned(), refresh),
            ("refresh_token_expires_in".to_owned(), refresh_life.to_string()),
            ("scope".to_owned(), String::new()),
            ("token_type".to_owned(), "bearer".to_owned()),
        ]
    }

    /// `/applications/{client_id}/grant` and `/token`: for the application, by its id and secret.
    pub(super) fn applications(&mut self, call: &Call, segments: &[&str]) -> Answer {
        let [_, client_id, what] = *segments else { return not_found() };
        let known = call
            .basic()
            .is_some_and(|(id, secret)| id == client_id && self.auth.app(client_id).is_some_and(|app| app.client_secret == secret));
        if !known {
            return problem(401, "Bad credentials");
        }
        let value = call.json().and_then(|body| body.get("access_token")?.as_str().map(str::to_owned)).unwrap_or_default();
        let token =
            self.auth.find(&value).filter(|token| token.client_id.as_deref() == Some(client_id) && token.lives(call.seconds())).cloned();
        match (call.method.as_str(), what, token) {
            ("POST", "token", Some(token)) => self.checked(call, &token),
            ("DELETE", "token", Some(_)) => {
                if let Some(token) = self.auth.find_mut(&value) {
                    token.revoked = true;
                }
                self.auth.revocations += 1;
                Answer::bare(204)
            }
            ("DELETE", "grant", Some(token)) => {
                self.auth.revoke_grant(client_id, token.user);
                Answer::bare(204)
            }
            ("POST", "token", None) => not_found(),
            ("DELETE", "token" | "grant", None) => problem(422, "Validation Failed"),
            _ => not_found(),
        }
    }

    fn checked(&self, call: &Call, token: &Token) -> Answer {
        let user = self.users.get(&token.user).map_or(Value::Null, |user| brief(call, user));
        let client = token.client_id.as_deref().unwrap_or_default();
        Answer::json(
            200,
            &json!({
                "id": token.family,
                "token": token.value,
                "scopes": token.scopes,
                "app": {"client_id": client, "name": client},
                "created_at": iso(token.issued_at),
                "expires_at": token.expires_at.map(iso),
                "user": user,
            }),
        )
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        assert_eq!(super::challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
