//! Keeps changes over restarts: a file with a line of JSON each, written through before anything else is done.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::book::Change;

/// Where changes are kept. Without a folder they live as long as the process.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Option<(PathBuf, File)>,
    lines: usize,
    /// Lines after the file was last written whole.
    kept: usize,
}

const NAME: &str = "alerts.journal";

/// The file is written whole when it has this many lines more than twice what it needs.
const SLACK: usize = 1000;

// === impl Journal ===

impl Journal {
    /// Keeps nothing.
    pub(crate) fn in_memory() -> Journal {
        Journal {
            file: None,
            lines: 0,
            kept: 0,
        }
    }

    /// Opens the file in a folder and gives what it holds. A last line that was cut off is dropped.
    pub(crate) fn open(folder: &Path) -> io::Result<(Journal, Vec<Change>)> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut changes = Vec::new();
        let mut good = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let read = line
                .ends_with(b"\n")
                .then(|| serde_json::from_slice::<Change>(line).ok())
                .flatten();
            let Some(change) = read else {
                break;
            };
            changes.push(change);
            good += line.len();
        }
        if good < bytes.len() {
            tracing::warn!(
                file = %path.display(),
                dropped_bytes = bytes.len() - good,
                "the journal of alerts is torn and was cut at the tear"
            );
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.set_len(good as u64)?;
        let lines = changes.len();
        let journal = Journal {
            file: Some((path, file)),
            lines,
            kept: lines,
        };
        Ok((journal, changes))
    }

    /// Keeps changes: they are on the disk when this returns.
    pub(crate) fn keep(
        &mut self,
        changes: &[Change],
        snapshot: impl FnOnce() -> Vec<Change>,
    ) -> io::Result<()> {
        let Some((path, file)) = &mut self.file else {
            return Ok(());
        };
        if changes.is_empty() {
            return Ok(());
        }
        file.write_all(&lines_of(changes)?)?;
        file.sync_data()?;
        self.lines += changes.len();
        if self.lines < 2 * self.kept + SLACK {
            return Ok(());
        }
        let whole = snapshot();
        let beside = path.with_extension("new");
        let mut new = File::create(&beside)?;
        new.write_all(&lines_of(&whole)?)?;
        new.sync_all()?;
        std::fs::rename(&beside, &*path)?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        *file = OpenOptions::new().append(true).open(&*path)?;
        (self.lines, self.kept) = (whole.len(), whole.len());
        Ok(())
    }
}

fn lines_of(changes: &[Change]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for change in changes {
        serde_json::to_writer(&mut text, change).map_err(io::Error::other)?;
        text.push(b'\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_and_a_torn_end_is_cut() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut journal, kept) = Journal::open(folder.path()).expect("opens");
        assert!(kept.is_empty());
        let change = |id: &str| Change::SilenceGone(id.to_owned());
        journal
            .keep(&[change("a"), change("b")], Vec::new)
            .expect("written");
        let path = folder.path().join(NAME);
        let mut file = OpenOptions::new().append(true).open(&path).expect("opens");
        file.write_all(b"{\"silenceGo").expect("written");
        let (mut journal, kept) = Journal::open(folder.path()).expect("opens");
        assert_eq!(kept.len(), 2);
        journal.keep(&[change("c")], Vec::new).expect("written");
        let (_, kept) = Journal::open(folder.path()).expect("opens");
        assert_eq!(kept.len(), 3);
    }

    #[test]
    fn the_file_is_written_whole_before_it_grows_without_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut journal, _) = Journal::open(folder.path()).expect("opens");
        for at in 0..SLACK {
            let change = Change::SilenceGone(at.to_string());
            let keep = || vec![Change::SilenceGone("all".to_owned())];
            journal.keep(&[change], keep).expect("written");
        }
        let (_, kept) = Journal::open(folder.path()).expect("opens");
        assert_eq!(kept.len(), 1);
    }
}
