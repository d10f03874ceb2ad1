//! Where numbers and times stand on a chart, and which of them are written at its axes.

use std::time::Duration;

/// The most lines that a chart's height is parted by.
const MOST_LINES: f64 = 4.0;
/// The most times under a chart: so many fit on a telephone.
const MOST_TIMES: u64 = 6;

/// The vertical axis: which number stands how high, from 0 at the foot to 1 at the head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Axis {
    /// From zero up.
    Linear {
        /// The number at the head.
        head: f64,
        /// From line to line.
        step: f64,
    },
    /// Each line is ten times the one below it.
    Logarithmic {
        /// The number at the foot, a power of ten.
        foot: f64,
        /// The number at the head, a power of ten.
        head: f64,
    },
}

// === impl Axis ===

impl Axis {
    /// An axis from zero to at least `greatest`. `whole`: there is no line between whole numbers.
    pub(super) fn linear(greatest: f64, whole: bool) -> Self {
        let greatest = if greatest > 0.0 { greatest } else { 1.0 };
        let rough = greatest / MOST_LINES;
        let power = 10_f64.powf(rough.log10().floor());
        let mut step = [1.0, 2.0, 2.5, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * power)
            .find(|step| *step >= rough * (1.0 - 1e-9))
            .unwrap_or(power * 10.0);
        if whole {
            step = step.ceil();
        }
        Self::Linear {
            head: (greatest / step - 1e-9).ceil() * step,
            step,
        }
    }

    /// An axis on which numbers from `least` to `greatest`, both above zero, can be told apart however far
    /// they are from each other.
    pub(super) fn logarithmic(least: f64, greatest: f64) -> Self {
        let foot = 10_f64.powf(least.log10().floor());
        let head = 10_f64.powf(greatest.log10().ceil());
        Self::Logarithmic {
            foot,
            head: if head > foot { head } else { foot * 10.0 },
        }
    }

    /// How high a number stands.
    pub(super) fn height(self, value: f64) -> f64 {
        let part = match self {
            Self::Linear { head, .. } => value / head,
            Self::Logarithmic { foot, head } => (value.max(foot) / foot).ln() / (head / foot).ln(),
        };
        part.clamp(0.0, 1.0)
    }

    /// The numbers at which lines are drawn, from the foot up.
    pub(super) fn lines(self) -> Vec<f64> {
        match self {
            Self::Linear { head, step } => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "four or five"
                )]
                let count = (head / step).round() as u32;
                (0..=count).map(|line| f64::from(line) * step).collect()
            }
            Self::Logarithmic { foot, head } => {
                std::iter::successors(Some(foot), |line| Some(line * 10.0))
                    .take_while(|line| *line <= head * 1.5)
                    .collect()
            }
        }
    }
}

/// The times that are written under a chart of this length.
pub(super) fn times(length: Duration) -> Vec<Duration> {
    let seconds = length.as_secs().max(1);
    let steps = [
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200,
    ];
    let step = steps
        .into_iter()
        .find(|step| seconds / step < MOST_TIMES)
        .unwrap_or_else(|| seconds.div_ceil(MOST_TIMES).next_multiple_of(86_400));
    (0..=seconds / step)
        .map(|number| Duration::from_secs(number * step))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_at_round_numbers_and_the_greatest_is_below_the_head() {
        for (greatest, whole, lines) in [
            (97.0, false, vec![0.0, 25.0, 50.0, 75.0, 100.0]),
            (100.0, false, vec![0.0, 25.0, 50.0, 75.0, 100.0]),
            (101.0, false, vec![0.0, 50.0, 100.0, 150.0]),
            (0.3, false, vec![0.0, 0.1, 0.2, 0.3]),
            (6.0, true, vec![0.0, 2.0, 4.0, 6.0]),
            (1.0, true, vec![0.0, 1.0]),
            (0.0, true, vec![0.0, 1.0]),
        ] {
            let axis = Axis::linear(greatest, whole);
            let found = axis.lines();
            assert_eq!(found.len(), lines.len(), "{greatest}: {found:?}");
            for (one, other) in found.iter().zip(&lines) {
                assert!((one - other).abs() < 1e-9, "{greatest}: {found:?}");
            }
            assert!(axis.height(greatest) <= 1.0);
        }
        let axis = Axis::logarithmic(0.7, 2500.0);
        assert_eq!(axis.lines().len(), 6);
        assert!(axis.height(0.05).abs() < 1e-9);
        assert!((axis.height(31.622_776_6) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn there_are_a_few_times_however_long_the_run_was() {
        for seconds in [0, 1, 3, 10, 60, 61, 180, 600, 3600, 86_400, 1_000_000] {
            let times = times(Duration::from_secs(seconds));
            assert!((2..=7).contains(&times.len()), "{seconds}: {times:?}");
            assert!(*times.last().unwrap() <= Duration::from_secs(seconds.max(1)));
        }
    }
}
