//! What happened when: a run's measurements by interval, in bounded memory, for the report.
//!
//! Every second of the run becomes a [`Point`]. When there are too many, neighbours are merged, so that
//! a run of a day has as many points as one of ten minutes.

mod distribution;

use std::time::Duration;

use jiff::Timestamp;

pub use distribution::Distribution;

use crate::metric::{
    BuiltinMetrics, FailureTally, Interval, Measured, Metric, ReplicaTally, Totals,
};
use crate::run::Moment;

/// The most points that are kept: more than a page has room to show.
const MOST_POINTS: usize = 600;

/// A run's measurements by interval.
#[derive(Clone, Debug)]
pub struct Timeline {
    started: Option<Timestamp>,
    points: Vec<Point>,
    /// What `setup` measured.
    before: Point,
    /// What `teardown` measured.
    after: Point,
    /// So many moments make a point.
    moments_per_point: u32,
}

/// What was measured between two moments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// When it begins, since the run's start.
    pub start: Duration,
    /// When it ends, since the run's start.
    pub end: Duration,
    /// HTTP requests.
    pub requests: f64,
    /// Iterations that were finished.
    pub iterations: f64,
    /// Iterations for which no user was free.
    pub dropped: f64,
    /// Failed requests by kind.
    pub failures: FailureTally,
    /// Checks that failed.
    pub failed_checks: u64,
    /// `http_req_duration`, in milliseconds.
    pub duration: Distribution,
    /// `http_req_response_time`: from when the schedule meant the iteration to start, in milliseconds.
    pub response_time: Distribution,
    /// `iteration_duration`, in milliseconds.
    pub iteration_duration: Distribution,
    /// Users that were active, at most.
    pub users: f64,
    /// Users that there were, at most.
    pub max_users: f64,
    /// Bytes sent.
    pub sent: f64,
    /// Bytes received.
    pub received: f64,
    /// Requests by the replica that answered.
    pub replicas: ReplicaTally,
    pub(crate) moments: u32,
}

/// The part of a run that something was measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before the load.
    Setup,
    /// What the points tell of.
    Load,
    /// After it.
    Teardown,
}

// === impl Timeline ===

impl Default for Timeline {
    fn default() -> Self {
        Self {
            started: None,
            points: Vec::new(),
            before: Point::default(),
            after: Point::default(),
            moments_per_point: 1,
        }
    }
}

impl Timeline {
    /// Takes in what a moment tells, which is `now`.
    pub fn record(&mut self, moment: &Moment<'_>, metrics: &BuiltinMetrics, now: Timestamp) {
        self.started.get_or_insert(now - moment.elapsed);
        let start = self.end();
        let end = moment.elapsed.max(start);
        let point = Point::of(moment.interval, metrics, start, end);
        // What the last second had to itself may be a few milliseconds, which say nothing as a rate.
        let is_rest = moment.last && point.length() < Duration::from_millis(500);
        match self.points.last_mut() {
            Some(last) if is_rest || last.moments < self.moments_per_point => last.merge(&point),
            _ => self.points.push(point),
        }
        if self.points.len() > MOST_POINTS {
            self.halve();
        }
    }

    /// Takes in what was measured beside the load: before its first moment by `setup`, after its last one
    /// by `teardown`. It counts in what is said of the whole run, and no point is made of it.
    pub fn record_beside(&mut self, interval: &Interval, metrics: &BuiltinMetrics) {
        let end = self.end();
        let beside = Point::of(interval, metrics, end, end);
        if self.points.is_empty() {
            self.before.merge(&beside);
        } else {
            self.after.merge(&beside);
        }
    }

    fn halve(&mut self) {
        self.moments_per_point *= 2;
        let points = std::mem::take(&mut self.points);
        for point in points {
            match self.points.last_mut() {
                Some(last) if last.moments < self.moments_per_point => last.merge(&point),
                _ => self.points.push(point),
            }
        }
    }

    /// When the run began, by wall clock.
    #[must_use]
    pub fn started(&self) -> Option<Timestamp> {
        self.started
    }

    /// The points in the order of time, each beginning where the one before ends.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// All that was measured, in the order of time: by `setup`, in the points, by `teardown`.
    pub fn whole(&self) -> impl Iterator<Item = (Stage, &Point)> + Clone {
        let load = self.points.iter().map(|point| (Stage::Load, point));
        std::iter::once((Stage::Setup, &self.before))
            .chain(load)
            .chain(std::iter::once((Stage::Teardown, &self.after)))
    }

    /// When the last point ends, since the run's start.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.points.last().map_or(Duration::ZERO, |last| last.end)
    }
}

// === impl Point ===

impl Point {
    fn of(interval: &Interval, metrics: &BuiltinMetrics, start: Duration, end: Duration) -> Self {
        let measured = &interval.measured;
        let failed_checks = match measured.get(&metrics.checks.id) {
            Some(Measured::Rate { passes, total }) => total - passes,
            _ => 0,
        };
        Self {
            start,
            end,
            requests: sum(measured, &metrics.http_reqs),
            iterations: sum(measured, &metrics.iterations),
            dropped: sum(measured, &metrics.dropped_iterations),
            failures: interval.failures.clone(),
            failed_checks,
            duration: distribution(measured, &metrics.http_req_duration),
            response_time: distribution(measured, &metrics.http_req_response_time),
            iteration_duration: distribution(measured, &metrics.iteration_duration),
            users: greatest(measured, &metrics.vus),
            max_users: greatest(measured, &metrics.vus_max),
            sent: sum(measured, &metrics.data_sent),
            received: sum(measured, &metrics.data_received),
            replicas: interval.replicas.clone(),
            moments: 1,
        }
    }

