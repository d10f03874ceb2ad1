//! From the keeper to a container's command.
//!
//! The keeper forks a joiner, which enters the container's cgroup and the pod's namespaces and
//! clones the container's process as the keeper's child; that one makes its root, gives up what it
//! must not have, and executes the command. What goes wrong is written to the report, a pipe that
//! closes when the command is executed.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{self, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::capabilities::Capabilities;
use super::ids::PodIds;
use super::init::Namespaces;
use super::root::{self, RootPlan, sentence};
use crate::cgroups::Group;
use crate::keeper::{KeeperError, User};
use crate::sys::{self, Pid};

/// One line of a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The process, as the keeper sees it.
    Pid(Pid),
    /// It will not be.
    Failed(KeeperError),
}

/// Where in its pod a process shall be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// In a new container: its own mounts, and a root made as planned.
    New(&'a RootPlan<'a>),
    /// In an existing container, whose mount namespace this is.
    Existing(BorrowedFd<'a>),
}

/// What shall run, where and as whom.
#[derive(Debug)]
pub(crate) struct Process<'a> {
    /// The pod's.
    pub(crate) namespaces: &'a Namespaces,
    pub(crate) place: Place<'a>,
    pub(crate) group: &'a Group,
    pub(crate) ids: PodIds,
    pub(crate) user: &'a User,
    pub(crate) capabilities: Capabilities,
    pub(crate) argv: &'a [String],
    pub(crate) env: &'a [(String, String)],
    pub(crate) working_dir: Option<&'a Path>,
    pub(crate) oom_score_adj: i32,
    pub(crate) stdio: Stdio<'a>,
}

/// What a process reads and writes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stdio<'a> {
    /// What it is given; without a stdin it reads /dev/null.
    Given {
        stdin: Option<BorrowedFd<'a>>,
        stdout: BorrowedFd<'a>,
        stderr: BorrowedFd<'a>,
    },
    /// A terminal of its own in the container, whose controlling side is sent over this socket.
    Terminal(BorrowedFd<'a>),
}

/// Where commands are looked for when the environment does not say.
const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/springtide/bin";

/// Starts the joiner. Tells nothing: the report does.
pub(crate) fn start(process: &Process<'_>, report: &PipeWriter) -> io::Result<()> {
    sys::spawn(0, || {
        tell(report, join(process, report));
        0
    })
    .map(drop)
}

/// Reports a failure; a success needs no words.
fn tell(mut report: &PipeWriter, result: Result<(), KeeperError>) {
    if let Err(error) = result {
        write_report(&mut report, &Report::Failed(error));
    }
}

fn write_report(mut report: impl Write, line: &Report) {
    if let Ok(mut text) = serde_json::to_vec(line) {
        text.push(b'\n');
        // A keeper that is gone kills this process anyway.
        let _ = report.write_all(&text);
    }
}

fn create(what: &str) -> impl Fn(io::Error) -> KeeperError + '_ {
    move |error| KeeperError::Create(format!("cannot {what}: {}", sentence(&error)))
}

/// In the joiner.
fn join(process: &Process<'_>, report: &PipeWriter) -> Result<(), KeeperError> {
    process
        .group
        .join()
        .map_err(create("enter the container's cgroup"))?;
    // Lowering it needs root; a container that is killed sooner than others is no reason to fail.
    let _ = fs::write(
        "/proc/self/oom_score_adj",
        process.oom_score_adj.to_string(),
    );
    let (mounts, flags) = match process.place {
        Place::New(_) => (
            process.namespaces.mounts.as_fd(),
            sys::SIBLING | sys::NEW_MOUNT,
        ),
        Place::Existing(mounts) => (mounts, sys::SIBLING),
    };
    for namespace in process
        .namespaces
        .shared
        .iter()
        .map(AsFd::as_fd)
        .chain([mounts])
    {
        sys::enter_namespace(namespace).map_err(create("enter the pod's namespaces"))?;
    }
    let ids = &process.ids;
    sys::become_user(ids.inside.0, ids.inside.1, ids.has_groups().then_some(&[]))
        .map_err(create("become the pod's user"))?;
    let pid = sys::spawn(flags, || {
        tell(report, become_container(process, report.as_raw_fd()));
        // What runtimes answer when the command could not be executed.
        128
    })
    .map_err(create("start the container's process"))?;
    write_report(report, &Report::Pid(pid));
    Ok(())
}

/// In the container's process. Does not return when all goes well.
fn become_container(process: &Process<'_>, report: RawFd) -> Result<(), KeeperError> {
    let ids = &process.ids;
    check_ids(ids, process.user)?;
    // Not visible to what already runs in the pod, until it is what it shall be.
    sys::hide_from_tracers().map_err(create("hide the new process"))?;
    sys::setsid().map_err(create("start a session"))?;
    sys::leave_keys();
    if let Stdio::Given { stdout, stderr, .. } = process.stdio {
        sys::redirect(stdout, 1).map_err(create("redirect stdout"))?;
        sys::redirect(stderr, 2).map_err(create("redirect stderr"))?;
    }
    if let Place::New(plan) = process.place {
        sys::set_umask(0);
        root::enter(plan).map_err(KeeperError::Create)?;
    }
    if let Stdio::Given {
        stdin: Some(stdin), ..
    } = process.stdio
    {
        sys::redirect(stdin, 0).map_err(create("redirect stdin"))?;
    } else {
        // The container's own.
        let null = fs::File::open("/dev/null").map_err(create("open /dev/null"))?;
        sys::redirect(null.as_fd(), 0).map_err(create("redirect stdin"))?;
    }
    sys::set_umask(0o022);
    sys::limit_open_files(1 << 20).map_err(create("limit open files"))?;
    sys::limit_core_dumps().map_err(create("limit core dumps"))?;
    sys::bound_capabilities(process.capabilities.bits()).map_err(create("drop capabilities"))?;
    let user = process.user;
    let groups = ids.has_groups().then_some(user.groups.as_slice());
    sys::become_user(user.uid, user.gid, groups).map_err(create("become the container's user"))?;
    let own = if user.uid == 0 {
        process.capabilities.bits()
    } else {
        0
    };
    sys::set_capabilities(own).map_err(create("set capabilities"))?;
    sys::set_no_new_privileges().map_err(create("give up privileges"))?;
    if let Stdio::Terminal(socket) = process.stdio {
        // Only now, so that it belongs to the container's user.
        use_terminal(socket).map_err(create("open a terminal"))?;
    }
    sys::die_with_parent().map_err(create("be tied to the keeper"))?;
    sys::reset_signals();
    sys::close_rest_on_exec();
    debug_assert!(report > 2, "the report is no standard stream");
    enter_working_dir(process.working_dir)?;
    execute(process.argv, process.env)
}

