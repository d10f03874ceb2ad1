//! Following, finishing and rolling back, with what must be looked after around them.

use std::time::Duration;

use super::{Places, StepError};
use crate::connection::{QueryError, Session};
use crate::follow::{
    self, Ended, FinishOptions, FinishStep, Finished, FollowError, Lag, Replay, Stage, Until,
    change_log, following, position,
};
use crate::plan::quote_name;
use crate::state::{self, Migration, Phase, RunLock, StateError};

/// How often a follower in another terminal is given time to end.
const TRIES: usize = 5;

/// Follows a copied migration until told to end; tells also how many rows are in quarantine then.
///
/// # Errors
/// When there is no copy whose changes are recorded, or either side fails.
pub async fn follow(
    places: &Places,
    until: &Until,
    tell: impl FnMut(Lag),
) -> Result<(Ended, Lag, u64), StepError> {
    let session = places.target.connect_first().await?;
    let migration = places.find_copied(&session).await?;
    let _lock = RunLock::take(&places.target, &places.source_name(), &places.schema).await?;
    let mut replay = open(places, &session, &migration).await?;
    following::ask_to_stop(&session, migration.id, false).await?;
    following::take_back_switch(&session, &migration).await?;
    if migration.phase != Phase::Following {
        follow::begin(&session, &migration, &mut replay).await?;
    }
    let (ended, lag) = follow::follow(&places.target, &mut replay, until, tell).await?;
    // PostgreSQL may have been lost meanwhile, and the session with it.
    let session = places.target.connect().await?;
    let quarantined = state::quarantined(&session, migration.id).await?;
    Ok((ended, lag, quarantined.iter().map(|(_, rows)| rows).sum()))
}

/// Cuts over: takes the place of a follower in another terminal, then see [`follow::finish`](crate::follow::finish()).
///
/// # Errors
/// See there.
pub async fn finish(
    places: &Places,
    options: &FinishOptions,
    tell: impl FnMut(FinishStep),
) -> Result<Finished, StepError> {
    let session = places.target.connect_first().await?;
    let migration = places.find_copied(&session).await?;
    let _lock = take_over(places, &session, &migration).await?;
    let mut replay = open(places, &session, &migration).await?;
    following::take_back_switch(&session, &migration).await?;
    if migration.phase < Phase::Following {
        follow::begin(&session, &migration, &mut replay).await?;
    }
    Ok(follow::finish(&session, &migration, &mut replay, options, tell).await?)
}

async fn open(
    places: &Places,
    session: &Session,
    migration: &Migration,
) -> Result<Replay, StepError> {
    let at = position::find(session, migration.id)
        .await?
        .ok_or(FollowError::NotRecorded)?;
    let (path, migration) = (
        places.path.to_string_lossy().into_owned(),
        migration.clone(),
    );
    let replay = tokio::task::spawn_blocking(move || {
        let source = change_log::open(&path)?;
        let absent = change_log::recording(&source)? == change_log::Recording::Absent;
        if absent && at.stage == Stage::Finished {
            return Err(FollowError::Finished);
        }
        Replay::new(source, &migration, &at.token)
    });
    Ok(replay.await.map_err(|_| StepError::Interrupted)??)
}

/// Asks a follower to end and takes its lock.
async fn take_over(
    places: &Places,
    session: &Session,
    migration: &Migration,
) -> Result<RunLock, StepError> {
    following::ask_to_stop(session, migration.id, true).await?;
    let mut tries = 0;
    let lock = loop {
        match RunLock::take(&places.target, &places.source_name(), &places.schema).await {
            Err(StateError::Locked(_)) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            other => break other,
        }
    };
    following::ask_to_stop(session, migration.id, false).await?;
    Ok(lock?)
}

/// The setting of a migration whose target took over once: its tables are the application's now.
const TOOK_OVER: &str = "took over";

/// What a rollback removes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RollbackOptions {
    /// Also the tables and notes in the target.
    pub drop_target: bool,
    /// Also the seal of a finished migration's source.
    pub unseal: bool,
}

/// What a rollback removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RolledBack {
    /// Triggers and tables of the source.
    pub source_objects: usize,
    /// Tables of the target.
    pub target_tables: usize,
}

/// Removes every trace from the source and, if wanted, from the target. Without a target only the
/// source is looked at, so that it also works when the target is gone.
///
/// # Errors
/// When the migration is finished and the seal is not to be removed, or either side fails.
pub async fn rollback(
    path: &std::path::Path,
    places: Option<&Places>,
    options: RollbackOptions,
) -> Result<RolledBack, StepError> {
    let mut done = RolledBack::default();
    let mut target = None;
    if let Some(places) = places {
        let session = places.target.connect_first().await?;
        if let Some(migration) = places.find(&session).await? {
            let at = position::find(&session, migration.id).await?;
            let is_finished = at.is_some_and(|at| at.stage == Stage::Finished);
            if is_finished && !options.unseal {
                return Err(FollowError::FinishedRollback.into());
            }
            let took_over = state::setting(&session, migration.id, TOOK_OVER).await?;
            if options.drop_target && (is_finished || took_over.is_some()) {
                return Err(FollowError::TargetTookOver.into());
            }
            let lock = take_over(places, &session, &migration).await?;
            target = Some((session, migration, is_finished, lock));
        }
    }
    let path = path.to_string_lossy().into_owned();
    let removed = tokio::task::spawn_blocking(move || {
        let mut source = change_log::open(&path)?;
        // The seal says so where the target cannot be asked.
        if !options.unseal && change_log::is_sealed(&source)? {
            return Err(FollowError::FinishedRollback);
        }
        change_log::remove(&mut source)
    });
    done.source_objects = removed.await.map_err(|_| StepError::Interrupted)??;
    if let Some((session, migration, is_finished, _lock)) = target {
        if is_finished {
            state::set_setting(&session, migration.id, TOOK_OVER, Some("true")).await?;
        }
        position::forget(&session, migration.id).await?;
        if options.drop_target {
            done.target_tables = drop_tables(&session, &migration).await?;
            state::forget(&session, migration.id).await?;
        } else if migration.phase == Phase::Following {
            state::set_phase(&session, migration.id, Phase::Copied).await?;
        }
    }
    Ok(done)
}

/// Drops the views and tables of a plan.
async fn drop_tables(session: &Session, migration: &Migration) -> Result<usize, StepError> {
    let plan = &migration.plan;
    let schema = quote_name(&plan.schema);
    let views = plan
        .views
        .iter()
        .rev()
        .map(|view| format!("DROP VIEW IF EXISTS {schema}.{}", quote_name(&view.target)));
    let names: Vec<String> = plan
        .tables
        .iter()
        .map(|table| plan.qualified(table))
        .collect();
    let tables = (!names.is_empty()).then(|| format!("DROP TABLE IF EXISTS {}", names.join(", ")));
    let functions = plan.drop_trigger_functions();
    let statements: Vec<String> = views.chain(tables).chain(functions).collect();
    let all = format!("BEGIN; {}; COMMIT", statements.join("; "));
    if let Err(error) = session.batch_execute(&all).await {
        let error = QueryError::while_doing("dropping the tables of the migration", &error);
        let _ = session.batch_execute("ROLLBACK").await;
        return Err(FollowError::from(error).into());
    }
    Ok(names.len())
}
