//! Evaluates a part of a query for all steps at once.
//!
//! An instant vector over the steps is a list of [`Row`]s: a series and one value a step, absent where the
//! series has none. Selectors make rows by walking each stored series once with a window that slides; functions and
//! operators turn rows into rows. The stale marker stands for "absent": it never is a value, because
//! selectors take it out and every other NaN is read as the canonical one.

mod aggregate;
mod binary;
mod call;
mod date;
mod folded;
mod histogram;
mod label;
mod order;
mod over_time;
mod select;
mod sliding;
mod sums;
mod walk;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::series_store::{Labels, METRIC_NAME, is_stale, stale_marker};

use super::annotations::{Annotations, Severity};
use super::error::{Position, QueryError};
use super::query::{Cancel, Options, Span};
use super::source::SeriesSource;
use super::syntax::{Expr, ExprKind, Function, Operator};

/// The times a part is evaluated at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    pub(crate) start: i64,
    /// Zero for an instant.
    pub(crate) step: i64,
    pub(crate) count: usize,
    /// The end that was asked for, which need not be a step: what `end()` means.
    pub(crate) end: i64,
}

// === impl Steps ===

impl Steps {
    pub(crate) fn once(at: i64) -> Steps {
        Steps {
            start: at,
            step: 0,
            count: 1,
            end: at,
        }
    }

    /// The steps of a span; none where it ends before it starts.
    pub(crate) fn of(span: Span) -> Steps {
        let count = if span.end < span.start {
            0
        } else {
            (span.end - span.start) / span.step + 1
        };
        Steps {
            start: span.start,
            step: span.step,
            count: usize::try_from(count).unwrap_or(usize::MAX),
            end: span.end,
        }
    }

    pub(crate) fn time(&self, step: usize) -> i64 {
        self.start + self.step * step as i64
    }

    pub(crate) fn last(&self) -> i64 {
        self.time(self.count.saturating_sub(1))
    }

    pub(crate) fn times(&self) -> impl Iterator<Item = i64> + use<> {
        let steps = *self;
        (0..steps.count).map(move |step| steps.time(step))
    }
}

/// What stands where a series has no value.
pub(crate) fn absent() -> f64 {
    stale_marker()
}

pub(crate) fn is_absent(value: f64) -> bool {
    is_stale(value)
}

/// A series and its value at each step.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    /// The metric's name is to be taken away when the whole query is evaluated.
    pub(crate) drops_name: bool,
    pub(crate) values: Vec<f64>,
}

// === impl Row ===

impl Row {
    /// A row without labels.
    pub(crate) fn scalar(values: Vec<f64>) -> Row {
        Row {
            labels: Labels::empty(),
            drops_name: false,
            values,
        }
    }

    /// Whether the series has no value at any step.
    pub(crate) fn is_void(&self) -> bool {
        self.values.iter().all(|value| is_absent(*value))
    }
}

/// A part's value over all steps.
#[derive(Debug)]
pub(crate) enum Evaluated {
    Scalar(Vec<f64>),
    Vector(Vec<Row>),
    Text(String),
}

/// Evaluates one query.
pub(crate) struct Evaluator<'a> {
    source: &'a dyn SeriesSource,
    text: &'a str,
    options: &'a Options,
    cancel: &'a Cancel,
    /// The steps of the whole query, which `@ start()` and `end()` mean also within subqueries.
    query: Steps,
    annotations: RefCell<Annotations>,
    /// Samples that may still be held.
    samples_left: Cell<usize>,
}

