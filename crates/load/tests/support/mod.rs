//! A server to send requests to, and a way to run scripts against it.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use springtide_load::metric::{Collector, Measured, MetricRegistry, Tags};
use springtide_load::script::{Log, LogLine, Script, ScriptSettings};
use springtide_load::user::{
    Iteration, Outcome, RunState, ScenarioState, UserFactory, VirtualUser,
};
use springtide_machinery::clock::Clock;
use tokio::net::TcpListener;

/// Starts a server in the style of httpbin on a free port; gives its address without a slash.
pub(crate) async fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer))
                    .with_upgrades();
                // A client may go at any time.
                let _ = connection.await;
            });
        }
    });
    url
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let response = Response::builder().header("Server", "test");
    let text = |status: u16, body: &str| {
        Response::builder()
            .status(status)
            .header("Content-Type", "text/plain")
            .body(Full::new(Bytes::from(body.to_owned())))
    };
    let built = match parts[..] {
        ["status", status] => text(status.parse().unwrap(), "status"),
        ["redirect", "0"] => text(200, "arrived"),
        ["redirect", left] => {
            let left: u32 = left.parse().unwrap();
            response
                .status(302)
                .header("Location", format!("/redirect/{}", left - 1))
                .body(Full::default())
        }
        ["redirect307"] => response
            .status(307)
            .header("Location", "/echo")
            .body(Full::default()),
        ["cookies", "set"] => {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let mut response = response.status(302).header("Location", "/cookies");
            for pair in query.split('&') {
                response = response.header("Set-Cookie", format!("{pair}; Path=/"));
            }
            response.body(Full::default())
        }
        ["cookies"] => {
            let cookies = request.headers().get(header::COOKIE);
            text(200, cookies.map_or("", |cookies| cookies.to_str().unwrap()))
        }
        ["gzip"] => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(b"compressed text").unwrap();
            response
                .header("Content-Encoding", "gzip")
                .body(Full::new(encoder.finish().unwrap().into()))
        }
        ["delay", milliseconds] => {
            tokio::time::sleep(Duration::from_millis(milliseconds.parse().unwrap())).await;
            text(200, "late")
        }
        ["bytes"] => response.body(Full::new(Bytes::from_static(&[0, 1, 2, 250, 255]))),
        ["page"] => response
            .header("Content-Type", "text/html")
            .body(Full::new(Bytes::from_static(PAGE.as_bytes()))),
        ["large"] => response.body(Full::new(vec![b'x'; 300_000].into())),
        ["ws"] => return Ok(web_socket(request)),
        _ => {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let headers: BTreeMap<_, _> = head
                .headers
                .iter()
                .filter(|(name, _)| *name != "host" && *name != "user-agent")
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()))
                .collect();
            let echo = serde_json::json!({
                "method": head.method.as_str(),
                "path": head.uri.path(),
                "query": head.uri.query(),
                "headers": headers,
                "body": String::from_utf8_lossy(&body),
                "size": body.len(),
                "list": [{"name": "a", "n": 1}, {"name": "b", "n": 2}],
            });
            response
                .header("Content-Type", "application/json")
                .header("X-Two", "1")
                .header("X-Two", "2")
                .body(Full::new(echo.to_string().into()))
        }
    };
    Ok(built.unwrap())
}

/// Answers a WebSocket handshake and then every message with the same message.
fn web_socket(mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
    use tokio_tungstenite::tungstenite::protocol::Role;
    let key = request.headers()["sec-websocket-key"].clone();
    let accept = derive_accept_key(key.as_bytes());
    tokio::spawn(async move {
        use futures::{SinkExt, StreamExt};
        let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
        let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(
            TokioIo::new(upgraded),
            Role::Server,
            None,
        )
        .await;
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                break;
            }
        }
    });
    Response::builder()
        .status(101)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Accept", accept)
        .body(Full::default())
        .unwrap()
}

const PAGE: &str = r#"<!DOCTYPE html>
<html><head><title>The page</title></head>
<body class="main big">
  <h1 id="top">Hello <b>world</b></h1>
  <ul><li class="one">first</li><li>second</li><li data-n="3">third &amp; last</li></ul>
  <form action="/echo" method="post">
    <input type="text" name="who" value="me">
    <input type="checkbox" name="on" checked>
    <input type="checkbox" name="off">
    <select name="choice"><option value="1">One</option><option value="2" selected>Two</option></select>
    <textarea name="long">words</textarea>
    <input type="submit" name="go" value="Send">
  </form>
  <a href="/echo?from=link">a link</a>
