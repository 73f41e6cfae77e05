//! Units, in UCUM: the part of it that records about people need, with its real grammar.
//!
//! The problem: “minutes”, “bpm” and “kcal/day” are each written in five ways, and a chart that adds them up must know that they are the same. UCUM
//! has one spelling for each. The contract: [`check`] accepts what the grammar (case-sensitive: terms of `.` and `/`, parentheses, prefixes, exponents,
//! annotations in braces) builds from the atoms below, and otherwise names the spelling that was probably meant. Not every atom of UCUM is here;
//! adding one is adding a word to a list. Bounded by [`MAX_UNIT_BYTES`], and by the depth of parentheses.

use crate::manifest::nearest;

/// The longest unit: products of three annotated factors stay far below.
pub const MAX_UNIT_BYTES: usize = 64;

/// The deepest nesting of parentheses.
const MAX_DEPTH: usize = 4;

/// Atoms that take a prefix.
const METRIC: &[&str] = &[
    "m", "s", "g", "rad", "K", "C", "cd", "mol", "sr", "Hz", "N", "Pa", "J", "W", "A", "V", "F", "Ohm", "S", "Wb", "Cel", "T", "H", "lm",
    "lx", "Bq", "Gy", "Sv", "l", "L", "ar", "t", "bar", "u", "eV", "pc", "cal", "cal_th", "cal_IT", "kat", "U", "[IU]", "[iU]", "osm",
    "eq", "By", "bit", "Bd", "B", "m[H2O]", "m[Hg]", "dyn", "erg", "P", "St", "G", "Ci", "R", "RAD", "REM", "g%", "Np", "mho",
];

/// Atoms that stand alone.
const PLAIN: &[&str] = &[
    "min",
    "h",
    "d",
    "wk",
    "mo",
    "a",
    "a_j",
    "a_g",
    "a_t",
    "mo_j",
    "mo_g",
    "mo_s",
    "deg",
    "gon",
    "'",
    "''",
    "%",
    "[ppth]",
    "[ppm]",
    "[ppb]",
    "[pptr]",
    "10*",
    "10^",
    "[pi]",
    "atm",
    "AU",
    "[c]",
    "[g]",
    "[pH]",
    "[in_i]",
    "[ft_i]",
    "[yd_i]",
    "[mi_i]",
    "[nmi_i]",
    "[kn_i]",
    "[ft_us]",
    "[mi_us]",
    "[acr_us]",
    "[sft_i]",
    "[lb_av]",
    "[oz_av]",
    "[stone_av]",
    "[gr]",
    "[degF]",
    "[degR]",
    "[Cal]",
    "[Btu]",
    "[HP]",
    "[psi]",
    "[gal_us]",
    "[qt_us]",
    "[pt_us]",
    "[cup_us]",
    "[foz_us]",
    "[tbs_us]",
    "[tsp_us]",
    "[cup_m]",
    "[gal_br]",
    "[pt_br]",
    "[foz_br]",
    "[drp]",
    "[MET]",
    "[bpm]",
    "[diop]",
    "[arb'U]",
    "[CFU]",
    "[PFU]",
    "[HPF]",
    "bit_s",
    "[smoot]",
];

const PREFIXES: &[&str] =
    &["Y", "Z", "E", "P", "T", "G", "M", "k", "h", "da", "d", "c", "m", "u", "n", "p", "f", "a", "z", "y", "Ki", "Mi", "Gi", "Ti"];

