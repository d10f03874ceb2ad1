//! Kills a process that writes, hundreds of times in one data folder, and looks at what
//! it left: everything it was told is done, and nothing it never asked for.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use springtide_store::{At, Expect, Key, Revision, Store};
use tokio::task::JoinSet;

use crate::{body, delete, open, put, run, victim, victim_folder};

const CRASHES: u64 = 300;
const WRITERS: u64 = 6;
/// Each writer has keys of its own, so that the order of their writes is known.
const KEYS: u64 = 3;

/// What the victim says on its standard error, one line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// It is about to ask for this write.
    Asks(Step),
    /// It was told that its write is done, at this revision.
    Done(Step, u64),
    /// A watcher saw this write.
    Seen(Step, u64),
}

/// The `number`th write of a writer. The number decides the key and what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    writer: u64,
    number: u64,
}

impl Step {
    fn key(self) -> Key {
        let Step { writer, number } = self;
        Key::new(
            format!("c{}", writer % 2),
            format!("w{writer}"),
            format!("k{}", number % KEYS),
        )
    }

    fn deletes(self) -> bool {
        // The first write of a key makes it.
        self.number / KEYS % 5 == 4
    }

    /// Long enough, at times, to spread over several pages.
    fn text(self) -> String {
        let Step { writer, number } = self;
        let filling = usize::try_from(number * 7919 % 9000).expect("small");
        format!("{writer} {number} {}", "x".repeat(filling))
    }

    fn of(text: &str) -> Step {
        let mut parts = text.split(' ').map(str::parse);
        match (parts.next(), parts.next()) {
            (Some(Ok(writer)), Some(Ok(number))) => Step { writer, number },
            _ => panic!("not a step's text: {text:.40}"),
        }
    }
}

impl Line {
    /// Writes the line with one system call, so that it is never torn.
    fn say(self) {
        let line = match self {
            Line::Asks(Step { writer, number }) => format!("asks {writer} {number} 0\n"),
            Line::Done(Step { writer, number }, at) => format!("done {writer} {number} {at}\n"),
            Line::Seen(Step { writer, number }, at) => format!("seen {writer} {number} {at}\n"),
        };
        std::io::stderr()
            .write_all(line.as_bytes())
            .expect("the pipe is read");
    }

    fn parse(line: &str) -> Option<Line> {
        let (verb, numbers) = line.split_once(' ')?;
        let numbers: Vec<u64> = numbers
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let [writer, number, at] = numbers[..] else {
            return None;
        };
        let step = Step { writer, number };
        match verb {
            "asks" => Some(Line::Asks(step)),
            "done" => Some(Line::Done(step, at)),
            "seen" => Some(Line::Seen(step, at)),
            _ => None,
        }
    }
}

/// What is known of one writer over all its lives.
#[derive(Debug, Default, Clone)]
struct Known {
    /// The first write that was not asked for.
    next: u64,
    /// The asked write that may or may not have been done.
    uncertain: Option<u64>,
    /// By key: the last write that is known to be done, and its revision.
    done: BTreeMap<u64, (u64, u64)>,
}

#[test]
#[ignore = "run by the test below, as the process that is killed"]
fn writes_until_it_is_killed() {
    let Some(folder) = victim_folder() else {
        return;
    };
    run(async {
        let store = open(&folder);
        let mut tasks = JoinSet::new();
        for collection in ["c0", "c1"] {
            let mut watch = store
                .watch(collection, None, store.revision())
                .expect("a watch");
            tasks.spawn(async move {
                loop {
                    let event = watch.next().await.expect("an event");
                    Line::Seen(Step::of(&body(&event.object)), event.revision.get()).say();
                }
            });
        }
        let starts = std::env::var("STARTS").expect("where each writer goes on");
        for (writer, start) in (0..).zip(starts.split(',')) {
            let (store, start) = (store.clone(), start.parse().expect("a number"));
            tasks.spawn(async move {
                for number in start.. {
                    write_step(&store, Step { writer, number }).await;
                }
            });
        }
        tasks.join_all().await;
    });
}

async fn write_step(store: &Store, step: Step) {
    let (key, text) = (step.key(), step.text());
    if step.deletes() && store.get(&key).is_none() {
        // All that would have made it was lost in crashes.
        return;
    }
    Line::Asks(step).say();
    let change = if step.deletes() {
        delete(&text)
    } else {
        put(&text)
    };
    let object = store
        .write(key, Expect::Any, change)
        .await
        .expect("written");
    Line::Done(step, object.revision.get()).say();
}

