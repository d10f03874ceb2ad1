//! The log of changes in the source: made, read, pruned and removed.

use std::time::Duration;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior};

use super::recorded::RecordedTable;
use super::stored::StoredValue;
use super::triggers::{self, LOG, OWNER, log_columns};
use super::{FollowError, schema_watch};
use crate::plan::{Plan, SOURCE_PREFIX, TablePlan, quote_name};

/// How often a step asks for the lock that a writer of the source has. Writers that follow close
/// upon each other leave gaps shorter than SQLite's own waits, which grow to a tenth of a second.
const ASK: Duration = Duration::from_millis(1);
/// How many times: half a minute.
const MOST_ASKED: i32 = 30_000;
/// Entries that one pruning transaction deletes, so that no writer waits for long.
const PRUNED_AT_ONCE: i64 = 50_000;

/// Whether the change log is in the source, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recording {
    /// The source bears no mark.
    Absent,
    /// Changes are recorded for this migration, into a target that is described for people.
    For {
        /// The name of the log.
        token: String,
        /// The target.
        target: String,
    },
}

/// Where a log begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStart {
    /// The entry before the first.
    pub entry: i64,
    /// The source's schema version with the log in it.
    pub schema_version: i64,
}

/// What changed since a position, as of one moment.
#[derive(Debug, Default)]
pub struct Batch {
    /// The last entry of the log it covers.
    pub up_to: i64,
    /// Entries of the log beyond it, at that moment.
    pub behind: i64,
    /// Entries it covers.
    pub entries: i64,
    /// The changed keys with their rows, by table.
    pub tables: Vec<TableChanges>,
}

/// What changed in one table.
#[derive(Debug)]
pub struct TableChanges {
    /// The table's position in the plan.
    pub table: usize,
    /// Each changed key once, with the row that is there now.
    pub rows: Vec<ChangedRow>,
}

/// A changed key.
#[derive(Debug)]
pub struct ChangedRow {
    /// The key, part by part.
    pub key: Vec<StoredValue>,
    /// The columns of the plan, in order; None when no row has the key any more.
    pub row: Option<Vec<StoredValue>>,
}

/// Opens the source for reading the log and pruning it.
///
/// # Errors
/// When the file is not there, is no database or cannot be written.
pub fn open(path: &str) -> Result<Connection, FollowError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut source = Connection::open_with_flags(path, flags)?;
    source.busy_handler(Some(|asked| {
        std::thread::park_timeout(ASK);
        asked < MOST_ASKED
    }))?;
    if source.is_readonly("main")? {
        return Err(FollowError::ReadOnly {
            path: path.to_owned(),
        });
    }
    Ok(source)
}

/// Tells whether changes are recorded.
///
/// # Errors
/// When the source cannot be read.
pub fn recording(source: &Connection) -> Result<Recording, FollowError> {
    let exists: bool = source.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = ?1",
        [OWNER],
        |row| row.get(0),
    )?;
    if !exists {
        return Ok(Recording::Absent);
    }
    let owner = source
        .query_row(
            &format!("SELECT migration, target FROM {}", quote_name(OWNER)),
            [],
            |row| {
                Ok(Recording::For {
                    token: row.get(0)?,
                    target: row.get(1)?,
                })
            },
        )
        .optional()?;
    Ok(owner.unwrap_or_else(|| Recording::For {
        token: String::new(),
        target: String::new(),
    }))
}

/// Reads what the triggers need to know of each table.
///
/// # Errors
/// When the source cannot be read.
pub fn recorded_tables(
    source: &Connection,
    plan: &Plan,
) -> Result<Vec<RecordedTable>, FollowError> {
    let of_table = |(number, table)| RecordedTable::read(source, number, table);
    plan.tables.iter().enumerate().map(of_table).collect()
}

/// Where the log that is in the source begins: the entry before the first that is left.
///
/// # Errors
/// When the source cannot be read.
pub fn start(source: &Connection) -> Result<LogStart, FollowError> {
    let query = format!(
        "SELECT (SELECT min(seq) FROM {}), (SELECT schema_version FROM {})",
        quote_name(LOG),
        quote_name(OWNER)
    );
    Ok(source.query_row(&query, [], |row| {
        Ok(LogStart {
            entry: row.get(0)?,
            schema_version: row.get(1)?,
        })
    })?)
}

