//! Waiting for many descriptors, and signals as one of them.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::process::signal_set;
use super::socket::check;

/// Waits for descriptors to be readable or writable. Level-triggered.
#[derive(Debug)]
pub(crate) struct Poll(OwnedFd);

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    ReadAndWrite,
}

impl Interest {
    fn bits(self) -> u32 {
        let bits = match self {
            Self::Read => libc::EPOLLIN,
            Self::ReadAndWrite => libc::EPOLLIN | libc::EPOLLOUT,
        };
        bits as u32
    }
}

impl Poll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointers; a new descriptor, owned by nobody else.
        unsafe {
            let fd = check(i64::from(libc::epoll_create1(libc::EPOLL_CLOEXEC)))?;
            Ok(Self(OwnedFd::from_raw_fd(fd as RawFd)))
        }
    }

    /// Watches a descriptor under a token. Closing the descriptor ends it.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Changes what is waited for.
    pub(crate) fn change(
        &self,
        fd: BorrowedFd<'_>,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    /// Stops watching a descriptor, for one that others may hold open.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, Interest::Read)
    }

    fn control(
        &self,
        operation: i32,
        fd: BorrowedFd<'_>,
        token: u64,
        interest: Interest,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest.bits(),
            u64: token,
        };
        // SAFETY: `event` outlives the call.
        check(i64::from(unsafe {
            libc::epoll_ctl(
                self.0.as_raw_fd(),
                operation,
                fd.as_raw_fd(),
                &raw mut event,
            )
        }))?;
        Ok(())
    }

    /// Waits for at most `limit`; tells the tokens of what is ready.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> io::Result<Vec<u64>> {
        // Rounded up, so that a timer that is nearly due does not spin.
        let limit = limit.map_or(-1, |limit| {
            i32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        let mut events: [libc::epoll_event; 64] = [libc::epoll_event { events: 0, u64: 0 }; 64];
        // SAFETY: the kernel writes at most 64 events.
        let count = unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                events.len() as i32,
                limit,
            )
        };
        match check(i64::from(count)) {
            Ok(count) => Ok(events[..count as usize]
                .iter()
                .map(|event| event.u64)
                .collect()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// A descriptor that is readable when one of some blocked signals has come.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

impl Signals {
    pub(crate) fn new(signals: &[i32]) -> io::Result<Self> {
        let set = signal_set(signals);
        // SAFETY: `set` is initialised; the descriptor is new and owned by nobody else.
        unsafe {
            let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
            let fd = check(i64::from(libc::signalfd(-1, &raw const set, flags)))?;
            Ok(Self(OwnedFd::from_raw_fd(fd as RawFd)))
        }
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }

    /// The next signal that has come.
    pub(crate) fn next(&self) -> Option<i32> {
        // SAFETY: all zeroes is a valid value; the kernel writes at most its size.
        unsafe {
            let mut information: libc::signalfd_siginfo = mem::zeroed();
            let size = size_of_val(&information);
            let read = libc::read(self.0.as_raw_fd(), (&raw mut information).cast(), size);
            (read == size as isize).then_some(information.ssi_signo as i32)
        }
    }
}

/// Sets whether reads and writes wait.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers.
    unsafe {
        let flags = check(i64::from(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL)))? as i32;
        check(i64::from(libc::fcntl(
            fd.as_raw_fd(),
            libc::F_SETFL,
            flags | libc::O_NONBLOCK,
        )))?;
    }
    Ok(())
}

/// Time since the machine started, suspend not counted; for what is to be done later.
pub(crate) fn monotonic() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for writing; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
