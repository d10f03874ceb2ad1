//! What is sent: requests whose bytes are made once.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use rustls::pki_types::ServerName;
use url::Url;

use super::connection::Origin;
use crate::Error;
use crate::http::{Addresses, Credentials, TlsConfigs};
use crate::options::Options;
use crate::replay::Recording;

/// How a request is written on a command line.
#[derive(Clone, Debug)]
pub struct Target {
    /// `http://…` or `https://…`.
    pub url: String,
    /// The method; `GET` where none is given.
    pub method: String,
    /// Headers as `Name: value`.
    pub headers: Vec<String>,
    /// The body of every request.
    pub body: Bytes,
    /// How long a request may take from connecting to the last byte of its answer.
    pub timeout: Duration,
    /// Accept any certificate.
    pub insecure: bool,
    /// Every request takes a connection of its own.
    pub no_connection_reuse: bool,
}

/// A request, ready to be written to a connection.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Where it goes, without a password, for tags.
    pub(super) url: Arc<str>,
    pub(super) bytes: Bytes,
    pub(super) is_head: bool,
}

/// What users of the plain form send: one request again and again, or those of an access log.
#[derive(Debug)]
pub struct Requests {
    pub(super) origin: Origin,
    /// One, or the different ones of the log.
    pub(super) list: Vec<Request>,
    log: Option<Arc<Recording>>,
    pub(super) timeout: Duration,
    pub(super) no_connection_reuse: bool,
}

/// A target that was taken apart.
struct Parts {
    origin: Origin,
    /// `http://host:port`, without user and password.
    base: String,
    path: String,
    headers: HeaderMap,
}

// === impl Target ===

impl Target {
    /// A GET of `url` with a timeout of 60 s.
    #[must_use]
    pub fn get(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            method: "GET".to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: Duration::from_secs(60),
            insecure: false,
            no_connection_reuse: false,
        }
    }

    /// The one request. Everything is checked here, so that none can fail for its form later.
    ///
    /// # Errors
    /// A URL, method or header that HTTP does not allow, or a scheme other than http and https.
    pub fn requests(&self) -> Result<Requests, Error> {
        let parts = self.parts()?;
        let method =
            Method::from_bytes(self.method.to_ascii_uppercase().as_bytes()).map_err(|error| {
                Error::Request {
                    what: "method",
                    given: self.method.clone(),
                    reason: error.to_string(),
                }
            })?;
        let list = vec![parts.request(method, &parts.path, &self.body)];
        Ok(self.with(parts, list, None))
    }

    /// The requests of an access log: its methods and paths, below the target's own path. A log
    /// holds no bodies, so those that take one get the target's.
    ///
    /// # Errors
    /// As [`Target::requests`].
    pub fn logged_requests(&self, log: &Arc<Recording>) -> Result<Requests, Error> {
        let parts = self.parts()?;
        let (above, _) = parts.path.split_once('?').unwrap_or((&parts.path, ""));
        let above = above.trim_end_matches('/');
        let list = log
            .distinct_requests()
            .iter()
            .map(|logged| {
                let takes_body =
                    matches!(logged.method, Method::POST | Method::PUT | Method::PATCH);
                let body = if takes_body { &self.body[..] } else { &[] };
                let path = format!("{above}{}", logged.path);
                parts.request(logged.method.clone(), &path, body)
            })
            .collect();
        Ok(self.with(parts, list, Some(Arc::clone(log))))
    }

    fn with(&self, parts: Parts, list: Vec<Request>, log: Option<Arc<Recording>>) -> Requests {
        Requests {
            origin: parts.origin,
            list,
            log,
            timeout: self.timeout,
            no_connection_reuse: self.no_connection_reuse,
        }
    }

    fn parts(&self) -> Result<Parts, Error> {
        let wrong_url = |reason: &str| Error::Url {
            url: self.url.clone(),
            reason: reason.to_owned(),
        };
        let uri: Uri = self
            .url
            .parse()
            .map_err(|error| wrong_url(&format!("{error}")))?;
        let host = uri
            .host()
            .ok_or_else(|| wrong_url("it names no host; begin it with http:// or https://"))?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(other) => {
                return Err(wrong_url(&format!(
                    "the scheme is {other}, only http and https are known"
                )));
            }
            None => {
                return Err(wrong_url(
                    "it has no scheme; begin it with http:// or https://",
                ));
            }
        };
        let options = Options {
            insecure_skip_tls_verify: Some(self.insecure),
            ..Options::default()
        };
        let tls = if secure {
            Some((tls_config(&options)?, server_name(host, &self.url)?))
        } else {
            None
        };
        let host_header = match uri.port_u16() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(
            header::HOST,
            HeaderValue::from_str(&host_header).map_err(|error| wrong_url(&error.to_string()))?,
        );
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("tide-load/", env!("CARGO_PKG_VERSION"))),
        );
        let mut url = Url::parse(&self.url).map_err(|error| wrong_url(&error.to_string()))?;
        if let Some(authorization) = Credentials::take(&mut url).and_then(|known| known.basic()) {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        for line in &self.headers {
            let (name, value) = parse_header(line)?;
            headers.insert(name, value);
        }
        if self.no_connection_reuse {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(Parts {
            origin: Origin {
                host: host.to_owned(),
                port: uri.port_u16().unwrap_or(if secure { 443 } else { 80 }),
                tls,
                addresses: Addresses::new(&options).map_err(|reason| wrong_url(&reason))?,
            },
            base: format!("{}://{host_header}", if secure { "https" } else { "http" }),
            path: uri
                .path_and_query()
                .map_or("/", http::uri::PathAndQuery::as_str)
                .to_owned(),
            headers,
        })
    }
}

