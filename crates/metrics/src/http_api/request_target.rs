//! Takes requests whose target holds `"`, `<` or `>`, as Go's server does and hyper's does not: people write
//! `curl -g 'http://…/api/v1/query?query=up{job="app"}>0'`, and Go's client sends such a URL as it is.
//!
//! hyper cannot be told to take these bytes: [`http::Uri`] refuses them, and the answer would be 400 without a word.
//! So they are written as `%22`, `%3C` and `%3E` on the way to hyper, in the request line and nowhere else. A request
//! begins where a connection begins or an answer was written; one that is sent before the earlier one is answered
//! (pipelining) is not looked at. The cost is a look at the request line's bytes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// A listener whose connections take such requests.
#[derive(Debug)]
pub struct LenientListener(pub TcpListener);

impl Listener for LenientListener {
    type Io = LenientStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (LenientStream::new(stream), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Where in a connection's bytes the next one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a request's method, after so many bytes of it.
    Method(usize),
    /// In a request's target.
    Target,
    /// Behind the target: nothing is changed until an answer is written.
    Rest,
    /// In HTTP/2, where nothing is changed any more.
    Framed,
}

/// What begins HTTP/2, where another version has a method.
const PREFACE: &[u8] = b"PRI";
/// No method is longer.
const LONGEST_METHOD: usize = 32;
/// An answer that asks for the rest of the same request.
const GO_ON: &[u8] = b"HTTP/1.1 100";

/// A connection whose requests' targets are made such that [`http::Uri`] takes them.
#[derive(Debug)]
pub struct LenientStream<S> {
    inner: S,
    place: Place,
    /// How far what was read is the beginning of HTTP/2.
    preface: usize,
    /// What was read and did not fit, since it got longer.
    waiting: Vec<u8>,
}

impl<S> LenientStream<S> {
    fn new(inner: S) -> LenientStream<S> {
        LenientStream {
            inner,
            place: Place::Method(0),
            preface: 0,
            waiting: Vec::new(),
        }
    }

    /// Goes on behind a byte; how it is written where it is not to stay as it is.
    fn step(&mut self, byte: u8) -> Option<&'static [u8]> {
        match (self.place, byte) {
            // Empty lines before a request are allowed.
            (Place::Method(0), b'\r' | b'\n') => {}
            (Place::Method(read), b' ') if read > 0 => {
                let is_framed = read == PREFACE.len() && self.preface == read;
                self.place = if is_framed {
                    Place::Framed
                } else {
                    Place::Target
                };
            }
            (Place::Method(read), byte) if byte.is_ascii_uppercase() && read < LONGEST_METHOD => {
                if self.preface == read && PREFACE.get(read) == Some(&byte) {
                    self.preface += 1;
                }
                self.place = Place::Method(read + 1);
            }
            (Place::Method(_), _) | (Place::Target, b' ' | b'\r' | b'\n') => {
                self.place = Place::Rest;
            }
            (Place::Target, b'"') => return Some(b"%22"),
            (Place::Target, b'<') => return Some(b"%3C"),
            (Place::Target, b'>') => return Some(b"%3E"),
            (Place::Target | Place::Rest | Place::Framed, _) => {}
        }
        None
    }

    /// The bytes as hyper is to see them; none where they stay as they are.
    fn rewrite(&mut self, read: &[u8]) -> Option<Vec<u8>> {
        let mut rewritten: Option<Vec<u8>> = None;
        for (at, byte) in read.iter().enumerate() {
            if matches!(self.place, Place::Rest | Place::Framed) {
                if let Some(rewritten) = &mut rewritten {
                    rewritten.extend(&read[at..]);
                }
                break;
            }
            match (self.step(*byte), &mut rewritten) {
                (Some(written), Some(rewritten)) => rewritten.extend(written),
                (Some(written), None) => rewritten = Some([&read[..at], written].concat()),
                (None, Some(rewritten)) => rewritten.push(*byte),
                (None, None) => {}
            }
        }
        rewritten
    }

    /// Something is sent: what is read next is a request, unless this only asks for the rest of one.
    fn answers(&mut self, sent: &[u8]) {
        if self.place != Place::Framed && !sent.is_empty() && !sent.starts_with(GO_ON) {
            self.place = Place::Method(0);
            self.preface = 0;
        }
    }

