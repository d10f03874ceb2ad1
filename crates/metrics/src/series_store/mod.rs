//! What time series are made of: labels, conditions on them, samples and their compressed form.
//!
//! | part | is |
//! | --- | --- |
//! | [`Labels`] | what names a series: sorted pairs, the metric's name among them |
//! | [`Matcher`] | one condition on a label, as a selector writes it |
//! | [`Pattern`] | a regular expression in Go's (RE2) syntax, anchored at both ends |
//! | [`Chunk`], [`Samples`] | samples, compressed, and how they are read |
//! | `pack` | compresses samples that are all known as small as the format allows |
//! | `index` | which series in memory have which label |
//! | `postings` | answers matchers from such lists, in memory or on disk, without touching series |
//!
//! Pure: nothing here reads a clock, a file or the network. Times are milliseconds since the epoch.

mod chunk;
mod index;
mod labels;
mod matcher;
mod pack;
mod pattern;
mod postings;

pub use chunk::{Chunk, Sample, Samples};
pub(crate) use index::{LabelIndex, SeriesNumber};
pub use labels::{Labels, METRIC_NAME};
pub(crate) use labels::{quote, quote_bytes};
pub use matcher::{MatchKind, Matcher};
pub(crate) use pack::{SAMPLES_IN_PACKED, pack};
pub use pattern::{Pattern, PatternError};
pub(crate) use postings::{Postings, Wanted, select as select_postings};

/// The value that says a series ended here: a NaN with this exact bit pattern.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The stale marker as a value.
#[must_use]
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Whether a value is the stale marker; other NaNs are values.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}
