//! Paging as both providers do it: rows newest first, cut at the time of asking, so that a row which arrives between two pages moves the others.
//!
//! `shift` is that movement on demand: pages after the first begin so many rows early, and the reader sees rows again.

/// The rows of one page.
#[derive(Debug, PartialEq, Eq)]
pub struct Window {
    /// First row.
    pub start: usize,
    /// One past the last row.
    pub end: usize,
    /// How many pages there are.
    pub pages: usize,
}

/// Cuts `total` rows into pages of `size` and takes page `page` (from 1).
pub fn window(total: usize, page: usize, size: usize, shift: usize) -> Window {
    let size = size.max(1);
    let pages = total.div_ceil(size);
    let start = page.saturating_sub(1).saturating_mul(size);
    let start = if page > 1 { start.saturating_sub(shift) } else { start }.min(total);
    Window { start, end: start.saturating_add(size).min(total), pages }
}

/// Those rows of a slice.
pub fn rows<'a, T>(all: &'a [T], window: &Window) -> &'a [T] {
    all.get(window.start..window.end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_where_the_rows_end_and_a_shift_repeats_rows() {
        assert_eq!(window(5, 1, 2, 0), Window { start: 0, end: 2, pages: 3 });
        assert_eq!(window(5, 3, 2, 0), Window { start: 4, end: 5, pages: 3 });
        assert_eq!(window(5, 4, 2, 0), Window { start: 5, end: 5, pages: 3 });
        assert_eq!(window(5, 2, 2, 1), Window { start: 1, end: 3, pages: 3 });
        assert_eq!(window(0, 1, 2, 0), Window { start: 0, end: 0, pages: 0 });
    }
}
