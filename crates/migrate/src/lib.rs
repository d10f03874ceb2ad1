//! Moves a SQLite database to PostgreSQL, and loses nothing.
//!
//! ```text
//! schema ─┐
//!         ├─> plan ──> ddl ──> copy ──> verify
//! profile ┘              (follow, finish)
//! ```
//!
//! | part | is |
//! | --- | --- |
//! | `translate` | SQLite's expressions, queries and triggers in PostgreSQL's words |
//! | [`connection`] | PostgreSQL as libpq names it, and every failure as a sentence |
//! | [`convert`] | what a stored value becomes, in one place for all steps |
//! | [`ddl`] | the statements that make the plan's schema |
//! | [`copy`] | rows from the snapshot to the target, then what stands on them |
//! | [`follow`] | records what writers change meanwhile, replays it, cuts over |
//! | [`plan`] | what becomes what, with every doubt; plain data that every step obeys |
//! | [`profile`] | what is stored, value by value |
//! | [`schema`] | the source's schema, as its pragmas and statements say it |
//! | [`snapshot`] | one state of the source, seen by several readers while writers go on |
//! | [`state`] | what is known of migrations, kept in a schema of its own in the target |
//! | [`torture`] | a database with every trap in it, for tests |
//! | [`steps`] | what a user does, each from start to end |
//! | [`verify`] | whether source and target hold the same rows |

pub mod connection;
pub mod convert;
pub mod copy;
pub mod ddl;
pub mod follow;
pub mod plan;
pub mod profile;
pub mod schema;
pub mod snapshot;
pub mod state;
pub mod steps;
pub mod torture;
mod translate;
pub mod verify;
