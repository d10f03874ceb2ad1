//! Writing a volume's files so that a reader never sees half of a change.
//!
//! As in Kubernetes, the files are in a folder of their own, `..data` is a link to it that is
//! replaced in one step, and each file's name is a link through `..data`.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::Path;

use super::Tree;

/// The host's user and group IDs that a volume's files belong to; `None` leaves them as they are.
pub type Owner = Option<(u32, u32)>;

/// The link to the folder that holds the files.
const DATA: &str = "..data";
/// The same while it is being replaced.
const DATA_NEXT: &str = "..data_tmp";

/// How many user and group IDs a pod has.
const IDS: u32 = 65_536;

/// Makes a folder, if it is not there. One that is there goes on to a pod's next sandbox, where
/// the same users have other IDs of the host: what it holds is given to those.
///
/// # Errors
/// What the host refused.
pub fn write_folder(folder: &Path, mode: u32, owner: Owner) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let known = fs::metadata(folder)?;
    if let Some((user, group)) = owner
        && known.uid() != user
    {
        let shift = Shift {
            from: (known.uid(), known.gid()),
            to: (user, group),
        };
        shift.apply(folder)?;
    }
    fs::set_permissions(folder, Permissions::from_mode(mode))?;
    give(folder, owner)
}

/// Makes the folder hold exactly these files.
///
/// # Errors
/// What the host refused; what was there before is then still whole.
pub fn write_tree(folder: &Path, tree: &Tree, owner: Owner) -> io::Result<()> {
    write_folder(folder, 0o755, owner)?;
    let current = fs::read_link(folder.join(DATA)).ok();
    if current.is_some() && is_same(&folder.join(DATA), tree, owner) {
        return Ok(());
    }
    let name = next_name(current.as_deref());
    let next = folder.join(&name);
    let _ = fs::remove_dir_all(&next);
    DirBuilder::new().mode(0o755).create(&next)?;
    give(&next, owner)?;
    for (path, file) in tree {
        let place = next.join(path);
        if let Some(parent) = place.parent() {
            make_parents(&next, parent, owner)?;
        }
        let mut options = OpenOptions::new();
        let mut written = options
            .write(true)
            .create_new(true)
            .mode(file.mode)
            .open(&place)?;
        written.write_all(&file.bytes)?;
        fs::set_permissions(&place, Permissions::from_mode(file.mode))?;
        give(&place, owner)?;
    }
    let link = folder.join(DATA_NEXT);
    let _ = fs::remove_file(&link);
    symlink(&name, &link)?;
    give_link(&link, owner)?;
    fs::rename(&link, folder.join(DATA))?;
    link_names(folder, tree, owner)?;
    if let Some(current) = current {
        fs::remove_dir_all(folder.join(current))?;
    }
    Ok(())
}

/// From the IDs that a pod had to those it has.
struct Shift {
    from: (u32, u32),
    to: (u32, u32),
}

impl Shift {
    fn apply(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let known = fs::symlink_metadata(&path)?;
            let moved = |id: u32, from: u32, to: u32| {
                let within = id.checked_sub(from).filter(|offset| *offset < IDS)?;
                to.checked_add(within)
            };
            let user = moved(known.uid(), self.from.0, self.to.0);
            let group = moved(known.gid(), self.from.1, self.to.1);
            lchown(&path, user, group)?;
            if known.is_dir() {
                self.apply(&path)?;
            }
        }
        Ok(())
    }
}

fn next_name(current: Option<&Path>) -> String {
    let number = current
        .and_then(|path| path.to_str()?.strip_prefix("..v")?.parse::<u64>().ok())
        .unwrap_or(0);
    format!("..v{}", number + 1)
}

fn is_same(data: &Path, tree: &Tree, owner: Owner) -> bool {
    let same_files = tree.iter().all(|(path, file)| {
        let place = data.join(path);
        let same_bytes = fs::read(&place).is_ok_and(|bytes| bytes == file.bytes);
        let same_access = fs::metadata(&place).is_ok_and(|known| {
            let same_owner = owner.is_none_or(|owner| owner == (known.uid(), known.gid()));
            same_owner && known.permissions().mode() & 0o777 == file.mode
        });
        same_bytes && same_access
    });
    same_files && count_files(data) == tree.len()
}

fn count_files(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => count_files(&entry.path()),
            _ => 1,
        })
        .sum()
}

fn make_parents(root: &Path, folder: &Path, owner: Owner) -> io::Result<()> {
    if folder == root || folder.exists() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_parents(root, parent, owner)?;
    }
    DirBuilder::new().mode(0o755).create(folder)?;
    give(folder, owner)
}

/// Links the first part of each path, and takes away the links of files that are gone.
fn link_names(folder: &Path, tree: &Tree, owner: Owner) -> io::Result<()> {
    let names: BTreeSet<&str> = tree
        .keys()
        .map(|path| path.split('/').next().unwrap_or(path))
        .collect();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let known = name
            .to_str()
            .is_some_and(|name| name.starts_with("..") || names.contains(name));
        if !known {
            fs::remove_file(entry.path())?;
        }
    }
    for name in names {
        let link = folder.join(name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
            give_link(&link, owner)?;
        }
    }
    Ok(())
}

fn give(path: &Path, owner: Owner) -> io::Result<()> {
    match owner {
        Some((user, group)) => chown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}

fn give_link(path: &Path, owner: Owner) -> io::Result<()> {
    match owner {
        Some((user, group)) => lchown(path, Some(user), Some(group)),
        None => Ok(()),
    }
}
