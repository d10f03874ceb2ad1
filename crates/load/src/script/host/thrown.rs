//! What a script threw, in the words that its author reads.

use rquickjs::CaughtError;

use super::super::isolate::Isolate;
use super::super::loader::lacks_exports;
use super::values;

/// How a rejection that nobody handles is told.
pub(super) const IN_PROMISE: &str = "Uncaught (in promise) ";

/// What QuickJS says of whatever is called and cannot be.
const NOT_A_FUNCTION: &str = "not a function";

/// An exception, as text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(in super::super) struct Thrown {
    pub(super) text: String,
    /// The iteration was ended from outside.
    pub(super) interrupt: bool,
}

// === impl Thrown ===

impl Thrown {
    pub(in super::super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            interrupt: false,
        }
    }

    pub(super) fn interrupted() -> Self {
        Self {
            text: "interrupted".to_owned(),
            interrupt: true,
        }
    }

    /// True if the iteration was ended from outside.
    pub(in super::super) fn is_interrupt(&self) -> bool {
        self.interrupt
    }

    /// What a module's code threw, which is a promise to the engine alone.
    pub(in super::super) fn of_init_code(mut self) -> Self {
        if let Some(text) = self.text.strip_prefix(IN_PROMISE) {
            self.text = text.to_owned();
        }
        self
    }

    /// Why a module cannot be loaded.
    pub(in super::super) fn of_loading(error: CaughtError<'_>) -> Self {
        let mut thrown = Self::from(error);
        if let Some(hint) = lacks_exports(&thrown.text) {
            thrown.text = hint;
        }
        thrown
    }
}

impl From<CaughtError<'_>> for Thrown {
    fn from(error: CaughtError<'_>) -> Self {
        let text = match error {
            CaughtError::Exception(exception) => {
                let object = exception.as_object();
                let name: String = object.get("name").unwrap_or_else(|_| "Error".to_owned());
                let message = exception.message().unwrap_or_default();
                let stack = exception.stack().unwrap_or_default();
                let interrupt = name == "InternalError" && message == "interrupted";
                let text = described(&name, &message, &stack);
                return Self { text, interrupt };
            }
            CaughtError::Value(value) => values::shown(&value),
            CaughtError::Error(error) => error.to_string(),
        };
        Self {
            text,
            interrupt: false,
        }
    }
}

fn described(name: &str, message: &str, stack: &str) -> String {
    let mut text = match called(message, stack) {
        Some(called) => format!("{name}: {called} is {message}"),
        None if message.is_empty() => name.to_owned(),
        None => format!("{name}: {message}"),
    };
    for line in stack.lines().map(str::trim).filter(|line| !line.is_empty()) {
        // Where in the host's own modules it happened says nothing to the script's author.
        if !line.contains("(springtide:") && !line.contains("(native)") {
            text.push_str("\n\t");
            text.push_str(line);
        }
    }
    text
}

/// What it was that is no function: QuickJS says only where that was.
fn called(message: &str, stack: &str) -> Option<String> {
    if message != NOT_A_FUNCTION {
        return None;
    }
    let place = stack.lines().find(|line| !line.trim().is_empty())?;
    let place = &place[place.find("file://")?..];
    let mut parts = place.trim_end_matches(')').rsplitn(3, ':');
    let column: usize = parts.next()?.parse().ok()?;
    let line: usize = parts.next()?.parse().ok()?;
    let line = Isolate::running()?.modules().line(parts.next()?, line)?;
    callee(&line, column).map(str::to_owned)
}

/// The name that is called at this column of a line, such as `list.first.open`. The engine gives the
/// column where a name begins, that of a member after the dot.
fn callee(line: &str, column: usize) -> Option<&str> {
    let in_name = |sign: char| sign.is_alphanumeric() || matches!(sign, '_' | '$' | '#');
    let (at, _) = line.char_indices().nth(column.checked_sub(1)?)?;
    let after = &line[at..];
    let in_names = |sign: char| in_name(sign) || sign == '.';
    let end = at + after.find(|sign| !in_names(sign)).unwrap_or(after.len());
    let rest = line[end..].trim_start();
    if end == at || !rest.starts_with('(') {
        return None;
    }
    let whole = &line[..end];
    let start = whole
        .char_indices()
        .rev()
        .take_while(|(_, sign)| in_names(*sign))
        .last()
        .map(|(start, _)| start)?;
    let name = whole[start..].trim_matches('.');
    name.starts_with(|sign: char| in_name(sign) && !sign.is_ascii_digit())
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_is_found_where_the_engine_says_it_is() {
        for (line, column, name) in [
            ("const o = {}; o.method()", 17, Some("o.method")),
            ("let f; f()", 8, Some("f")),
            ("let f; f ()", 8, Some("f")),
            ("a.b.c(1, 2)", 5, Some("a.b.c")),
            ("a?.b()", 4, Some("b")),
            ("new (1)()", 5, None),
            ("new o.K()", 5, Some("o.K")),
            ("é.ü()", 3, Some("é.ü")),
            ("make().run()", 8, Some("run")),
            ("list[0]()", 1, None),
            ("5()", 1, None),
            ("(() => 5)()()", 1, None),
            ("o.method", 3, None),
            ("", 1, None),
            ("f()", 0, None),
            ("f()", 99, None),
        ] {
            assert_eq!(callee(line, column), name, "{line}");
        }
    }
}
