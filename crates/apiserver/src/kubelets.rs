//! The kubelets' own APIs, by node.

use std::collections::BTreeMap;

use axum::Router;
use parking_lot::RwLock;
use springtide_machinery::error::ApiError;

/// The routers of the nodes' kubelets.
#[derive(Default)]
pub(crate) struct Kubelets(RwLock<BTreeMap<String, Router>>);

impl Kubelets {
    /// Makes a node's kubelet known, in place of an earlier one.
    pub(crate) fn attach(&self, node: &str, router: Router) {
        self.0.write().insert(node.to_owned(), router);
    }

    /// A node's kubelet.
    pub(crate) fn of(&self, node: &str) -> Result<Router, ApiError> {
        self.0.read().get(node).cloned().ok_or_else(|| {
            ApiError::unavailable(format!("the kubelet of node {node:?} is not running"))
        })
    }
}
