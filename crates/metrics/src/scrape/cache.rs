use std::collections::{BTreeMap, HashMap};

use crate::series_store::Labels;
use crate::tsdb::{Metadata, SeriesRef};

/// What a series of a target is to the database.
#[derive(Debug)]
pub(super) struct Known {
    /// After relabelling; `None` where relabelling drops it.
    pub(super) labels: Option<Labels>,
    pub(super) reference: Option<SeriesRef>,
    /// The last scrape that had it.
    pub(super) seen: u64,
    /// The scrape before that which had it; 0 where there is none.
    pub(super) seen_before: u64,
    /// Whether it gets a stale marker when it goes away: its samples have no times of their own.
    pub(super) is_tracked: bool,
}

/// What a worker remembers of its target's series, so that a series is parsed and relabelled once.
#[derive(Debug, Default)]
pub(super) struct SeriesCache {
    /// By the series' text in the answer.
    pub(super) series: HashMap<String, Known>,
    pub(super) metadata: BTreeMap<String, Metadata>,
    /// Counts scrapes.
    pub(super) scrape: u64,
    /// The last scrape whose samples were taken.
    pub(super) last_good: u64,
    pub(super) reports: HashMap<&'static str, (Labels, Option<SeriesRef>)>,
}

impl SeriesCache {
    /// Forgets series that good scrapes have not had for a while.
    pub(super) fn forget_old(&mut self) {
        const KEPT_FOR: u64 = 10;
        let scrape = self.scrape;
        self.series
            .retain(|_, known| known.seen + KEPT_FOR > scrape);
        if self.series.capacity() > 2 * self.series.len() + 1024 {
            self.series.shrink_to_fit();
        }
    }
}
