//! Keys at rest: ciphertext with a version, so that a rotated pair replaces exactly the one it came from.
//!
//! A refresh is two durable steps: the intent before the request goes out, the new pair before its first use. Both compare the version they
//! were made for; who finds that it moved on re-reads instead of believing an answer to an old question.

use crate::{Store, StoreError};
use rusqlite::{Connection, OptionalExtension, params};
use sluice_model::ConnectionId;

/// A credential to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCredential {
    /// The key's name.
    pub name: String,
    /// Sealed with its identity.
    pub ciphertext: Vec<u8>,
    /// Whether it is kept secret (a user name is not).
    pub secret: bool,
    /// Whether the connector set it itself; such a key never satisfies a recipe.
    pub guest: bool,
    /// ms.
    pub expires_at: Option<i64>,
}

/// A stored credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The key's name.
    pub name: String,
    /// Sealed with its identity.
    pub ciphertext: Vec<u8>,
    /// Whether it is kept secret.
    pub secret: bool,
    /// Whether the connector set it itself.
    pub guest: bool,
    /// ms.
    pub expires_at: Option<i64>,
    /// Rises with each replacement.
    pub version: i64,
    /// A refresh of this version went out then, and whether the provider acted on it is not known.
    pub intent_at: Option<i64>,
}

/// All keys of a connection, by name.
pub(crate) fn load(conn: &Connection, connection: i64) -> Result<Vec<Credential>, StoreError> {
    let mut statement = conn.prepare_cached(
        "SELECT name, ciphertext, secret, guest, expires_at, version, intent_at FROM credential WHERE connection = ? ORDER BY name",
    )?;
    let rows = statement.query_map([connection], |row| {
        Ok(Credential {
            name: row.get(0)?,
            ciphertext: row.get(1)?,
            secret: row.get(2)?,
            guest: row.get(3)?,
            expires_at: row.get(4)?,
            version: row.get(5)?,
            intent_at: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Stores keys: new ones with version 1, known ones a version higher and without intent.
pub(crate) fn put(conn: &Connection, connection: i64, credentials: &[NewCredential]) -> Result<(), StoreError> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO credential (connection, name, ciphertext, secret, guest, expires_at, version) VALUES (?, ?, ?, ?, ?, ?, 1)
         ON CONFLICT DO UPDATE SET ciphertext = excluded.ciphertext, secret = excluded.secret, guest = excluded.guest,
           expires_at = excluded.expires_at, version = version + 1, intent_at = NULL",
    )?;
    for new in credentials {
        statement.execute(params![connection, new.name, new.ciphertext, new.secret, new.guest, new.expires_at])?;
    }
    Ok(())
}

/// Removes all keys and the wrapped data key; how many keys there were.
pub(crate) fn wipe(conn: &Connection, connection: i64) -> Result<u64, StoreError> {
    let wiped = conn.prepare_cached("DELETE FROM credential WHERE connection = ?")?.execute([connection])?;
    conn.prepare_cached("DELETE FROM data_key WHERE connection = ?")?.execute([connection])?;
    Ok(wiped as u64)
}

impl Store {
    /// Key id and wrapped key, and all keys of a connection.
    ///
    /// # Errors
    /// The store failed.
    #[allow(clippy::type_complexity, reason = "a pair of what the vault needs; a struct would be unpacked at once")]
    pub async fn credentials(&self, connection: ConnectionId) -> Result<(Option<(String, Vec<u8>)>, Vec<Credential>), StoreError> {
        self.read(move |conn| {
            let key = conn
                .prepare_cached("SELECT key_id, bytes FROM data_key WHERE connection = ?")?
                .query_row([connection.0], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            Ok((key, load(conn, connection.0)?))
        })
        .await
    }

    /// Notes, durably, that a refresh of this version goes out now. False when the version moved on: re-read instead.
    ///
    /// # Errors
    /// The store failed.
    pub async fn mark_intent(&self, connection: ConnectionId, name: &str, version: i64, at: i64) -> Result<bool, StoreError> {
        let name = name.to_owned();
        self.write(move |conn, _| {
            let changed = conn
                .prepare_cached("UPDATE credential SET intent_at = ? WHERE connection = ? AND name = ? AND version = ?")?
                .execute(params![at, connection.0, name, version])?;
            Ok(changed == 1)
        })
        .await
    }

    /// Takes an intent back: the provider is known not to have acted on it. Where the version moved on there is none any more.
    ///
    /// # Errors
    /// The store failed.
    pub async fn take_back_intent(&self, connection: ConnectionId, name: &str, version: i64) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |conn, _| {
            conn.prepare_cached("UPDATE credential SET intent_at = NULL WHERE connection = ? AND name = ? AND version = ?")?
                .execute(params![connection.0, name, version])?;
            Ok(())
        })
        .await
    }

    /// Stores the rotated keys in one transaction, versions raised, intents cleared. False when the version moved on: nothing is stored.
    ///
    /// # Errors
    /// The store failed.
    pub async fn replace_credentials(
        &self,
        connection: ConnectionId,
        expected: (String, i64),
        credentials: Vec<NewCredential>,
    ) -> Result<bool, StoreError> {
        self.write(move |conn, _| {
            let (name, version) = &expected;
            // Also clears the intent and raises the version where the provider sent no new value for this one: the question is answered.
            let listed = credentials.iter().any(|new| new.name == *name);
            let current = conn
                .prepare_cached(
                    "UPDATE credential SET intent_at = NULL, version = version + ? WHERE connection = ? AND name = ? AND version = ?",
                )?
                .execute(params![i64::from(!listed), connection.0, name, version])?;
            if current == 0 {
                return Ok(false);
            }
            put(conn, connection.0, &credentials)?;
            Ok(true)
        })
        .await
    }
}
