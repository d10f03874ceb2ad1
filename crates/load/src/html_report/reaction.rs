//! How the platform reacted to the load: how long it took until there was more capacity, and how evenly the
//! replicas shared the requests.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use crate::scenario::{Executor, ScenarioPlan};
use crate::schedule::Schedule;
use crate::timeline::Point;
use crate::watch::{AutoscalerReading, AutoscalerTimeline};

/// A stretch with the same replicas says how evenly they share only if it has so many points.
const LONG_ENOUGH: usize = 5;

/// A moment from which the load grows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LoadStep {
    /// Since the run's start.
    pub(super) at: Duration,
    /// What grows, such as `10 → 50 VUs within 30 s`.
    pub(super) what: String,
}

/// What an autoscaler made of a step of the load.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reaction {
    /// The step.
    pub(super) step: LoadStep,
    /// Until it decided to add replicas; nothing where it did not before the next step.
    pub(super) decided: Option<Duration>,
    /// Until more replicas served.
    pub(super) added: Option<Duration>,
    /// Replicas that served at the step, and at most before the next.
    pub(super) replicas: (i32, i32),
}

/// How evenly the replicas shared the requests, over the longest stretch in which the same ones answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Evenness {
    /// When the stretch begins, since the run's start.
    pub(super) start: Duration,
    /// When it ends.
    pub(super) end: Duration,
    /// How many replicas answered.
    pub(super) replicas: usize,
    /// The busiest one's requests over the mean: 1 is perfectly even.
    pub(super) most: f64,
    /// The idlest one's requests over the mean.
    pub(super) least: f64,
}

/// When the load grows, in the order of time.
pub(super) fn load_steps(plans: &[ScenarioPlan]) -> Vec<LoadStep> {
    let mut steps: Vec<LoadStep> = plans
        .iter()
        .flat_map(|plan| {
            let name = if plans.len() > 1 {
                format!("{}: ", plan.name)
            } else {
                String::new()
            };
            steps_of(&plan.executor)
                .into_iter()
                .map(move |(after, what)| LoadStep {
                    at: plan.start_time + after,
                    what: format!("{name}{what}"),
                })
        })
        .collect();
    steps.sort_by_key(|step| step.at);
    steps.dedup_by(|later, earlier| {
        let same = later.at == earlier.at;
        if same {
            let _ = write!(earlier.what, "; {}", later.what);
        }
        same
    });
    steps
}

fn steps_of(executor: &Executor) -> Vec<(Duration, String)> {
    let at_once = |what: String| vec![(Duration::ZERO, what)];
    match executor {
        Executor::RampingVus { start, stages, .. } => {
            #[expect(clippy::cast_precision_loss, reason = "users are far below 2^52")]
            let stages: Vec<(Duration, f64)> = stages
                .iter()
                .map(|(length, users)| (*length, *users as f64))
                .collect();
            #[expect(clippy::cast_precision_loss, reason = "users are far below 2^52")]
            steps_of_ramp(*start as f64, &stages, "VUs")
        }
        Executor::RampingArrivalRate { start, stages, .. } => {
            let per_second = |count: f64| count / start.per.as_secs_f64();
            let stages: Vec<(Duration, f64)> = stages
                .iter()
                .map(|(length, count)| (*length, per_second(*count)))
                .collect();
            steps_of_ramp(per_second(start.count), &stages, "iterations/s")
        }
        Executor::ConstantArrivalRate { rate, .. } => at_once(format!(
            "0 → {} iterations/s",
            super::units::significant(rate.per_second())
        )),
        Executor::Scheduled {
            schedule: Schedule::Line(line),
            ..
        } => steps_of_ramp(line.start, &line.stages, "requests/s"),
        Executor::Scheduled {
            schedule: Schedule::Playback(_),
            ..
        } => at_once("a recording begins".to_owned()),
        other => at_once(format!("0 → {} VUs", other.planned_users())),
    }
}

