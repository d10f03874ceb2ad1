//! The time series database, as its users see it: nothing committed is lost over restarts, tears are cut, damage
//! is set aside, and head, blocks and deletions together answer as a plain map of samples does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use springtide_machinery::clock::Clock;
use springtide_metrics::promql::SeriesSource;
use springtide_metrics::series_store::{Labels, Matcher};
use springtide_metrics::tsdb::{AppendError, LimitKind, Limits, Metadata, Options, Tsdb};

const HOUR: i64 = 3_600_000;

type Model = BTreeMap<Labels, BTreeMap<i64, u64>>;

fn options() -> Options {
    Options {
        max_lag: Duration::from_hours(1_000_000),
        retention: None,
        head_span: Duration::from_secs(1),
        ..Options::default()
    }
}

fn open(folder: &Path, options: Options) -> Tsdb {
    Tsdb::open(folder, options, Clock::system()).expect("opens")
}

fn series(name: &str) -> Labels {
    Labels::new([("__name__", "m"), ("name", name)])
}

/// Appends one sample a series at each time, with the time as the value.
fn fill(database: &Tsdb, names: &[&str], times: impl Iterator<Item = i64>) {
    for time in times {
        let mut appender = database.appender();
        for name in names {
            appender
                .append(&series(name), None, time, time as f64)
                .expect("in order");
        }
        appender.commit().expect("written");
    }
}

fn contents(database: &Tsdb) -> Model {
    let mut all = Model::new();
    for series in database.select(&[], i64::MIN, i64::MAX).expect("readable") {
        let mut samples = Vec::new();
        series
            .read(i64::MIN, i64::MAX, usize::MAX, &mut samples)
            .expect("readable");
        assert!(samples.is_sorted_by(|left, right| left.time < right.time));
        let samples = samples.iter().map(|s| (s.time, s.value.to_bits()));
        if samples.len() > 0 {
            all.insert(series.labels().clone(), samples.collect());
        }
    }
    all
}

fn count(database: &Tsdb) -> usize {
    contents(database).values().map(BTreeMap::len).sum()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("readable").flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn blocks_in(folder: &Path) -> Vec<PathBuf> {
    let mut blocks = files_in(folder);
    blocks.retain(|path| path.join("meta.json").exists() && path.extension().is_none());
    blocks
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = open(folder.path(), options());
    fill(&database, &["a", "b"], (0..500).map(|at| at * 1000));
    let mut forgotten = database.appender();
    forgotten
        .append(&series("c"), None, 500_000, 1.0)
        .expect("new");
    forgotten.rollback();
    let before = contents(&database);
    assert_eq!(count(&database), 1000);
    drop(database);
    let database = open(folder.path(), options());
    assert_eq!(contents(&database), before);
    // It becomes blocks, and is there again.
    database.maintain().expect("maintained");
    assert_eq!(contents(&database), before);
    let stats = database.stats();
    assert_eq!(stats.blocks, 1);
    assert!(stats.samples < 300, "{stats:?}");
    drop(database);
    let database = open(folder.path(), options());
    assert_eq!(contents(&database), before);
    assert_eq!(database.stats().counters.corruptions, 0);
    fill(&database, &["a"], (500..501).map(|at| at * 1000));
    assert_eq!(count(&database), 1001);
}

#[test]
fn what_metrics_are_is_known_after_a_restart_while_they_have_series() {
    let folder = tempfile::tempdir().expect("folder");
    let counter = Metadata {
        kind: "counter".to_owned(),
        help: "Requests \"so far\"\nof all.".to_owned(),
        unit: String::new(),
    };
    {
        let database = open(folder.path(), options());
        fill(&database, &["a"], [1000].into_iter());
        database.set_metadata("m", counter.clone());
        database.set_metadata("gone", counter.clone());
        database.flush().expect("written");
    }
    let known = open(folder.path(), options()).metadata(None);
    assert_eq!(known, [("m".to_owned(), counter)]);
    fs::write(folder.path().join("metadata.json"), "{").expect("written");
    let database = open(folder.path(), options());
    assert_eq!(database.metadata(None), []);
    assert_eq!(count(&database), 1);
}

#[test]
fn a_folder_is_open_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = open(folder.path(), options());
    let second = Tsdb::open(folder.path(), options(), Clock::system());
    let error = second.expect_err("refused").to_string();
    assert!(error.contains("in use by another process"), "{error}");
    drop(database);
    open(folder.path(), options());
}

