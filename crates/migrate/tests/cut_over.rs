//! The whole way with writers at full speed: copy, follow and finish lose nothing, and a follower
//! that is killed at any point goes on.

mod support;

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use springtide_migrate::copy::{CopyOptions, OnExisting};
use springtide_migrate::follow::{Ended, FinishOptions, FollowError, Until, change_log};
use springtide_migrate::plan::PlanOptions;
use springtide_migrate::steps::{self, Places, RollbackOptions, StepError};
use springtide_migrate::verify::VerifyOptions;
use support::migration::source;
use support::writers::{self, Writers, expect_equal};
use support::{postgres, rows};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const ROWS: u32 = 300;
/// How often a follower is killed.
const KILLS: usize = 50;
/// Set in the process that is to be killed: what it follows.
const CHILD: &str = "SPRINGTIDE_TEST_FOLLOWER";

fn places(database: &postgres::Database, path: &Path) -> Places {
    Places::parse(
        &format!("sqlite:{}", path.display()),
        &database.url(),
        "public",
    )
    .expect("names")
}

async fn copy(places: &Places, followed: bool, on_existing: OnExisting) -> Result<(), StepError> {
    let options = PlanOptions {
        readers: 1,
        ..PlanOptions::default()
    };
    let plan = steps::plan(&places.path, &options).await?;
    let options = CopyOptions {
        jobs: 2,
        followed,
        on_existing,
        ..CopyOptions::default()
    };
    let (events, mut received) = mpsc::channel(16);
    let drain = tokio::spawn(async move { while received.recv().await.is_some() {} });
    let report = steps::copy(places, &plan, &options, events, CancellationToken::new()).await;
    drain.await.expect("drains");
    report.map(|_| ())
}

