//! Measures a store on this machine: `cargo run --release -p springtide-store --example
//! throughput [FOLDER]`. The database is made in a new folder inside FOLDER, by default
//! the current one: the disk under it is what is measured.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use springtide_store::{At, Change, Draft, Expect, Key, Options, Pairs, Revision, Store};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long each measurement runs.
const SPAN: Duration = Duration::from_secs(2);

/// How many objects are listed, and how large each is: a pod's size.
const OBJECTS: usize = 6_000;
const BYTES: usize = 3_000;

#[tokio::main]
async fn main() {
    let parent = std::env::args()
        .nth(1)
        .map_or(PathBuf::from("."), PathBuf::from);
    let folder = parent.join(format!("springtide-throughput-{}", std::process::id()));
    let store = Store::open(&folder, Options::default()).expect("the store opens");
    println!("objects of {BYTES} bytes, database in {}", folder.display());

    for writers in [1, 16, 64] {
        let rate = writes_per_second(&store, writers).await;
        println!("{writers:>3} writers     {rate:>10.0} writes/s");
    }
    for number in 0..OBJECTS {
        write(&store, pod("listed", number)).await;
    }
    measure_reads("idle writer", &store).await;
    let busy = spawn_writers(&store, 16);
    measure_reads("16 writers busy", &store).await;
    drop(busy);
    let rate = writes_while_listing(&store).await;
    println!(" 16 writers     {rate:>10.0} writes/s while two tasks list without a pause");
    let rate = writes_with_watchers(&store, 1_000).await;
    println!(" 16 writers     {rate:>10.0} writes/s seen by 1,000 watchers");

    store.close().await;
    drop(store);
    let started = Instant::now();
    let store = Store::open(&folder, Options::default()).expect("the store opens again");
    println!(
        "open again      {:>10.1} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    drop(store);
    std::fs::remove_dir_all(&folder).expect("the folder is removed");

    let memory = Store::in_memory();
    let rate = writes_per_second(&memory, 1).await;
    println!("in memory       {rate:>10.0} writes/s");
}

fn pod(namespace: &str, number: usize) -> Key {
    Key::new("pods", namespace, format!("pod-{number}"))
}

async fn write(store: &Store, key: Key) {
    let labels: Pairs = [("app", "shop"), ("pod-template-hash", "5d5f8c7b9")]
        .into_iter()
        .collect();
    let fields: Pairs = [("metadata.name", &*key.name)].into_iter().collect();
    let half = vec![b'x'; BYTES / 2];
    let change = Change::Put(Draft::new(half.clone(), half, labels, fields));
    store
        .write(key, Expect::Any, change)
        .await
        .expect("written");
}

/// Starts tasks that write until the set is dropped.
fn spawn_writers(store: &Store, writers: usize) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let store = store.clone();
        tasks.spawn(async move {
            for number in (0..500).cycle() {
                write(&store, pod(&format!("w{writer}"), number)).await;
                // A store in memory never waits by itself.
                tokio::task::yield_now().await;
            }
        });
    }
    tasks
}

async fn writes_per_second(store: &Store, writers: usize) -> f64 {
    let (before, started) = (store.revision(), Instant::now());
    let tasks = spawn_writers(store, writers);
    tokio::time::sleep(SPAN).await;
    let rate = rate(before, store.revision(), started);
    drop(tasks);
    rate
}

async fn writes_while_listing(store: &Store) -> f64 {
    let mut readers = JoinSet::new();
    for _ in 0..2 {
        let store = store.clone();
        readers.spawn(async move {
            loop {
                store.list("pods", None, At::Latest, None).expect("a list");
                tokio::task::yield_now().await;
            }
        });
    }
    writes_per_second(store, 16).await
}

async fn writes_with_watchers(store: &Store, watchers: usize) -> f64 {
    let mut tasks = JoinSet::new();
    for _ in 0..watchers {
        let mut watch = store
            .watch("pods", None, store.revision())
            .expect("a watch");
        tasks.spawn(async move { while watch.next().await.is_ok() {} });
    }
    writes_per_second(store, 16).await
}

fn rate(before: Revision, after: Revision, started: Instant) -> f64 {
    (after.get() - before.get()) as f64 / started.elapsed().as_secs_f64()
}

async fn measure_reads(title: &str, store: &Store) {
    let keys: Vec<Key> = (0..OBJECTS).map(|number| pod("listed", number)).collect();
    let gets = repeat(|round| {
        let key = &keys[round % keys.len()];
        let object = store.get(key).expect("there");
        async move { drop(object) }
    });
    println!("gets            {:>10.0} /s          {title}", gets.await);
    for name in ["latest", "exact"] {
        let lists = repeat(|_| {
            let at = match name {
                "exact" => At::Exact(store.revision()),
                _ => At::Latest,
            };
            let listing = store
                .list("pods", Some("listed"), at, None)
                .expect("a list");
            async move { drop(listing) }
        });
        let micros = 1e6 / lists.await;
        println!("list of {OBJECTS}    {micros:>10.0} µs each, {name}    {title}");
    }
}

/// Does something over and over; returns how often a second.
async fn repeat<F: Future>(mut action: impl FnMut(usize) -> F) -> f64 {
    let started = Instant::now();
    let mut rounds = 0;
    while started.elapsed() < SPAN / 2 {
        action(rounds).await;
        rounds += 1;
    }
    rounds as f64 / started.elapsed().as_secs_f64()
}
