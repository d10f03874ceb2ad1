//! One connection to the target that is kept open, and opened again when the server closed it.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Target;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No connection could be made.
    #[error("connect: {0}")]
    Connect(String),
    /// The connection broke before the answer was complete.
    #[error("request: {0}")]
    Broken(String),
    /// The answer was not complete in time.
    #[error("request timed out")]
    Timeout,
}

/// What the server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body_bytes: u64,
}

/// A connection that carries one request at a time.
#[derive(Debug, Default)]
pub struct Connection {
    sender: Option<SendRequest<Full<Bytes>>>,
}

// === impl Connection ===

impl Connection {
    /// Sends the target's request and reads its answer to the end.
    ///
    /// A request that a server refused by closing an idle connection is sent once more over a new
    /// one, as Go's and browsers' clients do, if that is safe.
    pub(crate) async fn send(&mut self, target: &Target) -> Result<Answer, RequestError> {
        let outcome = tokio::time::timeout(target.timeout, self.send_or_retry(target)).await;
        let result = outcome.unwrap_or(Err(RequestError::Timeout));
        if result.is_err() {
            self.sender = None;
        }
        result
    }

    async fn send_or_retry(&mut self, target: &Target) -> Result<Answer, RequestError> {
        let reused = self
            .sender
            .as_ref()
            .is_some_and(|sender| !sender.is_closed());
        match self.attempt(target).await {
            Err(Attempt::Unanswered(_)) if reused && target.is_idempotent() => {
                self.sender = None;
                self.attempt(target).await.map_err(Attempt::into_error)
            }
            other => other.map_err(Attempt::into_error),
        }
    }

    async fn attempt(&mut self, target: &Target) -> Result<Answer, Attempt> {
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => connect(target).await.map_err(Attempt::Final)?,
        };
        if let Err(error) = sender.ready().await {
            return Err(Attempt::Unanswered(error));
        }
        let response = sender
            .send_request(target.request())
            .await
            .map_err(Attempt::Unanswered)?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut body_bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| Attempt::Final(RequestError::Broken(error.to_string())))?;
            if let Some(data) = frame.data_ref() {
                body_bytes += data.len() as u64;
            }
        }
        self.sender = Some(sender);
        Ok(Answer { status, body_bytes })
    }
}

/// How an attempt failed: before anything was answered, or past repair.
enum Attempt {
    Unanswered(hyper::Error),
    Final(RequestError),
}

impl Attempt {
    fn into_error(self) -> RequestError {
        match self {
            Self::Unanswered(error) => RequestError::Broken(error.to_string()),
            Self::Final(error) => error,
        }
    }
}

async fn connect(target: &Target) -> Result<SendRequest<Full<Bytes>>, RequestError> {
    let failed = |error: std::io::Error| RequestError::Connect(error.to_string());
    let stream = TcpStream::connect(&target.authority)
        .await
        .map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    match &target.tls {
        None => shake(stream).await,
        Some((config, name)) => {
            let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::clone(config));
            shake(
                connector
                    .connect(name.clone(), stream)
                    .await
                    .map_err(failed)?,
            )
            .await
        }
    }
}

async fn shake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>, RequestError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|error| RequestError::Connect(error.to_string()))?;
    // Ends by itself when the sender is dropped; what went wrong reaches the sender.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}
