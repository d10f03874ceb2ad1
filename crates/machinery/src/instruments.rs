//! Counters, gauges and histograms of the parts themselves, and their text.
//!
//! ```text
//! part ── registry.counters("x_total", …, ["code"]) ─► Vector ── .with(["200"]) ─► Counter ── .inc()   (no lock)
//! GET /metrics ── registry.write(&mut Text) ─► every family, in the order of their names
//! ```
//!
//! A part makes its instruments once and keeps the handles: counting is one or two atomic additions. [`Vector::with`]
//! takes a lock for reading, so what counts often keeps what it returns.

mod text;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

pub use text::{FamilyText, Kind, Text};
pub use value::{Counter, Gauge, Histogram};

/// Upper bounds of request durations in seconds: Prometheus' usual ones.
pub const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// What a part has counted, by the names of families. Clones share it.
#[derive(Clone, Default)]
pub struct Registry {
    families: Arc<RwLock<BTreeMap<&'static str, Family>>>,
    collectors: Arc<RwLock<Vec<Collector>>>,
}

type Collector = Arc<dyn Fn(&mut Text) + Send + Sync>;

struct Family {
    help: &'static str,
    kind: Kind,
    members: Arc<dyn Members>,
}

/// A value that can be a member of a family.
pub trait Instrument: Clone + Send + Sync + 'static {
    /// Writes its samples.
    fn write(&self, family: &mut FamilyText<'_>, labels: &[(&str, &str)]);
}

trait Members: Send + Sync {
    fn write(&self, family: &mut FamilyText<'_>);
}

/// The members of a family, told apart by the values of `N` labels. Clones share them.
pub struct Vector<M, const N: usize> {
    shared: Arc<Shared<M, N>>,
}

struct Shared<M, const N: usize> {
    labels: [&'static str; N],
    make: Box<dyn Fn() -> M + Send + Sync>,
    members: RwLock<BTreeMap<[Box<str>; N], M>>,
}

// === impl Registry ===

impl Registry {
    /// A registry without families.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A counter without labels. A second family of one name takes the place of the first.
    #[must_use]
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        self.counters(name, help, []).with([])
    }

    /// Counters told apart by labels.
    #[must_use]
    pub fn counters<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Vector<Counter, N> {
        self.vector(name, help, Kind::Counter, labels, Counter::default)
    }

    /// A gauge without labels.
    #[must_use]
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.gauges(name, help, []).with([])
    }

    /// Gauges told apart by labels.
    #[must_use]
    pub fn gauges<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        labels: [&'static str; N],
    ) -> Vector<Gauge, N> {
        self.vector(name, help, Kind::Gauge, labels, Gauge::default)
    }

    /// A histogram without labels; `bounds` are the buckets' upper bounds, rising, without the infinite one.
    #[must_use]
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: &'static [f64],
    ) -> Histogram {
        self.histograms(name, help, bounds, []).with([])
    }

    /// Histograms told apart by labels.
    #[must_use]
    pub fn histograms<const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: &'static [f64],
        labels: [&'static str; N],
    ) -> Vector<Histogram, N> {
        self.vector(name, help, Kind::Histogram, labels, move || {
            Histogram::new(bounds)
        })
    }

    /// Calls `collector` whenever the text is made, for what is known elsewhere and need not be counted. Its
    /// families come after the registry's own.
    pub fn collect(&self, collector: impl Fn(&mut Text) + Send + Sync + 'static) {
        self.collectors.write().push(Arc::new(collector));
    }

    /// Writes all families that have members.
    pub fn write(&self, text: &mut Text) {
        for (name, family) in &*self.families.read() {
            let mut written = text.family(name, family.help, family.kind);
            family.members.write(&mut written);
        }
        let collectors = self.collectors.read().clone();
        for collector in collectors {
            collector(text);
        }
    }

    /// All families in the text format 0.0.4.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = Text::default();
        self.write(&mut text);
        text.into_string()
    }

    fn vector<M: Instrument, const N: usize>(
        &self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        labels: [&'static str; N],
        make: impl Fn() -> M + Send + Sync + 'static,
    ) -> Vector<M, N> {
        let shared = Arc::new(Shared {
            labels,
            make: Box::new(make),
            members: RwLock::default(),
        });
        let family = Family {
            help,
            kind,
            members: shared.clone(),
        };
        self.families.write().insert(name, family);
        Vector { shared }
    }
}

