//! The log is right when a mirror that only replays it comes to equal the source.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rusqlite::Connection;
use sqlite3_parser::Bump;

use super::change_log::{self, Batch, BatchLimits, Recording};
use super::schema_watch::SchemaWatch;
use super::{FollowError, stored::StoredValue};
use crate::plan::{ColumnPlan, Conversion, Plan, RowKey, TablePlan, TargetType, quote_name};

/// A plan that knows of the source what recording needs.
fn plan_of(source: &Connection) -> Plan {
    let arena = Bump::new();
    let schema = crate::schema::read(source, "test.db", &arena).expect("the schema is read");
    let table_plan = |table: &crate::schema::Table<'_>| TablePlan {
        source: table.name.clone(),
        target: table.name.clone(),
        key: if table.without_rowid {
            RowKey::PrimaryKey(table.primary_key.clone())
        } else {
            let alias = table.rowid_alias.clone().expect("a name for the rowid");
            RowKey::Rowid {
                alias,
                column: table.rowid_column,
                range: None,
            }
        },
        columns: table.columns.iter().map(column_plan).collect(),
        primary_key: None,
        uniques: Vec::new(),
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
        identity: None,
        rows: 0,
        bytes: 0,
        comment: None,
    };
    Plan {
        source: schema.identity.clone(),
        schema: "public".to_owned(),
        tables: schema.tables.iter().map(table_plan).collect(),
        helpers: Vec::new(),
        views: Vec::new(),
        triggers: Vec::new(),
        doubts: Vec::new(),
        skipped: Vec::new(),
    }
}

fn column_plan(column: &crate::schema::Column<'_>) -> ColumnPlan {
    ColumnPlan {
        source: column.name.clone(),
        target: column.name.clone(),
        declared: column.declared.clone(),
        type_: TargetType::Text,
        conversion: Conversion::Exact,
        not_null: false,
        collation: crate::plan::Collation::Binary,
        default: None,
        generated: None,
        comment: None,
    }
}

/// Every row of every table by its key, both as text that tells each stored value from all others.
type Contents = BTreeMap<(usize, String), String>;

fn contents(source: &Connection, plan: &Plan) -> Contents {
    let mut all = Contents::new();
    for (number, table) in plan.tables.iter().enumerate() {
        let key: Vec<String> = match &table.key {
            RowKey::Rowid { alias, .. } => vec![quote_name(alias)],
            RowKey::PrimaryKey(parts) => parts
                .iter()
                .map(|&at| quote_name(&table.columns[at].source))
                .collect(),
        };
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|column| quote_name(&column.source))
            .collect();
        let query = format!(
            "SELECT {}, {} FROM {}",
            key.join(", "),
            columns.join(", "),
            quote_name(&table.source)
        );
        let mut statement = source.prepare(&query).expect("the query is right");
        let mut rows = statement.query([]).expect("the rows are read");
        while let Some(row) = rows.next().expect("the row is read") {
            let value = |at: usize| StoredValue::from(row.get_ref(at).expect("a value"));
            let found_key: Vec<StoredValue> = (0..key.len()).map(value).collect();
            let found: Vec<StoredValue> =
                (key.len()..key.len() + columns.len()).map(value).collect();
            all.insert((number, format!("{found_key:?}")), format!("{found:?}"));
        }
    }
    all
}

fn replay(mirror: &mut Contents, batch: &Batch) {
    for table in &batch.tables {
        for change in &table.rows {
            let key = (table.table, format!("{:?}", change.key));
            match &change.row {
                Some(row) => mirror.insert(key, format!("{row:?}")),
                None => mirror.remove(&key),
            };
        }
    }
}

struct Followed {
    source: Connection,
    plan: Plan,
    mirror: Contents,
    position: i64,
    watch: SchemaWatch,
}

impl Followed {
    fn begin(schema: &str) -> Self {
        let mut source = Connection::open_in_memory().expect("opens");
        source.execute_batch(schema).expect("the schema is right");
        let plan = plan_of(&source);
        change_log::install(&mut source, &plan, "m", "there").expect("installs");
        let mirror = contents(&source, &plan);
        Self {
            source,
            plan,
            mirror,
            position: 1,
            watch: SchemaWatch::default(),
        }
    }

