//! The host's judgement: manifest, grant, recipes, entries, by the host's own code.

use crate::http::Request;
use crate::types::{Entry, Moment};
use sluice_model::grant::Decision;
use sluice_model::manifest::{Identity, Metric};
use sluice_model::{Grant, Manifest};
use std::collections::BTreeMap;

/// A connector's manifest and what follows from it.
pub(super) struct Judge {
    manifest: Manifest,
    grant: Grant,
    settings: BTreeMap<String, String>,
}

impl Judge {
    /// With an operator's settings over the manifest's defaults.
    pub(super) fn new(describe: &str, given: &[(&str, &str)]) -> Self {
        let manifest = Manifest::parse(describe).unwrap_or_else(|error| panic!("the manifest: {error}"));
        let defaults = manifest.settings.iter().filter_map(|s| s.default.clone().map(|value| (s.name.clone(), value)));
        let mut settings: BTreeMap<String, String> = defaults.collect();
        for (name, value) in given {
            let setting = manifest.settings.iter().find(|s| s.name == *name);
            let setting = setting.unwrap_or_else(|| panic!("the manifest has no setting “{name}”"));
            setting.check(value).unwrap_or_else(|why| panic!("the setting {name} = “{value}”: {why}"));
            settings.insert((*name).to_owned(), (*value).to_owned());
        }
        let pairs: Vec<(String, String)> = settings.clone().into_iter().collect();
        let grant = Grant::new(&manifest, &pairs).unwrap_or_else(|error| panic!("the grant: {error}"));
        Self { manifest, grant, settings }
    }

    pub(super) fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name).cloned()
    }

    pub(super) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// May it be sent, and do keys go with it?
    pub(super) fn request(&self, request: &Request, profile: &str) -> Result<bool, String> {
        let url = Grant::parse_url(&request.url).map_err(|error| error.to_string())?;
        if let Decision::Denied(why) = self.grant.decide(&request.method, &url) {
            return Err(why);
        }
        if let Some((name, _)) = request.headers.iter().find(|(name, _)| {
            matches!(
                name.to_ascii_lowercase().as_str(),
                "host" | "content-length" | "transfer-encoding" | "connection" | "accept-encoding" | "cookie" | "authorization"
            )
        }) {
            return Err(format!("the header {name} is not a connector's to write"));
        }
        let Some(credential) = &request.credential else { return Ok(false) };
        let Some(recipe) = self.grant.recipe(credential, profile) else {
            return Err(format!("the profile {profile} has no recipe “{credential}”"));
        };
        let fits = recipe.to.iter().any(|to| {
            to.method == request.method
                && Grant::parse_url(&to.url).is_ok_and(|to| to.origin() == url.origin() && below(to.path(), url.path()))
        });
        if !fits {
            return Err(format!("the recipe “{credential}” attaches to none of {} {}", request.method, url.path()));
        }
        if let Some((owned, _)) = recipe.query.iter().find(|(owned, _)| url.query_pairs().any(|(name, _)| name == owned.as_str())) {
            return Err(format!("the parameter {owned} belongs to the recipe “{credential}”"));
        }
        if let Some((owned, _)) =
            recipe.header.iter().find(|(owned, _)| request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(owned)))
        {
            return Err(format!("the header {owned} belongs to the recipe “{credential}”"));
        }
        Ok(true)
    }

    pub(super) fn metric(&self, name: &str) -> Result<&Metric, String> {
        self.manifest.metric(name).ok_or_else(|| format!("the manifest declares no metric “{name}”"))
    }

    /// Is it as its metric declares? Answers what tells it apart.
    pub(super) fn entry(&self, entry: &Entry) -> Result<Identity, String> {
        let identity = self.metric(&entry.metric)?.identity;
        check(&self.manifest, entry)?;
        Ok(identity)
    }

    /// What it counts for.
    pub(super) fn weight(entry: &Entry) -> u64 {
        sluice_model::validate::weight(&modelled(entry))
    }

    /// Does it lie in the window that is being replaced?
    pub(super) fn inside(entry: &Entry, metric: &str, series: Option<&str>, first: Moment, past: Moment) -> Result<(), String> {
        if entry.metric != metric || (series.is_some() && entry.series.as_deref() != series) {
            return Err("it is of another metric or series than the window".to_owned());
        }
        if entry.when < first || entry.when >= past {
            return Err("it lies outside the window".to_owned());
        }
        Ok(())
    }

    pub(super) fn window(metric: &Metric, first: Moment, past: Moment) -> Result<(), String> {
        match (first, past) {
            (Moment::Instant(_), Moment::Instant(_)) if metric.identity == Identity::Day => {
                Err(format!("the identity of {} is the day: give days as bounds of the window", metric.name))
            }
            (Moment::Instant(a), Moment::Instant(b)) if a < b => Ok(()),
            (Moment::Day(a), Moment::Day(b)) if a < b => Ok(()),
            _ => Err("a window is two instants or two days, the earlier first".to_owned()),
        }
    }

    pub(super) fn retract(&self, metric: &str, id: &str) -> Result<(), String> {
        sluice_model::validate::check_retract(&self.manifest, metric, id)
    }

    pub(super) fn label(&self, metric: &str, series: &str, label: &str) -> Result<(), String> {
        sluice_model::validate::check_label(&self.manifest, metric, series, label)
    }
}

fn below(prefix: &str, path: &str) -> bool {
    path == prefix || path.strip_prefix(prefix).is_some_and(|rest| prefix.ends_with('/') || rest.starts_with('/'))
}

fn moment(moment: Moment) -> sluice_model::Moment {
    match moment {
        Moment::Instant(ms) => sluice_model::Moment::Instant(ms),
        Moment::Day(day) => sluice_model::Moment::Day(sluice_model::Day(day.0)),
    }
}

fn modelled(entry: &Entry) -> sluice_model::Entry {
    sluice_model::Entry {
        metric: entry.metric.clone(),
        when: moment(entry.when),
        end: entry.end,
        offset_minutes: entry.offset_minutes,
        id: entry.id.clone(),
        series: entry.series.clone(),
        day: entry.day.map(|day| day.to_string()),
        value: entry.value,
        samples: entry.samples.iter().map(|s| sluice_model::Sample { offset_ms: s.offset_ms, value: s.value }).collect(),
        revision: entry.revision,
        detail: entry.detail.clone(),
    }
}

fn check(manifest: &Manifest, entry: &Entry) -> Result<(), String> {
    let entry = modelled(entry);
    sluice_model::validate::check_entry(manifest, &entry).map_err(|why| why.to_string())
}
