//! Rows from the snapshot of the source to the target.
pub(crate) mod key;
