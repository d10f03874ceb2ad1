//! Which cgroups this process may use, and the folder it makes there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{CgroupMode, Group, Limits, V1Folders, kill_listed, make_folder, remove_tree};

/// The groups of this keeper.
#[derive(Debug)]
pub(crate) struct Cgroups {
    root: Group,
}

const PREFIX: &str = "springtide-";
/// Where the keeper is when its group may hold no process itself.
const LEAF: &str = "keeper";
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// How long the processes of a dead keeper may take to be gone, and how often that is looked at.
const DYING: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);

impl Cgroups {
    /// Finds what can be used, removes what dead keepers left, makes this keeper's own group.
    /// Never fails: the last resort is [`CgroupMode::Proc`]. The sentences are for the user.
    pub(crate) fn set_up() -> (Self, Vec<String>) {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let name = own_name();
        if let Some(root) = set_up_v2(&mounts, &own, &name) {
            return (Self { root }, Vec::new());
        }
        let folders = set_up_v1(&mounts, &own, &name);
        let missing: Vec<&str> = [
            ("cpu", &folders.cpu),
            ("memory", &folders.memory),
            ("pids", &folders.pids),
        ]
        .into_iter()
        .filter_map(|(controller, folder)| folder.is_none().then_some(controller))
        .collect();
        if missing.len() == CONTROLLERS.len() {
            let warning = "no cgroup can be written: CPU and memory limits are not enforced, and \
                           use is measured from /proc; to have them enforced, run as root or in a \
                           delegated scope: systemd-run --user --scope -p Delegate=yes tide up";
            return (
                Self {
                    root: Group::Absent,
                },
                vec![warning.to_owned()],
            );
        }
        let warnings = if missing.is_empty() {
            Vec::new()
        } else {
            let missing = missing.join(" and ");
            vec![format!(
                "the cgroup controllers {missing} cannot be written: limits on them are not enforced"
            )]
        };
        let root = Group::V1(folders);
        // Beside everything else on the machine, which here is weighed process by process, all pods
        // together weigh as much as its cores: as in Kubernetes. What cannot be set stays as it is.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let whole_machine = Limits {
            cpu_request_millis: u64::try_from(cores).ok().map(|cores| cores * 1000),
            ..Limits::default()
        };
        let _ = root.limit(&whole_machine);
        (Self { root }, warnings)
    }

    /// What was set up before, by an older version of this process.
    pub(crate) fn at(root: Group) -> Self {
        Self { root }
    }

    pub(crate) fn root(&self) -> &Group {
        &self.root
    }

    pub(crate) fn mode(&self) -> CgroupMode {
        match self.root {
            Group::V2(_) => CgroupMode::V2,
            Group::V1(_) => CgroupMode::V1,
            Group::Absent => CgroupMode::Proc,
        }
    }

    /// Makes a pod's group.
    pub(crate) fn pod(&self, uid: &str) -> io::Result<Group> {
        self.root.child(&format!("pod{uid}"))
    }

    /// Removes this keeper's group, with all in it. False as long as something in it runs.
    pub(crate) fn remove(&self) -> bool {
        if let Group::V2(folder) = &self.root
            && folder.join(LEAF).exists()
        {
            return leave_v2(folder);
        }
        self.root.remove()
    }
}

/// Goes back to where this process was before [`set_up_v2_in`] moved it into a leaf.
fn leave_v2(folder: &Path) -> bool {
    let pods = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            entry.file_name() != LEAF && entry.file_type().is_ok_and(|kind| kind.is_dir())
        });
    if pods.filter(|pod| !remove_tree(&pod.path())).count() > 0 {
        return false;
    }
    // A group takes processes again when it hands on no controller. What is left in spite of this
    // is removed by the next keeper, or with the scope.
    for group in [Some(folder), folder.parent()].into_iter().flatten() {
        let _ = fs::write(group.join("cgroup.subtree_control"), "-cpu -memory -pids");
    }
    if let Some(parent) = folder.parent() {
        let _ = fs::write(parent.join("cgroup.procs"), std::process::id().to_string());
    }
    remove_tree(folder);
    true
}

/// Tells this keeper from every other, past ones with the same process id included.
fn own_name() -> String {
    let pid = std::process::id();
    let started = started(pid).unwrap_or(0);
    let namespace = pid_namespace().unwrap_or(0);
    format!("{PREFIX}{pid}-{started}-{namespace}")
}

