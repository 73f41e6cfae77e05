//! GitHub's own calendar of contributions, a calendar year at a time, newest first.
//!
//! The calendar names civil days, by a midnight that GitHub does not document; they are kept as the days they are named, never as instants.
//! It also moves: recent days are counted again for about a week, so every round reads the overlap anew, and a window is replaced as a
//! whole. Only the days that an answer names are replaced: a day that is missing from it is not a day without contributions.
//!
//! GraphQL answers 200 to nearly everything. What matters is `errors`: a limit there is a limit, a refusal costs this metric alone,
//! anything else is an unexpected response.

use crate::{Run, api};
use serde::Deserialize;
use sluice_sdk::types::clip;
use sluice_sdk::walk::year_of;
use sluice_sdk::{Day, Entry, Failure, FailureKind, Moment, Response};

const METRIC: &str = "contributions";
const WHAT: &str = "the contribution calendar";
const QUERY: &str = "query($from:DateTime!,$to:DateTime!){viewer{contributionsCollection(from:$from,to:$to){contributionCalendar{weeks{contributionDays{date contributionCount}}}}}}";

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<Problem>,
}

#[derive(Deserialize)]
struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Data {
    viewer: Viewer,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Viewer {
    contributions_collection: Collection,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Collection {
    contribution_calendar: Calendar,
}

#[derive(Deserialize)]
struct Calendar {
    weeks: Vec<Week>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Week {
    contribution_days: Vec<Counted>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    date: String,
    contribution_count: u64,
}

/// Reads what is left of the calendar.
///
/// # Errors
/// What ends a run.
pub fn read(run: &mut Run<'_, '_>) -> Result<(), Failure> {
    while let Some(span) = run.cursor.contributions.next(year_of) {
        if run.is_spent() {
            return Ok(());
        }
        let (from, to) = (day(span.from), day(span.to));
        let variables = serde_json::json!({ "from": format!("{from}T00:00:00Z"), "to": format!("{}T23:59:59Z", to.plus(-1)) });
        let response = run.host.fetch(&api::graphql(QUERY, &variables)?)?;
        match days(&response, run.now) {
            Ok(days) => replace(run, &days, from, to)?,
            Err(failure) => {
                run.tolerate(failure, METRIC)?;
                // What is refused for one year is refused for all of them: the next round asks again.
                run.cursor.contributions = sluice_sdk::walk::Walk::new();
                return run.checkpoint();
            }
        }
        run.note_worked();
        run.cursor.contributions.finish(span.from);
        run.checkpoint()?;
    }
    Ok(())
}

fn day(number: i64) -> Day {
    Day(i32::try_from(number).unwrap_or_default())
}

/// The days that an answer names, in order, with their counts.
///
/// # Errors
/// It is no calendar.
pub fn days(response: &Response, now: i64) -> Result<Vec<(Day, u64)>, Failure> {
    api::check(response, WHAT, now)?;
    let answer: Answer = response.json(WHAT)?;
    if let Some(limit) = answer.errors.iter().find(|e| e.kind == "RATE_LIMITED" || api::says_limit(&e.message)) {
        return Err(api::limited(response, &limit.message, now));
    }
    if let Some(refusal) = answer.errors.iter().find(|e| is_refusal(e)) {
        let message = format!("the token may not read {WHAT}; GitHub says: {}", clip(&refusal.message, 160));
        return Err(Failure::new(FailureKind::NeedsConsent, "graphql-forbidden", message));
    }
    if let Some(first) = answer.errors.first() {
        let message = format!("asked for {WHAT}, GitHub answered with an error: {}; nothing of it was stored", clip(&first.message, 160));
        return Err(Failure::unexpected("graphql-error", message));
    }
    let missing = || Failure::unexpected("wrong-shape", format!("asked for {WHAT}, GitHub answered without one; nothing of it was stored"));
    let calendar = answer.data.ok_or_else(missing)?.viewer.contributions_collection.contribution_calendar;
    let mut days = Vec::new();
    for counted in calendar.weeks.into_iter().flat_map(|week| week.contribution_days) {
        days.push((counted.date.parse::<Day>().map_err(|_| missing())?, counted.contribution_count));
    }
    days.sort_unstable();
    days.dedup_by_key(|(day, _)| *day);
    Ok(days)
}

fn is_refusal(problem: &Problem) -> bool {
    matches!(problem.kind.as_str(), "FORBIDDEN" | "INSUFFICIENT_SCOPES") || problem.message.contains("Resource not accessible")
}

fn replace(run: &mut Run<'_, '_>, days: &[(Day, u64)], from: Day, to: Day) -> Result<(), Failure> {
    let inside = || days.iter().filter(|(day, _)| (from..to).contains(day));
    let (Some((first, _)), Some((last, _))) = (inside().next(), inside().next_back()) else { return Ok(()) };
    let entries = inside().filter(|(_, count)| *count > 0).map(|(day, count)| Entry::on(METRIC, *day, *count as f64)).collect();
    run.host.replace_window(METRIC, None, Moment::Day(*first), Moment::Day(last.plus(1)), entries)
}
