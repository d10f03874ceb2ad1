//! Who owns whom, over all kinds, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// Holds an object until its dependents are gone.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Holds an object until its dependents have forgotten it.
pub const ORPHAN: &str = "orphan";

/// Group and kind, as in `apps`, `Deployment`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKind {
    /// The API group; empty for the core.
    pub group: String,
    /// The kind.
    pub kind: String,
}

impl GroupKind {
    /// The group and kind an owner reference names.
    pub fn of_owner(owner: &OwnerReference) -> Self {
        let group = owner
            .api_version
            .split_once('/')
            .map_or("", |(group, _)| group);
        Self {
            group: group.to_owned(),
            kind: owner.kind.clone(),
        }
    }
}

/// What the collector knows of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The object's uid.
    pub uid: String,
    /// Its kind.
    pub kind: GroupKind,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its owners, each of its own namespace or of a cluster-scoped kind.
    pub owners: Vec<OwnerReference>,
    /// It is being deleted.
    pub leaves: bool,
    /// It has the finalizer `foregroundDeletion`.
    pub foreground: bool,
    /// It has the finalizer `orphan`.
    pub orphan: bool,
}

/// Whether an owner holds its dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerState {
    /// It exists.
    Solid,
    /// It is being deleted and waits for its dependents.
    Waiting,
    /// It does not exist.
    Absent,
}

/// How a deletion goes on to dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// The dependents follow later.
    Background,
    /// The dependents go first.
    Foreground,
    /// The dependents stay.
    Orphan,
}

/// What is to be done about one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Deletes it.
    Delete(Propagation),
    /// Gives it these owners.
    SetOwners(Vec<OwnerReference>),
    /// Removes a finalizer from it.
    RemoveFinalizer(&'static str),
    /// Makes a dependent of it, named by uid, forget it.
    Release(String),
}

/// All objects that are known, by uid.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: BTreeMap<String, Node>,
    /// The uids of dependents by the uid of an owner, whether the owner is known or not.
    dependents: BTreeMap<String, BTreeSet<String>>,
}

// === impl Node ===

impl Node {
    /// What matters of an object; `None` if it has no uid.
    pub fn of(kind: GroupKind, meta: &ObjectMeta) -> Option<Self> {
        let has = |name: &str| {
            meta.finalizers
                .iter()
                .flatten()
                .any(|finalizer| finalizer == name)
        };
        Some(Self {
            uid: meta.uid.clone().filter(|uid| !uid.is_empty())?,
            kind,
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            owners: meta.owner_references.clone().unwrap_or_default(),
            leaves: meta.deletion_timestamp.is_some(),
            foreground: has(FOREGROUND),
            orphan: has(ORPHAN),
        })
    }

    fn waits_for_dependents(&self) -> bool {
        self.leaves && self.foreground
    }

    fn is_blocked_by(&self, dependent: &Node) -> bool {
        dependent
            .owners
            .iter()
            .any(|owner| owner.uid == self.uid && owner.block_owner_deletion == Some(true))
    }
}

// === impl Graph ===

impl Graph {
    /// Takes in what an object is now. Returns the uids that must be looked at.
    pub fn observe(&mut self, node: Node) -> BTreeSet<String> {
        let mut concerned = BTreeSet::from([node.uid.clone()]);
        let before = self.nodes.get(&node.uid).cloned();
        if before.as_ref() == Some(&node) {
            return BTreeSet::new();
        }
        if let Some(before) = &before {
            concerned.extend(self.unlink(before));
        }
        for owner in &node.owners {
            self.dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(node.uid.clone());
        }
        if node.leaves && !before.is_some_and(|before| before.leaves) {
            concerned.extend(self.dependents_of(&node.uid));
        }
        self.nodes.insert(node.uid.clone(), node);
        concerned
    }

    /// Takes in that an object is gone. Returns the uids that must be looked at.
    pub fn forget(&mut self, uid: &str) -> BTreeSet<String> {
        let Some(node) = self.nodes.remove(uid) else {
            return BTreeSet::new();
        };
        let mut concerned = self.unlink(&node);
        concerned.extend(self.dependents_of(uid));
        concerned
    }

    /// Removes a node from its owners' dependents. Returns the owners that wait for them.
    fn unlink(&mut self, node: &Node) -> BTreeSet<String> {
        let mut waiting = BTreeSet::new();
        for owner in &node.owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(&node.uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
            if self
                .nodes
                .get(&owner.uid)
                .is_some_and(Node::waits_for_dependents)
            {
                waiting.insert(owner.uid.clone());
            }
        }
        waiting
    }

    /// The object with this uid.
    pub fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The uids of an object's dependents.
    pub fn dependents_of(&self, uid: &str) -> BTreeSet<String> {
        self.dependents.get(uid).cloned().unwrap_or_default()
    }

