//! Who is asking: the cookie, the session behind it, and the person behind that.
//!
//! The contract:
//! - A session is 256 random bits in a cookie; the store has only their SHA-256, so that a copy of the database signs nobody in.
//! - Under https the cookie is `__Host-sluice`: Secure, for this host alone, planted by nobody else. Browsers drop such cookies on plain http, which
//!   is served at home only; there it is `sluice_session`. Both are HttpOnly, and Lax, because a provider's sign-in page must find it when it
//!   sends the person back.
//! - A new value at each sign-in, so that a value known before is worth nothing after. Sign-out, a new password and deletion end it on the server.
//! - It ends [`IDLE_MS`] after the last visit and [`ABSOLUTE_MS`] after sign-in. The last visit is written at most once in [`TOUCH_MS`], not with
//!   each page.
//! - Forms before sign-in need a visitor too, or their token would be bound to nobody: such a visitor gets a cookie that no session stands behind.

use super::{Shared, csrf, reply::WebError, site::Site, when::Reader};
use axum::extract::FromRequestParts;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use sha2::{Digest as _, Sha256};
use sluice_model::UserId;
use sluice_store::{Session, StoreError, User};
use std::sync::Arc;

/// A session that nobody used for 14 days ends.
pub const IDLE_MS: i64 = 14 * 86_400_000;
/// A session ends 90 days after its sign-in, used or not.
pub const ABSOLUTE_MS: i64 = 90 * 86_400_000;
/// How often the last visit is written.
const TOUCH_MS: i64 = 3_600_000;
/// 32 bytes in base64url.
const VALUE_LEN: usize = 43;

/// Somebody who is signed in.
#[derive(Clone)]
pub struct Member {
    /// The person.
    pub user: User,
    /// SHA-256 of their cookie.
    pub session: [u8; 32],
}

impl Member {
    /// Their clock.
    #[must_use]
    pub fn reader(&self, now: i64) -> Reader {
        Reader::new(now, &self.user.time_zone)
    }
}

/// Anybody who asks.
#[derive(Clone)]
pub struct Visitor(Arc<Inner>);

struct Inner {
    member: Option<Member>,
    cookie: Option<[u8; 32]>,
    csrf: String,
    host: Option<String>,
}

impl Visitor {
    /// The person, where signed in.
    #[must_use]
    pub fn member(&self) -> Option<&Member> {
        self.0.member.as_ref()
    }

    /// The token for this visitor's forms; empty for somebody without a cookie.
    #[must_use]
    pub fn csrf(&self) -> &str {
        &self.0.csrf
    }

    /// SHA-256 of the cookie they came with, whatever stands behind it.
    #[must_use]
    pub fn cookie(&self) -> Option<&[u8; 32]> {
        self.0.cookie.as_ref()
    }

    /// The `Host` they asked for.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.0.host.as_deref()
    }

    /// Finds out who sent these headers. With `mint`, somebody without a cookie is given one: the header to set is returned beside.
    ///
    /// # Errors
    /// The store's.
    pub async fn recognise(web: &Shared, headers: &HeaderMap, mint: bool) -> Result<(Self, Option<HeaderValue>), StoreError> {
        let now = web.app.now();
        let mut cookie = value(headers, name(&web.site)).map(hash);
        let mut member = None;
        if let Some(hash) = &cookie
            && let Some(session) = web.app.store.session(hash).await?
        {
            if now < session.idle_until && now < session.absolute_until {
                if let Some(user) = web.app.store.user(session.user).await? {
                    touch(web, &session, now).await;
                    member = Some(Member { user, session: *hash });
                }
            } else {
                web.app.store.end_session(hash).await?;
            }
        }
        let mut set = None;
        if cookie.is_none() && mint {
            let value = new_value(web);
            set = header_value(&web.site, &value, None);
            cookie = Some(hash(&value));
        }
        let csrf = cookie.as_ref().map(|hash| csrf::token(&web.app.vault, hash)).unwrap_or_default();
        let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).map(str::to_owned);
        Ok((Self(Arc::new(Inner { member, cookie, csrf, host })), set))
    }
}

