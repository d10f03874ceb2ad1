//! The cut-over: writers are kept out of the source for as long as the last changes take.

use std::time::Duration;

use serde::Serialize;
use tokio::process::Command;
use tokio::time::Instant;

use super::completion::{self, Unmet};
use super::replay::Replay;
use super::{FollowError, Stage, change_log, position};
use crate::connection::{QueryError, Session};
use crate::state::{self, Migration, Phase};

/// A log shorter than this is replayed under the lock.
const FEW_ENTRIES: u64 = 500;
/// Rounds that may pass without the log becoming shorter: then writers are faster than replay, and
/// only the lock helps.
const MOST_WITHOUT_GAIN: usize = 5;

/// How to finish.
#[derive(Debug, Clone, Default)]
pub struct FinishOptions {
    /// A shell command to run while the source is locked and the target complete.
    pub on_finish: Option<String>,
    /// Leave the source open to writes, which then go nowhere else.
    pub leave_writable: bool,
    /// Let the target take over without the rows that are in quarantine.
    pub accept_quarantine: bool,
}

/// What the finish does at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinishStep {
    /// Replaying, writers at work; entries left.
    CatchingUp(u64),
    /// Writers wait from now on.
    Locked,
    /// The command runs.
    Running(String),
    /// Writers are refused from now on, or let in again.
    Unlocked,
    /// Foreign keys are checked for the rows that are there.
    Validating,
}

/// What the finish did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Finished {
    /// How long writers had to wait.
    pub locked: Duration,
    /// Entries of the log replayed, all in all.
    pub replayed: u64,
    /// Of these, under the lock.
    pub replayed_locked: u64,
    /// Rows written to the target and read back, equal to the source.
    pub compared: u64,
    /// Foreign keys that rows were breaking in the source already.
    pub unmet: Vec<Unmet>,
    /// Foreign keys and triggers that could not be made, and why.
    pub not_made: Vec<(String, String)>,
    /// Rows in quarantine.
    pub quarantined: u64,
    /// The source still takes writes.
    pub writable: bool,
}

/// Cuts over.
///
/// # Errors
/// When either side fails or the command does; the source is then open to its writers and recorded
/// as before, and following can go on.
pub async fn finish(
    session: &Session,
    migration: &Migration,
    replay: &mut Replay,
    options: &FinishOptions,
    mut tell: impl FnMut(FinishStep),
) -> Result<Finished, FollowError> {
    let mut done = Finished {
        writable: options.leave_writable,
        ..Finished::default()
    };
    let at = position::find(session, migration.id)
        .await?
        .ok_or(FollowError::NotRecorded)?;
    if at.stage == Stage::Finished {
        seal_finished(replay, at.entry, options).await?;
        return Ok(done);
    }
    // What was in quarantine may have its place by now.
    replay.retry_quarantined(session).await?;
    catch_up(session, replay, &mut done, &mut tell).await?;
    // Looked for while writers are at work: under the lock it would take long for nothing.
    let orphaned = completion::has_orphans(session, migration).await?;
    catch_up(session, replay, &mut done, &mut tell).await?;
    replay.retry_quarantined(session).await?;
    replay.hold(session).await?;
    let locked_at = Instant::now();
    tell(FinishStep::Locked);
    let switched = async {
        replay_rest(session, replay, &mut done).await?;
        if orphaned {
            completion::quarantine_orphans(session, migration).await?;
        }
        done.quarantined = check_quarantine(session, migration, options).await?;
        switch(
            session, migration, replay, options, &at, &mut done, &mut tell,
        )
        .await
    }
    .await;
    if let Err(error) = switched {
        undo(session, migration, replay).await;
        tell(FinishStep::Unlocked);
        return Err(error);
    }
    let writable = options.leave_writable;
    let plan = std::sync::Arc::clone(&replay.plan);
    replay
        .with_source(move |source| {
            change_log::remove_objects(source)?;
            if writable {
                Ok(())
            } else {
                change_log::seal(source, &plan, SEALED)
            }
        })
        .await?;
    replay.release(true).await?;
    done.locked = locked_at.elapsed();
    tell(FinishStep::Unlocked);

    tell(FinishStep::Validating);
    let rowids = completion::remove_followed_rowids(&migration.plan);
    completion::run_together(
        session,
        &rowids,
        "dropping the columns that following needed",
    )
    .await?;
    done.unmet = completion::validate(session, &migration.plan).await?;
    Ok(done)
}

/// How many rows are in quarantine.
///
/// # Errors
/// When there are some and the target is not to take over without them.
async fn check_quarantine(
    session: &Session,
    migration: &Migration,
    options: &FinishOptions,
) -> Result<u64, FollowError> {
    let tables = state::quarantined(session, migration.id).await?;
    let rows = tables.iter().map(|(_, rows)| rows).sum();
    if rows > 0 && !options.accept_quarantine {
        let tables: Vec<String> = tables
            .iter()
            .map(|(table, rows)| format!("{rows} of {table}"))
            .collect();
        return Err(FollowError::Quarantined {
            tables: tables.join(", "),
        });
    }
    Ok(rows)
}

