//! Recipes: the only way a key gets into a request.
//!
//! A recipe says where it applies (`to`), and what it writes: headers, query parameters, form fields, a signature. What it writes, it owns: a guest
//! that writes the same name itself is refused, also where the name only differs by what lenient servers ignore (`api.key`, `api_key[]`), so that
//! no server sees two values and takes the wrong one. Where `to` does not match, nothing is sent at all.

use crate::keys::Keys;
use crate::sign::{SIGNATURE, sign_sorted_md5};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use sluice_model::grant;
use sluice_model::manifest::template::{self, Piece};
use sluice_model::manifest::{Attach, Sign};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

/// The app field that `sorted-md5` signs with.
const SHARED_SECRET: &str = "app.shared-secret";
/// A body that is signed is read as a form: small by nature.
pub(crate) const MAX_SIGNED_BODY: usize = 1 << 20;
const FORM: &str = "application/x-www-form-urlencoded";

/// A recipe with its places parsed.
pub(crate) struct Recipe {
    attach: Attach,
    headers: Vec<HeaderName>,
    params: Vec<String>,
}

/// What a recipe is put into. The guest's own body stays with the caller for later hops.
pub(crate) struct Draft {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
}

impl Recipe {
    pub(crate) fn new(attach: &Attach) -> Self {
        let mut params: Vec<String> = attach.query.iter().chain(&attach.form).map(|(name, _)| plain_name(name)).collect();
        if attach.sign.is_some() {
            params.push(plain_name(SIGNATURE));
        }
        Self {
            headers: attach.header.iter().filter_map(|(name, _)| HeaderName::from_bytes(name.as_bytes()).ok()).collect(),
            params,
            attach: attach.clone(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.attach.name
    }

    /// Where it applies, for people.
    pub(crate) fn places(&self) -> impl Iterator<Item = String> {
        self.attach.to.iter().map(|t| format!("{} {}", t.method, t.url))
    }

    /// Whether `to` names this method and a URL at or above this one.
    pub(crate) fn matches(&self, method: &str, url: &Url) -> bool {
        grant::recipe_matches(&self.attach, method, url)
    }

    pub(crate) fn owns_header(&self, name: &str) -> bool {
        self.headers.iter().any(|h| h.as_str() == name)
    }

    /// Whether it writes parameters at all; most recipes write a header.
    pub(crate) fn owns_params(&self) -> bool {
        !self.params.is_empty()
    }

    fn owns_param(&self, name: &str) -> bool {
        let name = plain_name(name);
        self.params.contains(&name)
    }

    /// The first parameter of a URL or form body that is the recipe's.
    pub(crate) fn owned_in(&self, url: &Url, headers: &HeaderMap, body: Option<&[u8]>) -> Option<String> {
        if self.params.is_empty() {
            return None;
        }
        let form = body.filter(|_| is_form(headers)).unwrap_or_default();
        let mut names = url.query_pairs().chain(form_urlencoded::parse(form)).map(|(name, _)| name);
        names.find(|name| self.owns_param(name)).map(|name| name.chars().filter(|c| !c.is_control()).take(60).collect())
    }

    /// Takes the recipe's parameters out of a URL that came from outside (`Location`, `Link`).
    pub(crate) fn strip(&self, url: &mut Url) {
        if self.params.is_empty() || !url.query_pairs().any(|(name, _)| self.owns_param(&name)) {
            return;
        }
        let kept: Vec<String> = url
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|part| !form_urlencoded::parse(part.as_bytes()).any(|(name, _)| self.owns_param(&name)))
            .map(str::to_owned)
            .collect();
        let left = kept.join("&");
        url.set_query(if left.is_empty() { None } else { Some(&left) });
    }

    /// Puts the keys in.
    ///
    /// # Errors
    /// A key that the profile does not have, or a body that can't be signed.
    pub(crate) fn apply(&self, keys: &Keys, draft: &mut Draft) -> Result<(), String> {
        for ((_, template), name) in self.attach.header.iter().zip(&self.headers) {
            let value = fill(template, keys)?;
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| format!("a key of this connection can't stand in the header {name}: link it again"))?;
            value.set_sensitive(true);
            draft.headers.insert(name.clone(), value);
        }
        let query = filled(&self.attach.query, keys)?;
        if !query.is_empty() {
            draft.url.query_pairs_mut().extend_pairs(query.iter().map(|(n, v)| (n, v.as_str())));
        }
        let form = filled(&self.attach.form, keys)?;
        if !form.is_empty() {
            let mut body = form_body(draft)?;
            append(&mut body, form.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            set_form(draft, body);
        }
        match self.attach.sign {
            Some(Sign::SortedMd5) => sign(keys, draft),
            None => Ok(()),
        }
    }
}

/// Signs every parameter of query and form; the signature goes where the last of them are.
fn sign(keys: &Keys, draft: &mut Draft) -> Result<(), String> {
    let secret = text_of(keys, SHARED_SECRET)?;
    let body = form_body(draft)?;
    if body.len() > MAX_SIGNED_BODY {
        return Err(format!("a signed body has at most {MAX_SIGNED_BODY} bytes"));
    }
    let pairs: Vec<_> = draft.url.query_pairs().chain(form_urlencoded::parse(body.as_bytes())).collect();
    let mut names: Vec<&str> = pairs.iter().map(|(n, _)| n.as_ref()).collect();
    names.sort_unstable();
    if let Some(twice) = names.iter().zip(names.iter().skip(1)).find(|(a, b)| a == b) {
        return Err(format!("the parameter {} is there twice, which has no one signature", twice.0));
    }
    let signature = sign_sorted_md5(&pairs, secret);
    drop(pairs);
    if draft.body.is_some() {
        let mut body = body;
        append(&mut body, [(SIGNATURE, signature.as_str())].into_iter());
        set_form(draft, body);
    } else {
        draft.url.query_pairs_mut().append_pair(SIGNATURE, &signature);
    }
    Ok(())
}

fn append<'a>(body: &mut String, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut more = form_urlencoded::Serializer::new(String::new());
    more.extend_pairs(pairs);
    let more = Zeroizing::new(more.finish());
    if !body.is_empty() && !more.is_empty() {
        body.push('&');
    }
    body.push_str(&more);
}

