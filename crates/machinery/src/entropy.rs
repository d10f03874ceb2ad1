//! The one source of randomness: seeded, so that a simulation can be run again.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

/// The letters of generated names: no vowels, so that no words appear, and nothing that is read
/// for something else.
const SAFE_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A source of random numbers. Clones draw from the same sequence.
#[derive(Debug, Clone)]
pub struct Entropy(Arc<Mutex<StdRng>>);

impl Entropy {
    /// A source seeded by the operating system.
    pub fn from_os() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_os_rng())))
    }

    /// A source that gives the same numbers for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// An independent source, for a part whose draws should not change what others draw.
    pub fn fork(&self) -> Self {
        Self::from_seed(self.u64())
    }

    /// A number, all 64 bits random.
    pub fn u64(&self) -> u64 {
        self.0.lock().next_u64()
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        self.0.lock().random_range(0..bound)
    }

    /// A number at least 0 and below 1.
    pub fn fraction(&self) -> f64 {
        self.0.lock().random()
    }

    /// Fills `bytes`.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().fill_bytes(bytes);
    }

    /// A random (version 4) UUID, as objects' UIDs are.
    pub fn uid(&self) -> String {
        let mut bytes = [0_u8; 16];
        self.fill(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let mut uid = String::with_capacity(36);
        for (index, byte) in bytes.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                uid.push('-');
            }
            for nibble in [byte >> 4, byte & 0x0f] {
                uid.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        uid
    }

    /// `length` letters for the end of a generated name.
    pub fn suffix(&self, length: usize) -> String {
        let mut source = self.0.lock();
        (0..length)
            .map(|_| char::from(SAFE_LETTERS[source.random_range(0..SAFE_LETTERS.len())]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence() {
        let (one, two) = (Entropy::from_seed(7), Entropy::from_seed(7));
        assert_eq!(one.uid(), two.uid());
        assert_eq!(one.suffix(5), two.suffix(5));
        assert_eq!(one.fork().u64(), two.fork().u64());
        assert_ne!(one.u64(), Entropy::from_seed(8).u64());
    }

    #[test]
    fn uids_are_version_4_uuids() {
        let entropy = Entropy::from_seed(1);
        for _ in 0..100 {
            let uid = entropy.uid();
            let groups: Vec<usize> = uid.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12]);
            assert_eq!(uid.as_bytes()[14], b'4');
            assert!(b"89ab".contains(&uid.as_bytes()[19]));
        }
    }

    #[test]
    fn suffixes_use_safe_letters_only() {
        let suffix = Entropy::from_seed(3).suffix(500);
        assert_eq!(suffix.len(), 500);
        assert!(suffix.bytes().all(|letter| SAFE_LETTERS.contains(&letter)));
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        let entropy = Entropy::from_os();
        assert_eq!(entropy.below(0), 0);
        for _ in 0..100 {
            assert!(entropy.below(3) < 3);
            assert!((0.0..1.0).contains(&entropy.fraction()));
        }
    }
}
