use std::hash::{BuildHasher, Hasher, RandomState};

use jiff::Timestamp;

/// Crockford's base 32.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 26;

/// A name that sorts by the time it was made and that no other block has.
pub(in crate::tsdb) fn new_ulid(now: Timestamp) -> String {
    // A hasher's keys are random for each process and differ for each hasher.
    let random = || RandomState::new().build_hasher().finish();
    let time = now.as_millisecond().clamp(0, (1 << 48) - 1) as u128;
    let bits = (time << 80) | (u128::from(random() as u16) << 64) | u128::from(random());
    let digit = |at: usize| {
        let place = (bits >> (5 * (LENGTH - 1 - at))) & 31;
        char::from(ALPHABET[place as usize])
    };
    (0..LENGTH).map(digit).collect()
}

/// Whether a folder is named as blocks are.
pub(in crate::tsdb) fn is_ulid(name: &str) -> bool {
    name.len() == LENGTH && name.bytes().all(|byte| ALPHABET.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_time_and_differ() {
        let at = |millisecond| Timestamp::from_millisecond(millisecond).expect("in range");
        let (first, second, later) = (new_ulid(at(1)), new_ulid(at(1)), new_ulid(at(2)));
        assert!(is_ulid(&first) && is_ulid(&later));
        assert_ne!(first, second);
        assert!(first < later && second < later);
        assert_eq!(&new_ulid(at(1_469_918_176_385))[..10], "01ARYZ6S41");
    }
}
