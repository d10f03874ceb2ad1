//! A headless Chromium that is told what to do over its DevTools protocol.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use springtide_metrics::config::HttpClientConfig;
use springtide_metrics::http_client::{HttpClient, Question};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A page in a browser.
pub(crate) struct Browser {
    socket: WebSocketStream<TcpStream>,
    next: u64,
    /// What the page's console and the browser complained of.
    pub(crate) complaints: Vec<String>,
    _program: Child,
    _profile: tempfile::TempDir,
}

/// The browser's program: what `SPRINGTIDE_CHROMIUM` names, or `chromium` on the `PATH`.
pub(crate) fn chromium() -> Option<PathBuf> {
    let found = std::env::var_os("SPRINGTIDE_CHROMIUM")
        .map(PathBuf::from)
        .or_else(|| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path)
                .flat_map(|folder| {
                    ["chromium", "chromium-browser", "google-chrome"].map(|name| folder.join(name))
                })
                .find(|program| program.is_file())
        });
    if found.is_none() {
        // Directly, so that it shows under the harness's capture.
        let _ = std::io::stderr().write_all(
            b"skipped: the report in a browser: no chromium on the PATH, and SPRINGTIDE_CHROMIUM names none\n",
        );
    }
    found
}

// === impl Browser ===

impl Browser {
    /// Starts the browser with one empty page.
    pub(crate) async fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let child = Command::new(program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args(["--remote-debugging-port=0", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let port_file = profile.path().join("DevToolsActivePort");
        let port = tokio::time::timeout(PATIENCE, async {
            loop {
                let text = std::fs::read_to_string(&port_file).unwrap_or_default();
                if let Some((port, _)) = text.split_once('\n') {
                    return port.to_owned();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("the browser opens its port");
        let client = HttpClient::new(HttpClientConfig::default(), profile.path()).unwrap();
        let list = format!("http://127.0.0.1:{port}/json/list")
            .parse()
            .unwrap();
        let answer = client.ask(Question::get(list), PATIENCE, 0).await.unwrap();
        let pages: Value = serde_json::from_slice(&answer.body).unwrap();
        let page = pages
            .as_array()
            .unwrap()
            .iter()
            .find(|page| page["type"] == "page")
            .unwrap();
        let url = page["webSocketDebuggerUrl"].as_str().unwrap();
        let stream = TcpStream::connect(format!("127.0.0.1:{port}"))
            .await
            .unwrap();
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        let mut browser = Self {
            socket,
            next: 0,
            complaints: Vec::new(),
            _program: child,
            _profile: profile,
        };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser
    }

    /// Orders something, and waits for its result.
    pub(crate) async fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let order = json!({"id": id, "method": method, "params": parameters}).to_string();
        self.socket.send(Message::text(order)).await.unwrap();
        loop {
            let message = self.receive().await;
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    /// Opens a page and waits until all of it is there.
    pub(crate) async fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url})).await;
        while self.receive().await["method"] != "Page.loadEventFired" {}
    }

    /// What an expression of the page's script comes to.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        let result = self
            .call(
                "Runtime.evaluate",
                json!({"expression": expression, "returnByValue": true}),
            )
            .await;
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {result}"
        );
        result["result"]["value"].clone()
    }

    async fn receive(&mut self) -> Value {
        let next = tokio::time::timeout(PATIENCE, self.socket.next());
        let message = next.await.expect("an answer in time").unwrap().unwrap();
        let message: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        let parameters = &message["params"];
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.complaints
                    .push(parameters["exceptionDetails"].to_string());
            }
            Some("Runtime.consoleAPICalled") => {
                self.complaints.push(parameters["args"].to_string());
            }
            Some("Log.entryAdded") => {
                self.complaints.push(parameters["entry"].to_string());
            }
            Some("Network.requestWillBeSent") => {
                let url = parameters["request"]["url"].as_str().unwrap_or_default();
                if !url.starts_with("file:") {
                    self.complaints.push(format!("it asks for {url}"));
                }
            }
            _ => {}
        }
        message
    }
}
