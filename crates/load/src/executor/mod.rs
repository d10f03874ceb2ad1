//! Executors: they decide when which virtual user does an iteration.
//!
//! ```text
//! Crew ── worker threads, each with a runtime and the users that live on it
//!   ▲
//!   │ orders: "loop until you are told", "take your share of these arrivals"
//!   │
//! scenario tasks (closed: users that loop; open: arrivals)   ◄── schedule (pure)
//! ```
//!
//! A thread never waits for another one: looping users need no one, and arrivals are dealt out to
//! the threads beforehand. Only when a thread has no user left does it ask its neighbours.

mod arrivals;
mod crew;
mod lease;
mod looping;
mod scenario;
mod worker;

pub use crew::Crew;
pub use scenario::{Execution, execute};
