//! The names of Services and pods (the Kubernetes DNS specification, schema 1.1.0), and for every
//! other name the host's own resolvers.

pub mod names;
mod server;

pub(crate) use server::resolvers;

pub use server::Server;
