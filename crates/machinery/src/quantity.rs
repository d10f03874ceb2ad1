//! Amounts of CPU, memory and the like, written and computed as Kubernetes does.
//!
//! A [`Quantity`] is an exact number of billionths and remembers the family of suffixes it was
//! written with. Parsing is in `quantity/parse.rs`, printing in `quantity/print.rs`.

mod parse;
mod print;

use std::cmp::Ordering;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

const NANOS_PER_UNIT: i128 = 1_000_000_000;
const NANOS_PER_MILLI: i128 = 1_000_000;
/// What a quantity is capped at: 10^29 units.
const MAX_NANOS: i128 = 10_i128.pow(38);
/// What a quantity with a binary suffix is capped at when it is parsed: 2^63-1 units.
const MAX_BINARY_NANOS: i128 = i64::MAX as i128 * NANOS_PER_UNIT;

/// The family of suffixes a quantity is printed with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// `n u m k M G T P E`, powers of 1000.
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`, powers of 1024.
    BinarySi,
    /// `e3`, powers of ten.
    DecimalExponent,
}

/// Why a text is no quantity. Displays Kubernetes' sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not look like a number and a suffix.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The number is none.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// There is no such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// An exact amount, at least a billionth and at most 10^29 in magnitude (what is smaller is rounded
/// away from zero, what is larger is capped).
///
/// Equality and order are by amount: `1` equals `1000m`. Displays in Kubernetes' canonical form.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

// === impl Quantity ===

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self {
        nanos: 0,
        format: Format::DecimalSi,
    };

    /// An amount of billionths.
    pub fn from_nanos(nanos: i128, format: Format) -> Self {
        Self {
            nanos: nanos.clamp(-MAX_NANOS, MAX_NANOS),
            format,
        }
    }

    /// An amount of thousandths, such as CPU in millicores.
    pub fn from_milli(milli: i64, format: Format) -> Self {
        Self {
            nanos: i128::from(milli) * NANOS_PER_MILLI,
            format,
        }
    }

    /// An amount of whole units, such as bytes.
    pub fn from_units(units: i64, format: Format) -> Self {
        Self {
            nanos: i128::from(units) * NANOS_PER_UNIT,
            format,
        }
    }

    /// Parses a quantity such as `250m`, `1.5Gi` or `12e6`.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        parse::parse(text)
    }

    /// Reads a quantity from JSON, where it is a string or a number.
    pub fn from_json(value: &Value) -> Result<Self, QuantityError> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(number) => Self::parse(&number.to_string()),
            _ => Err(QuantityError::Format),
        }
    }

    /// The amount in billionths, exactly.
    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// The amount in thousandths, rounded away from zero, capped at what an i64 holds.
    pub fn milli(self) -> i64 {
        self.rounded_up(NANOS_PER_MILLI)
    }

    /// The amount in whole units, rounded away from zero, capped at what an i64 holds.
    pub fn value(self) -> i64 {
        self.rounded_up(NANOS_PER_UNIT)
    }

    fn rounded_up(self, unit: i128) -> i64 {
        let (whole, rest) = (self.nanos / unit, self.nanos % unit);
        let rounded = whole + rest.signum();
        i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
    }

    /// The amount as a float, which may lose precision.
    pub fn as_f64(self) -> f64 {
        let (whole, rest) = (self.nanos / NANOS_PER_UNIT, self.nanos % NANOS_PER_UNIT);
        whole as f64 + rest as f64 / NANOS_PER_UNIT as f64
    }

    /// The family of suffixes it is printed with.
    pub fn format(self) -> Format {
        self.format
    }

    /// The same amount, printed with another family of suffixes.
    #[must_use]
    pub fn with_format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Whether the amount is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether the amount is below nothing.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// The product with a whole number.
    #[must_use]
    pub fn times(self, factor: i64) -> Self {
        let capped = if (self.nanos < 0) == (factor < 0) {
            MAX_NANOS
        } else {
            -MAX_NANOS
        };
        let nanos = self.nanos.checked_mul(factor.into()).unwrap_or(capped);
        Self::from_nanos(nanos, self.format)
    }

    fn format_with(self, other: Self) -> Format {
        if self.is_zero() {
            other.format
        } else {
            self.format
        }
    }
}

/// The sum, in the first quantity's format, or the second's where the first is nothing.
impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::from_nanos(
            self.nanos.saturating_add(other.nanos),
            self.format_with(other),
        )
    }
}

/// The difference, in the first quantity's format, or the second's where the first is nothing.
impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::from_nanos(
            self.nanos.saturating_sub(other.nanos),
            self.format_with(other),
        )
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
        quantities.fold(Self::ZERO, Add::add)
    }
}

impl Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            nanos: -self.nanos,
            ..self
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

impl TryFrom<&k8s_openapi::apimachinery::pkg::api::resource::Quantity> for Quantity {
    type Error = QuantityError;

    fn try_from(
        typed: &k8s_openapi::apimachinery::pkg::api::resource::Quantity,
    ) -> Result<Self, QuantityError> {
        Self::parse(&typed.0)
    }
}

impl From<Quantity> for k8s_openapi::apimachinery::pkg::api::resource::Quantity {
    fn from(quantity: Quantity) -> Self {
        Self(quantity.to_string())
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_json(&value).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn quantity(text: &str) -> Quantity {
        Quantity::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn canonical_forms_are_kubernetes_own() {
        for (written, printed) in [
            ("0", "0"),
            ("0Ki", "0"),
            ("-0", "0"),
            ("00", "0"),
            ("0.0m", "0"),
            ("1", "1"),
            ("+1", "1"),
            ("007", "7"),
            ("1.", "1"),
            (".5", "500m"),
            ("1.5", "1500m"),
            ("0.1", "100m"),
            ("100m", "100m"),
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("2000", "2k"),
            ("1000k", "1M"),
            ("1024", "1024"),
            ("0.001k", "1"),
            ("12G", "12G"),
            ("1000E", "1000E"),
            ("1000P", "1E"),
            ("1n", "1n"),
            ("1000n", "1u"),
            ("0.1n", "1n"),
            ("-0.1n", "-1n"),
            ("1.0000000001", "1000000001n"),
            ("123456789.123456789", "123456789123456789n"),
            ("-1.5", "-1500m"),
            ("1Ki", "1Ki"),
            ("1024Ki", "1Mi"),
            ("1536Ki", "1536Ki"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("1.5Ki", "1536"),
            ("0.5Mi", "512Ki"),
            ("100.5Ki", "102912"),
            ("1.1Ki", "1126400m"),
            ("0.0001Ki", "102400u"),
            ("-2Gi", "-2Gi"),
            ("7Ei", "7Ei"),
            ("8Ei", "9223372036854775807"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("1e+3", "1e3"),
            ("1e-3", "1e-3"),
            ("1500e-3", "1500e-3"),
            ("12e6", "12e6"),
            ("100e2", "10e3"),
            ("1e0", "1"),
            ("1.5e3", "1500"),
            ("1E", "1E"),
            ("128974848", "128974848"),
            ("129e6", "129e6"),
            ("129M", "129M"),
            ("123Mi", "123Mi"),
            ("0.0000000000000000000000000000001Gi", "1n"),
        ] {
            assert_eq!(quantity(written).to_string(), printed, "{written}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_in_kubernetes_words() {
        use QuantityError::{Format, Numeric, Suffix};
        for (text, error) in [
            ("", Format),
            ("m", Format),
            ("Mi", Format),
            ("-", Format),
            ("+", Format),
            ("abc", Format),
            ("1 Ki", Format),
            (" 1", Format),
            ("1 ", Format),
            ("1.2.3", Format),
            ("--1", Format),
            ("1,5", Format),
            ("1\u{661}", Format),
            ("0x10", Format),
            ("1Gb", Format),
            ("NaN", Format),
            (".", Numeric),
            ("-.", Numeric),
            ("1i", Suffix),
            ("1mi", Suffix),
            ("1KI", Format),
            ("1Kii", Suffix),
            ("1K", Suffix),
            ("1MM", Suffix),
            ("1e", Suffix),
            ("1e1e1", Format),
            ("1e+", Suffix),
            ("1Ki5", Suffix),
            ("1m5", Suffix),
            ("1e1.5", Format),
            ("1e99999999999999999999", Suffix),
        ] {
            assert_eq!(Quantity::parse(text).unwrap_err(), error, "{text}");
        }
        assert_eq!(
            Format.to_string(),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        );
    }

    #[test]
    fn values_and_millis_round_away_from_zero() {
        for (text, value, milli) in [
            ("0", 0, 0),
            ("1n", 1, 1),
            ("-1n", -1, -1),
            ("1.5", 2, 1500),
            ("-1.5", -2, -1500),
            ("100m", 1, 100),
            ("1.0001", 2, 1001),
            ("2", 2, 2000),
            ("1Ki", 1024, 1_024_000),
            ("1E", 1_000_000_000_000_000_000, i64::MAX),
            ("100E", i64::MAX, i64::MAX),
            ("-100E", i64::MIN, i64::MIN),
        ] {
            assert_eq!(
                (quantity(text).value(), quantity(text).milli()),
                (value, milli),
                "{text}"
            );
        }
    }

    #[test]
    fn absurd_numbers_are_capped_or_rounded_and_never_panic() {
        let huge = quantity(&format!("1{}", "0".repeat(5000)));
        assert_eq!(huge, quantity("1e2000000000"));
        assert_eq!(huge + huge, huge);
        assert_eq!(huge.times(i64::MAX), huge);
        assert_eq!(huge.times(-2), -huge);
        assert_eq!(-huge - huge, -huge);
        assert_eq!(quantity("1e-2000000000"), quantity("1n"));
        assert_eq!(quantity(&format!("{}1", "0".repeat(5000))), quantity("1"));
        assert_eq!(
            quantity(&format!("0.{}1", "0".repeat(5000))),
            quantity("1n")
        );
        assert_eq!(
            quantity(&format!("{}Ei", "9".repeat(5000))).value(),
            i64::MAX
        );
        assert_eq!(quantity(&huge.to_string()), huge);
    }

    #[test]
    fn sums_keep_the_format_of_the_first_that_is_not_nothing() {
        assert_eq!(
            (quantity("1Gi") + quantity("512M")).to_string(),
            "1548576Ki"
        );
        assert_eq!((quantity("0") + quantity("1Gi")).to_string(), "1Gi");
        assert_eq!((quantity("1") - quantity("250m")).to_string(), "750m");
        assert_eq!(quantity("100m").times(3).to_string(), "300m");
        let total: Quantity = [quantity("1Mi"), quantity("1Mi")].into_iter().sum();
        assert_eq!(total.to_string(), "2Mi");
    }

    #[test]
    fn json_holds_strings_and_numbers() {
        let read = |value: &Value| Quantity::from_json(value).map(|q| q.to_string());
        assert_eq!(read(&json!("1.5Gi")).unwrap(), "1536Mi");
        assert_eq!(read(&json!(2)).unwrap(), "2");
        assert_eq!(read(&json!(0.5)).unwrap(), "500m");
        assert_eq!(read(&json!(true)), Err(QuantityError::Format));
        assert_eq!(read(&Value::Null), Err(QuantityError::Format));
        assert_eq!(serde_json::to_value(quantity("1000m")).unwrap(), json!("1"));
        assert_eq!(
            serde_json::from_value::<Quantity>(json!("1k")).unwrap(),
            quantity("1000")
        );
    }

    fn written() -> impl Strategy<Value = String> {
        "[+-]?[0-9]{1,12}(\\.[0-9]{0,10})?(n|u|m||k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e-?[0-9]|E[0-9])"
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = Quantity::parse(&text);
        }

        #[test]
        fn printing_and_parsing_again_changes_nothing(text in written()) {
            let first = quantity(&text);
            let second = quantity(&first.to_string());
            prop_assert_eq!(first, second);
            prop_assert_eq!(first.to_string(), second.to_string());
        }

        #[test]
        fn every_amount_survives_every_format(nanos in -MAX_NANOS..=MAX_NANOS, shift in 0_u32..38) {
            for format in [Format::DecimalSi, Format::BinarySi, Format::DecimalExponent] {
                let amount = Quantity::from_nanos(nanos / 10_i128.pow(shift), format);
                let again = quantity(&amount.to_string());
                // A binary suffix caps what is parsed.
                if amount.nanos().abs() <= MAX_BINARY_NANOS {
                    prop_assert_eq!(amount, again);
                }
            }
        }

        #[test]
        fn order_and_sums_agree_with_the_numbers(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
            let (one, two) = (quantity(&format!("{a}m")), quantity(&format!("{b}m")));
            prop_assert_eq!(one.cmp(&two), a.cmp(&b));
            prop_assert_eq!((one + two).milli(), a + b);
            prop_assert_eq!((one - two).milli(), a - b);
            prop_assert_eq!(one + two - two, one);
        }
    }
}
