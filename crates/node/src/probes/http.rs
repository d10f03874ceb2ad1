//! One GET request on one connection.

use http::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{HttpCheck, Target, tls};

/// The most of an answer's body that is read, in bytes.
const MOST_BODY: usize = 10 << 10;

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    location: Option<String>,
}

/// Why nothing came back.
#[derive(Debug)]
pub(super) enum HttpError {
    /// The other side closed the connection.
    Closed,
    /// Anything else, in words.
    Other(String),
}

impl Answer {
    /// The check that follows this redirect; `None` when it leads to another host.
    pub(super) fn redirect(&self, check: &HttpCheck, target: &Target) -> Option<HttpCheck> {
        let location: Uri = self.location.as_deref()?.parse().ok()?;
        let path = location
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        let Some(host) = location.host() else {
            return Some(HttpCheck {
                path,
                ..check.clone()
            });
        };
        let own = check
            .host
            .clone()
            .or_else(|| target.address.map(|address| address.to_string()));
        if own.as_deref() != Some(host.trim_matches(['[', ']'])) {
            return None;
        }
        let tls = location.scheme_str() == Some("https");
        Some(HttpCheck {
            tls,
            port: location.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path,
            ..check.clone()
        })
    }
}

/// Sends the request and reads the answer. The caller bounds the wait.
pub(super) async fn get(
    stream: TcpStream,
    check: &HttpCheck,
    authority: &str,
) -> Result<Answer, HttpError> {
    if check.tls {
        let stream = tls::connect(stream)
            .await
            .map_err(|error| HttpError::Other(error.to_string()))?;
        exchange(stream, check, authority).await
    } else {
        exchange(stream, check, authority).await
    }
}

async fn exchange<S>(stream: S, check: &HttpCheck, authority: &str) -> Result<Answer, HttpError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| in_words(&error))?;
    let request = request(check, authority)?;
    // The connection is driven beside the request, and dropped with it.
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| in_words(&error))?;
        let status = response.status().as_u16();
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let body = Limited::new(response.into_body(), MOST_BODY)
            .collect()
            .await;
        let body = body.map_or_else(
            |_| String::new(),
            |body| String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        );
        Ok(Answer {
            status,
            body,
            location,
        })
    };
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // It ends when the other side closes it; what was received is still answered.
        _ = connection => exchange.await,
    }
}

fn request(check: &HttpCheck, authority: &str) -> Result<Request<Empty<Bytes>>, HttpError> {
    let bad = |message: String| HttpError::Other(message);
    let mut request = Request::get(check.path.as_str())
        .body(Empty::new())
        .map_err(|error| bad(error.to_string()))?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static("kube-probe/1.36"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let host = HeaderValue::from_str(authority).map_err(|error| bad(error.to_string()))?;
    headers.insert(HOST, host);
    for (name, value) in &check.headers {
        let name: HeaderName = name
            .parse()
            .map_err(|_| bad(format!("invalid header {name:?}")))?;
        let value = HeaderValue::from_str(value).map_err(|error| bad(error.to_string()))?;
        let own = [USER_AGENT, ACCEPT, HOST].contains(&name);
        match own {
            // An empty value takes one of the usual headers away.
            true if value.is_empty() => drop(headers.remove(&name)),
            true => drop(headers.insert(name, value)),
            false => drop(headers.append(name, value)),
        }
    }
    Ok(request)
}

fn in_words(error: &hyper::Error) -> HttpError {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return HttpError::Closed;
    }
    HttpError::Other(error.to_string())
}
