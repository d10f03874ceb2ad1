//! The file of a report.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A file that can be written, which is found out before the run. What it held stays until the report is there.
#[derive(Debug)]
pub struct ReportFile {
    path: PathBuf,
    file: File,
    /// It was not there before, and nothing is in it.
    is_new: bool,
}

// === impl ReportFile ===

impl ReportFile {
    /// Opens the file, without changing what is in it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(path: &Path) -> io::Result<Self> {
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
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the report.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(mut self, page: &str) -> io::Result<()> {
        self.is_new = false;
        // A device has no length.
        if self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        self.file.write_all(page.as_bytes())?;
        self.file.flush()
    }
}

impl Drop for ReportFile {
    fn drop(&mut self) {
        if self.is_new {
            // A run that never was leaves no empty report; if it cannot be removed, it is empty.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_replaces_what_was_there_and_only_when_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        drop(ReportFile::open(&path).unwrap());
        assert!(!path.exists(), "no empty report is left");
        ReportFile::open(&path)
            .unwrap()
            .write("a long page")
            .unwrap();
        drop(ReportFile::open(&path).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a long page");
        ReportFile::open(&path).unwrap().write("short").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "short");
        assert!(ReportFile::open(&folder.path().join("missing/report.html")).is_err());
        assert!(ReportFile::open(folder.path()).is_err());
    }
}
