//! Random sequences of everything the store can be asked, against a model that keeps
//! every write for ever and replays them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use springtide_store::{
    At, Expect, Key, ListError, Options, Revision, Store, Watch, WatchError, WriteError,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{body, delete, put};

/// One step. Numbers choose among what there is at that point.
#[derive(Clone, Debug)]
enum Step {
    Write(Vec<WriteStep>),
    List(Scope, Back, Option<(u8, u8)>),
    Watch(Scope, Back),
    Drain(usize),
    Compact(Back),
    Reopen,
}

#[derive(Clone, Debug)]
struct WriteStep {
    key: (u8, u8, u8),
    expect: ExpectStep,
    delete: bool,
}

#[derive(Clone, Copy, Debug)]
enum ExpectStep {
    Absent,
    Current,
    Back(Back),
    Any,
}

#[derive(Clone, Copy, Debug)]
struct Scope {
    collection: u8,
    namespace: Option<u8>,
}

/// How far a revision is behind the newest; negative: ahead.
type Back = i8;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let back = || prop_oneof![3 => -1i8..8, 1 => 8i8..60];
    let expect = prop_oneof![
        2 => Just(ExpectStep::Absent),
        3 => Just(ExpectStep::Current),
        1 => back().prop_map(ExpectStep::Back),
        3 => Just(ExpectStep::Any),
    ];
    let key = (0u8..2, 0u8..3, 0u8..3);
    let write =
        (key, expect, prop::bool::weighted(0.25)).prop_map(|(key, expect, delete)| WriteStep {
            key,
            expect,
            delete,
        });
    let scope = (0u8..3, prop::option::of(0u8..3)).prop_map(|(collection, namespace)| Scope {
        collection,
        namespace,
    });
    let step = prop_oneof![
        10 => prop::collection::vec(write, 1..5).prop_map(Step::Write),
        4 => (scope.clone(), back(), prop::option::of((0u8..3, 0u8..3)))
            .prop_map(|(scope, back, after)| Step::List(scope, back, after)),
        3 => (scope, back()).prop_map(|(scope, back)| Step::Watch(scope, back)),
        4 => (0usize..100).prop_map(Step::Drain),
        1 => back().prop_map(Step::Compact),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

fn namespace_name(number: u8) -> String {
    // The first is that of objects which live in none.
    ["", "a", "ab"][usize::from(number)].to_owned()
}

fn object_name(number: u8) -> String {
    format!("o{number}")
}

fn key_of((collection, namespace, name): (u8, u8, u8)) -> Key {
    let collection = format!("c{collection}");
    Key::new(collection, namespace_name(namespace), object_name(name))
}

impl Scope {
    fn collection(self) -> String {
        format!("c{}", self.collection)
    }

    fn namespace(self) -> Option<String> {
        self.namespace.map(namespace_name)
    }

    fn has(self, key: &Key) -> bool {
        *key.collection == *self.collection()
            && self
                .namespace()
                .is_none_or(|namespace| *key.namespace == *namespace)
    }
}

/// A write as the model keeps it; the body is none for a deletion.
#[derive(Clone, Debug)]
struct Logged {
    revision: u64,
    key: Key,
    body: Option<String>,
}

type State = BTreeMap<Key, (u64, String)>;

#[derive(Debug, Default)]
struct Model {
    log: Vec<Logged>,
    /// Everything after this revision must be known.
    compacted: u64,
}

impl Model {
    fn new() -> Model {
        Model {
            log: Vec::new(),
            compacted: 1,
        }
    }

    fn newest(&self) -> u64 {
        self.log.last().map_or(1, |last| last.revision)
    }

    fn back(&self, back: Back) -> Revision {
        let number = self.newest().saturating_add_signed(-i64::from(back));
        Revision::new(number).unwrap_or(Revision::FIRST)
    }

    fn state_at(&self, revision: u64) -> State {
        let mut state = State::new();
        for logged in self.log.iter().filter(|logged| logged.revision <= revision) {
            match &logged.body {
                Some(body) => {
                    state.insert(logged.key.clone(), (logged.revision, body.clone()));
                }
                None => {
                    state.remove(&logged.key);
                }
            }
        }
        state
    }

    /// Does a write; returns its revision, or with a conflict what is there.
    fn write(
        &mut self,
        key: &Key,
        expect: Expect,
        body: Option<String>,
    ) -> Result<u64, Option<(u64, String)>> {
        let current = self.state_at(u64::MAX).get(key).cloned();
        let there = current.as_ref().map(|(revision, _)| *revision);
        let expected = match expect {
            Expect::Absent => there.is_none(),
            Expect::Revision(revision) => there == Some(revision.get()),
            Expect::Any => true,
        };
        if !expected || (body.is_none() && there.is_none()) {
            return Err(current);
        }
        let revision = self.newest() + 1;
        self.log.push(Logged {
            revision,
            key: key.clone(),
            body,
        });
        Ok(revision)
    }
}

/// A watch, and how far it must be.
struct Watching {
    watch: Watch,
    scope: Scope,
    seen: u64,
}

/// The store under test beside its model.
struct Pair {
    store: Store,
    /// Where the database is; none in memory.
    folder: Option<TempDir>,
    options: Options,
    /// Whether the history is so small that anything but the newest may be compacted.
    forgetful: bool,
    model: Model,
    watches: Vec<Watching>,
    written: u64,
}

impl Pair {
    fn new(durable: bool, forgetful: bool) -> Pair {
        let options = if forgetful {
            Options {
                history_events: 6,
                history_bytes: 4000,
            }
        } else {
            Options::default()
        };
        let folder = durable.then(|| tempfile::tempdir().expect("a folder"));
        let store = match &folder {
            Some(folder) => Store::open(folder.path(), options.clone()).expect("opens"),
            None => Store::in_memory_with(options.clone()),
        };
        Pair {
            store,
            folder,
            options,
            forgetful,
            model: Model::new(),
            watches: Vec::new(),
            written: 0,
        }
    }

    async fn step(mut self, step: Step) -> Pair {
        match step {
            Step::Write(writes) => self.write(writes).await,
            Step::List(scope, back, after) => self.list(scope, back, after),
            Step::Watch(scope, back) => self.watch(scope, back),
            Step::Drain(_) if self.watches.is_empty() => {}
            Step::Drain(index) => self.drain(index % self.watches.len()),
            Step::Compact(back) => {
                let through = self.model.back(back);
                self.store.compact(through);
                let compacted = through.get().min(self.model.newest());
                self.model.compacted = self.model.compacted.max(compacted);
            }
            Step::Reopen => return self.reopen(),
        }
        assert_eq!(self.store.revision().get(), self.model.newest());
        self
    }

    /// Writes all at once: they are queued in this order and may share a commit.
    async fn write(&mut self, writes: Vec<WriteStep>) {
        let mut tasks = JoinSet::new();
        let mut expected = Vec::new();
        for WriteStep {
            key,
            expect,
            delete: deleted,
        } in writes
        {
            let key = key_of(key);
            let expect = match expect {
                ExpectStep::Absent => Expect::Absent,
                ExpectStep::Any => Expect::Any,
                ExpectStep::Back(back) => Expect::Revision(self.model.back(back)),
                ExpectStep::Current => {
                    let current = self.model.state_at(u64::MAX).get(&key).map(|found| found.0);
                    let current = current.and_then(Revision::new);
                    current.map_or(Expect::Absent, Expect::Revision)
                }
            };
            self.written += 1;
            let text = format!("w{}", self.written);
            let change = if deleted { delete(&text) } else { put(&text) };
            let index = expected.len();
            expected.push(self.model.write(&key, expect, (!deleted).then_some(text)));
            let store = self.store.clone();
            tasks.spawn(async move { (index, store.write(key, expect, change).await) });
        }
        while let Some(done) = tasks.join_next().await {
            let (index, result) = done.expect("no panic");
            let found = match result {
                Ok(object) => Ok(object.revision.get()),
                Err(WriteError::Conflict { current }) => {
                    Err(current.map(|object| (object.revision.get(), body(&object))))
                }
                Err(error) => panic!("{error}"),
            };
            assert_eq!(found, expected[index]);
        }
    }

    fn list(&self, scope: Scope, back: Back, after: Option<(u8, u8)>) {
        let at = self.model.back(back);
        let after = after.map(|(namespace, name)| (namespace_name(namespace), object_name(name)));
        let borrowed = after
            .as_ref()
            .map(|(namespace, name)| (&**namespace, &**name));
        let (collection, namespace) = (scope.collection(), scope.namespace());
        let listed = self
            .store
            .list(&collection, namespace.as_deref(), At::Exact(at), borrowed);
        let found: State = match listed {
            Ok(listing) => {
                assert_eq!(listing.revision, at);
                let objects = listing.objects.iter();
                assert!(objects.clone().is_sorted_by(|a, b| a.key < b.key));
                objects
                    .map(|object| (object.key.clone(), (object.revision.get(), body(object))))
                    .collect()
            }
            Err(ListError::Future { .. }) => {
                assert!(at.get() > self.model.newest());
                return;
            }
            Err(ListError::Compacted { .. }) => {
                self.may_be_compacted(at);
                return;
            }
        };
        self.must_be_known(at);
        let mut expected = self.model.state_at(at.get());
        expected.retain(|key, _| {
            let place = (key.namespace.to_string(), key.name.to_string());
            scope.has(key) && after.as_ref().is_none_or(|after| *after < place)
        });
        assert_eq!(found, expected);
        if at.get() == self.model.newest() {
            let latest = self
                .store
                .list(&collection, namespace.as_deref(), At::Latest, borrowed);
            assert_eq!(latest.expect("a list").objects.len(), expected.len());
        }
    }

    fn watch(&mut self, scope: Scope, back: Back) {
        let after = self.model.back(back);
        let (collection, namespace) = (scope.collection(), scope.namespace());
        match self.store.watch(&collection, namespace.as_deref(), after) {
            Ok(watch) => {
                self.must_be_known(after);
                self.watches.push(Watching {
                    watch,
                    scope,
                    seen: after.get(),
                });
            }
            Err(WatchError::Future { .. }) => assert!(after.get() > self.model.newest()),
            Err(WatchError::Compacted { .. }) => self.may_be_compacted(after),
            Err(error) => panic!("{error}"),
        }
    }

    fn drain(&mut self, index: usize) {
        let Watching { watch, scope, seen } = &mut self.watches[index];
        let unseen = |logged: &&Logged| logged.revision > *seen && scope.has(&logged.key);
        let expected: Vec<Logged> = self.model.log.iter().filter(unseen).cloned().collect();
        let mut progress = watch.progress();
        let mut found = Vec::new();
        let cut_off = loop {
            match watch.try_next() {
                Ok(Some(event)) => {
                    assert!(event.revision > progress);
                    found.push(event);
                    assert!(watch.progress() >= progress);
                    progress = watch.progress();
                }
                Ok(None) => break false,
                Err(WatchError::Lagged { .. }) => break true,
                Err(error) => panic!("{error}"),
            }
        };
        if cut_off {
            // Nothing is skipped: it is cut off before the first event, or not at all.
            assert!(found.is_empty());
            assert!(self.forgetful || *seen < self.model.compacted);
            self.watches.swap_remove(index);
            return;
        }
        assert_eq!(found.len(), expected.len());
        for (event, logged) in found.iter().zip(&expected) {
            assert_eq!(event.revision.get(), logged.revision);
            assert_eq!(event.object.key, logged.key);
            assert_eq!(event.object.revision, event.revision);
            assert_eq!(event.deleted, logged.body.is_none());
            if let Some(text) = &logged.body {
                assert_eq!(body(&event.object), *text);
            }
            let before = self.model.state_at(logged.revision - 1).remove(&logged.key);
            let previous = event.previous.as_ref();
            assert_eq!(
                previous.map(|previous| (previous.revision.get(), body(previous))),
                before
            );
        }
        *seen = self.model.newest();
        assert_eq!(watch.progress().get(), *seen);
    }

    fn reopen(mut self) -> Pair {
        let Some(folder) = &self.folder else {
            return self;
        };
        drop(self.store);
        for Watching { mut watch, .. } in self.watches.drain(..) {
            let end = loop {
                match watch.try_next() {
                    Ok(event) => assert!(event.is_some()),
                    Err(error) => break error,
                }
            };
            assert!(matches!(
                end,
                WatchError::Closed | WatchError::Lagged { .. }
            ));
        }
        self.store = Store::open(folder.path(), self.options.clone()).expect("opens again");
        self.model.compacted = self.model.newest();
        assert_eq!(self.store.revision().get(), self.model.newest());
        for (key, (revision, text)) in self.model.state_at(u64::MAX) {
            let object = self.store.get(&key).expect("kept");
            assert_eq!((object.revision.get(), body(&object)), (revision, text));
        }
        self
    }

    fn may_be_compacted(&self, revision: Revision) {
        assert!(revision.get() < self.model.newest());
        assert!(self.forgetful || revision.get() < self.model.compacted);
    }

    fn must_be_known(&self, revision: Revision) {
        assert!(revision.get() >= self.model.compacted);
        assert!(revision.get() <= self.model.newest());
    }
}

fn agree(steps: Vec<Step>, durable: bool, forgetful: bool) {
    // One thread: writes are queued in the order in which they are spawned.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut pair = Pair::new(durable, forgetful);
        for step in steps {
            pair = pair.step(step).await;
        }
        pair.reopen();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_store_in_memory_agrees_with_the_model(steps in steps(), forgetful: bool) {
        agree(steps, false, forgetful);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_store_on_a_disk_agrees_with_the_model(steps in steps(), forgetful: bool) {
        agree(steps, true, forgetful);
    }
}
