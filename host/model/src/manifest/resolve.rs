//! From what is written to what is meant: every value judged, every name that points somewhere followed.
//!
//! Second of two stages. The order matters for the messages: first what stands alone (origins, settings, metrics), then what names it (profiles,
//! recipes, quotas), so that a complaint about a reference can count on its target being right.

use super::raw::{RawAllow, RawManifest, RawMetric, RawQuota, RawSetting};
use super::read::{Fault, Placed, Read, short};
use super::words::{choice, duration, header_name, method, name, path, setting_value, snake, unique, version};
use super::{
    Allow, Identity, Manifest, Metric, MetricKind, Quota, QuotaScope, ResetFormat, Schedule, Setting, SettingKind, recipes, signin,
};
use crate::address;
use crate::authority::Authority;
use crate::limits::{MAX_AUTHORITY_BYTES, MAX_REACH};
use crate::units;
use crate::url::{covers, normal_origin, parse_url};

/// One second, minute, hour, day in ms.
pub(super) const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

pub(super) fn manifest(raw: RawManifest) -> Read<Manifest> {
    let connector = name(&raw.name, "a connector")?;
    let version = version(&raw.version)?;
    let schedule = Schedule {
        every_ms: raw.every.as_ref().map_or(Ok(HOUR), |text| duration(text, "`every` in [schedule]", MINUTE, 31 * DAY))?,
        overlap_ms: raw.overlap.as_ref().map_or(Ok(0), |text| duration(text, "`overlap` in [schedule]", 0, 3660 * DAY))?,
    };
    let settings: Vec<Setting> = raw.settings.iter().map(setting).collect::<Read<_>>()?;
    unique(raw.settings.iter().map(|s| (s.name.at, s.name.value.as_str())), "the setting")?;
    let allow: Vec<Allow> = raw.allow.iter().map(|a| one_allow(a, &settings)).collect::<Read<_>>()?;
    for (i, one) in raw.allow.iter().enumerate() {
        if allow.iter().take(i).any(|before| Some(before) == allow.get(i)) {
            return Fault::new(one.at, "this [[allow]] is there twice");
        }
    }
    let mut pairs = 0;
    for (one, raw) in allow.iter().zip(&raw.allow) {
        pairs += one.paths.len().max(1);
        if pairs > MAX_REACH {
            let text =
                format!("the [[allow]] tables have more than {MAX_REACH} paths together: allow the path above several of them instead");
            return Fault::new(raw.at, text);
        }
    }
    let metrics = metrics(&raw.metrics)?;
    if raw.auth.is_empty() {
        return Fault::new(
            0,
            "the manifest needs an [[auth]], a way in; where nobody signs in write id = \"open\", title = \"Open data\", kind = \"none\"",
        );
    }
    let auth = signin::profiles(&raw.auth)?;
    let attach = recipes::recipes(&raw.attach, &allow, &auth)?;
    let quotas = quotas(&raw.quotas, &allow)?;
    let manifest = Manifest { name: connector, title: raw.title.value, version, allow, auth, attach, metrics, quotas, settings, schedule };
    if Authority::weight(&manifest) > MAX_AUTHORITY_BYTES {
        return Fault::new(
            0,
            format!(
                "what the manifest asks for has more than {} KiB, written out request by request: name fewer methods, paths and profiles in [[allow]] and \
                 [[attach]], or the paths above them",
                MAX_AUTHORITY_BYTES >> 10
            ),
        );
    }
    Ok(manifest)
}

fn one_allow(raw: &RawAllow, settings: &[Setting]) -> Read<Allow> {
    let origin = origin(&raw.origin, settings)?;
    let methods = match &raw.methods {
        None => vec!["GET".to_owned(), "HEAD".to_owned()],
        Some(list) if list.is_empty() => return Fault::new(raw.at, "`methods` in [[allow]] is empty: leave it out for GET and HEAD"),
        Some(list) => {
            unique(list.iter().map(|m| (m.at, m.value.as_str())), "the method")?;
            list.iter().map(method).collect::<Read<_>>()?
        }
    };
    let paths: Vec<String> = match &raw.paths {
        None => Vec::new(),
        Some(list) if list.is_empty() => return Fault::new(raw.at, "`paths` in [[allow]] is empty: leave it out for every path"),
        Some(list) => {
            unique(list.iter().map(|p| (p.at, p.value.as_str())), "the path")?;
            list.iter().map(|p| path(p, "`paths` in [[allow]]")).collect::<Read<_>>()?
        }
    };
    if is_shared(&origin) && (paths.is_empty() || paths.iter().any(|p| p.trim_matches('/').is_empty())) {
        return raw.origin.fault(format!(
            "{origin} is shared by all customers of that store: whoever has a bucket there could receive what the connector reads. Name the bucket, paths = [\"/BUCKET/\"]"
        ));
    }
    Ok(Allow { origin, methods, paths })
}

