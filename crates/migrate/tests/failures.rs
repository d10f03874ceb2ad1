//! What goes wrong at the server is a sentence that says what to do, and the next run goes on: a full
//! disk, killed sessions, a crash, missing rights, a server that takes no writes.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use springtide_migrate::copy::CopyOptions;
use springtide_migrate::follow::{FinishOptions, Until};
use springtide_migrate::steps::{self, Places};
use springtide_migrate::verify::VerifyOptions;
use support::migration::{
    MANY, migrate, options, plan, run_copy, run_verify, source, target, try_verify,
};
use support::postgres::{self, Account, Database, Server, Setup};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Small transactions, so that a failure falls between many of them.
fn small_chunks() -> CopyOptions {
    CopyOptions {
        chunk_rows: 500,
        ..options()
    }
}

/// A source whose copy takes a while.
fn large(folder: &tempfile::TempDir) -> std::path::PathBuf {
    source(
        folder,
        &format!(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE facts (id INTEGER PRIMARY KEY, name TEXT UNIQUE, ratio REAL);
             {MANY} 60000) INSERT INTO facts SELECT i, 'fact ' || i, i / 7.0 FROM n;
             CREATE TABLE pairs (a TEXT, b INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID;
             {MANY} 20000) INSERT INTO pairs SELECT 'k' || i % 10, i FROM n;"
        ),
    )
}

/// Copies until it is whole, and expects both sides to be equal.
async fn expect_resumed(database: &Database, file: &Path) {
    let (report, verified) = migrate(database, file).await;
    assert!(
        report.resumed,
        "the notes of the first run are gone on with"
    );
    assert_eq!((report.tally.copied, report.not_made), (80_000, Vec::new()));
    assert!(verified.is_equal(), "{verified:?}");
}

/// Ends sessions of the migration that run such a statement, as soon as there are some.
async fn kill(database: &Database, statement: &str) {
    for _ in 0..2_000 {
        let killed = database.sql(&format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE application_name = 'tide migrate' AND datname = current_database() AND query LIKE '{statement}'"
        ));
        if killed != "0" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no session ran {statement}");
}

/// A lock on a table, which keeps whoever needs it where he is; it ends when it is dropped.
struct HeldLock(Child);

impl HeldLock {
    fn on(database: &Database, table: &str) -> Self {
        let mut holder = database
            .psql()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql starts");
        let mut input = holder.stdin.take().expect("its input");
        write!(
            input,
            "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE;\n\\echo locked\n"
        )
        .expect("psql reads");
        let mut said = String::new();
        BufReader::new(holder.stdout.take().expect("its output"))
            .read_line(&mut said)
            .expect("psql answers");
        assert_eq!(said.trim(), "locked");
        // The transaction ends with the input.
        holder.stdin = Some(input);
        Self(holder)
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file system of a given size, seen by everybody.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None, with a line that says so, where none can be mounted.
    fn new(megabytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(folder.path())
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            postgres::skipped("no right to mount a small disk (run as root)");
            return None;
        }
        let disk = Self(folder);
        if let Some(account) = Account::of_the_server() {
            std::os::unix::fs::chown(disk.0.path(), Some(account.user), Some(account.group))
                .expect("giving the disk to the server's user");
        }
        Some(disk)
    }

