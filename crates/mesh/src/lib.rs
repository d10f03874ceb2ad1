//! The data plane: what a Service is to those who call it.
//!
//! Every Service IP is local to the mesh namespace, so one listening socket per port number hears
//! all Services of that port; the address a connection was accepted on says which is meant. Host
//! ports (NodePort, LoadBalancer) listen in the host's namespace and lead to the same place.
//!
//! ```text
//!            Services, EndpointSlices                    pods being deleted
//!                     │ routes::plan (pure)                     │ Departure
//!                     ▼                                         ▼
//! caller ─► worker ─► table: address → upstream → endpoints ─► balance::choose ─► pod
//!             │                                                     ▲
//!             ├─ HTTP/1.1: each request, over pooled connections ───┤
//!             └─ anything else: each connection ────────────────────┘
//! ```
//!
//! - [`routes`]: what should be balanced where, as a pure function of the API's objects
//! - [`table`]: what is balanced where now; shared by all workers, replaced piece by piece
//! - [`balance`]: which endpoint gets the next request
//! - `worker`: threads in the mesh namespace that accept and proxy; `http`, `tcp`, `detect`
//! - `listeners`: which sockets the keeper holds for it
//! - `telemetry`: what went through, counted with Istio's names
//! - [`dns`]: the names of Services and pods

pub mod balance;
mod detect;
pub mod dns;
mod error;
mod http;
mod listeners;
mod mesh;
mod pool;
pub mod routes;
pub mod table;
mod tcp;
mod telemetry;
mod worker;
#[cfg(test)]
mod worker_tests;

pub use error::MeshError;
pub use mesh::{Config, Mesh, Opened};
