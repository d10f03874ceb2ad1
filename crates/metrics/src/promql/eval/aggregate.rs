//! Aggregations: one series of each group, or some of its series.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use crate::promql::error::QueryError;
use crate::promql::go_format::{plain, shortest};
use crate::promql::syntax::{Aggregate, Aggregation, Expr, Grouping};
use crate::series_store::{Labels, METRIC_NAME};

use super::folded::{Folded, Folding};
use super::label::label_name;
use super::sums::quantile;
use super::{Evaluator, Row, Steps, absent, is_absent};

/// The series of one group.
struct Group {
    labels: Labels,
    drops_name: bool,
    members: Vec<usize>,
}

impl Evaluator<'_> {
    pub(super) fn aggregate(
        &self,
        aggregate: &Aggregate,
        steps: &Steps,
    ) -> Result<Vec<Row>, QueryError> {
        let operation = aggregate.operation;
        if operation == Aggregation::CountValues {
            return self.count_values(aggregate, steps);
        }
        let parameters = match &aggregate.parameter {
            Some(parameter) => self.aggregation_parameters(operation, parameter, steps)?,
            None => Vec::new(),
        };
        if let Some(folding) = Folding::of(operation) {
            return self.fold(folding, aggregate, steps);
        }
        let rows = self.vector(&aggregate.expr, steps)?;
        let groups = group(&rows, &aggregate.grouping);
        match operation {
            Aggregation::Topk
            | Aggregation::Bottomk
            | Aggregation::Limitk
            | Aggregation::LimitRatio => Ok(choose_members(
                operation,
                &rows,
                &groups,
                &parameters,
                steps,
            )),
            _ => {
                let mut results = Vec::with_capacity(groups.len());
                for group in groups {
                    let mut values = self.room(steps)?;
                    quantiles(&rows, &group.members, &parameters, &mut values);
                    results.push(Row {
                        labels: group.labels,
                        drops_name: group.drops_name,
                        values,
                    });
                }
                self.release_rows(&rows);
                Ok(results)
            }
        }
    }

    /// Folds row by row: what one series gives is let go before the next.
    fn fold(
        &self,
        folding: Folding,
        aggregate: &Aggregate,
        steps: &Steps,
    ) -> Result<Vec<Row>, QueryError> {
        let mut groups: Vec<(Labels, bool, Folded)> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        self.each_row(&aggregate.expr, steps, &mut |row| {
            let labels = group_labels(&row.labels, &aggregate.grouping);
            let place = match places.get(&labels) {
                Some(place) => *place,
                None => {
                    self.charge(steps.count)?;
                    places.insert(labels.clone(), groups.len());
                    groups.push((labels, false, Folded::start(folding, steps.count)));
                    groups.len() - 1
                }
            };
            let (labels, drops_name, folded) = &mut groups[place];
            *drops_name |= row.drops_name && !labels.metric_name().is_empty();
            folded.add(&row.values);
            Ok(())
        })?;
        let rows = groups.into_iter().map(|(labels, drops_name, folded)| Row {
            labels,
            drops_name,
            values: folded.finish(),
        });
        Ok(rows.collect())
    }

    fn aggregation_parameters(
        &self,
        operation: Aggregation,
        parameter: &Expr,
        steps: &Steps,
    ) -> Result<Vec<f64>, QueryError> {
        let values = self.scalar(parameter, steps)?;
        match operation {
            Aggregation::Quantile => self.warn_of_quantiles(parameter, &values),
            Aggregation::LimitRatio => {
                for value in &values {
                    if value.is_nan() {
                        return Err(QueryError::execution("Ratio value is NaN"));
                    }
                    let capped = value.clamp(-1.0, 1.0);
                    if capped != *value {
                        let (got, capped) = (shortest(*value), shortest(capped));
                        let message = format!(
                            "ratio value should be between -1 and 1, got {got}, capping to {capped}"
                        );
                        self.warn(parameter, message);
                    }
                }
            }
            _ => {
                for value in &values {
                    if value.is_nan() {
                        return Err(QueryError::execution("Parameter value is NaN"));
                    }
                    if value.abs() >= i64::MAX as f64 {
                        let verb = if *value > 0.0 {
                            "overflows"
                        } else {
                            "underflows"
                        };
                        return Err(QueryError::Execution(format!(
                            "Scalar value {} {verb} int64",
                            shortest(*value)
                        )));
                    }
                }
            }
        }
        Ok(values)
    }

    fn count_values(&self, aggregate: &Aggregate, steps: &Steps) -> Result<Vec<Row>, QueryError> {
        let Some(parameter) = &aggregate.parameter else {
            return Err(QueryError::execution("expected a label name"));
        };
        let label = label_name(parameter, "invalid label name").map_err(|error| match error {
            // Prometheus says which without a colon.
            QueryError::Execution(text) => {
                QueryError::Execution(text.replacen("name: ", "name ", 1))
            }
            other => other,
        })?;
        let mut grouping = aggregate.grouping.clone();
        if !grouping.without && !grouping.labels.contains(&label) {
            grouping.labels.push(label.clone());
        }
        let mut counts: BTreeMap<Labels, Row> = BTreeMap::new();
        for row in self.vector(&aggregate.expr, steps)? {
            for (step, value) in row.values.iter().enumerate() {
                if is_absent(*value) {
                    continue;
                }
                let labels = group_labels(&row.labels.with(&label, &plain(*value)), &grouping);
                let count = match counts.entry(labels) {
                    std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                    std::collections::btree_map::Entry::Vacant(new) => {
                        let labels = new.key().clone();
                        new.insert(Row {
                            labels,
                            drops_name: false,
                            values: self.room(steps)?,
                        })
                    }
                };
                let drops_name = row.drops_name
                    && !count.labels.metric_name().is_empty()
                    && label != METRIC_NAME;
                count.drops_name |= drops_name;
                let count = &mut count.values[step];
                *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
            }
        }
        Ok(counts.into_values().collect())
    }
}

