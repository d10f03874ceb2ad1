//! Reads head and blocks as one.

use std::cmp::Ordering;

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
        viewed.sort_unstable_by(|left, right| left.labels.cmp(&right.labels));
        // Blocks after memory: what becomes a block in between is found in both, never in none.
        for block in self.0.current_blocks().iter() {
            if block.overlaps(after, until) {
                viewed = join(viewed, block.select(matchers, after, until)?);
            }
        }
        Ok(viewed)
    }
}

/// Adds a block's series to those that are viewed already; both are sorted by labels.
fn join(viewed: Vec<ViewedSeries>, of_block: Vec<BlockSeries>) -> Vec<ViewedSeries> {
    let mut joined = Vec::with_capacity(viewed.len().max(of_block.len()));
    let mut known = viewed.into_iter().peekable();
    for series in of_block {
        let mut order = Ordering::Less;
        while let Some(next) = known.peek() {
            order = next.labels.cmp(&series.labels);
            if order != Ordering::Less {
                break;
            }
            joined.extend(known.next());
        }
        let of_same = known.next_if(|_| order == Ordering::Equal);
        let mut view = of_same.unwrap_or_else(|| ViewedSeries {
            labels: series.labels.clone(),
            blocks: Vec::new(),
            head: HeadSamples::default(),
        });
        view.blocks.push(series);
        joined.push(view);
    }
    joined.extend(known);
    joined
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
