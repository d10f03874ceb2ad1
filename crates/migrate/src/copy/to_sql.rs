//! Files that `psql` runs, instead of a connection.
//!
//! | file | holds |
//! | --- | --- |
//! | `migrate.sql` | the order: `cd DIR && psql -f migrate.sql postgres://…` |
//! | `1-tables.sql` | the schema, its helpers and the tables |
//! | `2-data.sql`, `data/*.copy` | the rows, in COPY's binary format, exact to the bit |
//! | `3-quarantine.sql` | rows that cannot be converted, into `springtide_files.quarantine` |
//! | `4-keys.sql` | keys, checks and foreign keys; rows that break them go to the quarantine |
//! | `5-rest.sql` | indexes, sequences, comments, views, triggers, statistics |
//!
//! The rows are there as a whole or not at all. What stands on them is made one by one: what PostgreSQL
//! cannot make is noted in `springtide_files.not_made`, and `psql` ends with an error that says so.

use std::path::Path;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::complete::{Step, foreign_key_steps, key_steps, plain};
use super::progress::{Counters, Event};
use super::quarantine::{COPY_HEADER, COPY_TRAILER, Refused};
use super::range::Range;
use super::read::{Limits, ReadError, TableReader};
use super::violators::{Place, orphans};
use super::{CopyError, PROGRESS_INTERVAL, refused_error};
use crate::ddl::{self, Phase};
use crate::plan::{Plan, TablePlan, quote_literal, quote_name};
use crate::snapshot::{Reader, Snapshot, SourceError};

/// The quarantine that the files make.
const QUARANTINE: &str = "springtide_files.quarantine";

/// The table of what could not be made, that the files make.
const NOT_MADE: &str = "springtide_files.not_made";

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesReport {
    /// Rows in the files of data. `psql` finds those that break a key, a check or a foreign key.
    pub rows: u64,
    /// Tables, by their names in the source, with rows that cannot be converted, and how many.
    pub quarantined: Vec<(String, u64)>,
}

/// Writes a plan and its rows as files for `psql` into a folder, which is made if need be. The file that
/// runs the others is written last: it is there only when they are complete.
///
/// # Errors
/// When the folder holds something already, the source cannot be read or a file not be written; under
/// `strict` at the first row that cannot be converted.
pub async fn write_files(
    folder: &Path,
    snapshot: &Arc<Snapshot>,
    plan: &Plan,
    strict: bool,
    events: mpsc::Sender<Event>,
    cancel: CancellationToken,
) -> Result<FilesReport, CopyError> {
    refuse_used(folder).await?;
    let data = folder.join("data");
    tokio::fs::create_dir_all(&data)
        .await
        .map_err(|error| unwritable(&data, &error))?;
    let total: u64 = plan.tables.iter().map(|table| table.rows).sum();
    let started = Event::Started {
        tables: plan.tables.len(),
        rows: total,
        bytes: plan.tables.iter().map(|table| table.bytes).sum(),
        resumed_rows: 0,
    };
    let _ = events.send(started).await;
    let counters = Arc::new(Counters::new(0, total));
    let mut reader = Some(
        snapshot
            .reader()
            .ok_or_else(|| CopyError::Internal("the snapshot has no reader left".to_owned()))?,
    );
    let mut report = FilesReport {
        rows: 0,
        quarantined: Vec::new(),
    };
    let mut copies = String::new();
    let mut quarantine = format!(
        "CREATE SCHEMA IF NOT EXISTS springtide_files;\n\
         CREATE TABLE IF NOT EXISTS {QUARANTINE} (migration bigint, table_name text NOT NULL, key text, column_name text, reason text NOT NULL, \
         storage_class text, value bytea, row text, row_hash bigint, row_number bigint);\n\
         CREATE TABLE IF NOT EXISTS {NOT_MADE} (name text NOT NULL, problem text NOT NULL, noted timestamptz NOT NULL DEFAULT now());\n"
    );
    for (index, table) in plan.tables.iter().enumerate() {
        let name = format!("data/{:04}.copy", index + 1);
        let columns: Vec<String> = table
            .copied()
            .map(|column| quote_name(&table.columns[column].target))
            .collect();
        copies.push_str(&format!(
            "-- {}\n\\copy {} ({}) FROM '{name}' WITH (FORMAT binary)\n",
            one_line(&table.source),
            plan.qualified(table),
            columns.join(", ")
        ));
        let (rows, refused) = write_table(
            &folder.join(&name),
            snapshot,
            table,
            &mut reader,
            strict,
            &Told {
                counters: &counters,
                events: &events,
                cancel: &cancel,
            },
        )
        .await?;
        for row in &refused {
            quarantine.push_str(&insert(table, row));
        }
        report.rows += rows;
        if !refused.is_empty() {
            report
                .quarantined
                .push((table.source.clone(), refused.len() as u64));
        }
        let done = Event::TableCopied {
            table: table.source.clone(),
            rows,
            quarantined: refused.len() as u64,
        };
        let _ = events.send(done).await;
        let _ = events.try_send(Event::Progress(counters.progress()));
    }

    let statements = ddl::statements(plan);
    let place = Place {
        quarantine: QUARANTINE,
        migration: 0,
        followed: false,
    };
    let mut keys = String::new();
    for table in &plan.tables {
        for step in key_steps(plan, table, place, &statements) {
            keys.push_str(&guarded(&step));
        }
    }
    let orphaned: Vec<String> = plan
        .tables
        .iter()
        .flat_map(|table| orphans(plan, table, place))
        .map(|orphans| orphans.statement)
        .collect();
    if !orphaned.is_empty() {
        // A row that goes may be another's parent: again, until none is left.
        let mut block =
            "DECLARE moved bigint; found bigint;\nBEGIN\n  LOOP\n    moved := 0;\n".to_owned();
        for statement in &orphaned {
            block.push_str(&format!(
                "    EXECUTE {} INTO found;\n    moved := moved + found;\n",
                quote_literal(statement)
            ));
        }
        block.push_str("    EXIT WHEN moved = 0;\n  END LOOP;\nEND");
        keys.push_str("-- rows whose foreign key leads nowhere\n");
        keys.push_str(&run(&block));
    }
    for table in &plan.tables {
        for step in foreign_key_steps(table, &statements) {
            keys.push_str(&guarded(&step));
        }
    }
    let mut rest = script(&statements, &|phase| {
        matches!(
            phase,
            Phase::Indexes | Phase::Sequences | Phase::Comments | Phase::Views
        )
    });
    for table in &plan.tables {
        rest.push_str(&format!("ANALYZE {};\n", plan.qualified(table)));
    }
    rest.push_str(&script(&statements, &|phase| phase == Phase::Triggers));

    let files = [
        (
            "1-tables.sql",
            script(&statements, &|phase| phase <= Phase::Tables),
        ),
        ("2-data.sql", copies),
        ("3-quarantine.sql", quarantine),
        ("4-keys.sql", keys),
        ("5-rest.sql", rest),
        ("migrate.sql", ORDER.to_owned()),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        tokio::fs::write(&path, text)
            .await
            .map_err(|error| unwritable(&path, &error))?;
    }
    Ok(report)
}

