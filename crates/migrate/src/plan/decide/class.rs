//! Types chosen by the storage classes of what is stored.

use super::affinity::{Affinity, affinity};
use super::{Choice, Decider};
use crate::plan::{Conversion, DoubtKind, TargetType};
use crate::profile::{Tally, Watch};

impl Decider<'_> {
    /// By the classes of what is stored, beside the affinity.
    pub(super) fn by_class(&self, watch: Watch) -> Choice {
        let profile = self.profile;
        let numbers = profile.integers.count + profile.reals.count;
        let (texts, blobs, all) = (profile.texts.count, profile.blobs.count, profile.values());
        let affinity = affinity(&self.column.declared, self.table.strict);
        let against = |type_: &TargetType, tally: &Tally| {
            let declared = if self.column.declared.is_empty() {
                "without a type"
            } else {
                &self.column.declared
            };
            let message = format!(
                "is declared {declared} but everything stored is {}: it becomes {type_}",
                class_of(type_)
            );
            self.doubt(DoubtKind::Type, message, tally, None)
        };
        if texts == all {
            let doubtful = match affinity {
                Affinity::Text => false,
                Affinity::Blob => !self.column.declared.is_empty() && !self.table.strict,
                Affinity::Integer | Affinity::Real => true,
                Affinity::Numeric => watch == Watch::Decimal,
            };
            let doubts = if doubtful {
                vec![against(&TargetType::Text, &profile.texts)]
            } else {
                Vec::new()
            };
            return (TargetType::Text, Conversion::Exact, doubts);
        }
        if blobs == all {
            let doubts = if affinity == Affinity::Blob {
                Vec::new()
            } else {
                vec![against(&TargetType::Bytea, &profile.blobs)]
            };
            return (TargetType::Bytea, Conversion::Exact, doubts);
        }
        if texts + blobs == all && affinity == Affinity::Blob {
            let message =
                "holds both text and bytes: it becomes bytea, text as its UTF-8 bytes".to_owned();
            let doubt = self.doubt(
                DoubtKind::Type,
                message,
                &profile.texts,
                Some(self.cast_to("text USING utf8")),
            );
            return (
                TargetType::Bytea,
                Conversion::BytesFromTextOrBlob,
                vec![doubt],
            );
        }
        match affinity {
            Affinity::Text => (TargetType::Text, Conversion::Exact, Vec::new()),
            // What is fewer is quarantined.
            Affinity::Blob if texts > numbers && texts >= blobs => {
                (TargetType::Text, Conversion::Exact, Vec::new())
            }
            Affinity::Blob if blobs > numbers => (TargetType::Bytea, Conversion::Exact, Vec::new()),
            // A single stray number among dates or words does not make the column one of numbers.
            // By NUMERIC affinity no text looks like a number: digits among texts are numbers.
            Affinity::Numeric if texts > numbers && blobs == 0 && profile.infinite.count == 0 => {
                let message = "holds numbers among texts: it becomes text, numbers by their digits"
                    .to_owned();
                let doubt = self.doubt(DoubtKind::Type, message, &profile.integers, None);
                (TargetType::Text, Conversion::TextFromAny, vec![doubt])
            }
            Affinity::Numeric if texts > numbers => {
                (TargetType::Text, Conversion::Exact, Vec::new())
            }
            Affinity::Integer if blobs == 0 && texts * 10 >= all => {
                let message = "holds integers and texts: it becomes text, integers by their digits"
                    .to_owned();
                let instead = Some(self.cast_to("bigint"));
                let doubt = self.doubt(DoubtKind::Type, message, &profile.texts, instead);
                (TargetType::Text, Conversion::TextFromAny, vec![doubt])
            }
            Affinity::Integer | Affinity::Real | Affinity::Numeric | Affinity::Blob => {
                self.number(affinity, watch)
            }
        }
    }

    fn number(&self, affinity: Affinity, watch: Watch) -> Choice {
        let profile = self.profile;
        if watch == Watch::Decimal && profile.infinite.count == 0 {
            let declared = self.declared_numeric();
            let fits = match declared {
                TargetType::Numeric {
                    precision: Some(precision),
                    scale,
                } => {
                    profile.digits.0 <= u32::from(precision - scale)
                        && profile.digits.1 <= u32::from(scale)
                }
                _ => true,
            };
            if fits {
                return (declared, Conversion::NumericFromNumber, Vec::new());
            }
            let message = format!(
                "is declared {} but holds numbers of {} digits before and {} after the point: it becomes numeric",
                self.column.declared, profile.digits.0, profile.digits.1
            );
            let doubt = self.doubt(DoubtKind::Type, message, &Tally::default(), None);
            let free = TargetType::Numeric {
                precision: None,
                scale: 0,
            };
            return (free, Conversion::NumericFromNumber, vec![doubt]);
        }
        match (profile.integers.count, profile.reals.count) {
            (_, 0) if affinity != Affinity::Real => {
                (TargetType::BigInt, Conversion::Exact, Vec::new())
            }
            (0, _) => {
                let doubts = match affinity {
                    Affinity::Integer => {
                        let message =
                            "is declared an integer but holds reals: it becomes double precision"
                                .to_owned();
                        vec![self.doubt(DoubtKind::Type, message, &profile.reals, None)]
                    }
                    _ => Vec::new(),
                };
                (TargetType::DoublePrecision, Conversion::Exact, doubts)
            }
            _ => {
                let fits_double = profile.beyond_double.count == 0 || profile.infinite.count > 0;
                let (type_, conversion) = if fits_double {
                    (TargetType::DoublePrecision, Conversion::DoubleFromNumber)
                } else {
                    (
                        TargetType::Numeric {
                            precision: None,
                            scale: 0,
                        },
                        Conversion::NumericFromNumber,
                    )
                };
                let message = format!(
                    "holds both integers and reals: it becomes {type_}, which takes them all"
                );
                let doubts = match affinity {
                    Affinity::Real => Vec::new(),
                    _ => vec![self.doubt(DoubtKind::Type, message, &profile.reals, None)],
                };
                (type_, conversion, doubts)
            }
        }
    }

    /// `numeric(p,s)` as declared, where PostgreSQL knows such a type.
    pub(super) fn declared_numeric(&self) -> TargetType {
        let inside = self
            .column
            .declared
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'));
        let numbers: Option<Vec<u16>> = inside.map(|(inside, _)| {
            inside
                .split(',')
                .map_while(|number| number.trim().parse().ok())
                .collect()
        });
        match numbers.as_deref() {
            Some([precision @ 1..=1000]) => TargetType::Numeric {
                precision: Some(*precision),
                scale: 0,
            },
            Some([precision @ 1..=1000, scale]) if scale <= precision => TargetType::Numeric {
                precision: Some(*precision),
                scale: *scale,
            },
            _ => TargetType::Numeric {
                precision: None,
                scale: 0,
            },
        }
    }
}

fn class_of(type_: &TargetType) -> &'static str {
    match type_ {
        TargetType::Text => "text",
        _ => "bytes",
    }
}
