//! Schemas as applications write them: what they rely on holds in the target.

mod support;

use std::path::Path;

use rusqlite::Connection;
use springtide_migrate::plan::{Doubt, DoubtKind, Plan, PlanError, PlanOptions};
use support::migration::{migrate, plan, plan_with_casts, run_copy_of, source};
use support::postgres;

/// Booleans as Rails 4 and 5 keep them in SQLite.
const RAILS: &str = "
CREATE TABLE users (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, name varchar NOT NULL,
  active boolean DEFAULT 't' NOT NULL, admin boolean DEFAULT \"f\", legacy boolean DEFAULT 'x',
  CHECK (admin IN ('t', 'f')), CHECK (active IS NOT 'f' OR name <> 'nobody')
);
CREATE INDEX active_users ON users (name) WHERE active = 't';
CREATE VIEW absent AS SELECT id, name FROM users WHERE active != 't' ORDER BY active DESC, id;
CREATE VIEW strange AS SELECT id FROM users WHERE active = 'yes';
CREATE TABLE log (what TEXT, active boolean DEFAULT 'f' NOT NULL);
CREATE TRIGGER users_au AFTER UPDATE ON users WHEN NEW.active = 'f' AND OLD.active IS 't' BEGIN
  UPDATE users SET admin = 'f' WHERE id = NEW.id;
  INSERT INTO log (what) VALUES (NEW.name || ' left: ' || NEW.active);
END;
INSERT INTO users VALUES (1, 'Ada', 't', 't', 't'), (2, 'Bob', 'f', 'f', 'f');
";

#[tokio::test(flavor = "multi_thread")]
async fn booleans_kept_as_words_keep_their_defaults_indexes_views_and_triggers() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = source(&folder, RAILS);
    let (report, verified) = migrate(&database, &file).await;
    assert!(verified.is_equal(), "{verified:?}");
    assert_eq!(report.not_made, []);
    let skipped: Vec<_> = (report.plan.skipped.iter())
        .map(|skipped| (skipped.name.as_str(), skipped.reason.as_str()))
        .collect();
    assert_eq!(
        skipped,
        [
            (
                "users.legacy",
                "'x' (text) is written to column legacy (boolean)"
            ),
            (
                "strange",
                "\"users\".\"active\" (boolean) is compared with 'yes' (text)"
            ),
        ]
    );
    database.sql("INSERT INTO users (name) VALUES ('Cid')");
    assert_eq!(
        database.sql("SELECT active, admin FROM users WHERE name = 'Cid'"),
        "t|f"
    );
    database.sql("UPDATE users SET active = false WHERE id = 1");
    assert_eq!(
        database.sql("SELECT active, admin FROM users WHERE id = 1"),
        "f|f"
    );
    assert_eq!(
        database.sql("SELECT what, active FROM log"),
        "Ada left: f|f"
    );
    assert_eq!(database.sql("SELECT name FROM absent"), "Ada\nBob");
    assert_eq!(
        database
            .sql("SELECT pg_get_expr(indpred, indrelid) FROM pg_index WHERE indexrelid = 'active_users'::regclass"),
        "(active = true)"
    );
}

