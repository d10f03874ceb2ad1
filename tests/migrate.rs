//! `tide migrate` as a user runs it: a SQLite file becomes PostgreSQL, nothing is lost silently, and
//! what is wrong is a sentence with the right exit status.

// Every test uses a part of it.
#[path = "../crates/migrate/tests/support/postgres.rs"]
mod postgres;
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rusqlite::Connection;
use springtide_migrate::torture;

use postgres::{Database, PASSWORD_IN_URL, USER};
use support::process::{Outcome, run};

/// A step that takes longer hangs.
const BOUND: Duration = Duration::from_secs(180);

/// `tide migrate` with these arguments, in a folder.
fn migrate(folder: &Path, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tide"));
    command
        .arg("migrate")
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder);
    for (name, _) in std::env::vars_os().filter(|(name, _)| {
        name.to_str()
            .is_some_and(|name| name.starts_with("PG") && name != "PGTZ")
    }) {
        command.env_remove(name);
    }
    run(command, BOUND)
}

#[track_caller]
fn expect(outcome: &Outcome, status: i32, said: &[&str]) {
    assert_eq!(outcome.status, Some(status), "{outcome:#?}");
    outcome.expect_said(said);
}

/// A folder with `app.db` in it, made by these statements.
fn source(statements: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("app.db");
    let connection = Connection::open(&file).expect("a file");
    connection
        .execute_batch(statements)
        .expect("the statements are right");
    (folder, file)
}

/// A folder with the torture database as `app.db`.
fn tortured() -> tempfile::TempDir {
    let (folder, file) = source("");
    torture::fill(&Connection::open(file).expect("it opens")).expect("it is filled");
    folder
}

