//! Alertmanager's API v2, as `amtool` and Grafana use it.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::alert::{Alert, PostedAlert};
use super::book::{AlertBook, Standing};
use super::matcher::{AlertMatcher, accepts_all};
use super::run::Alertmanager;
use super::silence::{PostedSilence, Silence};

/// The Alertmanager whose API is spoken: `amtool` of another version warns at every call. The program's own version
/// is beside it, as the revision.
const SPEAKS_AS: &str = "0.33.1";

/// A body is at most this large.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The API below `/api/v2`, `/-/healthy` and `/-/ready`.
pub fn router(alertmanager: Alertmanager) -> Router {
    Router::new()
        .route("/api/v2/status", get(status))
        .route("/api/v2/receivers", get(receivers))
        .route("/api/v2/alerts", get(alerts).post(post_alerts))
        .route("/api/v2/alerts/groups", get(groups))
        .route("/api/v2/silences", get(silences).post(post_silence))
        .route("/api/v2/silence/{id}", get(silence).delete(delete_silence))
        .route("/-/healthy", get(|| async { "OK" }))
        .route("/-/ready", get(|| async { "OK" }))
        .route("/-/reload", post(not_here))
        .layer(axum::extract::DefaultBodyLimit::max(MOST_BYTES))
        .with_state(alertmanager)
}

async fn not_here() -> Response {
    let reason = "the configuration is read when the program starts and when its file changes";
    (StatusCode::METHOD_NOT_ALLOWED, reason).into_response()
}

/// What is wrong with a request: errors are JSON texts.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        json_response(self.0, &self.1)
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Refusal {
        Refusal(StatusCode::BAD_REQUEST, reason)
    }
}

fn json_response(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Times with milliseconds, as the API's clients expect them.
fn time(time: Timestamp) -> String {
    jiff::fmt::temporal::DateTimePrinter::new()
        .precision(Some(3))
        .timestamp_to_string(&time)
}

/// What a request asks for.
#[derive(Debug)]
struct Filter {
    active: bool,
    silenced: bool,
    inhibited: bool,
    unprocessed: bool,
    muted: bool,
    receiver: Option<regex::Regex>,
    matchers: Vec<AlertMatcher>,
}

// === impl Filter ===

impl Filter {
    fn read(query: Option<&str>) -> Result<Filter, String> {
        let mut filter = Filter {
            active: true,
            silenced: true,
            inhibited: true,
            unprocessed: true,
            muted: true,
            receiver: None,
            matchers: Vec::new(),
        };
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let flag = || match &*value {
                "true" => Ok(true),
                "false" => Ok(false),
                other => Err(format!("{name} must be true or false, not {other:?}")),
            };
            match &*name {
                "active" => filter.active = flag()?,
                "silenced" => filter.silenced = flag()?,
                "inhibited" => filter.inhibited = flag()?,
                "unprocessed" => filter.unprocessed = flag()?,
                "muted" => filter.muted = flag()?,
                "receiver" if !value.is_empty() => {
                    let pattern = regex::Regex::new(&format!("^(?:{value})$"));
                    let pattern = pattern
                        .map_err(|error| format!("failed to parse receiver param: {error}"))?;
                    filter.receiver = Some(pattern);
                }
                "filter" => filter.matchers.extend(AlertMatcher::parse_all(&value)?),
                _ => {}
            }
        }
        Ok(filter)
    }

    fn takes_receiver(&self, name: &str) -> bool {
        self.receiver
            .as_ref()
            .is_none_or(|pattern| pattern.is_match(name))
    }

    fn takes(&self, alert: &Alert, standing: &Standing, now: Timestamp) -> bool {
        let is_active = standing.silenced_by.is_empty() && standing.inhibited_by.is_empty();
        !alert.is_resolved(now)
            && accepts_all(&self.matchers, &alert.labels)
            && (self.active || !is_active)
            && (self.silenced || standing.silenced_by.is_empty())
            && (self.inhibited || standing.inhibited_by.is_empty())
    }
}

fn shown_alert(book: &AlertBook, alert: &Alert, standing: &Standing, muted_by: &[String]) -> Value {
    let is_active =
        standing.silenced_by.is_empty() && standing.inhibited_by.is_empty() && muted_by.is_empty();
    let receivers: Vec<Value> = book
        .receivers_of(&alert.labels)
        .into_iter()
        .map(|name| json!({"name": name}))
        .collect();
    json!({
        "annotations": alert.annotations,
        "endsAt": time(alert.ends_at),
        "fingerprint": alert.fingerprint(),
        "receivers": receivers,
        "startsAt": time(alert.starts_at),
        "status": {
            "inhibitedBy": standing.inhibited_by,
            "mutedBy": muted_by,
            "silencedBy": standing.silenced_by,
            "state": if is_active { "active" } else { "suppressed" },
        },
        "updatedAt": time(alert.updated_at),
        "generatorURL": alert.generator_url,
        "labels": alert.labels,
    })
}

fn shown_silence(silence: &Silence, now: Timestamp) -> Value {
    let posted = silence.posted();
    json!({
        "id": posted.id,
        "status": {"state": silence.state(now)},
        "updatedAt": time(silence.updated_at),
        "comment": posted.comment,
        "createdBy": posted.created_by,
        "endsAt": time(posted.ends_at),
        "matchers": posted.matchers,
        "startsAt": time(posted.starts_at),
    })
}

