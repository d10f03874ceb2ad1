//! XOR-compressed chunks: the Gorilla scheme with the bit layout of Prometheus' XOR chunks.
//!
//! The first two bytes count the samples. The first sample is a varint time and 64 raw bits; the
//! second a time delta and the XOR with the value before; later ones the change of the delta
//! (`0`, or a prefix and 14, 17, 20 or 64 bits) and the XOR (`0`, or the meaningful bits, whose
//! position is repeated only when it changed).

/// A value at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Milliseconds since the epoch.
    pub time: i64,
    /// The value; a stale marker says that the series ended.
    pub value: f64,
}

/// Samples a full chunk holds.
pub(crate) const SAMPLES_IN_FULL: u16 = 120;

/// What naming a window takes.
pub(super) const WINDOW_BITS: u32 = 5 + 6;

/// Which bits of a value's difference from the one before are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// Bits left out before them.
    leading: u8,
    /// Bits left out behind them.
    trailing: u8,
}

impl Window {
    /// The smallest one that holds a difference; none where there is no difference.
    pub(super) fn of(difference: u64) -> Option<Window> {
        (difference != 0).then(|| Window {
            // The format has five bits for it.
            leading: (difference.leading_zeros() as u8).min(31),
            trailing: difference.trailing_zeros() as u8,
        })
    }

    /// The smallest one that holds two.
    pub(super) fn with(self, other: Window) -> Window {
        Window {
            leading: self.leading.min(other.leading),
            trailing: self.trailing.min(other.trailing),
        }
    }

    /// How many bits it has.
    pub(super) fn bits(self) -> u32 {
        64 - u32::from(self.leading) - u32::from(self.trailing)
    }
}

/// Samples, compressed, in the order of time: up to 120 that come one by one, more of those that are [packed](super::pack).
#[derive(Debug, Clone)]
pub struct Chunk {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not used yet.
    free_bits: u8,
    first_time: i64,
    last: Sample,
    delta: u64,
    /// Named last.
    window: Option<Window>,
}

impl Chunk {
    /// A chunk that starts with a sample.
    pub(crate) fn starting_with(first: Sample) -> Chunk {
        let mut chunk = Chunk {
            bytes: vec![0, 1],
            free_bits: 0,
            first_time: first.time,
            last: first,
            delta: 0,
            window: None,
        };
        let zigzag = (first.time << 1) ^ (first.time >> 63);
        chunk.write_varint(zigzag as u64);
        chunk.write_bits(first.value.to_bits(), 64);
        chunk
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> u16 {
        u16::from_be_bytes([self.bytes[0], self.bytes[1]])
    }

    /// Never: a chunk starts with a sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= SAMPLES_IN_FULL
    }

    /// The first sample's time.
    #[must_use]
    pub fn first_time(&self) -> i64 {
        self.first_time
    }

    /// The newest sample.
    #[must_use]
    pub fn last(&self) -> Sample {
        self.last
    }

    /// The compressed form.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The samples of a compressed form, to be added to; nothing where it is broken or has none.
    pub(crate) fn reopen(bytes: &[u8]) -> Option<Chunk> {
        let mut samples = Samples::new(bytes);
        let count = samples.count;
        let mut chunk = Chunk::starting_with(samples.next()?);
        for sample in samples {
            if sample.time <= chunk.last.time {
                return None;
            }
            chunk.push(sample);
        }
        (chunk.len() == count).then_some(chunk)
    }

