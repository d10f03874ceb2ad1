//! The Kubernetes API over the store.
//!
//! [`ApiServer`] is built over a [`springtide_store::Store`] and a clock. It is spoken to in two
//! ways, which end in the same code: components of the program take a [`kube::Client`] from
//! [`ApiServer::client`], without a socket; everyone else comes over TLS
//! ([`ApiServer::serve_tls`]) with a client certificate that [`pki`] made.
//!
//! A request is taken apart (`request`), its sender named and checked (`auth`), and handed on
//! (`api`) to discovery, health, OpenAPI, or a resource of the registry (`routes`):
//!
//! - **Reads** send bytes that exist already. An object is encoded once, when it is written, with
//!   apiVersion, kind and resourceVersion in front (`encode`); `list` strings such bytes together
//!   in pages of one snapshot, `watch` sends them as events. Only Tables and other versions than
//!   the stored one are made by parsing (`view`, chosen by `negotiate`).
//! - **Writes** decode the body (`decode`), patch, default, admit (`admission`, `allocate`) and
//!   validate it by the kind's rules in `machinery`, and write it under the condition that the
//!   object is still as it was read (`write`). Nobody sees it before it is durable.
//! - **Subresources** are beside: `status` and `scale` are writes, `log` and `proxy` are streams
//!   from a node's kubelet ([`ApiServer::attach_kubelet`]).
//!
//! Other parts of the program serve API groups of their own through [`ApiServer::aggregate`].

mod admission;
mod aggregate;
mod allocate;
mod api;
mod auth;
mod bootstrap;
mod decode;
mod discovery;
mod encode;
mod health;
mod kubelets;
mod list;
mod metrics;
mod negotiate;
mod openapi;
mod options;
pub mod pki;
mod request;
mod respond;
mod reviews;
mod routes;
mod selection;
mod server;
mod subresource;
mod tls;
mod version;
mod versions;
mod view;
mod watch;
mod write;

pub use aggregate::AggregatedResource;
pub use allocate::{NODE_PORTS, ServiceRange};
pub use auth::{MASTERS, UserInfo};
pub use server::{ApiServer, BuildError, Builder};
pub use tls::{Tls, TlsError};
