//! As much of a browser as the demo needs: GET and POST on loopback, cookies by host, redirects followed, forms read from pages.

use std::collections::BTreeMap;
use ureq::{Agent, http::header};

/// Redirects in a row.
const MAX_HOPS: usize = 10;

/// A browser with an empty cookie jar.
pub struct Browser {
    agent: Agent,
    cookies: BTreeMap<String, BTreeMap<String, String>>,
}

/// A page that was landed on.
pub struct Page {
    /// Where.
    pub url: String,
    /// Its status.
    pub status: u16,
    /// Its text.
    pub body: String,
}

impl Browser {
    pub fn new() -> Self {
        let config = Agent::config_builder().max_redirects(0).max_redirects_will_error(false).http_status_as_error(false).build();
        Self { agent: config.into(), cookies: BTreeMap::new() }
    }

    pub fn get(&mut self, url: &str) -> Result<Page, String> {
        self.follow(url.to_owned(), None)
    }

    /// Sends the form of `page` whose action ends in `action`, with these fields on top of its hidden ones.
    pub fn submit(&mut self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Result<Page, String> {
        let form = form(&page.body, action).ok_or_else(|| format!("{}: has no form for {action}", page.url))?;
        let mut all = form.hidden;
        all.extend(fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        self.follow(join(&page.url, &form.action), Some(all))
    }

    fn follow(&mut self, mut url: String, mut form: Option<Vec<(String, String)>>) -> Result<Page, String> {
        for _ in 0..MAX_HOPS {
            let origin = origin(&url);
            let host = origin.split("//").nth(1).and_then(|h| h.split(':').next()).unwrap_or_default().to_owned();
            let jar = self.cookies.entry(host).or_default();
            let cookie = jar.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("; ");
            let answer = match &form {
                None => self.agent.get(&url).header(header::COOKIE, &cookie).call(),
                Some(fields) => {
                    let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                    let post = self.agent.post(&url).header(header::COOKIE, &cookie);
                    post.header(header::ORIGIN, &origin).header("sec-fetch-site", "same-origin").send_form(fields)
                }
            };
            let mut answer = answer.map_err(|e| format!("{url}: {e}"))?;
            for set in answer.headers().get_all(header::SET_COOKIE) {
                let text = set.to_str().unwrap_or_default();
                if let Some((name, value)) = text.split(';').next().and_then(|pair| pair.split_once('=')) {
                    jar.insert(name.trim().to_owned(), value.to_owned());
                }
            }
            let next = answer.headers().get(header::LOCATION).and_then(|v| v.to_str().ok()).map(|l| join(&url, l));
            match next {
                Some(next) if answer.status().is_redirection() => {
                    url = next;
                    form = None;
                }
                _ => {
                    let status = answer.status().as_u16();
                    let body = answer.body_mut().read_to_string().map_err(|e| format!("{url}: {e}"))?;
                    return Ok(Page { url, status, body });
                }
            }
        }
        Err(format!("{url}: more than {MAX_HOPS} redirects"))
    }
}

struct Form {
    action: String,
    hidden: Vec<(String, String)>,
}

/// The first form whose action ends so.
fn form(html: &str, wanted: &str) -> Option<Form> {
    html.split("<form").skip(1).find_map(|rest| {
        let (head, rest) = rest.split_once('>')?;
        let action = attribute(head, "action")?;
        if !action.ends_with(wanted) {
            return None;
        }
        let inside = rest.split("</form>").next().unwrap_or(rest);
        let inputs = inside.split("<input").skip(1).filter_map(|i| i.split('>').next());
        let hidden = inputs.filter(|i| attribute(i, "type").as_deref() == Some("hidden"));
        let hidden = hidden.filter_map(|i| Some((attribute(i, "name")?, attribute(i, "value").unwrap_or_default()))).collect();
        Some(Form { action, hidden })
    })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split(&format!(" {name}=\"")).nth(1)?;
    let value = rest.split('"').next()?;
    Some(value.replace("&amp;", "&").replace("&quot;", "\"").replace("&#38;", "&").replace("&#x2F;", "/").replace("&#47;", "/"))
}

fn origin(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

fn join(base: &str, target: &str) -> String {
    if target.contains("://") {
        return target.to_owned();
    }
    if target.starts_with('/') {
        return format!("{}{target}", origin(base));
    }
    let folder = base.split(['?', '#']).next().and_then(|b| b.rsplit_once('/')).map_or(base, |(folder, _)| folder);
    format!("{folder}/{target}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_form_is_found_with_its_hidden_fields() {
        let html = r#"<form method="post" action="/sign-out"><input type="hidden" name="csrf" value="a"></form>
            <form method="post" action="/link/github/token"><input type="hidden" name="csrf" value="b&amp;c"><input type="password" name="token"></form>"#;
        let found = form(html, "/link/github/token").unwrap();
        assert_eq!(found.action, "/link/github/token");
        assert_eq!(found.hidden, [("csrf".to_owned(), "b&c".to_owned())]);
        assert!(form(html, "/elsewhere").is_none());
    }

    #[test]
    fn addresses_join() {
        for (base, target, wants) in [
            ("http://localhost:1/a/b?c", "/d", "http://localhost:1/d"),
            ("http://localhost:1/a/b?c", "d", "http://localhost:1/a/d"),
            ("http://localhost:1/a", "http://127.0.0.1:2/x", "http://127.0.0.1:2/x"),
        ] {
            assert_eq!(join(base, target), wants);
        }
    }
}
