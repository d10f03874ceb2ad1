//! The rules, one by one, on a store in memory.

use std::sync::{Arc, Mutex};

use springtide_store::{
    At, Change, Draft, Expect, Key, ListError, Options, Pairs, Revision, Store, WatchError,
    WriteError,
};
use tokio::task::JoinSet;

use crate::{body, delete, draft, put, run};

fn pod(name: &str) -> Key {
    Key::new("pods", "shop", name)
}

fn revision(number: u64) -> Revision {
    Revision::new(number).expect("not zero")
}

fn small_history(events: usize) -> Store {
    Store::in_memory_with(Options {
        history_events: events,
        ..Options::default()
    })
}

#[test]
fn every_write_gets_the_next_revision_and_is_seen_at_once() {
    run(async {
        let store = Store::in_memory();
        assert_eq!(store.revision(), Revision::FIRST);
        let made = store
            .write(pod("a"), Expect::Absent, put("one"))
            .await
            .expect("made");
        assert_eq!(made.revision, revision(2));
        let kept = store.get(&pod("a")).expect("there");
        assert_eq!(&kept.bytes[..], b"2 one");
        store
            .write(pod("a"), Expect::Any, delete("last"))
            .await
            .expect("deleted");
        assert_eq!(store.get(&pod("a")), None);
        assert_eq!(store.revision(), revision(3));
    });
}

#[test]
fn a_write_whose_expectation_fails_changes_nothing_and_returns_what_is_there() {
    run(async {
        let store = Store::in_memory();
        store
            .write(pod("a"), Expect::Absent, put("one"))
            .await
            .expect("made");
        let wrong = [
            ("a", Expect::Absent, put("two"), Some("one")),
            ("a", Expect::Revision(revision(1)), put("two"), Some("one")),
            (
                "a",
                Expect::Revision(revision(3)),
                delete("two"),
                Some("one"),
            ),
            ("b", Expect::Revision(revision(2)), put("two"), None),
            ("b", Expect::Any, delete("two"), None),
            ("b", Expect::Absent, delete("two"), None),
        ];
        for (name, expect, change, there) in wrong {
            let error = store
                .write(pod(name), expect, change)
                .await
                .expect_err("conflict");
            let WriteError::Conflict { current } = error else {
                panic!("{error}");
            };
            assert_eq!(current.as_deref().map(body).as_deref(), there);
        }
        assert_eq!(store.revision(), revision(2));
    });
}

#[test]
fn labels_and_fields_are_kept_and_shared_by_equal_states() {
    run(async {
        let store = Store::in_memory();
        let labels: Pairs = [("app", "shop")].into_iter().collect();
        let fields: Pairs = [("spec.nodeName", "n1")].into_iter().collect();
        let change = || {
            // Equal, but not the same memory.
            let copy = labels.iter().cloned().collect();
            Change::Put(Draft::new("", "", copy, fields.clone()))
        };
        let one = store
            .write(pod("a"), Expect::Any, change())
            .await
            .expect("made");
        let two = store
            .write(pod("a"), Expect::Any, change())
            .await
            .expect("changed");
        assert_eq!(two.labels, labels);
        assert_eq!(two.fields.get("spec.nodeName"), Some("n1"));
        assert!(std::ptr::eq(&*one.labels, &*two.labels));
    });
}

#[test]
fn a_list_is_sorted_and_can_be_continued_at_the_revision_it_began_with() {
    run(async {
        let store = Store::in_memory();
        for (namespace, name) in [("b", "x"), ("a", "z"), ("a", "y"), ("c", "w")] {
            let key = Key::new("pods", namespace, name);
            store
                .write(key, Expect::Absent, put("old"))
                .await
                .expect("made");
        }
        let first = store.list("pods", None, At::Latest, None).expect("a list");
        let places: Vec<String> = first
            .objects
            .iter()
            .map(|object| object.key.to_string())
            .collect();
        assert_eq!(places, ["pods/a/y", "pods/a/z", "pods/b/x", "pods/c/w"]);

        store
            .write(Key::new("pods", "b", "x"), Expect::Any, put("new"))
            .await
            .expect("changed");
        store
            .write(Key::new("pods", "c", "w"), Expect::Any, delete(""))
            .await
            .expect("deleted");
        store
            .write(Key::new("pods", "d", "v"), Expect::Any, put("new"))
            .await
            .expect("made");
        let at = At::Exact(first.revision);
        let rest = store
            .list("pods", None, at, Some(("a", "z")))
            .expect("a list");
        assert_eq!(rest.revision, first.revision);
        assert_eq!(rest.objects, first.objects[2..]);
        let one = store
            .list("pods", Some("c"), at, Some(("a", "z")))
            .expect("a list");
        assert_eq!(one.objects, first.objects[3..]);
    });
}

