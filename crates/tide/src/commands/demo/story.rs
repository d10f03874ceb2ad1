//! What the demonstration plays, and what must have come of it: pure.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};
use springtide_load::metric::FailureTally;
use springtide_load::plain::{RequestFigures, Stage};

use super::platform::Autoscaling;

/// Where FeastFlow runs.
pub(crate) const NAMESPACE: &str = "feastflow";
/// The Deployment that is scaled.
pub(crate) const DEPLOYMENT: &str = "feastflow-backend";
/// What scales it.
pub(crate) const AUTOSCALER: &str = "feastflow-backend-hpa";
/// How often the autoscaler looks, in seconds.
pub(crate) const SYNC_SECONDS: u64 = 5;
/// How long it waits before it removes replicas, in seconds.
pub(crate) const SCALE_DOWN_WINDOW_SECONDS: u64 = 20;
/// Over how long its policies count, in seconds.
pub(crate) const POLICY_PERIOD_SECONDS: u64 = 10;
/// The processor time of a request, in cores × seconds; FeastFlow's WORK_MILLISECONDS.
const REQUEST_COST: f64 = 0.005;
/// What the rush takes where there is room for it, in cores.
const RUSH_CORES: f64 = 0.75;
/// The least rush that shows something: ⌈0.45 / 0.14⌉ = 4 replicas.
const LEAST_RUSH_CORES: f64 = 0.45;
/// How much of what is free the rush may take itself; the rest is for what serves it.
const RUSH_SHARE: f64 = 0.45;
/// The line above the seconds.
pub(crate) const HEADING: &str =
    "  time  phase   requests      p95  failed   CPU  replicas (ready)";

/// Load that is quiet, rushes, and is quiet again.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    phases: Vec<Phase>,
}

#[derive(Clone, Debug)]
struct Phase {
    name: &'static str,
    duration: Duration,
    requests_per_second: f64,
}

/// What the load measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    /// How long it took.
    pub elapsed: Duration,
    /// Its requests.
    pub requests: RequestFigures,
    /// Those that failed, by kind.
    pub failures: FailureTally,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    at_rest: i32,
    rush_began: Duration,
    measured: Measured,
    /// When the number of replicas changed, and to what.
    replicas: Vec<(Duration, i32)>,
}

// === impl Story ===

impl Story {
    /// Two replicas are enough for the quiet. With two cores free the rush takes 0.75 cores, and at
    /// 70 % of 0.2 cores each, ⌈0.75 / 0.14⌉ = 6 replicas.
    pub(crate) fn feastflow(free_cores: f64) -> Self {
        let rush_cores = (free_cores * RUSH_SHARE).clamp(LEAST_RUSH_CORES, RUSH_CORES);
        let rush = (rush_cores / REQUEST_COST).round();
        let phase = |name, seconds, requests_per_second| Phase {
            name,
            duration: Duration::from_secs(seconds),
            requests_per_second,
        };
        Self {
            phases: vec![
                phase("quiet", 20, 10.0),
                phase("rush", 60, rush),
                phase("quiet", 100, 10.0),
            ],
        }
    }

    /// Requests a second at the peak.
    pub(crate) fn rush_rate(&self) -> f64 {
        self.phases[1].requests_per_second
    }

    /// Requests a second at the beginning.
    pub(crate) fn quiet_rate(&self) -> f64 {
        self.phases[0].requests_per_second
    }

    /// The load's stages: each phase is reached within its first second.
    pub(crate) fn stages(&self) -> Vec<Stage> {
        let second = Duration::from_secs(1);
        self.phases
            .iter()
            .flat_map(|phase| {
                let target = phase.requests_per_second;
                [
                    Stage {
                        duration: second,
                        target,
                    },
                    Stage {
                        duration: phase.duration - second,
                        target,
                    },
                ]
            })
            .collect()
    }

    /// How many replicas there are without load.
    pub(crate) fn replicas_at_rest(&self) -> i32 {
        2
    }

