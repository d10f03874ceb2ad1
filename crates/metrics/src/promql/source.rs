use crate::series_store::{Labels, Matcher, Sample};

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
