use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use parking_lot::Mutex;
use springtide_machinery::clock::Clock;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::config::{ScrapeConfig, ScrapeProtocol};
use crate::exposition::{Escaping, Format, accept_header};
use crate::http_client::{Answer, HttpClient, Question};
use crate::tsdb::{STALE_NAN, Tsdb};

use super::cache::SeriesCache;
use super::intake::{self, Counts, Rules};
use super::report::{Health, TargetReport};
use super::target::Target;

/// What a worker and those who ask about its target share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) status: Mutex<TargetReport>,
    pub(super) cache: Mutex<SeriesCache>,
}

/// Scrapes one target.
pub(super) struct Worker {
    pub(super) config: Arc<ScrapeConfig>,
    pub(super) target: Target,
    pub(super) client: HttpClient,
    pub(super) tsdb: Tsdb,
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared>,
    /// Part of the interval that the first scrape waits, so that targets do not line up.
    pub(super) offset: Duration,
}

const SCRAPE_METRICS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// A scrape that begins this little after its time is stored with the time it should have had: equal
/// distances compress better. As in Prometheus.
const TOLERANCE: Duration = Duration::from_millis(2);

// === impl Worker ===

impl Worker {
    /// Scrapes until cancelled.
    pub(super) async fn run(self, stop: CancellationToken) {
        let interval = self.target.interval.get();
        let mut due = Instant::now() + self.offset;
        let mut aligned: Option<i64> = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = sleep_until(due) => {}
            }
            let time = self.sample_time(&mut aligned);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.scrape(time) => {}
            }
            due += interval;
            let now = Instant::now();
            if due <= now {
                // A scrape took longer than the interval: those that were missed are not made up for.
                let missed = (now - due).as_nanos() / interval.as_nanos().max(1) + 1;
                due += interval * u32::try_from(missed).unwrap_or(u32::MAX);
                aligned = None;
            }
        }
    }

    /// The time of this scrape's samples, in milliseconds.
    fn sample_time(&self, aligned: &mut Option<i64>) -> i64 {
        let now = self.clock.now().as_millisecond();
        let interval = self.target.interval.millis();
        let tolerance = TOLERANCE
            .as_millis()
            .min((interval / 100).unsigned_abs().into());
        let expected = aligned.map_or(now, |last| last + interval);
        let time = if u128::from(now.abs_diff(expected)) <= tolerance {
            expected
        } else {
            now
        };
        *aligned = Some(time);
        time
    }

    async fn scrape(&self, time: i64) {
        let began_at = self.clock.now();
        let began = Instant::now();
        let asked = self.ask().await;
        let asked_for = began.elapsed();
        let (taken, error) = match asked {
            Ok((answer, format)) => match self.store(Some((&answer, format)), time, asked_for) {
                Ok(()) => (true, String::new()),
                Err(error) => (false, error),
            },
            Err(error) => (false, error),
        };
        if !taken && let Err(more) = self.store(None, time, asked_for) {
            tracing::warn!(url = %self.target.url, error = more, "a scrape's own metrics are not stored");
        }
        if !error.is_empty() {
            tracing::debug!(url = %self.target.url, error, "scrape failed");
        }
        let mut status = self.shared.status.lock();
        status.health = if taken { Health::Up } else { Health::Down };
        status.last_error = error;
        status.last_scrape = Some(began_at);
        status.last_duration = began.elapsed();
    }

    async fn ask(&self) -> Result<(Answer, Format), String> {
        let config = &self.config;
        let mut question = Question::get(self.target.url.clone());
        let protocols: Vec<&str> = config
            .scrape_protocols
            .iter()
            .map(|protocol| protocol.name())
            .collect();
        let timeout = self.target.timeout.get();
        let encoding = if config.enable_compression {
            "gzip"
        } else {
            "identity"
        };
        let seconds = timeout.as_secs_f64().to_string();
        let headers = [
            (ACCEPT, accept_header(&protocols)),
            (ACCEPT_ENCODING, encoding.to_owned()),
            (
                HeaderName::from_static("x-prometheus-scrape-timeout-seconds"),
                seconds,
            ),
        ];
        for (name, value) in headers {
            let value = HeaderValue::from_str(&value).map_err(|error| error.to_string())?;
            question.headers.insert(name, value);
        }
        let most = config.body_size_limit.unwrap_or_default().0;
        let answer = self
            .client
            .ask(question, timeout, most)
            .await
            .map_err(|error| error.to_string())?;
        if answer.status != StatusCode::OK {
            return Err(format!("server returned HTTP status {}", answer.status));
        }
        let format = format_of(&answer, config.scrape_fallback_protocol)?;
        Ok((answer, format))
    }

    /// Stores an answer and the metrics about the scrape; without an answer, that there was none.
    fn store(
        &self,
        answer: Option<(&Answer, Format)>,
        time: i64,
        asked_for: Duration,
    ) -> Result<(), String> {
        let mut guard = self.shared.cache.lock();
        let cache = &mut *guard;
        let rules = Rules {
            config: &self.config,
            target: &self.target.labels,
        };
        let mut appender = self.tsdb.appender();
        let mut counts = Counts::default();
        if let Some((answer, format)) = answer {
            cache.scrape += 1;
            let taken = intake::take(
                &answer.body,
                format,
                &rules,
                cache,
                &mut appender,
                time,
                &self.tsdb,
            );
            match taken {
                Ok(taken) => counts = taken,
                Err(error) => {
                    appender.rollback();
                    // What this answer had does not count as seen.
                    let scrape = cache.scrape;
                    for known in cache.series.values_mut() {
                        if known.seen == scrape {
                            known.seen = known.seen_before;
                        }
                    }
                    return Err(error.to_string());
                }
            }
        }
        let failed = answer.is_none();
        intake::mark_stale(cache, &mut appender, time, failed);
        if !failed {
            cache.last_good = cache.scrape;
            cache.forget_old();
        }
        let values = [
            if failed { 0.0 } else { 1.0 },
            asked_for.as_secs_f64(),
            counts.samples as f64,
            counts.after_relabelling as f64,
            counts.series_added as f64,
        ];
        let values: Vec<(&'static str, f64)> = SCRAPE_METRICS.into_iter().zip(values).collect();
        intake::report(cache, &self.target.labels, &mut appender, time, &values);
        appender.commit().map_err(|error| error.to_string())
    }
}

