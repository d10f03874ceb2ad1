use std::io::Write as _;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_ENCODING, CONTENT_LENGTH,
    ORIGIN, VARY,
};
use http::{HeaderValue, Method, StatusCode};

use super::Api;

/// Answers smaller than this are not compressed.
const WORTH_COMPRESSING: usize = 1024;

/// Lets the allowed origins read answers, and compresses answers for who can read that.
pub(super) async fn around(State(api): State<Api>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let may_compress = request
        .headers()
        .get(ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| {
            value
                .split(',')
                .any(|part| part.split(';').next().map(str::trim) == Some("gzip"))
        });
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    if may_compress {
        response = compressed(response).await;
    }
    if let Some(origin) = origin {
        allow(&api, &origin, &mut response);
    }
    response
}

fn allow(api: &Api, origin: &HeaderValue, response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    let allowed = match (&api.parts.cors_origin, origin.to_str()) {
        (None, _) => HeaderValue::from_static("*"),
        (Some(pattern), Ok(text)) if pattern.matches(text) => origin.clone(),
        _ => return,
    };
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Accept, Authorization, Content-Type, Origin"),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, POST, OPTIONS"),
    );
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Date"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
}

async fn compressed(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    // Every answer here is made whole before it is sent.
    let Ok(plain) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if plain.len() < WORTH_COMPRESSING {
        return Response::from_parts(parts, Body::from(plain));
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = encoder.write_all(&plain).and_then(|()| encoder.finish());
    match packed {
        Ok(packed) => {
            let gzip = HeaderValue::from_static("gzip");
            parts.headers.insert(CONTENT_ENCODING, gzip);
            parts.headers.remove(CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(packed))
        }
        Err(_) => Response::from_parts(parts, Body::from(plain)),
    }
}