/// Makes the source record its changes for a migration, in one transaction: when it returns, each
/// change that is not yet visible will be in the log. Tells where the log begins; None where it
/// already records for this migration.
///
/// # Errors
/// When the source is read-only, records for another migration, or its schema is not the plan's.
pub fn install(
    source: &mut Connection,
    plan: &Plan,
    token: &str,
    target: &str,
) -> Result<Option<LogStart>, FollowError> {
    let transaction = source.transaction_with_behavior(TransactionBehavior::Immediate)?;
    match recording(&transaction)? {
        Recording::For { token: owner, .. } if owner == token => return Ok(None),
        Recording::For { target, .. } => return Err(FollowError::OtherMigration { target }),
        Recording::Absent => {}
    }
    schema_watch::expect_digest(&transaction, plan)?;
    let tables = recorded_tables(&transaction, plan)?;
    for statement in triggers::install(&tables) {
        transaction.execute_batch(&statement)?;
    }
    for table in &tables {
        // Compiles every trigger of the table, ours and the application's: names that do not
        // resolve would otherwise fail the first writer.
        let name = quote_name(&table.name);
        let column = quote_name(&plan.tables[table.number].columns[0].source);
        let probes = [
            format!("EXPLAIN INSERT INTO {name} DEFAULT VALUES"),
            format!("EXPLAIN DELETE FROM {name}"),
        ];
        let update = format!("EXPLAIN UPDATE {name} SET {column} = {column}");
        let is_generated = plan.tables[table.number].columns[0].generated.is_some();
        for probe in probes.into_iter().chain((!is_generated).then_some(update)) {
            transaction
                .prepare(&probe)
                .map_err(|error| FollowError::Trigger {
                    table: table.name.clone(),
                    error,
                })?;
        }
    }
    let start = LogStart {
        entry: last_entry(&transaction)?,
        schema_version: schema_watch::schema_version(&transaction)?,
    };
    transaction.execute(
        &format!("INSERT INTO {} VALUES (?1, ?2, ?3)", quote_name(OWNER)),
        (token, target, start.schema_version),
    )?;
    transaction.commit()?;
    Ok(Some(start))
}

/// Removes every trace from the source, in one transaction; tells how many objects there were.
///
/// # Errors
/// When the source cannot be written.
pub fn remove(source: &mut Connection) -> Result<usize, FollowError> {
    let transaction = source.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let removed = remove_objects(&transaction)?;
    transaction.commit()?;
    Ok(removed)
}

/// Removes the log and its triggers within a transaction of the caller's.
///
/// # Errors
/// When the source cannot be written.
pub fn remove_objects(source: &Connection) -> Result<usize, FollowError> {
    let mut statement = source.prepare(
        "SELECT type, name FROM sqlite_schema WHERE substr(name, 1, length(?1)) = ?1
             AND type IN ('trigger', 'table') ORDER BY type DESC",
    )?;
    let objects: Vec<(String, String)> = statement
        .query_map([SOURCE_PREFIX], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    drop(statement);
    for (kind, name) in &objects {
        source.execute_batch(&format!("DROP {kind} {}", quote_name(name)))?;
    }
    Ok(objects.len())
}

/// Whether a finish has closed the source to writes.
///
/// # Errors
/// When the source cannot be read.
pub fn is_sealed(source: &Connection) -> Result<bool, FollowError> {
    let sealed = source.query_row(
        "SELECT count(*) > 0 FROM sqlite_schema
             WHERE type = 'trigger' AND substr(name, 1, length(?1)) = ?1 AND name LIKE '%_sealed_insert'",
        [SOURCE_PREFIX],
        |row| row.get(0),
    );
    Ok(sealed?)
}

/// Makes every write to the plan's tables fail with a message, within a transaction of the
/// caller's that has removed the log.
///
/// # Errors
/// When the source cannot be written.
pub fn seal(source: &Connection, plan: &Plan, message: &str) -> Result<(), FollowError> {
    let tables = recorded_tables(source, plan)?;
    for statement in triggers::seal(&tables, message) {
        source.execute_batch(&statement)?;
    }
    Ok(())
}

/// The last entry of the log.
///
/// # Errors
/// When the source cannot be read.
pub fn last_entry(source: &Connection) -> Result<i64, FollowError> {
    Ok(source.query_row(
        &format!("SELECT max(seq) FROM {}", quote_name(LOG)),
        [],
        |row| row.get(0),
    )?)
}

/// Deletes entries up to a position, but the last one, whose number must not be given out again.
///
/// # Errors
/// When the source cannot be written.
pub fn prune(source: &Connection, up_to: i64) -> Result<(), FollowError> {
    let log = quote_name(LOG);
    let delete = format!(
        "DELETE FROM {log} WHERE seq < min(?1, (SELECT min(seq) FROM {log}) + {PRUNED_AT_ONCE})"
    );
    let mut statement = source.prepare_cached(&delete)?;
    while statement.execute([up_to])? > 0 {}
    Ok(())
}

/// How much a batch may hold.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Entries of the log.
    pub entries: i64,
    /// Bytes of values; a single entry's rows may be more.
    pub bytes: usize,
}

