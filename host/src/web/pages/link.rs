//! `/link`: choose a provider, choose a way in, and go. Linking begins with a POST, so that no other site can make somebody link a stranger's
//! account by a mere address.

use super::{Shell, forms, own_connection};
use crate::{
    link::{Begin, LinkError, LinkErrorKind, begin, link_fields},
    modules::Connector,
    web::{
        Shared,
        form::{Form, Query},
        headers,
        markup::inert,
        reply::{self, Reply, WebError},
        session::{Member, Visitor},
    },
};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use http::{HeaderValue, StatusCode, header};
use sluice_model::manifest::AuthKind;
use sluice_store::{Connection, ConnectionFilter};
use sluice_vault::Secret;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "choose.html")]
struct ChoosePage {
    shell: Shell,
    choices: Vec<Choice>,
}

struct Choice {
    name: String,
    title: String,
    easiest: String,
    linked: usize,
}

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage {
    shell: Shell,
    connector: String,
    title: String,
    ways: Vec<forms::Way>,
    relink: Option<Relink>,
    /// Where to open these pages instead, when a provider would send the person to another address than this one.
    elsewhere: Option<String>,
}

struct Relink {
    id: String,
    label: String,
}

pub async fn choose(State(web): State<Shared>, visitor: Visitor, member: Member, query: Query) -> Reply {
    let connections = web.app.store.connections(ConnectionFilter { user: Some(member.user.id), connector: None }).await?;
    let mut choices: Vec<Choice> = web
        .app
        .modules
        .running()
        .map(|connector| {
            let ready = connector.manifest.auth.iter().find(|auth| forms::missing(&connector, auth).is_empty());
            let easiest = match ready {
                Some(auth) => inert(&auth.title),
                None => "needs to be set up first".to_owned(),
            };
            let linked = connections.iter().filter(|c| c.connector == connector.name).count();
            Choice { name: connector.name.clone(), title: inert(&connector.manifest.title), easiest, linked }
        })
        .collect();
    choices.sort_by_key(|choice| choice.title.to_lowercase());
    reply::page(&ChoosePage { shell: Shell::new(&web, &visitor, "Link an account").noting(&query), choices })
}

pub async fn show(State(web): State<Shared>, visitor: Visitor, member: Member, Path(name): Path<String>, query: Query) -> Reply {
    let connector = web.app.modules.get(&name).ok_or(WebError::NotFound)?;
    let relink = relink(&web, &member, &connector, query.get("relink")).await?;
    page(&web, &visitor, &connector, relink, None)
}

