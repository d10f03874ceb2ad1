//! Functions of a window of samples: rates, regressions, and what ends in `_over_time`.

use crate::promql::annotations::about_metric;
use crate::promql::error::QueryError;
use crate::promql::go_format::shortest;
use crate::promql::syntax::{Call, Expr, ExprKind, OverTime, ValueType};
use crate::series_store::{Labels, METRIC_NAME, MatchKind, Sample, quote};

use super::select::{Slider, WindowShape, WindowedSeries};
use super::sliding::Sliding;
use super::sums::{Mean, Sum, linear_regression, quantile, variance};
use super::walk::{Values, walk};
use super::{Evaluator, Row, Steps, absent, is_absent};

/// A window with samples in it.
pub(super) struct Window<'a> {
    /// Never empty; in the order of time.
    pub(super) samples: &'a [Sample],
    /// The time the window starts after, in milliseconds.
    after: i64,
    /// The time the window ends with, in milliseconds.
    until: i64,
    /// The time of evaluation, which `@` and `offset` part from the window's end.
    at: i64,
    /// The function's scalar arguments.
    parameters: [f64; 2],
}

impl Evaluator<'_> {
    pub(super) fn over_time(
        &self,
        call: &Call,
        function: OverTime,
        steps: &Steps,
    ) -> Result<Vec<Row>, QueryError> {
        let mut rows = Vec::new();
        self.each_window(call, function, steps, &mut |row| {
            self.charge(steps.count)?;
            rows.push(row);
            Ok(())
        })?;
        if keeps_name(function) {
            return Ok(rows);
        }
        self.drop_names(rows)
    }

    /// Whether the rows of a function have different labels, so that each is final before the next is known.
    pub(super) fn stays_apart(&self, call: &Call, function: OverTime) -> bool {
        if keeps_name(function) || self.options.delayed_name_removal {
            return true;
        }
        let matrix = call.arguments.iter().find(|argument| is_matrix(argument));
        let Some(ExprKind::Range(selector, _)) = matrix.map(|matrix| &matrix.bare().kind) else {
            return false;
        };
        let names = selector.matchers.iter();
        let mut names = names.filter(|matcher| matcher.name == METRIC_NAME);
        // Without their names, and with types and units left to them, series of one metric differ.
        names.any(|matcher| matches!(matcher.kind, MatchKind::Equal))
            && !self.options.type_and_unit_labels
    }

    /// As [`Evaluator::over_time`], one row after the other.
    pub(super) fn each_over_time(
        &self,
        call: &Call,
        function: OverTime,
        steps: &Steps,
        take: &mut dyn FnMut(Row) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        self.each_window(call, function, steps, &mut |mut row| {
            if !keeps_name(function) {
                if self.options.delayed_name_removal {
                    row.drops_name = true;
                } else {
                    row.labels = self.without_name(&row.labels);
                }
            }
            take(row)
        })
    }

    fn each_window(
        &self,
        call: &Call,
        function: OverTime,
        steps: &Steps,
        take: &mut dyn FnMut(Row) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let Some(matrix) = call.arguments.iter().find(|argument| is_matrix(argument)) else {
            return Err(QueryError::execution("expected a range vector"));
        };
        let scalars = call
            .arguments
            .iter()
            .filter(|argument| !is_matrix(argument));
        let parameters: Vec<Vec<f64>> = scalars
            .map(|scalar| self.scalar(scalar, steps))
            .collect::<Result<_, _>>()?;
        if function == OverTime::Quantile {
            self.warn_of_quantiles(&call.arguments[0], &parameters[0]);
        }
        let windows = self.windows(matrix, steps)?;
        let reduction = Reduction {
            function,
            shape: windows.shape,
            steps: *steps,
            parameters,
        };
        let (hull, budget) = (windows.hull, self.budget());
        let work = |series: &WindowedSeries<'_>| series.sample_estimate(hull) + steps.count;
        let work = windows.series.iter().map(work).sum();
        let produce = |series: &WindowedSeries<'_>, buffer: &mut Vec<Sample>| {
            let samples = series.read(hull, budget, buffer)?;
            reduction.of(samples)
        };
        walk(&windows.series, work, self.cancel, produce, |at, values| {
            let series = &windows.series[at];
            if matches!(function, OverTime::Rate | OverTime::Increase) {
                self.inform_of_no_counter(matrix, series.labels.metric_name());
            }
            take(Row {
                labels: series.labels.clone(),
                drops_name: series.drops_name,
                values,
            })
        })
    }

    pub(super) fn warn_of_quantiles(&self, argument: &Expr, values: &[f64]) {
        for value in values {
            if !(0.0..=1.0).contains(value) {
                let got = shortest(*value);
                self.warn(
                    argument,
                    format!("quantile value should be between 0 and 1, got {got}"),
                );
            }
        }
    }

    fn inform_of_no_counter(&self, matrix: &Expr, metric: &str) {
        let counts = ["_total", "_sum", "_count", "_bucket"];
        if !metric.is_empty() && !counts.iter().any(|suffix| metric.ends_with(suffix)) {
            let message =
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket";
            self.inform(matrix, format!("{message}: {}", quote(metric)));
        }
    }

    /// One where the range vector has no sample at all.
    pub(super) fn absent_over_time(
        &self,
        argument: &Expr,
        steps: &Steps,
    ) -> Result<Vec<Row>, QueryError> {
        let windows = self.windows(argument, steps)?;
        let mut present = vec![false; steps.count];
        let mut buffer = Vec::new();
        for series in &windows.series {
            let samples = series.read(windows.hull, self.budget(), &mut buffer)?;
            let mut slider = Slider::new(samples);
            for (present, at) in present.iter_mut().zip(steps.times()) {
                let (after, until) = windows.shape.window(at);
                *present |= !slider.slide(after, until).is_empty();
            }
        }
        self.absence(argument, present, steps)
    }

    /// One where the vector has no element.
    pub(super) fn absent(&self, argument: &Expr, steps: &Steps) -> Result<Vec<Row>, QueryError> {
        let mut present = vec![false; steps.count];
        for row in self.vector(argument, steps)? {
            for (present, value) in present.iter_mut().zip(row.values) {
                *present |= !is_absent(value);
            }
        }
        self.absence(argument, present, steps)
    }

    fn absence(
        &self,
        argument: &Expr,
        present: Vec<bool>,
        steps: &Steps,
    ) -> Result<Vec<Row>, QueryError> {
        let mut values = self.room(steps)?;
        for (value, present) in values.iter_mut().zip(present) {
            if !present {
                *value = 1.0;
            }
        }
        Ok(vec![Row {
            labels: labels_of_absence(argument),
            drops_name: false,
            values,
        }])
    }
}

