//! Sign-in: the page, its token (an hour, once), and the exchange for a session key that lives until it is revoked.

use super::service::{Problem, Request, problem};
use super::world::{SignInToken, World};
use crate::http::{Answer, Call, escape, find};
use serde_json::{Value, json};
use url::Url;

/// A token lives an hour.
const TOKEN_LIFE: i64 = 3_600;

fn page(status: u16, title: &str, body: &str) -> Answer {
    Answer::html(
        status,
        format!(
            "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head><body><h1>{title}</h1>\n{body}\n</body></html>\n"
        ),
    )
}

impl World {
    /// `/api/auth/?api_key=…&cb=…`, or `&token=…` for desktops.
    pub(super) fn sign_in(&mut self, call: &Call) -> Answer {
        if call.method == "POST" {
            return self.signed_in(call);
        }
        let Some(key) = call.param("api_key").and_then(|key| self.keys.iter().find(|known| known.key == key)).cloned() else {
            return page(403, "Invalid API key", "<p>This application is not known.</p>");
        };
        if key.suspended {
            return page(403, "Suspended API key", "<p>This application was suspended.</p>");
        }
        let desktop = call.param("token").map(str::to_owned);
        if desktop.as_ref().is_some_and(|token| !self.tokens.contains_key(token)) {
            return page(403, "Invalid token", "<p>This token has not been issued.</p>");
        }
        let callback = call.param("cb").map(str::to_owned).or(key.callback);
        let back = match (desktop, callback) {
            (Some(token), _) => format!("token:{token}"),
            (None, Some(callback)) if Url::parse(&callback).is_ok() => callback,
            (None, _) => return page(400, "No callback", "<p>The application names no address to return to.</p>"),
        };
        if let Some(user) = self.auto_approve.clone() {
            return self.approve(&key.key, &back, &user, call.seconds());
        }
        let id = self.prng.token(32);
        let users: String =
            self.users.values().take(200).map(|user| format!("<option value=\"{0}\">{0}</option>", escape(&user.name))).collect();
        self.pending.insert(id.clone(), (key.key, back));
        let form = format!(
            "<p>An application wants to read your listening.</p>\n<form method=\"post\" action=\"/api/auth/\">\n<input type=\"hidden\" name=\"request\" value=\"{id}\">\n\
             <p><label>User <select name=\"user\">{users}</select></label></p>\n<button name=\"allow\" value=\"1\">Yes, allow access</button> <button name=\"allow\" value=\"0\">No</button>\n</form>"
        );
        page(200, "Connect application", &form)
    }

    fn signed_in(&mut self, call: &Call) -> Answer {
        let fields = call.fields();
        let Some((key, back)) = find(&fields, "request").and_then(|id| self.pending.remove(id)) else {
            return page(400, "This page has expired", "<p>Begin again at the application.</p>");
        };
        if find(&fields, "allow") != Some("1") {
            return page(200, "Not connected", "<p>The application was not connected.</p>");
        }
        let user = find(&fields, "user").unwrap_or_default().to_owned();
        self.approve(&key, &back, &user, call.seconds())
    }

    fn approve(&mut self, key: &str, back: &str, user: &str, now: i64) -> Answer {
        if !self.users.contains_key(&user.to_lowercase()) {
            return page(400, "No such user", "<p>There is no such user.</p>");
        }
        if let Some(token) = back.strip_prefix("token:") {
            if let Some(token) = self.tokens.get_mut(token) {
                token.user = Some(user.to_owned());
            }
            return page(200, "Connected", "<p>You may close this window.</p>");
        }
        let value = self.prng.token(32);
        self.tokens.retain(|_, token| token.ends_at > now - TOKEN_LIFE);
        self.tokens.insert(value.clone(), SignInToken { key: key.to_owned(), user: Some(user.to_owned()), ends_at: now + TOKEN_LIFE });
        let Ok(mut url) = Url::parse(back) else { return page(400, "No callback", "<p>The address to return to is no URL.</p>") };
        url.query_pairs_mut().append_pair("token", &value);
        Answer::found(url.as_str())
    }

    /// `auth.getToken`, for desktops.
    pub(super) fn new_token(&mut self, request: &Request<'_>) -> Result<Value, Problem> {
        let value = self.prng.token(32);
        self.tokens
            .insert(value.clone(), SignInToken { key: request.key.to_owned(), user: None, ends_at: request.call.seconds() + TOKEN_LIFE });
        Ok(json!({"token": value}))
    }

    /// `auth.getSession`: the token goes, a session comes.
    pub(super) fn exchange(&mut self, request: &Request<'_>) -> Result<Value, Problem> {
        let value = request.get("token").ok_or_else(|| problem(6))?;
        let token = self.tokens.get(value).filter(|token| token.key == request.key).cloned().ok_or_else(|| problem(4))?;
        if token.ends_at <= request.call.seconds() {
            return Err(problem(15));
        }
        let user = token.user.ok_or_else(|| problem(14))?;
        let name = self.users.get(&user.to_lowercase()).map(|user| user.name.clone()).ok_or_else(|| problem(4))?;
        self.tokens.remove(value);
        let key = self.open_session(&name, request.key);
        self.exchanges += 1;
        Ok(json!({"session": {"subscriber": 0, "name": name, "key": key}}))
    }
}
