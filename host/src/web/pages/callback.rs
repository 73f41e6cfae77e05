//! Where providers send people back to; and the same by hand, for a browser that runs somewhere the callback's address does not lead.
//!
//! These are GETs from another site that change something: what protects them is the state or nonce, single use and bound to the session that
//! began (see `link`). A session is only ever what our own sign-in made: somebody who is signed out comes with none, and is refused.

use super::link::{to_connection, told};
use crate::{
    link::{Callback, finish},
    web::{
        Shared,
        form::{Form, Query},
        reply::{Reply, WebError},
        session::Visitor,
    },
};
use axum::extract::{Path, State};
use http::StatusCode;

/// The longest address that is taken by hand.
const MAX_ADDRESS: usize = 8 << 10;

pub async fn plain(State(web): State<Shared>, visitor: Visitor, Path((connector, profile)): Path<(String, String)>, query: Query) -> Reply {
    arrive(&web, &visitor, connector, profile, None, query).await
}

pub async fn with_nonce(
    State(web): State<Shared>,
    visitor: Visitor,
    Path((connector, profile, nonce)): Path<(String, String, String)>,
    query: Query,
) -> Reply {
    arrive(&web, &visitor, connector, profile, Some(nonce), query).await
}

/// The address that the browser landed on, pasted into a form.
pub async fn landed(State(web): State<Shared>, visitor: Visitor, Path((connector, profile)): Path<(String, String)>, form: Form) -> Reply {
    let Some((nonce, query)) = read(form.text("address").trim(), &connector, &profile) else {
        return Err(WebError::told(
            StatusCode::UNPROCESSABLE_ENTITY,
            "That is not the address",
            format!("Paste the whole address from the browser's address bar, as it was after the provider's page: it has /connect/{connector}/{profile}/callback in it."),
        )
        .onward(format!("/link/{connector}"), "Back"));
    };
    arrive(&web, &visitor, connector, profile, nonce, query).await
}

async fn arrive(web: &Shared, visitor: &Visitor, connector: String, profile: String, nonce: Option<String>, query: Query) -> Reply {
    let member = visitor.member();
    let name = connector.clone();
    let callback =
        Callback { connector, profile, nonce, query: query.0, session: member.map(|m| m.session), user: member.map(|m| m.user.id) };
    match finish(&web.app, callback).await {
        Ok(linked) => to_connection(web, linked.connection, linked.again).await,
        Err(why) => Err(told(&name, &why)),
    }
}

/// Nonce and query of a pasted address; its host and whatever path comes first are not looked at, since they are why it was pasted.
fn read(address: &str, connector: &str, profile: &str) -> Option<(Option<String>, Query)> {
    if address.len() > MAX_ADDRESS {
        return None;
    }
    let url: url::Url = address.parse().ok()?;
    let path = url.path();
    let callback = format!("/connect/{connector}/{profile}/callback");
    let (_, rest) = path.split_once(callback.as_str())?;
    let nonce = match rest.strip_prefix('/') {
        Some("") => None,
        Some(nonce) if !nonce.contains('/') => Some(nonce.to_owned()),
        None if rest.is_empty() => None,
        _ => return None,
    };
    Some((nonce, Query::parse(url.query().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_address_is_read_whatever_host_it_names() {
        let (nonce, query) = read("http://localhost:8642/connect/github/app/callback?code=abc&state=s%20t", "github", "app").unwrap();
        assert_eq!((nonce, query.get("code"), query.get("state")), (None, Some("abc"), Some("s t")));
        let (nonce, query) = read("https://x.example/sluice/connect/lastfm/web/callback/NONCE?token=t", "lastfm", "web").unwrap();
        assert_eq!((nonce.as_deref(), query.get("token")), (Some("NONCE"), Some("t")));
        for wrong in [
            "code=abc",
            "http://localhost/connect/github/other/callback?code=a",
            "http://localhost/connect/github/app/callbackx?code=a",
            "http://localhost/connect/github/app/callback/a/b",
            "",
        ] {
            assert!(read(wrong, "github", "app").is_none(), "{wrong}");
        }
        assert!(read(&format!("http://localhost/connect/github/app/callback?code={}", "x".repeat(9000)), "github", "app").is_none());
    }
}
