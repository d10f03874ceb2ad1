use std::fmt::Write as _;

use prost::Message as _;

use super::protobuf::{
    Bucket, Histogram, LabelPair, Metric, MetricFamily, MetricType, Number, Quantile, Summary,
    bound,
};
use super::{Escaping, Format, escape_name, is_legacy_label_name, is_legacy_metric_name};
use crate::promql::go_format::{open_metrics, shortest};

/// What a metric's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricKind {
    /// Only grows, and begins again at zero; the name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations by bucket.
    Histogram,
    /// Observations by bucket, of which some may go away.
    GaugeHistogram,
    /// Observations by quantile.
    Summary,
    /// What does not change, in labels; the value is 1.
    Info,
    /// States that hold (1) or not (0).
    StateSet,
    /// Not said.
    Unknown,
}

impl MetricKind {
    /// The kind as OpenMetrics and Prometheus' metadata name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            MetricKind::GaugeHistogram => "gaugehistogram",
            MetricKind::Summary => "summary",
            MetricKind::Info => "info",
            MetricKind::StateSet => "stateset",
            MetricKind::Unknown => "unknown",
        }
    }

    /// The kind of a `TYPE` line.
    #[must_use]
    pub fn named(name: &str) -> Option<MetricKind> {
        Some(match name {
            "counter" => MetricKind::Counter,
            "gauge" => MetricKind::Gauge,
            "histogram" => MetricKind::Histogram,
            "gaugehistogram" => MetricKind::GaugeHistogram,
            "summary" => MetricKind::Summary,
            "info" => MetricKind::Info,
            "stateset" => MetricKind::StateSet,
            "unknown" | "untyped" => MetricKind::Unknown,
            _ => return None,
        })
    }

    /// The kind in the text format, which knows five.
    fn text_name(self) -> &'static str {
        match self {
            MetricKind::Info | MetricKind::StateSet => "gauge",
            MetricKind::GaugeHistogram => "histogram",
            MetricKind::Unknown => "untyped",
            other => other.name(),
        }
    }

    fn message_type(self) -> MetricType {
        match self {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge | MetricKind::Info | MetricKind::StateSet => MetricType::Gauge,
            MetricKind::Histogram => MetricType::Histogram,
            MetricKind::GaugeHistogram => MetricType::GaugeHistogram,
            MetricKind::Summary => MetricType::Summary,
            MetricKind::Unknown => MetricType::Untyped,
        }
    }
}

/// Writes metrics in any [`Format`], family by family.
///
/// ```
/// use springtide_metrics::exposition::{Format, MetricKind, Writer};
/// let mut writer = Writer::new(Format::negotiate(None));
/// writer
///     .family("http_requests_total", "Requests answered.", MetricKind::Counter)
///     .sample(&[("code", "200")], 17.0);
/// let text = String::from_utf8(writer.finish()).unwrap();
/// assert!(text.ends_with("http_requests_total{code=\"200\"} 17\n"));
/// ```
#[derive(Debug)]
pub struct Writer {
    format: Format,
    out: String,
    messages: Vec<u8>,
}

/// Writes one family's samples; what it was given is complete when it is dropped.
#[derive(Debug)]
pub struct FamilyWriter<'w> {
    writer: &'w mut Writer,
    name: String,
    kind: MetricKind,
    /// Used by the protobuf format alone.
    message: MetricFamily,
}

impl Writer {
    /// An empty body.
    #[must_use]
    pub fn new(format: Format) -> Writer {
        Writer {
            format,
            out: String::new(),
            messages: Vec::new(),
        }
    }

