use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes as Prometheus writes it: `10MB`, `512KiB`, `0`. Units are powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u32); 7] = [
    ("EB", 60),
    ("PB", 50),
    ("TB", 40),
    ("GB", 30),
    ("MB", 20),
    ("KB", 10),
    ("B", 0),
];

// === impl ByteSize ===

impl ByteSize {
    /// Reads the text form; `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<ByteSize> {
        if text == "0" {
            return Some(ByteSize(0));
        }
        let digits = text.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let number: f64 = text[..digits].parse().ok()?;
        let unit = text[digits..].replace("iB", "B");
        let (_, shift) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let bytes = number * (1_u64 << shift) as f64;
        (bytes < u64::MAX as f64).then_some(ByteSize(bytes as u64))
    }

    /// Whether there is no limit.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS
            .iter()
            .find(|(_, shift)| self.0 > 0 && self.0.is_multiple_of(1 << shift));
        match exact {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => f.write_str("0"),
        }
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
        let text = String::deserialize(deserializer)?;
        ByteSize::parse(&text).ok_or_else(|| {
            let reason = format!("not a valid size: {text:?}; write for example 10MB or 512KB");
            serde::de::Error::custom(reason)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes, printed) in [
            ("10MB", 10 << 20, "10MB"),
            ("1.5KiB", 1536, "1536B"),
            ("0", 0, "0"),
            ("2048B", 2048, "2KB"),
        ] {
            let size = ByteSize::parse(text).expect(text);
            assert_eq!((size.0, size.to_string().as_str()), (bytes, printed));
        }
        for text in ["", "10", "MB", "10 MB", "1XB", "999999999EB"] {
            assert_eq!(ByteSize::parse(text), None, "{text}");
        }
    }
}
