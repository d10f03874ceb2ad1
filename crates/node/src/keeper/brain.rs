//! Starting the brain, and starting it again.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::SOCKET_VARIABLE;
use super::connection::Connection;
use super::protocol::{Message, Order};
use super::service::{Keeper, Source};
use super::upgrade;
use crate::sys::{self, Interest, Pid};

/// A brain that ran for this long did not die of what it was started with.
const HEALTHY: Duration = Duration::from_secs(10);

const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long a brain may take to end after it has closed its socket.
const TIME_TO_END: Duration = Duration::from_secs(5);

/// The descriptor a brain finds its socket at.
const BRAIN_SOCKET: i32 = 3;

/// The brain as the keeper sees it.
#[derive(Debug, Default)]
pub(super) struct Brain {
    pid: Option<Pid>,
    connection: Option<(Connection, u64, Interest)>,
    started_at: Duration,
    /// When a brain that closed its socket must have ended.
    kill_at: Option<Duration>,
    restart_at: Option<Duration>,
    /// How many died in a row without having been healthy.
    failures: u32,
}

impl Brain {
    pub(super) fn pid(&self) -> Option<Pid> {
        self.pid
    }

    pub(super) fn restart_at(&self) -> Option<Duration> {
        self.restart_at
    }

    pub(super) fn kill_at(&self) -> Option<Duration> {
        self.kill_at
    }

    /// A brain that closed its socket and does not end is none.
    pub(super) fn kill_if_mute(&mut self, now: Duration) {
        if self.kill_at.is_some_and(|at| at <= now)
            && let Some(pid) = self.pid
        {
            self.kill_at = None;
            let _ = sys::kill(pid, libc::SIGKILL);
        }
    }

    /// The orders that have come; `None` when the connection is at its end.
    pub(super) fn receive(&mut self) -> Option<Vec<Order>> {
        let (connection, _, _) = self.connection.as_mut()?;
        connection.flush();
        connection.receive()
    }

    pub(super) fn send(&mut self, message: &Message, descriptors: Vec<OwnedFd>) {
        if let Some((connection, _, _)) = &mut self.connection {
            connection.send(message, descriptors);
        }
    }

    /// Decides when the next brain starts; tells how long that is from now.
    pub(super) fn schedule_restart(&mut self) -> Duration {
        let now = sys::monotonic();
        let was_healthy = now.saturating_sub(self.started_at) >= HEALTHY;
        self.failures = if was_healthy { 0 } else { self.failures + 1 };
        let wait = wait_before_restart(self.failures);
        self.restart_at = Some(now + wait);
        wait
    }
}

/// At once after a healthy life and after the first early death, then ever longer.
fn wait_before_restart(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        more => (SHORTEST_WAIT * 2_u32.saturating_pow(more - 2)).min(LONGEST_WAIT),
    }
}

impl Keeper {
    pub(super) fn start_brain(&mut self) -> io::Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        let argv: Vec<CString> = std::iter::once(std::env::args_os().next().unwrap_or_default())
            .chain(self.config.brain.iter().cloned())
            .map(|argument| Ok(CString::new(argument.into_vec())?))
            .collect::<io::Result<_>>()?;
        let mut env: Vec<CString> = std::env::vars_os()
            .filter(|(name, _)| name != SOCKET_VARIABLE && !upgrade::is_own_variable(name))
            .map(|(name, value)| {
                Ok(CString::new(
                    [name.as_bytes(), value.as_bytes()].join(&b'='),
                )?)
            })
            .collect::<io::Result<_>>()?;
        env.push(CString::new(format!("{SOCKET_VARIABLE}={BRAIN_SOCKET}"))?);
        let pid = sys::spawn(0, || {
            let prepared = sys::setsid()
                .and_then(|()| sys::redirect(theirs.as_fd(), BRAIN_SOCKET))
                .and_then(|()| sys::die_with_parent());
            if prepared.is_err() {
                return 126;
            }
            sys::close_all_but(&[BRAIN_SOCKET]);
            sys::reset_signals();
            let error = sys::execute(c"/proc/self/exe", &argv, &env);
            eprintln!("cannot start the brain: {error}");
            127
        })?;
        drop(theirs);
        let connection = Connection::over(ours)?;
        let token = self.token(Source::Brain);
        self.poll
            .add(connection.descriptor(), token, Interest::Read)?;
        self.brain.pid = Some(pid);
        self.brain.connection = Some((connection, token, Interest::Read));
        self.brain.started_at = sys::monotonic();
        self.brain.restart_at = None;
        Ok(())
    }

    /// Waits for room to send when there is something to send.
    pub(super) fn brain_interest(&mut self) -> io::Result<()> {
        let Some((connection, token, interest)) = &mut self.brain.connection else {
            return Ok(());
        };
        let wanted = if connection.has_unsent() {
            Interest::ReadAndWrite
        } else {
            Interest::Read
        };
        if wanted != *interest {
            *interest = wanted;
            self.poll.change(connection.descriptor(), *token, wanted)?;
        }
        Ok(())
    }

    /// The brain's end of the socket is closed.
    pub(super) fn disconnect_brain(&mut self) {
        if let Some((connection, token, _)) = self.brain.connection.take() {
            self.forget(connection.descriptor(), token);
        }
        if self.brain.pid.is_some() {
            self.brain.kill_at = Some(sys::monotonic() + TIME_TO_END);
        }
    }

    /// The brain has ended.
    pub(super) fn drop_brain(&mut self) {
        self.brain.pid = None;
        self.brain.kill_at = None;
        self.disconnect_brain();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brain_that_keeps_dying_is_started_ever_later() {
        let waits: Vec<u128> = (0..=9)
            .map(|failures| wait_before_restart(failures).as_millis())
            .collect();
        assert_eq!(waits, [0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(wait_before_restart(u32::MAX), LONGEST_WAIT);
    }
}