    fn give_waiting(&mut self, buffer: &mut ReadBuf<'_>) {
        let fitting = self.waiting.len().min(buffer.remaining());
        buffer.put_slice(&self.waiting[..fitting]);
        self.waiting.drain(..fitting);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LenientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.waiting.is_empty() {
            self.give_waiting(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if let Some(rewritten) = self.rewrite(&buffer.filled()[before..]) {
            buffer.set_filled(before);
            self.waiting = rewritten;
            self.give_waiting(buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LenientStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.answers(bytes);
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(first) = slices.iter().find(|slice| !slice.is_empty()) {
            self.answers(first);
        }
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::RawQuery;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// What hyper is given of some bytes, read so many at a time.
    async fn seen(sent: &[u8], at_once: usize) -> Vec<u8> {
        let (mut client, server) = duplex(1 << 16);
        client.write_all(sent).await.expect("sent");
        drop(client);
        let mut stream = LenientStream::new(server);
        let mut seen = Vec::new();
        let mut piece = vec![0; at_once];
        loop {
            let read = stream.read(&mut piece).await.expect("read");
            if read == 0 {
                return seen;
            }
            seen.extend(&piece[..read]);
        }
    }

    #[tokio::test]
    async fn the_target_alone_is_changed_however_it_is_cut() {
        let request = b"\r\nPOST /q?a={b=\"<c>\"}&d=%22 HTTP/1.1\r\nx: \"<>\"\r\n\r\n\"body\" <>";
        let expected =
            b"\r\nPOST /q?a={b=%22%3Cc%3E%22}&d=%22 HTTP/1.1\r\nx: \"<>\"\r\n\r\n\"body\" <>";
        for at_once in [1, 2, 7, 1000] {
            assert_eq!(seen(request, at_once).await, expected, "{at_once}");
        }
        // What is no request, and HTTP/2, stay as they are.
        for other in [
            &b"\x16\x03\x01 \"<\" \""[..],
            b"get /\"\" HTTP/1.1\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /\"\"",
        ] {
            assert_eq!(seen(other, 1000).await, other);
        }
    }

    #[tokio::test]
    async fn a_body_that_is_asked_for_stays_as_it_is_and_so_does_http_2() {
        for (sent, answer, next, expected) in [
            (
                "POST /a HTTP/1.1\r\n\r\n",
                "HTTP/1.1 100 Continue\r\n\r\n",
                "GET \"",
                "GET \"",
            ),
            (
                "POST /a HTTP/1.1\r\n\r\n",
                "HTTP/1.1 200 OK\r\n\r\n",
                "GET \"",
                "GET %22",
            ),
            ("PRI * HTTP/2.0\r\n\r\n", "\0\0\0\x04", "GET \"", "GET \""),
        ] {
            let (mut client, server) = duplex(1 << 16);
            let mut stream = LenientStream::new(server);
            let mut read = vec![0; 1000];
            client.write_all(sent.as_bytes()).await.expect("sent");
            let _ = stream.read(&mut read).await.expect("read");
            stream.write_all(answer.as_bytes()).await.expect("answered");
            client.write_all(next.as_bytes()).await.expect("sent");
            let length = stream.read(&mut read).await.expect("read");
            assert_eq!(&read[..length], expected.as_bytes(), "{sent:?} {answer:?}");
        }
    }

    #[tokio::test]
    async fn queries_with_quotes_are_answered_one_after_the_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let echo = |RawQuery(query): RawQuery| async move { query.unwrap_or_default() };
        let router = Router::new().route("/q", get(echo));
        let server =
            tokio::spawn(async move { axum::serve(LenientListener(listener), router).await });
        let mut client = TcpStream::connect(address).await.expect("connected");
        for (query, expected) in [
            ("query=up{job=\"app\"}", "query=up{job=%22app%22}"),
            ("query=rate(up[1m])>0", "query=rate(up[1m])%3E0"),
        ] {
            let request = format!("GET /q?{query} HTTP/1.1\r\nhost: x\r\n\r\n");
            client.write_all(request.as_bytes()).await.expect("sent");
            let mut said = Vec::new();
            while !String::from_utf8_lossy(&said).ends_with(expected) {
                let read = client.read_buf(&mut said).await.expect("an answer");
                assert!(read > 0, "{query}: {}", String::from_utf8_lossy(&said));
            }
            assert!(said.starts_with(b"HTTP/1.1 200"), "{query}");
        }
        server.abort();
    }
}