/// All that `pg_dump` tells of a schema, in an order that does not depend on the rows' places.
fn dump(database: &Database, schema: &str) -> Vec<String> {
    let programs = postgres::programs().expect("there is a server");
    let mut command = Command::new(programs.join("pg_dump"));
    command
        .arg(format!("--schema={schema}"))
        .arg(format!("--dbname={}", database.socket_url()));
    let text = run(command, BOUND).expect_success();
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

fn objects_of(output: &str) -> Vec<serde_json::Value> {
    output
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

const SHOP: &str = "
    PRAGMA journal_mode = wal;
    CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, since INTEGER);
    CREATE TABLE purchase (id INTEGER PRIMARY KEY AUTOINCREMENT, customer INTEGER NOT NULL REFERENCES customer ON DELETE CASCADE, price REAL);
    INSERT INTO customer VALUES (1, 'Ada', 1700000000), (2, 'Grace', 1700000001);
    INSERT INTO purchase (customer, price) VALUES (1, 0.1), (1, 2.5), (2, 1e300);
";

#[test]
fn a_plan_is_printed_for_people_programs_and_psql_and_changes_nothing() {
    let folder = tortured();
    let before = std::fs::read(folder.path().join("app.db")).expect("it is read");
    let plan = migrate(folder.path(), &["plan", "sqlite:app.db"]);
    expect(
        &plan,
        0,
        &[
            "reals",
            "double precision",
            "Rows that will go to quarantine",
            "What does not come across",
            "it is a virtual table of",
        ],
    );
    let dry = migrate(folder.path(), &["sqlite:app.db", "--dry-run"]);
    assert_eq!(dry.expect_success(), plan.out);
    let json = migrate(folder.path(), &["plan", "sqlite:app.db", "-o", "json"]).expect_success();
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let tables = value["tables"].as_array().expect("tables");
    for name in torture::WHOLE {
        assert!(tables.iter().any(|table| table["source"] == name), "{name}");
    }
    assert!(value["doubts"].as_array().is_some_and(|doubts| {
        doubts
            .iter()
            .any(|doubt| doubt["kind"] == "quarantine" && doubt["table"] == "bad_text")
    }));
    let ddl = migrate(folder.path(), &["sqlite:app.db", "--ddl"]).expect_success();
    assert_eq!(
        ddl,
        migrate(folder.path(), &["plan", "sqlite:app.db", "--ddl"]).expect_success()
    );
    let after = std::fs::read(folder.path().join("app.db")).expect("it is read");
    assert!(before == after, "the source is as it was");
    let Some(database) = postgres::database() else {
        return;
    };
    let script = folder.path().join("ddl.sql");
    std::fs::write(&script, ddl).expect("it is written");
    let mut psql = database.psql();
    psql.arg("-f").arg(&script);
    run(psql, BOUND).expect_success();
    assert_eq!(database.sql("SELECT count(*) FROM reals"), "0");
}

#[test]
fn an_utf16_source_is_told_of() {
    let (folder, _) = source("PRAGMA encoding = 'UTF-16le'; CREATE TABLE note (text TEXT)");
    expect(
        &migrate(folder.path(), &["plan", "sqlite:app.db"]),
        0,
        &["UTF-16le", "surrogate"],
    );
}

#[test]
fn the_bare_form_moves_everything_or_says_what_is_in_quarantine() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tortured();
    let url = database.url();
    let moved = migrate(folder.path(), &["sqlite:app.db", &url]);
    expect(&moved, 3, &["verified:", "are in quarantine"]);
    let expected: u64 = torture::QUARANTINED.iter().map(|(_, rows)| rows).sum();
    assert_eq!(
        database.sql("SELECT count(*) FROM springtide_migrate.quarantine"),
        expected.to_string()
    );
    for (table, rows) in torture::QUARANTINED {
        let word = if rows == 1 { "row" } else { "rows" };
        moved.expect_said(&[&format!("quarantined: {rows} {word} of {table}")]);
    }
    assert_eq!(
        database.sql(
            "SELECT count(*) FROM springtide_migrate.quarantine WHERE reason = '' OR key IS NULL"
        ),
        "0"
    );

    // Each step again, alone.
    expect(
        &migrate(folder.path(), &["copy", "sqlite:app.db", &url]),
        3,
        &["copied already"],
    );
    let verified = migrate(
        folder.path(),
        &["verify", "sqlite:app.db", &url, "-o", "json"],
    );
    assert_eq!(verified.status, Some(3), "{verified:#?}");
    assert!(!objects_of(&verified.out).is_empty());
    expect(
        &migrate(
            folder.path(),
            &["verify", "sqlite:app.db", &url, "--sample", "50%"],
        ),
        3,
        &["read whole, since it has no integer key"],
    );
    expect(
        &migrate(folder.path(), &["status", "sqlite:app.db", &url]),
        0,
        &["phase: copied", "quarantined: 4 rows of bad_text"],
    );

    // One value is changed behind its back: found, by row and column.
    database.sql("UPDATE reals SET value = value + 1 WHERE id = 1");
    expect(
        &migrate(folder.path(), &["verify", "sqlite:app.db", &url]),
        1,
        &["reals: differs", "value", "the target differs"],
    );
    // Into another schema of the same database, and what is in the way there is told.
    let part = [
        "sqlite:app.db",
        &url,
        "--schema",
        "part",
        "--tables",
        "reals,dates",
    ];
    expect(&migrate(folder.path(), &part), 0, &["verified:"]);
    assert_eq!(database.sql("SELECT count(*) > 0 FROM part.dates"), "t");
    expect(
        &migrate(
            folder.path(),
            &["sqlite:app.db", &url, "--on-existing", "replace"],
        ),
        3,
        &["verified:"],
    );
}

#[test]
fn what_is_in_the_way_is_kept_unless_told_otherwise() {
    let Some(database) = postgres::database() else {
        return;
    };
    database.sql("CREATE TABLE customer (id bigint); INSERT INTO customer VALUES (77)");
    let (folder, _) = source(SHOP);
    let url = database.socket_url();
    expect(
        &migrate(folder.path(), &["sqlite:app.db", &url]),
        1,
        &[
            "the target has a table of the plan already",
            "customer",
            "--on-existing",
        ],
    );
    assert_eq!(database.sql("SELECT id FROM customer"), "77");
    let replaced = [
        "sqlite:app.db",
        &url,
        "--on-existing",
        "replace",
        "-o",
        "json",
    ];
    let replaced = migrate(folder.path(), &replaced).expect_success();
    let events: Vec<String> = objects_of(&replaced)
        .iter()
        .filter_map(|event| event["event"].as_str().map(str::to_owned))
        .collect();
    assert!(
        ["planned", "copied"]
            .iter()
            .all(|name| events.iter().any(|event| event == name)),
        "{events:?}"
    );
    assert_eq!(
        database.sql("SELECT id, name FROM customer ORDER BY id"),
        "1|Ada\n2|Grace"
    );
}