async fn is_written(writers: &Writers, more: u64) {
    let goal = writers.written() + more;
    for _ in 0..3_000 {
        if writers.written() >= goal {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the writers stand still");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_writers_lose_nothing_through_copy_follow_and_finish() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("source.db");
    writers::create(&path, ROWS);
    let places = places(&database, &path);
    let writers = Writers::start(&path, 4, 11);
    is_written(&writers, 50).await;
    // What the writers have done before is in the copy.
    copy(&places, true, OnExisting::Fail).await.expect("copies");
    let stop = CancellationToken::new();
    let follower = {
        let (places, until) = (places.clone(), Until::Stopped(stop.clone()));
        tokio::spawn(async move { steps::follow(&places, &until, |_| {}).await })
    };
    is_written(&writers, 500).await;
    let finished = steps::finish(&places, &FinishOptions::default(), |_| {})
        .await
        .expect("finishes");
    let (ended, ..) = follower.await.expect("did not panic").expect("follows");
    assert_eq!(ended, Ended::Relieved, "finish takes the follower's place");
    assert_eq!((finished.unmet.len(), finished.quarantined), (0, 0));

    let (done, refusals) = writers.end();
    assert_eq!(refusals.len(), 4, "every writer is told: {refusals:?}");
    let again = writers::do_again(&folder.path().join("again.db"), ROWS, &done);
    expect_equal(&database, &again).await;
    let error = steps::rollback(&path, Some(&places), RollbackOptions::default())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("--unseal"), "{error}");
    let unseal = RollbackOptions {
        unseal: true,
        ..RollbackOptions::default()
    };
    steps::rollback(&path, Some(&places), unseal)
        .await
        .expect("unseals");
    Connection::open(&path)
        .unwrap()
        .execute_batch("DELETE FROM event")
        .expect("is open again");
    let drop = RollbackOptions {
        drop_target: true,
        ..RollbackOptions::default()
    };
    let error = steps::rollback(&path, Some(&places), drop)
        .await
        .expect_err("the target's tables are the application's");
    assert!(error.to_string().contains("taken over"), "{error}");
    expect_equal(&database, &again).await;
}

/// Not a test of its own: the follower that the next test kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follower_that_is_killed() {
    let Ok(ends) = std::env::var(CHILD) else {
        return;
    };
    let (source, target) = ends.split_once(' ').expect("source and target");
    let places = Places::parse(source, target, "public").expect("names");
    let until = Until::Stopped(CancellationToken::new());
    let _ = steps::follow(&places, &until, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_killed_at_any_point_goes_on() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("source.db");
    writers::create(&path, ROWS);
    let places = places(&database, &path);
    copy(&places, true, OnExisting::Fail).await.expect("copies");
    let writers = Writers::start(&path, 2, 5);
    let program = std::env::current_exe().expect("this program");
    for kill in 0..KILLS {
        let mut child = std::process::Command::new(&program)
            .args(["--exact", "follower_that_is_killed"])
            .env(
                CHILD,
                format!("sqlite:{} {}", path.display(), database.url()),
            )
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("starts");
        // Somewhere between its start and a few rounds of replay.
        tokio::time::sleep(Duration::from_millis(20 + (kill as u64 * 37) % 300)).await;
        child.kill().expect("is killed");
        child.wait().expect("is dead");
    }
    let (done, _) = writers.end();
    let (ended, ..) = steps::follow(&places, &Until::Current, |_| {})
        .await
        .expect("goes on");
    assert_eq!(ended, Ended::Current);
    let again = writers::do_again(&folder.path().join("again.db"), ROWS, &done);
    expect_equal(&database, &again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_without_recording_is_not_followed_and_rollback_leaves_no_trace() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("source.db");
    writers::create(&path, 20);
    let places = places(&database, &path);
    let schema = |path: &Path| {
        rows::of_source(
            &Connection::open(path).unwrap(),
            "SELECT type, name, sql FROM sqlite_schema",
        )
    };
    let before = schema(&path);
    copy(&places, false, OnExisting::Fail)
        .await
        .expect("copies");
    let error = steps::is_copied(&places, false).await.unwrap_err();
    assert!(
        matches!(error, StepError::Follow(FollowError::NotRecorded)),
        "{error}"
    );
    copy(&places, true, OnExisting::Replace)
        .await
        .expect("copies again");
    assert!(steps::is_copied(&places, false).await.expect("asks"));
    assert_ne!(schema(&path), before);
    let source = Connection::open(&path).unwrap();
    source
        .execute_batch("VACUUM; REPLACE INTO event VALUES (1, 'new', 2); VACUUM")
        .unwrap();
    steps::follow(&places, &Until::Current, |_| {})
        .await
        .expect("follows");
    expect_equal(&database, &source).await;
    let status = steps::status(&places).await.expect("tells");
    assert_eq!((status.recorded, status.waiting), (true, Some(0)));
    let options = RollbackOptions {
        drop_target: true,
        unseal: false,
    };
    steps::rollback(&path, Some(&places), options)
        .await
        .expect("rolls back");
    assert_eq!(schema(&path), before);
    assert_eq!(
        change_log::recording(&source).unwrap(),
        change_log::Recording::Absent
    );
    let left = "SELECT count(*) FROM pg_class WHERE relname IN ('event', 'account', 'migration')";
    assert_eq!(database.sql(left), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_says_equal_after_the_copy_and_not_after_a_write() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("source.db");
    writers::create(&path, 20);
    let places = places(&database, &path);
    copy(&places, false, OnExisting::Fail)
        .await
        .expect("copies");
    for expected in [true, false] {
        let (events, mut received) = mpsc::channel(16);
        let drain = tokio::spawn(async move { while received.recv().await.is_some() {} });
        let options = VerifyOptions {
            jobs: 1,
            ..VerifyOptions::default()
        };
        let report = steps::verify(&places, &options, events, CancellationToken::new()).await;
        drain.await.expect("drains");
        assert_eq!(report.expect("verifies").is_equal(), expected);
        Connection::open(&path)
            .unwrap()
            .execute_batch("UPDATE account SET balance = -1 WHERE id = 7")
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_without_a_parent_are_quarantined_at_the_finish_and_return_with_their_parent() {
    let Some(database) = postgres::database() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = source(
        &folder,
        "PRAGMA journal_mode = WAL;
         CREATE TABLE parents (id INTEGER PRIMARY KEY);
         INSERT INTO parents VALUES (1), (2);
         CREATE TABLE children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id));
         INSERT INTO children VALUES (1, 1), (2, 2), (3, 99);
         CREATE TABLE grandchildren (child INTEGER REFERENCES children (id), name TEXT);
         INSERT INTO grandchildren VALUES (1, 'a'), (3, 'b');",
    );
    let places = places(&database, &path);
    copy(&places, true, OnExisting::Fail).await.expect("copies");
    let quarantine = || {
        database
            .sql("SELECT table_name || ' ' || key FROM springtide_migrate.quarantine ORDER BY 1")
    };
    assert_eq!(quarantine(), "children 3\ngrandchildren 2");
    let writer = Connection::open(&path).expect("it opens");
    writer
        .execute_batch(
            "PRAGMA foreign_keys = OFF; INSERT INTO parents VALUES (99); INSERT INTO children VALUES (5, 77);
             INSERT INTO grandchildren VALUES (5, 'c'), (66, 'd'); DELETE FROM parents WHERE id = 2",
        )
        .expect("writes");
    steps::follow(&places, &Until::Current, |_| {})
        .await
        .expect("follows");
    assert_eq!(
        quarantine(),
        "",
        "while it follows nothing is refused for its parent"
    );
    let failing = FinishOptions {
        on_finish: Some("exit 1".to_owned()),
        ..FinishOptions::default()
    };
    steps::finish(&places, &failing, |_| {})
        .await
        .expect_err("the command fails");
    assert_eq!(
        quarantine(),
        "children 2\nchildren 5\ngrandchildren 3\ngrandchildren 4"
    );
    // The writers go on, and one of the rows gets its parent.
    writer
        .execute_batch("INSERT INTO children VALUES (66, 1)")
        .expect("writes");
    let refused = steps::finish(&places, &FinishOptions::default(), |_| {})
        .await
        .expect_err("not without these rows, unless it is wanted");
    assert!(
        matches!(&refused, StepError::Follow(FollowError::Quarantined { tables }) if tables == "2 of children, 1 of grandchildren"),
        "{refused}"
    );
    writer
        .execute_batch("INSERT INTO children VALUES (77, 1)")
        .expect("writers go on");
    let accepting = FinishOptions {
        accept_quarantine: true,
        ..FinishOptions::default()
    };
    let finished = steps::finish(&places, &accepting, |_| {})
        .await
        .expect("finishes");
    assert_eq!(
        (finished.quarantined, finished.unmet, finished.not_made),
        (3, Vec::new(), Vec::new())
    );
    assert_eq!(quarantine(), "children 2\nchildren 5\ngrandchildren 3");
    assert_eq!(
        database.sql("SELECT string_agg(id::text, ',' ORDER BY id) FROM children"),
        "1,3,66,77"
    );
    assert_eq!(
        database.sql("SELECT string_agg(name, ',' ORDER BY name) FROM grandchildren"),
        "a,b,d"
    );
    assert_eq!(
        database.sql("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated AND conrelid IN ('children'::regclass, 'grandchildren'::regclass)"),
        "2"
    );
}
