//! The system calls. The only module of this crate with `unsafe`; every function here is safe to
//! call.
#![allow(unsafe_code)]

mod identity;
mod mount;
mod poll;
mod process;
mod socket;
mod terminal;

pub(crate) use identity::*;
pub(crate) use mount::*;
pub(crate) use poll::*;
pub(crate) use process::*;
pub(crate) use socket::*;
pub(crate) use terminal::*;
