//! A database with everything in it that a migration can trip over, for tests.
//!
//! Each table is one trap, or a few of a kind. What a faithful migration does with it is in the
//! comment above it: values arrive unchanged, or their rows are quarantined.

use rusqlite::{Connection, params};

/// How many rows of the database cannot be taken by PostgreSQL as they are: table and number.
/// All other rows must arrive unchanged.
pub const QUARANTINED: [(&str, u64); 6] = [
    ("bad_text", 4),
    ("strays", 2),
    ("orphans", 2),
    ("checked", 2),
    ("nocase_keys", 1),
    ("wide_floats", 1),
];

/// Tables that must arrive whole.
pub const WHOLE: [&str; 34] = [
    "reals",
    "integers",
    "blobs_with_text",
    "not_nulls",
    "computed",
    "plain_rowid",
    "autoinc",
    "hidden_rowid",
    "no_key",
    "without_rowid",
    "null_key",
    "desc_key",
    "booleans",
    "word_booleans",
    "odd_booleans",
    "dates",
    "mixed_dates",
    "timestamps",
    "python_times",
    "epochs",
    "uuids",
    "documents",
    "decimals",
    "numeric_default",
    "strict_types",
    "parents",
    "children",
    "order",
    "MixedCase",
    "typeless",
    "codes",
    "empty",
    "many_columns",
    "long_texts",
];

