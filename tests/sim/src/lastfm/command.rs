//! Changes of the world while a client reads it: as a library call, or as JSON at `/_control/do`.

use super::Bounds;
use super::world::{ApiKey, Loved, Play, Playing, World};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One change. Times are seconds since 1970; users go by name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
#[non_exhaustive]
pub enum Command {
    /// A play, at any time in the past. Answers its id.
    AddPlay {
        user: String,
        at: i64,
        artist: String,
        track: String,
        #[serde(default)]
        album: String,
    },
    /// Takes a play away.
    DeletePlay { user: String, id: u64 },
    /// Takes all plays from `from` to before `to` away.
    DeletePlays { user: String, from: i64, to: i64 },
    /// Writes a play's song differently, as the provider does when it corrects names.
    CorrectPlay { user: String, id: u64, artist: String, track: String },
    /// What plays at this moment; null for nothing.
    SetPlaying { user: String, playing: Option<(String, String)> },
    /// Marks a song as loved.
    Love { user: String, at: i64, artist: String, track: String },
    /// Takes the mark back.
    Unlove { user: String, artist: String, track: String },
    /// Hides or shows recent listening.
    Hide { user: String, hidden: bool },
    /// Gives an account another name.
    RenameUser { user: String, to: String },
    /// The account is gone.
    DeleteUser { user: String },
    /// A session without the sign-in page. Answers its key.
    OpenSession { user: String, api_key: String },
    /// The person takes access back: one session, or all of theirs.
    RevokeSession {
        #[serde(default)]
        session: Option<String>,
        #[serde(default)]
        user: Option<String>,
    },
    /// Suspends an application, or lifts it.
    SuspendKey { api_key: String, suspended: bool },
    /// Forgets an application.
    RemoveKey { api_key: String },
    /// A new application.
    AddKey { api_key: String, secret: String },
    /// Sign-in tokens end now.
    ExpireTokens {},
    /// Whom the sign-in page signs in at once; null shows the page.
    AutoApprove { user: Option<String> },
    /// Which ends of a range count.
    SetBounds { bounds: Bounds },
    /// So many requests in so many seconds; null for no limit.
    SetLimit { limit: Option<(u64, i64)> },
    /// Whether errors come with status 200.
    ErrorsOn200 { on: bool },
    /// Whether empty lists have the old form.
    OldEmptyForm { on: bool },
}

impl World {
    /// Makes a change and answers what it made.
    pub fn apply(&mut self, command: Command) -> Result<Value, String> {
        match command {
            Command::AddPlay { user, at, artist, track, album } => {
                let id = self.next_play;
                self.user_mut(&user)?.insert(Play { id, at, artist, track, album, mbid: String::new() });
                self.next_play += 1;
                return Ok(json!(id));
            }
            Command::DeletePlay { user, id } => self.user_mut(&user)?.plays.retain(|play| play.id != id),
            Command::DeletePlays { user, from, to } => self.user_mut(&user)?.plays.retain(|play| play.at < from || play.at >= to),
            Command::CorrectPlay { user, id, artist, track } => {
                let play =
                    self.user_mut(&user)?.plays.iter_mut().find(|play| play.id == id).ok_or_else(|| format!("there is no play {id}"))?;
                (play.artist, play.track) = (artist, track);
            }
            Command::SetPlaying { user, playing } => {
                self.user_mut(&user)?.playing = playing.map(|(artist, track)| Playing { artist, track })
            }
            Command::Love { user, at, artist, track } => {
                let user = self.user_mut(&user)?;
                user.loved.push(Loved { at, artist, track });
                user.loved.sort_by_key(|loved| std::cmp::Reverse(loved.at));
            }
            Command::Unlove { user, artist, track } => {
                self.user_mut(&user)?.loved.retain(|loved| loved.artist != artist || loved.track != track)
            }
            Command::Hide { user, hidden } => self.user_mut(&user)?.hidden = hidden,
            Command::RenameUser { user, to } => {
                let (old, new) = (user.to_lowercase(), to.to_lowercase());
                let mut account = self.users.remove(&old).ok_or_else(|| format!("there is no user {user:?}"))?;
                account.name = to;
                self.users.insert(new.clone(), account);
                self.sessions.values_mut().filter(|session| session.user == old).for_each(|session| session.user.clone_from(&new));
            }
            Command::DeleteUser { user } => drop(self.users.remove(&user.to_lowercase())),
            other => return self.apply_to_access(other),
        }
        Ok(json!({}))
    }

    fn apply_to_access(&mut self, command: Command) -> Result<Value, String> {
        match command {
            Command::OpenSession { user, api_key } => {
                let name = self.user_mut(&user)?.name.clone();
                self.key_mut(&api_key)?;
                return Ok(json!(self.open_session(&name, &api_key)));
            }
            Command::RevokeSession { session, user } => {
                let user = user.map(|user| user.to_lowercase());
                for (key, row) in &mut self.sessions {
                    row.revoked |= session.as_ref() == Some(key) || user.as_ref() == Some(&row.user);
                }
            }
            Command::SuspendKey { api_key, suspended } => self.key_mut(&api_key)?.suspended = suspended,
            Command::RemoveKey { api_key } => self.keys.retain(|key| key.key != api_key),
            Command::AddKey { api_key, secret } => self.keys.push(ApiKey::new(&api_key, &secret)),
            Command::ExpireTokens {} => {
                let now = self.clock.now().div_euclid(1000);
                self.tokens.values_mut().for_each(|token| token.ends_at = now);
            }
            Command::AutoApprove { user } => self.auto_approve = user,
            Command::SetBounds { bounds } => self.bounds = bounds,
            Command::SetLimit { limit } => {
                self.limit = limit;
                self.counts.clear();
            }
            Command::ErrorsOn200 { on } => self.errors_on_200 = on,
            Command::OldEmptyForm { on } => self.old_empty_form = on,
            other => return Err(format!("{other:?} is not known")),
        }
        Ok(json!({}))
    }

    fn key_mut(&mut self, key: &str) -> Result<&mut ApiKey, String> {
        self.keys.iter_mut().find(|known| known.key == key).ok_or_else(|| format!("there is no application {key:?}"))
    }
}
