//! What a hollow node does with a pod next: a pure function of the pod and the time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use springtide_client::pods;

/// How long the stages of a pod's life take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// From being bound to being ready.
    pub start: Duration,
    /// From the request to end to the end, if the grace allows.
    pub stop: Duration,
}

/// What to do with a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until it changes.
    Rest,
    /// Look again at this time.
    Wait(Timestamp),
    /// Say that its containers are being made.
    Accept,
    /// Say that its containers run.
    Run,
    /// Say that its containers answer no longer, or again.
    SetReady(bool),
    /// Delete it for good.
    Remove,
}

/// Decides about a pod of this node, first seen at `seen`; `ready` says whether it would answer
/// its probe when it runs.
pub fn next_step(pod: &Pod, seen: Timestamp, ready: bool, life: Life, now: Timestamp) -> Step {
    let after = |from: Timestamp, delay: Duration| {
        let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
        from.saturating_add(delay).unwrap_or(Timestamp::MAX)
    };
    if let Some(deletion) = &pod.metadata.deletion_timestamp {
        let grace =
            u64::try_from(pod.metadata.deletion_grace_period_seconds.unwrap_or(0)).unwrap_or(0);
        let grace = Duration::from_secs(grace);
        let asked = deletion
            .0
            .saturating_sub(SignedDuration::try_from(grace).unwrap_or_default());
        let end = after(asked.unwrap_or(deletion.0), life.stop.min(grace));
        return if now >= end || pods::is_terminal(pod) {
            Step::Remove
        } else {
            Step::Wait(end)
        };
    }
    if pods::is_terminal(pod) {
        return Step::Rest;
    }
    let is_accepted = pod
        .status
        .as_ref()
        .is_some_and(|status| status.start_time.is_some());
    if !is_accepted {
        return Step::Accept;
    }
    if pods::phase(pod) == "Pending" {
        let start = after(seen, life.start);
        return if now >= start {
            Step::Run
        } else {
            Step::Wait(start)
        };
    }
    if pods::is_ready(pod) == ready {
        Step::Rest
    } else {
        Step::SetReady(ready)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("a time in range")
    }

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).expect("a valid pod")
    }

    #[test]
    fn a_pod_is_accepted_runs_and_ends_within_its_grace() {
        let life = Life {
            start: Duration::from_secs(5),
            stop: Duration::from_secs(3),
        };
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let started = at(0).to_string();
        let leaving = |grace: i64, second: i64| {
            json!({"metadata": {"deletionTimestamp": at(second + grace).to_string(), "deletionGracePeriodSeconds": grace},
                "status": {"phase": "Running", "startTime": started}})
        };
        let cases = [
            (json!({}), 0, Step::Accept),
            (
                json!({"status": {"phase": "Pending", "startTime": started}}),
                1,
                Step::Wait(at(5)),
            ),
            (
                json!({"status": {"phase": "Pending", "startTime": started}}),
                5,
                Step::Run,
            ),
            (
                json!({"status": {"phase": "Running", "startTime": started, "conditions": ready}}),
                6,
                Step::Rest,
            ),
            (
                json!({"status": {"phase": "Running", "startTime": started}}),
                6,
                Step::SetReady(true),
            ),
            (
                json!({"status": {"phase": "Succeeded", "startTime": started}}),
                6,
                Step::Rest,
            ),
            (leaving(30, 10), 10, Step::Wait(at(13))),
            (leaving(30, 10), 13, Step::Remove),
            (leaving(1, 10), 10, Step::Wait(at(11))),
            (leaving(0, 10), 10, Step::Remove),
        ];
        for (value, second, expected) in cases {
            assert_eq!(
                next_step(&pod(value.clone()), at(0), true, life, at(second)),
                expected,
                "{value} at {second}"
            );
        }
    }
}
