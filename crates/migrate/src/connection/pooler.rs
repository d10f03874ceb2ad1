//! Recognises a pooler that hands one server session to several clients in turn.
//!
//! Two sessions of PostgreSQL that are open at one time have two server processes, and keep them. Behind
//! PgBouncer in transaction mode a session that does nothing has none: the next one gets the process it
//! used last. So if two open sessions' transactions ran in one process, or one session's in two, a
//! transaction pooler stands between.

use std::time::Duration;

use tokio_postgres::Client;

use super::failure::causes;

/// How long a pooler is given to lend a second server session while the first is in use.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether two open sessions share server processes.
pub(super) async fn shares_server_process(
    first: &Client,
    second: &Client,
) -> Result<bool, tokio_postgres::Error> {
    let before = (process(first).await?, process(second).await?);
    // A pooler may have several idle processes and take the one it used last or longest ago.
    for _ in 0..4 {
        let now = (process(first).await?, process(second).await?);
        if now.0 == now.1 || now != before {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the pooler can be worked with: it must know transactions, and lend two server sessions at
/// once, of which one holds the migration's lock. Else says what to do.
pub(super) async fn check(first: &Client, second: &Client, target: &str) -> Result<(), String> {
    // Statement pooling refuses this.
    first.batch_execute("BEGIN").await.map_err(|error| {
        format!(
            "the pooler before {target} takes no transactions ({}); use pool_mode=transaction or session, or connect to PostgreSQL itself",
            causes(&error)
        )
    })?;
    let lent = tokio::time::timeout(PATIENCE, process(second)).await;
    let ended = first.batch_execute("ROLLBACK").await;
    match (lent, ended) {
        (Ok(Ok(_)), Ok(())) => Ok(()),
        (Ok(Err(error)), _) | (_, Err(error)) => Err(format!(
            "the pooler before {target} broke off a second session ({}); connect to PostgreSQL itself",
            causes(&error)
        )),
        (Err(_), Ok(())) => Err(format!(
            "the pooler before {target} lends no second server session within {} s while one is in use; raise default_pool_size (or pool_size of the database) to at least the number of --jobs and 2 more, or connect to PostgreSQL itself",
            PATIENCE.as_secs()
        )),
    }
}

async fn process(client: &Client) -> Result<i32, tokio_postgres::Error> {
    let row = client
        .query_typed_one("SELECT pg_backend_pid()", &[])
        .await?;
    row.try_get(0)
}
