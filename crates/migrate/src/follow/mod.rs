//! Keeps a copied target current while the source is written to, and cuts over.
//!
//! ```text
//! writers ─▶ source ─(triggers)─▶ log of changed keys ─(replay)─▶ target
//! ```
//!
//! Triggers in the source record the key of each changed row. They are installed before the copy
//! reads, so that a change is in what the copy reads, or in the log, or in both. Replay takes the
//! keys logged since its position, reads the rows that are there now, all as of one moment, and in
//! one transaction of the target deletes the keys' rows, inserts those read and moves its position;
//! then it prunes the log. Done twice it does the same, so that it can be killed at any point. When
//! it has come to the log's end, the target is the source as it was at that moment.
//!
//! Meanwhile the target has neither foreign keys nor triggers: the source's have had their effects
//! there already, as changes in the log. The finish makes them.
//!
//! | part | is |
//! | --- | --- |
//! | [`following`] | the loop that keeps the target current |
//! | [`finish`](mod@finish) | the cut-over |
//! | [`replay`] | one round: changed rows as they are now, with the position |
//! | [`position`] | what the target keeps of it |
//! | [`recorded`] | what the triggers need to know of a table |
//! | [`triggers`] | the statements that record changes |
//! | [`change_log`] | the log: made, read, pruned, removed |
//! | [`schema_watch`] | notices that the source's schema changed |
//! | [`stored`] | values of SQLite kept beyond their row |

mod arrays;
pub mod change_log;
#[cfg(test)]
mod change_log_tests;
mod completion;
mod encoded;
pub mod finish;
pub mod following;
pub mod position;
mod quarantine;
pub mod recorded;
pub mod replay;
pub mod schema_watch;
pub mod stored;
mod target_table;
pub mod triggers;

pub use completion::Unmet;
pub use encoded::Misfit;
pub use finish::{FinishOptions, FinishStep, Finished, finish};
pub use following::{Ended, Lag, Until, begin, follow};
pub use position::{Position, Stage};
pub use replay::{Replay, Round};

use crate::connection::{ConnectionError, QueryError};
use crate::state::StateError;

/// Why following, finishing or rolling back stopped.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// SQLite could not answer.
    #[error("the SQLite database does not answer: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The source cannot hold triggers.
    #[error(
        "{path} is read-only: recording its changes needs triggers in it; make it writable, or stop its writers and use copy"
    )]
    ReadOnly {
        /// The file.
        path: String,
    },
    /// An index whose conflicts cannot be recorded.
    #[error(
        "cannot record changes of the table of index {index}: {reason}; drop the index, or leave the table out with --exclude"
    )]
    Index {
        /// The index.
        index: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A table that cannot be written to with the triggers in place.
    #[error(
        "table {table} cannot have its changes recorded ({error}); nothing was changed; leave it out with --exclude {table}"
    )]
    Trigger {
        /// The table.
        table: String,
        /// What SQLite said.
        error: rusqlite::Error,
    },
    /// The log is another migration's.
    #[error(
        "the source already records its changes for another migration, into {target}; end that one with `tide migrate rollback` or `finish` against its own target first"
    )]
    OtherMigration {
        /// The other's target.
        target: String,
    },
    /// The source's statements are not those of the plan.
    #[error(
        "the schema of {path} has changed since the plan was made: changes cannot be followed any further; undo the schema change, or start again with `tide migrate rollback` and `tide migrate follow --on-existing replace`"
    )]
    SchemaChanged {
        /// The file.
        path: String,
    },
    /// The log does not reach back to the target's position.
    #[error(
        "the change log of the source holds entries {first} to {last}, and the target is at {position}: one of them was restored from an older copy; start again with `tide migrate rollback` and `tide migrate follow --on-existing replace`"
    )]
    LogLost {
        /// The target's position.
        position: i64,
        /// The log's first entry.
        first: i64,
        /// The log's last entry.
        last: i64,
    },
    /// An entry of the log is about no table of the plan.
    #[error(
        "the change log of the source names table number {number}, which the plan does not have"
    )]
    LogForeign {
        /// The number.
        number: usize,
    },
    /// PostgreSQL failed at a statement.
    #[error(transparent)]
    Postgres(#[from] QueryError),
    /// PostgreSQL could not be connected to.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The state of the migration cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Nothing is recorded that could be replayed.
    #[error(
        "the source does not record its changes for this migration, so they are unknown since the copy was made; start again with `tide migrate follow --on-existing replace`, which records from the beginning"
    )]
    NotRecorded,
    /// The migration is over.
    #[error("the migration is finished: the target has taken over")]
    Finished,
    /// A step that held the source's connection was given up.
    #[error(
        "an earlier step was interrupted and took the connection to the SQLite database with it; run the command again"
    )]
    GivenUp,
    /// PostgreSQL does not hold what was written to it.
    #[error(
        "rows of table {table} read back from PostgreSQL differ from the source: does something else write to the target? nothing of this round was kept"
    )]
    Differs {
        /// The table.
        table: String,
    },
    /// The command of the finish failed.
    #[error(
        "the command `{command}` failed ({reason}); the cut-over was undone, the source is open to its writers and its changes are recorded as before"
    )]
    Command {
        /// The command.
        command: String,
        /// How it ended.
        reason: String,
    },
    /// The source was written to after the target had taken over.
    #[error(
        "the target has taken over, but {entries} changes were made in the source after that, before it could be closed to writes; look at them in its table _tide_migrate_changes, bring them over by hand, then `tide migrate rollback --unseal` removes the log"
    )]
    WrittenAfterFinish {
        /// How many entries.
        entries: i64,
    },
    /// Rows of the source are not in the target.
    #[error(
        "rows are in quarantine ({tables}), and the target would take over without them; their reasons are in springtide_migrate.quarantine: mend them in the source and finish again, or leave them behind with --accept-quarantine; the source is open to its writers and its changes are recorded as before"
    )]
    Quarantined {
        /// How many of which tables.
        tables: String,
    },
    /// The target has taken over, and the source is closed.
    #[error(
        "the migration is finished: the target has taken over, and rolling back would lose what was written there since; to let writers into the source again all the same, use --unseal"
    )]
    FinishedRollback,
    /// The tables of the target belong to the application now.
    #[error(
        "the target has taken over from the source, so its tables are not dropped: they may hold what is nowhere else; drop them by hand if that is really meant"
    )]
    TargetTookOver,
}
