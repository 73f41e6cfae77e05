//! `contributionsCollection(from, to)`: at most a year of one user's contributions, as a calendar and as totals.
//!
//! Days are UTC's; the ends are cut to whole days and the first and last week hold only the days inside. The calendar counts all contributions; totals by
//! kind leave out what the token cannot see, which `restrictedContributionsCount` counts instead.

use super::connection::Row;
use super::nodes::{Node, Out};
use super::parse::Arguments;
use super::{Failed, Scope};
use crate::github::data::User;
use crate::github::world::{Contribution, What};
use crate::time::{DAY, date, day, iso, start_of};
use jiff::ToSpan as _;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// One user's contributions between two instants.
pub(super) struct Collection {
    login: String,
    created_at: i64,
    now: i64,
    from: i64,
    to: i64,
    within: Vec<Contribution>,
}

impl Collection {
    pub(super) fn new(scope: &Scope<'_>, user: &User, from: Option<i64>, to: Option<i64>) -> Result<Collection, Failed> {
        let year_before = |to: i64| start_of(date(to).saturating_sub(1.year())).unwrap_or(to - 365 * DAY);
        let year_after = |from: i64| {
            date(from)
                .saturating_add(1.year())
                .at(23, 59, 59, 0)
                .to_zoned(jiff::tz::TimeZone::UTC)
                .map_or(from + 365 * DAY, |end| end.timestamp().as_second())
        };
        let (from, to) = match (from, to) {
            (Some(from), Some(to)) => (from, to),
            (Some(from), None) => (from, year_after(from).min(scope.now.max(from))),
            (None, to) => (year_before(to.unwrap_or(scope.now)), to.unwrap_or(scope.now)),
        };
        if to < from {
            return Err(Failed::new("'to' must not be before 'from'"));
        }
        if to > year_after(from) {
            return Err(Failed::of("VALIDATION", "The total time spanned by 'from' and 'to' must not exceed 1 year"));
        }
        let (first, past) = (from.div_euclid(DAY) * DAY, to.div_euclid(DAY) * DAY + DAY);
        let mut within = scope.world.contributions(&user.login);
        within.retain(|contribution| contribution.at >= first && contribution.at < past);
        Ok(Collection { login: user.login.clone(), created_at: user.created_at, now: scope.now, from, to, within })
    }

    fn seen(scope: &Scope<'_>, contribution: &Contribution) -> bool {
        match contribution.repository.and_then(|id| scope.world.repositories.get(&id)) {
            Some(repository) => {
                scope.world.visible(repository, scope.caller)
                    && (!repository.private || scope.caller.token.as_ref().is_some_and(|token| token.sees_private()))
            }
            None => true,
        }
    }

    fn visible(&self, scope: &Scope<'_>, what: What) -> impl Iterator<Item = &Contribution> {
        self.within.iter().filter(move |contribution| contribution.what == what && Collection::seen(scope, contribution))
    }

