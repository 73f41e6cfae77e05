//! What every request passes before its handler: the outer check for all of them, and one for each route by its kind.
//!
//! The contract: a request for a name that is not ours, or over plain http from beyond the home network, is refused whatever it asks for. Every
//! method that may change something (all but GET and HEAD) is refused unless its form came from one of our pages and carries the visitor's token;
//! this hangs on the method, not on the route, so that a new route can't forget it. Only then is a handler asked.
//!
//! What bounds it: a form has [`super::form::MAX_FORM_BYTES`] and [`BODY_TIME`] to arrive. What is logged: the route's template, never the
//! address, since callbacks and one-time links carry secrets in theirs.

use super::{
    Shared, csrf,
    form::{Form, MAX_FORM_BYTES},
    headers,
    reply::{WebError, finish_error, see_other},
    routes::Kind,
    server::Peer,
    session::Visitor,
    site::at_home,
};
use axum::{
    body::Body,
    extract::{MatchedPath, Request},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt as _;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use std::{net::IpAddr, panic::AssertUnwindSafe, time::Duration};
use tracing::Instrument as _;

/// How long a form may take to arrive: 64 KiB at 6 KiB a second.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Around everything: request id, trace, name check, panics caught, error pages, headers.
pub async fn outer(web: Shared, request: Request, next: Next) -> Response {
    let id: String = web.app.random_bytes::<8>().iter().map(|b| format!("{b:02x}")).collect();
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "(none)".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("request", %id, method = %request.method(), %route);
    let started = web.app.now();
    let answer = async {
        let answer = match refused(&web, &request) {
            Some(refusal) => refusal.into_response(),
            None => AssertUnwindSafe(next.run(request))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| WebError::internal("a handler panicked").into_response()),
        };
        tracing::debug!(status = answer.status().as_u16(), ms = web.app.now().saturating_sub(started), "answered");
        answer
    }
    .instrument(span)
    .await;
    let mut answer = finish_error(&web.site, &web.style, &id, answer);
    headers::apply(&web.site, &mut answer);
    if let Ok(id) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert("x-request-id", id);
    }
    answer
}

/// Why a request is not looked at, whatever it asks for.
fn refused(web: &Shared, request: &Request) -> Option<WebError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    if !host.is_some_and(|host| web.site.answers_to(host)) {
        return Some(WebError::told(
            StatusCode::MISDIRECTED_REQUEST,
            "Another name",
            format!(
                "Sluice answers at {}. To reach it under another name, write that into public-url in plugins.toml.",
                web.site.address("/")
            ),
        ));
    }
    if let Some(peer) = request.extensions().get::<Peer>()
        && !web.site.https()
        && !(at_home(&peer.remote.ip()) && at_home(&peer.local.ip()))
    {
        return Some(WebError::told(
            StatusCode::FORBIDDEN,
            "Not without encryption",
            "Without https, Sluice answers on this machine and on private networks only. Put a proxy with a certificate in front, and write its address \
             into public-url in plugins.toml.",
        ));
    }
    None
}

/// The address that a request counts for: the peer's, or what a trusted proxy says of it (the last address in `X-Forwarded-For` that is no such
/// proxy itself).
pub fn client(web: &Shared, peer: Option<&Peer>, headers: &http::HeaderMap) -> Option<IpAddr> {
    let peer = peer?.remote.ip().to_canonical();
    Some(behind(&web.app.config.trusted_proxies, peer, headers))
}

fn behind(trusted: &[IpAddr], peer: IpAddr, headers: &http::HeaderMap) -> IpAddr {
    if !trusted.contains(&peer) {
        return peer;
    }
    let said = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let mut address = peer;
    for hop in said.collect::<Vec<_>>().into_iter().rev() {
        // What cannot be read was written by nobody we trust: the hop before it is as far as we know.
        let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
        address = hop.to_canonical();
        if !trusted.contains(&address) {
            break;
        }
    }
    address
}

/// Around each route, by its kind.
pub async fn inner(web: Shared, kind: Kind, mut request: Request, next: Next) -> Response {
    match admit(&web, kind, &mut request).await {
        Ok(cookie) => {
            let mut answer = next.run(request).await;
            if let Some(cookie) = cookie
                && !answer.headers().contains_key(header::SET_COOKIE)
            {
                answer.headers_mut().append(header::SET_COOKIE, cookie);
            }
            answer
        }
        Err(refusal) => *refusal,
    }
}