    /// Begins a family. Each name should come once. A counter's name ends in `_total`; a histogram's and a
    /// summary's has no ending; an info's ends in `_info`.
    pub fn family(&mut self, name: &str, help: &str, kind: MetricKind) -> FamilyWriter<'_> {
        let name = self.spelled(name);
        let mut message = MetricFamily::default();
        match self.format {
            Format::Protobuf => {
                message.name = Some(name.clone());
                message.help = (!help.is_empty()).then(|| help.to_owned());
                message.r#type = Some(kind.message_type().into());
            }
            Format::Text(_) => self.head(&name, help, kind.text_name(), false),
            Format::OpenMetrics(_) => {
                let base = match kind {
                    MetricKind::Counter => name.strip_suffix("_total").unwrap_or(&name),
                    MetricKind::Info => name.strip_suffix("_info").unwrap_or(&name),
                    _ => &name,
                };
                self.head(base, help, kind.name(), true);
            }
        }
        FamilyWriter {
            writer: self,
            name,
            kind,
            message,
        }
    }

    /// The body.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        match self.format {
            Format::Protobuf => self.messages,
            Format::Text(_) => self.out.into_bytes(),
            Format::OpenMetrics(_) => {
                self.out.push_str("# EOF\n");
                self.out.into_bytes()
            }
        }
    }

    fn spelled(&self, name: &str) -> String {
        match self.format {
            Format::Text(Escaping::Underscores) | Format::OpenMetrics(Escaping::Underscores) => {
                escape_name(name).into_owned()
            }
            _ => name.to_owned(),
        }
    }

    fn head(&mut self, name: &str, help: &str, kind: &str, escapes_quotes: bool) {
        let mut shown = String::new();
        if is_legacy_metric_name(name) {
            shown.push_str(name);
        } else {
            push_quoted(&mut shown, name);
        }
        if !help.is_empty() {
            self.out.push_str("# HELP ");
            self.out.push_str(&shown);
            self.out.push(' ');
            push_escaped(&mut self.out, help, escapes_quotes);
            self.out.push('\n');
        }
        self.out.push_str("# TYPE ");
        self.out.push_str(&shown);
        self.out.push(' ');
        self.out.push_str(kind);
        self.out.push('\n');
    }

    fn line(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        extra: Option<(&str, &str)>,
        value: f64,
        time: Option<i64>,
    ) {
        let is_plain = is_legacy_metric_name(name);
        if is_plain {
            self.out.push_str(name);
        }
        let has_labels = !labels.is_empty() || extra.is_some();
        if has_labels || !is_plain {
            self.out.push('{');
            if !is_plain {
                push_quoted(&mut self.out, name);
                self.out.push_str(if has_labels { "," } else { "" });
            }
            for (at, (label, text)) in labels.iter().copied().chain(extra).enumerate() {
                if at > 0 {
                    self.out.push(',');
                }
                if is_legacy_label_name(label) {
                    self.out.push_str(label);
                } else if matches!(
                    self.format,
                    Format::Text(Escaping::Utf8) | Format::OpenMetrics(Escaping::Utf8)
                ) {
                    push_quoted(&mut self.out, label);
                } else {
                    self.out.push_str(&escape_name(label).replace(':', "_"));
                }
                self.out.push('=');
                push_quoted(&mut self.out, text);
            }
            self.out.push('}');
        }
        self.out.push(' ');
        let is_open_metrics = matches!(self.format, Format::OpenMetrics(_));
        if is_open_metrics {
            self.out.push_str(&open_metrics(value));
        } else {
            self.out.push_str(&shortest(value));
        }
        if let Some(time) = time {
            if is_open_metrics {
                let sign = if time < 0 { "-" } else { "" };
                let (seconds, millis) = (time.unsigned_abs() / 1000, time.unsigned_abs() % 1000);
                let _ = write!(self.out, " {sign}{seconds}.{millis:03}");
            } else {
                let _ = write!(self.out, " {time}");
            }
        }
        self.out.push('\n');
    }
}

