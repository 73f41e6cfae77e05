//! As much of a browser as sign-ins need: cookies by host, forms read from pages with their hidden fields, redirects followed or looked at.
//!
//! Two of these are two browsers: nothing is shared between them.

use reqwest::{Client, Method, header, redirect::Policy};
use std::{collections::BTreeMap, time::Duration};
use url::Url;

/// Redirects in a row.
const MAX_HOPS: usize = 10;

/// A browser with an empty cookie jar.
pub struct Browser {
    client: Client,
    /// By host name: cookies ignore ports.
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// An answer.
#[derive(Debug)]
pub struct Page {
    /// Where it came from.
    pub url: Url,
    /// Its status.
    pub status: u16,
    /// Its text.
    pub body: String,
    /// Where it leads, if it leads somewhere.
    pub location: Option<Url>,
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

impl Browser {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        // The workspace's reqwest brings no cryptography of its own; a second call finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().redirect(Policy::none()).timeout(Duration::from_secs(60)).build().expect("a client");
        Self { client, cookies: BTreeMap::new() }
    }

    /// Opens an address and goes where it leads.
    pub async fn get(&mut self, url: &str) -> Page {
        let page = self.open(url).await;
        self.follow(page).await
    }

    /// Opens an address and looks at the answer.
    pub async fn open(&mut self, url: &str) -> Page {
        self.send(Method::GET, &url.parse().expect("an address"), None).await
    }

    /// Sends the form of a page whose action ends so, with these fields beside its hidden ones, and goes where it leads.
    pub async fn submit(&mut self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Page {
        let page = self.post(page, action, fields).await;
        self.follow(page).await
    }

    /// Sends the form and looks at the answer.
    pub async fn post(&mut self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Page {
        let form = form(&page.body, action).unwrap_or_else(|| panic!("{} has no form for {action}: {}", page.url, text_of(&page.body)));
        let mut all = form.1;
        all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let to = page.url.join(&form.0).expect("a form's address");
        self.send(Method::POST, &to, Some(all)).await
    }

    /// Goes on to where a page leads.
    pub async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..MAX_HOPS {
            let Some(to) = page.location.clone() else { return page };
            page = self.send(Method::GET, &to, None).await;
        }
        panic!("more than {MAX_HOPS} redirects, the last to {}", page.url);
    }

    /// Forgets the cookies of a host: signed out, as far as the browser knows.
    pub fn forget(&mut self, host: &str) {
        self.cookies.remove(host);
    }

    /// Has a cookie.
    pub fn set_cookie(&mut self, host: &str, name: &str, value: &str) {
        self.cookies.entry(host.to_owned()).or_default().insert(name.to_owned(), value.to_owned());
    }

    /// The value of a cookie.
    #[must_use]
    pub fn cookie(&self, host: &str, name: &str) -> Option<String> {
        self.cookies.get(host)?.get(name).cloned()
    }

    async fn send(&mut self, method: Method, url: &Url, form: Option<Vec<(String, String)>>) -> Page {
        let host = url.host_str().unwrap_or_default().to_owned();
        let jar = self.cookies.entry(host).or_default();
        let cookie = jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut request = self.client.request(method, url.clone());
        if !cookie.is_empty() {
            request = request.header(header::COOKIE, cookie);
        }
        if let Some(form) = form {
            let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
            request = request
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(header::ORIGIN, url.origin().ascii_serialization())
                .header("sec-fetch-site", "same-origin")
                .body(body);
        }
        let answer = request.send().await.unwrap_or_else(|e| panic!("{url}: {e:?}"));
        for set in answer.headers().get_all(header::SET_COOKIE) {
            let text = set.to_str().unwrap_or_default();
            if let Some((name, value)) = text.split(';').next().and_then(|pair| pair.split_once('=')) {
                jar.insert(name.trim().to_owned(), value.to_owned());
            }
        }
        let status = answer.status();
        let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok()).and_then(|to| url.join(to).ok());
        let body = answer.text().await.unwrap_or_else(|e| panic!("{url}: {e:?}"));
        Page { url: url.clone(), status: status.as_u16(), body, location: location.filter(|_| status.is_redirection()) }
    }
}

impl Page {
    /// A parameter of the address that it leads to.
    #[must_use]
    pub fn leads_with(&self, name: &str) -> Option<String> {
        let to = self.location.as_ref()?;
        to.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// What it says, without its tags.
    #[must_use]
    pub fn text(&self) -> String {
        text_of(&self.body)
    }
}

/// What a page says, roughly.
fn text_of(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Action and hidden fields of the first form whose action ends so.
fn form(html: &str, wanted: &str) -> Option<(String, Vec<(String, String)>)> {
    html.split("<form").skip(1).find_map(|rest| {
        let (head, rest) = rest.split_once('>')?;
        let action = attribute(head, "action")?;
        if !action.ends_with(wanted) {
            return None;
        }
        let inside = rest.split("</form>").next().unwrap_or(rest);
        let inputs = inside.split("<input").skip(1).filter_map(|input| input.split('>').next());
        let hidden = inputs.filter(|input| attribute(input, "type").as_deref() == Some("hidden"));
        let hidden = hidden.filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value").unwrap_or_default()))).collect();
        Some((action, hidden))
    })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split(&format!(" {name}=\"")).nth(1)?;
    let value = rest.split('"').next()?;
    Some(["&quot;", "&#34;"].iter().fold(value.replace("&amp;", "&").replace("&#38;", "&"), |text, entity| text.replace(entity, "\"")))
}
