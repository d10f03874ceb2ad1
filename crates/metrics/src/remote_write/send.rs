use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{CONTENT_ENCODING, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};
use parking_lot::Mutex;
use springtide_machinery::clock::Clock;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{QueueConfig, RemoteWriteConfig};
use crate::http_client::{HttpClient, Question};
use crate::relabel::{LabelSet, RelabelRule, relabel};
use crate::series_store::{Labels, Sample};
use crate::tsdb::CommitListener;

use super::message::{self, TimeSeries, WriteRequest};

/// What became of samples that were to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendCounts {
    /// Taken by the receiver.
    pub sent: u64,
    /// Tries after the first.
    pub retried: u64,
    /// Refused by the receiver for good.
    pub failed: u64,
    /// Dropped because the queue was full, or because they were too old.
    pub dropped: u64,
    /// Waiting.
    pub pending: u64,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    retried: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// Sends every committed sample to another database. It is told of samples as a [`CommitListener`] and never makes
/// the database wait: what does not fit into the queue is dropped and counted.
pub struct RemoteWriter {
    name: String,
    queue: QueueConfig,
    relabelling: Vec<RelabelRule>,
    external: LabelSet,
    shards: Vec<Arc<Shard>>,
    /// What each series is sent as; `None` where relabelling drops it.
    known: Mutex<HashMap<Labels, Option<Labels>>>,
    counters: Arc<Counters>,
    stop: CancellationToken,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

impl std::fmt::Debug for RemoteWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteWriter")
            .field("name", &self.name)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Shard {
    waiting: Mutex<VecDeque<(Labels, Sample)>>,
    filled: Notify,
}

/// Series whose labels are remembered; when there are more, all are looked at again.
const MOST_KNOWN: usize = 1_000_000;
/// Requests under way at once where the configuration allows more: samples of one series stay in order, and a few
/// connections carry what one machine scrapes.
const SHARDS: usize = 4;
/// How long what waits may still be sent when the program ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

// === impl RemoteWriter ===

impl RemoteWriter {
    /// Starts to send.
    ///
    /// # Errors
    /// A sentence, where the configuration cannot be used.
    pub fn start(
        config: &RemoteWriteConfig,
        external: LabelSet,
        folder: &Path,
        clock: &Clock,
    ) -> Result<RemoteWriter, String> {
        let fault = |reason: String| format!("remote_write {}: {reason}", config.url);
        let url: Uri = config
            .url
            .parse()
            .map_err(|error| fault(format!("no URL: {error}")))?;
        let client = HttpClient::new(config.http_client(), folder)
            .map_err(|error| fault(error.to_string()))?;
        let headers = headers_of(config).map_err(fault)?;
        let queue = config.queue_config.clone();
        let count = SHARDS.min(queue.max_shards).max(queue.min_shards).max(1);
        let counters = Arc::new(Counters::default());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let shards: Vec<Arc<Shard>> = (0..count).map(|_| Arc::default()).collect();
        for shard in &shards {
            let sender = Sender {
                url: url.clone(),
                headers: headers.clone(),
                client: client.clone(),
                timeout: config.remote_timeout.get(),
                queue: queue.clone(),
                clock: clock.clone(),
                counters: Arc::clone(&counters),
                shard: Arc::clone(shard),
            };
            tasks.spawn(sender.run(stop.clone()));
        }
        let name = if config.name.is_empty() {
            config.url.clone()
        } else {
            config.name.clone()
        };
        Ok(RemoteWriter {
            name,
            queue,
            relabelling: config.write_relabel_configs.clone(),
            external,
            shards,
            known: Mutex::default(),
            counters,
            stop,
            tasks: tokio::sync::Mutex::new(tasks),
        })
    }

    /// Its name, or its URL where it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What became of samples so far.
    #[must_use]
    pub fn counts(&self) -> SendCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let waiting = self
            .shards
            .iter()
            .map(|shard| shard.waiting.lock().len() as u64);
        SendCounts {
            sent: read(&self.counters.sent),
            retried: read(&self.counters.retried),
            failed: read(&self.counters.failed),
            dropped: read(&self.counters.dropped),
            pending: waiting.sum(),
        }
    }

    /// Ends: what waits is sent if the receiver takes it within five seconds.
    pub async fn stop(&self) {
        self.stop.cancel();
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
    }