async fn admit(web: &Shared, kind: Kind, request: &mut Request) -> Result<Option<HeaderValue>, Box<Response>> {
    let refuse = |why: WebError| Box::new(why.into_response());
    if matches!(kind, Kind::Public) {
        return Ok(None);
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let mint = kind == Kind::Entrance && !changes;
    let (visitor, cookie) = Visitor::recognise(web, request.headers(), mint).await.map_err(|why| refuse(why.into()))?;
    if changes {
        let form = read_form(web, request, &visitor).await.map_err(refuse)?;
        request.extensions_mut().insert(form);
    }
    if matches!(kind, Kind::Member | Kind::Owner) && visitor.member().is_none() {
        let asked = request.uri().path_and_query().map_or("/", |p| p.as_str());
        let next = if changes { None } else { web.site.local(asked) };
        let query = next
            .map(|next| format!("?next={}", url::form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>()))
            .unwrap_or_default();
        return Err(Box::new(see_other(&web.site.path(&format!("/sign-in{query}")))));
    }
    if kind == Kind::Owner && !visitor.member().is_some_and(|member| member.user.owner) {
        return Err(refuse(WebError::NotFound));
    }
    request.extensions_mut().insert(visitor);
    Ok(cookie)
}

/// Reads and checks a form: where it came from first, then its size, then its token.
async fn read_form(web: &Shared, request: &mut Request, visitor: &Visitor) -> Result<Form, WebError> {
    if !csrf::came_from_here(&web.site, request.headers()) {
        return Err(WebError::told(
            StatusCode::FORBIDDEN,
            "Refused",
            "Another site tried to send this form in your name. If that was you, open Sluice itself and use the form there.",
        ));
    }
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_form = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    let body = std::mem::replace(request.body_mut(), Body::empty());
    let read = tokio::time::timeout(BODY_TIME, Limited::new(body, MAX_FORM_BYTES).collect()).await;
    let body = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(why)) if why.is::<http_body_util::LengthLimitError>() => {
            return Err(WebError::told(StatusCode::PAYLOAD_TOO_LARGE, "Too large", "A form has at most 64 KiB."));
        }
        Ok(Err(_)) => {
            return Err(WebError::told(StatusCode::BAD_REQUEST, "Cut off", "The form did not arrive whole. Go back and send it again."));
        }
        Err(_) => {
            return Err(WebError::told(
                StatusCode::REQUEST_TIMEOUT,
                "Too slow",
                "The form took too long to arrive. Go back and send it again.",
            ));
        }
    };
    let form = if is_form { Form::parse(&body) } else { None };
    let form = form.ok_or_else(|| WebError::told(StatusCode::FORBIDDEN, "Refused", "That was not one of Sluice's forms."))?;
    let expected = visitor.csrf();
    if expected.is_empty() || !csrf::same(expected, form.text(csrf::FIELD)) {
        return Err(WebError::told(
            StatusCode::FORBIDDEN,
            "That form is too old",
            "You have signed in or out since the page was opened, or the browser keeps no cookies. Go back, reload the page and send the form again.",
        )
        .onward("/", "To the first page"));
    }
    Ok(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_proxy_speaks_for_others() {
        let proxy: IpAddr = "10.0.0.1".parse().unwrap();
        let other: IpAddr = "10.0.0.2".parse().unwrap();
        for (peer, forwarded, counted) in [
            ("10.0.0.9", "1.2.3.4", "10.0.0.9"),
            ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
            ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
            ("10.0.0.1", "1.2.3.4, 10.0.0.2", "1.2.3.4"),
            ("10.0.0.1", "nonsense", "10.0.0.1"),
            ("10.0.0.1", "1.2.3.4, nonsense", "10.0.0.1"),
            ("10.0.0.1", "", "10.0.0.1"),
        ] {
            let mut headers = http::HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            let got = behind(&[proxy, other], peer.parse().unwrap(), &headers);
            assert_eq!(got.to_string(), counted, "{peer} {forwarded}");
        }
    }
}
