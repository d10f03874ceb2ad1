//! What a pod is made of: its init and namespaces, and its containers' roots.

mod capabilities;

pub use capabilities::{Capabilities, CapabilityError};
