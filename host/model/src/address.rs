//! Which addresses and names a connector may be connected to: public ones, and nothing else.
//!
//! The problem: a name that a stranger owns can resolve to the router in the next room, and the same address can be written in a dozen ways. The
//! contract: [`judge_ip`] is the last word, on the address that is about to be dialled; [`judge_host_name`] refuses what is local by name, before any
//! resolver is asked; [`judge_url`] applies both to a parsed URL, and [`judge_text`] to the text as it is written, by a reading of its own, so that a
//! change in the URL parser shows as a disagreement between the two. All are an allow-list at heart: for IPv6 what is not global unicast is refused.
//!
//! The answer is a *class*, one word that may be shown and counted; the operator can open private addresses for one upstream, elsewhere.

use crate::url::{decode, split_port};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

/// Refused, and as what.
type Class = &'static str;

/// Addresses where clouds hand out credentials to whoever asks from inside.
const METADATA_V4: &[[u8; 4]] = &[
    [169, 254, 169, 254],
    [169, 254, 169, 253],
    [169, 254, 170, 2],
    [169, 254, 170, 23],
    [100, 100, 100, 200],
    [192, 0, 0, 192],
    [168, 63, 129, 16],
];

/// The same, by name.
const METADATA_NAMES: &[&str] = &[
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.internal",
    "metadata.azure.com",
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.packet.net",
    "metadata.platformequinix.com",
    "metadata.tencentyun.com",
    "metadata.oraclecloud.com",
];

/// Last labels that are a network's own: reserved for it, or so widely used for it that no public name can be meant.
const LOCAL_SUFFIXES: &[&str] =
    &["local", "internal", "home.arpa", "in-addr.arpa", "ip6.arpa", "lan", "home", "corp", "intranet", "private", "localdomain", "svc"];

/// Whether an address may be dialled.
///
/// # Errors
/// Its class.
pub fn judge_ip(ip: IpAddr) -> Result<(), Class> {
    match ip {
        IpAddr::V4(v4) => judge_v4(v4),
        IpAddr::V6(v6) => judge_v6(v6),
    }
}

fn judge_v4(ip: Ipv4Addr) -> Result<(), Class> {
    let octets = ip.octets();
    if METADATA_V4.contains(&octets) {
        return Err("metadata");
    }
    match octets {
        [0, 0, 0, 0] => Err("unspecified"),
        [0, ..] => Err("this-network"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Err("private"),
        [100, 64..=127, ..] => Err("cgnat"),
        [127, ..] => Err("loopback"),
        [169, 254, ..] => Err("link-local"),
        [192, 0, 0, _] | [240..=254, ..] => Err("reserved"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Err("documentation"),
        [192, 88, 99, _] => Err("6to4"),
        [198, 18..=19, ..] => Err("benchmarking"),
        [224..=239, ..] => Err("multicast"),
        [255, 255, 255, 255] => Err("broadcast"),
        [255, ..] => Err("reserved"),
        _ => Ok(()),
    }
}

fn judge_v6(ip: Ipv6Addr) -> Result<(), Class> {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Err("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Err("loopback"),
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => Err("mapped"),
        [0, 0, 0, 0, 0, 0, ..] => Err("compatible"),
        // RFC 6052, and RFC 8215 for networks that choose their own.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Err("nat64"),
        [0x64, 0xff9b, 1, ..] => Err("nat64-local"),
        [0x100, 0, 0, 0..=1, ..] => Err("discard"),
        [0xfd00, 0xec2, ..] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Err("metadata"),
        [0xfc00..=0xfdff, ..] => Err("unique-local"),
        [0xfe80..=0xfebf, ..] => Err("link-local"),
        [0xfec0..=0xfeff, ..] => Err("site-local"),
        [0xff00..=0xffff, ..] => Err("multicast"),
        [0x2001, 0, ..] => Err("teredo"),
        [0x2001, 2, 0, ..] => Err("benchmarking"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Err("documentation"),
        [0x2001, 0x10..=0x2f, ..] => Err("orchid"),
        [0x2001, 0..=0x1ff, ..] => Err("reserved"),
        [0x2002, ..] => Err("6to4"),
        // ISATAP: an IPv4 address inside of a global prefix.
        [0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe, ..] => Err("isatap"),
        [0x2000..=0x3fff, ..] => Ok(()),
        _ => Err("reserved"),
    }
}

/// Whether a host name may be asked for at all. A text that is an address is judged as one.
///
/// # Errors
/// Its class.
pub fn judge_host_name(name: &str) -> Result<(), Class> {
    let lower = name.to_ascii_lowercase();
    let bare = lower.strip_suffix('.').unwrap_or(&lower);
    if let Ok(ip) = bare.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return judge_ip(ip);
    }
    let label =
        |label: &str| !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare.len() > 253 || !bare.split('.').all(label) {
        return Err("bad-name");
    }
    if METADATA_NAMES.contains(&bare) {
        return Err("metadata");
    }
    let under = |suffix: &str| bare == suffix || bare.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
    if under("localhost")
        || under("localhost.localdomain")
        || matches!(bare, "ip6-localhost" | "ip6-loopback" | "localhost4" | "localhost6")
    {
        return Err("localhost");
    }
    if LOCAL_SUFFIXES.iter().any(|suffix| under(suffix)) {
        return Err("local-name");
    }
    if ends_in_a_number(bare) {
        return Err("bad-address");
    }
    if !bare.contains('.') {
        return Err("single-label");
    }
    if lower.ends_with('.') { Err("trailing-dot") } else { Ok(()) }
}

/// Whether a parsed URL's host may be asked for.
///
/// # Errors
/// The class of its host.
pub fn judge_url(url: &Url) -> Result<(), Class> {
    match url.host() {
        Some(Host::Ipv4(ip)) => judge_v4(ip),
        Some(Host::Ipv6(ip)) => judge_v6(ip),
        Some(Host::Domain(name)) => judge_host_name(name),
        None => Err("no-host"),
    }
}

/// Whether a URL as it is written may be asked for: judged by a reading of its own, without the URL parser.
///
/// # Errors
/// The class of its host, or of its form: `space`, `backslash`, `scheme`, `fragment`, `userinfo`, `port`, `odd-address`, `odd-name`.
pub fn judge_text(text: &str) -> Result<(), Class> {
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("space");
    }
    if text.contains('\\') {
        return Err("backslash");
    }
    let rest = match text.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") => rest,
        _ => return Err("scheme"),
    };
    if text.contains('#') {
        return Err("fragment");
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("userinfo");
    }
    let (host, port) = split_port(authority);
    if port.is_some_and(|port| !port.bytes().all(|b| b.is_ascii_digit()) || !matches!(port.parse::<u16>(), Ok(1..))) {
        return Err("port");
    }
    if let Some(inner) = host.strip_prefix('[') {
        let Some(ip) = inner.strip_suffix(']').and_then(|text| text.parse::<Ipv6Addr>().ok()) else { return Err("bad-address") };
        judge_v6(ip)?;
        return if format!("[{ip}]").eq_ignore_ascii_case(host) { Ok(()) } else { Err("odd-address") };
    }
    let decoded = String::from_utf8(decode(host.as_bytes())).map_err(|_| "bad-name")?;
    let folded: String = decoded.chars().filter_map(fold).flatten().collect();
    if folded.is_empty() {
        return Err("no-host");
    }
    let bare = folded.strip_suffix('.').unwrap_or(&folded);
    if ends_in_a_number(bare) {
        let ip = read_v4(bare).ok_or("bad-address")?;
        judge_v4(ip)?;
        return if host == ip.to_string() { Ok(()) } else { Err("odd-address") };
    }
    if folded.is_ascii() {
        judge_host_name(&folded)?;
    }
    if folded.eq_ignore_ascii_case(host) && folded.is_ascii() { Ok(()) } else { Err("odd-name") }
}

