//! The API through its router, as HTTP clients see it: requests in, answers and streams out.
//! The store is in memory, time is paused, and nothing leaves the process but in `tls`.

mod deletes;
mod discovery;
mod harness;
mod in_process;
mod lists;
mod metrics;
mod objects;
mod pods;
mod reviews;
mod services;
mod tls;
mod watches;
