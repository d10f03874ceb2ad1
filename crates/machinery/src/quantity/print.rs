//! Printing quantities in canonical form: no fraction, nothing lost, the suffix as large as can be.

use std::fmt;

use super::{Format, NANOS_PER_UNIT, Quantity};

const DECIMAL_SUFFIXES: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const BINARY_SUFFIXES: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        match self.format {
            Format::BinarySi if is_binary(self.nanos) => {
                let (number, index) =
                    divided(self.nanos / NANOS_PER_UNIT, 1024, BINARY_SUFFIXES.len() - 1);
                write!(f, "{number}{}", BINARY_SUFFIXES[index])
            }
            Format::BinarySi | Format::DecimalSi => {
                let (number, index) = divided(self.nanos, 1000, DECIMAL_SUFFIXES.len() - 1);
                write!(f, "{number}{}", DECIMAL_SUFFIXES[index])
            }
            Format::DecimalExponent => {
                // Enough steps for the largest quantity.
                let (number, index) = divided(self.nanos, 1000, 20);
                let exponent = index as i64 * 3 - 9;
                if exponent == 0 {
                    write!(f, "{number}")
                } else {
                    write!(f, "{number}e{exponent}")
                }
            }
        }
    }
}

/// Whether an amount is shown with a binary suffix: whole units, and 1024 of them at least.
fn is_binary(nanos: i128) -> bool {
    nanos % NANOS_PER_UNIT == 0 && (nanos / NANOS_PER_UNIT).abs() >= 1024
}

/// Divides by `base` as often as nothing is lost, at most `most` times; tells how often.
fn divided(mut number: i128, base: i128, most: usize) -> (i128, usize) {
    let mut times = 0;
    while times < most && number % base == 0 {
        number /= base;
        times += 1;
    }
    (number, times)
}
