//! The simulator: nodes that run nothing, and an API that fails on purpose.
//!
//! A [`HollowNode`] registers a Node and gives its pods the life a kubelet
//! would give them, without processes: they start after a delay, become ready,
//! use what a load model says, and end within their grace. Its
//! [`HollowNode::router`] is the part of a kubelet's API that measurements come
//! from. [`Faults`] puts failures between a component and the API: refused and
//! lost requests, answers lost after the write, watches that break off.
//!
//! With paused tokio time, a simulated clock and one seed, the real
//! controllers run hours in moments, and the same way each time.

mod faults;
mod life;
mod load;
mod node;

pub use faults::{FaultRates, Faults};
pub use life::{Life, Step, next_step};
pub use load::{Load, Running, Use};
pub use node::HollowNode;
