//! Migration through a real PgBouncer: sessions keep nothing from one transaction to the next there.

mod support;

use springtide_migrate::copy::CopyOptions;
use springtide_migrate::follow::{FinishOptions, Until};
use springtide_migrate::steps::{self, Places};
use springtide_migrate::torture;
use springtide_migrate::verify::VerifyOptions;
use support::migration::{MANY, options, plan, run_copy, run_verify, source, target};
use support::pgbouncer::Pooler;
use support::postgres;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_migration_goes_through_transaction_pooling() {
    let Some(database) = postgres::database() else {
        return;
    };
    // Whichever session is lent has settings of its own: nothing may rely on them.
    database.sql(&format!(
        "ALTER DATABASE {} SET search_path = pg_catalog; ALTER DATABASE {0} SET datestyle = 'german'",
        database.name
    ));
    for settings in [
        ["pool_mode = transaction", "default_pool_size = 5", ""],
        [
            "pool_mode = transaction",
            "default_pool_size = 6",
            "server_round_robin = 1",
        ],
    ] {
        let Some(pooler) = Pooler::start(&database, &settings).await else {
            return;
        };
        let url = pooler.url(&database);
        assert!(target(&url).connect_first().await.unwrap().is_pooled());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("torture.db");
        let connection = rusqlite::Connection::open(&file).unwrap();
        torture::fill(&connection).unwrap();
        connection
            .execute_batch(&format!(
                "CREATE TABLE many (id INTEGER PRIMARY KEY, t TEXT); {MANY} 20000) INSERT INTO many SELECT i, 'x' || i FROM n"
            ))
            .unwrap();
        drop(connection);
        // Many small transactions, so that sessions change hands often.
        let small = CopyOptions {
            chunk_rows: 300,
            ..options()
        };
        let report = run_copy(&url, &file, &small).await.unwrap();
        assert_eq!(report.not_made, []);
        let verified = run_verify(&url, &file, &report, &VerifyOptions::default()).await;
        assert!(verified.is_equal(), "{verified:?}");
        let quarantined: u64 = report.quarantined.iter().map(|(_, rows)| rows).sum();
        let expected: u64 = torture::QUARANTINED.iter().map(|(_, rows)| rows).sum();
        assert_eq!(quarantined, expected);
        database.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP SCHEMA springtide_migrate CASCADE");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn following_and_the_cut_over_go_through_transaction_pooling() {
    let Some(database) = postgres::database() else {
        return;
    };
    let Some(pooler) = Pooler::start(&database, &["pool_mode = transaction"]).await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = source(
        &folder,
        &format!(
            "PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); {MANY} 2000) INSERT INTO t SELECT i, 'a' || i FROM n"
        ),
    );
    let places = Places::parse(&file.to_string_lossy(), &pooler.url(&database), "public").unwrap();
    let (events, mut received) = mpsc::channel(16);
    let drain = tokio::spawn(async move { while received.recv().await.is_some() {} });
    let followed = CopyOptions {
        followed: true,
        ..options()
    };
    steps::copy(
        &places,
        &plan(&file),
        &followed,
        events,
        CancellationToken::new(),
    )
    .await
    .unwrap();
    drain.await.unwrap();
    let writer = rusqlite::Connection::open(&file).unwrap();
    writer
        .execute_batch("UPDATE t SET a = 'new' WHERE id % 2; DELETE FROM t WHERE id > 1900")
        .unwrap();
    steps::follow(&places, &Until::Current, |_| {})
        .await
        .unwrap();
    writer
        .execute_batch("INSERT INTO t VALUES (5000, 'last')")
        .unwrap();
    let finished = steps::finish(&places, &FinishOptions::default(), |_| {})
        .await
        .unwrap();
    assert_eq!((finished.quarantined, finished.unmet.len()), (0, 0));
    assert_eq!(
        database.sql("SELECT count(*), count(*) FILTER (WHERE a = 'new'), max(id) FROM t"),
        "1901|950|5000"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_pooler_is_like_a_server_and_statement_pooling_is_refused() {
    let Some(database) = postgres::database() else {
        return;
    };
    let Some(pooler) = Pooler::start(&database, &["pool_mode = session"]).await else {
        return;
    };
    let session = target(&pooler.url(&database))
        .connect_first()
        .await
        .unwrap();
    assert!(!session.is_pooled());
    drop(session);

    for (settings, expected) in [
        (["pool_mode = statement", ""], "takes no transactions"),
        (
            ["pool_mode = transaction", "default_pool_size = 1"],
            "raise default_pool_size",
        ),
    ] {
        let Some(pooler) = Pooler::start(&database, &settings).await else {
            return;
        };
        let error = target(&pooler.url(&database))
            .connect_first()
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_pooler_does_not_pass_on_is_told() {
    let Some(database) = postgres::database() else {
        return;
    };
    let Some(pooler) = Pooler::start(&database, &["pool_mode = transaction"]).await else {
        return;
    };
    let url = format!("{}?options=-cstatement_timeout%3D0", pooler.url(&database));
    // From 1.20 on it passes options on.
    if let Err(error) = target(&url).connect().await {
        let error = error.to_string();
        assert!(error.contains("ignore_startup_parameters"), "{error}");
    }
    let url = pooler.url(&database).replace(&database.name, "nowhere");
    let error = target(&url).connect_first().await.unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
}
