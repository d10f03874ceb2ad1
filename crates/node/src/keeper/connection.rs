//! The keeper's end of the socket to the brain. Never waits.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::protocol::{Frames, Message, Order, encode};
use crate::sys;

/// The connection to one brain.
#[derive(Debug)]
pub(super) struct Connection {
    socket: UnixStream,
    frames: Frames,
    /// Frames to send, with how much of each went already.
    unsent: VecDeque<(Vec<u8>, usize, Vec<OwnedFd>)>,
}

impl Connection {
    pub(super) fn over(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            frames: Frames::default(),
            unsent: VecDeque::new(),
        })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads the orders that are there. `None` when the brain is gone.
    pub(super) fn receive(&mut self) -> Option<Vec<Order>> {
        match sys::receive_with_descriptors(self.socket.as_fd()) {
            Ok((bytes, _)) if bytes.is_empty() => return None,
            Ok((bytes, _)) => self.frames.push(&bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(Vec::new()),
            Err(_) => return None,
        }
        let mut orders = Vec::new();
        loop {
            match self.frames.next() {
                Ok(Some((body, _))) => match serde_json::from_slice(&body) {
                    Ok(order) => orders.push(order),
                    Err(error) => tracing::error!(%error, "cannot read an order"),
                },
                Ok(None) => return Some(orders),
                Err(_) => return None,
            }
        }
    }

    /// Queues a message, and sends what goes.
    pub(super) fn send(&mut self, message: &Message, descriptors: Vec<OwnedFd>) {
        let count = u8::try_from(descriptors.len()).expect("a message brings few descriptors");
        self.unsent
            .push_back((encode(message, count), 0, descriptors));
        self.flush();
    }

    /// Sends what goes. A brain that is gone is noticed when reading.
    pub(super) fn flush(&mut self) {
        while let Some((frame, sent, descriptors)) = self.unsent.front_mut() {
            let along: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
            match sys::send_with_descriptors(self.socket.as_fd(), &frame[*sent..], &along) {
                Ok(count) => {
                    *sent += count;
                    descriptors.clear();
                    if *sent == frame.len() {
                        self.unsent.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.unsent.clear();
                    return;
                }
            }
        }
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }
}
