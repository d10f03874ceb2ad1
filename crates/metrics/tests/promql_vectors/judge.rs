//! Runs the commands of a file and judges every answer.

use std::collections::BTreeMap;
use std::time::Duration;

use springtide_metrics::promql::{
    Answer, Cancel, Options, Point, Query, QueryError, SeriesNotation, SeriesValues, Severity,
    Span, Value,
};
use springtide_metrics::series_store::{Labels, Sample};
use springtide_metrics::tsdb::{self, STALE_NAN, Tsdb};

use crate::script::{Command, CommandKind, Eval, Expected, Load, Times};

/// What became of an evaluation.
#[derive(Debug)]
pub(crate) enum Verdict {
    Passed,
    /// Needs what is not supported; says what.
    Refused(String),
    /// Says what is different.
    Failed(String),
}

/// The commands' state: what is loaded.
pub(crate) struct Judge {
    store: Tsdb,
    /// Series with native histograms, which are not stored.
    native: Vec<Labels>,
    /// Why what was loaded is not all that was to be loaded.
    unreadable: Option<String>,
}

impl Default for Judge {
    fn default() -> Judge {
        // Each command loads its series from the same start.
        let any_order = tsdb::Options {
            max_lag: Duration::from_hours(1_000_000),
            retention: None,
            ..tsdb::Options::default()
        };
        Judge {
            store: Tsdb::in_memory(any_order),
            native: Vec::new(),
            unreadable: None,
        }
    }
}

impl Judge {
    /// Runs a command; an evaluation, and what cannot be run, gets a verdict.
    pub(crate) fn run(&mut self, command: &Command) -> Option<Verdict> {
        match &command.kind {
            CommandKind::Clear => *self = Judge::default(),
            CommandKind::Load(load) => {
                if let Err(reason) = self.load(load) {
                    return Some(Verdict::Failed(reason));
                }
            }
            CommandKind::Eval(_) if self.unreadable.is_some() => {
                return Some(Verdict::Refused("follows what is unreadable".to_owned()));
            }
            CommandKind::Eval(eval) => return Some(self.judge(eval)),
            CommandKind::Unreadable(reason) => {
                self.unreadable = Some(reason.clone());
                return Some(Verdict::Refused(format!("unreadable: {reason}")));
            }
        }
        None
    }

    fn load(&mut self, load: &Load) -> Result<(), String> {
        // Of two lines with the same labels the last counts.
        let mut series: BTreeMap<&Labels, &SeriesNotation> = BTreeMap::new();
        for notation in &load.series {
            series.insert(&notation.labels, notation);
        }
        let mut appender = self.store.appender();
        for (labels, notation) in series {
            let mut reference = None;
            if notation.points.contains(&Point::NativeHistogram) {
                self.native.push(labels.clone());
            }
            if let Some(base) = labels.metric_name().strip_suffix("_bucket")
                && load.with_native
                && !labels.get("le").is_empty()
            {
                self.native
                    .push(labels.with("__name__", base).with("le", ""));
            }
            for (at, point) in notation.points.iter().enumerate() {
                let time = at as i64 * load.step;
                let value = match point {
                    Point::Value(value) => *value,
                    Point::Stale => STALE_NAN,
                    Point::Missing | Point::NativeHistogram => continue,
                };
                let appended = appender.append(labels, reference, time, value);
                reference = Some(appended.map_err(|error| error.to_string())?);
            }
        }
        appender.commit().map_err(|error| error.to_string())
    }

