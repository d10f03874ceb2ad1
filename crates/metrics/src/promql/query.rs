use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use crate::series_store::{Matcher, Sample};

use super::annotations::Annotations;
use super::error::QueryError;
use super::eval::{Evaluated, Evaluator, Row, Steps, is_absent};
use super::source::SeriesSource;
use super::syntax::{Aggregation, Expr, ExprKind, Function, ValueType, parse};
use super::value::{Element, SeriesValues, Value};

/// How queries are evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How far back an instant selector looks for a sample.
    pub lookback: Duration,
    /// The step of subqueries that name none.
    pub default_step: Duration,
    /// Whether experimental functions and modifiers are evaluated.
    pub experimental: bool,
    /// Whether a metric's name is kept until the whole query is evaluated, so that `label_replace`
    /// still sees it (Prometheus' feature `promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Whether the labels `__type__` and `__unit__` belong to the metric's name and go with it
    /// (Prometheus' feature `type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// How many samples a query may hold at once.
    pub max_samples: usize,
}

impl Default for Options {
    /// Prometheus' defaults: five minutes, one minute, nothing experimental, 50 million samples.
    fn default() -> Options {
        Options {
            lookback: Duration::from_mins(5),
            default_step: Duration::from_mins(1),
            experimental: false,
            delayed_name_removal: false,
            type_and_unit_labels: false,
            max_samples: 50_000_000,
        }
    }
}

/// The times a range query is evaluated at, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first time.
    pub start: i64,
    /// The last time, if a step meets it.
    pub end: i64,
    /// From one time to the next; more than zero.
    pub step: i64,
}

/// Stops a query from another thread; clones stop the same query.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicU8>);

const CANCELLED: u8 = 1;
const TIMED_OUT: u8 = 2;

impl Cancel {
    /// Makes the query end with [`QueryError::Cancelled`] soon.
    pub fn cancel(&self) {
        self.0.store(CANCELLED, Ordering::Relaxed);
    }

    /// Makes the query end with [`QueryError::TimedOut`] soon.
    pub fn time_out(&self) {
        self.0.store(TIMED_OUT, Ordering::Relaxed);
    }

    /// # Errors
    /// Where the query is to end.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        match self.0.load(Ordering::Relaxed) {
            CANCELLED => Err(QueryError::Cancelled),
            TIMED_OUT => Err(QueryError::TimedOut),
            _ => Ok(()),
        }
    }
}

/// What a query answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The answer.
    pub value: Value,
    /// Remarks on it.
    pub annotations: Annotations,
}

/// A query, read and checked.
#[derive(Debug, Clone)]
pub struct Query {
    text: String,
    expr: Expr,
    options: Options,
}

