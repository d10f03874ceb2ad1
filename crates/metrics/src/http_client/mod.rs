//! Asks servers over HTTP: for scrapes, discovery, remote write, and whatever else sends requests.
//!
//! Connections are kept and used again. Files with passwords and tokens are read for each request, so
//! that they can be changed while the program runs.

mod tls;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::config::{HttpClientConfig, TlsConfig};

/// What rustls needs to speak as the configuration says, for protocols other than HTTP. Relative paths are below a folder.
pub(crate) fn tls_client_config(
    tls: &TlsConfig,
    folder: &Path,
) -> Result<rustls::ClientConfig, HttpError> {
    let config = HttpClientConfig {
        tls_config: Some(tls.clone()),
        ..HttpClientConfig::default()
    };
    let tls = config.in_folder(folder).tls_config.unwrap_or_default();
    tls::client_config(&tls)
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(String),
    /// A file that the configuration names cannot be read.
    #[error("cannot read {path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
    /// What is asked for is no request.
    #[error("{0}")]
    Request(String),
    /// The server cannot be reached, or the connection broke.
    #[error("{0}")]
    Connection(String),
    /// The answer is larger than allowed.
    #[error("body size limit exceeded: more than {0} bytes")]
    TooLarge(u64),
    /// The answer's compression is broken or unknown.
    #[error("cannot decompress the answer: {0}")]
    Compression(String),
    /// The answer did not come in time.
    #[error("context deadline exceeded: no answer within {0:?}")]
    Timeout(Duration),
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Bytes,
}

impl Answer {
    /// A header's value, where it is there and text.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What is asked of a server.
#[derive(Debug, Clone)]
pub struct Question {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Uri,
    /// Headers beside those of the configuration.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Question {
    /// A `GET`.
    #[must_use]
    pub fn get(url: Uri) -> Question {
        Question {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// A `POST`.
    #[must_use]
    pub fn post(url: Uri, content_type: &'static str, body: impl Into<Bytes>) -> Question {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Question {
            method: Method::POST,
            url,
            headers,
            body: body.into(),
        }
    }
}

/// Sends requests as an [`HttpClientConfig`] says. Clones share connections.
#[derive(Debug, Clone)]
pub struct HttpClient {
    config: HttpClientConfig,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Redirects that are followed at most, as Go's client does.
const MAX_REDIRECTS: usize = 10;
/// An answer that is allowed any size is still cut off here: what a scrape or a list of targets cannot need.
const MOST_BYTES: u64 = 1 << 30;
const USER_AGENT: &str = concat!("Springtide/", env!("CARGO_PKG_VERSION"));

// === impl HttpClient ===

impl HttpClient {
    /// A client. Relative paths in the configuration are below `folder`.
    ///
    /// # Errors
    /// Where the configuration contradicts itself, or a certificate or key cannot be read.
    pub fn new(config: HttpClientConfig, folder: &Path) -> Result<HttpClient, HttpError> {
        config.check().map_err(HttpError::Config)?;
        let config = config.in_folder(folder);
        let tls = config.tls_config.clone().unwrap_or_default();
        let builder = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client_config(&tls)?)
            .https_or_http();
        let builder = if tls.server_name.is_empty() {
            builder
        } else {
            let name = tls.server_name.clone().try_into();
            let name = name.map_err(|_| {
                HttpError::Config(format!("{:?} is no server name", tls.server_name))
            })?;
            builder.with_server_name_resolver(FixedServerNameResolver::new(name))
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = builder.enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(Duration::from_mins(5))
            .build(connector);
        Ok(HttpClient { config, client })
    }

    /// Asks, and reads the answer to its end. `most` limits the decompressed body; zero is no limit.
    ///
    /// # Errors
    /// Where there is no complete answer in time. An answer with a status of failure is an answer.
    pub async fn ask(
        &self,
        question: Question,
        limit: Duration,
        most: u64,
    ) -> Result<Answer, HttpError> {
        tokio::time::timeout(limit, self.ask_without_limit(question, most))
            .await
            .unwrap_or(Err(HttpError::Timeout(limit)))
    }

    async fn ask_without_limit(&self, question: Question, most: u64) -> Result<Answer, HttpError> {
        let most = if most == 0 { MOST_BYTES } else { most };
        let mut own_headers = self.own_headers()?;
        let mut question = question;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::new(Full::new(question.body.clone()));
            *request.method_mut() = question.method.clone();
            *request.uri_mut() = question.url.clone();
            let headers = request.headers_mut();
            headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
            for (name, value) in own_headers.iter().chain(&question.headers) {
                headers.append(name, value.clone());
            }
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| HttpError::Connection(chain(&error)))?;
            let (parts, body) = response.into_parts();
            let follows = self.config.follow_redirects.unwrap_or(true)
                && parts.status.is_redirection()
                && matches!(question.method, Method::GET | Method::HEAD);
            if follows && let Some(location) = parts.headers.get(header::LOCATION) {
                let next = resolve(&question.url, location)?;
                // Credentials are for the host that the configuration names, not for whom it points to,
                // and do not leave TLS.
                let leaves_tls = question.url.scheme() == Some(&Scheme::HTTPS)
                    && next.scheme() != Some(&Scheme::HTTPS);
                if next.host() != question.url.host() || leaves_tls {
                    own_headers.clear();
                }
                question.url = next;
                continue;
            }
            let body = read(body, most).await?;
            let body = decompress(body, parts.headers.get(header::CONTENT_ENCODING), most)?;
            return Ok(Answer {
                status: parts.status,
                headers: parts.headers,
                body,
            });
        }
        Err(HttpError::Connection(format!(
            "stopped after {MAX_REDIRECTS} redirects"
        )))
    }

