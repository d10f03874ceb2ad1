//! Label selectors and field selectors, from query strings and from objects.
//!
//! A [`LabelSelector`] and a [`FieldSelector`] are lists of requirements that must all hold.
//! The grammar of label selectors' query strings is in `selector/query.rs`.

mod field;
mod object;
mod query;

use std::fmt;

use crate::error::{FieldError, FieldPath};
use crate::labels::Labels;
use crate::names;

pub use field::{FieldRequirement, FieldSelector};

/// Why a selector was refused. Displays as Kubernetes words it, for a 400 answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(String);

/// How a requirement compares a label's value with its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `key=value`.
    Equals,
    /// `key==value`.
    DoubleEquals,
    /// `key!=value`; also holds where the label is not set.
    NotEquals,
    /// `key in (a,b)`.
    In,
    /// `key notin (a,b)`; also holds where the label is not set.
    NotIn,
    /// `key`.
    Exists,
    /// `!key`.
    DoesNotExist,
    /// `key>number`.
    GreaterThan,
    /// `key<number`.
    LessThan,
}

/// One condition of a [`LabelSelector`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Requirement {
    key: String,
    operator: Operator,
    /// Sorted, each once.
    values: Vec<String>,
}

// === impl Requirement ===

impl Requirement {
    /// A condition on the label `key`, checked as Kubernetes checks it: the errors' paths start
    /// at the requirement itself.
    pub fn new(
        key: &str,
        operator: Operator,
        mut values: Vec<String>,
    ) -> Result<Self, Vec<FieldError>> {
        let path = FieldPath::default();
        let mut errors = Vec::new();
        if let Some(error) = key_error(key, &path.child("key")) {
            errors.push(error);
        }
        values.sort();
        values.dedup();
        let values_path = path.child("values");
        let mut wrong_count = |detail: &str| {
            errors.push(FieldError::invalid(&values_path, values.clone(), detail));
        };
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                wrong_count("for 'in', 'notin' operators, values set can't be empty");
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals
                if values.len() != 1 =>
            {
                wrong_count("exact-match compatibility requires one single value");
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                wrong_count("values set must be empty for exists and does not exist");
            }
            Operator::GreaterThan | Operator::LessThan => {
                if values.len() != 1 {
                    wrong_count("for 'Gt', 'Lt' operators, exactly one value is required");
                }
                for (index, value) in values.iter().enumerate() {
                    if value.parse::<i64>().is_err() {
                        errors.push(FieldError::invalid(
                            values_path.index(index),
                            value.as_str(),
                            "for 'Gt', 'Lt' operators, the value must be an integer",
                        ));
                    }
                }
            }
            _ => {}
        }
        for (index, value) in values.iter().enumerate() {
            let faults = names::label_value(value);
            if !faults.is_empty() {
                let path = values_path.index(index).key(key);
                errors.push(FieldError::invalid(path, value.as_str(), faults.join("; ")));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            key: key.to_owned(),
            operator,
            values,
        })
    }

    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How the label's value is compared.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// What the label's value is compared with: sorted, each once.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether the condition holds for `labels`.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        let value = labels.value_of(&self.key);
        let listed = || value.is_some_and(|value| self.values.iter().any(|one| one == value));
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => listed(),
            Operator::NotEquals | Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let (Some(Ok(value)), Some(Ok(bound))) = (
                    value.map(str::parse::<i64>),
                    self.values.first().map(|bound| bound.parse::<i64>()),
                ) else {
                    return false;
                };
                if self.operator == Operator::GreaterThan {
                    value > bound
                } else {
                    value < bound
                }
            }
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            operator,
            values,
        } = self;
        let values = values.join(",");
        match operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// What is wrong with a label's key, if anything.
fn key_error(key: &str, path: &FieldPath) -> Option<FieldError> {
    let faults = names::label_key(key);
    (!faults.is_empty()).then(|| FieldError::invalid(path, key, faults.join("; ")))
}

/// A selection of objects by their labels. Displays as a query string.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LabelSelector {
    /// Sorted by key. `None` selects nothing, which no list of requirements can say.
    requirements: Option<Vec<Requirement>>,
}

// === impl LabelSelector ===

impl LabelSelector {
    /// Selects every object.
    pub fn everything() -> Self {
        Self {
            requirements: Some(Vec::new()),
        }
    }

    /// Selects no object.
    pub fn nothing() -> Self {
        Self { requirements: None }
    }

    /// Selects what meets all `requirements`.
    pub fn all_of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|one, other| one.key.cmp(&other.key));
        Self {
            requirements: Some(requirements),
        }
    }

    /// Selects what has all these labels; the pairs are taken as they are. Without a pair it
    /// selects everything (a Service without a selector selects nothing: its caller must know).
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let equals = |(key, value): (&str, &str)| Requirement {
            key: key.to_owned(),
            operator: Operator::Equals,
            values: vec![value.to_owned()],
        };
        Self::all_of(pairs.into_iter().map(equals).collect())
    }

    /// Whether `labels` are selected.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        let Some(requirements) = &self.requirements else {
            return false;
        };
        requirements
            .iter()
            .all(|requirement| requirement.matches(labels))
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether this is [`LabelSelector::nothing`].
    pub fn is_nothing(&self) -> bool {
        self.requirements.is_none()
    }

    /// The conditions, sorted by key; none both for everything and for nothing.
    pub fn requirements(&self) -> &[Requirement] {
        self.requirements.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements().iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}
