//! Requests to APIs whose kinds are not known when compiling, with errors worded as client-go words them.

use http::{Method, Request, header};
use kube::Client;
use serde::de::DeserializeOwned;

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiFailure {
    /// The HTTP status, 0 where there was no answer.
    pub(super) code: u16,
    /// Kubernetes' words.
    pub(super) message: String,
}

/// What a request is about, for the words of an answer that has none of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) verb: &'a str,
    /// Plural and group, `pods.metrics.k8s.io`.
    pub(super) resource: &'a str,
    pub(super) name: &'a str,
}

/// What kube makes of an answer that is no Status.
const NO_STATUS: &str = "Failed to parse error data";
/// What is said of a path that nothing serves.
const NO_RESOURCE: &str = "the server could not find the requested resource";

/// Gets and decodes a path.
pub(super) async fn get<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    about: About<'_>,
) -> Result<T, ApiFailure> {
    send(client, Method::GET, path, Vec::new(), about).await
}

/// Puts an object and decodes the answer.
pub(super) async fn put<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    object: &serde_json::Value,
    about: About<'_>,
) -> Result<T, ApiFailure> {
    send(
        client,
        Method::PUT,
        path,
        object.to_string().into_bytes(),
        about,
    )
    .await
}

async fn send<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    path: &str,
    body: Vec<u8>,
    about: About<'_>,
) -> Result<T, ApiFailure> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|error| ApiFailure {
            code: 0,
            message: error.to_string(),
        })?;
    client
        .request(request)
        .await
        .map_err(|error| failure(error, about))
}

fn failure(error: kube::Error, about: About<'_>) -> ApiFailure {
    let kube::Error::Api(status) = error else {
        return ApiFailure {
            code: 0,
            message: error.to_string(),
        };
    };
    let is_wordless =
        status.reason == NO_STATUS || status.message.is_empty() || status.message == NO_RESOURCE;
    let message = if is_wordless {
        generic(status.code, &status.message, about)
    } else {
        status.message.clone()
    };
    ApiFailure {
        code: status.code,
        message,
    }
}

/// The words for an answer that is no Status.
fn generic(code: u16, body: &str, about: About<'_>) -> String {
    let told = match code {
        404 => NO_RESOURCE.to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        500..=599 => {
            format!("an error on the server ({body:?}) has prevented the request from succeeding")
        }
        _ => "the server responded with the status code but did not return more information"
            .to_owned(),
    };
    let About {
        verb,
        resource,
        name,
    } = about;
    let space = if name.is_empty() { "" } else { " " };
    format!("{told} ({verb} {resource}{space}{name})")
}

/// A text as a part of a path or a query.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_words_gets_those_of_client_go() {
        let about = About {
            verb: "get",
            resource: "pods.metrics.k8s.io",
            name: "",
        };
        assert_eq!(
            generic(404, "404 page not found", about),
            "the server could not find the requested resource (get pods.metrics.k8s.io)"
        );
        let about = About {
            verb: "get",
            resource: "queue.external.metrics.k8s.io",
            name: "q",
        };
        assert_eq!(
            generic(503, "", about),
            "the server is currently unable to handle the request (get queue.external.metrics.k8s.io q)"
        );
    }

    #[test]
    fn selectors_fit_into_a_query() {
        assert_eq!(encode("app in (a,b)"), "app%20in%20%28a%2Cb%29");
    }
}