    fn judge(&self, eval: &Eval) -> Verdict {
        let options = Options {
            lookback: Duration::from_mins(5),
            experimental: true,
            delayed_name_removal: true,
            type_and_unit_labels: true,
            ..Options::default()
        };
        let expected = &eval.expected;
        let wants_native = expected
            .series
            .iter()
            .any(|series| series.points.contains(&Point::NativeHistogram));
        if wants_native {
            return Verdict::Refused("native histograms".to_owned());
        }
        let query = match Query::parse(&eval.query, options) {
            Ok(query) => query,
            Err(error) => return judge_error(&error, expected),
        };
        let touches_native = query.selectors().iter().any(|matchers| {
            let selects = |labels: &&Labels| {
                matchers
                    .iter()
                    .all(|matcher| matcher.accepts_series(labels))
            };
            self.native.iter().find(selects).is_some()
        });
        if touches_native {
            return Verdict::Refused("native histograms".to_owned());
        }
        let cancel = Cancel::default();
        let outcome = match eval.times {
            Times::At(at) => query.instant(&self.store, at, &cancel),
            Times::Range { start, end, step } => {
                query.range(&self.store, Span { start, end, step }, &cancel)
            }
        };
        let answer = match outcome {
            Ok(answer) => answer,
            Err(error) => return judge_error(&error, expected),
        };
        if expected.fail {
            return Verdict::Failed(format!("expected a failure, got {:?}", answer.value));
        }
        let checks = judge_annotations(&answer, expected)
            .and_then(|()| judge_value(&answer.value, eval))
            .and_then(|()| self.judge_in_range(&query, eval));
        checks.map_or_else(Verdict::Failed, |()| Verdict::Passed)
    }

    /// An instant answer has to be the middle of a range answer around it.
    fn judge_in_range(&self, query: &Query, eval: &Eval) -> Result<(), String> {
        let depends_on_range = ["start(", "end(", "step(", "range("];
        let (Times::At(at), false) = (eval.times, eval.expected.ordered) else {
            return Ok(());
        };
        if eval.expected.text.is_some()
            || eval.expected.range_vector.is_some()
            || depends_on_range
                .iter()
                .any(|call| eval.query.contains(call))
        {
            return Ok(());
        }
        let minute = 60_000;
        let span = Span {
            start: at - minute,
            end: at + minute,
            step: minute,
        };
        let answer = query
            .range(&self.store, span, &Cancel::default())
            .map_err(|error| format!("in a range: {error}"))?;
        let Value::Matrix(matrix) = answer.value else {
            return Err("a range query gave no matrix".to_owned());
        };
        if let Some(scalar) = eval.expected.scalar {
            let middle = matrix.first().and_then(|series| series.samples.get(1));
            let found = middle.map(|sample| sample.value);
            return match found {
                Some(value) if nearly_equal(value, scalar) => Ok(()),
                _ => Err(format!("in a range: expected {scalar}, got {found:?}")),
            };
        }
        let middle = matrix.into_iter().filter_map(|series| {
            let samples: Vec<Sample> = series
                .samples
                .into_iter()
                .filter(|sample| sample.time == at)
                .collect();
            (!samples.is_empty()).then_some(SeriesValues {
                labels: series.labels,
                samples,
            })
        });
        judge_series(&middle.collect::<Vec<_>>(), &eval.expected.series, |_| at)
            .map_err(|difference| format!("in a range: {difference}"))
    }
}

fn judge_error(error: &QueryError, expected: &Expected) -> Verdict {
    let text = error.to_string();
    if matches!(
        error,
        QueryError::Unsupported(_) | QueryError::Experimental(_)
    ) {
        return Verdict::Refused(text);
    }
    if !expected.fail {
        return Verdict::Failed(format!("failed: {text}"));
    }
    match &expected.fail_text {
        Some(wanted) if !wanted.accepts(&text) => {
            Verdict::Failed(format!("expected {wanted:?}, failed with {text}"))
        }
        _ => Verdict::Passed,
    }
}

fn judge_annotations(answer: &Answer, expected: &Expected) -> Result<(), String> {
    let warnings = answer.annotations.texts(Severity::Warning);
    let infos = answer.annotations.texts(Severity::Info);
    let kinds = [
        (
            "warning",
            &warnings,
            expected.warn,
            expected.no_warn,
            &expected.warn_texts,
        ),
        (
            "info",
            &infos,
            expected.info,
            expected.no_info,
            &expected.info_texts,
        ),
    ];
    for (kind, texts, wanted, unwanted, wanted_texts) in kinds {
        if wanted && texts.is_empty() {
            return Err(format!("expected a {kind}, got none"));
        }
        if unwanted && !texts.is_empty() {
            return Err(format!("expected no {kind}, got {texts:?}"));
        }
        for wanted in wanted_texts {
            if !texts.iter().any(|text| wanted.accepts(text)) {
                return Err(format!("expected {kind} {wanted:?}, got {texts:?}"));
            }
        }
    }
    Ok(())
}

