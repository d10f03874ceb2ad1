use std::time::Duration;

use tokio_postgres::types::Type;

use super::StateError;
use crate::connection::{QueryError, Session, Target};

/// How long the sessions of a runner that was killed are waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the lock is tried for.
const INTERVAL: Duration = Duration::from_millis(100);

/// Keeps other runners away from a migration until it is dropped.
#[derive(Debug)]
pub struct RunLock {
    session: Session,
}

impl RunLock {
    /// Takes the lock of a source and target schema, and waits until nothing of an earlier runner is
    /// still being carried out.
    ///
    /// The lock is held by a transaction that is left open, so that it also holds behind a transaction
    /// pooler. It has read nothing and keeps nothing from being vacuumed.
    ///
    /// # Errors
    /// When another runner has it.
    pub async fn take(
        target: &Target,
        source: &str,
        target_schema: &str,
    ) -> Result<Self, StateError> {
        let failed = |error| QueryError::while_doing("locking the migration", &error);
        let session = target.connect().await?;
        let key = lock_key(source, target_schema);
        session
            .batch_execute("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 0")
            .await
            .map_err(failed)?;
        // A killed runner's session ends as soon as the server notices.
        let mut tries = (PATIENCE.as_millis() / INTERVAL.as_millis() / 10).max(1);
        loop {
            let row = session
                .query_typed_one(
                    "SELECT pg_try_advisory_xact_lock($1)",
                    &[(&key, Type::INT8)],
                )
                .await
                .map_err(failed)?;
            if row.get(0) {
                break;
            }
            tries -= 1;
            if tries == 0 {
                return Err(StateError::Locked(holder(&session, key).await));
            }
            tokio::time::sleep(INTERVAL).await;
        }
        let wait = format!(
            "SAVEPOINT fence; SET LOCAL lock_timeout = '{}s'; SELECT pg_advisory_xact_lock({}); ROLLBACK TO fence",
            PATIENCE.as_secs(),
            fence_key(key)
        );
        if let Err(error) = session.batch_execute(&wait).await {
            let timed_out = error.code().is_some_and(|code| code.code() == "55P03");
            if timed_out {
                return Err(StateError::Locked(
                    "a server process of an earlier run is still at work; see pg_stat_activity"
                        .to_owned(),
                ));
            }
            return Err(failed(error).into());
        }
        Ok(Self { session })
    }

    /// Whether the lock is still held: its session may have been ended.
    ///
    /// # Errors
    /// When it is not.
    pub async fn check(&self) -> Result<(), StateError> {
        let doing = "holding the lock of the migration";
        self.session
            .batch_execute("SELECT 1")
            .await
            .map_err(|error| QueryError::while_doing(doing, &error))?;
        Ok(())
    }
}

/// A statement for the beginning of every transaction that writes data of a migration.
#[must_use]
pub fn fence(source: &str, target_schema: &str) -> String {
    format!(
        "SELECT pg_advisory_xact_lock_shared({})",
        fence_key(lock_key(source, target_schema))
    )
}

/// FNV-1a of the names: the key must be the same in every version of the program.
fn lock_key(source: &str, target_schema: &str) -> i64 {
    let names = [
        b"springtide_migrate".as_slice(),
        source.as_bytes(),
        b"\0",
        target_schema.as_bytes(),
    ];
    let hash = names
        .concat()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    // Even keys are locks, odd ones fences.
    (hash & !1).cast_signed()
}

fn fence_key(lock: i64) -> i64 {
    lock | 1
}

/// Who holds the lock, for the message.
async fn holder(session: &Session, key: i64) -> String {
    let found = session
        .query_typed_opt(
            "SELECT a.pid, a.usename::text, coalesce(host(a.client_addr), 'the same machine'), a.backend_start::text
             FROM pg_locks l JOIN pg_stat_activity a USING (pid)
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
               AND l.classid::bigint << 32 | l.objid::bigint = $1",
            &[(&key, Type::INT8)],
        )
        .await;
    match found {
        Ok(Some(row)) => format!(
            "server process {} of user {} from {}, begun {}",
            row.get::<_, i32>(0),
            row.try_get::<_, String>(1).unwrap_or_default(),
            row.get::<_, String>(2),
            row.try_get::<_, String>(3).unwrap_or_default()
        ),
        _ => "the server does not say whose".to_owned(),
    }
}