    fn catch_up(&mut self, limits: BatchLimits) -> Result<(), FollowError> {
        let tables = change_log::recorded_tables(&self.source, &self.plan)?;
        loop {
            let batch = change_log::read_batch(
                &mut self.source,
                &self.plan,
                &tables,
                self.position,
                limits,
                &mut self.watch,
            )?;
            replay(&mut self.mirror, &batch);
            self.position = batch.up_to;
            change_log::prune(&self.source, batch.up_to)?;
            if batch.behind == 0 {
                return Ok(());
            }
        }
    }

    fn expect_equal(&mut self, after: &str) {
        let limits = BatchLimits {
            entries: 3,
            bytes: 1_000,
        };
        self.catch_up(limits).expect("the log is read");
        assert_eq!(
            self.mirror,
            contents(&self.source, &self.plan),
            "after {after}"
        );
    }
}

const SCHEMA: &str = "
    CREATE TABLE plain (a, b TEXT COLLATE NOCASE UNIQUE, c INT NOT NULL ON CONFLICT REPLACE DEFAULT 7 UNIQUE);
    CREATE TABLE keyed (id INTEGER PRIMARY KEY, a, b, UNIQUE (a, b));
    CREATE UNIQUE INDEX keyed_expression ON keyed (lower(a) COLLATE NOCASE, b + 1 DESC);
    CREATE UNIQUE INDEX keyed_partial ON keyed (b) WHERE b > 5;
    CREATE TABLE clustered (k TEXT COLLATE NOCASE, n, v UNIQUE, PRIMARY KEY (k, n)) WITHOUT ROWID;
    CREATE TABLE tree (id INTEGER PRIMARY KEY, name TEXT UNIQUE,
        parent INTEGER REFERENCES tree ON DELETE CASCADE ON UPDATE CASCADE);
    CREATE TABLE leaf (name TEXT PRIMARY KEY, tree INTEGER DEFAULT 0
        REFERENCES tree ON DELETE SET NULL ON UPDATE CASCADE, twice AS (name || name) STORED UNIQUE);
    CREATE TABLE \"odd \"\"name\" (rowid TEXT, \"select\" UNIQUE);
    CREATE TRIGGER moves AFTER INSERT ON leaf WHEN NEW.name LIKE 'b%' BEGIN
        INSERT OR REPLACE INTO keyed (a, b) VALUES (NEW.name, NEW.tree);
        UPDATE OR REPLACE plain SET b = NEW.name WHERE rowid = NEW.tree;
    END;
    CREATE TRIGGER before_keyed BEFORE INSERT ON keyed WHEN NEW.a = 'c' BEGIN
        UPDATE OR IGNORE keyed SET a = NEW.a, b = NEW.b WHERE id = 2;
        DELETE FROM clustered WHERE n = NEW.b;
    END;";

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "'a'", "'A'", "'b'", "'B'", "'c'", "NULL", "1", "1.0", "2", "x'61'", "'ba'",
    ])
    .prop_map(str::to_owned)
}

fn small() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..9i64).prop_map(|n| n.to_string()),
        Just("NULL".to_owned())
    ]
}

fn or_what() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "OR REPLACE",
        "OR REPLACE",
        "OR IGNORE",
        "OR FAIL",
        "OR ROLLBACK",
    ])
}

