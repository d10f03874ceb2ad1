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
use crate::tsdb::{Appender, STALE_NAN, Tsdb};

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
    /// Why the target is not asked, where it is not.
    pub(super) refusal: Arc<Mutex<Option<String>>>,
    /// Part of the interval that the first scrape waits, so that targets do not line up.
    pub(super) offset: Duration,
}

/// Why a scrape failed, and what was read before it did.
struct Failure {
    reason: String,
    counts: Counts,
}

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
        let refusal = self.refusal.lock().clone();
        let asked = match refusal {
            Some(refusal) => Err(refusal),
            None => self.ask().await,
        };
        let asked_for = began.elapsed();
        let failure = match asked {
            Ok((answer, format)) => self.store(&answer, format, time, asked_for).err(),
            Err(reason) => Some(Failure {
                reason,
                counts: Counts::default(),
            }),
        };
        let is_up = failure.is_none();
        if let Some(Failure { reason, counts }) = &failure {
            tracing::debug!(url = %self.target.url, error = reason, "scrape failed");
            if let Err(error) = self.store_failure(*counts, time, asked_for) {
                tracing::warn!(url = %self.target.url, error, "a scrape's own metrics are not stored");
            }
        }
        let mut status = self.shared.status.lock();
        status.health = if is_up { Health::Up } else { Health::Down };
        status.last_error = failure.map_or_else(String::new, |failure| failure.reason);
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

    /// Stores an answer and the metrics about the scrape.
    fn store(
        &self,
        answer: &Answer,
        format: Format,
        time: i64,
        asked_for: Duration,
    ) -> Result<(), Failure> {
        let mut guard = self.shared.cache.lock();
        let cache = &mut *guard;
        let rules = Rules {
            config: &self.config,
            target: &self.target.labels,
        };
        let mut appender = self.tsdb.appender();
        cache.scrape += 1;
        let body = &answer.body;
        let (counts, taken) =
            intake::take(body, format, &rules, cache, &mut appender, time, &self.tsdb);
        if let Err(error) = taken {
            appender.rollback();
            // What this answer had does not count as seen.
            let scrape = cache.scrape;
            for known in cache.series.values_mut() {
                if known.seen == scrape {
                    known.seen = known.seen_before;
                }
            }
            return Err(Failure {
                reason: error.to_string(),
                counts,
            });
        }
        intake::mark_stale(cache, &mut appender, time, false);
        cache.last_good = cache.scrape;
        cache.forget_old();
        self.report(cache, &mut appender, time, true, asked_for, counts);
        appender.commit().map_err(|error| Failure {
            reason: error.to_string(),
            counts,
        })
    }

    /// Stores that the target's series end, and the metrics about a scrape that failed.
    fn store_failure(&self, counts: Counts, time: i64, asked_for: Duration) -> Result<(), String> {
        let mut guard = self.shared.cache.lock();
        let cache = &mut *guard;
        let mut appender = self.tsdb.appender();
        intake::mark_stale(cache, &mut appender, time, true);
        self.report(cache, &mut appender, time, false, asked_for, counts);
        appender.commit().map_err(|error| error.to_string())
    }

    fn report(
        &self,
        cache: &mut SeriesCache,
        appender: &mut Appender,
        time: i64,
        is_up: bool,
        asked_for: Duration,
        counts: Counts,
    ) {
        let values = [
            ("up", f64::from(u8::from(is_up))),
            ("scrape_duration_seconds", asked_for.as_secs_f64()),
            ("scrape_samples_scraped", counts.samples as f64),
            (
                "scrape_samples_post_metric_relabeling",
                counts.after_relabelling as f64,
            ),
            ("scrape_series_added", counts.series_added as f64),
        ];
        intake::report(cache, &self.target.labels, appender, time, &values);
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
