//! The kubelets' own APIs, by node, and those of parts of the program, by Service.

use std::collections::BTreeMap;

use axum::Router;
use parking_lot::RwLock;
use springtide_machinery::error::ApiError;

/// The routers of parts of the program that Services stand for, by namespace and name.
#[derive(Default)]
pub(crate) struct OwnServices(RwLock<BTreeMap<(String, String), Router>>);

impl OwnServices {
    /// Makes a part known, in place of an earlier one.
    pub(crate) fn attach(&self, namespace: &str, name: &str, router: Router) {
        let key = (namespace.to_owned(), name.to_owned());
        self.0.write().insert(key, router);
    }

    /// Forgets a part; one that is not there is no error.
    pub(crate) fn detach(&self, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        self.0.write().remove(&key);
    }

    /// The part behind a Service.
    pub(crate) fn of(&self, namespace: &str, name: &str) -> Option<Router> {
        let key = (namespace.to_owned(), name.to_owned());
        self.0.read().get(&key).cloned()
    }
}

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
