//! PromQL: queries over a [`SeriesSource`], answered as Prometheus 3 answers them.
//!
//! ```text
//! text ── syntax ──> tree ── eval ──> rows: one series, one value a step ──> Answer { value, annotations }
//! ```
//!
//! | part | is |
//! | --- | --- |
//! | `syntax` | reads and checks the text; the tree knows where each part was written |
//! | `eval` | evaluates a part for all steps at once, each series walked once |
//! | [`Query`] | a query ready to be asked, at an instant or over a range |
//! | [`Answer`] | the value, and warnings and notes on how it came about |
//! | [`SeriesNotation`] | series written down for tests: `up{job="a"} 0+1x10 _ stale` |
//! | [`SeriesSource`] | where series come from |
//!
//! Pure: times come from the caller, a query that takes too long is stopped by its [`Cancel`].
//! Native histograms are not evaluated; experimental functions must be switched on.

mod annotations;
mod error;
mod eval;
pub(crate) mod go_format;
mod notation;
mod print;
mod query;
mod source;
mod syntax;
mod value;

pub use annotations::{Annotation, Annotations, Severity};
pub use error::{Position, QueryError};
pub(crate) use go_format::{exponential_shortest, plain, shortest};
pub use notation::{NotationError, Point, SeriesNotation, parse_float, parse_time};
pub use query::{Answer, Cancel, Options, Query, Span};
pub use source::{ReadError, SeriesSource, SourceSeries};
pub(crate) use syntax::parse_duration;
pub use value::{Element, SeriesValues, Value};