fn is_matrix(argument: &Expr) -> bool {
    argument.value_type() == ValueType::Matrix
}

/// Whether a function's results are still the metric itself.
fn keeps_name(function: OverTime) -> bool {
    matches!(function, OverTime::First | OverTime::Last)
}

/// A function over the windows of series, which needs no more than this.
struct Reduction {
    function: OverTime,
    shape: WindowShape,
    steps: Steps,
    /// The function's scalar arguments, a value a step each.
    parameters: Vec<Vec<f64>>,
}

// === impl Reduction ===

impl Reduction {
    /// The values of a series; nothing where it has none.
    fn of(&self, samples: &[Sample]) -> Result<Values, QueryError> {
        if samples.is_empty() {
            return Ok(None);
        }
        let mut values = vec![absent(); self.steps.count];
        let mut slider = Slider::new(samples);
        let mut sliding = Sliding::new(self.function, samples);
        let mut any = false;
        for (step, at) in self.steps.times().enumerate() {
            let (after, until) = self.shape.window(at);
            let inside = slider.slide(after, until);
            if inside.is_empty() {
                continue;
            }
            let parameter = |index: usize| {
                self.parameters
                    .get(index)
                    .map_or(0.0, |values| values[step])
            };
            let window = Window {
                samples: inside,
                after,
                until,
                at,
                parameters: [parameter(0), parameter(1)],
            };
            let value = match &mut sliding {
                Some(sliding) => sliding.value(&window, slider.from..slider.to),
                None => reduce(self.function, &window)?,
            };
            if let Some(value) = value {
                values[step] = value;
                any = true;
            }
        }
        Ok(any.then_some(values))
    }
}

/// The labels that a selector fixes to one value each.
fn labels_of_absence(argument: &Expr) -> Labels {
    let (ExprKind::Selector(selector) | ExprKind::Range(selector, _)) = &argument.bare().kind
    else {
        return Labels::empty();
    };
    let conditions = selector
        .matchers
        .iter()
        .filter(|matcher| matcher.name != "__name__");
    let mut fixed: Vec<(&str, &str)> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in conditions {
        let is_equality = matches!(matcher.kind, MatchKind::Equal);
        if is_equality && !seen.contains(&matcher.name.as_str()) {
            fixed.push((&matcher.name, &matcher.value));
            seen.push(&matcher.name);
        } else {
            fixed.retain(|(name, _)| *name != matcher.name);
        }
    }
    Labels::new(fixed)
}

