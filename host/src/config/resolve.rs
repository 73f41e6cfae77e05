//! From the raw file to settings that hold: defaults, paths made absolute, addresses and durations read, unsafe combinations refused.

use super::{Config, ConfigError, ConnectorConfig, DEFAULT_LISTEN, Overrides, raw};
use sluice_gate::Upstream;
use sluice_model::manifest::parse_duration;
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};
use url::Url;

/// The longest time between runs, and back from one.
const LONGEST_MS: i64 = 366 * 86_400_000;

fn bad<T>(text: String) -> Result<T, ConfigError> {
    Err(ConfigError(text))
}

/// Checks the raw settings and fills in what they leave out.
///
/// # Errors
/// The first setting that cannot hold, and what to write instead.
pub fn resolve(file: &Path, raw: raw::Raw, overrides: &Overrides) -> Result<Config, ConfigError> {
    let file = std::path::absolute(file).map_err(|e| ConfigError(format!("{}: {e}", file.display())))?;
    let base = file.parent().unwrap_or(Path::new("/")).to_owned();
    let here = std::env::current_dir().map_err(|e| ConfigError(format!("the current folder cannot be read: {e}")))?;
    let path = |flag: &Option<PathBuf>, set: Option<PathBuf>, default: &str| match (flag, set) {
        (Some(flag), _) => here.join(flag),
        (None, Some(set)) => base.join(set),
        (None, None) => base.join(default),
    };
    let data_dir = path(&overrides.data_dir, raw.data_dir, "data");
    let modules = path(&overrides.modules, raw.modules, "dist/connectors");

    let listen_text = overrides.listen.clone().or(raw.listen).unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
    let listen: SocketAddr = listen_text
        .parse()
        .map_err(|_| ConfigError(format!("listen = “{listen_text}”: write an address and port, as {DEFAULT_LISTEN}")))?;
    let public_url = public_url(overrides.public_url.clone().or(raw.public_url), listen)?;

    let key_file = match (&overrides.key_file, raw.key_file) {
        (Some(flag), _) => here.join(flag),
        (None, Some(set)) => base.join(set),
        (None, None) => default_key_file(&data_dir)?,
    };
    if real(&key_file).starts_with(real(&data_dir)) {
        return bad(format!(
            "key-file = “{}” lies inside data-dir: whoever copies the data would have its key; put it elsewhere",
            key_file.display()
        ));
    }

    let ca_file = overrides.ca_file.as_ref().map(|flag| here.join(flag)).or_else(|| raw.ca_file.map(|file| base.join(file)));

    let mut trusted_proxies = Vec::new();
    for text in overrides.trusted_proxies.clone().unwrap_or(raw.trusted_proxies) {
        let address: IpAddr = text.trim().parse().map_err(|_| ConfigError(format!("trusted-proxies: “{text}” is no IP address")))?;
        trusted_proxies.push(address);
    }
    let concurrent_runs = overrides.concurrent_runs.or(raw.concurrent_runs).unwrap_or(16);
    if !(1..=1000).contains(&concurrent_runs) {
        return bad(format!("concurrent-runs = {concurrent_runs}: from 1 to 1000; default 16"));
    }
    let compile = super::bounds::compile(&raw.compile).map_err(ConfigError)?;
    let mut connectors = std::collections::BTreeMap::new();
    for (name, raw) in raw.connectors {
        let settings = connector(&name, raw)?;
        connectors.insert(name, settings);
    }
    let overrides = overrides.clone();
    Ok(Config {
        file,
        overrides,
        public_url,
        listen,
        data_dir,
        modules,
        key_file,
        ca_file,
        trusted_proxies,
        concurrent_runs,
        compile,
        connectors,
    })
}

