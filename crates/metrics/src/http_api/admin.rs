use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::remote_write;

use super::Api;
use super::answer::{ApiError, ErrorType, Reply};
use super::form::{ALL_TIMES, Form};
use super::query::blocking;

fn check_allowed(api: &Api) -> Result<(), ApiError> {
    if api.parts.allows_admin {
        return Ok(());
    }
    Err(ApiError::new(ErrorType::Unavailable, "admin APIs disabled"))
}

/// `/api/v1/admin/tsdb/delete_series`
pub(super) async fn delete_series(
    State(api): State<Api>,
    form: Form,
) -> Result<Response, ApiError> {
    check_allowed(&api)?;
    if form.all("match[]").is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let from = form.time("start")?.unwrap_or(ALL_TIMES.0);
    let until = form.time("end")?.unwrap_or(ALL_TIMES.1);
    for matchers in form.selectors("match[]")? {
        blocking(&api, move |tsdb| tsdb.delete_series(&matchers, from, until)).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `/api/v1/admin/tsdb/clean_tombstones`
pub(super) async fn clean_tombstones(State(api): State<Api>) -> Result<Response, ApiError> {
    check_allowed(&api)?;
    blocking(&api, crate::tsdb::Tsdb::clean_tombstones).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Serialize)]
struct SnapshotView {
    name: String,
}

/// `/api/v1/admin/tsdb/snapshot`
pub(super) async fn snapshot(State(api): State<Api>, form: Form) -> Result<Reply, ApiError> {
    check_allowed(&api)?;
    let skip_head = match form.get("skip_head") {
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
        text => {
            let reason = format!("unable to parse boolean 'skip_head' argument: {text:?}");
            return Err(super::form::invalid("skip_head", &reason));
        }
    };
    let name = blocking(&api, move |tsdb| tsdb.snapshot(skip_head)).await?;
    Reply::of(&SnapshotView { name })
}

/// `/api/v1/write`
pub(super) async fn remote_write(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !api.parts.takes_remote_write {
        let text =
            "remote write receiver needs to be enabled with --web.enable-remote-write-receiver\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    }
    let tsdb = api.parts.tsdb.clone();
    let work = move || remote_write::receive(&tsdb, &headers, &body);
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(_)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => (error.status(), format!("{error}\n")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// `/-/reload`
pub(super) async fn reload(State(api): State<Api>) -> Response {
    let Some(reload) = &api.parts.reload else {
        return (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.").into_response();
    };
    let (sender, receiver) = oneshot::channel();
    let failed = |reason: String| {
        let text = format!("failed to reload config: {reason}\n");
        (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
    };
    if reload.send(sender).await.is_err() {
        return failed("the program is ending".to_owned());
    }
    match receiver.await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(reason)) => failed(reason),
        Err(_) => failed("the program is ending".to_owned()),
    }
}

/// `/-/quit`
pub(super) async fn quit(State(api): State<Api>) -> Response {
    match &api.parts.quit {
        None => (StatusCode::FORBIDDEN, "Lifecycle API is not enabled.").into_response(),
        Some(quit) => {
            quit.cancel();
            (StatusCode::OK, "Requesting termination... Goodbye!").into_response()
        }
    }
}
