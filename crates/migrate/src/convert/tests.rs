#![allow(clippy::needless_pass_by_value)] // What is converted is written in place.

use super::*;
use crate::plan::{DateTimeFormat, Fraction, Separator, Zone};

fn bytes(conversion: Conversion, type_: TargetType, value: ValueRef<'_>) -> Vec<u8> {
    convert(&conversion, &type_, value).unwrap().0.unwrap()
}

fn reason(conversion: Conversion, type_: TargetType, value: ValueRef<'_>) -> String {
    convert(&conversion, &type_, value).unwrap_err().reason
}

const NUMERIC: TargetType = TargetType::Numeric {
    precision: None,
    scale: 0,
};

/// Reads PostgreSQL's binary numeric back, the slow and plain way.
fn numeric_text(bytes: &[u8]) -> String {
    let words: Vec<i64> = bytes
        .chunks(2)
        .map(|pair| i64::from(i16::from_be_bytes([pair[0], pair[1]])))
        .collect();
    let (count, weight, sign, scale) = (words[0], words[1], words[2], words[3] as usize);
    assert_eq!(words.len() as i64, 4 + count);
    let group = |index: i64| {
        if (0..count).contains(&index) {
            words[4 + index as usize]
        } else {
            0
        }
    };
    let mut whole: String = (0..=weight.max(0))
        .map(|place| format!("{:04}", group(place + weight.min(0))))
        .collect();
    if weight < 0 {
        whole = "0".to_owned();
    }
    let fraction: String = (0..scale as i64 / 4 + 1)
        .map(|place| format!("{:04}", group(weight + 1 + place)))
        .collect();
    let whole = whole.trim_start_matches('0');
    let sign = if sign == 0x4000 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    format!(
        "{sign}{}{point}{}",
        if whole.is_empty() { "0" } else { whole },
        &fraction[..scale]
    )
}

#[test]
fn numbers_keep_every_bit() {
    assert_eq!(
        bytes(
            Conversion::Exact,
            TargetType::BigInt,
            ValueRef::Integer(i64::MIN)
        ),
        i64::MIN.to_be_bytes()
    );
    assert_eq!(
        bytes(
            Conversion::Exact,
            TargetType::DoublePrecision,
            ValueRef::Real(0.1)
        ),
        0.1_f64.to_be_bytes()
    );
    assert_eq!(
        bytes(
            Conversion::DoubleFromNumber,
            TargetType::DoublePrecision,
            ValueRef::Integer(1 << 53)
        ),
        9_007_199_254_740_992.0_f64.to_be_bytes()
    );
    assert!(
        reason(
            Conversion::DoubleFromNumber,
            TargetType::DoublePrecision,
            ValueRef::Integer((1 << 53) + 1)
        )
        .contains("more digits")
    );
    assert!(
        reason(
            Conversion::DoubleFromNumber,
            TargetType::DoublePrecision,
            ValueRef::Integer(i64::MAX)
        )
        .contains("more digits")
    );
    assert!(reason(Conversion::Exact, TargetType::Real, ValueRef::Real(0.1)).contains("rounded"));
    assert_eq!(
        bytes(Conversion::Exact, TargetType::Real, ValueRef::Real(0.5)),
        0.5_f32.to_be_bytes()
    );
    assert!(
        reason(
            Conversion::Exact,
            TargetType::Integer,
            ValueRef::Integer(1 << 31)
        )
        .contains("range")
    );
    assert!(
        reason(
            Conversion::IntegerFromNumber,
            TargetType::BigInt,
            ValueRef::Real(1e19)
        )
        .contains("64 bits")
    );
    assert_eq!(
        bytes(
            Conversion::IntegerFromNumber,
            TargetType::SmallInt,
            ValueRef::Real(-3.0)
        ),
        (-3_i16).to_be_bytes()
    );
}

#[test]
fn numeric_is_what_the_text_says() {
    for text in [
        "0",
        "1",
        "-1",
        "10000",
        "9999",
        "12345678901234567890",
        "1.50",
        "0.0001",
        "0.00001",
        "123.456",
        "-0.5",
        "1000000.000001",
        "0.00",
        "100000000",
    ] {
        let encoded = bytes(
            Conversion::NumericFromText,
            NUMERIC,
            ValueRef::Text(text.as_bytes()),
        );
        assert_eq!(numeric_text(&encoded), text);
    }
    for (text, expected) in [
        ("1e5", "100000"),
        ("1.5e-3", "0.0015"),
        ("1.50E1", "15.0"),
        (".5", "0.5"),
        ("+7.", "7"),
        ("007", "7"),
    ] {
        let encoded = bytes(
            Conversion::NumericFromText,
            NUMERIC,
            ValueRef::Text(text.as_bytes()),
        );
        assert_eq!(numeric_text(&encoded), expected, "{text}");
    }
    for text in [
        "",
        "x",
        "1 ",
        "NaN",
        "Infinity",
        "1e",
        "1e999999999",
        "--1",
        "-0",
    ] {
        reason(
            Conversion::NumericFromText,
            NUMERIC,
            ValueRef::Text(text.as_bytes()),
        );
    }
}

