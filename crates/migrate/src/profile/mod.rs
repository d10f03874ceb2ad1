//! What is stored: SQLite keeps in each row whatever it was given, so that a column's type can only
//! be believed after every value has been looked at.

mod scan;
mod shape;

pub(crate) use scan::rowid_bounds;
pub use scan::{ProfileError, Watch, Watched, scan};
pub use shape::{Shape, shape as shape_of};

use rusqlite::types::ValueRef;

use crate::convert::convert;
use crate::plan::{Conversion, TargetType};

/// How many rows are named as evidence.
const EVIDENCE: usize = 5;

/// What is stored in one table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TableProfile {
    /// How many rows.
    pub rows: u64,
    /// Bytes of all values, 8 for a number.
    pub bytes: u64,
    /// The smallest and largest rowid.
    pub rowids: Option<(i64, i64)>,
    /// One for each column.
    pub columns: Vec<ColumnProfile>,
}

/// Rows that have something in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// The keys of the first of them.
    pub first: Vec<String>,
}

/// What is stored in one column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnProfile {
    /// NULLs.
    pub nulls: Tally,
    /// INTEGERs.
    pub integers: Tally,
    /// REALs.
    pub reals: Tally,
    /// TEXTs.
    pub texts: Tally,
    /// BLOBs.
    pub blobs: Tally,
    /// The smallest and largest INTEGER.
    pub integer_range: Option<(i64, i64)>,
    /// INTEGERs other than 0 and 1.
    pub beyond_boolean: Tally,
    /// INTEGERs that no double is equal to.
    pub beyond_double: Tally,
    /// Infinite REALs.
    pub infinite: Tally,
    /// The most digits before and after the point of any finite number, written as the shortest
    /// decimal; only for [`Watch::Decimal`].
    pub digits: (u32, u32),
    /// TEXTs that are not valid UTF-8.
    pub invalid_utf8: Tally,
    /// TEXTs that contain NUL.
    pub with_nul: Tally,
    /// The most characters of any TEXT.
    pub longest: u64,
    /// BLOBs that are not 16 bytes long.
    pub not_sixteen_bytes: Tally,
    /// The shapes of TEXTs, for a column whose declared type makes them matter.
    pub shapes: Vec<(Shape, Tally)>,
    /// Values that the conversion of [`Watched`] refuses, of any class.
    pub refused: Tally,
    /// Why the first of them is refused.
    pub refusal: Option<String>,
}

impl Tally {
    fn add(&mut self, key: &RowName<'_>) {
        self.count += 1;
        if self.first.len() < EVIDENCE {
            self.first.push(key.to_string());
        }
    }

    /// Adds what was counted after this.
    pub(crate) fn append(&mut self, later: &Self) {
        self.count += later.count;
        let room = EVIDENCE - self.first.len();
        self.first.extend(later.first.iter().take(room).cloned());
    }
}

