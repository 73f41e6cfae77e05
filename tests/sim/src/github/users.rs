//! Profiles and stars given.

use super::data::{Star, User};
use super::repositories::{linked, paging};
use super::rest::{Caller, not_found, problem};
use super::world::World;
use crate::http::{Answer, Call};
use crate::page::rows;
use crate::time::iso;
use serde_json::{Value, json};

/// The short form of a user inside other objects.
pub(super) fn brief(call: &Call, user: &User) -> Value {
    let api = format!("{}/api/users/{}", call.base, user.login);
    json!({
        "login": user.login,
        "id": user.id,
        "node_id": format!("U_sim{}", user.id),
        "avatar_url": format!("{}/avatars/u/{}?v=4", call.base, user.id),
        "gravatar_id": "",
        "url": api,
        "html_url": format!("{}/{}", call.base, user.login),
        "repos_url": format!("{api}/repos"),
        "events_url": format!("{api}/events{{/privacy}}"),
        "type": "User",
        "site_admin": false,
    })
}

impl World {
    fn full(&self, call: &Call, user: &User) -> Value {
        let mut body = brief(call, user);
        let public = self.repositories.values().filter(|repository| repository.owner == user.id && !repository.private).count();
        if let Value::Object(object) = &mut body {
            let more = json!({
                "name": user.name,
                "company": null,
                "blog": "",
                "location": null,
                "email": null,
                "hireable": null,
                "bio": null,
                "public_repos": public,
                "public_gists": 0,
                "followers": user.followers,
                "following": user.following,
                "created_at": iso(user.created_at),
                "updated_at": iso(user.created_at),
            });
            if let Value::Object(more) = more {
                object.extend(more);
            }
        }
        body
    }

    pub(super) fn own_profile(&self, call: &Call, caller: &Caller) -> Answer {
        match caller.user().and_then(|id| self.users.get(&id)) {
            Some(user) => Answer::json(200, &self.full(call, user)),
            None => problem(401, "Requires authentication"),
        }
    }

    pub(super) fn profile(&self, call: &Call, login: &str) -> Answer {
        self.user(login).map_or_else(not_found, |user| Answer::json(200, &self.full(call, user)))
    }

    pub(super) fn own_stars(&self, call: &Call, caller: &Caller) -> Answer {
        if caller.token.is_none() {
            return problem(401, "Requires authentication");
        }
        self.stars(call, caller.user())
    }

    /// The stars that a user gave, newest first; with their dates where the media type asks for them.
    pub(super) fn stars(&self, call: &Call, user: Option<u64>) -> Answer {
        let Some(user) = user.and_then(|id| self.users.get(&id)) else { return not_found() };
        let (page, size) = paging(call);
        let window = crate::page::window(user.stars.len(), page, size, call.shift);
        let dated = call.header("accept").unwrap_or_default().contains("star+json");
        let row = |star: &Star| {
            let repository = self.repository(call, self.repositories.get(&star.repository)?);
            Some(if dated { json!({"starred_at": iso(star.at), "repo": repository}) } else { repository })
        };
        let body: Vec<Value> = rows(&user.stars, &window).iter().filter_map(row).collect();
        linked(call, &format!("/user/{}/starred", user.id), Answer::json(200, &Value::Array(body)), page, window.pages)
    }
}