/// What people write, and how UCUM says it.
const MEANT: &[(&str, &str)] = &[
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("msec", "ms"),
    ("milliseconds", "ms"),
    ("mins", "min"),
    ("minute", "min"),
    ("minutes", "min"),
    ("hr", "h"),
    ("hrs", "h"),
    ("hour", "h"),
    ("hours", "h"),
    ("day", "d"),
    ("days", "d"),
    ("week", "wk"),
    ("weeks", "wk"),
    ("month", "mo"),
    ("months", "mo"),
    ("year", "a"),
    ("years", "a"),
    ("yr", "a"),
    ("bpm", "/min"),
    ("BPM", "/min"),
    ("rpm", "/min"),
    ("count", "{count}"),
    ("counts", "{count}"),
    ("number", "1"),
    ("none", "1"),
    ("unitless", "1"),
    ("steps", "{step}"),
    ("step", "{step}"),
    ("percent", "%"),
    ("pct", "%"),
    ("meter", "m"),
    ("meters", "m"),
    ("metre", "m"),
    ("metres", "m"),
    ("kilometers", "km"),
    ("mile", "[mi_i]"),
    ("miles", "[mi_i]"),
    ("mi", "[mi_i]"),
    ("mph", "[mi_i]/h"),
    ("kph", "km/h"),
    ("kmh", "km/h"),
    ("feet", "[ft_i]"),
    ("foot", "[ft_i]"),
    ("ft", "[ft_i]"),
    ("inch", "[in_i]"),
    ("inches", "[in_i]"),
    ("in", "[in_i]"),
    ("yd", "[yd_i]"),
    ("lb", "[lb_av]"),
    ("lbs", "[lb_av]"),
    ("oz", "[oz_av]"),
    ("st", "[stone_av]"),
    ("gram", "g"),
    ("grams", "g"),
    ("kilogram", "kg"),
    ("kgs", "kg"),
    ("KG", "kg"),
    ("celsius", "Cel"),
    ("degC", "Cel"),
    ("°C", "Cel"),
    ("fahrenheit", "[degF]"),
    ("°F", "[degF]"),
    ("calories", "kcal"),
    ("kilocalories", "kcal"),
    ("Cal", "[Cal]"),
    ("kCal", "kcal"),
    ("joule", "J"),
    ("joules", "J"),
    ("watt", "W"),
    ("watts", "W"),
    ("mmHg", "mm[Hg]"),
    ("bytes", "By"),
    ("byte", "By"),
    ("KB", "kBy"),
    ("MB", "MBy"),
    ("µg", "ug"),
    ("μg", "ug"),
    ("ml", "mL"),
    ("liter", "L"),
    ("liters", "L"),
    ("litre", "L"),
    ("degrees", "deg"),
    ("°", "deg"),
    ("ppm", "[ppm]"),
    ("ppb", "[ppb]"),
    ("", "1"),
];

