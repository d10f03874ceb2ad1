//! Binary operators: between numbers, between series and numbers, between series that match.

use std::collections::HashMap;

use crate::promql::error::QueryError;
use crate::promql::syntax::{Binary, Cardinality, Matching, Operator};
use crate::series_store::{Labels, METRIC_NAME};

use super::{Evaluated, Evaluator, Row, Steps, absent, drops_name, is_absent, merge, merge_or};

impl Evaluator<'_> {
    pub(super) fn binary(&self, binary: &Binary, steps: &Steps) -> Result<Evaluated, QueryError> {
        let left = self.eval(&binary.left, steps)?;
        let right = self.eval(&binary.right, steps)?;
        let rows = match (left, right) {
            (Evaluated::Scalar(left), Evaluated::Scalar(right)) => {
                let results = left
                    .iter()
                    .zip(&right)
                    .map(|(left, right)| operate(binary.operator, *left, *right));
                return Ok(Evaluated::Scalar(results.collect()));
            }
            (Evaluated::Vector(rows), Evaluated::Scalar(numbers)) => {
                self.with_numbers(binary, rows, &numbers, false)?
            }
            (Evaluated::Scalar(numbers), Evaluated::Vector(rows)) => {
                self.with_numbers(binary, rows, &numbers, true)?
            }
            (Evaluated::Vector(left), Evaluated::Vector(right)) => match binary.operator {
                Operator::And => restrict(left, &right, &binary.matching, true),
                Operator::Unless => restrict(left, &right, &binary.matching, false),
                Operator::Or => {
                    let added = restrict(right, &left, &binary.matching, false);
                    merge(left.into_iter().chain(added).collect())?
                }
                _ => self.matched(binary, &left, &right, steps)?,
            },
            _ => return Err(QueryError::execution("binary expression of a string")),
        };
        Ok(Evaluated::Vector(rows))
    }

    /// An operator between every series and a number, which stands left or right.
    fn with_numbers(
        &self,
        binary: &Binary,
        mut rows: Vec<Row>,
        numbers: &[f64],
        number_is_left: bool,
    ) -> Result<Vec<Row>, QueryError> {
        for row in &mut rows {
            for (value, number) in row.values.iter_mut().zip(numbers) {
                if is_absent(*value) {
                    continue;
                }
                let (left, right) = if number_is_left {
                    (*number, *value)
                } else {
                    (*value, *number)
                };
                let result = operate(binary.operator, left, right);
                // A comparison filters, and what it keeps is the series' value on either side.
                *value = match (binary.operator.is_comparison(), binary.returns_bool) {
                    (true, false) if result == 0.0 => absent(),
                    (true, false) => *value,
                    _ => result,
                };
            }
        }
        if drops_name(binary.operator) || binary.returns_bool {
            return self.drop_names(rows);
        }
        rows.retain(|row| !row.is_void());
        Ok(rows)
    }

    /// An operator between series of two vectors that match.
    fn matched(
        &self,
        binary: &Binary,
        left: &[Row],
        right: &[Row],
        steps: &Steps,
    ) -> Result<Vec<Row>, QueryError> {
        let matching = &binary.matching;
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped {
            (right, left)
        } else {
            (left, right)
        };
        let (many_fill, one_fill) = match swapped {
            true => (matching.fill_right, matching.fill_left),
            false => (matching.fill_left, matching.fill_right),
        };
        let pairing = Pairing {
            binary,
            swapped,
            many,
            one,
            many_fill,
            one_fill,
            evaluator: self,
            many_is_there: presence(many, steps.count),
        };
        let mut rows = Vec::new();
        for group in group_by_signature(many, one, matching) {
            self.cancel.check()?;
            let found = pairing.pair_group(&group, steps)?;
            self.charge(found.len() * steps.count)?;
            rows.extend(found);
        }
        self.release_rows(left);
        self.release_rows(right);
        merge(rows)
    }
}

/// The series of both sides that have the same matching labels.
struct Group {
    signature: Labels,
    many: Vec<usize>,
    one: Vec<usize>,
}

