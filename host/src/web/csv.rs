//! Comma-separated values that a spreadsheet opens as data, and only as data.
//!
//! The problem: a spreadsheet reads a cell that begins with `=`, `+`, `-` or `@` as a formula, and what providers send (the title of a track,
//! the name of a repository) is anybody's text. Such a cell gets an apostrophe in front, which spreadsheets show as nothing. Numbers that the
//! host itself printed are written as they are: a negative number is no formula.
//!
//! Otherwise this is RFC 4180: cells with a comma, a quote or a line end are quoted, rows end in CR LF (the terminal's end in LF). Pages and
//! commands write the same columns, those of `v_entries`.

use super::when::machine;
use crate::control::api::EntryRow;

/// The columns.
pub const HEAD: &str = "connector,account,metric,unit,series,series_label,id,start,end,utc_offset,day,value,detail";

/// An entry as a line without its end, for a terminal.
#[must_use]
pub fn line(row: &EntryRow) -> String {
    let mut out = String::new();
    entry(&mut out, row);
    out.truncate(out.len().saturating_sub(2));
    out
}

/// Appends an entry.
pub fn entry(out: &mut String, e: &EntryRow) {
    let (start, end) = (e.start.map(machine).unwrap_or_default(), e.end.map(machine).unwrap_or_default());
    let (offset, value) = (e.utc_offset.map(|minutes| minutes.to_string()).unwrap_or_default(), e.value.to_string());
    row(
        out,
        [
            Cell::Text(&e.connector),
            Cell::Text(&e.account),
            Cell::Text(&e.metric),
            Cell::Text(&e.unit),
            Cell::Text(e.series.as_deref().unwrap_or_default()),
            Cell::Text(e.series_label.as_deref().unwrap_or_default()),
            Cell::Text(e.id.as_deref().unwrap_or_default()),
            Cell::Text(&start),
            Cell::Text(&end),
            Cell::Number(&offset),
            Cell::Text(&e.day),
            Cell::Number(&value),
            Cell::Text(e.detail.as_deref().unwrap_or_default()),
        ],
    );
}

/// Appends one row of text cells.
fn row<'a>(out: &mut String, cells: impl IntoIterator<Item = Cell<'a>>) {
    for (n, cell) in cells.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        match cell {
            Cell::Text(text) => push_text(out, text),
            Cell::Number(text) if text.parse::<f64>().is_ok() => out.push_str(text),
            Cell::Number(text) => push_text(out, text),
        }
    }
    out.push_str("\r\n");
}

/// One cell.
#[derive(Clone, Copy, Debug)]
enum Cell<'a> {
    /// Anybody's text: neutralised.
    Text(&'a str),
    /// A number as the host printed it; what does not parse as one is treated as text.
    Number(&'a str),
}

/// Whether a spreadsheet would take this for more than text. Full-width forms count: some spreadsheets fold them first.
fn dangerous(text: &str) -> bool {
    text.chars().next().is_some_and(|c| matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠'))
}

fn push_text(out: &mut String, text: &str) {
    let guard = if dangerous(text) { "'" } else { "" };
    if text.contains([',', '"', '\r', '\n', ';', '\t']) {
        out.push('"');
        out.push_str(guard);
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(guard);
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(cell: Cell<'_>) -> String {
        let mut out = String::new();
        row(&mut out, [cell]);
        out
    }

    #[test]
    fn formulas_become_text() {
        for (text, cell) in [
            ("=1+1", "'=1+1\r\n"),
            ("+1", "'+1\r\n"),
            ("-1", "'-1\r\n"),
            ("@SUM(A1)", "'@SUM(A1)\r\n"),
            ("\t=1", "\"'\t=1\"\r\n"),
            ("\r=1", "\"'\r=1\"\r\n"),
            ("＝1", "'＝1\r\n"),
            ("=cmd|' /C calc'!A0,x", "\"'=cmd|' /C calc'!A0,x\"\r\n"),
            ("plain", "plain\r\n"),
            ("a=b", "a=b\r\n"),
            ("say \"hi\"", "\"say \"\"hi\"\"\"\r\n"),
            ("two\nlines", "\"two\nlines\"\r\n"),
            ("", "\r\n"),
        ] {
            assert_eq!(one(Cell::Text(text)), cell, "{text:?}");
        }
    }

    #[test]
    fn numbers_stay_numbers_and_nothing_else_does() {
        assert_eq!(one(Cell::Number("-3.5")), "-3.5\r\n");
        assert_eq!(one(Cell::Number("-3.5+A1")), "'-3.5+A1\r\n");
    }

    #[test]
    fn an_entry_has_a_cell_for_each_column() {
        let entry = EntryRow {
            connector: "lastfm".into(),
            account: "ada".into(),
            metric: "tracks".into(),
            unit: "1".into(),
            series: None,
            series_label: Some("=cmd()".into()),
            id: Some("-1".into()),
            start: Some(1_795_262_400_000),
            end: None,
            utc_offset: Some(-300),
            day: "2026-11-21".into(),
            value: -1.5,
            detail: Some("{\"n\":1}".into()),
        };
        assert_eq!(line(&entry), "lastfm,ada,tracks,1,,'=cmd(),'-1,2026-11-21T12:00:00Z,,-300,2026-11-21,-1.5,\"{\"\"n\"\":1}\"");
        assert_eq!(line(&EntryRow { detail: None, ..entry }).split(',').count(), HEAD.split(',').count());
    }

    #[test]
    fn cells_are_separated_by_commas() {
        let mut out = String::new();
        row(&mut out, [Cell::Text("a"), Cell::Number("1"), Cell::Text("")]);
        assert_eq!(out, "a,1,\r\n");
    }
}
