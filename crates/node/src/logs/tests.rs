use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;

use super::*;

fn line(second: u32, tag: &str, text: &str) -> String {
    format!("2026-01-02T03:04:{second:02}.000000000Z stdout {tag} {text}\n")
}

fn read(path: &Path, options: LogOptions) -> String {
    let mut reader = Reader::new(path.to_owned(), options);
    let mut text = Vec::new();
    while let Some(piece) = reader.next_piece().expect("readable") {
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).expect("text")
}

/// A log of seven lines in three files.
fn sample(folder: &Path) -> PathBuf {
    let path = folder.join("0.log");
    let old = line(1, "F", "one") + &line(2, "F", "two");
    let newer = line(3, "F", "three") + &line(4, "P", "fo") + &line(4, "F", "ur");
    let newest = line(5, "F", "five") + &line(6, "F", "") + &line(7, "F", "seven");
    fs::write(folder.join("0.log.2"), old).expect("written");
    fs::write(folder.join("0.log.1"), newer).expect("written");
    fs::write(&path, newest).expect("written");
    path
}

#[test]
fn the_wanted_part_is_read_across_rotated_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = sample(folder.path());
    let tail = |lines| LogOptions {
        tail: Some(lines),
        ..LogOptions::default()
    };
    let table = [
        (
            LogOptions::default(),
            "one\ntwo\nthree\nfour\nfive\n\nseven\n",
        ),
        (tail(0), ""),
        (tail(1), "seven\n"),
        (tail(3), "five\n\nseven\n"),
        (tail(4), "ur\nfive\n\nseven\n"),
        (tail(6), "three\nfour\nfive\n\nseven\n"),
        (tail(100), "one\ntwo\nthree\nfour\nfive\n\nseven\n"),
        (
            LogOptions {
                since: "2026-01-02T03:04:05Z".parse().ok(),
                ..LogOptions::default()
            },
            "five\n\nseven\n",
        ),
        (
            LogOptions {
                limit_bytes: Some(6),
                ..LogOptions::default()
            },
            "one\ntw",
        ),
        (
            LogOptions {
                timestamps: true,
                tail: Some(1),
                ..LogOptions::default()
            },
            "2026-01-02T03:04:07.000000000Z seven\n",
        ),
    ];
    for (options, expected) in table {
        assert_eq!(read(&path, options.clone()), expected, "{options:?}");
    }
    assert_eq!(last_lines(&path, 2, 100).as_deref(), Some("\nseven\n"));
    assert_eq!(last_lines(&path, 2, 3).as_deref(), Some("en\n"));
}

#[test]
fn a_log_that_does_not_exist_is_empty() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("0.log");
    assert_eq!(read(&path, LogOptions::default()), "");
    assert_eq!(last_lines(&path, 1, 1), None);
}

#[tokio::test]
async fn following_goes_on_through_a_rotation_until_the_container_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("0.log");
    fs::write(&path, line(1, "F", "one")).expect("written");
    let alive = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&alive);
    let options = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let pieces = stream(path.clone(), options, move || asked.load(Ordering::SeqCst));
    let mut pieces = Box::pin(pieces);
    let limit = Duration::from_secs(20);
    let mut next = async || {
        let piece = tokio::time::timeout(limit, pieces.next())
            .await
            .expect("in time");
        piece.map(|piece| String::from_utf8(piece.expect("readable").to_vec()).expect("text"))
    };
    assert_eq!(next().await.as_deref(), Some("one\n"));

    let mut old = OpenOptions::new().append(true).open(&path).expect("a file");
    old.write_all(line(2, "F", "two").as_bytes())
        .expect("written");
    fs::rename(&path, folder.path().join("0.log.1")).expect("rotated");
    fs::write(&path, line(3, "F", "three")).expect("written");
    let mut seen = String::new();
    while seen != "two\nthree\n" {
        seen.push_str(&next().await.expect("more"));
        assert!("two\nthree\n".starts_with(&seen), "{seen}");
    }

    fs::write(folder.path().join("0.tmp"), "").expect("written");
    let mut new = OpenOptions::new().append(true).open(&path).expect("a file");
    new.write_all(line(4, "F", "four").as_bytes())
        .expect("written");
    alive.store(false, Ordering::SeqCst);
    assert_eq!(next().await.as_deref(), Some("four\n"));
    assert_eq!(next().await, None);
}
