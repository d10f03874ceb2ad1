use std::fmt::Write as _;

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::promql::{Annotations, Severity, Value};
use crate::promql::{Element, SeriesValues};
use crate::series_store::{Labels, Sample};

/// What kind of error it is, as `errorType` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorType {
    /// A parameter cannot be used.
    BadData,
    /// The query cannot be evaluated over this data.
    Execution,
    /// The client gave up.
    Canceled,
    /// It took too long.
    Timeout,
    /// The database cannot be read or written.
    Internal,
    /// What is asked for is not here, or not yet.
    Unavailable,
    /// There is nothing by that name.
    NotFound,
}

impl ErrorType {
    fn name(self) -> &'static str {
        match self {
            ErrorType::BadData => "bad_data",
            ErrorType::Execution => "execution",
            ErrorType::Canceled => "canceled",
            ErrorType::Timeout => "timeout",
            ErrorType::Internal => "internal",
            ErrorType::Unavailable => "unavailable",
            ErrorType::NotFound => "not_found",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            ErrorType::BadData => StatusCode::BAD_REQUEST,
            ErrorType::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // What nginx, and Prometheus after it, say of a client that closed the connection.
            ErrorType::Canceled => {
                StatusCode::from_u16(499).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
            }
            ErrorType::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            ErrorType::Internal | ErrorType::Unavailable => StatusCode::INTERNAL_SERVER_ERROR,
            ErrorType::NotFound => StatusCode::NOT_FOUND,
        }
    }
}

/// An error as the API answers it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Its kind.
    pub kind: ErrorType,
    /// What is wrong.
    pub message: String,
}

impl ApiError {
    pub(super) fn new(kind: ErrorType, message: impl Into<String>) -> ApiError {
        ApiError {
            kind,
            message: message.into(),
        }
    }

    pub(super) fn bad_data(message: impl Into<String>) -> ApiError {
        ApiError::new(ErrorType::BadData, message)
    }

    pub(super) fn internal(error: &dyn std::fmt::Display) -> ApiError {
        ApiError::new(ErrorType::Internal, error.to_string())
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    status: &'static str,
    #[serde(rename = "errorType")]
    error_type: &'static str,
    error: &'a str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            status: "error",
            error_type: self.kind.name(),
            error: &self.message,
        };
        let text = serde_json::to_string(&body).unwrap_or_default();
        json(self.kind.status(), text)
    }
}

