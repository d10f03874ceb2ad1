//! Standard output and standard error. A reader that has gone, as behind `| head`, ends nothing.

use std::io::{self, ErrorKind, Write};

/// Writes a line to standard output, made as by `format!`.
macro_rules! say {
    () => { $crate::output::print("\n") };
    ($($part:tt)*) => { $crate::output::print(&format!("{}\n", format_args!($($part)*))) };
}

/// Writes a line to standard error, made as by `format!`.
macro_rules! complain {
    ($($part:tt)*) => { $crate::output::print_error(format_args!($($part)*)) };
}

pub(crate) use {complain, say};

/// Writes a text to standard output. Where it cannot be written, as on a full disk, the program says so and ends with
/// status 1: what was asked for is not there.
pub(crate) fn print(text: &str) {
    if let Err(error) = try_print(text.as_bytes()) {
        complain!("tide: standard output cannot be written: {error}");
        std::process::exit(1);
    }
}

/// Writes to standard output.
///
/// # Errors
/// It cannot be written for another reason than that nobody reads it.
pub(crate) fn try_print(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes a line to standard error; that it cannot be written is nobody's to hear.
pub(crate) fn print_error(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A text as one word of a shell's command, in quotes where it needs them.
pub(crate) fn shell_word(text: &str) -> String {
    let is_plain = |sign: char| sign.is_alphanumeric() || "/._-+:@%,=".contains(sign);
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// An error and its causes, each of which is told once: many errors name their cause in their own words already.
pub(crate) fn sentence(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.ends_with(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_that_an_error_names_itself_is_told_once() {
        let error = anyhow!("no such file").context("cannot read x: no such file");
        assert_eq!(sentence(&error), "cannot read x: no such file");
        let error = error.context("the folder cannot be used");
        assert_eq!(
            sentence(&error),
            "the folder cannot be used: cannot read x: no such file"
        );
    }

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (path, word) in [
            (
                "/home/you/.local/share/springtide",
                "/home/you/.local/share/springtide",
            ),
            ("/a b/c", "'/a b/c'"),
            ("/it's", "'/it'\\''s'"),
        ] {
            assert_eq!(shell_word(path), word);
        }
    }
}
