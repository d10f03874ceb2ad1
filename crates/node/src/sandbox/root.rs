//! The root of a container of the `host` class.
//!
//! A tmpfs holds read-only recursive binds of the host's top-level folders, but for those that are
//! the container's own: home, root, run, tmp, proc, sys, dev. A mount path that does not exist in a
//! read-only bind is made by recomposing its parent: a tmpfs takes its place, and everything that
//! was in it is bound into that.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::keeper::EtcFiles;
use crate::sys::{self, Attributes, Follow};

/// What is mounted where, made ready by the keeper.
#[derive(Debug)]
pub(crate) struct PreparedMount {
    /// The mount, attached nowhere.
    pub(crate) tree: OwnedFd,
    /// Where it goes in the container.
    pub(crate) target: PathBuf,
    /// Whether it is a folder.
    pub(crate) is_folder: bool,
}

/// Everything a root is made from.
#[derive(Debug)]
pub(crate) struct RootPlan<'a> {
    pub(crate) mounts: &'a [PreparedMount],
    pub(crate) etc: &'a EtcFiles,
    pub(crate) read_only: bool,
    /// The running program, attached nowhere.
    pub(crate) program: BorrowedFd<'a>,
    /// Folders to show empty.
    pub(crate) hidden: &'a [PathBuf],
}

/// Folders that are not the host's.
const OWN_FOLDERS: [&str; 7] = ["home", "root", "run", "tmp", "proc", "sys", "dev"];

/// Of those, the ones the container may write, with their modes.
const WRITABLE: [(&str, &std::ffi::CStr); 5] = [
    ("home", c"755"),
    ("root", c"700"),
    ("run", c"755"),
    ("tmp", c"1777"),
    ("var/tmp", c"1777"),
];

const NO_SETUID_NO_DEVICES: Attributes = Attributes::NO_SETUID.and(Attributes::NO_DEVICES);

/// Where a fault is, in words.
fn at<'a>(what: &'a str, path: &'a Path) -> impl Fn(io::Error) -> String + 'a {
    move |error| format!("cannot {what} {}: {}", path.display(), sentence(&error))
}

/// An error without Rust's "(os error N)".
pub(crate) fn sentence(error: &io::Error) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = plain.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

/// Makes the root in the calling process' own mount namespace and moves into it.
pub(crate) fn enter(plan: &RootPlan<'_>) -> Result<(), String> {
    sys::make_mounts_private().map_err(at("make private", Path::new("/")))?;
    let tmpfs = sys::new_file_system(c"tmpfs", &[(c"mode", c"755")], NO_SETUID_NO_DEVICES)
        .map_err(at("mount a tmpfs for", Path::new("/")))?;
    // In one of the folders that are the container's own: nothing in it is bound.
    let place = ["/tmp", "/run", "/home", "/root"]
        .iter()
        .map(Path::new)
        .find(|place| sys::attach(tmpfs.as_fd(), None, place).is_ok())
        .ok_or("no folder of /tmp, /run, /home, /root exists to make a container's root in")?;
    let mut root = Builder {
        root: open_folder(None, place)?,
        recomposed: Vec::new(),
    };
    root.bind_host_folders()?;
    let writable = root.mount_own_folders()?;
    root.hide(plan.hidden)?;
    root.mount_proc()?;
    root.mount_sys()?;
    root.mount_dev()?;
    root.add_program(plan.program)?;
    root.replace_etc_files(plan.etc)?;
    let mut mounts: Vec<&PreparedMount> = plan.mounts.iter().collect();
    // A mount may be inside another, whatever the order they are listed in.
    mounts.sort_by_key(|mount| mount.target.components().count());
    for mount in mounts {
        root.add_mount(mount)?;
    }
    if plan.read_only {
        for folder in writable {
            sys::restrict(folder.as_fd(), Attributes::READ_ONLY, false)
                .map_err(at("write-protect a folder of", Path::new("/")))?;
        }
    }
    root.finish()
}

/// A root being made.
struct Builder {
    root: OwnedFd,
    /// Stand-ins for the host's folders, to be made read-only in the end.
    recomposed: Vec<OwnedFd>,
}

fn open_folder(from: sys::At<'_>, path: &Path) -> Result<OwnedFd, String> {
    sys::open_at(from, path, libc::O_PATH | libc::O_DIRECTORY, 0).map_err(at("open", path))
}

