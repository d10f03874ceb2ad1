//! Remote write 1.0: samples from other servers, and samples to them.
//!
//! | part | is |
//! | --- | --- |
//! | [`receive`] | takes a request's samples into the database |
//! | [`RemoteWriter`] | sends what is committed to another database |
//! | [`message`] | the messages, and their compressed form |
//! | `read` | reads a request without a copy of it |

pub mod message;
mod read;
mod receive;
mod send;
#[cfg(test)]
mod send_tests;

pub use receive::{ReceiveError, Received, receive};
pub use send::{RemoteWriter, SendCounts};
