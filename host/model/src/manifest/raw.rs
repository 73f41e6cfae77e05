//! The manifest as it is written: every table's keys, with places, and nothing judged but their shape.
//!
//! First of two stages. Here the closed list of keys of each table stands, and beside it what the format has that this host does not serve; the
//! second stage (`resolve`) gives values their meaning and compares tables with each other. Nothing past that stage ever sees this form.

use super::read::{Fault, NameOrTable, Placed, Read, Table, not_served, short};
use toml::de::DeTable;

type Text = Placed<String>;
type RawPairs = Vec<(Text, Text)>;

pub(super) struct RawManifest {
    pub name: Text,
    pub title: Text,
    pub version: Text,
    pub allow: Vec<RawAllow>,
    pub auth: Vec<RawAuth>,
    pub attach: Vec<RawAttach>,
    pub metrics: Vec<RawMetric>,
    pub quotas: Vec<RawQuota>,
    pub settings: Vec<RawSetting>,
    pub every: Option<Text>,
    pub overlap: Option<Text>,
}

pub(super) struct RawAllow {
    pub at: usize,
    pub origin: Text,
    pub methods: Option<Vec<Text>>,
    pub paths: Option<Vec<Text>>,
}

pub(super) struct RawAuth {
    pub at: usize,
    pub id: Text,
    pub title: Text,
    pub kind: Text,
    pub setup: Option<Text>,
    pub help: Option<Text>,
    pub app_fields: Vec<(Text, Option<bool>)>,
    pub expires: Option<Text>,
    pub authorize_url: Option<Text>,
    pub token_url: Option<Text>,
    pub revoke_url: Option<Text>,
    pub issuer: Option<Text>,
    pub scopes: Option<Vec<Text>>,
    pub scope_separator: Option<Text>,
    pub authorize_params: RawPairs,
    pub client_auth: Option<Text>,
    pub pkce: Option<Text>,
    pub loopback: Option<bool>,
    pub token_path: Option<Text>,
    pub authorize_query: RawPairs,
    pub take: RawPairs,
    pub fields: Vec<RawField>,
    pub exchanges: Vec<RawExchange>,
}

pub(super) struct RawField {
    pub name: Text,
    pub label: Text,
    pub help: Option<Text>,
    pub secret: Option<bool>,
    pub pattern: Option<Text>,
}

pub(super) struct RawExchange {
    pub at: usize,
    pub when: Text,
    pub method: Text,
    pub url: Text,
    pub query: RawPairs,
    pub form: RawPairs,
    pub header: RawPairs,
    pub sign: Option<Text>,
    pub keep: RawPairs,
}

pub(super) struct RawAttach {
    pub at: usize,
    pub name: Text,
    pub to: Vec<Text>,
    pub header: RawPairs,
    pub query: RawPairs,
    pub form: RawPairs,
    pub sign: Option<Text>,
    pub profiles: Option<Vec<Text>>,
}

pub(super) struct RawMetric {
    pub name: Text,
    pub alias: Option<Text>,
    pub unit: Text,
    pub kind: Text,
    pub identity: Text,
    pub series: Option<Text>,
}

pub(super) struct RawQuota {
    pub name: Text,
    pub scope: Text,
    pub paths: Option<Vec<Text>>,
    pub requests: Placed<i64>,
    pub window: Text,
    pub remaining_header: Option<Text>,
    pub reset_header: Option<Text>,
    pub reset_format: Option<Text>,
}

pub(super) struct RawSetting {
    pub at: usize,
    pub name: Text,
    pub kind: Text,
    pub choices: Option<Vec<Text>>,
    pub default: Option<Text>,
}

const TOP: &[&str] = &["manifest", "name", "title", "version", "allow", "auth", "attach", "metric", "quota", "setting", "schedule"];
const TOP_LATER: &[&str] = &["webhook", "deliver", "status", "ends-on", "successor"];
const ALLOW: &[&str] = &["origin", "methods", "paths"];
const AUTH: &[&str] = &[
    "id",
    "title",
    "kind",
    "setup",
    "help",
    "app-fields",
    "expires",
    "authorize-url",
    "token-url",
    "revoke-url",
    "issuer",
    "scopes",
    "scope-separator",
    "authorize-params",
    "client-auth",
    "pkce",
    "loopback",
    "token-path",
    "authorize-query",
    "take",
    "field",
    "exchange",
];
const AUTH_LATER: &[&str] = &["request-url", "access-url", "signature-method"];
const FIELD: &[&str] = &["name", "label", "help", "secret", "pattern"];
const EXCHANGE: &[&str] = &["when", "method", "url", "query", "form", "header", "sign", "keep"];
const EXCHANGE_LATER: &[&str] = &["json"];
const ATTACH: &[&str] = &["name", "to", "header", "query", "form", "sign", "profiles"];
const METRIC: &[&str] = &["name", "alias", "unit", "kind", "identity", "series"];
const METRIC_LATER: &[&str] = &["keep-older"];
const QUOTA: &[&str] = &["name", "scope", "paths", "requests", "window", "remaining-header", "reset-header", "reset-format"];
const QUOTA_LATER: &[&str] = &["spend"];
const SETTING: &[&str] = &["name", "type", "choices", "default", "set-by"];
const SCHEDULE: &[&str] = &["every", "overlap"];
const SCHEDULE_LATER: &[&str] = &["status", "ends-on", "successor"];

