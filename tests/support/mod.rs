//! What the end-to-end tests share: a running `tide up` that always stops, real kubectl, and waiting
//! for conditions with a bound.

pub mod cluster;
pub mod feastflow;
pub mod platform;
pub mod process;
pub mod wait;
pub mod web;
pub mod webhook;

use std::io::Write;

pub use cluster::{Cluster, Kubectl};
pub use platform::{Home, Tide, User};
pub use process::{Outcome, run};
pub use wait::{eventually, until};
pub use webhook::Webhook;

/// Says on the real standard error that a test needs something that is not there. libtest would
/// capture `eprintln!`, and `./test` counts these lines.
pub fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}

/// Prints a measured figure where libtest does not capture it.
pub fn tell(figure: &str) {
    let _ = writeln!(std::io::stderr(), "{figure}");
}
