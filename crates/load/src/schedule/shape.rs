//! A rate as a formula of time: `sine(low=10, high=90, period=60s) + spike(peak=200, at=30s, for=5s)`.

use std::str::FromStr;
use std::time::Duration;

use super::Line;
use crate::parse_duration;

/// Straight pieces that a period of a sine is drawn in. Over a whole period they have the sine's
/// integral exactly, and within it they are never more than 0.03 % of its swing off.
const PIECES_PER_PERIOD: u32 = 64;
/// The most pieces that a formula may take, so that a mistyped period does not fill the memory.
const MOST_PIECES: f64 = 1_000_000.0;

/// Requests a second as a sum of terms.
///
/// ```text
/// shape = term { "+" term }
/// term  = number                                      always so many
///       | "sine(low=, high=, period=)"                from low to high and back, beginning at low
///       | "step(from=, to=, at=)"                     one step
///       | "stairs(from=, by=, every=)"                a step of this height every so often
///       | "spike(base=, peak=, at=, for=)"            base, but peak from `at` on for so long
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    terms: Vec<Term>,
}

/// What is wrong with a formula.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "shape {given:?}: {reason}; write it like sine(low=10, high=90, period=60s), step(from=10, to=100, at=30s), stairs(from=10, by=20, every=30s) or spike(base=10, peak=200, at=30s, for=5s), a number, or a sum of them"
)]
pub struct ShapeError {
    /// The formula as given.
    pub given: String,
    /// What is wrong with it.
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Constant(f64),
    Sine {
        low: f64,
        high: f64,
        period: f64,
    },
    Step {
        from: f64,
        to: f64,
        at: f64,
    },
    Stairs {
        from: f64,
        by: f64,
        every: f64,
    },
    Spike {
        base: f64,
        peak: f64,
        at: f64,
        end: f64,
    },
}

/// From which side a moment is looked at: a step has two rates at its own moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

// === impl Shape ===

impl Shape {
    /// The line that the rate follows for this long.
    ///
    /// # Errors
    /// When the rate would be negative somewhere, zero everywhere, or the line endless.
    pub fn line(&self, length: Duration) -> Result<Line, String> {
        let end = length.as_secs_f64();
        let pieces: f64 = self.terms.iter().map(|term| term.pieces(end)).sum();
        if pieces > MOST_PIECES {
            return Err(format!(
                "it changes {pieces:.0} times within {length:?}, which is more than can be followed"
            ));
        }
        let mut bends: Vec<f64> = self
            .terms
            .iter()
            .flat_map(|term| term.bends(end))
            .filter(|at| *at > 0.0 && *at < end)
            .collect();
        bends.push(end);
        bends.sort_by(f64::total_cmp);
        bends.dedup();
        let start = self.rate(0.0, Side::After);
        let mut stages: Vec<(Duration, f64)> = Vec::with_capacity(bends.len());
        let mut begin = 0.0;
        for at in bends {
            stages.push((
                Duration::from_secs_f64(at - begin),
                self.rate(at, Side::Before),
            ));
            let after = self.rate(at, Side::After);
            if at < end && after != self.rate(at, Side::Before) {
                stages.push((Duration::ZERO, after));
            }
            begin = at;
        }
        let line = Line { start, stages };
        if line.lowest() < 0.0 {
            return Err("its rate falls below zero".to_owned());
        }
        if line.peak() <= 0.0 {
            return Err("its rate is zero all the time".to_owned());
        }
        Ok(line)
    }

    fn rate(&self, at: f64, side: Side) -> f64 {
        self.terms.iter().map(|term| term.rate(at, side)).sum()
    }
}

impl FromStr for Shape {
    type Err = ShapeError;

