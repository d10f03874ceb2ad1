//! The data folder: where an instance keeps everything, and the note by which others find it.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::output::shell_word;

/// Which data folder a command means.
#[derive(Clone, Debug, Args)]
pub(crate) struct DataFolderArgument {
    /// Where the instance keeps its data [default: $XDG_DATA_HOME/springtide or
    /// ~/.local/share/springtide]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// A data folder, which may or may not be there.
#[derive(Clone, Debug)]
pub(crate) struct DataFolder(PathBuf);

/// What a running instance says of itself in `instance.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// The version of the program that runs.
    pub version: String,
    /// The process to tell when the instance is to stop.
    pub pid: i32,
    /// When that process was started, in clock ticks after the machine was: another process that
    /// got the same number has another one.
    pub process_start: u64,
    /// Where its API listens.
    pub server: String,
    /// Where its Prometheus listens; unknown of an instance of an earlier version.
    #[serde(default)]
    pub metrics: String,
    /// When it became ready.
    pub ready_since: jiff::Timestamp,
}

// === impl DataFolderArgument ===

impl DataFolderArgument {
    /// Whether the user named one.
    pub(crate) fn is_named(&self) -> bool {
        self.data_dir.is_some()
    }

    /// The folder that was named, or the user's own.
    pub(crate) fn folder(&self) -> anyhow::Result<DataFolder> {
        let path = match &self.data_dir {
            Some(path) => path.clone(),
            None => default_path()
                .context("there is no home folder: name the data folder with --data-dir")?,
        };
        let path = std::path::absolute(&path)
            .with_context(|| format!("the data folder {} cannot be used", path.display()))?;
        Ok(DataFolder(path))
    }
}

fn default_path() -> Option<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    set("XDG_DATA_HOME")
        .or_else(|| Some(set("HOME")?.join(".local/share")))
        .map(|base| base.join("springtide"))
}

// === impl DataFolder ===

impl DataFolder {
    /// A folder at this path.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder, for its owner alone, if it is not there.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .with_context(|| format!("the data folder {} cannot be made", self.0.display()))
    }

    /// Keeps others out of a folder that was there before. One with something in it may be open to them on purpose,
    /// or by mistake not be a folder of ours: that is said, and nothing is changed.
    pub(crate) fn keep_to_owner(&self) -> anyhow::Result<Option<String>> {
        let unusable = || format!("the data folder {} cannot be used", self.0.display());
        let mode = fs::metadata(&self.0).with_context(unusable)?.mode() & 0o777;
        if mode & 0o077 == 0 {
            return Ok(None);
        }
        let is_empty = fs::read_dir(&self.0)
            .with_context(unusable)?
            .next()
            .is_none();
        if is_empty {
            let private = fs::Permissions::from_mode(0o700);
            fs::set_permissions(&self.0, private).with_context(unusable)?;
            return Ok(None);
        }
        Ok(Some(format!(
            "other users of this machine can look into the data folder (its mode is {mode:o}), where keys and Secrets are: chmod 700 {}",
            shell_word(&self.0.to_string_lossy())
        )))
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// Where an instance in the background writes what it has to say.
    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("tide.log")
    }

    /// The instance that runs on this folder; `None` where none does.
    pub(crate) fn instance(&self) -> anyhow::Result<Option<Instance>> {
        let path = self.note();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| {
                    format!(
                        "the data folder {} cannot be used: {} cannot be read",
                        self.0.display(),
                        path.display()
                    )
                });
            }
        };
        let instance: Instance = serde_json::from_str(&text)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        Ok(instance.is_alive().then_some(instance))
    }

    /// Notes that `instance` runs on this folder.
    pub(crate) fn note_instance(&self, instance: &Instance) -> anyhow::Result<()> {
        let path = self.note();
        let fresh = path.with_extension("json.new");
        fs::write(&fresh, serde_json::to_vec_pretty(instance)?)
            .and_then(|()| fs::rename(&fresh, &path))
            .with_context(|| format!("{} cannot be written", path.display()))
    }

    fn note(&self) -> PathBuf {
        self.0.join("instance.json")
    }
}

// === impl Instance ===

impl Instance {
    /// True where it is who asks.
    pub(crate) fn is_this_process(&self) -> bool {
        u32::try_from(self.pid) == Ok(std::process::id())
    }

    /// True while its process is there.
    pub(crate) fn is_alive(&self) -> bool {
        process_start(self.pid) == Some(self.process_start)
    }
}

/// When a process was started, in clock ticks after the machine was; `None` where there is none.
pub(crate) fn process_start(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses and may hold anything; what follows
    // its last parenthesis begins with field 3, and the start is field 22.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    // A zombie has ended; it only waits to be reaped.
    (state != "Z").then(|| fields.nth(18)?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_alive_as_long_as_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(folder.path().to_owned());
        assert_eq!(folder.instance().unwrap(), None);
        let pid = std::process::id().try_into().unwrap();
        let mut instance = Instance {
            version: "1".to_owned(),
            pid,
            process_start: process_start(pid).unwrap(),
            server: "https://127.0.0.1:6443".to_owned(),
            metrics: "http://127.0.0.1:9090".to_owned(),
            ready_since: jiff::Timestamp::UNIX_EPOCH,
        };
        folder.note_instance(&instance).unwrap();
        assert_eq!(folder.instance().unwrap(), Some(instance.clone()));
        instance.process_start += 1;
        folder.note_instance(&instance).unwrap();
        assert_eq!(
            folder.instance().unwrap(),
            None,
            "the number belongs to another process"
        );
    }

    #[test]
    fn others_are_kept_out_of_an_empty_folder_and_told_of_in_one_that_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataFolder::at(folder.path().join("it's data"));
        let mode = || fs::metadata(data.path()).unwrap().mode() & 0o777;
        let open = |mode| fs::set_permissions(data.path(), fs::Permissions::from_mode(mode));
        data.create().unwrap();
        assert_eq!((data.keep_to_owner().unwrap(), mode()), (None, 0o700));
        open(0o755).unwrap();
        assert_eq!((data.keep_to_owner().unwrap(), mode()), (None, 0o700));
        fs::write(data.kubeconfig(), "").unwrap();
        assert_eq!(data.keep_to_owner().unwrap(), None);
        open(0o750).unwrap();
        let said = data.keep_to_owner().unwrap().unwrap();
        assert!(said.contains("its mode is 750"), "{said}");
        assert!(
            said.contains("chmod 700 '") && said.ends_with("/it'\\''s data'"),
            "{said}"
        );
        assert_eq!(mode(), 0o750, "it is left as it is");
    }

    #[test]
    fn a_note_that_cannot_be_read_is_an_error_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(folder.path().to_owned());
        fs::write(folder.note(), "{").unwrap();
        assert!(format!("{:#}", folder.instance().unwrap_err()).contains("instance.json"));
    }
}
