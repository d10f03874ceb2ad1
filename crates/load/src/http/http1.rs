//! One HTTP/1.1 connection: a request is written, its answer read.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use url::Position;

use super::HttpError;
use super::client::Outgoing;
use super::connection::Facts;
use super::metered::Metered;
use super::wire::{Answer, AnswerReader, Header, Keep, Malformed};

/// So many bytes are read at once.
const AT_ONCE: usize = 64 * 1024;
/// A body up to this size is written together with its head.
const SMALL_BODY: usize = 16 * 1024;

thread_local! {
    /// Where bytes are read to. Whoever reads takes them at once, so all connections of a thread share it.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; AT_ONCE].into());
}

/// An HTTP/1.1 connection on which nothing is under way. It has no buffers: a user who waits takes no
/// memory for it but the socket's.
pub(super) struct Http1 {
    pub(super) wire: Wire<Metered<TcpStream>>,
    pub(super) facts: Facts,
}

/// What bytes go over.
#[derive(Debug)]
pub(crate) enum Wire<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
}

/// What came of an exchange.
pub(super) struct Exchanged {
    pub(super) answer: Result<Whole, HttpError>,
    /// The connection, if another request may follow.
    pub(super) connection: Option<Http1>,
}

/// An answer to its end.
pub(super) struct Whole {
    pub(super) status: u16,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    /// Empty where it was not to be kept.
    pub(super) body: Vec<u8>,
}

struct Kept {
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

// === impl Kept ===

impl Keep for Kept {
    fn headers(&mut self, headers: &[Header<'_>]) -> Result<(), Malformed> {
        self.headers.reserve(headers.len());
        for header in headers {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let value = HeaderValue::from_bytes(header.value);
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(Malformed(format!("header {:?}", header.name)));
            };
            self.headers.append(name, value);
        }
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) {
        if let Some(body) = &mut self.body {
            body.extend_from_slice(bytes);
        }
    }
}

impl Kept {
    fn whole(self, answer: Answer) -> Whole {
        Whole {
            status: answer.status,
            version: if answer.is_http_10 {
                Version::HTTP_10
            } else {
                Version::HTTP_11
            },
            headers: self.headers,
            body: self.body.unwrap_or_default(),
        }
    }
}

fn poll_some<T>(
    stream: Pin<&mut impl AsyncRead>,
    context: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<T>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(stream.poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(take(buffer.filled())))
    })
}

// === impl Wire ===

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Reads some bytes and gives them to `take`; none at the end of the connection.
    pub(crate) fn poll_some<T>(
        &mut self,
        context: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        match self {
            Self::Plain(stream) => poll_some(Pin::new(stream), context, take),
            Self::Tls(stream) => poll_some(Pin::new(stream), context, take),
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            // TCP has nothing to flush.
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }
}

// === impl Http1 ===

impl Http1 {
    /// True if a request can be sent over it: the other side has neither closed it nor said anything.
    pub(super) async fn is_usable(&mut self) -> bool {
        poll_fn(|context| {
            let read = self.wire.poll_some(context, <[u8]>::len);
            Poll::Ready(read.is_pending())
        })
        .await
    }

    /// Sends a request and reads its answer.
    pub(super) async fn exchange(mut self, outgoing: &Outgoing) -> Exchanged {
        let mut reader = AnswerReader::new();
        reader.expect(outgoing.method == Method::HEAD);
        let mut kept = Kept {
            headers: HeaderMap::new(),
            body: outgoing.keep_body.then(Vec::new),
        };
        let mut parts = Unsent::new(outgoing);
        // The answer is read from the beginning on: a server may refuse a long request before its end.
        let answer = poll_fn(|context| {
            parts.poll(&mut self.wire, context);
            loop {
                let read = ready!(self.wire.poll_some(context, |bytes| {
                    (!bytes.is_empty()).then(|| reader.take(bytes, &mut kept))
                }));
                let answer = match read {
                    Ok(Some(Ok(None))) => continue,
                    Ok(Some(Ok(Some(answer)))) => Ok(answer),
                    Ok(Some(Err(malformed))) => Err(HttpError::new(1000, malformed.to_string())),
                    Ok(None) if reader.has_head() => reader
                        .close()
                        .ok_or_else(|| HttpError::new(1000, "unexpected EOF")),
                    Ok(None) => Err(HttpError::new(1000, "EOF")),
                    Err(error) => Err(HttpError::connection(&error)),
                };
                return Poll::Ready(answer);
            }
        })
        .await;
        // Without an answer, what went wrong first says more.
        let answer = match (answer, parts.failed.take()) {
            (Err(_), Some(failed)) => Err(HttpError::connection(&failed)),
            (answer, _) => answer,
        };
        let reusable = parts.is_sent()
            && answer.as_ref().is_ok_and(|answer| answer.keeps_alive)
            && !asks_to_close(&outgoing.headers);
        Exchanged {
            answer: answer.map(|answer| kept.whole(answer)),
            connection: reusable.then_some(self),
        }
    }
}

/// What is still to be sent of a request.
struct Unsent<'request> {
    /// With the body, where that is small.
    head: Vec<u8>,
    body: &'request [u8],
    /// So much of both was written.
    written: usize,
    flushed: bool,
    failed: Option<io::Error>,
}

// === impl Unsent ===

impl<'request> Unsent<'request> {
    fn new(outgoing: &'request Outgoing) -> Self {
        let small = outgoing.body.len() <= SMALL_BODY;
        let mut head = Vec::with_capacity(512 + if small { outgoing.body.len() } else { 0 });
        write_head(&mut head, outgoing);
        if small {
            head.extend_from_slice(&outgoing.body);
        }
        Self {
            head,
            body: if small { &[] } else { &outgoing.body },
            written: 0,
            flushed: false,
            failed: None,
        }
    }

