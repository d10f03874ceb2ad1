//! The web page that orders, and shows which backend replica answered.
//!
//! Configured by `BACKEND_URL` (default `http://feastflow-backend:5000`) and `PORT` (8080).

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Response;
use axum::response::Html;
use axum::routing::{any, get};

use crate::upstream::Upstream;
use crate::{Error, environment_number};

/// Serves the page until SIGTERM.
///
/// # Errors
/// An environment that cannot be used, or a port that is not to be had.
pub async fn run() -> Result<(), Error> {
    let backend = Upstream::from_environment("BACKEND_URL", "http://feastflow-backend:5000")?;
    let port = environment_number("PORT", 8080)?;
    crate::serve::serve("feastflow-frontend", port, routes(backend)).await
}

fn routes(backend: Upstream) -> Router {
    let page = include_str!("page.html").replace("{{replica}}", &super::replica());
    Router::new()
        .route("/", get(|| async { Html(page) }))
        .route("/health", get(|| async { "ok" }))
        .route("/api/{*path}", any(to_backend))
        .with_state(backend)
}

async fn to_backend(State(backend): State<Upstream>, request: Request) -> Response<Body> {
    backend.forward(request).await
}