#[test]
fn a_copy_that_was_not_finished_is_not_compared_but_said_to_be_unfinished() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (folder, _) = source(
        "PRAGMA foreign_keys = OFF;
         CREATE TABLE sound (id INTEGER PRIMARY KEY);
         INSERT INTO sound VALUES (1), (2), (3);
         CREATE TABLE mixed (id INTEGER PRIMARY KEY, word TEXT, owner INTEGER REFERENCES sound (id));
         INSERT INTO mixed VALUES (1, CAST(x'ff' AS TEXT), 1), (2, 'orphan', 9);",
    );
    let url = database.url();
    let step = |name, more: &[&str]| {
        let arguments = [&[name, "sqlite:app.db", url.as_str()], more].concat();
        migrate(folder.path(), &arguments)
    };
    // The larger table comes first, so what is copied by the time of the bad row is known.
    let until_bad_row = ["--strict", "--jobs", "1"];
    let stopped = ["--strict stops at the first such row"];
    let reached = "of 5 rows 3 are copied, 0 in quarantine, 2 not copied yet";
    expect(&step("copy", &until_bad_row), 1, &stopped);
    let unfinished = ["is not finished", reached, "go on with `tide migrate copy`"];
    let verified = step("verify", &[]);
    expect(&verified, 1, &unfinished);
    assert!(!verified.err.contains("differ"), "{verified:#?}");
    expect(&step("finish", &[]), 1, &unfinished);
    let phase = "phase: copying, not finished: unless it runs now, go on with `tide migrate copy`";
    expect(&step("status", &[]), 0, &[phase, reached]);

    // The numbers of the copy, of its verification and of the status are the same, and add up.
    let sum = "3 rows, and 2 in quarantine: 5 rows in the source";
    let equal = "3 rows in 2 tables are equal, 2 are in quarantine: 5 rows in the source";
    expect(&step("copy", &[]), 3, &[&format!("copied: {sum}")]);
    expect(&step("verify", &[]), 3, &[&format!("verified: {equal}")]);
    expect(
        &step("status", &[]),
        0,
        &["phase: copied", &format!("rows: {sum}")],
    );

    // One that records changes is finished by `follow`, since only that knows where they begin.
    let again = [&until_bad_row[..], &["--on-existing", "replace"]].concat();
    expect(&step("follow", &again), 1, &stopped);
    let unfinished = [
        "is not finished",
        reached,
        "go on with `tide migrate follow`",
    ];
    expect(&step("verify", &[]), 1, &unfinished);
    expect(
        &step("follow", &["--until-current"]),
        3,
        &["copied:", "the target is current"],
    );
    let ignored = [
        "--until-current",
        "--strict",
        "--jobs",
        "2",
        "--on-existing",
        "append",
    ];
    expect(
        &step("follow", &ignored),
        3,
        &["without effect: --strict, --jobs, --on-existing append: the copy is made"],
    );
    expect(
        &step("copy", &["--follow"]),
        3,
        &["copied already, and its changes are followed"],
    );
}

#[test]
fn rows_that_a_table_had_of_its_own_are_told_when_others_are_added_to_it() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (folder, _) = source(
        "CREATE TABLE filled (id INTEGER PRIMARY KEY); INSERT INTO filled VALUES (1), (2);
         CREATE TABLE bare (id INTEGER PRIMARY KEY); INSERT INTO bare VALUES (1);",
    );
    database.sql(
        "CREATE TABLE filled (id bigint); INSERT INTO filled VALUES (7); CREATE TABLE bare (id bigint)",
    );
    let url = database.url();
    let whole = ["sqlite:app.db", &url, "--on-existing", "append"];
    let appended = migrate(folder.path(), &whole);
    expect(
        &appended,
        1,
        &[
            "table filled has rows of its own, which stay",
            "filled: differs: 2 rows in the source, 3 in the target",
            "it had rows before the copy added to it",
            "the target differs from the source: rows were added to tables that had some of their own",
        ],
    );
    assert!(!appended.err.contains("bare has rows"), "{appended:#?}");
}

