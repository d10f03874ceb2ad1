//! Reads a block's index where it is asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::series_store::{Labels, Postings, SeriesNumber, Wanted};
use crate::tsdb::codec::{Bytes, checksum};
use crate::tsdb::error::TsdbError;

use super::ChunkPlace;
use super::index_write::{MAGIC, SERIES_ALIGNMENT, VERSION};
use super::read::Texts;

/// Six places and a checksum.
const CONTENTS_BYTES: u64 = 6 * 8 + 4;
/// What is read at once of the series: most queries want neighbours.
const READ_AHEAD: usize = 64 << 10;
/// A section longer than this is damage.
const MAX_SECTION_BYTES: u64 = 4 << 30;

/// A label's values, sorted, and where the list of each is.
type Places = Vec<(Arc<str>, u64)>;

/// A block's index.
#[derive(Debug)]
pub(super) struct Index {
    path: PathBuf,
    file: File,
    bytes: u64,
    symbols: Vec<Arc<str>>,
    /// Per label name and value, sorted, where the list of series is.
    lists: BTreeMap<Arc<str>, Places>,
    /// Where the list of all series is.
    all: u64,
}

/// A series as the index has it.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Symbols of names and values.
    labels: Vec<(u32, u32)>,
    pub(super) chunks: Vec<ChunkPlace>,
}

/// Reads series one after the other, some of the file at once.
#[derive(Debug)]
pub(super) struct SeriesReader<'i> {
    index: &'i Index,
    buffer: Vec<u8>,
    start: u64,
    entry: Entry,
}

// === impl Index ===

impl Index {
    pub(super) fn open(path: &Path, texts: &mut Texts) -> Result<Index, TsdbError> {
        let failed = |error| TsdbError::files("read", path, error);
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let mut index = Index {
            path: path.to_owned(),
            file,
            bytes,
            symbols: Vec::new(),
            lists: BTreeMap::new(),
            all: 0,
        };
        let header = index.read(0, 5)?;
        if header[..4] != MAGIC || header[4] != VERSION {
            return Err(index.damaged("it is no index of version 2"));
        }
        let contents_at = bytes.checked_sub(CONTENTS_BYTES);
        let contents_at = contents_at.ok_or_else(|| index.damaged("it is cut short"))?;
        let contents = index.read(contents_at, CONTENTS_BYTES)?;
        let (places, sum) = contents.split_at(48);
        if checksum(places).to_be_bytes() != *sum {
            return Err(index.damaged("its end is not what was written"));
        }
        let mut places = Bytes::new(places);
        let symbols_at = places.u64().unwrap_or_default();
        let table_at = places
            .take(32)
            .and_then(|_| places.u64())
            .unwrap_or_default();
        index.read_symbols(symbols_at, texts)?;
        index.read_lists(table_at, texts)?;
        Ok(index)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn damaged(&self, reason: &str) -> TsdbError {
        TsdbError::damaged(&self.path, reason)
    }

    fn read(&self, offset: u64, count: u64) -> Result<Vec<u8>, TsdbError> {
        if offset.checked_add(count).is_none_or(|end| end > self.bytes) {
            return Err(self.damaged("it is cut short, or points behind its end"));
        }
        let mut bytes = vec![0; count as usize];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|error| TsdbError::files("read", &self.path, error))?;
        Ok(bytes)
    }

    /// Bytes with their count in front and their checksum behind.
    fn section(&self, offset: u64) -> Result<Vec<u8>, TsdbError> {
        let length = self.read(offset, 4)?;
        let length = Bytes::new(&length).u32().map_or(0, u64::from);
        if length > MAX_SECTION_BYTES {
            return Err(self.damaged("a section is too long"));
        }
        let mut section = self.read(offset + 4, length + 4)?;
        let sum = section.split_off(length as usize);
        if checksum(&section).to_be_bytes() != *sum {
            return Err(self.damaged(&format!("the checksum at {offset} differs")));
        }
        Ok(section)
    }

