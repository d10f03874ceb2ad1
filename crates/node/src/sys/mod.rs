//! The system calls. The only module of this crate with `unsafe`; every function here is safe to
//! call.
#![allow(unsafe_code)]

mod socket;

pub(crate) use socket::*;