impl Builder {
    fn bind_host_folders(&self) -> Result<(), String> {
        let top = Path::new("/");
        let entries = fs::read_dir(top).map_err(at("read", top))?;
        for entry in entries {
            let entry = entry.map_err(at("read", top))?;
            let (name, path) = (entry.file_name(), entry.path());
            if OWN_FOLDERS.iter().any(|own| name == *own) {
                continue;
            }
            let kind = entry.file_type().map_err(at("look at", &path))?;
            let name = Path::new(&name);
            if kind.is_symlink() {
                let target = fs::read_link(&path).map_err(at("read", &path))?;
                sys::make_link(&target, self.root.as_fd(), name).map_err(at("link", &path))?;
            } else if kind.is_dir() {
                sys::make_folder(self.root.as_fd(), name, 0o755).map_err(at("make", &path))?;
                match sys::clone_tree(None, &path) {
                    Ok(tree) => {
                        self.attach_restricted(&tree, name, Attributes::READ_ONLY)?;
                    }
                    // What this user may not enter stays empty.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                    Err(error) => return Err(at("bind", &path)(error)),
                }
            }
        }
        Ok(())
    }

    /// Attaches a mount with set-user-id and devices off, and what is added.
    fn attach_restricted(
        &self,
        tree: &OwnedFd,
        target: &Path,
        more: Attributes,
    ) -> Result<(), String> {
        sys::restrict(tree.as_fd(), NO_SETUID_NO_DEVICES.and(more), true)
            .map_err(at("restrict the mount on", target))?;
        sys::attach(tree.as_fd(), Some(self.root.as_fd()), target).map_err(at("mount on", target))
    }

    fn mount_own_folders(&self) -> Result<Vec<OwnedFd>, String> {
        let mut mounted = Vec::new();
        for (name, mode) in WRITABLE {
            let target = Path::new(name);
            if !name.contains('/') {
                sys::make_folder(self.root.as_fd(), target, 0o755).map_err(at("make", target))?;
            } else if sys::find(self.root.as_fd(), target, Follow::Nothing).is_err() {
                // The host has no such folder, or a link in its place.
                continue;
            }
            mounted.push(self.mount_new(
                c"tmpfs",
                &[(c"mode", mode)],
                target,
                NO_SETUID_NO_DEVICES,
            )?);
        }
        Ok(mounted)
    }

    fn mount_new(
        &self,
        kind: &std::ffi::CStr,
        options: &[(&std::ffi::CStr, &std::ffi::CStr)],
        target: &Path,
        attributes: Attributes,
    ) -> Result<OwnedFd, String> {
        let mount = sys::new_file_system(kind, options, attributes)
            .map_err(at("make a file system for", target))?;
        sys::attach(mount.as_fd(), Some(self.root.as_fd()), target)
            .map_err(at("mount on", target))?;
        Ok(mount)
    }

    /// Covers folders with an empty one. A folder that cannot be reached needs no cover.
    fn hide(&self, hidden: &[PathBuf]) -> Result<(), String> {
        for path in hidden {
            if sys::find(self.root.as_fd(), path, Follow::InRoot)
                .is_ok_and(|found| is_folder(&found))
            {
                self.cover(path)?;
            }
        }
        Ok(())
    }

    /// Covers a folder with an empty one, or a file with an empty device.
    fn cover(&self, path: &Path) -> Result<(), String> {
        let Ok(found) = sys::find(self.root.as_fd(), path, Follow::InRoot) else {
            return Ok(());
        };
        let cover = if is_folder(&found) {
            let attributes = NO_SETUID_NO_DEVICES.and(Attributes::READ_ONLY);
            sys::new_file_system(c"tmpfs", &[(c"mode", c"555")], attributes)
        } else {
            sys::clone_tree(None, Path::new("/dev/null")).and_then(|device| {
                let attributes = Attributes::NO_SETUID.and(Attributes::NO_EXEC);
                sys::restrict(device.as_fd(), attributes, false).map(|()| device)
            })
        };
        cover
            .and_then(|cover| sys::attach(cover.as_fd(), Some(found.as_fd()), Path::new("")))
            .map_err(at("hide", path))
    }

