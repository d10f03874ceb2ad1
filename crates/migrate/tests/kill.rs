//! A copy that is killed at any point goes on where it was, and no row is there twice.
//!
//! The program that is killed is this test program itself, started again with `SPRINGTIDE_KILL_SOURCE`
//! and `SPRINGTIDE_KILL_TARGET` set: it then copies and verifies and nothing else.

mod support;

use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rusqlite::Connection;
use springtide_migrate::connection::{Environment, Target};
use springtide_migrate::copy::{CopyOptions, OnExisting, copy};
use springtide_migrate::plan::{Plan, PlanOptions};
use springtide_migrate::snapshot::{Mode, Snapshot};
use springtide_migrate::verify::{VerifyOptions, verify};
use support::postgres;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the copy is killed.
const KILLS: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn the_program_that_is_killed() {
    let (Ok(source), Ok(url)) = (
        std::env::var("SPRINGTIDE_KILL_SOURCE"),
        std::env::var("SPRINGTIDE_KILL_TARGET"),
    ) else {
        return;
    };
    let again = std::env::var("SPRINGTIDE_KILL_REPLACE").is_ok();
    let chunk_rows = std::env::var("SPRINGTIDE_KILL_CHUNK")
        .ok()
        .and_then(|rows| rows.parse().ok())
        .unwrap_or(700);
    let file = Path::new(&source);
    let open = || Connection::open(file);
    let plan = Plan::make(
        &source,
        &open,
        &PlanOptions {
            readers: 2,
            ..PlanOptions::default()
        },
    )
    .unwrap();
    let target = Target::parse(&url, &Environment::default()).unwrap();
    let snapshot = Snapshot::open(file, 2, Mode::Held).unwrap();
    let on_existing = if again {
        OnExisting::Replace
    } else {
        OnExisting::Fail
    };
    let options = CopyOptions {
        jobs: 2,
        on_existing,
        chunk_rows,
        ..CopyOptions::default()
    };
    let (events, mut received) = mpsc::channel(16);
    tokio::spawn(async move { while received.recv().await.is_some() {} });
    let started = Instant::now();
    let report = copy(
        &target,
        &snapshot,
        &plan,
        &options,
        events,
        CancellationToken::new(),
    )
    .await
    .unwrap();
    let copied = started.elapsed();
    assert_eq!(report.not_made, []);
    let (events, mut received) = mpsc::channel(16);
    tokio::spawn(async move { while received.recv().await.is_some() {} });
    let options = VerifyOptions {
        jobs: 2,
        ..VerifyOptions::default()
    };
    let verified = verify(
        &target,
        &snapshot,
        report.migration,
        &report.plan,
        &options,
        events,
        CancellationToken::new(),
    )
    .await
    .unwrap();
    assert!(verified.is_equal(), "{verified:?}");
    println!(
        "copied {} rows in {copied:?}, verified after {:?}",
        report.tally.copied,
        started.elapsed()
    );
}

fn child(source: &Path, url: &str, replace: bool) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "the_program_that_is_killed", "--nocapture"])
        .env("SPRINGTIDE_KILL_SOURCE", source)
        .env("SPRINGTIDE_KILL_TARGET", url);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    if replace {
        command.env("SPRINGTIDE_KILL_REPLACE", "1");
    }
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_killed_a_hundred_times_is_whole_each_time() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("source.db");
    let connection = Connection::open(&file).unwrap();
    let many = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ";
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = OFF;
             CREATE TABLE a (id INTEGER PRIMARY KEY, t TEXT UNIQUE, r REAL);
             {many} 9000) INSERT INTO a SELECT i, 'text ' || i, i / 3.0 FROM n;
             UPDATE a SET t = CAST(x'ff' || t AS TEXT) WHERE id % 1000 = 0;
             CREATE TABLE b (x, y INTEGER REFERENCES a (id));
             {many} 4000) INSERT INTO b SELECT 'same', i % 10000 FROM n;
             INSERT INTO b VALUES ('orphan', 12345);
             CREATE INDEX b_y ON b (y);
             CREATE TABLE c (k TEXT, n INTEGER, PRIMARY KEY (k, n)) WITHOUT ROWID;
             {many} 4000) INSERT INTO c SELECT 'k' || i % 7, i FROM n;"
        ))
        .unwrap();
    drop(connection);
    let url = database.socket_url();
    let seed = std::env::var("SPRINGTIDE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| std::hash::RandomState::new().build_hasher().finish());
    let mut random = StdRng::seed_from_u64(seed);
    eprintln!("seed {seed}");
    let started = Instant::now();
    let output = child(&file, &url, true).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let whole = started.elapsed();
    let state = || {
        database.sql("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b), (SELECT count(*) FROM c), (SELECT count(*) FROM springtide_migrate.quarantine), (SELECT count(*) FROM pg_constraint WHERE conrelid IN ('a'::regclass, 'b'::regclass, 'c'::regclass))")
    };
    let expected = state();
    assert!(expected.starts_with("8991|3996|4000|14|"), "{expected}");

    let (mut kills, mut finished) = (0, 0);
    while kills < KILLS {
        // A new copy, killed; then resumed until it is whole, and killed again half of the time.
        let mut replace = true;
        loop {
            let mut running = child(&file, &url, replace).spawn().unwrap();
            let die = kills < KILLS && (replace || random.random_bool(0.5));
            if die {
                tokio::time::sleep(whole.mul_f64(random.random_range(0.05..1.0))).await;
                running.kill().unwrap();
            }
            let output = tokio::task::spawn_blocking(move || running.wait_with_output().unwrap())
                .await
                .unwrap();
            if output.status.success() {
                break;
            }
            assert!(
                die && output.status.code().is_none(),
                "seed {seed}, after {kills} kills: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            kills += 1;
            replace = false;
        }
        finished += 1;
        assert_eq!(state(), expected, "seed {seed}, after {kills} kills");
    }
    eprintln!("{kills} kills, {finished} copies whole and equal");
    assert!(whole < Duration::from_secs(600));
}
