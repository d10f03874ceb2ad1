//! A stream that notes when and how many bytes went each way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// What a stream carried, and when.
#[derive(Debug)]
pub(super) struct Marks {
    /// Times are nanoseconds from here.
    base: Instant,
    /// Bytes sent so far.
    pub(super) sent: AtomicU64,
    /// Bytes received so far.
    pub(super) received: AtomicU64,
    /// When bytes were last sent.
    pub(super) last_sent: AtomicU64,
    /// When the first byte came since this was set to 0.
    pub(super) first_received: AtomicU64,
}

/// A stream with [`Marks`].
pub(super) struct Metered<S> {
    inner: S,
    marks: Arc<Marks>,
}

// === impl Marks ===

impl Marks {
    pub(super) fn new() -> Self {
        Self {
            base: Instant::now(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            last_sent: AtomicU64::new(0),
            first_received: AtomicU64::new(0),
        }
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last_sent.store(self.now().max(1), Ordering::Relaxed);
    }
}

// === impl Metered ===

impl<S> Metered<S> {
    pub(super) fn new(inner: S, marks: Arc<Marks>) -> Self {
        Self { inner, marks }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            self.marks
                .received
                .fetch_add(bytes as u64, Ordering::Relaxed);
            if self.marks.first_received.load(Ordering::Relaxed) == 0 {
                self.marks
                    .first_received
                    .store(self.marks.now().max(1), Ordering::Relaxed);
            }
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, buffer);
        if let Poll::Ready(Ok(bytes)) = outcome {
            self.marks.count_sent(bytes);
        }
        outcome
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, buffers);
        if let Poll::Ready(Ok(bytes)) = outcome {
            self.marks.count_sent(bytes);
        }
        outcome
    }
}
