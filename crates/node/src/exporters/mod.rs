//! What the node knows, as metrics with the names and labels of those who usually tell them.
//!
//! - [`cadvisor`]: what containers use, as cAdvisor tells it
//! - [`kubelet`]: what the kubelet has to do
//! - [`host`]: the machine, as node_exporter tells of it

pub(crate) mod cadvisor;
pub(crate) mod host;
pub(crate) mod kubelet;
