//! Verification finds a difference in every type a value can become, and says what it did not read.

mod support;

use springtide_migrate::verify::{Difference, VerifyOptions};
use support::migration::{
    MANY, migrate, options, plan_with_casts, run_copy_of, run_verify, source,
};
use support::postgres;

/// Each column of the wide table with its cast, a change to the target, and how verification shows it.
const COLUMNS: &[(&str, &str, &str, &str)] = &[
    ("plain_json", "json", r#"'{"b": 1500}'"#, r#"'{"b": 1500}'"#),
    (
        "binary_json",
        "jsonb",
        r#"'{"b": 1500, "a": [1.5, 100]}'"#,
        r#"'{"a": [1.5, 100], "b": 1500}'"#,
    ),
    ("any_number", "numeric", "1875.01", "1875.01"),
    ("money", "numeric(10,2)", "375.01", "375.01"),
    (
        "seconds",
        "timestamptz USING unixepoch",
        "to_timestamp(1)",
        "'1970-01-01 00:00:01",
    ),
    (
        "mark",
        "uuid",
        "'00000000-0000-4000-8000-000000000000'",
        "'00000000-0000-4000-8000-000000000000'",
    ),
    ("day", "date", "'1999-12-31'", "'1999-12-31'"),
    ("clock", "time", "'00:00:01'", "'00:00:01'"),
    ("small", "smallint", "-1", "-1"),
    ("narrow", "real", "0.5", "0.5"),
    ("short", "varchar(20)", "'V1500'", "'V1500'"),
    ("yes", "boolean", "NOT yes", "true"),
    (
        "ratio",
        "double precision",
        "ratio + 1e-12",
        "214.28571428571",
    ),
    ("bytes", "bytea", "bytes || ' '", "'\\x"),
    ("note", "text", "note || ' '", "'note 1500 '"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_difference_of_every_type_is_shown_by_row_and_column() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = source(
        &folder,
        &format!(
            r#"CREATE TABLE wide (id INTEGER PRIMARY KEY, plain_json TEXT, binary_json TEXT, any_number NUMERIC, money DECIMAL(10,2),
                 seconds INTEGER, mark TEXT, day TEXT, clock TEXT, small INTEGER, narrow REAL, short TEXT, yes BOOLEAN,
                 ratio REAL, bytes BLOB, note TEXT);
               {MANY} 3000) INSERT INTO wide SELECT i, '{{"b":' || i || '}}',
                 '{{"b" : ' || i || ', "a":[1.50, 1e2], "\u00e9": "\ud83d\ude00", "b": ' || i || '}}', i * 1.25, i / 4.0,
                 1700000000 + i, printf('%08x-0000-4000-8000-%012x', i, i), date('2000-01-01', i || ' days'),
                 time(i, 'unixepoch'), i % 1000, i / 4.0, 'v' || i, i % 2, i / 7.0, randomblob(i % 9), 'note ' || i FROM n;
               INSERT INTO wide (id, binary_json) VALUES (5000, 'null'), (5001, NULL), (5002, '"\u0000"'), (5003, '[[[]], -0, 1E-7]');"#
        ),
    );
    let casts: Vec<String> = (COLUMNS.iter())
        .map(|(column, cast, ..)| format!("wide.{column}={cast}"))
        .collect();
    let url = database.socket_url();
    let plan = plan_with_casts(&file, &casts);
    let report = run_copy_of(&plan, &url, &file, &options()).await.unwrap();
    // A NUL in JSON is one that the server finds.
    assert_eq!(report.quarantined, [("wide".to_owned(), 1)]);
    let verified = run_verify(&url, &file, &report, &VerifyOptions::default()).await;
    assert!(verified.is_equal(), "{verified:?}");
    assert_eq!(verified.tables[0].not_compared, Vec::<String>::new());

    database.sql("CREATE TABLE kept AS SELECT * FROM wide WHERE id = 1500");
    for (column, cast, changed, shown) in COLUMNS {
        database.sql(&format!(
            "SET timezone = 'UTC'; UPDATE wide SET {column} = {changed} WHERE id = 1500"
        ));
        let verified = run_verify(&url, &file, &report, &VerifyOptions::default()).await;
        let [Difference::Changed { key, columns }] = &verified.tables[0].differences[..] else {
            panic!("{column} as {cast}: {verified:?}");
        };
        assert_eq!(
            (key.as_str(), columns.len(), columns[0].column.as_str()),
            ("1500", 1, *column),
            "{columns:?}"
        );
        assert!(
            columns[0].target.starts_with(shown),
            "{column} as {cast}: {columns:?}"
        );
        database.sql(&format!(
            "UPDATE wide SET {column} = kept.{column} FROM kept WHERE wide.id = kept.id"
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_says_what_it_left_out_and_finds_what_lies_in_it() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = source(
        &folder,
        &format!(
            "CREATE TABLE large (id INTEGER PRIMARY KEY, a INTEGER); {MANY} 60000) INSERT INTO large SELECT i * 2, i FROM n;
             CREATE TABLE keyless (a TEXT); {MANY} 30000) INSERT INTO keyless SELECT 'k' || i FROM n;
             CREATE TABLE tiny (id INTEGER PRIMARY KEY); INSERT INTO tiny VALUES (1), (2);"
        ),
    );
    let (report, whole) = migrate(&database, &file).await;
    assert_eq!(whole.unread(), 0);
    let url = database.socket_url();
    let sample = VerifyOptions {
        sample: Some(0.25),
        ..VerifyOptions::default()
    };
    let verified = run_verify(&url, &file, &report, &sample).await;
    assert!(verified.is_equal(), "{verified:?}");
    let [large, keyless, tiny] = &verified.tables[..] else {
        panic!("{verified:?}");
    };
    let read = large.source_rows;
    assert!(read > 10_000 && read < 30_000, "{large:?}");
    assert_eq!(
        (large.unread, verified.unread()),
        (60_000 - read, 60_000 - read)
    );
    assert!(
        large.not_compared[0]
            .starts_with(&format!("about {} of its 60000 rows, in ", 60_000 - read)),
        "{large:?}"
    );
    assert!(
        keyless.source_rows == 30_000 && keyless.read_whole && keyless.not_compared.is_empty(),
        "{keyless:?}"
    );
    assert!(
        tiny.source_rows == 2 && tiny.not_compared.is_empty(),
        "{tiny:?}"
    );

    // One row in a thousand: some lie in what is read, some do not.
    database.sql("UPDATE large SET a = -a WHERE id % 2000 = 0");
    let verified = run_verify(&url, &file, &report, &sample).await;
    let found = &verified.tables[0].differences;
    assert!(!verified.is_equal() && !found.is_empty(), "{verified:?}");
    assert!(
        found.iter().all(|difference| matches!(difference, Difference::Changed { columns, .. } if columns[0].column == "a")),
        "{found:?}"
    );
}