#[test]
fn a_real_becomes_its_shortest_decimal() {
    for (real, expected) in [
        (0.1, "0.1"),
        (5.0, "5"),
        (1e21, "1000000000000000000000"),
        (1.5e-10, "0.00000000015"),
        (-2.5, "-2.5"),
    ] {
        assert_eq!(
            numeric_text(&bytes(
                Conversion::NumericFromNumber,
                NUMERIC,
                ValueRef::Real(real)
            )),
            expected
        );
    }
    reason(
        Conversion::NumericFromNumber,
        NUMERIC,
        ValueRef::Real(f64::INFINITY),
    );
    reason(Conversion::NumericFromNumber, NUMERIC, ValueRef::Real(-0.0));
}

#[test]
fn precision_and_scale_never_round() {
    let type_ = TargetType::Numeric {
        precision: Some(5),
        scale: 2,
    };
    let encode = |text: &str| {
        convert(
            &Conversion::NumericFromText,
            &type_,
            ValueRef::Text(text.as_bytes()),
        )
    };
    assert_eq!(numeric_text(&encode("1.5").unwrap().0.unwrap()), "1.50");
    assert_eq!(
        numeric_text(&encode("999.990").unwrap().0.unwrap()),
        "999.99"
    );
    assert_eq!(numeric_text(&encode("0").unwrap().0.unwrap()), "0.00");
    assert!(
        encode("1.005")
            .unwrap_err()
            .reason
            .contains("after the point")
    );
    assert!(
        encode("1000")
            .unwrap_err()
            .reason
            .contains("before the point")
    );
}

#[test]
fn text_that_postgresql_cannot_hold_is_refused() {
    assert!(
        reason(Conversion::Exact, TargetType::Text, ValueRef::Text(b"a\0b"))
            .contains("NUL at byte 2")
    );
    assert!(
        reason(
            Conversion::Exact,
            TargetType::Text,
            ValueRef::Text(b"ab\xff")
        )
        .contains("UTF-8 at byte 3")
    );
    assert!(
        reason(
            Conversion::Exact,
            TargetType::VarChar(2),
            ValueRef::Text("äöü".as_bytes())
        )
        .contains("3 characters")
    );
    assert_eq!(
        bytes(
            Conversion::Exact,
            TargetType::VarChar(3),
            ValueRef::Text("äöü".as_bytes())
        ),
        "äöü".as_bytes()
    );
    assert!(
        reason(Conversion::Exact, TargetType::Text, ValueRef::Blob(b"x"))
            .contains("a blob is stored")
    );
    assert_eq!(
        bytes(
            Conversion::TextFromLatin1,
            TargetType::Text,
            ValueRef::Blob(b"\xe4")
        ),
        "ä".as_bytes()
    );
    assert_eq!(
        bytes(
            Conversion::TextFromAny,
            TargetType::Text,
            ValueRef::Real(1.0)
        ),
        b"1.0"
    );
    assert_eq!(
        bytes(
            Conversion::BytesFromTextOrBlob,
            TargetType::Bytea,
            ValueRef::Text(b"a\0\xff")
        ),
        b"a\0\xff"
    );
}

#[test]
fn null_is_always_null() {
    assert_eq!(
        convert(&Conversion::Exact, &TargetType::Uuid, ValueRef::Null).unwrap(),
        BinaryValue(None)
    );
}

#[test]
fn dates_count_from_2000() {
    let date = |text: &str| {
        convert(
            &Conversion::DateFromText,
            &TargetType::Date,
            ValueRef::Text(text.as_bytes()),
        )
    };
    for (text, days) in [
        ("2000-01-01", 0_i32),
        ("1970-01-01", -10_957),
        ("2024-02-29", 8825),
        ("0001-01-01", -730_119),
        ("9999-12-31", 2_921_939),
    ] {
        assert_eq!(date(text).unwrap().0.unwrap(), days.to_be_bytes(), "{text}");
    }
    for text in [
        "2023-02-29",
        "2023-13-01",
        "2023-1-1",
        "20230101",
        "2023-01-01 ",
        "2023-00-10",
    ] {
        date(text).unwrap_err();
    }
}

