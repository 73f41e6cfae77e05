//! Sign-in attempts, slowed down: for each account, and for each address they come from.
//!
//! The problem: a password of ten characters holds only if nobody may try millions of them; and the counter itself must not become a way to
//! fill memory, or to keep the owner out for good.
//!
//! The contract: an attempt is counted before its password is looked at, so that a hundred at once are a hundred. After [`FREE`] failures an
//! account answers one attempt after 1 s, 2 s, 4 s … up to [`ACCOUNT_MAX_MS`]; an address has [`ADDRESS_FREE`] and waits up to [`ADDRESS_MAX_MS`].
//! Counts fade after [`FORGET_MS`] without an attempt. Names that nobody has are counted alike. A success clears the account's count and takes
//! back the address's attempt. An owner who is kept out by somebody else's attempts opens a link from `sluice owner-link`.
//!
//! What bounds it: [`MAX_ROWS`] rows in each table, 48 bytes or so each; when full, the row that was quiet longest goes.

use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Failures of one account before it is slowed: room for a few typing errors.
pub const FREE: u32 = 5;
/// Failures from one address before it is slowed: a household behind one address has several people.
pub const ADDRESS_FREE: u32 = 20;
/// The longest wait of an account. A minute makes 1,440 guesses a day, and the owner is never out for longer.
pub const ACCOUNT_MAX_MS: i64 = 60_000;
/// The longest wait of an address.
pub const ADDRESS_MAX_MS: i64 = 15 * 60_000;
/// After so long without an attempt a count starts again.
pub const FORGET_MS: i64 = 60 * 60_000;
/// Rows kept in each table.
pub const MAX_ROWS: usize = 10_000;

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    tries: u32,
    last: i64,
    open_at: i64,
}

/// The counters.
#[derive(Debug, Default)]
pub struct Throttle {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    accounts: HashMap<[u8; 32], Row>,
    addresses: HashMap<IpAddr, Row>,
}

impl Throttle {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one attempt on `name` from `address`.
    ///
    /// # Errors
    /// How many ms to wait; the attempt was then not counted, and must not be looked at.
    pub fn admit(&self, name: &str, address: Option<IpAddr>, now: i64) -> Result<(), i64> {
        let mut tables = self.tables();
        let account = account_key(name);
        let by_account = tables.accounts.get(&account).map_or(0, |row| row.wait(now));
        let by_address = address.and_then(|ip| tables.addresses.get(&network(ip))).map_or(0, |row| row.wait(now));
        let wait = by_account.max(by_address);
        if wait > 0 {
            return Err(wait);
        }
        count(&mut tables.accounts, account, now, FREE, ACCOUNT_MAX_MS);
        if let Some(ip) = address {
            count(&mut tables.addresses, network(ip), now, ADDRESS_FREE, ADDRESS_MAX_MS);
        }
        Ok(())
    }

    /// The attempt that was admitted had the right password.
    pub fn succeeded(&self, name: &str, address: Option<IpAddr>) {
        let mut tables = self.tables();
        tables.accounts.remove(&account_key(name));
        if let Some(row) = address.and_then(|ip| tables.addresses.get_mut(&network(ip))) {
            row.tries = row.tries.saturating_sub(1);
            row.open_at = 0;
        }
    }
}

impl Row {
    fn wait(&self, now: i64) -> i64 {
        if now.saturating_sub(self.last) > FORGET_MS { 0 } else { self.open_at.saturating_sub(now).max(0) }
    }
}

fn count<K: Copy + Eq + std::hash::Hash>(table: &mut HashMap<K, Row>, key: K, now: i64, free: u32, longest: i64) {
    if table.len() >= MAX_ROWS && !table.contains_key(&key) {
        table.retain(|_, row| now.saturating_sub(row.last) <= FORGET_MS);
        if table.len() >= MAX_ROWS
            && let Some(quiet) = table.iter().min_by_key(|(_, row)| row.last).map(|(key, _)| *key)
        {
            table.remove(&quiet);
        }
    }
    let row = table.entry(key).or_default();
    if now.saturating_sub(row.last) > FORGET_MS {
        *row = Row::default();
    }
    row.tries = row.tries.saturating_add(1);
    row.last = now;
    if row.tries >= free {
        let doublings = (row.tries - free).min(20);
        row.open_at = now.saturating_add((1_000_i64 << doublings).min(longest));
    }
}

/// Names are hashed: they come from outside, at any length.
fn account_key(name: &str) -> [u8; 32] {
    Sha256::digest(name.trim().to_lowercase().as_bytes()).into()
}

/// An IPv6 customer has a whole /64: count that as one.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 168, 1, 2)));

    #[test]
    fn the_wait_of_an_account_grows_and_ends() {
        let throttle = Throttle::default();
        for _ in 0..FREE {
            assert!(throttle.admit("ada", None, 1_000).is_ok());
        }
        assert_eq!(throttle.admit("Ada ", None, 1_000), Err(1_000));
        let mut now = 1_000;
        let mut longest = 0;
        for _ in 0..12 {
            let wait = throttle.admit("ada", None, now).err().unwrap_or(0);
            assert!(wait >= longest, "the wait never shrinks");
            longest = wait;
            now += wait;
            assert!(throttle.admit("ada", None, now).is_ok());
        }
        assert_eq!(longest, ACCOUNT_MAX_MS);
        assert!(throttle.admit("grace", None, now).is_ok(), "another account is open");
        assert!(throttle.admit("ada", None, now + FORGET_MS + 1).is_ok(), "an hour later all is forgotten");
    }

    #[test]
    fn an_address_is_slowed_whatever_names_it_tries() {
        let throttle = Throttle::default();
        for n in 0..ADDRESS_FREE {
            assert!(throttle.admit(&format!("name{n}"), HOME, 5).is_ok());
        }
        assert_eq!(throttle.admit("another", HOME, 5), Err(1_000));
        assert!(throttle.admit("another", None, 5).is_ok());
    }

    #[test]
    fn a_success_opens_the_account_again() {
        let throttle = Throttle::default();
        for _ in 0..FREE - 1 {
            assert!(throttle.admit("ada", HOME, 5).is_ok());
        }
        assert!(throttle.admit("ada", HOME, 5).is_ok());
        throttle.succeeded("ada", HOME);
        assert!(throttle.admit("ada", HOME, 5).is_ok());
    }

    #[test]
    fn neighbours_in_one_ipv6_network_share_a_count() {
        let throttle = Throttle::default();
        for n in 0..ADDRESS_FREE {
            let ip: IpAddr = format!("2001:db8:1:2::{n:x}").parse().unwrap();
            assert!(throttle.admit(&format!("name{n}"), Some(ip), 5).is_ok());
        }
        assert!(throttle.admit("x", Some("2001:db8:1:2:ffff::1".parse().unwrap()), 5).is_err());
        assert!(throttle.admit("y", Some("2001:db8:1:3::1".parse().unwrap()), 5).is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..MAX_ROWS + 50 {
            let _ = throttle.admit(&format!("name{n}"), None, 5 + n as i64);
        }
        assert!(throttle.tables().accounts.len() <= MAX_ROWS);
    }
}
