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
//! | [`plan`] | what becomes what, with every doubt; plain data that every step obeys |

pub mod plan;
