//! Go's template language, as rules, notifications and their users' files write it.
//!
//! ```text
//! text ── lex ──> tokens ── parse ──> Template (nodes, defined templates) ── execute(data, functions) ──> text
//! ```
//!
//! All of the language: actions, pipelines, variables, `if`, `range`, `with`, `define`, `block`, `template`, `break`,
//! `continue`, trimming, comments; the built-in functions but `call`, `html`'s kin among them. Further functions and the
//! methods of values come from the caller by [`Functions`]. A key that a map lacks is the empty text (Go's option
//! `missingkey=zero`). Written here, because the crate `gtmpl` has had no release since 2021.
//!
//! Pure. The depth of nesting, of templates that call each other, and the size of the output are bounded.

mod builtin;
mod execute;
mod lex;
mod parse;
mod print;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use builtin::{escape_html, escape_query, title_case};
pub use execute::{Functions, NoFunctions};
pub use parse::{Template, TemplateError};
pub(crate) use print::{layout, significant, time_in_json};
pub use value::{Record, Value};
