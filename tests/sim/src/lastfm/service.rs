//! `/2.0/`: the order of checks that every method shares, errors with their codes, and signatures.
//!
//! Key before limit, limit before method, session and signature before data. JSON only where `format=json` asks for it; XML else.

use super::world::{User, World};
use super::xml;
use crate::http::{Answer, Call, find};
use md5::{Digest as _, Md5};
use serde_json::{Value, json};
use std::fmt::Write as _;

pub(super) type Parameters = Vec<(String, String)>;

/// An error of the service.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    pub code: u32,
    pub message: String,
    pub status: u16,
    pub links: bool,
}

impl Problem {
    pub(super) fn saying(mut self, message: &str, status: u16) -> Problem {
        message.clone_into(&mut self.message);
        self.status = status;
        self
    }

    pub(super) fn answer(&self, on_200: bool) -> Answer {
        Answer::json(if on_200 { 200 } else { self.status }, &self.json())
    }

    pub(super) fn json(&self) -> Value {
        let mut body = json!({"error": self.code, "message": self.message});
        if let (true, Value::Object(body)) = (self.links, &mut body) {
            body.insert("links".to_owned(), json!([]));
        }
        body
    }
}

/// The error of a code, with its usual words and status.
pub(super) fn problem(code: u32) -> Problem {
    let (status, message) = match code {
        3 => (400, "Invalid Method - No method with that name in this package"),
        4 => (403, "Unauthorized Token - This token has not been issued"),
        6 => (400, "Invalid parameters - Your request is missing a required parameter"),
        8 => (500, "Operation failed - Most likely the backend service failed. Please try again."),
        9 => (403, "Invalid session key - Please re-authenticate"),
        10 => (403, "Invalid API key - You must be granted a valid key by last.fm"),
        11 => (503, "Service Offline - This service is temporarily offline. Try again later."),
        13 => (403, "Invalid method signature supplied"),
        14 => (403, "Unauthorized Token - This token has not been authorized"),
        15 => (403, "This token has expired"),
        16 => (503, "The service is temporarily unavailable, please try again."),
        17 => (403, "Login: User required to be logged in"),
        26 => (403, "Suspended API key - Access for your account has been suspended, please contact Last.fm"),
        29 => (429, "Rate Limit Exceeded - This application has made too many requests in a short period."),
        _ => (400, "Invalid service"),
    };
    Problem { code, message: message.to_owned(), status, links: false }
}

/// The error for a name that is nobody's.
pub(super) fn no_such_user() -> Problem {
    Problem { links: true, ..problem(6).saying("No user with that name was found", 404) }
}

/// The headers that the service puts on everything.
pub(super) fn dressed(mut answer: Answer) -> Answer {
    if answer.header("content-type").is_some_and(|kind| kind.contains("json")) {
        answer.set("content-type", "application/json; charset=UTF-8");
    }
    answer.with("access-control-allow-origin", "*").with("server", "openresty/1.13.6.2")
}

/// Query and form together.
pub(super) fn parameters(call: &Call) -> Parameters {
    let mut parameters = call.query.clone();
    if call.method == "POST" {
        parameters.extend(call.fields());
    }
    parameters
}

/// The signature of a request: names and values in bytewise order of names, the secret behind them, MD5. `format`, `callback` and `api_sig` don't count.
pub fn sign(parameters: &[(String, String)], secret: &str) -> String {
    let mut signed: Vec<&(String, String)> =
        parameters.iter().filter(|(name, _)| !matches!(name.as_str(), "format" | "callback" | "api_sig")).collect();
    signed.sort();
    let mut hash = Md5::new();
    for (name, value) in signed {
        hash.update(name);
        hash.update(value);
    }
    hash.update(secret);
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A request whose key, limit, session and signature are in order.
pub(super) struct Request<'a> {
    pub call: &'a Call,
    pub parameters: &'a Parameters,
    pub key: &'a str,
    /// The user of the session, in lower case.
    pub session: Option<String>,
}

impl Request<'_> {
    pub fn get(&self, name: &str) -> Option<&str> {
        find(self.parameters, name)
    }
}

