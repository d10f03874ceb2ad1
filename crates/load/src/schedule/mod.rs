//! What an executor is to do at which moment, as pure arithmetic: how many virtual users run
//! ([`ramp_steps`]), and when arrivals start ([`Arrivals`]).
//!
//! The definitions are those of k6's documentation: users ramp in straight lines, one user at a
//! time; an arrival starts when the integral of the rate reaches its number.

mod arrivals;
mod ramp;

pub use arrivals::{Arrivals, Rate};
pub use ramp::{Step, ramp_steps};