    fn mount_proc(&self) -> Result<(), String> {
        let target = Path::new("proc");
        sys::make_folder(self.root.as_fd(), target, 0o555).map_err(at("make", target))?;
        let attributes = NO_SETUID_NO_DEVICES.and(Attributes::NO_EXEC);
        let own = self.mount_new(c"proc", &[], target, attributes).is_ok();
        if !own {
            // Refused where the outer /proc is covered in parts: that one then, which shows the
            // outer processes. The keeper has found this out and said so.
            let outer = sys::clone_tree(None, Path::new("/proc")).map_err(at("bind", target))?;
            self.attach_restricted(&outer, target, Attributes::READ_ONLY)?;
        }
        for covered in [
            "acpi",
            "asound",
            "interrupts",
            "kcore",
            "keys",
            "latency_stats",
            "sched_debug",
            "scsi",
            "timer_list",
            "timer_stats",
        ] {
            self.cover(&target.join(covered))?;
        }
        if !own {
            return Ok(());
        }
        for protected in ["bus", "fs", "irq", "sys", "sysrq-trigger"] {
            let path = target.join(protected);
            let Ok(found) = sys::find(self.root.as_fd(), &path, Follow::Nothing) else {
                continue;
            };
            let tree =
                sys::clone_tree(Some(found.as_fd()), Path::new("")).map_err(at("bind", &path))?;
            self.attach_restricted(&tree, &path, Attributes::READ_ONLY)?;
        }
        Ok(())
    }

    fn mount_sys(&self) -> Result<(), String> {
        let target = Path::new("sys");
        sys::make_folder(self.root.as_fd(), target, 0o555).map_err(at("make", target))?;
        let attributes = NO_SETUID_NO_DEVICES
            .and(Attributes::NO_EXEC)
            .and(Attributes::READ_ONLY);
        // Refused in the host's network namespace and where the outer one is covered: stays empty.
        if self.mount_new(c"sysfs", &[], target, attributes).is_ok() {
            for covered in ["firmware", "devices/virtual/powercap"] {
                self.cover(&target.join(covered))?;
            }
        }
        Ok(())
    }

