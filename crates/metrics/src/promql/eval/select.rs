//! Reads stored series: the newest value of each step, and windows of samples.

use crate::series_store::{Labels, Sample, is_stale};

use crate::promql::error::QueryError;
use crate::promql::query::Span;
use crate::promql::source::SourceSeries;
use crate::promql::syntax::{Expr, ExprKind, Length, Operator, Pin, Selector, Subquery};
use crate::promql::value::SeriesValues;

use super::binary::operate;
use super::walk::walk;
use super::{Evaluator, Row, Steps, absent, is_absent};

/// Series, and where their windows lie.
pub(super) struct Windows<'a> {
    pub(super) series: Vec<WindowedSeries<'a>>,
    pub(super) shape: WindowShape,
    /// The span that holds all windows: after a time, up to and with another.
    pub(super) hull: (i64, i64),
}

pub(super) struct WindowedSeries<'a> {
    pub(super) labels: Labels,
    pub(super) drops_name: bool,
    samples: WindowSamples<'a>,
}

/// A series in a source.
type Stored<'a> = Box<dyn SourceSeries + 'a>;

/// Where a series' samples are.
enum WindowSamples<'a> {
    /// Read when they are needed, one series at a time.
    Stored(Stored<'a>),
    /// What a subquery gave.
    Computed(Vec<Sample>),
}

// === impl WindowedSeries ===

impl WindowedSeries<'_> {
    /// The samples of all windows without stale markers, put in a buffer where they have to be read.
    pub(super) fn read<'b>(
        &'b self,
        hull: (i64, i64),
        budget: Budget,
        buffer: &'b mut Vec<Sample>,
    ) -> Result<&'b [Sample], QueryError> {
        match &self.samples {
            WindowSamples::Stored(series) => {
                read_values(&**series, hull, budget, buffer)?;
                buffer.retain(|sample| !is_stale(sample.value));
                Ok(buffer)
            }
            WindowSamples::Computed(samples) => Ok(samples),
        }
    }

    pub(super) fn sample_estimate(&self, (after, until): (i64, i64)) -> usize {
        match &self.samples {
            WindowSamples::Stored(series) => series.sample_estimate(after, until),
            WindowSamples::Computed(samples) => samples.len(),
        }
    }
}

/// How many samples may still be held, of how many in all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    left: usize,
    limit: usize,
}

// === impl Budget ===

impl Budget {
    fn exceeded(self) -> QueryError {
        QueryError::TooManySamples { limit: self.limit }
    }
}

/// Puts a series' samples in a buffer, every NaN but the stale marker made the canonical one.
fn read_values(
    series: &dyn SourceSeries,
    (after, until): (i64, i64),
    budget: Budget,
    buffer: &mut Vec<Sample>,
) -> Result<(), QueryError> {
    buffer.clear();
    series.read(after, until, budget.left.saturating_add(1), buffer)?;
    if buffer.len() > budget.left {
        return Err(budget.exceeded());
    }
    for sample in buffer {
        if sample.value.is_nan() && !is_stale(sample.value) {
            sample.value = f64::NAN;
        }
    }
    Ok(())
}

/// Where the window of a step lies: after `until - range`, up to and with `until`.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowShape {
    /// Milliseconds.
    range: i64,
    /// Milliseconds back.
    offset: i64,
    /// One time for all steps.
    pinned: Option<i64>,
}

// === impl WindowShape ===

impl WindowShape {
    /// The window of a step: the time it starts after and the time it ends with.
    pub(super) fn window(&self, step_time: i64) -> (i64, i64) {
        let until = self.pinned.unwrap_or(step_time) - self.offset;
        (until - self.range, until)
    }

    /// The span that holds the windows of all steps.
    fn hull(&self, steps: &Steps) -> (i64, i64) {
        let (after, _) = self.window(steps.start);
        let (_, until) = self.window(steps.last());
        (after, until)
    }
}

/// Slides a window over samples in the order of time.
pub(super) struct Slider<'a> {
    samples: &'a [Sample],
    pub(super) from: usize,
    pub(super) to: usize,
}

// === impl Slider ===

impl<'a> Slider<'a> {
    pub(super) fn new(samples: &'a [Sample]) -> Slider<'a> {
        Slider {
            samples,
            from: 0,
            to: 0,
        }
    }

    /// The samples of a window that lies not before the one asked for last.
    pub(super) fn slide(&mut self, after: i64, until: i64) -> &'a [Sample] {
        while self.to < self.samples.len() && self.samples[self.to].time <= until {
            self.to += 1;
        }
        while self.from < self.to && self.samples[self.from].time <= after {
            self.from += 1;
        }
        &self.samples[self.from..self.to]
    }
}