fn page(
    web: &Shared,
    visitor: &Visitor,
    connector: &Connector,
    relink: Option<Connection>,
    filled: Option<(&str, &Form, String)>,
) -> Reply {
    let failed = filled.is_some();
    let title = inert(&connector.manifest.title);
    let ways = forms::ways(web, connector, relink.as_ref().map(|c| c.profile.as_str()), filled);
    let origins = forms::origins(connector, &ways);
    let away = !origins.is_empty() && visitor.host().is_none_or(|host| !web.site.is_public(host));
    let heading = if relink.is_some() { format!("Sign in to {title} again") } else { format!("Link {title}") };
    let page = LinkPage {
        shell: Shell::new(web, visitor, heading),
        connector: connector.name.clone(),
        title,
        ways,
        relink: relink.map(|c| Relink { id: c.public_id, label: inert(&c.account.label) }),
        elsewhere: away.then(|| web.site.address(&format!("/link/{}", connector.name))),
    };
    let mut answer = reply::page(&page)?;
    if failed {
        *answer.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(headers::allow_forms_to(answer, origins))
}

pub async fn submit(
    State(web): State<Shared>,
    visitor: Visitor,
    member: Member,
    Path((name, profile)): Path<(String, String)>,
    form: Form,
) -> Reply {
    let connector = web.app.modules.get(&name).ok_or(WebError::NotFound)?;
    let relink = relink(&web, &member, &connector, form.get("relink")).await?;
    let relink_id = relink.as_ref().map(|c| c.id);
    let auth = connector.manifest.profile(&profile).ok_or(WebError::NotFound)?;
    let fields = match &auth.kind {
        AuthKind::Oauth2(_) | AuthKind::Redirect(_) => {
            let who = Begin {
                user: member.user.id,
                session: Some(member.session),
                connector: &name,
                profile: &profile,
                relink: relink_id,
                loopback: None,
            };
            return match begin(&web.app, who).await {
                Ok(started) => to_provider(started.redirect.as_str()),
                Err(why) => Err(told(&name, &why)),
            };
        }
        AuthKind::Fields(fields) => fields.as_slice(),
        AuthKind::None => &[],
    };
    // What is pasted often brings a space or a line end along; no key has one at its ends.
    let values = fields
        .iter()
        .map(|f| (f.name.clone(), Secret::text(form.text(&format!("{}{}", forms::PREFIX, f.name)).trim().to_owned())))
        .collect();
    match link_fields(&web.app, member.user.id, &name, &profile, values, relink_id).await {
        Ok(linked) => Ok(to_connection(&web, linked.connection, linked.again).await?),
        Err(why) => {
            tracing::info!("linking failed: {why}");
            page(&web, &visitor, &connector, relink, Some((&profile, &form, why.public().to_owned())))
        }
    }
}

async fn relink(web: &Shared, member: &Member, connector: &Arc<Connector>, id: Option<&str>) -> Result<Option<Connection>, WebError> {
    let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(None) };
    let connection = own_connection(web, member, id).await?;
    if connection.connector == connector.name { Ok(Some(connection)) } else { Err(WebError::NotFound) }
}

/// 303 to the provider. The one redirect that leaves this site; its address was made from the manifest.
fn to_provider(address: &str) -> Reply {
    let location = HeaderValue::from_str(address).map_err(WebError::internal)?;
    let mut answer = Response::default();
    *answer.status_mut() = StatusCode::SEE_OTHER;
    answer.headers_mut().insert(header::LOCATION, location);
    Ok(answer)
}

/// 303 to what was just linked.
pub async fn to_connection(web: &Shared, id: sluice_model::ConnectionId, again: bool) -> Result<Response, WebError> {
    web.app.wake.notify_one();
    let connection = web.app.store.connection(id).await?.ok_or(WebError::NotFound)?;
    let note = if again { "linked-again" } else { "linked" };
    Ok(reply::see_other(&web.site.path(&format!("/connections/{}?note={note}", connection.public_id))))
}

/// A page for what went wrong on the way.
pub fn told(connector: &str, why: &LinkError) -> WebError {
    tracing::info!("linking failed: {why}");
    let (status, title) = match why.kind() {
        LinkErrorKind::NotFound => (StatusCode::NOT_FOUND, "Nothing here"),
        LinkErrorKind::NotSetUp => (StatusCode::CONFLICT, "Not set up yet"),
        LinkErrorKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "That does not fit"),
        LinkErrorKind::NotYours => (StatusCode::FORBIDDEN, "Not a sign-in of yours"),
        LinkErrorKind::Expired => (StatusCode::GONE, "Too late"),
        LinkErrorKind::Declined => (StatusCode::FORBIDDEN, "Not allowed"),
        LinkErrorKind::OtherAccount => (StatusCode::CONFLICT, "Another account"),
        LinkErrorKind::Transient => (StatusCode::BAD_GATEWAY, "The provider could not be reached"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "That went wrong"),
    };
    WebError::told(status, title, sentence(why.public())).onward(format!("/link/{}", path_segment(connector)), "Start again")
}

/// An error's text begins small; on a page it is a sentence.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// A name from a path, to be put back into one.
fn path_segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string().replace("%2D", "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_names_are_fit_for_a_page() {
        assert_eq!(sentence("the account was not linked"), "The account was not linked");
        assert_eq!(sentence(""), "");
        assert_eq!(path_segment("last-fm"), "last-fm");
        assert_eq!(path_segment("../x?y"), "%2E%2E%2Fx%3Fy");
    }
}
