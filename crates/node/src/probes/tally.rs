//! From single checks to a conclusion.

use k8s_openapi::api::core::v1::Probe;

use super::{Kind, positive};

/// Counts equal results in a row and concludes once there are enough of them.
#[derive(Clone, Debug)]
pub struct Tally {
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<bool>,
    in_a_row: u32,
    concluded: Option<bool>,
}

impl Tally {
    /// A tally without results. Until it concludes, a container is not ready (unless it was when
    /// its kubelet was replaced), lives, and has not started.
    #[must_use]
    pub fn new(kind: Kind, probe: &Probe, was_ready: bool) -> Self {
        Self {
            success_threshold: positive(probe.success_threshold, 1),
            failure_threshold: positive(probe.failure_threshold, 3),
            last: None,
            in_a_row: 0,
            concluded: match kind {
                Kind::Readiness => Some(was_ready),
                Kind::Liveness => Some(true),
                Kind::Startup => None,
            },
        }
    }

    /// Counts a result; the conclusion, when it is a new one.
    pub fn count(&mut self, success: bool) -> Option<bool> {
        if self.last == Some(success) {
            self.in_a_row = self.in_a_row.saturating_add(1);
        } else {
            self.last = Some(success);
            self.in_a_row = 1;
        }
        let needed = if success {
            self.success_threshold
        } else {
            self.failure_threshold
        };
        if self.in_a_row < needed || self.concluded == Some(success) {
            return None;
        }
        self.concluded = Some(success);
        Some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conclusions(kind: Kind, success: i32, failure: i32, results: &str) -> String {
        let probe = Probe {
            success_threshold: Some(success),
            failure_threshold: Some(failure),
            ..Probe::default()
        };
        let mut tally = Tally::new(kind, &probe, false);
        let letter = |concluded: Option<bool>| match concluded {
            None => '.',
            Some(true) => '+',
            Some(false) => '-',
        };
        results
            .chars()
            .map(|result| letter(tally.count(result == '+')))
            .collect()
    }

    #[test]
    fn conclusions_need_as_many_equal_results_as_the_thresholds_say() {
        let table = [
            (Kind::Readiness, 1, 3, "+", "+"),
            (Kind::Readiness, 1, 3, "---+---+", "...+..-+"),
            (Kind::Readiness, 1, 3, "+--+--", "+....."),
            (Kind::Readiness, 2, 1, "+++-", ".+.-"),
            (Kind::Readiness, 2, 1, "+-++", "...+"),
            (Kind::Liveness, 1, 3, "+++---", ".....-"),
            (Kind::Liveness, 1, 1, "-", "-"),
            (Kind::Startup, 1, 3, "--+", "..+"),
            (Kind::Startup, 1, 3, "---", "..-"),
        ];
        for (kind, success, failure, results, expected) in table {
            let found = conclusions(kind, success, failure, results);
            assert_eq!(found, expected, "{kind:?} {success} {failure} {results}");
        }
    }
}
