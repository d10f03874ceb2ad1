//! Counters, gauges and histograms of the parts themselves; kept in `machinery`, where every part can count.

pub use springtide_machinery::instruments::*;