/// Makes a terminal, sends its controlling side over `socket`, and uses the other.
fn use_terminal(socket: BorrowedFd<'_>) -> io::Result<()> {
    let (control, used) = sys::open_terminal()?;
    sys::send_with_descriptors(socket, &[0], &[control.as_fd()])?;
    sys::control_by(used.as_fd())?;
    for standard in 0..=2 {
        sys::redirect(used.as_fd(), standard)?;
    }
    Ok(())
}

fn check_ids(ids: &PodIds, user: &User) -> Result<(), KeeperError> {
    if ids.has_user(user.uid) && ids.has_group(user.gid) {
        return Ok(());
    }
    let (uid, gid) = (user.uid, user.gid);
    Err(KeeperError::Create(if ids.count == 1 {
        format!(
            "the container wants to run as {uid}:{gid}, but this node can give a pod only one \
             user, {}:{}: install uidmap and give your user ids in /etc/subuid and /etc/subgid, \
             or run as root",
            ids.inside.0, ids.inside.1
        )
    } else {
        format!(
            "the container wants to run as {uid}:{gid}, but ids end at {}",
            ids.count - 1
        )
    }))
}

fn enter_working_dir(folder: Option<&Path>) -> Result<(), KeeperError> {
    let folder = folder.unwrap_or(Path::new("/"));
    std::env::set_current_dir(folder).map_err(|error| KeeperError::Start {
        message: format!(
            "chdir to cwd ({:?}) set in config.json failed: {}",
            folder.display().to_string(),
            sentence(&error)
        ),
        code: 128,
    })
}

/// Returns only with the reason why the command cannot be executed.
fn execute(argv: &[String], env: &[(String, String)]) -> Result<(), KeeperError> {
    let failed = |message: String| KeeperError::Start { message, code: 128 };
    let Some(command) = argv.first().filter(|command| !command.is_empty()) else {
        return Err(failed("no command specified".to_owned()));
    };
    let path = env
        .iter()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value.as_str());
    let program = find_program(command, path.unwrap_or(DEFAULT_PATH)).map_err(failed)?;
    let text = |text: &OsStr| {
        CString::new(text.as_bytes())
            .map_err(|_| failed(format!("exec: {command:?}: a text holds a NUL byte")))
    };
    let program = text(program.as_os_str())?;
    let argv = argv
        .iter()
        .map(|a| text(OsStr::new(a)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut variables = env
        .iter()
        .map(|(name, value)| text(OsStr::new(&format!("{name}={value}"))))
        .collect::<Result<Vec<_>, _>>()?;
    if path.is_none() {
        variables.push(text(OsStr::new(&format!("PATH={DEFAULT_PATH}")))?);
    }
    let error = sys::execute(&program, &argv, &variables);
    Err(failed(format!(
        "exec: {command:?}: {}",
        exec_sentence(&error)
    )))
}

fn exec_sentence(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOEXEC) => "exec format error".to_owned(),
        _ => sentence(error),
    }
}

/// Finds a command as Kubernetes' runtimes do, in their words.
fn find_program(command: &str, path: &str) -> Result<PathBuf, String> {
    if command.contains('/') {
        let program = Path::new(command);
        return match fs::metadata(program) {
            Ok(found) if found.is_dir() => Err(format!("exec: {command:?}: is a directory")),
            Ok(found) if found.permissions().mode() & 0o111 == 0 => {
                Err(format!("exec: {command:?}: permission denied"))
            }
            Ok(_) => Ok(program.to_owned()),
            Err(error) => Err(format!(
                "exec: {command:?}: stat {command}: {}",
                sentence(&error)
            )),
        };
    }
    path.split(':')
        .map(|folder| {
            if folder.is_empty() {
                Path::new(".")
            } else {
                Path::new(folder)
            }
        })
        .map(|folder| folder.join(command))
        .find(|program| {
            fs::metadata(program)
                .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
        .ok_or_else(|| format!("exec: {command:?}: executable file not found in $PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_looked_for_in_the_path_given() {
        assert_eq!(
            find_program("sh", "/nowhere:/bin").unwrap(),
            Path::new("/bin/sh")
        );
        assert_eq!(
            find_program("no-such-thing", "/bin").unwrap_err(),
            "exec: \"no-such-thing\": executable file not found in $PATH"
        );
        assert_eq!(
            find_program("/no/such", "/bin").unwrap_err(),
            "exec: \"/no/such\": stat /no/such: no such file or directory"
        );
        assert_eq!(
            find_program("/etc/passwd", "/bin").unwrap_err(),
            "exec: \"/etc/passwd\": permission denied"
        );
    }
}
