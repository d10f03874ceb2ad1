//! `tide up` as the root user or as an ordinary one, in a folder of its own, stopped on drop.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::process::{Outcome, Process, Running, descendants, run};
use super::wait::{Deadline, PATIENCE, look_again};

/// The user that nobody is on every Linux.
const NOBODY: u32 = 65534;

/// Who runs the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Who runs the tests.
    Myself,
    /// The ordinary user `nobody`; only root can become that.
    Nobody,
}

impl User {
    /// False, with a printed line, where the tests cannot become this user.
    pub fn is_possible(self) -> bool {
        // This process's folder belongs to who it runs as.
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        let possible = self == Self::Myself || is_root;
        if !possible {
            super::skip("only root can run a test as nobody as well");
        }
        possible
    }
}

/// A user's folder: home, temporary files, and the platform's data. Clones are the same folder.
#[derive(Clone, Debug)]
pub struct Home {
    user: User,
    folder: Arc<TempDir>,
    /// Where nobody's copy of the program is.
    copy: Option<Arc<TempDir>>,
}

impl Home {
    /// A fresh one.
    pub fn new(user: User) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("springtide-e2e-")
            .tempdir()
            .expect("a temporary folder");
        let home = Self {
            user,
            folder: Arc::new(folder),
            copy: (user == User::Nobody).then(program_for_everyone),
        };
        for path in [home.path().to_owned(), home.path().join("tmp")] {
            fs::create_dir_all(&path).expect("the home can be made");
            home.give(&path);
        }
        home
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The platform's data folder.
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.data().join("kubeconfig")
    }

    /// Makes the user of this home the owner.
    pub fn give(&self, path: &Path) {
        if self.user == User::Nobody {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("root can give files away");
        }
    }

    /// A `tide` command of this user.
    pub fn tide(&self, arguments: &[&str]) -> Command {
        self.wrapped(&[], arguments)
    }

    /// A `tide` command of this user, started by `wrapper`.
    pub fn wrapped(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        let mut line: Vec<OsString> = Vec::new();
        if self.user == User::Nobody {
            line.extend(
                [
                    "setpriv",
                    "--reuid=65534",
                    "--regid=65534",
                    "--clear-groups",
                ]
                .map(OsString::from),
            );
        }
        line.extend(wrapper.iter().map(OsString::from));
        let program = match &self.copy {
            Some(folder) => folder.path().join("tide"),
            None => program(),
        };
        line.push(program.into());
        let mut command = Command::new(&line[0]);
        command
            .args(&line[1..])
            .args(arguments)
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("TMPDIR", self.path().join("tmp"))
            .env("XDG_DATA_HOME", self.path().join("xdg-data"))
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("XDG_STATE_HOME")
            .env_remove("KUBECONFIG");
        command
    }

    /// Starts the platform on this home's data folder and a free port.
    ///
    /// # Panics
    /// When it is not ready within a minute.
    #[track_caller]
    pub fn up(&self, options: &[&str]) -> Tide {
        self.try_up(options)
            .unwrap_or_else(|outcome| panic!("tide up ended: {outcome:#?}"))
    }

    /// Starts the platform; the error is how it ended instead of becoming ready.
    ///
    /// # Panics
    /// When it is neither ready nor ended within a minute.
    #[track_caller]
    pub fn try_up(&self, options: &[&str]) -> Result<Tide, Outcome> {
        let data = self.data();
        let mut arguments = vec!["up", "--data-dir", data.to_str().expect("a plain path")];
        if !options.contains(&"--api-listen") {
            arguments.extend(["--api-listen", "127.0.0.1:0"]);
        }
        arguments.extend(options);
        // A killed test run takes the platform with it.
        let tied = ["setpriv", "--pdeathsig", "TERM"];
        Tide::start(self.clone(), self.wrapped(&tied, &arguments))
    }

    /// Runs a `tide` command of this user on this home's data folder.
    #[track_caller]
    pub fn command(&self, arguments: &[&str]) -> Outcome {
        let data = self.data();
        let folder = ["--data-dir", data.to_str().expect("a plain path")];
        run(self.tide(&[arguments, &folder].concat()), PATIENCE)
    }
}

/// A running platform.
pub struct Tide {
    home: Home,
    keeper: Option<Running>,
    /// What `ready in N ms` said.
    pub ready: Duration,
    /// What `export KUBECONFIG=…` said.
    pub kubeconfig: PathBuf,
}

