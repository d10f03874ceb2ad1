//! Numbers in bytes, as log, index and chunk files write them, and the checksum that guards them.

/// Adds a number, seven bits a byte, the lowest first.
pub(super) fn put_uvarint(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Adds a number that may be negative, its sign in the lowest bit.
pub(super) fn put_varint(into: &mut Vec<u8>, number: i64) {
    put_uvarint(into, ((number << 1) ^ (number >> 63)) as u64);
}

pub(super) fn put_u32(into: &mut Vec<u8>, number: u32) {
    into.extend_from_slice(&number.to_be_bytes());
}

pub(super) fn put_u64(into: &mut Vec<u8>, number: u64) {
    into.extend_from_slice(&number.to_be_bytes());
}

/// Adds a text after its length.
pub(super) fn put_text(into: &mut Vec<u8>, text: &str) {
    put_bytes(into, text.as_bytes());
}

/// Adds bytes after their count.
pub(super) fn put_bytes(into: &mut Vec<u8>, bytes: &[u8]) {
    put_uvarint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

/// Takes numbers from bytes; nothing where they end too early or are none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a>(&'a [u8]);

// === impl Bytes ===

impl<'a> Bytes<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Bytes<'a> {
        Bytes(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    pub(crate) fn uvarint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn varint(&mut self) -> Option<i64> {
        let number = self.uvarint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// A count of things that take at least a number of bytes each: more than are left is no count.
    pub(super) fn count(&mut self, least_bytes: usize) -> Option<usize> {
        let count = usize::try_from(self.uvarint()?).ok()?;
        (count <= self.left() / least_bytes.max(1)).then_some(count)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.uvarint()?).ok()?;
        self.take(count)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

/// The remainders of a byte followed by 0 to 7 zero bytes, for the Castagnoli polynomial, bits reversed.
const TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut rest = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 {
                (rest >> 1) ^ 0x82f6_3b78
            } else {
                rest >> 1
            };
            bit += 1;
        }
        tables[0][byte] = rest;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[table - 1][byte];
            tables[table][byte] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// The CRC-32C of bytes, eight of them a step ("slicing by 8", Kounavis and Berry 2005).
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let mut rest = !0_u32;
    let (eights, tail) = bytes.as_chunks::<8>();
    for eight in eights {
        let word = u64::from_le_bytes(*eight) ^ u64::from(rest);
        rest = 0;
        for (at, table) in TABLES.iter().rev().enumerate() {
            rest ^= table[(word >> (8 * at) & 0xff) as usize];
        }
    }
    for byte in tail {
        rest = (rest >> 8) ^ TABLES[0][((rest ^ u32::from(*byte)) & 0xff) as usize];
    }
    !rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4.
        assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn numbers_come_back(unsigned: u64, signed: i64, text in ".{0,20}") {
            let mut bytes = Vec::new();
            put_uvarint(&mut bytes, unsigned);
            put_varint(&mut bytes, signed);
            put_u32(&mut bytes, unsigned as u32);
            put_u64(&mut bytes, unsigned);
            put_text(&mut bytes, &text);
            let mut read = Bytes::new(&bytes);
            prop_assert_eq!(read.uvarint(), Some(unsigned));
            prop_assert_eq!(read.varint(), Some(signed));
            prop_assert_eq!(read.u32(), Some(unsigned as u32));
            prop_assert_eq!(read.u64(), Some(unsigned));
            prop_assert_eq!(read.text(), Some(text.as_str()));
            prop_assert!(read.is_empty());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut read = Bytes::new(&bytes);
            while read.varint().is_some() && read.text().is_some() {}
        }
    }
}