/// The value of a window, if the function has one.
pub(super) fn reduce(function: OverTime, window: &Window<'_>) -> Result<Option<f64>, QueryError> {
    let samples = window.samples;
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    let seconds = |sample: Sample| sample.time as f64 / 1000.0;
    let value = match function {
        OverTime::Avg => {
            let mut mean = Mean::default();
            samples.iter().for_each(|sample| mean.add(sample.value));
            mean.mean()
        }
        OverTime::Sum => {
            let mut sum = Sum::default();
            samples.iter().for_each(|sample| sum.add(sample.value));
            sum.total()
        }
        OverTime::Min => choose(samples, |value, least| value < least).value,
        OverTime::Max => choose(samples, |value, most| value > most).value,
        OverTime::TimeOfMin => seconds(choose(samples, |value, least| value <= least)),
        OverTime::TimeOfMax => seconds(choose(samples, |value, most| value >= most)),
        OverTime::TimeOfFirst => seconds(first),
        OverTime::TimeOfLast => seconds(last),
        OverTime::First => first.value,
        OverTime::Last => last.value,
        OverTime::Count => samples.len() as f64,
        OverTime::Present => 1.0,
        OverTime::Changes => pairs(samples)
            .filter(|(before, after)| differ(*before, *after))
            .count() as f64,
        OverTime::Resets => pairs(samples)
            .filter(|(before, after)| after < before)
            .count() as f64,
        OverTime::Stddev => variance(samples).sqrt(),
        OverTime::Stdvar => variance(samples),
        OverTime::Mad => median_deviation(samples),
        OverTime::Quantile => {
            let mut values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
            quantile(window.parameters[0], &mut values)
        }
        OverTime::Rate => return Ok(extrapolated(window, true, true)),
        OverTime::Increase => return Ok(extrapolated(window, true, false)),
        OverTime::Delta => return Ok(extrapolated(window, false, false)),
        OverTime::Irate => return Ok(between_last_two(samples, true)),
        OverTime::Idelta => return Ok(between_last_two(samples, false)),
        OverTime::Deriv | OverTime::PredictLinear if samples.len() < 2 => return Ok(None),
        OverTime::Deriv => linear_regression(samples, first.time).0,
        OverTime::PredictLinear => {
            let (slope, now) = linear_regression(samples, window.at);
            slope * window.parameters[0] + now
        }
        OverTime::Smoothing => return smooth(samples, window.parameters),
    };
    Ok(Some(value))
}

fn pairs(samples: &[Sample]) -> impl Iterator<Item = (f64, f64)> {
    samples
        .windows(2)
        .map(|pair| (pair[0].value, pair[1].value))
}

/// Whether two values differ, where NaN is equal to NaN.
pub(super) fn differ(before: f64, after: f64) -> bool {
    before != after && !(before.is_nan() && after.is_nan())
}

/// The sample that is better than all before it; anything is better than NaN.
fn choose(samples: &[Sample], better: impl Fn(f64, f64) -> bool) -> Sample {
    let mut chosen = samples[0];
    for sample in &samples[1..] {
        if better(sample.value, chosen.value) || chosen.value.is_nan() {
            chosen = *sample;
        }
    }
    chosen
}

fn median_deviation(samples: &[Sample]) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
    if values.iter().any(|value| value.is_nan()) {
        return f64::NAN;
    }
    let median = quantile(0.5, &mut values);
    for value in &mut values {
        *value = (*value - median).abs();
    }
    quantile(0.5, &mut values)
}

/// The difference over the window, extrapolated to its ends where samples lie close to them.
///
/// "Close" is up to 1.1 times the mean distance of samples; otherwise half a distance is added. A counter
/// is not extrapolated below zero, and what it lost in resets is added.
fn extrapolated(window: &Window<'_>, is_counter: bool, per_second: bool) -> Option<f64> {
    let lost = pairs(window.samples).filter(|(before, after)| is_counter && after < before);
    extrapolate(
        window,
        is_counter,
        per_second,
        lost.map(|(before, _)| before),
    )
}

