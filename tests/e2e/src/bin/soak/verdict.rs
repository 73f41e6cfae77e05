//! The table in the end.

use serde::Serialize;
use std::io::{self, Write};

/// One thing that held, or did not.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub name: &'static str,
    pub value: String,
    pub bar: String,
    pub holds: bool,
}

impl Verdict {
    pub fn of(name: &'static str, value: impl ToString, bar: &str, holds: bool) -> Self {
        Self { name, value: value.to_string(), bar: bar.to_owned(), holds }
    }
}

/// The table, or one JSON object a line. What a panic said takes lines of its own below its row.
pub fn print(out: &mut impl Write, all: &[Verdict], json: bool) -> io::Result<()> {
    if json {
        for verdict in all {
            writeln!(out, "{}", serde_json::to_string(verdict)?)?;
        }
        return Ok(());
    }
    writeln!(out, "{:<26} {:<6} {:<42} value", "what", "holds", "bar")?;
    for Verdict { name, value, bar, holds } in all {
        let mut lines = value.lines();
        writeln!(out, "{name:<26} {:<6} {bar:<42} {}", if *holds { "yes" } else { "NO" }, lines.next().unwrap_or_default())?;
        for line in lines {
            writeln!(out, "    {line}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_hold_stands_out_with_all_that_was_said() {
        let all = [Verdict::of("kills", 7, "7", true), Verdict::of("whole", "lost:\n  a row", "nothing", false)];
        let mut table = Vec::new();
        print(&mut table, &all, false).unwrap();
        let table = String::from_utf8(table).unwrap();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1..], [vec!["kills", "yes", "7", "7"], vec!["whole", "NO", "nothing", "lost:"], vec!["a", "row"]]);
        let mut json = Vec::new();
        print(&mut json, &all, true).unwrap();
        assert_eq!(String::from_utf8(json).unwrap().lines().next(), Some(r#"{"name":"kills","value":"7","bar":"7","holds":true}"#));
    }
}
