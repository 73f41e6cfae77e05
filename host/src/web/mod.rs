//! Pages: how people reach Sluice with a browser, and the only place that serves HTTP.
//!
//! A request's way: `server` reads it within bounds (and `patience` bounds how long an answer may go unread), `guard` decides whether it is looked at, `routes` finds its handler, a file of `pages` answers
//! it with plain data from the store and a template. `site` knows where we are, `session` who is asking, `csrf` whether a form is ours, `headers` what
//! browsers are told, `throttle` and `password` guard the sign-in, `confirm` asks for the password again, `words` and `when` say states and times for people, `markup` and `csv` make foreign
//! text harmless.
//!
//! Deliberately absent: SQL (the store has it), outbound requests (the gate has them; `link` runs the dances), scripts (the pages need none, and
//! their policy forbids them), sessions that come from anything but our own sign-in.

mod confirm;
mod csrf;
pub mod csv;
mod form;
mod guard;
mod headers;
mod links;
mod markup;
mod pages;
mod password;
mod patience;
mod reply;
mod routes;
mod server;
mod session;
mod site;
mod throttle;
mod when;
mod words;

pub use links::{LinkMakingError, OneTimeLink, make_owner_link, make_setup_link};
pub use routes::{Kind, Route, routes};
pub use server::{Peer, serve};
pub use when::machine;
pub use words::{StateWords, Tone, state_words};

use crate::app::App;
use axum::Router;
use std::sync::Arc;

/// What every handler works with.
pub(crate) struct Web {
    app: Arc<App>,
    site: site::Site,
    passwords: password::Hasher,
    throttle: throttle::Throttle,
    recent: confirm::Recent,
    /// The style sheet's address, with its content's hash.
    style: String,
}

pub(crate) type Shared = Arc<Web>;

/// The pages of `app`, to be served or asked in process.
pub fn router(app: Arc<App>) -> Router {
    let site = site::Site::new(&app.config.public_url);
    let style = site.path(&pages::assets::style_path());
    let passwords = password::Hasher::new(app.random.clone());
    let web = Arc::new(Web { app, site, passwords, throttle: throttle::Throttle::default(), recent: confirm::Recent::default(), style });
    routes::build(&web)
}
