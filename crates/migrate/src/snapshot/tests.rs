use super::*;

fn database(folder: &tempfile::TempDir, mode: &str) -> (PathBuf, Connection) {
    let file = folder.path().join("a%20 b?.db");
    let writer = Connection::open(&file).unwrap();
    writer
        .query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(()))
        .unwrap();
    writer
        .execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)")
        .unwrap();
    (file, writer)
}

fn count(connection: &Connection) -> i64 {
    connection
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn all_readers_see_one_state_while_writers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (file, writer) = database(&folder, "WAL");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let handle = scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                writer.execute_batch("INSERT INTO t VALUES (3)").unwrap();
            }
            writer
        });
        for _ in 0..10 {
            let snapshot = Snapshot::open(&file, 4, Mode::Held).unwrap();
            let readers: Vec<Reader> = (0..4).map(|_| snapshot.reader().unwrap()).collect();
            assert!(snapshot.reader().is_none());
            let counts: Vec<i64> = readers.iter().map(|reader| count(reader)).collect();
            assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        handle.join().unwrap();
    });
}

#[test]
fn a_copied_snapshot_lets_writers_of_a_rollback_journal_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (file, writer) = database(&folder, "DELETE");
    let snapshot = Snapshot::open(&file, 2, Mode::Copied).unwrap();
    writer.execute_batch("INSERT INTO t VALUES (3)").unwrap();
    assert_eq!((count(&snapshot.reader().unwrap()), count(&writer)), (2, 3));
    drop(snapshot);

    let held = Snapshot::open(&file, 2, Mode::Held).unwrap();
    writer.busy_timeout(Duration::ZERO).unwrap();
    assert!(writer.execute_batch("INSERT INTO t VALUES (4)").is_err());
    drop(held);
    writer.execute_batch("INSERT INTO t VALUES (4)").unwrap();
}

#[test]
fn the_state_changes_with_a_commit_and_with_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (file, writer) = database(&folder, "WAL");
    let state = || {
        Snapshot::open(&file, 2, Mode::Held)
            .unwrap()
            .state()
            .to_owned()
    };
    let before = state();
    assert_eq!(state(), before);
    writer.execute_batch("INSERT INTO t VALUES (3)").unwrap();
    assert_ne!(state(), before);
}

#[test]
fn a_hot_journal_is_rolled_back_first() {
    let folder = tempfile::tempdir().unwrap();
    let (file, writer) = database(&folder, "DELETE");
    // What a crash leaves: the changed file and the journal that undoes the change.
    writer
        .execute_batch("PRAGMA cache_size = 2; BEGIN; WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 50000) INSERT INTO t SELECT i FROM n")
        .unwrap();
    let crashed = folder.path().join("crashed.db");
    std::fs::copy(&file, &crashed).unwrap();
    std::fs::copy(
        place::beside(&file, "-journal"),
        place::beside(&crashed, "-journal"),
    )
    .unwrap();
    writer.execute_batch("ROLLBACK").unwrap();
    let snapshot = Snapshot::open(&crashed, 1, Mode::Held).unwrap();
    assert_eq!(count(&snapshot.reader().unwrap()), 2);
}

#[test]
fn on_read_only_media_the_log_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (file, writer) = database(&folder, "WAL");
    let place = Place::on_read_only_media(&file).unwrap();
    assert!(!place.uri.contains("immutable"));
    assert_eq!(count(&connect(&place.uri).unwrap()), 2);
    let copy = place.temporary[0].path().to_owned();
    drop(place);
    assert!(!copy.exists());
    writer
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    drop(writer);
    let place = Place::on_read_only_media(&file).unwrap();
    assert!(place.uri.ends_with("?immutable=1"));
    assert_eq!(count(&connect(&place.uri).unwrap()), 2);
}

#[test]
fn what_is_no_database_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let open = |file: &Path| Snapshot::open(file, 1, Mode::Held).unwrap_err().to_string();
    assert!(open(&folder.path().join("none.db")).contains("no file"));
    let text = folder.path().join("text.db");
    std::fs::write(&text, "hello, this is just a text file, longer than a header of one hundred bytes, which is what SQLite reads first of all").unwrap();
    assert!(open(&text).contains("not a SQLite database"));
    assert!(open(folder.path()).contains("folder"));
}