    fn read_symbols(&mut self, at: u64, texts: &mut Texts) -> Result<(), TsdbError> {
        let section = self.section(at)?;
        let mut bytes = Bytes::new(&section);
        let mut read = |bytes: &mut Bytes<'_>| {
            let count = bytes.u32()? as usize;
            let mut symbols = Vec::with_capacity(count.min(bytes.left()));
            for _ in 0..count {
                symbols.push(texts.share(bytes.text()?));
            }
            Some(symbols)
        };
        let symbols = read(&mut bytes);
        self.symbols = symbols.ok_or_else(|| self.damaged("its texts are none"))?;
        Ok(())
    }

    fn read_lists(&mut self, at: u64, texts: &mut Texts) -> Result<(), TsdbError> {
        let section = self.section(at)?;
        let mut bytes = Bytes::new(&section);
        let mut lists: BTreeMap<Arc<str>, Places> = BTreeMap::new();
        let mut all = None;
        let mut read = || {
            let count = bytes.u32()?;
            let mut last: Option<(&str, Places)> = None;
            for _ in 0..count {
                if bytes.u8()? != 2 {
                    return None;
                }
                let (name, value, place) = (bytes.text()?, bytes.text()?, bytes.uvarint()?);
                if name.is_empty() && value.is_empty() {
                    all = Some(place);
                    continue;
                }
                if let Some((known, values)) = &mut last
                    && *known == name
                {
                    values.push((texts.share(value), place));
                    continue;
                }
                let next = (name, vec![(texts.share(value), place)]);
                if let Some((name, values)) = last.replace(next) {
                    lists.insert(texts.share(name), values);
                }
            }
            if let Some((name, values)) = last {
                lists.insert(texts.share(name), values);
            }
            Some(())
        };
        if read().is_none() {
            return Err(self.damaged("its table of lists is none"));
        }
        self.all = all.ok_or_else(|| self.damaged("it lists no series"))?;
        for values in lists.values_mut() {
            values.shrink_to_fit();
        }
        self.lists = lists;
        Ok(())
    }

    fn list(&self, at: u64) -> Result<Vec<SeriesNumber>, TsdbError> {
        let section = self.section(at)?;
        let mut bytes = Bytes::new(&section);
        let count = bytes.u32().unwrap_or_default() as usize;
        if bytes.left() != count * 4 {
            return Err(self.damaged(&format!("the list at {at} has another length than it says")));
        }
        let numbers = std::iter::from_fn(|| bytes.u32());
        Ok(numbers.collect())
    }

    pub(super) fn series(&self) -> SeriesReader<'_> {
        SeriesReader {
            index: self,
            buffer: Vec::new(),
            start: 0,
            entry: Entry::default(),
        }
    }

    pub(super) fn labels(&self, entry: &Entry) -> Result<Labels, TsdbError> {
        let symbol = |number: u32| {
            let symbol = self.symbols.get(number as usize).cloned();
            symbol.ok_or_else(|| self.damaged("a series has a text that is not there"))
        };
        let mut pairs = Vec::with_capacity(entry.labels.len());
        for (name, value) in &entry.labels {
            pairs.push((symbol(*name)?, symbol(*value)?));
        }
        Ok(Labels::from_sorted(pairs))
    }

    pub(super) fn label_names(&self) -> impl Iterator<Item = &str> {
        self.lists.keys().map(|name| &**name)
    }

    pub(super) fn label_values(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.lists.get(name).into_iter().flatten();
        values.map(|(value, _)| &**value)
    }

    pub(super) fn symbols(&self) -> &[Arc<str>] {
        &self.symbols
    }
}

impl Postings for Index {
    type Error = TsdbError;