fn statement() -> impl Strategy<Value = String> {
    let values = (or_what(), word(), word(), small(), small());
    (0..16u8, values).prop_map(|(kind, (or, x, y, m, n))| match kind {
        0 => format!("INSERT {or} INTO plain (a, b, c) VALUES ({x}, {y}, {m})"),
        1 => format!("UPDATE {or} plain SET b = {x}, c = {n} WHERE c = {m} OR b = {y}"),
        2 => format!("INSERT {or} INTO keyed VALUES ({m}, {x}, {n})"),
        3 => format!("UPDATE {or} keyed SET id = {m}, b = {n} WHERE a = {x} OR b = {m}"),
        4 => format!("INSERT {or} INTO clustered VALUES ({x}, {y}, {n})"),
        5 => format!("UPDATE {or} clustered SET k = {x}, n = {y} WHERE v = {n}"),
        6 => format!("INSERT {or} INTO tree VALUES ({m}, {x}, {n})"),
        7 => format!("UPDATE {or} tree SET id = {m} WHERE id = {n}"),
        8 => format!("DELETE FROM tree WHERE id = {m}"),
        9 => format!("INSERT {or} INTO leaf (name, tree) VALUES ({x}, {m})"),
        10 => format!("UPDATE {or} leaf SET name = {x}, rowid = {n} WHERE tree = {m}"),
        11 => format!("INSERT {or} INTO \"odd \"\"name\" VALUES ({x}, {m})"),
        12 => format!("UPDATE {or} \"odd \"\"name\" SET _rowid_ = {m}, \"select\" = {n} WHERE \"select\" = {n}"),
        13 => format!("INSERT INTO keyed VALUES ({m}, {x}, {n}) ON CONFLICT DO UPDATE SET a = {y}"),
        14 => format!("DELETE FROM {}", ["plain", "keyed", "clustered", "leaf"][m.len() % 4]),
        _ => format!("INSERT {or} INTO plain (a, b, c) SELECT a, n, v + {n} FROM clustered, keyed"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mirror_that_replays_the_log_equals_the_source(
        statements in prop::collection::vec((statement(), any::<bool>()), 1..120),
        foreign_keys in any::<bool>(),
        recursive in any::<bool>(),
    ) {
        let mut followed = Followed::begin(SCHEMA);
        followed.source.pragma_update(None, "foreign_keys", foreign_keys).expect("set");
        followed.source.pragma_update(None, "recursive_triggers", recursive).expect("set");
        let mut done = Vec::new();
        for (statement, look) in statements {
            let outcome = followed.source.execute_batch(&statement);
            done.push(format!("{statement}; -- {outcome:?}"));
            if look {
                followed.expect_equal(&done.join("\n"));
            }
        }
        followed.expect_equal(&done.join("\n"));
    }
}

#[test]
fn removing_the_log_leaves_the_source_as_it_was() {
    let mut followed = Followed::begin(SCHEMA);
    let plan = followed.plan.clone();
    assert_eq!(
        plan_of(&followed.source),
        plan,
        "the log is no part of the schema"
    );
    assert_eq!(
        change_log::recording(&followed.source).unwrap(),
        Recording::For {
            token: "m".to_owned(),
            target: "there".to_owned()
        }
    );
    change_log::install(&mut followed.source, &plan, "m", "there").expect("twice is once");
    let other = change_log::install(&mut followed.source, &plan, "other", "elsewhere").unwrap_err();
    assert!(
        other.to_string().contains("another migration, into there"),
        "{other}"
    );
    change_log::remove(&mut followed.source).expect("removes");
    assert_eq!(
        change_log::recording(&followed.source).unwrap(),
        Recording::Absent
    );
    let left: i64 = followed
        .source
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%tide%'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn a_changed_schema_is_noticed_and_a_vacuum_is_told_from_it() {
    let mut followed = Followed::begin(SCHEMA);
    followed.expect_equal("nothing");
    assert!(!followed.watch.take_renumbered());
    followed.source.execute_batch("VACUUM; ANALYZE").unwrap();
    followed.expect_equal("vacuum");
    assert!(followed.watch.take_renumbered());
    followed
        .source
        .execute_batch("ALTER TABLE plain ADD COLUMN d")
        .unwrap();
    let error = followed
        .catch_up(BatchLimits {
            entries: 10,
            bytes: 1_000,
        })
        .unwrap_err();
    assert!(
        matches!(error, FollowError::SchemaChanged { .. }),
        "{error}"
    );
}

#[test]
fn a_sealed_source_refuses_every_write_with_the_reason() {
    let mut followed = Followed::begin(SCHEMA);
    followed
        .source
        .execute_batch("INSERT INTO plain (a) VALUES (1)")
        .unwrap();
    change_log::remove(&mut followed.source).unwrap();
    change_log::seal(&followed.source, &followed.plan, "it's moved").unwrap();
    for write in [
        "INSERT OR IGNORE INTO plain (a) VALUES (1)",
        "REPLACE INTO plain (a) VALUES (1)",
        "UPDATE OR IGNORE plain SET a = 2",
        "DELETE FROM plain",
    ] {
        let error = followed.source.execute_batch(write).unwrap_err();
        assert!(error.to_string().contains("it's moved"), "{write}: {error}");
    }
    change_log::remove(&mut followed.source).unwrap();
    followed.source.execute_batch("DELETE FROM plain").unwrap();
}

#[test]
fn a_log_that_was_pruned_past_the_position_is_refused() {
    let mut followed = Followed::begin(SCHEMA);
    for _ in 0..10 {
        followed
            .source
            .execute_batch("INSERT INTO clustered VALUES (random(), 1, random())")
            .unwrap();
    }
    followed.expect_equal("inserts");
    followed.position = 2;
    let error = followed
        .catch_up(BatchLimits {
            entries: 10,
            bytes: 1_000,
        })
        .unwrap_err();
    assert!(matches!(error, FollowError::LogLost { .. }), "{error}");
}