    /// Gives back memory that was reserved for more samples.
    pub(crate) fn seal(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Adds a sample newer than the last one; there must be room.
    pub(crate) fn push(&mut self, sample: Sample) {
        let needed = Window::of(self.last.value.to_bits() ^ sample.value.to_bits());
        let fits = |window: &Window| needed.is_some_and(|needed| window.with(needed) == *window);
        self.push_in(sample, self.window.filter(fits).or(needed));
    }

    /// As [`Chunk::push`], with the window to write the value in; none where it is the same as the value before.
    pub(super) fn push_in(&mut self, sample: Sample, window: Option<Window>) {
        debug_assert!(
            sample.time > self.last.time,
            "samples come in the order of time"
        );
        let count = self.len();
        let delta = sample.time.wrapping_sub(self.last.time) as u64;
        if count == 1 {
            self.write_varint(delta);
        } else {
            self.write_delta_change(delta.wrapping_sub(self.delta) as i64);
        }
        self.write_difference(sample.value, window);
        self.delta = delta;
        self.last = sample;
        self.bytes[..2].copy_from_slice(&(count + 1).to_be_bytes());
    }

    /// The samples, decompressed one by one.
    #[must_use]
    pub fn samples(&self) -> Samples<'_> {
        Samples::new(&self.bytes)
    }

    /// Adds the samples after one time up to and with another to a list.
    pub(crate) fn read(&self, after: i64, until: i64, into: &mut Vec<Sample>) {
        let samples = self.samples().skip_while(|sample| sample.time <= after);
        into.extend(samples.take_while(|sample| sample.time <= until));
    }

    fn write_delta_change(&mut self, change: i64) {
        let fits = |bits: u32| {
            let half = 1_i64 << (bits - 1);
            (-(half - 1)..=half).contains(&change)
        };
        match change {
            0 => self.write_bits(0, 1),
            _ if fits(14) => {
                self.write_bits(0b10, 2);
                self.write_bits(change as u64, 14);
            }
            _ if fits(17) => {
                self.write_bits(0b110, 3);
                self.write_bits(change as u64, 17);
            }
            _ if fits(20) => {
                self.write_bits(0b1110, 4);
                self.write_bits(change as u64, 20);
            }
            _ => {
                self.write_bits(0b1111, 4);
                self.write_bits(change as u64, 64);
            }
        }
    }

    fn write_difference(&mut self, value: f64, window: Option<Window>) {
        let Some(window) = window else {
            debug_assert_eq!(value.to_bits(), self.last.value.to_bits(), "no window");
            self.write_bits(0, 1);
            return;
        };
        if self.window == Some(window) {
            self.write_bits(0b10, 2);
        } else {
            self.window = Some(window);
            self.write_bits(0b11, 2);
            self.write_bits(u64::from(window.leading), 5);
            // 64 bits are written as 0, which cannot occur otherwise.
            self.write_bits(u64::from(window.bits()), 6);
        }
        let difference = value.to_bits() ^ self.last.value.to_bits();
        self.write_bits(difference >> window.trailing, window.bits() as u8);
    }

    /// Writes the lowest bits of a number, the highest of them first.
    fn write_bits(&mut self, bits: u64, count: u8) {
        let mut left = count;
        while left > 0 {
            if self.free_bits == 0 {
                self.bytes.push(0);
                self.free_bits = 8;
            }
            let taken = left.min(self.free_bits);
            let mask = (1_u64 << taken) - 1;
            let part = ((bits >> (left - taken)) & mask) as u8;
            self.free_bits -= taken;
            if let Some(byte) = self.bytes.last_mut() {
                *byte |= part << self.free_bits;
            }
            left -= taken;
        }
    }

    fn write_varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.write_bits((number & 0x7f) | 0x80, 8);
            number >>= 7;
        }
        self.write_bits(number, 8);
    }
}

/// Reads bits, the highest of each byte first.
#[derive(Debug, Clone)]
struct Bits<'a> {
    bytes: &'a [u8],
    /// The next byte to take into the buffer.
    next: usize,
    /// Bits that were taken, from the highest on. Behind them are zeros, or bits that are yet to be counted.
    buffer: u64,
    /// How many bits the buffer holds.
    held: u8,
}