    fn from_str(text: &str) -> Result<Self, ShapeError> {
        let terms = text
            .split('+')
            .map(|part| Term::parse(part.trim()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|reason| ShapeError {
                given: text.to_owned(),
                reason,
            })?;
        Ok(Self { terms })
    }
}

// === impl Term ===

impl Term {
    fn parse(text: &str) -> Result<Self, String> {
        let Some((name, rest)) = text.split_once('(') else {
            return match text.parse() {
                Ok(rate) if f64::is_finite(rate) => Ok(Self::Constant(rate)),
                _ => Err(format!("{text:?} is neither a number nor a function")),
            };
        };
        let name = name.trim();
        let inner = rest
            .strip_suffix(')')
            .ok_or_else(|| format!("{name}( has no closing bracket at its end"))?;
        let mut values = Values::parse(name, inner)?;
        let term = match name {
            "sine" => Self::Sine {
                low: values.rate("low")?,
                high: values.rate("high")?,
                period: values.length("period")?,
            },
            "step" => Self::Step {
                from: values.rate("from")?,
                to: values.rate("to")?,
                at: values.moment("at")?,
            },
            "stairs" => Self::Stairs {
                from: values.rate("from")?,
                by: values.rate("by")?,
                every: values.length("every")?,
            },
            "spike" => {
                let at = values.moment("at")?;
                Self::Spike {
                    base: values.rate("base")?,
                    peak: values.rate("peak")?,
                    at,
                    end: at + values.length("for")?,
                }
            }
            _ => return Err(format!("there is no function {name:?}")),
        };
        values.all_taken()?;
        Ok(term)
    }

    /// About how many pieces it has until `end`.
    fn pieces(&self, end: f64) -> f64 {
        match self {
            Self::Constant(_) | Self::Step { .. } | Self::Spike { .. } => 2.0,
            Self::Sine { period, .. } => end / period * f64::from(PIECES_PER_PERIOD),
            Self::Stairs { every, .. } => end / every,
        }
    }

    /// Moments at which it is not straight.
    fn bends(&self, end: f64) -> Vec<f64> {
        let every = |gap: f64| {
            (1_u32..)
                .map(move |count| gap * f64::from(count))
                .take_while(move |at| *at < end)
                .collect()
        };
        match self {
            Self::Constant(_) => Vec::new(),
            Self::Sine { period, .. } => every(period / f64::from(PIECES_PER_PERIOD)),
            Self::Step { at, .. } => vec![*at],
            Self::Stairs { every: gap, .. } => every(*gap),
            Self::Spike { at, end, .. } => vec![*at, *end],
        }
    }

    fn rate(&self, at: f64, side: Side) -> f64 {
        let past = |moment: f64| match side {
            Side::Before => at > moment,
            Side::After => at >= moment,
        };
        match *self {
            Self::Constant(rate) => rate,
            Self::Sine { low, high, period } => {
                let turn = std::f64::consts::TAU * at / period;
                low + (high - low) * (1.0 - turn.cos()) / 2.0
            }
            Self::Step {
                from,
                to,
                at: moment,
            } => {
                if past(moment) {
                    to
                } else {
                    from
                }
            }
            Self::Stairs { from, by, every } => {
                let stair = (at / every).floor();
                let stair = if past(stair * every) {
                    stair
                } else {
                    stair - 1.0
                };
                from + by * stair.max(0.0)
            }
            Self::Spike {
                base,
                peak,
                at: moment,
                end,
            } => {
                if past(moment) && !past(end) {
                    peak
                } else {
                    base
                }
            }
        }
    }
}

/// What stands between a function's brackets.
struct Values<'text> {
    function: &'text str,
    given: Vec<(&'text str, &'text str)>,
}

impl<'text> Values<'text> {
    fn parse(function: &'text str, inner: &'text str) -> Result<Self, String> {
        let given = inner
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| {
                part.split_once('=')
                    .map(|(name, value)| (name.trim(), value.trim()))
                    .ok_or_else(|| format!("{part:?} in {function}(…) has no name before a ="))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { function, given })
    }

