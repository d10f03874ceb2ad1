//! What SQLite makes of a declared type.

use crate::profile::ColumnProfile;
use crate::schema::Column;

/// The affinity that SQLite gives a declared type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

pub(super) fn affinity(declared: &str, strict: bool) -> Affinity {
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

/// A declared type of INTEGER affinity that is no usual name of one, of a column that holds both
/// integers and texts, such as `INTEGER_OR_TEXT`: all columns of that type are taken alike, so that
/// keys that refer to each other have one type.
pub(in crate::plan) fn mixed_type(column: &Column<'_>, profile: &ColumnProfile) -> Option<String> {
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