/// As [`extrapolated`], with what the counter lost at each reset.
pub(super) fn extrapolate(
    window: &Window<'_>,
    is_counter: bool,
    per_second: bool,
    lost: impl Iterator<Item = f64>,
) -> Option<f64> {
    const THRESHOLD: f64 = 1.1;
    let samples = window.samples;
    if samples.len() < 2 {
        return None;
    }
    let (first, last) = (samples[0], samples[samples.len() - 1]);
    let mut difference = last.value - first.value;
    for before in lost {
        difference += before;
    }
    let seconds = |milliseconds: i64| milliseconds as f64 / 1000.0;
    let sampled = seconds(last.time - first.time);
    let mean_distance = sampled / (samples.len() - 1) as f64;
    let threshold = mean_distance * THRESHOLD;
    let mut to_start = seconds(first.time - window.after);
    if to_start >= threshold {
        to_start = mean_distance / 2.0;
    }
    if is_counter && difference > 0.0 && first.value >= 0.0 {
        let to_zero = sampled * (first.value / difference);
        to_start = to_start.min(to_zero);
    }
    let mut to_end = seconds(window.until - last.time);
    if to_end >= threshold {
        to_end = mean_distance / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if per_second {
        factor /= seconds(window.until - window.after);
    }
    Some(difference * factor)
}

fn between_last_two(samples: &[Sample], per_second_of_counter: bool) -> Option<f64> {
    let [.., before, last] = samples else {
        return None;
    };
    if !per_second_of_counter {
        return Some(last.value - before.value);
    }
    // After a reset a counter started from zero.
    let grown = if last.value < before.value {
        last.value
    } else {
        last.value - before.value
    };
    Some(grown / ((last.time - before.time) as f64 / 1000.0))
}

/// Double exponential smoothing by Holt's linear method.
fn smooth(
    samples: &[Sample],
    [smoothing, trend_factor]: [f64; 2],
) -> Result<Option<f64>, QueryError> {
    let check = |name: &str, short: &str, factor: f64| {
        if factor > 0.0 && factor < 1.0 {
            return Ok(());
        }
        let reason = format!("invalid {name} factor. Expected: 0 < {short} < 1, got: {factor:.6}");
        Err(QueryError::Execution(reason))
    };
    check("smoothing", "sf", smoothing)?;
    check("trend", "tf", trend_factor)?;
    if samples.len() < 2 {
        return Ok(None);
    }
    let mut before = 0.0;
    let mut smoothed = samples[0].value;
    let mut trend = samples[1].value - samples[0].value;
    for (at, sample) in samples.iter().enumerate().skip(1) {
        if at > 1 {
            trend = trend_factor * (smoothed - before) + (1.0 - trend_factor) * trend;
        }
        let next = smoothing * sample.value + (1.0 - smoothing) * (smoothed + trend);
        before = smoothed;
        smoothed = next;
    }
    Ok(Some(smoothed))
}

/// The remark on a histogram's bucket label, used by the histogram functions.
pub(super) fn bad_bucket_label(value: &str, metric: &str) -> String {
    let message = format!(
        "bucket label \"le\" is missing or has a malformed value of {}",
        quote(value)
    );
    about_metric(&message, metric)
}

#[cfg(test)]
pub(super) fn window(samples: &[Sample], after: i64, until: i64) -> Window<'_> {
    Window {
        samples,
        after,
        until,
        at: until,
        parameters: [0.0; 2],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn series(values: &[f64], step: i64) -> Vec<Sample> {
        let at = |index: usize| index as i64 * step;
        values
            .iter()
            .enumerate()
            .map(|(index, value)| Sample {
                time: at(index),
                value: *value,
            })
            .collect()
    }

    #[test]
    fn a_reset_counts_from_zero() {
        let samples = series(&[0.0, 1.0, 2.0, 3.0, 2.0, 3.0, 4.0], 300_000);
        let increase = extrapolated(&window(&samples, 0, 1_800_000), true, false);
        assert_eq!(increase, Some(7.0));
    }

    #[test]
    fn a_counter_is_not_extrapolated_below_zero() {
        let samples = series(&[1.0, 11.0, 21.0, 31.0], 300_000);
        let increase = extrapolated(&window(&samples, -600_000, 900_000), true, false);
        assert!(increase.is_some_and(|increase| (increase - 31.0).abs() < 1e-9));
        let delta = extrapolated(&window(&samples, -600_000, 900_000), false, false);
        assert!(delta.is_some_and(|delta| (delta - 35.0).abs() < 1e-9));
    }

    proptest! {
        #[test]
        fn the_rate_of_a_steady_counter_is_its_slope(
            slope in 0.001..1e3_f64, count in 2..40_usize, step in 1..60_i64,
        ) {
            let values: Vec<f64> = (0..count).map(|at| 1e6 + slope * (at as i64 * step) as f64).collect();
            let samples = series(&values, step * 1000);
            let last = samples[count - 1].time;
            let rate = extrapolated(&window(&samples, -1, last), true, true).expect("two samples");
            let expected = slope * (last as f64 / 1000.0 + 0.001) / ((last + 1) as f64 / 1000.0);
            prop_assert!((rate / expected - 1.0).abs() < 1e-3, "{rate} {expected}");
        }

        #[test]
        fn sliding_finds_the_samples_a_filter_finds(
            steps in prop::collection::vec(1..20_i64, 1..60), range in 1..50_i64, step in 1..30_i64,
        ) {
            let mut time = 0;
            let samples: Vec<Sample> = steps.iter().map(|gap| { time += gap; Sample { time, value: time as f64 } }).collect();
            let mut slider = Slider::new(&samples);
            for at in (0..time + 60).step_by(step as usize) {
                let expected: Vec<Sample> = samples
                    .iter()
                    .copied()
                    .filter(|sample| sample.time > at - range && sample.time <= at)
                    .collect();
                prop_assert_eq!(slider.slide(at - range, at), expected.as_slice());
            }
        }
    }
}
