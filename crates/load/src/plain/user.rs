//! A virtual user that sends one request after the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use parking_lot::Mutex;
use springtide_machinery::clock::Clock;
use tokio::time::Instant;

use super::connection::{Connection, Exchanged, Failed, Limit};
use super::request::{Request, Requests};
use crate::http::{HttpError, Timings};
use crate::metric::{SampleSink, Tags, milliseconds};
use crate::user::{Iteration, Outcome, UserError, UserFactory, VirtualUser};

/// How long a user that loops waits after a request that failed without an answer: a server that
/// refuses at once must not be asked a hundred thousand times a second.
const AFTER_FAILURE: Duration = Duration::from_millis(10);
/// Tags of so many different kinds of answers are kept.
const MOST_TAGS: usize = 10_000;

/// Makes users who send these requests.
#[derive(Debug)]
pub(crate) struct PlainUsers {
    requests: Arc<Requests>,
    tags: Arc<KnownTags>,
    clock: Clock,
}

/// Tags of answers, made once for each kind of answer.
#[derive(Debug, Default)]
struct KnownTags(Mutex<HashMap<Kind, Tags>>);

/// All that the tags of an answer depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    /// The number of the request.
    request: usize,
    status: u16,
    is_http_10: bool,
}

/// A user.
pub(crate) struct PlainUser {
    requests: Arc<Requests>,
    known_tags: Arc<KnownTags>,
    sink: SampleSink,
    clock: Clock,
    connection: Option<Connection>,
    limit: Limit,
    /// The tags of the last answer; the next one's are likely to be the same.
    last_tags: Option<(Kind, Tags)>,
}

// === impl PlainUsers ===

impl PlainUsers {
    pub(crate) fn new(requests: Arc<Requests>, clock: Clock) -> Self {
        Self {
            requests,
            tags: Arc::default(),
            clock,
        }
    }
}

impl UserFactory for PlainUsers {
    type User = PlainUser;

    const LIGHT: bool = true;

    async fn create(&self, _: u64, sink: SampleSink) -> Result<PlainUser, UserError> {
        Ok(PlainUser {
            requests: Arc::clone(&self.requests),
            known_tags: Arc::clone(&self.tags),
            sink,
            clock: self.clock.clone(),
            connection: None,
            limit: Limit::default(),
            last_tags: None,
        })
    }
}

// === impl PlainUser ===

impl VirtualUser for PlainUser {
    async fn iterate(&mut self, iteration: &Iteration) -> Outcome {
        let Self {
            requests,
            sink,
            limit,
            ..
        } = self;
        let number = requests.number_of(iteration.number);
        let start = Instant::now();
        let mut timings = Timings::default();
        // Out of the user while it is used: an iteration that is dropped leaves no half-read answer behind.
        let mut connection = self.connection.take();
        let exchange = Exchange {
            requests,
            request: &requests.list[number],
            replica_header: sink.replica_header().map(HeaderName::as_str),
            start,
        };
        let outcome = limit
            .until(
                start + requests.timeout,
                exchange.run(&mut connection, &mut timings),
            )
            .await
            .unwrap_or_else(|| Err(HttpError::timeout()));
        let reusable = outcome
            .as_ref()
            .is_ok_and(|exchanged| exchanged.answer.keeps_alive);
        if reusable && !requests.no_connection_reuse {
            self.connection = connection;
        }
        if let Err(error) = &outcome
            && error.code == HttpError::TIMEOUT
        {
            // The time that nobody measured, because it ended early, went into waiting.
            let known = timings.blocked + timings.duration();
            timings.waiting += start.elapsed().saturating_sub(known);
        }
        self.measure(iteration, number, start, &timings, &outcome);
        if outcome.is_err() && iteration.intended_start.is_none() {
            tokio::time::sleep(AFTER_FAILURE).await;
        }
        Outcome::Completed
    }
}

