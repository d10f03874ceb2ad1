//! Prometheus' text format 0.0.4, written family by family.

use std::fmt::Write as _;

/// What a family's values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations counted by size.
    Histogram,
    /// Not said.
    Untyped,
}

/// Text in the format 0.0.4.
#[derive(Debug, Default)]
pub struct Text {
    written: String,
}

/// One family of a [`Text`]; its head is written with its first sample.
pub struct FamilyText<'t> {
    written: &'t mut String,
    name: &'t str,
    help: &'t str,
    kind: Kind,
    begun: bool,
}

// === impl Text ===

impl Text {
    /// Begins a family. Its samples must be written before the next family begins.
    pub fn family<'t>(&'t mut self, name: &'t str, help: &'t str, kind: Kind) -> FamilyText<'t> {
        FamilyText {
            written: &mut self.written,
            name,
            help,
            kind,
            begun: false,
        }
    }

    /// Adds text that is in the format already.
    pub fn append(&mut self, text: &str) {
        self.written.push_str(text);
        if !text.is_empty() && !text.ends_with('\n') {
            self.written.push('\n');
        }
    }

    /// What was written.
    #[must_use]
    pub fn into_string(self) -> String {
        self.written
    }
}

// === impl FamilyText ===

impl FamilyText<'_> {
    /// Writes a sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.suffixed("", labels, None, value);
    }

    /// Writes a sample that was measured at a time, in milliseconds since 1970.
    pub fn sample_at(&mut self, labels: &[(&str, &str)], value: f64, milliseconds: i64) {
        self.suffixed("", labels, None, value);
        self.written.pop();
        // Writing to a string cannot fail.
        let _ = writeln!(self.written, " {milliseconds}");
    }

    /// Writes a sample whose name is the family's with a suffix, with one label more, such as a histogram's bucket.
    pub fn suffixed(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        more: Option<(&str, &str)>,
        value: f64,
    ) {
        if !self.begun {
            self.begun = true;
            self.head();
        }
        self.written.push_str(self.name);
        self.written.push_str(suffix);
        let mut mark = '{';
        for (name, value) in labels.iter().copied().chain(more) {
            self.written.push(mark);
            self.written.push_str(name);
            self.written.push_str("=\"");
            escape(self.written, value, true);
            self.written.push('"');
            mark = ',';
        }
        self.written.push_str(if mark == ',' { "} " } else { " " });
        self.written.push_str(&number(value));
        self.written.push('\n');
    }

    fn head(&mut self) {
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Untyped => "untyped",
        };
        if !self.help.is_empty() {
            let _ = write!(self.written, "# HELP {} ", self.name);
            escape(self.written, self.help, false);
            self.written.push('\n');
        }
        let _ = writeln!(self.written, "# TYPE {} {kind}", self.name);
    }
}

/// A value as Prometheus writes it: `+Inf`, `-Inf`, `NaN`, or the shortest decimal that reads back the same.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}

fn escape(into: &mut String, text: &str, quotes: bool) {
    for char in text.chars() {
        match char {
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '"' if quotes => into.push_str("\\\""),
            plain => into.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_are_escaped_and_times_follow_values() {
        let mut text = Text::default();
        let mut family = text.family("x", "", Kind::Untyped);
        family.sample(&[("a", "q\"\\\n")], f64::NAN);
        family.sample_at(&[], f64::INFINITY, 12);
        assert_eq!(
            text.into_string(),
            "# TYPE x untyped\nx{a=\"q\\\"\\\\\\n\"} NaN\nx +Inf 12\n"
        );
    }
}
