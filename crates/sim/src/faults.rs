use std::convert::Infallible;
use std::time::Duration;

use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::json;
use springtide_machinery::entropy::Entropy;
use tokio_util::sync::CancellationToken;

/// How often what goes wrong: in a thousand requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultRates {
    /// A request is refused with 503 before it has any effect.
    pub refused: u64,
    /// A write takes effect, and its answer is lost: what a crash after a write looks like.
    pub answer_lost: u64,
    /// A write is answered with a conflict, as if somebody else had been faster.
    pub conflict: u64,
    /// A watch is refused because its revision is too old, so that all must be listed anew.
    pub expired: u64,
    /// A watch breaks off at a random time within this long.
    pub watch_within: Duration,
    /// A request takes up to this long.
    pub delay: Duration,
}

impl Default for FaultRates {
    fn default() -> Self {
        Self {
            refused: 50,
            answer_lost: 50,
            conflict: 50,
            expired: 200,
            watch_within: Duration::from_secs(20),
            delay: Duration::from_millis(30),
        }
    }
}

/// Failures between a component and the API, drawn from one seed. They end when
/// [`Faults::heal`] is called.
#[derive(Clone)]
pub struct Faults {
    entropy: Entropy,
    rates: FaultRates,
    healed: CancellationToken,
}

/// The error of a request whose answer is lost.
#[derive(Debug, thiserror::Error)]
#[error("the connection was lost")]
struct Lost;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Piece = Result<http_body::Frame<bytes::Bytes>, BoxError>;
type Pieces = StreamBody<futures::stream::BoxStream<'static, Piece>>;

impl Faults {
    /// Failures at these rates, drawn from `entropy`.
    pub fn new(entropy: Entropy, rates: FaultRates) -> Self {
        Self {
            entropy,
            rates,
            healed: CancellationToken::new(),
        }
    }

    /// A client that reaches the API through the failures.
    pub fn client(&self, inner: &Client) -> Client {
        let (faults, inner) = (self.clone(), inner.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (faults, inner) = (faults.clone(), inner.clone());
            async move { faults.send(&inner, request).await }
        });
        Client::new(service, "default")
    }

    /// From now on all goes well. Watches that are open break off once more.
    pub fn heal(&self) {
        self.healed.cancel();
    }

    fn happens(&self, in_a_thousand: u64) -> bool {
        !self.healed.is_cancelled() && self.entropy.below(1000) < in_a_thousand
    }

    fn within(&self, bound: Duration) -> Duration {
        if self.healed.is_cancelled() {
            return Duration::ZERO;
        }
        let bound = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.entropy.below(bound))
    }

    async fn send(
        &self,
        inner: &Client,
        request: Request<Body>,
    ) -> Result<Response<Pieces>, BoxError> {
        tokio::time::sleep(self.within(self.rates.delay)).await;
        let is_watch = request
            .uri()
            .query()
            .is_some_and(|query| query.contains("watch=true"));
        let is_write = *request.method() != Method::GET;
        let changes = *request.method() == Method::PUT || *request.method() == Method::PATCH;
        if self.happens(self.rates.refused) {
            return Ok(refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "ServiceUnavailable",
            ));
        }
        if changes && self.happens(self.rates.conflict) {
            return Ok(refusal(StatusCode::CONFLICT, "Conflict"));
        }
        if is_watch && self.happens(self.rates.expired) {
            return Ok(refusal(StatusCode::GONE, "Expired"));
        }
        let answer = inner.send(request).await?;
        if is_write && self.happens(self.rates.answer_lost) {
            return Err(Box::new(Lost));
        }
        let (parts, body) = answer.into_parts();
        let stream = pieces(body);
        if !is_watch || self.healed.is_cancelled() {
            return Ok(Response::from_parts(parts, StreamBody::new(stream.boxed())));
        }
        let (life, healed) = (self.within(self.rates.watch_within), self.healed.clone());
        let end = async move {
            tokio::select! {
                biased;
                () = healed.cancelled() => {}
                () = tokio::time::sleep(life) => {}
            }
        };
        Ok(Response::from_parts(
            parts,
            StreamBody::new(stream.take_until(Box::pin(end)).boxed()),
        ))
    }
}

/// The frames of a body, as a stream that can be cut off.
fn pieces(body: Body) -> impl futures::Stream<Item = Piece> + Send {
    body.into_data_stream()
        .map(|piece| piece.map(http_body::Frame::data).map_err(Into::into))
}

fn refusal(code: StatusCode, reason: &str) -> Response<Pieces> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": "refused by the simulation", "reason": reason, "code": code.as_u16(),
    });
    let piece = http_body::Frame::data(bytes::Bytes::from(status.to_string()));
    let stream =
        futures::stream::iter([Ok::<_, Infallible>(piece)]).map(|piece| piece.map_err(Into::into));
    let mut response = Response::new(StreamBody::new(stream.boxed()));
    *response.status_mut() = code;
    response
}