    fn merge(&mut self, later: &Self) {
        self.end = later.end;
        self.requests += later.requests;
        self.iterations += later.iterations;
        self.dropped += later.dropped;
        self.failures.merge(&later.failures);
        self.failed_checks += later.failed_checks;
        self.duration.merge(&later.duration);
        self.response_time.merge(&later.response_time);
        self.iteration_duration.merge(&later.iteration_duration);
        self.users = self.users.max(later.users);
        self.max_users = self.max_users.max(later.max_users);
        self.sent += later.sent;
        self.received += later.received;
        self.replicas.merge(&later.replicas);
        self.moments += later.moments;
    }

    /// How long it is.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.end.saturating_sub(self.start)
    }

    /// So much a second, where there were so many in this point.
    #[must_use]
    pub fn per_second(&self, count: f64) -> f64 {
        count / self.length().as_secs_f64().max(1e-3)
    }
}

fn sum(measured: &Totals, metric: &Metric) -> f64 {
    match measured.get(&metric.id) {
        Some(Measured::Counter { sum }) => *sum,
        _ => 0.0,
    }
}

fn greatest(measured: &Totals, metric: &Metric) -> f64 {
    match measured.get(&metric.id) {
        Some(Measured::Gauge { max, .. }) => *max,
        _ => 0.0,
    }
}

fn distribution(measured: &Totals, metric: &Metric) -> Distribution {
    match measured.get(&metric.id) {
        Some(Measured::Trend(trend)) => trend.into(),
        _ => Distribution::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metric::{Collector, MetricRegistry, Tags};
    use crate::user::RunState;

    /// A run in which second `n` has one request of `n` ms; the last moment comes `rest` after the last second.
    fn record(seconds: u32, rest: Duration) -> Timeline {
        let registry = Arc::new(MetricRegistry::default());
        let metrics = registry.builtin();
        let collector = Collector::new(Arc::clone(&registry), false);
        let sink = collector.sink();
        let state = RunState::default();
        let mut timeline = Timeline::default();
        let tags: Tags = [("status", "503"), ("error_code", "1503")]
            .into_iter()
            .collect();
        for second in 1..=seconds + 1 {
            let last = second == seconds + 1;
            let elapsed = if last {
                Duration::from_secs(seconds.into()) + rest
            } else {
                Duration::from_secs(second.into())
            };
            let now = Timestamp::UNIX_EPOCH + elapsed;
            sink.add(&metrics.http_reqs, 1.0, &tags, now);
            sink.add(&metrics.http_req_failed, 1.0, &tags, now);
            sink.add(&metrics.http_req_duration, second.into(), &tags, now);
            sink.add(&metrics.vus, second.into(), &tags, now);
            let moment = Moment {
                elapsed,
                interval: &collector.collect(),
                state: &state,
                scenarios: &[],
                last,
            };
            timeline.record(&moment, metrics, now);
        }
        timeline
    }

    fn check(timeline: &Timeline, requests: f64) {
        assert_eq!(timeline.started(), Some(Timestamp::UNIX_EPOCH));
        let points = timeline.points();
        assert_eq!(points[0].start, Duration::ZERO);
        for pair in points.windows(2) {
            assert_eq!(pair[0].end, pair[1].start);
        }
        let of = |read: fn(&Point) -> f64| points.iter().map(read).sum::<f64>();
        assert_eq!(of(|point| point.requests), requests);
        let failures: u64 = points
            .iter()
            .flat_map(|point| point.failures.iter())
            .map(|(_, count)| count)
            .sum();
        assert_eq!(failures as f64, requests);
    }

    #[test]
    fn a_short_run_has_a_point_a_second_and_no_sliver_at_its_end() {
        let timeline = record(3, Duration::from_millis(3));
        check(&timeline, 4.0);
        assert_eq!(timeline.points().len(), 3);
        assert_eq!(timeline.end(), Duration::from_millis(3003));
        assert_eq!(
            timeline.points()[1].duration.percentile(50.0),
            Some(2.0078125)
        );
        assert_eq!(record(3, Duration::from_millis(900)).points().len(), 4);
    }

    #[test]
    fn a_long_run_has_fewer_longer_points_and_loses_nothing() {
        let timeline = record(10_000, Duration::ZERO);
        check(&timeline, 10_001.0);
        let count = timeline.points().len();
        assert!((MOST_POINTS / 2..=MOST_POINTS).contains(&count), "{count}");
        let longest = timeline.points().iter().map(Point::length).max();
        assert_eq!(longest, Some(Duration::from_secs(32)));
        let point = &timeline.points()[0];
        assert_eq!((point.duration.count(), point.users), (32, 32.0));
        assert_eq!(point.per_second(point.requests), 1.0);
    }
}
