//! Copy and verify against a real PostgreSQL: through `Plan::make`, `copy` and `verify`, with rows that
//! the target cannot take, tables that are there already, broken connections, and kills.

mod support;

use std::path::Path;
use std::process::Output;

use springtide_migrate::copy::{CopyOptions, Event, FilesReport, OnExisting, write_files};
use springtide_migrate::snapshot::{Mode, Snapshot};
use springtide_migrate::verify::{Difference, VerifyOptions};
use support::migration::{MANY, migrate, options, plan, run_copy, run_verify, source, target};
use support::postgres::{self, Database};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_value_arrives_and_verification_agrees() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = source(
        &folder,
        &format!(
            "CREATE TABLE facts (id INTEGER PRIMARY KEY, name TEXT, ratio REAL, data BLOB, day DATE, at DATETIME, price NUMERIC, flag BOOLEAN);
             {MANY} 50000) INSERT INTO facts SELECT i * 3, 'größe ' || i, i / 7.0, randomblob(i % 40), date('2000-01-01', i || ' days'), datetime(946684800 + i * 61, 'unixepoch'), i / 4.0, i % 2 FROM n;
             INSERT INTO facts VALUES (9223372036854775807, '', 9e999, x'', '9999-12-31', NULL, 12345678901234567890, NULL), (-9223372036854775808, NULL, 5e-324, NULL, NULL, NULL, NULL, 1);
             CREATE TABLE pairs (a TEXT, b INTEGER, v REAL, PRIMARY KEY (a, b)) WITHOUT ROWID;
             {MANY} 30000) INSERT INTO pairs SELECT 'k' || (i % 100), i, i * 0.1 FROM n;
             CREATE TABLE plain (x, y TEXT COLLATE NOCASE);
             INSERT INTO plain VALUES ('a', 'B'), ('a', 'B'), (NULL, NULL);"
        ),
    );
    let (report, verified) = migrate(&database, &file).await;
    assert_eq!(report.quarantined, []);
    assert_eq!(report.not_made, []);
    assert_eq!(report.tally.copied, 80_005);
    assert!(verified.is_equal(), "{verified:?}");
    assert_eq!(
        verified
            .tables
            .iter()
            .map(|table| table.target_rows)
            .sum::<u64>(),
        80_005
    );
    assert_eq!(
        database.sql("SELECT name, ratio FROM facts WHERE id = 21"),
        "größe 7|1"
    );
    assert_eq!(
        database.sql("SELECT name IS NULL, ratio FROM facts WHERE id < 0"),
        "t|5e-324"
    );

    // A second run has nothing to do.
    let again = run_copy(&database.socket_url(), &file, &options())
        .await
        .unwrap();
    assert!(again.was_complete && again.tally.copied == 80_005);

    // Whatever is changed behind its back, verification finds.
    database.sql("UPDATE facts SET name = 'x' WHERE id = 300; DELETE FROM facts WHERE id = 303; INSERT INTO facts (id) VALUES (304); UPDATE pairs SET v = v + 1e-9 WHERE b = 77; INSERT INTO plain VALUES ('a', 'B')");
    let verified = run_verify(
        &database.socket_url(),
        &file,
        &report,
        &VerifyOptions::default(),
    )
    .await;
    let facts = &verified.tables[0];
    let mut shown: Vec<String> = facts.differences.iter().map(ToString::to_string).collect();
    shown.sort();
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(
        shown[0].starts_with("row 300: name is 'größe 100' in the source and 'x' in the target"),
        "{shown:?}"
    );
    assert!(shown[1].starts_with("row 303 is missing"), "{shown:?}");
    assert!(shown[2].contains("(304, NULL"), "{shown:?}");
    assert!(
        matches!(&verified.tables[1].differences[..], [Difference::Changed { key, columns }] if key == "'k77', 77" && columns[0].column == "v"),
        "{:?}",
        verified.tables[1]
    );
    assert!(
        matches!(
            &verified.tables[2].differences[..],
            [Difference::Extra { .. }]
        ),
        "{:?}",
        verified.tables[2]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_cannot_take_is_quarantined_with_its_reason() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = source(
        &folder,
        "CREATE TABLE parents (id INTEGER PRIMARY KEY, code TEXT UNIQUE);
         INSERT INTO parents VALUES (1, 'a'), (2, CAST(x'62ff' AS TEXT)), (3, 'c' || char(0) || 'd'), (4, 'e');
         CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id), size INTEGER CHECK (size > 0), note TEXT NOT NULL);
         INSERT INTO children VALUES (1, 1, 1, 'fine'), (2, 2, 1, 'its parent is quarantined'), (3, 99, 1, 'orphan'), (4, 4, 1, 'fine');
         PRAGMA ignore_check_constraints = ON;
         INSERT INTO children VALUES (5, 1, -1, 'too small');
         CREATE TABLE grandchildren (id INTEGER PRIMARY KEY, child INTEGER REFERENCES children (id) ON DELETE CASCADE);
         INSERT INTO grandchildren VALUES (1, 1), (2, 3), (3, 5), (4, NULL);",
    );
    let (report, verified) = migrate(&database, &file).await;
    assert_eq!(report.not_made, []);
    assert_eq!(
        report.quarantined,
        [
            ("children".to_owned(), 3),
            ("grandchildren".to_owned(), 2),
            ("parents".to_owned(), 2)
        ]
    );
    assert!(verified.is_equal(), "{verified:?}");
    assert_eq!(verified.quarantined(), 7);
    assert_eq!(database.sql("SELECT id FROM children ORDER BY id"), "1\n4");
    assert_eq!(
        database.sql("SELECT key, column_name, storage_class, encode(value, 'hex'), reason FROM springtide_migrate.quarantine WHERE table_name = 'parents' ORDER BY key"),
        "2|code|text|62ff|the text is not valid UTF-8 at byte 2\n3|code|text|630064|the text holds NUL at byte 2, which PostgreSQL's text cannot"
    );
    assert_eq!(
        database.sql("SELECT key, column_name, convert_from(value, 'UTF8') FROM springtide_migrate.quarantine WHERE table_name = 'children' ORDER BY key"),
        "2|parent|2\n3|parent|99\n5||"
    );
    let refused = database
        .try_sql("INSERT INTO grandchildren VALUES (9, 77)")
        .unwrap_err();
    assert!(refused.contains("foreign key"), "{refused}");

    let strict = CopyOptions {
        strict: true,
        on_existing: OnExisting::Replace,
        ..options()
    };
    let error = run_copy(&database.socket_url(), &file, &strict)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("table parents, row 2, column code"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_only_the_server_refuses_are_found_one_by_one() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = source(
        &folder,
        &format!(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER); {MANY} 3000) INSERT INTO t SELECT i, i % 1000 FROM n;"
        ),
    );
    database.sql("CREATE TABLE t (id bigint PRIMARY KEY, a bigint CHECK (a <> 500)); INSERT INTO t VALUES (7, 0), (-1, 1)");
    let error = run_copy(&database.socket_url(), &file, &options())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("a table of the plan already: t"), "{error}");
    let append = CopyOptions {
        on_existing: OnExisting::Append,
        ..options()
    };
    let report = run_copy(&database.socket_url(), &file, &append)
        .await
        .unwrap();
    assert_eq!(report.quarantined, [("t".to_owned(), 4)]);
    assert_eq!(
        database.sql(
            "SELECT string_agg(key, ',' ORDER BY key::int) FROM springtide_migrate.quarantine"
        ),
        "7,500,1500,2500"
    );
    assert_eq!(database.sql("SELECT count(*) FROM t"), "2998");
    let replace = CopyOptions {
        on_existing: OnExisting::Replace,
        ..options()
    };
    let report = run_copy(&database.socket_url(), &file, &replace)
        .await
        .unwrap();
    assert_eq!(
        (report.quarantined, database.sql("SELECT count(*) FROM t")),
        (Vec::new(), "3000".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_of_the_connection_are_sentences() {
    let Some(database) = postgres::database() else {
        return;
    };
    let url = |user: &str, password: &str, port: u16, name: &str| {
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{name}")
    };
    let good = postgres::PASSWORD_IN_URL;
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    for (url, expected) in [
        (
            url(postgres::USER, "wrong", database.port(), &database.name),
            "the password for user \"springtide\" is wrong",
        ),
        (
            url(postgres::USER, good, database.port(), "nowhere"),
            "there is no database \"nowhere\"",
        ),
        (
            url(postgres::USER, good, free, "x"),
            "no PostgreSQL answers at 127.0.0.1 port",
        ),
        (
            format!(
                "postgres://{}@127.0.0.1:{}/x",
                postgres::USER,
                database.port()
            ),
            "wants a password",
        ),
        (
            format!("{}?sslmode=require", database.url()),
            "does not offer TLS",
        ),
        (
            format!("{}?target_session_attrs=standby", database.url()),
            "is not a standby",
        ),
        (
            "postgres://x@no.such.host.invalid/x".to_owned(),
            "no PostgreSQL answers at no.such.host.invalid",
        ),
    ] {
        let error = target(&url).connect().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{url}: {error}");
    }
    // The second host answers; a session there says so.
    let several = format!(
        "host=127.0.0.1,127.0.0.1 port={free},{} user={} password='{}' dbname={}",
        database.port(),
        postgres::USER,
        postgres::PASSWORD,
        database.name
    );
    let session = target(&several).connect_first().await.unwrap();
    assert!(!session.is_pooled());
    session.batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_for_psql_make_the_same_database() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = source(
        &folder,
        &format!(
            "CREATE TABLE parents (id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT UNIQUE, size REAL CHECK (size > 0));
             {MANY} 1000) INSERT INTO parents SELECT i, 'c' || i, i / 7.0 FROM n;
             UPDATE parents SET code = CAST(x'ff' AS TEXT) WHERE id = 5;
             CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id));
             INSERT INTO children VALUES (1, 1), (2, 5), (3, NULL);
             CREATE TABLE grandchildren (child INTEGER REFERENCES children (id));
             INSERT INTO grandchildren VALUES (1), (2);
             CREATE INDEX by_size ON parents (size DESC);
             CREATE VIEW small AS SELECT id FROM parents WHERE size < 1;"
        ),
    );
    let to = folder.path().join("files");
    let report = files(&file, &to).await;
    assert_eq!(
        (report.rows, report.quarantined),
        (1004, vec![("parents".to_owned(), 1)])
    );
    let output = run_files(&database, &to);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        database.sql("SELECT (SELECT count(*) FROM parents), (SELECT string_agg(id::text, ',') FROM children), (SELECT count(*) FROM grandchildren), (SELECT count(*) FROM small), (SELECT count(*) FROM springtide_files.quarantine)"),
        "999|1,3|1|5|3"
    );
    assert_eq!(
        database.sql("INSERT INTO parents (code, size) VALUES ('n', 1) RETURNING id"),
        "1001"
    );
}