#[test]
fn what_is_replaced_is_replaced_whole() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (folder, _) = source(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, price REAL);
         CREATE TABLE log (price REAL);
         CREATE TRIGGER noted AFTER INSERT ON item BEGIN INSERT INTO log VALUES (new.price); END;
         INSERT INTO item VALUES (1, 2.5);",
    );
    let url = database.url();
    let whole = |more: &[&str]| {
        let arguments = [&["sqlite:app.db", url.as_str()], more].concat();
        migrate(folder.path(), &arguments)
    };
    let step = |name, more: &[&str]| {
        let arguments = [&[name, "sqlite:app.db", url.as_str()], more].concat();
        migrate(folder.path(), &arguments)
    };
    expect(&whole(&[]), 0, &["verified:"]);
    // The functions of triggers go with the tables.
    expect(&whole(&["--on-existing", "replace"]), 0, &["verified:"]);
    expect(&step("rollback", &["--drop-target"]), 0, &["removed"]);
    expect(&whole(&[]), 0, &["verified:"]);
    database.sql("INSERT INTO item VALUES (2, 7.5)");
    assert_eq!(
        database.sql("SELECT string_agg(price::text, ',') FROM log"),
        "2.5,7.5"
    );
    expect(&step("rollback", &["--drop-target"]), 0, &["removed"]);
    // What cannot be appended to can be replaced.
    database.sql("CREATE TABLE item (name text)");
    expect(&whole(&["--on-existing", "append"]), 1, &["column"]);
    expect(&whole(&["--on-existing", "replace"]), 0, &["verified:"]);
    expect(
        &whole(&["--schema", "springtide_migrate"]),
        2,
        &["choose another with --schema"],
    );
}

#[test]
fn a_target_takes_over_without_rows_only_where_that_is_wanted() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (folder, file) = source(
        "CREATE TABLE event (id INTEGER PRIMARY KEY, active BOOLEAN, at DATETIME DEFAULT CURRENT_TIMESTAMP);
         INSERT INTO event VALUES (1, 1, '2024-01-01 10:00:00.000000'), (2, 0, '2024-01-01 10:00:00.123456');",
    );
    let url = database.url();
    let step = |name, more: &[&str]| {
        let arguments = [&[name, "sqlite:app.db", url.as_str()], more].concat();
        migrate(folder.path(), &arguments)
    };
    let writer = Connection::open(&file).expect("it opens");
    expect(&step("follow", &["--until-current"]), 0, &["current"]);
    // A default spells its time otherwise: it is the same kind of moment.
    writer
        .execute_batch("INSERT INTO event (active) VALUES (1)")
        .expect("writes");
    expect(&step("follow", &["--until-current"]), 0, &["current"]);
    writer
        .execute_batch("INSERT INTO event (active) VALUES ('maybe')")
        .expect("writes");
    let quarantined = ["in quarantine"];
    expect(&step("follow", &["--until-current"]), 3, &quarantined);
    expect(&step("follow", &["--until-current"]), 3, &quarantined);
    expect(
        &step("finish", &["--on-finish", "touch switched"]),
        3,
        &["1 of event", "--accept-quarantine"],
    );
    assert!(!folder.path().join("switched").exists(), "nothing switched");
    writer
        .execute_batch("INSERT INTO event (active) VALUES (0)")
        .expect("writers go on");
    expect(
        &step("finish", &["--accept-quarantine"]),
        3,
        &["finished:", "in quarantine"],
    );
    assert_eq!(
        database.sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM event"),
        "1,2,3,5"
    );
    // Nor does the source open by itself where nobody asks the target.
    let rollback = ["rollback", "sqlite:app.db"];
    let refused = migrate(folder.path(), &rollback);
    expect(&refused, 1, &["the migration is finished", "--unseal"]);
    writer
        .execute_batch("DELETE FROM event")
        .expect_err("it is sealed");
    let opened = migrate(folder.path(), &[&rollback[..], &["--unseal"]].concat());
    expect(&opened, 0, &["removed"]);
    writer
        .execute_batch("DELETE FROM event")
        .expect("it is open again");
}

