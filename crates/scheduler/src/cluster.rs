use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use springtide_client::pods;

use crate::{HostPort, HostPorts, Resources};

/// A node, and what of it is used.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// The node.
    pub node: Arc<Node>,
    /// What pods may use together.
    pub allocatable: Resources,
    /// What its pods ask for together.
    pub used: Resources,
    /// How many pods it may have.
    pub pod_bound: i64,
    /// How many pods it has.
    pub pod_count: i64,
    /// Its ports that are taken.
    pub ports: HostPorts,
}

/// All nodes by name, with what is used of each.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    nodes: BTreeMap<String, NodeView>,
}

impl NodeView {
    /// A node without pods.
    pub fn empty(node: Arc<Node>) -> Self {
        let status = node.status.as_ref();
        let listed =
            status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        let allocatable = listed.map(Resources::of).unwrap_or_default();
        let pod_bound = i64::try_from(allocatable.get("pods") / 1_000_000_000).unwrap_or(i64::MAX);
        Self {
            node,
            allocatable,
            used: Resources::default(),
            pod_bound,
            pod_count: 0,
            ports: HostPorts::default(),
        }
    }

    /// Counts a pod that runs, or is going to, on this node.
    pub fn occupy(&mut self, pod: &Pod) {
        self.used.add(&Resources::asked_by(pod));
        self.pod_count += 1;
        self.ports.take(HostPort::asked_by(pod));
    }
}

impl Cluster {
    /// Nodes with the pods that are bound to them and have not ended.
    pub fn new<'a>(
        nodes: impl IntoIterator<Item = Arc<Node>>,
        bound: impl IntoIterator<Item = &'a Pod>,
    ) -> Self {
        let nodes = nodes
            .into_iter()
            .map(|node| (node.name_any(), NodeView::empty(node)));
        let mut cluster = Self {
            nodes: nodes.collect(),
        };
        for pod in bound {
            if let Some(name) = pods::node_name(pod).filter(|_| !pods::is_terminal(pod)) {
                cluster.occupy(name, pod);
            }
        }
        cluster
    }

    /// Counts a pod on the node of this name, if there is one.
    pub fn occupy(&mut self, node: &str, pod: &Pod) {
        if let Some(view) = self.nodes.get_mut(node) {
            view.occupy(pod);
        }
    }

    /// The nodes, sorted by name.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeView> {
        self.nodes.values()
    }
}