    pub(super) fn field<'w>(&self, scope: &Scope<'w>, name: &str, arguments: &Arguments) -> Result<Option<Out<'w>>, Failed> {
        let total = |what: What| Out::Leaf(json!(self.visible(scope, what).count()));
        let repositories = |what: What| {
            let ids: BTreeSet<u64> = self.visible(scope, what).filter_map(|contribution| contribution.repository).collect();
            Out::Leaf(json!(ids.len()))
        };
        Ok(Some(match name {
            "contributionCalendar" => Out::json("ContributionCalendar", self.calendar()),
            "contributionYears" => {
                let (first, last) = (date(self.created_at).year(), date(self.now).year());
                Out::Leaf(json!((first..=last).rev().collect::<Vec<_>>()))
            }
            "totalCommitContributions" => total(What::Commit),
            "totalIssueContributions" => total(What::Issue),
            "totalPullRequestContributions" => total(What::PullRequest),
            "totalPullRequestReviewContributions" => total(What::Review),
            "totalRepositoryContributions" => Out::Leaf(json!(0)),
            "totalRepositoriesWithContributedCommits" => repositories(What::Commit),
            "totalRepositoriesWithContributedIssues" => repositories(What::Issue),
            "totalRepositoriesWithContributedPullRequests" => repositories(What::PullRequest),
            "restrictedContributionsCount" => {
                Out::Leaf(json!(self.within.iter().filter(|contribution| !Collection::seen(scope, contribution)).count()))
            }
            "hasAnyContributions" => Out::Leaf(json!(!self.within.is_empty())),
            "hasAnyRestrictedContributions" => {
                Out::Leaf(json!(self.within.iter().any(|contribution| !Collection::seen(scope, contribution))))
            }
            "startedAt" => Out::Leaf(json!(iso(self.from))),
            "endedAt" => Out::Leaf(json!(iso(self.to))),
            "user" => scope.world.user(&self.login).map_or(Out::Leaf(Value::Null), |user| Out::Node(Node::User(user))),
            "issueContributions" => self.occasions("CreatedIssueContributionConnection", scope, What::Issue, arguments)?,
            "pullRequestContributions" => {
                self.occasions("CreatedPullRequestContributionConnection", scope, What::PullRequest, arguments)?
            }
            "pullRequestReviewContributions" => {
                self.occasions("CreatedPullRequestReviewContributionConnection", scope, What::Review, arguments)?
            }
            "commitContributionsByRepository" => self.by_repository(scope, arguments),
            _ => return Ok(None),
        }))
    }

    fn occasions<'w>(&self, name: &'static str, scope: &Scope<'w>, what: What, arguments: &Arguments) -> Result<Out<'w>, Failed> {
        let mut times: Vec<i64> = self.visible(scope, what).map(|contribution| contribution.at).collect();
        times.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        let node = |at: i64| {
            let object = json!({"occurredAt": iso(at), "isRestricted": false}).as_object().cloned().unwrap_or_default();
            Row { node: Node::Json("Contribution", object), edge: Map::new() }
        };
        Out::rows(name, arguments, times.into_iter().map(node).collect())
    }

    fn by_repository<'w>(&self, scope: &Scope<'w>, arguments: &Arguments) -> Out<'w> {
        let most = arguments.get("maxRepositories").and_then(Value::as_u64).unwrap_or(25).min(100);
        let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
        for id in self.visible(scope, What::Commit).filter_map(|contribution| contribution.repository) {
            *counts.entry(id).or_default() += 1;
        }
        let mut counts: Vec<(u64, u64)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.truncate(usize::try_from(most).unwrap_or(100));
        let row = |(id, count): (u64, u64)| {
            let repository = scope.world.repositories.get(&id)?;
            let named = json!({"databaseId": id, "name": repository.name, "nameWithOwner": scope.world.full_name(repository), "isPrivate": repository.private});
            Some(json!({"repository": named, "contributions": {"totalCount": count}}))
        };
        Out::json("CommitContributionsByRepository", Value::Array(counts.into_iter().filter_map(row).collect()))
    }

    fn calendar(&self) -> Value {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for contribution in &self.within {
            *counts.entry(day(contribution.at)).or_default() += 1;
        }
        let most = counts.values().max().copied().unwrap_or(0);
        let mut weeks: Vec<(String, Vec<Value>)> = Vec::new();
        let mut total = 0;
        for number in self.from.div_euclid(DAY)..=self.to.div_euclid(DAY) {
            let at = number * DAY;
            let weekday = date(at).weekday().to_sunday_zero_offset();
            let count = counts.get(&day(at)).copied().unwrap_or(0);
            total += count;
            if weekday == 0 || weeks.is_empty() {
                weeks.push((day(at), Vec::new()));
            }
            if let Some((_, days)) = weeks.last_mut() {
                days.push(json!({"date": day(at), "contributionCount": count, "contributionLevel": level(count, most), "weekday": weekday, "color": "#ebedf0"}));
            }
        }
        let weeks: Vec<Value> = weeks.into_iter().map(|(first, days)| json!({"firstDay": first, "contributionDays": days})).collect();
        json!({"totalContributions": total, "weeks": weeks, "isHalloween": false, "colors": ["#9be9a8", "#40c463", "#30a14e", "#216e39"]})
    }
}

fn level(count: u64, most: u64) -> &'static str {
    match (count, count * 4) {
        (0, _) => "NONE",
        (_, share) if share <= most => "FIRST_QUARTILE",
        (_, share) if share <= most * 2 => "SECOND_QUARTILE",
        (_, share) if share <= most * 3 => "THIRD_QUARTILE",
        _ => "FOURTH_QUARTILE",
    }
}
