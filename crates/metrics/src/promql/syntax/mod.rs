//! PromQL's text read into a tree that knows where each part was written.
//!
//! `lexer` cuts the text into tokens, `parser` builds the tree (`tree`), `check` sees to it that
//! every part has the type its place asks for. A tree that leaves here is safe to evaluate: its depth
//! is bounded, its patterns compile, its functions exist and have the arguments they take.

mod check;
mod functions;
mod lexer;
mod parser;
mod tree;

pub(crate) use functions::{DatePart, Function, OverTime};
pub(crate) use lexer::parse_duration;
pub(crate) use parser::{parse, parse_labels};
pub(crate) use tree::{
    Aggregate, Aggregation, Binary, Call, Cardinality, Expr, ExprKind, Grouping, Matching,
    Operator, Pin, Selector, Subquery, ValueType,
};
