//! The one table of addresses, from which the router is built: method, path, handler, and who may ask.
//!
//! Nothing is served that is not a row here, so a test that walks [`routes`] walks everything. Each row's handler is wrapped in the guard by its
//! kind; the guard itself demands a form's token of every method that may change something, whatever the kind.

use super::{
    Shared, guard,
    pages::{
        account, assets, callback, connection, disconnect, download, entries, health, home, link, modules, owner_link, setup, sign_in,
    },
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    handler::Handler,
    middleware::{Next, from_fn},
    routing::{MethodFilter, MethodRouter, on},
};
use http::Method;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anybody and any program; nothing is known of who asks.
    Public,
    /// Anybody with a browser: the pages before sign-in. They have forms, so whoever opens one gets a cookie.
    Entrance,
    /// Anybody, whether signed in or not, without being given a cookie: where providers send people back.
    Return,
    /// Whoever is signed in; others are sent to the sign-in page.
    Member,
    /// Whoever owns the host: for other members there is nothing at this address.
    Owner,
}

/// One row, without its handler.
#[derive(Clone, Debug)]
pub struct Route {
    /// The HTTP method.
    pub method: Method,
    /// The path's template, below the path of `public-url`.
    pub path: &'static str,
    /// Who may ask.
    pub kind: Kind,
}

type Row = (Route, MethodRouter<Shared>);

fn row<H, T>(method: Method, path: &'static str, kind: Kind, handler: H) -> Row
where
    H: Handler<T, Shared>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::TRACE);
    (Route { method, path, kind }, on(filter, handler))
}

fn get<H: Handler<T, Shared>, T: 'static>(path: &'static str, kind: Kind, handler: H) -> Row {
    row(Method::GET, path, kind, handler)
}

fn post<H: Handler<T, Shared>, T: 'static>(path: &'static str, kind: Kind, handler: H) -> Row {
    row(Method::POST, path, kind, handler)
}

fn table() -> Vec<Row> {
    use Kind::{Entrance, Member, Owner, Public, Return};
    vec![
        get("/healthz", Public, health::show),
        get("/assets/sluice.css", Public, assets::style),
        get("/assets/sluice.svg", Public, assets::icon),
        // Before sign-in.
        get("/setup/{token}", Entrance, setup::show),
        post("/setup/{token}", Entrance, setup::submit),
        get("/owner-link/{token}", Entrance, owner_link::show),
        post("/owner-link/{token}", Entrance, owner_link::submit),
        get("/sign-in", Entrance, sign_in::show),
        post("/sign-in", Entrance, sign_in::submit),
        // The person.
        post("/sign-out", Member, account::sign_out),
        get("/account", Member, account::show),
        post("/account/password", Member, account::password),
        post("/account/time-zone", Member, account::time_zone),
        // Linking.
        get("/link", Member, link::choose),
        get("/link/{connector}", Member, link::show),
        post("/link/{connector}/{profile}", Member, link::submit),
        post("/link/{connector}/{profile}/landed", Member, callback::landed),
        get("/connect/{connector}/{profile}/callback", Return, callback::plain),
        get("/connect/{connector}/{profile}/callback/{nonce}", Return, callback::with_nonce),
        // Connections.
        get("/", Member, home::show),
        get("/connections/{id}", Member, connection::show),
        post("/connections/{id}/sync", Member, connection::sync),
        post("/connections/{id}/stop", Member, connection::stop),
        get("/connections/{id}/disconnect", Member, disconnect::show),
        post("/connections/{id}/disconnect", Member, disconnect::submit),
        get("/connections/{id}/entries", Member, entries::show),
        get("/connections/{id}/entries.csv", Member, download::csv),
        get("/connections/{id}/entries.json", Member, download::json),
        // The connector files.
        get("/modules", Owner, modules::list),
        get("/modules/{name}", Owner, modules::show),
        get("/modules/{name}/{verb}", Owner, modules::ask),
        post("/modules/{name}/{verb}", Owner, modules::decide),
    ]
}

/// Every address that is served, for tests that walk them all.
#[must_use]
pub fn routes() -> Vec<Route> {
    table().into_iter().map(|(route, _)| route).collect()
}

/// The router, below the path of `public-url`.
pub fn build(web: &Shared) -> Router {
    let mut router = Router::new();
    for (route, handler) in table() {
        let (shared, kind) = (web.clone(), route.kind);
        let guarded = handler.route_layer(from_fn(move |request: Request, next: Next| guard::inner(shared.clone(), kind, request, next)));
        router = router.route(&web.site.path(route.path), guarded);
    }
    if !web.site.base().is_empty() {
        // What watches the host on its own machine need not know the path; and a person may leave out the last slash.
        router = router.route("/healthz", axum::routing::get(health::show));
        let to = web.site.path("/");
        router = router.route(web.site.base(), axum::routing::get(move || std::future::ready(super::reply::see_other(&to))));
    }
    let shared = web.clone();
    router
        .layer(DefaultBodyLimit::max(super::form::MAX_FORM_BYTES))
        .layer(from_fn(move |request: Request, next: Next| guard::outer(shared.clone(), request, next)))
        .with_state(web.clone())
}
