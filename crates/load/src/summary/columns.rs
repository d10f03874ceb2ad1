//! Lines of metrics in columns.

use std::fmt::Write as _;

/// A metric's line, in columns.
pub(super) struct Line {
    pub(super) name: String,
    /// The length that its name counts for in the column of names.
    pub(super) weight: usize,
    pub(super) cells: Cells,
}

pub(super) enum Cells {
    /// `avg=…`, `min=…`, …
    Trend(Vec<String>),
    /// A value, and what is said beside it.
    Plain(String, Vec<String>),
}

/// How wide columns are.
pub(super) struct Widths {
    name: usize,
    value: usize,
    beside: [usize; 2],
    trend: Vec<usize>,
}

impl Widths {
    pub(super) fn of<'line>(lines: impl Iterator<Item = &'line Line>) -> Self {
        let mut widths = Self {
            name: 0,
            value: 0,
            beside: [0; 2],
            trend: Vec::new(),
        };
        for line in lines {
            widths.name = widths.name.max(line.weight + 3);
            match &line.cells {
                Cells::Trend(cells) => {
                    widths.trend.resize(widths.trend.len().max(cells.len()), 0);
                    for (width, cell) in widths.trend.iter_mut().zip(cells) {
                        *width = (*width).max(cell.chars().count());
                    }
                }
                Cells::Plain(value, beside) => {
                    widths.value = widths.value.max(value.chars().count());
                    for (width, cell) in widths.beside.iter_mut().zip(beside) {
                        *width = (*width).max(cell.chars().count());
                    }
                }
            }
        }
        widths
    }

    pub(super) fn lay_out(&self, line: &Line) -> String {
        let dots = self.name - line.name.chars().count();
        let mut text = format!("{}{}:", line.name, ".".repeat(dots));
        let mut put = |cell: &str, width: usize| {
            let fill = width.saturating_sub(cell.chars().count());
            let _ = write!(text, " {cell}{}", " ".repeat(fill));
        };
        match &line.cells {
            Cells::Trend(cells) => {
                for (cell, width) in cells.iter().zip(&self.trend) {
                    put(cell, *width);
                }
            }
            Cells::Plain(value, beside) => {
                put(value, self.value);
                for (cell, width) in beside.iter().zip(&self.beside) {
                    put(cell, *width);
                }
            }
        }
        text.trim_end().to_owned()
    }
}