fn steps_of_ramp(start: f64, stages: &[(Duration, f64)], unit: &str) -> Vec<(Duration, String)> {
    let number = super::units::significant;
    let mut steps = Vec::new();
    if start > 0.0 {
        steps.push((Duration::ZERO, format!("0 → {} {unit}", number(start))));
    }
    let (mut at, mut from) = (Duration::ZERO, start);
    for (length, to) in stages {
        if *to > from {
            let within = if length.is_zero() {
                String::new()
            } else {
                format!(" within {}", super::units::length(*length))
            };
            steps.push((
                at,
                format!("{} → {} {unit}{within}", number(from), number(*to)),
            ));
        }
        at += *length;
        from = *to;
    }
    steps
}

/// What an autoscaler made of each step of the load. A step's time ends where the next begins.
pub(super) fn reactions(steps: &[LoadStep], autoscaler: &AutoscalerTimeline) -> Vec<Reaction> {
    let ends = steps
        .iter()
        .skip(1)
        .map(|next| next.at.as_secs_f64())
        .chain([f64::INFINITY]);
    steps
        .iter()
        .zip(ends)
        .map(|(step, end)| reaction(step, end, autoscaler))
        .collect()
}

fn reaction(step: &LoadStep, end: f64, autoscaler: &AutoscalerTimeline) -> Reaction {
    let start = step.at.as_secs_f64();
    let within = |seconds: f64| seconds > start && seconds < end;
    let before = autoscaler
        .readings
        .iter()
        .take_while(|reading| reading.seconds <= start)
        .last()
        .or(autoscaler.readings.first())
        .map_or(0, serving);
    let grown = autoscaler
        .readings
        .iter()
        .find(|reading| within(reading.seconds) && serving(reading) > before);
    let most = autoscaler
        .readings
        .iter()
        .filter(|reading| within(reading.seconds))
        .map(serving)
        .fold(before, i32::max);
    let decision = autoscaler
        .decisions
        .iter()
        .find(|decision| within(decision.seconds) && decision.done && decision.to > decision.from);
    let since = |seconds: f64| Duration::from_secs_f64((seconds - start).max(0.0));
    Reaction {
        step: step.clone(),
        decided: decision.map(|decision| since(decision.seconds)),
        added: grown.map(|reading| since(reading.seconds)),
        replicas: (before, most),
    }
}

/// Replicas that can serve, or that there are where it is not known which can serve.
pub(super) fn serving(reading: &AutoscalerReading) -> i32 {
    reading.ready_replicas.unwrap_or(reading.current_replicas)
}

