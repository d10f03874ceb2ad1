//! Reads head and blocks as one.

use crate::promql::{ReadError, SeriesSource, SourceSeries};
use crate::series_store::{Labels, Matcher, Sample};

use super::Tsdb;
use super::error::TsdbError;
use super::series::HeadSamples;

/// A series as it was when it was selected.
#[derive(Debug)]
pub(super) struct ViewedSeries {
    pub(super) labels: Labels,
    head: HeadSamples,
}

impl Tsdb {
    /// The series that satisfy all matchers and have samples after one time up to and with another, sorted by
    /// labels.
    pub(super) fn view(
        &self,
        matchers: &[Matcher],
        after: i64,
        until: i64,
    ) -> Result<Vec<ViewedSeries>, TsdbError> {
        let selected = self.0.head.directory.read().select(matchers);
        let mut viewed: Vec<ViewedSeries> = Vec::with_capacity(selected.len());
        for series in selected {
            let head = series.state.lock().snapshot(after, until);
            if !head.is_empty() {
                viewed.push(ViewedSeries {
                    labels: series.labels.clone(),
                    head,
                });
            }
        }
        viewed.sort_unstable_by(|left, right| left.labels.cmp(&right.labels));
        Ok(viewed)
    }
}

impl SourceSeries for ViewedSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn sample_estimate(&self, _after: i64, _until: i64) -> usize {
        self.head.count()
    }

    fn read(
        &self,
        after: i64,
        until: i64,
        most: usize,
        into: &mut Vec<Sample>,
    ) -> Result<(), ReadError> {
        let start = into.len();
        self.head.read(after, until, most, into);
        let read = &mut into[start..];
        if !read.is_sorted_by(|left, right| left.time < right.time) {
            read.sort_by_key(|sample| sample.time);
            let mut kept = start;
            for at in start..into.len() {
                if at == start || into[at].time != into[kept - 1].time {
                    into[kept] = into[at];
                    kept += 1;
                }
            }
            into.truncate(kept);
        }
        into.truncate(start.saturating_add(most));
        Ok(())
    }
}

impl SeriesSource for Tsdb {
    fn select<'s>(
        &'s self,
        matchers: &[Matcher],
        after: i64,
        until: i64,
    ) -> Result<Vec<Box<dyn SourceSeries + 's>>, ReadError> {
        let viewed = self
            .view(matchers, after, until)
            .map_err(|error| ReadError::new(&error))?;
        let boxed = viewed
            .into_iter()
            .map(|series| Box::new(series) as Box<dyn SourceSeries + 's>);
        Ok(boxed.collect())
    }
}