impl FamilyWriter<'_> {
    /// A sample of a counter, gauge, info, state set or unknown.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.sample_at(labels, value, None)
    }

    /// A sample, and when it was measured (milliseconds since the epoch).
    pub fn sample_at(
        &mut self,
        labels: &[(&str, &str)],
        value: f64,
        time: Option<i64>,
    ) -> &mut Self {
        if self.writer.format == Format::Protobuf {
            let number = Some(Number { value: Some(value) });
            let mut metric = message_of(labels, time);
            match self.kind {
                MetricKind::Counter => metric.counter = number,
                MetricKind::Unknown => metric.untyped = number,
                _ => metric.gauge = number,
            }
            self.message.metric.push(metric);
            return self;
        }
        let is_open_metrics = matches!(self.writer.format, Format::OpenMetrics(_));
        let ending = match self.kind {
            MetricKind::Counter if is_open_metrics && !self.name.ends_with("_total") => "_total",
            MetricKind::Info if is_open_metrics && !self.name.ends_with("_info") => "_info",
            _ => "",
        };
        let name = format!("{}{ending}", self.name);
        self.writer.line(&name, labels, None, value, time);
        self
    }

    /// A histogram: upper bounds in rising order with the number of observations up to each. The bucket
    /// of all, `+Inf`, is added where it is missing.
    pub fn histogram(
        &mut self,
        labels: &[(&str, &str)],
        buckets: &[(f64, u64)],
        sum: f64,
        count: u64,
    ) -> &mut Self {
        self.histogram_at(labels, buckets, sum, count, None)
    }

    /// A histogram, and when it was measured (milliseconds since the epoch).
    pub fn histogram_at(
        &mut self,
        labels: &[(&str, &str)],
        buckets: &[(f64, u64)],
        sum: f64,
        count: u64,
        time: Option<i64>,
    ) -> &mut Self {
        if self.writer.format == Format::Protobuf {
            let bucket = |(upper_bound, count): &(f64, u64)| Bucket {
                cumulative_count: Some(*count),
                upper_bound: Some(*upper_bound),
            };
            let mut metric = message_of(labels, time);
            metric.histogram = Some(Histogram {
                sample_count: Some(count),
                sample_sum: Some(sum),
                bucket: buckets.iter().map(bucket).collect(),
            });
            self.message.metric.push(metric);
            return self;
        }
        let name = format!("{}_bucket", self.name);
        let has_last = buckets
            .last()
            .is_some_and(|(upper_bound, _)| *upper_bound == f64::INFINITY);
        let last = (!has_last).then_some((f64::INFINITY, count));
        for (upper_bound, count) in buckets.iter().copied().chain(last) {
            let le = self.bound(upper_bound);
            self.writer
                .line(&name, labels, Some(("le", &le)), count as f64, time);
        }
        self.sum_and_count(labels, sum, count, time)
    }

    /// A summary: quantiles (0 to 1) with the value at each.
    pub fn summary(
        &mut self,
        labels: &[(&str, &str)],
        quantiles: &[(f64, f64)],
        sum: f64,
        count: u64,
    ) -> &mut Self {
        self.summary_at(labels, quantiles, sum, count, None)
    }

    /// A summary, and when it was measured (milliseconds since the epoch).
    pub fn summary_at(
        &mut self,
        labels: &[(&str, &str)],
        quantiles: &[(f64, f64)],
        sum: f64,
        count: u64,
        time: Option<i64>,
    ) -> &mut Self {
        if self.writer.format == Format::Protobuf {
            let quantile = |(quantile, value): &(f64, f64)| Quantile {
                quantile: Some(*quantile),
                value: Some(*value),
            };
            let mut metric = message_of(labels, time);
            metric.summary = Some(Summary {
                sample_count: Some(count),
                sample_sum: Some(sum),
                quantile: quantiles.iter().map(quantile).collect(),
            });
            self.message.metric.push(metric);
            return self;
        }
        let name = self.name.clone();
        for (quantile, value) in quantiles {
            let quantile = self.bound(*quantile);
            let extra = Some(("quantile", quantile.as_str()));
            self.writer.line(&name, labels, extra, *value, time);
        }
        self.sum_and_count(labels, sum, count, time)
    }

    fn bound(&self, value: f64) -> String {
        match self.writer.format {
            Format::OpenMetrics(_) => bound(value),
            _ => shortest(value),
        }
    }

    fn sum_and_count(
        &mut self,
        labels: &[(&str, &str)],
        sum: f64,
        count: u64,
        time: Option<i64>,
    ) -> &mut Self {
        let (sum_ending, count_ending) = match (self.kind, self.writer.format) {
            (MetricKind::GaugeHistogram, Format::OpenMetrics(_)) => ("_gsum", "_gcount"),
            _ => ("_sum", "_count"),
        };
        let name = format!("{}{sum_ending}", self.name);
        self.writer.line(&name, labels, None, sum, time);
        let name = format!("{}{count_ending}", self.name);
        self.writer.line(&name, labels, None, count as f64, time);
        self
    }
}

