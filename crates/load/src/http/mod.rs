//! The HTTP client of a virtual user: connections of its own, and a time for each step.
//!
//! A [`Client`] belongs to one user and lives on its thread. HTTP/1.1 connections are kept when
//! they are idle, without buffers, and are driven by the request that uses them, without a task of
//! their own: a request costs no more than its system calls and hyper's parsing, and a user who waits
//! takes no memory for its connection but the socket's. HTTP/2, chosen by ALPN, has one
//! connection per host which all requests share.

mod address;
mod body;
mod client;
mod connection;
mod cookie;
mod credentials;
mod digest;
mod error;
mod metered;
mod tls;

pub use address::{Addresses, Selection};
pub use body::{Encoding, compress, decompress};
pub use client::{Client, Exchange, Outgoing, Settings, Timings};
pub use connection::TlsFacts;
pub(crate) use cookie::http_date;
pub use cookie::{Cookie, Jar};
pub(crate) use credentials::Credentials;
pub use error::HttpError;
pub use tls::TlsConfigs;
