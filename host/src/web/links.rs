//! One-time links: the first set-up, and a new password for an owner who is locked out.
//!
//! Whoever reads the terminal or the log of this machine is its operator, so that is where such a link is printed, and nowhere else. The link
//! holds 256 random bits; the store has their SHA-256. Opening it (which mail scanners and previews also do) uses nothing up; sending its form does,
//! and only once what was typed holds.

use super::{reply::WebError, session, site::Site};
use crate::app::App;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use sluice_model::UserId;
use sluice_store::{StoreError, Ticket};

/// The ticket of the first set-up.
const SETUP: &str = "setup";
/// The ticket of a new password.
const OWNER: &str = "owner-link";
/// A set-up link waits for an operator to come to a browser; the next start prints another.
const SETUP_MS: i64 = 24 * 3_600_000;
/// A link asked for by command is used at once.
const OWNER_MS: i64 = 3_600_000;

/// Which one-time link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// `/setup/…`
    Setup,
    /// `/owner-link/…`
    Owner,
}

impl LinkKind {
    fn word(self) -> &'static str {
        match self {
            Self::Setup => SETUP,
            Self::Owner => OWNER,
        }
    }
}

/// Why no link could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkMakingError {
    /// There is nobody to make it for.
    #[error("this host has no owner yet: open the set-up link that `sluice serve` prints at its start")]
    NoOwner,
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A link that somebody is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneTimeLink {
    /// The whole address; a secret until it is used.
    pub url: String,
    /// When it ends, ms.
    pub expires_at: i64,
}

/// The link to print at start, if nobody can sign in yet; good for a day. Without an owner it is the set-up, for an owner who has no password
/// (one made by `sluice connect`) the link that sets it; `None` where there is an owner who can sign in.
///
/// # Errors
/// The store's.
pub async fn make_setup_link(app: &App) -> Result<Option<OneTimeLink>, LinkMakingError> {
    match app.store.owner().await? {
        None => Ok(Some(make(app, LinkKind::Setup, None, SETUP_MS).await?)),
        Some(owner) if owner.password_hash.is_none() => Ok(Some(make(app, LinkKind::Owner, Some(owner.id), SETUP_MS).await?)),
        Some(_) => Ok(None),
    }
}

/// Makes a link by which the owner sets a new password; good for an hour.
///
/// # Errors
/// There is no owner; the store's.
pub async fn make_owner_link(app: &App) -> Result<OneTimeLink, LinkMakingError> {
    let owner = app.store.owner().await?.ok_or(LinkMakingError::NoOwner)?;
    Ok(make(app, LinkKind::Owner, Some(owner.id), OWNER_MS).await?)
}

async fn make(app: &App, kind: LinkKind, user: Option<UserId>, lasts: i64) -> Result<OneTimeLink, StoreError> {
    let token = URL_SAFE_NO_PAD.encode(app.random_bytes::<32>());
    let expires_at = app.now().saturating_add(lasts);
    app.store.put_ticket(Ticket { hash: session::hash(&token), kind: kind.word().to_owned(), user, expires_at }).await?;
    Ok(OneTimeLink { url: Site::new(&app.config.public_url).address(&format!("/{}/{token}", kind.word())), expires_at })
}

/// Looks at a link without using it up.
///
/// # Errors
/// It was used, has run out, or never was: one answer for all three.
pub async fn peek(app: &App, kind: LinkKind, token: &str) -> Result<Ticket, WebError> {
    judge(app, kind, app.store.peek_ticket(&session::hash(token)).await?)
}

/// Uses a link up.
///
/// # Errors
/// As [`peek`]; of two at once, one gets this.
pub async fn take(app: &App, kind: LinkKind, token: &str) -> Result<Ticket, WebError> {
    judge(app, kind, app.store.take_ticket(&session::hash(token)).await?)
}

fn judge(app: &App, kind: LinkKind, ticket: Option<Ticket>) -> Result<Ticket, WebError> {
    ticket.filter(|t| t.kind == kind.word() && app.now() < t.expires_at).ok_or_else(|| {
        let again = match kind {
            LinkKind::Setup => "Start Sluice again: as long as there is no owner, it prints a new one.",
            LinkKind::Owner => "Run `sluice owner-link` on the machine it runs on for a new one.",
        };
        WebError::told(StatusCode::GONE, "This link is used up", format!("It was used before, or it is too old. {again}"))
            .onward("/sign-in", "To the sign-in page")
    })
}