/// An exact https origin, or the placeholder of an operator's setting.
fn origin(text: &Placed<String>, settings: &[Setting]) -> Read<String> {
    let value = text.value.as_str();
    if let Some(inner) = value.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return match settings.iter().find(|s| s.name == inner) {
            Some(Setting { kind: SettingKind::Url, .. }) => Ok(value.to_owned()),
            Some(_) => text.fault(format!("the setting “{}” is no URL: give it type = \"url\"", short(inner))),
            None => text.fault(format!("no [[setting]] provides {{{}}}: declare one with type = \"url\"", short(inner))),
        };
    }
    if value.contains('*') {
        return text.fault(format!("“{}”: origins are exact, wildcards are not known; write one [[allow]] for each host", short(value)));
    }
    let url = parse_url(value).or_else(|bad| text.fault(format!("`origin` in [[allow]]: {bad}")))?;
    if url.scheme() != "https" {
        return text.fault("`origin` in [[allow]] must be https. (For a test server the operator sets `upstream`.)");
    }
    let normal = normal_origin(&url);
    if url.path() != "/" || url.query().is_some() {
        return text.fault(format!("an origin has no path: write origin = \"{normal}\", paths = [\"{}\"]", short(url.path())));
    }
    if value != normal {
        return text.fault(format!("an origin is written in its normal form: \"{normal}\""));
    }
    match address::judge_url(&url) {
        Ok(()) => Ok(normal),
        Err(class) => {
            text.fault(format!("{normal}: no connector reaches {class} addresses by itself; an operator can point `upstream` there"))
        }
    }
}

/// Origins where anybody can rent a path.
fn is_shared(origin: &str) -> bool {
    let host = origin.trim_start_matches("https://").split(':').next().unwrap_or_default();
    const EXACT: &[&str] = &[
        "storage.googleapis.com",
        "storage.cloud.google.com",
        "firebasestorage.googleapis.com",
        "www.googleapis.com",
        "storage.yandexcloud.net",
        "s3.amazonaws.com",
        "s3.wasabisys.com",
        "raw.githubusercontent.com",
        "gist.githubusercontent.com",
        "objects.githubusercontent.com",
        "cdn.jsdelivr.net",
        "unpkg.com",
        "script.google.com",
        "content.dropboxapi.com",
    ];
    let labels: Vec<&str> = host.split('.').collect();
    let first = labels.first().copied().unwrap_or_default();
    let store =
        |suffix: &str, names: &[&str]| host.ends_with(suffix) && names.iter().any(|n| first == *n || first.starts_with(&format!("{n}-")));
    // A bucket in the host name (`mine.s3.amazonaws.com`) is the bucket's owner's alone; the region's end point is everybody's.
    EXACT.contains(&host)
        || store(".amazonaws.com", &["s3", "s3express"])
        || store(".amazonaws.com.cn", &["s3"])
        || store(".wasabisys.com", &["s3"])
        || store(".backblazeb2.com", &["s3"])
        || (host.ends_with(".backblazeb2.com") && first.len() == 4 && first.starts_with('f'))
        || (host.ends_with(".digitaloceanspaces.com") && labels.len() == 3)
        || (host.ends_with(".linodeobjects.com") && labels.len() == 3)
        || (host.ends_with(".vultrobjects.com") && labels.len() == 3)
        || (host.ends_with(".aliyuncs.com") && labels.len() == 3 && first.starts_with("oss-"))
        || (host.ends_with(".scw.cloud") && labels.len() == 4 && first == "s3")
}