fn judge_value(value: &Value, eval: &Eval) -> Result<(), String> {
    let expected = &eval.expected;
    match (value, eval.times) {
        (Value::Text(text), _) => match &expected.text {
            Some(wanted) if wanted == text => Ok(()),
            wanted => Err(format!("expected the text {wanted:?}, got {text:?}")),
        },
        (Value::Scalar(sample), _) => match expected.scalar {
            Some(wanted) if nearly_equal(wanted, sample.value) => Ok(()),
            wanted => Err(format!("expected {wanted:?}, got {}", sample.value)),
        },
        (_, _) if expected.scalar.is_some() || expected.text.is_some() => {
            Err(format!("expected a scalar or text, got {value:?}"))
        }
        (Value::Vector(elements), Times::At(at)) => {
            let series: Vec<SeriesValues> = elements
                .iter()
                .map(|element| SeriesValues {
                    labels: element.labels.clone(),
                    samples: vec![element.sample],
                })
                .collect();
            if expected.ordered {
                let found: Vec<&Labels> = series.iter().map(|series| &series.labels).collect();
                let wanted: Vec<&Labels> = expected
                    .series
                    .iter()
                    .map(|series| &series.labels)
                    .collect();
                if found != wanted {
                    return Err(format!("expected the order {wanted:?}, got {found:?}"));
                }
            }
            judge_series(&series, &expected.series, |_| at)
        }
        (Value::Matrix(matrix), Times::At(_)) => match expected.range_vector {
            Some((start, _, step)) => {
                judge_series(matrix, &expected.series, |point| start + step * point)
            }
            None => Err(format!("expected no range vector, got {matrix:?}")),
        },
        (Value::Matrix(matrix), Times::Range { start, step, .. }) => {
            judge_series(matrix, &expected.series, |point| start + step * point)
        }
        (Value::Vector(_), Times::Range { .. }) => {
            Err("a range query gave an instant vector".to_owned())
        }
    }
}

fn judge_series(
    found: &[SeriesValues],
    expected: &[SeriesNotation],
    time_of: impl Fn(i64) -> i64,
) -> Result<(), String> {
    let mut found: BTreeMap<&Labels, &SeriesValues> = found
        .iter()
        .map(|series| (&series.labels, series))
        .collect();
    for wanted in expected {
        let points: Vec<(i64, f64)> = wanted
            .points
            .iter()
            .enumerate()
            .filter_map(|(at, point)| match point {
                Point::Value(value) => Some((time_of(at as i64), *value)),
                _ => None,
            })
            .collect();
        let series = found.remove(&wanted.labels);
        let values: Vec<(i64, f64)> = series
            .map(|series| {
                series
                    .samples
                    .iter()
                    .map(|sample| (sample.time, sample.value))
                    .collect()
            })
            .unwrap_or_default();
        let equal = points.len() == values.len()
            && points
                .iter()
                .zip(&values)
                .all(|(wanted, value)| wanted.0 == value.0 && nearly_equal(wanted.1, value.1));
        if !equal {
            let labels = &wanted.labels;
            return Err(format!("{labels}: expected {points:?}, got {values:?}"));
        }
    }
    if let Some((labels, series)) = found.into_iter().next() {
        return Err(format!("unexpected {labels} {:?}", series.samples));
    }
    Ok(())
}

/// Within a millionth of the sum of both, as the test language compares.
fn nearly_equal(left: f64, right: f64) -> bool {
    const TOLERANCE: f64 = 1e-6;
    if left == right || (left.is_nan() && right.is_nan()) {
        return true;
    }
    let sum = left.abs() + right.abs();
    let difference = (left - right).abs();
    if left == 0.0 || right == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}