impl Drop for FamilyWriter<'_> {
    fn drop(&mut self) {
        if self.writer.format == Format::Protobuf {
            self.writer
                .messages
                .extend(self.message.encode_length_delimited_to_vec());
        }
    }
}

fn message_of(labels: &[(&str, &str)], time: Option<i64>) -> Metric {
    let pair = |(name, value): &(&str, &str)| LabelPair {
        name: Some((*name).to_owned()),
        value: Some((*value).to_owned()),
    };
    Metric {
        label: labels.iter().map(pair).collect(),
        timestamp_ms: time,
        ..Metric::default()
    }
}

fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text, true);
    out.push('"');
}

fn push_escaped(out: &mut String, text: &str, escapes_quotes: bool) {
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if escapes_quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(format: Format) -> Vec<u8> {
        let mut writer = Writer::new(format);
        writer
            .family("a_total", "Says \"a\"\n\\", MetricKind::Counter)
            .sample(&[("x", "q\"\\\n"), ("y.z", "1")], 2.5)
            .sample_at(&[], 1e9, Some(1_500));
        writer.family("h", "", MetricKind::Histogram).histogram(
            &[("p", "q")],
            &[(0.5, 1), (1.0, 3)],
            4.0,
            5,
        );
        writer
            .family("s", "", MetricKind::Summary)
            .summary(&[], &[(0.5, f64::NAN)], 4.0, 5);
        writer
            .family("b.c", "", MetricKind::Unknown)
            .sample(&[], f64::INFINITY);
        writer.finish()
    }

    #[test]
    fn text_escapes_and_ends_lines_as_prometheus_does() {
        let text = String::from_utf8(write(Format::Text(Escaping::Underscores))).expect("UTF-8");
        let expected = "# HELP a_total Says \"a\"\\n\\\\\n# TYPE a_total counter\n\
            a_total{x=\"q\\\"\\\\\\n\",y_z=\"1\"} 2.5\na_total 1e+09 1500\n\
            # TYPE h histogram\nh_bucket{p=\"q\",le=\"0.5\"} 1\nh_bucket{p=\"q\",le=\"1\"} 3\n\
            h_bucket{p=\"q\",le=\"+Inf\"} 5\nh_sum{p=\"q\"} 4\nh_count{p=\"q\"} 5\n\
            # TYPE s summary\ns{quantile=\"0.5\"} NaN\ns_sum 4\ns_count 5\n\
            # TYPE b_c untyped\nb_c +Inf\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn open_metrics_names_families_without_total_and_ends_with_eof() {
        let text = String::from_utf8(write(Format::OpenMetrics(Escaping::Utf8))).expect("UTF-8");
        let expected = "# HELP a Says \\\"a\\\"\\n\\\\\n# TYPE a counter\n\
            a_total{x=\"q\\\"\\\\\\n\",\"y.z\"=\"1\"} 2.5\na_total 1e+09 1.500\n\
            # TYPE h histogram\nh_bucket{p=\"q\",le=\"0.5\"} 1.0\nh_bucket{p=\"q\",le=\"1.0\"} 3.0\n\
            h_bucket{p=\"q\",le=\"+Inf\"} 5.0\nh_sum{p=\"q\"} 4.0\nh_count{p=\"q\"} 5.0\n\
            # TYPE s summary\ns{quantile=\"0.5\"} NaN\ns_sum 4.0\ns_count 5.0\n\
            # TYPE \"b.c\" unknown\n{\"b.c\"} +Inf\n# EOF\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn protobuf_carries_the_same() {
        let families = super::super::protobuf::decode(&write(Format::Protobuf)).expect("decodes");
        let names: Vec<&str> = families.iter().map(MetricFamily::name).collect();
        assert_eq!(names, ["a_total", "h", "s", "b.c"]);
        assert_eq!(families[0].metric[1].timestamp_ms, Some(1_500));
        assert_eq!(
            families[1].metric[0]
                .histogram
                .as_ref()
                .map(|h| h.bucket.len()),
            Some(2)
        );
    }
}