// === impl Evaluator ===

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        source: &'a dyn SeriesSource,
        text: &'a str,
        options: &'a Options,
        cancel: &'a Cancel,
        query: Steps,
    ) -> Evaluator<'a> {
        Evaluator {
            source,
            text,
            options,
            cancel,
            query,
            annotations: RefCell::default(),
            samples_left: Cell::new(options.max_samples),
        }
    }

    pub(crate) fn into_annotations(self) -> Annotations {
        self.annotations.into_inner()
    }

    /// Evaluates a part of any type but a range vector.
    pub(crate) fn eval(&self, expr: &Expr, steps: &Steps) -> Result<Evaluated, QueryError> {
        self.cancel.check()?;
        match &expr.kind {
            ExprKind::Number(number) => self.constant(*number, steps).map(Evaluated::Scalar),
            ExprKind::Text(text) => Ok(Evaluated::Text(String::from_utf8_lossy(text).into_owned())),
            ExprKind::Paren(inner) => self.eval(inner, steps),
            ExprKind::Sign {
                negative: false,
                expr,
            } => self.eval(expr, steps),
            ExprKind::Sign { expr, .. } => self.negate(expr, steps),
            ExprKind::Selector(selector) => {
                self.select_values(selector, steps).map(Evaluated::Vector)
            }
            ExprKind::Binary(binary) => self.binary(binary, steps),
            ExprKind::Aggregate(aggregate) => {
                self.aggregate(aggregate, steps).map(Evaluated::Vector)
            }
            ExprKind::Call(call) => self.call(call, steps),
            ExprKind::Range(..) | ExprKind::Subquery(_) => {
                Err(QueryError::execution("a range vector where none can be"))
            }
        }
    }

    /// Evaluates a part that is a scalar.
    pub(crate) fn scalar(&self, expr: &Expr, steps: &Steps) -> Result<Vec<f64>, QueryError> {
        match self.eval(expr, steps)? {
            Evaluated::Scalar(values) => Ok(values),
            _ => Err(QueryError::execution("expected a scalar")),
        }
    }

    /// Evaluates a part that is an instant vector.
    pub(crate) fn vector(&self, expr: &Expr, steps: &Steps) -> Result<Vec<Row>, QueryError> {
        match self.eval(expr, steps)? {
            Evaluated::Vector(rows) => Ok(rows),
            _ => Err(QueryError::execution("expected an instant vector")),
        }
    }

    /// Evaluates a part that is an instant vector, and passes its rows on one by one: what each stored series
    /// gives is let go before the next, where that is possible.
    pub(crate) fn each_row(
        &self,
        expr: &Expr,
        steps: &Steps,
        take: &mut dyn FnMut(Row) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        match &expr.bare().kind {
            ExprKind::Selector(selector) => return self.each_value(selector, steps, take),
            ExprKind::Call(call) => {
                if let Function::OverTime(function) = call.function()
                    && self.stays_apart(call, function)
                {
                    return self.each_over_time(call, function, steps, take);
                }
            }
            _ => {}
        }
        let rows = self.vector(expr, steps)?;
        self.release_rows(&rows);
        rows.into_iter().try_for_each(take)
    }

    fn constant(&self, number: f64, steps: &Steps) -> Result<Vec<f64>, QueryError> {
        self.charge(steps.count)?;
        Ok(vec![number; steps.count])
    }

    fn negate(&self, expr: &Expr, steps: &Steps) -> Result<Evaluated, QueryError> {
        match self.eval(expr, steps)? {
            Evaluated::Scalar(values) => Ok(Evaluated::Scalar(
                values.iter().map(|value| -value).collect(),
            )),
            Evaluated::Vector(mut rows) => {
                map_values(&mut rows, |value| -value);
                self.drop_names(rows).map(Evaluated::Vector)
            }
            Evaluated::Text(_) => Err(QueryError::execution("a string has no sign")),
        }
    }

    /// Accounts for samples that are held from here on.
    fn charge(&self, samples: usize) -> Result<(), QueryError> {
        let left = self.samples_left.get().checked_sub(samples);
        let limit = self.options.max_samples;
        self.samples_left
            .set(left.ok_or(QueryError::TooManySamples { limit })?);
        Ok(())
    }

    /// Accounts for samples that are let go.
    fn release(&self, samples: usize) {
        self.samples_left.set(self.samples_left.get() + samples);
    }

    /// Accounts for rows that are let go.
    fn release_rows(&self, rows: &[Row]) {
        self.release(rows.iter().map(|row| row.values.len()).sum());
    }

    /// A row's room for values, accounted for.
    fn room(&self, steps: &Steps) -> Result<Vec<f64>, QueryError> {
        self.charge(steps.count)?;
        Ok(vec![absent(); steps.count])
    }

    fn warn(&self, expr: &Expr, message: String) {
        self.annotate(Severity::Warning, expr, message);
    }

    fn inform(&self, expr: &Expr, message: String) {
        self.annotate(Severity::Info, expr, message);
    }

    fn annotate(&self, severity: Severity, expr: &Expr, message: String) {
        let place = Position::of(self.text, expr.start);
        self.annotations.borrow_mut().add(severity, message, place);
    }

    /// Whether a label says what the metric is, rather than which of its series this is.
    fn names_metric(&self, label: &str) -> bool {
        label == METRIC_NAME
            || (self.options.type_and_unit_labels && matches!(label, "__type__" | "__unit__"))
    }

    fn without_name(&self, labels: &Labels) -> Labels {
        labels.without(|label| self.names_metric(label))
    }

    /// The rows of a function whose results are no longer the metric itself: without its name, now or at the end.
    fn drop_names(&self, mut rows: Vec<Row>) -> Result<Vec<Row>, QueryError> {
        if self.options.delayed_name_removal {
            for row in &mut rows {
                row.drops_name = true;
            }
            return Ok(rows);
        }
        for row in &mut rows {
            row.labels = self.without_name(&row.labels);
        }
        merge(rows)
    }

    /// The rows as the query answers them: names taken away, without series that have no value.
    pub(crate) fn finish(&self, mut rows: Vec<Row>) -> Result<Vec<Row>, QueryError> {
        for row in &mut rows {
            if row.drops_name {
                row.labels = self.without_name(&row.labels);
                row.drops_name = false;
            }
        }
        merge(rows)
    }
}

/// Joins rows with the same labels, and leaves out those without any value.
///
/// # Errors
/// Where two of them have a value at the same step.
pub(crate) fn merge(rows: Vec<Row>) -> Result<Vec<Row>, QueryError> {
    merge_or(rows, "vector cannot contain metrics with the same labelset")
}

/// As [`merge`], with what to say where rows collide.
pub(crate) fn merge_or(rows: Vec<Row>, collision: &str) -> Result<Vec<Row>, QueryError> {
    let mut merged: Vec<Row> = Vec::with_capacity(rows.len());
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    for row in rows {
        if row.is_void() {
            continue;
        }
        let Some(place) = places.get(&row.labels) else {
            places.insert(row.labels.clone(), merged.len());
            merged.push(row);
            continue;
        };
        let into = &mut merged[*place];
        for (value, added) in into.values.iter_mut().zip(row.values) {
            if is_absent(added) {
                continue;
            }
            if !is_absent(*value) {
                return Err(QueryError::execution(collision));
            }
            *value = added;
        }
    }
    Ok(merged)
}

/// Replaces every value that is there.
pub(crate) fn map_values(rows: &mut [Row], function: impl Fn(f64) -> f64) {
    for value in rows.iter_mut().flat_map(|row| &mut row.values) {
        if !is_absent(*value) {
            *value = function(*value);
        }
    }
}

/// Whether an operator's result is no longer the metric itself.
pub(crate) fn drops_name(operator: Operator) -> bool {
    !operator.is_comparison() && !operator.is_set()
}
