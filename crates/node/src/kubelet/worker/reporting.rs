//! When a pod's status is written: soon when something waits for it, else a little later, so that
//! changes that follow each other closely are one write.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::time::Instant;

use crate::kubelet::Shared;
use crate::kubelet::prepare::log_path;
use crate::kubelet::view::{Moment, PodView};
use crate::logs::last_lines;
use crate::status::{CONDITIONS, pod_status};
use crate::volumes::PodFolder;

/// How long a change that nobody waits for may wait for others.
const PATIENCE: Duration = Duration::from_millis(100);
/// How soon a status that could not be written is written again.
const AGAIN: Duration = Duration::from_secs(1);
/// The most of a termination message that is kept, in bytes.
const MOST_MESSAGE: u64 = 4096;
/// The most of a log that stands in for a termination message, in bytes and lines.
const MOST_LOG: (usize, usize) = (2048, 80);

/// What is known, and what the API was told, of a pod's status.
#[derive(Clone, Debug)]
pub(super) struct Reporting {
    /// The status as of the last look.
    current: PodStatus,
    /// The status in the API, as far as the kubelet owns it.
    told: PodStatus,
    /// Since when they differ.
    differs_since: Option<Instant>,
    in_flight: bool,
    not_before: Option<Instant>,
}

/// What is to be done about the status in the API.
pub(super) enum Due {
    /// It is as it should be.
    Nothing,
    /// It is to be looked at again, or an answer is to be waited for.
    At(Instant),
    /// This is to be written.
    Now(Box<PodStatus>),
}

impl Reporting {
    /// Begins with the status that the API has.
    pub(super) fn new(before: PodStatus) -> Self {
        Self {
            told: owned(&before),
            current: before,
            differs_since: None,
            in_flight: false,
            not_before: None,
        }
    }

    /// Notes the pod's status as it is now.
    pub(super) fn observe(&mut self, view: &PodView, node: IpAddr, now: Moment) -> PodStatus {
        self.current = pod_status(view, node, &self.current, now);
        if self.current == self.told {
            self.differs_since = None;
        } else {
            self.differs_since.get_or_insert(now.instant);
        }
        self.current.clone()
    }

    /// What is to be done now.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        let Some(since) = self.differs_since else {
            return Due::Nothing;
        };
        if self.in_flight {
            return Due::At(now + Duration::from_secs(60));
        }
        let patience = if is_urgent(&self.told, &self.current) {
            Duration::ZERO
        } else {
            PATIENCE
        };
        let at = (since + patience).max(self.not_before.unwrap_or(since));
        if at > now {
            return Due::At(at);
        }
        self.in_flight = true;
        Due::Now(Box::new(self.current.clone()))
    }

    /// Notes the answer to a write.
    pub(super) fn written(&mut self, status: PodStatus, done: bool, now: Instant) {
        self.in_flight = false;
        if done {
            self.told = status;
            self.not_before = None;
            self.differs_since = (self.current != self.told).then_some(now);
        } else {
            self.not_before = Some(now + AGAIN);
        }
    }

    /// The status as of the last look.
    pub(super) fn current(&self) -> &PodStatus {
        &self.current
    }
}

/// The part of a status that the kubelet writes.
fn owned(status: &PodStatus) -> PodStatus {
    let mut status = status.clone();
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| CONDITIONS.contains(&condition.type_.as_str()));
    }
    status
}

/// Whether somebody waits for the change: traffic for readiness, controllers for an end.
fn is_urgent(told: &PodStatus, current: &PodStatus) -> bool {
    let ready = |status: &PodStatus| {
        status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    let over = matches!(current.phase.as_deref(), Some("Succeeded" | "Failed"));
    ready(told) != ready(current) || (over && told.phase != current.phase)
}

/// What a run left as its termination message, by the policy of its container. `code` is its exit
/// code, where it is known.
pub(super) fn termination_message(
    shared: &Shared,
    folder: &PodFolder,
    pod: &Pod,
    container: &str,
    attempt: u32,
    code: Option<i32>,
) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let wanted =
        crate::kubelet::view::all_containers(spec).find(|wanted| wanted.name == container)?;
    let written = beginning(&folder.termination_message(container, attempt));
    if written.is_some() {
        return written;
    }
    let policy = wanted.termination_message_policy.as_deref();
    if policy == Some("FallbackToLogsOnError") && code != Some(0) {
        let log = log_path(&shared.config.log_dir, pod, container, attempt);
        let (bytes, lines) = MOST_LOG;
        return last_lines(&log, lines, bytes);
    }
    None
}

/// The beginning of a small file; `None` when it is empty or not there.
fn beginning(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    file.seek(SeekFrom::Start(0)).ok()?;
    let mut bytes = Vec::new();
    file.take(MOST_MESSAGE).read_to_end(&mut bytes).ok()?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}
