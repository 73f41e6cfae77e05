//! Aligned tables: text to the left, numbers to the right, two spaces between.

/// How a column reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Lays rows out under their heads. The last column is not padded.
pub fn layout(heads: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = heads.iter().map(|(head, _)| width(head)).collect();
    for row in rows {
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
    fn columns_line_up() {
        let heads = [("connector", Align::Left), ("inserted", Align::Right), ("note", Align::Left)];
        let rows = vec![vec!["github".into(), "1204".into(), "fine".into()], vec!["lastfm-é".into(), "7".into(), String::new()]];
        assert_eq!(layout(&heads, &rows), "connector  inserted  note\ngithub         1204  fine\nlastfm-é          7  ");
    }
}