#[test]
fn a_list_outside_the_history_says_on_which_side() {
    run(async {
        let store = small_history(2);
        for name in ["a", "b", "c", "d"] {
            store
                .write(pod(name), Expect::Absent, put(""))
                .await
                .expect("made");
        }
        let list = |number| store.list("pods", None, At::Exact(revision(number)), None);
        let (oldest, newest) = (revision(3), revision(5));
        assert_eq!(
            list(2).expect_err("too old"),
            ListError::Compacted {
                requested: revision(2),
                oldest
            }
        );
        assert_eq!(list(3).expect("kept").objects.len(), 2);
        assert_eq!(
            list(6).expect_err("too new"),
            ListError::Future {
                requested: revision(6),
                newest
            }
        );
        // A collection without writes has nothing to forget.
        assert!(
            store
                .list("nodes", None, At::Exact(revision(2)), None)
                .is_ok()
        );
    });
}

#[test]
fn a_watch_shows_what_its_namespace_saw_and_its_progress_goes_past_the_rest() {
    run(async {
        let store = Store::in_memory();
        let mut watch = store
            .watch("pods", Some("shop"), Revision::FIRST)
            .expect("a watch");
        store
            .write(Key::new("pods", "other", "a"), Expect::Any, put(""))
            .await
            .expect("made");
        assert_eq!(watch.progress(), revision(2));
        store
            .write(pod("a"), Expect::Any, put("one"))
            .await
            .expect("made");
        store
            .write(Key::new("nodes", "", "n"), Expect::Any, put(""))
            .await
            .expect("made");
        store
            .write(pod("a"), Expect::Any, delete("gone"))
            .await
            .expect("deleted");
        assert_eq!(watch.progress(), revision(2));

        let made = watch.next().await.expect("an event");
        assert_eq!((made.revision, made.deleted), (revision(3), false));
        assert_eq!(watch.progress(), revision(4));
        let gone = watch.try_next().expect("still on").expect("an event");
        assert_eq!((gone.revision, gone.deleted), (revision(5), true));
        assert_eq!(&gone.object.bytes[..], b"5 gone");
        assert_eq!(gone.previous.as_deref().map(body).as_deref(), Some("one"));
        assert!(watch.try_next().expect("still on").is_none());
        assert_eq!(watch.progress(), revision(5));
    });
}

#[test]
fn a_watch_that_falls_behind_is_cut_off_and_hinders_nobody() {
    run(async {
        let store = small_history(3);
        let mut slow = store.watch("pods", None, Revision::FIRST).expect("a watch");
        let mut quick = store.watch("pods", None, Revision::FIRST).expect("a watch");
        for number in 2..=6 {
            store
                .write(pod("a"), Expect::Any, put(""))
                .await
                .expect("written");
            assert_eq!(
                quick.next().await.expect("an event").revision,
                revision(number)
            );
        }
        let (seen, oldest) = (Revision::FIRST, revision(3));
        assert_eq!(slow.progress(), seen);
        assert_eq!(
            slow.next().await.expect_err("cut off"),
            WatchError::Lagged { seen, oldest }
        );
        let requested = revision(2);
        let again = store.watch("pods", None, requested).expect_err("too old");
        assert_eq!(again, WatchError::Compacted { requested, oldest });
        assert!(store.watch("pods", None, oldest).is_ok());
        let requested = revision(7);
        let early = store.watch("pods", None, requested).expect_err("too new");
        assert_eq!(
            early,
            WatchError::Future {
                requested,
                newest: revision(6)
            }
        );
    });
}

