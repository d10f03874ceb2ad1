//! Types chosen by the shape of stored values: truth values, dates, times, UUIDs, JSON.

use sqlite3_parser::ast::{Expr, Literal};

use super::{Choice, Decider};
use crate::plan::{Conversion, DateTimeFormat, Doubt, DoubtKind, Fraction, TargetType, Zone};
use crate::profile::{Shape, Tally, Watch};
use crate::schema::unquote;

/// Words that mean true and false.
const WORDS: [(&str, &str); 6] = [
    ("true", "false"),
    ("t", "f"),
    ("yes", "no"),
    ("y", "n"),
    ("on", "off"),
    ("1", "0"),
];

impl Decider<'_> {
    /// The type that the declaration promises, if every value has its shape; a doubt if some have not.
    pub(super) fn by_shape(&self, watch: Watch) -> Result<Option<Choice>, Box<Doubt>> {
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
                    odd.append(tally);
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
    pub(super) fn json_type(&self) -> TargetType {
        if self.indexed {
            TargetType::Text
        } else {
            TargetType::Json
        }
    }

    pub(super) fn json_conversion(&self) -> Conversion {
        if self.indexed {
            Conversion::TextFromAny
        } else {
            Conversion::JsonFromText
        }
    }

    /// The two words of a column of booleans in text.
    pub(super) fn words(&self) -> Option<(String, String)> {
        let words: Vec<&str> = (self.profile.shapes.iter())
            .map(|(shape, _)| {
                if let Shape::Word(word) = shape {
                    word.as_str()
                } else {
                    ""
                }
            })
            .collect();
        let pair = WORDS.iter().find(|(yes, no)| {
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

    /// The two words of which the column's default is one, a text that no affinity makes a number.
    pub(super) fn words_of_default(&self) -> Option<(String, String)> {
        let Some(Expr::Literal(Literal::String(quoted))) = self.column.default else {
            return None;
        };
        let word = unquote(quoted);
        let (yes, no) = (WORDS.iter())
            .filter(|(yes, _)| *yes != "1")
            .find(|(yes, no)| word == *yes || word == *no)?;
        Some(((*yes).to_owned(), (*no).to_owned()))
    }

    pub(super) fn most_common(&self) -> Option<Shape> {
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
    pub(super) fn one_format(&self) -> Option<(TargetType, Conversion)> {
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
            odd.append(tally);
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
}
