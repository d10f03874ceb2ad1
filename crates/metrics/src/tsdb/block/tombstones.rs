//! What was deleted of a block: spans of time a series.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use crate::series_store::{Sample, SeriesNumber};
use crate::tsdb::codec::{Bytes, checksum, put_u32, put_uvarint, put_varint};
use crate::tsdb::error::TsdbError;
use crate::tsdb::log::sync_folder;

use super::TOMBSTONES_FILE;

/// What the file starts with; its last byte is the version. The checksum is of what follows.
const HEADER: [u8; 5] = [0x01, 0x30, 0xba, 0x30, 1];

/// Spans of time, first and last millisecond, in no order.
pub(in crate::tsdb) type Spans = Vec<(i64, i64)>;

/// Takes samples within spans away.
pub(in crate::tsdb) fn subtract_spans(
    samples: &mut Vec<Sample>,
    start: usize,
    spans: &[(i64, i64)],
) {
    if spans.is_empty() {
        return;
    }
    let mut kept = start;
    for at in start..samples.len() {
        let time = samples[at].time;
        if !spans
            .iter()
            .any(|(from, until)| (*from..=*until).contains(&time))
        {
            samples[kept] = samples[at];
            kept += 1;
        }
    }
    samples.truncate(kept);
}

/// Reads a block's deletions; none where there is no file.
pub(super) fn read(folder: &Path) -> Result<BTreeMap<SeriesNumber, Spans>, TsdbError> {
    let path = folder.join(TOMBSTONES_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(TsdbError::files("read", &path, error)),
    };
    parse(&bytes).ok_or_else(|| TsdbError::damaged(&path, "it is not what was written"))
}

fn parse(bytes: &[u8]) -> Option<BTreeMap<SeriesNumber, Spans>> {
    let guarded = bytes.strip_prefix(&HEADER)?;
    let (guarded, sum) = guarded.split_last_chunk::<4>()?;
    if checksum(guarded) != u32::from_be_bytes(*sum) {
        return None;
    }
    let mut rest = Bytes::new(guarded);
    let mut deleted: BTreeMap<SeriesNumber, Spans> = BTreeMap::new();
    while !rest.is_empty() {
        let series = SeriesNumber::try_from(rest.uvarint()?).ok()?;
        let span = (rest.varint()?, rest.varint()?);
        deleted.entry(series).or_default().push(span);
    }
    Some(deleted)
}

fn render(deleted: &BTreeMap<SeriesNumber, Spans>) -> Vec<u8> {
    let mut bytes = HEADER.to_vec();
    for (series, spans) in deleted {
        for (from, until) in spans {
            put_uvarint(&mut bytes, u64::from(*series));
            put_varint(&mut bytes, *from);
            put_varint(&mut bytes, *until);
        }
    }
    let sum = checksum(&bytes[HEADER.len()..]);
    put_u32(&mut bytes, sum);
    bytes
}

/// Writes a block's deletions in place of those before.
pub(super) fn write(
    folder: &Path,
    deleted: &BTreeMap<SeriesNumber, Spans>,
) -> Result<(), TsdbError> {
    let path = folder.join(TOMBSTONES_FILE);
    let temporary = folder.join(format!("{TOMBSTONES_FILE}.tmp"));
    let write = || {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(&render(deleted))?;
        file.sync_all()?;
        fs::rename(&temporary, &path)
    };
    write().map_err(|error| TsdbError::files("write", &path, error))?;
    sync_folder(folder)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn deletions_come_back(
            deleted in prop::collection::btree_map(any::<u32>(), prop::collection::vec(any::<(i64, i64)>(), 1..3), 0..5),
        ) {
            prop_assert_eq!(parse(&render(&deleted)), Some(deleted));
        }

        #[test]
        fn any_bytes_are_deletions_or_none(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut whole = HEADER.to_vec();
            whole.extend_from_slice(&bytes);
            let sum = checksum(&bytes);
            put_u32(&mut whole, sum);
            let _ = parse(&whole);
            let _ = parse(&bytes);
        }
    }
}