#[test]
fn a_torn_log_is_cut_at_the_tear_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = open(folder.path(), options());
    fill(&database, &["a"], (0..50).map(|at| at * 1000));
    drop(database);
    let segments = files_in(&folder.path().join("log"));
    let last = segments.last().expect("a segment");
    let length = fs::metadata(last).expect("there").len();
    let file = fs::File::options().write(true).open(last).expect("opens");
    file.set_len(length - 3).expect("cut");
    let database = open(folder.path(), options());
    assert_eq!(count(&database), 49);
    assert_eq!(database.stats().counters.corruptions, 1);
    fill(&database, &["a"], (49..60).map(|at| at * 1000));
    drop(database);
    let database = open(folder.path(), options());
    assert_eq!(count(&database), 60);
    assert_eq!(database.stats().counters.corruptions, 0);
}

#[test]
fn a_damaged_block_is_set_aside_and_the_others_answer() {
    for (file, damage) in [
        ("index", "cut"),
        ("chunks/000001", "cut"),
        ("meta.json", "cut"),
        ("index", "flip"),
        ("chunks/000001", "flip"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let database = open(folder.path(), options());
        fill(&database, &["a", "b"], (0..250).map(|at| at * 1000));
        database.maintain().expect("maintained");
        fill(&database, &["a", "b"], (250..500).map(|at| at * 1000));
        database.maintain().expect("maintained");
        assert_eq!(count(&database), 1000);
        drop(database);
        let blocks = blocks_in(folder.path());
        assert_eq!(blocks.len(), 2);
        let path = blocks[0].join(file);
        let mut bytes = fs::read(&path).expect("readable");
        if damage == "cut" {
            bytes.truncate(bytes.len() - 1);
        } else {
            let middle = if file == "index" { 60 } else { bytes.len() / 2 };
            bytes[middle] ^= 0x55;
        }
        fs::write(&path, &bytes).expect("writable");
        let database = open(folder.path(), options());
        let matcher = Matcher::equal("__name__", "m");
        let answered = |database: &Tsdb| -> Result<usize, String> {
            let selected = database
                .select(std::slice::from_ref(&matcher), i64::MIN, i64::MAX)
                .map_err(|error| error.to_string())?;
            let mut samples = Vec::new();
            for series in selected {
                series
                    .read(i64::MIN, i64::MAX, usize::MAX, &mut samples)
                    .map_err(|error| error.to_string())?;
            }
            Ok(samples.len())
        };
        if damage == "flip" {
            // Found where it is read; the next look sets it aside.
            let error = answered(&database).expect_err("damage is never an answer");
            assert!(error.contains("is damaged"), "{error}");
            database.maintain().expect("maintained");
        }
        assert!(answered(&database).expect("the others answer") >= 500);
        assert_eq!(database.stats().counters.corruptions, 1, "{file} {damage}");
        assert!(blocks[0].with_extension("damaged").exists());
    }
}

#[test]
fn old_blocks_go_by_time_and_by_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let by_time = Options {
        retention: Some(Duration::from_secs(400)),
        ..options()
    };
    let database = open(folder.path(), by_time.clone());
    for part in 0..3 {
        fill(
            &database,
            &["a"],
            (part * 250..part * 250 + 250).map(|at| at * 1000),
        );
        database.maintain().expect("maintained");
    }
    let oldest = |database: &Tsdb| {
        *contents(database)[&series("a")]
            .keys()
            .next()
            .expect("some")
    };
    assert!(oldest(&database) > 0);
    assert!(database.stats().counters.deleted_by_time > 0);
    assert!(database.time_span().expect("samples").1 == 749_000);
    drop(database);
    let by_size = Options {
        retention_bytes: Some(1),
        ..options()
    };
    let database = open(folder.path(), by_size);
    database.maintain().expect("maintained");
    assert_eq!(database.stats().blocks, 0);
    assert!(database.stats().counters.deleted_by_size > 0);
    assert!(count(&database) > 0, "what is in memory stays");
}

#[test]
fn a_snapshot_is_a_database() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = open(folder.path(), options());
    fill(&database, &["a", "b"], (0..300).map(|at| at * 1000));
    database.maintain().expect("maintained");
    let before = contents(&database);
    let whole = database.snapshot(false).expect("written");
    let blocks_only = database.snapshot(true).expect("written");
    let snapshots = folder.path().join("snapshots");
    assert_eq!(contents(&open(&snapshots.join(whole), options())), before);
    let blocks_only = open(&snapshots.join(blocks_only), options());
    assert!(count(&blocks_only) > 0 && count(&blocks_only) < 600);
    assert_eq!(contents(&database), before);
    assert!(Tsdb::in_memory(options()).snapshot(false).is_err());
}