impl ColumnProfile {
    /// How many values are not NULL.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.integers.count + self.reals.count + self.texts.count + self.blobs.count
    }

    /// Looks at one value.
    fn observe(&mut self, value: ValueRef<'_>, watch: Watch, key: &RowName<'_>) -> u64 {
        match value {
            ValueRef::Null => {
                self.nulls.add(key);
                return 0;
            }
            ValueRef::Integer(number) => {
                self.integers.add(key);
                let (low, high) = self.integer_range.unwrap_or((number, number));
                self.integer_range = Some((low.min(number), high.max(number)));
                if !(0..=1).contains(&number) {
                    self.beyond_boolean.add(key);
                }
                if number.unsigned_abs() > 1 << 53 && !holds_exactly(number) {
                    self.beyond_double.add(key);
                }
                if watch == Watch::Decimal {
                    self.widen(&number.to_string());
                }
            }
            ValueRef::Real(number) => {
                self.reals.add(key);
                if number.is_infinite() {
                    self.infinite.add(key);
                } else if watch == Watch::Decimal {
                    self.widen(&number.to_string());
                }
            }
            ValueRef::Text(bytes) => {
                self.texts.add(key);
                self.observe_text(bytes, watch, key);
                return bytes.len() as u64;
            }
            ValueRef::Blob(bytes) => {
                self.blobs.add(key);
                if bytes.len() != 16 {
                    self.not_sixteen_bytes.add(key);
                }
                return bytes.len() as u64;
            }
        }
        8
    }

    /// Looks whether a value can be converted.
    fn try_conversion(
        &mut self,
        value: ValueRef<'_>,
        (conversion, type_): &(Conversion, TargetType),
        key: &RowName<'_>,
    ) {
        if let Err(refusal) = convert(conversion, type_, value) {
            self.refused.add(key);
            self.refusal.get_or_insert(refusal.reason);
        }
    }

    fn observe_text(&mut self, bytes: &[u8], watch: Watch, key: &RowName<'_>) {
        if bytes.contains(&0) {
            self.with_nul.add(key);
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            self.invalid_utf8.add(key);
            return;
        };
        if bytes.len() as u64 > self.longest {
            self.longest = self.longest.max(text.chars().count() as u64);
        }
        if watch.looks_at_shapes() {
            let shape = shape::shape(text, watch);
            match self.shapes.iter_mut().find(|(known, _)| *known == shape) {
                Some((_, tally)) => tally.add(key),
                // A column with very many shapes has none that counts.
                None => {
                    let shape = if self.shapes.len() < 32 {
                        shape
                    } else {
                        Shape::Other
                    };
                    let mut tally = Tally::default();
                    tally.add(key);
                    append_shape(&mut self.shapes, shape, tally);
                }
            }
        }
    }

    fn widen(&mut self, decimal: &str) {
        let digits = decimal.trim_start_matches('-');
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let whole = if whole == "0" { 0 } else { whole.len() };
        self.digits.0 = self.digits.0.max(u32::try_from(whole).unwrap_or(u32::MAX));
        self.digits.1 = self
            .digits
            .1
            .max(u32::try_from(fraction.len()).unwrap_or(u32::MAX));
    }

    fn append(&mut self, later: Self) {
        self.nulls.append(&later.nulls);
        self.integers.append(&later.integers);
        self.reals.append(&later.reals);
        self.texts.append(&later.texts);
        self.blobs.append(&later.blobs);
        self.integer_range = match (self.integer_range, later.integer_range) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        self.beyond_boolean.append(&later.beyond_boolean);
        self.beyond_double.append(&later.beyond_double);
        self.infinite.append(&later.infinite);
        self.digits = (
            self.digits.0.max(later.digits.0),
            self.digits.1.max(later.digits.1),
        );
        self.invalid_utf8.append(&later.invalid_utf8);
        self.with_nul.append(&later.with_nul);
        self.longest = self.longest.max(later.longest);
        self.not_sixteen_bytes.append(&later.not_sixteen_bytes);
        for (shape, tally) in later.shapes {
            append_shape(&mut self.shapes, shape, tally);
        }
        self.refused.append(&later.refused);
        self.refusal = self.refusal.take().or(later.refusal);
    }
}

fn append_shape(shapes: &mut Vec<(Shape, Tally)>, shape: Shape, tally: Tally) {
    match shapes.iter_mut().find(|(known, _)| *known == shape) {
        Some((_, known)) => known.append(&tally),
        None => shapes.push((shape, tally)),
    }
}

/// Whether some double is equal to the integer.
fn holds_exactly(number: i64) -> bool {
    number as f64 as i128 == i128::from(number)
}

/// How a row is named in evidence; written out only when it is kept.
enum RowName<'a> {
    Rowid(i64),
    Key(&'a rusqlite::Row<'a>, usize),
}

impl std::fmt::Display for RowName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rowid(rowid) => rowid.fmt(f),
            Self::Key(row, parts) => {
                f.write_str("(")?;
                for part in 0..*parts {
                    if part > 0 {
                        f.write_str(", ")?;
                    }
                    match row.get_ref(part) {
                        Ok(ValueRef::Null) | Err(_) => f.write_str("NULL")?,
                        Ok(ValueRef::Integer(number)) => number.fmt(f)?,
                        Ok(ValueRef::Real(number)) => write!(f, "{number:?}")?,
                        Ok(ValueRef::Text(bytes)) => {
                            f.write_str(&crate::plan::quote_literal(&String::from_utf8_lossy(
                                bytes,
                            )))?;
                        }
                        Ok(ValueRef::Blob(bytes)) => {
                            f.write_str("x'")?;
                            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                            f.write_str("'")?;
                        }
                    }
                }
                f.write_str(")")
            }
        }
    }
}