impl Bits<'_> {
    /// Fills the buffer with at least 56 bits, or with all that are left.
    #[inline]
    fn fill(&mut self) {
        let rest = &self.bytes[self.next..];
        let Some(eight) = rest.first_chunk::<8>() else {
            self.fill_from_tail();
            return;
        };
        // Bits of a byte that has no room as a whole are not counted; the next time puts them in the same place.
        self.buffer |= u64::from_be_bytes(*eight) >> self.held;
        self.next += usize::from((63 - self.held) / 8);
        self.held |= 56;
    }

    #[cold]
    fn fill_from_tail(&mut self) {
        for byte in &self.bytes[self.next..] {
            if self.held > 56 {
                return;
            }
            self.buffer |= u64::from(*byte) << (56 - self.held);
            self.held += 8;
            self.next += 1;
        }
    }

    /// Takes a zero, if one comes next.
    #[inline]
    fn take_zero(&mut self) -> bool {
        if self.held == 0 {
            self.fill();
        }
        let is_zero = self.held > 0 && self.buffer >> 63 == 0;
        if is_zero {
            self.buffer <<= 1;
            self.held -= 1;
        }
        is_zero
    }

    /// Reads up to 64 bits.
    #[inline]
    fn read(&mut self, count: u8) -> Option<u64> {
        if count > 56 {
            let high = self.read_few(count - 32)?;
            return Some(high << 32 | self.read_few(32)?);
        }
        self.read_few(count)
    }

    /// Reads up to 56 bits.
    #[inline]
    fn read_few(&mut self, count: u8) -> Option<u64> {
        if self.held < count {
            self.fill();
            if self.held < count {
                return None;
            }
        }
        if count == 0 {
            return Some(0);
        }
        let bits = self.buffer >> (64 - count);
        self.buffer <<= count;
        self.held -= count;
        Some(bits)
    }

    /// How many ones come next, up to four; the zero behind fewer is read with them.
    #[inline]
    fn read_ones(&mut self) -> Option<u8> {
        if self.held < 4 {
            self.fill();
        }
        let ones = (self.buffer.leading_ones() as u8).min(4);
        let read = (ones + 1).min(4);
        if self.held < read {
            return None;
        }
        self.buffer <<= read;
        self.held -= read;
        Some(ones)
    }
}

/// Decompresses a chunk. Bytes that are cut short end it early; it never panics.
#[derive(Debug, Clone)]
pub struct Samples<'a> {
    bits: Bits<'a>,
    count: u16,
    read: u16,
    last: Sample,
    delta: u64,
    leading: u8,
    trailing: u8,
}

impl<'a> Samples<'a> {
    /// Reads a chunk's compressed form, also one from elsewhere that may be broken.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Samples<'a> {
        let (count, rest) = match bytes {
            [high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
            _ => (0, bytes),
        };
        Samples {
            bits: Bits {
                bytes: rest,
                next: 0,
                buffer: 0,
                held: 0,
            },
            count,
            read: 0,
            last: Sample {
                time: 0,
                value: 0.0,
            },
            delta: 0,
            leading: 0,
            trailing: 0,
        }
    }

    #[inline]
    fn read_bits(&mut self, count: u8) -> Option<u64> {
        self.bits.read(count)
    }

    fn read_varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.read_bits(8)?;
            number |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    #[inline]
    fn read_delta_change(&mut self) -> Option<i64> {
        if self.bits.take_zero() {
            return Some(0);
        }
        self.read_other_delta_change()
    }

    fn read_other_delta_change(&mut self) -> Option<i64> {
        let bits = match self.bits.read_ones()? {
            0 => return Some(0),
            1 => 14,
            2 => 17,
            3 => 20,
            _ => return self.read_bits(64).map(|raw| raw as i64),
        };
        let raw = self.read_bits(bits)? as i64;
        // The range is -(half-1)..=half: only numbers above half are negative.
        let half = 1_i64 << (bits - 1);
        Some(if raw > half { raw - (half << 1) } else { raw })
    }