impl Tide {
    fn start(home: Home, command: Command) -> Result<Self, Outcome> {
        let mut keeper = Running::start(command);
        let deadline = Deadline::within(PATIENCE);
        loop {
            let out = keeper.out();
            if let Some((ready, kubeconfig)) = announced(&out) {
                return Ok(Self {
                    home,
                    keeper: Some(keeper),
                    ready,
                    kubeconfig,
                });
            }
            if keeper.has_ended() {
                return Err(keeper.wait(PATIENCE));
            }
            assert!(
                deadline.left().is_some(),
                "not ready within {PATIENCE:?}\nstdout: {out}\nstderr: {}",
                keeper.err()
            );
            look_again();
        }
    }

    /// Where it lives.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The keeper's process.
    pub fn pid(&self) -> i32 {
        self.keeper().pid()
    }

    /// Where the API listens, as in `https://127.0.0.1:6443`.
    pub fn server(&self) -> String {
        let text = fs::read_to_string(&self.kubeconfig).expect("the kubeconfig is there");
        let server = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("server:"));
        server
            .expect("the kubeconfig names a server")
            .trim()
            .trim_matches('"')
            .to_owned()
    }

    /// The brain's process.
    pub fn brain(&self) -> Option<Process> {
        descendants(self.pid()).into_iter().find(is_brain)
    }

    /// The processes of the pods: all below the keeper but the brain.
    pub fn pod_processes(&self) -> Vec<Process> {
        descendants(self.pid())
            .into_iter()
            .filter(|process| !is_brain(process))
            .collect()
    }

    /// What it wrote on standard error so far.
    pub fn said(&self) -> String {
        self.keeper().err()
    }

    /// True while it runs.
    pub fn is_alive(&mut self) -> bool {
        self.keeper
            .as_mut()
            .is_some_and(|keeper| !keeper.has_ended())
    }

    /// Stops it with this signal, and tells how it ended.
    ///
    /// # Panics
    /// When it does not end within a minute.
    #[track_caller]
    pub fn stop_by(mut self, signal: Signal) -> Outcome {
        let keeper = self.keeper.take().expect("it runs");
        keeper.signal(signal);
        keeper.wait(PATIENCE)
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// When it does not within a minute.
    #[track_caller]
    pub fn wait(mut self) -> Outcome {
        self.keeper.take().expect("it runs").wait(PATIENCE)
    }

    fn keeper(&self) -> &Running {
        self.keeper.as_ref().expect("it runs until it is stopped")
    }
}

impl Drop for Tide {
    fn drop(&mut self) {
        let Some(mut keeper) = self.keeper.take() else {
            return;
        };
        if std::thread::panicking() {
            eprintln!("tide up said:\n{}{}", keeper.out(), keeper.err());
        }
        keeper.signal(Signal::SIGTERM);
        if keeper.ended_within(PATIENCE).is_none() {
            eprintln!("tide up did not stop and is killed");
        }
    }
}

fn is_brain(process: &Process) -> bool {
    process.command.split(' ').nth(1) == Some("brain")
}

/// What `tide up` prints when it is ready.
fn announced(out: &str) -> Option<(Duration, PathBuf)> {
    let ready = out.lines().find_map(|line| {
        line.strip_prefix("ready in ")?
            .strip_suffix(" ms")?
            .parse()
            .ok()
    })?;
    let kubeconfig = out
        .lines()
        .find_map(|line| line.trim().strip_prefix("export KUBECONFIG="))?;
    Some((
        Duration::from_millis(ready),
        PathBuf::from(kubeconfig.trim_matches(['\'', '"'])),
    ))
}

/// The program under test.
pub fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_tide"))
}

/// A copy of the program that everyone can run: nobody cannot look into root's folders. All who need
/// one at the same time share it; it goes with the last of them.
fn program_for_everyone() -> Arc<TempDir> {
    static COPY: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut copy = COPY.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folder) = copy.upgrade() {
        return folder;
    }
    let folder = tempfile::Builder::new()
        .prefix("springtide-program-")
        .tempdir()
        .expect("a temporary folder");
    let copied = folder.path().join("tide");
    fs::copy(program(), &copied).expect("the program can be copied");
    for path in [folder.path(), &copied] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .expect("it can be made readable");
    }
    let folder = Arc::new(folder);
    *copy = Arc::downgrade(&folder);
    folder
}

/// A port of the range that node ports come from, free just now, and not given to another test of
/// this process.
///
/// # Panics
/// When all are taken.
pub fn free_node_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at the same time begin at different places.
    let offset = u16::try_from(std::process::id() * 37 % 2000).expect("below 2000");
    let candidates =
        std::iter::repeat_with(|| 30_100 + (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % 2600);
    candidates
        .take(2600)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free node port")
}
