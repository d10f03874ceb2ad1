//! Where a pod runs.
//!
//! [`place`] is the decision, a pure function: it filters the nodes as
//! Kubernetes' default plugins do, and of those left chooses the one with the
//! most room. [`run`] is the shell: it keeps the pods that wait, places them
//! by priority and age whenever something changes, binds them through
//! `pods/binding`, and tells why a pod cannot be placed in its condition
//! `PodScheduled` and in an event.
//!
//! ```text
//! Pod, Node caches ──> Cluster (what is used where) ── place ──> pods/binding
//!                                                   └─ Unschedulable ──> condition, event
//! ```

mod affinity;
mod cluster;
mod host_ports;
mod place;
mod requests;
mod shell;
mod taints;

pub use cluster::{Cluster, NodeView};
pub use host_ports::{HostPort, HostPorts};
pub use place::{Reason, Unschedulable, place};
pub use requests::Resources;
pub use shell::run;