fn metrics(raw: &[RawMetric]) -> Read<Vec<Metric>> {
    let mut out = Vec::with_capacity(raw.len());
    for one in raw {
        if let Err(why) = units::check(&one.unit.value) {
            return one.unit.fault(format!("`unit` of {}: {why}", short(&one.name.value)));
        }
        let identity =
            choice(&one.identity, "`identity` in [[metric]]", &[("time", Identity::Time), ("id", Identity::Id), ("day", Identity::Day)])?;
        if let (Identity::Id, Some(series)) = (identity, &one.series) {
            return series.fault("with identity = \"id\" an entry is told apart by its id alone: leave `series` out and put it into `detail`, or use identity = \"time\"");
        }
        let kinds = [
            ("sum", MetricKind::Sum),
            ("last", MetricKind::Last),
            ("mean", MetricKind::Mean),
            ("max", MetricKind::Max),
            ("event", MetricKind::Event),
        ];
        out.push(Metric {
            name: snake(&one.name, "a metric")?,
            alias: one.alias.as_ref().map(|alias| snake(alias, "a metric")).transpose()?,
            unit: one.unit.value.clone(),
            kind: choice(&one.kind, "`kind` in [[metric]]", &kinds)?,
            identity,
            series: one.series.as_ref().map(|series| snake(series, "a series")).transpose()?,
        });
    }
    let names = raw.iter().flat_map(|m| std::iter::once(&m.name).chain(&m.alias));
    unique(names.map(|n| (n.at, n.value.as_str())), "the metric")?;
    Ok(out)
}

fn quotas(raw: &[RawQuota], allow: &[Allow]) -> Read<Vec<Quota>> {
    unique(raw.iter().map(|q| (q.name.at, q.name.value.as_str())), "the quota")?;
    raw.iter().map(|one| quota(one, allow)).collect()
}

fn quota(raw: &RawQuota, allow: &[Allow]) -> Read<Quota> {
    let mut paths = Vec::new();
    for text in raw.paths.iter().flatten() {
        let prefix = path(text, "`paths` in [[quota]]")?;
        let reachable = allow.iter().any(|a| a.paths.is_empty() || a.paths.iter().any(|p| covers(p, &prefix) || covers(&prefix, p)));
        if !reachable {
            return text.fault(format!("no [[allow]] lets a request to {prefix} through, so this quota would count nothing"));
        }
        paths.push(prefix);
    }
    if !(1..=1_000_000_000).contains(&raw.requests.value) {
        return raw.requests.fault("`requests` in [[quota]] lies between 1 and 1000000000");
    }
    let header = |text: &Option<Placed<String>>| text.as_ref().map(|t| header_name(t, false).map(|n| n.to_ascii_lowercase())).transpose();
    let formats = [("seconds", ResetFormat::Seconds), ("epoch", ResetFormat::Epoch), ("http-date", ResetFormat::HttpDate)];
    let reset_format = match (&raw.reset_header, &raw.reset_format) {
        (_, Some(text)) if raw.reset_header.is_none() => {
            return text.fault("`reset-format` says how `reset-header` reads, and there is none");
        }
        (Some(header), None) => {
            return header
                .fault("`reset-header` needs `reset-format`: \"seconds\" (from now), \"epoch\" (seconds since 1970) or \"http-date\"");
        }
        (_, Some(text)) => choice(text, "`reset-format` in [[quota]]", &formats)?,
        (None, None) => ResetFormat::Seconds,
    };
    Ok(Quota {
        name: name(&raw.name, "a quota")?,
        scope: choice(&raw.scope, "`scope` in [[quota]]", &[("connection", QuotaScope::Connection), ("app", QuotaScope::App)])?,
        paths,
        requests: raw.requests.value.unsigned_abs(),
        window_ms: duration(&raw.window, "`window` in [[quota]]", SECOND, 366 * DAY)?.unsigned_abs(),
        remaining_header: header(&raw.remaining_header)?,
        reset_header: header(&raw.reset_header)?,
        reset_format,
    })
}

fn setting(raw: &RawSetting) -> Read<Setting> {
    let kinds = [("bool", 0_u8), ("integer", 1), ("text", 2), ("choice", 3), ("url", 4)];
    let kind = match (choice(&raw.kind, "`type` in [[setting]]", &kinds)?, &raw.choices) {
        (3, Some(list)) if !list.is_empty() => {
            unique(list.iter().map(|c| (c.at, c.value.as_str())), "the choice")?;
            SettingKind::Choice(list.iter().map(|c| c.value.clone()).collect())
        }
        (3, _) => return Fault::new(raw.at, "a setting of type = \"choice\" needs `choices`: write choices = [\"one\", \"other\"]"),
        (_, Some(_)) => return Fault::new(raw.at, "`choices` belongs to type = \"choice\""),
        (0, None) => SettingKind::Bool,
        (1, None) => SettingKind::Integer,
        (2, None) => SettingKind::Text,
        (_, None) => SettingKind::Url,
    };
    if let Some(default) = &raw.default
        && let Err(why) = setting_value(&kind, &default.value)
    {
        return default.fault(format!("`default` of the setting {}: {why}", short(&raw.name.value)));
    }
    Ok(Setting { name: name(&raw.name, "a setting")?, kind, default: raw.default.as_ref().map(|d| d.value.clone()) })
}
