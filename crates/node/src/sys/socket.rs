//! Sockets and the descriptors that travel over them.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;

/// Turns a system call's −1 into the error it left.
pub(super) fn check(result: i64) -> io::Result<i64> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Takes over the descriptor an environment variable names. Works once; the number is checked to
/// be a socket.
pub(crate) fn inherited_socket(variable: &str) -> io::Result<UnixStream> {
    let missing = || {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("{variable} names no socket: this process was not started by a keeper"),
        )
    };
    let fd: RawFd = std::env::var(variable)
        .ok()
        .and_then(|n| n.parse().ok())
        .ok_or_else(missing)?;
    let mut kind: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `kind` and `length` are valid for writing for the duration of the call.
    let found = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_TYPE,
            ptr::from_mut(&mut kind).cast(),
            &raw mut length,
        )
    };
    if found != 0 {
        return Err(missing());
    }
    set_cloexec(fd)?;
    // SAFETY: the keeper put this descriptor here for this process and nothing else in it uses it:
    // whoever starts a brain opens nothing before, and this is called once.
    Ok(unsafe { UnixStream::from_raw_fd(fd) })
}

fn set_cloexec(fd: RawFd) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(i64::from(unsafe {
        libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC)
    }))?;
    Ok(())
}

/// The most descriptors one message brings.
const MOST_DESCRIPTORS: usize = 8;

/// Receives some bytes and the descriptors that came with them. No bytes at the end of the stream.
pub(crate) fn receive_with_descriptors(
    socket: BorrowedFd<'_>,
) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0_u8; 64 << 10];
    // u64s, so that it is aligned as a cmsghdr must be.
    let mut control = [0_u64; 16];
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: `message` points to buffers that outlive the call, with their true lengths.
    let count = check(unsafe {
        libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) as i64
    })?;
    let mut descriptors = Vec::new();
    // SAFETY: `message` is as the kernel left it; the macros stay within msg_controllen. Each
    // descriptor the kernel put there is new and owned by nobody else.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let length = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                for index in 0..length / size_of::<RawFd>() {
                    descriptors.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
    }
    bytes.truncate(count as usize);
    Ok((bytes, descriptors))
}

/// Sends some of `bytes`, with descriptors along. Tells how many bytes went; the descriptors go
/// with the first.
pub(crate) fn send_with_descriptors(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    assert!(
        descriptors.len() <= MOST_DESCRIPTORS,
        "more descriptors than one message brings"
    );
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let size = size_of_val(raw.as_slice());
    let mut control = [0_u64; 16];
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !raw.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: CMSG_SPACE only computes; `control` has room for 8 descriptors (48 bytes of 128),
        // so the header and its data are within it.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size as u32) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size as u32) as _;
            ptr::copy_nonoverlapping(raw.as_ptr().cast(), libc::CMSG_DATA(header), size);
        }
    }
    // SAFETY: the kernel only reads, from buffers that outlive the call. MSG_NOSIGNAL: a peer that
    // is gone is an error, not a signal.
    let sent = check(unsafe {
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) as i64
    })?;
    Ok(sent as usize)
}

/// Moves the calling thread into a network namespace.
pub(crate) fn enter_network_namespace(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers; changes only which namespace this thread's new sockets are in.
    check(i64::from(unsafe {
        libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET)
    }))?;
    Ok(())
}

/// Sends all of `bytes` as one datagram.
pub(crate) fn send_all(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    let sent = send_with_descriptors(socket, bytes, &[])?;
    if sent == bytes.len() {
        Ok(())
    } else {
        Err(io::Error::other("a datagram was cut"))
    }
}

/// A netlink socket for routing, in this thread's network namespace.
pub(crate) fn netlink_socket() -> io::Result<OwnedFd> {
    socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers; the descriptor is new and owned by nobody else.
    unsafe {
        let fd = check(i64::from(libc::socket(
            family,
            kind | libc::SOCK_CLOEXEC,
            protocol,
        )))?;
        Ok(OwnedFd::from_raw_fd(fd as RawFd))
    }
}

/// As many callers may wait as the kernel allows (net.core.somaxconn): a brain that restarts must
/// refuse none.
const BACKLOG: i32 = 65_535;

/// A TCP socket that listens and does not block.
pub(crate) fn listening_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let listener = OwnedFd::from(listener);
    // SAFETY: takes no pointers. Listening again only changes the backlog.
    check(i64::from(unsafe {
        libc::listen(listener.as_raw_fd(), BACKLOG)
    }))?;
    Ok(listener)
}

/// A bound UDP socket that tells which address each datagram was sent to and does not block.
pub(crate) fn datagram_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    set_option(socket.as_raw_fd(), level, option, 1)?;
    Ok(socket.into())
}

fn set_option(fd: RawFd, level: i32, option: i32, value: libc::c_int) -> io::Result<()> {
    let size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` outlives the call and its true size is given.
    check(i64::from(unsafe {
        libc::setsockopt(fd, level, option, ptr::from_ref(&value).cast(), size)
    }))?;
    Ok(())
}

/// Ends a socket for everyone who holds it.
pub(crate) fn shut_down(socket: BorrowedFd<'_>) {
    // SAFETY: takes no pointers. A socket that is not connected cannot be shut down, nor need be.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}
