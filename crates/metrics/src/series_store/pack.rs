//! Compresses samples that are all known as small as the chunk format allows: what is written once and read often.
//!
//! The bits in which a value differs from the one before are written in a window, which holds until another is
//! named. An encoder that sees one value at a time widens its window and keeps it; here the cheapest sequence of
//! windows is found first.

use super::chunk::{Chunk, Sample, WINDOW_BITS, Window};

/// Samples of a chunk: two hours at 15 seconds. What a chunk costs beside its samples is shared by four times as many as
/// in memory.
pub(crate) const SAMPLES_IN_PACKED: usize = 480;
/// A run is not made longer once its common window wastes more bits than this: to name other windows for a part of it
/// takes about as many. Without a limit packing takes ten times as long, and 0.2 % less room.
const MOST_WASTE: u32 = 4 * WINDOW_BITS;

/// Compresses samples in the order of time.
pub(crate) fn pack(samples: &[Sample]) -> Vec<Chunk> {
    let chunks = samples.chunks(SAMPLES_IN_PACKED);
    chunks.map(pack_chunk).collect()
}

fn pack_chunk(samples: &[Sample]) -> Chunk {
    let pairs = samples.windows(2);
    let differences = pairs.map(|pair| pair[0].value.to_bits() ^ pair[1].value.to_bits());
    let needed: Vec<Option<Window>> = differences.map(Window::of).collect();
    let windows = cheapest_windows(&needed.iter().flatten().copied().collect::<Vec<_>>());
    let mut windows = windows.into_iter();
    let mut chunk = Chunk::starting_with(samples[0]);
    for (sample, needed) in samples[1..].iter().zip(&needed) {
        let window = needed.and_then(|_| windows.next());
        chunk.push_in(*sample, window);
    }
    chunk.seal();
    chunk
}

/// The window of each value, such that all of them take the fewest bits: the shortest path over the values, where an
/// edge is a run that shares one window.
fn cheapest_windows(needed: &[Window]) -> Vec<Window> {
    #[derive(Clone, Copy)]
    struct Reached {
        bits: u32,
        /// Where the last run starts.
        from: usize,
        window: Window,
    }
    let Some(first) = needed.first() else {
        return Vec::new();
    };
    let unreached = Reached {
        bits: u32::MAX,
        from: 0,
        window: *first,
    };
    // One entry more than there are values: what it takes to write all before.
    let mut reached = vec![unreached; needed.len() + 1];
    reached[0].bits = 0;
    for from in 0..needed.len() {
        let before = reached[from].bits + WINDOW_BITS;
        let mut window = needed[from];
        let mut least = 0;
        for at in from..needed.len() {
            least += needed[at].bits();
            window = window.with(needed[at]);
            let all = window.bits() * (at - from + 1) as u32;
            let bits = before + all;
            if bits < reached[at + 1].bits {
                reached[at + 1] = Reached { bits, from, window };
            } else if bits >= reached[at + 1].bits + WINDOW_BITS {
                // The other way is no worse even if it names this window next.
                break;
            }
            if all - least > MOST_WASTE {
                break;
            }
        }
    }
    let mut windows = vec![*first; needed.len()];
    let mut end = needed.len();
    while end > 0 {
        let Reached { from, window, .. } = reached[end];
        windows[from..end].fill(window);
        end = from;
    }
    windows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (0..1000_i32).prop_map(f64::from),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => Just(super::super::stale_marker()),
        ]
    }

    fn bytes_as_they_come(samples: &[Sample]) -> usize {
        let mut chunk = Chunk::starting_with(samples[0]);
        samples[1..].iter().for_each(|sample| chunk.push(*sample));
        chunk.bytes().len()
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read(
            steps in prop::collection::vec((1..100_000_i64, any_value()), 1..1200),
        ) {
            let mut time = 0;
            let samples: Vec<Sample> = steps
                .into_iter()
                .map(|(step, value)| { time += step; Sample { time, value } })
                .collect();
            let chunks = pack(&samples);
            prop_assert_eq!(chunks.len(), samples.len().div_ceil(SAMPLES_IN_PACKED));
            let bits = |sample: &Sample| (sample.time, sample.value.to_bits());
            let read: Vec<_> = chunks.iter().flat_map(Chunk::samples).map(|sample| bits(&sample)).collect();
            prop_assert_eq!(read, samples.iter().map(bits).collect::<Vec<_>>());
        }

        #[test]
        fn packing_takes_hardly_ever_more_room_than_taking_samples_as_they_come(
            values in prop::collection::vec(any_value(), 1..SAMPLES_IN_PACKED),
        ) {
            let samples: Vec<Sample> = values
                .into_iter()
                .enumerate()
                .map(|(at, value)| Sample { time: at as i64 * 15_000, value })
                .collect();
            let most = bytes_as_they_come(&samples) * 17 / 16;
            prop_assert!(pack(&samples)[0].bytes().len() <= most);
        }
    }

    #[test]
    fn a_window_is_narrowed_where_that_pays() {
        // The carries of a counter need wide windows, rarely.
        let samples: Vec<Sample> = (0..480)
            .map(|at| Sample {
                time: at * 15_000,
                value: 1000.0 + (at * 7 / 2) as f64,
            })
            .collect();
        let packed = pack(&samples)[0].bytes().len();
        let as_they_come = bytes_as_they_come(&samples);
        assert!(packed < as_they_come * 9 / 10, "{packed} of {as_they_come}");
    }
}