#[test]
fn a_source_with_writers_is_followed_and_finished() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (folder, file) = source(SHOP);
    let url = database.url();
    let ends = ["sqlite:app.db", url.as_str()];
    let step = |name: &str, more: &[&str]| {
        migrate(folder.path(), &[&[name], ends.as_slice(), more].concat())
    };
    expect(
        &step("follow", &["--until-current"]),
        0,
        &["copied: 5 rows", "the target is current", "changes wait"],
    );
    let writer = Connection::open(&file).expect("it opens");
    writer
        .execute_batch(
            "PRAGMA foreign_keys = ON;
             INSERT INTO purchase (customer, price) VALUES (2, 7.25);
             REPLACE INTO customer VALUES (3, 'Linus', NULL), (4, 'Edsger', 5);
             DELETE FROM customer WHERE id = 1",
        )
        .expect("writers go on");
    expect(
        &step("status", &[]),
        0,
        &["phase: following", "changes wait"],
    );
    expect(
        &step("follow", &["--until-current", "-o", "json"]),
        0,
        &["\"current\""],
    );
    assert_eq!(
        database.sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM customer"),
        "2,3,4"
    );
    expect(&step("verify", &[]), 0, &["verified:"]);

    // The command fails: nothing has happened.
    expect(
        &step("finish", &["--on-finish", "exit 9"]),
        1,
        &["`exit 9` failed", "the cut-over was undone"],
    );
    writer
        .execute_batch("INSERT INTO purchase (customer, price) VALUES (3, 8.5)")
        .expect("writers go on");

    expect(
        &step(
            "finish",
            &["--on-finish", "echo switched > switched; exit 0"],
        ),
        0,
        &[
            "the source is locked",
            "running: echo switched",
            "finished:",
            "the source refuses writes",
        ],
    );
    assert_eq!(
        std::fs::read_to_string(folder.path().join("switched")).expect("it ran"),
        "switched\n"
    );
    let refused = writer.execute_batch("DELETE FROM customer WHERE id = 2");
    let refused = refused.expect_err("it is sealed").to_string();
    assert!(refused.to_lowercase().contains("postgresql"), "{refused}");
    assert_eq!(
        database.sql("SELECT string_agg(id || ':' || customer || ':' || price, ',' ORDER BY id) FROM purchase WHERE id > 3"),
        "4:2:7.25,5:3:8.5"
    );
    assert_eq!(
        database.sql("INSERT INTO purchase (customer) VALUES (4) RETURNING id"),
        "6"
    );
    assert!(
        database
            .try_sql("INSERT INTO purchase (customer) VALUES (1)")
            .is_err(),
        "the foreign key holds"
    );

    expect(
        &step("rollback", &[]),
        1,
        &["the migration is finished", "--unseal"],
    );
    expect(&step("rollback", &["--unseal"]), 0, &["removed"]);
    writer
        .execute_batch("DELETE FROM customer WHERE id = 2")
        .expect("it is open again");
}

#[test]
fn a_rollback_removes_every_trace() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (folder, file) = source(SHOP);
    let url = database.url();
    let schema = || {
        let source = Connection::open(&file).expect("it opens");
        let mut statement = source
            .prepare("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1")
            .expect("a query");
        let rows = statement.query_map([], |row| row.get::<_, String>(0));
        rows.expect("rows")
            .collect::<Result<Vec<_>, _>>()
            .expect("text")
    };
    let before = schema();
    expect(
        &migrate(folder.path(), &["copy", "sqlite:app.db", &url, "--follow"]),
        0,
        &["copied: 5 rows"],
    );
    assert_ne!(schema(), before, "changes are recorded");
    expect(
        &migrate(
            folder.path(),
            &["rollback", "sqlite:app.db", &url, "--drop-target"],
        ),
        0,
        &["removed", "2 tables from the target"],
    );
    assert_eq!(schema(), before);
    assert_eq!(
        database.sql("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"),
        "0"
    );
    // Without the target, which may be gone.
    expect(
        &migrate(folder.path(), &["copy", "sqlite:app.db", &url, "--follow"]),
        0,
        &["copied: 5 rows"],
    );
    expect(
        &migrate(folder.path(), &["rollback", "sqlite:app.db"]),
        0,
        &["removed"],
    );
    assert_eq!(schema(), before);
    expect(
        &migrate(folder.path(), &["finish", "sqlite:app.db", &url]),
        1,
        &["tide: "],
    );
}

