//! One file for each page or small group of them. A handler asks the store for plain data, turns it into words, and renders a template; what is
//! common to all pages is [`Shell`].

pub mod account;
pub mod assets;
pub mod callback;
pub mod connection;
pub mod disconnect;
pub mod download;
pub mod entries;
pub mod forms;
pub mod health;
pub mod home;
pub mod link;
pub mod modules;
pub mod owner_link;
pub mod setup;
pub mod sign_in;
mod zones;

use super::{
    Shared,
    form::Query,
    markup,
    reply::WebError,
    session::{Member, Visitor},
};
use sluice_store::Connection;

/// What a page says once, after something was done. The address carries a word from this list, never a text of anybody's.
const NOTES: [(&str, &str); 17] = [
    ("welcome", "Everything is set up. Link your first account below."),
    ("linked", "The account is linked. Its first run has begun: entries arrive as they are fetched."),
    ("linked-again", "Signed in again. The next run has begun."),
    ("sync", "A run is on its way."),
    ("stopping", "The run is asked to stop. What it has stored stays; it comes again on schedule."),
    ("over", "No run is under way."),
    ("already", "A run is already under way."),
    ("paused", "That has to be mended first: see below."),
    ("kept", "Disconnected. The keys are destroyed; the data stays until you delete it."),
    ("deleted", "Disconnected, and everything that came from it is deleted."),
    ("password", "The password is changed. Every other session has been signed out."),
    ("zone", "The time zone is changed. Days that are stored keep their dates; what comes from now on counts by the new one."),
    ("signed-out", "You are signed out."),
    ("module-approved", "Approved. These bytes run from now on, and no others under this name."),
    ("module-refused", "Refused. It does not run; what served before serves on."),
    ("module-rolled-back", "The version before serves again. Runs under way end on the one that they began with."),
    ("module-removed", "The file is removed, and what was decided about it forgotten. Accounts and their data stay."),
];

/// What stands around every page.
pub struct Shell {
    /// Before every path.
    pub base: String,
    /// The style sheet.
    pub style: String,
    /// In the browser's tab.
    pub title: String,
    /// Who is signed in.
    pub user: Option<String>,
    /// Whether that is the owner, who has pages of their own.
    pub owner: bool,
    /// For every form.
    pub csrf: String,
    /// What to know about plain http here; empty under https.
    pub plain: &'static str,
    /// What was just done.
    pub note: Option<&'static str>,
    /// Whether the page reloads itself, because something is under way.
    pub refresh: bool,
}

impl Shell {
    /// The shell of a page.
    pub fn new(web: &Shared, visitor: &Visitor, title: impl Into<String>) -> Self {
        Self {
            base: web.site.base().to_owned(),
            style: web.style.clone(),
            title: title.into(),
            user: visitor.member().map(|member| member.user.name.clone()),
            owner: visitor.member().is_some_and(|member| member.user.owner),
            csrf: visitor.csrf().to_owned(),
            plain: plain_words(web.site.https(), visitor.host()),
            note: None,
            refresh: false,
        }
    }

    /// With the note that the address asks for.
    #[must_use]
    pub fn noting(mut self, query: &Query) -> Self {
        let word = query.get("note");
        self.note = NOTES.iter().find(|(name, _)| Some(*name) == word).map(|(_, text)| *text);
        self
    }
}

/// The banner on plain http: who can read along.
fn plain_words(https: bool, host: Option<&str>) -> &'static str {
    let here = host.is_some_and(|h| h.starts_with("localhost") || h.starts_with("127.") || h.starts_with("[::1]"));
    match (https, here) {
        (true, _) => "",
        (false, true) => "Not encrypted: these pages are for this computer and your home network. For anywhere else, use https.",
        (false, false) => "Not encrypted: others on this network can read along. Use Sluice this way only at home.",
    }
}

/// The member's own connection of that public id; anybody else's is as good as none.
pub async fn own_connection(web: &Shared, member: &Member, id: &str) -> Result<Connection, WebError> {
    // Ids are short; what is longer was never one.
    if id.len() > 64 {
        return Err(WebError::NotFound);
    }
    web.app.store.connection_by_public(id).await?.filter(|connection| connection.user == member.user.id).ok_or(WebError::NotFound)
}

/// The connector's title, or its name where its module is not running.
pub fn title_of(web: &Shared, connector: &str) -> String {
    web.app.modules.get(connector).map_or_else(|| connector.to_owned(), |c| markup::inert(&c.manifest.title))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_says_who_can_read_along() {
        assert_eq!(plain_words(true, Some("example.org")), "");
        assert!(plain_words(false, Some("localhost:8642")).contains("this computer"));
        assert!(plain_words(false, Some("192.168.1.5:8642")).contains("others on this network"));
        assert!(plain_words(false, None).contains("others"));
    }
}
