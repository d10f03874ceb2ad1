//! Ways out of a container, all of them shut.

use crate::runner::Scenario;

pub fn all() -> Vec<Scenario> {
    Vec::new()
}