/// Reads what changed after a position, as of one moment.
///
/// # Errors
/// When the source cannot be read, its schema changed, or the log has lost entries.
pub fn read_batch(
    source: &mut Connection,
    plan: &Plan,
    tables: &[RecordedTable],
    after: i64,
    limits: BatchLimits,
    watch: &mut schema_watch::SchemaWatch,
) -> Result<Batch, FollowError> {
    let transaction = source.transaction_with_behavior(TransactionBehavior::Deferred)?;
    read_batch_within(&transaction, plan, tables, after, limits, watch)
}

/// As [`read_batch`], within a transaction of the caller's.
///
/// # Errors
/// See [`read_batch`].
pub fn read_batch_within(
    source: &Connection,
    plan: &Plan,
    tables: &[RecordedTable],
    after: i64,
    limits: BatchLimits,
    watch: &mut schema_watch::SchemaWatch,
) -> Result<Batch, FollowError> {
    watch.check(source, plan)?;
    let log = quote_name(LOG);
    let (first, last): (i64, i64) = source.query_row(
        &format!("SELECT min(seq), max(seq) FROM {log}"),
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    if first > after.saturating_add(1) || last < after {
        return Err(FollowError::LogLost {
            position: after,
            first,
            last,
        });
    }
    let mut entries = limits.entries.min(last - after).max(0);
    loop {
        let up_to = after + entries;
        let read = read_entries(source, plan, tables, after, up_to, limits.bytes)?;
        match read {
            Some(tables) => {
                return Ok(Batch {
                    up_to,
                    behind: last - up_to,
                    entries,
                    tables,
                });
            }
            None if entries > 1 => entries = (entries / 4).max(1),
            None => {
                let tables = read_entries(source, plan, tables, after, up_to, usize::MAX)?;
                let tables = tables.unwrap_or_default();
                return Ok(Batch {
                    up_to,
                    behind: last - up_to,
                    entries,
                    tables,
                });
            }
        }
    }
}

/// None when the rows are more than the limit, in bytes.
fn read_entries(
    source: &Connection,
    plan: &Plan,
    tables: &[RecordedTable],
    after: i64,
    up_to: i64,
    limit: usize,
) -> Result<Option<Vec<TableChanges>>, FollowError> {
    let log = quote_name(LOG);
    let mut statement = source.prepare_cached(&format!(
        "SELECT DISTINCT tbl FROM {log} WHERE seq > ?1 AND seq <= ?2 AND tbl >= 0 ORDER BY tbl"
    ))?;
    let changed: Vec<u32> = statement
        .query_map([after, up_to], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut bytes = 0;
    let mut all = Vec::with_capacity(changed.len());
    for number in changed {
        let number = number as usize;
        let (Some(table), Some(table_plan)) = (tables.get(number), plan.tables.get(number)) else {
            return Err(FollowError::LogForeign { number });
        };
        let mut statement = source.prepare_cached(&changed_rows_query(table, table_plan))?;
        let (width, columns) = (table.key.len(), table_plan.columns.len());
        let mut found = statement.query([after, up_to])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let value = |at: usize| row.get_ref(at).map(StoredValue::from);
            let key: Vec<StoredValue> = (0..width).map(value).collect::<Result<_, _>>()?;
            let exists: bool = row.get(width)?;
            let values: Option<Vec<StoredValue>> = exists
                .then(|| {
                    (width + 1..width + 1 + columns)
                        .map(value)
                        .collect::<Result<_, _>>()
                })
                .transpose()?;
            let all_values = key.iter().chain(values.iter().flatten());
            bytes += all_values
                .map(|value| value.bytes() + size_of::<StoredValue>())
                .sum::<usize>();
            if bytes > limit {
                return Ok(None);
            }
            rows.push(ChangedRow { key, row: values });
        }
        all.push(TableChanges {
            table: number,
            rows,
        });
    }
    Ok(Some(all))
}

/// Keys changed between two entries of the log, each once however it is spelled there, each with
/// its row.
fn changed_rows_query(table: &RecordedTable, plan: &TablePlan) -> String {
    let width = table.key.len();
    let keys = log_columns(width);
    let group: Vec<String> = (1..=width)
        .map(|at| format!("typeof(k{at}), k{at}"))
        .collect();
    let matches: Vec<String> = table
        .key
        .iter()
        .enumerate()
        .map(|(at, key)| {
            let (name, logged) = (quote_name(&key.name), format!("k.k{}", at + 1));
            if table.rowid {
                return format!("t.{name} = {logged}");
            }
            // By the index's collation to find the row, and by the bytes to have the very key.
            format!(
                "t.{name} COLLATE {} = {logged} AND t.{name} = {logged} COLLATE BINARY \
                 AND typeof(t.{name}) = typeof({logged})",
                quote_name(&key.collation)
            )
        })
        .collect();
    let columns: Vec<String> = plan
        .columns
        .iter()
        .map(|column| format!("t.{}", quote_name(&column.source)))
        .collect();
    let wanted: Vec<String> = (1..=width).map(|at| format!("k.k{at}")).collect();
    format!(
        "SELECT {}, t.{} IS NOT NULL, {} FROM \
         (SELECT {keys} FROM {} WHERE tbl = {} AND seq > ?1 AND seq <= ?2 GROUP BY {}) AS k \
         LEFT JOIN {} AS t ON {}",
        wanted.join(", "),
        quote_name(&table.key[0].name),
        columns.join(", "),
        quote_name(LOG),
        table.number,
        group.join(", "),
        quote_name(&table.name),
        matches.join(" AND "),
    )
}

/// Logs keys once more, behind what is logged now.
///
/// # Errors
/// When the source cannot be written.
pub fn log_again(
    source: &Connection,
    table: &RecordedTable,
    keys: &[Vec<StoredValue>],
) -> Result<(), FollowError> {
    let width = table.key.len();
    let marks: Vec<String> = (2..=width + 1).map(|at| format!("?{at}")).collect();
    let mut statement = source.prepare_cached(&format!(
        "INSERT INTO {} (tbl, {}) VALUES (?1, {})",
        quote_name(LOG),
        log_columns(width),
        marks.join(", ")
    ))?;
    for key in keys {
        statement.raw_bind_parameter(1, table.number as i64)?;
        for (at, value) in key.iter().enumerate() {
            statement.raw_bind_parameter(at + 2, ToSqlOutput::Borrowed(value.as_ref()))?;
        }
        statement.raw_execute()?;
    }
    Ok(())
}

/// Logs all rowids of a table, and others. Tells how many entries that made.
///
/// # Errors
/// When the source cannot be written.
pub fn log_rowids(
    source: &mut Connection,
    table: &RecordedTable,
    others: &[i64],
) -> Result<i64, FollowError> {
    let before = last_entry(source)?;
    let savepoint = source.savepoint()?;
    savepoint.execute_batch(&format!(
        "INSERT INTO {} (tbl, k1) SELECT {}, {} FROM {}",
        quote_name(LOG),
        table.number,
        quote_name(&table.key[0].name),
        quote_name(&table.name)
    ))?;
    let mut statement = savepoint.prepare_cached(&format!(
        "INSERT INTO {} (tbl, k1) VALUES (?1, ?2)",
        quote_name(LOG)
    ))?;
    for rowid in others {
        statement.execute((table.number as i64, rowid))?;
    }
    drop(statement);
    savepoint.commit()?;
    Ok(last_entry(source)? - before)
}

/// Logs keys that are written as literals of SQLite, as the quarantine has them. One that cannot be
/// read is left where it is.
///
/// # Errors
/// When the source cannot be written.
pub fn log_literals(
    source: &Connection,
    table: &RecordedTable,
    keys: &[String],
) -> Result<(), FollowError> {
    for key in keys {
        let statement = format!(
            "INSERT INTO {} (tbl, {}) SELECT {}, {key}",
            quote_name(LOG),
            log_columns(table.key.len()),
            table.number
        );
        if let Ok(mut statement) = source.prepare(&statement) {
            statement.execute([])?;
        }
    }
    Ok(())
}
