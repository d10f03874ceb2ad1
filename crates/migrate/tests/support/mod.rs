//! What the tests of this crate share.
#![allow(dead_code)] // Each test program uses another part of it.

pub(crate) mod migration;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
pub(crate) mod rows;
pub(crate) mod writers;
