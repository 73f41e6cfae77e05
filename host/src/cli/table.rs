//! Aligned tables: text to the left, numbers to the right, two spaces between.

use super::terminal::inert;

/// How a column reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Lays rows out under their heads, each on one line whatever its texts hold. The last column is not padded.
pub fn layout(heads: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| inert(cell)).collect()).collect();
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = heads.iter().map(|(head, _)| width(head)).collect();
    for row in &rows {
        for (cell, widest) in row.iter().zip(&mut widths) {
            *widest = (*widest).max(width(cell));
        }
    }
    let last = heads.len().saturating_sub(1);
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (index, ((cell, (_, align)), widest)) in cells.zip(heads).zip(&widths).enumerate() {
            let padding = " ".repeat(widest - width(cell));
            let (before, after) = if *align == Align::Right { (padding.as_str(), "") } else { ("", padding.as_str()) };
            out.push_str(before);
            out.push_str(cell);
            if index != last {
                out.push_str(after);
                out.push_str("  ");
            }
        }
        out
    };
    let mut lines = vec![line(&mut heads.iter().map(|(head, _)| *head))];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(String::as_str))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_breaks_out_of_its_row() {
        let text = layout(&[("a", Align::Left)], &[vec!["x\n\u{1b}[31m\u{202e}y".into()]]);
        assert_eq!(text, "a\nx\u{fffd}\u{fffd}[31m\u{fffd}y");
    }

    #[test]
    fn columns_line_up() {
        let heads = [("connector", Align::Left), ("inserted", Align::Right), ("note", Align::Left)];
        let rows = vec![vec!["github".into(), "1204".into(), "fine".into()], vec!["lastfm-é".into(), "7".into(), String::new()]];
        assert_eq!(layout(&heads, &rows), "connector  inserted  note\ngithub         1204  fine\nlastfm-é          7  ");
    }
}
