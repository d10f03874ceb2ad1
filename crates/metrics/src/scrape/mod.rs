//! Scrapes targets at their intervals into the database.
//!
//! ```text
//! jobs ── discovery ──> groups ── relabelling ──> targets, one worker each
//! worker: ask ── exposition ──> series ── metric relabelling, limits ──> appender; up, scrape_*, stale markers
//! ```
//!
//! | part | is |
//! | --- | --- |
//! | [`ScrapeManager`] | keeps a pool for each job and tells how targets are |
//! | `pool` | starts and stops workers as targets come and go |
//! | [`Target`] | what discovery and relabelling make a target, as a pure function |
//! | `cache` | what one worker remembers of the series of its target |
//! | `intake` | takes an answer's samples into the database, as a function of the cache |
//! | `worker` | asks one target at its interval |

mod cache;
mod intake;
mod manager;
mod pool;
mod report;
mod target;
mod worker;

#[cfg(test)]
mod tests;

pub use manager::{ScrapeManager, ScrapeOptions};
pub use report::{Health, MetadataReport, TargetReport};
pub use target::{Dropped, Target};
