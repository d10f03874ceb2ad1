//! HTTP/1.1 between a caller and an endpoint: each request is balanced by itself.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use springtide_machinery::entropy::Entropy;
use tokio::net::TcpStream;

use crate::pool::{CountedBody, Pool, RequestBody, Sender};
use crate::table::{Endpoint, InFlight, Upstream};
use crate::telemetry::{Flag, Local, Observation};
use crate::worker::Dialer;

/// How many endpoints a request may be tried on in all; Istio's default of two retries.
const ATTEMPTS: usize = 3;
/// How long a connection to a pod of this machine may take; one that takes longer is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest pause before the first retry at the same endpoint, doubling with each; as Istio has it.
const BACK_OFF: Duration = Duration::from_millis(25);

/// Headers that speak of one connection and are not handed on (RFC 9110, 7.6.1).
const PER_CONNECTION: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What a worker needs to proxy HTTP.
pub(crate) struct Proxy {
    dialer: Dialer,
    pool: RefCell<Pool>,
    entropy: Entropy,
    telemetry: Rc<Local>,
}

/// Why a request could not be answered by an endpoint.
enum Failure {
    /// Nothing reached an endpoint; the request is as it was.
    Unsent(Box<Request<RequestBody>>, String),
    /// The connection broke after the request was sent.
    Broken(String),
}

// === impl Proxy ===

impl Proxy {
    pub(crate) fn new(dialer: Dialer, entropy: Entropy, telemetry: Rc<Local>) -> Self {
        Self {
            dialer,
            pool: RefCell::default(),
            entropy,
            telemetry,
        }
    }

    /// Closes connections that are no longer of use.
    pub(crate) fn sweep(&self) {
        self.pool.borrow_mut().sweep();
    }

    /// Serves a caller's connection until it ends.
    pub(crate) async fn serve(
        self: Rc<Self>,
        stream: TcpStream,
        client: IpAddr,
        upstream: Arc<Upstream>,
    ) {
        let service = service_fn(move |request| {
            let (proxy, upstream) = (Rc::clone(&self), Arc::clone(&upstream));
            async move { Ok::<_, Infallible>(proxy.answer(request, client, &upstream).await) }
        });
        let mut server = hyper::server::conn::http1::Builder::new();
        server.half_close(true);
        let served = server
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if let Err(error) = served.await {
            tracing::debug!(%client, %error, "a caller's connection broke");
        }
    }