/// Whether a text is a unit.
///
/// # Errors
/// What is wrong with it, and what was probably meant.
pub fn check(text: &str) -> Result<(), String> {
    if text.len() > MAX_UNIT_BYTES {
        return Err(format!("the unit has {} bytes, and {MAX_UNIT_BYTES} is the most", text.len()));
    }
    let cut: String = text.chars().filter(|c| !c.is_control()).collect();
    let mut parser = Parser { text, at: 0 };
    let read = parser.main_term(0).and_then(|()| if parser.at == text.len() { Ok(()) } else { Err(parser.rest().to_owned()) });
    read.map_err(|odd| {
        let odd: String = odd.chars().filter(|c| !c.is_control()).take(24).collect();
        let known = |word: &str| MEANT.iter().find(|(other, _)| *other == word).map(|(_, unit)| *unit);
        let hint = known(text)
            .or_else(|| known(&odd))
            .or_else(|| (odd.len() > 1).then(|| nearest(&odd, METRIC.iter().chain(PLAIN).copied())).flatten())
            .map_or_else(|| "a count of things is an annotation, such as {play} or {step}".to_owned(), |unit| format!("write “{unit}”"));
        let place = if odd.is_empty() || odd == cut { String::new() } else { format!(" (at “{odd}”)") };
        format!("“{cut}” is no UCUM unit{place}: {hint}")
    })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

/// Err carries the part that could not be read.
type Parsed = Result<(), String>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn odd(&self) -> Parsed {
        let rest = self.rest();
        Err(rest.split_inclusive(['.', '/', '(', ')', '{']).next().unwrap_or(rest).trim_end_matches(['.', '/', '(', ')', '{']).to_owned())
    }

    /// A term that may begin with a slash, as in `/min`.
    fn main_term(&mut self, depth: usize) -> Parsed {
        self.eat('/');
        self.component(depth)?;
        while self.eat('.') || self.eat('/') {
            self.component(depth)?;
        }
        Ok(())
    }

    fn component(&mut self, depth: usize) -> Parsed {
        if self.rest().starts_with('{') {
            return self.annotation();
        }
        if self.eat('(') {
            if depth >= MAX_DEPTH {
                return self.odd();
            }
            self.main_term(depth + 1)?;
            return if self.eat(')') { Ok(()) } else { self.odd() };
        }
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        // `10*` and `10^` are atoms that begin with digits.
        let power = self.rest().starts_with("10*") || self.rest().starts_with("10^");
        if digits > 0 && !power {
            if digits > 9 || self.rest().starts_with('0') {
                return self.odd();
            }
            self.at += digits;
        } else {
            self.simple_unit()?;
            self.exponent()?;
        }
        if self.rest().starts_with('{') { self.annotation() } else { Ok(()) }
    }

    fn annotation(&mut self) -> Parsed {
        let Some((inner, _)) = self.rest().strip_prefix('{').and_then(|rest| rest.split_once('}')) else { return self.odd() };
        if inner.is_empty() || !inner.bytes().all(|b| b.is_ascii_graphic() && b != b'{') {
            return Err(self.rest().to_owned());
        }
        self.at += inner.len() + 2;
        Ok(())
    }

    fn simple_unit(&mut self) -> Parsed {
        let symbol = self.symbol();
        let plain = |s: &str| METRIC.contains(&s) || PLAIN.contains(&s);
        let prefixed = |s: &str| PREFIXES.iter().any(|p| s.strip_prefix(p).is_some_and(|atom| METRIC.contains(&atom)));
        if symbol.is_empty() || !(plain(symbol) || prefixed(symbol)) {
            return if symbol.is_empty() { self.odd() } else { Err(symbol.to_owned()) };
        }
        self.at += symbol.len();
        Ok(())
    }

    /// The longest run that can be a symbol: brackets hold anything, digits end it outside of them.
    fn symbol(&self) -> &'a str {
        let rest = self.rest();
        if rest.starts_with("10*") || rest.starts_with("10^") {
            return rest.get(..3).unwrap_or_default();
        }
        let mut inside = false;
        for (at, c) in rest.char_indices() {
            match c {
                '[' => inside = true,
                ']' => inside = false,
                _ if inside => {}
                '.' | '/' | '(' | ')' | '{' | '}' | '+' | '-' | '0'..='9' => return rest.get(..at).unwrap_or_default(),
                _ => {}
            }
        }
        rest
    }

    fn exponent(&mut self) -> Parsed {
        let rest = self.rest();
        let signed = rest.starts_with(['+', '-']);
        let digits = rest.bytes().skip(usize::from(signed)).take_while(u8::is_ascii_digit).count();
        if (signed && digits == 0) || digits > 2 {
            return self.odd();
        }
        if digits > 0 {
            self.at += digits + usize::from(signed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn ucum_units_are_taken() {
        for unit in [
            "1",
            "s",
            "m",
            "kg",
            "/min",
            "%",
            "{play}",
            "{count}/d",
            "ms",
            "km/h",
            "m/s2",
            "kg.m2",
            "kg/m2",
            "mm[Hg]",
            "mmol/L",
            "mg/dL",
            "kcal",
            "kJ",
            "Cel",
            "[degF]",
            "[lb_av]",
            "{beats}/min",
            "mL/min/kg",
            "mL/(kg.min)",
            "m.s-1",
            "m.s-2",
            "10*3/uL",
            "10*6",
            "[mi_i]",
            "/min{beat}",
            "By",
            "KiBy",
            "MBy",
            "{step}",
            "1/d",
            "W/kg",
            "d",
            "wk",
            "mo",
            "a",
            "deg",
            "dB",
            "[IU]/L",
            "m[IU]/L",
            "ug/m3",
            "100.m",
            "s{active}",
            "[ppm]",
            "rad/s",
            "N.m",
            "hPa",
            "lx",
            "min",
            "h",
            "L",
            "[Cal]",
            "kg{fat}",
            "(m/s)/min",
            "/(h.min)",
        ] {
            assert_eq!(check(unit), Ok(()), "{unit}");
        }
    }

    #[test]
    fn other_spellings_are_refused_with_the_right_one() {
        for (unit, meant) in [
            ("sec", "“s”"),
            ("minutes", "“min”"),
            ("hr", "“h”"),
            ("bpm", "“/min”"),
            ("steps", "{step}"),
            ("count", "{count}"),
            ("", "“1”"),
            ("mmHg", "mm[Hg]"),
            ("miles", "[mi_i]"),
            ("lbs", "[lb_av]"),
            ("°C", "Cel"),
            ("bytes/s", "By"),
            ("kCal", "kcal"),
            ("plays", "annotation"),
        ] {
            let why = check(unit).unwrap_err();
            assert!(why.contains(meant), "{unit}: {why}");
        }
        for unit in [
            "kmin",
            "m//s",
            "m.",
            "/",
            "m s",
            "{",
            "{}",
            "{a",
            "a}",
            "{ä}",
            "{a b}",
            "(m",
            "m)",
            "()",
            "m+",
            "m-",
            "m123",
            "0",
            "00",
            "1234567890",
            "kk",
            "k",
            "((((((m))))))",
            "10",
            "m{a}{b}",
            "m{a}2",
            "\0",
            "é",
            "{a}{b}",
            "[nope]",
            "Kg",
            "MIN",
        ] {
            if unit == "10" {
                assert_eq!(check(unit), Ok(()), "{unit}");
            } else {
                assert!(check(unit).is_err(), "{unit}");
            }
        }
        assert!(check(&"m.".repeat(100)).is_err());
    }
}