    /// True when there is no more to see: the load is over, or everything has shrunk again.
    pub(crate) fn is_over(&self, elapsed: Duration, shrunk: bool) -> bool {
        let rush_ends = self.phases[0].duration + self.phases[1].duration;
        // What shrinks needs at least the window, so an earlier "shrunk" is one that never grew.
        shrunk && elapsed > rush_ends + Duration::from_secs(SCALE_DOWN_WINDOW_SECONDS)
    }

    fn phase_at(&self, elapsed: Duration) -> &Phase {
        let mut end = Duration::ZERO;
        self.phases
            .iter()
            .find(|phase| {
                end += phase.duration;
                elapsed <= end
            })
            .unwrap_or(&self.phases[self.phases.len() - 1])
    }

    /// One second of the run.
    pub(crate) fn line(
        &self,
        elapsed: Duration,
        second: &RequestFigures,
        autoscaling: &Autoscaling,
    ) -> String {
        let cpu = autoscaling
            .cpu_percent
            .map_or_else(|| "   ?".to_owned(), |percent| format!("{percent:>3}%"));
        format!(
            "{:>5}s  {:<6} {:>6}/s {:>6.0}ms  {:>6}  {cpu}  {} {}",
            elapsed.as_secs(),
            self.phase_at(elapsed).name,
            second.requests,
            second.percentile(95.0).as_secs_f64() * 1000.0,
            second.failures,
            "█".repeat(usize::try_from(autoscaling.replicas).unwrap_or(0)),
            if autoscaling.ready == autoscaling.replicas {
                autoscaling.replicas.to_string()
            } else {
                format!("{} ({})", autoscaling.replicas, autoscaling.ready)
            },
        )
    }
}

/// Idle time of all processors together since the machine started, in clock ticks, from the text
/// of `/proc/stat`: idle and waiting for a disk.
pub(crate) fn parse_idle_ticks(stat: &str) -> Option<u64> {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = all
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    Some(ticks.get(3)? + ticks.get(4)?)
}

