//! A running platform seen through a real kubectl.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::platform::{Tide, program};
use super::process::{Outcome, Running, contains, run};
use super::wait::{COMMAND, Deadline, PATIENCE, look_again, until};

/// A kubectl program.
#[derive(Clone, Debug)]
pub struct Kubectl(PathBuf);

impl Kubectl {
    /// The newest there is: `SPRINGTIDE_KUBECTL`, or the one on the PATH. Says so where there is none.
    pub fn newest() -> Option<Self> {
        Self::named("SPRINGTIDE_KUBECTL")
            .or_else(Self::on_path)
            .or_else(|| {
                super::skip("no kubectl: name one with SPRINGTIDE_KUBECTL");
                None
            })
    }

    /// An old one: `SPRINGTIDE_KUBECTL_OLD`. Says so where there is none.
    pub fn old() -> Option<Self> {
        Self::named("SPRINGTIDE_KUBECTL_OLD").or_else(|| {
            super::skip("no kubectl 1.32: name one with SPRINGTIDE_KUBECTL_OLD");
            None
        })
    }

    fn named(variable: &str) -> Option<Self> {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .filter(|path| path.is_file())
            .map(Self)
    }

    /// A command of this kubectl with another program's kubeconfig.
    pub fn command(&self, kubeconfig: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command.args(arguments).env("KUBECONFIG", kubeconfig);
        command
    }

    fn on_path() -> Option<Self> {
        std::env::split_paths(&std::env::var_os("PATH")?)
            .map(|folder| folder.join("kubectl"))
            .find(|path| path.is_file())
            .map(Self)
    }
}

/// A platform, and a folder in which commands run that speak to it with one kubectl.
pub struct Cluster {
    /// The platform.
    pub tide: Tide,
    folder: TempDir,
}

impl Cluster {
    /// Commands run in a fresh folder that holds what `kubectl` and `tide` mean.
    pub fn new(tide: Tide, kubectl: &Kubectl) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("springtide-kubectl-")
            .tempdir()
            .expect("a temporary folder");
        let cluster = Self { tide, folder };
        fs::create_dir(cluster.programs()).expect("the folder is fresh");
        fs::create_dir(cluster.work()).expect("the folder is fresh");
        // kubectl by its real path: pip's program finds its payload beside itself.
        let program_path = fs::canonicalize(&kubectl.0).expect("kubectl is there");
        symlink(program_path, cluster.programs().join("kubectl")).expect("the folder is fresh");
        symlink(program(), cluster.programs().join("tide")).expect("the folder is fresh");
        cluster
    }

    /// Waits until the platform has ended by itself, and tells how.
    ///
    /// # Panics
    /// When it does not within a minute.
    #[track_caller]
    pub fn tide_ended(self) -> Outcome {
        self.tide.wait()
    }

    /// Stops the platform with this signal, and tells how it ended.
    ///
    /// # Panics
    /// When it does not end within a minute.
    #[track_caller]
    pub fn stop_by(self, signal: Signal) -> Outcome {
        self.tide.stop_by(signal)
    }

    /// The folder in which commands run.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Writes a file for commands to use.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.work().join(name), text).expect("the folder can be written");
    }

    /// A shell command, as a user would type it.
    pub fn command(&self, line: &str) -> Command {
        self.command_in(&self.work(), line)
    }

    /// A shell command in another folder.
    pub fn command_in(&self, folder: &Path, line: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .args(["-c", line])
            .current_dir(folder)
            .env("PATH", format!("{}:{path}", self.programs().display()))
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", &self.tide.kubeconfig)
            .env_remove("KUBE_EDITOR")
            .env_remove("EDITOR");
        command
    }

    /// Runs a shell command.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn run(&self, line: &str) -> Outcome {
        run(self.command(line), COMMAND)
    }

    /// Runs a shell command that must succeed, and returns its output.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ok(&self, line: &str) -> String {
        self.run(line).expect_success()
    }

    /// Runs a shell command that must succeed and say all of this.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn says(&self, line: &str, said: &[&str]) {
        let outcome = self.run(line);
        assert_eq!(outcome.status, Some(0), "{outcome:#?}");
        outcome.expect_said(said);
    }

    /// Runs a shell command that must fail with status 1 and say all of this.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn refuses(&self, line: &str, said: &[&str]) {
        self.run(line).expect_failure(1, said);
    }

    /// Runs a command again and again until it succeeds and says all of this.
    ///
    /// # Panics
    /// When it does not within `bound`.
    #[track_caller]
    pub fn comes_to_say_within(&self, bound: Duration, line: &str, said: &[&str]) -> String {
        until(line, bound, || {
            let outcome = self.run(line);
            let says_all = said.iter().all(|text| outcome.has_said(text));
            if outcome.status == Some(0) && says_all {
                Ok(outcome.out)
            } else {
                Err(outcome)
            }
        })
    }

    /// [`Self::comes_to_say_within`] a minute.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn comes_to_say(&self, line: &str, said: &[&str]) -> String {
        self.comes_to_say_within(PATIENCE, line, said)
    }

    /// Runs a command that does not end by itself until its output holds all of this.
    ///
    /// # Panics
    /// When it ends or does not say it within a minute.
    #[track_caller]
    pub fn watches(&self, folder: &Path, line: &str, said: &[&str]) {
        let mut running = Running::start(self.command_in(folder, line));
        let deadline = Deadline::within(PATIENCE);
        while !said.iter().all(|text| contains(&running.out(), text)) {
            let over = running.has_ended() || deadline.left().is_none();
            assert!(
                !over,
                "{line} did not come to say {said:?}\nstdout: {}\nstderr: {}",
                running.out(),
                running.err()
            );
            look_again();
        }
        running.end();
    }

    /// Starts a command beside the test.
    #[track_caller]
    pub fn start(&self, line: &str) -> Running {
        Running::start(self.command(line))
    }

    /// What `kubectl ARGUMENTS -o json` prints.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn json(&self, arguments: &str) -> Value {
        let text = self.ok(&format!("kubectl {arguments} -o json"));
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// Applies a manifest.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn apply(&self, manifest: &str) {
        self.write("manifest.yaml", manifest);
        self.ok("kubectl apply -f manifest.yaml");
    }

    fn programs(&self) -> PathBuf {
        self.folder.path().join("bin")
    }
}
