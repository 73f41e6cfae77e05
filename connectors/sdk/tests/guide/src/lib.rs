//! Rainlog: millimetres of rain, one value a day.

use serde::{Deserialize, Serialize};
use sluice_sdk::cursor::Versioned;
use sluice_sdk::walk::{Walk, year_of};
use sluice_sdk::{Account, Connector, Day, Entry, Failure, Host, Moment, Outcome, Request, export, status};

const ROOT: &str = "https://api.rainlog.example/v1";
/// After so many requests a run lets others have their turn.
const BUDGET: u64 = 100;

pub struct Rainlog;

/// Where it got to.
#[derive(Default, Serialize, Deserialize)]
struct Cursor {
    /// The last day that was put on top of the walk, days since 1970.
    seen: Option<i32>,
    /// Stretches of days that are still to read.
    todo: Walk,
}

impl Versioned for Cursor {
    const VERSION: u32 = 1;
}

#[derive(Deserialize)]
struct Me {
    id: u64,
    name: String,
    since: String,
}

#[derive(Deserialize)]
struct Days {
    days: Vec<Rain>,
}

#[derive(Deserialize)]
struct Rain {
    day: String,
    mm: f64,
}

impl Connector for Rainlog {
    const DESCRIBE: &'static str = include_str!("../connector.toml");

    fn identify(host: &mut Host<'_>) -> Result<Account, Failure> {
        let me: Me = ask(host, Request::get(format!("{ROOT}/me")), "your account")?;
        Ok(Account::new(me.id.to_string(), me.name))
    }

    fn sync(host: &mut Host<'_>) -> Result<Outcome, Failure> {
        let mut cursor: Cursor = host.cursor().unwrap_or_default();
        let today = Day::of_ms(host.now());
        let from = match cursor.seen {
            // The first time: as far back as there is anything.
            None => {
                let me: Me = ask(host, Request::get(format!("{ROOT}/me")), "your account")?;
                day(&me.since)?
            }
            // Later: what is new, and the overlap, since people correct their days.
            Some(seen) => host.window_ms().map_or(Day(seen), |(first, _)| Day::of_ms(first).min(Day(seen))),
        };
        // Up to and with tomorrow: east of Greenwich it has begun.
        cursor.todo.push_days(from, today.plus(2));
        cursor.seen = Some(today.0);
        while let Some(span) = cursor.todo.next(year_of) {
            if host.requests() >= BUDGET {
                return Ok(Outcome::More);
            }
            let (first, past) = span.days();
            let entries = read(host, first, past)?;
            host.replace_window("rain", None, Moment::Day(first), Moment::Day(past), entries)?;
            cursor.todo.finish(span.from);
            host.checkpoint(&cursor)?;
        }
        Ok(Outcome::Complete)
    }
}

export!(Rainlog);

/// The days from `first` up to, not including, `past`.
fn read(host: &mut Host<'_>, first: Day, past: Day) -> Result<Vec<Entry>, Failure> {
    let request = Request::get(format!("{ROOT}/days")).query("from", first).query("to", past.plus(-1));
    let answer: Days = ask(host, request, "the days")?;
    answer.days.iter().map(|rain| Ok(Entry::on("rain", day(&rain.day)?, rain.mm))).collect()
}

/// Asks with the person's key, and lets nothing through whose status or shape is wrong.
fn ask<T: serde::de::DeserializeOwned>(host: &mut Host<'_>, request: Request, what: &str) -> Result<T, Failure> {
    let response = host.fetch(&request.credential("user"))?;
    status::check(&response, what, host.now())?;
    response.json(what)
}

fn day(text: &str) -> Result<Day, Failure> {
    text.parse().map_err(|_| Failure::unexpected("not-a-day", "Rainlog named a day in a way that nobody expected"))
}