    fn is_sent(&self) -> bool {
        self.flushed
    }

    /// Sends as much as the connection takes now.
    fn poll(&mut self, wire: &mut Wire<Metered<TcpStream>>, context: &mut Context<'_>) {
        while !self.flushed && self.failed.is_none() {
            let rest = match self.head.get(self.written..) {
                Some(rest) if !rest.is_empty() => rest,
                _ => &self.body[self.written - self.head.len()..],
            };
            let done = if rest.is_empty() {
                wire.poll_flush(context).map_ok(|()| None)
            } else {
                wire.poll_write(context, rest).map_ok(Some)
            };
            match done {
                Poll::Pending => return,
                Poll::Ready(Ok(None)) => self.flushed = true,
                Poll::Ready(Ok(Some(0))) => self.failed = Some(io::ErrorKind::BrokenPipe.into()),
                Poll::Ready(Ok(Some(bytes))) => self.written += bytes,
                Poll::Ready(Err(error)) => self.failed = Some(error),
            }
        }
    }
}

/// Writes a request's line and headers. Names are written as Go writes them: `Content-Type`.
fn write_head(head: &mut Vec<u8>, outgoing: &Outgoing) {
    let Outgoing {
        method,
        url,
        headers,
        body,
        ..
    } = outgoing;
    head.extend_from_slice(method.as_str().as_bytes());
    head.push(b' ');
    head.extend_from_slice(url[Position::BeforePath..Position::AfterQuery].as_bytes());
    head.extend_from_slice(b" HTTP/1.1\r\n");
    if !headers.contains_key(header::HOST) {
        let host = &url[Position::BeforeHost..Position::AfterPort];
        write_header(head, "host", host.as_bytes());
    }
    for (name, value) in headers {
        write_header(head, name.as_str(), value.as_bytes());
    }
    // As in Go, these methods have a body, though it be empty.
    if !body.is_empty() || matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
        write_header(head, "content-length", body.len().to_string().as_bytes());
    }
    head.extend_from_slice(b"\r\n");
}

fn write_header(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    let mut begins = true;
    for byte in name.bytes() {
        head.push(if begins {
            byte.to_ascii_uppercase()
        } else {
            byte
        });
        begins = byte == b'-';
    }
    head.extend_from_slice(b": ");
    head.extend_from_slice(value);
    head.extend_from_slice(b"\r\n");
}

fn asks_to_close(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONNECTION)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::metered::Marks;
    use super::*;

    fn outgoing(method: Method, url: &str, body: impl Into<Bytes>) -> Outgoing {
        Outgoing {
            method,
            url: Rc::new(url.parse().unwrap()),
            headers: HeaderMap::new(),
            body: body.into(),
            keep_body: true,
        }
    }

    /// A connection to a server that reads so many bytes, writes an answer, and closes if it is to.
    async fn connected(reads: usize, answer: &'static str, closes: bool) -> Http1 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let remote = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut vec![0; reads]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            if !closes {
                std::future::pending::<()>().await;
            }
        });
        let marks = Arc::new(Marks::new());
        let stream = TcpStream::connect(remote).await.unwrap();
        Http1 {
            wire: Wire::Plain(Metered::new(stream, Arc::clone(&marks))),
            facts: Facts {
                remote,
                tls: None,
                marks,
            },
        }
    }

    #[test]
    fn a_request_is_written_as_go_writes_it() {
        let head = |outgoing: &Outgoing| {
            let mut head = Vec::new();
            write_head(&mut head, outgoing);
            String::from_utf8(head).unwrap()
        };
        let mut request = outgoing(Method::GET, "http://a.test:81/b c?d=e#f", "");
        let name = HeaderName::from_static("x-one-two");
        request
            .headers
            .insert(name, HeaderValue::from_static("three"));
        assert_eq!(
            head(&request),
            "GET /b%20c?d=e HTTP/1.1\r\nHost: a.test:81\r\nX-One-Two: three\r\n\r\n"
        );
        request
            .headers
            .insert(header::HOST, HeaderValue::from_static("b.test"));
        assert!(!head(&request).contains("a.test"));
        let empty = head(&outgoing(Method::POST, "http://a.test/", ""));
        assert!(empty.ends_with("\r\nContent-Length: 0\r\n\r\n"), "{empty}");
    }

    #[tokio::test]
    async fn an_answer_is_taken_before_a_long_request_has_ended_and_the_connection_is_left() {
        let answer = "HTTP/1.1 413 Too Long\r\nContent-Length: 2\r\n\r\nno";
        let connection = connected(1024, answer, false).await;
        let request = outgoing(Method::POST, "http://a.test/", vec![b'x'; 64 << 20]);
        let exchanged = connection.exchange(&request).await;
        let whole = exchanged.answer.unwrap();
        assert_eq!((whole.status, &*whole.body), (413, &b"no"[..]));
        assert!(exchanged.connection.is_none());
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_told_from_none() {
        for (answer, error) in [
            ("", "EOF"),
            ("HTTP/1.1 200 OK\r\nContent-Le", "EOF"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n123",
                "unexpected EOF",
            ),
        ] {
            let request = outgoing(Method::GET, "http://a.test/", "");
            let connection = connected(32, answer, true).await;
            let exchanged = connection.exchange(&request).await;
            let told = exchanged.answer.err().unwrap();
            assert_eq!((told.code, &*told.message), (1000, error), "{answer}");
        }
    }
}
