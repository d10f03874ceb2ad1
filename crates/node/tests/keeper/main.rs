//! The keeper with real processes: this program is the test, the keeper and the brain.
//!
//! For each scenario, and for each user there can be (root and `nobody`, or whoever runs this), the
//! test starts itself as a keeper, which starts it as a brain; the brain runs the scenario against
//! its [`springtide_node::keeper::Client`] and ends with 0, or panics. A keeper needs to be the only
//! thread of its process from the start, which is why there is no test harness around this.

mod escapes;
mod node;
mod runner;
mod scenarios;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [_, "keeper", scenario, folder] => runner::be_keeper(scenario, folder),
        [_, "brain", scenario, folder] => runner::be_brain(scenario, folder),
        [_, rest @ ..] => runner::run_all(rest),
        [] => ExitCode::FAILURE,
    }
}