    fn resize(&self, megabytes: u32) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,size={megabytes}m")])
            .arg(self.0.path())
            .status()
            .expect("mount runs");
        assert!(status.success(), "{status}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_the_copy_goes_on_when_there_is_room() {
    let (Some(database), Some(disk)) = (postgres::database(), SmallDisk::new(3)) else {
        return;
    };
    let name = &database.name;
    database.sql(&format!(
        "CREATE TABLESPACE small_{name} LOCATION '{}'",
        disk.0.path().display()
    ));
    database.sql(&format!(
        "ALTER DATABASE {name} SET default_tablespace = small_{name}"
    ));
    let folder = tempfile::tempdir().unwrap();
    let file = source(
        &folder,
        &format!(
            "CREATE TABLE facts (id INTEGER PRIMARY KEY, note TEXT UNIQUE);
             {MANY} 20000) INSERT INTO facts SELECT i, i || hex(zeroblob(200)) FROM n"
        ),
    );
    let (mut in_copy, mut after) = (0, 0);
    for megabytes in (3..60).step_by(3) {
        disk.resize(megabytes);
        let Err(error) = run_copy(&database.socket_url(), &file, &small_chunks()).await else {
            break;
        };
        let error = error.to_string();
        assert!(
            error.contains("the disk of the PostgreSQL server is full while")
                && error.contains("make room there, then run the same command again to resume"),
            "{error}"
        );
        in_copy += u32::from(error.contains("copying table facts"));
        after += u32::from(error.contains("making "));
    }
    assert!(in_copy > 0 && after > 0, "{in_copy} {after}");
    let (report, verified) = migrate(&database, &file).await;
    assert_eq!((report.tally.copied, report.not_made), (20_000, Vec::new()));
    assert!(verified.is_equal(), "{verified:?}");
    // The tablespace must be left before the disk goes.
    database.sql(&format!(
        "DROP TABLE facts; DROP SCHEMA springtide_migrate CASCADE; ALTER DATABASE {name} RESET default_tablespace"
    ));
    database.sql(&format!("DROP TABLESPACE small_{name}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_killed_in_copy_or_verification_is_told_and_the_next_run_goes_on() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = large(&folder);
    let url = database.socket_url();
    // Workers with rows that are not committed, the holder of the migration's lock, all of them.
    for statement in ["UPDATE springtide_migrate.piece%", "SAVEPOINT fence%", "%"] {
        let copying = {
            let (url, file) = (url.clone(), file.clone());
            tokio::spawn(async move { run_copy(&url, &file, &small_chunks()).await })
        };
        has_rows(&database).await;
        let lock = HeldLock::on(&database, "springtide_migrate.piece");
        kill(&database, statement).await;
        drop(lock);
        let error = copying.await.unwrap().unwrap_err().to_string();
        assert!(
            error.contains("run the same command again to resume"),
            "{error}"
        );
    }
    expect_resumed(&database, &file).await;

    let report = run_copy(&url, &file, &options()).await.unwrap();
    let lock = HeldLock::on(&database, "facts");
    let verifying = {
        let (url, file, report) = (url.clone(), file.clone(), report.clone());
        let options = VerifyOptions {
            jobs: 2,
            ..VerifyOptions::default()
        };
        tokio::spawn(async move { try_verify(&url, &file, &report, &options).await })
    };
    kill(&database, "SELECT count(*), coalesce(sum(h)%facts%").await;
    drop(lock);
    let error = verifying.await.unwrap().unwrap_err().to_string();
    assert!(
        error.contains("while verifying table") && error.contains("run the same command again"),
        "{error}"
    );
    let verified = run_verify(&url, &file, &report, &VerifyOptions::default()).await;
    assert!(verified.is_equal(), "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_server_is_told_and_the_next_run_goes_on() {
    let Some(programs) = postgres::programs() else {
        return;
    };
    let server = Server::start(&programs, &Setup::default()).unwrap();
    let database = server.database();
    let folder = tempfile::tempdir().unwrap();
    let file = large(&folder);
    let url = database.socket_url();
    let copying = {
        let (url, file) = (url.clone(), file.clone());
        tokio::spawn(async move { run_copy(&url, &file, &small_chunks()).await })
    };
    has_rows(&database).await;
    // It holds until the server goes.
    let _lock = HeldLock::on(&database, "springtide_migrate.piece");
    let mut while_down = Ok(());
    server.restart(|| {
        while_down = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                match run_copy(&url, &file, &options()).await {
                    Ok(_) => Ok(()),
                    Err(error) => Err(error.to_string()),
                }
            })
        });
    });
    let error = copying.await.unwrap().unwrap_err().to_string();
    assert!(
        error.contains("run the same command again to resume"),
        "{error}"
    );
    let error = while_down.unwrap_err();
    assert!(error.contains("no PostgreSQL answers at"), "{error}");
    expect_resumed(&database, &file).await;
}

