//! Which type takes every stored value unchanged.

mod affinity;
mod class;
mod misfit;
mod shape;

use super::{
    Cast, Conversion, DateTimeFormat, Doubt, DoubtKind, Fraction, Separator, TargetType, Zone,
};
use crate::profile::{ColumnProfile, Tally, Watch};
use crate::schema::{Column, Table};

pub(super) use affinity::mixed_type;
use affinity::{Affinity, affinity};

/// A column's type, how values get there, and what is doubtful about it.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) type_: TargetType,
    pub(super) conversion: Conversion,
    pub(super) doubts: Vec<Doubt>,
}

/// What to look for in a column's values.
pub(super) fn watch(column: &Column<'_>, cast: Option<&Cast>) -> Watch {
    match cast.map(|cast| &cast.type_) {
        Some(TargetType::Boolean) => Watch::Boolean,
        Some(TargetType::Uuid) => Watch::Uuid,
        Some(TargetType::Json | TargetType::Jsonb) => Watch::Json,
        Some(_) => Watch::Plain,
        None => Watch::of_declared(&column.declared),
    }
}

/// How a cast reads a column.
pub(super) fn cast_conversion(
    table: &Table<'_>,
    column: &Column<'_>,
    profile: &ColumnProfile,
    cast: &Cast,
) -> Conversion {
    let decider = Decider {
        table,
        column,
        profile,
        indexed: false,
        mixed: false,
    };
    decider.cast_conversion(cast)
}

struct Decider<'d> {
    table: &'d Table<'d>,
    column: &'d Column<'d>,
    profile: &'d ColumnProfile,
    /// Whether an index orders by the column.
    indexed: bool,
    /// Whether columns of this declared type hold integers and texts.
    mixed: bool,
}

/// Decides a column.
pub(super) fn decide(
    table: &Table<'_>,
    column: &Column<'_>,
    profile: &ColumnProfile,
    cast: Option<&Cast>,
    indexed: bool,
    mixed: &[String],
) -> Decision {
    let decider = Decider {
        table,
        column,
        profile,
        indexed,
        mixed: mixed.contains(&column.declared.to_ascii_uppercase()),
    };
    let (type_, conversion, mut doubts) = match cast {
        Some(cast) => (
            cast.type_.clone(),
            decider.cast_conversion(cast),
            Vec::new(),
        ),
        None => decider.choose(),
    };
    doubts.extend(decider.misfits(&type_, &conversion));
    Decision {
        type_,
        conversion,
        doubts,
    }
}

type Choice = (TargetType, Conversion, Vec<Doubt>);

impl Decider<'_> {
    fn choose(&self) -> Choice {
        let watch = Watch::of_declared(&self.column.declared);
        let mut doubts = Vec::new();
        if self.mixed {
            let message = "is of a type whose columns hold integers and texts: it becomes text, integers by their digits";
            let doubt = self.doubt(
                DoubtKind::Type,
                message.to_owned(),
                &self.profile.texts,
                Some(self.cast_to("bigint")),
            );
            return (TargetType::Text, Conversion::TextFromAny, vec![doubt]);
        }
        if self.profile.values() == 0 {
            return self.by_word(watch);
        }
        match self.by_shape(watch) {
            Ok(Some(choice)) => return choice,
            Ok(None) => {}
            Err(doubt) => doubts.push(*doubt),
        }
        let (type_, conversion, more) = self.by_class(watch);
        doubts.extend(more);
        (type_, conversion, doubts)
    }

    /// Nothing is stored: the declared type is taken at its word.
    fn by_word(&self, watch: Watch) -> Choice {
        let plain = DateTimeFormat {
            separator: Separator::Space,
            seconds: true,
            fraction: Fraction::None,
            zone: Zone::None,
        };
        let (type_, conversion) = match watch {
            Watch::Boolean => {
                let conversion = match self.words_of_default() {
                    Some((true_text, false_text)) => Conversion::BooleanFromText {
                        true_text,
                        false_text,
                    },
                    None => Conversion::BooleanFromInteger,
                };
                (TargetType::Boolean, conversion)
            }
            Watch::Date => (TargetType::Date, Conversion::DateFromText),
            Watch::Time => (TargetType::Time, Conversion::TimeFromText(plain)),
            Watch::DateTime => (TargetType::Timestamp, Conversion::TimestampFromText(plain)),
            Watch::Uuid => (
                TargetType::Uuid,
                Conversion::UuidFromText {
                    uppercase: false,
                    hyphens: true,
                },
            ),
            Watch::Json => return (self.json_type(), self.json_conversion(), Vec::new()),
            Watch::Decimal => {
                return (
                    self.declared_numeric(),
                    Conversion::NumericFromNumber,
                    Vec::new(),
                );
            }
            Watch::Plain => {
                let type_ = match affinity(&self.column.declared, self.table.strict) {
                    Affinity::Integer => TargetType::BigInt,
                    Affinity::Text => TargetType::Text,
                    Affinity::Blob if self.column.declared.is_empty() => TargetType::Text,
                    Affinity::Blob => TargetType::Bytea,
                    Affinity::Real => TargetType::DoublePrecision,
                    Affinity::Numeric => TargetType::Numeric {
                        precision: None,
                        scale: 0,
                    },
                };
                let numeric = matches!(type_, TargetType::Numeric { .. });
                let conversion = if numeric {
                    Conversion::NumericFromNumber
                } else {
                    Conversion::Exact
                };
                return (type_, conversion, Vec::new());
            }
        };
        let message = format!(
            "holds no value yet and is declared {}: it becomes {type_}",
            self.column.declared
        );
        let instead = Some(self.cast_to("text"));
        (
            type_,
            conversion,
            vec![self.doubt(DoubtKind::Type, message, &Tally::default(), instead)],
        )
    }

    fn cast_to(&self, type_: &str) -> String {
        let plain = |name: &str| !name.contains(['.', '=', '"', ' ']);
        let quote = |name: &str| {
            if plain(name) {
                name.to_owned()
            } else {
                super::quote_name(name)
            }
        };
        let names = format!(
            "{}.{}={type_}",
            quote(&self.table.name),
            quote(&self.column.name)
        );
        format!("--cast {}", super::quote_literal(&names))
    }

    fn doubt(
        &self,
        kind: DoubtKind,
        message: String,
        evidence: &Tally,
        instead: Option<String>,
    ) -> Doubt {
        Doubt {
            kind,
            table: Some(self.table.name.clone()),
            column: Some(self.column.name.clone()),
            message,
            rows: (evidence.count > 0).then_some(evidence.count),
            first_rows: evidence.first.clone(),
            instead,
        }
    }
}