/// The file that runs the others.
const ORDER: &str = "\
-- Run this in its folder: cd FOLDER && psql -X -f migrate.sql postgres://…
-- The rows are one transaction: they are there as a whole or not at all.
\\set ON_ERROR_STOP on
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
BEGIN;
SELECT now() AS begun \\gset
\\ir 1-tables.sql
\\ir 2-data.sql
\\ir 3-quarantine.sql
\\ir 4-keys.sql
\\ir 5-rest.sql
COMMIT;
SELECT table_name, count(*) AS quarantined FROM springtide_files.quarantine GROUP BY 1 ORDER BY 1;
DO $$ DECLARE refused bigint; BEGIN
  SELECT count(*) INTO refused FROM springtide_files.quarantine;
  IF refused > 0 THEN
    RAISE WARNING 'rows in quarantine: %; see springtide_files.quarantine', refused;
  END IF;
END $$;
SELECT count(*) > 0 AS incomplete FROM springtide_files.not_made WHERE noted = :'begun' \\gset
\\if :incomplete
SELECT name AS \"not made\", problem FROM springtide_files.not_made WHERE noted = :'begun' ORDER BY 1;
DO $$ BEGIN RAISE EXCEPTION 'all rows are in place, but not all that stands on them could be made: see springtide_files.not_made'; END $$;
\\endif
";

/// The statements of some phases. An index, view or trigger holds no data: where it cannot be made the
/// rest goes on, as the copy does.
fn script(statements: &[ddl::Statement], wanted: &dyn Fn(Phase) -> bool) -> String {
    statements
        .iter()
        .filter(|statement| wanted(statement.phase))
        .map(|statement| {
            if statement.required && statement.phase != Phase::Indexes {
                format!("{};\n", statement.sql)
            } else {
                guarded(&plain(statement))
            }
        })
        .collect()
}

/// Makes a step, or notes why it cannot be made and leaves all else as it is. The server's own trouble,
/// such as a full disk, ends the whole.
fn guarded(step: &Step) -> String {
    let moved = step.violators.iter().map(|violators| &violators.statement);
    let executed: String = moved
        .chain(&step.statements)
        .map(|statement| format!("  EXECUTE {};\n", quote_literal(statement)))
        .collect();
    let name = quote_literal(&step.name);
    let block = format!(
        "BEGIN\n{executed}EXCEPTION WHEN OTHERS THEN\n  \
         IF left(SQLSTATE, 2) IN ('53', '57', '58', 'XX') THEN RAISE; END IF;\n  \
         INSERT INTO {NOT_MADE} (name, problem) VALUES ({name}, SQLERRM);\n  \
         RAISE WARNING 'not made: %: %', {name}, SQLERRM;\nEND"
    );
    format!("-- {}\n{}", one_line(&step.name), run(&block))
}