    fn own_headers(&self) -> Result<HeaderMap, HttpError> {
        let mut headers = HeaderMap::new();
        let config = &self.config;
        let secret = |text: String| {
            let mut value = HeaderValue::from_str(&text).map_err(|_| {
                HttpError::Config("a credential has characters that no header can carry".to_owned())
            })?;
            value.set_sensitive(true);
            Ok::<HeaderValue, HttpError>(value)
        };
        if let Some(basic) = &config.basic_auth {
            let name = match &basic.username_file {
                Some(path) => read_line(path)?,
                None => basic.username.clone(),
            };
            let password = match (&basic.password_file, &basic.password) {
                (Some(path), _) => read_line(path)?,
                (None, Some(password)) => password.expose().to_owned(),
                (None, None) => String::new(),
            };
            let pair =
                base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
            headers.insert(header::AUTHORIZATION, secret(format!("Basic {pair}"))?);
        }
        if let Some(authorization) = &config.authorization {
            let kind = match authorization.kind.trim() {
                "" => "Bearer",
                kind => kind,
            };
            let credentials = match (&authorization.credentials_file, &authorization.credentials) {
                (Some(path), _) => read_line(path)?,
                (None, Some(credentials)) => credentials.expose().to_owned(),
                (None, None) => String::new(),
            };
            let text = format!("{kind} {credentials}");
            headers.insert(header::AUTHORIZATION, secret(text.trim_end().to_owned())?);
        }
        let bearer = match (&config.bearer_token_file, &config.bearer_token) {
            (Some(path), _) => Some(read_line(path)?),
            (None, token) => token.as_ref().map(|token| token.expose().to_owned()),
        };
        if let Some(bearer) = bearer {
            headers.insert(header::AUTHORIZATION, secret(format!("Bearer {bearer}"))?);
        }
        for (name, header) in &config.http_headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| HttpError::Config(format!("{name:?} is no header's name")))?;
            for value in &header.values {
                headers.append(&name, secret(value.clone())?);
            }
            for value in &header.secrets {
                headers.append(&name, secret(value.expose().to_owned())?);
            }
            for path in &header.files {
                headers.append(&name, secret(read_line(path)?)?);
            }
        }
        Ok(headers)
    }
}

/// A file's text without the blanks around it.
fn read_line(path: &Path) -> Result<String, HttpError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(HttpError::File {
            path: path.to_owned(),
            error,
        }),
    }
}

/// An error and what caused it, as one sentence.
fn chain(error: &dyn std::error::Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !sentence.ends_with(&part) {
            sentence.push_str(": ");
            sentence.push_str(&part);
        }
        cause = error.source();
    }
    sentence
}

fn resolve(base: &Uri, location: &HeaderValue) -> Result<Uri, HttpError> {
    let broken = || HttpError::Connection("the answer points to what is no URL".to_owned());
    let location: Uri = location
        .to_str()
        .map_err(|_| broken())?
        .parse()
        .map_err(|_| broken())?;
    if location.scheme().is_some() {
        return Ok(location);
    }
    let mut parts = base.clone().into_parts();
    parts.path_and_query = location.into_parts().path_and_query;
    Uri::from_parts(parts).map_err(|_| broken())
}

async fn read(mut body: hyper::body::Incoming, most: u64) -> Result<Bytes, HttpError> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| HttpError::Connection(chain(&error)))?;
        if let Some(data) = frame.data_ref() {
            if (read.len() + data.len()) as u64 > most {
                return Err(HttpError::TooLarge(most));
            }
            read.extend_from_slice(data);
        }
    }
    Ok(read.freeze())
}

fn decompress(body: Bytes, encoding: Option<&HeaderValue>, most: u64) -> Result<Bytes, HttpError> {
    let encoding = encoding.and_then(|value| value.to_str().ok()).unwrap_or("");
    match encoding.trim() {
        "" | "identity" => Ok(body),
        "gzip" | "x-gzip" => {
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(&body[..])
                .take(most.saturating_add(1))
                .read_to_end(&mut plain)
                .map_err(|error| HttpError::Compression(error.to_string()))?;
            if plain.len() as u64 > most {
                return Err(HttpError::TooLarge(most));
            }
            Ok(plain.into())
        }
        other => Err(HttpError::Compression(format!(
            "{other:?} was not asked for"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request after the other, each with the next answer, and gives back what was asked.
    async fn serve(listener: TcpListener, answers: Vec<String>) -> Vec<String> {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            asked.push(String::from_utf8(request).unwrap().to_lowercase());
        }
        asked
    }

    fn redirect(to: &str) -> String {
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    }

    #[tokio::test]
    async fn credentials_follow_a_redirect_to_the_same_host_only() {
        let named = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let elsewhere = format!(
            "http://localhost:{}/metrics",
            other.local_addr().unwrap().port()
        );
        let url: Uri = format!("http://{}/", named.local_addr().unwrap())
            .parse()
            .unwrap();
        let config: HttpClientConfig =
            serde_saphyr::from_str("basic_auth: {username: tide, password: secret}").unwrap();
        let client = HttpClient::new(config, Path::new(".")).unwrap();
        let of_named = tokio::spawn(serve(named, vec![redirect("/moved"), redirect(&elsewhere)]));
        let done = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nup".to_owned();
        let of_other = tokio::spawn(serve(other, vec![done]));

        let question = Question::get(url);
        let answer = client
            .ask(question, Duration::from_secs(30), 0)
            .await
            .unwrap();

        assert_eq!(&answer.body[..], b"up");
        for request in of_named.await.unwrap() {
            assert!(request.contains("authorization: basic"), "{request}");
        }
        let request = of_other.await.unwrap().remove(0);
        assert!(!request.contains("authorization"), "{request}");
    }
}
