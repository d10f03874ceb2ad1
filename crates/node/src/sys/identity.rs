//! Who a process is: ids, capabilities, host name.

use std::io;

use super::process::prctl;
use super::socket::check;

/// The effective user and group id.
pub(crate) fn effective_ids() -> (u32, u32) {
    // SAFETY: neither takes pointers nor fails.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Becomes a user and group, for good; with supplementary groups when `groups` is given.
pub(crate) fn become_user(uid: u32, gid: u32, groups: Option<&[u32]>) -> io::Result<()> {
    if let Some(groups) = groups {
        // SAFETY: the list is valid for `len` ids; the raw call, since only this thread exists.
        check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })?;
    }
    // SAFETY: neither takes pointers.
    unsafe {
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
    }
    Ok(())
}

/// Sets the process' own capabilities (permitted and effective; none inheritable).
pub(crate) fn set_capabilities(bits: u64) -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION_3, 0];
    let (low, high) = (bits as u32, (bits >> 32) as u32);
    // effective, permitted, inheritable; twice
    let data: [u32; 6] = [low, low, 0, high, high, 0];
    // SAFETY: header and data have the layout of version 3 and outlive the call.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })?;
    Ok(())
}

/// Takes every capability outside `bits` out of the bounding set: no program gets them any more.
pub(crate) fn bound_capabilities(bits: u64) -> io::Result<()> {
    for number in 0..64_u64 {
        if bits & (1 << number) != 0 {
            continue;
        }
        match prctl(libc::PR_CAPBSET_DROP, number) {
            // Beyond the last capability this kernel knows.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

/// No program this process executes gains privileges.
pub(crate) fn set_no_new_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Sets the name of the UTS namespace's host.
pub(crate) fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: the pointer is valid for `len` bytes.
    check(i64::from(unsafe {
        libc::sethostname(name.as_ptr().cast(), name.len())
    }))?;
    Ok(())
}

/// Leaves the keys of whoever started this process behind. A kernel without keys has none to leave.
pub(crate) fn leave_keys() {
    const JOIN_SESSION_KEYRING: i64 = 1;
    // SAFETY: a null name asks for a new, anonymous keyring; nothing is read or written.
    unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            JOIN_SESSION_KEYRING,
            std::ptr::null::<u8>(),
        )
    };
}
