//! Calls of functions.

use crate::promql::error::QueryError;
use crate::promql::syntax::{Call, DatePart, Expr, ExprKind, Function};

use super::date::part_of_date;
use super::{Evaluated, Evaluator, Row, Steps, absent, is_absent, map_values};

impl Evaluator<'_> {
    pub(super) fn call(&self, call: &Call, steps: &Steps) -> Result<Evaluated, QueryError> {
        let arguments = &call.arguments;
        let rows = match call.function() {
            Function::Time => return self.scalars(steps, |time| time as f64 / 1000.0),
            Function::Pi => return self.scalars(steps, |_| std::f64::consts::PI),
            Function::Start => return self.scalars(steps, |_| self.query.start as f64 / 1000.0),
            Function::End => return self.scalars(steps, |_| self.query.end as f64 / 1000.0),
            Function::Step => return self.scalars(steps, |_| self.query.step as f64 / 1000.0),
            Function::Range => {
                let range = self.query.end - self.query.start;
                return self.scalars(steps, |_| range as f64 / 1000.0);
            }
            Function::MaxOf => return self.zip_scalars(arguments, steps, greater),
            Function::MinOf => return self.zip_scalars(arguments, steps, lesser),
            Function::Scalar => {
                return self.only_value(&arguments[0], steps).map(Evaluated::Scalar);
            }
            Function::Vector => vec![Row::scalar(self.scalar(&arguments[0], steps)?)],
            Function::Math(function) => {
                let mut rows = self.vector(&arguments[0], steps)?;
                map_values(&mut rows, function);
                self.drop_names(rows)?
            }
            Function::Date(part) => self.date(part, arguments.first(), steps)?,
            Function::Timestamp => self.timestamp(&arguments[0], steps)?,
            Function::Clamp => {
                let least = self.scalar(&arguments[1], steps)?;
                let most = self.scalar(&arguments[2], steps)?;
                self.map_steps(&arguments[0], steps, |step, value| {
                    let (least, most) = (least[step], most[step]);
                    if most < least {
                        return absent();
                    }
                    greater(least, lesser(most, value))
                })?
            }
            Function::ClampMax => {
                let most = self.scalar(&arguments[1], steps)?;
                self.map_steps(&arguments[0], steps, |step, value| {
                    lesser(most[step], value)
                })?
            }
            Function::ClampMin => {
                let least = self.scalar(&arguments[1], steps)?;
                self.map_steps(&arguments[0], steps, |step, value| {
                    greater(least[step], value)
                })?
            }
            Function::Round => {
                let nearest = match arguments.get(1) {
                    Some(nearest) => self.scalar(nearest, steps)?,
                    None => vec![1.0; steps.count],
                };
                self.map_steps(&arguments[0], steps, |step, value| {
                    // Multiplying with the inverse rounds less than dividing does.
                    let inverse = 1.0 / nearest[step];
                    (value * inverse + 0.5).floor() / inverse
                })?
            }
            Function::Absent => self.absent(&arguments[0], steps)?,
            Function::AbsentOverTime => self.absent_over_time(&arguments[0], steps)?,
            Function::OverTime(function) => self.over_time(call, function, steps)?,
            Function::HistogramQuantile => self.histogram_quantile(call, steps)?,
            Function::HistogramQuantiles => self.histogram_quantiles(call, steps)?,
            Function::HistogramFraction => self.histogram_fraction(call, steps)?,
            Function::OfNativeHistograms => {
                self.vector(&arguments[0], steps)?;
                Vec::new()
            }
            Function::LabelReplace => self.label_replace(call, steps)?,
            Function::LabelJoin => self.label_join(call, steps)?,
            Function::Sort => self.sort(call, steps, false)?,
            Function::SortDesc => self.sort(call, steps, true)?,
            Function::SortByLabel => self.sort_by_label(call, steps, false)?,
            Function::SortByLabelDesc => self.sort_by_label(call, steps, true)?,
            Function::Unsupported => {
                let name = call.signature.name;
                return Err(QueryError::Unsupported(format!("the function {name}")));
            }
        };
        Ok(Evaluated::Vector(rows))
    }

    fn scalars(&self, steps: &Steps, value: impl Fn(i64) -> f64) -> Result<Evaluated, QueryError> {
        self.charge(steps.count)?;
        Ok(Evaluated::Scalar(steps.times().map(value).collect()))
    }

    fn zip_scalars(
        &self,
        arguments: &[Expr],
        steps: &Steps,
        choose: fn(f64, f64) -> f64,
    ) -> Result<Evaluated, QueryError> {
        let left = self.scalar(&arguments[0], steps)?;
        let right = self.scalar(&arguments[1], steps)?;
        let chosen = left
            .iter()
            .zip(&right)
            .map(|(left, right)| choose(*left, *right));
        Ok(Evaluated::Scalar(chosen.collect()))
    }

    /// A function of each value and its step, whose results are no longer the metric.
    fn map_steps(
        &self,
        argument: &Expr,
        steps: &Steps,
        function: impl Fn(usize, f64) -> f64,
    ) -> Result<Vec<Row>, QueryError> {
        let mut rows = self.vector(argument, steps)?;
        for row in &mut rows {
            for (step, value) in row.values.iter_mut().enumerate() {
                if !is_absent(*value) {
                    *value = function(step, *value);
                }
            }
        }
        self.drop_names(rows)
    }

    fn date(
        &self,
        part: DatePart,
        argument: Option<&Expr>,
        steps: &Steps,
    ) -> Result<Vec<Row>, QueryError> {
        let Some(argument) = argument else {
            let times = steps
                .times()
                .map(|time| part_of_date(part, time as f64 / 1000.0));
            return Ok(vec![Row::scalar(times.collect())]);
        };
        let mut rows = self.vector(argument, steps)?;
        map_values(&mut rows, |value| part_of_date(part, value));
        self.drop_names(rows)
    }

    fn timestamp(&self, argument: &Expr, steps: &Steps) -> Result<Vec<Row>, QueryError> {
        if let ExprKind::Selector(selector) = &argument.bare().kind {
            let rows = self.select_times(selector, steps)?;
            return self.drop_names(rows);
        }
        self.map_steps(argument, steps, |step, _| steps.time(step) as f64 / 1000.0)
    }

    /// The value of the only element at each step; NaN where there is none or several.
    fn only_value(&self, argument: &Expr, steps: &Steps) -> Result<Vec<f64>, QueryError> {
        let mut values = self.room(steps)?;
        for row in self.vector(argument, steps)? {
            for (value, candidate) in values.iter_mut().zip(row.values) {
                if is_absent(candidate) {
                    continue;
                }
                *value = if is_absent(*value) {
                    candidate
                } else {
                    f64::NAN
                };
            }
        }
        for value in &mut values {
            if is_absent(*value) {
                *value = f64::NAN;
            }
        }
        Ok(values)
    }
}

/// The greater of two numbers; NaN if one is and the other is not positive infinity.
fn greater(left: f64, right: f64) -> f64 {
    if left == f64::INFINITY || right == f64::INFINITY {
        return f64::INFINITY;
    }
    if left.is_nan() || right.is_nan() {
        return f64::NAN;
    }
    left.max(right)
}

/// The lesser of two numbers; NaN if one is and the other is not negative infinity.
fn lesser(left: f64, right: f64) -> f64 {
    -greater(-left, -right)
}