async fn status(State(alertmanager): State<Alertmanager>) -> Response {
    let configuration = alertmanager.read(|book, _| book.configuration().clone());
    json_response(
        StatusCode::OK,
        &json!({
            "cluster": {"peers": [], "status": "disabled"},
            "config": {"original": configuration.shown()},
            "uptime": time(alertmanager.started()),
            "versionInfo": {
                "branch": "", "buildDate": "", "buildUser": "", "goVersion": "",
                "revision": concat!("springtide-", env!("CARGO_PKG_VERSION")),
                "version": SPEAKS_AS,
            },
        }),
    )
}

async fn receivers(State(alertmanager): State<Alertmanager>) -> Response {
    let configuration = alertmanager.read(|book, _| book.configuration().clone());
    let names = configuration.receivers.keys();
    let names: Vec<Value> = names.map(|name| json!({"name": name})).collect();
    json_response(StatusCode::OK, &names)
}

async fn alerts(
    State(alertmanager): State<Alertmanager>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let filter = Filter::read(query.as_deref())?;
    let mut shown = alertmanager.read(|book, now| {
        let mut shown = Vec::new();
        for alert in book.alerts() {
            let standing = book.standing(&alert.labels, now);
            let receivers = book.receivers_of(&alert.labels);
            if filter.takes(alert, &standing, now)
                && receivers.iter().any(|name| filter.takes_receiver(name))
            {
                shown.push((
                    alert.fingerprint(),
                    shown_alert(book, alert, &standing, &[]),
                ));
            }
        }
        shown
    });
    shown.sort_by(|left, right| left.0.cmp(&right.0));
    let shown: Vec<Value> = shown.into_iter().map(|(_, alert)| alert).collect();
    Ok(json_response(StatusCode::OK, &shown))
}

async fn post_alerts(
    State(alertmanager): State<Alertmanager>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let alerts: Vec<PostedAlert> = serde_json::from_slice(&body)
        .map_err(|error| format!("the body is no list of alerts: {error}"))?;
    alertmanager
        .post(alerts)
        .map_err(|faults| faults.join("; "))?;
    Ok(StatusCode::OK.into_response())
}

async fn groups(
    State(alertmanager): State<Alertmanager>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let filter = Filter::read(query.as_deref())?;
    let shown = alertmanager.read(|book, now| {
        let mut shown = Vec::new();
        for group in book.groups(now) {
            if !filter.takes_receiver(&group.receiver)
                || (!filter.muted && !group.muted_by.is_empty())
            {
                continue;
            }
            let mut alerts = Vec::new();
            for alert in &group.alerts {
                let standing = book.standing(&alert.labels, now);
                if filter.takes(alert, &standing, now) {
                    alerts.push(shown_alert(book, alert, &standing, &group.muted_by));
                }
            }
            if !alerts.is_empty() {
                shown.push(json!({
                    "alerts": alerts,
                    "labels": group.labels,
                    "receiver": {"name": group.receiver},
                }));
            }
        }
        shown
    });
    Ok(json_response(StatusCode::OK, &shown))
}

async fn silences(
    State(alertmanager): State<Alertmanager>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let filter = Filter::read(query.as_deref())?;
    let shown: Vec<Value> = alertmanager.read(|book, now| {
        let silences = book.silences(now).into_iter();
        let named = |silence: &Silence| {
            // A filter is on the values the silence's matchers name.
            let values = silence
                .matchers
                .iter()
                .map(|matcher| (matcher.name().to_owned(), matcher.value().to_owned()))
                .collect();
            accepts_all(&filter.matchers, &values)
        };
        silences
            .filter(named)
            .map(|silence| shown_silence(&silence, now))
            .collect()
    });
    Ok(json_response(StatusCode::OK, &shown))
}

async fn post_silence(
    State(alertmanager): State<Alertmanager>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let posted: PostedSilence = serde_json::from_slice(&body)
        .map_err(|error| format!("the body is no silence: {error}"))?;
    match alertmanager.set_silence(posted) {
        Ok(id) => Ok(json_response(StatusCode::OK, &json!({"silenceID": id}))),
        Err(reason) if reason == "silence not found" => Err(Refusal(StatusCode::NOT_FOUND, reason)),
        Err(reason) => Err(Refusal(StatusCode::BAD_REQUEST, reason)),
    }
}

async fn silence(
    State(alertmanager): State<Alertmanager>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    let shown =
        alertmanager.read(|book, now| book.silence(&id).map(|silence| shown_silence(silence, now)));
    match shown {
        Some(shown) => Ok(json_response(StatusCode::OK, &shown)),
        None => Err(Refusal(
            StatusCode::NOT_FOUND,
            format!("silence {id} not found"),
        )),
    }
}

async fn delete_silence(
    State(alertmanager): State<Alertmanager>,
    Path(id): Path<String>,
) -> Result<Response, Refusal> {
    match alertmanager.expire_silence(&id) {
        Ok(true) => Ok(StatusCode::OK.into_response()),
        Ok(false) => Err(Refusal(
            StatusCode::NOT_FOUND,
            format!("silence {id} not found"),
        )),
        Err(error) => Err(Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
        )),
    }
}
