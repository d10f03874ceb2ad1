//! A receiver of Alertmanager's notices, on a port of the host.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::wait::until;

/// Answers every request with 200 and keeps what it was sent, until the test's process ends.
pub struct Webhook {
    /// Where it is.
    pub url: String,
    heard: Arc<Mutex<Vec<Value>>>,
}

// === impl Webhook ===

impl Webhook {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A connection that breaks is the sender's to try again.
                if let Some(message) = take(stream) {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push(message);
                }
            }
        });
        Self {
            url: format!("http://{address}/"),
            heard,
        }
    }

    /// The alerts of all messages so far: name, status and the alert itself, the oldest first.
    pub fn alerts(&self) -> Vec<(String, String, Value)> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let alerts = heard.iter().flat_map(|message| {
            assert_eq!(message["version"], "4", "{message}");
            message["alerts"].as_array().into_iter().flatten()
        });
        alerts
            .map(|alert| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let name = text(&alert["labels"]["alertname"]);
                (name, text(&alert["status"]), alert.clone())
            })
            .collect()
    }

    /// Waits until it has heard of each of these alerts in this status as the last of it.
    ///
    /// # Panics
    /// When it has not within `bound`.
    #[track_caller]
    pub fn hears(&self, bound: Duration, names: &[&str], status: &str) {
        until(&format!("{status}: {names:?}"), bound, || {
            let alerts = self.alerts();
            let is_last = |name: &&str| {
                let mut of_name = alerts.iter().rev().filter(|(heard, ..)| heard == name);
                of_name.next().is_some_and(|(_, heard, _)| heard == status)
            };
            let missing: Vec<&str> = names
                .iter()
                .filter(|name| !is_last(name))
                .copied()
                .collect();
            if missing.is_empty() {
                Ok(())
            } else {
                Err(format!("missing: {missing:?}"))
            }
        });
    }
}

/// Reads one request, answers it, and returns its body.
fn take(mut stream: TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .ok()?;
    serde_json::from_slice(&body).ok()
}

/// Alertmanager's configuration as the platform takes it: everything to this URL, at once.
pub fn manifest(url: &str) -> String {
    format!(
        r"
apiVersion: v1
kind: Secret
metadata: {{name: alertmanager, namespace: kube-system}}
stringData:
  alertmanager.yaml: |
    route: {{receiver: test, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
    receivers:
      - name: test
        webhook_configs: [{{url: '{url}'}}]
"
    )
}
