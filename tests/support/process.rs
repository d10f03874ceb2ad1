//! Running programs with a bound, and looking at the machine's processes.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::wait::{Deadline, look_again};

/// How a program ended, and what it said.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was run, for messages.
    pub command: String,
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Outcome {
    /// The standard output of a success.
    ///
    /// # Panics
    /// With all it said when it failed.
    #[track_caller]
    pub fn expect_success(self) -> String {
        assert_eq!(self.status, Some(0), "{self:#?}");
        self.out
    }

    /// Checks that it failed with this status and said all of this, on either stream.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn expect_failure(self, status: i32, said: &[&str]) {
        assert_eq!(self.status, Some(status), "{self:#?}");
        self.expect_said(said);
    }

    /// Checks that it said all of this, on either stream, however wide the gaps are.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn expect_said(&self, said: &[&str]) {
        for text in said {
            assert!(self.has_said(text), "not said: {text:?} in {self:#?}");
        }
    }

    /// True if it said this, on either stream, however wide the gaps are.
    pub fn has_said(&self, text: &str) -> bool {
        contains(&self.out, text) || contains(&self.err, text)
    }
}

/// True if `text` holds `part` when every gap between words of a line counts as one blank: the width
/// of a column depends on what else is in it.
pub fn contains(text: &str, part: &str) -> bool {
    narrowed(text).contains(&narrowed(part))
}

fn narrowed(text: &str) -> String {
    let mut narrow = String::with_capacity(text.len());
    for letter in text.chars() {
        let is_gap = matches!(letter, ' ' | '\t');
        if !is_gap {
            narrow.push(letter);
        } else if !narrow.ends_with(' ') {
            narrow.push(' ');
        }
    }
    narrow
}

/// A program that runs, in a process group of its own, with its output read as it comes.
/// Dropping it ends the whole group.
pub struct Running {
    command: String,
    child: Child,
    out: Captured,
    err: Captured,
}

struct Captured {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Captured {
    fn from(mut stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(count @ 1..) = stream.read(&mut chunk) {
                shared
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(&chunk[..count]);
            }
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    fn so_far(&self) -> String {
        let bytes = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn all(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.so_far()
    }
}

impl Running {
    /// Starts a program.
    ///
    /// # Panics
    /// When there is no such program.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let text = format!("{command:?}");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {text}: {error}"));
        let out = Captured::from(child.stdout.take().expect("stdout is piped"));
        let err = Captured::from(child.stderr.take().expect("stderr is piped"));
        Self {
            command: text,
            child,
            out,
            err,
        }
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.child
            .id()
            .try_into()
            .expect("a process id is positive")
    }

    /// What it wrote on standard output so far.
    pub fn out(&self) -> String {
        self.out.so_far()
    }

    /// What it wrote on standard error so far.
    pub fn err(&self) -> String {
        self.err.so_far()
    }

    /// Sends a signal to the process (not to its group).
    pub fn signal(&self, signal: Signal) {
        // One that has ended and was not waited for still takes signals, so this cannot miss.
        let _ = kill(Pid::from_raw(self.pid()), signal);
    }

    /// True when it has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Waits for it to end.
    ///
    /// # Panics
    /// When it has not within `bound`.
    #[track_caller]
    pub fn wait(mut self, bound: Duration) -> Outcome {
        match self.ended_within(bound) {
            Some(status) => self.outcome(status.code()),
            None => panic!(
                "not ended within {bound:?}: {}\nstdout: {}\nstderr: {}",
                self.command,
                self.out(),
                self.err()
            ),
        }
    }

    /// Ends it, whatever it does, and tells what it said.
    pub fn end(mut self) -> Outcome {
        self.end_group();
        self.outcome(None)
    }

    /// Its exit status, if it ends within `bound`.
    pub fn ended_within(&mut self, bound: Duration) -> Option<ExitStatus> {
        let deadline = Deadline::within(bound);
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            deadline.left()?;
            look_again();
        }
    }

    fn outcome(&mut self, status: Option<i32>) -> Outcome {
        // What it left behind in its group would hold the pipes open.
        self.end_group();
        Outcome {
            command: self.command.clone(),
            status,
            out: self.out.all(),
            err: self.err.all(),
        }
    }

    fn end_group(&mut self) {
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end_group();
    }
}

/// Runs a program to its end.
///
/// # Panics
/// When it does not end within `bound`.
#[track_caller]
pub fn run(command: Command, bound: Duration) -> Outcome {
    Running::start(command).wait(bound)
}

/// One process of the machine. Two with the same number are told apart by their start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub start: u64,
    /// Its arguments, joined by blanks; a kernel's name for it where it has none.
    pub command: String,
}

/// All processes below `root` that live, in order.
pub fn descendants(root: i32) -> Vec<Process> {
    let mut all: Vec<(i32, Process)> = fs::read_dir("/proc")
        .expect("there is /proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(process)
        .collect();
    all.sort();
    let mut parents = vec![root];
    let mut found = Vec::new();
    while let Some(parent) = parents.pop() {
        for (_, process) in all.iter().filter(|(of, _)| *of == parent) {
            parents.push(process.pid);
            found.push(process.clone());
        }
    }
    found.sort();
    found
}

/// True while this very process lives.
pub fn is_alive(process: &Process) -> bool {
    self::process(process.pid).is_some_and(|(_, now)| now.start == process.start)
}

/// The sum of the resident memory of these processes, each page once where it is shared, in bytes.
pub fn resident_bytes(pids: impl IntoIterator<Item = i32>) -> u64 {
    pids.into_iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("Pss:").map(str::to_owned))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum::<u64>()
        * 1024
}

/// A living process and its parent's number.
fn process(pid: i32) -> Option<(i32, Process)> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    let (before, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut command = String::from_utf8_lossy(&arguments)
        .replace('\0', " ")
        .trim()
        .to_owned();
    if command.is_empty() {
        command = before
            .split_once('(')
            .map(|(_, name)| name.to_owned())
            .unwrap_or_default();
    }
    Some((
        fields.get(1)?.parse().ok()?,
        Process {
            pid,
            start: fields.get(19)?.parse().ok()?,
            command,
        },
    ))
}
