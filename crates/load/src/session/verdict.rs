//! How a test ended: its exit status, and what is said of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Session, SessionError, Subject, exit};
use crate::run::{Moment, RunEnd};
use crate::scenario::ScenarioPlan;
use crate::script::{Log, LogLine, ScriptError};
use crate::summary::Summary;
use crate::user::StopReason;

impl Session {
    /// The exit status. `failure` is what `setup` or `teardown` failed with.
    pub(super) fn status(
        &self,
        end: &RunEnd,
        summary: &Summary,
        failure: Option<&ScriptError>,
    ) -> u8 {
        let is_script = matches!(self.subject, Subject::Script(_));
        match (&end.stopped, failure) {
            // Who stops plain load has seen enough of it; what was measured until then counts.
            (Some(StopReason::Interrupted), _) if is_script => exit::INTERRUPTED,
            (Some(StopReason::Aborted(_)), _) => exit::ABORTED,
            (Some(StopReason::Script(_)), _) => exit::EXCEPTION,
            (Some(StopReason::Threshold(_)), _) => exit::THRESHOLDS,
            (None, Some(error)) => SessionError::from(error.clone()).status(),
            _ if !summary.crossed().is_empty() => exit::THRESHOLDS,
            _ if self.state.failure().is_some() => exit::MARKED_AS_FAILED,
            _ => 0,
        }
    }

    /// Says how a script's test ended, where that is not what was meant.
    pub(super) fn tell_end(&self, end: &RunEnd, status: u8, failure: Option<&ScriptError>) {
        if matches!(self.subject, Subject::Requests(_)) {
            return;
        }
        match failure {
            // Told by what the script said when it stopped the test.
            None | Some(ScriptError::Stopped) => {}
            Some(failure) => (self.log)(LogLine::error(&failure.to_string())),
        }
        if end.stopped == Some(StopReason::Interrupted) {
            (self.log)(LogLine::error(
                "the test was ended from outside, by a signal",
            ));
        }
        if status == exit::MARKED_AS_FAILED {
            (self.log)(LogLine::error("test run was marked as failed"));
        }
        let completed = self.state.iterations_completed.load(Ordering::Relaxed);
        if completed == 0 && end.stopped.is_none() && failure.is_none() {
            (self.log)(LogLine::warning(
                "No script iterations fully finished, consider making the test duration longer",
            ));
        }
    }

    /// Why the test failed, apart from thresholds and from an early end, for the report.
    pub(super) fn failure(&self, failure: Option<&ScriptError>) -> Option<String> {
        match failure {
            Some(error) => Some(format!("setup or teardown failed: {error}")),
            None => {
                let reason = self.state.failure()?;
                Some(format!("Marked as failed by the script: {reason}"))
            }
        }
    }
}

/// Which scenarios are known to have too few users.
#[derive(Debug, Default)]
pub(super) struct LackOfUsers(BTreeSet<Arc<str>>);

impl LackOfUsers {
    /// Warns once of each scenario whose iterations found no user free.
    pub(super) fn tell(&mut self, moment: &Moment<'_>, plans: &[ScenarioPlan], log: &Log) {
        for scenario in moment.scenarios {
            if !scenario.lacks_users.load(Ordering::Relaxed) || self.0.contains(&scenario.name) {
                continue;
            }
            self.0.insert(Arc::clone(&scenario.name));
            let plan = plans.iter().find(|plan| *plan.name == *scenario.name);
            let most = plan.map_or(0, |plan| plan.executor.max_users());
            let message =
                format!("Insufficient VUs, reached {most} active VUs and cannot initialize more");
            log(LogLine::warning(&message));
        }
    }
}