const SCHEMA: &str = r#"
-- REAL must not become float4.
CREATE TABLE reals (id INTEGER PRIMARY KEY, value REAL, small FLOAT, big DOUBLE PRECISION);
CREATE TABLE integers (id INTEGER PRIMARY KEY, tiny TINYINT, small SMALLINT, plain INT, big BIGINT);
-- Text in a BLOB column must not be decoded as base64.
CREATE TABLE blobs_with_text (id INTEGER PRIMARY KEY, data BLOB);
-- Text is never cut at NUL, invalid UTF-8 is never guessed at: such rows are quarantined.
CREATE TABLE bad_text (id INTEGER PRIMARY KEY, note TEXT);
-- One value that does not match must not drop the rest of its table: two rows of many are quarantined.
CREATE TABLE strays (id INTEGER PRIMARY KEY, amount INTEGER, label TEXT NOT NULL DEFAULT 'none');
-- NOT NULL outside the key must stay.
CREATE TABLE not_nulls (
  id INTEGER PRIMARY KEY, -- the number
  name TEXT NOT NULL, -- who it is
  age INTEGER NOT NULL DEFAULT 18,
  note TEXT
);
-- Computed columns, stored and virtual, one over another, one that cannot be translated.
CREATE TABLE computed (
  id INTEGER PRIMARY KEY,
  price REAL NOT NULL,
  amount INTEGER NOT NULL,
  total REAL GENERATED ALWAYS AS (price * amount) STORED,
  label TEXT AS (upper('n' || amount)) VIRTUAL,
  twice INTEGER AS (amount * 2) STORED,
  again INTEGER AS (twice + 1) VIRTUAL,
  shown TEXT AS (printf('%05d', amount)) STORED
);
CREATE TABLE plain_rowid (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE autoinc (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT);
-- Columns that have the names of the rowid.
CREATE TABLE hidden_rowid (rowid TEXT, oid TEXT, value INTEGER);
CREATE TABLE no_key (a TEXT, b INTEGER);
CREATE TABLE without_rowid (region TEXT, code INTEGER, name TEXT, PRIMARY KEY (region, code)) WITHOUT ROWID;
-- SQLite lets NULL into a primary key.
CREATE TABLE null_key (code TEXT PRIMARY KEY, name TEXT);
-- A key that looks like the rowid and is not.
CREATE TABLE desc_key (id INTEGER PRIMARY KEY DESC, name TEXT);
CREATE TABLE booleans (id INTEGER PRIMARY KEY, flag BOOLEAN NOT NULL DEFAULT 0, other BOOL DEFAULT TRUE);
CREATE TABLE word_booleans (id INTEGER PRIMARY KEY, flag BOOLEAN);
CREATE TABLE odd_booleans (id INTEGER PRIMARY KEY, flag BOOLEAN);
CREATE TABLE dates (id INTEGER PRIMARY KEY, day DATE DEFAULT CURRENT_DATE, at TIME);
CREATE TABLE mixed_dates (id INTEGER PRIMARY KEY, day DATE, moment DATETIME);
CREATE TABLE timestamps (id INTEGER PRIMARY KEY, made DATETIME DEFAULT CURRENT_TIMESTAMP, seen TIMESTAMP);
CREATE TABLE python_times (id INTEGER PRIMARY KEY, made TIMESTAMP);
CREATE TABLE epochs (id INTEGER PRIMARY KEY, made DATETIME);
CREATE TABLE uuids (id UUID PRIMARY KEY, other GUID, raw UUID);
CREATE TABLE documents (id INTEGER PRIMARY KEY, body JSON, keyed JSON UNIQUE);
CREATE TABLE decimals (id INTEGER PRIMARY KEY, price DECIMAL(10,2), free NUMERIC, wide DECIMAL(4,1));
CREATE TABLE numeric_default (id INTEGER PRIMARY KEY, value NUMERIC DEFAULT false, word NUMERIC DEFAULT 'x1');
CREATE TABLE strict_types (id INTEGER PRIMARY KEY, i INT NOT NULL, r REAL, t TEXT, b BLOB, a ANY) STRICT;
CREATE TABLE parents (
  id INTEGER PRIMARY KEY,
  code TEXT NOT NULL UNIQUE,
  CONSTRAINT code_is_short CHECK (length(code) <= 8)
);
CREATE TABLE children (
  id INTEGER PRIMARY KEY,
  parent_id INTEGER NOT NULL REFERENCES parents ON DELETE CASCADE ON UPDATE CASCADE,
  parent_code TEXT REFERENCES parents (code) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
  boss INTEGER REFERENCES children (id) ON DELETE SET DEFAULT
);
-- Orphans that SQLite let through while foreign keys were off.
CREATE TABLE orphans (id INTEGER PRIMARY KEY, parent_id INTEGER REFERENCES parents (id));
-- Rows that break a check, written while checks were ignored.
CREATE TABLE checked (id INTEGER PRIMARY KEY, age INTEGER CHECK (age >= 0 AND age < 150), kind TEXT CHECK (kind IN ('a', 'b')));
-- NOCASE must not be lost: ASCII letters are one whatever their case, and É is not é.
CREATE TABLE nocase_keys (id INTEGER PRIMARY KEY, email TEXT COLLATE NOCASE UNIQUE, name TEXT COLLATE NOCASE);
-- Words that SQL reserves.
CREATE TABLE "order" ("select" INTEGER PRIMARY KEY, "from" TEXT, "group" TEXT DEFAULT "quoted", user TEXT);
CREATE TABLE MixedCase (Id INTEGER PRIMARY KEY, FirstName TEXT, "Last Name" TEXT, "with ""quotes""" TEXT, ctid INTEGER, "" TEXT);
CREATE TABLE typeless (a, b, c);
-- Integers and texts in one column, keys between such columns.
CREATE TABLE codes (auth TEXT NOT NULL, code INTEGER_OR_TEXT NOT NULL, next_code INTEGER_OR_TEXT, PRIMARY KEY (auth, code),
  FOREIGN KEY (auth, next_code) REFERENCES codes (auth, code));
CREATE TABLE empty (id INTEGER PRIMARY KEY, made DATETIME, flag BOOLEAN, price DECIMAL(8,3), data BLOB, x);
CREATE TABLE long_texts (id INTEGER PRIMARY KEY, body TEXT);
-- Infinity has no place beside an integer that no double is equal to.
CREATE TABLE wide_floats (id INTEGER PRIMARY KEY, value NUMERIC);
CREATE INDEX long_texts_body ON long_texts (body);
CREATE INDEX children_boss ON children (boss DESC, parent_id);
CREATE INDEX children_partial ON children (parent_id) WHERE boss IS NOT NULL AND parent_code LIKE 'p%';
CREATE INDEX not_nulls_expression ON not_nulls (lower(name), age + 1 DESC);
CREATE UNIQUE INDEX nocase_name ON nocase_keys (name COLLATE BINARY);
CREATE UNIQUE INDEX rtrim_note ON not_nulls (note COLLATE RTRIM);
CREATE INDEX untranslatable ON not_nulls (printf('%s', name));
CREATE VIEW grown_ups AS SELECT name, age, age / 10 AS decade, age >= 65 AS old FROM not_nulls WHERE age >= 18 AND name LIKE 'A%' ORDER BY age;
CREATE VIEW counted AS SELECT p.code, count(c.id) AS children, group_concat(c.id) AS ids, max(c.id)
  FROM parents p LEFT JOIN children c ON c.parent_id = p.id GROUP BY p.code;
CREATE VIEW nested AS SELECT code, children * 2 AS twice FROM counted WHERE children IS NOT 0;
CREATE VIEW tree AS WITH RECURSIVE walk(id, depth) AS (
  SELECT id, 0 FROM children WHERE boss IS NULL
  UNION ALL SELECT c.id, depth + 1 FROM children c JOIN walk w ON c.boss = w.id WHERE depth < 100)
  SELECT id, depth FROM walk;
CREATE VIEW untranslated AS
SELECT id,
  printf('%d', id) AS shown
FROM parents;
CREATE TABLE audit (id INTEGER PRIMARY KEY, what TEXT NOT NULL, at TEXT DEFAULT (datetime('now')));
CREATE TRIGGER parents_audit AFTER INSERT ON parents WHEN NEW.id > 0
BEGIN
  INSERT INTO audit (what) VALUES ('new parent ' || NEW.code);
END;
CREATE TRIGGER parents_guard BEFORE DELETE ON parents
BEGIN
  SELECT RAISE(ABORT, 'the last parent stays') WHERE (SELECT count(*) FROM parents) <= 1;
END;
CREATE TRIGGER not_nulls_touch AFTER UPDATE OF name ON not_nulls
BEGIN
  UPDATE not_nulls SET note = coalesce(OLD.name, '') || '->' || NEW.name WHERE id = NEW.id;
  UPDATE not_nulls SET name = upper(name) WHERE id = NEW.id;
END;
CREATE TRIGGER untranslated_trigger AFTER DELETE ON children
BEGIN
  INSERT OR REPLACE INTO audit (id, what) VALUES (OLD.id, printf('gone %d', OLD.id));
END;
CREATE TRIGGER grown_ups_insert INSTEAD OF INSERT ON grown_ups
BEGIN
  INSERT INTO not_nulls (name, age) VALUES (NEW.name, NEW.age);
END;
CREATE VIRTUAL TABLE search USING fts5(title, body);
CREATE VIRTUAL TABLE places USING rtree(id, x0, x1, y0, y1);
"#;

/// Fills an empty database.
///
/// # Errors
/// When SQLite refuses, which on an empty database it does not.
pub fn fill(database: &Connection) -> rusqlite::Result<()> {
    database.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA recursive_triggers = OFF; BEGIN")?;
    database.execute_batch(SCHEMA)?;
    many_columns(database)?;
    numbers(database)?;
    texts(database)?;
    times(database)?;
    database.execute_batch(ROWS)?;
    // What only a connection without checks can write.
    database.execute_batch(
        "PRAGMA ignore_check_constraints = ON;
         INSERT INTO checked VALUES (1, 30, 'a'), (2, -1, 'a'), (3, 40, 'z'), (4, NULL, NULL);
         PRAGMA ignore_check_constraints = OFF;
         COMMIT",
    )
}

const ROWS: &str = "
INSERT INTO not_nulls (id, name, note) VALUES (1, 'Ada', 'x'), (2, 'alan', NULL), (7, 'Grace', 'y ');
INSERT INTO not_nulls (name, age) VALUES ('Zuse', 85);
INSERT INTO computed (id, price, amount) VALUES (1, 0.1, 3), (2, 1e300, 2), (3, -2.5, 0);
INSERT INTO plain_rowid VALUES (-5, 'below zero'), (1, 'one'), (9223372036854775806, 'nearly the largest');
INSERT INTO autoinc (name) VALUES ('a'), ('b'), ('c');
DELETE FROM autoinc WHERE id = 3;
INSERT INTO hidden_rowid VALUES ('r', 'o', 1), ('r', 'o', 1), (NULL, NULL, NULL);
INSERT INTO no_key VALUES ('same', 1), ('same', 1), (NULL, NULL);
INSERT INTO without_rowid VALUES ('de', 1, 'eins'), ('de', 2, 'zwei'), ('', -1, NULL);
INSERT INTO null_key VALUES (NULL, 'one'), (NULL, 'two'), ('c', 'three');
INSERT INTO desc_key VALUES (3, 'c'), (1, 'a'), (NULL, 'none');
INSERT INTO booleans VALUES (1, 0, 1), (2, 1, NULL), (3, 1, 0);
INSERT INTO word_booleans VALUES (1, 'true'), (2, 'false'), (3, NULL);
INSERT INTO odd_booleans VALUES (1, 0), (2, 1), (3, 2), (4, -1);
INSERT INTO uuids VALUES
  ('67e55044-10b1-426f-9247-bb680e5fe0c8', '67E5504410B1426F9247BB680E5FE0C8', x'67e5504410b1426f9247bb680e5fe0c8'),
  ('00000000-0000-0000-0000-000000000000', NULL, NULL);
INSERT INTO documents VALUES (1, '{\"b\": 1, \"a\": [1, 2.50, null], \"a\": \"twice\"}', '[]'), (2, 'null', '{}'), (3, '17', '18'), (4, NULL, NULL);
INSERT INTO decimals VALUES (1, 12.34, 1, 1234.5), (2, 99999999.99, 0.1, 1), (3, -5, 12345678901234567, -0.25), (4, NULL, NULL, NULL);
INSERT INTO numeric_default (id) VALUES (1);
INSERT INTO strict_types VALUES (1, 2, 3.5, 'four', x'05', 'any'), (2, -1, NULL, '', x'', 'thing');
INSERT INTO parents VALUES (1, 'p1'), (2, 'p2'), (3, 'P3');
INSERT INTO children VALUES (1, 1, 'p1', NULL), (2, 1, NULL, 1), (3, 2, 'P3', 2);
INSERT INTO orphans VALUES (1, 1), (2, 99), (3, NULL), (4, -1);
INSERT INTO nocase_keys VALUES (1, 'a@b.c', 'Ann'), (2, 'D@E.F', 'ann'), (3, 'É@x', 'x'), (4, 'é@x', 'y'), (5, NULL, NULL);
INSERT INTO \"order\" VALUES (1, 'f', 'g', 'u');
INSERT INTO \"order\" (\"select\") VALUES (2);
INSERT INTO MixedCase VALUES (1, 'Ada', 'Lovelace', 'q', 5, 'nameless');
INSERT INTO typeless VALUES (1, 'text', x'00ff'), (-2, 'more', NULL), (NULL, NULL, x'');
INSERT INTO codes VALUES ('EPSG', 4326, NULL), ('EPSG', 3857, 4326), ('IGNF', 'WGS84G', NULL), ('IGNF', 'LAMB93', 'WGS84G');
INSERT INTO search VALUES ('title', 'body');
INSERT INTO places VALUES (1, 0, 1, 0, 1);
";

fn many_columns(database: &Connection) -> rusqlite::Result<()> {
    let columns: Vec<String> = (1..=300)
        .map(|number| format!("column_{number} INTEGER"))
        .collect();
    let long =
        "a_name_that_is_far_longer_than_the_sixty_three_bytes_that_postgresql_keeps_of_any_name";
    database.execute_batch(&format!(
        "CREATE TABLE many_columns ({}, {long}_1 TEXT, {long}_2 TEXT);
         INSERT INTO many_columns (column_1, column_300, {long}_1, {long}_2) VALUES (1, 300, 'one', 'two')",
        columns.join(", ")
    ))
}

fn numbers(database: &Connection) -> rusqlite::Result<()> {
    let reals = [
        0.1,
        -0.0,
        1.0 / 3.0,
        f64::MAX,
        f64::MIN_POSITIVE,
        5e-324,
        f64::INFINITY,
        f64::NEG_INFINITY,
        123_456_789.123_456_79,
        16_777_217.0,
        9_007_199_254_740_993.0,
    ];
    for real in reals {
        database.execute(
            "INSERT INTO reals (value, small, big) VALUES (?1, ?1, -?1)",
            [real],
        )?;
    }
    let integers = [
        0,
        1,
        -1,
        127,
        128,
        -129,
        32_768,
        2_147_483_648,
        -2_147_483_649,
        i64::MAX,
        i64::MIN,
        9_007_199_254_740_993,
    ];
    for integer in integers {
        database.execute(
            "INSERT INTO integers (tiny, small, plain, big) VALUES (?1, ?1, ?1, ?1)",
            [integer],
        )?;
    }
    database.execute(
        "INSERT INTO wide_floats (value) VALUES (?1)",
        [9_007_199_254_740_993_i64],
    )?;
    database.execute(
        "INSERT INTO wide_floats (value) VALUES (?1)",
        [f64::INFINITY],
    )?;
    database.execute("INSERT INTO wide_floats (value) VALUES (?1)", [1.5])?;
    // A few strays among many.
    for number in 0..200 {
        database.execute("INSERT INTO strays (amount) VALUES (?1)", [number])?;
    }
    database.execute("INSERT INTO strays (amount) VALUES ('n/a')", [])?;
    database.execute("INSERT INTO strays (amount) VALUES (x'0102')", [])?;
    Ok(())
}

fn texts(database: &Connection) -> rusqlite::Result<()> {
    let mut insert = database.prepare("INSERT INTO blobs_with_text (data) VALUES (?1)")?;
    insert.execute(["aGVsbG8="])?;
    insert.execute(["\\x41"])?;
    insert.execute(params![b"\x00\x01\xff".as_slice()])?;
    insert.execute(params![b"".as_slice()])?;
    insert.execute(params![rusqlite::types::Null])?;
    // SQLite keeps whatever bytes a cast gives to text.
    let mut insert = database.prepare("INSERT INTO bad_text (note) VALUES (CAST(?1 AS TEXT))")?;
    let notes: [&[u8]; 9] = [
        b"plain",
        "ünïcödé 🦀 \u{10ffff}".as_bytes(),
        b"tab\tnewline\nreturn\rbackslash\\ quote'",
        b"\\N",
        b"",
        b"cut\0here",
        b"\xff\xfe",
        b"half \xc3",
        b"surrogate \xed\xa0\x80",
    ];
    for note in notes {
        insert.execute([note])?;
    }
    let mut insert = database.prepare("INSERT INTO long_texts (body) VALUES (?1)")?;
    insert.execute([String::new()])?;
    insert.execute(["ä".repeat(70_000)])?;
    insert.execute(["short"])?;
    Ok(())
}

fn times(database: &Connection) -> rusqlite::Result<()> {
    database.execute_batch(
        "INSERT INTO dates VALUES (1, '2024-02-29', '23:59:59'), (2, '0001-01-01', '00:00:00'), (3, '9999-12-31', NULL), (4, NULL, NULL);
         INSERT INTO mixed_dates VALUES (1, '2024-01-01', '2024-01-01 10:00:00'), (2, '31.12.2023', '2024-01-01T10:00:00Z'), (3, '2023-02-30', 1704103200);
         INSERT INTO timestamps VALUES (1, '2024-01-31 12:34:56', '2024-01-31T12:34:56.789Z'), (2, '1969-07-20 20:17:40', '1969-07-20T20:17:40.000Z');
         INSERT INTO python_times VALUES (1, '2024-01-31 12:34:56'), (2, '2024-01-31 12:34:56.123456'), (3, '2024-01-31 12:34:56.100000');
         INSERT INTO epochs VALUES (1, 0), (2, 1704103200), (3, -1);",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_it_speaks_of_exist_and_hold_rows() {
        let database = Connection::open_in_memory().unwrap();
        fill(&database).unwrap();
        for table in QUARANTINED.iter().map(|(table, _)| *table).chain(WHOLE) {
            let count: i64 = database
                .query_row(
                    &format!("SELECT count(*) FROM {}", crate::plan::quote_name(table)),
                    [],
                    |row| row.get(0),
                )
                .unwrap();
            assert!(count > 0 || table == "empty", "{table}");
        }
    }
}
