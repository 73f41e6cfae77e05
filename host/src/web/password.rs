//! Passwords: argon2id on blocking threads, a few at a time, and the same work for a name that nobody has.
//!
//! What it costs: 19 MiB and some 20–60 ms each (m = 19456, t = 2, p = 1). What bounds it: [`AT_ONCE`] hashes at a time and [`WAITING`] that wait,
//! at most [`PATIENCE`]; whoever comes after that is told to come again, and the pages of those who are signed in stay quick.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use sluice_model::time::Random;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// argon2's memory, KiB.
const MEMORY_KIB: u32 = 19_456;
/// Its passes over that memory.
const PASSES: u32 = 2;
/// Its lanes.
const LANES: u32 = 1;
/// Hashes at a time: 38 MiB at most, and on a small machine still a core for the rest.
const AT_ONCE: usize = 2;
/// Requests that may wait for their turn.
const WAITING: usize = 64;
/// How long one waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// The shortest password that may be set, in characters.
pub const SHORTEST: usize = 10;
/// The longest, in bytes: far beyond what people type, and nothing that a hash would notice.
pub const LONGEST: usize = 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Too many at once.
    #[error("too many people are signing in at this moment: try again in a few seconds")]
    Busy,
    /// The hash function failed, or its thread did.
    #[error("hashing a password failed: {0}")]
    Failed(String),
}

/// Hashes and checks passwords.
#[derive(Clone)]
pub struct Hasher {
    slots: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    random: Arc<dyn Random>,
    nobody: Arc<str>,
}

impl Hasher {
    /// A hasher that takes its salts from `random`.
    #[must_use]
    pub fn new(random: Arc<dyn Random>) -> Self {
        let nobody = nobody(random.as_ref());
        Self { slots: Arc::new(Semaphore::new(AT_ONCE)), waiting: Arc::new(AtomicUsize::new(0)), random, nobody }
    }

    /// The PHC string to be stored for `password`.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        let mut salt = [0u8; 16];
        self.random.fill(&mut salt);
        let password = Zeroizing::new(password.as_bytes().to_vec());
        self.work(move || {
            let made = hasher()?.hash_password_with_salt(&password, &salt).map_err(|e| e.to_string())?;
            Ok(made.to_string())
        })
        .await
    }

    /// Whether `password` is the one behind `stored`. Without one (nobody has the name, or no password was set) the same work is done for nothing.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn verify(&self, stored: Option<&str>, password: &str) -> Result<bool, PasswordError> {
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.nobody).to_owned();
        let password = Zeroizing::new(password.as_bytes().to_vec());
        let fits = self
            .work(move || {
                let stored = PasswordHash::new(&stored).map_err(|e| format!("the stored hash cannot be read: {e}"))?;
                Ok(hasher()?.verify_password(&password, &stored).is_ok())
            })
            .await?;
        Ok(fits && known)
    }

    async fn work<T: Send + 'static>(&self, job: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, PasswordError> {
        let queue = Queue::enter(&self.waiting).ok_or(PasswordError::Busy)?;
        let slot = tokio::time::timeout(PATIENCE, self.slots.clone().acquire_owned()).await;
        let slot = slot.map_err(|_| PasswordError::Busy)?.map_err(|e| PasswordError::Failed(e.to_string()))?;
        drop(queue);
        let done = tokio::task::spawn_blocking(move || {
            // The slot goes back when the thread is done, not when the visitor hangs up.
            let _slot = slot;
            job()
        });
        done.await.map_err(|e| PasswordError::Failed(e.to_string()))?.map_err(PasswordError::Failed)
    }
}

struct Queue(Arc<AtomicUsize>);

impl Queue {
    fn enter(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        let before = waiting.fetch_add(1, Ordering::AcqRel);
        let place = Self(waiting.clone());
        (before < WAITING).then_some(place)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A hash in the form of ours that is of no password: salt and outcome are drawn. Checking against it takes as long as any other check.
fn nobody(random: &dyn Random) -> Arc<str> {
    let (mut salt, mut out) = ([0u8; 16], [0u8; 32]);
    random.fill(&mut salt);
    random.fill(&mut out);
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${}${}", STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(out)).into()
}

fn hasher() -> Result<Argon2<'static>, String> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(32)).map_err(|e| e.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// What is wrong with a password somebody wants to set, for them to read.
///
/// # Errors
/// The text to show.
pub fn acceptable(password: &str, again: &str, name: &str) -> Result<(), &'static str> {
    if password.chars().count() < SHORTEST {
        return Err(
            "That password is too short: take at least 10 characters. Three or four words in a row are easy to remember and hard to guess.",
        );
    }
    if password.len() > LONGEST {
        return Err("That password is too long: 1,024 bytes are the most.");
    }
    if password.to_lowercase() == name.to_lowercase() {
        return Err("The password must not be the user name.");
    }
    let mut characters = password.chars();
    let first = characters.next();
    if characters.all(|c| Some(c) == first) {
        return Err("That password is one character again and again. Three or four words in a row are easy to remember and hard to guess.");
    }
    if password != again {
        return Err("The two passwords differ: type the same one twice.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other_is() {
        let hasher = Hasher::new(Arc::new(sluice_vault::OsRandom));
        let stored = hasher.hash("correct horse battery").await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(hasher.verify(Some(&stored), "correct horse battery").await.unwrap());
        assert!(!hasher.verify(Some(&stored), "correct horse batterz").await.unwrap());
        assert!(!hasher.verify(None, "correct horse battery").await.unwrap(), "nobody's password opens nothing");
        assert_ne!(stored, hasher.hash("correct horse battery").await.unwrap(), "a salt of its own each time");
    }

    #[test]
    fn the_hash_of_nobody_costs_as_much_as_anybodys() {
        let nobody = nobody(&sluice_vault::OsRandom);
        let read = PasswordHash::new(&nobody).unwrap();
        let params = Params::try_from(&read).unwrap();
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (MEMORY_KIB, PASSES, LANES));
        assert_eq!(read.hash.unwrap().len(), 32);
    }

    #[tokio::test]
    async fn a_crowd_is_turned_away_instead_of_piling_up() {
        let hasher = Hasher::new(Arc::new(sluice_vault::OsRandom));
        let held = hasher.slots.clone().acquire_many_owned(u32::try_from(AT_ONCE).unwrap()).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..WAITING {
            waiting.push(Queue::enter(&hasher.waiting).unwrap());
        }
        assert!(matches!(hasher.hash("x").await, Err(PasswordError::Busy)));
        drop(waiting);
        drop(held);
        assert!(hasher.hash("x").await.is_ok());
    }

    #[test]
    fn what_is_wrong_with_a_password_is_said() {
        for (password, again, wants) in [
            ("short", "short", Some("too short")),
            ("aaaaaaaaaaaa", "aaaaaaaaaaaa", Some("again and again")),
            ("ada-lovelace", "ada-lovelace", Some("user name")),
            ("correct horse", "correct house", Some("differ")),
            ("correct horse", "correct horse", None),
            ("äöüäöüäöüä", "äöüäöüäöüä", None),
        ] {
            let said = acceptable(password, again, "Ada-Lovelace").err();
            assert_eq!(said.is_some(), wants.is_some(), "{password}: {said:?}");
            if let (Some(said), Some(wants)) = (said, wants) {
                assert!(said.contains(wants), "{said}");
            }
        }
        assert!(acceptable(&"x1".repeat(600), &"x1".repeat(600), "a").is_err());
    }
}