/// When a process started, in ticks since the machine did.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

/// What tells the processes that are numbered like this one from those of a container, whose groups can be seen
/// too: nothing can be said here of who lives there.
fn pid_namespace() -> Option<u64> {
    Some(fs::metadata("/proc/self/ns/pid").ok()?.ino())
}

/// Whether a folder belongs to a keeper that is no more.
fn is_stale(name: &str) -> bool {
    let Some(owner) = name.strip_prefix(PREFIX) else {
        return false;
    };
    let numbers: Result<Vec<u64>, _> = owner.split('-').map(str::parse).collect();
    let Ok([pid, time, namespace]) = numbers.as_deref() else {
        return false;
    };
    let Ok(pid) = u32::try_from(*pid) else {
        return false;
    };
    pid_namespace() == Some(*namespace) && started(pid) != Some(*time)
}

/// Removes what dead keepers have left in a group, and in those beside it: each session of a user has one of its own.
fn remove_stale(group: &Path) {
    let beside = group.parent().map(folders_in).unwrap_or_default();
    let mut stale: Vec<PathBuf> = std::iter::once(group.to_owned())
        .chain(beside)
        .flat_map(|group| folders_in(&group))
        .filter(|folder| {
            let name = folder.file_name().and_then(|name| name.to_str());
            name.is_some_and(is_stale)
        })
        .collect();
    // All in them die with their keeper; this is for what is still dying, which takes its time.
    for folder in &stale {
        kill_tree(folder);
    }
    for _ in 0..DYING.as_millis() / LOOK.as_millis() {
        stale.retain(|folder| !remove_tree(folder) && is_busy(folder));
        if stale.is_empty() {
            return;
        }
        std::thread::park_timeout(LOOK);
    }
}

/// Whether a folder is still there because something runs in it, and not because it is another's.
fn is_busy(folder: &Path) -> bool {
    fs::remove_dir(folder).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn kill_tree(folder: &Path) {
    kill_listed(folder);
    for inner in folders_in(folder) {
        kill_tree(&inner);
    }
}

/// One line of `/proc/self/mountinfo` that is about cgroups.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy<'a> {
    /// The folder of the hierarchy that is mounted.
    root: &'a str,
    at: &'a str,
    /// `cgroup` or `cgroup2`.
    kind: &'a str,
    /// Options, which name the controllers of a v1 hierarchy.
    options: &'a str,
}

fn hierarchies(mounts: &str) -> impl Iterator<Item = Hierarchy<'_>> {
    mounts.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let (root, at) = (before.next()?, before.next()?);
        let mut after = after.split(' ');
        let (kind, _, options) = (after.next()?, after.next()?, after.next()?);
        kind.starts_with("cgroup").then_some(Hierarchy {
            root,
            at,
            kind,
            options,
        })
    })
}

impl Hierarchy<'_> {
    /// The folder of a group, when it is within what is mounted.
    fn folder(&self, group: &str) -> Option<PathBuf> {
        let below = if self.root == "/" {
            group
        } else {
            group.strip_prefix(self.root)?
        };
        Some(Path::new(self.at).join(below.trim_start_matches('/')))
    }
}

/// This process' group in the hierarchy of `controller` (empty: v2).
fn own_group<'a>(own: &'a str, controller: &str) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next()?, fields.next()?);
        controllers
            .split(',')
            .any(|name| name == controller)
            .then_some(group)
    })
}

fn set_up_v1(mounts: &str, own: &str, name: &str) -> V1Folders {
    let folder = |controller: &str| {
        let hierarchy = hierarchies(mounts).find(|hierarchy| {
            hierarchy.kind == "cgroup" && hierarchy.options.split(',').any(|o| o == controller)
        })?;
        let parent = hierarchy.folder(own_group(own, controller)?)?;
        remove_stale(&parent);
        let folder = parent.join(name);
        make_folder(&folder).ok().map(|()| folder)
    };
    V1Folders {
        cpu: folder("cpu"),
        cpuacct: folder("cpuacct"),
        memory: folder("memory"),
        pids: folder("pids"),
        freezer: folder("freezer"),
    }
}

