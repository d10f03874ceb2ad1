//! Which ids of the host a pod's users are.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::keeper::Ids;
use crate::sys;

/// How many users and groups a pod has where there are enough.
pub(crate) const IDS_OF_A_POD: u32 = 65_536;

/// Below these, hosts have accounts, directory services and subordinate ids.
const ABOVE_ALL_ACCOUNTS: u32 = 1 << 31;

/// Which ids, as the keeper sees them, are there for pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdSource {
    /// Blocks of [`IDS_OF_A_POD`] from `first` on: pod `n` gets block `n` modulo `blocks`.
    Blocks { first: u32, blocks: u32 },
    /// Only the one the keeper has.
    Own,
}

impl IdSource {
    /// Decides by the keeper's own maps (`/proc/self/uid_map` and `gid_map`).
    pub(crate) fn choose(uid_map: &str, gid_map: &str) -> Self {
        let mapped = mapped_ids(uid_map).min(mapped_ids(gid_map));
        if mapped > u64::from(ABOVE_ALL_ACCOUNTS) + u64::from(IDS_OF_A_POD) {
            let blocks = (mapped - u64::from(ABOVE_ALL_ACCOUNTS)) / u64::from(IDS_OF_A_POD);
            return Self::Blocks {
                first: ABOVE_ALL_ACCOUNTS,
                blocks: blocks as u32,
            };
        }
        // Inside another user namespace: everything but id 0, which is the keeper's own.
        if mapped > u64::from(IDS_OF_A_POD) {
            let blocks = (mapped - 1) / u64::from(IDS_OF_A_POD);
            let first = mapped - blocks * u64::from(IDS_OF_A_POD);
            return Self::Blocks {
                first: first as u32,
                blocks: blocks as u32,
            };
        }
        Self::Own
    }

    pub(crate) fn of_this_process() -> io::Result<Self> {
        let uids = fs::read_to_string("/proc/self/uid_map")?;
        let gids = fs::read_to_string("/proc/self/gid_map")?;
        Ok(Self::choose(&uids, &gids))
    }

    pub(crate) fn kind(self) -> Ids {
        match self {
            Self::Blocks { .. } => Ids::Range,
            Self::Own => Ids::One,
        }
    }

    /// The ids of the `n`th pod.
    pub(crate) fn for_pod(self, n: u32, single_user: Option<(u32, u32)>) -> PodIds {
        match self {
            Self::Blocks { first, blocks } => {
                let outside = first + (n % blocks) * IDS_OF_A_POD;
                PodIds {
                    inside: (0, 0),
                    outside: (outside, outside),
                    count: IDS_OF_A_POD,
                }
            }
            Self::Own => PodIds {
                inside: single_user.unwrap_or((0, 0)),
                outside: sys::effective_ids(),
                count: 1,
            },
        }
    }
}

/// Ids below which all are mapped, counted from 0.
fn mapped_ids(map: &str) -> u64 {
    let mut ranges: Vec<(u64, u64)> = map
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().map(str::parse);
            let (Some(Ok(inside)), _, Some(Ok(count))) =
                (fields.next(), fields.next(), fields.next())
            else {
                return None;
            };
            Some((inside, count))
        })
        .collect();
    ranges.sort_unstable();
    ranges.into_iter().fold(0, |end, (inside, count)| {
        if inside <= end {
            end.max(inside + count)
        } else {
            end
        }
    })
}

/// A pod's users and groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodIds {
    /// The first user and group, as the pod sees them.
    pub(crate) inside: (u32, u32),
    /// The same, as the keeper sees them.
    pub(crate) outside: (u32, u32),
    /// How many of each.
    pub(crate) count: u32,
}

impl PodIds {
    /// Writes the maps of a process that is in a new user namespace.
    pub(crate) fn write(&self, pid: i32) -> io::Result<()> {
        let line = |inside, outside| format!("{inside} {outside} {}\n", self.count);
        fs::write(
            format!("/proc/{pid}/uid_map"),
            line(self.inside.0, self.outside.0),
        )?;
        fs::write(
            format!("/proc/{pid}/gid_map"),
            line(self.inside.1, self.outside.1),
        )
    }

    pub(crate) fn has_user(&self, uid: u32) -> bool {
        uid.checked_sub(self.inside.0)
            .is_some_and(|offset| offset < self.count)
    }

    pub(crate) fn has_group(&self, gid: u32) -> bool {
        gid.checked_sub(self.inside.1)
            .is_some_and(|offset| offset < self.count)
    }

    /// Whether supplementary groups can be set.
    pub(crate) fn has_groups(&self) -> bool {
        self.count > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_of_root_get_ids_no_account_has() {
        let all = "         0          0 4294967295\n";
        let source = IdSource::choose(all, all);
        assert_eq!(
            source,
            IdSource::Blocks {
                first: 1 << 31,
                blocks: 32_767
            }
        );
        let (first, second) = (source.for_pod(0, None), source.for_pod(1, None));
        assert_eq!(first.outside, (1 << 31, 1 << 31));
        assert_eq!(second.outside.0 - first.outside.0, IDS_OF_A_POD);
        let last = source.for_pod(32_766, None).outside.0;
        assert!(u64::from(last) + u64::from(IDS_OF_A_POD) <= 4_294_967_295);
    }

    #[test]
    fn subordinate_ids_are_used_without_the_users_own() {
        let map = "0 1000 1\n1 100000 65536\n";
        assert_eq!(
            IdSource::choose(map, map),
            IdSource::Blocks {
                first: 1,
                blocks: 1
            }
        );
    }

    #[test]
    fn one_mapped_id_is_the_only_one_a_pod_has() {
        assert_eq!(IdSource::choose("0 1000 1\n", "0 1000 1\n"), IdSource::Own);
        let ids = IdSource::Own.for_pod(3, Some((1000, 2000)));
        assert!(ids.has_user(1000) && !ids.has_user(0) && ids.has_group(2000));
        assert!(!ids.has_groups());
    }
}
