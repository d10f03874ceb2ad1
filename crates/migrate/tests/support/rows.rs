//! Rows of both sides as text that tells every value from every other, read without the crate's
//! own copy and verification: the source by rusqlite, the target by the text protocol.
#![allow(dead_code)] // Each test program uses another part of it.

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::postgres::Database;

/// Opens a session that knows nothing of the crate.
pub(crate) async fn connect(database: &Database) -> Client {
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls)
        .await
        .expect("the test database answers");
    tokio::spawn(connection);
    client
}

/// What a query of the source answers, sorted.
pub(crate) fn of_source(source: &Connection, query: &str) -> Vec<Vec<String>> {
    let mut statement = source.prepare(query).expect("the query is right");
    let columns = statement.column_count();
    let mut rows = statement.query([]).expect("the query runs");
    let mut all = Vec::new();
    while let Some(row) = rows.next().expect("a row is read") {
        all.push(
            (0..columns)
                .map(|at| stored(row.get_ref(at).expect("a value")))
                .collect(),
        );
    }
    all.sort();
    all
}

/// A stored value, as PostgreSQL writes the same value of bigint, double precision, text or bytea.
pub(crate) fn stored(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => format!("i {number}"),
        ValueRef::Real(number) => format!("r {:016x}", number.to_bits()),
        ValueRef::Text(text) => format!("t {}", String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => {
            format!(
                "b {}",
                bytes
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect::<String>()
            )
        }
    }
}

/// What a query of the target answers, sorted; `kinds` has a letter a column: `i` for integers, `r`
/// for double precision, `t` for text, `b` for bytea.
pub(crate) async fn of_target(client: &Client, query: &str, kinds: &str) -> Vec<Vec<String>> {
    let messages = client.simple_query(query).await.expect("the query runs");
    let kinds: Vec<char> = kinds.chars().collect();
    let mut all = Vec::new();
    for message in messages {
        let SimpleQueryMessage::Row(row) = message else {
            continue;
        };
        let value = |at: usize| match row.get(at) {
            None => "NULL".to_owned(),
            Some(text) => match kinds[at] {
                'r' => format!(
                    "r {:016x}",
                    text.parse::<f64>().expect("a number").to_bits()
                ),
                'b' => format!("b {}", text.strip_prefix("\\x").expect("hexadecimal bytes")),
                kind => format!("{kind} {text}"),
            },
        };
        all.push((0..row.len()).map(value).collect());
    }
    all.sort();
    all
}

/// The keys of every row of a table whose changes are recorded.
pub(crate) fn of_source_keys(
    source: &Connection,
    table: &springtide_migrate::follow::recorded::RecordedTable,
) -> Vec<Vec<springtide_migrate::follow::stored::StoredValue>> {
    let names: Vec<String> = table
        .key
        .iter()
        .map(|key| format!("\"{}\"", key.name))
        .collect();
    let query = format!("SELECT {} FROM \"{}\"", names.join(", "), table.name);
    let mut statement = source.prepare(&query).expect("the query is right");
    let mut rows = statement.query([]).expect("the query runs");
    let mut all = Vec::new();
    while let Some(row) = rows.next().expect("a row is read") {
        all.push(
            (0..names.len())
                .map(|at| row.get_ref(at).expect("a value").into())
                .collect(),
        );
    }
    all
}