/// The manifest format that this host reads.
const NUMBER: i64 = 1;

/// Names, ids, words from closed lists.
const WORD: usize = 80;
/// URLs, patterns, units and the like.
const LINE: usize = 1024;
/// Markdown for people.
const PROSE: usize = 8192;

impl RawManifest {
    pub fn read(text: &str) -> Read<Self> {
        let document = DeTable::parse(text).map_err(|error| Fault {
            at: error.span().map_or(0, |span| span.start),
            message: format!("no TOML: {}", error.message().replace('\n', " ")),
        })?;
        // The number comes first: what a newer format adds must read "newer host", not "unknown key".
        if let Some(node) = document.get_ref().get("manifest") {
            let at = node.span().start;
            match node.get_ref().as_integer().and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok()) {
                Some(NUMBER) => {}
                Some(n) if n > NUMBER => {
                    return Fault::new(
                        at,
                        format!("manifest = {n}: this connector needs a newer host; this one reads manifest = {NUMBER}"),
                    );
                }
                _ => return Fault::new(at, format!("`manifest` is the number of the format: write manifest = {NUMBER}")),
            }
        }
        let top = Table::open("the manifest", 0, document.get_ref(), TOP, TOP_LATER)?;
        if top.number("manifest")?.is_none() {
            return top.missing("manifest", &format!("manifest = {NUMBER} on the first line"));
        }
        let schedule = top.table("schedule", "[schedule]", SCHEDULE, SCHEDULE_LATER)?;
        Ok(Self {
            name: top.need_text("name", WORD, "name = \"the connector's name\"")?,
            title: top.need_text("title", WORD, "title = \"the provider's name, for people\"")?,
            version: top.need_text("version", WORD, "version = \"1.0.0\"")?,
            allow: top.tables("allow", 32, "[[allow]]", ALLOW, &[])?.iter().map(RawAllow::read).collect::<Read<_>>()?,
            auth: top.tables("auth", 8, "[[auth]]", AUTH, AUTH_LATER)?.iter().map(RawAuth::read).collect::<Read<_>>()?,
            attach: top.tables("attach", 16, "[[attach]]", ATTACH, &[])?.iter().map(RawAttach::read).collect::<Read<_>>()?,
            metrics: top.tables("metric", 256, "[[metric]]", METRIC, METRIC_LATER)?.iter().map(RawMetric::read).collect::<Read<_>>()?,
            quotas: top.tables("quota", 16, "[[quota]]", QUOTA, QUOTA_LATER)?.iter().map(RawQuota::read).collect::<Read<_>>()?,
            settings: top.tables("setting", 32, "[[setting]]", SETTING, &[])?.iter().map(RawSetting::read).collect::<Read<_>>()?,
            every: schedule.as_ref().map_or(Ok(None), |s| s.text("every", WORD))?,
            overlap: schedule.as_ref().map_or(Ok(None), |s| s.text("overlap", WORD))?,
        })
    }
}

impl RawAllow {
    fn read(table: &Table<'_>) -> Read<Self> {
        Ok(Self {
            at: table.at,
            origin: table.need_text("origin", LINE, "origin = \"https://api.example.com\"")?,
            methods: table.texts("methods", 8)?,
            paths: table.texts("paths", 64)?,
        })
    }
}