/// How evenly the replicas shared the requests; nothing where the answers do not name them, or where they
/// changed all the time.
pub(super) fn evenness(points: &[Point]) -> Option<Evenness> {
    let names = |point: &Point| -> BTreeSet<String> {
        point
            .replicas
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    let longest = points
        .chunk_by(|one, next| names(one) == names(next))
        .filter(|stretch| !stretch[0].replicas.is_empty())
        .map(|stretch| {
            // The replica that makes the difference may have come or gone in the middle of a point.
            let inner = 1..stretch.len().saturating_sub(1);
            stretch.get(inner).unwrap_or_default()
        })
        .max_by_key(|stretch| stretch.len())
        .filter(|stretch| stretch.len() >= LONG_ENOUGH)?;
    let replicas = names(&longest[0]);
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let counts: Vec<f64> = replicas
        .iter()
        .map(|name| {
            longest
                .iter()
                .map(|point| point.replicas.of(name))
                .sum::<u64>() as f64
        })
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "a few replicas")]
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    Some(Evenness {
        start: longest.first()?.start,
        end: longest.last()?.end,
        replicas: counts.len(),
        most: counts.iter().copied().fold(0.0, f64::max) / mean,
        least: counts.iter().copied().fold(f64::INFINITY, f64::min) / mean,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderName;

    use super::*;
    use crate::metric::{Collector, MetricRegistry};
    use crate::scenario::scenarios;
    use crate::watch::ScalingDecision;

    fn plans(options: &str) -> Vec<ScenarioPlan> {
        scenarios(&serde_json::from_str(options).unwrap())
            .unwrap()
            .0
    }

    #[test]
    fn the_load_grows_where_a_stage_goes_up_or_a_scenario_begins() {
        let found: Vec<_> = load_steps(&plans(
            r#"{"stages": [{"duration": "10s", "target": 5}, {"duration": "20s", "target": 5},
                {"duration": "0s", "target": 50}, {"duration": "5s", "target": 0}]}"#,
        ))
        .into_iter()
        .map(|step| (step.at.as_secs(), step.what))
        .collect();
        // Without `startVUs` the first user is there at once.
        let expected = [(0, "0 → 1 VUs; 1 → 5 VUs within 10 s"), (30, "5 → 50 VUs")];
        assert_eq!(
            found,
            expected.map(|(at, what)| (at, what.to_owned())),
            "{found:?}"
        );
        let two = load_steps(&plans(
            r#"{"scenarios": {
                "late": {"executor": "constant-arrival-rate", "rate": 30, "timeUnit": "1m", "duration": "5s", "preAllocatedVUs": 1, "startTime": "7s"},
                "users": {"executor": "constant-vus", "vus": 3, "duration": "9s"}}}"#,
        ));
        assert_eq!(two[0].what, "users: 0 → 3 VUs");
        assert_eq!(
            (two[1].at.as_secs(), two[1].what.as_str()),
            (7, "late: 0 → 0.5 iterations/s")
        );
    }

    #[test]
    fn evenness_is_that_of_the_longest_stretch_with_the_same_replicas() {
        let header = HeaderName::from_static("x-served-by");
        let registry = Arc::new(MetricRegistry::default());
        let collector = Collector::new(registry, false).counting_replicas(header.clone());
        let sink = collector.sink();
        let mut points = Vec::new();
        for second in 0..20 {
            let replicas: &[(&str, u64)] = match second {
                0..4 => &[("a", 10)],
                // It came in the middle of this second.
                4 => &[("a", 10), ("b", 1)],
                _ => &[("a", 12), ("b", 8)],
            };
            for (name, count) in replicas {
                let headers = [(header.clone(), name.parse().unwrap())]
                    .into_iter()
                    .collect();
                (0..*count).for_each(|_| sink.answered(&headers));
            }
            points.push(Point {
                start: Duration::from_secs(second),
                end: Duration::from_secs(second + 1),
                replicas: collector.collect().replicas,
                ..Point::default()
            });
        }
        let found = evenness(&points).unwrap();
        assert_eq!((found.start.as_secs(), found.end.as_secs()), (5, 19));
        assert_eq!((found.replicas, found.most, found.least), (2, 1.2, 0.8));
        assert_eq!(evenness(&points[..6]), None);
    }

    #[test]
    fn a_reaction_counts_from_its_step() {
        let reading = |seconds: f64, ready: i32| AutoscalerReading {
            seconds,
            current_replicas: 9,
            desired_replicas: 9,
            ready_replicas: Some(ready),
            metrics: Vec::new(),
            limited: None,
        };
        let decision = |seconds: f64, from: i32, to: i32, done: bool| ScalingDecision {
            seconds,
            from,
            to,
            reason: String::new(),
            done,
        };
        let autoscaler = AutoscalerTimeline {
            readings: [
                (0.5, 2),
                (10.0, 2),
                (16.5, 2),
                (17.5, 3),
                (18.5, 4),
                (60.0, 4),
            ]
            .map(|(seconds, ready)| reading(seconds, ready))
            .to_vec(),
            decisions: vec![
                decision(12.0, 2, 4, false),
                decision(15.0, 2, 4, true),
                decision(50.0, 4, 3, true),
            ],
            ..AutoscalerTimeline::default()
        };
        let step = |at: u64| LoadStep {
            at: Duration::from_secs(at),
            what: String::new(),
        };
        let found = reactions(&[step(10), step(40)], &autoscaler);
        assert_eq!(found[0].decided, Some(Duration::from_secs(5)));
        assert_eq!(found[0].added, Some(Duration::from_millis(7500)));
        assert_eq!(found[0].replicas, (2, 4));
        assert_eq!((found[1].decided, found[1].added), (None, None));
        assert_eq!(found[1].replicas, (4, 4));
    }
}