/// Points of one series that a range query gives at most, as in Prometheus.
const MAX_STEPS: i64 = 11_000;

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// Where the text is no PromQL, or asks for what is not supported or not switched on.
    pub fn parse(text: &str, options: Options) -> Result<Query, QueryError> {
        let expr = parse(text, options.experimental)?;
        Ok(Query {
            text: text.to_owned(),
            expr,
            options,
        })
    }

    /// The text it was read from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a rule can take the answers: they are instant vectors or scalars.
    #[must_use]
    pub fn gives_a_vector_or_scalar(&self) -> bool {
        matches!(
            self.expr.value_type(),
            ValueType::Vector | ValueType::Scalar
        )
    }

    /// The query on one line, in the form in which Prometheus prints it.
    #[must_use]
    pub fn one_line(&self) -> String {
        super::print::on_one_line(&self.expr)
    }

    /// The query as Prometheus' `format_query` answers it: broken into indented lines where it is long.
    #[must_use]
    pub fn pretty(&self) -> String {
        super::print::on_lines(&self.expr, 0)
    }

    /// The query's tree in the form of Prometheus' `parse_query`.
    #[must_use]
    pub fn tree_as_json(&self) -> serde_json::Value {
        super::print::as_json(&self.expr)
    }

    /// The conditions, where the query is a selector of series and nothing else: no offset, no window.
    #[must_use]
    pub fn as_selector(&self) -> Option<&[Matcher]> {
        match &self.expr.kind {
            ExprKind::Selector(selector) if selector.offset.is_none() && selector.pin.is_none() => {
                Some(&selector.matchers)
            }
            _ => None,
        }
    }

    /// The conditions of every selector in the query.
    #[must_use]
    pub fn selectors(&self) -> Vec<&[Matcher]> {
        let mut selectors = Vec::new();
        self.expr
            .each_selector(&mut |selector| selectors.push(selector.matchers.as_slice()));
        selectors
    }

    /// The answer at one time, in milliseconds since the epoch.
    ///
    /// # Errors
    /// Where the data do not allow an answer, a limit is met, or the query is cancelled.
    pub fn instant(
        &self,
        source: &dyn SeriesSource,
        at: i64,
        cancel: &Cancel,
    ) -> Result<Answer, QueryError> {
        let steps = Steps::once(at);
        let evaluator = Evaluator::new(source, &self.text, &self.options, cancel, steps);
        let value = match self.expr.value_type() {
            ValueType::Text => match evaluator.eval(&self.expr, &steps)? {
                Evaluated::Text(text) => Value::Text(text),
                _ => return Err(QueryError::execution("a string expression gave no string")),
            },
            ValueType::Scalar => {
                let value = evaluator.scalar(&self.expr, &steps)?[0];
                Value::Scalar(Sample { time: at, value })
            }
            ValueType::Vector => {
                let rows = evaluator.vector(&self.expr, &steps)?;
                let mut rows = evaluator.finish(rows)?;
                if !sorts(&self.expr) {
                    rows.sort_by(|left, right| left.labels.cmp(&right.labels));
                }
                let elements = rows.into_iter().map(|row| Element {
                    sample: Sample {
                        time: at,
                        value: row.values[0],
                    },
                    labels: row.labels,
                });
                Value::Vector(elements.collect())
            }
            ValueType::Matrix => {
                let mut series = evaluator.matrix(&self.expr, at)?;
                series.sort_by(|left, right| left.labels.cmp(&right.labels));
                Value::Matrix(series)
            }
        };
        Ok(Answer {
            value,
            annotations: evaluator.into_annotations(),
        })
    }

    /// The answers over a span of time.
    ///
    /// # Errors
    /// As for [`Query::instant`], and where the span has no step, too many, or the query's type has no range form.
    pub fn range(
        &self,
        source: &dyn SeriesSource,
        span: Span,
        cancel: &Cancel,
    ) -> Result<Answer, QueryError> {
        let kind = self.expr.value_type();
        if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
            let name = kind.name();
            let reason = format!(
                "invalid expression type {name:?} for range query, must be Scalar or instant Vector"
            );
            return Err(QueryError::Execution(reason));
        }
        if span.step <= 0 {
            let reason = "zero or negative query resolution step widths are not accepted. Try a positive integer";
            return Err(QueryError::execution(reason));
        }
        if span.end < span.start {
            return Err(QueryError::execution(
                "end timestamp must not be before start time",
            ));
        }
        let length = span.end.checked_sub(span.start);
        if length.is_none_or(|length| length / span.step > MAX_STEPS) {
            let reason = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)";
            return Err(QueryError::execution(reason));
        }
        let steps = Steps::of(span);
        let evaluator = Evaluator::new(source, &self.text, &self.options, cancel, steps);
        let rows = match kind {
            ValueType::Scalar => vec![Row::scalar(evaluator.scalar(&self.expr, &steps)?)],
            _ => {
                let rows = evaluator.vector(&self.expr, &steps)?;
                evaluator.finish(rows)?
            }
        };
        let mut matrix: Vec<SeriesValues> = rows
            .into_iter()
            .map(|row| row.into_series(&steps))
            .collect();
        matrix.sort_by(|left, right| left.labels.cmp(&right.labels));
        Ok(Answer {
            value: Value::Matrix(matrix),
            annotations: evaluator.into_annotations(),
        })
    }
}

impl Row {
    fn into_series(self, steps: &Steps) -> SeriesValues {
        let samples = self
            .values
            .iter()
            .enumerate()
            .filter(|(_, value)| !is_absent(**value));
        SeriesValues {
            samples: samples
                .map(|(step, value)| Sample {
                    time: steps.time(step),
                    value: *value,
                })
                .collect(),
            labels: self.labels,
        }
    }
}

/// Whether the order of an instant answer is the query's own.
fn sorts(expr: &Expr) -> bool {
    match &expr.bare().kind {
        ExprKind::Call(call) => matches!(
            call.function(),
            Function::Sort | Function::SortDesc | Function::SortByLabel | Function::SortByLabelDesc
        ),
        ExprKind::Aggregate(aggregate) => {
            matches!(
                aggregate.operation,
                Aggregation::Topk | Aggregation::Bottomk
            )
        }
        _ => false,
    }
}
