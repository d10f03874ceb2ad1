//! `label_replace` and `label_join`: series under other labels.

use crate::promql::error::QueryError;
use crate::promql::syntax::{Call, Expr, ExprKind};
use crate::series_store::{METRIC_NAME, Pattern, quote_bytes};

use super::{Evaluator, Row, Steps, merge};

impl Evaluator<'_> {
    pub(super) fn label_replace(&self, call: &Call, steps: &Steps) -> Result<Vec<Row>, QueryError> {
        let target = label_name(
            &call.arguments[1],
            "invalid destination label name in label_replace()",
        )?;
        let template = text(&call.arguments[2]);
        let source = text(&call.arguments[3]);
        let written = text(&call.arguments[4]);
        let pattern = Pattern::new(&written).map_err(|_| {
            QueryError::Execution(format!(
                "invalid regular expression in label_replace(): {written}"
            ))
        })?;
        let mut rows = self.vector(&call.arguments[0], steps)?;
        for row in &mut rows {
            if let Some(value) = pattern.expand(row.labels.get(&source), &template) {
                set_label(row, &target, &value);
            }
        }
        merge(rows)
    }

    pub(super) fn label_join(&self, call: &Call, steps: &Steps) -> Result<Vec<Row>, QueryError> {
        let target = label_name(
            &call.arguments[1],
            "invalid destination label name in label_join()",
        )?;
        let separator = text(&call.arguments[2]);
        let sources = call.arguments[3..]
            .iter()
            .map(|source| label_name(source, "invalid source label name in label_join()"))
            .collect::<Result<Vec<String>, QueryError>>()?;
        let mut rows = self.vector(&call.arguments[0], steps)?;
        for row in &mut rows {
            let values: Vec<&str> = sources
                .iter()
                .map(|source| row.labels.get(source))
                .collect();
            let joined = values.join(&separator);
            set_label(row, &target, &joined);
        }
        merge(rows)
    }
}

fn set_label(row: &mut Row, name: &str, value: &str) {
    row.labels = row.labels.with(name, value);
    if name == METRIC_NAME {
        // The new name is meant to stay.
        row.drops_name = false;
    }
}

/// The text of a string argument.
pub(super) fn text(argument: &Expr) -> String {
    match &argument.bare().kind {
        ExprKind::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}

/// The text of a string argument that must be able to name a label: UTF-8, and not empty.
pub(super) fn label_name(argument: &Expr, complaint: &str) -> Result<String, QueryError> {
    let ExprKind::Text(bytes) = &argument.bare().kind else {
        return Err(QueryError::execution(complaint));
    };
    match std::str::from_utf8(bytes) {
        Ok(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => {
            let quoted = quote_bytes(bytes);
            Err(QueryError::Execution(format!("{complaint}: {quoted}")))
        }
    }
}
