//! What arrived is compared row by row on a path of its own: rusqlite on one side, the text protocol
//! on the other, and none of the crate's copy or verification between them.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use springtide_migrate::copy::{CopyOptions, CopyReport};
use springtide_migrate::plan::{PlanOptions, TablePlan, TargetType, quote_name};
use springtide_migrate::steps::{self, Places};
use springtide_migrate::verify::VerifyOptions;
use support::{postgres, rows};
use tokio::sync::mpsc;
use tokio_postgres::{Client, SimpleQueryMessage};
use tokio_util::sync::CancellationToken;

async fn migrate(database: &postgres::Database, path: &Path) -> CopyReport {
    let places = Places::parse(
        &path.display().to_string(),
        &database.socket_url(),
        "public",
    )
    .expect("names");
    let plan = steps::plan(
        path,
        &PlanOptions {
            readers: 1,
            ..PlanOptions::default()
        },
    )
    .await
    .expect("plans");
    let (events, mut received) = mpsc::channel(16);
    let drain = tokio::spawn(async move { while received.recv().await.is_some() {} });
    let options = CopyOptions {
        jobs: 2,
        ..CopyOptions::default()
    };
    let report = steps::copy(&places, &plan, &options, events, CancellationToken::new())
        .await
        .expect("copies");
    drain.await.expect("drains");
    let (events, mut received) = mpsc::channel(16);
    let drain = tokio::spawn(async move { while received.recv().await.is_some() {} });
    let verified = steps::verify(
        &places,
        &VerifyOptions::default(),
        events,
        CancellationToken::new(),
    )
    .await;
    drain.await.expect("drains");
    let verified = verified.expect("verifies");
    assert!(verified.is_equal(), "{verified:#?}");
    report
}

/// A stored value as the target's type must show it; None where the type cannot hold it.
fn expected(type_: &TargetType, value: ValueRef<'_>) -> Option<String> {
    let text = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        (!text.contains('\0')).then(|| text.to_owned())
    };
    Some(match (type_, value) {
        (_, ValueRef::Null) => "NULL".to_owned(),
        (TargetType::Boolean, ValueRef::Integer(number)) => {
            ["f", "t"].get(number as usize)?.to_string()
        }
        (TargetType::DoublePrecision, ValueRef::Real(number)) => {
            format!("{:016x}", number.to_bits())
        }
        (TargetType::DoublePrecision, ValueRef::Integer(number)) => {
            format!("{:016x}", (number as f64).to_bits())
        }
        (TargetType::Numeric { .. }, ValueRef::Integer(number)) => decimal(&number.to_string()),
        (TargetType::Numeric { .. }, ValueRef::Real(number)) => decimal(&format!("{number}")),
        (TargetType::Bytea, ValueRef::Blob(bytes) | ValueRef::Text(bytes)) => {
            format!(
                "\\x{}",
                bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
            )
        }
        (_, ValueRef::Integer(number)) => number.to_string(),
        // A mixed column becomes text, with a doubt: the shortest decimal that reads back the same.
        (TargetType::Text, ValueRef::Real(number)) => format!("{number:?}"),
        (TargetType::Timestamp | TargetType::TimestampTz, ValueRef::Text(bytes)) => {
            moment(&text(bytes)?)
        }
        (_, ValueRef::Text(bytes)) => text(bytes)?,
        _ => return None,
    })
}

/// The target's text, as `expected` has it.
fn found(type_: &TargetType, text: Option<&str>) -> String {
    match (type_, text) {
        (_, None) => "NULL".to_owned(),
        (TargetType::DoublePrecision, Some(text)) => {
            format!("{:016x}", text.parse::<f64>().expect("a number").to_bits())
        }
        (TargetType::Numeric { .. }, Some(text)) => decimal(text),
        (TargetType::Timestamp | TargetType::TimestampTz, Some(text)) => moment(text),
        (_, Some(text)) => text.to_owned(),
    }
}

