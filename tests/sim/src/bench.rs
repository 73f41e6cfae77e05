//! `GET /bench/items?n=1000&page=k[&pages=P]`: plain JSON rows at a rate that leaves the host as the slow part of a measurement.
//!
//! Rows go on for ever (row `k·n + i` is the same whenever it is asked for), so a measurement never runs out of new ones. Each row is
//! `{"id": "…", "at": "2020-…Z", "value": 12.5, "name": "…"}`, one a minute from 2020 on; `next` is the next page or null after page `P`.
//! Pages are rendered once and kept, 4,096 of them; past that they are rendered each time, about 100 ns a row.

use crate::http::pairs;
use bytes::Bytes;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{PoisonError, RwLock};

const KEPT: usize = 4_096;
const MOST_ROWS: u64 = 10_000;
/// 2020-01-01, in minutes since 1970.
const FIRST_MINUTE: i64 = 26_297_280;

/// Rendered pages by rows a page, page and last page.
#[derive(Default)]
pub struct Bench {
    pages: RwLock<HashMap<(u64, u64, u64), Bytes>>,
}

impl Bench {
    /// The body for a query, or `None` where a number is missing or too large.
    pub fn page(&self, query: &str) -> Option<Bytes> {
        let query = pairs(query.as_bytes());
        let number = |name: &str, default: u64| match crate::http::find(&query, name) {
            Some(text) => text.parse::<u64>().ok(),
            None => Some(default),
        };
        let key = (number("n", 100)?, number("page", 1)?, number("pages", u64::MAX)?);
        if key.0 == 0 || key.0 > MOST_ROWS || key.1 == 0 || key.1 > 50_000_000 {
            return None;
        }
        if let Some(body) = self.pages.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Some(body.clone());
        }
        let body = Bytes::from(render(key.0, key.1, key.2));
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        if pages.len() < KEPT {
            pages.insert(key, body.clone());
        }
        Some(body)
    }
}

fn render(rows: u64, page: u64, pages: u64) -> String {
    let mut text = String::with_capacity(usize::try_from(rows).unwrap_or(0) * 96 + 64);
    let next = if page < pages { (page + 1).to_string() } else { "null".to_owned() };
    let _ = write!(text, "{{\"page\":{page},\"next\":{next},\"items\":[");
    for offset in 0..rows {
        let row = (page - 1) * rows + offset;
        let at = crate::time::iso((FIRST_MINUTE + i64::try_from(row % 5_000_000).unwrap_or(0)) * 60);
        let comma = if offset == 0 { "" } else { "," };
        let _ = write!(
            text,
            "{comma}{{\"id\":\"row-{row:010}\",\"at\":\"{at}\",\"value\":{}.{},\"name\":\"series {}\"}}",
            row % 1_000,
            row % 8,
            row % 16
        );
    }
    text.push_str("]}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_rows_asked_for_and_follows_the_one_before() {
        let bench = Bench::default();
        let read = |query: &str| serde_json::from_slice::<serde_json::Value>(&bench.page(query).unwrap()).unwrap();
        let (one, two) = (read("n=3&page=1&pages=2"), read("n=3&page=2&pages=2"));
        assert_eq!(one["items"].as_array().unwrap().len(), 3);
        assert_eq!(one["items"][0]["at"], "2020-01-01T00:00:00Z");
        assert_eq!(one["next"], 2);
        assert_eq!(two["items"][0]["id"], "row-0000000003");
        assert!(two["next"].is_null());
        assert_eq!(bench.page("n=0"), None);
        assert_eq!(bench.page("n=20000"), None);
        assert_eq!(bench.page("n=x"), None);
    }
}
