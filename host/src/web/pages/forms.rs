//! The ways in that a connector offers, each as a form: fields to fill in, or a button that leads to the provider; and for a way that the
//! operator has yet to set up, what is to be registered and which lines are to be added.

use crate::{
    link::{authorize_origin, callback_url},
    modules::Connector,
    web::{
        Shared,
        form::Form,
        markup::{Markup, inert, linkable, markdown},
    },
};
use sluice_model::manifest::{Auth, AuthKind, Field};

/// One way in.
pub struct Way {
    pub profile: String,
    pub title: String,
    /// A button that leads away, instead of fields.
    pub leads_away: bool,
    pub fields: Vec<FieldView>,
    /// Where a person gets what they enter.
    pub help: Help,
    /// The manifest's own words, for whoever sets it up.
    pub setup: Markup,
    pub missing: Option<Missing>,
    /// It needs something registered, so its set-up is for whoever runs the host; else it is for the person.
    pub registered: bool,
    /// What went wrong with it just now.
    pub error: Option<String>,
    /// It is the one that was used before.
    pub before: bool,
}

/// Help that is an address becomes a link.
pub enum Help {
    None,
    Link(String),
    Text(Markup),
}

/// One field of a form.
pub struct FieldView {
    pub name: String,
    pub label: String,
    pub help: Markup,
    pub secret: bool,
    pub pattern: Option<String>,
    pub value: String,
}

/// What the operator has yet to do.
pub struct Missing {
    pub names: String,
    /// To be registered at the provider, exactly.
    pub redirect: Option<String>,
    /// To be added to `plugins.toml`.
    pub lines: String,
}

/// The form fields' prefix, so that a manifest's field can't take the place of one of ours.
pub const PREFIX: &str = "field-";

/// App fields of a way in that the operator has not set.
pub fn missing(connector: &Connector, auth: &Auth) -> Vec<String> {
    auth.app_fields.iter().filter(|f| !connector.config.app.contains_key(&f.name)).map(|f| f.name.clone()).collect()
}

/// Every way in, in the manifest's order, those that can be used at once before those that wait for the operator. `filled` is what was sent
/// and refused, with the reason and the profile.
pub fn ways(web: &Shared, connector: &Connector, before: Option<&str>, filled: Option<(&str, &Form, String)>) -> Vec<Way> {
    let mut ways: Vec<Way> = connector.manifest.auth.iter().map(|auth| way(web, connector, auth, before, filled.as_ref())).collect();
    ways.sort_by_key(|way| (!way.before, way.missing.is_some()));
    ways
}

fn way(web: &Shared, connector: &Connector, auth: &Auth, before: Option<&str>, filled: Option<&(&str, &Form, String)>) -> Way {
    let missing = missing(connector, auth);
    let filled = filled.filter(|(profile, ..)| *profile == auth.id);
    let fields = match &auth.kind {
        AuthKind::Fields(fields) => fields.iter().map(|field| view(field, filled.map(|(_, form, _)| *form))).collect(),
        _ => Vec::new(),
    };
    let leads_away = matches!(auth.kind, AuthKind::Oauth2(_) | AuthKind::Redirect(_));
    Way {
        profile: auth.id.clone(),
        title: inert(&auth.title),
        leads_away,
        fields,
        help: help(auth.help.as_deref()),
        registered: !auth.app_fields.is_empty(),
        setup: markdown(auth.setup.as_deref().unwrap_or_default()),
        missing: (!missing.is_empty()).then(|| Missing {
            redirect: leads_away.then(|| redirect(web, connector, auth)),
            lines: lines(connector, auth, &missing),
            names: missing.join(" and "),
        }),
        error: filled.map(|(_, _, why)| why.clone()),
        before: before == Some(auth.id.as_str()),
    }
}

/// What is to be registered. A profile with a nonce in its path comes back below this address.
fn redirect(web: &Shared, connector: &Connector, auth: &Auth) -> String {
    let address = callback_url(&web.app, &connector.name, &auth.id, None).to_string();
    if matches!(auth.kind, AuthKind::Redirect(_)) { format!("{address}/") } else { address }
}

fn lines(connector: &Connector, auth: &Auth, missing: &[String]) -> String {
    let mut text = format!("[connectors.{}.app]\n", connector.name);
    for field in auth.app_fields.iter().filter(|f| missing.contains(&f.name)) {
        if field.secret {
            let variable = format!("{}_{}", connector.name, field.name).to_ascii_uppercase().replace('-', "_");
            text.push_str(&format!("{} = {{ env = \"{variable}\" }}\n", field.name));
        } else {
            text.push_str(&format!("{} = \"…\"\n", field.name));
        }
    }
    text
}

fn help(text: Option<&str>) -> Help {
    match text.map(str::trim) {
        None | Some("") => Help::None,
        Some(address) if linkable(address) => Help::Link(address.to_owned()),
        Some(text) => Help::Text(markdown(text)),
    }
}

fn view(field: &Field, filled: Option<&Form>) -> FieldView {
    let value = filled.filter(|_| !field.secret).and_then(|form| form.get(&format!("{PREFIX}{}", field.name)));
    FieldView {
        name: format!("{PREFIX}{}", field.name),
        label: inert(&field.label),
        help: markdown(field.help.as_deref().unwrap_or_default()),
        secret: field.secret,
        pattern: field.pattern.clone(),
        // A secret is typed again rather than sent back in a page.
        value: value.unwrap_or_default().to_owned(),
    }
}

/// Origins that the buttons of these ways lead to.
pub fn origins(connector: &Connector, ways: &[Way]) -> Vec<String> {
    ways.iter().filter(|way| way.leads_away && way.missing.is_none()).filter_map(|way| authorize_origin(connector, &way.profile)).collect()
}