// === impl Parts ===

impl Parts {
    fn request(&self, method: Method, path: &str, body: &[u8]) -> Request {
        let mut bytes = BytesMut::new();
        bytes.put_slice(format!("{method} {path} HTTP/1.1\r\n").as_bytes());
        for (name, value) in &self.headers {
            bytes.put_slice(name.as_str().as_bytes());
            bytes.put_slice(b": ");
            bytes.put_slice(value.as_bytes());
            bytes.put_slice(b"\r\n");
        }
        let says_length = self.headers.contains_key(header::CONTENT_LENGTH);
        let takes_body = matches!(method, Method::POST | Method::PUT | Method::PATCH);
        if !says_length && (takes_body || !body.is_empty()) {
            bytes.put_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        bytes.put_slice(b"\r\n");
        bytes.put_slice(body);
        Request {
            is_head: method == Method::HEAD,
            method,
            url: format!("{}{path}", self.base).into(),
            bytes: bytes.freeze(),
        }
    }
}

// === impl Requests ===

impl Requests {
    /// Where the requests go, for the report: the URL, or the server where there are several.
    pub(crate) fn target(&self) -> String {
        match &self.list[..] {
            [only] => only.url.to_string(),
            several => several
                .first()
                .and_then(|request| Url::parse(&request.url).ok())
                .map_or_else(String::new, |url| url.origin().ascii_serialization()),
        }
    }

    /// What the iteration of this number sends.
    pub(super) fn number_of(&self, iteration: u64) -> usize {
        match &self.log {
            None => 0,
            Some(log) => log.request_of(iteration).unwrap_or(0),
        }
    }
}

fn parse_header(line: &str) -> Result<(HeaderName, HeaderValue), Error> {
    let wrong = |reason: String| Error::Request {
        what: "header",
        given: line.to_owned(),
        reason,
    };
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| wrong("write it like Name: value".to_owned()))?;
    let name =
        HeaderName::from_bytes(name.trim().as_bytes()).map_err(|error| wrong(error.to_string()))?;
    if name == header::TRANSFER_ENCODING {
        return Err(wrong("the body is sent with its length".to_owned()));
    }
    let value = HeaderValue::from_str(value.trim()).map_err(|error| wrong(error.to_string()))?;
    Ok((name, value))
}

fn server_name(host: &str, url: &str) -> Result<ServerName<'static>, Error> {
    let host = host.trim_matches(['[', ']']).to_owned();
    ServerName::try_from(host).map_err(|error| Error::Url {
        url: url.to_owned(),
        reason: error.to_string(),
    })
}

