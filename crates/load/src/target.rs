//! What load is sent to: where, which request, and how to check the server's certificate.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use springtide_machinery::tls::AnyCertificate;

use crate::Error;

/// How a [`Target`]'s request is written on a command line.
#[derive(Clone, Debug)]
pub struct TargetBuilder {
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
}

/// A request that is sent again and again, and where it goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port` to connect to.
    pub authority: String,
    /// How long a request may take from connecting to the last byte of its answer.
    pub timeout: Duration,
    pub(crate) tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    method: Method,
    path: Uri,
    headers: HeaderMap,
    body: Bytes,
}

// === impl TargetBuilder ===

impl TargetBuilder {
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
        }
    }

    /// Checks everything once, so that no request can fail for its form later.
    ///
    /// # Errors
    /// A URL, method or header that HTTP does not allow, or a scheme other than http and https.
    pub fn build(self) -> Result<Target, Error> {
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
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let path = uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let method =
            Method::from_bytes(self.method.to_ascii_uppercase().as_bytes()).map_err(|error| {
                Error::Request {
                    what: "method",
                    given: self.method.clone(),
                    reason: error.to_string(),
                }
            })?;
        let mut headers = HeaderMap::new();
        let host_header = uri.authority().map_or(host, http::uri::Authority::as_str);
        headers.insert(
            header::HOST,
            HeaderValue::from_str(host_header).map_err(|error| wrong_url(&error.to_string()))?,
        );
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("tide-load/", env!("CARGO_PKG_VERSION"))),
        );
        for line in &self.headers {
            let (name, value) = parse_header(line)?;
            headers.insert(name, value);
        }
        let tls = if secure {
            Some((tls_config(self.insecure)?, server_name(host, &self.url)?))
        } else {
            None
        };
        Ok(Target {
            authority: format!("{host}:{port}"),
            timeout: self.timeout,
            tls,
            method,
            path: path
                .parse()
                .map_err(|error| wrong_url(&format!("{error}")))?,
            headers,
            body: self.body,
        })
    }
}

// === impl Target ===

impl Target {
    /// A fresh copy of the request.
    pub(crate) fn request(&self) -> hyper::Request<http_body_util::Full<Bytes>> {
        let mut request = hyper::Request::new(http_body_util::Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// True if sending the request twice does what sending it once does.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
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
    let value = HeaderValue::from_str(value.trim()).map_err(|error| wrong(error.to_string()))?;
    Ok((name, value))
}

fn server_name(host: &str, url: &str) -> Result<ServerName<'static>, Error> {
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    ServerName::try_from(host).map_err(|error| Error::Url {
        url: url.to_owned(),
        reason: error.to_string(),
    })
}

fn tls_config(insecure: bool) -> Result<Arc<rustls::ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls_error = |error: rustls::Error| Error::Tls(error.to_string());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(tls_error)?;
    let config = if insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(&provider)))
            .with_no_client_auth()
    } else {
        builder
            .with_platform_verifier()
            .map_err(tls_error)?
            .with_no_client_auth()
    };
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_once() {
        let target = TargetBuilder::get("http://feastflow-backend:5000/api/health?x=1")
            .build()
            .unwrap();
        assert_eq!(target.authority, "feastflow-backend:5000");
        assert_eq!(target.request().uri(), "/api/health?x=1");
        assert_eq!(target.request().headers()["host"], "feastflow-backend:5000");
        let target = TargetBuilder::get("http://localhost").build().unwrap();
        assert_eq!(target.authority, "localhost:80");
        assert_eq!(target.request().uri(), "/");
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
            let error = TargetBuilder::get(url).build().unwrap_err().to_string();
            assert!(error.contains(hint), "{url}: {error}");
        }
    }

    #[test]
    fn headers_replace_the_defaults_and_wrong_ones_are_named() {
        let mut builder = TargetBuilder::get("http://localhost/");
        builder.headers = vec!["Host: feastflow.local".to_owned(), "X-A:b".to_owned()];
        let target = builder.clone().build().unwrap();
        assert_eq!(target.request().headers()["host"], "feastflow.local");
        assert_eq!(target.request().headers()["x-a"], "b");
        builder.headers = vec!["no colon".to_owned()];
        assert!(
            builder
                .build()
                .unwrap_err()
                .to_string()
                .contains("no colon")
        );
    }
}
