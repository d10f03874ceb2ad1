//! The store from outside: its rules, a model, concurrency, and everything that can
//! happen to its files.

mod behaviour;
mod crash;
mod folder;
mod full_disk;
mod model;
mod order;

use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use springtide_store::{Change, Draft, Object, Options, Pairs, Store};

/// Far longer than any step takes: only a hang reaches it.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a future on a runtime of its own.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let limited = tokio::time::timeout(LIMIT, future);
        limited.await.expect("the test ends within its limit")
    })
}

fn open(folder: &Path) -> Store {
    Store::open(folder, Options::default()).expect("the store opens")
}

/// A draft whose object reads `REVISION BODY`.
fn draft(body: &str) -> Draft {
    Draft::new("", format!(" {body}"), Pairs::default(), Pairs::default())
}

fn put(body: &str) -> Change {
    Change::Put(draft(body))
}

fn delete(body: &str) -> Change {
    Change::Delete(draft(body))
}

/// The body of an object made by [`draft`], whose revision is checked.
fn body(object: &Object) -> String {
    let text = std::str::from_utf8(&object.bytes).expect("text");
    let (revision, body) = text.split_once(' ').expect("a revision and a body");
    assert_eq!(revision, object.revision.to_string());
    body.to_owned()
}

/// This test program, to run one of its ignored tests as a process of its own.
fn victim(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--ignored", "--exact", "--nocapture", test])
        .env(VICTIM_FOLDER, folder);
    command
}

/// Names the data folder to a victim.
const VICTIM_FOLDER: &str = "SPRINGTIDE_TEST_FOLDER";

/// The data folder, in a victim; none where the test was started by hand.
fn victim_folder() -> Option<std::path::PathBuf> {
    std::env::var_os(VICTIM_FOLDER).map(Into::into)
}