/// An autoscaler's spec with the demonstration's shorter times.
pub(crate) fn shorten(autoscaler: &mut Value) {
    let Some(behavior) = autoscaler.pointer_mut("/spec/behavior") else {
        return;
    };
    behavior["scaleDown"]["stabilizationWindowSeconds"] = json!(SCALE_DOWN_WINDOW_SECONDS);
    for direction in ["scaleUp", "scaleDown"] {
        let policies = behavior[direction]["policies"].as_array_mut();
        for policy in policies.into_iter().flatten() {
            policy["periodSeconds"] = json!(POLICY_PERIOD_SECONDS);
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// What was measured while `story` was played.
    pub(crate) fn new(story: &Story, measured: Measured, replicas: Vec<(Duration, i32)>) -> Self {
        Self {
            at_rest: story.replicas_at_rest(),
            rush_began: story.phases[0].duration,
            measured,
            replicas,
        }
    }

    /// What is not as it should be; empty if all is well.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let (first, peak, last) = (self.first(), self.peak(), self.last());
        if first != self.at_rest {
            complaints.push(format!(
                "there were {first} replicas before the load, not {}",
                self.at_rest
            ));
        }
        if peak <= self.at_rest + 1 {
            complaints.push(format!("the rush brought {peak} replicas at most"));
        }
        if last != self.at_rest {
            complaints.push(format!(
                "there were {last} replicas at the end, not {}",
                self.at_rest
            ));
        }
        let Measured {
            requests, failures, ..
        } = &self.measured;
        if requests.failures > 0 {
            let mut reasons = String::new();
            for (kind, count) in failures.iter() {
                let _ = write!(reasons, "; {count} × {kind}");
            }
            complaints.push(format!("{} requests failed{reasons}", requests.failures));
        }
        if requests.dropped > 0 {
            complaints.push(format!(
                "{} requests could not even be sent",
                requests.dropped
            ));
        }
        complaints
    }

    /// What happened, in a few lines.
    pub(crate) fn summary(&self) -> String {
        let path: Vec<String> = self
            .replicas
            .iter()
            .map(|(_, replicas)| replicas.to_string())
            .collect();
        let mut text = String::new();
        let _ = writeln!(text, "  replicas   {}", path.join(" → "));
        if let Some((when, _)) = self
            .replicas
            .iter()
            .find(|(_, replicas)| *replicas > self.at_rest)
        {
            let reaction = when.saturating_sub(self.rush_began);
            let _ = writeln!(
                text,
                "  reaction   the first replicas were added {:.0} s into the rush",
                reaction.as_secs_f64()
            );
        }
        let requests = &self.measured.requests;
        let _ = writeln!(
            text,
            "  requests   {} in {:.0} s, {} failed; p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms",
            requests.requests,
            self.measured.elapsed.as_secs_f64(),
            requests.failures,
            requests.percentile(50.0).as_secs_f64() * 1000.0,
            requests.percentile(95.0).as_secs_f64() * 1000.0,
            requests.percentile(99.0).as_secs_f64() * 1000.0,
        );
        text
    }

    fn first(&self) -> i32 {
        self.replicas.first().map_or(0, |(_, replicas)| *replicas)
    }

    fn peak(&self) -> i32 {
        self.replicas
            .iter()
            .map(|(_, replicas)| *replicas)
            .max()
            .unwrap_or(0)
    }

    fn last(&self) -> i32 {
        self.replicas.last().map_or(0, |(_, replicas)| *replicas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(replicas: &[i32]) -> Outcome {
        let replicas = replicas
            .iter()
            .map(|replicas| (Duration::from_secs(30), *replicas))
            .collect();
        Outcome::new(&Story::feastflow(2.0), Measured::default(), replicas)
    }

    #[test]
    fn only_what_grew_and_shrank_is_a_success() {
        assert_eq!(outcome(&[2, 4, 6, 4, 2]).complaints(), Vec::<String>::new());
        for (replicas, complaint) in [
            (&[2][..], "2 replicas at most"),
            (&[2, 3, 2], "3 replicas at most"),
            (&[2, 4, 6], "6 replicas at the end"),
            (&[3, 6, 2], "3 replicas before the load"),
            (&[], "0 replicas"),
        ] {
            let complaints = outcome(replicas).complaints();
            assert!(
                complaints.iter().any(|found| found.contains(complaint)),
                "{replicas:?}: {complaints:?}"
            );
        }
    }

    #[test]
    fn the_rush_fits_into_what_is_free() {
        for (free_cores, requests_per_second) in
            [(8.0, 150.0), (1.7, 150.0), (1.2, 108.0), (0.3, 90.0)]
        {
            let rate = Story::feastflow(free_cores).rush_rate();
            assert!(
                (rate - requests_per_second).abs() < 1e-9,
                "{free_cores} cores free: {rate}"
            );
        }
    }

    #[test]
    fn processor_time_is_read_as_busy_and_idle() {
        let before = parse_idle_ticks("cpu  100 0 50 1000 20 0 0 0 0 0\ncpu0 1 2 3\n");
        assert_eq!(before, Some(1020));
        assert_eq!(parse_idle_ticks("intr 1 2 3\n"), None);
    }

    #[test]
    fn the_demonstration_is_over_when_all_has_shrunk_after_the_rush() {
        let story = Story::feastflow(2.0);
        let after = |seconds, shrunk| story.is_over(Duration::from_secs(seconds), shrunk);
        assert!(!after(10, true) && !after(85, true) && !after(120, false));
        assert!(after(120, true));
    }

    #[test]
    fn the_autoscalers_times_are_shortened_and_nothing_else() {
        let mut autoscaler = json!({"spec": {"maxReplicas": 10, "behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 4, "periodSeconds": 30}]},
            "scaleDown": {"stabilizationWindowSeconds": 300, "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]},
        }}});
        shorten(&mut autoscaler);
        assert_eq!(
            autoscaler["spec"]["behavior"],
            json!({
                "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 4, "periodSeconds": 10}]},
                "scaleDown": {"stabilizationWindowSeconds": 20, "policies": [{"type": "Pods", "value": 2, "periodSeconds": 10}]},
            })
        );
        let mut plain = json!({"spec": {"maxReplicas": 10}});
        shorten(&mut plain);
        assert_eq!(plain, json!({"spec": {"maxReplicas": 10}}));
    }
}
