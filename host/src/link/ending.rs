//! Keys that end and that only the person can replace: they are told in good time.

use super::refresh::can_refresh;
use crate::{app::App, modules::Connector};
use sluice_store::{Connection, Credential, StoreError};

const WEEK_MS: i64 = 7 * 24 * 3_600_000;

/// When this connection's key ends, if that is soon (within a week, or the last third of its life where that is shorter) and the host cannot
/// renew it by itself; ms.
///
/// # Errors
/// The store failed.
pub async fn key_ends_soon(app: &App, connector: &Connector, connection: &Connection) -> Result<Option<i64>, StoreError> {
    let (_, credentials) = app.store.credentials(connection.id).await?;
    if can_refresh(connector, connection, &credentials) {
        return Ok(None);
    }
    Ok(soon(&credentials, connection.linked_at, app.now()))
}

fn soon(credentials: &[Credential], linked_at: i64, now: i64) -> Option<i64> {
    let ends = credentials.iter().filter(|c| !c.guest).filter_map(|c| c.expires_at).min()?;
    let life = ends.saturating_sub(linked_at).max(0);
    (ends.saturating_sub(now) <= WEEK_MS.min(life / 3)).then_some(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3_600_000;

    fn key(expires_at: Option<i64>, guest: bool) -> Credential {
        Credential { name: "token".to_owned(), ciphertext: Vec::new(), secret: true, guest, expires_at, version: 1, intent_at: None }
    }

    #[test]
    fn a_key_is_announced_a_week_or_a_third_of_its_life_before_its_end() {
        for (what, keys, now, said) in [
            ("long before", vec![key(Some(60 * DAY), false)], 50 * DAY, None),
            ("a week before", vec![key(Some(60 * DAY), false)], 53 * DAY, Some(60 * DAY)),
            ("a short one, not yet", vec![key(Some(9 * DAY), false)], 5 * DAY, None),
            ("a short one, the last third", vec![key(Some(9 * DAY), false)], 6 * DAY, Some(9 * DAY)),
            ("already over", vec![key(Some(9 * DAY), false)], 10 * DAY, Some(9 * DAY)),
            ("one that never ends", vec![key(None, false)], 50 * DAY, None),
            ("what the connector keeps is its own", vec![key(Some(60 * DAY), true)], 59 * DAY, None),
        ] {
            assert_eq!(soon(&keys, 0, now), said, "{what}");
        }
    }
}