    async fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
        client: IpAddr,
        upstream: &Upstream,
    ) -> Response<Either<Tracked, Full<Bytes>>> {
        let mut observation = self.telemetry.begin();
        let upgrade = upgrade_of(request.headers());
        let mut request = request;
        let caller_upgrade = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let mut request = match outgoing(request, client, upgrade.as_ref(), observation.sent()) {
            Ok(request) => request,
            Err(reason) => {
                let code = StatusCode::BAD_REQUEST;
                observation.answered(client, upstream, None, code, Flag::BadRequest);
                return sentence(code, reason);
            }
        };
        // What can be sent a second time even when the first may have arrived.
        let repeatable = repeatable(&request);
        let mut tried = Vec::new();
        let mut last_reason = String::new();
        let mut failed = Flag::NotConnected;
        let mut last = None;
        while tried.len() < ATTEMPTS {
            let Some(endpoint) = upstream.choose(client, &tried, &self.entropy) else {
                let code = StatusCode::SERVICE_UNAVAILABLE;
                observation.answered(client, upstream, None, code, Flag::NoEndpoint);
                return sentence(
                    code,
                    format!("service {} has no ready endpoint\n", upstream.id.service),
                );
            };
            let in_flight = InFlight::begin(&endpoint);
            match self.send(&endpoint, request).await {
                Ok((response, sender)) => {
                    let code = response.status();
                    observation.answered(client, upstream, Some(&endpoint), code, Flag::None);
                    let held = Held {
                        proxy: self,
                        endpoint,
                        sender,
                        _in_flight: in_flight,
                    };
                    return hand_back(response, held, observation, caller_upgrade);
                }
                Err(Failure::Unsent(unsent, reason)) => {
                    request = *unsent;
                    last_reason = reason;
                    failed = Flag::NotConnected;
                }
                Err(Failure::Broken(reason)) => {
                    last_reason = reason;
                    failed = Flag::Broken;
                    let Some(again) = repeatable.as_ref().map(Repeatable::request) else {
                        break;
                    };
                    request = again;
                }
            }
            tracing::debug!(endpoint = %endpoint.address, reason = last_reason, "a request failed");
            if tried.contains(&endpoint.address) || upstream.endpoints().len() == 1 {
                tokio::time::sleep(back_off(tried.len(), &self.entropy)).await;
            }
            tried.push(endpoint.address);
            last = Some(endpoint);
        }
        let code = StatusCode::BAD_GATEWAY;
        observation.answered(client, upstream, last.as_deref(), code, failed);
        sentence(
            code,
            format!(
                "service {} did not answer: {last_reason}\n",
                upstream.id.service
            ),
        )
    }

    /// Sends a request over an idle connection or a new one.
    async fn send(
        &self,
        endpoint: &Arc<Endpoint>,
        mut request: Request<RequestBody>,
    ) -> Result<(Response<Incoming>, Sender), Failure> {
        // An idle connection that the server closed meanwhile gives the request back unsent.
        loop {
            let idle = self.pool.borrow_mut().take(endpoint);
            let Some(mut sender) = idle else { break };
            if sender.ready().await.is_err() {
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failure::Broken(error.error().to_string())),
                },
            }
        }
        let mut sender = match self.connect(endpoint).await {
            Ok(sender) => sender,
            Err(reason) => return Err(Failure::Unsent(Box::new(request), reason)),
        };
        match sender.try_send_request(request).await {
            Ok(response) => Ok((response, sender)),
            Err(mut error) => {
                let reason = error.error().to_string();
                Err(match error.take_message() {
                    Some(unsent) => Failure::Unsent(Box::new(unsent), reason),
                    None => Failure::Broken(reason),
                })
            }
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Sender, String> {
        let stream = self
            .dialer
            .dial(endpoint, CONNECT_TIMEOUT)
            .await
            .map_err(|error| error.to_string())?;
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| error.to_string())?;
        tokio::task::spawn_local(async move {
            // What goes wrong reaches the one who sends.
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }
}

/// The endpoint's answer as the caller gets it.
fn hand_back(
    mut response: Response<Incoming>,
    held: Held,
    observation: Observation,
    caller_upgrade: Option<hyper::upgrade::OnUpgrade>,
) -> Response<Either<Tracked, Full<Bytes>>> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(caller) = caller_upgrade
    {
        let server = hyper::upgrade::on(&mut response);
        tokio::task::spawn_local(async move {
            // Counted as one request that lasts as long as the connection.
            let _under_way = (held, observation);
            if let (Ok(caller), Ok(server)) = (caller.await, server.await) {
                let (mut caller, mut server) = (TokioIo::new(caller), TokioIo::new(server));
                // Either side may end it as it likes.
                let _ = tokio::io::copy_bidirectional(&mut caller, &mut server).await;
            }
        });
        return response.map(|_| Either::Right(Full::default()));
    }
    for name in PER_CONNECTION {
        response.headers_mut().remove(name);
    }
    response.map(|body| {
        Either::Left(Tracked {
            body,
            held: Some(held),
            observation,
        })
    })
}

/// What is kept while an answer is on its way: when it ends, the connection serves the next request.
struct Held {
    proxy: Rc<Proxy>,
    endpoint: Arc<Endpoint>,
    sender: Sender,
    _in_flight: InFlight,
}