impl PlainUser {
    fn measure(
        &mut self,
        iteration: &Iteration,
        number: usize,
        start: Instant,
        timings: &Timings,
        outcome: &Result<Exchanged, HttpError>,
    ) {
        let now = self.clock.now();
        let request = &self.requests.list[number];
        let scenario = &iteration.scenario.tags;
        let sink = &self.sink;
        let metrics = sink.registry().builtin();
        let (status, received, done) = match outcome {
            Ok(exchanged) => (exchanged.answer.status, exchanged.received, exchanged.done),
            Err(_) => (0, 0, Instant::now()),
        };
        if let Ok(exchanged) = outcome
            && let Some(replica) = &exchanged.replica
        {
            sink.answered_by(replica);
        }
        // Nothing is sent where no connection could be made.
        let sent = if timings.sending.is_zero() {
            0
        } else {
            request.bytes.len()
        };
        let expected = (200..400).contains(&status);
        let failed_tags;
        let tags = match outcome {
            Err(error) => {
                failed_tags = tags_of_failure(scenario, request, error);
                &failed_tags
            }
            Ok(exchanged) => {
                let kind = Kind {
                    request: number,
                    status,
                    is_http_10: exchanged.answer.is_http_10,
                };
                match &mut self.last_tags {
                    Some((last, tags)) if *last == kind => &*tags,
                    last => {
                        let tags = self.known_tags.of(kind, scenario, request);
                        &last.insert((kind, tags)).1
                    }
                }
            }
        };
        let response_time = iteration.intended_start.map(|intended| {
            (
                &metrics.http_req_response_time,
                milliseconds(done.saturating_duration_since(intended)),
            )
        });
        let failed = (&metrics.http_req_failed, f64::from(u8::from(!expected)));
        sink.add_all(
            (metrics.of_request(timings).into_iter())
                .chain([failed])
                .chain(response_time),
            tags,
            now,
        );
        #[expect(clippy::cast_precision_loss, reason = "bytes are far below 2^52")]
        sink.add_all(
            [
                (&metrics.data_sent, sent as f64),
                (&metrics.data_received, received as f64),
                (&metrics.iterations, 1.0),
                (&metrics.iteration_duration, milliseconds(done - start)),
            ],
            scenario,
            now,
        );
    }
}

/// What is to be sent, and how.
struct Exchange<'user> {
    requests: &'user Requests,
    request: &'user Request,
    replica_header: Option<&'user str>,
    start: Instant,
}

impl Exchange<'_> {
    /// Sends the request over the connection, or over a new one. One that the server refused by closing
    /// an idle connection is sent once more, as Go's and browsers' clients do, if that is safe.
    async fn run(
        &self,
        connection: &mut Option<Connection>,
        timings: &mut Timings,
    ) -> Result<Exchanged, HttpError> {
        if let Some(kept) = connection
            && kept.is_quiet().await
        {
            match self.over(kept, self.start, timings).await {
                Err(Failed {
                    unanswered: true, ..
                }) if self.request.method.is_idempotent() => {}
                other => return other.map_err(|failed| failed.error),
            }
        }
        let opened = Connection::open(&self.requests.origin, timings).await;
        let begun = Instant::now();
        timings.blocked = begun - self.start;
        let fresh = connection.insert(opened?);
        self.over(fresh, begun, timings)
            .await
            .map_err(|failed| failed.error)
    }

    async fn over(
        &self,
        connection: &mut Connection,
        begun: Instant,
        timings: &mut Timings,
    ) -> Result<Exchanged, Failed> {
        connection
            .exchange(self.request, self.replica_header, begun, timings)
            .await
    }
}

// === impl KnownTags ===

impl KnownTags {
    fn of(&self, kind: Kind, scenario: &Tags, request: &Request) -> Tags {
        let mut known = self.0.lock();
        if let Some(tags) = known.get(&kind) {
            return tags.clone();
        }
        let tags = tags_of_answer(scenario, request, kind);
        if known.len() < MOST_TAGS {
            known.insert(kind, tags.clone());
        }
        tags
    }
}

fn tags_of_request(scenario: &Tags, request: &Request) -> Tags {
    scenario.with_all([
        ("method".into(), request.method.as_str().into()),
        ("name".into(), Arc::clone(&request.url)),
        ("url".into(), Arc::clone(&request.url)),
    ])
}

fn tags_of_answer(scenario: &Tags, request: &Request, kind: Kind) -> Tags {
    let expected = (200..400).contains(&kind.status);
    let proto = if kind.is_http_10 {
        "HTTP/1.0"
    } else {
        "HTTP/1.1"
    };
    let mut tags = tags_of_request(scenario, request).with_all([
        ("expected_response".into(), expected.to_string().into()),
        ("proto".into(), proto.into()),
        ("status".into(), kind.status.to_string().into()),
    ]);
    if kind.status >= 400 {
        tags = tags.with("error_code", (1000 + kind.status).to_string());
    }
    tags
}

fn tags_of_failure(scenario: &Tags, request: &Request, error: &HttpError) -> Tags {
    tags_of_request(scenario, request).with_all([
        ("error".into(), error.message.as_str().into()),
        ("error_code".into(), error.code.to_string().into()),
        ("expected_response".into(), "false".into()),
        ("status".into(), "0".into()),
    ])
}
