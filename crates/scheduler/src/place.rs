//! The decision: which node a pod runs on, or why on none.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::{Cluster, HostPort, NodeView, Resources, affinity, taints};

/// Why a node cannot take a pod. The texts are those of Kubernetes' plugins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The node takes no new pods.
    Cordoned,
    /// The pod names another node.
    OtherName,
    /// The node has taints the pod does not bear.
    Tainted,
    /// The pod does not select the node.
    NotSelected,
    /// A host port is taken.
    PortTaken,
    /// The node has as many pods as it may have.
    TooManyPods,
    /// There is not enough left of a resource.
    Insufficient(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cordoned => f.write_str("node(s) were unschedulable"),
            Self::OtherName => f.write_str("node(s) didn't match the requested node name"),
            Self::Tainted => f.write_str("node(s) had untolerated taint(s)"),
            Self::NotSelected => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Self::PortTaken => {
                f.write_str("node(s) didn't have free ports for the requested pod ports")
            }
            Self::TooManyPods => f.write_str("Too many pods"),
            Self::Insufficient(resource) => write!(f, "Insufficient {resource}"),
        }
    }
}

/// Why a pod can be placed nowhere. Displayed as Kubernetes words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unschedulable {
    /// How many nodes there are.
    pub nodes: usize,
    /// How many nodes cannot take the pod for each reason; a node may have several.
    pub reasons: BTreeMap<Reason, usize>,
    /// Nodes that could not take the pod even without other pods.
    pub hopeless: usize,
    /// The pod would never make others leave.
    pub never_preempts: bool,
}

impl fmt::Display for Unschedulable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let mut told: Vec<String> = self
            .reasons
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        told.sort();
        write!(
            f,
            "0/{} nodes are available: {}.",
            self.nodes,
            told.join(", ")
        )?;
        if self.never_preempts {
            return f.write_str(" preemption: not eligible due to preemptionPolicy=Never.");
        }
        let outcomes = [
            (
                self.nodes - self.hopeless,
                "No preemption victims found for incoming pod",
            ),
            (self.hopeless, "Preemption is not helpful for scheduling"),
        ];
        let mut outcomes: Vec<String> = outcomes
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, text)| format!("{count} {text}"))
            .collect();
        outcomes.sort();
        write!(
            f,
            " preemption: 0/{} nodes are available: {}.",
            self.nodes,
            outcomes.join(", ")
        )
    }
}

/// Chooses the node for a pod: of those that can take it the one the pod prefers, with the most
/// room left; of several the first by name.
pub fn place(pod: &Pod, cluster: &Cluster) -> Result<String, Unschedulable> {
    let asked = Resources::asked_by(pod);
    let ports = HostPort::asked_by(pod);
    let mut refusal = Unschedulable {
        nodes: cluster.nodes().len(),
        reasons: BTreeMap::new(),
        hopeless: 0,
        never_preempts: pod
            .spec
            .as_ref()
            .and_then(|spec| spec.preemption_policy.as_deref())
            == Some("Never"),
    };
    let mut best: Option<(Score, &NodeView)> = None;
    for view in cluster.nodes() {
        let Obstacles { reasons, hopeless } = obstacles(pod, &asked, &ports, view);
        if reasons.is_empty() {
            let score = score(pod, &asked, view);
            if best.as_ref().is_none_or(|(known, _)| score > *known) {
                best = Some((score, view));
            }
            continue;
        }
        refusal.hopeless += usize::from(hopeless);
        for reason in reasons {
            *refusal.reasons.entry(reason).or_default() += 1;
        }
    }
    let Some((_, chosen)) = best else {
        return Err(refusal);
    };
    debug_assert!(fits(&asked, chosen), "a node is never overfilled");
    Ok(chosen.node.name_any())
}

struct Obstacles {
    reasons: Vec<Reason>,
    /// They would be there without other pods too.
    hopeless: bool,
}

/// What keeps a pod off a node: what the first filter that refuses it says.
fn obstacles(pod: &Pod, asked: &Resources, ports: &[HostPort], view: &NodeView) -> Obstacles {
    let node = &*view.node;
    let named = springtide_client::pods::node_name(pod);
    let for_good = if !taints::bears_unschedulable(pod, node) {
        Some(Reason::Cordoned)
    } else if named.is_some_and(|name| name != node.name_any()) {
        Some(Reason::OtherName)
    } else if !taints::bears_taints(pod, node) {
        Some(Reason::Tainted)
    } else if !affinity::is_selected(pod, node) {
        Some(Reason::NotSelected)
    } else {
        None
    };
    if let Some(reason) = for_good {
        return Obstacles {
            reasons: vec![reason],
            hopeless: true,
        };
    }
    if !view.ports.are_free(ports) {
        return Obstacles {
            reasons: vec![Reason::PortTaken],
            hopeless: false,
        };
    }
    let mut obstacles = Obstacles {
        reasons: Vec::new(),
        hopeless: false,
    };
    if view.pod_count + 1 > view.pod_bound {
        obstacles.reasons.push(Reason::TooManyPods);
    }
    for name in asked.names() {
        if asked.get(name) > view.allocatable.get(name) - view.used.get(name) {
            obstacles
                .reasons
                .push(Reason::Insufficient(name.to_owned()));
            obstacles.hopeless |= asked.get(name) > view.allocatable.get(name);
        }
    }
    obstacles
}

fn fits(asked: &Resources, view: &NodeView) -> bool {
    let fits = |name: &str| view.used.get(name) + asked.get(name) <= view.allocatable.get(name);
    view.pod_count < view.pod_bound && asked.names().all(fits)
}

/// Larger is better; compared field by field.
type Score = (Reverse<usize>, i64, i128, Reverse<i64>);

fn score(pod: &Pod, asked: &Resources, view: &NodeView) -> Score {
    /// Room is counted in millionths of the node.
    const WHOLE: i128 = 1_000_000;
    let room = |name: &str| {
        let all = view.allocatable.get(name);
        let left = all - view.used.get(name) - asked.get(name);
        if all == 0 { 0 } else { left * WHOLE / all }
    };
    (
        Reverse(taints::unborne_advice(pod, &view.node)),
        affinity::preference(pod, &view.node),
        room("cpu") + room("memory"),
        Reverse(view.pod_count),
    )
}
