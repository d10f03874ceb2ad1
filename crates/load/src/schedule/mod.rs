//! What an executor is to do at which moment, as pure arithmetic: how many virtual users run
//! ([`ramp_steps`]), and when arrivals start ([`Arrivals`]).
//!
//! The definitions are those of k6's documentation: users ramp in straight lines, one user at a
//! time; an arrival starts when the integral of the rate reaches its number. What k6 does not have
//! is a [`Schedule`]: a rate that stages, a formula ([`Shape`]) or a recording gives.

mod arrivals;
mod ramp;
mod shape;

use std::time::Duration;

pub use arrivals::{Arrivals, Rate};
pub use ramp::{Step, ramp_steps};
pub use shape::{Shape, ShapeError};

use crate::replay::Playback;

/// When requests are to start, whatever the target does.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// The rate follows straight lines; the first arrival is at once.
    Line(Line),
    /// As a recording has them.
    Playback(Playback),
}

/// A rate that follows straight lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Arrivals a second at the start.
    pub start: f64,
    /// Pieces, each with its length and the rate a second at its end.
    pub stages: Vec<(Duration, f64)>,
}

// === impl Schedule ===

impl Schedule {
    /// The moments of all arrivals, in order.
    pub(crate) fn arrivals(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        match self {
            Self::Line(line) => Box::new(line.arrivals()),
            Self::Playback(playback) => Box::new(playback.clone()),
        }
    }

    /// How long arrivals can begin.
    #[must_use]
    pub fn length(&self) -> Duration {
        match self {
            Self::Line(line) => line.length(),
            Self::Playback(playback) => playback.length(),
        }
    }
}

// === impl Line ===

impl Line {
    /// When arrivals start: the first at once, with equal gaps while the rate is constant.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        Arrivals::from_the_start(self.start, &self.stages)
    }

    /// How long it is.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.stages.iter().map(|stage| stage.0).sum()
    }

    /// The highest rate.
    #[must_use]
    pub fn peak(&self) -> f64 {
        self.levels().fold(self.start, f64::max)
    }

    /// The lowest rate.
    #[must_use]
    pub fn lowest(&self) -> f64 {
        self.levels().fold(self.start, f64::min)
    }

    fn levels(&self) -> impl Iterator<Item = f64> {
        self.stages.iter().map(|stage| stage.1)
    }
}
