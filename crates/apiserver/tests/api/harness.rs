//! A server to send requests to, and the objects tests are made of.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use futures::StreamExt as _;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use springtide_apiserver::{ApiServer, UserInfo};
use springtide_machinery::clock::Clock;
use springtide_machinery::entropy::Entropy;
use springtide_store::Store;
use tower::ServiceExt as _;

/// A server over an empty store in memory.
pub(crate) struct Server {
    pub(crate) api: ApiServer,
    pub(crate) store: Store,
    router: Router,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }

    /// The body, if the answer has this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.value()
    }

    /// The Status's message, if the answer has this status and reason.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, reason: &str) -> String {
        let value = self.expect(status);
        assert_eq!(value["kind"], "Status", "{value}");
        assert_eq!(value["reason"], reason, "{value}");
        value["message"].as_str().unwrap_or_default().to_owned()
    }

    /// The texts of the Warning headers.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let headers = self.headers.get_all("warning").iter();
        headers
            .map(|value| value.to_str().expect("text").to_owned())
            .collect()
    }
}

impl Server {
    pub(crate) async fn start() -> Server {
        let store = Store::in_memory();
        let base = "2026-01-02T03:04:05Z".parse().expect("time");
        let clock = Clock::simulated(base);
        let api = ApiServer::builder(store.clone(), clock, Entropy::from_seed(7))
            .build()
            .await
            .expect("built");
        Server {
            router: api.router(),
            api,
            store,
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> axum::response::Response {
        let Ok(response) = self.router.clone().oneshot(request).await;
        response
    }

    /// Sends a request as a member of system:masters and reads the answer.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .extension(UserInfo::component("test"))
            .body(body.into())
            .expect("request");
        read(self.send(request).await).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], Body::empty()).await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.call(Method::GET, path, &[("accept", accept)], Body::empty())
            .await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, &[], body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PUT, path, &[], body.to_string()).await
    }

    pub(crate) async fn patch(&self, path: &str, kind: &str, body: &Value) -> Answer {
        let media_type = format!("application/{kind}-patch+json");
        let headers = [("content-type", media_type.as_str())];
        self.call(Method::PATCH, path, &headers, body.to_string())
            .await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, &[], Body::empty()).await
    }

    pub(crate) async fn delete_with(&self, path: &str, options: &Value) -> Answer {
        self.call(Method::DELETE, path, &[], options.to_string())
            .await
    }

    /// Opens a watch.
    pub(crate) async fn watch(&self, path: &str) -> Watch {
        self.watch_as(path, "application/json").await
    }

    /// Opens a watch in some shape.
    pub(crate) async fn watch_as(&self, path: &str, accept: &str) -> Watch {
        let request = Request::get(path)
            .header("accept", accept)
            .extension(UserInfo::component("test"))
            .body(Body::empty())
            .expect("request");
        let response = self.send(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        Watch {
            stream: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }
}

pub(crate) async fn read(response: axum::response::Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("body").to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// A watch under way.
pub(crate) struct Watch {
    stream: BodyDataStream,
    text: String,
}

impl Watch {
    /// The next event; nothing when the watch is over.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let event = serde_json::from_str(line).expect("an event is JSON");
                self.text = rest.to_owned();
                return Some(event);
            }
            let piece = self.stream.next().await?.expect("piece");
            self.text
                .push_str(std::str::from_utf8(&piece).expect("text"));
        }
    }

    /// The next event's type and object's name.
    pub(crate) async fn next_named(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }

    /// Checks that nothing comes for some time.
    pub(crate) async fn quiet_for(&mut self, time: Duration) {
        if let Ok(event) = tokio::time::timeout(time, self.next()).await {
            panic!("unexpected {event:?}");
        }
    }
}

pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const SERVICES: &str = "/api/v1/namespaces/default/services";
pub(crate) const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"key": value},
    })
}

pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "busybox"}]},
    })
}

pub(crate) fn deployment(name: &str, replicas: i64) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "busybox"}]},
            },
        },
    })
}
