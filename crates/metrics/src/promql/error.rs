use std::fmt;

use super::source::ReadError;

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The text is no PromQL.
    #[error("{at}: parse error: {reason}")]
    Parse {
        /// Where in the text.
        at: Position,
        /// What is wrong there.
        reason: String,
    },
    /// Valid PromQL that this engine does not evaluate.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// A part of PromQL that may change and must be switched on.
    #[error("{0} is experimental and not enabled")]
    Experimental(String),
    /// The query cannot be evaluated over this data, for example because a match is ambiguous.
    #[error("{0}")]
    Execution(String),
    /// The query needs more samples at once than allowed.
    #[error(
        "query processing would load too many samples into memory in query execution (limit {limit})"
    )]
    TooManySamples {
        /// The limit.
        limit: usize,
    },
    /// What is stored cannot be read.
    #[error("expanding series: {0}")]
    Storage(#[from] ReadError),
    /// The caller gave up.
    #[error("query was canceled in expression evaluation")]
    Cancelled,
    /// It took longer than allowed.
    #[error("query timed out in expression evaluation")]
    TimedOut,
}

impl QueryError {
    pub(crate) fn execution(message: impl Into<String>) -> QueryError {
        QueryError::Execution(message.into())
    }
}

/// A place in a query's text, both counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The byte in the line.
    pub column: usize,
}

impl Position {
    /// The place of a byte offset.
    pub(crate) fn of(text: &str, offset: usize) -> Position {
        let before = &text.as_bytes()[..offset.min(text.len())];
        let line_start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        Position {
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            column: before.len() - line_start + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_bytes_from_one() {
        assert_eq!(Position::of("a\nbc", 0).to_string(), "1:1");
        assert_eq!(Position::of("a\nbc", 3).to_string(), "2:2");
        assert_eq!(Position::of("a", 9).to_string(), "1:2");
    }
}
