//! The statements that bring one table of the target up to date.

use super::arrays::array_type;
use crate::plan::{Collation, FOLLOWED_ROWID, Plan, RowKey, TablePlan, TargetType, quote_name};

/// What tells the target's rows of a table apart, and the statements over them.
///
/// Every statement takes arrays, one a column: of the key for deletes and reads, of the followed
/// rowid (where there is one) and the copied columns for inserts.
#[derive(Debug, Clone)]
pub(super) struct TargetTable {
    /// The key's types, part by part.
    pub(super) key_types: Vec<TargetType>,
    /// The columns of the plan that the key's parts are; none for the followed rowid.
    pub(super) key_columns: Vec<Option<usize>>,
    /// The inserted columns' types.
    pub(super) row_types: Vec<TargetType>,
    pub(super) delete: String,
    pub(super) insert: String,
    /// `FROM` and `ON` of a join of the given keys, `k` with their number `n` from 1, and the rows
    /// that have them, `t`.
    pub(super) keyed_rows: String,
    /// The name with its schema, quoted.
    pub(super) qualified: String,
}

impl TargetTable {
    pub(super) fn new(plan: &Plan, table: &TablePlan) -> Self {
        let qualified = plan.qualified(table);
        let (key_columns, key_names, key_types) = key(table);
        let mut row_names: Vec<String> = Vec::new();
        let mut row_types = Vec::new();
        if table.needs_followed_rowid() {
            row_names.push(quote_name(FOLLOWED_ROWID));
            row_types.push(TargetType::BigInt);
        }
        for column in table.copied().map(|at| &table.columns[at]) {
            row_names.push(quote_name(&column.target));
            row_types.push(column.type_.clone());
        }
        let key_aliases: Vec<String> = (1..=key_types.len()).map(|at| format!("k{at}")).collect();
        let key_arrays = arrays(&key_types);
        let same_key: Vec<String> = (0..key_types.len())
            .map(|at| same(table, key_columns[at], &key_names[at], &key_aliases[at]))
            .collect();
        let same_key = same_key.join(" AND ");
        Self {
            delete: format!(
                "DELETE FROM {qualified} AS t USING unnest({key_arrays}) AS k ({}) WHERE {same_key}",
                key_aliases.join(", ")
            ),
            insert: format!(
                "INSERT INTO {qualified} ({}) SELECT * FROM unnest({})",
                row_names.join(", "),
                arrays(&row_types)
            ),
            keyed_rows: format!(
                "FROM unnest({key_arrays}) WITH ORDINALITY AS k ({}, n) LEFT JOIN {qualified} AS t ON {same_key}",
                key_aliases.join(", ")
            ),
            key_types,
            key_columns,
            row_types,
            qualified,
        }
    }
}

/// The key's columns by position, by quoted name, and their types.
fn key(table: &TablePlan) -> (Vec<Option<usize>>, Vec<String>, Vec<TargetType>) {
    let positions: Vec<Option<usize>> = match &table.key {
        RowKey::Rowid { column, .. } => vec![*column],
        RowKey::PrimaryKey(parts) => parts.iter().map(|&at| Some(at)).collect(),
    };
    let name = |at: &Option<usize>| match at {
        Some(at) => quote_name(&table.columns[*at].target),
        None => quote_name(FOLLOWED_ROWID),
    };
    let type_ = |at: &Option<usize>| match at {
        Some(at) => table.columns[*at].type_.clone(),
        None => TargetType::BigInt,
    };
    let names = positions.iter().map(name).collect();
    let types = positions.iter().map(type_).collect();
    (positions, names, types)
}

/// `$1::bigint[], $2::text[], …`
fn arrays(types: &[TargetType]) -> String {
    let array = |(at, type_): (usize, &TargetType)| format!("${}::{}", at + 1, array_type(type_));
    types
        .iter()
        .enumerate()
        .map(array)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Whether a row's part of the key is the given one, byte for byte. The expression that the
/// target's key is over comes first, where that is not the plain column, so that its index is used.
fn same(table: &TablePlan, position: Option<usize>, name: &str, given: &str) -> String {
    let column = position.map(|at| &table.columns[at]);
    let Some(column) = column.filter(|column| column.type_.is_text()) else {
        return format!("t.{name} = k.{given}");
    };
    let bytes = format!("t.{name} COLLATE \"C\" = k.{given} COLLATE \"C\"");
    match column.collation {
        Collation::Binary => bytes,
        Collation::NoCase => {
            format!("lower(t.{name} COLLATE \"C\") = lower(k.{given} COLLATE \"C\") AND {bytes}")
        }
        Collation::Rtrim => format!("rtrim(t.{name}, ' ') = rtrim(k.{given}, ' ') AND {bytes}"),
    }
}
