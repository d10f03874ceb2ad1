//! Mounts, by descriptor.

use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use super::socket::check;

/// Attributes of a mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attributes(u64);

impl Attributes {
    pub(crate) const READ_ONLY: Self = Self(libc::MOUNT_ATTR_RDONLY);
    pub(crate) const NO_SETUID: Self = Self(libc::MOUNT_ATTR_NOSUID);
    pub(crate) const NO_DEVICES: Self = Self(libc::MOUNT_ATTR_NODEV);
    pub(crate) const NO_EXEC: Self = Self(libc::MOUNT_ATTR_NOEXEC);

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

fn path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn owned(fd: i64) -> OwnedFd {
    // SAFETY: only called with descriptors a system call has just made, owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// Where a path starts: a descriptor, or the working folder.
pub(crate) type At<'a> = Option<BorrowedFd<'a>>;

fn raw(at: At<'_>) -> i64 {
    i64::from(at.map_or(libc::AT_FDCWD, |fd| fd.as_raw_fd()))
}

/// A copy of the mounts at and below a path, attached nowhere. An empty path is the descriptor.
pub(crate) fn clone_tree(at: At<'_>, name: &Path) -> io::Result<OwnedFd> {
    let name = path(name)?;
    let flags = libc::OPEN_TREE_CLONE
        | libc::OPEN_TREE_CLOEXEC
        | (libc::AT_RECURSIVE | libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW) as u32;
    // SAFETY: the path is a terminated string that outlives the call.
    check(unsafe { libc::syscall(libc::SYS_open_tree, raw(at), name.as_ptr(), flags) }).map(owned)
}

/// Attaches a mount at a path; an empty path is the descriptor.
pub(crate) fn attach(tree: BorrowedFd<'_>, at: At<'_>, name: &Path) -> io::Result<()> {
    let name = path(name)?;
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are terminated strings that outlive the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            i64::from(tree.as_raw_fd()),
            c"".as_ptr(),
            raw(at),
            name.as_ptr(),
            flags,
        )
    })?;
    Ok(())
}

/// Adds attributes to a mount and, when `recursive`, to those below it.
pub(crate) fn restrict(
    mount: BorrowedFd<'_>,
    attributes: Attributes,
    recursive: bool,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: attributes.0,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure outlives the call and its true size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            i64::from(mount.as_raw_fd()),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of_val(&attributes),
        )
    })?;
    Ok(())
}

/// A new file system, attached nowhere.
pub(crate) fn new_file_system(
    kind: &CStr,
    options: &[(&CStr, &CStr)],
    attributes: Attributes,
) -> io::Result<OwnedFd> {
    const SET_STRING: u32 = 1;
    const CREATE: u32 = 6;
    // SAFETY: every string is terminated and outlives its call.
    unsafe {
        let context = owned(check(libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 1))?);
        for (key, value) in options {
            check(libc::syscall(
                libc::SYS_fsconfig,
                context.as_raw_fd(),
                SET_STRING,
                key.as_ptr(),
                value.as_ptr(),
                0,
            ))?;
        }
        check(libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            CREATE,
            ptr::null::<u8>(),
            ptr::null::<u8>(),
            0,
        ))?;
        let attributes = attributes.0 as u32;
        check(libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            1,
            attributes,
        ))
        .map(owned)
    }
}

/// Nothing that is mounted in this namespace is seen in another, nor the other way round.
pub(crate) fn make_mounts_private() -> io::Result<()> {
    propagation(libc::MS_PRIVATE)
}

/// What others mount outside is seen here, but not the other way round.
pub(crate) fn make_mounts_slave() -> io::Result<()> {
    propagation(libc::MS_SLAVE)
}

fn propagation(kind: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the path is terminated; the other pointers may be null for this kind of call.
    check(i64::from(unsafe {
        libc::mount(
            ptr::null(),
            c"/".as_ptr(),
            ptr::null(),
            libc::MS_REC | kind,
            ptr::null(),
        )
    }))?;
    Ok(())
}

/// Makes a mount the root of this process' mount namespace, and lets the old root go.
pub(crate) fn pivot_root(new_root: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the paths are terminated strings.
    unsafe {
        check(i64::from(libc::fchdir(new_root.as_raw_fd())))?;
        // The old root is stacked on the new one, and taken off again.
        check(libc::syscall(
            libc::SYS_pivot_root,
            c".".as_ptr(),
            c".".as_ptr(),
        ))?;
        check(i64::from(libc::umount2(c".".as_ptr(), libc::MNT_DETACH)))?;
        check(i64::from(libc::chdir(c"/".as_ptr())))?;
    }
    Ok(())
}

/// How far a path may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Follow {
    /// Links are followed as if the descriptor were the root folder.
    InRoot,
    /// No link is followed, nor anything above the descriptor.
    Nothing,
}

/// Names a file or folder (O_PATH) below a descriptor.
pub(crate) fn find(at: BorrowedFd<'_>, name: &Path, follow: Follow) -> io::Result<OwnedFd> {
    let name = path(name)?;
    let resolve = match follow {
        Follow::InRoot => libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS,
        Follow::Nothing => libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS,
    };
    // SAFETY: all zeroes is a valid open_how.
    let mut how: libc::open_how = unsafe { mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = resolve;
    // SAFETY: path and structure outlive the call; the structure's true size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            i64::from(at.as_raw_fd()),
            name.as_ptr(),
            &raw const how,
            size_of_val(&how),
        )
    })
    .map(owned)
}

/// Opens a file below a descriptor without following a link in its last part.
pub(crate) fn open_at(at: At<'_>, name: &Path, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let name = path(name)?;
    let flags = flags | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: the path is a terminated string that outlives the call.
    check(unsafe { libc::syscall(libc::SYS_openat, raw(at), name.as_ptr(), flags, mode) })
        .map(owned)
}

/// Makes a folder below a descriptor.
pub(crate) fn make_folder(at: BorrowedFd<'_>, name: &Path, mode: u32) -> io::Result<()> {
    let name = path(name)?;
    // SAFETY: the path is a terminated string that outlives the call.
    check(i64::from(unsafe {
        libc::mkdirat(at.as_raw_fd(), name.as_ptr(), mode)
    }))?;
    Ok(())
}

/// Makes a symbolic link below a descriptor.
pub(crate) fn make_link(target: &Path, at: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
    let (target, name) = (path(target)?, path(name)?);
    // SAFETY: both are terminated strings that outlive the call.
    check(i64::from(unsafe {
        libc::symlinkat(target.as_ptr(), at.as_raw_fd(), name.as_ptr())
    }))?;
    Ok(())
}
