//! Walks over series one by one, in parallel where that pays; what comes of it does not depend on that.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::promql::error::QueryError;
use crate::promql::query::Cancel;
use crate::series_store::Sample;

/// Samples and steps below which threads cost more than they save.
const WORTH_A_THREAD: usize = 250_000;
/// Series that a thread takes at once: enough that taking them costs nothing, few enough that all threads end together.
const SHARE: usize = 32;
/// Shares that wait to be taken; more would only hold memory.
const WAITING: usize = 4;

/// A series' value at each step; nothing where it has none at all.
pub(super) type Values = Option<Vec<f64>>;

/// Makes values of every series and passes them on in the order of the series. A buffer for samples is shared by
/// all series of a thread.
pub(super) fn walk<T: Sync>(
    series: &[T],
    work: usize,
    cancel: &Cancel,
    produce: impl Fn(&T, &mut Vec<Sample>) -> Result<Values, QueryError> + Sync,
    mut take: impl FnMut(usize, Vec<f64>) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = (work / WORTH_A_THREAD)
        .clamp(1, cores)
        .min(series.len().div_ceil(SHARE).max(1));
    let produce_checked = |series: &T, buffer: &mut Vec<Sample>| {
        cancel.check()?;
        produce(series, buffer)
    };
    if threads == 1 {
        let mut buffer = Vec::new();
        for (at, series) in series.iter().enumerate() {
            if let Some(values) = produce_checked(series, &mut buffer)? {
                take(at, values)?;
            }
        }
        return Ok(());
    }
    let next = AtomicUsize::new(0);
    let shares: Vec<&[T]> = series.chunks(SHARE).collect();
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(WAITING);
        for _ in 0..threads {
            let (sender, next, shares, produce) =
                (sender.clone(), &next, &shares, &produce_checked);
            scope.spawn(move || {
                let mut buffer = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(share) = shares.get(number) else {
                        return;
                    };
                    let produced: Result<Vec<Values>, QueryError> = share
                        .iter()
                        .map(|series| produce(series, &mut buffer))
                        .collect();
                    let failed = produced.is_err();
                    // Nobody listens any more once one share failed.
                    if sender.send((number, produced)).is_err() || failed {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut due = 0;
        for (number, produced) in receiver {
            early.insert(number, produced?);
            while let Some(share) = early.remove(&due) {
                for (at, values) in share.into_iter().enumerate() {
                    if let Some(values) = values {
                        take(due * SHARE + at, values)?;
                    }
                }
                due += 1;
            }
        }
        if due < shares.len() {
            return Err(QueryError::execution("evaluation panicked"));
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_the_order_of_series_whoever_made_them() {
        let series: Vec<usize> = (0..1000).collect();
        for work in [0, usize::MAX] {
            let mut taken = Vec::new();
            walk(
                &series,
                work,
                &Cancel::default(),
                |series, _| Ok((series % 3 != 0).then(|| vec![*series as f64])),
                |at, values| {
                    assert_eq!(values, [at as f64]);
                    taken.push(at);
                    Ok(())
                },
            )
            .expect("no failure");
            assert_eq!(taken.len(), 666);
            assert!(taken.is_sorted());
        }
    }

    #[test]
    fn a_failure_and_a_cancellation_end_the_walk() {
        let series: Vec<usize> = (0..1000).collect();
        let cancelled = Cancel::default();
        cancelled.cancel();
        for work in [0, usize::MAX] {
            let failing = |series: &usize, _: &mut Vec<Sample>| match series {
                500 => Err(QueryError::execution("broken")),
                _ => Ok(None),
            };
            let outcome = walk(&series, work, &Cancel::default(), failing, |_, _| Ok(()));
            assert_eq!(outcome, Err(QueryError::execution("broken")));
            let outcome = walk(&series, work, &cancelled, failing, |_, _| Ok(()));
            assert_eq!(outcome, Err(QueryError::Cancelled));
        }
    }
}