    fn sent_as(&self, series: &Labels) -> Option<Labels> {
        let mut known = self.known.lock();
        if let Some(labels) = known.get(series) {
            return labels.clone();
        }
        let mut labels: LabelSet = series
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        for (name, value) in &self.external {
            labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let keeps = relabel(&mut labels, &self.relabelling) && !labels.is_empty();
        let labels = keeps.then(|| Labels::new(labels));
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(series.clone(), labels.clone());
        labels
    }
}

impl CommitListener for RemoteWriter {
    fn committed(&self, samples: &[(Labels, Sample)]) {
        for (series, sample) in samples {
            let Some(labels) = self.sent_as(series) else {
                continue;
            };
            let mut hasher = DefaultHasher::new();
            labels.hash(&mut hasher);
            let place = hasher.finish() as usize % self.shards.len();
            let shard = &self.shards[place];
            let mut waiting = shard.waiting.lock();
            if waiting.len() >= self.queue.capacity.max(1) {
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            waiting.push_back((labels, *sample));
            if waiting.len() >= self.queue.max_samples_per_send {
                shard.filled.notify_one();
            }
        }
    }
}

fn headers_of(config: &RemoteWriteConfig) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    let version = HeaderName::from_static("x-prometheus-remote-write-version");
    headers.insert(version, HeaderValue::from_static("0.1.0"));
    for (name, value) in &config.headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("{name:?} is no header's name"))?;
        let value = HeaderValue::from_str(value)
            .map_err(|_| format!("header {name} has characters that no header can carry"))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Sends one shard's samples in their order.
struct Sender {
    url: Uri,
    headers: HeaderMap,
    client: HttpClient,
    timeout: Duration,
    queue: QueueConfig,
    clock: Clock,
    counters: Arc<Counters>,
    shard: Arc<Shard>,
}

/// What the receiver made of a request.
enum Outcome {
    Taken,
    Refused(String),
    TryAgain(String),
}

impl Sender {
    async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.shard.filled.notified() => {}
                () = tokio::time::sleep(self.queue.batch_send_deadline.get()) => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.send_all() => {}
            }
        }
        let _ = tokio::time::timeout(LAST_WORDS, self.send_all()).await;
    }

    /// Sends until nothing waits. Samples leave the queue when they are done with, so that a send which is
    /// given up in between is made again.
    async fn send_all(&self) {
        loop {
            let batch: Vec<(Labels, Sample)> = {
                let waiting = self.shard.waiting.lock();
                let most = self.queue.max_samples_per_send.max(1);
                waiting.iter().take(most).cloned().collect()
            };
            if batch.is_empty() {
                return;
            }
            let count = batch.len();
            self.send_batch(batch).await;
            self.shard.waiting.lock().drain(..count);
        }
    }

    async fn send_batch(&self, batch: Vec<(Labels, Sample)>) {
        let count = batch.len();
        let limit = self.queue.sample_age_limit.millis();
        let now = self.clock.now().as_millisecond();
        let fresh: Vec<(Labels, Sample)> = batch
            .into_iter()
            .filter(|(_, sample)| limit == 0 || now - sample.time <= limit)
            .collect();
        let dropped = (count - fresh.len()) as u64;
        self.counters.dropped.fetch_add(dropped, Ordering::Relaxed);
        if fresh.is_empty() {
            return;
        }
        let count = fresh.len() as u64;
        let body = match request_of(fresh).pack() {
            Ok(body) => body,
            Err(reason) => {
                tracing::error!(reason, "a request of remote write cannot be made");
                self.counters.failed.fetch_add(count, Ordering::Relaxed);
                return;
            }
        };
        let mut backoff = self.queue.min_backoff.get();
        loop {
            match self.send(body.clone()).await {
                Outcome::Taken => {
                    self.counters.sent.fetch_add(count, Ordering::Relaxed);
                    return;
                }
                Outcome::Refused(reason) => {
                    tracing::error!(url = %self.url, count, reason, "remote write refused");
                    self.counters.failed.fetch_add(count, Ordering::Relaxed);
                    return;
                }
                Outcome::TryAgain(reason) => {
                    tracing::warn!(url = %self.url, count, reason, "remote write failed, trying again");
                    self.counters.retried.fetch_add(count, Ordering::Relaxed);
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(self.queue.max_backoff.get());
                }
            }
        }
    }

    async fn send(&self, body: Vec<u8>) -> Outcome {
        let mut question = Question::post(self.url.clone(), "application/x-protobuf", body);
        for (name, value) in &self.headers {
            question.headers.insert(name, value.clone());
        }
        match self.client.ask(question, self.timeout, 1 << 20).await {
            Err(error) => Outcome::TryAgain(error.to_string()),
            Ok(answer) if answer.status.is_success() => Outcome::Taken,
            Ok(answer) => {
                let text = String::from_utf8_lossy(&answer.body);
                let line = text.lines().next().unwrap_or_default();
                let reason = format!("server returned HTTP status {}: {line}", answer.status);
                let retries = answer.status.is_server_error()
                    || answer.status == StatusCode::TOO_MANY_REQUESTS
                        && self.queue.retry_on_http_429;
                if retries {
                    Outcome::TryAgain(reason)
                } else {
                    Outcome::Refused(reason)
                }
            }
        }
    }
}

fn request_of(batch: Vec<(Labels, Sample)>) -> WriteRequest {
    let mut timeseries: Vec<TimeSeries> = Vec::new();
    let mut places: HashMap<Labels, usize> = HashMap::new();
    for (labels, sample) in batch {
        let place = *places.entry(labels.clone()).or_insert_with(|| {
            let pairs = labels.iter().map(|(name, value)| message::Label {
                name: name.to_owned(),
                value: value.to_owned(),
            });
            timeseries.push(TimeSeries {
                labels: pairs.collect(),
                samples: Vec::new(),
                histograms: Vec::new(),
            });
            timeseries.len() - 1
        });
        timeseries[place].samples.push(message::Sample {
            value: sample.value,
            timestamp: sample.time,
        });
    }
    WriteRequest {
        timeseries,
        metadata: Vec::new(),
    }
}
