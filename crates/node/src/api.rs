//! The kubelet's HTTP API: logs, commands, pods, measurements.

mod attach;
mod exec;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use serde_json::json;
use springtide_machinery::instruments::Text;

use crate::exporters;
use crate::kubelet::prepare::log_path;
use crate::kubelet::runtime::ContainerRun;
use crate::kubelet::view::all_containers;
use crate::kubelet::{Shared, Snapshot};
use crate::logs::{LogOptions, stream};

/// The routes of the kubelet's API.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/pods", get(pods))
        .route("/metrics", get(own_metrics))
        .route("/metrics/resource", get(metrics))
        .route("/metrics/cadvisor", get(container_metrics))
        .route("/metrics/node", get(host_metrics))
        .route("/containerLogs/{namespace}/{pod}/{container}", get(logs))
        .route("/exec/{namespace}/{pod}/{container}", any(exec::answer))
        .route("/attach/{namespace}/{pod}/{container}", any(attach::answer))
        .with_state(shared)
}

async fn pods(State(shared): State<Arc<Shared>>) -> Response {
    let items: Vec<Pod> = shared
        .snapshots()
        .into_iter()
        .map(|snapshot| Pod {
            status: Some(snapshot.status),
            ..(*snapshot.pod).clone()
        })
        .collect();
    axum::Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
        .into_response()
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shared.stats.text()).into_response()
}

fn exposed(text: String) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn own_metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut text = Text::default();
    exporters::kubelet::write(&shared.config.node_name, &shared.snapshots(), &mut text);
    exposed(text.into_string())
}

async fn container_metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut text = Text::default();
    let (measured, node) = (shared.stats.measured(), shared.stats.node());
    exporters::cadvisor::write(&shared.snapshots(), &measured, node, &mut text);
    exposed(text.into_string())
}

async fn host_metrics(State(shared): State<Arc<Shared>>) -> Response {
    let now = shared.clock.now();
    // Reads some twenty files of /proc, and asks each file system for its size.
    let written = tokio::task::spawn_blocking(move || {
        let mut text = Text::default();
        exporters::host::write(now, &mut text);
        text.into_string()
    });
    match written.await {
        Ok(text) => exposed(text),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Why no log can be shown, or no command run, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum LogError {
    #[error("pod \"{0}\" does not exist")]
    NoPod(String),
    #[error("container \"{container}\" not found in pod \"{pod}\"")]
    NoContainer { container: String, pod: String },
    #[error("{0}")]
    NotNow(String),
    #[error("{0}")]
    BadOption(String),
}

impl IntoResponse for LogError {
    fn into_response(self) -> Response {
        let code = match self {
            Self::NoPod(_) | Self::NoContainer { .. } => StatusCode::NOT_FOUND,
            Self::NotNow(_) | Self::BadOption(_) => StatusCode::BAD_REQUEST,
        };
        (code, self.to_string()).into_response()
    }
}

async fn logs(
    State(shared): State<Arc<Shared>>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Response, LogError> {
    let options = options(&query, shared.clock.now())?;
    let previous = flag(&query, "previous")?;
    let find = |shared: &Shared| {
        let is_it = |snapshot: &Snapshot| {
            snapshot.pod.metadata.namespace.as_deref() == Some(&namespace)
                && snapshot.pod.metadata.name.as_deref() == Some(&pod)
        };
        shared.snapshots().into_iter().find(is_it)
    };
    let snapshot = find(&shared).ok_or_else(|| LogError::NoPod(pod.clone()))?;
    let spec = snapshot.pod.spec.clone().unwrap_or_default();
    if !all_containers(&spec).any(|known| known.name == container) {
        return Err(LogError::NoContainer { container, pod });
    }
    let run = wanted_run(&snapshot.status, &pod, &container, previous)?;
    let path = log_path(
        &shared.config.log_dir,
        &snapshot.pod,
        &container,
        run.attempt,
    );
    let alive = move || is_running(&shared, &run);
    let body = Body::from_stream(stream(path, options, alive));
    let kind = [(header::CONTENT_TYPE, "text/plain")];
    Ok((kind, body).into_response())
}

/// Whether the run is under way, as far as its pod's status says.
fn is_running(shared: &Shared, run: &ContainerRun) -> bool {
    let id = run.container_id();
    let snapshots = shared.snapshots();
    let mut statuses = snapshots
        .iter()
        .filter(|snapshot| snapshot.pod.metadata.uid.as_deref() == Some(run.pod.0.as_str()));
    statuses.any(|snapshot| {
        status_of(&snapshot.status, &run.container).is_some_and(|status| {
            let state = status.state.as_ref();
            let running = state.is_some_and(|state| state.running.is_some());
            running && status.container_id.as_deref() == Some(id.as_str())
        })
    })
}

fn status_of<'a>(status: &'a PodStatus, container: &str) -> Option<&'a ContainerStatus> {
    status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten())
        .find(|status| status.name == container)
}

