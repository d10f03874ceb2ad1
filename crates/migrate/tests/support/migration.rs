//! A migration of a small database, step by step, for tests.
#![allow(dead_code)] // Each test program uses another part of it.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use springtide_migrate::connection::{Environment, Target};
use springtide_migrate::copy::{CopyError, CopyOptions, CopyReport, Event, copy};
use springtide_migrate::plan::{Plan, PlanOptions};
use springtide_migrate::snapshot::{Mode, Snapshot};
use springtide_migrate::verify::{VerifyError, VerifyOptions, VerifyReport, verify};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::postgres::Database;

/// The beginning of an insertion of the numbers `i` from 1 to what follows.
pub(crate) const MANY: &str =
    "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < ";

/// Makes a source of these statements; foreign keys are not enforced.
pub(crate) fn source(folder: &tempfile::TempDir, statements: &str) -> PathBuf {
    let file = folder.path().join("source.db");
    let connection = Connection::open(&file).unwrap();
    connection
        .execute_batch("PRAGMA foreign_keys = OFF")
        .unwrap();
    connection.execute_batch(statements).unwrap();
    file
}

/// The plan of a source, without any options.
pub(crate) fn plan(file: &Path) -> Plan {
    plan_with_casts(file, &[])
}

/// The plan of a source with these `--cast`s.
pub(crate) fn plan_with_casts(file: &Path, casts: &[String]) -> Plan {
    let open = || Connection::open(file);
    let options = PlanOptions {
        readers: 1,
        casts: casts.iter().map(|cast| cast.parse().unwrap()).collect(),
        ..PlanOptions::default()
    };
    Plan::make(&file.to_string_lossy(), &open, &options).unwrap()
}

/// A target without anything from the environment.
pub(crate) fn target(url: &str) -> Target {
    Target::parse(url, &Environment::default()).unwrap()
}

/// Copies, or resumes.
pub(crate) async fn run_copy(
    url: &str,
    file: &Path,
    options: &CopyOptions,
) -> Result<CopyReport, CopyError> {
    run_copy_of(&plan(file), url, file, options).await
}

/// As [`run_copy`], by a plan of its own.
pub(crate) async fn run_copy_of(
    plan: &Plan,
    url: &str,
    file: &Path,
    options: &CopyOptions,
) -> Result<CopyReport, CopyError> {
    let snapshot = Snapshot::open(file, options.jobs, Mode::Held)?;
    let (events, mut received) = mpsc::channel::<Event>(16);
    let drain = tokio::spawn(async move { while received.recv().await.is_some() {} });
    let report = copy(
        &target(url),
        &snapshot,
        plan,
        options,
        events,
        CancellationToken::new(),
    )
    .await;
    drain.await.unwrap();
    report
}

/// Compares both sides after a copy.
pub(crate) async fn run_verify(
    url: &str,
    file: &Path,
    report: &CopyReport,
    options: &VerifyOptions,
) -> VerifyReport {
    try_verify(url, file, report, options).await.unwrap()
}

/// As [`run_verify`], with the error.
pub(crate) async fn try_verify(
    url: &str,
    file: &Path,
    report: &CopyReport,
    options: &VerifyOptions,
) -> Result<VerifyReport, VerifyError> {
    let snapshot = Snapshot::open(file, 2, Mode::Held).unwrap();
    let (events, mut received) = mpsc::channel(16);
    let drain = tokio::spawn(async move { while received.recv().await.is_some() {} });
    let verified = verify(
        &target(url),
        &snapshot,
        report.migration,
        &report.plan,
        options,
        events,
        CancellationToken::new(),
    )
    .await;
    drain.await.unwrap();
    verified
}

/// Two jobs, else as usual.
pub(crate) fn options() -> CopyOptions {
    CopyOptions {
        jobs: 2,
        ..CopyOptions::default()
    }
}

/// Copies and verifies.
pub(crate) async fn migrate(database: &Database, file: &Path) -> (CopyReport, VerifyReport) {
    let report = run_copy(&database.socket_url(), file, &options())
        .await
        .unwrap();
    let verified = run_verify(
        &database.socket_url(),
        file,
        &report,
        &VerifyOptions {
            jobs: 2,
            ..VerifyOptions::default()
        },
    )
    .await;
    (report, verified)
}
