//! Metrics about what others know: the cluster's objects, and this process.
//!
//! What a part measures itself is counted in the part's own crate.

pub mod kube_state;
pub mod process;
