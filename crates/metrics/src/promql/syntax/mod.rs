//! PromQL's text read into a tree that knows where each part was written.
//!
//! `lexer` cuts the text into tokens, `parser` builds the tree (`tree`), `check` sees to it that
//! every part has the type its place asks for. A tree that leaves here is safe to evaluate: its depth
//! is bounded, its patterns compile, its functions exist and have the arguments they take.
//!
//! The reader is our own, because the crate `promql-parser` (0.11) keeps no places, which annotations print;
//! refuses raw texts with backslashes, reads `"\xff"` as a letter and `1h5000000000ms` as an hour, panics on
//! `x[1e30]`; and brings `chrono` and a parser generator.

mod check;
mod functions;
mod lexer;
mod parser;
mod selector;
mod tree;
mod window;

#[cfg(test)]
mod tests;

pub(crate) use functions::{DatePart, Function, OverTime, Variadic};
pub(crate) use lexer::parse_duration;
pub(crate) use parser::{parse, parse_labels};
pub(crate) use tree::{
    Aggregate, Aggregation, Binary, Call, Cardinality, Expr, ExprKind, Grouping, Length, Matching,
    Operator, Pin, Selector, Subquery, ValueType,
};