#[test]
fn files_for_psql_give_the_same_database() {
    let (Some(connected), Some(from_files)) = (postgres::database(), postgres::database()) else {
        return;
    };
    let folder = tortured();
    let written = migrate(folder.path(), &["sqlite:app.db", "--to-sql", "the files"]);
    expect(
        &written,
        3,
        &[
            "quarantined: 4 rows of bad_text",
            "cd 'the files' && psql -X -f migrate.sql",
        ],
    );
    let mut psql = from_files.psql();
    psql.args(["-f", "migrate.sql"])
        .current_dir(folder.path().join("the files"));
    let outcome = run(psql, BOUND);
    let refused: u64 = torture::QUARANTINED.iter().map(|(_, rows)| rows).sum();
    outcome.expect_said(&[&format!("rows in quarantine: {refused}; see")]);
    let said = outcome.expect_success();
    for (table, rows) in torture::QUARANTINED {
        assert!(
            support::process::contains(&said, &format!("{table} | {rows}")),
            "{table}: {said}"
        );
    }

    let url = connected.url();
    expect(
        &migrate(folder.path(), &["sqlite:app.db", &url]),
        3,
        &["verified:"],
    );
    let (one, other) = (dump(&connected, "public"), dump(&from_files, "public"));
    let only = |of: &[String], other: &[String]| {
        of.iter()
            .filter(|line| !other.contains(line))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert!(
        one == other,
        "only connected: {:#?}, only from files: {:#?}",
        only(&one, &other),
        only(&other, &one)
    );
    let quarantine = |schema: &str| {
        format!(
            "SELECT table_name, key, column_name, reason, storage_class, value, row FROM {schema}.quarantine ORDER BY 1, 2, 3, 4"
        )
    };
    assert_eq!(
        from_files.sql(&quarantine("springtide_files")),
        connected.sql(&quarantine("springtide_migrate"))
    );

    // What is there is not mixed with something else.
    expect(
        &migrate(folder.path(), &["sqlite:app.db", "--to-sql", "the files"]),
        1,
        &["the folder the files is not empty"],
    );
    expect(
        &migrate(folder.path(), &["sqlite:app.db", "--to-sql", "app.db"]),
        1,
        &["cannot write app.db"],
    );
    expect(
        &migrate(
            folder.path(),
            &["sqlite:app.db", "--to-sql", "strict", "--strict"],
        ),
        1,
        &["--strict stops at the first such row"],
    );
    assert!(!folder.path().join("strict/migrate.sql").exists());
    expect(
        &migrate(folder.path(), &["sqlite:app.db", &url, "--to-sql", "more"]),
        2,
        &["--to-sql <DIR>", "cannot be used with"],
    );
    let json = migrate(
        folder.path(),
        &[
            "sqlite:app.db",
            "--to-sql",
            "more",
            "--tables",
            "reals",
            "-o",
            "json",
        ],
    )
    .expect_success();
    assert!(
        objects_of(&json)
            .iter()
            .any(|event| event["event"] == "written"
                && event["run"] == "cd more && psql -X -f migrate.sql")
    );
}

#[test]
fn what_is_wrong_with_the_source_or_the_words_is_a_sentence() {
    let (folder, _) = source(SHOP);
    std::fs::write(
        folder.path().join("letter.txt"),
        "Dear reader, ".repeat(100),
    )
    .expect("a file");
    let nowhere = "postgres://nobody@127.0.0.1:1/none";
    let cases: &[(&[&str], i32, &[&str])] = &[
        (
            &["sqlite:absent.db", nowhere],
            1,
            &["tide: there is no file absent.db; check the path behind sqlite:"],
        ),
        (
            &["plan", "sqlite:letter.txt"],
            1,
            &["letter.txt: it is not a SQLite database, or it is encrypted"],
        ),
        (&["sqlite:.", nowhere], 1, &["tide: "]),
        (
            &["mysql://host/app", nowhere],
            2,
            &["cannot read the source 'mysql://host/app': write sqlite:FILE"],
        ),
        (
            &["sqlite:app.db", "mysql://host/app"],
            2,
            &["tide: 'mysql://host/app' is no URL of PostgreSQL; write postgres://"],
        ),
        (
            &["copy", "app.db", "sqlite:other.db"],
            2,
            &["'sqlite:other.db' is no URL of PostgreSQL"],
        ),
        (&["sqlite:", nowhere], 2, &["write sqlite:FILE"]),
        (
            &["frob", "sqlite:app.db", nowhere],
            2,
            &[
                "there is no step 'frob'; the steps are plan, copy, verify, follow, finish, rollback, status",
            ],
        ),
        (
            &["sqlite:app.db", nowhere, "more"],
            2,
            &["'more' is one argument too many"],
        ),
        (
            &["plan", "sqlite:app.db", "--tables", ""],
            2,
            &["a value is required for '--tables <NAMES>'"],
        ),
        (
            &["sqlite:app.db", nowhere, "--schema", ""],
            2,
            &["a value is required for '--schema <NAME>'"],
        ),
        (
            &[
                "plan",
                "sqlite:app.db",
                "--tables",
                "customer",
                "--exclude",
                "customer",
            ],
            2,
            &["leave no table to copy; the tables are: customer, purchase"],
        ),
        (
            &[
                "plan",
                "sqlite:app.db",
                "--cast",
                "customer.since=date",
                "--cast",
                "customer.since=bigint",
            ],
            2,
            &["customer.since is cast twice, to date and to bigint"],
        ),
        (
            &["plan", "sqlite:app.db", "--cast", "customer.age=integer"],
            2,
            &["the cast of customer.age fits no column", "id, name, since"],
        ),
        (
            &["plan", "sqlite:app.db", "--cast", "customer.since=instant"],
            2,
            &["'instant' is none of boolean,"],
        ),
        (
            &["plan", "sqlite:app.db", "--cast", "since"],
            2,
            &["no point follows the table"],
        ),
        (
            &["plan", "sqlite:app.db", "--tables", "costumer"],
            2,
            &["there is no table costumer", "customer, purchase"],
        ),
        (&["sqlite:app.db"], 2, &["TARGET"]),
        (&[], 2, &["SOURCE"]),
        (&["sqlite:app.db", nowhere, "--quickly"], 2, &["--quickly"]),
        (&["plan", "sqlite:app.db", "--jobs", "0"], 2, &["--jobs"]),
        (&["sqlite:app.db", nowhere, "--jobs", "0"], 2, &["--jobs"]),
        (
            &["verify", "sqlite:app.db", nowhere, "--sample", "200%"],
            2,
            &["give a percentage above 0 and up to 100"],
        ),
        (
            &["sqlite:app.db", nowhere, "--on-existing", "panic"],
            2,
            &["fail, append, replace"],
        ),
        (&["plan", "sqlite:app.db", "-o", "yaml"], 2, &["text, json"]),
        (
            &["rollback", "sqlite:app.db", "--drop-target"],
            2,
            &["TARGET"],
        ),
        (
            &["sqlite:app.db", nowhere],
            1,
            &["tide: ", "127.0.0.1", "port 1"],
        ),
    ];
    for (arguments, status, said) in cases {
        expect(&migrate(folder.path(), arguments), *status, said);
    }
}

#[test]
fn no_password_is_shown_whatever_is_wrong_with_the_arguments() {
    let (folder, _) = source(SHOP);
    let url = "postgres://app:secret@127.0.0.1:1/none";
    for arguments in [
        &["frob", "sqlite:app.db", url] as &[&str],
        &[url, "sqlite:app.db"],
        &["sqlite:app.db", "mysql://app:secret@host/app"],
        &["sqlite:app.db", "more", url],
        &["verify", "more", "sqlite:app.db", url],
        &["verify", "sqlite:app.db", url, url],
        &[
            "sqlite:app.db",
            "--to-sql",
            "out",
            "host=db password=secret",
            url,
        ],
        &["sqlite:app.db", "postgres://app:secret%@127.0.0.1:1/none"],
    ] {
        let outcome = migrate(folder.path(), arguments);
        assert_eq!(outcome.status, Some(2), "{arguments:?}: {outcome:#?}");
        assert!(
            !outcome.err.contains("secret"),
            "{arguments:?}: {outcome:#?}"
        );
    }
}

#[test]
fn nobody_listening_ends_no_migration() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (folder, _) = source(SHOP);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tide"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = command
        .args(["migrate", "sqlite:app.db", &database.url()])
        .current_dir(folder.path())
        .env("HOME", folder.path())
        .stdout(writer.try_clone().expect("another end"))
        .stderr(writer)
        .status()
        .expect("it runs");
    assert_eq!(status.code(), Some(0));
    assert_eq!(database.sql("SELECT count(*) FROM purchase"), "3");
}

