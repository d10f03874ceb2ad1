//! One connection that is kept open, and what is sent over it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::request::Request;
use crate::http::{
    Addresses, Answer, AnswerReader, Header, HttpError, Keep, Malformed, Timings, Wire,
};

/// Where connections go.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(super) addresses: Addresses,
}

/// A connection that carries one request at a time.
#[derive(Debug)]
pub(super) struct Connection {
    wire: Wire<TcpStream>,
    reader: AnswerReader,
}

/// What came of a request.
#[derive(Debug)]
pub(super) struct Exchanged {
    pub(super) answer: Answer,
    /// The value of the header in which answers name their replica.
    pub(super) replica: Option<String>,
    /// Bytes that came.
    pub(super) received: u64,
    /// When the last of them came.
    pub(super) done: Instant,
}

/// Of an answer, one header's value is kept.
struct OneHeader<'name> {
    name: Option<&'name str>,
    value: Option<String>,
}

/// Why nothing came of it.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: HttpError,
    /// True: not a byte of an answer came.
    pub(super) unanswered: bool,
}

// === impl Connection ===

impl Connection {
    /// Connects, and notes how long the steps took.
    pub(super) async fn open(origin: &Origin, timings: &mut Timings) -> Result<Self, HttpError> {
        let address = origin.addresses.find(&origin.host, origin.port).await?;
        let start = Instant::now();
        let connected = TcpStream::connect(address).await;
        timings.connecting = start.elapsed();
        let stream = connected.map_err(|error| HttpError::dial(&error))?;
        stream
            .set_nodelay(true)
            .map_err(|error| HttpError::dial(&error))?;
        let wire = match &origin.tls {
            None => Wire::Plain(stream),
            Some((config, name)) => {
                let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
                let start = Instant::now();
                let shaken = connector.connect(name.clone(), stream).await;
                timings.tls_handshaking = start.elapsed();
                Wire::Tls(Box::new(shaken.map_err(|error| HttpError::tls(&error))?))
            }
        };
        Ok(Self {
            wire,
            reader: AnswerReader::new(),
        })
    }

    /// True if the other side neither closed it nor said what nobody asked for.
    pub(super) async fn is_quiet(&mut self) -> bool {
        std::future::poll_fn(|context| {
            let read = self.wire.poll_some(context, <[u8]>::len);
            Poll::Ready(read.is_pending())
        })
        .await
    }

    /// Sends a request, which is taken to `start` now, and reads its answer to the end.
    pub(super) async fn exchange(
        &mut self,
        request: &Request,
        replica_header: Option<&str>,
        start: Instant,
        timings: &mut Timings,
    ) -> Result<Exchanged, Failed> {
        self.reader.expect(request.is_head);
        let written = write(&mut self.wire, &request.bytes).await;
        let sent = Instant::now();
        timings.sending = sent - start;
        written.map_err(|error| Failed {
            error: HttpError::connection(&error),
            unanswered: true,
        })?;
        let mut first = None;
        let mut received = 0;
        let mut kept = OneHeader {
            name: replica_header,
            value: None,
        };
        let outcome = loop {
            let reader = &mut self.reader;
            let read = std::future::poll_fn(|context| {
                self.wire.poll_some(context, |bytes| {
                    (bytes.len(), reader.take(bytes, &mut kept))
                })
            })
            .await;
            match read {
                Err(error) => break Err(HttpError::connection(&error)),
                Ok((0, _)) => {
                    break self
                        .reader
                        .close()
                        .ok_or_else(|| HttpError::new(1000, "EOF"));
                }
                Ok((bytes, taken)) => {
                    first.get_or_insert_with(Instant::now);
                    received += bytes as u64;
                    match taken {
                        Ok(None) => {}
                        Ok(Some(answer)) => break Ok(answer),
                        Err(malformed) => break Err(HttpError::new(1000, malformed.to_string())),
                    }
                }
            }
        };
        let done = Instant::now();
        let first = first.unwrap_or(done);
        timings.waiting = first - sent;
        timings.receiving = done - first;
        match outcome {
            Ok(answer) => Ok(Exchanged {
                answer,
                replica: kept.value,
                received,
                done,
            }),
            Err(error) => Err(Failed {
                error,
                unanswered: self.reader.is_untouched(),
            }),
        }
    }
}

// === impl OneHeader ===

impl Keep for OneHeader<'_> {
    fn headers(&mut self, headers: &[Header<'_>]) -> Result<(), Malformed> {
        if let Some(name) = self.name {
            let wanted = headers
                .iter()
                .rfind(|header| header.name.eq_ignore_ascii_case(name));
            self.value = wanted
                .map(|header| String::from_utf8_lossy(header.value.trim_ascii()).into_owned());
        }
        Ok(())
    }

    fn body(&mut self, _: &[u8]) {}
}

async fn write(wire: &mut Wire<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    match wire {
        Wire::Plain(stream) => stream.write_all(bytes).await,
        Wire::Tls(stream) => {
            stream.write_all(bytes).await?;
            stream.flush().await
        }
    }
}

/// Ends a wait at its deadline. Setting a timer for each request would cost more than the request's
/// other bookkeeping, so one timer is left to fire early, and set again only then.
#[derive(Debug, Default)]
pub(super) struct Limit {
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
}

// === impl Limit ===

impl Limit {
    /// What `future` came to, or nothing where it takes longer than to the deadline.
    pub(super) async fn until<F: Future>(
        &mut self,
        deadline: Instant,
        future: F,
    ) -> Option<F::Output> {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Some(output));
            }
            while timer.as_mut().poll(context).is_ready() {
                if Instant::now() >= deadline {
                    return Poll::Ready(None);
                }
                timer.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_for_each_wait_anew() {
        let mut limit = Limit::default();
        let second = Duration::from_secs(1);
        for wait in [0.2, 0.9, 0.9, 0.5] {
            let wait = Duration::from_secs_f64(wait);
            let deadline = Instant::now() + second;
            let waited = limit.until(deadline, tokio::time::sleep(wait)).await;
            assert!(waited.is_some());
        }
        for limit_is in [second, second * 3, second / 2] {
            let start = Instant::now();
            let waited = limit
                .until(start + limit_is, std::future::pending::<()>())
                .await;
            assert!(waited.is_none());
            // Timers fire at the next millisecond.
            let late = start.elapsed().checked_sub(limit_is);
            assert!(
                late.is_some_and(|late| late <= Duration::from_millis(2)),
                "{late:?}"
            );
        }
    }
}
