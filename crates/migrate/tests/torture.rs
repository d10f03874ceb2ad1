//! The torture database and `proj.db`, migrated whole: plan, copy, verify, and every trap looked at.

mod support;

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use springtide_migrate::connection::{Environment, Target};
use springtide_migrate::copy::{CopyOptions, CopyReport, Event, copy};
use springtide_migrate::plan::{Plan, PlanOptions};
use springtide_migrate::snapshot::{Mode, Snapshot};
use springtide_migrate::torture;
use springtide_migrate::verify::{VerifyOptions, VerifyReport, verify};
use support::postgres;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

async fn migrate(url: &str, file: &Path, options: &PlanOptions) -> (CopyReport, VerifyReport) {
    let open = || Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let plan = Plan::make(&file.to_string_lossy(), &open, options).expect("a plan");
    let target = Target::parse(url, &Environment::default()).expect("a target");
    let snapshot = Snapshot::open(file, 2, Mode::Held).expect("a snapshot");
    let (events, mut received) = mpsc::channel::<Event>(16);
    let drain = tokio::spawn(async move { while received.recv().await.is_some() {} });
    let copied = copy(
        &target,
        &snapshot,
        &plan,
        &CopyOptions::default(),
        events,
        CancellationToken::new(),
    )
    .await
    .unwrap_or_else(|error| panic!("{error}"));
    drain.await.expect("events end");
    let (events, mut received) = mpsc::channel(16);
    let drain = tokio::spawn(async move { while received.recv().await.is_some() {} });
    let verified = verify(
        &target,
        &snapshot,
        copied.migration,
        &copied.plan,
        &VerifyOptions::default(),
        events,
        CancellationToken::new(),
    )
    .await
    .unwrap_or_else(|error| panic!("{error}"));
    drain.await.expect("events end");
    (copied, verified)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_the_torture_database_arrives_or_is_quarantined() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("torture.db");
    torture::fill(&Connection::open(&file).expect("a file")).expect("it is filled");
    let (copied, verified) = migrate(&database.url(), &file, &PlanOptions::default()).await;
    let unequal: Vec<_> = verified
        .tables
        .iter()
        .filter(|table| !table.is_equal())
        .collect();
    assert!(unequal.is_empty(), "{unequal:#?}");
    let mut quarantined = copied.quarantined.clone();
    quarantined.sort();
    let mut expected: Vec<(String, u64)> = torture::QUARANTINED
        .iter()
        .map(|(table, rows)| ((*table).to_owned(), *rows))
        .collect();
    expected.sort();
    assert_eq!(quarantined, expected);
    assert_eq!(copied.not_made, [], "every view, trigger and key is made");

    for (query, expected) in [
        // REAL keeps every bit; SQLite itself takes the sign of zero away.
        (
            "SELECT value::text FROM reals WHERE id IN (1, 2, 3, 6, 9) ORDER BY id",
            "0.1\n0\n0.3333333333333333\n5e-324\n123456789.12345679",
        ),
        (
            "SELECT data_type FROM information_schema.columns WHERE table_name = 'reals' AND column_name = 'small'",
            "double precision",
        ),
        // Text in a BLOB column is not decoded.
        (
            "SELECT convert_from(data, 'UTF8') FROM blobs_with_text WHERE id <= 2 ORDER BY id",
            "aGVsbG8=\n\\x41",
        ),
        // A value that does not match drops its own row only.
        ("SELECT count(*) FROM strays", "200"),
        (
            "SELECT encode(convert_to(note, 'UTF8'), 'escape') FROM bad_text WHERE id = 4",
            "\\\\N",
        ),
        // NOT NULL, defaults, computed columns stay.
        (
            "SELECT string_agg(column_name, ',' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_name = 'not_nulls' AND is_nullable = 'NO'",
            "id,name,age",
        ),
        (
            "SELECT string_agg(column_name, ',' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_name = 'computed' AND is_generated = 'ALWAYS'",
            "total,label,twice",
        ),
        (
            "SELECT total, label, twice, again, shown FROM computed WHERE id = 1",
            "0.30000000000000004|N3|6|7|00003",
        ),
        // NOCASE is not lost.
        ("SELECT id FROM nocase_keys WHERE email = 'd@e.f'", "2"),
        // The comments of the CREATE statement.
        (
            "SELECT col_description('not_nulls'::regclass, 2)",
            "who it is",
        ),
        // Tables without a key, with rows alike.
        ("SELECT count(*), count(DISTINCT a) FROM no_key", "3|1"),
        (
            "SELECT rowid, oid, value FROM hidden_rowid WHERE value = 1 LIMIT 1",
            "r|o|1",
        ),
        (
            "SELECT body FROM documents WHERE id = 1",
            "{\"b\": 1, \"a\": [1, 2.50, null], \"a\": \"twice\"}",
        ),
        (
            "SELECT code FROM codes WHERE auth = 'EPSG' ORDER BY code",
            "3857\n4326",
        ),
        ("SELECT length(body) FROM long_texts WHERE id = 2", "70000"),
        // Views answer.
        (
            "SELECT name, decade, old FROM grown_ups ORDER BY name",
            "Ada|1|0\nalan|1|0",
        ),
        (
            "SELECT code, children, ids FROM counted WHERE code = 'p2'",
            "p2|1|3",
        ),
        (
            "SELECT string_agg(id || ':' || depth, ',' ORDER BY id) FROM tree",
            "1:0,2:1,3:2",
        ),
        // Numbers go on where they were: AUTOINCREMENT never gives one out twice.
        (
            "INSERT INTO autoinc (name) VALUES ('next') RETURNING id",
            "4",
        ),
        (
            "INSERT INTO not_nulls (name) VALUES ('next') RETURNING id, age",
            "9|18",
        ),
        // What SQLite enforced is enforced.
        (
            "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND confdeltype = 'c' AND condeferrable = false AND conname = 'children_parent_id_fkey'",
            "1",
        ),
        (
            "SELECT condeferred FROM pg_constraint WHERE conname = 'children_parent_code_fkey'",
            "t",
        ),
        (
            "SELECT bool_and(convalidated) FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
            "t",
        ),
    ] {
        assert_eq!(database.sql(query), expected, "{query}");
    }
    for refused in [
        "INSERT INTO not_nulls (id, name) VALUES (50, NULL)",
        "INSERT INTO parents (id, code) VALUES (50, 'far too long')",
        "INSERT INTO children (id, parent_id) VALUES (50, 999)",
        "INSERT INTO nocase_keys (email) VALUES ('A@B.C')",
        "INSERT INTO checked (age) VALUES (-1)",
    ] {
        assert!(database.try_sql(refused).is_err(), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn casts_choose_other_types() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("torture.db");
    torture::fill(&Connection::open(&file).expect("a file")).expect("it is filled");
    let casts = [
        "epochs.made=timestamptz USING unixepoch",
        "bad_text.note=text USING latin1",
        "strays.amount=text USING text",
        "decimals.wide=numeric(8,2)",
        "no_key.b=integer",
    ];
    let options = PlanOptions {
        schema: "moved".to_owned(),
        tables: ["epochs", "bad_text", "strays", "decimals", "no_*"]
            .map(str::to_owned)
            .to_vec(),
        casts: casts
            .iter()
            .map(|cast| cast.parse().expect("a cast"))
            .collect(),
        ..PlanOptions::default()
    };
    let (copied, verified) = migrate(&database.url(), &file, &options).await;
    let unequal: Vec<_> = verified
        .tables
        .iter()
        .filter(|table| !table.is_equal())
        .collect();
    assert!(unequal.is_empty(), "{unequal:#?}");
    // NUL is in no text of PostgreSQL, whatever the encoding; and a blob is no text.
    let mut quarantined = copied.quarantined.clone();
    quarantined.sort();
    assert_eq!(
        quarantined,
        [("bad_text".to_owned(), 1), ("strays".to_owned(), 1)]
    );
    for (query, expected) in [
        (
            "SELECT made AT TIME ZONE 'UTC' FROM moved.epochs ORDER BY id",
            "1970-01-01 00:00:00\n2024-01-01 10:00:00\n1969-12-31 23:59:59",
        ),
        ("SELECT note FROM moved.bad_text WHERE id = 7", "ÿþ"),
        ("SELECT amount FROM moved.strays WHERE id = 201", "n/a"),
        ("SELECT wide FROM moved.decimals WHERE id = 1", "1234.50"),
    ] {
        assert_eq!(database.sql(query), expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proj_arrives_whole() {
    let file = Path::new("/usr/share/proj/proj.db");
    if !file.exists() {
        return postgres::skipped("no /usr/share/proj/proj.db (apt install proj-data)");
    }
    let Some(database) = postgres::database() else {
        return;
    };
    let (copied, verified) = migrate(&database.url(), file, &PlanOptions::default()).await;
    let unequal: Vec<_> = verified
        .tables
        .iter()
        .filter(|table| !table.is_equal())
        .collect();
    assert!(unequal.is_empty(), "{unequal:#?}");
    assert_eq!(copied.quarantined, []);
    assert_eq!(copied.not_made, []);
    // Views answer as they do in SQLite.
    let source =
        Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("it opens");
    for view in copied.plan.views.iter().map(|view| view.target.as_str()) {
        let expected: i64 = source
            .query_row(&format!("SELECT count(*) FROM {view}"), [], |row| {
                row.get(0)
            })
            .expect("a count");
        assert_eq!(
            database.sql(&format!("SELECT count(*) FROM {view}")),
            expected.to_string(),
            "{view}"
        );
    }
    // Triggers refuse what they refused.
    let wrong = "INSERT INTO ellipsoid SELECT auth_name, 'new', name, description, celestial_body_auth_name, \
                 celestial_body_code, semi_major_axis, 'EPSG', '9102', inv_flattening, semi_minor_axis, deprecated \
                 FROM ellipsoid LIMIT 1";
    let error = database.try_sql(wrong).expect_err("the unit is no length");
    assert!(error.contains("uom should be of type 'length'"), "{error}");
}