    /// The uids of all objects of a kind.
    pub fn of_kind(&self, kind: &GroupKind) -> BTreeSet<String> {
        self.nodes
            .values()
            .filter(|node| node.kind == *kind)
            .map(|node| node.uid.clone())
            .collect()
    }

    /// What is known of an owner; `None` if it must be asked for. A reference whose uid is known
    /// under another name or from another namespace names nothing.
    pub fn owner_state(&self, of: &Node, owner: &OwnerReference) -> Option<OwnerState> {
        let known = self.nodes.get(&owner.uid)?;
        let is_meant = known.kind == GroupKind::of_owner(owner)
            && known.name == owner.name
            && (known.namespace.is_empty() || known.namespace == of.namespace);
        Some(match (is_meant, known.waits_for_dependents()) {
            (false, _) => OwnerState::Absent,
            (true, true) => OwnerState::Waiting,
            (true, false) => OwnerState::Solid,
        })
    }

    /// Decides what is to be done about an object, in order. `owner_states` are those of its
    /// owners, in their order.
    pub fn plan(&self, node: &Node, owner_states: &[OwnerState]) -> Vec<Action> {
        let dependents = self.dependents_of(&node.uid);
        if node.leaves {
            return self.plan_leaving(node, &dependents);
        }
        if node.owners.is_empty() || owner_states.len() != node.owners.len() {
            return Vec::new();
        }
        let with = |state: OwnerState| owner_states.iter().filter(|found| **found == state).count();
        if with(OwnerState::Solid) > 0 {
            if with(OwnerState::Solid) == node.owners.len() {
                return Vec::new();
            }
            let solid = node
                .owners
                .iter()
                .zip(owner_states)
                .filter(|(_, state)| **state == OwnerState::Solid);
            return vec![Action::SetOwners(
                solid.map(|(owner, _)| owner.clone()).collect(),
            )];
        }
        if with(OwnerState::Waiting) > 0 && !dependents.is_empty() {
            let mut actions = Vec::new();
            // Two objects that wait for each other would wait for ever.
            let is_circle = dependents
                .iter()
                .filter_map(|uid| self.nodes.get(uid))
                .any(Node::waits_for_dependents);
            if is_circle {
                let unblocked = |owner: &OwnerReference| OwnerReference {
                    block_owner_deletion: Some(false),
                    ..owner.clone()
                };
                actions.push(Action::SetOwners(
                    node.owners.iter().map(unblocked).collect(),
                ));
            }
            actions.push(Action::Delete(Propagation::Foreground));
            return actions;
        }
        let propagation = match (node.orphan, node.foreground) {
            (true, _) => Propagation::Orphan,
            (false, true) => Propagation::Foreground,
            (false, false) => Propagation::Background,
        };
        vec![Action::Delete(propagation)]
    }

