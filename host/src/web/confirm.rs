//! The password, asked for again before something that a borrowed or stolen session must not do.
//!
//! What was typed holds for [`RECENT_MS`] and for this session alone; it is known in memory only, so a restart asks again. Attempts are counted with
//! those of the sign-in: a session must not become a way to guess the password.

use super::{Shared, guard::client, password::LONGEST, reply::WebError, server::Peer, session::Member, when};
use http::HeaderMap;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How long a password that was typed counts: long enough to decide about a few modules in a row.
pub const RECENT_MS: i64 = 5 * 60_000;
/// Sessions that are remembered; the password was typed in each within the last minutes.
const MAX_SESSIONS: usize = 1_000;

/// Sessions whose password was typed just now.
#[derive(Default)]
pub struct Recent {
    until: Mutex<HashMap<[u8; 32], i64>>,
}

impl Recent {
    fn sessions(&self) -> MutexGuard<'_, HashMap<[u8; 32], i64>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this session need not be asked.
    #[must_use]
    pub fn holds(&self, session: &[u8; 32], now: i64) -> bool {
        self.sessions().get(session).is_some_and(|until| now < *until)
    }

    fn note(&self, session: [u8; 32], now: i64) {
        let mut sessions = self.sessions();
        sessions.retain(|_, until| now < *until);
        // Beyond the bound one is asked again, which costs a few seconds of typing.
        if sessions.len() < MAX_SESSIONS {
            sessions.insert(session, now.saturating_add(RECENT_MS));
        }
    }
}

/// Whether `typed` is the member's password; the inner error is for them to read.
///
/// # Errors
/// The hasher's.
pub async fn password(
    web: &Shared,
    member: &Member,
    peer: Option<&Peer>,
    headers: &HeaderMap,
    typed: &str,
) -> Result<Result<(), String>, WebError> {
    let address = client(web, peer, headers);
    if let Err(wait) = web.throttle.admit(&member.user.name, address, web.app.now()) {
        return Ok(Err(format!("Too many attempts. Try again in {}.", when::span(wait.unsigned_abs().max(1_000)))));
    }
    // Nobody has a longer one.
    let typed = if typed.len() <= LONGEST { typed } else { "" };
    if !web.passwords.verify(member.user.password_hash.as_deref(), typed).await? {
        tracing::warn!("a password was asked for again, and was wrong");
        return Ok(Err("The password is not right.".to_owned()));
    }
    web.throttle.succeeded(&member.user.name, address);
    web.recent.note(member.session, web.app.now());
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_holds_for_its_session_and_its_time() {
        let recent = Recent::default();
        recent.note([1; 32], 1_000);
        assert!(recent.holds(&[1; 32], 1_000) && recent.holds(&[1; 32], 999 + RECENT_MS));
        assert!(!recent.holds(&[1; 32], 1_000 + RECENT_MS) && !recent.holds(&[2; 32], 1_000));
        for n in 0..2 * MAX_SESSIONS as u64 {
            let mut session = [0; 32];
            session[..8].copy_from_slice(&n.to_le_bytes());
            recent.note(session, 2_000);
        }
        assert!(recent.sessions().len() <= MAX_SESSIONS);
    }
}
