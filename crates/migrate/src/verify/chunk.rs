//! One chunk on both sides: counts and sums, and where these differ, which rows do.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::difference::{Difference, SourceRow, TargetRow, pair};
use super::{VerifyError, hash_expression, integer_key};
use crate::connection::{QueryError, Session};
use crate::convert::RowEncoder;
use crate::copy::{Key, Range, ReadError, TableReader};
use crate::plan::{Plan, RowKey, TablePlan, quote_literal, quote_name};
use crate::snapshot::{Reader, Snapshot, SourceError};

/// Rows of one chunk, about.
const CHUNK_ROWS: u64 = 500_000;
/// Rows of one chunk of a sample, about.
const SAMPLE_ROWS: u64 = 10_000;
/// Into how many buckets a differing chunk is parted by the lowest bits of the hashes.
const BUCKETS: i64 = 4096;
/// How many differing buckets are looked into.
const OPENED: usize = 16;

/// A range of a table.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) table: usize,
    pub(super) range: Range,
}

/// Count and sum of hashes: equal for equal sets of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    pub(super) rows: u64,
    hashes: u64,
}

impl Sum {
    fn add(&mut self, hash: i64) {
        self.rows += 1;
        self.hashes = self.hashes.wrapping_add(hash.cast_unsigned());
    }
}

#[derive(Debug, Default)]
pub(super) struct SourceSum {
    pub(super) sum: Sum,
    pub(super) refused: u64,
}

#[derive(Debug)]
pub(super) struct TargetSum {
    pub(super) sum: Sum,
    pub(super) quarantined: u64,
}

/// Parts a table into chunks; whether by its integer key.
pub(super) async fn chunks(
    snapshot: &Arc<Snapshot>,
    table: &TablePlan,
    index: usize,
    sample: bool,
) -> Result<(Vec<Chunk>, bool), VerifyError> {
    let whole = vec![Chunk {
        table: index,
        range: Range::WHOLE,
    }];
    if integer_key(table).is_none() {
        return Ok((whole, false));
    }
    let reader = snapshot
        .reader()
        .ok_or_else(|| VerifyError::Internal("the snapshot has no reader left".to_owned()))?;
    let (table, file) = (table.clone(), snapshot.file().to_owned());
    let size = if sample { SAMPLE_ROWS } else { CHUNK_ROWS };
    let parts = usize::try_from(table.rows / size + 1).unwrap_or(usize::MAX);
    let asked = tokio::task::spawn_blocking(move || crate::copy::ranges(&reader, &table, parts));
    let mut ranges = asked
        .await
        .map_err(|error| VerifyError::Internal(error.to_string()))?
        .map_err(|error| SourceError::explain(&file, &error))?;
    // Rows of the target beyond the source's keys must be seen, too.
    match ranges.last_mut() {
        Some(last) => last.last = None,
        None => return Ok((whole, true)),
    }
    Ok((
        ranges
            .into_iter()
            .map(|range| Chunk {
                table: index,
                range,
            })
            .collect(),
        true,
    ))
}

/// Both sides of one chunk.
pub(super) struct Sides<'a> {
    pub(super) session: &'a Session,
    pub(super) snapshot: &'a Arc<Snapshot>,
    pub(super) plan: &'a Plan,
    pub(super) table: &'a TablePlan,
    pub(super) readers: Arc<Vec<TableReader>>,
    pub(super) migration: i64,
    pub(super) chunk: &'a Chunk,
}