#[test]
fn history_is_bounded_by_bytes_where_most_of_them_are() {
    run(async {
        let store = Store::in_memory_with(Options {
            history_bytes: 100_000,
            ..Options::default()
        });
        store
            .write(Key::new("nodes", "", "n"), Expect::Any, put(""))
            .await
            .expect("made");
        let large = "x".repeat(10_000);
        for _ in 0..100 {
            store
                .write(pod("a"), Expect::Any, put(&large))
                .await
                .expect("written");
        }
        assert!(store.watch("nodes", None, Revision::FIRST).is_ok());
        let error = store
            .watch("pods", None, Revision::FIRST)
            .expect_err("too old");
        assert!(matches!(error, WatchError::Compacted { oldest, .. } if oldest > revision(90)));
    });
}

#[test]
fn waiting_for_a_revision_ends_when_it_is_visible() {
    run(async {
        let store = Store::in_memory();
        store.reached(Revision::FIRST).await;
        let waiting = tokio::spawn({
            let store = store.clone();
            async move {
                store.reached(revision(3)).await;
                store.revision()
            }
        });
        store
            .write(pod("a"), Expect::Any, put(""))
            .await
            .expect("made");
        store
            .write(pod("a"), Expect::Any, put(""))
            .await
            .expect("changed");
        assert!(waiting.await.expect("no panic") >= revision(3));
    });
}

#[test]
fn what_a_namespace_holds_is_known_until_it_is_empty() {
    run(async {
        let store = Store::in_memory();
        for collection in ["secrets", "apps/deployments", "pods"] {
            let key = Key::new(collection, "shop", "a");
            store
                .write(key, Expect::Absent, put(""))
                .await
                .expect("made");
        }
        store
            .write(Key::new("nodes", "", "n"), Expect::Absent, put(""))
            .await
            .expect("made");
        let holding = |namespace| -> Vec<String> {
            let collections = store.collections_with(namespace);
            collections.iter().map(ToString::to_string).collect()
        };
        assert_eq!(holding("shop"), ["apps/deployments", "pods", "secrets"]);
        store
            .write(pod("a"), Expect::Any, delete(""))
            .await
            .expect("deleted");
        assert_eq!(holding("shop"), ["apps/deployments", "secrets"]);
        assert_eq!(holding("elsewhere"), [""; 0]);
    });
}

#[test]
fn a_closed_store_refuses_writes_ends_watches_and_still_reads() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        for store in [Store::in_memory(), crate::open(folder.path())] {
            store
                .write(pod("a"), Expect::Any, put("one"))
                .await
                .expect("made");
            let mut behind = store.watch("pods", None, Revision::FIRST).expect("a watch");
            let mut waiting = store
                .watch("pods", None, store.revision())
                .expect("a watch");
            let waiting = tokio::spawn(async move { waiting.next().await.map(|_| ()) });
            store.close().await;
            store.close().await;
            let refused = store.write(pod("b"), Expect::Any, put("")).await;
            assert!(matches!(refused, Err(WriteError::Closed)));
            assert_eq!(waiting.await.expect("no panic"), Err(WatchError::Closed));
            assert!(
                behind.next().await.is_ok(),
                "what was written before is still shown"
            );
            assert_eq!(behind.next().await.map(|_| ()), Err(WatchError::Closed));
            assert!(store.get(&pod("a")).is_some());
        }
        // Closed means closed: the folder is free for the next.
        crate::open(folder.path());
    });
}

#[test]
fn a_write_in_memory_needs_no_runtime_and_no_second_look() {
    let store = Store::in_memory();
    let mut write =
        std::pin::pin!(store.write(pod("a"), Expect::Absent, Change::Put(draft("one"))));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(write.as_mut().poll(&mut context).is_ready());
}

#[test]
fn watchers_are_woken_in_the_order_in_which_they_began_to_wait() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = Store::in_memory();
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut watchers = JoinSet::new();
        for number in 0..50 {
            let mut watch = store.watch("pods", None, Revision::FIRST).expect("a watch");
            let woken = woken.clone();
            watchers.spawn(async move {
                watch.next().await.expect("an event");
                woken.lock().expect("no panic").push(number);
            });
        }
        tokio::task::yield_now().await;
        store
            .write(pod("a"), Expect::Any, put(""))
            .await
            .expect("made");
        watchers.join_all().await;
        let woken = woken.lock().expect("no panic");
        assert!(woken.iter().copied().eq(0..50), "{woken:?}");
    });
}
