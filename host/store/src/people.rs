//! People and their way in: users, sessions, one-time links, link flows, the audit trail.
//!
//! Nothing here is a secret: of a session cookie, a ticket and a state only the SHA-256 is kept, a password only as its argon2 hash, and
//! what a flow must remember is sealed before it comes here. Whether something has expired is the caller's judgement by its own clock;
//! rows that ended long ago are swept away when a new one is made.

use crate::{Store, StoreError};
use sluice_model::{ConnectionId, UserId};

/// Someone to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Unique, as it is typed at sign-in.
    pub name: String,
    /// IANA zone: every day that is counted depends on it.
    pub time_zone: String,
    /// argon2id in PHC form; `None` until one is set.
    pub password_hash: Option<String>,
    /// Whether this is the operator's own account; there is one.
    pub owner: bool,
}

/// A person who signs in to this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Row id.
    pub id: UserId,
    /// Unique.
    pub name: String,
    /// IANA zone.
    pub time_zone: String,
    /// argon2id in PHC form.
    pub password_hash: Option<String>,
    /// The operator's own account.
    pub owner: bool,
    /// ms.
    pub created_at: i64,
}

/// A signed-in browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of the cookie's value.
    pub hash: [u8; 32],
    /// Whose.
    pub user: UserId,
    /// ms.
    pub created_at: i64,
    /// Ends then when nothing happens before.
    pub idle_until: i64,
    /// Ends then whatever happens.
    pub absolute_until: i64,
}

/// A one-time link: the owner's first set-up, a way back in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// SHA-256 of the link's secret part.
    pub hash: [u8; 32],
    /// What it is good for.
    pub kind: String,
    /// For whom, when that is known.
    pub user: Option<UserId>,
    /// ms.
    pub expires_at: i64,
}

/// A sign-in at a provider that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// SHA-256 of the state (or the nonce in the callback's path).
    pub state_hash: [u8; 32],
    /// The browser session it began in; `None` from a terminal.
    pub session: Option<[u8; 32]>,
    /// Who began it.
    pub user: UserId,
    /// Connector name.
    pub connector: String,
    /// `[[auth]]` id.
    pub profile: String,
    /// The connection to link again.
    pub relink: Option<ConnectionId>,
    /// What the second half needs (the PKCE verifier), sealed.
    pub sealed: Vec<u8>,
    /// ms.
    pub created_at: i64,
    /// ms.
    pub expires_at: i64,
}

/// Who did what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// ms.
    pub at: i64,
    /// Who, when that is known.
    pub user: Option<UserId>,
    /// Short and stable.
    pub kind: String,
    /// To which connection.
    pub connection: Option<ConnectionId>,
    /// For people.
    pub detail: String,
}

impl Store {
    /// Makes a user. A name that is taken, or a second owner, is refused.
    ///
    /// # Errors
    /// [`StoreError::Refused`], or the store failed.
    pub async fn create_user(&self, user: NewUser) -> Result<UserId, StoreError> {
        self.unfinished(user).await
    }

    /// The operator's own account, once it is set up.
    ///
    /// # Errors
    /// The store failed.
    pub async fn owner(&self) -> Result<Option<User>, StoreError> {
        self.unfinished(()).await
    }

    /// A user by id.
    ///
    /// # Errors
    /// The store failed.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.unfinished(id).await
    }

    /// A user by name, exactly as stored.
    ///
    /// # Errors
    /// The store failed.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<User>, StoreError> {
        self.unfinished(name.to_owned()).await
    }

    /// Sets a password hash and ends that user's sessions.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store failed.
    pub async fn set_password(&self, user: UserId, hash: String) -> Result<(), StoreError> {
        self.unfinished((user, hash)).await
    }

    /// Sets a user's zone. Days already stored stay where they are.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the store failed.
    pub async fn set_time_zone(&self, user: UserId, time_zone: String) -> Result<(), StoreError> {
        self.unfinished((user, time_zone)).await
    }

    /// Keeps a new session.
    ///
    /// # Errors
    /// The store failed.
    pub async fn create_session(&self, session: Session) -> Result<(), StoreError> {
        self.unfinished(session).await
    }

    /// The session of that hash, whatever its age.
    ///
    /// # Errors
    /// The store failed.
    pub async fn session(&self, hash: &[u8; 32]) -> Result<Option<Session>, StoreError> {
        self.unfinished(*hash).await
    }

    /// Moves the idle limit of a session.
    ///
    /// # Errors
    /// The store failed.
    pub async fn touch_session(&self, hash: &[u8; 32], idle_until: i64) -> Result<(), StoreError> {
        self.unfinished((*hash, idle_until)).await
    }

    /// Ends a session; one that is not there is no error.
    ///
    /// # Errors
    /// The store failed.
    pub async fn end_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        self.unfinished(*hash).await
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    /// The store failed.
    pub async fn end_sessions(&self, user: UserId) -> Result<(), StoreError> {
        self.unfinished(user).await
    }

    /// Keeps a one-time link; others of the same kind and user end.
    ///
    /// # Errors
    /// The store failed.
    pub async fn put_ticket(&self, ticket: Ticket) -> Result<(), StoreError> {
        self.unfinished(ticket).await
    }

    /// Looks at a one-time link without using it up.
    ///
    /// # Errors
    /// The store failed.
    pub async fn peek_ticket(&self, hash: &[u8; 32]) -> Result<Option<Ticket>, StoreError> {
        self.unfinished(*hash).await
    }

    /// Uses a one-time link up: of two callers one gets it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn take_ticket(&self, hash: &[u8; 32]) -> Result<Option<Ticket>, StoreError> {
        self.unfinished(*hash).await
    }

    /// Keeps a sign-in that is under way.
    ///
    /// # Errors
    /// The store failed.
    pub async fn start_flow(&self, flow: Flow) -> Result<(), StoreError> {
        self.unfinished(flow).await
    }

    /// Takes a flow out, whatever its age: of two callers one gets it, and a failed callback burns it.
    ///
    /// # Errors
    /// The store failed.
    pub async fn take_flow(&self, state_hash: &[u8; 32]) -> Result<Option<Flow>, StoreError> {
        self.unfinished(*state_hash).await
    }

    /// Notes who did what.
    ///
    /// # Errors
    /// The store failed.
    pub async fn audit(&self, audit: Audit) -> Result<(), StoreError> {
        self.unfinished(audit).await
    }

    /// The latest notes, newest first.
    ///
    /// # Errors
    /// The store failed.
    pub async fn audit_log(&self, limit: usize) -> Result<Vec<Audit>, StoreError> {
        self.unfinished(limit).await
    }
}
