//! Figures, and how they are shown.

use serde::Serialize;
use std::io::{self, Write as _};

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// No more than this.
    AtMost(f64),
    /// No less.
    AtLeast(f64),
}

/// One measured figure.
#[derive(Clone, Debug)]
pub struct Figure {
    pub name: &'static str,
    pub value: f64,
    pub unit: &'static str,
    pub bar: Bar,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    value: f64,
    unit: &'a str,
    bar: String,
    holds: bool,
}

impl Figure {
    /// Whether it keeps its bar.
    pub fn holds(&self) -> bool {
        match self.bar {
            Bar::AtMost(bar) => self.value <= bar,
            Bar::AtLeast(bar) => self.value >= bar,
        }
    }

    fn bar(&self) -> String {
        match self.bar {
            Bar::AtMost(bar) => format!("≤ {bar}"),
            Bar::AtLeast(bar) => format!("≥ {bar}"),
        }
    }
}

/// Three digits that say something, and no more.
fn shown(value: f64) -> String {
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

/// The table, or one JSON object a line.
pub fn print(all: &[Figure], json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        for figure in all {
            let value = shown(figure.value).parse().unwrap_or(figure.value);
            let line = Line { name: figure.name, value, unit: figure.unit, bar: figure.bar(), holds: figure.holds() };
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
        return Ok(());
    }
    writeln!(out, "{:<21} {:>9} {:<7} {:<8} holds", "figure", "value", "unit", "bar")?;
    for figure in all {
        let holds = if figure.holds() { "yes" } else { "NO" };
        writeln!(out, "{:<21} {:>9} {:<7} {:<8} {holds}", figure.name, shown(figure.value), figure.unit, figure.bar())?;
    }
    Ok(())
}

/// The middle one, or the mean of the two in the middle; 0 of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
    let half = values.len() / 2;
    if values.len() % 2 == 1 { at(half) } else { f64::midpoint(at(half.saturating_sub(1)), at(half)) }
}

/// What 99 of a hundred are not above; 0 of none.
pub fn p99(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get((values.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        for (values, middle) in [(vec![], 0.0), (vec![3.0], 3.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 9.0], 3.0)] {
            assert_eq!(median(values), middle);
        }
    }

    #[test]
    fn one_of_a_hundred_is_above_the_99th() {
        assert_eq!(p99((1..=1000).map(f64::from).collect()), 990.0);
        assert_eq!(p99(vec![5.0]), 5.0);
        assert_eq!(p99(Vec::new()), 0.0);
    }

    #[test]
    fn a_bar_holds_on_its_own_side_only() {
        let figure = |value, bar| Figure { name: "x", value, unit: "", bar };
        assert!(figure(1.0, Bar::AtMost(1.0)).holds());
        assert!(!figure(1.1, Bar::AtMost(1.0)).holds());
        assert!(figure(1.0, Bar::AtLeast(1.0)).holds());
        assert!(!figure(0.9, Bar::AtLeast(1.0)).holds());
        assert!(!figure(f64::NAN, Bar::AtLeast(0.0)).holds());
    }
}
