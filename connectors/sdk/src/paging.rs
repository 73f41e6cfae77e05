//! Pages: `Link` headers and numbered ones.
//!
//! A `Link` is followed word for word: providers move the resource (a renamed repository) and put state into it. Whether it may be followed
//! is for the host to say, which holds every request against the grant. Numbered pages shift when something new arrives in front: pin the
//! upper end of what is asked for, drop what came twice, and compare the total from page to page.

use crate::http::Response;

/// The target of the `Link` header with this relation, as it stands there.
#[must_use]
pub fn link<'a>(response: &'a Response, relation: &str) -> Option<&'a str> {
    response.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("link")).find_map(|(_, value)| link_in(value, relation))
}

/// The next page, where there is one.
#[must_use]
pub fn next(response: &Response) -> Option<&str> {
    link(response, "next")
}

/// RFC 8288, section 3: `<target>; param; param="quoted, with commas", <target> …`.
fn link_in<'a>(value: &'a str, relation: &str) -> Option<&'a str> {
    let mut rest = value;
    loop {
        let open = rest.find('<')?;
        let after = rest.get(open + 1..)?;
        let close = after.find('>')?;
        let target = after.get(..close)?;
        let params = after.get(close + 1..)?;
        let end = end_of_params(params);
        if params.get(..end).is_some_and(|p| has_relation(p, relation)) {
            return Some(target);
        }
        rest = params.get(end..)?;
    }
}

/// Where the parameters of one link end: at a comma outside quotes, or with the header.
fn end_of_params(params: &str) -> usize {
    let mut quoted = false;
    for (at, c) in params.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => return at,
            _ => {}
        }
    }
    params.len()
}

fn has_relation(params: &str, relation: &str) -> bool {
    params.split(';').any(|param| {
        let Some((name, value)) = param.split_once('=') else { return false };
        name.trim().eq_ignore_ascii_case("rel")
            && value.trim().trim_matches('"').split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case(relation))
    })
}

/// Numbered pages with a total that is told on each.
///
/// `advance` says which page to ask for next; [`PageNumbers::is_whole`] says afterwards whether what was read can be trusted to be all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageNumbers {
    page: u64,
    rows: u64,
    total: Option<u64>,
    moved: bool,
}

impl PageNumbers {
    /// Before the first page.
    #[must_use]
    pub fn new() -> Self {
        Self { page: 1, ..Self::default() }
    }

    /// The page to ask for, from 1.
    #[must_use]
    pub fn page(&self) -> u64 {
        self.page.max(1)
    }

    /// Takes in what a page said, and answers whether there is another one. Ends on an empty page, whatever was promised.
    pub fn advance(&mut self, rows: u64, pages: u64, total: u64) -> bool {
        if self.total.is_some_and(|before| before != total) {
            self.moved = true;
        }
        self.total = Some(total);
        self.rows = self.rows.saturating_add(rows);
        let more = rows > 0 && self.page() < pages;
        if more {
            self.page = self.page() + 1;
        }
        more
    }

    /// Says that rows moved, for a sign of it that the totals do not show.
    pub fn shifted(&mut self) {
        self.moved = true;
    }

    /// Whether the total stood still and as many rows came as it promises. Otherwise rows shifted while they were read: walk the window
    /// again.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.moved && self.total.is_none_or(|total| self.rows >= total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_link(value: &str) -> Response {
        Response { status: 200, url: String::new(), headers: vec![("link".into(), value.into())], body: Vec::new() }
    }

    #[test]
    fn the_link_with_the_relation_is_found() {
        let cases = [
            ("<https://a/x?page=2>; rel=\"next\", <https://a/x?page=5>; rel=\"last\"", Some("https://a/x?page=2")),
            ("<https://a/x?page=1>; rel=\"prev\", <https://a/x?page=3>; rel=\"next\"", Some("https://a/x?page=3")),
            ("<https://a/x?q=a,b>; title=\"one, <two>\"; rel=\"next last\"", Some("https://a/x?q=a,b")),
            ("<https://a/x>;rel=next", Some("https://a/x")),
            ("<https://a/x>; REL=Next", Some("https://a/x")),
            ("<https://a/x>; rel=\"prev\"", None),
            ("<https://a/x>; rel=\"nextish\"", None),
            ("<https://a/x", None),
            ("", None),
        ];
        for (value, want) in cases {
            assert_eq!(next(&with_link(value)), want, "{value}");
        }
    }

    #[test]
    fn numbered_pages_end_and_know_whether_they_shifted() {
        let mut pages = PageNumbers::new();
        assert!(pages.advance(200, 3, 450));
        assert!(pages.advance(200, 3, 450));
        assert_eq!(pages.page(), 3);
        assert!(!pages.advance(50, 3, 450));
        assert!(pages.is_whole());

        let mut shifted = PageNumbers::new();
        assert!(shifted.advance(200, 2, 250));
        assert!(!shifted.advance(51, 2, 251));
        assert!(!shifted.is_whole());

        let mut short = PageNumbers::new();
        assert!(short.advance(200, 9, 1_700));
        assert!(!short.advance(0, 9, 1_700), "an empty page ends it");
        assert!(!short.is_whole());

        let mut none = PageNumbers::new();
        assert!(!none.advance(0, 0, 0));
        assert!(none.is_whole());
    }
}