fn group_labels(labels: &Labels, grouping: &Grouping) -> Labels {
    let is_listed = |name: &str| grouping.labels.iter().any(|listed| listed == name);
    if grouping.without {
        labels.without(|name| name == METRIC_NAME || is_listed(name))
    } else {
        labels.without(|name| !is_listed(name))
    }
}

/// The groups of rows, in the order of their first.
fn group(rows: &[Row], grouping: &Grouping) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        let labels = group_labels(&row.labels, grouping);
        let place = *places.entry(labels.clone()).or_insert_with(|| {
            groups.push(Group {
                labels,
                drops_name: false,
                members: Vec::new(),
            });
            groups.len() - 1
        });
        let group = &mut groups[place];
        group.members.push(at);
        group.drops_name |= row.drops_name && !group.labels.metric_name().is_empty();
    }
    groups
}

/// Fills in the quantiles of a group's members at each step.
fn quantiles(rows: &[Row], members: &[usize], parameters: &[f64], values: &mut [f64]) {
    let mut present: Vec<f64> = Vec::with_capacity(members.len());
    for (step, value) in values.iter_mut().enumerate() {
        present.clear();
        present.extend(
            members
                .iter()
                .map(|member| rows[*member].values[step])
                .filter(|value| !is_absent(*value)),
        );
        if !present.is_empty() {
            *value = quantile(parameters[step], &mut present);
        }
    }
}

/// The members that an aggregation picks at each step, as they were.
fn choose_members(
    operation: Aggregation,
    rows: &[Row],
    groups: &[Group],
    parameters: &[f64],
    steps: &Steps,
) -> Vec<Row> {
    let mut chosen: Vec<Row> = Vec::new();
    for group in groups {
        // Which members were picked when, in the order in which they were picked first.
        let mut picks: Vec<(usize, Vec<f64>)> = Vec::new();
        let mut places: HashMap<usize, usize> = HashMap::new();
        for (step, parameter) in parameters.iter().enumerate() {
            let present = group
                .members
                .iter()
                .map(|member| (*member, rows[*member].values[step]));
            let mut present: Vec<(usize, f64)> =
                present.filter(|(_, value)| !is_absent(*value)).collect();
            pick(operation, rows, *parameter, &mut present);
            for (member, value) in present {
                let place = *places.entry(member).or_insert_with(|| {
                    picks.push((member, vec![absent(); steps.count]));
                    picks.len() - 1
                });
                picks[place].1[step] = value;
            }
        }
        chosen.extend(picks.into_iter().map(|(member, values)| Row {
            labels: rows[member].labels.clone(),
            drops_name: rows[member].drops_name,
            values,
        }));
    }
    chosen
}

fn pick(operation: Aggregation, rows: &[Row], parameter: f64, present: &mut Vec<(usize, f64)>) {
    let by_value = |order: fn(f64, f64) -> Ordering| {
        move |left: &(usize, f64), right: &(usize, f64)| match (left.1.is_nan(), right.1.is_nan()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => order(left.1, right.1),
        }
    };
    match operation {
        Aggregation::Topk => present.sort_by(by_value(|left, right| right.total_cmp(&left))),
        Aggregation::Bottomk => present.sort_by(by_value(|left, right| left.total_cmp(&right))),
        Aggregation::LimitRatio => {
            let ratio = parameter.clamp(-1.0, 1.0);
            present.retain(|(member, _)| {
                let place = place_of(&rows[*member].labels);
                if ratio >= 0.0 {
                    place < ratio
                } else {
                    place >= 1.0 + ratio
                }
            });
            return;
        }
        _ => {}
    }
    let count = if parameter < 1.0 {
        0
    } else {
        parameter as usize
    };
    present.truncate(count);
}

/// A place from 0 to below 1 that depends on the labels alone, evenly spread.
fn place_of(labels: &Labels) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (name, value) in labels.iter() {
        for byte in name
            .bytes()
            .chain([0xff])
            .chain(value.bytes())
            .chain([0xff])
        {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
    // Spreads the last bytes over all bits.
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}
