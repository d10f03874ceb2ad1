//! k6 scripts.