/// Waits until a copy has brought its first rows.
async fn has_rows(database: &Database) {
    for _ in 0..2_000 {
        let counted = database.try_sql("SELECT count(*) > 0 FROM facts");
        if counted.is_ok_and(|some| some == "t") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no rows arrive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_outlives_killed_sessions_and_a_crash_of_the_server() {
    let Some(programs) = postgres::programs() else {
        return;
    };
    let server = Server::start(&programs, &Setup::default()).unwrap();
    let database = server.database();
    let folder = tempfile::tempdir().unwrap();
    let file = large(&folder);
    Connection::open(&file)
        .unwrap()
        .execute_batch(
            "CREATE TABLE owners (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO owners VALUES (1, 0), (2, 0);
             CREATE TABLE things (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES owners ON DELETE CASCADE);
             INSERT INTO things VALUES (1, 1), (2, 1), (3, 2);",
        )
        .unwrap();
    let places = Places::parse(&file.to_string_lossy(), &database.socket_url(), "public").unwrap();
    let (events, mut received) = mpsc::channel(16);
    let drain = tokio::spawn(async move { while received.recv().await.is_some() {} });
    let followed = CopyOptions {
        followed: true,
        ..options()
    };
    let plan = plan(&file);
    let cancel = CancellationToken::new();
    steps::copy(&places, &plan, &followed, events, cancel)
        .await
        .unwrap();
    drain.await.unwrap();
    let stop = CancellationToken::new();
    let mut follower = {
        let (places, until) = (places.clone(), Until::Stopped(stop.clone()));
        tokio::spawn(async move { steps::follow(&places, &until, |_| {}).await })
    };
    let writer = Connection::open(&file).unwrap();
    writer.busy_timeout(Duration::from_secs(30)).unwrap();
    // What is outlived are killed sessions of following: one that is killed while it is prepared ends it.
    writer
        .execute_batch("INSERT INTO facts (name) VALUES ('begun')")
        .unwrap();
    is_current(&database, "begun", &mut follower).await;
    for round in 0..4 {
        writer
            .execute_batch(&format!(
                "UPDATE facts SET ratio = {round} WHERE id % 10 = {round};
                 DELETE FROM pairs WHERE b % 50 = {round};
                 INSERT INTO facts (name) VALUES ('new {round}')"
            ))
            .unwrap();
        if round == 2 {
            server.restart(|| {});
        } else {
            kill(&database, "%").await;
        }
        is_current(&database, &format!("new {round}"), &mut follower).await;
    }
    stop.cancel();
    follower.await.unwrap().unwrap();

    // A session killed during the cut-over undoes it, and the next one does it.
    let killing = format!(
        "{}/psql -X -h {} -p {} -U {} -d {} -c \"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tide migrate'\"",
        programs.display(),
        database.socket_folder().display(),
        database.port(),
        postgres::USER,
        database.name
    );
    let killed = FinishOptions {
        on_finish: Some(killing),
        ..FinishOptions::default()
    };
    let error = steps::finish(&places, &killed, |_| {})
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("run the same command again"), "{error}");
    writer
        .execute_batch("INSERT INTO facts (name) VALUES ('after all'); UPDATE owners SET n = 1")
        .expect("the source is open again");
    let finished = steps::finish(&places, &FinishOptions::default(), |_| {})
        .await
        .unwrap();
    assert_eq!((finished.quarantined, finished.unmet.len()), (0, 0));
    let expected: (i64, i64, f64) = writer
        .query_row(
            "SELECT (SELECT count(*) FROM facts), (SELECT count(*) FROM pairs), (SELECT sum(ratio) FROM facts WHERE id % 10 < 4)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(
        database.sql("SELECT (SELECT count(*) FROM facts), (SELECT count(*) FROM pairs), (SELECT round(sum(ratio)) FROM facts WHERE id % 10 < 4)"),
        format!("{}|{}|{}", expected.0, expected.1, expected.2.round())
    );
    // Owners were replayed after foreign keys had been made once.
    assert_eq!(
        database.sql("SELECT (SELECT sum(n) FROM owners), (SELECT count(*) FROM things)"),
        "2|3"
    );
}

/// Waits until a follower has brought a row over.
async fn is_current<T: std::fmt::Debug>(
    database: &Database,
    name: &str,
    follower: &mut tokio::task::JoinHandle<T>,
) {
    for _ in 0..3_000 {
        if follower.is_finished() {
            panic!("the follower ended: {:?}", follower.await);
        }
        let arrived =
            database.try_sql(&format!("SELECT count(*) FROM facts WHERE name = '{name}'"));
        if arrived.is_ok_and(|count| count == "1") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the row {name} does not arrive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named_with_the_grant_that_helps() {
    let Some(database) = postgres::database() else {
        return;
    };
    let name = &database.name;
    let user = format!("limited_{name}");
    database.sql(&format!(
        "CREATE ROLE {user} LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE ALL ON DATABASE {name} FROM PUBLIC"
    ));
    let url = database
        .socket_url()
        .replace(&format!("{}@", postgres::USER), &format!("{user}@"));
    let folder = tempfile::tempdir().unwrap();
    let file = source(
        &folder,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT COLLATE NOCASE UNIQUE); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    );
    for (expected, mend) in [
        (
            "may not use database",
            format!("GRANT CONNECT ON DATABASE {name} TO {user}"),
        ),
        (
            &format!("GRANT CREATE ON DATABASE {name} TO {user} (") as &str,
            format!("GRANT CREATE ON DATABASE {name} TO {user}"),
        ),
        (
            &format!(
                "GRANT USAGE, CREATE ON SCHEMA public TO {user}, or choose another with --schema"
            ),
            format!(
                "GRANT USAGE, CREATE ON SCHEMA public TO {user}; ALTER ROLE {user} SET default_transaction_read_only = on"
            ),
        ),
        (
            "target_session_attrs=read-write",
            format!(
                "ALTER ROLE {user} RESET default_transaction_read_only; ALTER ROLE {user} CONNECTION LIMIT 2"
            ),
        ),
        (
            "too many connections for role",
            format!(
                "ALTER ROLE {user} CONNECTION LIMIT -1; ALTER ROLE {user} SET statement_timeout = 1"
            ),
        ),
    ] {
        let error = run_copy(&url, &file, &options()).await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        database.sql(&mend);
    }
    // A limit that the role has can be lifted for the migration.
    let report = run_copy(
        &format!("{url}?options=-cstatement_timeout%3D0"),
        &file,
        &options(),
    )
    .await
    .unwrap();
    assert_eq!((report.tally.copied, report.not_made), (2, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_refused_with_the_way_to_the_primary() {
    let Some(programs) = postgres::programs() else {
        return;
    };
    let server = Server::start(&programs, &Setup::default()).unwrap();
    let database = server.database();
    let folder = tempfile::tempdir().unwrap();
    let file = source(&folder, "CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    server.become_standby();
    let error = run_copy(&database.socket_url(), &file, &options())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("takes no writes") && error.contains("name the primary"),
        "{error}"
    );
    let url = format!("{}?target_session_attrs=read-write", database.socket_url());
    let error = target(&url).connect().await.unwrap_err().to_string();
    assert!(error.contains("is not one that takes writes"), "{error}");
}
