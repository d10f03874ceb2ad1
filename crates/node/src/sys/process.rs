//! Making, joining, signalling and reaping processes.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::socket::check;

/// A process id, as the calling process sees it.
pub(crate) type Pid = i32;

pub(crate) const NEW_USER: i32 = libc::CLONE_NEWUSER;
pub(crate) const NEW_MOUNT: i32 = libc::CLONE_NEWNS;
pub(crate) const NEW_NETWORK: i32 = libc::CLONE_NEWNET;
pub(crate) const NEW_PID: i32 = libc::CLONE_NEWPID;
pub(crate) const NEW_IPC: i32 = libc::CLONE_NEWIPC;
pub(crate) const NEW_UTS: i32 = libc::CLONE_NEWUTS;
/// The new process becomes a child of the caller's parent.
pub(crate) const SIBLING: i32 = libc::CLONE_PARENT;

/// Whether [`spawn`] made this process: such a one never starts a thread. It may be where `/proc`
/// does not show it.
static IS_SPAWNED: AtomicBool = AtomicBool::new(false);

/// How many threads this process has.
fn threads() -> io::Result<u64> {
    if IS_SPAWNED.load(Ordering::Relaxed) {
        return Ok(1);
    }
    // /proc/self/task has a subfolder for each, and a link for each of those and two of its own.
    let links = std::os::unix::fs::MetadataExt::nlink(&std::fs::metadata("/proc/self/task")?);
    Ok(links.saturating_sub(2))
}

/// Starts a process that runs `child` and exits with what it returns; in new namespaces as `flags`
/// say. Tells its id.
///
/// # Errors
/// Also when this process has more than one thread: a copy of one thread of many finds the others'
/// locks locked for ever.
pub(crate) fn spawn(flags: i32, child: impl FnOnce() -> i32) -> io::Result<Pid> {
    if threads()? != 1 {
        return Err(io::Error::other("a process with threads must not fork"));
    }
    // SAFETY: like fork: no stack, so both go on with copies of the caller's memory; no shared
    // memory flag is ever passed. The process has one thread (checked above), so every lock is in
    // the state this very code left it in.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone,
            i64::from(flags | libc::SIGCHLD),
            ptr::null::<u8>(),
            ptr::null::<u8>(),
            ptr::null::<u8>(),
            0_u64,
        )
    })?;
    if pid != 0 {
        return Ok(pid as Pid);
    }
    IS_SPAWNED.store(true, Ordering::Relaxed);
    // A child must never run on into its parent's code, not even by a panic.
    let code = catch_unwind(AssertUnwindSafe(child)).unwrap_or(125);
    exit_now(code)
}

/// Ends the process at once, without the clean-up that belongs to its parent.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: takes no pointers and does not return.
    unsafe { libc::_exit(code) }
}

/// Enters a namespace.
pub(crate) fn enter_namespace(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(i64::from(unsafe { libc::setns(namespace.as_raw_fd(), 0) }))?;
    Ok(())
}

/// Enters new namespaces.
pub(crate) fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: takes no pointers; no flag that would unshare memory or descriptors is passed.
    check(i64::from(unsafe { libc::unshare(flags) }))?;
    Ok(())
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(i32),
    Killed(i32),
}

impl Ended {
    /// As a shell counts: 128 + signal for a process that was killed.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => 128 + signal,
        }
    }

    pub(crate) fn signal(self) -> Option<i32> {
        match self {
            Self::Exited(_) => None,
            Self::Killed(signal) => Some(signal),
        }
    }
}

/// Reaps one child that has ended, or waits for one when `wait`. `None` when none has.
pub(crate) fn reap(child: Option<Pid>, wait: bool) -> io::Result<Option<(Pid, Ended)>> {
    let flags = if wait { 0 } else { libc::WNOHANG };
    loop {
        let mut status = 0;
        // SAFETY: `status` is valid for writing during the call.
        let pid = unsafe { libc::waitpid(child.unwrap_or(-1), &raw mut status, flags) };
        if pid > 0 {
            let ended = if libc::WIFSIGNALED(status) {
                Ended::Killed(libc::WTERMSIG(status))
            } else {
                Ended::Exited(libc::WEXITSTATUS(status))
            };
            return Ok(Some((pid, ended)));
        }
        if pid == 0 {
            return Ok(None);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECHILD) => return Ok(None),
            _ => return Err(error),
        }
    }
}

/// Sends a signal to one process. One that is gone is no error.
pub(crate) fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    assert!(pid > 0, "a signal goes to one process");
    // SAFETY: takes no pointers.
    match check(i64::from(unsafe { libc::kill(pid, signal) })) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Sends a signal to a process group that this process started. One that is gone is no error.
pub(crate) fn kill_group(leader: Pid, signal: i32) -> io::Result<()> {
    assert!(leader > 1, "a signal goes to a group of its own");
    // SAFETY: takes no pointers.
    match check(i64::from(unsafe { libc::kill(-leader, signal) })) {
        Err(error) if error.raw_os_error() != Some(libc::ESRCH) => Err(error),
        _ => Ok(()),
    }
}

/// Starts a session of its own.
pub(crate) fn setsid() -> io::Result<()> {
    // SAFETY: takes no pointers.
    check(i64::from(unsafe { libc::setsid() }))?;
    Ok(())
}

/// Orphans below this process become its children.
pub(crate) fn become_subreaper() -> io::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// Has the kernel kill this process when its parent ends. A change of credentials undoes it.
pub(crate) fn die_with_parent() -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64)
}

