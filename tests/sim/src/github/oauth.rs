//! `/login/oauth/authorize`: the page where a person lets an application in, and what goes back to the application.
//!
//! The page is a plain form with a single-use id in it, so a test may post it like a browser; with automatic approval it redirects at once. An
//! error goes back to the application only where the application is known and its address registered; otherwise the person sees it.

use super::auth::{AppKind, Code, Pending};
use super::world::World;
use crate::http::{Answer, Call, escape, find};
use url::Url;

/// A code lives ten minutes.
const CODE_LIFE: i64 = 600;

fn page(status: u16, title: &str, body: &str) -> Answer {
    Answer::html(
        status,
        format!(
            "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head><body><h1>{title}</h1>\n{body}\n</body></html>\n"
        ),
    )
}

fn return_to(redirect: &str, state: Option<&str>, parameters: &[(&str, &str)]) -> Answer {
    let Ok(mut url) = Url::parse(redirect) else { return page(400, "Be careful!", "<p>The redirect_uri is no URL.</p>") };
    url.query_pairs_mut().extend_pairs(parameters).extend_pairs(state.map(|state| ("state", state)));
    Answer::found(url.as_str())
}

impl World {
    pub(super) fn authorize(&mut self, call: &Call) -> Answer {
        match call.method.as_str() {
            "GET" => self.ask(call),
            "POST" => self.answered(call),
            _ => Answer::bare(405).with("allow", "GET, POST"),
        }
    }

    fn ask(&mut self, call: &Call) -> Answer {
        let Some(app) = call.param("client_id").and_then(|id| self.auth.app(id)).cloned() else {
            return page(404, "Not Found", "<p>There is no such application.</p>");
        };
        let state = call.param("state");
        let first = app.redirect_uris.first().map_or("", String::as_str);
        let wanted = call.param("redirect_uri").unwrap_or(first);
        let fail = |error: &str, text: &str, to: &str| {
            return_to(to, state, &[("error", error), ("error_description", text), ("error_uri", "https://docs.github.com/apps/oauth-apps")])
        };
        if !Url::parse(wanted).is_ok_and(|url| app.may_return_to(&url)) {
            return fail("redirect_uri_mismatch", "The redirect_uri MUST match the registered callback URL for this application.", first);
        }
        let challenge = call.param("code_challenge").map(str::to_owned);
        let method = call.param("code_challenge_method").unwrap_or("plain");
        let well_formed =
            |text: &String| text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        match &challenge {
            Some(text) if method != "S256" || !well_formed(text) => {
                return fail("invalid_request", "code_challenge_method must be S256, code_challenge 43 characters.", wanted);
            }
            None if self.auth.require_pkce => return fail("invalid_request", "A code_challenge is required.", wanted),
            _ => {}
        }
        let scopes = match app.kind {
            AppKind::OAuth => {
                call.param("scope").unwrap_or_default().split([' ', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
            }
            AppKind::GitHub => Vec::new(),
        };
        let pending =
            Pending { client_id: app.client_id, redirect_uri: wanted.to_owned(), state: state.map(str::to_owned), challenge, scopes };
        if let Some(user) = self.auth.auto_approve.clone().and_then(|login| self.user(&login)).map(|user| user.id) {
            return self.grant(pending, user, None, call.seconds());
        }
        let id = self.auth.random(32);
        let body = self.form(&id, &pending, call.param("login"));
        if self.auth.pending.len() >= 10_000 {
            self.auth.pending.clear();
        }
        self.auth.pending.insert(id, pending);
        page(200, "Authorize application", &body)
    }

    fn form(&self, id: &str, pending: &Pending, login: Option<&str>) -> String {
        let users: String = self
            .users
            .values()
            .take(200)
            .map(|user| {
                let chosen = if login == Some(user.login.as_str()) { " selected" } else { "" };
                format!("<option value=\"{0}\"{chosen}>{0}</option>", escape(&user.login))
            })
            .collect();
        let scopes: String = pending
            .scopes
            .iter()
            .map(|scope| format!("<p><label><input type=\"checkbox\" name=\"scope\" value=\"{0}\" checked> {0}</label></p>", escape(scope)))
            .collect();
        format!(
            "<p>{} wants to use your account.</p>\n<form method=\"post\" action=\"/login/oauth/authorize\">\n<input type=\"hidden\" name=\"request\" value=\"{id}\">\n\
             <p><label>Account <select name=\"login\">{users}</select></label></p>\n{scopes}\n\
             <button name=\"authorize\" value=\"1\">Authorize</button> <button name=\"authorize\" value=\"0\">Cancel</button>\n</form>",
            escape(&pending.client_id)
        )
    }

    fn answered(&mut self, call: &Call) -> Answer {
        let fields = call.fields();
        let Some(pending) = find(&fields, "request").and_then(|id| self.auth.pending.remove(id)) else {
            return page(422, "Your request can't be completed", "<p>This page was answered before, or is not ours.</p>");
        };
        if find(&fields, "authorize") != Some("1") {
            let parameters = [
                ("error", "access_denied"),
                ("error_description", "The user has denied your application access."),
                ("error_uri", "https://docs.github.com/apps/oauth-apps"),
            ];
            return return_to(&pending.redirect_uri, pending.state.as_deref(), &parameters);
        }
        let Some(user) = find(&fields, "login").and_then(|login| self.user(login)).map(|user| user.id) else {
            return page(422, "Your request can't be completed", "<p>There is no such account.</p>");
        };
        let chosen = fields.iter().filter(|(name, _)| name == "scope").map(|(_, value)| value.clone()).collect();
        self.grant(pending, user, Some(chosen), call.seconds())
    }

    fn grant(&mut self, pending: Pending, user: u64, chosen: Option<Vec<String>>, now: i64) -> Answer {
        let mut scopes = pending.scopes;
        for allowed in [chosen, self.auth.grant_only.clone()].into_iter().flatten() {
            scopes.retain(|scope| allowed.contains(scope));
        }
        let code = self.auth.random(20);
        self.auth.codes.retain(|_, code| code.ends_at > now);
        let kept = Code {
            client_id: pending.client_id,
            redirect_uri: pending.redirect_uri.clone(),
            challenge: pending.challenge,
            scopes,
            user,
            ends_at: now + CODE_LIFE,
        };
        self.auth.codes.insert(code.clone(), kept);
        return_to(&pending.redirect_uri, pending.state.as_deref(), &[("code", &code)])
    }
}