    #[inline]
    fn read_xor(&mut self) -> Option<f64> {
        if self.bits.take_zero() {
            return Some(self.last.value);
        }
        self.read_bits(1)?;
        if !self.bits.take_zero() {
            self.read_bits(1)?;
            self.leading = self.read_bits(5)? as u8;
            let meaningful = match self.read_bits(6)? as u8 {
                0 => 64,
                some => some,
            };
            self.trailing = 64_u8.checked_sub(self.leading + meaningful)?;
        }
        let meaningful = 64 - self.leading - self.trailing;
        let xor = self.read_bits(meaningful)? << self.trailing;
        Some(f64::from_bits(self.last.value.to_bits() ^ xor))
    }

    #[inline]
    fn read_sample(&mut self) -> Option<Sample> {
        if self.read < 2 {
            return self.read_one_of_the_first();
        }
        let change = self.read_delta_change()?;
        self.delta = self.delta.wrapping_add(change as u64);
        self.read_after_delta()
    }

    #[inline]
    fn read_after_delta(&mut self) -> Option<Sample> {
        let time = self.last.time.wrapping_add(self.delta as i64);
        let value = self.read_xor()?;
        Some(Sample { time, value })
    }

    #[cold]
    fn read_one_of_the_first(&mut self) -> Option<Sample> {
        if self.read == 0 {
            let zigzag = self.read_varint()?;
            let time = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
            let value = f64::from_bits(self.read_bits(64)?);
            return Some(Sample { time, value });
        }
        self.delta = self.read_varint()?;
        self.read_after_delta()
    }
}

impl Iterator for Samples<'_> {
    type Item = Sample;

    #[inline]
    fn next(&mut self) -> Option<Sample> {
        if self.read == self.count {
            return None;
        }
        let Some(sample) = self.read_sample() else {
            self.count = self.read;
            return None;
        };
        self.read += 1;
        self.last = sample;
        Some(sample)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compress(samples: &[Sample]) -> Chunk {
        let mut chunk = Chunk::starting_with(samples[0]);
        for sample in &samples[1..] {
            chunk.push(*sample);
        }
        chunk
    }

    fn assert_round_trip(samples: &[Sample]) {
        let read: Vec<Sample> = compress(samples).samples().collect();
        assert_eq!(read.len(), samples.len());
        for (left, right) in read.iter().zip(samples) {
            assert_eq!(left.time, right.time);
            assert_eq!(left.value.to_bits(), right.value.to_bits());
        }
    }

    #[test]
    fn a_regular_counter_takes_little_room() {
        let samples: Vec<Sample> = (0..120)
            .map(|at| Sample {
                time: 1_700_000_000_000 + at * 15_000,
                value: (at / 4) as f64,
            })
            .collect();
        assert_round_trip(&samples);
        assert!(
            compress(&samples).bytes().len() < 192,
            "under 1.6 bytes a sample"
        );
    }

    #[test]
    fn the_bits_lie_as_prometheus_lays_them() {
        let chunk = compress(&[
            Sample {
                time: 1,
                value: 1.0,
            },
            Sample {
                time: 3,
                value: 1.0,
            },
            Sample {
                time: 5,
                value: 1.0,
            },
        ]);
        // Count, zigzag 1, the float's eight bytes, delta 2, then the bits: xor 0, change 0, xor 0.
        assert_eq!(chunk.bytes(), [0, 3, 2, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 2, 0]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            start in -10_000_000_000_i64..10_000_000_000_000,
            steps in prop::collection::vec(
                (prop_oneof![Just(15_000_i64), 1..20_000_i64, 1..5_000_000_000_i64],
                 prop_oneof![any::<f64>(), Just(f64::from_bits(super::super::STALE_BITS)), (0..100_i32).prop_map(f64::from)]),
                1..120,
            ),
        ) {
            let mut time = start;
            let samples: Vec<Sample> = steps
                .into_iter()
                .map(|(step, value)| {
                    time += step;
                    Sample { time, value }
                })
                .collect();
            assert_round_trip(&samples);
        }

        #[test]
        fn broken_bytes_end_early_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Samples::new(&bytes).count();
        }
    }
}
