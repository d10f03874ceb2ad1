//! Metrics about what others know: the cluster's objects, and this process; and the way to all built-in exporters.
//!
//! What a part measures itself is counted in the part's own crate.

mod builtin;
pub mod kube_state;
pub mod process;

pub use builtin::{Exporter, Exporters, Written, builtin_jobs};
