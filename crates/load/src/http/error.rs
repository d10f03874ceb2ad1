//! Why a request got no answer, with k6's numbers and words.

use std::io;

/// Why a request got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HttpError {
    /// k6's number: 1000 + the area, such as 1212 for a refused connection.
    pub code: u16,
    /// What scripts see in `response.error`.
    pub message: String,
}

impl HttpError {
    /// k6's number for a request that took longer than its timeout.
    pub(crate) const TIMEOUT: u16 = 1050;

    pub(crate) fn new(code: u16, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// The URL cannot be used.
    #[must_use]
    pub fn invalid_url(url: &str, reason: &str) -> Self {
        Self::new(1020, format!("invalid URL: {url:?}: {reason}"))
    }

    /// No request can be sent by this scheme.
    pub(crate) fn unsupported_scheme(scheme: &str) -> Self {
        Self::new(1000, format!("unsupported protocol scheme {scheme:?}"))
    }

    /// It took longer than its timeout.
    #[must_use]
    pub fn timeout() -> Self {
        Self::new(Self::TIMEOUT, "request timeout")
    }

    pub(crate) fn lookup(host: &str, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::new(1100, format!("lookup {host}: {error}")),
            _ => Self::new(1101, "lookup: no such host"),
        }
    }

    pub(crate) fn dial(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::new(1212, "dial: connection refused"),
            io::ErrorKind::TimedOut => Self::new(1211, "dial: i/o timeout"),
            io::ErrorKind::ConnectionReset => Self::new(1220, "dial: connection reset by peer"),
            _ => Self::new(1213, format!("dial: {error}")),
        }
    }

    pub(crate) fn tls(error: &io::Error) -> Self {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(problem)) => Self::certificate(problem),
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
                Self::new(1301, "tls: first record does not look like a TLS handshake")
            }
            Some(other) => Self::new(1300, format!("tls: {other}")),
            None => Self::new(1300, format!("tls: {error}")),
        }
    }

    /// As in Go, a certificate whose chain fails for whatever reason is of an unknown authority.
    fn certificate(problem: &rustls::CertificateError) -> Self {
        use rustls::CertificateError as Problem;
        match problem {
            Problem::NotValidForName | Problem::NotValidForNameContext { .. } => {
                Self::new(1311, "x509: certificate doesn't match hostname")
            }
            Problem::Expired
            | Problem::ExpiredContext { .. }
            | Problem::NotValidYet
            | Problem::NotValidYetContext { .. } => {
                Self::new(1300, "x509: certificate has expired or is not yet valid")
            }
            Problem::UnknownIssuer
            | Problem::BadSignature
            | Problem::BadEncoding
            | Problem::Other(_) => Self::new(1310, "x509: unknown authority"),
            other => Self::new(1300, format!("x509: {other:?}")),
        }
    }

    /// A connection broke.
    pub(crate) fn connection(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset => Self::new(1220, "read: connection reset by peer"),
            io::ErrorKind::BrokenPipe => Self::new(1201, "write: broken pipe"),
            io::ErrorKind::UnexpectedEof => Self::new(1000, "unexpected EOF"),
            _ => Self::new(1200, error.to_string()),
        }
    }

    pub(crate) fn http2(error: &hyper::Error) -> Self {
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(cause) = cause.downcast_ref::<io::Error>() {
                return Self::connection(cause);
            }
            source = cause.source();
        }
        Self::new(1600, error.to_string())
    }
}