/// Runs a block, in quotes that it does not hold.
fn run(block: &str) -> String {
    let mut tag = "$springtide$".to_owned();
    while block.contains(&tag) {
        tag.insert(1, '_');
    }
    format!("DO {tag}\n{block}\n{tag};\n")
}

fn unwritable(path: &Path, error: &std::io::Error) -> CopyError {
    CopyError::Refused(format!("cannot write {}: {error}", path.display()))
}

/// Files of an earlier run, or of somebody else, are neither mixed with new ones nor overwritten.
async fn refuse_used(folder: &Path) -> Result<(), CopyError> {
    let mut inside = match tokio::fs::read_dir(folder).await {
        Ok(inside) => inside,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unwritable(folder, &error)),
    };
    match inside.next_entry().await {
        Ok(None) => Ok(()),
        Ok(Some(found)) => Err(CopyError::Refused(format!(
            "the folder {} is not empty (it holds {}); name a new or empty one, or remove what an earlier run left there",
            folder.display(),
            found.file_name().to_string_lossy()
        ))),
        Err(error) => Err(unwritable(folder, &error)),
    }
}

/// How the caller hears of the writing, and ends it.
struct Told<'a> {
    counters: &'a Arc<Counters>,
    events: &'a mpsc::Sender<Event>,
    cancel: &'a CancellationToken,
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// Writes one table's rows; answers how many, and those that cannot be converted.
async fn write_table(
    path: &Path,
    snapshot: &Arc<Snapshot>,
    table: &TablePlan,
    reader: &mut Option<Reader>,
    strict: bool,
    told: &Told<'_>,
) -> Result<(u64, Vec<Refused>), CopyError> {
    let failed = |error: std::io::Error| unwritable(path, &error);
    let file = tokio::fs::File::create(path).await.map_err(failed)?;
    let mut file = tokio::io::BufWriter::new(file);
    file.write_all(COPY_HEADER).await.map_err(failed)?;
    let table_reader = Arc::new(TableReader::new(table, false));
    let mut at = Instant::now();
    let (mut range, mut rows, mut refused) = (Range::WHOLE, 0, Vec::new());
    loop {
        let (rows_to, mut rows_from) = mpsc::channel(4);
        let taken = reader
            .take()
            .ok_or_else(|| CopyError::Internal("the reader was lost".to_owned()))?;
        let (this, that, counters) = (
            Arc::clone(&table_reader),
            range.clone(),
            Arc::clone(told.counters),
        );
        let limits = Limits {
            rows: u64::MAX,
            bytes: u64::MAX,
            strict,
        };
        let reading = tokio::task::spawn_blocking(move || {
            let read = this.read_chunk(&taken, &that, limits, &counters, &rows_to);
            (taken, read)
        });
        while let Some(bytes) = rows_from.recv().await {
            if told.cancel.is_cancelled() {
                // The reader ends by itself when nobody takes what it reads.
                return Err(CopyError::Refused(
                    "interrupted: the files are not complete".to_owned(),
                ));
            }
            if at.elapsed() >= PROGRESS_INTERVAL {
                at = Instant::now();
                let progress = told.counters.progress();
                let _ = told.events.try_send(Event::Progress(progress));
            }
            file.write_all(&bytes).await.map_err(failed)?;
        }
        let (taken, read) = reading
            .await
            .map_err(|error| CopyError::Internal(error.to_string()))?;
        *reader = Some(taken);
        let read = read.map_err(|error| match error {
            ReadError::Source(error) => SourceError::explain(snapshot.file(), &error).into(),
            ReadError::Refused(row) => refused_error(&table.source, &row),
            ReadError::Abandoned => CopyError::Internal("the reader stopped by itself".to_owned()),
        })?;
        rows += read.rows;
        refused.extend(read.refused);
        match read.reached {
            Some(reached) => range.reached = Some(reached),
            None => break,
        }
    }
    file.write_all(COPY_TRAILER).await.map_err(failed)?;
    file.flush().await.map_err(failed)?;
    Ok((rows, refused))
}

/// The statement that notes a row in the quarantine.
fn insert(table: &TablePlan, row: &Refused) -> String {
    let text = |text: Option<&str>| text.map_or("NULL".to_owned(), quote_literal);
    let value = row.value.as_ref().map_or("NULL".to_owned(), |bytes| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("'\\x{digits}'")
    });
    let number = row
        .row_number
        .map_or("NULL".to_owned(), |number| number.to_string());
    format!(
        "INSERT INTO {QUARANTINE} (migration, table_name, key, column_name, reason, storage_class, value, row, row_number) VALUES (0, {}, {}, {}, {}, {}, {value}, {}, {number});\n",
        quote_literal(&table.source),
        quote_literal(&row.key),
        text(row.column.as_deref()),
        quote_literal(&row.reason),
        text(row.storage_class),
        quote_literal(&row.row),
    )
}
