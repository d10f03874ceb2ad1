//! Linux capabilities by the names manifests use.

use serde::{Deserialize, Serialize};

/// Capability names in the kernel's order: the index is the number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What container runtimes grant when a manifest says nothing.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A set of capabilities. It never holds `SYS_ADMIN`, which in a pod's user namespace undoes the
/// masks and read-only binds that keep a container in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities(u64);

/// A name that is no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// Not one the kernel has.
    #[error("unknown capability {0:?}")]
    Unknown(String),
    /// One that no container may have here.
    #[error("capability {0:?} cannot be granted: it would let the container leave its root")]
    Refused(String),
}

impl Default for Capabilities {
    fn default() -> Self {
        Self(
            DEFAULT
                .iter()
                .filter_map(|name| number(name))
                .fold(0, |set, bit| set | 1 << bit),
        )
    }
}

impl Capabilities {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// The default set, changed as a `securityContext.capabilities` says: names with or without
    /// `CAP_`, `ALL` in either list; what is added wins over `drop: [ALL]`.
    pub fn adjusted<S: AsRef<str>>(add: &[S], drop: &[S]) -> Result<Self, CapabilityError> {
        let mut set = Self::default().0;
        if drop.iter().any(|name| is_all(name.as_ref())) {
            set = 0;
        }
        if add.iter().any(|name| is_all(name.as_ref())) {
            set = ((1 << NAMES.len()) - 1) & !SYS_ADMIN;
        }
        for name in add.iter().map(AsRef::as_ref).filter(|name| !is_all(name)) {
            let bit = 1 << parse(name)?;
            if bit == SYS_ADMIN {
                return Err(CapabilityError::Refused(name.to_owned()));
            }
            set |= bit;
        }
        for name in drop.iter().map(AsRef::as_ref).filter(|name| !is_all(name)) {
            set &= !(1 << parse(name)?);
        }
        Ok(Self(set))
    }

    /// The set as the kernel's bit mask.
    pub fn bits(self) -> u64 {
        self.0 & !SYS_ADMIN
    }

    /// Whether the set holds a capability.
    pub fn contains(self, name: &str) -> bool {
        number(name).is_some_and(|bit| self.bits() & (1 << bit) != 0)
    }
}

const SYS_ADMIN: u64 = 1 << 21;

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("ALL")
}

fn number(name: &str) -> Option<usize> {
    NAMES
        .iter()
        .position(|known| known.eq_ignore_ascii_case(name))
}

fn parse(name: &str) -> Result<usize, CapabilityError> {
    let plain = name
        .strip_prefix("CAP_")
        .or_else(|| name.strip_prefix("cap_"))
        .unwrap_or(name);
    number(plain).ok_or_else(|| CapabilityError::Unknown(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sys_admin_is_never_in_a_set() {
        assert!(!Capabilities::default().contains("SYS_ADMIN"));
        let all = Capabilities::adjusted(&["ALL"], &[]).unwrap();
        assert!(!all.contains("SYS_ADMIN") && all.contains("NET_ADMIN"));
        let refused = Capabilities::adjusted(&["CAP_SYS_ADMIN"], &[]);
        assert!(matches!(refused, Err(CapabilityError::Refused(_))));
        assert_eq!(SYS_ADMIN, 1 << number("SYS_ADMIN").unwrap());
    }

    #[test]
    fn drop_all_and_add_leaves_what_was_added() {
        let set = Capabilities::adjusted(&["NET_BIND_SERVICE"], &["ALL"]).unwrap();
        assert_eq!(set.bits(), 1 << 10);
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let refused = Capabilities::adjusted(&[], &["FLY"]);
        assert_eq!(refused, Err(CapabilityError::Unknown("FLY".into())));
    }
}