#[test]
fn one_row_is_called_one_row_and_tables_left_out_are_counted() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (folder, file) = source(SHOP);
    Connection::open(file)
        .expect("it opens")
        .execute_batch(
            "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT);
             INSERT INTO note VALUES (1, 'NULL'), (2, CAST(x'ff' AS TEXT))",
        )
        .expect("a table");
    let arguments = ["sqlite:app.db", &database.url(), "--tables", "note"];
    let outcome = migrate(folder.path(), &arguments);
    expect(
        &outcome,
        3,
        &[
            "left out: 2 tables, by --tables or --exclude",
            "copying 1 table, 2 rows",
            "note: 1 row, 1 quarantined",
            "quarantined: 1 row of note",
            "verified: 1 row in 1 table is equal, 1 is in quarantine",
        ],
    );
    assert!(!outcome.err.contains("customer"), "{outcome:#?}");
    // A text is told from NULL.
    database.sql("UPDATE note SET text = NULL");
    expect(
        &migrate(
            folder.path(),
            &[
                "verify",
                "sqlite:app.db",
                &database.url(),
                "--sample",
                "50%",
            ],
        ),
        1,
        &["row 1: text is 'NULL' in the source and NULL in the target"],
    );
}

#[test]
fn what_is_wrong_with_the_target_is_a_sentence() {
    let Some(database) = postgres::database() else {
        return;
    };
    let (folder, _) = source(SHOP);
    let port = database.port();
    let at = |user: &str, password: &str, name: &str| {
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{name}")
    };
    let name = database.name.as_str();
    for (url, said) in [
        (at(USER, "low%20water", name), "password"),
        (at(USER, PASSWORD_IN_URL, "atlantis"), "atlantis"),
        (at("stranger", PASSWORD_IN_URL, name), "stranger"),
        (format!("{}?sslmode=require", database.url()), "TLS"),
        (format!("{}?sslmode=perhaps", database.url()), "sslmode"),
    ] {
        for step in [None, Some("verify"), Some("follow"), Some("status")] {
            let arguments: Vec<&str> = step.into_iter().chain(["sqlite:app.db", &url]).collect();
            let outcome = migrate(folder.path(), &arguments);
            let status = if said == "sslmode" { 2 } else { 1 };
            expect(&outcome, status, &["tide: ", said]);
            assert!(!outcome.err.contains("water"), "no password: {outcome:#?}");
        }
    }
    for step in ["verify", "finish", "rollback"] {
        expect(
            &migrate(folder.path(), &[step, "sqlite:app.db", &database.url()]),
            if step == "rollback" { 0 } else { 1 },
            if step == "rollback" {
                &["removed 0"]
            } else {
                &["there is no migration of app.db", "begin with"]
            },
        );
    }
    expect(
        &migrate(folder.path(), &["status", "sqlite:app.db", &database.url()]),
        0,
        &["nothing is known of this migration"],
    );
    expect(
        &migrate(folder.path(), &["sqlite:app.db", &database.url()]),
        0,
        &["verified: 5 rows in 2 tables are equal"],
    );
    // Copied without recording: what was changed meanwhile is unknown.
    expect(
        &migrate(
            folder.path(),
            &[
                "follow",
                "sqlite:app.db",
                &database.url(),
                "--until-current",
            ],
        ),
        1,
        &["does not record its changes", "--on-existing replace"],
    );
}