#[test]
fn whatever_was_acknowledged_survives_being_killed_and_nothing_else_appears() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut known = vec![Known::default(); usize::try_from(WRITERS).expect("small")];
    let mut newest = Revision::FIRST;
    let mut certain = 0;
    for crash in 0..CRASHES {
        // Killed after a number of lines that differs each time; at first after none,
        // which is while it opens the folder.
        let lines = crash * 37 % 200;
        let mut seen = BTreeMap::new();
        for line in live_and_die(folder.path(), &known, lines) {
            match line {
                Line::Asks(step) => {
                    let writer = &mut known[usize::try_from(step.writer).expect("small")];
                    assert!(writer.next <= step.number);
                    writer.next = step.number + 1;
                    writer.uncertain = Some(step.number);
                }
                Line::Done(step, at) => {
                    certain += 1;
                    let writer = &mut known[usize::try_from(step.writer).expect("small")];
                    assert_eq!(writer.uncertain.take(), Some(step.number));
                    writer.done.insert(step.number % KEYS, (step.number, at));
                    assert!(at > newest.get(), "a revision was given twice");
                }
                Line::Seen(step, at) => {
                    seen.insert((step.writer, step.number % KEYS), (step.number, at));
                }
            }
        }
        newest = newest.max(check(folder.path(), &mut known, &seen));
    }
    println!("{CRASHES} crashes, {certain} acknowledged writes, at revision {newest}");
    assert!(certain > CRASHES);
}

/// Starts a victim, reads so many lines, kills it, and returns all it said.
fn live_and_die(folder: &Path, known: &[Known], lines: u64) -> Vec<Line> {
    let starts: Vec<String> = known.iter().map(|writer| writer.next.to_string()).collect();
    let mut child = victim("crash::writes_until_it_is_killed", folder)
        .env("STARTS", starts.join(","))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the victim starts");
    let mut said = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut read = || said.next().map(|line| line.expect("text"));
    let mut heard = Vec::new();
    let mut alive = true;
    loop {
        if alive && heard.len() as u64 >= lines {
            child.kill().expect("killed");
            alive = false;
        }
        let Some(line) = read() else {
            break;
        };
        heard.push(Line::parse(&line).unwrap_or_else(|| panic!("the victim says: {line}")));
    }
    child.wait().expect("dead");
    assert!(!alive, "the victim ended by itself");
    heard
}

/// Opens the folder and compares it with what is known. Returns the newest revision.
fn check(folder: &Path, known: &mut [Known], seen: &BTreeMap<(u64, u64), (u64, u64)>) -> Revision {
    let store = open(folder);
    let mut expected_objects = 0;
    for (writer, known) in (0..).zip(known) {
        for key in 0..KEYS {
            let place = Step {
                writer,
                number: key,
            }
            .key();
            let found = store.get(&place).map(|object| {
                let text = body(&object);
                let step = Step::of(&text);
                assert_eq!((step.writer, text), (writer, step.text()), "torn");
                (step.number, object.revision.get())
            });
            let done = known.done.get(&key).copied();
            let uncertain = known.uncertain.filter(|number| number % KEYS == key);
            let deletes = |number| Step { writer, number }.deletes();
            let there = done.filter(|(number, _)| !deletes(*number));
            expected_objects += u64::from(found.is_some());
            let happened = match (found, uncertain) {
                (Some((number, _)), Some(uncertain)) => number == uncertain,
                (None, Some(uncertain)) => deletes(uncertain) && there.is_some(),
                (_, None) => false,
            };
            // Either what was acknowledged last, or the one write that was under way.
            assert!(
                happened || found == there,
                "{place}: {found:?} instead of {there:?}"
            );

            if let Some((shown, at)) = seen.get(&(writer, key)).copied() {
                assert!(at <= store.revision().get());
                let durable = happened || done.is_some_and(|(number, _)| number >= shown);
                assert!(
                    durable,
                    "{place}: a watcher was shown write {shown}, which is lost"
                );
            }
            if happened && let Some(number) = uncertain {
                let revision = found.map_or(0, |(_, revision)| revision);
                known.done.insert(key, (number, revision));
            }
        }
        known.uncertain = None;
    }
    let count = |collection| {
        let listing = store.list(collection, None, At::Latest, None);
        listing.expect("a list").objects.len() as u64
    };
    assert_eq!(
        count("c0") + count("c1"),
        expected_objects,
        "something nobody wrote"
    );
    store.revision()
}
