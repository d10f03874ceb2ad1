use crate::series_store::{Labels, Matcher, Sample, SeriesStore};

/// One series as a source hands it out.
#[derive(Debug, Clone)]
pub struct StoredSeries {
    /// What names the series.
    pub labels: Labels,
    /// Its samples in the order of time, stale markers among them.
    pub samples: Vec<Sample>,
}

/// Where queries read series.
pub trait SeriesSource {
    /// The series that satisfy all matchers, sorted by labels, each with its samples after one time
    /// up to and with another (milliseconds). Stops, and says so by `None`, when there would be more
    /// samples than a limit.
    fn select(
        &self,
        matchers: &[Matcher],
        after: i64,
        until: i64,
        limit: usize,
    ) -> Option<Vec<StoredSeries>>;
}

impl SeriesSource for SeriesStore {
    fn select(
        &self,
        matchers: &[Matcher],
        after: i64,
        until: i64,
        limit: usize,
    ) -> Option<Vec<StoredSeries>> {
        let mut left = limit;
        let mut selected = Vec::new();
        for series in SeriesStore::select(self, matchers) {
            let samples: Vec<Sample> = series
                .between(after, until)
                .take(left.saturating_add(1))
                .collect();
            left = left.checked_sub(samples.len())?;
            if !samples.is_empty() {
                selected.push(StoredSeries {
                    labels: series.labels().clone(),
                    samples,
                });
            }
        }
        Some(selected)
    }
}
