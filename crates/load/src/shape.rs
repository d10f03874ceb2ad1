//! How much load there is at any moment of a run, as pure arithmetic.

use std::time::Duration;

use crate::schedule::Arrivals;
use crate::{Error, parse_duration};

/// What the numbers of a [`Shape`] mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Users who each send a request, wait for its answer, and send the next (closed model).
    Users,
    /// Requests that start in a second, whatever the server does (open model).
    ArrivalsPerSecond,
}

/// One piece of a run: the level moves in a straight line to `target` within `duration`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// How long the stage lasts.
    pub duration: Duration,
    /// The level at its end; users or arrivals a second.
    pub target: f64,
}

impl std::str::FromStr for Stage {
    type Err = Error;

    /// Reads `DURATION:TARGET`, for example `30s:50`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Stage {
            given: text.to_owned(),
            reason: reason.to_owned(),
        };
        let (duration, target) = text
            .split_once(':')
            .ok_or_else(|| wrong("there is no colon"))?;
        let target: f64 = target
            .trim()
            .parse()
            .ok()
            .filter(|target: &f64| target.is_finite() && *target >= 0.0)
            .ok_or_else(|| wrong("the level is not a number of zero or more"))?;
        Ok(Self {
            duration: parse_duration(duration)?,
            target,
        })
    }
}

/// The level of load over a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// What the level counts.
    pub level: Level,
    start: f64,
    stages: Vec<Stage>,
}

// === impl Shape ===

impl Shape {
    /// The same level all the time.
    ///
    /// # Errors
    /// When there would be no load or no time for it.
    pub fn constant(level: Level, value: f64, duration: Duration) -> Result<Self, Error> {
        Self::staged(
            level,
            value,
            vec![Stage {
                duration,
                target: value,
            }],
        )
    }

    /// A level that begins at `start` and moves through `stages`.
    ///
    /// # Errors
    /// When there would be no load or no time for it.
    pub fn staged(level: Level, start: f64, stages: Vec<Stage>) -> Result<Self, Error> {
        if stages
            .iter()
            .map(|stage| stage.duration)
            .sum::<Duration>()
            .is_zero()
        {
            return Err(Error::Shape(
                "the load lasts no time: give --duration or --stage above zero",
            ));
        }
        let usable = |value: f64| value.is_finite() && value >= 0.0;
        if !usable(start) || !stages.iter().all(|stage| usable(stage.target)) {
            return Err(Error::Shape(
                "--vus, --rate and the levels of stages are numbers of zero or more",
            ));
        }
        if start == 0.0 && stages.iter().all(|stage| stage.target == 0.0) {
            return Err(Error::Shape(
                "there is no load: give --vus, --rate or a --stage above zero",
            ));
        }
        Ok(Self {
            level,
            start,
            stages,
        })
    }

    /// How long the run lasts.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.stages.iter().map(|stage| stage.duration).sum()
    }

    /// The level at `elapsed` since the start; zero once the run is over.
    #[must_use]
    pub fn at(&self, elapsed: Duration) -> f64 {
        let mut from = self.start;
        let mut left = elapsed;
        for stage in &self.stages {
            if left < stage.duration {
                let part = left.as_secs_f64() / stage.duration.as_secs_f64();
                return from + (stage.target - from) * part;
            }
            left -= stage.duration;
            from = stage.target;
        }
        0.0
    }

    /// When arrivals are meant to start: the first one at once, and with equal gaps at a constant rate.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        let stages: Vec<_> = self
            .stages
            .iter()
            .map(|stage| (stage.duration, stage.target))
            .collect();
        Arrivals::from_the_start(self.start, &stages)
    }

    /// The highest level of the run.
    #[must_use]
    pub fn peak(&self) -> f64 {
        self.stages
            .iter()
            .map(|stage| stage.target)
            .fold(self.start, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(value: f64) -> Duration {
        Duration::from_secs_f64(value)
    }

    #[test]
    fn a_constant_rate_has_equal_gaps_and_starts_at_once() {
        let shape = Shape::constant(Level::ArrivalsPerSecond, 4.0, seconds(1.0)).unwrap();
        let mut arrivals = shape.arrivals();
        let starts: Vec<_> = (0..6).map(|_| arrivals.next()).collect();
        assert_eq!(
            starts,
            [
                Some(seconds(0.0)),
                Some(seconds(0.25)),
                Some(seconds(0.5)),
                Some(seconds(0.75)),
                None,
                None
            ]
        );
    }

    #[test]
    fn a_level_moves_in_straight_lines() {
        let stages = vec![
            "10s:20".parse().unwrap(),
            "10s:20".parse().unwrap(),
            "5s:0".parse().unwrap(),
        ];
        let shape = Shape::staged(Level::Users, 0.0, stages).unwrap();
        for (second, level) in [
            (0.0, 0.0),
            (5.0, 10.0),
            (10.0, 20.0),
            (15.0, 20.0),
            (22.5, 10.0),
            (25.0, 0.0),
        ] {
            assert!((shape.at(seconds(second)) - level).abs() < 1e-9, "{second}");
        }
        assert!((shape.peak() - 20.0).abs() < 1e-9);
    }

    #[test]
    fn stages_that_make_no_sense_are_refused() {
        for text in ["30s", "30:5", "x:5", "30s:-1", "30s:many", "30s:inf"] {
            assert!(text.parse::<Stage>().is_err(), "{text}");
        }
        assert!(Shape::constant(Level::Users, 0.0, seconds(1.0)).is_err());
        assert!(Shape::constant(Level::Users, 1.0, Duration::ZERO).is_err());
    }

    proptest! {
        #[test]
        fn arrivals_are_in_order_and_as_many_as_the_integral(
            start in 0.0..50.0f64,
            stages in prop::collection::vec((0.1..5.0f64, 0.0..50.0f64), 1..4),
        ) {
            let stages: Vec<_> = stages
                .into_iter()
                .map(|(length, target)| Stage { duration: seconds(length), target })
                .collect();
            let mut integral = 0.0;
            let mut from = start;
            for stage in &stages {
                integral += (from + stage.target) / 2.0 * stage.duration.as_secs_f64();
                from = stage.target;
            }
            let Ok(shape) = Shape::staged(Level::ArrivalsPerSecond, start, stages) else { return Ok(()) };
            let arrivals: Vec<_> = shape.arrivals().collect();
            prop_assert!(arrivals.is_sorted());
            prop_assert!(arrivals.last().is_none_or(|last| *last <= shape.duration()));
            #[expect(clippy::cast_precision_loss, reason = "small counts")]
            let count = arrivals.len() as f64;
            prop_assert!((count - integral).abs() <= 1.0, "{count} arrivals for an integral of {integral}");
        }
    }
}