/// Writes the files for psql.
async fn files(file: &Path, to: &Path) -> FilesReport {
    let snapshot = Snapshot::open(file, 1, Mode::Held).unwrap();
    let (events, mut received) = mpsc::channel::<Event>(16);
    let drain = tokio::spawn(async move { while received.recv().await.is_some() {} });
    let cancel = CancellationToken::new();
    let report = write_files(to, &snapshot, &plan(file), false, events, cancel)
        .await
        .unwrap();
    drain.await.unwrap();
    report
}

/// Has psql run them.
fn run_files(database: &Database, folder: &Path) -> Output {
    database
        .psql()
        .args(["-f", "migrate.sql"])
        .current_dir(folder)
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_made_is_told_and_the_data_stays() {
    let (Some(direct), Some(by_files)) = (postgres::database(), postgres::database()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // Texts that a table holds and no index of PostgreSQL.
    let file = source(
        &folder,
        "CREATE TABLE parents (id INTEGER PRIMARY KEY, code TEXT UNIQUE);
         INSERT INTO parents VALUES (1, hex(randomblob(3000))), (2, 'short'), (3, 'short too');
         CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id), code TEXT REFERENCES parents (code));
         INSERT INTO children VALUES (1, 1, 'short'), (2, 99, NULL), (3, 2, 'short too');
         CREATE INDEX fine ON children (parent);",
    );
    let (report, verified) = migrate(&direct, &file).await;
    assert!(verified.is_equal(), "{verified:?}");
    let mut not_made: Vec<&str> = report
        .not_made
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    not_made.sort_unstable();
    assert_eq!(
        not_made.len(),
        2,
        "the key, and what refers to it: {report:?}"
    );

    let to = folder.path().join("files");
    files(&file, &to).await;
    let output = run_files(&by_files, &to);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("index row size") && said.contains("see springtide_files.not_made"),
        "{said}"
    );
    assert_eq!(
        by_files.sql("SELECT string_agg(name, ';' ORDER BY name COLLATE \"C\") FROM springtide_files.not_made"),
        not_made.join(";")
    );
    let rows = "SELECT (SELECT count(*) FROM parents), (SELECT count(*) FROM children), (SELECT count(*) FROM pg_constraint WHERE conrelid IN ('parents'::regclass, 'children'::regclass) AND contype IN ('p', 'u', 'f')), to_regclass('fine') IS NOT NULL";
    assert_eq!(
        (by_files.sql(rows), direct.sql(rows)),
        ("3|2|3|t".to_owned(), "3|2|3|t".to_owned())
    );
}