fn json(status: StatusCode, text: String) -> Response {
    let mut response = (status, text).into_response();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// An answer: data, already JSON, and remarks.
#[derive(Debug, Default)]
pub(super) struct Reply {
    data: String,
    warnings: Vec<String>,
    infos: Vec<String>,
}

impl Reply {
    /// Data that serializes.
    pub(super) fn of(data: &impl Serialize) -> Result<Reply, ApiError> {
        let data = serde_json::to_string(data).map_err(|error| ApiError::internal(&error))?;
        Ok(Reply::raw(data))
    }

    /// Data that is JSON.
    pub(super) fn raw(data: String) -> Reply {
        Reply {
            data,
            ..Reply::default()
        }
    }

    /// A list of results, cut to the number wanted.
    pub(super) fn list<T: Serialize>(
        mut list: Vec<T>,
        limit: Option<usize>,
    ) -> Result<Reply, ApiError> {
        let is_cut = limit.is_some_and(|limit| list.len() > limit);
        list.truncate(limit.unwrap_or(usize::MAX));
        let mut reply = Reply::of(&list)?;
        if is_cut {
            reply.warn(TRUNCATED);
        }
        Ok(reply)
    }

    pub(super) fn warn(&mut self, warning: &str) {
        self.warnings.push(warning.to_owned());
    }

    pub(super) fn annotate(&mut self, annotations: &Annotations) {
        self.warnings.extend(annotations.texts(Severity::Warning));
        self.infos.extend(annotations.texts(Severity::Info));
    }
}

/// The warning about results left out.
pub(super) const TRUNCATED: &str = "results truncated due to limit";

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut text = String::with_capacity(self.data.len() + 64);
        text.push_str(r#"{"status":"success""#);
        if !self.data.is_empty() {
            text.push_str(r#","data":"#);
            text.push_str(&self.data);
        }
        for (name, remarks) in [("warnings", &self.warnings), ("infos", &self.infos)] {
            if !remarks.is_empty() {
                // The most that Prometheus tells of one kind.
                const MOST: usize = 10;
                let mut shown: Vec<String> = remarks.iter().take(MOST).cloned().collect();
                if remarks.len() > MOST {
                    shown.push(format!(
                        "{} more {} annotations omitted",
                        remarks.len() - MOST,
                        name.trim_end_matches('s')
                    ));
                }
                let list = serde_json::to_string(&shown).unwrap_or_default();
                let _ = write!(text, ",\"{name}\":{list}");
            }
        }
        text.push('}');
        json(StatusCode::OK, text)
    }
}

/// Appends `{"resultType":…,"result":…` without the closing brace.
pub(super) fn write_value(out: &mut String, value: &Value) {
    let kind = match value {
        Value::Scalar(_) => "scalar",
        Value::Text(_) => "string",
        Value::Vector(_) => "vector",
        Value::Matrix(_) => "matrix",
    };
    let _ = write!(out, r#"{{"resultType":"{kind}","result":"#);
    match value {
        Value::Scalar(sample) => write_sample(out, sample),
        // Written by the caller, who knows the time.
        Value::Text(_) => {}
        Value::Vector(elements) => write_list(out, elements, |out, element: &Element| {
            out.push_str(r#"{"metric":"#);
            write_labels(out, &element.labels);
            out.push_str(r#","value":"#);
            write_sample(out, &element.sample);
            out.push('}');
        }),
        Value::Matrix(series) => write_list(out, series, |out, series: &SeriesValues| {
            out.push_str(r#"{"metric":"#);
            write_labels(out, &series.labels);
            out.push_str(r#","values":"#);
            write_list(out, &series.samples, write_sample);
            out.push('}');
        }),
    }
}

fn write_list<T>(out: &mut String, list: &[T], mut write: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (at, item) in list.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

/// A series' labels as an object.
pub(super) fn write_labels(out: &mut String, labels: &Labels) {
    out.push('{');
    for (at, (name, value)) in labels.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_text(out, name);
        out.push(':');
        write_text(out, value);
    }
    out.push('}');
}

/// A text in quotes.
pub(super) fn write_text(out: &mut String, text: &str) {
    let is_plain = text
        .bytes()
        .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if is_plain {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::to_string(text).unwrap_or_default());
    }
}

/// Seconds with the milliseconds that are not zero, as a number.
pub(super) fn write_time(out: &mut String, millis: i64) {
    let sign = if millis < 0 { "-" } else { "" };
    let (seconds, rest) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
    let _ = write!(out, "{sign}{seconds}");
    if rest != 0 {
        let _ = write!(out, ".{rest:03}");
    }
}

fn write_sample(out: &mut String, sample: &Sample) {
    out.push('[');
    write_time(out, sample.time);
    out.push_str(",\"");
    write_float(out, sample.value);
    out.push_str("\"]");
}

/// As Prometheus prints values: the shortest digits, with an exponent below 1e-6 and from 1e21 on.
pub(super) fn write_float(out: &mut String, value: f64) {
    let size = value.abs();
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        let _ = write!(out, "{digits}e{sign}{exponent:0>2}");
    } else {
        let _ = write!(out, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_print_as_prometheus_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-07"),
            (1e-6, "0.000001"),
            (-2.5e100, "-2.5e+100"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            let mut out = String::new();
            write_float(&mut out, value);
            assert_eq!(out, text);
        }
        for (millis, text) in [
            (1_500, "1.500"),
            (1_000, "1"),
            (-1_005, "-1.005"),
            (7, "0.007"),
        ] {
            let mut out = String::new();
            write_time(&mut out, millis);
            assert_eq!(out, text);
        }
    }
}
