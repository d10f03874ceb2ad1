//! Recognises a pooler that hands one server session to several clients in turn.
//!
//! Two sessions of PostgreSQL that are open at one time have two server processes. Behind PgBouncer in
//! transaction mode a session that does nothing has none: the next one gets the process it used last.
//! So if a second session's transaction runs in the process that the first one named, while the first
//! is still open, a transaction pooler stands between.

use tokio_postgres::Client;

/// Whether two open sessions were served by one server process.
pub(super) async fn shares_server_process(
    first: &Client,
    second: &Client,
) -> Result<bool, tokio_postgres::Error> {
    // A pooler may have several idle processes and take the one it used last or longest ago.
    for _ in 0..4 {
        let one = process(first).await?;
        let other = process(second).await?;
        if one == other {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn process(client: &Client) -> Result<i32, tokio_postgres::Error> {
    let row = client
        .query_typed_one("SELECT pg_backend_pid()", &[])
        .await?;
    row.try_get(0)
}
