//! What each kind gets where its author said nothing: the values Kubernetes 1.36 fills in.
//!
//! One file per kind; each works on the storage version and may be applied twice.

pub(crate) mod apps;
pub(crate) mod core;
pub(crate) mod horizontal_pod_autoscaler;
pub(crate) mod pod;
pub(crate) mod service;

use serde_json::Value;

/// A kind without defaults.
pub(crate) fn none(_: &mut Value) {}
