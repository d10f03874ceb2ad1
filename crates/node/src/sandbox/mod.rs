//! What a pod is made of: its init and namespaces, and its containers' roots.
//!
//! Everything here runs in processes the keeper has just forked, and reports to it through a pipe
//! or socket before it becomes what it shall be.

mod capabilities;
mod container;
mod ids;
mod init;
mod root;

pub use capabilities::{Capabilities, CapabilityError};

pub(crate) use container::{Place, Process, Report, Stdio, start as start_process};
pub(crate) use ids::{IdSource, PodIds};
pub(crate) use init::{Namespaces, start as start_init};
pub(crate) use root::{PreparedMount, RootPlan, sentence};
