use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use jiff::Timestamp;

use crate::config::PromDuration;
use crate::promql::Query;
use crate::series_store::{Labels, Matcher};

use super::answer::ApiError;

/// The parameters of a request: those of a form in the body first, then the URL's, as Go's servers read them.
#[derive(Debug, Default, Clone)]
pub(super) struct Form(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, state: &S) -> Result<Form, ApiError> {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let content_type = request.headers().get(CONTENT_TYPE);
        let is_form = content_type
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.starts_with("application/x-www-form-urlencoded"));
        let body = if is_form {
            let read = Bytes::from_request(request, state).await;
            read.map_err(|error| {
                ApiError::bad_data(format!("error parsing form values: {}", error.body_text()))
            })?
        } else {
            Bytes::new()
        };
        let pairs = form_urlencoded::parse(&body).chain(form_urlencoded::parse(query.as_bytes()));
        let owned = pairs.map(|(name, value)| (name.into_owned(), value.into_owned()));
        Ok(Form(owned.collect()))
    }
}

impl Form {
    #[cfg(test)]
    pub(super) fn of(query: &str) -> Form {
        Form(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// A parameter's first value; the empty text where it is not given.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// All values of a parameter.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// A time in milliseconds, where it is given.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => parse_time(text).map(Some).map_err(|reason| {
                invalid(name, &format!("invalid time value for '{name}': {reason}"))
            }),
        }
    }

    /// A duration in milliseconds, where it is given.
    pub(super) fn duration(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => parse_duration(text)
                .map(Some)
                .map_err(|reason| invalid(name, &reason)),
        }
    }

    /// How many results are wanted at most; `None` is any number.
    pub(super) fn limit(&self) -> Result<Option<usize>, ApiError> {
        let text = self.get("limit");
        if text.is_empty() {
            return Ok(None);
        }
        let limit: i64 = text.parse().map_err(|_| {
            invalid(
                "limit",
                &format!("strconv.Atoi: parsing {text:?}: invalid syntax"),
            )
        })?;
        match usize::try_from(limit) {
            Err(_) => Err(invalid("limit", "limit must be non-negative")),
            Ok(limit) => Ok((limit > 0).then_some(limit)),
        }
    }

    /// The selectors of a repeated parameter; none of them may take every series.
    pub(super) fn selectors(&self, name: &str) -> Result<Vec<Vec<Matcher>>, ApiError> {
        let texts = self.all(name).into_iter();
        texts.map(|text| selector(text, name)).collect()
    }
}

fn selector(text: &str, name: &str) -> Result<Vec<Matcher>, ApiError> {
    let takes_all = || {
        invalid(
            name,
            &format!("{name} must contain at least one non-empty matcher"),
        )
    };
    let query = Query::parse(text, crate::promql::Options::default()).map_err(|error| {
        let reason = error.to_string();
        if reason.ends_with("must contain at least one non-empty matcher") {
            takes_all()
        } else {
            invalid(name, &reason)
        }
    })?;
    let Some(matchers) = query.as_selector() else {
        return Err(invalid(name, &format!("{text:?} is no series selector")));
    };
    let narrows = matchers
        .iter()
        .any(|matcher| !matcher.accepts_series(&Labels::empty()));
    if !narrows {
        return Err(takes_all());
    }
    Ok(matchers.to_vec())
}

/// The error for a parameter that cannot be used.
pub(super) fn invalid(name: &str, reason: &str) -> ApiError {
    ApiError::bad_data(format!("invalid parameter {name:?}: {reason}"))
}

/// The least and the greatest time, in milliseconds, as requests name them without saying a time.
pub(super) const ALL_TIMES: (i64, i64) = (i64::MIN / 4, i64::MAX / 4);

/// Reads seconds since the epoch, or RFC 3339; milliseconds.
pub(super) fn parse_time(text: &str) -> Result<i64, String> {
    let broken = || format!("cannot parse {text:?} to a valid timestamp");
    if let Ok(seconds) = text.parse::<f64>() {
        let millis = (seconds * 1000.0).round();
        if !seconds.is_finite() || millis.abs() >= i64::MAX as f64 {
            return Err(broken());
        }
        return Ok(millis as i64);
    }
    match text {
        // What Go's clients send for the least and the greatest time.
        "-292273086-05-16T16:47:06Z" => return Ok(ALL_TIMES.0),
        "292277025-08-18T07:12:54.999999999Z" => return Ok(ALL_TIMES.1),
        _ => {}
    }
    let time: Timestamp = text.parse().map_err(|_| broken())?;
    Ok(time.as_millisecond())
}

/// Reads seconds, or a duration as `1h30m`; milliseconds.
pub(super) fn parse_duration(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        let millis = (seconds * 1000.0).round();
        if seconds.is_nan() || (seconds * 1e9).abs() >= i64::MAX as f64 {
            return Err(format!(
                "cannot parse {text:?} to a valid duration. It overflows int64"
            ));
        }
        return Ok(millis as i64);
    }
    match PromDuration::parse(text) {
        Some(duration) => Ok(duration.millis()),
        None => Err(format!("cannot parse {text:?} to a valid duration")),
    }
}
