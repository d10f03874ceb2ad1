//! How values get into a type that is decided, and which do not.

use super::Decider;
use crate::plan::{Cast, Conversion, Doubt, DoubtKind, TargetType, Using};
use crate::profile::{Shape, Tally};

impl Decider<'_> {
    pub(super) fn cast_conversion(&self, cast: &Cast) -> Conversion {
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
    pub(super) fn misfits(&self, type_: &TargetType, conversion: &Conversion) -> Vec<Doubt> {
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
        let foreseen: u64 = refused.iter().map(|(tally, ..)| tally.count).sum();
        if let Some(reason) = &profile.refusal
            && profile.refused.count > foreseen
        {
            let message = format!(
                "holds values that {type_} does not take ({reason}): their rows go to quarantine"
            );
            return vec![self.doubt(
                DoubtKind::Quarantine,
                message,
                &profile.refused,
                Some(as_text),
            )];
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
}
