//! Requests to the tier behind this one, over connections that are kept open.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use bytes::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::Error;

/// How long the tier behind may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection stays open without requests; less than servers usually wait.
const IDLE: Duration = Duration::from_secs(20);

/// The tier behind this one.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    client: Client<HttpConnector, Body>,
    base: Uri,
}

// === impl Upstream ===

impl Upstream {
    /// The tier at the URL in the environment variable `name`, or at `default`.
    pub(crate) fn from_environment(name: &'static str, default: &str) -> Result<Self, Error> {
        let value = crate::environment(name, default);
        let base: Uri = value
            .parse()
            .ok()
            .filter(|uri: &Uri| uri.scheme_str() == Some("http") && uri.authority().is_some())
            .ok_or_else(|| Error::Environment {
                name,
                value,
                reason: "it is not an http:// URL".to_owned(),
            })?;
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build_http();
        Ok(Self { client, base })
    }

    /// Sends `request` to the tier behind, with its path and query as they are. What goes wrong on
    /// the way is an answer too: 502 or 504 with a sentence.
    pub(crate) async fn forward(&self, mut request: Request<Body>) -> Response<Body> {
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = request.uri().path_and_query().cloned();
        match Uri::from_parts(parts) {
            Ok(uri) => *request.uri_mut() = uri,
            Err(error) => return sentence(StatusCode::BAD_REQUEST, &error.to_string()),
        }
        if let Some(host) = self
            .base
            .authority()
            .and_then(|host| HeaderValue::from_str(host.as_str()).ok())
        {
            request.headers_mut().insert(header::HOST, host);
        }
        match tokio::time::timeout(TIMEOUT, self.client.request(request)).await {
            Ok(Ok(response)) => response.map(Body::new),
            Ok(Err(error)) => sentence(
                StatusCode::BAD_GATEWAY,
                &format!("{} cannot be reached: {error}", self.base),
            ),
            Err(_) => sentence(
                StatusCode::GATEWAY_TIMEOUT,
                &format!("{} did not answer in time", self.base),
            ),
        }
    }

    /// A GET of `path`.
    pub(crate) async fn get(&self, path: &str) -> Response<Body> {
        self.send("GET", path, Bytes::new()).await
    }

    /// A POST of JSON to `path`.
    pub(crate) async fn post(&self, path: &str, body: Bytes) -> Response<Body> {
        self.send("POST", path, body).await
    }

    async fn send(&self, method: &str, path: &str, body: Bytes) -> Response<Body> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body));
        match request {
            Ok(request) => self.forward(request).await,
            Err(error) => sentence(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }
}

/// An answer that says in JSON what went wrong.
pub(crate) fn sentence(status: StatusCode, error: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(
        serde_json::json!({ "error": error }).to_string(),
    ));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
