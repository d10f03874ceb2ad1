//! Writers of a SQLite database at full speed, with a log by which all they did can be done again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rusqlite::Connection;

use super::postgres::Database;
use super::rows;

/// Tables with every way in which SQLite changes rows: cascades, REPLACE over unique columns, rowid
/// changes, a table without a rowid and one whose rowid is no column.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE turn (id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
    INSERT INTO turn VALUES (1, 0);
    CREATE TABLE account (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, balance INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE entry (id INTEGER PRIMARY KEY, account INTEGER NOT NULL
        REFERENCES account ON DELETE CASCADE ON UPDATE CASCADE, amount REAL NOT NULL, note TEXT);
    CREATE INDEX entry_account ON entry (account);
    CREATE TABLE event (at INTEGER, what TEXT, slot INTEGER UNIQUE);
    CREATE TABLE place (region TEXT, code INTEGER, label TEXT UNIQUE, PRIMARY KEY (region, code)) WITHOUT ROWID;
    CREATE TABLE tally (account INTEGER PRIMARY KEY, entries INTEGER NOT NULL);
    CREATE TRIGGER tally_entry AFTER INSERT ON entry BEGIN
        INSERT INTO tally VALUES (NEW.account, 1) ON CONFLICT (account) DO UPDATE SET entries = entries + 1;
    END;";

/// Each table with a query for its rows and the letters of their kinds, see `rows::of_target`.
pub(crate) const CONTENTS: [(&str, &str, &str); 6] = [
    ("turn", "SELECT id, n FROM turn", "ii"),
    ("account", "SELECT id, name, balance FROM account", "iti"),
    (
        "entry",
        "SELECT id, account, amount, note FROM entry",
        "iirt",
    ),
    ("event", "SELECT at, what, slot FROM event", "iti"),
    ("place", "SELECT region, code, label FROM place", "tit"),
    ("tally", "SELECT account, entries FROM tally", "ii"),
];

/// Checks that the target holds what this source holds, row by row.
pub(crate) async fn expect_equal(database: &Database, source: &Connection) {
    let client = rows::connect(database).await;
    for (table, query, kinds) in CONTENTS {
        let (expected, found) = (
            rows::of_source(source, query),
            rows::of_target(&client, query, kinds).await,
        );
        assert_eq!(found.len(), expected.len(), "rows of {table}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "a row of {table}");
        }
    }
}

/// A transaction that was acknowledged: its turn among all, and its statements.
pub(crate) type Done = (i64, Vec<String>);

/// Makes the database, in WAL mode, with some rows.
pub(crate) fn create(path: &Path, rows: u32) {
    let source = Connection::open(path).expect("opens");
    source
        .pragma_update(None, "journal_mode", "wal")
        .expect("WAL");
    source.execute_batch(SCHEMA).expect("the schema is right");
    source
        .execute_batch(&format!(
            "BEGIN;
             WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
             INSERT INTO account (name, balance) SELECT 'account ' || n, n * 10 FROM c;
             WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows} * 4)
             INSERT INTO entry (account, amount, note) SELECT n % {rows} + 1, n / 7.0, 'note ' || n FROM c;
             WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
             INSERT INTO event SELECT n, 'event ' || n, n FROM c;
             WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
             INSERT INTO place SELECT 'r' || (n % 17), n, 'place ' || n FROM c;
             COMMIT;"
        ))
        .expect("the rows are right");
}

/// Writers at work.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    threads: Vec<JoinHandle<(Vec<Done>, Option<String>)>>,
}

impl Writers {
    /// Starts writers, each from its own seed.
    pub(crate) fn start(path: &Path, count: u64, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(0));
        let start = |number| {
            let path: PathBuf = path.to_owned();
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            std::thread::spawn(move || write(&path, seed ^ (number << 32), &stop, &written))
        };
        Self {
            threads: (0..count).map(start).collect(),
            stop: Arc::clone(&stop),
            written: Arc::clone(&written),
        }
    }

    /// How many transactions were acknowledged so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Ends the writers; tells what they did in order, and with which words each was refused.
    pub(crate) fn end(self) -> (Vec<Done>, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut all, mut refusals) = (Vec::new(), Vec::new());
        for thread in self.threads {
            let (done, refusal) = thread.join().expect("the writer did not panic");
            all.extend(done);
            refusals.extend(refusal);
        }
        all.sort();
        (all, refusals)
    }
}

