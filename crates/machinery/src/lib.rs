//! What all parts of Springtide share, without input or output.
//!
//! **Values.** [`clock`] and [`entropy`] are the only sources of wall time and randomness.
//! [`quantity`] computes with amounts such as `250m` and `1.5Gi`. [`selector`]s choose objects by
//! [`labels`] and fields. [`names`] says what may be called how. [`patch`] applies the three kinds
//! of patches, [`protobuf`] turns protobuf request bodies into JSON, and [`error`] is what the API
//! answers when it refuses. [`instruments`] are what a part counts of itself, and [`tls`] takes any
//! certificate for those who were told to.
//!
//! **Kinds.** The [`registry`] is one table with a row for each kind that is served: its names, its
//! schema, its defaults, its rules, and the columns it is shown with ([`table`]).
//!
//! A write flows through this crate in the order of the API server's steps: [`protobuf`] or JSON is
//! decoded into a [`serde_json::Value`], patched, checked against the [`schema`], given its
//! defaults, and validated ([`validation`]); what is wrong comes back as an [`error::ApiError`].

pub mod clock;
mod defaults;
pub mod entropy;
pub mod error;
pub mod hex;
pub mod instruments;
pub mod labels;
mod members;
pub mod names;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod registry;
pub mod schema;
pub mod selector;
mod strategy;
pub mod table;
pub mod tls;
pub mod validation;