/// Hides this process' memory and descriptors from those with the same user id.
pub(crate) fn hide_from_tracers() -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0)
}

pub(super) fn prctl(option: i32, argument: u64) -> io::Result<()> {
    // SAFETY: none of the options used takes a pointer.
    check(i64::from(unsafe {
        libc::prctl(option, argument, 0_u64, 0_u64, 0_u64)
    }))?;
    Ok(())
}

/// Names the process as `ps` shows it.
pub(crate) fn set_name(name: &CStr) {
    // SAFETY: the kernel reads at most 16 bytes of a terminated string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Closes every descriptor above stderr but those in `keep`.
pub(crate) fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<u32> = keep
        .iter()
        .map(|fd| *fd as u32)
        .filter(|fd| *fd > 2)
        .collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if first < fd {
            close_range(first, fd - 1, 0);
        }
        first = fd + 1;
    }
    close_range(first, u32::MAX, 0);
}

/// Marks every descriptor above stderr to be closed when a program is executed.
pub(crate) fn close_rest_on_exec() {
    close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
}

fn close_range(first: u32, last: u32, flags: u32) {
    // SAFETY: takes no pointers. Whoever closes others' descriptors is a process just forked that
    // uses none of them any more.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
}

/// Makes descriptor `to` the same as `from`; inherited over exec.
pub(crate) fn redirect(from: BorrowedFd<'_>, to: RawFd) -> io::Result<()> {
    // SAFETY: takes no pointers; `to` is one of 0, 1, 2 or the brain's socket, which only the
    // callers, forked children before exec, use.
    check(i64::from(unsafe { libc::dup2(from.as_raw_fd(), to) }))?;
    if from.as_raw_fd() == to {
        // SAFETY: takes no pointers.
        check(i64::from(unsafe { libc::fcntl(to, libc::F_SETFD, 0) }))?;
    }
    Ok(())
}

/// Takes over a descriptor that another program, which this process was, left open for this one.
/// To be called once for each, before anything else is opened that could have its number.
pub(crate) fn adopt(descriptor: RawFd) -> io::Result<OwnedFd> {
    keep_over_exec(&[descriptor], false)?;
    // SAFETY: it is open (the call above would have failed), and by what the callers keep to,
    // nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Sets whether descriptors stay open when a program is executed.
pub(crate) fn keep_over_exec(descriptors: &[RawFd], keep: bool) -> io::Result<()> {
    let flags = if keep { 0 } else { libc::FD_CLOEXEC };
    for descriptor in descriptors {
        // SAFETY: takes no pointers.
        check(i64::from(unsafe {
            libc::fcntl(*descriptor, libc::F_SETFD, flags)
        }))?;
    }
    Ok(())
}

/// A file that is only in memory.
pub(crate) fn memory_file(name: &CStr) -> io::Result<File> {
    // SAFETY: the name is a terminated string; the descriptor is new and owned by nobody else.
    unsafe {
        let fd = check(i64::from(libc::memfd_create(
            name.as_ptr(),
            libc::MFD_CLOEXEC,
        )))?;
        Ok(File::from_raw_fd(fd as RawFd))
    }
}

/// Executes a program. Returns only when it cannot.
pub(crate) fn execute(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let list = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings
            .iter()
            .map(|s| s.as_ptr())
            .chain([ptr::null()])
            .collect()
    };
    let (argv, env) = (list(argv), list(env));
    // SAFETY: both lists end with a null and point to terminated strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// The signals' default actions, and none blocked: what a program expects to start with.
pub(crate) fn reset_signals() {
    // SAFETY: SIG_DFL is always valid; the set is initialised by sigemptyset before its use.
    unsafe {
        for signal in 1..=64 {
            if signal != libc::SIGKILL && signal != libc::SIGSTOP {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Blocks the given signals, so that a descriptor or [`wait_signal`] tells of them instead.
pub(crate) fn block_signals(signals: &[i32]) -> io::Result<()> {
    let set = signal_set(signals);
    // SAFETY: `set` is initialised and outlives the call.
    check(i64::from(unsafe {
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut())
    }))?;
    Ok(())
}

pub(super) fn signal_set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: all zeroes is a valid sigset_t to hand to sigemptyset, which initialises it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

/// Waits for one of the given, blocked, signals.
pub(crate) fn wait_signal(signals: &[i32]) {
    let set = signal_set(signals);
    // SAFETY: `set` is initialised; no information about the signal is asked for.
    unsafe { libc::sigwaitinfo(&raw const set, ptr::null_mut()) };
}

/// Raises or lowers the limit on open files to at most `most`, as far as the hard limit allows.
pub(crate) fn limit_open_files(most: u64) -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for writing during the call.
    check(i64::from(unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit)
    }))?;
    limit.rlim_max = limit.rlim_max.min(most);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is initialised and outlives the call.
    check(i64::from(unsafe {
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    }))?;
    Ok(())
}

/// No core dumps.
pub(crate) fn limit_core_dumps() -> io::Result<()> {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `none` is initialised and outlives the call.
    check(i64::from(unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none)
    }))?;
    Ok(())
}

/// The mask new files' permissions are cut by.
pub(crate) fn set_umask(mask: u32) {
    // SAFETY: takes no pointers.
    unsafe { libc::umask(mask) };
}

/// The process' clock ticks a second, for the times in `/proc`.
pub(crate) fn clock_ticks() -> u64 {
    // SAFETY: takes no pointers.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks)
        .ok()
        .filter(|ticks| *ticks > 0)
        .unwrap_or(100)
}