/// Writes until told to stop or refused.
fn write(
    path: &Path,
    seed: u64,
    stop: &AtomicBool,
    written: &AtomicU64,
) -> (Vec<Done>, Option<String>) {
    let writer = Connection::open(path).expect("opens");
    writer
        .busy_timeout(std::time::Duration::from_secs(60))
        .expect("set");
    writer
        .pragma_update(None, "foreign_keys", true)
        .expect("set");
    writer
        .pragma_update(None, "synchronous", "off")
        .expect("set");
    let mut random = StdRng::seed_from_u64(seed);
    let mut done = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let statements: Vec<String> = (0..random.random_range(1..4))
            .map(|_| statement(&mut random))
            .collect();
        match transaction(&writer, &statements) {
            Ok(turn) => {
                done.push((turn, statements));
                written.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.contains("UNIQUE") || error.contains("FOREIGN KEY") => {}
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}

/// One transaction; its turn, once it is acknowledged.
pub(crate) fn transaction(writer: &Connection, statements: &[String]) -> Result<i64, String> {
    let run = || -> rusqlite::Result<i64> {
        writer.execute_batch("BEGIN IMMEDIATE")?;
        let turn = writer.query_row("UPDATE turn SET n = n + 1 RETURNING n", [], |row| {
            row.get(0)
        })?;
        for statement in statements {
            writer.execute_batch(statement)?;
        }
        writer.execute_batch("COMMIT")?;
        Ok(turn)
    };
    run().map_err(|error| {
        if !writer.is_autocommit() {
            let _ = writer.execute_batch("ROLLBACK");
        }
        error.to_string()
    })
}

fn statement(random: &mut StdRng) -> String {
    let (a, b, c) = (
        random.random_range(1..400),
        random.random_range(1..400),
        random.random_range(0..50_000),
    );
    match random.random_range(0..16) {
        0 | 1 => format!(
            "INSERT INTO account (name, balance) VALUES ('account {a}', {c}) ON CONFLICT (name) DO UPDATE SET balance = balance + 1"
        ),
        2 => format!("REPLACE INTO account (name, balance) VALUES ('account {a}', {c})"),
        3 => {
            format!("UPDATE OR REPLACE account SET name = 'account {b}' WHERE name = 'account {a}'")
        }
        4 => format!("DELETE FROM account WHERE id = {a}"),
        5 => format!("UPDATE OR REPLACE account SET id = {c} WHERE id = {a}"),
        6 | 7 => format!(
            "INSERT INTO entry (account, amount, note) SELECT id, {c} / 9.0, 'n {b}' FROM account WHERE id > {a} LIMIT 2"
        ),
        8 => format!("UPDATE entry SET amount = amount + 0.5, note = NULL WHERE id = {c}"),
        9 => format!("DELETE FROM entry WHERE id = {c}"),
        10 => format!("INSERT OR REPLACE INTO event VALUES ({c}, 'e {b}', {a})"),
        11 => format!("UPDATE OR REPLACE event SET slot = {b} WHERE slot = {a}"),
        12 => format!("UPDATE OR REPLACE event SET rowid = {c} WHERE slot = {a}"),
        13 => format!(
            "INSERT OR REPLACE INTO place VALUES ('r{}', {a}, 'place {b}')",
            c % 17
        ),
        14 => format!(
            "UPDATE OR REPLACE place SET code = {b}, region = 'r{}' WHERE label = 'place {a}'",
            c % 17
        ),
        _ => format!("DELETE FROM event WHERE slot = {a}"),
    }
}

/// Does again, in another database, what the writers did.
pub(crate) fn do_again(path: &Path, rows: u32, all: &[Done]) -> Connection {
    create(path, rows);
    let again = Connection::open(path).expect("opens");
    again
        .pragma_update(None, "foreign_keys", true)
        .expect("set");
    again
        .pragma_update(None, "synchronous", "off")
        .expect("set");
    for (expected, statements) in all {
        let turn =
            transaction(&again, statements).expect("what was acknowledged can be done again");
        assert_eq!(
            turn, *expected,
            "every acknowledged transaction is in the log"
        );
    }
    again
}
