//! The loop that keeps the target current.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::replay::{Replay, Round};
use super::{FollowError, Stage, change_log, completion, position};
use crate::connection::{Reason, Session, Target};
use crate::state::{self, Migration, Phase};

/// How often an idle follower looks into the log.
const LOOK: Duration = Duration::from_millis(100);
/// How often a follower tells how far it is.
const TELL: Duration = Duration::from_millis(500);
/// How often a follower asks whether another command wants its place.
const ASK: Duration = Duration::from_millis(500);
/// How long a lost PostgreSQL is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// The setting by which another command asks a follower to end.
const STOP: &str = "follow_stop";

/// How far following is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Entries of the log that are not replayed.
    pub entries: u64,
    /// Since when the target has not been the source as it then was.
    pub time: Duration,
    /// Entries replayed by this run.
    pub replayed: u64,
    /// Rows this run put into quarantine.
    pub quarantined: u64,
}

/// When to end.
#[derive(Debug, Clone)]
pub enum Until {
    /// As soon as the log's end is reached.
    Current,
    /// When told to.
    Stopped(CancellationToken),
}

/// Why following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The log's end was reached.
    Current,
    /// It was told to.
    Stopped,
    /// Another command, such as `finish`, goes on from here.
    Relieved,
}

/// Takes foreign keys and triggers from a target that was copied, and has the rows in quarantine
/// judged again: what the copy read of two tables may be of two moments.
///
/// # Errors
/// When either side fails.
pub async fn begin(
    session: &Session,
    migration: &Migration,
    replay: &mut Replay,
) -> Result<(), FollowError> {
    let guards = completion::remove_guards(&migration.plan);
    completion::run_together(session, &guards, "making the target ready to be followed").await?;
    replay.retry_quarantined(session).await?;
    Ok(state::set_phase(session, migration.id, Phase::Following).await?)
}

/// Takes back what a cut-over that was killed has left in the target: with its foreign keys in place,
/// replay of a parent would delete the children.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn take_back_switch(session: &Session, migration: &Migration) -> Result<(), FollowError> {
    let at = position::find(session, migration.id).await?;
    if at.is_some_and(|at| at.stage == Stage::Switching) {
        let guards = completion::remove_guards(&migration.plan);
        completion::run_together(session, &guards, "taking back a cut-over that was killed")
            .await?;
        position::set_stage(session, migration.id, Stage::Following).await?;
    }
    Ok(())
}

/// Follows until told to end; `tell` hears of the lag a few times a second.
///
/// # Errors
/// When either side fails; a lost connection to PostgreSQL only after a minute.
pub async fn follow(
    target: &Target,
    replay: &mut Replay,
    until: &Until,
    mut tell: impl FnMut(Lag),
) -> Result<(Ended, Lag), FollowError> {
    let mut session = target.connect().await?;
    let mut lag = Lag::default();
    let mut current_at = Instant::now();
    let (mut told_at, mut asked_at) = (None::<Instant>, Instant::now());
    let mut lost_since = None::<Instant>;
    loop {
        match replay.round(&session).await {
            Ok(round) => {
                lost_since = None;
                note(&mut lag, &round);
                if round.behind == 0 {
                    current_at = Instant::now();
                }
                lag.time = current_at.elapsed();
            }
            Err(error) if is_passing(&error) => {
                let since = *lost_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    return Err(error);
                }
                lag.time = current_at.elapsed();
                tokio::time::sleep(Duration::from_secs(1)).await;
                if let Ok(again) = target.connect().await {
                    session = again;
                }
            }
            Err(error) => return Err(error),
        }
        if told_at.is_none_or(|at: Instant| at.elapsed() >= TELL) {
            tell(lag);
            told_at = Some(Instant::now());
        }
        let is_current = lag.entries == 0 && lost_since.is_none();
        match until {
            Until::Current if is_current => return Ok((Ended::Current, lag)),
            Until::Stopped(stop) if stop.is_cancelled() => return Ok((Ended::Stopped, lag)),
            Until::Current | Until::Stopped(_) => {}
        }
        if lost_since.is_none() && asked_at.elapsed() >= ASK {
            asked_at = Instant::now();
            match state::setting(&session, replay.migration, STOP).await {
                Ok(None) => {}
                Ok(Some(_)) => return Ok((Ended::Relieved, lag)),
                // The next round meets the same failure, and waits for the server.
                Err(error) => {
                    let error = FollowError::from(error);
                    if !is_passing(&error) {
                        return Err(error);
                    }
                }
            }
        }
        if is_current {
            let stopped = async {
                match until {
                    Until::Stopped(stop) => stop.cancelled().await,
                    Until::Current => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stopped => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }
}

fn note(lag: &mut Lag, round: &Round) {
    lag.entries = round.behind;
    lag.replayed += round.entries;
    lag.quarantined += round.quarantined;
}

fn is_passing(error: &FollowError) -> bool {
    match error {
        FollowError::Postgres(error) | FollowError::State(state::StateError::Query(error)) => {
            matches!(error.reason, Reason::Lost | Reason::Busy)
        }
        _ => false,
    }
}

/// Asks a follower of the migration to end, or takes that back.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn ask_to_stop(session: &Session, migration: i64, stop: bool) -> Result<(), FollowError> {
    Ok(state::set_setting(session, migration, STOP, stop.then_some("asked")).await?)
}

/// How many entries wait in the source's log.
///
/// # Errors
/// When the source cannot be read.
pub fn waiting(source: &rusqlite::Connection, position: i64) -> Result<u64, FollowError> {
    let waiting = change_log::last_entry(source)?.saturating_sub(position);
    Ok(u64::try_from(waiting).unwrap_or(0))
}
