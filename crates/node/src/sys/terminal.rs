//! Terminals of containers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;

use super::mount::open_at;
use super::socket::check;

/// Opens a new terminal of the file system that is at `/dev/pts` for the caller: the side that
/// controls it, and the side that programs use.
pub(crate) fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = libc::O_RDWR | libc::O_NOCTTY;
    let control = open_at(None, Path::new("/dev/pts/ptmx"), flags, 0)?;
    let unlocked: libc::c_int = 0;
    // SAFETY: the kernel reads one int, which outlives the call.
    check(i64::from(unsafe {
        libc::ioctl(control.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked)
    }))?;
    // SAFETY: takes flags by value; the descriptor it returns is new and owned by nobody else.
    let used = unsafe {
        let number = check(i64::from(libc::ioctl(
            control.as_raw_fd(),
            libc::TIOCGPTPEER,
            flags | libc::O_CLOEXEC,
        )))?;
        OwnedFd::from_raw_fd(number as i32)
    };
    Ok((control, used))
}

/// Makes a terminal the controlling one of the calling process, which leads a session without.
pub(crate) fn control_by(terminal: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(i64::from(unsafe {
        libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0)
    }))?;
    Ok(())
}

/// Sets a terminal's size in characters; its programs get SIGWINCH.
pub(crate) fn resize_terminal(control: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the kernel reads one winsize, which outlives the call.
    check(i64::from(unsafe {
        libc::ioctl(control.as_raw_fd(), libc::TIOCSWINSZ, &raw const size)
    }))?;
    Ok(())
}