impl<'a> Evaluator<'a> {
    fn pinned(&self, pin: Option<Pin>) -> Option<i64> {
        pin.map(|pin| match pin {
            Pin::At(time) => time,
            Pin::Start => self.query.start,
            Pin::End => self.query.end,
        })
    }

    /// A length in milliseconds.
    fn length(&self, length: &Length) -> Result<i64, QueryError> {
        if let Length::Fixed(milliseconds) = length {
            return Ok(*milliseconds);
        }
        let milliseconds = (self.seconds(length)? * 1000.0).round();
        // As for lengths in the text: a few of them can be added without overflow.
        if milliseconds.abs() < 1e18 {
            return Ok(milliseconds as i64);
        }
        Err(QueryError::execution("duration out of range"))
    }

    fn seconds(&self, length: &Length) -> Result<f64, QueryError> {
        let seconds = |milliseconds: i64| milliseconds as f64 / 1000.0;
        Ok(match length {
            Length::Fixed(milliseconds) => seconds(*milliseconds),
            Length::Step => seconds(self.query.step),
            Length::QueryRange => seconds(self.query.end - self.query.start),
            Length::Negative(length) => -self.seconds(length)?,
            Length::Least(left, right) => self.seconds(left)?.min(self.seconds(right)?),
            Length::Greatest(left, right) => self.seconds(left)?.max(self.seconds(right)?),
            Length::Computed(operator, left, right) => {
                let (left, right) = (self.seconds(left)?, self.seconds(right)?);
                if right == 0.0 && matches!(operator, Operator::Divide | Operator::Modulo) {
                    let what = if *operator == Operator::Divide {
                        "division"
                    } else {
                        "modulo"
                    };
                    return Err(QueryError::Execution(format!("{what} by zero")));
                }
                operate(*operator, left, right)
            }
        })
    }

    fn positive(&self, length: &Length) -> Result<i64, QueryError> {
        let milliseconds = self.length(length)?;
        if milliseconds <= 0 {
            return Err(QueryError::execution("duration must be greater than 0"));
        }
        Ok(milliseconds)
    }

    fn offset(&self, offset: Option<&Length>) -> Result<i64, QueryError> {
        offset.map_or(Ok(0), |length| self.length(length))
    }

    fn lookback(&self) -> i64 {
        i64::try_from(self.options.lookback.as_millis()).unwrap_or(i64::MAX / 4)
    }

    /// What reading one series may take. What was read is let go before the next, so it is not charged.
    pub(super) fn budget(&self) -> Budget {
        Budget {
            left: self.samples_left.get(),
            limit: self.options.max_samples,
        }
    }

    /// The newest value of each series at each step.
    pub(super) fn select_values(
        &self,
        selector: &Selector,
        steps: &Steps,
    ) -> Result<Vec<Row>, QueryError> {
        self.select_instant(selector, steps, |sample| sample.value)
    }

    /// When the newest value of each series was sampled, in seconds.
    pub(super) fn select_times(
        &self,
        selector: &Selector,
        steps: &Steps,
    ) -> Result<Vec<Row>, QueryError> {
        self.select_instant(selector, steps, |sample| sample.time as f64 / 1000.0)
    }

    /// As [`Evaluator::select_values`], one row after the other.
    pub(super) fn each_value(
        &self,
        selector: &Selector,
        steps: &Steps,
        take: &mut dyn FnMut(Row) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        self.each_instant(selector, steps, |sample| sample.value, take)
    }

