use sqlite3_parser::ast::Expr;

use super::sql::{Collated, Sql, Ty};
use super::words::Words;
use crate::plan::{Collation, ColumnPlan, Conversion, TargetType, quote_name};

/// The tables and views that a statement can name.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    /// The schema they are in, in the target.
    pub(crate) schema: String,
    /// All of them.
    pub(crate) relations: Vec<Relation>,
}

/// A table or view.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    /// Its name in the source.
    pub(crate) source: String,
    /// Its name in the target.
    pub(crate) target: String,
    pub(crate) columns: Vec<CatalogColumn>,
    /// The column that is the rowid.
    pub(crate) rowid: Option<usize>,
    /// The columns of the primary key that it has in the target; empty where it has none.
    pub(crate) primary_key: Vec<usize>,
}

/// A column of a table or view.
#[derive(Debug, Clone)]
pub(crate) struct CatalogColumn {
    /// Its name in the source.
    pub(crate) source: String,
    /// Its name in the target.
    pub(crate) target: String,
    pub(crate) ty: Ty,
    pub(crate) collation: Collation,
    /// Whether it is computed, so that nothing can be written to it.
    pub(crate) generated: bool,
    /// Whether a real would not be rounded when written to it.
    pub(crate) type_: Option<TargetType>,
}

impl Catalog {
    /// Finds a table or view by its name in the source.
    pub(crate) fn find(&self, name: &str) -> Option<&Relation> {
        self.relations
            .iter()
            .find(|relation| relation.source.eq_ignore_ascii_case(name))
    }

    /// A relation's name in the target with its schema, quoted.
    pub(crate) fn qualified(&self, relation: &Relation) -> String {
        format!(
            "{}.{}",
            quote_name(&self.schema),
            quote_name(&relation.target)
        )
    }
}

impl CatalogColumn {
    /// What expressions see of a planned column.
    pub(crate) fn of_plan(plan: &ColumnPlan) -> Self {
        let ty = match (&plan.conversion, &plan.type_) {
            (Conversion::BooleanFromInteger, _) => Ty::Bool,
            (
                Conversion::BooleanFromText {
                    true_text,
                    false_text,
                },
                _,
            ) => Words::new(true_text, false_text).map_or(Ty::Opaque, Ty::Words),
            (
                Conversion::Exact,
                TargetType::SmallInt | TargetType::Integer | TargetType::BigInt,
            ) => Ty::Int,
            (Conversion::IntegerFromNumber, _) => Ty::Int,
            (
                Conversion::Exact | Conversion::DoubleFromNumber,
                TargetType::DoublePrecision | TargetType::Real,
            ) => Ty::Real,
            (Conversion::NumericFromNumber, _) => Ty::Numeric,
            (
                Conversion::Exact | Conversion::TextFromUtf8,
                TargetType::Text | TargetType::VarChar(_),
            ) => Ty::Text,
            (Conversion::TextFromAny, TargetType::Text) if is_mixed(&plan.declared) => Ty::Mixed,
            (Conversion::Exact, TargetType::Bytea) => Ty::Blob,
            (Conversion::DateFromText, TargetType::Date) => Ty::Date,
            (Conversion::TimeFromText(format), _) => Ty::Time(*format),
            (Conversion::TimestampFromText(format), TargetType::Timestamp) => {
                Ty::Timestamp(*format)
            }
            (Conversion::TimestampFromText(format), TargetType::TimestampTz) => {
                Ty::TimestampTz(*format)
            }
            (Conversion::UuidFromText { uppercase, hyphens }, _) => Ty::Uuid {
                uppercase: *uppercase,
                hyphens: *hyphens,
            },
            (Conversion::JsonFromText, TargetType::Json) => Ty::Json,
            _ => Ty::Opaque,
        };
        Self {
            source: plan.source.clone(),
            target: plan.target.clone(),
            ty,
            collation: plan.collation,
            generated: plan.generated.is_some(),
            type_: Some(plan.type_.clone()),
        }
    }

    /// The column as an expression, after a prefix such as `"t".`.
    pub(super) fn read(&self, prefix: &str) -> Sql {
        let text = format!("{prefix}{}", quote_name(&self.target));
        let is_text = self.ty == Ty::Text;
        Sql {
            column: true,
            collated: if is_text {
                Collated::Column(self.collation)
            } else {
                Collated::No
            },
            nondeterministic: is_text && self.collation == Collation::NoCase,
            ..Sql::atom(text, self.ty)
        }
    }
}