/// Groups in the order of their first series.
fn group_by_signature(many: &[Row], one: &[Row], matching: &Matching) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let sides = many.iter().enumerate().map(|(at, row)| (at, row, true));
    let sides = sides.chain(one.iter().enumerate().map(|(at, row)| (at, row, false)));
    for (at, row, is_many) in sides {
        let signature = signature(&row.labels, matching);
        let place = *places.entry(signature.clone()).or_insert_with(|| {
            groups.push(Group {
                signature,
                many: Vec::new(),
                one: Vec::new(),
            });
            groups.len() - 1
        });
        let group = &mut groups[place];
        if is_many {
            group.many.push(at);
        } else {
            group.one.push(at);
        }
    }
    groups
}

/// The labels that have to be equal for two series to match.
fn signature(labels: &Labels, matching: &Matching) -> Labels {
    let is_listed = |name: &str| matching.labels.iter().any(|listed| listed == name);
    if matching.on {
        labels.without(|name| !is_listed(name))
    } else {
        labels.without(|name| name == METRIC_NAME || is_listed(name))
    }
}

/// At which steps any of the rows has a value.
fn presence(rows: &[Row], steps: usize) -> Vec<bool> {
    let mut present = vec![false; steps];
    for row in rows {
        for (present, value) in present.iter_mut().zip(&row.values) {
            *present |= !is_absent(*value);
        }
    }
    present
}

/// What it takes to pair the series of one operator.
struct Pairing<'a> {
    binary: &'a Binary,
    /// The many side is the right one.
    swapped: bool,
    many: &'a [Row],
    one: &'a [Row],
    /// What stands in for a missing series of each side.
    many_fill: Option<f64>,
    one_fill: Option<f64>,
    evaluator: &'a Evaluator<'a>,
    /// At which steps the many side has anything: where it has nothing, nothing can be ambiguous.
    many_is_there: Vec<bool>,
}

/// No series of the one side.
const NOBODY: usize = usize::MAX;

// === impl Pairing ===