</body></html>"#;

/// What a script did.
pub(crate) struct Ran {
    /// What it wrote to the console, and what was said of it: `level source message`.
    pub lines: Vec<String>,
    pub outcomes: Vec<Outcome>,
    pub collector: Collector,
    pub run: Arc<RunState>,
    pub files: Option<BTreeMap<String, Vec<u8>>>,
}

impl Ran {
    /// Lines of the console alone, without their level.
    pub(crate) fn console(&self) -> Vec<&str> {
        self.lines
            .iter()
            .filter_map(|line| line.split_once(" console ").map(|(_, message)| message))
            .collect()
    }

    pub(crate) fn measured(&self, metric: &str) -> Option<Measured> {
        let id = self.collector.registry().get(metric)?.id;
        self.collector.totals().get(&id).cloned()
    }

    pub(crate) fn count(&self, metric: &str) -> u64 {
        match self.measured(metric) {
            None => 0,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Some(Measured::Counter { sum }) => sum as u64,
            Some(Measured::Rate { total, .. }) => total,
            Some(Measured::Trend(trend)) => trend.count(),
            Some(Measured::Gauge { .. }) => 1,
        }
    }
}

pub(crate) fn scenario(exec: &str) -> Arc<ScenarioState> {
    let started = OnceLock::new();
    started
        .set((tokio::time::Instant::now(), Clock::system().now()))
        .unwrap();
    Arc::new(ScenarioState {
        name: "default".into(),
        executor: "shared-iterations",
        exec: exec.to_owned(),
        env: BTreeMap::new(),
        tags: Tags::default(),
        started,
        progress: Box::new(|| 0.5),
    })
}

pub(crate) fn settings(
    lines: &Arc<Mutex<Vec<String>>>,
    url: &str,
) -> (ScriptSettings, Arc<RunState>) {
    let told = Arc::clone(lines);
    let log: Log = Arc::new(move |line: LogLine<'_>| {
        told.lock()
            .push(format!("{} {} {}", line.level, line.source, line.message));
    });
    let run = Arc::new(RunState::default());
    let settings = ScriptSettings {
        env: BTreeMap::from([("URL".to_owned(), url.to_owned())]),
        log,
        registry: Arc::new(MetricRegistry::default()),
        clock: Clock::system(),
        run: Arc::clone(&run),
    };
    (settings, run)
}

/// Loads a script, runs its stages and so many iterations by one user.
pub(crate) async fn run(path: &Path, url: &str, iterations: u64) -> Result<Ran, String> {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let (settings, run) = settings(&lines, url);
    let collector = Collector::new(Arc::clone(&settings.registry), true);
    let script = Script::load(path, settings)
        .await
        .map_err(|error| error.to_string())?;
    script
        .setup(collector.sink())
        .await
        .map_err(|error| error.to_string())?;
    let mut outcomes = Vec::new();
    if script.exports("default") {
        let mut user = script
            .create(1, collector.sink())
            .await
            .map_err(|error| error.to_string())?;
        let scenario = scenario("default");
        for number in 0..iterations {
            let iteration = Iteration {
                scenario: Arc::clone(&scenario),
                number,
                intended_start: None,
            };
            outcomes.push(user.iterate(&iteration).await);
        }
    }
    script
        .teardown(collector.sink())
        .await
        .map_err(|error| error.to_string())?;
    let files = script
        .handle_summary(&serde_json::json!({"metrics": {}, "state": {"testRunDurationMs": 5}}))
        .await
        .map_err(|error| error.to_string())?;
    collector.collect();
    let lines = lines.lock().clone();
    Ok(Ran {
        lines,
        outcomes,
        collector,
        run,
        files,
    })
}

/// Writes a script to a temporary folder and runs it.
pub(crate) async fn run_text(source: &str, url: &str, iterations: u64) -> Result<Ran, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.js");
    std::fs::write(&path, source).unwrap();
    run(&path, url, iterations).await
}

/// The real k6, if the environment names it.
pub(crate) fn k6() -> Option<PathBuf> {
    let path = std::env::var_os("SPRINGTIDE_K6").map(PathBuf::from);
    if path.is_none() {
        // Directly, so that it shows under the harness's capture.
        let _ = std::io::stderr()
            .write_all(b"skipped: comparison with k6: SPRINGTIDE_K6 does not name its program\n");
    }
    path
}