    fn plan_leaving(&self, node: &Node, dependents: &BTreeSet<String>) -> Vec<Action> {
        if node.orphan {
            let mut actions: Vec<Action> =
                dependents.iter().cloned().map(Action::Release).collect();
            actions.push(Action::RemoveFinalizer(ORPHAN));
            return actions;
        }
        let mut known = dependents.iter().filter_map(|uid| self.nodes.get(uid));
        if node.foreground && !known.any(|dependent| node.is_blocked_by(dependent)) {
            return vec![Action::RemoveFinalizer(FOREGROUND)];
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str, blocks: bool) -> OwnerReference {
        OwnerReference {
            api_version: "apps/v1".to_owned(),
            kind: "Thing".to_owned(),
            name: name.to_owned(),
            uid: name.to_owned(),
            controller: None,
            block_owner_deletion: Some(blocks),
        }
    }

    fn node(name: &str, owners: &[&str]) -> Node {
        Node {
            uid: name.to_owned(),
            kind: GroupKind {
                group: "apps".to_owned(),
                kind: "Thing".to_owned(),
            },
            namespace: "default".to_owned(),
            name: name.to_owned(),
            owners: owners.iter().map(|name| owner(name, true)).collect(),
            leaves: false,
            foreground: false,
            orphan: false,
        }
    }

    fn set(uids: &[&str]) -> BTreeSet<String> {
        uids.iter().map(|uid| (*uid).to_owned()).collect()
    }

    use OwnerState::{Absent, Solid, Waiting};

    #[test]
    fn an_object_goes_when_its_last_owner_is_gone() {
        let graph = Graph::default();
        let pod = node("pod", &["a", "b"]);
        assert_eq!(graph.plan(&pod, &[Solid, Solid]), []);
        assert_eq!(
            graph.plan(&pod, &[Solid, Absent]),
            [Action::SetOwners(vec![owner("a", true)])]
        );
        assert_eq!(
            graph.plan(&pod, &[Absent, Absent]),
            [Action::Delete(Propagation::Background)]
        );
        assert_eq!(graph.plan(&node("free", &[]), &[]), []);
        let held = Node {
            foreground: true,
            ..node("pod", &["a"])
        };
        assert_eq!(
            graph.plan(&held, &[Absent]),
            [Action::Delete(Propagation::Foreground)]
        );
        let orphaning = Node {
            orphan: true,
            ..node("pod", &["a"])
        };
        assert_eq!(
            graph.plan(&orphaning, &[Absent]),
            [Action::Delete(Propagation::Orphan)]
        );
    }

    #[test]
    fn an_owner_that_goes_makes_its_dependents_looked_at() {
        let mut graph = Graph::default();
        assert_eq!(graph.observe(node("a", &[])), set(&["a"]));
        assert_eq!(graph.observe(node("x", &["a"])), set(&["x"]));
        graph.observe(node("y", &["a"]));
        assert_eq!(graph.observe(node("y", &["a"])), set(&[]));
        assert_eq!(graph.forget("a"), set(&["x", "y"]));
        assert_eq!(graph.forget("a"), set(&[]));
        assert_eq!(
            graph.owner_state(&node("x", &["a"]), &owner("a", true)),
            None
        );
    }

    #[test]
    fn in_the_foreground_dependents_go_first() {
        let mut graph = Graph::default();
        graph.observe(node("a", &[]));
        graph.observe(node("x", &["a"]));
        let waiting = Node {
            leaves: true,
            foreground: true,
            ..node("a", &[])
        };
        assert_eq!(graph.observe(waiting.clone()), set(&["a", "x"]));
        assert_eq!(graph.plan(&waiting, &[]), []);
        let x = node("x", &["a"]);
        assert_eq!(graph.owner_state(&x, &owner("a", true)), Some(Waiting));
        assert_eq!(
            graph.plan(&x, &[Waiting]),
            [Action::Delete(Propagation::Background)]
        );
        assert_eq!(graph.forget("x"), set(&["a"]));
        assert_eq!(
            graph.plan(&waiting, &[]),
            [Action::RemoveFinalizer(FOREGROUND)]
        );
    }

    #[test]
    fn a_dependent_that_does_not_block_is_not_waited_for() {
        let mut graph = Graph::default();
        let waiting = Node {
            leaves: true,
            foreground: true,
            ..node("a", &[])
        };
        graph.observe(waiting.clone());
        graph.observe(Node {
            owners: vec![owner("a", false)],
            ..node("x", &[])
        });
        assert_eq!(
            graph.plan(&waiting, &[]),
            [Action::RemoveFinalizer(FOREGROUND)]
        );
    }

    #[test]
    fn a_dependent_with_dependents_goes_in_the_foreground_too_and_circles_are_broken() {
        let mut graph = Graph::default();
        graph.observe(node("x", &["a"]));
        graph.observe(node("y", &["x"]));
        assert_eq!(
            graph.plan(&node("x", &["a"]), &[Waiting]),
            [Action::Delete(Propagation::Foreground)]
        );
        graph.observe(Node {
            leaves: true,
            foreground: true,
            ..node("y", &["x"])
        });
        assert_eq!(
            graph.plan(&node("x", &["a"]), &[Waiting]),
            [
                Action::SetOwners(vec![owner("a", false)]),
                Action::Delete(Propagation::Foreground)
            ]
        );
    }

    #[test]
    fn orphans_forget_their_owner_before_it_goes() {
        let mut graph = Graph::default();
        let leaving = Node {
            leaves: true,
            orphan: true,
            ..node("a", &[])
        };
        graph.observe(leaving.clone());
        graph.observe(node("x", &["a"]));
        graph.observe(node("y", &["a"]));
        assert_eq!(
            graph.plan(&leaving, &[]),
            [
                Action::Release("x".to_owned()),
                Action::Release("y".to_owned()),
                Action::RemoveFinalizer(ORPHAN)
            ]
        );
    }

    #[test]
    fn an_owner_of_another_namespace_or_name_is_absent() {
        let mut graph = Graph::default();
        graph.observe(Node {
            namespace: "other".to_owned(),
            ..node("a", &[])
        });
        graph.observe(Node {
            name: "renamed".to_owned(),
            ..node("b", &[])
        });
        graph.observe(Node {
            namespace: String::new(),
            ..node("c", &[])
        });
        let x = node("x", &["a", "b", "c"]);
        let states: Vec<_> = x
            .owners
            .iter()
            .map(|owner| graph.owner_state(&x, owner))
            .collect();
        assert_eq!(states, [Some(Absent), Some(Absent), Some(Solid)]);
    }

    #[test]
    fn an_object_that_changes_owners_frees_the_one_that_waited() {
        let mut graph = Graph::default();
        graph.observe(Node {
            leaves: true,
            foreground: true,
            ..node("a", &[])
        });
        graph.observe(node("x", &["a"]));
        assert_eq!(graph.observe(node("x", &[])), set(&["a", "x"]));
        assert_eq!(graph.dependents_of("a"), set(&[]));
    }
}
