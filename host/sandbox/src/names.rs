//! The names by which a component says what it imports and exports: `namespace:package/interface@version`. They are a stranger's text.

use crate::error::LoadError;
use crate::log::{cut, inert};

/// A name in parts; what is not there is empty.
pub(crate) struct Name<'a> {
    pub(crate) package: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) version: &'a str,
}

/// None for what names no interface.
pub(crate) fn parse(name: &str) -> Option<Name<'_>> {
    let (path, version) = name.split_once('@').unwrap_or((name, ""));
    let (package, interface) = path.split_once('/')?;
    Some(Name { package, interface, version })
}

/// The first two numbers of a version: what compatibility goes by.
pub(crate) fn minor(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// A stranger's name, fit for one line.
pub(crate) fn shown(name: &str) -> String {
    inert(cut(name, 120))
}

/// Whether a version of the contract is this host's.
pub(crate) fn same_contract(version: &str) -> Result<(), LoadError> {
    match minor(version) {
        Some((0, 1)) => Ok(()),
        other => Err(LoadError::OtherVersion { wanted: shown(version), newer: other.is_none_or(|other| other > (0, 1)) }),
    }
}