impl RawAuth {
    fn read(table: &Table<'_>) -> Read<Self> {
        let mut app_fields = Vec::new();
        for element in table.names_or_tables("app-fields", 16, &["name", "secret"])? {
            app_fields.push(match element {
                NameOrTable::Name(name) => (name, None),
                NameOrTable::Table(inner) => (inner.need_text("name", WORD, "name = \"api-key\"")?, inner.flag("secret")?),
            });
        }
        Ok(Self {
            at: table.at,
            id: table.need_text("id", WORD, "id = \"key\"")?,
            title: table.need_text("title", WORD, "title = \"API key\"")?,
            kind: table.need_text("kind", WORD, "kind = \"oauth2\", \"redirect\", \"fields\" or \"none\"")?,
            setup: table.text("setup", PROSE)?,
            help: table.text("help", LINE)?,
            app_fields,
            expires: table.text("expires", WORD)?,
            authorize_url: table.text("authorize-url", LINE)?,
            token_url: table.text("token-url", LINE)?,
            revoke_url: table.text("revoke-url", LINE)?,
            issuer: table.text("issuer", LINE)?,
            scopes: table.texts("scopes", 64)?,
            scope_separator: table.text("scope-separator", WORD)?,
            authorize_params: table.pairs("authorize-params")?,
            client_auth: table.text("client-auth", WORD)?,
            pkce: table.text("pkce", WORD)?,
            loopback: table.flag("loopback")?,
            token_path: table.text("token-path", LINE)?,
            authorize_query: table.pairs("authorize-query")?,
            take: table.pairs("take")?,
            fields: table.tables("field", 16, "[[auth.field]]", FIELD, &[])?.iter().map(RawField::read).collect::<Read<_>>()?,
            exchanges: table
                .tables("exchange", 8, "[[auth.exchange]]", EXCHANGE, EXCHANGE_LATER)?
                .iter()
                .map(RawExchange::read)
                .collect::<Read<_>>()?,
        })
    }
}

impl RawField {
    fn read(table: &Table<'_>) -> Read<Self> {
        Ok(Self {
            name: table.need_text("name", WORD, "name = \"api-key\"")?,
            label: table.need_text("label", WORD, "label = \"API key\"")?,
            help: table.text("help", LINE)?,
            secret: table.flag("secret")?,
            pattern: table.text("pattern", LINE)?,
        })
    }
}

impl RawExchange {
    fn read(table: &Table<'_>) -> Read<Self> {
        Ok(Self {
            at: table.at,
            when: table.need_text("when", WORD, "when = \"linked\" or \"renew\"")?,
            method: table.need_text("method", WORD, "method = \"POST\"")?,
            url: table.need_text("url", LINE, "url = \"https://…\"")?,
            query: table.pairs("query")?,
            form: table.pairs("form")?,
            header: table.pairs("header")?,
            sign: table.text("sign", WORD)?,
            keep: table.pairs("keep")?,
        })
    }
}

impl RawAttach {
    fn read(table: &Table<'_>) -> Read<Self> {
        let to = match table.texts("to", 32)? {
            Some(to) if !to.is_empty() => to,
            _ => return table.missing("to", "to = [\"GET https://api.example.com/\"], the only requests that the key goes into"),
        };
        Ok(Self {
            at: table.at,
            name: table.need_text("name", WORD, "name = \"user\"")?,
            to,
            header: table.pairs("header")?,
            query: table.pairs("query")?,
            form: table.pairs("form")?,
            sign: table.text("sign", WORD)?,
            profiles: table.texts("profiles", 8)?,
        })
    }
}

impl RawMetric {
    fn read(table: &Table<'_>) -> Read<Self> {
        Ok(Self {
            name: table.need_text("name", WORD, "name = \"steps\"")?,
            alias: table.text("alias", WORD)?,
            unit: table.need_text("unit", WORD, "unit = \"s\", in UCUM; a plain count is \"1\" or \"{step}\"")?,
            kind: table.need_text("kind", WORD, "kind = \"sum\", \"last\", \"mean\", \"max\" or \"event\"")?,
            identity: table.need_text("identity", WORD, "identity = \"time\", \"id\" or \"day\"")?,
            series: table.text("series", WORD)?,
        })
    }
}

impl RawQuota {
    fn read(table: &Table<'_>) -> Read<Self> {
        let Some(requests) = table.number("requests")? else { return table.missing("requests", "requests = 5000") };
        Ok(Self {
            name: table.need_text("name", WORD, "name = \"hourly\"")?,
            scope: table.need_text("scope", WORD, "scope = \"connection\" or \"app\"")?,
            paths: table.texts("paths", 32)?,
            requests,
            window: table.need_text("window", WORD, "window = \"1h\"")?,
            remaining_header: table.text("remaining-header", WORD)?,
            reset_header: table.text("reset-header", WORD)?,
            reset_format: table.text("reset-format", WORD)?,
        })
    }
}

impl RawSetting {
    fn read(table: &Table<'_>) -> Read<Self> {
        if let Some(by) = table.text("set-by", WORD)? {
            match by.value.as_str() {
                "operator" => {}
                "user" => return by.fault(not_served("`set-by = \"user\"` in [[setting]]")),
                other => return by.fault(format!("`set-by` is \"operator\" or \"user\", not “{}”", short(other))),
            }
        }
        Ok(Self {
            at: table.at,
            name: table.need_text("name", WORD, "name = \"base-url\"")?,
            kind: table.need_text("type", WORD, "type = \"bool\", \"integer\", \"text\", \"choice\" or \"url\"")?,
            choices: table.texts("choices", 64)?,
            default: table.scalar("default")?,
        })
    }
}