/// `public-url`, or what follows from `listen`. Plain http is for loopback and private addresses only.
fn public_url(set: Option<String>, listen: SocketAddr) -> Result<Url, ConfigError> {
    let text = set.unwrap_or_else(|| {
        let host = match listen.ip() {
            ip if ip.is_loopback() || ip.is_unspecified() => "localhost".to_owned(),
            IpAddr::V6(ip) => format!("[{ip}]"),
            IpAddr::V4(ip) => ip.to_string(),
        };
        format!("http://{host}:{}", listen.port())
    });
    let mut url: Url = text.parse().map_err(|_| ConfigError(format!("public-url = “{text}”: write https://sluice.example.org")))?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !plain {
        return bad(format!("public-url = “{text}”: an http or https address without query, fragment or user"));
    }
    if url.scheme() == "http" && !at_home(&url) {
        return bad(format!(
            "public-url = “{text}”: plain http is served on loopback and private addresses only, since cookies and tokens would cross \
             the internet in the clear\n  put a TLS proxy in front and write https://{}",
            url.host_str().unwrap_or_default()
        ));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// The path without links and `..`, as far as it exists: two names of one place are one place.
fn real(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
        if let Ok(there) = plain.canonicalize() {
            plain = there;
        }
    }
    plain
}

fn at_home(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        Some(url::Host::Domain(name)) => {
            name == "localhost"
                || name.ends_with(".localhost")
                || name.ends_with(".local")
                || name.ends_with(".home.arpa")
                || !name.contains('.')
        }
        None => false,
    }
}

/// One key for each data folder, in the user's own configuration folder: a copy of the data alone opens nothing.
fn default_key_file(data_dir: &Path) -> Result<PathBuf, ConfigError> {
    let home = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute())
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let Some(home) = home else {
        return bad("neither HOME nor XDG_CONFIG_HOME is set, so there is no place for the host key\n  say key-file = \"…\" or --key-file"
            .to_owned());
    };
    use sha2::Digest;
    let digest = sha2::Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
    let tag: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    let name = data_dir.file_name().map_or_else(|| "data".to_owned(), |n| n.to_string_lossy().into_owned());
    Ok(home.join("sluice").join(format!("{name}-{tag}.key")))
}