/// Whether browsers and resolvers would read a name as an IPv4 address: its last label is a number.
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    (!last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()))
        || hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// An IPv4 address in any of its historical forms: one to four parts, each decimal, octal (leading 0) or hexadecimal (0x), the last filling the rest.
fn read_v4(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() > 4 {
        return None;
    }
    let mut value = 0_u64;
    for (i, part) in parts.iter().enumerate() {
        let number = match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
            Some("") => 0,
            Some(digits) => u64::from_str_radix(digits, 16).ok()?,
            None if part.len() > 1 && part.starts_with('0') => u64::from_str_radix(part, 8).ok()?,
            None if part.bytes().all(|b| b.is_ascii_digit()) => part.parse::<u64>().ok()?,
            None => return None,
        };
        let last = i + 1 == parts.len();
        let width = if last { 8 * (4 - i as u32) } else { 8 };
        if number >= 1 << width {
            return None;
        }
        value = (value << width) | number;
    }
    u32::try_from(value).ok().map(Ipv4Addr::from)
}

/// A character as international names fold it, for the look-alikes of ASCII: full-width and circled letters and digits, mathematical and raised digits,
/// ideographic full stops; invisible ones vanish.
fn fold(c: char) -> Option<Folded> {
    let code = u32::from(c);
    let digit = |n: u32| char::from_digit(n, 10);
    let letter = |n: u32| u8::try_from(u32::from(b'a') + n).ok().map(char::from);
    let one = |c: Option<char>| Some(Folded([c, None]));
    match code {
        0xAD | 0x200B | 0x2060 | 0xFEFF | 0xFE00..=0xFE0F => None,
        0x3002 | 0xFF0E | 0xFF61 => one(Some('.')),
        0xFF01..=0xFF5E => one(char::from_u32(code - 0xFEE0).map(|c| c.to_ascii_lowercase())),
        0x24EA => one(digit(0)),
        0x2460..=0x2468 => one(digit(code - 0x2460 + 1)),
        0x2469..=0x2472 => Some(Folded([digit(1), digit(code - 0x2469)])),
        0x2473 => Some(Folded([digit(2), digit(0)])),
        0x24B6..=0x24CF => one(letter(code - 0x24B6)),
        0x24D0..=0x24E9 => one(letter(code - 0x24D0)),
        0x1D400..=0x1D433 => one(letter((code - 0x1D400) % 26)),
        0x1D7CE..=0x1D7FF => one(digit((code - 0x1D7CE) % 10)),
        0x2070 | 0x2080 => one(digit(0)),
        0xB9 | 0x2081 => one(digit(1)),
        0xB2 | 0x2082 => one(digit(2)),
        0xB3 | 0x2083 => one(digit(3)),
        0x2074..=0x2079 => one(digit(code - 0x2070)),
        0x2084..=0x2089 => one(digit(code - 0x2080)),
        _ => one(Some(c.to_ascii_lowercase())),
    }
}

/// One or two characters.
struct Folded([Option<char>; 2]);

impl IntoIterator for Folded {
    type Item = char;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<char>, 2>>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().flatten()
    }
}
