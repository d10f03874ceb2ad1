use std::collections::BTreeSet;
use std::fmt;

use crate::series_store::quote;

use super::error::Position;

/// How much an annotation matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The answer is most likely not what was meant.
    Warning,
    /// The answer may not be what was meant.
    Info,
}

/// A remark on how an answer came about, worded as Prometheus words it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Annotation {
    /// How much it matters.
    pub severity: Severity,
    /// What there is to say, without severity and place.
    pub message: String,
    /// Where in the query, as `line:column`.
    pub place: String,
}

impl fmt::Display for Annotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Info => "info",
        };
        write!(f, "PromQL {severity}: {} ({})", self.message, self.place)
    }
}

/// Remarks on an answer, each once, warnings first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations(BTreeSet<Annotation>);

impl Annotations {
    pub(crate) fn add(&mut self, severity: Severity, message: String, place: Position) {
        self.0.insert(Annotation {
            severity,
            message,
            place: place.to_string(),
        });
    }

    /// The remarks, warnings first, then by text.
    pub fn iter(&self) -> impl Iterator<Item = &Annotation> {
        self.0.iter()
    }

    /// The texts of the remarks of one severity.
    #[must_use]
    pub fn texts(&self, severity: Severity) -> Vec<String> {
        let chosen = self
            .0
            .iter()
            .filter(|annotation| annotation.severity == severity);
        chosen.map(ToString::to_string).collect()
    }
}

/// A message with the metric it is about, where the metric has a name.
pub(crate) fn about_metric(message: &str, metric: &str) -> String {
    if metric.is_empty() {
        return message.to_owned();
    }
    format!("{message} for metric name {}", quote(metric))
}
