//! The HTTP client of a virtual user: connections of its own, and a time for each step.
//!
//! A [`Client`] belongs to one user and lives on its thread. HTTP/1.1 is written and read here, as
//! [`AnswerReader`] does it: connections are driven by the request that uses them, without a task or
//! buffers of their own, so a request costs little more than its system calls, and a user who waits
//! takes no memory for its connection but the socket's. HTTP/2, chosen by ALPN, is hyper's, with one
//! connection per host which all requests share.

mod address;
mod body;
mod client;
mod connection;
mod cookie;
mod credentials;
mod digest;
mod error;
mod http1;
mod metered;
mod tls;
mod wire;

pub use address::{Addresses, Selection};
pub use body::{Encoding, compress, decompress};
pub use client::{Client, Exchange, Outgoing, Settings, Timings};
pub use connection::TlsFacts;
pub(crate) use cookie::http_date;
pub use cookie::{Cookie, Jar};
pub(crate) use credentials::Credentials;
pub use error::HttpError;
pub(crate) use http1::Wire;
pub use tls::TlsConfigs;
pub(crate) use wire::{Answer, AnswerReader, Header, Keep, Malformed};