/// Runs a query of several rows on the source, each row's values parted by `|`.
fn rows(file: &Path, query: &str) -> String {
    let connection = Connection::open(file).unwrap();
    let mut query = connection.prepare(query).unwrap();
    let columns = query.column_count();
    let rows = query.query_map([], |row| {
        let value = |at| match row.get_ref(at)? {
            rusqlite::types::ValueRef::Integer(number) => Ok(number.to_string()),
            other => Ok(other.as_str()?.to_owned()),
        };
        let values: rusqlite::Result<Vec<String>> = (0..columns).map(value).collect();
        values.map(|values| values.join("|"))
    });
    rows.unwrap()
        .map(Result::unwrap)
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn grouping_by_a_primary_key_lets_the_other_columns_of_its_table_be_shown() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = source(
        &folder,
        "CREATE TABLE u (id INTEGER PRIMARY KEY, email TEXT);
         CREATE TABLE o (a TEXT, b INTEGER, user INTEGER, price INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID;
         CREATE TABLE loose (k TEXT PRIMARY KEY, v TEXT);
         INSERT INTO u VALUES (1, 'ada@x'), (2, 'bob@x');
         INSERT INTO o VALUES ('p', 1, 1, 5), ('p', 2, 1, 7), ('q', 1, 2, 9);
         INSERT INTO loose VALUES (NULL, 'a'), (NULL, 'b'), ('k', 'c');
         CREATE VIEW totals AS SELECT u.id, u.email, lower(email) || '!', count(*), sum(o.price) FROM u JOIN o ON o.user = u.id GROUP BY u.id ORDER BY 1;
         CREATE VIEW everything AS SELECT u.*, count(*) FROM u JOIN o ON o.user = u.id GROUP BY u.id HAVING u.email <> 'bob@x';
         CREATE VIEW both_parts AS SELECT a, b, price, count(*) FROM o GROUP BY a, b;
         CREATE VIEW other_table AS SELECT u.id, o.price, count(*) FROM u JOIN o ON o.user = u.id GROUP BY u.id;
         CREATE VIEW one_part AS SELECT a, price FROM o GROUP BY a;
         CREATE VIEW key_with_nulls AS SELECT k, v FROM loose GROUP BY k;
         CREATE VIEW of_query AS SELECT id, email, count(*) FROM (SELECT id, email FROM u) GROUP BY id;",
    );
    let (report, _) = migrate(&database, &file).await;
    assert_eq!(report.not_made, []);
    for view in ["totals", "everything", "both_parts"] {
        let query = format!("SELECT * FROM {view} ORDER BY 1, 2");
        assert_eq!(database.sql(&query), rows(&file, &query), "{view}");
    }
    let refused: Vec<&str> = (report.plan.skipped.iter())
        .filter(|skipped| skipped.reason.contains("SQLite takes it from any row"))
        .map(|skipped| skipped.name.as_str())
        .collect();
    assert_eq!(
        refused,
        ["other_table", "one_part", "key_with_nulls", "of_query"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cast_tells_before_the_copy_which_rows_it_refuses() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = source(
        &folder,
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT, day TEXT, mark TEXT, number TEXT, price TEXT, made, code TEXT, fine TEXT, free TEXT);
         INSERT INTO orders VALUES
           (1, 'yes', '2024-02-29', '67e55044-10b1-426f-9247-bb680e5fe0c8', '12', '1.25', 1700000000, 'abc', '1', NULL),
           (2, 'no', 'never', 'nothing', '12.5', '1,25', 1e300, 'abcd', '2', NULL),
           (3, 'perhaps', 'tomorrow', '67e55044-10b1-426f-9247-bb680e5fe0c8', '9999999999', '1', 'noon', 'äöü', '3', NULL),
           (4, NULL, NULL, NULL, NULL, NULL, NULL, x'61', NULL, NULL);",
    );
    let casts: Vec<String> = [
        "note=boolean USING yes/no",
        "day=date",
        "mark=uuid",
        "number=integer",
        "price=numeric(3,2)",
        "made=timestamptz USING unixepoch",
        "code=varchar(3)",
        "fine=bigint",
        "free=boolean",
    ]
    .map(|cast| format!("orders.{cast}"))
    .to_vec();
    let plan = plan_with_casts(&file, &casts);
    let foretold: Vec<(&str, u64, &[String])> = (plan.doubts.iter())
        .filter(|doubt| doubt.kind == DoubtKind::Quarantine)
        .filter_map(|doubt: &Doubt| {
            Some((
                doubt.column.as_deref()?,
                doubt.rows?,
                doubt.first_rows.as_slice(),
            ))
        })
        .collect();
    let row = |row: &str| vec![row.to_owned()];
    let two = |first: &str, second: &str| vec![first.to_owned(), second.to_owned()];
    let expected = [
        ("note", 1, row("3")),
        ("day", 2, two("2", "3")),
        ("mark", 1, row("2")),
        ("number", 2, two("2", "3")),
        ("price", 1, row("2")),
        ("made", 2, two("2", "3")),
        ("code", 2, two("2", "4")),
    ];
    let expected: Vec<(&str, u64, &[String])> = (expected.iter())
        .map(|(column, rows, first)| (*column, *rows, first.as_slice()))
        .collect();
    assert_eq!(foretold, expected, "{plan}");
    assert!(
        plan.to_string().contains(
            "orders.note holds values that boolean does not take (the text is neither \"yes\" nor \"no\"): their rows go to quarantine (1 row: 3)"
        ),
        "{plan}"
    );
    // What was foretold comes true.
    let report = run_copy_of(
        &plan,
        &database.socket_url(),
        &file,
        &support::migration::options(),
    )
    .await
    .unwrap();
    assert_eq!(report.quarantined, [("orders".to_owned(), 3)]);
}

#[test]
fn options_that_contradict_each_other_or_the_source_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = source(
        &folder,
        "CREATE TABLE users (id INTEGER PRIMARY KEY, born TEXT); CREATE TABLE orders (id INTEGER PRIMARY KEY)",
    );
    let refused = |change: &dyn Fn(&mut PlanOptions)| -> PlanError {
        let mut options = PlanOptions::default();
        change(&mut options);
        let open = || Connection::open(&file);
        let error = Plan::make("source.db", &open, &options).expect_err("no plan");
        assert!(error.is_wrong_usage(), "{error}");
        error
    };
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let casts = |casts: &[&str]| casts.iter().map(|cast| cast.parse().unwrap()).collect();
    for (error, said) in [
        (
            refused(&|options| {
                options.tables = names(&["users"]);
                options.exclude = names(&["U*"]);
            }),
            "--tables and --exclude leave no table to copy; the tables are: users, orders",
        ),
        (
            refused(&|options| options.tables = names(&["x*"])),
            "--tables and --exclude leave no table to copy; the tables are: users, orders",
        ),
        (
            refused(&|options| {
                options.casts = casts(&["users.born=date", "Users.BORN=timestamp"]);
            }),
            "Users.BORN is cast twice, to date and to timestamp; leave one of the casts out",
        ),
        (
            refused(&|options| options.casts = casts(&["user.born=date"])),
            "the cast of user.born fits no column that is copied; no table user is copied; the tables are: users, orders",
        ),
        (
            refused(&|options| options.casts = casts(&["*.died=date"])),
            "the cast of *.died fits no column that is copied; no table has such a column",
        ),
    ] {
        assert_eq!(error.to_string(), said);
    }
    // One by the table's name goes before one for all tables.
    let both = plan_with_casts(&file, &["*.born=text".into(), "users.born=date".into()]);
    assert_eq!(both.tables[0].columns[1].type_.to_string(), "date");
    assert_eq!(plan(&file).skipped, []);
}