    fn select_instant(
        &self,
        selector: &Selector,
        steps: &Steps,
        read: impl Fn(Sample) -> f64 + Sync,
    ) -> Result<Vec<Row>, QueryError> {
        let mut rows = Vec::new();
        self.each_instant(selector, steps, read, &mut |row| {
            self.charge(steps.count)?;
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    fn each_instant(
        &self,
        selector: &Selector,
        steps: &Steps,
        read: impl Fn(Sample) -> f64 + Sync,
        take: &mut dyn FnMut(Row) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        if steps.count == 0 {
            return Ok(());
        }
        let shape = WindowShape {
            range: self.lookback(),
            offset: self.offset(selector.offset.as_ref())?,
            pinned: self.pinned(selector.pin),
        };
        let hull = shape.hull(steps);
        let budget = self.budget();
        let series = self.source.select(&selector.matchers, hull.0, hull.1)?;
        let estimates = series
            .iter()
            .map(|series| series.sample_estimate(hull.0, hull.1) + steps.count);
        let work = estimates.sum();
        let produce = |series: &Stored<'_>, samples: &mut Vec<Sample>| {
            read_values(&**series, hull, budget, samples)?;
            let mut values = vec![absent(); steps.count];
            let mut slider = Slider::new(samples);
            let mut any = false;
            for (value, time) in values.iter_mut().zip(steps.times()) {
                let (after, until) = shape.window(time);
                let newest = slider.slide(after, until).last();
                if let Some(sample) = newest.filter(|sample| !is_stale(sample.value)) {
                    *value = read(*sample);
                    any = true;
                }
            }
            Ok(any.then_some(values))
        };
        walk(&series, work, self.cancel, produce, |at, values| {
            take(Row {
                labels: series[at].labels().clone(),
                drops_name: false,
                values,
            })
        })
    }

    /// The windows of a range vector.
    pub(super) fn windows(&self, expr: &Expr, steps: &Steps) -> Result<Windows<'a>, QueryError> {
        match &expr.bare().kind {
            ExprKind::Range(selector, range) => self.range_windows(selector, range, steps),
            ExprKind::Subquery(subquery) => self.subquery_windows(subquery, steps),
            _ => Err(QueryError::execution("expected a range vector")),
        }
    }

    fn range_windows(
        &self,
        selector: &Selector,
        range: &Length,
        steps: &Steps,
    ) -> Result<Windows<'a>, QueryError> {
        let shape = WindowShape {
            range: self.positive(range)?,
            offset: self.offset(selector.offset.as_ref())?,
            pinned: self.pinned(selector.pin),
        };
        let hull = shape.hull(steps);
        let mut series = Vec::new();
        if steps.count > 0 {
            for stored in self.source.select(&selector.matchers, hull.0, hull.1)? {
                series.push(WindowedSeries {
                    labels: stored.labels().clone(),
                    drops_name: false,
                    samples: WindowSamples::Stored(stored),
                });
            }
        }
        Ok(Windows {
            series,
            shape,
            hull,
        })
    }

    fn subquery_windows(
        &self,
        subquery: &Subquery,
        steps: &Steps,
    ) -> Result<Windows<'a>, QueryError> {
        let shape = WindowShape {
            range: self.positive(&subquery.range)?,
            offset: self.offset(subquery.offset.as_ref())?,
            pinned: self.pinned(subquery.pin),
        };
        let hull = shape.hull(steps);
        let mut series = Vec::new();
        if steps.count == 0 {
            return Ok(Windows {
                series,
                shape,
                hull,
            });
        }
        let default_step = i64::try_from(self.options.default_step.as_millis()).unwrap_or(i64::MAX);
        let step = match &subquery.step {
            Some(step) => self.positive(step)?,
            None => default_step.max(1),
        };
        let (after, until) = hull;
        // Steps are multiples of the step, whatever the query's time: the first after the hull's start.
        let start = after
            .div_euclid(step)
            .saturating_add(1)
            .saturating_mul(step);
        let inner = Steps::of(Span {
            start,
            end: until,
            step,
        });
        if inner.count > self.options.max_samples {
            let limit = self.options.max_samples;
            return Err(QueryError::TooManySamples { limit });
        }
        for row in self.vector(&subquery.expr, &inner)? {
            self.release(inner.count);
            let values = row.values.iter().zip(inner.times());
            let present = values.filter(|(value, _)| !is_absent(**value));
            let samples: Vec<Sample> = present
                .map(|(value, time)| Sample {
                    time,
                    value: *value,
                })
                .collect();
            if !samples.is_empty() {
                self.charge(samples.len())?;
                series.push(WindowedSeries {
                    labels: row.labels,
                    drops_name: row.drops_name,
                    samples: WindowSamples::Computed(samples),
                });
            }
        }
        Ok(Windows {
            series,
            shape,
            hull,
        })
    }

    /// A range vector as an answer of its own.
    pub(crate) fn matrix(&self, expr: &Expr, at: i64) -> Result<Vec<SeriesValues>, QueryError> {
        let steps = Steps::once(at);
        let windows = self.windows(expr, &steps)?;
        let (after, until) = windows.shape.window(at);
        let mut answer = Vec::new();
        for series in windows.series {
            let mut buffer = Vec::new();
            let all = series.read(windows.hull, self.budget(), &mut buffer)?;
            let samples = Slider::new(all).slide(after, until).to_vec();
            if samples.is_empty() {
                continue;
            }
            self.charge(samples.len())?;
            let labels = if series.drops_name {
                self.without_name(&series.labels)
            } else {
                series.labels.clone()
            };
            answer.push(SeriesValues { labels, samples });
        }
        Ok(answer)
    }
}
