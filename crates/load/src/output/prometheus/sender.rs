//! A thread that sends requests one after the other.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, HeaderName, HeaderValue};
use http::{HeaderMap, Uri};
use parking_lot::Mutex;
use springtide_metrics::http_client::{HttpClient, Question};
use springtide_metrics::remote_write::message::WriteRequest;

use super::settings::Settings;

/// Requests that may wait: more would only be older.
const WAITING: usize = 2;
/// How long a receiver may take for a request, as in k6.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most of an answer that is read, for its words of refusal.
const MOST_OF_ANSWER: u64 = 64 << 10;

/// Sends requests in a thread of its own.
pub(super) struct Sender {
    requests: SyncSender<Vec<u8>>,
    /// How many requests are not yet answered.
    pending: Arc<AtomicUsize>,
    faults: Arc<Mutex<Faults>>,
    thread: JoinHandle<()>,
}

/// What went wrong.
#[derive(Debug, Default)]
struct Faults {
    /// Requests that were tried.
    tried: usize,
    /// Those of them that the receiver did not take.
    failed: usize,
    /// Why the last of them was not, until it has been told.
    untold: Option<String>,
    /// The same, told or not.
    last: String,
}

struct Receiver {
    client: HttpClient,
    url: Uri,
    headers: HeaderMap,
}

// === impl Sender ===

impl Sender {
    pub(super) fn start(settings: &Settings) -> Result<Self, String> {
        let client = HttpClient::new(settings.client.clone(), Settings::folder())
            .map_err(|error| error.to_string())?;
        let mut headers = settings.headers.clone();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
        headers.insert(
            HeaderName::from_static("x-prometheus-remote-write-version"),
            HeaderValue::from_static("0.1.0"),
        );
        let receiver = Receiver {
            client,
            url: settings.url.clone(),
            headers,
        };
        let (requests, waiting) = sync_channel::<Vec<u8>>(WAITING);
        let pending = Arc::new(AtomicUsize::new(0));
        let faults = Arc::new(Mutex::new(Faults::default()));
        let (noted, answered) = (Arc::clone(&faults), Arc::clone(&pending));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no thread to send from: {error}"))?;
        let thread = std::thread::Builder::new()
            .name("remote-write".to_owned())
            .spawn(move || {
                for body in waiting {
                    let sent = runtime.block_on(receiver.send(body));
                    noted.lock().note(sent);
                    answered.fetch_sub(1, Ordering::Relaxed);
                }
            })
            .map_err(|error| format!("no thread to send from: {error}"))?;
        Ok(Self {
            requests,
            pending,
            faults,
            thread,
        })
    }

    /// True if a request finds room to wait for its turn.
    pub(super) fn has_room(&self) -> bool {
        self.pending.load(Ordering::Relaxed) < WAITING
    }

    /// Sends a request after those before it; waits where there is no room.
    pub(super) fn send(&self, request: &WriteRequest) -> io::Result<()> {
        let body = request.pack().map_err(io::Error::other)?;
        self.pending.fetch_add(1, Ordering::Relaxed);
        self.requests
            .send(body)
            .map_err(|_| io::Error::other("the thread that sends has ended"))
    }

    /// What went wrong since it was asked last.
    pub(super) fn take_fault(&self) -> io::Result<()> {
        match self.faults.lock().untold.take() {
            Some(fault) => Err(io::Error::other(fault)),
            None => Ok(()),
        }
    }

    /// Waits until everything was sent, and says whether the receiver took it.
    pub(super) fn finish(self) -> io::Result<()> {
        drop(self.requests);
        if self.thread.join().is_err() {
            return Err(io::Error::other("the thread that sends broke down"));
        }
        let faults = self.faults.lock();
        if faults.failed == 0 {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "{} of {} requests of remote write were not taken; the last: {}",
            faults.failed, faults.tried, faults.last
        )))
    }
}

// === impl Faults ===

impl Faults {
    fn note(&mut self, sent: Result<(), String>) {
        self.tried += 1;
        if let Err(fault) = sent {
            self.failed += 1;
            self.last.clone_from(&fault);
            self.untold = Some(fault);
        }
    }
}

// === impl Receiver ===

impl Receiver {
    async fn send(&self, body: Vec<u8>) -> Result<(), String> {
        let mut question = Question::post(self.url.clone(), "application/x-protobuf", body);
        question.headers.extend(self.headers.clone());
        let answer = self
            .client
            .ask(question, PATIENCE, MOST_OF_ANSWER)
            .await
            .map_err(|error| format!("{}: {error}", self.url))?;
        if answer.status.is_success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&answer.body);
        let first_line = words.lines().next().unwrap_or_default();
        Err(format!(
            "{} answered {} {first_line}",
            self.url, answer.status
        ))
    }
}