    fn mount_dev(&self) -> Result<(), String> {
        let target = Path::new("dev");
        sys::make_folder(self.root.as_fd(), target, 0o755).map_err(at("make", target))?;
        let attributes = Attributes::NO_SETUID.and(Attributes::NO_EXEC);
        self.mount_new(
            c"tmpfs",
            &[(c"mode", c"755"), (c"size", c"64k")],
            target,
            attributes,
        )?;
        let dev = open_folder(Some(self.root.as_fd()), target)?;
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let outer = Path::new("/dev").join(name);
            let Ok(device) = sys::clone_tree(None, &outer) else {
                continue;
            };
            make_file(dev.as_fd(), Path::new(name), b"")?;
            sys::restrict(device.as_fd(), attributes, false).map_err(at("restrict", &outer))?;
            sys::attach(device.as_fd(), Some(dev.as_fd()), Path::new(name))
                .map_err(at("bind", &outer))?;
        }
        for (name, leads_to) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ] {
            sys::make_link(Path::new(leads_to), dev.as_fd(), Path::new(name))
                .map_err(at("link", Path::new(name)))?;
        }
        for name in ["pts", "shm", "mqueue"] {
            sys::make_folder(dev.as_fd(), Path::new(name), 0o755)
                .map_err(at("make", Path::new(name)))?;
        }
        let options = [(c"ptmxmode", c"0666"), (c"mode", c"0620")];
        self.mount_new(c"devpts", &options, &target.join("pts"), attributes)?;
        // Message queues may not be built into this kernel.
        let _ = self.mount_new(c"mqueue", &[], &target.join("mqueue"), attributes);
        // The pod's own, mounted by its init; without it, this container's own.
        let shared = sys::clone_tree(None, Path::new("/dev/shm"))
            .ok()
            .filter(is_writable_mount_of_own);
        match shared {
            Some(shared) => {
                self.attach_restricted(&shared, &target.join("shm"), Attributes::NO_EXEC)
            }
            None => self
                .mount_new(
                    c"tmpfs",
                    &[(c"mode", c"1777")],
                    &target.join("shm"),
                    attributes,
                )
                .map(drop),
        }
    }

    fn add_program(&self, program: BorrowedFd<'_>) -> Result<(), String> {
        let folder = self.make_folders(Path::new("run/springtide/bin"))?;
        make_file(folder.as_fd(), Path::new("tide"), b"")?;
        sys::attach(program, Some(folder.as_fd()), Path::new("tide"))
            .map_err(at("bind", Path::new("/run/springtide/bin/tide")))
    }

    fn make_folders(&self, path: &Path) -> Result<OwnedFd, String> {
        let mut folder = open_folder(Some(self.root.as_fd()), Path::new("."))?;
        for part in path.components() {
            let part = Path::new(part.as_os_str());
            match sys::make_folder(folder.as_fd(), part, 0o755) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(at("make", path)(error));
                }
                _ => folder = open_folder(Some(folder.as_fd()), part)?,
            }
        }
        Ok(folder)
    }

    fn replace_etc_files(&mut self, files: &EtcFiles) -> Result<(), String> {
        let sources = self.make_folders(Path::new("run/springtide/etc"))?;
        let all = [
            ("resolv.conf", &files.resolv_conf),
            ("hosts", &files.hosts),
            ("hostname", &files.hostname),
        ];
        let is_plain = |name: &str| {
            let path = Path::new("etc").join(name);
            sys::find(self.root.as_fd(), &path, Follow::Nothing).is_ok_and(|found| is_file(&found))
        };
        // A link is not followed but replaced, which takes an /etc that can be written.
        if !all.iter().all(|(name, _)| is_plain(name)) {
            let names = all.map(|(name, _)| OsStr::new(name));
            self.recompose(Path::new("etc"), &names)?;
        }
        for (name, text) in all {
            let name = Path::new(name);
            make_file(sources.as_fd(), name, text.as_bytes())?;
            let etc = open_folder(Some(self.root.as_fd()), Path::new("etc"))?;
            if !is_plain_in(&etc, name) {
                make_file(etc.as_fd(), name, b"")?;
            }
            sys::clone_tree(Some(sources.as_fd()), name)
                .and_then(|tree| sys::attach(tree.as_fd(), Some(etc.as_fd()), name))
                .map_err(at("replace", &Path::new("/etc").join(name)))?;
        }
        Ok(())
    }

    fn add_mount(&mut self, mount: &PreparedMount) -> Result<(), String> {
        let target = self.mount_point(&mount.target, mount.is_folder)?;
        sys::attach(mount.tree.as_fd(), Some(target.as_fd()), Path::new(""))
            .map_err(at("mount on", &mount.target))
    }

    /// Finds or makes the file or folder that something is mounted on.
    fn mount_point(&mut self, path: &Path, folder: bool) -> Result<OwnedFd, String> {
        let mut parts = Vec::new();
        for part in path.components() {
            match part {
                Component::Normal(part) => parts.push(part),
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(format!(
                        "mountPath {} must not contain '..'",
                        path.display()
                    ));
                }
            }
        }
        if parts.is_empty() {
            return Err("mountPath / would hide the container's root".to_owned());
        }
        let mut existing = PathBuf::new();
        for (index, part) in parts.iter().enumerate() {
            let next = existing.join(part);
            let is_last = index + 1 == parts.len();
            if sys::find(self.root.as_fd(), &next, Follow::InRoot).is_err() {
                self.make_in(&existing, Path::new(part), folder || !is_last)?;
            }
            existing = next;
        }
        let found =
            sys::find(self.root.as_fd(), &existing, Follow::InRoot).map_err(at("find", path))?;
        if is_folder(&found) == folder {
            Ok(found)
        } else if folder {
            Err(format!(
                "mountPath {} is a file, and the volume a folder",
                path.display()
            ))
        } else {
            Err(format!(
                "mountPath {} is a folder, and the volume a file",
                path.display()
            ))
        }
    }

    /// Makes a folder or an empty file, recomposing the parent when it cannot be written.
    fn make_in(&mut self, parent: &Path, name: &Path, folder: bool) -> Result<(), String> {
        let make = |parent: &OwnedFd| {
            if folder {
                sys::make_folder(parent.as_fd(), name, 0o755)
            } else {
                sys::open_at(
                    Some(parent.as_fd()),
                    name,
                    libc::O_CREAT | libc::O_WRONLY,
                    0o644,
                )
                .map(drop)
            }
        };
        let path = parent.join(name);
        let open = |root: &OwnedFd| {
            let parent = if parent.as_os_str().is_empty() {
                Path::new(".")
            } else {
                parent
            };
            sys::find(root.as_fd(), parent, Follow::InRoot).map_err(at("open", parent))
        };
        let is_read_only = |error: &io::Error| {
            matches!(
                error.raw_os_error(),
                Some(libc::EROFS | libc::EACCES | libc::EPERM)
            )
        };
        match make(&open(&self.root)?) {
            Err(error) if is_read_only(&error) => {
                self.recompose(parent, &[])?;
                make(&open(&self.root)?).map_err(at("make", &path))
            }
            other => other.map_err(at("make", &path)),
        }
    }

    /// Puts a tmpfs in a folder's place and binds into it what was there, but what is to be
    /// replaced.
    fn recompose(&mut self, path: &Path, replaced: &[&OsStr]) -> Result<(), String> {
        let old = sys::find(self.root.as_fd(), path, Follow::InRoot).map_err(at("open", path))?;
        let listed = sys::open_at(
            Some(old.as_fd()),
            Path::new("."),
            libc::O_RDONLY | libc::O_DIRECTORY,
            0,
        )
        .map_err(at("read", path))?;
        let tmpfs = sys::new_file_system(c"tmpfs", &[(c"mode", c"755")], NO_SETUID_NO_DEVICES)
            .map_err(at("make a file system for", path))?;
        sys::attach(tmpfs.as_fd(), Some(old.as_fd()), Path::new(""))
            .map_err(at("mount on", path))?;
        // The old folder's entries, through its descriptor: its path leads to the new one.
        let entries = fs::read_dir(format!("/proc/self/fd/{}", listed.as_raw_fd()))
            .map_err(at("read", path))?;
        for entry in entries {
            let entry = entry.map_err(at("read", path))?;
            let name = entry.file_name();
            if replaced.contains(&name.as_os_str()) {
                continue;
            }
            let kind = entry
                .file_type()
                .map_err(at("look at", &path.join(&name)))?;
            let name = Path::new(&name);
            let shown = path.join(name);
            if kind.is_symlink() {
                let target = fs::read_link(entry.path()).map_err(at("read", &shown))?;
                sys::make_link(&target, tmpfs.as_fd(), name).map_err(at("link", &shown))?;
                continue;
            }
            if kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device()
            {
                continue;
            }
            if kind.is_dir() {
                sys::make_folder(tmpfs.as_fd(), name, 0o755).map_err(at("make", &shown))?;
            } else {
                make_file(tmpfs.as_fd(), name, b"")?;
            }
            match sys::clone_tree(Some(listed.as_fd()), name) {
                Ok(tree) => sys::attach(tree.as_fd(), Some(tmpfs.as_fd()), name)
                    .map_err(at("bind", &shown))?,
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(at("bind", &shown)(error)),
            }
        }
        self.recomposed.push(tmpfs);
        Ok(())
    }

    fn finish(self) -> Result<(), String> {
        let top = Path::new("/");
        for folder in &self.recomposed {
            sys::restrict(folder.as_fd(), Attributes::READ_ONLY, false)
                .map_err(at("write-protect a folder of", top))?;
        }
        sys::restrict(self.root.as_fd(), Attributes::READ_ONLY, false)
            .map_err(at("write-protect", top))?;
        sys::pivot_root(self.root.as_fd()).map_err(at("move into", top))
    }
}

fn metadata(found: &OwnedFd) -> io::Result<fs::Metadata> {
    fs::metadata(format!("/proc/self/fd/{}", found.as_raw_fd()))
}

fn is_folder(found: &OwnedFd) -> bool {
    metadata(found).is_ok_and(|metadata| metadata.is_dir())
}

fn is_file(found: &OwnedFd) -> bool {
    metadata(found).is_ok_and(|metadata| metadata.is_file())
}

fn is_plain_in(folder: &OwnedFd, name: &Path) -> bool {
    sys::find(folder.as_fd(), name, Follow::Nothing).is_ok_and(|found| is_file(&found))
}

/// The init's /dev/shm, as against a host's that this user does not own.
fn is_writable_mount_of_own(folder: &OwnedFd) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata(folder).is_ok_and(|metadata| {
        metadata.uid() == sys::effective_ids().0 && metadata.permissions().mode() & 0o1777 == 0o1777
    })
}

fn make_file(folder: BorrowedFd<'_>, name: &Path, text: &[u8]) -> Result<(), String> {
    let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
    sys::open_at(Some(folder), name, flags, 0o644)
        .and_then(|file| io::Write::write_all(&mut fs::File::from(file), text))
        .map_err(at("write", name))
}
