//! Says in words whether a request may go out, and why: to an operator who asks, and to a connector's author whose request was refused.
//!
//! URLs are shown without query, fragment and user: that is where secrets stand.

use crate::egress::Egress;
use crate::resolve::NotDialled;
use sluice_model::Grant;
use sluice_model::grant::Decision;

pub(crate) use sluice_model::url::shown;

/// The answer to "may it?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether it may.
    pub allowed: bool,
    /// Why, in a few lines.
    pub text: String,
}

/// A refusal by the gate's own rules, in the form of all refusals: what was tried, what happened, what to do.
pub(crate) fn refusal(connector: &str, method: &str, url: &str, why: &str, next: Option<&str>) -> String {
    let mut text = format!("{connector}: {} {url} denied: {why}", shown_method(method));
    if let Some(next) = next {
        text.push_str("\n  ");
        text.push_str(next);
    }
    text
}

/// A text that did not parse as a URL, without what may be secret in it.
pub(crate) fn shown_text(text: &str) -> String {
    let bare = text.split(['?', '#']).next().unwrap_or_default();
    if bare.contains('@') {
        return "(a URL with a user in it)".to_owned();
    }
    bare.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn shown_method(method: &str) -> String {
    method.chars().filter(char::is_ascii_graphic).take(20).collect()
}

impl Egress {
    /// Whether a request of this method may go to this URL, and why. Nothing is sent, and no name is resolved.
    #[must_use]
    pub fn explain(&self, method: &str, url: &str) -> Explanation {
        let denied = |text: String| Explanation { allowed: false, text };
        let parsed = match Grant::parse_url(url) {
            Ok(parsed) => parsed,
            Err(why) => return denied(refusal(self.connector(), method, &shown_text(url), &why.to_string(), None)),
        };
        if let Decision::Denied(text) = self.grant().decide(method, &parsed) {
            return denied(text);
        }
        let target = self.upstreams().forward(parsed.clone());
        if let Err(NotDialled::Refused(why)) = self.wire().judge(&target.url, target.open).literal(&target.url) {
            let next = "an operator who means it sets `allow-private = true` on an upstream for exactly this prefix";
            return denied(refusal(self.connector(), method, &shown(&parsed), &why, Some(next)));
        }
        let mut text = format!("{}: {} {} allowed", self.connector(), shown_method(method), shown(&parsed));
        if target.url != parsed {
            let private = if target.open { ", private addresses opened" } else { "" };
            text.push_str(&format!("\n  upstream: {}{private}", shown(&target.url)));
        }
        let attaches: Vec<&str> = self.recipes_at(method, &parsed);
        match attaches.as_slice() {
            [] => text.push_str("\n  no key is attached there: no recipe's `to` names it"),
            names => text.push_str(&format!("\n  a key is attached when the connector asks for: {}", names.join(", "))),
        }
        let quotas: Vec<String> =
            self.quotas_at(&parsed).map(|q| format!("{} ({} in {})", q.name, q.requests, span(q.window_ms))).collect();
        if !quotas.is_empty() {
            text.push_str(&format!("\n  counted by: {}", quotas.join(", ")));
        }
        Explanation { allowed: true, text }
    }
}

/// A span in the largest unit that is whole.
fn span(ms: u64) -> String {
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")] {
        if ms >= unit && ms.is_multiple_of(unit) {
            return format!("{} {name}", ms / unit);
        }
    }
    format!("{ms} ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_secret_is_not_shown() {
        for (text, out) in [
            ("https://u:hunter2@/", "(a URL with a user in it)"),
            ("nonsense?token=hunter2", "nonsense"),
            ("a\u{1b}[31m\r\nb#hunter2", "a[31mb"),
        ] {
            assert_eq!(shown_text(text), out);
        }
        assert_eq!(shown_text(&"x".repeat(500)).len(), 200);
    }

    #[test]
    fn spans_read_as_people_write_them() {
        for (ms, text) in [(1_000, "1 s"), (90_000, "90 s"), (60_000, "1 min"), (3_600_000, "1 h"), (86_400_000, "1 d"), (1_500, "1500 ms")]
        {
            assert_eq!(span(ms), text);
        }
    }
}
