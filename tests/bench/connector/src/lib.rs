//! The connector that is measured: it does what connectors do, and nothing that only some do.
//!
//! A run asks for the next pages of plain JSON rows, with a key that the gate attaches, records a value for each row, and checkpoints after each
//! page. How many rows a page has, and how many pages a run, are settings, so that one module serves long back-fills and short polls. With the setting
//! `fetches` a run first asks so many times for its page and looks at no answer: what a request alone costs.

use serde::{Deserialize, Serialize};
use sluice_sdk::cursor::Versioned;
use sluice_sdk::day::parse_rfc3339;
use sluice_sdk::{Account, Connector, Entry, Failure, Host, Outcome, Request};

/// The connector.
pub struct Bench;

/// The next page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cursor {
    page: u64,
}

impl Versioned for Cursor {
    const VERSION: u32 = 1;
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    at: String,
    value: f64,
}

fn number(host: &mut Host<'_>, setting: &str) -> u64 {
    host.backend().setting(setting).and_then(|text| text.parse().ok()).unwrap_or(1)
}

impl Connector for Bench {
    const DESCRIBE: &'static str = include_str!("../connector.toml");

    fn identify(_: &mut Host<'_>) -> Result<Account, Failure> {
        Ok(Account::new("bench", "bench"))
    }

    fn sync(host: &mut Host<'_>) -> Result<Outcome, Failure> {
        let (rows, pages) = (number(host, "rows"), number(host, "pages"));
        let mut cursor = host.cursor().unwrap_or(Cursor { page: 1 });
        for _ in 0..number(host, "fetches") {
            host.fetch(&Request::get("https://bench.example/items").query("n", rows).query("page", cursor.page).credential("user"))?;
        }
        for _ in 0..pages {
            let request = Request::get("https://bench.example/items").query("n", rows).query("page", cursor.page).credential("user");
            let response = host.fetch(&request)?;
            if !response.is_success() {
                return Err(Failure::transient("status", format!("status {}", response.status)));
            }
            let page: Page = response.json("a page of rows")?;
            let entry = |item: &Item| Some(Entry::at("items", parse_rfc3339(&item.at)?, item.value));
            let entries: Option<Vec<Entry>> = page.items.iter().map(entry).collect();
            host.record(entries.ok_or_else(|| Failure::unexpected("time", "a row's time is none"))?)?;
            cursor.page += 1;
            host.checkpoint(&cursor)?;
        }
        Ok(Outcome::Complete)
    }
}

sluice_sdk::export!(Bench);
