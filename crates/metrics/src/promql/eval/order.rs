//! `sort` and `sort_by_label`. A range answer is ordered by labels whatever a query asks for.

use std::cmp::Ordering;

use crate::promql::error::QueryError;
use crate::promql::syntax::Call;

use super::label::text;
use super::{Evaluator, Row, Steps};

impl Evaluator<'_> {
    pub(super) fn sort(
        &self,
        call: &Call,
        steps: &Steps,
        descending: bool,
    ) -> Result<Vec<Row>, QueryError> {
        let mut rows = self.vector(&call.arguments[0], steps)?;
        if self.warn_of_order_in_range(call) || steps.count != 1 {
            return Ok(rows);
        }
        rows.sort_by(|left, right| {
            let (left, right) = (left.values[0], right.values[0]);
            match (left.is_nan(), right.is_nan()) {
                // NaN is last either way.
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) if descending => right.total_cmp(&left),
                (false, false) => left.total_cmp(&right),
            }
        });
        Ok(rows)
    }

    pub(super) fn sort_by_label(
        &self,
        call: &Call,
        steps: &Steps,
        descending: bool,
    ) -> Result<Vec<Row>, QueryError> {
        let labels: Vec<String> = call.arguments[1..].iter().map(text).collect();
        let mut rows = self.vector(&call.arguments[0], steps)?;
        if self.warn_of_order_in_range(call) {
            return Ok(rows);
        }
        rows.sort_by(|left, right| {
            let by_labels = labels
                .iter()
                .map(|label| natural(left.labels.get(label), right.labels.get(label)));
            let order = by_labels
                .fold(Ordering::Equal, Ordering::then)
                .then_with(|| left.labels.cmp(&right.labels));
            if descending { order.reverse() } else { order }
        });
        Ok(rows)
    }

    fn warn_of_order_in_range(&self, call: &Call) -> bool {
        let in_range = self.query.step > 0;
        if in_range {
            let message =
                "sort is ineffective for range queries since results are always ordered by labels";
            self.warn(&call.arguments[0], message.to_owned());
        }
        in_range
    }
}

/// Orders texts with the numbers in them by value: `a9` before `a10`.
fn natural(left: &str, right: &str) -> Ordering {
    let (mut left_rest, mut right_rest) = (left, right);
    while !left_rest.is_empty() && !right_rest.is_empty() {
        let (left_run, left_after) = run(left_rest);
        let (right_run, right_after) = run(right_rest);
        let order = match (left_run.parse::<u64>(), right_run.parse::<u64>()) {
            (Ok(left_number), Ok(right_number)) => left_number.cmp(&right_number),
            _ => left_run.cmp(right_run),
        };
        if order != Ordering::Equal {
            return order;
        }
        (left_rest, right_rest) = (left_after, right_after);
    }
    left_rest
        .len()
        .cmp(&right_rest.len())
        .then_with(|| left.cmp(right))
}

/// The digits, or the other characters, a text starts with; and the rest.
fn run(text: &str) -> (&str, &str) {
    let starts_with_digit = text.starts_with(|char: char| char.is_ascii_digit());
    let end = text.find(|char: char| char.is_ascii_digit() != starts_with_digit);
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_are_compared_by_value() {
        let mut texts = [
            "4m1000", "4m5", "10", "9", "", "4m600", "a", "1.111.3", "1.2.3", "1.11.3",
        ];
        texts.sort_by(|left, right| natural(left, right));
        assert_eq!(
            texts,
            [
                "", "1.2.3", "1.11.3", "1.111.3", "4m5", "4m600", "4m1000", "9", "10", "a"
            ]
        );
    }
}
