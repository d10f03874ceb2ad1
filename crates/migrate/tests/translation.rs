//! Translated schemas against a real PostgreSQL: every expression that is translated answers there
//! what SQLite answers, value by value, and every statement of a plan is accepted.

mod support;

use std::process::Stdio;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use springtide_migrate::ddl::{self, Phase};
use springtide_migrate::plan::{
    Conversion, Plan, PlanOptions, TargetType, quote_literal, quote_name,
};
use springtide_migrate::torture;
use support::postgres::{self, Database};

const TABLE: &str = "
CREATE TABLE t (
  id INTEGER PRIMARY KEY, i INTEGER, j INTEGER, r REAL, s TEXT, u TEXT, n TEXT COLLATE NOCASE,
  f BOOLEAN, d DATE, m DATETIME, b BLOB, x INTEGER_OR_TEXT, w BOOLEAN
);
INSERT INTO t VALUES
  (1, 7, 2, 2.5, 'Hello', 'hello', 'ABC', 1, '2024-02-29', '2024-02-29 23:59:59', x'00ff', 5, 't'),
  (2, -7, 0, -0.5, '', 'x''y', 'abc', 0, '2023-12-31', '2023-12-31 00:00:00', x'', 'five', 'f'),
  (3, 0, -3, 0.0, 'ÄÖ%_z', 'äö', 'É', 1, '0001-01-01', '2024-01-01 12:00:00', x'4142', 1, 't'),
  (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (5, 4611686018427387904, 1, 1e300, '  pad  ', 'p%', 'x\\y', 0, '9999-12-31', '2024-02-29 23:59:58', x'ff', '5x', 'f');
";

/// Expressions over the table that must answer alike.
const SAME: &[&str] = &[
    "i / j",
    "i % j",
    "i + j * 2",
    "i - 1.5",
    "-i",
    "+i",
    "~i",
    "i & j",
    "i | 8",
    "i << 2",
    "i >> 1",
    "7 / 2",
    "-7 / 2",
    "-7 % 3",
    "7 / 0",
    "r / 0",
    "r / 2",
    "i / 2.0",
    "r * j",
    "1000000 * 1000000",
    "i > j",
    "i = j",
    "i <> 7",
    "i == 7",
    "i != j",
    "NOT i",
    "NOT r",
    "i AND j",
    "i OR NULL",
    "NOT (i AND 0)",
    "i IS NULL",
    "i IS NOT NULL",
    "i ISNULL",
    "i NOTNULL",
    "i IS j",
    "i IS NOT j",
    "i IS 7",
    "i IS TRUE",
    "i IS NOT FALSE",
    "f",
    "f = 1",
    "f = 0",
    "1 = f",
    "f <> 1",
    "f > 0",
    "f + 1",
    "f AND i",
    "f IN (0, 1)",
    "f IS TRUE",
    "f = '1'",
    "f = i",
    "NOT f",
    "f || ''",
    "CASE WHEN f THEN 1 ELSE 0 END",
    "CASE f WHEN 1 THEN 'y' WHEN 0 THEN 'n' END",
    "coalesce(f, 0)",
    "coalesce(f, 5)",
    "s || u",
    "s || i",
    "s || NULL",
    "i || j",
    "s = 'Hello'",
    "s = \"Hello\"",
    "s < u",
    "s >= 'H'",
    "s > u COLLATE NOCASE",
    "s = u COLLATE NOCASE",
    "n = 'abc'",
    "'abc' = n",
    "n = 'é'",
    "n < 'b'",
    "n = 'abc' COLLATE BINARY",
    "n IN ('abc', 'x')",
    "n BETWEEN 'a' AND 'b'",
    "n || 'x' = 'ABCx'",
    "s LIKE 'h%'",
    "s LIKE 'H_LLO'",
    "u LIKE 'Ä%'",
    "s LIKE '%\\%%' ESCAPE '\\'",
    "s NOT LIKE '%l%'",
    "n LIKE '%\\%'",
    "i LIKE '7%'",
    "s LIKE u",
    "s GLOB 'H*'",
    "s GLOB '[A-Z]*'",
    "s GLOB '*[^a-z]*'",
    "u GLOB 'h?llo'",
    "s GLOB '*%_*'",
    "u GLOB '*''*'",
    "s NOT GLOB 'h*'",
    "s GLOB '[]H]*'",
    "length(s)",
    "length(i)",
    "length(b)",
    "lower(s)",
    "upper(u)",
    "trim(s)",
    "ltrim(s)",
    "rtrim(s)",
    "trim(s, 'Ho')",
    "replace(s, 'l', 'LL')",
    "replace(s, '', 'x')",
    "substr(s, 2)",
    "substr(s, 0)",
    "substr(s, 2, 2)",
    "substr(s, 0, 2)",
    "substr(s, -3)",
    "substr(b, 2)",
    "instr(s, 'l')",
    "instr(s, '')",
    "hex(b)",
    "hex(s)",
    "hex(i)",
    "unicode(s)",
    "abs(i)",
    "abs(r)",
    "coalesce(i, j, 3)",
    "ifnull(s, 'none')",
    "nullif(i, 7)",
    "nullif(n, 'abc')",
    "iif(i > 0, 'pos', 'not')",
    "iif(i, 1, 2.5)",
    "min(i, j)",
    "max(i, j, 1)",
    "max(s, u)",
    "min(r, i)",
    "typeof(i)",
    "typeof(r)",
    "typeof(s)",
    "typeof(f)",
    "typeof(d)",
    "typeof(b)",
    "typeof(NULL)",
    "sign(i)",
    "octet_length(s)",
    "char(72, 105)",
    "CAST(i AS TEXT)",
    "CAST(i AS REAL)",
    "CAST(r AS INTEGER)",
    "CAST('12' AS INTEGER)",
    "CAST(s AS TEXT)",
    "CAST(f AS INTEGER)",
    "CAST(NULL AS TEXT)",
    "i BETWEEN j AND 8",
    "i NOT BETWEEN -7 AND 0",
    "i IN (7, -7, NULL)",
    "i NOT IN (1, 2)",
    "i NOT IN (1, NULL)",
    "i IN ()",
    "i NOT IN ()",
    "s IN ('Hello', 'x')",
    "i IN (SELECT j FROM t)",
    "i NOT IN (SELECT j FROM t WHERE j IS NOT NULL)",
    "(i, j) IN (SELECT i, j FROM t)",
    "EXISTS (SELECT 1 FROM t q WHERE q.i > t.i)",
    "(SELECT max(q.i) FROM t q WHERE q.j < t.i)",
    "(SELECT s FROM t q WHERE q.id = t.id)",
    "(SELECT count(*) FROM t q WHERE q.f)",
    "(SELECT sum(i) FROM t WHERE id < 4)",
    "(SELECT total(i) FROM t WHERE 0)",
    "(SELECT sum(i) FROM t WHERE 0)",
    "(SELECT avg(j) FROM t)",
    "(SELECT group_concat(s, '-' ORDER BY id) FROM t)",
    "(SELECT min(s) FROM t)",
    "(SELECT max(f) FROM t)",
    "(SELECT count(DISTINCT f) FROM t)",
    "d",
    "m",
    "d = '2024-02-29'",
    "d < '2024-0'",
    "d > m",
    "d || ''",
    "m || 'Z'",
    "m > '2024-01-01'",
    "m = '2024-02-29 23:59:59'",
    "substr(d, 1, 4)",
    "coalesce(d, 'never')",
    "date(d)",
    "date(m)",
    "datetime(d)",
    "time(m)",
    "date(d, 'start of month')",
    "datetime(m, '+1 day', '-2 hours')",
    "strftime('%Y/%m/%d', d)",
    "strftime('%H:%M:%S', m)",
    "strftime('%j', d)",
    "unixepoch(m)",
    "date(id, 'unixepoch')",
    "datetime(86400 * id, 'unixepoch')",
    "x",
    "x = 5",
    "x = '5'",
    "x = 'five'",
    "x IN (1, 'five')",
    "x || '!'",
    "x IS NULL",
    "length(x)",
    "coalesce(x, 9)",
    "w = 't'",
    "'f' = w",
    "w == 't'",
    "w <> 't'",
    "w != 'f'",
    "w IS 'f'",
    "w IS NOT 't'",
    "w IN ('t')",
    "w NOT IN ('t', 'f')",
    "w IN (SELECT w FROM t WHERE id = 1)",
    "w IS NULL",
    "w || '!'",
    "length(w)",
    "typeof(w)",
    "upper(w)",
    "w LIKE 'T'",
    "CASE w WHEN 't' THEN 1 WHEN 'f' THEN 0 END",
    "coalesce(w, 'x')",
    "coalesce(w, 'f') = 'f'",
    "w = (SELECT q.w FROM t q WHERE q.id = 2)",
    "rank() OVER (ORDER BY w)",
    "TRUE",
    "FALSE",
    "NULL",
    "1 = 1",
    "0x10",
    "1e3",
    "'it''s'",
    "x'4142'",
    "b = x'00ff'",
    "b < x'41'",
    "CASE i WHEN 7 THEN 'seven' WHEN NULL THEN 'never' ELSE 'other' END",
    "CASE WHEN i > 0 THEN i WHEN i < 0 THEN 0.5 END",
    "rowid",
    "_rowid_ + 1",
    "t.i",
    "main.t.i",
    "-9223372036854775808",
    "9223372036854775807",
    "i = 7.0",
    "r = 2.5",
    "i = '7'",
    "r > '1'",
    "i < 7.5",
    "row_number() OVER (ORDER BY i DESC)",
    "rank() OVER (PARTITION BY f ORDER BY i)",
    "lag(i, 1, 0) OVER (ORDER BY id)",
    "sum(j) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
    "likely(i)",
    "i > 0 IS TRUE",
    "(i > 0) + 1",
    "(i > 0) || 'x'",
    "- (i > 0)",
    "sum(id) OVER ()",
    "concat(s, NULL, i)",
    "i IS NOT DISTINCT FROM j",
    "i IS DISTINCT FROM 7",
    "(i, j) = (7, 2)",
];

/// Expressions that must be refused, each with the word that the reason must hold.
const REFUSED: &[(&str, &str)] = &[
    ("printf('%d', i)", "printf"),
    ("round(r)", "round"),
    ("s AND 1", "truth value"),
    ("s + 1", "calculates"),
    ("d < '2024'", "compared"),
    ("s = (SELECT i FROM t)", "compared"),
    ("s = i", "compared"),
    ("i = 'seven'", "compared"),
    ("r || ''", "text"),
    ("x < 5", "compared"),
    ("typeof(x)", "typeof"),
    ("s REGEXP 'x'", "REGEXP"),
    ("s GLOB u", "GLOB"),
    ("CAST(s AS INTEGER)", "CAST"),
    ("datetime('now', 'localtime')", "localtime"),
    ("date(d, '+1 month')", "month"),
    ("strftime('%W', d)", "strftime"),
    ("json_extract(s, '$.a')", "JSON"),
    ("last_insert_rowid()", "connection"),
    ("iif(i > 0, 'text', 1)", "iif"),
    ("substr(s, i)", "substr"),
    ("i % 1.5", "%"),
    ("n IN (SELECT s FROM t)", "IN"),
    ("missing_function(i)", "missing_function"),
    ("w = 'true'", "compared"),
    ("w = 1", "compared"),
    ("w IN ('t', 'yes')", "compared"),
    ("w > 'f'", "compared"),
    ("w = s", "compared"),
    ("w AND 1", "truth value"),
    ("w IS TRUE", "truth value"),
    ("w + 0", "calculates"),
];

fn plan_of(database: &Connection) -> (Plan, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("source.db");
    database
        .execute(
            &format!(
                "VACUUM INTO {}",
                quote_literal(path.to_str().expect("a plain path"))
            ),
            [],
        )
        .expect("the database is written");
    let open = || Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let plan = Plan::make("source.db", &open, &PlanOptions::default()).expect("a plan");
    (plan, folder)
}

/// Runs a script, which must succeed.
fn run(database: &Database, script: &str) {
    use std::io::Write;
    let mut psql = database
        .psql()
        .args(["-o", "/dev/null"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql starts");
    psql.stdin
        .take()
        .expect("a pipe")
        .write_all(script.as_bytes())
        .expect("psql reads");
    let output = psql.wait_with_output().expect("psql ends");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn schema_script(plan: &Plan, wanted: impl Fn(Phase) -> bool) -> String {
    ddl::statements(plan)
        .into_iter()
        .filter(|made| wanted(made.phase))
        .map(|made| format!("{};\n", made.sql))
        .collect()
}

/// What SQLite's value is in the words of the comparison below.
fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("real {number:?}"),
        ValueRef::Text(text) => format!("text {}", String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => format!("blob {}", hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn literal(value: ValueRef<'_>, type_: &TargetType, conversion: &Conversion) -> String {
    match (value, type_) {
        (ValueRef::Null, _) => "NULL".to_owned(),
        (ValueRef::Integer(number), TargetType::Boolean) => (number == 1).to_string(),
        (ValueRef::Integer(number), _) if *conversion == Conversion::TextFromAny => {
            format!("'{number}'")
        }
        (ValueRef::Integer(number), _) => format!("'{number}'"),
        (ValueRef::Real(number), _) => format!("'{number:?}'"),
        (ValueRef::Text(text), _) => quote_literal(std::str::from_utf8(text).expect("plain text")),
        (ValueRef::Blob(bytes), _) => format!("'\\x{}'", hex(bytes)),
    }
}

fn inserts(source: &Connection, plan: &Plan, table: &str) -> String {
    let table = plan.table(table).expect("the table");
    let mut query = source
        .prepare(&format!("SELECT * FROM {}", quote_name(&table.source)))
        .expect("a query");
    let mut rows = query.query([]).expect("rows");
    let mut script = String::new();
    while let Some(row) = rows.next().expect("a row") {
        let values: Vec<String> = (table.columns.iter().enumerate())
            .map(|(at, column)| {
                literal(
                    row.get_ref(at).expect("a value"),
                    &column.type_,
                    &column.conversion,
                )
            })
            .collect();
        script.push_str(&format!(
            "INSERT INTO {} VALUES ({});\n",
            plan.qualified(table),
            values.join(", ")
        ));
    }
    script
}

#[test]
fn every_translated_expression_answers_what_sqlite_answers() {
    let Some(target) = postgres::database() else {
        return;
    };
    let source = Connection::open_in_memory().expect("a database");
    source.execute_batch(TABLE).expect("the table");
    for (number, expression) in SAME.iter().enumerate() {
        source
            .execute(
                &format!("CREATE VIEW v{number} AS SELECT id, {expression} AS e FROM t"),
                [],
            )
            .unwrap_or_else(|error| panic!("{expression}: {error}"));
    }
    let (plan, _folder) = plan_of(&source);
    let mut wrong = Vec::new();
    for skipped in &plan.skipped {
        let expression = skipped
            .name
            .strip_prefix('v')
            .and_then(|number| number.parse::<usize>().ok())
            .map(|number| SAME[number]);
        wrong.push(format!("{expression:?} is refused: {}", skipped.reason));
    }
    run(
        &target,
        &schema_script(&plan, |phase| phase <= Phase::Tables),
    );
    run(&target, &inserts(&source, &plan, "t"));
    for view in &plan.views {
        let number: usize = view.source[1..].parse().expect("a number");
        let expression = SAME[number];
        let made = target.try_sql(&view.statements[0]);
        if let Err(error) = made {
            wrong.push(format!(
                "{expression}: {} is not accepted: {error}",
                view.statements[0]
            ));
            continue;
        }
        let query = format!(
            "SELECT string_agg(coalesce(encode(convert_to(e::text, 'UTF8'), 'hex'), 'null') || ' ' || pg_typeof(e)::text, \
             '|' ORDER BY id) FROM v{number}"
        );
        let answers = match target.try_sql(&query) {
            Ok(answers) => answers,
            Err(error) => {
                wrong.push(format!("{expression}: {error} ({})", view.statements[0]));
                continue;
            }
        };
        let answers: Vec<&str> = answers.split('|').collect();
        let mut query = source
            .prepare(&format!("SELECT e FROM v{number} ORDER BY id"))
            .expect("a query");
        let mut rows = query.query([]).expect("rows");
        let mut at = 0;
        while let Some(row) = rows.next().expect("a row") {
            let value = row.get_ref(0).expect("a value");
            let (digits, type_) = answers[at].split_once(' ').expect("a value and a type");
            let text = if digits == "null" {
                None
            } else {
                Some(unhex(digits))
            };
            if !same(value, text.as_deref(), type_) {
                wrong.push(format!(
                    "{expression} in row {}: SQLite {}, PostgreSQL {text:?} {type_} ({})",
                    at + 1,
                    shown(value),
                    view.statements[0]
                ));
            }
            at += 1;
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn unhex(digits: &str) -> String {
    let bytes: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).expect("hexadecimal"))
        .collect();
    String::from_utf8(bytes).expect("UTF-8")
}

fn same(value: ValueRef<'_>, text: Option<&str>, type_: &str) -> bool {
    match (value, text) {
        (ValueRef::Null, None) => true,
        (ValueRef::Null, Some(_)) | (_, None) => false,
        (ValueRef::Integer(number), Some(text)) if type_ == "boolean" => {
            (number == 1) == (text == "true")
        }
        (ValueRef::Integer(number), Some(text)) if type_ == "double precision" => {
            text.parse() == Ok(number as f64)
        }
        (ValueRef::Integer(number), Some(text)) => text == number.to_string(),
        (ValueRef::Real(number), Some(text)) => text.parse::<f64>() == Ok(number),
        (ValueRef::Text(bytes), Some(text)) => bytes == text.as_bytes(),
        (ValueRef::Blob(bytes), Some(text)) => text == format!("\\x{}", hex(bytes)),
    }
}

#[test]
fn what_cannot_be_translated_is_refused_by_name() {
    let source = Connection::open_in_memory().expect("a database");
    source.execute_batch(TABLE).expect("the table");
    for name in ["regexp", "missing_function"] {
        let count = if name == "regexp" { 2 } else { 1 };
        let flags = rusqlite::functions::FunctionFlags::SQLITE_UTF8;
        source
            .create_scalar_function(name, count, flags, |_| Ok(1))
            .expect("a function");
    }
    for (number, (expression, _)) in REFUSED.iter().enumerate() {
        source
            .execute(
                &format!("CREATE VIEW v{number} AS\nSELECT id,\n{expression} AS e FROM t"),
                [],
            )
            .expect("a view");
    }
    let (plan, _folder) = plan_of(&source);
    for (number, (expression, word)) in REFUSED.iter().enumerate() {
        let name = format!("v{number}");
        let Some(skipped) = plan.skipped.iter().find(|skipped| skipped.name == name) else {
            panic!(
                "{expression} is translated: {:?}",
                plan.views.iter().find(|view| view.source == name)
            );
        };
        assert!(
            skipped.reason.contains(word),
            "{expression}: {}",
            skipped.reason
        );
    }
    let printf = plan
        .skipped
        .iter()
        .find(|skipped| skipped.name == "v0")
        .expect("it is refused");
    assert_eq!(printf.line, Some(3));
}

#[test]
fn every_statement_of_the_torture_database_is_accepted() {
    let Some(target) = postgres::database() else {
        return;
    };
    let source = Connection::open_in_memory().expect("a database");
    torture::fill(&source).expect("the database is filled");
    let (plan, _folder) = plan_of(&source);
    run(&target, &schema_script(&plan, |_| true));
    let kept: Vec<&str> = plan
        .skipped
        .iter()
        .map(|skipped| skipped.name.as_str())
        .collect();
    let expected = [
        "search",
        "places",
        "untranslatable",
        "computed.again",
        "computed.shown",
        "long_texts_body",
        "untranslated",
        "untranslated_trigger",
    ];
    for name in expected {
        assert!(kept.contains(&name), "{name} is skipped: {kept:?}");
    }
    assert_eq!(kept.len(), expected.len(), "{kept:?}");
    let doubted: u64 = plan
        .doubts
        .iter()
        .filter(|doubt| doubt.kind == springtide_migrate::plan::DoubtKind::Quarantine)
        .filter_map(|doubt| doubt.rows)
        .sum();
    assert_eq!(
        doubted,
        4 + 2 + 1,
        "rows of bad_text, strays and wide_floats"
    );
}

#[test]
fn triggers_do_in_postgres_what_they_did() {
    let Some(target) = postgres::database() else {
        return;
    };
    let source = Connection::open_in_memory().expect("a database");
    torture::fill(&source).expect("the database is filled");
    let (plan, _folder) = plan_of(&source);
    run(
        &target,
        &schema_script(&plan, |phase| phase <= Phase::Tables),
    );
    for table in ["not_nulls", "parents"] {
        run(&target, &inserts(&source, &plan, table));
    }
    run(
        &target,
        &schema_script(&plan, |phase| {
            phase > Phase::Tables && phase != Phase::ForeignKeys && phase != Phase::Validate
        }),
    );
    let steps = "
        UPDATE not_nulls SET name = 'new' WHERE id = 1;
        INSERT INTO grown_ups (name, age) VALUES ('Anna', 40);
        INSERT INTO parents (id, code) VALUES (10, 'p10');
        DELETE FROM parents WHERE id > 1;";
    source
        .execute_batch(&format!("PRAGMA foreign_keys = OFF; {steps}"))
        .expect("SQLite takes the steps");
    run(&target, steps);
    for query in [
        "SELECT group_concat(id || name || age || coalesce(note, '-'), ';') AS a FROM (SELECT * FROM not_nulls ORDER BY id) AS q",
        "SELECT group_concat(id || code, ';') AS a FROM (SELECT * FROM parents ORDER BY id) AS q",
        "SELECT group_concat(what, ';') AS a FROM (SELECT * FROM audit ORDER BY id) AS q WHERE what LIKE '%p10'",
    ] {
        let expected: String = source
            .query_row(query, [], |row| row.get(0))
            .expect("an answer");
        assert_eq!(
            target.sql(&query.replace("group_concat", "string_agg")),
            expected,
            "{query}"
        );
    }
    let refused = target
        .try_sql("DELETE FROM parents")
        .expect_err("the last parent stays");
    assert!(refused.contains("the last parent stays"), "{refused}");
}

#[test]
fn proj_comes_across_whole() {
    let path = "/usr/share/proj/proj.db";
    if !std::path::Path::new(path).exists() {
        return postgres::skipped("no /usr/share/proj/proj.db (apt install proj-data)");
    }
    let Some(target) = postgres::database() else {
        return;
    };
    let open = || Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let plan = Plan::make(path, &open, &PlanOptions::default()).expect("a plan");
    assert_eq!(plan.skipped, [], "nothing is left behind");
    let quarantined = plan
        .doubts
        .iter()
        .filter(|doubt| doubt.kind == springtide_migrate::plan::DoubtKind::Quarantine);
    assert_eq!(quarantined.count(), 0, "no row is quarantined");
    run(&target, &schema_script(&plan, |_| true));
    let source = open().expect("it opens");
    let count = |kind: &str| -> i64 {
        let query =
            "SELECT count(*) FROM sqlite_schema WHERE type = ?1 AND name NOT LIKE 'sqlite_%'";
        source
            .query_row(query, [kind], |row| row.get(0))
            .expect("a count")
    };
    assert_eq!(
        [plan.tables.len(), plan.views.len(), plan.triggers.len()].map(|number| number as i64),
        [count("table"), count("view"), count("trigger")]
    );
}

#[test]
fn what_no_plan_can_be_made_of_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("source.db");
    let database = Connection::open(&path).expect("a file");
    database
        .execute_batch("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)")
        .expect("a table");
    let fails = |path: &std::path::Path, options: &PlanOptions| {
        let open = || Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        Plan::make("source.db", &open, options)
            .expect_err("no plan")
            .to_string()
    };
    let options = |change: &dyn Fn(&mut PlanOptions)| {
        let mut options = PlanOptions::default();
        change(&mut options);
        options
    };
    let tables = options(&|options| options.tables = vec!["persons".to_owned()]);
    assert_eq!(
        fails(&path, &tables),
        "there is no table persons in the SQLite database; its tables are: people"
    );
    let cast =
        options(&|options| options.casts = vec!["people.nam=bytea".parse().expect("a cast")]);
    assert_eq!(
        fails(&path, &cast),
        "the cast of people.nam fits no column that is copied; the columns of people are: id, name"
    );
    let missing = folder.path().join("missing.db");
    let error = fails(&missing, &PlanOptions::default());
    assert!(
        error.starts_with("cannot open the SQLite database source.db"),
        "{error}"
    );
    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "this is no database, however long it is ".repeat(100),
    )
    .expect("a file");
    let error = fails(&text, &PlanOptions::default());
    assert!(error.contains("file is not a database"), "{error}");
}