impl World {
    pub(super) fn serve(&mut self, call: &Call) -> Answer {
        let parameters = parameters(call);
        let json = find(&parameters, "format") == Some("json");
        if !matches!(call.method.as_str(), "GET" | "POST") {
            return Answer::bare(405);
        }
        let answer = match (self.checked(call, &parameters), json) {
            (Ok(body), true) => Answer::json(200, &body),
            (Ok(body), false) => xml::ok(&body),
            (Err(problem), true) => problem.answer(self.errors_on_200),
            (Err(problem), false) => xml::failed(&problem, self.errors_on_200),
        };
        dressed(answer)
    }

    fn checked(&mut self, call: &Call, parameters: &Parameters) -> Result<Value, Problem> {
        let key = find(parameters, "api_key").unwrap_or_default();
        let known = self.keys.iter().find(|known| known.key == key).cloned().ok_or_else(|| problem(10))?;
        if known.suspended {
            return Err(problem(26));
        }
        self.count(key, call.seconds())?;
        let method = find(parameters, "method").unwrap_or_default().to_lowercase();
        let signed = find(parameters, "api_sig").map(|given| given == sign(parameters, &known.secret));
        let session = match find(parameters, "sk") {
            Some(_) if signed != Some(true) => return Err(problem(13)),
            Some(value) => match self.sessions.get(value) {
                Some(session) if !session.revoked && session.key == key && self.users.contains_key(&session.user) => {
                    Some(session.user.clone())
                }
                _ => return Err(problem(9)),
            },
            None if signed == Some(false) => return Err(problem(13)),
            None => None,
        };
        let request = Request { call, parameters, key, session };
        match method.as_str() {
            "user.getrecenttracks" => self.recent_tracks(&request),
            "user.getinfo" => self.info(&request),
            "user.getlovedtracks" => self.loved_tracks(&request),
            "auth.gettoken" | "auth.getsession" if signed.is_none() => Err(problem(13)),
            "auth.gettoken" => self.new_token(&request),
            "auth.getsession" => self.exchange(&request),
            _ => Err(problem(3)),
        }
    }

    fn count(&mut self, key: &str, now: i64) -> Result<(), Problem> {
        let Some((most, span)) = self.limit else { return Ok(()) };
        let (start, count) = self.counts.entry(key.to_owned()).or_insert((now, 0));
        if now >= *start + span {
            (*start, *count) = (now, 0);
        }
        *count += 1;
        if *count > most { Err(problem(29)) } else { Ok(()) }
    }

    /// The user that a request names, who may be hidden.
    pub(super) fn named(&self, request: &Request<'_>) -> Result<&User, Problem> {
        let name = request.get("user").filter(|name| !name.is_empty()).map(str::to_lowercase);
        let name = name.or_else(|| request.session.clone()).ok_or_else(|| problem(6))?;
        self.users.get(&name).ok_or_else(no_such_user)
    }
}

/// `limit` (default 50, at most 200) and `page` (from 1), or the error for a page that is none.
pub(super) fn paging(request: &Request<'_>) -> Result<(usize, usize), Problem> {
    let limit = request.get("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0).unwrap_or(50_usize).min(200);
    let page = request.get("page").map_or(Ok(1), str::parse::<usize>);
    match page {
        Ok(page) if (1..=1_000_000).contains(&page) => Ok((page, limit)),
        _ => Err(problem(6).saying("page param out of bounds (1-1000000)", 400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_md5_of_sorted_pairs_and_the_secret() {
        let parameters = [
            ("method", "auth.getSession"),
            ("token", "yyy"),
            ("api_key", "xxx"),
            ("format", "json"),
            ("callback", "f"),
            ("api_sig", "old"),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let expected =
            Md5::digest("api_keyxxxmethodauth.getSessiontokenyyySECRET").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(sign(&parameters, "SECRET"), expected);
        let unicode = [
            ("track".to_owned(), "夜の散歩".to_owned()),
            ("artist[1]".to_owned(), "b".to_owned()),
            ("artist[10]".to_owned(), "a".to_owned()),
        ];
        let expected = Md5::digest("artist[10]aartist[1]btrack夜の散歩s").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(sign(&unicode, "s"), expected);
    }
}