/// An answer's body that gives its connection back when it has ended. One that is dropped before
/// its end closes the connection, since the rest of the answer is still in it.
pub(crate) struct Tracked {
    body: Incoming,
    held: Option<Held>,
    /// Counts the request when the answer has ended, or nobody wants it any more.
    observation: Observation,
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.observation.received += data.len() as u64;
        }
        let ended = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(_))) => self.body.is_end_stream(),
            _ => false,
        };
        if ended {
            self.give_back();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Tracked ===

impl Tracked {
    fn give_back(&mut self) {
        if let Some(Held {
            proxy,
            endpoint,
            sender,
            _in_flight,
        }) = self.held.take()
        {
            proxy.pool.borrow_mut().put(&endpoint, sender);
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        // A body without content is never polled.
        if self.body.is_end_stream() {
            self.give_back();
        }
    }
}

/// A request without a body whose method may be repeated.
struct Repeatable {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

// === impl Repeatable ===

impl Repeatable {
    fn request(&self) -> Request<RequestBody> {
        let mut request = Request::new(Either::Right(Empty::new()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

fn repeatable(request: &Request<RequestBody>) -> Option<Repeatable> {
    let may = request.method().is_idempotent() && request.body().is_end_stream();
    may.then(|| Repeatable {
        method: request.method().clone(),
        uri: request.uri().clone(),
        headers: request.headers().clone(),
    })
}

/// A random pause up to a bound that doubles, so that callers that failed together do not come
/// back together.
fn back_off(retries: usize, entropy: &Entropy) -> Duration {
    let doublings = u32::try_from(retries).unwrap_or(u32::MAX).min(3);
    (BACK_OFF * 2_u32.pow(doublings)).mul_f64(entropy.fraction())
}

/// The protocol a request asks to switch to (RFC 9110, 7.8).
fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    asked.then(|| headers.get(header::UPGRADE).cloned())?
}

/// The request as the endpoint gets it.
fn outgoing(
    request: Request<Incoming>,
    client: IpAddr,
    upgrade: Option<&HeaderValue>,
    sent: Rc<Cell<u64>>,
) -> Result<Request<RequestBody>, String> {
    let (mut parts, body) = request.into_parts();
    if parts.method == Method::CONNECT {
        return Err("a Service is no proxy: CONNECT is not served\n".to_owned());
    }
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    if let Some(authority) = parts.uri.authority()
        && !parts.headers.contains_key(header::HOST)
    {
        let host =
            HeaderValue::from_str(authority.as_str()).map_err(|error| format!("{error}\n"))?;
        parts.headers.insert(header::HOST, host);
    }
    parts.uri = path.parse().map_err(|error| format!("{error}\n"))?;
    parts.version = http::Version::HTTP_11;
    for named in connection_options(&parts.headers) {
        parts.headers.remove(named);
    }
    for name in PER_CONNECTION {
        parts.headers.remove(name);
    }
    match upgrade {
        Some(protocol) => {
            parts
                .headers
                .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            parts.headers.insert(header::UPGRADE, protocol.clone());
        }
        None => {
            parts.headers.remove(header::UPGRADE);
        }
    }
    append_forwarded(&mut parts.headers, client);
    let body = if body.is_end_stream() {
        Either::Right(Empty::new())
    } else {
        Either::Left(CountedBody { body, sent })
    };
    Ok(Request::from_parts(parts, body))
}

/// Headers that the caller names as meant for this connection only.
fn connection_options(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|option| option.trim().parse().ok())
        .collect()
}

/// Says who called, after those who called before it.
fn append_forwarded(headers: &mut HeaderMap, client: IpAddr) {
    let before = headers
        .get(&FORWARDED_FOR)
        .and_then(|value| value.to_str().ok());
    let chain = before.map_or_else(
        || client.to_string(),
        |before| format!("{before}, {client}"),
    );
    if let Ok(chain) = HeaderValue::from_str(&chain) {
        headers.insert(FORWARDED_FOR, chain);
    }
    headers
        .entry(FORWARDED_PROTO)
        .or_insert(HeaderValue::from_static("http"));
}

fn sentence(status: StatusCode, text: String) -> Response<Either<Tracked, Full<Bytes>>> {
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn a_switch_of_protocol_is_asked_for_by_both_headers() {
        assert_eq!(
            upgrade_of(&headers(&[
                ("connection", "keep-alive, Upgrade"),
                ("upgrade", "websocket")
            ])),
            Some(HeaderValue::from_static("websocket"))
        );
        assert_eq!(upgrade_of(&headers(&[("upgrade", "websocket")])), None);
        assert_eq!(upgrade_of(&headers(&[("connection", "upgrade")])), None);
    }

    #[test]
    fn callers_are_appended_to_those_before_them() {
        let mut found = headers(&[("x-forwarded-for", "203.0.113.7")]);
        append_forwarded(&mut found, IpAddr::from([10, 244, 0, 5]));
        assert_eq!(found[FORWARDED_FOR], "203.0.113.7, 10.244.0.5");
        assert_eq!(found[FORWARDED_PROTO], "http");
    }

    #[test]
    fn headers_named_by_connection_are_for_this_connection_only() {
        let named = connection_options(&headers(&[("connection", "close, X-Secret")]));
        assert_eq!(named, ["close", "x-secret"]);
    }
}