#[test]
fn limits_refuse_by_name_and_count() {
    let limits = Limits {
        series: 2,
        labels_of_a_series: 3,
        label_bytes: 10,
        samples_of_a_commit: 3,
    };
    let database = Tsdb::in_memory(Options {
        limits,
        ..Options::default()
    });
    let mut appender = database.appender();
    let kind = |outcome: Result<_, AppendError>| match outcome {
        Err(AppendError::LimitReached { limit, .. }) => limit,
        other => panic!("{other:?}"),
    };
    let wide = Labels::new([("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
    assert_eq!(
        kind(appender.append(&wide, None, 0, 0.0)),
        LimitKind::LabelsOfASeries
    );
    let long = Labels::new([("a", "12345678901")]);
    let refused = appender.append(&long, None, 0, 0.0);
    assert_eq!(
        refused.as_ref().expect_err("refused").to_string(),
        "series {a=\"12345678901\"} is refused: the limit of bytes of a label is 10, and this has 11"
    );
    assert_eq!(kind(refused), LimitKind::LabelBytes);
    appender.append(&series("a"), None, 0, 0.0).expect("first");
    appender.append(&series("b"), None, 0, 0.0).expect("second");
    assert_eq!(
        kind(appender.append(&series("c"), None, 0, 0.0)),
        LimitKind::Series
    );
    appender.append(&series("a"), None, 1, 0.0).expect("third");
    assert_eq!(
        kind(appender.append(&series("a"), None, 2, 0.0)),
        LimitKind::SamplesOfACommit
    );
    appender.commit().expect("in memory");
    let refusals = database.stats().counters.refusals;
    assert_eq!(refusals.too_many_labels, 1);
    assert_eq!(refusals.label_too_long, 1);
    assert_eq!(refusals.too_many_series, 1);
    assert_eq!(refusals.too_many_samples, 1);
    assert_eq!(count(&database), 3);
}

#[test]
fn the_order_of_time_is_kept_as_prometheus_keeps_it() {
    let database = Tsdb::in_memory(Options::default());
    let append = |name: &str, time: i64, value: f64| {
        let mut appender = database.appender();
        let outcome = appender.append(&series(name), None, time, value);
        appender.commit().expect("in memory");
        outcome
    };
    append("a", 10 * HOUR, 1.0).expect("first");
    append("a", 10 * HOUR, 1.0).expect("the same again");
    assert!(matches!(
        append("a", 10 * HOUR, 2.0),
        Err(AppendError::DuplicateForTimestamp { .. })
    ));
    assert!(matches!(
        append("a", 10 * HOUR - 1, 2.0),
        Err(AppendError::OutOfOrder { .. })
    ));
    assert!(matches!(
        append("b", 8 * HOUR, 2.0),
        Err(AppendError::OutOfBounds { .. })
    ));
    append("b", 9 * HOUR, 2.0).expect("an hour behind");
    let mut appender = database.appender();
    let first = appender.append(&series("a"), None, 11 * HOUR, 1.0);
    assert!(matches!(
        appender.append(&series("a"), first.ok(), 11 * HOUR, 2.0),
        Err(AppendError::DuplicateForTimestamp { .. })
    ));
    drop(appender);
    let refusals = database.stats().counters.refusals;
    assert_eq!(refusals.duplicate, 2);
    assert_eq!(refusals.out_of_order, 1);
    assert_eq!(refusals.out_of_bounds, 1);
    assert_eq!(count(&database), 2);
}

#[test]
fn series_that_ended_leave_memory_and_stay_in_blocks() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = open(folder.path(), options());
    fill(&database, &["ended"], (0..10).map(|at| at * 1000));
    fill(&database, &["a"], (0..400).map(|at| at * 1000));
    let mut appender = database.appender();
    let stale = appender.append(&series("ended"), None, 20_000, 0.0);
    drop(appender);
    database.maintain().expect("maintained");
    assert_eq!(database.stats().series, 1);
    assert_eq!(count(&database), 410);
    // Whoever still holds its number appends to the series all the same.
    let mut appender = database.appender();
    appender
        .append(&series("ended"), stale.ok(), 500_000, 0.0)
        .expect("it begins again");
    appender.commit().expect("written");
    assert_eq!(count(&database), 411);
    drop(database);
    assert_eq!(count(&open(folder.path(), options())), 411);
}

#[test]
fn names_values_and_series_are_found_in_memory_and_in_blocks() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = open(folder.path(), options());
    fill(&database, &["old"], (0..130).map(|at| at * 1000));
    fill(&database, &["new"], (0..300).map(|at| at * 1000));
    database.maintain().expect("maintained");
    assert_eq!(database.stats().series, 1);
    let all = (i64::MIN, i64::MAX);
    assert_eq!(
        database.label_names(&[], all.0, all.1).expect("readable"),
        ["__name__", "name"]
    );
    assert_eq!(
        database
            .label_values("name", &[], all.0, all.1)
            .expect("readable"),
        ["new", "old"]
    );
    let selection = vec![Matcher::matching("name", "o.*").expect("valid")];
    let found = database
        .label_values("name", std::slice::from_ref(&selection), all.0, all.1)
        .expect("readable");
    assert_eq!(found, ["old"]);
    let found = database.series(&[selection], all.0, all.1);
    assert_eq!(found.expect("readable"), [series("old")]);
    assert_eq!(
        database.series(&[], 200_000, 300_000).expect("readable"),
        [series("new")]
    );
}

#[test]
fn samples_are_there_while_they_move_into_blocks() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = open(folder.path(), options());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = database.clone();
        let done = &done;
        scope.spawn(move || {
            for round in 0..40 {
                fill(
                    &writer,
                    &["a", "b"],
                    (round * 100..round * 100 + 100).map(|at| at * 1000),
                );
                writer.maintain().expect("maintained");
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        let mut before = 0;
        while !done.load(std::sync::atomic::Ordering::Acquire) {
            let now = count(&database);
            assert!(now >= before, "{now} after {before}");
            before = now;
        }
    });
    assert_eq!(count(&database), 8000);
    assert!(database.stats().counters.compactions > 10);
}

/// A program of Prometheus, where the environment or the PATH has it.
fn promtool(arguments: &[&std::ffi::OsStr]) -> Option<String> {
    let program = std::env::var_os("SPRINGTIDE_PROMTOOL").unwrap_or_else(|| "promtool".into());
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    Some(text)
}

#[test]
fn prometheus_reads_our_blocks_and_we_read_its() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = open(folder.path(), options());
    fill(&database, &["a", "b"], (0..300).map(|at| at * 1000));
    database.maintain().expect("maintained");
    database
        .delete_series(&[Matcher::equal("name", "b")], 0, 9000)
        .expect("deleted");
    let copy = database.snapshot(false).expect("written");
    let copy = folder.path().join("snapshots").join(copy);
    // promtool reads no folder without one.
    fs::create_dir(copy.join("wal")).expect("writable");
    let Some(dumped) = promtool(&["tsdb".as_ref(), "dump".as_ref(), copy.as_ref()]) else {
        let said =
            b"skipped: no promtool: SPRINGTIDE_PROMTOOL names none, and none is on the PATH\n";
        std::io::Write::write_all(&mut std::io::stderr(), said).expect("said");
        return;
    };
    assert_eq!(dumped.lines().count(), 590);
    assert!(
        dumped.contains("{__name__=\"m\", name=\"b\"} 10000 10000"),
        "{dumped}"
    );
    assert!(!dumped.contains("{__name__=\"m\", name=\"b\"} 9000 9000"));

    let text = folder.path().join("text");
    let lines = (0..500).map(|at| format!("m{{name=\"a\"}} {at} {at}\nm{{name=\"c\"}} 7 {at}\n"));
    let exposition = format!("# TYPE m gauge\n{}# EOF\n", lines.collect::<String>());
    fs::write(&text, exposition).expect("writable");
    let made = folder.path().join("made");
    let arguments = ["tsdb", "create-blocks-from", "openmetrics"].map(std::ffi::OsStr::new);
    promtool(&[&arguments[..], &[text.as_ref(), made.as_ref()]].concat());
    let foreign = open(&made, options());
    let found = contents(&foreign);
    let expected = (0..500).map(|at| (at * 1000, (at as f64).to_bits()));
    assert_eq!(found[&series("a")], expected.collect::<BTreeMap<_, _>>());
    assert_eq!(found[&series("c")].len(), 500);
}