fn connector(name: &str, raw: raw::RawConnector) -> Result<ConnectorConfig, ConfigError> {
    let known = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !known {
        return bad(format!("[connectors.{name}]: a name has a-z, 0-9 and - only"));
    }
    if let Some(module) = &raw.module
        && (module.contains(['/', '\\', '\0']) || module.starts_with('.') || !module.ends_with(".wasm"))
    {
        return bad(format!("[connectors.{name}] module = “{module}”: a file name in the modules folder, without a path, ending in .wasm"));
    }
    let sha256 = match raw.sha256 {
        Some(text) if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) => Some(text.to_ascii_lowercase()),
        Some(text) => return bad(format!("[connectors.{name}] sha256 = “{text}”: 64 hex digits, as sha256sum prints them")),
        None => None,
    };
    let mut settings = std::collections::BTreeMap::new();
    for (key, value) in raw.settings {
        let text = match value {
            toml::Value::String(s) => s,
            toml::Value::Boolean(b) => b.to_string(),
            toml::Value::Integer(i) => i.to_string(),
            _ => return bad(format!("[connectors.{name}.settings] {key}: a text, a whole number, true or false")),
        };
        settings.insert(key, text);
    }
    let duration = |key: &str, text: Option<String>| match text {
        None => Ok(None),
        Some(text) => match parse_duration(&text) {
            Some(ms) if ms <= LONGEST_MS => Ok(Some(ms)),
            Some(_) => Err(ConfigError(format!("[connectors.{name}.schedule] {key} = “{text}”: at most 366d"))),
            None => Err(ConfigError(format!("[connectors.{name}.schedule] {key} = “{text}”: write 15m, 1h or 2d"))),
        },
    };
    let every_ms = duration("every", raw.schedule.every)?;
    if every_ms.is_some_and(|ms| ms < 60_000) {
        return bad(format!("[connectors.{name}.schedule] every: at least 1m"));
    }
    let overlap_ms = duration("overlap", raw.schedule.overlap)?;
    let mut upstreams = Vec::new();
    for up in raw.upstream {
        for (key, text) in [("from", &up.from), ("to", &up.to)] {
            let url: Result<Url, _> = text.parse();
            if !url.is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.query().is_none()) {
                return bad(format!("[[connectors.{name}.upstream]] {key} = “{text}”: an http or https URL prefix"));
            }
        }
        upstreams.push(Upstream { from: up.from, to: up.to, allow_private: up.allow_private });
    }
    super::bounds::check(name, &raw.limits).map_err(ConfigError)?;
    Ok(ConnectorConfig { module: raw.module, sha256, app: raw.app, settings, limits: raw.limits, every_ms, overlap_ms, upstreams })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Config, String> {
        let raw = raw::parse(text)?;
        resolve(Path::new("/etc/sluice/plugins.toml"), raw, &Overrides { key_file: Some("/keys/k".into()), ..Overrides::default() })
            .map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_works() {
        let config = check("").unwrap();
        assert_eq!(config.public_url.as_str(), "http://localhost:8642/");
        assert_eq!(config.data_dir, Path::new("/etc/sluice/data"));
        assert_eq!(config.concurrent_runs, 16);
    }

    #[test]
    fn what_cannot_hold_is_refused_with_what_to_write() {
        for (text, wants) in [
            ("public-url = \"http://sluice.example.org\"", "plain http is served on loopback"),
            ("public-url = \"ftp://x\"", "http or https"),
            ("listen = \"8080\"", "write an address and port"),
            ("key-file = \"data/k\"\n", "lies inside data-dir"),
            ("concurrent-runs = 0", "from 1 to 1000"),
            ("[compile]\nmemory-mib = 63", "[compile] memory-mib = 63: from 64 to 65536; default 3072"),
            ("[compile]\ncpu-s = 0", "[compile] cpu-s = 0: from 1 to 3600; default 120"),
            ("[compile]\nwall-s = 86401", "[compile] wall-s = 86401: from 1 to 86400; default 600"),
            ("trusted-proxies = [\"home\"]", "is no IP address"),
            ("[connectors.github]\nmodule = \"../x.wasm\"", "without a path"),
            ("[connectors.github]\nsha256 = \"abc\"", "64 hex digits"),
            ("[connectors.GitHub]\n", "a-z"),
            ("[connectors.a.schedule]\nevery = \"soon\"", "write 15m"),
            ("[connectors.a.schedule]\nevery = \"5s\"", "at least 1m"),
            ("[connectors.a.schedule]\noverlap = \"900000d\"", "at most 366d"),
            ("[connectors.a.limits]\nrequests = 0", "[connectors.a.limits] requests = 0: from 1 to"),
            ("[connectors.a.limits]\nmemory-bytes = 1024", "memory-bytes = 1024: from"),
            ("[connectors.a.limits]\nwall-ms = 9999999999", "wall-ms = 9999999999: from"),
            ("[connectors.a]\nmodule = \"x\"", "ending in .wasm"),
            ("key-file = \"elsewhere/../data/k\"\n", "lies inside data-dir"),
            ("[[connectors.a.upstream]]\nfrom = \"x\"\nto = \"http://h/\"", "URL prefix"),
        ] {
            let raw = raw::parse(text).unwrap();
            let got = resolve(Path::new("/etc/sluice/plugins.toml"), raw, &Overrides::default()).unwrap_err().to_string();
            assert!(got.contains(wants), "{text}: {got}");
        }
    }

    #[test]
    fn plain_http_at_home_is_fine() {
        for home in
            ["http://192.168.1.5:8642", "http://10.0.0.2", "http://nas.local:8642", "http://[fd00::1]:1", "http://localhost:8642/sluice"]
        {
            assert!(check(&format!("public-url = \"{home}\"")).is_ok(), "{home}");
        }
    }
}
