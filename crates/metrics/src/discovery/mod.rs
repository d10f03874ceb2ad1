//! Where targets come from.
