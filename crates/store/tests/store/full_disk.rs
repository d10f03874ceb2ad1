//! Writes while there is no space, and after.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use springtide_store::{Expect, Key, Revision, Store, WriteError};
use tokio::task::JoinSet;

use crate::{body, delete, open, put, run, victim, victim_folder};

/// What victims say at their end: nothing else counts as success.
const PASSED: &str = "the victim is content";

fn config_map(name: &str) -> Key {
    Key::new("configmaps", "n", name)
}

type Written = BTreeMap<String, Revision>;

/// Writes several at a time until one fails; notes those that were acknowledged.
async fn write_until_it_fails(store: &Store, written: &mut Written) -> WriteError {
    for round in 0..10_000 {
        let mut writes = JoinSet::new();
        for writer in 0..4 {
            let (store, name) = (store.clone(), format!("{}-{round}-{writer}", written.len()));
            writes.spawn(async move {
                let change = put(&format!("{name} {}", "x".repeat(20_000)));
                let result = store.write(config_map(&name), Expect::Absent, change).await;
                (name, result)
            });
        }
        let mut failure = None;
        for (name, result) in writes.join_all().await {
            match result {
                Ok(object) => drop(written.insert(name, object.revision)),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(failure) = failure {
            return failure;
        }
    }
    panic!("there was space for everything");
}

/// All that was acknowledged is there, and nothing else.
fn check(store: &Store, written: &Written) {
    let listing = store.list("configmaps", None, springtide_store::At::Latest, None);
    let found: Written = listing
        .expect("a list")
        .objects
        .iter()
        .map(|object| {
            let text = body(object);
            let (name, filling) = text.split_once(' ').expect("two parts");
            assert_eq!((name, filling.len()), (&*object.key.name, 20_000));
            (name.to_owned(), object.revision)
        })
        .collect();
    assert!(
        found == *written,
        "{} found, {} written",
        found.len(),
        written.len()
    );
    let newest = written.values().max().expect("something was written");
    assert!(store.revision() >= *newest);
}

/// Fills, makes space, goes on, and opens again.
async fn fill_and_go_on(folder: &Path, make_space: impl FnOnce()) -> WriteError {
    let store = open(folder);
    let mut watch = store
        .watch("configmaps", None, Revision::FIRST)
        .expect("a watch");
    let mut written = Written::new();
    let failure = write_until_it_fails(&store, &mut written).await;
    check(&store, &written);
    let visible = store.revision();

    make_space();
    let one = written
        .keys()
        .next()
        .expect("something was written")
        .clone();
    store
        .write(config_map(&one), Expect::Any, delete("gone"))
        .await
        .expect("deleted");
    written.remove(&one);
    let change = put(&format!("last {}", "y".repeat(20_000)));
    let last = store
        .write(config_map("last"), Expect::Absent, change)
        .await
        .expect("written");
    written.insert("last".to_owned(), last.revision);
    assert_eq!(last.revision.get(), visible.get() + 2);
    check(&store, &written);
    for number in 2..=last.revision.get() {
        assert_eq!(watch.next().await.expect("an event").revision.get(), number);
    }
    drop(store);
    check(&open(folder), &written);
    failure
}

#[test]
#[ignore = "run by the test below, in a small file system"]
fn fills_its_file_system() {
    let Some(folder) = victim_folder() else {
        return;
    };
    let ballast = folder.join("ballast");
    fs::write(&ballast, vec![1; 5 << 20]).expect("there is space at first");
    run(async {
        let make_space = || fs::remove_file(&ballast).expect("removed");
        let failure = fill_and_go_on(&folder.join("data"), make_space).await;
        assert!(matches!(failure, WriteError::Full { .. }), "{failure}");
        assert!(
            failure.to_string().starts_with("no space left"),
            "{failure}"
        );
    });
    println!("{PASSED}");
}

#[test]
#[ignore = "run by the test below, with a limit on the size of files"]
fn fills_its_largest_file() {
    let Some(folder) = victim_folder() else {
        return;
    };
    let unlimited = getrlimit(Resource::Fsize);
    let limited = Rlimit {
        current: Some(1 << 20),
        maximum: unlimited.maximum,
    };
    setrlimit(Resource::Fsize, limited).expect("limited");
    run(async {
        let make_space = || setrlimit(Resource::Fsize, unlimited).expect("unlimited");
        let failure = fill_and_go_on(&folder.join("data"), make_space).await;
        assert!(matches!(failure, WriteError::Storage { .. }), "{failure}");
        assert!(
            failure
                .to_string()
                .starts_with("the write could not be stored"),
            "{failure}"
        );
    });
    println!("{PASSED}");
}

/// Runs a victim from a shell, after `preparation`.
fn run_prepared(shell: &[&str], preparation: &str, test: &str, folder: &Path) -> Output {
    let victim = victim(test, folder);
    let mut command = Command::new(shell[0]);
    command
        .args(&shell[1..])
        .args(["-c", &format!("{preparation} && exec \"$0\" \"$@\"")])
        .arg(victim.get_program())
        .args(victim.get_args());
    for (name, value) in victim.get_envs() {
        command.env(name, value.expect("set"));
    }
    command.output().expect("the shell runs")
}

fn expect_content(output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(PASSED), "{said}\n{complained}");
}

#[test]
fn a_full_disk_refuses_writes_loses_none_and_takes_more_once_there_is_space() {
    let folder = tempfile::tempdir().expect("a folder");
    let shell = ["unshare", "--user", "--map-root-user", "--mount", "sh"];
    let possible = Command::new(shell[0])
        .args(&shell[1..4])
        .arg("true")
        .output();
    if !possible.is_ok_and(|output| output.status.success()) {
        println!("skipped: this system gives no user namespaces to mount a small disk in");
        return;
    }
    let mount = format!(
        "mount -t tmpfs -o size=16m tmpfs '{}'",
        folder.path().display()
    );
    let test = "full_disk::fills_its_file_system";
    expect_content(&run_prepared(&shell, &mount, test, folder.path()));
}

#[test]
fn a_write_the_system_refuses_is_refused_and_later_ones_work() {
    let folder = tempfile::tempdir().expect("a folder");
    // Ignored, the signal becomes an error of the write itself.
    let preparation = "trap '' XFSZ";
    let test = "full_disk::fills_its_largest_file";
    expect_content(&run_prepared(&["sh"], preparation, test, folder.path()));
}
