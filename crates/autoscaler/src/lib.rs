//! Decides how many replicas a workload needs.
//!
//! The decision is a pure function ([`horizontal::decide`]) of what was
//! observed and of the recommendations made before; the loop around it
//! ([`horizontal::run`]) reads the API, calls it, and writes what it says.
//!
//! ```text
//! HorizontalPodAutoscaler ─┐
//! scale subresource ───────┤
//! pods ────────────────────┼─> decide ─> scale subresource, status, events, explanation
//! metrics APIs ────────────┤      │
//! history <────────────────┴──────┘
//! ```

pub mod horizontal;