    fn take(&mut self, name: &str) -> Result<&'text str, String> {
        let place = self.given.iter().position(|(given, _)| *given == name);
        match place {
            Some(place) => Ok(self.given.remove(place).1),
            None => Err(format!("{}(…) lacks {name}=", self.function)),
        }
    }

    fn rate(&mut self, name: &str) -> Result<f64, String> {
        let value = self.take(name)?;
        match value.parse() {
            Ok(rate) if f64::is_finite(rate) => Ok(rate),
            _ => Err(format!("{name}={value} is not a number")),
        }
    }

    fn moment(&mut self, name: &str) -> Result<f64, String> {
        let value = self.take(name)?;
        parse_duration(value)
            .map(|time| time.as_secs_f64())
            .map_err(|error| format!("{name}={value}: {error}"))
    }

    fn length(&mut self, name: &str) -> Result<f64, String> {
        let seconds = self.moment(name)?;
        if seconds > 0.0 {
            Ok(seconds)
        } else {
            Err(format!("{name} is no time at all"))
        }
    }

    fn all_taken(&self) -> Result<(), String> {
        match self.given.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!("{}(…) has no {name}=", self.function)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, seconds: u64) -> Line {
        text.parse::<Shape>()
            .unwrap()
            .line(Duration::from_secs(seconds))
            .unwrap()
    }

    /// Arrivals in each of these seconds.
    fn arrivals(text: &str, seconds: u64) -> Vec<usize> {
        let all: Vec<_> = line(text, seconds).arrivals().collect();
        (0..seconds)
            .map(|second| all.iter().filter(|at| at.as_secs() == second).count())
            .collect()
    }

    #[test]
    fn a_sine_begins_and_ends_low_and_is_high_in_the_middle() {
        let text = "sine(low=10, high=110, period=40s)";
        let counts = arrivals(text, 40);
        assert!((10..=11).contains(&counts[0]), "{counts:?}");
        assert!((109..=110).contains(&counts[19]), "{counts:?}");
        assert!((10..=11).contains(&counts[39]), "{counts:?}");
        // Its mean is in the middle: 60 a second.
        assert_eq!(counts.iter().sum::<usize>(), 2400);
        assert_eq!(line(text, 40).peak(), 110.0);
    }

    #[test]
    fn steps_stairs_and_spikes_are_upright() {
        for (text, counts) in [
            ("step(from=2, to=5, at=2s)", [2, 2, 5, 5, 5, 5]),
            ("stairs(from=1, by=2, every=2s)", [1, 1, 3, 3, 5, 5]),
            ("spike(base=1, peak=9, at=1s, for=2s)", [1, 9, 9, 1, 1, 1]),
            ("4", [4; 6]),
            (
                "3 + step(from=0, to=1, at=3s) + spike(base=0, peak=2, at=3s, for=1s)",
                [3, 3, 3, 6, 4, 4],
            ),
            ("step(from=7, to=2, at=0s)", [2; 6]),
        ] {
            assert_eq!(arrivals(text, 6), counts, "{text}");
        }
    }

    #[test]
    fn what_is_no_formula_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "neither a number nor a function"),
            ("sinus(low=1)", "there is no function \"sinus\""),
            ("sine(low=1, high=2)", "sine(…) lacks period="),
            ("sine(low=1, high=2, period=0s)", "period is no time"),
            ("sine(low=1, high=2, period=5)", "is not a duration"),
            ("sine(low=x, high=2, period=5s)", "low=x is not a number"),
            ("step(1, 2, 3)", "has no name before a ="),
            ("step(from=1, to=2, at=3s, by=4)", "step(…) has no by="),
            ("step(from=1, to=2, at=3s", "no closing bracket"),
            ("inf", "neither a number"),
        ] {
            let error = text.parse::<Shape>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        for (text, reason) in [
            ("5 + step(from=0, to=-6, at=2s)", "below zero"),
            ("0", "zero all the time"),
            (
                "sine(low=1, high=2, period=1ms)",
                "more than can be followed",
            ),
        ] {
            let shape: Shape = text.parse().unwrap();
            let error = shape.line(Duration::from_secs(60)).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
