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
