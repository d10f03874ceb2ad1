use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::Connection;

use super::{ColumnProfile, RowName, TableProfile};
use crate::plan::{Conversion, TargetType, quote_name};
use crate::schema::Table;

/// Rowids that one range covers at least; fewer are not worth a query of their own.
const RANGE: i64 = 100_000;
/// Ranges into which one table is cut at most.
const RANGES: i64 = 64;

/// Why a scan stopped.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The database could not be opened by one of the readers.
    #[error("cannot open the SQLite database to scan it: {0}")]
    Open(#[source] rusqlite::Error),
    /// A table could not be read to its end.
    #[error(
        "cannot read table {table} to its end: {cause}; PRAGMA integrity_check tells whether the file is damaged"
    )]
    Read {
        /// The table.
        table: String,
        /// What SQLite said.
        cause: rusqlite::Error,
    },
}

/// What to look for in a column beyond classes, ranges and encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Nothing.
    Plain,
    /// Words that may mean true and false.
    Boolean,
    /// Dates.
    Date,
    /// Times of day.
    Time,
    /// Dates with times.
    DateTime,
    /// UUIDs.
    Uuid,
    /// JSON.
    Json,
    /// Digits of decimal numbers.
    Decimal,
}

impl Watch {
    /// What the declared type of a column makes worth looking for.
    #[must_use]
    pub fn of_declared(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let name = declared.split('(').next().unwrap_or_default().trim();
        match name {
            "BOOL" | "BOOLEAN" | "BIT" => Self::Boolean,
            "DATE" => Self::Date,
            "TIME" => Self::Time,
            "DATETIME"
            | "TIMESTAMP"
            | "TIMESTAMPTZ"
            | "TIMESTAMP WITH TIME ZONE"
            | "TIMESTAMP WITHOUT TIME ZONE" => Self::DateTime,
            "UUID" | "GUID" | "UNIQUEIDENTIFIER" => Self::Uuid,
            "JSON" => Self::Json,
            "NUMERIC" | "DECIMAL" | "NUMBER" | "MONEY" => Self::Decimal,
            _ => Self::Plain,
        }
    }

    pub(super) fn looks_at_shapes(self) -> bool {
        !matches!(self, Self::Plain | Self::Decimal)
    }
}

/// What is looked for in a column.
#[derive(Debug, Clone)]
pub struct Watched {
    /// By its declared type.
    pub watch: Watch,
    /// A conversion that is tried with every value, without keeping what it gives.
    pub conversion: Option<(Conversion, TargetType)>,
}

impl From<Watch> for Watched {
    fn from(watch: Watch) -> Self {
        Self {
            watch,
            conversion: None,
        }
    }
}

