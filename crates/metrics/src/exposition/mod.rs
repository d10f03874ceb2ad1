//! The formats in which metrics are exposed: read from targets, written by exporters and federation.
//!
//! ```text
//! Accept header ── Format::negotiate ──> Writer ── family, sample, … ──> body
//! body + Content-Type ── Format::of_content_type ──> parse ──> Entry, Entry, …
//! ```
//!
//! | part | is |
//! | --- | --- |
//! | [`Format`] | text 0.0.4, OpenMetrics 1.0 or protobuf, and how client and server agree on one |
//! | [`Writer`] | the one writer of all exporters |
//! | [`parse`] | reads a body; strict: a line that cannot be read fails the scrape, as in Prometheus |
//! | [`protobuf`] | the messages of the protobuf format |
//! | `lines` | the lenient reader of the kubelet's resource metrics |

mod format;
pub(crate) mod lines;
mod names;
mod parser;
pub mod protobuf;
mod writer;

pub use format::{Escaping, Format, accept_header};
pub use names::{escape_name, is_legacy_label_name, is_legacy_metric_name};
pub use parser::{Entry, ParseError, SampleEntry, parse, parse_body, series_labels};
pub use writer::{FamilyWriter, MetricKind, Writer};
