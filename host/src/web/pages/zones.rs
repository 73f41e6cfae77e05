//! Time zones to choose from: all that this host knows, and the one it lives in.

use jiff::tz::{TimeZone, db};

/// One choice of a select.
pub struct Zone {
    /// The IANA name.
    pub name: String,
    /// Whether it is chosen.
    pub chosen: bool,
}

/// Every IANA zone by name, with `chosen` marked. Names without a region (`EST`, `posixrules`) are old aliases and left out, save UTC.
pub fn all(chosen: &str) -> Vec<Zone> {
    let mut names: Vec<String> = db().available().map(|name| name.to_string()).filter(|name| is_offered(name)).collect();
    if !names.iter().any(|name| name == "UTC") {
        names.push("UTC".to_owned());
    }
    if !names.iter().any(|name| name == chosen) && is_known(chosen) {
        names.push(chosen.to_owned());
    }
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| Zone { chosen: name == chosen, name }).collect()
}

fn is_offered(name: &str) -> bool {
    let old = ["Etc/", "SystemV/", "US/", "posix/", "right/", "Mexico/", "Brazil/", "Canada/", "Chile/"];
    name == "UTC" || (name.contains('/') && !old.iter().any(|prefix| name.starts_with(prefix)))
}

/// Whether a zone of that name exists.
pub fn is_known(name: &str) -> bool {
    name.len() <= 64 && TimeZone::get(name).is_ok()
}

/// The zone that this machine is in; UTC where it does not say.
pub fn of_this_machine() -> String {
    let name = TimeZone::try_system().ok().and_then(|zone| zone.iana_name().map(str::to_owned));
    name.filter(|name| !matches!(name.as_str(), "Etc/UTC" | "Etc/UCT" | "Etc/Universal" | "Etc/Zulu")).unwrap_or_else(|| "UTC".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_is_there_and_one_is_chosen() {
        let zones = all("Europe/Vienna");
        for wanted in ["Europe/Vienna", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"] {
            assert!(zones.iter().any(|z| z.name == wanted), "{wanted}");
        }
        assert_eq!(zones.iter().filter(|z| z.chosen).map(|z| z.name.as_str()).collect::<Vec<_>>(), ["Europe/Vienna"]);
        assert!(zones.len() > 300);
        assert!(!zones.iter().any(|z| z.name.starts_with("Etc/")));
    }

    #[test]
    fn an_old_alias_that_somebody_has_is_kept() {
        assert!(all("Etc/GMT+3").iter().any(|z| z.chosen));
        assert!(!is_known("Atlantis/Capital") && !is_known(&"x".repeat(100)) && is_known(&of_this_machine()));
    }
}
