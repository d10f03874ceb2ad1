//! Values that are counted from many threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Instrument;
use super::text::{FamilyText, number};

/// A value that only grows. Clones count the same.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<Both>);

/// Whole additions and others apart, so that counting one is a single addition.
#[derive(Debug, Default)]
struct Both {
    whole: AtomicU64,
    rest: Float,
}

/// A value that goes up and down. Clones are the same value.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<Float>);

/// Observations, counted by size. Clones count the same.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
struct Buckets {
    bounds: &'static [f64],
    /// One more than bounds: the last is for what is above all of them.
    counts: Box<[AtomicU64]>,
    sum: Float,
}

/// A number with a fraction that can be added to without a lock: its bits.
#[derive(Debug, Default)]
struct Float(AtomicU64);

// === impl Float ===

impl Float {
    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    fn add(&self, more: f64) {
        let added = |bits| Some((f64::from_bits(bits) + more).to_bits());
        // The closure always returns a value, so this cannot fail.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }
}

// === impl Counter ===

impl Counter {
    /// Counts one.
    pub fn inc(&self) {
        self.0.whole.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a whole number, such as bytes.
    pub fn add_whole(&self, more: u64) {
        self.0.whole.fetch_add(more, Ordering::Relaxed);
    }

    /// Counts more, such as seconds; what is negative or no number is not counted.
    pub fn add(&self, more: f64) {
        if more > 0.0 {
            self.0.rest.add(more);
        }
    }

    /// What was counted.
    #[must_use]
    pub fn get(&self) -> f64 {
        self.0.whole.load(Ordering::Relaxed) as f64 + self.0.rest.get()
    }
}

impl Instrument for Counter {
    fn write(&self, family: &mut FamilyText<'_>, labels: &[(&str, &str)]) {
        family.sample(labels, self.get());
    }
}

// === impl Gauge ===

impl Gauge {
    /// Makes it a value.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// Adds to it; what is negative takes away.
    pub fn add(&self, more: f64) {
        self.0.add(more);
    }

    /// One more.
    pub fn inc(&self) {
        self.add(1.0);
    }

    /// One less.
    pub fn dec(&self) {
        self.add(-1.0);
    }

    /// The value.
    #[must_use]
    pub fn get(&self) -> f64 {
        self.0.get()
    }
}

impl Instrument for Gauge {
    fn write(&self, family: &mut FamilyText<'_>, labels: &[(&str, &str)]) {
        family.sample(labels, self.get());
    }
}

// === impl Histogram ===

impl Histogram {
    /// A histogram that belongs to no registry.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        debug_assert!(bounds.is_sorted());
        Self(Arc::new(Buckets {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: Float::default(),
        }))
    }

    /// Counts an observation.
    pub fn observe(&self, value: f64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum.add(value);
    }

    /// How many observations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        let counts = self.0.counts.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl Instrument for Histogram {
    fn write(&self, family: &mut FamilyText<'_>, labels: &[(&str, &str)]) {
        let Buckets {
            bounds,
            counts,
            sum,
        } = &*self.0;
        let mut below = 0;
        for (at, count) in counts.iter().enumerate() {
            below += count.load(Ordering::Relaxed);
            let bound = bounds.get(at).copied().unwrap_or(f64::INFINITY);
            family.suffixed(
                "_bucket",
                labels,
                Some(("le", &number(bound))),
                below as f64,
            );
        }
        family.suffixed("_sum", labels, None, sum.get());
        family.suffixed("_count", labels, None, below as f64);
    }
}
