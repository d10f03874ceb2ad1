use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use serde::Serialize;
use tokio::time::Instant;

use crate::promql::{Answer, Cancel, Options, Query, QueryError, Span, Value};

use super::Api;
use super::answer::{ApiError, ErrorType, Reply, TRUNCATED, write_text, write_time, write_value};
use super::form::{Form, invalid, parse_time};

/// `/api/v1/query`
pub(super) async fn instant(State(api): State<Api>, form: Form) -> Result<Reply, ApiError> {
    let limit = form.limit()?;
    let now = api.parts.clock.now().as_millisecond();
    let at = form.time("time")?.unwrap_or(now);
    let timeout = timeout(&api, &form)?;
    let query = parse_with(&api, &form, form.get("query"))?;
    let (answer, took) = evaluate(&api, timeout, move |tsdb, cancel| {
        query.instant(tsdb, at, cancel)
    })
    .await?;
    Ok(reply(answer, Some(at), limit, &form, took))
}

/// `/api/v1/query_range`
pub(super) async fn range(State(api): State<Api>, form: Form) -> Result<Reply, ApiError> {
    let limit = form.limit()?;
    let time = |name| parse_time(form.get(name)).map_err(|reason| invalid(name, &reason));
    let (start, end) = (time("start")?, time("end")?);
    if end < start {
        return Err(invalid(
            "end",
            "end timestamp must not be before start time",
        ));
    }
    let step =
        super::form::parse_duration(form.get("step")).map_err(|reason| invalid("step", &reason))?;
    if step <= 0 {
        let reason = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(invalid("step", reason));
    }
    if end.saturating_sub(start) / step > 11_000 {
        return Err(ApiError::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let timeout = timeout(&api, &form)?;
    let query = parse_with(&api, &form, form.get("query"))?;
    let span = Span { start, end, step };
    let (answer, took) = evaluate(&api, timeout, move |tsdb, cancel| {
        query.range(tsdb, span, cancel)
    })
    .await?;
    Ok(reply(answer, None, limit, &form, took))
}

/// `/api/v1/query_exemplars`: none are stored, so none are found; the parameters are checked all the same.
pub(super) async fn exemplars(State(api): State<Api>, form: Form) -> Result<Reply, ApiError> {
    let start = form.time("start")?.unwrap_or(i64::MIN);
    let end = form.time("end")?.unwrap_or(i64::MAX);
    if end < start {
        return Err(ApiError::bad_data(
            "end timestamp must not be before start timestamp",
        ));
    }
    parse_with(&api, &form, form.get("query"))?;
    Reply::of(&[(); 0])
}

/// `/api/v1/format_query`
pub(super) async fn format(State(api): State<Api>, form: Form) -> Result<Reply, ApiError> {
    let query = parse_with(&api, &form, form.get("query"))?;
    Reply::of(&query.pretty())
}

/// `/api/v1/parse_query`
pub(super) async fn parse(State(api): State<Api>, form: Form) -> Result<Reply, ApiError> {
    let query = parse_with(&api, &form, form.get("query"))?;
    Reply::of(&query.tree_as_json())
}

/// `/api/v1/read`
pub(super) async fn no_remote_read() -> ApiError {
    ApiError::new(
        ErrorType::NotFound,
        "remote read is not supported: ask /api/v1/query_range",
    )
}

fn parse_with(api: &Api, form: &Form, text: &str) -> Result<Query, ApiError> {
    let mut options: Options = api.parts.engine.clone();
    if let Some(lookback) = form.duration("lookback_delta").map_err(|error| {
        ApiError::bad_data(format!("error parsing lookback delta duration: {error}"))
    })? && lookback > 0
    {
        options.lookback = Duration::from_millis(lookback.unsigned_abs());
    }
    Query::parse(text, options).map_err(|error| invalid("query", &error.to_string()))
}

fn timeout(api: &Api, form: &Form) -> Result<Duration, ApiError> {
    let most = api.parts.query_timeout;
    let asked = form.duration("timeout")?;
    let asked = asked.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
    Ok(asked.map_or(most, |asked| asked.min(most)))
}

/// Stops the evaluation when who asked is gone.
struct StopWhenDropped(Cancel);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[derive(Debug, Clone, Copy)]
struct Took {
    waiting: Duration,
    evaluating: Duration,
}

async fn evaluate(
    api: &Api,
    timeout: Duration,
    run: impl FnOnce(&crate::tsdb::Tsdb, &Cancel) -> Result<Answer, QueryError> + Send + 'static,
) -> Result<(Answer, Took), ApiError> {
    let began = Instant::now();
    let timed_out =
        |what: &str| ApiError::new(ErrorType::Timeout, format!("query timed out in {what}"));
    let permit = tokio::time::timeout(timeout, api.queries.acquire()).await;
    let _permit = permit
        .map_err(|_| timed_out("query queue"))?
        .map_err(|error| ApiError::internal(&error))?;
    let waiting = began.elapsed();
    let cancel = Cancel::default();
    let stop = StopWhenDropped(cancel.clone());
    let tsdb = api.parts.tsdb.clone();
    let work = tokio::task::spawn_blocking(move || run(&tsdb, &cancel));
    let done = tokio::time::timeout(timeout.saturating_sub(waiting), work).await;
    drop(stop);
    let answer = done
        .map_err(|_| timed_out("expression evaluation"))?
        .map_err(|error| ApiError::internal(&error))?;
    let took = Took {
        waiting,
        evaluating: began.elapsed() - waiting,
    };
    match answer {
        Ok(answer) => Ok((answer, took)),
        Err(error) => Err(refused(&error)),
    }
}

fn refused(error: &QueryError) -> ApiError {
    let text = error.to_string();
    match error {
        QueryError::Parse { .. } | QueryError::Unsupported(_) | QueryError::Experimental(_) => {
            invalid("query", &text)
        }
        QueryError::Cancelled => ApiError::new(ErrorType::Canceled, text),
        // A query whose type has no range form is refused before it is evaluated.
        QueryError::Execution(reason) if reason.starts_with("invalid expression type") => {
            invalid("query", &text)
        }
        _ => ApiError::new(ErrorType::Execution, text),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Timings {
    eval_total_time: f64,
    exec_queue_time: f64,
    exec_total_time: f64,
}

fn reply(answer: Answer, at: Option<i64>, limit: Option<usize>, form: &Form, took: Took) -> Reply {
    let mut value = answer.value;
    let mut is_cut = false;
    if let Some(limit) = limit {
        match &mut value {
            Value::Vector(elements) if elements.len() > limit => {
                elements.truncate(limit);
                is_cut = true;
            }
            Value::Matrix(series) if series.len() > limit => {
                series.truncate(limit);
                is_cut = true;
            }
            _ => {}
        }
    }
    let mut data = String::new();
    write_value(&mut data, &value);
    if let Value::Text(text) = &value {
        data.push('[');
        write_time(&mut data, at.unwrap_or(0));
        data.push(',');
        write_text(&mut data, text);
        data.push(']');
    }
    if !form.get("stats").is_empty() {
        let timings = Timings {
            eval_total_time: took.evaluating.as_secs_f64(),
            exec_queue_time: took.waiting.as_secs_f64(),
            exec_total_time: (took.waiting + took.evaluating).as_secs_f64(),
        };
        let timings = serde_json::to_string(&timings).unwrap_or_default();
        data.push_str(&format!(r#","stats":{{"timings":{timings}}}"#));
    }
    data.push('}');
    let mut reply = Reply::raw(data);
    if is_cut {
        reply.warn(TRUNCATED);
    }
    reply.annotate(&answer.annotations);
    reply
}

/// Runs what reads the database away from the threads that answer.
pub(super) async fn blocking<T: Send + 'static>(
    api: &Api,
    read: impl FnOnce(&crate::tsdb::Tsdb) -> Result<T, crate::tsdb::TsdbError> + Send + 'static,
) -> Result<T, ApiError> {
    let shared = Arc::clone(api);
    tokio::task::spawn_blocking(move || read(&shared.parts.tsdb))
        .await
        .map_err(|error| ApiError::internal(&error))?
        .map_err(|error| ApiError::internal(&error))
}