/// Settings that offer HTTP/1.1 only, which is what the plain form speaks.
fn tls_config(options: &Options) -> Result<Arc<rustls::ClientConfig>, Error> {
    let configs = TlsConfigs::new(options).map_err(Error::Tls)?;
    let mut config = rustls::ClientConfig::clone(&configs.for_host(""));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(requests: &Requests, number: usize) -> String {
        String::from_utf8(requests.list[number].bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_url_is_taken_apart_once() {
        for (url, host, port, first_line, host_line) in [
            (
                "http://feastflow-backend:5000/api/health?x=1",
                "feastflow-backend",
                5000,
                "GET /api/health?x=1 HTTP/1.1",
                "host: feastflow-backend:5000",
            ),
            (
                "http://localhost",
                "localhost",
                80,
                "GET / HTTP/1.1",
                "host: localhost",
            ),
            (
                "http://user:secret@[::1]:8080/",
                "[::1]",
                8080,
                "GET / HTTP/1.1",
                "host: [::1]:8080",
            ),
        ] {
            let requests = Target::get(url).requests().unwrap();
            assert_eq!(
                (requests.origin.host.as_str(), requests.origin.port),
                (host, port)
            );
            let text = text(&requests, 0);
            assert!(text.starts_with(first_line), "{text}");
            assert!(
                text.contains(host_line) && !text.contains("secret"),
                "{text}"
            );
            assert!(text.ends_with("\r\n\r\n"), "{text}");
            assert!(!requests.list[0].url.contains("secret"));
            assert_eq!(text.contains("authorization: Basic "), url.contains('@'));
        }
    }

    #[test]
    fn a_url_without_scheme_or_host_is_refused_with_what_to_write() {
        for (url, hint) in [
            ("localhost:8080", "http"),
            ("/path", "begin it with http://"),
            ("ftp://host/", "only http and https"),
            ("http://", ""),
            ("", ""),
            ("http://a b/", ""),
        ] {
            let error = Target::get(url).requests().unwrap_err().to_string();
            assert!(error.contains(hint), "{url}: {error}");
        }
    }

    #[test]
    fn headers_replace_the_defaults_and_wrong_ones_are_named() {
        let mut target = Target::get("http://localhost/");
        target.headers = vec!["Host: feastflow.local".to_owned(), "X-A:b".to_owned()];
        let requests = target.requests().unwrap();
        assert!(text(&requests, 0).contains("host: feastflow.local\r\n"));
        assert!(text(&requests, 0).contains("x-a: b\r\n"));
        for wrong in ["no colon", "Transfer-Encoding: chunked", "a b: c"] {
            target.headers = vec![wrong.to_owned()];
            let error = target.requests().unwrap_err().to_string();
            assert!(error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn a_body_is_sent_with_its_length() {
        let mut target = Target::get("http://localhost/orders");
        target.method = "post".to_owned();
        assert!(text(&target.requests().unwrap(), 0).contains("content-length: 0\r\n"));
        target.body = Bytes::from_static(b"{\"a\":1}");
        let sent = text(&target.requests().unwrap(), 0);
        assert!(sent.starts_with("POST /orders "), "{sent}");
        assert!(
            sent.ends_with("content-length: 7\r\n\r\n{\"a\":1}"),
            "{sent}"
        );
    }

    #[test]
    fn a_logs_requests_go_below_the_targets_path() {
        let log = concat!(
            "a - - [22/Nov/2026:03:00:00 +0000] \"GET /menu?page=2 HTTP/1.1\" 200 5\n",
            "a - - [22/Nov/2026:03:00:01 +0000] \"POST /orders HTTP/1.1\" 201 5\n",
            "a - - [22/Nov/2026:03:00:02 +0000] \"GET /menu?page=2 HTTP/1.1\" 200 5\n",
        );
        let log = Arc::new(Recording::read("log", log.as_bytes()).unwrap());
        let mut target = Target::get("http://localhost:5000/api/?x=y");
        target.body = Bytes::from_static(b"{}");
        let requests = target.logged_requests(&log).unwrap();
        let sent: Vec<_> = (0..3)
            .map(|arrival| {
                let sent = text(&requests, requests.number_of(arrival));
                (
                    sent.lines().next().unwrap().to_owned(),
                    sent.ends_with("\r\n\r\n{}"),
                )
            })
            .collect();
        let get = ("GET /api/menu?page=2 HTTP/1.1".to_owned(), false);
        let post = ("POST /api/orders HTTP/1.1".to_owned(), true);
        assert_eq!(sent, [get.clone(), post, get]);
    }
}