/// The body as a form, "" when there is none.
fn form_body(draft: &Draft) -> Result<String, String> {
    match &draft.body {
        None => Ok(String::new()),
        Some(body) if body.is_empty() => Ok(String::new()),
        Some(body) if is_form(&draft.headers) => {
            std::str::from_utf8(body).map(str::to_owned).map_err(|_| "the form body is no text".to_owned())
        }
        Some(_) => Err(format!("this recipe writes into a form: the body must be {FORM}")),
    }
}

fn set_form(draft: &mut Draft, body: String) {
    draft.body = Some(body.into_bytes().into());
    draft.headers.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
}

pub(crate) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(FORM)
}

fn filled<'t>(templates: &'t [(String, String)], keys: &Keys) -> Result<Vec<(&'t String, Zeroizing<String>)>, String> {
    templates.iter().map(|(name, template)| Ok((name, fill(template, keys)?))).collect()
}

/// A template with each `{name}` replaced by that key.
pub(crate) fn fill(template: &str, keys: &Keys) -> Result<Zeroizing<String>, String> {
    let mut out = Zeroizing::new(String::with_capacity(template.len() + 128));
    for piece in template::pieces(template).map_err(|why| why.to_string())? {
        match piece {
            Piece::Text(text) => out.push_str(&text),
            Piece::Name(name) => out.push_str(text_of(keys, name)?),
        }
    }
    Ok(out)
}

fn text_of<'k>(keys: &'k Keys, name: &str) -> Result<&'k str, String> {
    let key = keys.get(name).ok_or_else(|| match name.strip_prefix("app.") {
        Some(field) => format!("the recipe needs {field} of the operator's app: set it under [connectors.NAME.app] in plugins.toml"),
        None => format!("the recipe needs the key {name}, which this connection does not have: link it again"),
    })?;
    key.expose_str().ok_or_else(|| format!("the key {name} is no text: link the account again"))
}

/// A parameter's name as the most lenient server reads it.
fn plain_name(name: &str) -> String {
    let name = name.trim_start_matches([' ', '\t']);
    let name = name.split(['[', '\0']).next().unwrap_or_default();
    name.chars().map(|c| if matches!(c, '.' | ' ') { '_' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests;
