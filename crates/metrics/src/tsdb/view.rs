//! Reads head and blocks as one.

use crate::promql::{ReadError, SeriesSource, SourceSeries};
use crate::series_store::{Labels, Matcher, Sample};

use super::Tsdb;
use super::block::BlockSeries;
use super::error::TsdbError;
use super::series::HeadSamples;

/// A series as it was when it was selected.
#[derive(Debug)]
pub(super) struct ViewedSeries {
    pub(super) labels: Labels,
    /// In the order of the blocks' oldest samples.
    blocks: Vec<BlockSeries>,
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
                    blocks: Vec::new(),
                    head,
                });
            }
        }
        // Blocks after memory: what becomes a block in between is found in both, never in none.
        for block in self.0.current_blocks().iter() {
            if !block.overlaps(after, until) {
                continue;
            }
            for series in block.select(matchers, after, until)? {
                viewed.push(ViewedSeries {
                    labels: series.labels.clone(),
                    blocks: vec![series],
                    head: HeadSamples::default(),
                });
            }
        }
        // Stable, and quick on what is sorted in parts.
        viewed.sort_by(|left, right| left.labels.cmp(&right.labels));
        viewed.dedup_by(|next, kept| {
            let same = next.labels == kept.labels;
            if same {
                kept.blocks.append(&mut next.blocks);
            }
            same
        });
        Ok(viewed)
    }
}

impl ViewedSeries {
    fn read_all(
        &self,
        after: i64,
        until: i64,
        most: usize,
        into: &mut Vec<Sample>,
    ) -> Result<(), TsdbError> {
        let enough = into.len().saturating_add(most);
        for series in &self.blocks {
            series.read(after, until, into)?;
            if into.len() >= enough {
                return Ok(());
            }
        }
        self.head.read(after, until, most, into);
        Ok(())
    }
}

impl SourceSeries for ViewedSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn sample_estimate(&self, _after: i64, _until: i64) -> usize {
        let stored = self.blocks.iter().map(BlockSeries::sample_estimate);
        self.head.count() + stored.sum::<usize>()
    }

    fn read(
        &self,
        after: i64,
        until: i64,
        most: usize,
        into: &mut Vec<Sample>,
    ) -> Result<(), ReadError> {
        let start = into.len();
        self.read_all(after, until, most, into)
            .map_err(|error| ReadError::new(&error))?;
        if !into[start..].is_sorted_by(|left, right| left.time < right.time) {
            // Of two samples at one time the one that was there first counts.
            let mut read = into.split_off(start);
            read.sort_by_key(|sample| sample.time);
            read.dedup_by_key(|sample| sample.time);
            into.append(&mut read);
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