/// Opens a database whose files may be anything, and does everything with it that reads them.
fn exercise(folder: &Path) {
    let Ok(database) = Tsdb::open(folder, options(), Clock::system()) else {
        return;
    };
    for _ in 0..2 {
        let matcher = Matcher::matching("name", "a|b.*").expect("valid");
        if let Ok(selected) = database.select(&[matcher], i64::MIN, i64::MAX) {
            let mut samples = Vec::new();
            for series in selected {
                let _ = series.read(i64::MIN, i64::MAX, usize::MAX, &mut samples);
            }
        }
        let _ = database.label_values("name", &[], i64::MIN, i64::MAX);
        let _ = database.maintain();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_damage_to_its_files_makes_it_panic(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let database = open(folder.path(), options());
        fill(&database, &["a", "b"], (0..200).map(|at| at * 1000));
        database.maintain().expect("maintained");
        database
            .delete_series(&[Matcher::equal("name", "b")], 0, 9000)
            .expect("deleted");
        drop(database);
        let block = &blocks_in(folder.path())[0];
        let mut files = vec![
            block.join("index"),
            block.join("chunks/000001"),
            block.join("meta.json"),
            block.join("tombstones"),
        ];
        files.extend(files_in(&folder.path().join("log")));
        let path = &files[file.index(files.len())];
        let mut bytes = fs::read(path).expect("readable");
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(path, &bytes).expect("writable");
        exercise(folder.path());
    }
}

/// What a user does to the database.
#[derive(Debug, Clone)]
enum Step {
    /// Samples of a series: its number, the distance from the newest of all, how many a second apart.
    Append(usize, i64, usize),
    Maintain,
    Reopen,
    Delete(usize, i64, i64),
    CleanTombstones,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_usize, -400..300_i64, 1..200_usize).prop_map(|(name, back, count)| Step::Append(name, back, count)),
        3 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
        1 => (0..3_usize, 0..1000_i64, 0..300_i64).prop_map(|(name, from, length)| Step::Delete(name, from, length)),
        1 => Just(Step::CleanTombstones),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn it_answers_as_a_map_of_samples_does(steps in prop::collection::vec(any_step(), 1..25)) {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options {
            out_of_order_window: Duration::from_secs(300),
            ..options()
        };
        let mut database = open(folder.path(), options.clone());
        let mut model = Model::new();
        let mut newest = 0;
        let mut newest_of = BTreeMap::new();
        for step in steps {
            match step {
                Step::Append(name, back, count) => {
                    let labels = series(["a", "b", "c"][name]);
                    let newest_of_series = newest_of.entry(labels.clone()).or_insert(-1);
                    let mut appender = database.appender();
                    let mut reference = None;
                    for at in 0..count as i64 {
                        let time = (newest / 1000 + back + at).max(0) * 1000;
                        let value = time as f64 / 7.0;
                        let is_there = model.get(&labels).is_some_and(|samples| samples.contains_key(&time));
                        if time == *newest_of_series && !is_there {
                            // Deleted and appended again, the newest is taken for repeated, as in Prometheus.
                            continue;
                        }
                        if let Ok(known) = appender.append(&labels, reference, time, value) {
                            reference = Some(known);
                            *newest_of_series = time.max(*newest_of_series);
                            model.entry(labels.clone()).or_default().insert(time, value.to_bits());
                        }
                    }
                    appender.commit().expect("written");
                    let last = model.get(&labels).and_then(|samples| samples.keys().last());
                    newest = newest.max(last.copied().unwrap_or(0));
                }
                Step::Maintain => database.maintain().expect("maintained"),
                Step::Reopen => {
                    drop(database);
                    database = open(folder.path(), options.clone());
                }
                Step::Delete(name, from, length) => {
                    let name = ["a", "b", "c"][name];
                    let (from, until) = (from * 1000, (from + length) * 1000);
                    database
                        .delete_series(&[Matcher::equal("name", name)], from, until)
                        .expect("deleted");
                    if let Some(samples) = model.get_mut(&series(name)) {
                        samples.retain(|time, _| !(from..=until).contains(time));
                    }
                }
                Step::CleanTombstones => database.clean_tombstones().expect("cleaned"),
            }
            model.retain(|_, samples| !samples.is_empty());
            prop_assert_eq!(&contents(&database), &model);
        }
        prop_assert_eq!(database.stats().counters.corruptions, 0);
    }
}