impl Sides<'_> {
    pub(super) async fn sums(
        &self,
        reader: &mut Option<Reader>,
    ) -> Result<(SourceSum, TargetSum), VerifyError> {
        let source = self.scan(
            reader,
            SourceSum::default(),
            |sums, _, _, hash| match hash {
                Some(hash) => sums.sum.add(hash),
                None => sums.refused += 1,
            },
        );
        let query = format!(
            "SELECT count(*), coalesce(sum(h), 0)::text, count(*) FILTER (WHERE q) FROM ({}) AS rows",
            self.hashes()
        );
        let target = async {
            let row = self
                .session
                .query_typed_one(&query, &[])
                .await
                .map_err(|error| self.failed(&error))?;
            Ok::<_, VerifyError>(TargetSum {
                sum: Sum {
                    rows: row.get::<_, i64>(0).unsigned_abs(),
                    hashes: wrapped(row.get(1)),
                },
                quarantined: row.get::<_, i64>(2).unsigned_abs(),
            })
        };
        let (source, target) = futures::join!(source, target);
        Ok((source?, target?))
    }

    /// Finds rows that are on one side only, and pairs those of one key.
    pub(super) async fn differences(
        &self,
        reader: &mut Option<Reader>,
        most: usize,
    ) -> Result<Vec<Difference>, VerifyError> {
        // Which buckets differ?
        let sums = self.scan(
            reader,
            vec![Sum::default(); BUCKETS as usize],
            |sums, _, _, hash| {
                if let Some(hash) = hash {
                    sums[(hash & (BUCKETS - 1)) as usize].add(hash);
                }
            },
        );
        let mut sums = sums.await?;
        let query = format!(
            "SELECT h & {}, count(*), sum(h)::text FROM ({}) AS rows GROUP BY 1",
            BUCKETS - 1,
            self.hashes()
        );
        for row in self
            .session
            .query_typed(&query, &[])
            .await
            .map_err(|error| self.failed(&error))?
        {
            let sum = &mut sums[row.get::<_, i64>(0) as usize];
            sum.rows = sum.rows.wrapping_sub(row.get::<_, i64>(1).cast_unsigned());
            sum.hashes = sum.hashes.wrapping_sub(wrapped(row.get(2)));
        }
        let opened: HashSet<i64> = (0..BUCKETS)
            .filter(|bucket| sums[*bucket as usize] != Sum::default())
            .take(OPENED)
            .collect();
        let list = |numbers: &mut dyn Iterator<Item = i64>| {
            numbers
                .map(|number| number.to_string())
                .collect::<Vec<_>>()
                .join(",")
        };

        // Which hashes in them are on one side only?
        let buckets = opened.clone();
        let counts = self.scan(
            reader,
            HashMap::<i64, i64>::new(),
            move |counts, _, _, hash| {
                if let Some(hash) = hash
                    && buckets.contains(&(hash & (BUCKETS - 1)))
                {
                    *counts.entry(hash).or_default() += 1;
                }
            },
        );
        let mut counts = counts.await?;
        let query = format!(
            "SELECT h, count(*) FROM ({}) AS rows WHERE h & {} IN ({}) GROUP BY 1",
            self.hashes(),
            BUCKETS - 1,
            list(&mut opened.iter().copied())
        );
        for row in self
            .session
            .query_typed(&query, &[])
            .await
            .map_err(|error| self.failed(&error))?
        {
            *counts.entry(row.get(0)).or_default() -= row.get::<_, i64>(1);
        }
        let mut only_source: Vec<i64> = counts
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(hash, _)| *hash)
            .collect();
        let mut only_target: Vec<i64> = counts
            .iter()
            .filter(|(_, count)| **count < 0)
            .map(|(hash, _)| *hash)
            .collect();
        for hashes in [&mut only_source, &mut only_target] {
            hashes.sort_unstable();
        }

        // Which rows are these? A changed row is in two buckets, of which only one may be open: its
        // counterpart is looked for by its key.
        let mut wanted: HashMap<i64, i64> = only_source
            .into_iter()
            .map(|hash| (hash, counts[&hash]))
            .collect();
        let mut source_rows = self
            .scan(reader, Vec::new(), move |rows, table, row, hash| {
                // Of rows that are there several times, as many as are too many.
                if rows.len() < most
                    && let Some(left) = hash.and_then(|hash| wanted.get_mut(&hash))
                    && *left > 0
                {
                    *left -= 1;
                    rows.push(SourceRow::of(table, row));
                }
            })
            .await?;
        only_target.truncate(most);
        let mut target_rows = if only_target.is_empty() {
            Vec::new()
        } else {
            let hashes = list(&mut only_target.iter().copied());
            let rows = self
                .target_rows(&format!(
                    "{} IN ({hashes})",
                    hash_expression(self.table, "t")
                ))
                .await?;
            let mut left: HashMap<i64, i64> = only_target
                .iter()
                .map(|hash| (*hash, -counts[hash]))
                .collect();
            rows.into_iter()
                .filter(|row| {
                    let left = left.entry(row.hash()).or_default();
                    *left -= 1;
                    *left >= 0
                })
                .collect()
        };
        self.add_counterparts(reader, &mut source_rows, &mut target_rows)
            .await?;
        let mut found = pair(self.table, source_rows, target_rows);
        found.truncate(most);
        Ok(found)
    }

    /// Reads, for each row found on one side, the row of the same integer key on the other.
    async fn add_counterparts(
        &self,
        reader: &mut Option<Reader>,
        source_rows: &mut Vec<SourceRow>,
        target_rows: &mut Vec<TargetRow>,
    ) -> Result<(), VerifyError> {
        let (
            Some(name),
            RowKey::Rowid {
                column: Some(column),
                ..
            },
        ) = (integer_key(self.table), &self.table.key)
        else {
            return Ok(());
        };
        let in_target: HashSet<i64> = target_rows
            .iter()
            .filter_map(|row| row.integer(*column))
            .collect();
        let in_source: HashSet<i64> = source_rows.iter().filter_map(SourceRow::rowid).collect();
        let missing: Vec<String> = in_source
            .difference(&in_target)
            .map(ToString::to_string)
            .collect();
        if !missing.is_empty() {
            target_rows.extend(
                self.target_rows(&format!("t.{name} IN ({})", missing.join(",")))
                    .await?,
            );
        }
        let lacking: HashSet<i64> = in_target.difference(&in_source).copied().collect();
        if !lacking.is_empty() {
            let more = self.scan(reader, Vec::new(), move |rows, table, row, _| {
                let key = table.key_of(row).as_rowid();
                if key.is_some_and(|key| lacking.contains(&key)) {
                    rows.push(SourceRow::of(table, row));
                }
            });
            source_rows.extend(more.await?);
        }
        Ok(())
    }

    async fn target_rows(&self, condition: &str) -> Result<Vec<TargetRow>, VerifyError> {
        let names: Vec<String> = self
            .table
            .columns
            .iter()
            .map(|column| format!("t.{}", quote_name(&column.target)))
            .collect();
        let texts: Vec<String> = names.iter().map(|name| format!("{name}::text")).collect();
        let query = format!(
            "SELECT {}, {}, {} FROM {} AS t WHERE {condition}",
            names.join(", "),
            texts.join(", "),
            hash_expression(self.table, "t"),
            self.plan.qualified(self.table)
        );
        let rows = self
            .session
            .query_typed(&query, &[])
            .await
            .map_err(|error| self.failed(&error))?;
        Ok(rows
            .iter()
            .map(|row| TargetRow::of(row, self.table))
            .collect())
    }

    /// Goes over the chunk's rows in the source on a thread that may block.
    async fn scan<T: Send + 'static>(
        &self,
        reader: &mut Option<Reader>,
        mut state: T,
        mut each: impl FnMut(&mut T, &TableReader, &rusqlite::Row<'_>, Option<i64>) + Send + 'static,
    ) -> Result<T, VerifyError> {
        let taken = reader
            .take()
            .ok_or_else(|| VerifyError::Internal("a worker lost its reader".to_owned()))?;
        let (readers, range, index) = (
            Arc::clone(&self.readers),
            self.chunk.range.clone(),
            self.chunk.table,
        );
        let mut encoder = RowEncoder::new(self.table);
        let scanned = tokio::task::spawn_blocking(move || {
            let table = &readers[index];
            let ended = table.for_each(&taken, &range, |row| {
                let hash = encoder.hash_row(|column| table.value(row, column)).ok();
                each(&mut state, table, row, hash);
                Ok(true)
            });
            (taken, ended, state)
        });
        let (taken, ended, state) = scanned
            .await
            .map_err(|error| VerifyError::Internal(error.to_string()))?;
        *reader = Some(taken);
        match ended {
            Ok(()) => Ok(state),
            Err(ReadError::Source(error)) => {
                Err(SourceError::explain(self.snapshot.file(), &error).into())
            }
            Err(_) => Err(VerifyError::Internal("a scan was abandoned".to_owned())),
        }
    }

    /// A query of the hashes of the chunk's rows in the target and in quarantine.
    fn hashes(&self) -> String {
        let bounds = |column: &str| {
            let bound = |key: &Option<Key>, comparison: &str| {
                key.as_ref()
                    .and_then(Key::as_rowid)
                    .map(|key| format!(" AND {column} {comparison} {key}"))
                    .unwrap_or_default()
            };
            format!(
                "{}{}",
                bound(&self.chunk.range.reached, ">"),
                bound(&self.chunk.range.last, "<=")
            )
        };
        let (own, noted) = match integer_key(self.table) {
            Some(name) => (bounds(&format!("t.{name}")), bounds("row_number")),
            None => (String::new(), String::new()),
        };
        format!(
            "SELECT {} AS h, false AS q FROM {} AS t WHERE true{own}
             UNION ALL SELECT row_hash, true FROM springtide_migrate.quarantine WHERE migration = {} AND table_name = {} AND row_hash IS NOT NULL{noted}",
            hash_expression(self.table, "t"),
            self.plan.qualified(self.table),
            self.migration,
            quote_literal(&self.table.source),
        )
    }

    fn failed(&self, error: &tokio_postgres::Error) -> VerifyError {
        QueryError::while_doing(&format!("verifying table {}", self.table.source), error).into()
    }
}

/// A sum of many 64-bit numbers, modulo 2⁶⁴.
fn wrapped(sum: &str) -> u64 {
    sum.parse::<i128>().map_or(0, |sum| sum as u64)
}
