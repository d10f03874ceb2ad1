//! Runs scenarios: the test's, the keeper's and the brain's part of it.

use std::ffi::OsString;
use std::fs;
use std::future::Future;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use springtide_node::keeper::{self, Client, Config};

use crate::node::Node;
use crate::{escapes, scenarios};

/// A scenario, as the brain runs it.
pub(crate) type Run = fn(Node) -> Pin<Box<dyn Future<Output = ()>>>;

/// What the test does while keeper and brain run; tells how the keeper ended.
pub(crate) type Watch = fn(Child, &Path) -> ExitStatus;

/// One thing to be shown.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: Run,
    pub(crate) watch: Watch,
}

/// The longest any scenario may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Makes a [`Scenario`] of an async function of the same name.
#[macro_export]
macro_rules! scenario {
    ($name:ident) => {
        $crate::scenario!($name, $crate::runner::just_wait)
    };
    ($name:ident, $watch:expr) => {
        $crate::runner::Scenario {
            name: stringify!($name),
            run: |node| Box::pin($name(node)),
            watch: $watch,
        }
    };
}

fn all() -> Vec<Scenario> {
    let mut all = scenarios::all();
    all.extend(escapes::all());
    all
}

const NOBODY: u32 = 65_534;

pub(crate) fn run_all(arguments: &[&str]) -> ExitCode {
    let filters: Vec<&&str> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let users: &[Option<u32>] = if is_root {
        &[None, Some(NOBODY)]
    } else {
        &[None]
    };
    let mut failed = Vec::new();
    for user in users {
        let who = match (user, is_root) {
            (Some(_), _) => "nobody",
            (None, true) => "root",
            (None, false) => "an ordinary user",
        };
        for scenario in all() {
            let name = format!("{} as {who}", scenario.name);
            if !filters.is_empty() && !filters.iter().any(|filter| name.contains(**filter)) {
                continue;
            }
            let (passed, output) = run_one(&scenario, *user);
            println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
            if !passed || arguments.contains(&"--nocapture") {
                println!("{output}");
            }
            if !passed {
                failed.push(name);
            }
        }
    }
    println!("{} failed {failed:?}", failed.len());
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The way this test is started again: a copy that any user may execute.
fn run_one(scenario: &Scenario, user: Option<u32>) -> (bool, String) {
    let folder = tempfile::Builder::new()
        .prefix("springtide-node-")
        .tempdir()
        .unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("tide");
    let own = std::env::current_exe().unwrap();
    fs::copy(own, &program).unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    let said = fs::File::create(folder.path().join("output")).unwrap();
    let mut command = Command::new(&program);
    command
        .args([
            OsString::from("keeper"),
            scenario.name.into(),
            data.clone().into(),
        ])
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said)
        .env("RUST_BACKTRACE", "0")
        .current_dir("/");
    if let Some(user) = user {
        chown(&data, Some(user), Some(user)).unwrap();
        command.uid(user).gid(user);
    }
    let keeper = command.spawn().unwrap();
    let pid = keeper.id();
    let ended = (scenario.watch)(keeper, &data);
    let left = cgroups_of(pid);
    let passed = ended.success() && left.is_empty();
    let output = fs::read_to_string(folder.path().join("output")).unwrap_or_default();
    (passed, format!("{output}{ended}\ncgroups left: {left:?}"))
}

/// The cgroups a keeper left behind.
fn cgroups_of(keeper: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    let prefix = format!("springtide-{keeper}-");
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                found.push(entry.path());
            } else {
                folders.push(entry.path());
            }
        }
    }
    found
}

/// Waits for the keeper's end, and kills it when that takes too long.
pub(crate) fn just_wait(mut keeper: Child, _: &Path) -> ExitStatus {
    wait_until(|| keeper.try_wait().unwrap()).unwrap_or_else(|| {
        println!("the scenario takes too long");
        keeper.kill().unwrap();
        keeper.wait().unwrap()
    })
}

/// Asks until there is an answer, or time is up.
pub(crate) fn wait_until<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let step = Duration::from_millis(5);
    for _ in 0..LIMIT.as_millis() / step.as_millis() {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        // A wait that no message ends.
        let _ = never.recv_timeout(step);
    }
    None
}

pub(crate) fn be_keeper(scenario: &str, folder: &str) -> ExitCode {
    let config = Config {
        brain: vec!["brain".into(), scenario.into(), folder.into()],
        service_range: (Ipv4Addr::new(10, 96, 0, 0), 16),
        mesh_address: Ipv4Addr::new(10, 244, 0, 1),
        hidden: vec![folder.into()],
    };
    keeper::main(config).unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

pub(crate) fn be_brain(scenario: &str, folder: &str) -> ExitCode {
    let scenario = all()
        .into_iter()
        .find(|known| known.name == scenario)
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = PathBuf::from(folder);
    let outcome = std::panic::catch_unwind(|| {
        runtime.block_on(async {
            let (client, events) = Client::connect().await.unwrap();
            let run = (scenario.run)(Node::new(client, events, folder));
            tokio::time::timeout(LIMIT, run)
                .await
                .expect("the scenario ends in time");
        });
    });
    ExitCode::from(if outcome.is_ok() {
        0
    } else {
        keeper::BRAIN_GIVES_UP
    })
}
