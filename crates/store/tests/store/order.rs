//! Many writers and watchers at once, on a database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use springtide_store::{At, Expect, Key, Revision, Store, WriteError};
use tokio::task::JoinSet;

use crate::{body, open, put, run};

const WRITERS: u64 = 8;
const WRITES: u64 = 100;

#[test]
fn all_watchers_see_all_writes_in_one_order_and_some_may_leave() {
    let folder = tempfile::tempdir().expect("a folder");
    run(async {
        let store = open(folder.path());
        let mut watchers = JoinSet::new();
        for index in 0..6 {
            let mut watch = store.watch("pods", None, Revision::FIRST).expect("a watch");
            watchers.spawn(async move {
                // Every other watcher leaves in the middle.
                let wanted = if index % 2 == 0 { WRITERS * WRITES } else { 50 };
                let mut seen = Vec::new();
                while (seen.len() as u64) < wanted {
                    let event = watch.next().await.expect("an event");
                    seen.push((event.revision, body(&event.object)));
                }
                seen
            });
        }
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let store = store.clone();
            writers.spawn(async move {
                let mut done = Vec::new();
                for number in 0..WRITES {
                    let text = format!("{writer}.{number}");
                    let key = Key::new(
                        "pods",
                        format!("n{}", number % 3),
                        format!("p{}", number % 7),
                    );
                    let object = store.write(key.clone(), Expect::Any, put(&text)).await;
                    let object = object.expect("written");
                    // An acknowledged write is visible, or a later one is.
                    assert!(store.get(&key).expect("there").revision >= object.revision);
                    done.push((object.revision, text));
                }
                done
            });
        }
        let mut written: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
        written.sort();
        let revisions: Vec<u64> = written.iter().map(|(revision, _)| revision.get()).collect();
        let expected: Vec<u64> = (2..2 + WRITERS * WRITES).collect();
        assert_eq!(revisions, expected);
        for seen in watchers.join_all().await {
            assert_eq!(seen, written[..seen.len()]);
        }
    });
}

#[test]
fn counting_up_with_expected_revisions_loses_no_count() {
    let folder = tempfile::tempdir().expect("a folder");
    run(async {
        let store = open(folder.path());
        let key = Key::new("counters", "", "c");
        store
            .write(key.clone(), Expect::Absent, put("0"))
            .await
            .expect("made");
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let (store, key) = (store.clone(), key.clone());
            writers.spawn(async move {
                let mut counted = 0;
                let mut current = store.get(&key).expect("there");
                while counted < 20 {
                    let next = body(&current).parse::<u64>().expect("a number") + 1;
                    let expect = Expect::Revision(current.revision);
                    match store
                        .write(key.clone(), expect, put(&next.to_string()))
                        .await
                    {
                        Ok(object) => {
                            counted += 1;
                            current = object;
                        }
                        Err(WriteError::Conflict {
                            current: Some(object),
                        }) => {
                            // What a conflict shows is durable, so it is visible.
                            assert!(store.revision() >= object.revision);
                            current = object;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        writers.join_all().await;
        let count = body(&store.get(&key).expect("there"));
        assert_eq!(count, (WRITERS * 20).to_string());
    });
}

#[test]
fn whoever_sees_a_write_sees_all_earlier_ones_in_every_collection() {
    let folder = tempfile::tempdir().expect("a folder");
    run(async {
        let store = open(folder.path());
        let (first, second) = (Key::new("a", "", "x"), Key::new("b", "", "x"));
        let done = Arc::new(AtomicU64::new(0));
        let mut readers = JoinSet::new();
        for _ in 0..2 {
            let (store, done) = (store.clone(), done.clone());
            let (first, second) = (first.clone(), second.clone());
            readers.spawn_blocking(move || read_in_reverse(&store, &first, &second, &done));
        }
        for number in 0..300 {
            let text = number.to_string();
            // Queued together, so that they share commits.
            let one = store.write(first.clone(), Expect::Any, put(&text));
            let two = store.write(second.clone(), Expect::Any, put(&text));
            let (one, two) = tokio::join!(biased; one, two);
            assert!(one.expect("written").revision < two.expect("written").revision);
        }
        done.store(1, Ordering::Release);
        readers.join_all().await;
    });
}

/// The second is written after the first: who reads it first must not see it ahead.
fn read_in_reverse(store: &Store, first: &Key, second: &Key, done: &AtomicU64) {
    let number = |object: Option<_>| match object {
        Some(object) => body(Arc::as_ref(&object)).parse::<i64>().expect("a number"),
        None => -1,
    };
    while done.load(Ordering::Acquire) == 0 {
        let later = number(store.get(second));
        let earlier = number(store.get(first));
        assert!(
            earlier >= later,
            "{second} is at {later}, {first} at {earlier}"
        );

        let listing = store.list("b", None, At::Latest, None).expect("a list");
        assert!(store.revision() >= listing.revision);
        let again = store
            .list("b", None, At::Exact(listing.revision), None)
            .expect("a list");
        assert_eq!(again.objects, listing.objects);
    }
}