/// What a writer of a sealed source is told.
const SEALED: &str = "this database has moved to PostgreSQL and takes no more writes (tide migrate finish sealed it; tide migrate rollback --unseal opens it)";

/// Replays while writers are at work, until little is left or they are faster.
async fn catch_up(
    session: &Session,
    replay: &mut Replay,
    done: &mut Finished,
    tell: &mut impl FnMut(FinishStep),
) -> Result<(), FollowError> {
    let (mut least, mut without_gain) = (u64::MAX, 0);
    while without_gain < MOST_WITHOUT_GAIN {
        let round = replay.round(session).await?;
        count(done, &round);
        tell(FinishStep::CatchingUp(round.behind));
        if round.behind == 0 && round.entries < FEW_ENTRIES {
            break;
        }
        without_gain = if round.behind < least {
            0
        } else {
            without_gain + 1
        };
        least = least.min(round.behind);
    }
    Ok(())
}

/// Replays what is left under the lock.
async fn replay_rest(
    session: &Session,
    replay: &mut Replay,
    done: &mut Finished,
) -> Result<(), FollowError> {
    loop {
        let round = replay.round(session).await?;
        count(done, &round);
        done.replayed_locked += round.entries;
        if round.behind == 0 {
            return Ok(());
        }
    }
}

async fn switch(
    session: &Session,
    migration: &Migration,
    replay: &mut Replay,
    options: &FinishOptions,
    at: &position::Position,
    done: &mut Finished,
    tell: &mut impl FnMut(FinishStep),
) -> Result<(), FollowError> {
    let plan = std::sync::Arc::clone(&replay.plan);
    let mut statements = replay
        .with_source(move |source| completion::sequences(&plan, source))
        .await?;
    // A finish that was killed may have made them.
    statements.extend(completion::remove_guards(&migration.plan));
    completion::run_together(session, &statements, "setting the sequences").await?;
    done.not_made = completion::add_guards(session, &migration.plan).await?;
    position::set_stage(session, migration.id, Stage::Switching).await?;
    if let Some(command) = &options.on_finish {
        tell(FinishStep::Running(command.clone()));
        run(command, migration).await?;
    }
    let failed = |error| QueryError::while_doing("noting that the target has taken over", &error);
    session.batch_execute("BEGIN").await.map_err(failed)?;
    if let Some(entry) = replay.held_at() {
        position::advance(session, migration.id, entry, at.schema_version).await?;
    }
    position::set_stage(session, migration.id, Stage::Finished).await?;
    state::set_phase(session, migration.id, Phase::Finished).await?;
    session.batch_execute("COMMIT").await.map_err(failed)?;
    Ok(())
}

/// Puts everything back as it was while following. What fails here is left to the next finish.
async fn undo(session: &Session, migration: &Migration, replay: &mut Replay) {
    // The last transaction may be what failed.
    let _ = session.batch_execute("ROLLBACK").await;
    let _ = replay.release(false).await;
    let guards = completion::remove_guards(&migration.plan);
    let _ =
        completion::run_together(session, &guards, "taking back foreign keys and triggers").await;
    let _ = position::set_stage(session, migration.id, Stage::Following).await;
    let _ = state::set_phase(session, migration.id, Phase::Following).await;
}

/// A finish that was killed after the target had taken over has left the source open.
async fn seal_finished(
    replay: &mut Replay,
    position: i64,
    options: &FinishOptions,
) -> Result<(), FollowError> {
    let (writable, plan) = (options.leave_writable, std::sync::Arc::clone(&replay.plan));
    replay
        .with_source(move |source| {
            let transaction =
                source.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let later = change_log::last_entry(&transaction)? - position;
            if later > 0 {
                return Err(FollowError::WrittenAfterFinish { entries: later });
            }
            change_log::remove_objects(&transaction)?;
            if !writable {
                change_log::seal(&transaction, &plan, SEALED)?;
            }
            Ok(transaction.commit()?)
        })
        .await
}

async fn run(command: &str, migration: &Migration) -> Result<(), FollowError> {
    let failed = |reason: String| FollowError::Command {
        command: command.to_owned(),
        reason,
    };
    let status = Command::new("sh")
        .args(["-c", command])
        .env("TIDE_MIGRATE_SOURCE", &migration.source)
        .env("TIDE_MIGRATE_SCHEMA", &migration.plan.schema)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if status.success() {
        Ok(())
    } else {
        Err(failed(status.to_string()))
    }
}

fn count(done: &mut Finished, round: &super::Round) {
    done.replayed += round.entries;
    done.compared += round.rows;
}