/// The run whose log is to be shown.
fn wanted_run(
    status: &PodStatus,
    pod: &str,
    container: &str,
    previous: bool,
) -> Result<ContainerRun, LogError> {
    let not_now =
        |text: &str| LogError::NotNow(format!("container \"{container}\" in pod \"{pod}\" {text}"));
    let found = status_of(status, container).ok_or_else(|| not_now("is not available"))?;
    let state = found.state.clone().unwrap_or_default();
    let last = found
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let last_id = last.and_then(|last| last.container_id.as_deref());
    let id = if previous {
        last_id.ok_or_else(|| {
            LogError::NotNow(format!(
                "previous terminated container \"{container}\" in pod \"{pod}\" not found"
            ))
        })?
    } else if state.running.is_some() {
        found.container_id.as_deref().unwrap_or_default()
    } else if let Some(terminated) = &state.terminated {
        terminated
            .container_id
            .as_deref()
            .or(last_id)
            .ok_or_else(|| not_now("is terminated"))?
    } else if last.is_some() {
        last_id.ok_or_else(|| not_now("is terminated"))?
    } else if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        return Err(match reason {
            "ErrImagePull" => not_now("is waiting to start: image can't be pulled"),
            "ImagePullBackOff" => not_now("is waiting to start: trying and failing to pull image"),
            other => not_now(&format!("is waiting to start: {other}")),
        });
    } else {
        return Err(not_now("is waiting to start - no logs yet"));
    };
    ContainerRun::parse(id).ok_or_else(|| not_now("is not available"))
}

fn flag(query: &BTreeMap<String, String>, name: &str) -> Result<bool, LogError> {
    match query.get(name).map(String::as_str) {
        None | Some("" | "false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(other) => Err(LogError::BadOption(format!("invalid {name}: {other:?}"))),
    }
}

fn options(query: &BTreeMap<String, String>, now: Timestamp) -> Result<LogOptions, LogError> {
    let number = |name: &str| match query.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match text.parse::<u64>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(LogError::BadOption(format!("invalid {name}: {text:?}"))),
        },
    };
    let seconds = number("sinceSeconds")?.map(|seconds| {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        now.checked_sub(SignedDuration::from_secs(seconds))
            .unwrap_or(Timestamp::MIN)
    });
    let time = query
        .get("sinceTime")
        .filter(|text| !text.is_empty())
        .map(|text| {
            text.parse::<Timestamp>()
                .map_err(|_| LogError::BadOption(format!("invalid sinceTime: {text:?}")))
        })
        .transpose()?;
    Ok(LogOptions {
        follow: flag(query, "follow")?,
        tail: number("tailLines")?,
        since: seconds.or(time),
        timestamps: flag(query, "timestamps")?,
        limit_bytes: number("limitBytes")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(status: &Value, previous: bool) -> Result<u32, String> {
        let status = serde_json::from_value(json!({"containerStatuses": [status]}));
        let status: PodStatus = status.expect("a status");
        wanted_run(&status, "p", "c", previous)
            .map(|run| run.attempt)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_log_of_the_right_run_is_shown_or_why_there_is_none() {
        let base = |more: &Value| {
            let mut status = json!({"name": "c", "image": "", "imageID": "", "ready": false,
                "restartCount": 0});
            let fields = status.as_object_mut().expect("an object");
            fields.extend(more.as_object().expect("an object").clone());
            status
        };
        let ended = |attempt: u32| json!({"terminated": {"exitCode": 1, "containerID": format!("springtide://u/c/{attempt}")}});
        let waits = |reason: &str| base(&json!({"state": {"waiting": {"reason": reason}}}));
        let running = base(&json!({"containerID": "springtide://u/c/2",
            "state": {"running": {}}, "lastState": ended(1)}));
        let crashed = base(&json!({"containerID": "springtide://u/c/4",
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(4)}));
        let over = base(&json!({"containerID": "springtide://u/c/0", "state": ended(0)}));
        let table = [
            (running.clone(), false, Ok(2)),
            (running, true, Ok(1)),
            (crashed.clone(), false, Ok(4)),
            (crashed, true, Ok(4)),
            (over.clone(), false, Ok(0)),
            (
                over,
                true,
                Err("previous terminated container \"c\" in pod \"p\" not found"),
            ),
            (
                waits("ContainerCreating"),
                false,
                Err("container \"c\" in pod \"p\" is waiting to start: ContainerCreating"),
            ),
            (
                waits("ErrImagePull"),
                false,
                Err("container \"c\" in pod \"p\" is waiting to start: image can't be pulled"),
            ),
            (
                waits("ImagePullBackOff"),
                false,
                Err(
                    "container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image",
                ),
            ),
        ];
        for (status, previous, expected) in table {
            let found = run(&status, previous);
            let expected = expected.map_err(str::to_owned);
            assert_eq!(found, expected, "{status}");
        }
        assert_eq!(
            wanted_run(&PodStatus::default(), "p", "c", false)
                .expect_err("none")
                .to_string(),
            "container \"c\" in pod \"p\" is not available"
        );
    }

    #[test]
    fn options_are_read_or_refused() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let read = |pairs: &[(&str, &str)]| {
            let query = pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            options(&query, now)
        };
        let options = read(&[
            ("follow", "true"),
            ("tailLines", "5"),
            ("sinceSeconds", "5"),
        ]);
        let expected = LogOptions {
            follow: true,
            tail: Some(5),
            since: "2026-01-02T03:04:00Z".parse().ok(),
            ..LogOptions::default()
        };
        assert_eq!(options, Ok(expected));
        for bad in [("tailLines", "-1"), ("sinceTime", "x"), ("follow", "maybe")] {
            assert!(read(&[bad]).is_err(), "{bad:?}");
        }
    }
}
