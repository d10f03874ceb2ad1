/// How names outside `[a-zA-Z_:][a-zA-Z0-9_:]*` are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escaping {
    /// As they are, in quotes; only for readers that said `escaping=allow-utf-8`.
    Utf8,
    /// With an underscore for each other character.
    Underscores,
}

/// A format of exposed metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format: 0.0.4, or 1.0.0 where names may be UTF-8.
    Text(Escaping),
    /// OpenMetrics 1.0 text.
    OpenMetrics(Escaping),
    /// `io.prometheus.client.MetricFamily` messages, each after its length.
    Protobuf,
}

/// One choice of an `Accept` header.
struct Choice<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f64,
}

impl<'a> Choice<'a> {
    fn parse(text: &'a str) -> Choice<'a> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let parameters: Vec<(&str, &str)> = parts
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
            .collect();
        let quality = parameters
            .iter()
            .find(|(name, _)| *name == "q")
            .map_or(1.0, |(_, value)| value.parse().unwrap_or(0.0));
        Choice {
            media_type,
            parameters,
            quality,
        }
    }

    fn parameter(&self, name: &str) -> &str {
        let found = self.parameters.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value)
    }

    fn escaping(&self) -> Escaping {
        if self.parameter("escaping") == "allow-utf-8" {
            Escaping::Utf8
        } else {
            Escaping::Underscores
        }
    }

    fn format(&self) -> Option<Format> {
        match self.media_type.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" => match self.parameter("version") {
                "" | "0.0.1" | "1.0.0" => Some(Format::OpenMetrics(self.escaping())),
                _ => None,
            },
            "application/vnd.google.protobuf" => {
                let is_family = self.parameter("proto") == "io.prometheus.client.MetricFamily";
                (is_family && self.parameter("encoding") == "delimited").then_some(Format::Protobuf)
            }
            "text/plain" => match self.parameter("version") {
                "" | "0.0.4" | "1.0.0" => Some(Format::Text(self.escaping())),
                _ => None,
            },
            "*/*" | "text/*" => Some(Format::Text(self.escaping())),
            _ => None,
        }
    }
}

impl Format {
    /// The format a server answers in: the one the `Accept` header likes best; text where it names none.
    #[must_use]
    pub fn negotiate(accept: Option<&str>) -> Format {
        let mut best: Option<(f64, Format)> = None;
        for choice in accept.unwrap_or_default().split(',').map(Choice::parse) {
            let Some(format) = choice.format() else {
                continue;
            };
            let is_better = best.is_none_or(|(quality, _)| choice.quality > quality);
            if choice.quality > 0.0 && is_better {
                best = Some((choice.quality, format));
            }
        }
        best.map_or(Format::Text(Escaping::Underscores), |(_, format)| format)
    }

    /// The format of a body, from its `Content-Type`; `None` where that names no known format.
    #[must_use]
    pub fn of_content_type(content_type: &str) -> Option<Format> {
        let choice = Choice::parse(content_type);
        match choice.media_type.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" => Some(Format::OpenMetrics(choice.escaping())),
            "text/plain" => Some(Format::Text(choice.escaping())),
            _ => choice.format(),
        }
    }

    /// What a body in the format is labelled with.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text(Escaping::Underscores) => {
                "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
            }
            Format::Text(Escaping::Utf8) => {
                "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
            }
            Format::OpenMetrics(Escaping::Underscores) => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
            }
            Format::OpenMetrics(Escaping::Utf8) => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
            }
            Format::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; escaping=allow-utf-8"
            }
        }
    }
}

/// The `Accept` header that asks for protocols in the order of liking, named as `scrape_protocols` names them:
/// `PrometheusProto`, `OpenMetricsText1.0.0`, `OpenMetricsText0.0.1`, `PrometheusText1.0.0`, `PrometheusText0.0.4`.
#[must_use]
pub fn accept_header(protocols: &[impl AsRef<str>]) -> String {
    let mut weight = protocols.len() + 1;
    let mut header = String::new();
    for protocol in protocols {
        let media_type = match protocol.as_ref() {
            "PrometheusProto" => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            "OpenMetricsText1.0.0" => {
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8"
            }
            "OpenMetricsText0.0.1" => "application/openmetrics-text;version=0.0.1",
            "PrometheusText1.0.0" => "text/plain;version=1.0.0;escaping=allow-utf-8",
            _ => "text/plain;version=0.0.4",
        };
        header.push_str(&format!("{media_type};q=0.{weight},"));
        weight -= 1;
    }
    header.push_str(&format!("*/*;q=0.{weight}"));
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_liked_known_format_is_chosen() {
        let cases = [
            (None, Format::Text(Escaping::Underscores)),
            (Some("*/*"), Format::Text(Escaping::Underscores)),
            (
                Some("application/json"),
                Format::Text(Escaping::Underscores),
            ),
            (
                Some(
                    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2",
                ),
                Format::OpenMetrics(Escaping::Utf8),
            ),
            (
                Some("application/openmetrics-text;version=2.0.0,text/plain;q=0.3"),
                Format::Text(Escaping::Underscores),
            ),
            (
                Some(
                    "text/plain;q=0.3, application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7",
                ),
                Format::Protobuf,
            ),
        ];
        for (accept, expected) in cases {
            assert_eq!(Format::negotiate(accept), expected, "{accept:?}");
        }
    }

    #[test]
    fn what_a_scraper_accepts_is_what_a_writer_labels() {
        let accept = accept_header(&["PrometheusProto", "OpenMetricsText1.0.0"]);
        assert_eq!(Format::negotiate(Some(&accept)), Format::Protobuf);
        assert!(accept.ends_with("q=0.2,*/*;q=0.1"), "{accept}");
        for format in [
            Format::Text(Escaping::Utf8),
            Format::OpenMetrics(Escaping::Underscores),
            Format::Protobuf,
        ] {
            assert_eq!(Format::of_content_type(format.content_type()), Some(format));
        }
        assert_eq!(Format::of_content_type("text/html"), None);
    }
}