/// Scans tables with `readers` threads, each with a connection of its own from `open`. What to watch
/// for is said for each table and column.
///
/// # Errors
/// When the database cannot be opened, or a table cannot be read.
pub fn scan(
    tables: &[(&Table<'_>, Vec<Watched>)],
    readers: usize,
    open: &(dyn Fn() -> rusqlite::Result<Connection> + Sync),
) -> Result<Vec<TableProfile>, ProfileError> {
    let first = open().map_err(ProfileError::Open)?;
    let plans: Vec<Scan> = tables
        .iter()
        .map(|(table, watched)| Scan::of(table, watched))
        .collect();
    let mut pieces = Vec::new();
    for (table, plan) in plans.iter().enumerate() {
        for range in plan.ranges(&first)? {
            pieces.push((table, range));
        }
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<TableProfile, ProfileError>)>> = Mutex::new(Vec::new());
    let work = |connection: Connection| {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some((table, range)) = pieces.get(number) else {
                return;
            };
            let found = plans[*table].read(&connection, *range);
            let failed = found.is_err();
            done.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push((number, found));
            if failed {
                next.store(pieces.len(), Ordering::Relaxed);
            }
        }
    };
    let mut connections = vec![first];
    for _ in 1..readers.max(1).min(pieces.len().max(1)) {
        connections.push(open().map_err(ProfileError::Open)?);
    }
    std::thread::scope(|threads| {
        for connection in connections {
            threads.spawn(|| work(connection));
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    let mut profiles: Vec<TableProfile> = plans.iter().map(Scan::nothing).collect();
    for (number, found) in done {
        profiles[pieces[number].0].append(found?);
    }
    Ok(profiles)
}

/// The smallest and largest rowid of a table, none when it is empty; both names are quoted already.
/// Each is found at an end of the table's tree: both in one query would read it whole.
pub(crate) fn rowid_bounds(
    connection: &Connection,
    table: &str,
    rowid: &str,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let query =
        format!("SELECT (SELECT min({rowid}) FROM {table}), (SELECT max({rowid}) FROM {table})");
    let (low, high): (Option<i64>, Option<i64>) =
        connection.query_row(&query, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(low.zip(high))
}

/// How one table is read.
struct Scan {
    table: String,
    rowid: Option<String>,
    key: Vec<String>,
    columns: Vec<String>,
    watched: Vec<Watched>,
}

impl Scan {
    fn of(table: &Table<'_>, watched: &[Watched]) -> Self {
        Self {
            table: table.name.clone(),
            rowid: table.rowid_alias.as_deref().map(quote_name),
            key: table
                .primary_key
                .iter()
                .map(|&position| quote_name(&table.columns[position].name))
                .collect(),
            columns: table
                .columns
                .iter()
                .map(|column| quote_name(&column.name))
                .collect(),
            watched: watched.to_vec(),
        }
    }

    fn nothing(&self) -> TableProfile {
        TableProfile {
            columns: vec![ColumnProfile::default(); self.columns.len()],
            ..TableProfile::default()
        }
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> ProfileError + '_ {
        |cause| ProfileError::Read {
            table: self.table.clone(),
            cause,
        }
    }

    /// Ranges of rowids that cover the table in order; none means the whole.
    fn ranges(&self, connection: &Connection) -> Result<Vec<Option<(i64, i64)>>, ProfileError> {
        let Some(rowid) = &self.rowid else {
            return Ok(vec![None]);
        };
        let bounds = rowid_bounds(connection, &quote_name(&self.table), rowid);
        let Some((low, high)) = bounds.map_err(self.failed())? else {
            return Ok(Vec::new());
        };
        let span = i128::from(high) - i128::from(low) + 1;
        let step = (span / i128::from(RANGES)).max(i128::from(RANGE));
        let mut ranges = Vec::new();
        let mut start = i128::from(low);
        while start <= i128::from(high) {
            let end = (start + step - 1).min(i128::from(high));
            if let (Ok(start), Ok(end)) = (i64::try_from(start), i64::try_from(end)) {
                ranges.push(Some((start, end)));
            }
            start = end + 1;
        }
        Ok(ranges)
    }

    fn read(
        &self,
        connection: &Connection,
        range: Option<(i64, i64)>,
    ) -> Result<TableProfile, ProfileError> {
        self.try_read(connection, range).map_err(self.failed())
    }

    fn try_read(
        &self,
        connection: &Connection,
        range: Option<(i64, i64)>,
    ) -> rusqlite::Result<TableProfile> {
        let keys: Vec<&str> = match &self.rowid {
            Some(rowid) => vec![rowid],
            None => self.key.iter().map(String::as_str).collect(),
        };
        let selected = [keys.join(", "), self.columns.join(", ")].join(", ");
        let table = quote_name(&self.table);
        let condition = match (&self.rowid, range) {
            (Some(rowid), Some((start, end))) => {
                format!(" WHERE {rowid} BETWEEN {start} AND {end}")
            }
            _ => String::new(),
        };
        let mut query =
            connection.prepare(&format!("SELECT {selected} FROM {table}{condition}"))?;
        let mut rows = query.query([])?;
        let mut profile = self.nothing();
        while let Some(row) = rows.next()? {
            profile.rows += 1;
            let name = if self.rowid.is_some() {
                let rowid = row.get(0)?;
                let (low, high) = profile.rowids.unwrap_or((rowid, rowid));
                profile.rowids = Some((low.min(rowid), high.max(rowid)));
                RowName::Rowid(rowid)
            } else {
                RowName::Key(row, keys.len())
            };
            for (position, column) in profile.columns.iter_mut().enumerate() {
                let value = row.get_ref(keys.len() + position)?;
                let watched = &self.watched[position];
                profile.bytes += column.observe(value, watched.watch, &name);
                if let Some(conversion) = &watched.conversion {
                    column.try_conversion(value, conversion, &name);
                }
            }
        }
        Ok(profile)
    }
}

impl TableProfile {
    fn append(&mut self, later: Self) {
        self.rows += later.rows;
        self.bytes += later.bytes;
        self.rowids = match (self.rowids, later.rowids) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        for (column, later) in self.columns.iter_mut().zip(later.columns) {
            column.append(later);
        }
    }
}
