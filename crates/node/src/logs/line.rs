//! One line of a log file.

use jiff::Timestamp;

/// A line of a log file, in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The time as written.
    pub time: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// Whether the text goes on with the stream's next line.
    pub partial: bool,
    /// What the container wrote, without the end of the line.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads a line without its end; `None` when it is not one of a log.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut parts = bytes.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let stream = std::str::from_utf8(parts.next()?).ok()?;
        let tags = parts.next()?;
        let text = parts.next().unwrap_or_default();
        if !matches!(stream, "stdout" | "stderr") {
            return None;
        }
        let partial = tags.split(|byte| *byte == b':').next() == Some(b"P");
        Some(Self {
            time,
            stream,
            partial,
            text,
        })
    }

    /// When it was written.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        self.time.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_time_a_stream_a_tag_and_a_text() {
        let line = Line::parse(b"2026-01-02T03:04:05.5Z stdout F a b  c").expect("a line");
        assert_eq!((line.stream, line.partial), ("stdout", false));
        assert_eq!(line.text, b"a b  c");
        let part = Line::parse(b"2026-01-02T03:04:05Z stderr P ").expect("a line");
        assert!(part.partial && part.text.is_empty());
        let empty = Line::parse(b"2026-01-02T03:04:05Z stderr F").expect("a line");
        assert!(empty.text.is_empty());
        for bad in ["", "x", "2026 other F text", "stdout F"] {
            assert_eq!(Line::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