/// The group this process is in when it may hand controllers on, or the hierarchy's root, where
/// processes and controllers may be side by side.
fn set_up_v2(mounts: &str, own: &str, name: &str) -> Option<Group> {
    let hierarchy = hierarchies(mounts).find(|hierarchy| hierarchy.kind == "cgroup2")?;
    let own = hierarchy.folder(own_group(own, "")?);
    let parents = own.into_iter().chain([PathBuf::from(hierarchy.at)]);
    parents.into_iter().find_map(|parent| {
        let available = fs::read_to_string(parent.join("cgroup.controllers")).ok()?;
        let has_all = CONTROLLERS
            .iter()
            .all(|c| available.split_whitespace().any(|a| a == *c));
        has_all.then(|| set_up_v2_in(&parent, name).ok()).flatten()
    })
}

fn set_up_v2_in(parent: &Path, name: &str) -> io::Result<Group> {
    remove_stale(parent);
    let control = parent.join("cgroup.subtree_control");
    let folder = parent.join(name);
    make_folder(&folder)?;
    let hand_on = || fs::write(&control, "+cpu +memory +pids");
    let set_up = hand_on()
        .or_else(|_| {
            // A group hands controllers on only when no process is in it itself: this one moves
            // into a leaf. If others are there too, this group is not ours to use.
            let leaf = folder.join(LEAF);
            make_folder(&leaf)?;
            fs::write(leaf.join("cgroup.procs"), std::process::id().to_string())?;
            hand_on()
        })
        .and_then(|()| fs::write(folder.join("cgroup.subtree_control"), "+cpu +memory +pids"));
    match set_up {
        Ok(()) => Ok(Group::V2(folder)),
        Err(error) => {
            // Back to where it was, and nothing left behind.
            let _ = fs::write(parent.join("cgroup.procs"), std::process::id().to_string());
            remove_tree(&folder);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
24 20 0:21 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro
30 24 0:26 /docker/abc /sys/fs/cgroup/memory rw shared:13 - cgroup cgroup rw,memory
31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn own_groups_are_found_in_each_hierarchy() {
        let own = "5:memory:/docker/abc/x\n4:cpu,cpuacct:/user\n0::/init.scope\n";
        let folder = |controller: &str, kind: &str| {
            let hierarchy = hierarchies(MOUNTS).find(|h| {
                h.kind == kind && (kind == "cgroup2" || h.options.contains(controller))
            })?;
            hierarchy.folder(own_group(own, controller)?)
        };
        assert_eq!(
            folder("memory", "cgroup"),
            Some("/sys/fs/cgroup/memory/x".into())
        );
        assert_eq!(
            folder("cpuacct", "cgroup"),
            Some("/sys/fs/cgroup/cpu,cpuacct/user".into())
        );
        assert_eq!(
            folder("", "cgroup2"),
            Some("/sys/fs/cgroup/unified/init.scope".into())
        );
        assert_eq!(folder("pids", "cgroup"), None);
    }

    #[test]
    fn a_living_keepers_groups_are_not_stale_and_a_dead_ones_are() {
        let own = std::process::id();
        let namespace = pid_namespace().unwrap();
        assert!(!is_stale(&own_name()));
        assert!(is_stale(&format!("{PREFIX}{own}-0-{namespace}")));
        assert!(is_stale(&format!("springtide-4194305-77-{namespace}")));
        // Whether that one lives cannot be seen from here.
        assert!(!is_stale(&format!(
            "springtide-4194305-77-{}",
            namespace + 1
        )));
        assert!(!is_stale("springtide-4194305-77"));
        assert!(!is_stale("springtide-mine"));
        assert!(!is_stale("user.slice"));
    }

    #[test]
    fn what_dead_keepers_left_is_removed_from_a_group_and_those_beside_it() {
        let slice = tempfile::tempdir().unwrap();
        let namespace = pid_namespace().unwrap();
        let dead = format!("springtide-4194305-77-{namespace}");
        let living = own_name();
        let make = |path: String| fs::create_dir_all(slice.path().join(path)).unwrap();
        for session in ["session-1", "session-2"] {
            make(format!("{session}/{dead}/pod1/web"));
            make(format!("{session}/{living}/pod2"));
            make(format!("{session}/springtide-mine/{dead}"));
        }
        remove_stale(&slice.path().join("session-2"));
        for session in ["session-1", "session-2"] {
            let there = |path: String| slice.path().join(session).join(path).exists();
            assert!(!there(dead.clone()), "{session}");
            assert!(there(format!("{living}/pod2")), "{session}");
            assert!(there(format!("springtide-mine/{dead}")), "{session}");
        }
    }
}
