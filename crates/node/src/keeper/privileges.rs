//! Who the keeper runs as: root, or an ordinary user in a user namespace of its own.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use crate::sandbox::{IdSource, sentence};
use crate::sys;

/// What the host says about user namespaces; `None` where it has no such setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Policy {
    /// `user.max_user_namespaces`
    most: Option<u64>,
    /// `kernel.unprivileged_userns_clone` (Debian's)
    clone: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns` (Ubuntu's)
    apparmor: Option<u64>,
}

impl Policy {
    fn read() -> Self {
        let number = |name: &str| {
            fs::read_to_string(Path::new("/proc/sys").join(name))
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        Self {
            most: number("user/max_user_namespaces"),
            clone: number("kernel/unprivileged_userns_clone"),
            apparmor: number("kernel/apparmor_restrict_unprivileged_userns"),
        }
    }

    /// What to do about user namespaces that were refused with `error`.
    fn explain(self, rootless: bool, error: &io::Error) -> String {
        let way_out = if rootless {
            ", or run tide as root"
        } else {
            ""
        };
        let command = if self.most == Some(0) {
            "sysctl -w user.max_user_namespaces=15000"
        } else if rootless && self.clone == Some(0) {
            "sysctl -w kernel.unprivileged_userns_clone=1"
        } else if rootless && self.apparmor == Some(1) {
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
        } else if error.raw_os_error() == Some(libc::ENOSPC) {
            "sysctl -w user.max_user_namespaces=15000"
        } else {
            return format!(
                "this host refuses user namespaces ({}), which every pod needs; in a container, \
                 allow them in its seccomp profile (docker run --security-opt seccomp=unconfined){way_out}",
                sentence(error)
            );
        };
        format!(
            "this host forbids user namespaces ({}), which every pod needs; allow them with: sudo {command}{way_out}",
            sentence(error)
        )
    }
}

/// Makes sure that namespaces can be had: root stays where it is, everyone else enters a user
/// namespace. To be called before any thread exists. Tells whether this is without root, and
/// sentences for the user.
///
/// # Errors
/// A sentence that says what to do.
pub(super) fn enter() -> Result<(bool, Vec<String>), String> {
    let (uid, gid) = sys::effective_ids();
    if uid == 0 {
        return Ok((false, Vec::new()));
    }
    let policy = Policy::read();
    let refused = |error: io::Error| policy.explain(true, &error);
    let ranges = Ranges::of_user(uid);
    let mut warnings = Vec::new();
    match ranges {
        Some(ranges) => {
            if let Err(error) = enter_with_ranges(uid, gid, &ranges).map_err(refused)? {
                return Err(format!(
                    "cannot map the ids that /etc/subuid and /etc/subgid give this user: {error}"
                ));
            }
        }
        None => {
            sys::unshare(sys::NEW_USER | sys::NEW_MOUNT).map_err(refused)?;
            map_own(uid, gid).map_err(refused)?;
            warnings.push(
                "pods can have one user only, the one who runs tide: to run containers as other \
                 users, install uidmap and give your user ids in /etc/subuid and /etc/subgid"
                    .to_owned(),
            );
        }
    }
    // Under AppArmor's restriction the namespace is there but its capabilities are not.
    sys::make_mounts_slave().map_err(refused)?;
    Ok((true, warnings))
}

fn map_own(uid: u32, gid: u32) -> io::Result<()> {
    fs::write("/proc/self/uid_map", format!("0 {uid} 1\n"))?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1\n"))
}

/// Subordinate ids of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ranges {
    uids: (u32, u32),
    gids: (u32, u32),
}

impl Ranges {
    /// What the host gives a user, if the programs that map it are there.
    fn of_user(uid: u32) -> Option<Self> {
        let path = std::env::var("PATH").unwrap_or_default();
        let is_there = |program: &str| path.split(':').any(|p| Path::new(p).join(program).exists());
        if !is_there("newuidmap") || !is_there("newgidmap") {
            return None;
        }
        let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = account_name(&accounts, uid);
        let range = |file| {
            fs::read_to_string(file)
                .ok()
                .and_then(|text| subordinate_range(&text, name, uid))
        };
        Some(Self {
            uids: range("/etc/subuid")?,
            gids: range("/etc/subgid")?,
        })
    }
}

fn account_name(accounts: &str, uid: u32) -> Option<&str> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// The first range of a user in a file of `NAME_OR_UID:FIRST:COUNT` lines.
fn subordinate_range(text: &str, name: Option<&str>, uid: u32) -> Option<(u32, u32)> {
    let uid = uid.to_string();
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (Some(owner) == name || owner == uid).then_some((first, count))
    })
}

/// The outer error is the kernel's refusal of the namespace, the inner one the mapping's.
fn enter_with_ranges(uid: u32, gid: u32, ranges: &Ranges) -> io::Result<Result<(), String>> {
    let (mut entered, mut enter) = io::pipe()?;
    let (mut failed, mut fail) = io::pipe()?;
    let keeper = std::process::id();
    // The maps must be written from outside: by a child that was there before.
    let mapper = sys::spawn(0, || {
        let mut signal = [0];
        if entered.read_exact(&mut signal).is_err() {
            return 1;
        }
        let map = |program: &str, own: u32, (first, count): (u32, u32)| {
            Command::new(program)
                .args([keeper, 0, own, 1, 1, first, count].map(|number| number.to_string()))
                .output()
                .map_err(|error| format!("{program}: {}", sentence(&error)))
                .and_then(|output| {
                    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                    if output.status.success() {
                        Ok(())
                    } else {
                        Err(said)
                    }
                })
        };
        let mapped =
            map("newuidmap", uid, ranges.uids).and_then(|()| map("newgidmap", gid, ranges.gids));
        match mapped {
            Ok(()) => 0,
            Err(said) => {
                let _ = fail.write_all(said.as_bytes());
                1
            }
        }
    })?;
    drop(fail);
    let unshared = sys::unshare(sys::NEW_USER | sys::NEW_MOUNT);
    if unshared.is_ok() {
        enter.write_all(&[0])?;
    }
    drop(enter);
    let ended = sys::reap(Some(mapper), true)?;
    unshared?;
    if ended.is_some_and(|(_, ended)| ended.code() == 0) {
        // Inside, this process is root; it becomes so only now that there are maps.
        sys::become_user(0, 0, None)?;
        return Ok(Ok(()));
    }
    let mut said = String::new();
    failed.read_to_string(&mut said)?;
    Ok(Err(said))
}

/// Whether a pod's own `/proc` can be mounted, found out by doing so.
///
/// # Errors
/// When pods cannot have namespaces at all, with what to do.
pub(super) fn try_namespaces(ids: IdSource, rootless: bool) -> Result<bool, String> {
    let refused = |error: io::Error| Policy::read().explain(rootless, &error);
    let (mut mapped, mut map) = io::pipe().map_err(refused)?;
    let flags = sys::NEW_USER | sys::NEW_MOUNT | sys::NEW_PID | sys::NEW_NETWORK;
    let child = sys::spawn(flags, || {
        if mapped.read_exact(&mut [0]).is_err() {
            return 2;
        }
        i32::from(sys::new_file_system(c"proc", &[], sys::Attributes::default()).is_err())
    })
    .map_err(refused)?;
    let written = ids
        .for_pod(0, None)
        .write(child)
        .and_then(|()| map.write_all(&[0]));
    drop(map);
    let ended = sys::reap(Some(child), true).map_err(refused)?;
    written.map_err(refused)?;
    match ended.map(|(_, ended)| ended.code()) {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err("a process in new namespaces ended before it could do anything".to_owned()),
    }
}

/// Opens the running program, so that it can be found wherever it was built and whatever becomes
/// of its path.
pub(super) fn open_program() -> io::Result<std::os::fd::OwnedFd> {
    let path = fs::read_link("/proc/self/exe")?;
    // A program that was replaced while it runs is still there, but not by its path.
    sys::open_at(None, &path, libc::O_PATH, 0).or_else(|_| {
        let program = fs::File::open("/proc/self/exe")?;
        program.as_fd().try_clone_to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_command_that_allows_it() {
        let denied = io::Error::from_raw_os_error(libc::EPERM);
        let cases = [
            (
                Policy {
                    most: Some(0),
                    ..Policy::default()
                },
                "user.max_user_namespaces=15000",
            ),
            (
                Policy {
                    clone: Some(0),
                    ..Policy::default()
                },
                "unprivileged_userns_clone=1",
            ),
            (
                Policy {
                    apparmor: Some(1),
                    ..Policy::default()
                },
                "apparmor_restrict_unprivileged_userns=0",
            ),
            (Policy::default(), "seccomp=unconfined"),
        ];
        for (policy, command) in cases {
            let text = policy.explain(true, &denied);
            assert!(text.contains(command), "{text}");
        }
    }

    #[test]
    fn subordinate_ids_are_found_by_name_or_number() {
        let text = "root:1:2\nada:100000:65536\n1001:300000:65536\n";
        assert_eq!(
            subordinate_range(text, Some("ada"), 1000),
            Some((100_000, 65_536))
        );
        assert_eq!(subordinate_range(text, None, 1001), Some((300_000, 65_536)));
        assert_eq!(subordinate_range(text, Some("bob"), 1002), None);
        assert_eq!(
            account_name("root:x:0:0::/:/bin/sh\nada:x:1000:1000::/:/bin/sh", 1000),
            Some("ada")
        );
    }
}
