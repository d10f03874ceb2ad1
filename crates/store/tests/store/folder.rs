//! What can be wrong with a data folder when it is opened.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use springtide_store::{Change, Draft, Expect, Key, OpenError, Options, Pairs, Store};

use crate::{delete, open, put, run};

fn refusal(folder: &Path) -> OpenError {
    match Store::open(folder, Options::default()) {
        Ok(_) => panic!("the store opened"),
        Err(error) => error,
    }
}

/// A folder whose store holds the objects `a` and `b`, the second deleted and made again.
fn filled() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    run(async {
        let store = open(folder.path());
        for (name, change) in [
            ("a", put("1")),
            ("b", put("2")),
            ("b", delete("3")),
            ("b", put("4")),
        ] {
            store
                .write(Key::new("pods", "n", name), Expect::Any, change)
                .await
                .expect("written");
        }
    });
    let file = folder.path().join("store.db");
    (folder, file)
}

/// The content of every file in a folder but the lock. An empty file is none: SQLite
/// makes an empty log when it looks into a database.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut contents: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.ends_with("lock"))
        .map(|path| (path.clone(), fs::read(&path).expect("readable")))
        .filter(|(_, content)| !content.is_empty())
        .collect();
    contents.sort();
    contents
}

#[test]
fn a_new_folder_and_its_files_are_for_their_owner_alone() {
    let outer = tempfile::tempdir().expect("a folder");
    let folder = outer.path().join("share/springtide");
    let _store = open(&folder);
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for (path, _) in contents(&folder) {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn objects_come_back_with_all_they_had_and_history_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = Key::new("pods", "n", "a");
    let written = run(async {
        let store = open(folder.path());
        let labels: Pairs = [("app", "shop"), ("tier", "web")].into_iter().collect();
        let fields: Pairs = [("spec.nodeName", "n1")].into_iter().collect();
        let draft = Draft::new("{\"revision\":", "}", labels, fields);
        store
            .write(key.clone(), Expect::Absent, Change::Put(draft))
            .await
            .expect("written")
    });
    let store = open(folder.path());
    assert_eq!(store.get(&key), Some(written.clone()));
    assert_eq!(store.revision(), written.revision);
    assert!(
        store
            .watch("pods", None, springtide_store::Revision::FIRST)
            .is_err()
    );
    assert!(store.watch("pods", None, written.revision).is_ok());
}

#[test]
fn a_folder_in_use_is_refused_with_the_process_that_holds_it() {
    let (folder, _) = filled();
    let holder = open(folder.path());
    let error = refusal(folder.path());
    let sentence = error.to_string();
    assert!(matches!(error, OpenError::Locked { .. }), "{sentence}");
    assert!(
        sentence.contains(&format!("in use by process {}", std::process::id())),
        "{sentence}"
    );
    drop(holder);
    open(folder.path());
}

#[test]
fn a_database_another_program_has_open_is_refused() {
    let (folder, file) = filled();
    let other = Connection::open(&file).expect("opens");
    other
        .execute_batch("PRAGMA locking_mode = exclusive; BEGIN IMMEDIATE")
        .expect("locked");
    assert!(matches!(
        refusal(folder.path()),
        OpenError::Locked { holder: None, .. }
    ));
}

#[test]
fn a_newer_database_is_refused_and_left_untouched_even_with_a_log_beside_it() {
    let (folder, file) = filled();
    // As a crash of the newer program leaves it: its version is only in the log.
    let newer = Connection::open(&file).expect("opens");
    newer
        .execute_batch("PRAGMA user_version = 99; CREATE TABLE news (x)")
        .expect("changed");
    let crashed = tempfile::tempdir().expect("a folder");
    for (path, content) in contents(folder.path()) {
        let name = path.file_name().expect("a file");
        if name != "store.db-shm" {
            fs::write(crashed.path().join(name), content).expect("copied");
        }
    }
    drop(newer);
    assert!(crashed.path().join("store.db-wal").exists());
    for folder in [crashed.path(), folder.path()] {
        let before = contents(folder);
        let error = refusal(folder);
        let sentence = error.to_string();
        assert!(
            matches!(
                error,
                OpenError::Newer {
                    found: 99,
                    supported: 1,
                    ..
                }
            ),
            "{sentence}"
        );
        assert!(sentence.contains("use the newer program"), "{sentence}");
        assert!(
            contents(folder) == before,
            "{} was changed",
            folder.display()
        );
    }
}

#[test]
fn another_programs_database_is_refused_and_left_untouched() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = Connection::open(folder.path().join("store.db")).expect("opens");
    other
        .execute_batch("CREATE TABLE recipes (x)")
        .expect("made");
    drop(other);
    let before = contents(folder.path());
    assert!(matches!(refusal(folder.path()), OpenError::Foreign { .. }));
    assert!(contents(folder.path()) == before);
}

type Damage = fn(&Path);

#[test]
fn a_damaged_database_is_refused_with_what_to_do() {
    let damages: [(&str, Damage); 5] = [
        ("text", |file| {
            fs::write(file, "no database".repeat(1000)).expect("written");
        }),
        ("cut", |file| {
            let length = fs::metadata(file).expect("there").len();
            let opened = fs::OpenOptions::new()
                .write(true)
                .open(file)
                .expect("opens");
            opened.set_len(length / 2).expect("cut");
        }),
        ("overwritten", |file| {
            let mut content = fs::read(file).expect("readable");
            content[4096..].fill(0xA5);
            fs::write(file, content).expect("written");
        }),
        ("no table", |file| {
            let other = Connection::open(file).expect("opens");
            other.execute_batch("DROP TABLE object").expect("dropped");
        }),
        ("revision", |file| {
            let other = Connection::open(file).expect("opens");
            other
                .execute_batch("UPDATE newest SET revision = 2")
                .expect("changed");
        }),
    ];
    for (name, damage) in damages {
        let (folder, file) = filled();
        damage(&file);
        let error = refusal(folder.path());
        let sentence = error.to_string();
        assert!(
            matches!(error, OpenError::Corrupt { .. }),
            "{name}: {sentence}"
        );
        assert!(
            sentence.contains("restore the data folder from a backup"),
            "{sentence}"
        );
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_refused_with_its_name() {
    let outer = tempfile::tempdir().expect("a folder");
    let file = outer.path().join("file");
    fs::write(&file, "").expect("written");
    let error = refusal(&file.join("data"));
    let sentence = error.to_string();
    assert!(matches!(error, OpenError::Io { .. }), "{sentence}");
    assert!(
        sentence.starts_with("cannot create data folder"),
        "{sentence}"
    );
}