// === impl Vector ===

impl<M, const N: usize> Clone for Vector<M, N> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<M: Instrument, const N: usize> Vector<M, N> {
    /// The member with these values, in the order of the labels' names; made when it is not there.
    #[must_use]
    pub fn with(&self, values: [&str; N]) -> M {
        let key = values.map(Box::from);
        if let Some(known) = self.shared.members.read().get(&key) {
            return known.clone();
        }
        let mut members = self.shared.members.write();
        members
            .entry(key)
            .or_insert_with(|| (self.shared.make)())
            .clone()
    }

    /// Makes a member known by further values: it is then written under each of its names.
    pub fn put(&self, values: [&str; N], member: M) {
        let key = values.map(Box::from);
        self.shared.members.write().insert(key, member);
    }

    /// Forgets the members whose values do not satisfy `keep`.
    pub fn retain(&self, keep: impl Fn(&[Box<str>; N]) -> bool) {
        self.shared.members.write().retain(|values, _| keep(values));
    }
}

impl<M: Instrument, const N: usize> Members for Shared<M, N> {
    fn write(&self, family: &mut FamilyText<'_>) {
        for (values, member) in &*self.members.read() {
            let labels: [(&str, &str); N] =
                std::array::from_fn(|at| (self.labels[at], &*values[at]));
            member.write(family, &labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_writes_its_families_by_name_and_members_by_value() {
        let registry = Registry::new();
        let requests = registry.counters("b_total", "Requests.", ["code", "verb"]);
        requests.with(["500", "GET"]).inc();
        requests.with(["200", "GET"]).add(2.5);
        requests.with(["200", "GET"]).inc();
        registry.gauge("a", "A \"gauge\"\nof two lines.").set(-1.0);
        registry.collect(|text| text.family("c", "Late.", Kind::Gauge).sample(&[], 7.0));
        assert_eq!(
            registry.text(),
            "# HELP a A \"gauge\"\\nof two lines.\n# TYPE a gauge\na -1\n\
             # HELP b_total Requests.\n# TYPE b_total counter\n\
             b_total{code=\"200\",verb=\"GET\"} 3.5\nb_total{code=\"500\",verb=\"GET\"} 1\n\
             # HELP c Late.\n# TYPE c gauge\nc 7\n"
        );
    }

    #[test]
    fn a_histogram_counts_a_bound_into_its_own_bucket() {
        let registry = Registry::new();
        let seconds = registry.histogram("s", "Seconds.", &[0.5, 1.0]);
        for value in [0.25, 0.5, 0.75, 3.0] {
            seconds.observe(value);
        }
        assert_eq!(
            registry.text(),
            "# HELP s Seconds.\n# TYPE s histogram\ns_bucket{le=\"0.5\"} 2\ns_bucket{le=\"1\"} 3\n\
             s_bucket{le=\"+Inf\"} 4\ns_sum 4.5\ns_count 4\n"
        );
    }

    #[test]
    fn a_family_without_members_is_not_written_and_members_can_be_forgotten() {
        let registry = Registry::new();
        let gauges = registry.gauges("g", "", ["pod"]);
        assert_eq!(registry.text(), "");
        gauges.with(["a"]).set(1.0);
        gauges.with(["b"]).set(1.0);
        gauges.retain(|[pod]| &**pod == "b");
        assert_eq!(registry.text(), "# TYPE g gauge\ng{pod=\"b\"} 1\n");
    }

    #[test]
    fn counting_from_many_threads_loses_nothing() {
        let registry = Registry::new();
        let counter = registry.counter("c", "");
        let histogram = registry.histogram("h", "", &[1.0]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        counter.inc();
                        counter.add(0.5);
                        histogram.observe(0.5);
                    }
                });
            }
        });
        assert_eq!(counter.get(), 6000.0);
        assert!(registry.text().contains("h_sum 2000\nh_count 4000\n"));
    }
}
