//! `/healthz`, `/livez`, `/readyz`: whether the server works, in all or check by check.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::response::Response;
use http::StatusCode;
use parking_lot::RwLock;
use springtide_machinery::error::ApiError;

use crate::api::Api;
use crate::request::Query;
use crate::respond;

type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The checks of `/readyz` that other parts bring.
#[derive(Default)]
pub(crate) struct Health {
    ready: RwLock<Vec<(String, Check)>>,
}

impl Health {
    /// Adds a check to `/readyz`.
    pub(crate) fn add(&self, name: &str, check: Check) {
        self.ready.write().push((name.to_owned(), check));
    }

    /// Answers one of the endpoints.
    pub(crate) fn answer(
        &self,
        api: &Api,
        endpoint: &str,
        only: &str,
        query: &Query<'_>,
    ) -> Response {
        let mut results = vec![
            ("ping".to_owned(), Ok(())),
            ("log".to_owned(), Ok(())),
            // Named as in Kubernetes, whose store it is.
            ("etcd".to_owned(), Ok(())),
        ];
        if endpoint == "readyz" {
            let stopping = api.shutdown.is_cancelled();
            let running = if stopping {
                Err("process is shutting down".to_owned())
            } else {
                Ok(())
            };
            results.push(("shutdown".to_owned(), running));
            let ready = self.ready.read().clone();
            results.extend(ready.into_iter().map(|(name, check)| (name, check())));
        }
        if !only.is_empty() {
            return match results.into_iter().find(|(name, _)| name == only) {
                Some((_, Ok(()))) => respond::text(StatusCode::OK, "ok"),
                Some((_, Err(why))) => respond::text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    format!("internal server error: {why}\n"),
                ),
                None => respond::refusal(&ApiError::unknown_resource()),
            };
        }

        results.retain(|(name, _)| !query.all("exclude").any(|excluded| excluded == name));
        let failed = results.iter().any(|(_, result)| result.is_err());
        let verbose = query.get("verbose").is_some();
        if !failed && !verbose {
            return respond::text(StatusCode::OK, "ok");
        }
        let mut told = String::new();
        for (name, result) in &results {
            let _ = match result {
                Ok(()) => writeln!(told, "[+]{name} ok"),
                Err(why) => writeln!(told, "[-]{name} failed: {why}"),
            };
        }
        let (status, word) = if failed {
            (StatusCode::INTERNAL_SERVER_ERROR, "failed")
        } else {
            (StatusCode::OK, "passed")
        };
        let _ = writeln!(told, "{endpoint} check {word}");
        respond::text(status, told)
    }
}
