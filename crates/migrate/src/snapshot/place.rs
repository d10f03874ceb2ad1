//! Where the database is opened: in place, as immutable, or as a copy.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::SourceError;

/// A database to open, and copies that were made for it.
pub(super) struct Place {
    pub(super) uri: String,
    pub(super) temporary: Vec<TemporaryFile>,
}

impl Place {
    pub(super) fn of(file: &Path) -> Result<Self, SourceError> {
        let unreadable = |error: &io::Error| SourceError::Unreadable {
            file: file.to_owned(),
            what: error.to_string(),
        };
        match std::fs::metadata(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SourceError::Missing(file.to_owned()));
            }
            Err(error) => return Err(unreadable(&error)),
            Ok(found) if found.is_dir() => {
                return Err(SourceError::Unreadable {
                    file: file.to_owned(),
                    what: "it is a folder".to_owned(),
                });
            }
            Ok(found) if found.len() == 0 => {
                return Err(SourceError::Unreadable {
                    file: file.to_owned(),
                    what: "it is empty; check the path behind sqlite:".to_owned(),
                });
            }
            Ok(_) => {}
        }
        let media = rustix::fs::statvfs(file).map_err(|error| unreadable(&error.into()))?;
        let read_only = media.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
        if !read_only {
            return Ok(Self {
                uri: uri(file),
                temporary: Vec::new(),
            });
        }
        Self::on_read_only_media(file)
    }

    /// The file cannot change; what a crashed or open program left beside it counts, though.
    pub(super) fn on_read_only_media(file: &Path) -> Result<Self, SourceError> {
        let left = ["-wal", "-journal"].into_iter().filter(|suffix| {
            std::fs::metadata(beside(file, suffix)).is_ok_and(|found| found.len() > 0)
        });
        let left: Vec<&str> = left.collect();
        if left.is_empty() {
            return Ok(Self {
                uri: immutable_uri(file),
                temporary: Vec::new(),
            });
        }
        let copy = TemporaryFile::new(file)?;
        let copied = left
            .iter()
            .map(|suffix| (beside(file, suffix), beside(copy.path(), suffix)))
            .chain([(file.to_owned(), copy.path().to_owned())])
            .try_for_each(|(from, to)| std::fs::copy(from, to).map(|_| ()));
        copied.map_err(|error| SourceError::Unreadable {
            file: file.to_owned(),
            what: format!("it lies on read-only media with a {} beside it, and copying both to {} failed: {error}; set TMPDIR to a folder with room", left.join(" and "), copy.path().display()),
        })?;
        Ok(Self {
            uri: uri(copy.path()),
            temporary: vec![copy],
        })
    }
}

/// Whether this user may read the file.
pub(super) fn is_readable(file: &Path) -> bool {
    rustix::fs::access(file, rustix::fs::Access::READ_OK).is_ok()
}

/// A name beside the database, such as that of its log.
pub(super) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn uri(file: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let mut uri = "file:".to_owned();
    for &byte in absolute.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(byte));
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

/// Opens without locks and without looking for a journal.
pub(super) fn immutable_uri(file: &Path) -> String {
    format!("{}?immutable=1", uri(file))
}

/// A private copy of the database in the temporary folder.
#[derive(Debug)]
pub(super) struct TemporaryFile(PathBuf);

impl TemporaryFile {
    /// Makes an empty file that only this user can read.
    pub(super) fn new(of: &Path) -> Result<Self, SourceError> {
        use std::os::unix::fs::OpenOptionsExt;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = std::env::temp_dir();
        let unwritable = |error: io::Error| SourceError::Unreadable {
            file: of.to_owned(),
            what: format!(
                "no copy of it can be made in {}: {error}; set TMPDIR to another folder",
                folder.display()
            ),
        };
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!(
                "springtide-migrate-{}-{number}.sqlite",
                std::process::id()
            ));
            match std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
            {
                Ok(_) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(unwritable(error)),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(beside(&self.0, suffix));
        }
    }
}