    fn all(&self) -> Result<Cow<'_, [SeriesNumber]>, TsdbError> {
        self.list(self.all).map(Cow::Owned)
    }

    fn lists(
        &self,
        name: &str,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Cow<'_, [SeriesNumber]>>, TsdbError> {
        let Some(values) = self.lists.get(name) else {
            return Ok(Vec::new());
        };
        let places: Vec<u64> = match wanted {
            Wanted::Values(wanted) => {
                let place = |value: &String| {
                    let at = values.binary_search_by(|(known, _)| (**known).cmp(value));
                    at.ok().map(|at| values[at].1)
                };
                wanted.iter().filter_map(place).collect()
            }
            Wanted::Accepted(accepts) => {
                let accepted = values.iter().filter(|(value, _)| accepts(value));
                accepted.map(|(_, place)| *place).collect()
            }
        };
        places
            .into_iter()
            .map(|place| self.list(place).map(Cow::Owned))
            .collect()
    }
}

// === impl SeriesReader ===

impl SeriesReader<'_> {
    /// Reads a series; those asked for one after the other should lie in this order.
    pub(super) fn read(&mut self, number: SeriesNumber) -> Result<&Entry, TsdbError> {
        let offset = u64::from(number) * SERIES_ALIGNMENT;
        let mut wanted = 1 << 10;
        loop {
            self.fill(offset, wanted)?;
            let from = (offset - self.start) as usize;
            let bytes = self.buffer.get(from..).unwrap_or_default();
            let mut rest = Bytes::new(bytes);
            let length = rest
                .uvarint()
                .and_then(|length| usize::try_from(length).ok());
            let cut_short = || {
                self.index
                    .damaged(&format!("the series at {offset} is cut short"))
            };
            let length = length.ok_or_else(cut_short)?;
            let (Some(entry), Some(sum)) = (rest.take(length), rest.u32()) else {
                let needed = length.saturating_add(16);
                if needed <= wanted || needed as u64 > self.index.bytes {
                    return Err(cut_short());
                }
                wanted = needed;
                continue;
            };
            if checksum(entry) != sum {
                let reason = format!("the checksum of the series at {offset} differs");
                return Err(self.index.damaged(&reason));
            }
            if parse_entry(entry, &mut self.entry).is_none() {
                let reason = format!("the series at {offset} is none");
                return Err(self.index.damaged(&reason));
            }
            return Ok(&self.entry);
        }
    }

    /// Makes sure that some bytes of an offset are in the buffer, or all up to the file's end.
    fn fill(&mut self, offset: u64, wanted: usize) -> Result<(), TsdbError> {
        let end = self.start + self.buffer.len() as u64;
        let until = (offset + wanted as u64).min(self.index.bytes);
        if offset >= self.start && until <= end {
            return Ok(());
        }
        let count = (wanted.max(READ_AHEAD) as u64).min(self.index.bytes.saturating_sub(offset));
        self.buffer = self.index.read(offset, count)?;
        self.start = offset;
        Ok(())
    }
}

fn parse_entry(bytes: &[u8], into: &mut Entry) -> Option<()> {
    let mut bytes = Bytes::new(bytes);
    into.labels.clear();
    into.chunks.clear();
    for _ in 0..bytes.count(2)? {
        let name = u32::try_from(bytes.uvarint()?).ok()?;
        let value = u32::try_from(bytes.uvarint()?).ok()?;
        into.labels.push((name, value));
    }
    let mut before: Option<ChunkPlace> = None;
    for _ in 0..bytes.count(3)? {
        let first_time = match before {
            None => bytes.varint()?,
            Some(before) => before.last_time.wrapping_add(bytes.uvarint()? as i64),
        };
        let last_time = first_time.wrapping_add(bytes.uvarint()? as i64);
        let reference = match before {
            None => bytes.uvarint()?,
            Some(before) => before.reference.wrapping_add(bytes.varint()? as u64),
        };
        let chunk = ChunkPlace {
            first_time,
            last_time,
            reference,
        };
        into.chunks.push(chunk);
        before = Some(chunk);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_series_or_none(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut entry = Entry::default();
            let _ = parse_entry(&bytes, &mut entry);
        }
    }
}
