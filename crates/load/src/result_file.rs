//! A file of results: a summary, a report.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A file that can be written, which is found out before the run. What it held stays
/// until the results are there.
#[derive(Debug)]
pub(crate) struct ResultFile {
    path: PathBuf,
    file: File,
    /// It was not there before, and nothing is in it.
    is_new: bool,
}

// === impl ResultFile ===

impl ResultFile {
    /// Opens the file, without changing what is in it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let is_new = !path.exists();
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_new,
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the results.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(mut self, content: &[u8]) -> io::Result<()> {
        self.is_new = false;
        // A device has no length.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(content)?;
        self.file.flush()
    }
}

impl Drop for ResultFile {
    fn drop(&mut self) {
        if self.is_new {
            // A run that never was leaves no empty file; if it cannot be removed, it is empty.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_results_replaces_what_was_there_and_only_when_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        drop(ResultFile::open(&path).unwrap());
        assert!(!path.exists(), "no empty file is left");
        ResultFile::open(&path)
            .unwrap()
            .write(b"a long page")
            .unwrap();
        drop(ResultFile::open(&path).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a long page");
        ResultFile::open(&path).unwrap().write(b"short").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "short");
        assert!(ResultFile::open(&folder.path().join("missing/report.html")).is_err());
        assert!(ResultFile::open(folder.path()).is_err());
    }
}
