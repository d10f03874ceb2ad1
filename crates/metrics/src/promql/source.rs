use crate::series_store::{Labels, Matcher, Sample, Series, SeriesStore};

/// Where queries read series.
pub trait SeriesSource {
    /// The series that satisfy all matchers, sorted by labels. Those without samples after one time up
    /// to and with another (milliseconds) may be left out.
    ///
    /// # Errors
    /// Where what is stored cannot be read.
    fn select<'s>(
        &'s self,
        matchers: &[Matcher],
        after: i64,
        until: i64,
    ) -> Result<Vec<Box<dyn SourceSeries + 's>>, ReadError>;
}

/// Why stored series cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(String);

impl ReadError {
    /// Says what happened.
    #[must_use]
    pub fn new(reason: &dyn std::fmt::Display) -> ReadError {
        ReadError(reason.to_string())
    }
}

/// A series that a source holds. Queries read several at once, each from one thread.
pub trait SourceSeries: Send + Sync {
    /// What names the series.
    fn labels(&self) -> &Labels;

    /// About how many samples there are after one time up to and with another.
    fn sample_estimate(&self, after: i64, until: i64) -> usize;

    /// Adds the samples after one time up to and with another to a list, in the order of time, stale markers
    /// among them; at most a number of them.
    ///
    /// # Errors
    /// Where what is stored cannot be read.
    fn read(
        &self,
        after: i64,
        until: i64,
        most: usize,
        into: &mut Vec<Sample>,
    ) -> Result<(), ReadError>;
}

impl SourceSeries for &Series {
    fn labels(&self) -> &Labels {
        Series::labels(self)
    }

    fn sample_estimate(&self, after: i64, until: i64) -> usize {
        let overlapping = self
            .chunks()
            .iter()
            .filter(|chunk| chunk.first_time() <= until && chunk.last().time > after);
        overlapping.map(|chunk| usize::from(chunk.len())).sum()
    }

    fn read(
        &self,
        after: i64,
        until: i64,
        most: usize,
        into: &mut Vec<Sample>,
    ) -> Result<(), ReadError> {
        into.extend(self.between(after, until).take(most));
        Ok(())
    }
}

impl SeriesSource for SeriesStore {
    fn select<'s>(
        &'s self,
        matchers: &[Matcher],
        after: i64,
        until: i64,
    ) -> Result<Vec<Box<dyn SourceSeries + 's>>, ReadError> {
        let overlaps = |series: &&Series| {
            series.newest().time > after && series.chunks()[0].first_time() <= until
        };
        let selected = SeriesStore::select(self, matchers).into_iter();
        let boxed = |series| Box::new(series) as Box<dyn SourceSeries + 's>;
        Ok(selected.filter(overlaps).map(boxed).collect())
    }
}