#[test]
fn times_of_a_column_may_be_spelled_otherwise_and_have_a_zone_or_none() {
    let format = DateTimeFormat {
        separator: Separator::T,
        seconds: true,
        fraction: Fraction::Digits(3),
        zone: Zone::Z,
    };
    let encode = |text: &str, format| {
        convert(
            &Conversion::TimestampFromText(format),
            &TargetType::TimestampTz,
            ValueRef::Text(text.as_bytes()),
        )
    };
    assert_eq!(
        encode("2000-01-01T00:00:01.250Z", format)
            .unwrap()
            .0
            .unwrap(),
        1_250_000_i64.to_be_bytes()
    );
    for text in [
        "2000-01-01 00:00:01.250Z",
        "2000-01-01T00:00:01.25Z",
        "2000-01-01T01:00:01.25+01:00",
    ] {
        let encoded = encode(text, format).unwrap().0.unwrap();
        assert_eq!(encoded, 1_250_000_i64.to_be_bytes(), "{text}");
    }
    for text in [
        "2000-01-01T00:00:01.250",
        "2000-01-01",
        "00:00:01.250Z",
        "2000-01-01T24:00:00.000Z",
        "2000-01-01T00:00:60.000Z",
        "2000-01-01T00:60:00.000Z",
        "2000-01-01T00:00:01.Z",
        "2000-01-01T00:00:01.2500001Z",
        "2000-01-01T00-00:01.250Z",
    ] {
        encode(text, format).unwrap_err();
    }
    let python = DateTimeFormat {
        separator: Separator::Space,
        seconds: true,
        fraction: Fraction::SixOrNone,
        zone: Zone::None,
    };
    assert_eq!(
        encode("2000-01-01 00:00:01", python).unwrap().0.unwrap(),
        1_000_000_i64.to_be_bytes()
    );
    assert_eq!(
        encode("2000-01-01 00:00:00.000001", python)
            .unwrap()
            .0
            .unwrap(),
        1_i64.to_be_bytes()
    );
    assert_eq!(
        encode("2000-01-01 00:00:01.000000", python)
            .unwrap()
            .0
            .unwrap(),
        1_000_000_i64.to_be_bytes()
    );
    encode("2000-01-01 00:00:01Z", python).unwrap_err();
}

#[test]
fn other_counts_of_time_are_exact_or_refused() {
    let stamp = |conversion: Conversion, value| {
        convert(&conversion, &TargetType::Timestamp, value)
            .map(|value| i64::from_be_bytes(value.0.unwrap().try_into().unwrap()))
    };
    let epoch = 946_684_800;
    assert_eq!(
        stamp(Conversion::UnixSeconds, ValueRef::Integer(epoch + 1)),
        Ok(1_000_000)
    );
    assert_eq!(
        stamp(Conversion::UnixSeconds, ValueRef::Real(epoch as f64 + 0.5)),
        Ok(500_000)
    );
    assert_eq!(
        stamp(Conversion::UnixMillis, ValueRef::Integer(epoch * 1000 + 1)),
        Ok(1_000)
    );
    assert_eq!(
        stamp(Conversion::JulianDay, ValueRef::Real(2_451_544.5)),
        Ok(0)
    );
    stamp(Conversion::UnixSeconds, ValueRef::Real(0.123_456_789)).unwrap_err();
    stamp(Conversion::UnixSeconds, ValueRef::Integer(i64::MAX)).unwrap_err();
    assert_eq!(
        stamp(
            Conversion::DateTimeFromAnyText,
            ValueRef::Text(b"2000-01-01T02:00:00+02:00")
        ),
        Ok(0)
    );
    assert_eq!(
        stamp(
            Conversion::DateTimeFromAnyText,
            ValueRef::Text(b"2000-01-01 00:00")
        ),
        Ok(0)
    );
    assert_eq!(
        stamp(
            Conversion::DateTimeFromAnyText,
            ValueRef::Text(b"2000-01-01 00:00:00.1")
        ),
        Ok(100_000)
    );
    stamp(
        Conversion::DateTimeFromAnyText,
        ValueRef::Text(b"2000-01-01 00:00:00.1234567"),
    )
    .unwrap_err();
    stamp(Conversion::DateTimeFromAnyText, ValueRef::Text(b"now")).unwrap_err();
    convert(
        &Conversion::UnixSeconds,
        &TargetType::Date,
        ValueRef::Integer(1),
    )
    .unwrap_err();
}

#[test]
fn uuids_have_one_spelling() {
    let text = b"00112233-4455-6677-8899-aabbccddeeff";
    let lower = Conversion::UuidFromText {
        uppercase: false,
        hyphens: true,
    };
    assert_eq!(
        bytes(lower.clone(), TargetType::Uuid, ValueRef::Text(text))[..3],
        [0x00, 0x11, 0x22]
    );
    reason(
        lower.clone(),
        TargetType::Uuid,
        ValueRef::Text(b"00112233-4455-6677-8899-AABBCCDDEEFF"),
    );
    reason(
        lower,
        TargetType::Uuid,
        ValueRef::Text(b"00112233445566778899aabbccddeeff"),
    );
    bytes(
        Conversion::UuidFromText {
            uppercase: false,
            hyphens: false,
        },
        TargetType::Uuid,
        ValueRef::Text(b"00112233445566778899aabbccddeeff"),
    );
}

#[test]
fn json_is_checked_and_kept_as_written() {
    let text = br#"{ "b": 1.0, "a": [true] }"#;
    assert_eq!(
        bytes(
            Conversion::JsonFromText,
            TargetType::Json,
            ValueRef::Text(text)
        ),
        text
    );
    assert_eq!(
        bytes(
            Conversion::JsonFromText,
            TargetType::Json,
            ValueRef::Integer(7)
        ),
        b"7"
    );
    assert!(
        reason(
            Conversion::JsonFromText,
            TargetType::Json,
            ValueRef::Text(b"{a: 1}")
        )
        .contains("not JSON")
    );
}