/// Ends a target's series: it is no longer scraped.
pub(super) fn end_series(shared: &Shared, tsdb: &Tsdb, time: i64) {
    let mut guard = shared.cache.lock();
    let cache = &mut *guard;
    let mut appender = tsdb.appender();
    intake::mark_stale(cache, &mut appender, time, true);
    for (labels, reference) in cache.reports.values() {
        let _ = appender.append(labels, *reference, time, STALE_NAN);
    }
    if let Err(error) = appender.commit() {
        tracing::warn!(%error, "stale markers are not stored");
    }
}

fn format_of(answer: &Answer, fallback: Option<ScrapeProtocol>) -> Result<Format, String> {
    let content_type = answer.header(&CONTENT_TYPE).unwrap_or_default();
    if let Some(format) = Format::of_content_type(content_type) {
        return Ok(format);
    }
    match fallback {
        Some(ScrapeProtocol::PrometheusProto) => Ok(Format::Protobuf),
        Some(ScrapeProtocol::PrometheusText0 | ScrapeProtocol::PrometheusText1) => {
            Ok(Format::Text(Escaping::Utf8))
        }
        Some(ScrapeProtocol::OpenMetrics0 | ScrapeProtocol::OpenMetrics1) => {
            Ok(Format::OpenMetrics(Escaping::Utf8))
        }
        None if content_type.is_empty() => Err(
            "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
                .to_owned(),
        ),
        None => Err(format!(
            "received unsupported Content-Type {content_type:?} and no fallback_scrape_protocol specified for target"
        )),
    }
}

/// What a pool needs to make workers.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) tsdb: Tsdb,
    pub(super) clock: Clock,
    /// What certificates and passwords are relative to.
    pub(super) folder: PathBuf,
    /// Spreads the targets of several servers that scrape the same.
    pub(super) seed: u64,
}