impl Pairing<'_> {
    fn pair_group(&self, group: &Group, steps: &Steps) -> Result<Vec<Row>, QueryError> {
        let partners = self.partners(group, steps)?;
        let matching = &self.binary.matching;
        let one_to_one = matching.cardinality == Cardinality::OneToOne;
        if (group.one.is_empty() && self.one_fill.is_none())
            || (group.many.is_empty() && self.many_fill.is_none())
        {
            return Ok(Vec::new());
        }
        let mut taken = vec![false; steps.count];
        let mut rows: Vec<Row> = Vec::new();
        for many in &group.many {
            let series = &self.many[*many];
            // The partner may change over the steps; most often it does not.
            let mut results: Vec<(usize, Row)> = Vec::new();
            for (step, value) in series.values.iter().enumerate() {
                let partner = partners[step];
                if is_absent(*value) || (partner == NOBODY && self.one_fill.is_none()) {
                    continue;
                }
                if one_to_one && taken[step] {
                    let reason = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
                    return Err(QueryError::execution(reason));
                }
                taken[step] = true;
                let other = match partner {
                    NOBODY => self.one_fill.unwrap_or(f64::NAN),
                    some => self.one[some].values[step],
                };
                let Some(result) = self.operate(*value, other) else {
                    continue;
                };
                let at = results
                    .iter()
                    .position(|(known, _)| *known == partner)
                    .unwrap_or_else(|| {
                        let one = if partner == NOBODY {
                            &group.signature
                        } else {
                            &self.one[partner].labels
                        };
                        let row = self.new_row(&series.labels, one, series.drops_name, steps);
                        results.push((partner, row));
                        results.len() - 1
                    });
                results[at].1.values[step] = result;
            }
            rows.extend(results.into_iter().map(|(_, row)| row));
        }
        if let Some(fill) = self.many_fill {
            rows.extend(self.fill_many(group, fill, &taken, steps));
        }
        if rows.len() < 2 {
            return Ok(rows);
        }
        merge_or(
            rows,
            "multiple matches for labels: grouping labels must ensure unique matches",
        )
    }

    /// The series of the one side at each step.
    fn partners(&self, group: &Group, steps: &Steps) -> Result<Vec<usize>, QueryError> {
        let mut partners = vec![NOBODY; steps.count];
        for one in &group.one {
            for (step, value) in self.one[*one].values.iter().enumerate() {
                if is_absent(*value) {
                    continue;
                }
                let before = partners[step];
                let matters = self.many_is_there[step] || self.many_fill.is_some();
                if before != NOBODY && matters {
                    return Err(self.duplicate(group, before, *one));
                }
                partners[step] = *one;
            }
        }
        Ok(partners)
    }

    fn duplicate(&self, group: &Group, before: usize, after: usize) -> QueryError {
        let mut labels = [&self.one[before].labels, &self.one[after].labels];
        labels.sort();
        let side = if self.swapped { "left" } else { "right" };
        let (signature, [first, second]) = (&group.signature, labels);
        QueryError::Execution(format!(
            "found duplicate series for the match group {signature} on the {side} hand-side of the operation: \
             [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
        ))
    }

    /// Rows for steps at which only the one side has a series.
    fn fill_many(&self, group: &Group, fill: f64, taken: &[bool], steps: &Steps) -> Vec<Row> {
        let mut rows = Vec::new();
        for one in &group.one {
            let series = &self.one[*one];
            let mut row = self.new_row(&group.signature, &series.labels, series.drops_name, steps);
            for (step, value) in series.values.iter().enumerate() {
                if taken[step] || is_absent(*value) {
                    continue;
                }
                if let Some(result) = self.operate(fill, *value) {
                    row.values[step] = result;
                }
            }
            rows.push(row);
        }
        rows
    }

    fn new_row(&self, many: &Labels, one: &Labels, many_drops_name: bool, steps: &Steps) -> Row {
        let is_bool = self.binary.returns_bool;
        let mut labels = self.result_labels(many, one);
        if is_bool && !self.evaluator.options.delayed_name_removal {
            labels = self.evaluator.without_name(&labels);
        }
        Row {
            labels,
            drops_name: self.evaluator.options.delayed_name_removal && (is_bool || many_drops_name),
            values: vec![absent(); steps.count],
        }
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let matching = &self.binary.matching;
        let without_name = drops_name(self.binary.operator);
        let one_to_one = matching.cardinality == Cardinality::OneToOne;
        let mut labels = many.without(|name| {
            let is_listed = matching.labels.iter().any(|listed| listed == name);
            (without_name && self.evaluator.names_metric(name))
                || (one_to_one && is_listed != matching.on)
        });
        for name in &matching.include {
            labels = labels.with(name, one.get(name));
        }
        labels
    }

    /// The operator's result; none where a comparison filters it out.
    fn operate(&self, many: f64, one: f64) -> Option<f64> {
        let (left, right) = if self.swapped {
            (one, many)
        } else {
            (many, one)
        };
        let result = operate(self.binary.operator, left, right);
        match (
            self.binary.operator.is_comparison(),
            self.binary.returns_bool,
        ) {
            (true, false) if result == 0.0 => None,
            (true, false) => Some(left),
            _ => Some(result),
        }
    }
}

/// The values of series at steps at which the other side has a match, or has none.
fn restrict(rows: Vec<Row>, others: &[Row], matching: &Matching, matched: bool) -> Vec<Row> {
    let mut present: HashMap<Labels, Vec<bool>> = HashMap::new();
    for other in others {
        let steps = present
            .entry(signature(&other.labels, matching))
            .or_insert_with(|| vec![false; other.values.len()]);
        for (present, value) in steps.iter_mut().zip(&other.values) {
            *present |= !is_absent(*value);
        }
    }
    let mut restricted = Vec::new();
    for mut row in rows {
        match present.get(&signature(&row.labels, matching)) {
            Some(steps) => {
                for (value, present) in row.values.iter_mut().zip(steps) {
                    if *present != matched {
                        *value = absent();
                    }
                }
            }
            None if matched => continue,
            None => {}
        }
        if !row.is_void() {
            restricted.push(row);
        }
    }
    restricted
}

/// An operator on numbers; comparisons give 1 or 0.
pub(super) fn operate(operator: Operator, left: f64, right: f64) -> f64 {
    let truth = |holds: bool| if holds { 1.0 } else { 0.0 };
    match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
        Operator::Modulo => left % right,
        Operator::Power => left.powf(right),
        Operator::Atan2 => left.atan2(right),
        Operator::Equal => truth(left == right),
        Operator::NotEqual => truth(left != right),
        Operator::Greater => truth(left > right),
        Operator::Less => truth(left < right),
        Operator::GreaterOrEqual => truth(left >= right),
        Operator::LessOrEqual => truth(left <= right),
        Operator::And | Operator::Or | Operator::Unless => f64::NAN,
    }
}
