//! Ranges of a table's rows: how a table is parted, and how what is left of a range is.

use rusqlite::Connection;

use super::key::{Key, KeyValue};
use crate::plan::{RowKey, TablePlan, quote_name};
use crate::profile::rowid_bounds;

/// Tables with fewer rows are one piece.
const WORTH_PARTING: u64 = 20_000;

/// Part of a table: the rows with keys after `reached`, up to and with `last`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Range {
    /// None is the beginning.
    pub(crate) reached: Option<Key>,
    /// None is the end.
    pub(crate) last: Option<Key>,
}

impl Range {
    pub(crate) const WHOLE: Self = Self {
        reached: None,
        last: None,
    };

    /// Parts what is left of a range of rowids in the middle: rowids may be far from evenly used, and
    /// a part that turns out long is parted again. None where that is not worth it.
    pub(crate) fn part(&self) -> Option<(Self, Self)> {
        let reached = self.reached.as_ref()?.as_rowid()?;
        let last = self.last.as_ref()?.as_rowid()?;
        let length = i128::from(last) - i128::from(reached);
        if length < 10_000 {
            return None;
        }
        let middle = Key::rowid((i128::from(reached) + length / 2) as i64);
        Some((
            Self {
                reached: self.reached.clone(),
                last: Some(middle.clone()),
            },
            Self {
                reached: Some(middle),
                last: self.last.clone(),
            },
        ))
    }
}

/// Parts a table into ranges for this many readers.
pub(crate) fn ranges(
    source: &Connection,
    table: &TablePlan,
    parts: usize,
) -> rusqlite::Result<Vec<Range>> {
    let name = quote_name(&table.source);
    match &table.key {
        RowKey::Rowid { alias, .. } => {
            let alias = quote_name(alias);
            let Some((first, last)) = rowid_bounds(source, &name, &alias)? else {
                return Ok(Vec::new());
            };
            let parts = if table.rows >= WORTH_PARTING {
                parts as i128
            } else {
                1
            };
            let length = i128::from(last) - i128::from(first);
            let mut ranges: Vec<Range> = Vec::new();
            let mut reached = None;
            for part in 1..=parts {
                let end = Key::rowid((i128::from(first) + length * part / parts) as i64);
                if reached.as_ref() == Some(&end) {
                    continue;
                }
                ranges.push(Range {
                    reached: reached.replace(end.clone()),
                    last: Some(end),
                });
            }
            Ok(ranges)
        }
        RowKey::PrimaryKey(columns) => {
            let columns = key_columns(table, columns);
            let mut bounds = Vec::new();
            if table.rows >= WORTH_PARTING {
                let count: i64 =
                    source.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| {
                        row.get(0)
                    })?;
                for part in 1..parts as i64 {
                    let query = format!(
                        "SELECT {columns} FROM {name} ORDER BY {columns} LIMIT 1 OFFSET {}",
                        count * part / parts as i64
                    );
                    let key = source.query_row(&query, [], |row| {
                        let values: Result<Vec<KeyValue>, _> = (0..row.as_ref().column_count())
                            .map(|index| Ok(KeyValue::of(row.get_ref(index)?)))
                            .collect();
                        values.map(Key)
                    })?;
                    bounds.push(key);
                }
            }
            let begins = std::iter::once(None).chain(bounds.iter().cloned().map(Some));
            let ends = bounds.iter().cloned().map(Some).chain([None]);
            Ok(begins
                .zip(ends)
                .map(|(reached, last)| Range { reached, last })
                .collect())
        }
    }
}

/// The key's columns, quoted, for a query of the source.
pub(crate) fn key_columns(table: &TablePlan, columns: &[usize]) -> String {
    let names: Vec<String> = columns
        .iter()
        .map(|&column| quote_name(&table.columns[column].source))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(reached: i64, last: i64) -> Range {
        Range {
            reached: Some(Key::rowid(reached)),
            last: Some(Key::rowid(last)),
        }
    }

    #[test]
    fn a_long_rest_is_parted_in_the_middle() {
        assert_eq!(
            range(0, 20_000).part(),
            Some((range(0, 10_000), range(10_000, 20_000)))
        );
        assert_eq!(
            range(i64::MIN, i64::MAX).part(),
            Some((range(i64::MIN, -1), range(-1, i64::MAX)))
        );
        assert_eq!(range(0, 100).part(), None);
        assert_eq!(Range::WHOLE.part(), None);
    }
}