async fn touch(web: &Shared, session: &Session, now: i64) {
    let until = now.saturating_add(IDLE_MS).min(session.absolute_until);
    if until.saturating_sub(session.idle_until) >= TOUCH_MS
        && let Err(why) = web.app.store.touch_session(&session.hash, until).await
    {
        // A visit that was not noted costs nothing but an earlier end.
        tracing::warn!("noting a session's last visit failed: {why}");
    }
}

/// Begins a session for `user`, ends the one before (if any), and returns the cookie to set.
///
/// # Errors
/// The store's.
pub async fn begin(web: &Shared, user: UserId, before: Option<&[u8; 32]>) -> Result<HeaderValue, WebError> {
    if let Some(before) = before {
        web.app.store.end_session(before).await?;
    }
    let now = web.app.now();
    let value = new_value(web);
    web.app
        .store
        .create_session(Session {
            hash: hash(&value),
            user,
            created_at: now,
            idle_until: now.saturating_add(IDLE_MS),
            absolute_until: now.saturating_add(ABSOLUTE_MS),
        })
        .await?;
    header_value(&web.site, &value, Some(ABSOLUTE_MS / 1_000)).ok_or_else(|| WebError::internal("a cookie that is no header"))
}

/// The cookie that removes the cookie.
#[must_use]
pub fn gone(site: &Site) -> Option<HeaderValue> {
    header_value(site, "", Some(0))
}

fn new_value(web: &Shared) -> String {
    URL_SAFE_NO_PAD.encode(web.app.random_bytes::<32>())
}

/// What the store keeps of a cookie.
#[must_use]
pub fn hash(value: &str) -> [u8; 32] {
    Sha256::digest(value.as_bytes()).into()
}

/// The cookie's name here.
fn name(site: &Site) -> &'static str {
    if site.https() { "__Host-sluice" } else { "sluice_session" }
}

fn header_value(site: &Site, value: &str, max_age: Option<i64>) -> Option<HeaderValue> {
    let secure = if site.https() { "; Secure" } else { "" };
    let age = max_age.map(|s| format!("; Max-Age={s}")).unwrap_or_default();
    HeaderValue::from_str(&format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}", name(site))).ok()
}

/// The value of the cookie of that name, where it has the shape of one of ours.
fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|h| h.to_str().ok()).flat_map(|h| h.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(n, _)| *n == name).map(|(_, value)| value);
    let shaped = |v: &&str| v.len() == VALUE_LEN && v.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    values.next().filter(shaped)
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| WebError::internal("a page asked for its visitor without the guard"))
    }
}

impl<S: Sync> FromRequestParts<S> for Member {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let visitor = Visitor::from_request_parts(parts, state).await?;
        visitor.member().cloned().ok_or_else(|| WebError::internal("a page for members was reached by somebody who is not signed in"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(url: &str) -> Site {
        Site::new(&url.parse().unwrap())
    }

    #[test]
    fn the_cookie_fits_the_scheme() {
        let tls = header_value(&site("https://example.org/sluice"), "v", Some(60)).unwrap();
        assert_eq!(tls, "__Host-sluice=v; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=60");
        for plain in ["http://localhost:8642", "http://192.168.1.5:8642"] {
            let plain = header_value(&site(plain), "v", None).unwrap();
            assert_eq!(plain, "sluice_session=v; Path=/; HttpOnly; SameSite=Lax", "no browser keeps a Secure or __Host- cookie there");
        }
    }

    #[test]
    fn only_a_cookie_of_our_shape_is_looked_up() {
        let good = "a".repeat(VALUE_LEN);
        for (cookie, found) in [
            (format!("x=1; sluice_session={good}"), true),
            (format!("sluice_session={good}; x=1"), true),
            ("sluice_session=short".to_owned(), false),
            (format!("sluice_session={}é", "a".repeat(VALUE_LEN - 2)), false),
            (format!("sluice_session2={good}"), false),
            (String::new(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_bytes(cookie.as_bytes()).unwrap());
            assert_eq!(value(&headers, "sluice_session").is_some(), found, "{cookie}");
        }
    }
}