/// Whether a column of the declared type never holds a text that looks like a number.
fn is_mixed(declared: &str) -> bool {
    matches!(super::types::affinity(declared), Ty::Int | Ty::Numeric)
}

/// One table of a FROM clause, or NEW or OLD.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// The name by which the statement calls it; empty when it has none.
    pub(crate) name: String,
    /// What stands before a column of it, such as `"t".`.
    pub(crate) prefix: String,
    pub(crate) columns: Vec<CatalogColumn>,
    pub(crate) rowid: Option<usize>,
    /// The columns of its primary key; empty where it has none.
    pub(crate) primary_key: Vec<usize>,
    /// Columns that a USING or NATURAL join merged into an earlier table's.
    pub(crate) merged: Vec<String>,
    /// Whether columns are found only with the name before them: NEW and OLD.
    pub(crate) only_qualified: bool,
}

/// The names that can be seen at some place of a statement.
#[derive(Clone, Default)]
pub(crate) struct Scope<'a> {
    pub(crate) outer: Option<&'a Scope<'a>>,
    pub(crate) sources: Vec<Source>,
    /// Names given to result columns, which SQLite lets other clauses use.
    pub(crate) aliases: Vec<(String, &'a Expr<'a>)>,
    /// Names of common table expressions, with their columns.
    pub(crate) named: Vec<Relation>,
}

impl<'a> Scope<'a> {
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// The columns of one table, without anything before them.
    pub(crate) fn of_table(table: &Relation) -> Self {
        Self {
            sources: vec![Source::of(table, &table.source, "")],
            ..Self::default()
        }
    }

    pub(crate) fn within(outer: &'a Scope<'a>) -> Self {
        Self {
            outer: Some(outer),
            ..Self::default()
        }
    }

    /// Finds a common table expression.
    pub(crate) fn named(&self, name: &str) -> Option<&Relation> {
        let own = self
            .named
            .iter()
            .rev()
            .find(|relation| relation.source.eq_ignore_ascii_case(name));
        own.or_else(|| self.outer.and_then(|outer| outer.named(name)))
    }
}

impl Source {
    pub(crate) fn of(relation: &Relation, name: &str, prefix: &str) -> Self {
        Self {
            name: name.to_owned(),
            prefix: prefix.to_owned(),
            columns: relation.columns.clone(),
            rowid: relation.rowid,
            primary_key: relation.primary_key.clone(),
            merged: Vec::new(),
            only_qualified: false,
        }
    }

    /// Its columns as expressions.
    pub(super) fn read_columns(&self) -> impl Iterator<Item = String> {
        (self.columns.iter()).map(|column| column.read(&self.prefix).text)
    }

    /// Whether grouping by these expressions makes one group of each row at most.
    pub(super) fn is_told_apart_by(&self, groups: &[String]) -> bool {
        let key = |&at: &usize| self.columns[at].read(&self.prefix).text;
        !self.primary_key.is_empty()
            && (self.primary_key.iter().map(key)).all(|part| groups.contains(&part))
    }

    /// Finds a column, or the rowid by one of its names.
    pub(crate) fn column(&self, name: &str) -> Option<&CatalogColumn> {
        let named = self
            .columns
            .iter()
            .find(|column| column.source.eq_ignore_ascii_case(name));
        let is_rowid = ["rowid", "_rowid_", "oid"]
            .iter()
            .any(|alias| alias.eq_ignore_ascii_case(name));
        named.or_else(|| {
            self.rowid
                .filter(|_| is_rowid)
                .map(|position| &self.columns[position])
        })
    }
}

impl CatalogColumn {
    /// A column of a view.
    pub(crate) fn of_view(source: &str, target: String, value: &Sql) -> Self {
        let collation = match value.collated {
            Collated::Column(collation) => collation,
            Collated::No | Collated::Explicit(_) => Collation::Binary,
        };
        Self {
            source: source.to_owned(),
            target,
            ty: value.ty,
            collation,
            generated: false,
            type_: None,
        }
    }
}
