//! Which type takes every stored value unchanged.

use super::{
    Cast, Conversion, DateTimeFormat, Doubt, DoubtKind, Fraction, Separator, TargetType, Using,
    Zone,
};
use crate::profile::{ColumnProfile, Shape, Tally, Watch};
use crate::schema::{Column, Table};

/// A column's type, how values get there, and what is doubtful about it.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) type_: TargetType,
    pub(super) conversion: Conversion,
    pub(super) doubts: Vec<Doubt>,
}

/// The affinity that SQLite gives a declared type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

fn affinity(declared: &str, strict: bool) -> Affinity {
    let name = declared.to_ascii_uppercase();
    let has = |part: &str| name.contains(part);
    if strict && name == "ANY" {
        Affinity::Blob
    } else if has("INT") {
        Affinity::Integer
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        Affinity::Text
    } else if has("BLOB") || name.is_empty() {
        Affinity::Blob
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        Affinity::Real
    } else {
        Affinity::Numeric
    }
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

struct Decider<'d> {
    table: &'d Table<'d>,
    column: &'d Column<'d>,
    profile: &'d ColumnProfile,
    /// Whether an index orders by the column.
    indexed: bool,
    /// Whether columns of this declared type hold integers and texts.
    mixed: bool,
}

/// A declared type of INTEGER affinity that is no usual name of one, of a column that holds both
/// integers and texts, such as `INTEGER_OR_TEXT`: all columns of that type are taken alike, so that
/// keys that refer to each other have one type.
pub(super) fn mixed_type(column: &Column<'_>, profile: &ColumnProfile) -> Option<String> {
    let declared = column.declared.to_ascii_uppercase();
    let usual = declared
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .all(|word| {
            matches!(
                word,
                "" | "INTEGER"
                    | "INT"
                    | "TINYINT"
                    | "SMALLINT"
                    | "MEDIUMINT"
                    | "BIGINT"
                    | "INT2"
                    | "INT4"
                    | "INT8"
                    | "UNSIGNED"
                    | "BIG"
            ) || word.bytes().all(|byte| byte.is_ascii_digit())
        });
    let odd = affinity(&declared, false) == Affinity::Integer && !usual;
    let both = profile.texts.count > 0 && profile.blobs.count == 0;
    (odd && both).then_some(declared)
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
            Watch::Boolean => (TargetType::Boolean, Conversion::BooleanFromInteger),
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

    /// The type that the declaration promises, if every value has its shape; a doubt if some have not.
    fn by_shape(&self, watch: Watch) -> Result<Option<Choice>, Box<Doubt>> {
        let profile = self.profile;
        let texts_only = profile.texts.count == profile.values();
        match watch {
            Watch::Plain | Watch::Decimal => Ok(None),
            Watch::Boolean => {
                if profile.integers.count == profile.values() && profile.beyond_boolean.count == 0 {
                    return Ok(Some((
                        TargetType::Boolean,
                        Conversion::BooleanFromInteger,
                        Vec::new(),
                    )));
                }
                if let (true, Some((true_text, false_text))) = (texts_only, self.words()) {
                    let message = format!(
                        "stores '{true_text}' and '{false_text}' as text: they become true and false"
                    );
                    let doubt = self.doubt(
                        DoubtKind::Type,
                        message,
                        &profile.texts,
                        Some(self.cast_to("text")),
                    );
                    let conversion = Conversion::BooleanFromText {
                        true_text,
                        false_text,
                    };
                    return Ok(Some((TargetType::Boolean, conversion, vec![doubt])));
                }
                let mut odd = profile.beyond_boolean.clone();
                for tally in [&profile.reals, &profile.texts, &profile.blobs] {
                    odd.count += tally.count;
                    odd.first.extend(
                        tally
                            .first
                            .iter()
                            .take(5_usize.saturating_sub(odd.first.len()))
                            .cloned(),
                    );
                }
                let message = "is declared BOOLEAN but holds other values than 0 and 1".to_owned();
                Err(Box::new(self.doubt(
                    DoubtKind::Type,
                    message,
                    &odd,
                    Some(self.cast_to("boolean")),
                )))
            }
            Watch::Date => {
                let fits = |shape: &Shape| *shape == Shape::Date;
                if texts_only && profile.shapes.iter().all(|(shape, _)| fits(shape)) {
                    return Ok(Some((
                        TargetType::Date,
                        Conversion::DateFromText,
                        Vec::new(),
                    )));
                }
                // A DATE column that holds times in one format is a column of timestamps.
                match self.one_format() {
                    Some((type_, conversion)) => {
                        let message = format!(
                            "is declared DATE but holds times of day too: it becomes {type_}"
                        );
                        let doubt = self.doubt(DoubtKind::Type, message, &profile.texts, None);
                        Ok(Some((type_, conversion, vec![doubt])))
                    }
                    None => Err(Box::new(self.shape_doubt("date", fits))),
                }
            }
            Watch::Time | Watch::DateTime => {
                let is_time = watch == Watch::Time;
                match self.one_format() {
                    Some((type_, conversion)) if (type_ == TargetType::Time) == is_time => {
                        Ok(Some((type_, conversion, Vec::new())))
                    }
                    _ => {
                        let common = self.most_common();
                        let type_ = if is_time { "time" } else { "timestamp" };
                        Err(Box::new(
                            self.shape_doubt(type_, |shape| Some(shape) == common.as_ref()),
                        ))
                    }
                }
            }
            Watch::Uuid => {
                if profile.blobs.count == profile.values() && profile.not_sixteen_bytes.count == 0 {
                    return Ok(Some((
                        TargetType::Uuid,
                        Conversion::UuidFromBlob,
                        Vec::new(),
                    )));
                }
                let shapes: Vec<(bool, bool)> = (profile.shapes.iter())
                    .filter_map(|(shape, _)| match shape {
                        Shape::Uuid { uppercase, hyphens } => Some((*uppercase, *hyphens)),
                        _ => None,
                    })
                    .collect();
                if let (true, 1, [(uppercase, hyphens)]) =
                    (texts_only, profile.shapes.len(), shapes.as_slice())
                {
                    let conversion = Conversion::UuidFromText {
                        uppercase: *uppercase,
                        hyphens: *hyphens,
                    };
                    return Ok(Some((TargetType::Uuid, conversion, Vec::new())));
                }
                let common = self.most_common();
                Err(Box::new(self.shape_doubt("uuid", |shape| {
                    Some(shape) == common.as_ref()
                })))
            }
            Watch::Json => {
                let valid = profile
                    .shapes
                    .iter()
                    .all(|(shape, _)| *shape == Shape::Json);
                if valid && profile.blobs.count == 0 && profile.infinite.count == 0 {
                    return Ok(Some((self.json_type(), self.json_conversion(), Vec::new())));
                }
                Err(Box::new(
                    self.shape_doubt("json", |shape| *shape == Shape::Json),
                ))
            }
        }
    }

    /// PostgreSQL cannot compare `json`: a column that is part of a key stays text.
    fn json_type(&self) -> TargetType {
        if self.indexed {
            TargetType::Text
        } else {
            TargetType::Json
        }
    }

    fn json_conversion(&self) -> Conversion {
        if self.indexed {
            Conversion::TextFromAny
        } else {
            Conversion::JsonFromText
        }
    }

    /// The two words of a column of booleans in text.
    fn words(&self) -> Option<(String, String)> {
        let pairs = [
            ("true", "false"),
            ("t", "f"),
            ("yes", "no"),
            ("y", "n"),
            ("on", "off"),
            ("1", "0"),
        ];
        let words: Vec<&str> = (self.profile.shapes.iter())
            .map(|(shape, _)| {
                if let Shape::Word(word) = shape {
                    word.as_str()
                } else {
                    ""
                }
            })
            .collect();
        let pair = pairs.iter().find(|(yes, no)| {
            words
                .iter()
                .all(|word| word.eq_ignore_ascii_case(yes) || word.eq_ignore_ascii_case(no))
        })?;
        let find = |wanted: &str| {
            words
                .iter()
                .filter(|word| word.eq_ignore_ascii_case(wanted))
                .copied()
                .collect::<Vec<_>>()
        };
        match (find(pair.0).as_slice(), find(pair.1).as_slice()) {
            ([yes], [no]) => Some(((*yes).to_owned(), (*no).to_owned())),
            _ => None,
        }
    }

    fn most_common(&self) -> Option<Shape> {
        let shapes = self
            .profile
            .shapes
            .iter()
            .filter(|(shape, _)| *shape != Shape::Other);
        shapes
            .max_by_key(|(_, tally)| tally.count)
            .map(|(shape, _)| shape.clone())
    }

    /// The one format of all times, if there is one.
    fn one_format(&self) -> Option<(TargetType, Conversion)> {
        if self.profile.texts.count != self.profile.values() {
            return None;
        }
        let mut found: Option<(bool, DateTimeFormat)> = None;
        for (shape, _) in &self.profile.shapes {
            let (with_date, format) = match shape {
                Shape::DateTime(format) => (true, *format),
                Shape::Time(format) => (false, *format),
                _ => return None,
            };
            found = match found {
                None => Some((with_date, format)),
                Some((dated, known)) if dated == with_date && known == format => {
                    Some((dated, known))
                }
                Some((dated, known)) if dated == with_date => {
                    let optional = |fraction| {
                        matches!(
                            fraction,
                            Fraction::None | Fraction::Digits(6) | Fraction::SixOrNone
                        )
                    };
                    let same = DateTimeFormat {
                        fraction: format.fraction,
                        ..known
                    } == format;
                    if !same
                        || !optional(known.fraction)
                        || !optional(format.fraction)
                        || !format.seconds
                    {
                        return None;
                    }
                    Some((
                        dated,
                        DateTimeFormat {
                            fraction: Fraction::SixOrNone,
                            ..known
                        },
                    ))
                }
                Some(_) => return None,
            };
        }
        let (with_date, format) = found?;
        Some(match (with_date, format.zone) {
            (false, _) => (TargetType::Time, Conversion::TimeFromText(format)),
            (true, Zone::None) => (TargetType::Timestamp, Conversion::TimestampFromText(format)),
            (true, Zone::Z | Zone::Zero) => (
                TargetType::TimestampTz,
                Conversion::TimestampFromText(format),
            ),
        })
    }

    fn shape_doubt(&self, type_: &str, fits: impl Fn(&Shape) -> bool) -> Doubt {
        let profile = self.profile;
        let mut odd = Tally::default();
        let misshapen = profile
            .shapes
            .iter()
            .filter(|(shape, _)| !fits(shape))
            .map(|(_, tally)| tally);
        for tally in misshapen.chain([&profile.integers, &profile.reals, &profile.blobs]) {
            odd.count += tally.count;
            odd.first.extend(
                tally
                    .first
                    .iter()
                    .take(5_usize.saturating_sub(odd.first.len()))
                    .cloned(),
            );
        }
        let numbers = profile.integers.count + profile.reals.count == profile.values();
        let instead = match (type_, numbers) {
            ("date" | "timestamp", true) => self.cast_to("timestamptz USING unixepoch"),
            _ => self.cast_to(type_),
        };
        let message = format!(
            "is declared {} but its values are not all written as one {type_}",
            self.column.declared
        );
        self.doubt(DoubtKind::Type, message, &odd, Some(instead))
    }

    /// By the classes of what is stored, beside the affinity.
    fn by_class(&self, watch: Watch) -> Choice {
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
    fn declared_numeric(&self) -> TargetType {
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

    fn cast_conversion(&self, cast: &Cast) -> Conversion {
        let profile = self.profile;
        match (&cast.type_, &cast.using) {
            (_, Some(Using::UnixEpoch)) => Conversion::UnixSeconds,
            (_, Some(Using::UnixMillis)) => Conversion::UnixMillis,
            (_, Some(Using::UnixMicros)) => Conversion::UnixMicros,
            (_, Some(Using::JulianDay)) => Conversion::JulianDay,
            (_, Some(Using::Text)) => Conversion::TextFromAny,
            (_, Some(Using::Utf8)) => Conversion::TextFromUtf8,
            (_, Some(Using::Latin1)) => Conversion::TextFromLatin1,
            (_, Some(Using::Words(yes, no))) => Conversion::BooleanFromText {
                true_text: yes.clone(),
                false_text: no.clone(),
            },
            (TargetType::Boolean, None) if profile.texts.count > profile.integers.count => {
                let (true_text, false_text) = self
                    .words()
                    .unwrap_or_else(|| ("true".into(), "false".into()));
                Conversion::BooleanFromText {
                    true_text,
                    false_text,
                }
            }
            (TargetType::Boolean, None) => Conversion::BooleanFromInteger,
            (TargetType::SmallInt | TargetType::Integer | TargetType::BigInt, None) => {
                if profile.texts.count > 0 {
                    Conversion::IntegerFromText
                } else if profile.reals.count > 0 {
                    Conversion::IntegerFromNumber
                } else {
                    Conversion::Exact
                }
            }
            (TargetType::Real | TargetType::DoublePrecision, None)
                if profile.integers.count > 0 =>
            {
                Conversion::DoubleFromNumber
            }
            (TargetType::Numeric { .. }, None) if profile.texts.count > 0 => {
                Conversion::NumericFromText
            }
            (TargetType::Numeric { .. }, None) => Conversion::NumericFromNumber,
            (TargetType::Bytea, None) if profile.texts.count > 0 => Conversion::BytesFromTextOrBlob,
            (
                TargetType::Date
                | TargetType::Time
                | TargetType::Timestamp
                | TargetType::TimestampTz,
                None,
            ) => Conversion::DateTimeFromAnyText,
            (TargetType::Uuid, None) if profile.blobs.count > profile.texts.count => {
                Conversion::UuidFromBlob
            }
            (TargetType::Uuid, None) => match self.most_common() {
                Some(Shape::Uuid { uppercase, hyphens }) => {
                    Conversion::UuidFromText { uppercase, hyphens }
                }
                _ => Conversion::UuidFromText {
                    uppercase: false,
                    hyphens: true,
                },
            },
            (TargetType::Json | TargetType::Jsonb, None) => Conversion::JsonFromText,
            _ => Conversion::Exact,
        }
    }

    /// Doubts about values that the conversion is known to refuse.
    fn misfits(&self, type_: &TargetType, conversion: &Conversion) -> Vec<Doubt> {
        let profile = self.profile;
        let as_text = self.cast_to("text USING text");
        let mut refused: Vec<(&Tally, String, String)> = Vec::new();
        let mut refuse = |tally, what: &str, instead: &str| {
            refused.push((tally, what.to_owned(), instead.to_owned()));
        };
        let (no_integers, no_reals, no_texts, no_blobs) = match conversion {
            Conversion::Exact => match type_ {
                TargetType::SmallInt | TargetType::Integer | TargetType::BigInt => {
                    (false, true, true, true)
                }
                TargetType::Real | TargetType::DoublePrecision => (true, false, true, true),
                TargetType::Text | TargetType::VarChar(_) => (true, true, false, true),
                _ => (true, true, true, false),
            },
            Conversion::DoubleFromNumber
            | Conversion::NumericFromNumber
            | Conversion::IntegerFromNumber => (false, false, true, true),
            Conversion::BytesFromTextOrBlob
            | Conversion::TextFromUtf8
            | Conversion::TextFromLatin1 => (true, true, false, false),
            Conversion::TextFromAny
            | Conversion::NumericFromText
            | Conversion::IntegerFromText
            | Conversion::JsonFromText => (false, false, false, true),
            Conversion::UuidFromBlob => (true, true, true, false),
            Conversion::BooleanFromInteger => (false, true, true, true),
            Conversion::UnixSeconds | Conversion::JulianDay => (false, false, true, true),
            Conversion::UnixMillis | Conversion::UnixMicros => (false, true, true, true),
            _ => (true, true, false, true),
        };
        for (no, tally, class) in [
            (no_integers, &profile.integers, "integers"),
            (no_reals, &profile.reals, "reals"),
            (no_texts, &profile.texts, "texts"),
            (no_blobs, &profile.blobs, "blobs"),
        ] {
            if no {
                refuse(tally, class, &as_text);
            }
        }
        if type_.is_text()
            && matches!(
                conversion,
                Conversion::Exact | Conversion::TextFromAny | Conversion::TextFromUtf8
            )
        {
            refuse(
                &profile.invalid_utf8,
                "texts that are not valid UTF-8",
                &self.cast_to("text USING latin1"),
            );
        }
        if type_.is_text() {
            refuse(
                &profile.with_nul,
                "texts that contain NUL",
                &self.cast_to("bytea"),
            );
        }
        if *conversion == Conversion::BooleanFromInteger {
            refuse(
                &profile.beyond_boolean,
                "integers other than 0 and 1",
                &self.cast_to("bigint"),
            );
        }
        if *conversion == Conversion::DoubleFromNumber {
            refuse(
                &profile.beyond_double,
                "integers that no double is equal to",
                &self.cast_to("numeric"),
            );
        }
        if *conversion == Conversion::NumericFromNumber {
            refuse(
                &profile.infinite,
                "infinite numbers",
                &self.cast_to("double precision"),
            );
        }
        (refused.into_iter())
            .filter(|(tally, ..)| tally.count > 0)
            .map(|(tally, what, instead)| {
                let message = format!(
                    "holds {what}, which {type_} does not take: their rows go to quarantine"
                );
                self.doubt(DoubtKind::Quarantine, message, tally, Some(instead))
            })
            .collect()
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

fn class_of(type_: &TargetType) -> &'static str {
    match type_ {
        TargetType::Text => "text",
        _ => "bytes",
    }
}
