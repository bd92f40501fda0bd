//! Tables that fit the terminal: optional columns go first, then text is cut; numbers stay whole.

use std::io::{self, Write};

use anstyle::Style;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Spaces between two columns.
const GAP: usize = 2;

/// A column: its heading, alignment, and behaviour if room is scarce.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    head: &'static str,
    right: bool,
    /// The minimum width; `None` if cutting would change the meaning.
    least: Option<usize>,
    /// True if the column may be left out to save room.
    optional: bool,
}

impl Column {
    /// Creates a left-aligned column whose text is never cut.
    #[must_use]
    pub const fn text(head: &'static str) -> Self {
        Self { head, right: false, least: None, optional: false }
    }

    /// Creates a right-aligned column for numbers, which are never cut.
    #[must_use]
    pub const fn number(head: &'static str) -> Self {
        Self { head, right: true, least: None, optional: false }
    }

    /// Allows the column to shrink to `least` characters.
    #[must_use]
    pub const fn at_least(self, least: usize) -> Self {
        Self { least: Some(least), ..self }
    }

    /// Allows the column to be left out to save room.
    #[must_use]
    pub const fn optional(self) -> Self {
        Self { optional: true, ..self }
    }
}

/// A cell: text and style.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Creates a cell with `text` in `style`.
    #[must_use]
    pub fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl Cell {
    /// The text, without escape sequences.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The style.
    #[must_use]
    pub const fn style(&self) -> Style {
        self.style
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(text, Style::new())
    }
}

/// A table: columns and rows.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Creates a table without rows.
    #[must_use]
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// Adds a row, with one cell for each column.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Returns whether the table has no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes the table in at most `width` characters per line, or in its natural width.
    ///
    /// # Errors
    /// Fails if `out` cannot be written to.
    pub fn write(&self, out: &mut impl Write, width: Option<usize>) -> io::Result<()> {
        let widths = self.fit(width);
        let heads = self.columns.iter().map(|column| Cell::styled(column.head, Style::new().dimmed()));
        self.line(out, &widths, &heads.collect::<Vec<_>>())?;
        self.rows.iter().try_for_each(|row| self.line(out, &widths, row))
    }

    fn line(&self, out: &mut impl Write, widths: &[Option<usize>], row: &[Cell]) -> io::Result<()> {
        let shown = || widths.iter().enumerate().filter_map(|(index, width)| Some((index, (*width)?)));
        let last = shown().next_back().map(|(index, _)| index);
        let mut gap = 0;
        for (index, width) in shown() {
            let (Some(column), Some(cell)) = (self.columns.get(index), row.get(index)) else { continue };
            let text = cut(&cell.text, width);
            let room = width - text.width();
            let (before, after) = if column.right { (room, 0) } else { (0, room) };
            let after = if last == Some(index) { 0 } else { after };
            write!(out, "{:1$}", "", gap + before)?;
            write!(out, "{}{text}{}", cell.style.render(), cell.style.render_reset())?;
            write!(out, "{:1$}", "", after)?;
            gap = GAP;
        }
        writeln!(out)
    }

    /// Computes the width of each column; `None` for a column that is left out.
    fn fit(&self, width: Option<usize>) -> Vec<Option<usize>> {
        let natural = |index: usize, column: &Column| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.text.width());
            cells.max().unwrap_or(0).max(column.head.width())
        };
        let mut widths: Vec<_> =
            self.columns.iter().enumerate().map(|(index, column)| Some(natural(index, column))).collect();
        let Some(room) = width else { return widths };
        // One column less is easier to read than every column cut.
        let spare = (0..widths.len())
            .rev()
            .filter(|index| self.columns.get(*index).is_some_and(|column| column.optional));
        for index in spare {
            if total(&widths) <= room {
                break;
            }
            widths.get_mut(index).map(Option::take);
        }
        while total(&widths) > room {
            let widest = self
                .columns
                .iter()
                .zip(&mut widths)
                .filter_map(|(column, width)| Some((column.least?, width.as_mut()?)))
                .filter(|(least, width)| **width > *least)
                .max_by_key(|(_, width)| **width);
            let Some((_, width)) = widest else { break };
            *width -= 1;
        }
        widths
    }
}

fn total(widths: &[Option<usize>]) -> usize {
    let shown = widths.iter().flatten();
    shown.clone().sum::<usize>() + GAP * shown.count().saturating_sub(1)
}

/// Returns `text` in at most `width` columns, with an ellipsis if it was cut.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        kept.push(character);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([
            Column::text("NAME").at_least(6),
            Column::number("COUNT"),
            Column::text("NOTE").at_least(4).optional(),
        ]);
        table.push(["nginx-worker".into(), "1,234".into(), "a longer remark".into()]);
        table.push(["漢字".into(), "5".into(), "".into()]);
        table
    }

    fn written(width: Option<usize>) -> Vec<String> {
        let mut out = Vec::new();
        table().write(&mut anstream::StripStream::new(&mut out), width).expect("memory can be written");
        String::from_utf8(out).expect("text").lines().map(str::to_owned).collect()
    }

    #[test]
    fn as_wide_as_it_is_where_nobody_counts() {
        assert_eq!(
            written(None),
            ["NAME          COUNT  NOTE", "nginx-worker  1,234  a longer remark", "漢字              5  ",]
        );
    }

    #[test]
    fn text_is_cut_and_numbers_never() {
        assert_eq!(written(Some(16))[1], "nginx-wo…  1,234");
        for width in 13..40 {
            let lines = written(Some(width));
            assert!(lines.iter().all(|line| line.width() <= width), "{width}: {lines:?}");
            assert!(lines[1].contains("1,234"));
        }
        assert_eq!(written(Some(13))[0], "NAME    COUNT");
    }
}