/// A moment in UTC with neither T nor zone nor zeros at the end of its fraction.
fn moment(text: &str) -> String {
    let text = text
        .replace('T', " ")
        .replace("+00:00", "")
        .replace("+00", "")
        .replace('Z', "");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A decimal without zeros that mean nothing.
fn decimal(text: &str) -> String {
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    };
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// Every row of the target is one of the source, and those that are missing are in quarantine.
async fn compare(source: &Connection, client: &Client, report: &CopyReport, table: &TablePlan) {
    let names = |of: fn(&springtide_migrate::plan::ColumnPlan) -> &String| {
        table
            .columns
            .iter()
            .map(|column| quote_name(of(column)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let types: Vec<&TargetType> = table.columns.iter().map(|column| &column.type_).collect();
    let query = format!(
        "SELECT {} FROM {}",
        names(|column| &column.source),
        quote_name(&table.source)
    );
    let mut statement = source.prepare(&query).expect("the query is right");
    let mut stored = statement.query([]).expect("the query runs");
    let mut left: BTreeMap<Vec<String>, i64> = BTreeMap::new();
    let mut all = 0;
    while let Some(row) = stored.next().expect("a row") {
        all += 1;
        let values: Option<Vec<String>> = (0..types.len())
            .map(|at| expected(types[at], row.get_ref(at).expect("a value")))
            .collect();
        if let Some(values) = values {
            *left.entry(values).or_default() += 1;
        }
    }
    let query = format!(
        "SELECT {} FROM {}",
        names(|column| &column.target),
        report.plan.qualified(table)
    );
    let mut arrived = 0;
    for message in client.simple_query(&query).await.expect("the query runs") {
        let SimpleQueryMessage::Row(row) = message else {
            continue;
        };
        arrived += 1;
        let values: Vec<String> = (0..types.len())
            .map(|at| found(types[at], row.get(at)))
            .collect();
        let count = left.get_mut(&values);
        let count =
            count.unwrap_or_else(|| panic!("{}: no row of the source is {values:?}", table.source));
        assert!(
            *count > 0,
            "{}: {values:?} is there too often",
            table.source
        );
        *count -= 1;
    }
    let quarantined = report
        .quarantined
        .iter()
        .find(|(name, _)| *name == table.source)
        .map_or(0, |(_, rows)| *rows);
    assert_eq!(
        arrived + quarantined,
        all,
        "rows of {} and its quarantine",
        table.source
    );
}

async fn expect_equal(database: &postgres::Database, path: &Path) -> CopyReport {
    let report = migrate(database, path).await;
    let client = rows::connect(database).await;
    client
        .batch_execute("SET timezone = 'UTC'; SET extra_float_digits = 3")
        .await
        .expect("set");
    let source = Connection::open(path).expect("opens");
    for table in &report.plan.tables {
        compare(&source, &client, &report, table).await;
    }
    report
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{1,8}",
        1 => prop::sample::select(vec!["select", "Order", "user", "ctid", "a b", "é", "q\"q", "x.y"]).prop_map(str::to_owned),
    ]
}

fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("NULL".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        (-3..4i64).prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| format!("{number:e}")),
        "[a-zA-Z0-9 éß✓']{0,12}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        Just("'a' || char(0) || 'b'".to_owned()),
        Just("CAST(x'ff41' AS TEXT)".to_owned()),
        Just("'2024-02-29'".to_owned()),
        Just("'2024-02-29 12:34:56'".to_owned()),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(|bytes| format!(
            "x'{}'",
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        )),
    ]
}

fn column() -> impl Strategy<Value = (String, String)> {
    let types = vec![
        "INTEGER",
        "INT",
        "TEXT",
        "REAL",
        "BLOB",
        "NUMERIC",
        "",
        "VARCHAR(5)",
        "BOOLEAN",
        "DATE",
        "DATETIME",
        "DECIMAL(10,2)",
        "TEXT COLLATE NOCASE",
        "INTEGER NOT NULL DEFAULT 0",
    ];
    (name(), prop::sample::select(types).prop_map(str::to_owned))
}

/// A table: its statement and its rows.
fn table(number: usize) -> impl Strategy<Value = Vec<String>> {
    let columns = prop::collection::vec(column(), 1..6);
    (
        columns,
        0..4u8,
        prop::collection::vec(prop::collection::vec(literal(), 6), 0..40),
    )
        .prop_map(move |(columns, kind, rows)| {
            let mut seen = std::collections::BTreeSet::new();
            let columns: Vec<_> = columns
                .into_iter()
                .filter(|(name, _)| seen.insert(name.to_lowercase()))
                .collect();
            let mut parts: Vec<String> = columns
                .iter()
                .map(|(name, type_)| format!("{} {type_}", quote_name(name)))
                .collect();
            let key = quote_name(&columns[0].0);
            let mut end = "";
            match kind {
                0 => parts.insert(0, "\"the id\" INTEGER PRIMARY KEY".to_owned()),
                1 => parts.push(format!("UNIQUE ({key})")),
                2 => {
                    parts.push(format!("PRIMARY KEY ({key})"));
                    end = " WITHOUT ROWID";
                }
                _ => {}
            }
            let table = quote_name(&format!("Table {number}"));
            let names: Vec<String> = columns.iter().map(|(name, _)| quote_name(name)).collect();
            let mut statements = vec![format!("CREATE TABLE {table} ({}){end}", parts.join(", "))];
            for row in rows {
                let values = row[..columns.len()].join(", ");
                statements.push(format!(
                    "INSERT OR IGNORE INTO {table} ({}) VALUES ({values})",
                    names.join(", ")
                ));
            }
            statements
        })
}

#[test]
fn databases_of_random_schemas_and_contents_arrive() {
    if postgres::database().is_none() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let config = Config {
        cases: 32,
        failure_persistence: None,
        max_shrink_iters: 40,
        ..Config::default()
    };
    let strategy = (table(1), table(2), table(3));
    let outcome = TestRunner::new(config).run(&strategy, |(one, two, three)| {
        let database = postgres::database().expect("there was one");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("source.db");
        let source = Connection::open(&path).expect("opens");
        source.execute_batch("BEGIN").expect("begins");
        for statement in [one, two, three].iter().flatten() {
            source
                .execute_batch(statement)
                .expect("the statement is right");
        }
        source.execute_batch("COMMIT").expect("commits");
        runtime.block_on(expect_equal(&database, &path));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_of_proj_db_arrives() {
    let path = Path::new("/usr/share/proj/proj.db");
    if !path.exists() {
        postgres::skipped("no /usr/share/proj/proj.db (apt install proj-data)");
        return;
    }
    let Some(database) = postgres::database() else {
        return;
    };
    let report = expect_equal(&database, path).await;
    assert_eq!(report.quarantined, [], "no row is refused");
    let source = Connection::open(path).expect("opens");
    let count = |kind: &str| {
        source
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE type = ?1 AND name NOT LIKE 'sqlite%'",
                [kind],
                |row| row.get::<_, u32>(0).map(|count| count as usize),
            )
            .expect("a count")
    };
    assert_eq!(report.plan.tables.len(), count("table"));
    let told =
        |of: usize, kind: &str| assert!(of <= count(kind), "{of} of {} {kind}s", count(kind));
    told(report.plan.views.len(), "view");
    told(report.plan.triggers.len(), "trigger");
}
