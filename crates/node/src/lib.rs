//! The node: what runs, measures and connects pods on this machine.
//!
//! Two processes share this crate. The [`keeper`] is what `tide up` is: one thread that forks
//! pods' sandboxes and containers, reaps them, and holds what must outlive the brain. The kubelet's
//! part runs in the brain, watches Pods through the API and gives the keeper its orders.
//!
//! - [`keeper`]: the process, and [`keeper::Client`], the brain's side of it
//! - [`sandbox`]: a pod's init and namespaces, a container's root
//! - [`cgroups`]: limits and measurements
//! - [`network`]: the mesh namespace, pods' links, addresses and routes
//! - [`MeshNamespace`]: sockets made in the mesh namespace, for any runtime
//! - [`kubelet`]: each pod's lifecycle, from its object to its end
//! - [`environment`], [`volumes`]: what a pod's containers find
//! - [`probes`]: whether they are well
//! - [`status`], [`stats`], [`logs`]: what is told of them
//! - [`registration`]: the Node object and its Lease

mod api;
pub mod cgroups;
pub mod environment;
mod exporters;
pub mod keeper;
pub mod kubelet;
pub mod logs;
mod mesh_namespace;
pub mod network;
pub mod probes;
pub mod registration;
pub mod sandbox;
pub mod stats;
pub mod status;
mod sys;
pub mod volumes;

pub use kubelet::Kubelet;
pub use kubelet::departure::Departure;
pub use mesh_namespace::MeshNamespace;
