//! From what came to what the guest sees: URLs in the manifest's own words, without parameters that a recipe owns, and without secrets.

use crate::answer::Answer;
use crate::headers;
use crate::recipe::Recipe;
use crate::scrub::Scrubber;
use crate::upstream::Upstreams;
use http::Method;
use http::header::{CONTENT_LOCATION, HeaderName, LINK, LOCATION};
use sluice_model::request::{Pairs, Response};
use url::Url;

/// What is needed to translate an answer.
pub(crate) struct Inbound<'a> {
    pub(crate) upstreams: &'a Upstreams,
    pub(crate) recipe: Option<&'a Recipe>,
    pub(crate) scrubber: &'a Scrubber,
    /// The URL asked for, in the manifest's words, without what a recipe put in.
    pub(crate) original: &'a Url,
    /// The URL really asked.
    pub(crate) real: &'a Url,
}

impl Inbound<'_> {
    /// The answer for the guest.
    pub(crate) fn response(&self, method: &Method, answer: Answer) -> Response {
        let Answer { status, headers, body } = answer;
        let pairs: Pairs = headers::for_guest(&headers, method)
            .map(|(name, value)| {
                let text = String::from_utf8_lossy(value.as_bytes());
                let text = if self.holds_urls(name) { self.urls(name, &text) } else { text.into_owned() };
                let text = match self.scrubber.text(&text) {
                    std::borrow::Cow::Borrowed(_) => text,
                    std::borrow::Cow::Owned(clean) => clean,
                };
                (name.as_str().to_owned(), text)
            })
            .collect();
        let url = self.scrubber.text(self.original.as_str()).into_owned();
        Response { status, url, headers: pairs, body: self.scrubber.bytes(body) }
    }

    /// Where a `Location` leads, in the manifest's words; `None` when it is no URL.
    pub(crate) fn location(&self, text: &str) -> Option<Url> {
        let mut url = self.upstreams.back(&self.real.join(text).ok()?, self.original);
        url.set_fragment(None);
        if let Some(recipe) = self.recipe {
            recipe.strip(&mut url);
        }
        Some(url)
    }

    fn holds_urls(&self, name: &HeaderName) -> bool {
        (self.recipe.is_some() || !self.upstreams.is_empty()) && (name == LOCATION || name == CONTENT_LOCATION || name == LINK)
    }

    fn urls(&self, name: &HeaderName, text: &str) -> String {
        if name == LINK {
            return self.link(text);
        }
        self.location(text).map_or_else(|| text.to_owned(), String::from)
    }

    /// `<url>; rel="next", <url>; rel="last"`: what stands between angle brackets is translated, the rest stays.
    fn link(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            let Some((inside, behind)) = after.split_once('>') else { break };
            out.push_str(before);
            out.push('<');
            match self.location(inside) {
                Some(url) => out.push_str(url.as_str()),
                None => out.push_str(inside),
            }
            out.push('>');
            rest = behind;
        }
        out.push_str(rest);
        out
    }
}
