//! One file per command, [`metrics_server`], which several ask, and [`interrupts`], for which several wait.

pub(crate) mod alerts;
pub(crate) mod demo;
pub(crate) mod down;
mod interrupts;
pub(crate) mod kubeconfig;
pub(crate) mod load;
pub(crate) mod metrics;
mod metrics_server;
pub(crate) mod migrate;
pub(crate) mod query;
pub(crate) mod rules;
pub(crate) mod sample;
pub(crate) mod silence;
pub(crate) mod status;
pub(crate) mod up;
