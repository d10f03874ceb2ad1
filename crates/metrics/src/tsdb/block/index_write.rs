//! Writes a block's index: version 2 of the format Prometheus writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::series_store::{Labels, SeriesNumber};
use crate::tsdb::codec::{checksum, put_text, put_u32, put_u64, put_uvarint, put_varint};
use crate::tsdb::error::TsdbError;

use super::ChunkPlace;

pub(super) const MAGIC: [u8; 4] = [0xba, 0xaa, 0xd7, 0x00];
pub(super) const VERSION: u8 = 2;
/// Series start at multiples of this; their number is the multiple.
pub(super) const SERIES_ALIGNMENT: u64 = 16;

/// Writes an index front to back.
#[derive(Debug)]
pub(super) struct IndexWriter {
    path: PathBuf,
    file: BufWriter<File>,
    position: u64,
    /// All label names and values, sorted.
    symbols: Vec<Arc<str>>,
    symbols_at: u64,
    series_at: u64,
    /// The series of each pair of name and value, by their symbols' numbers.
    postings: BTreeMap<(u32, u32), Vec<SeriesNumber>>,
    all: Vec<SeriesNumber>,
    entry: Vec<u8>,
    framed: Vec<u8>,
}

// === impl IndexWriter ===

impl IndexWriter {
    /// Starts an index over sorted label texts.
    pub(super) fn start(path: &Path, symbols: Vec<Arc<str>>) -> Result<IndexWriter, TsdbError> {
        let file =
            File::create_new(path).map_err(|error| TsdbError::files("create", path, error))?;
        let mut writer = IndexWriter {
            path: path.to_owned(),
            file: BufWriter::with_capacity(1 << 18, file),
            position: 0,
            symbols,
            symbols_at: 0,
            series_at: 0,
            postings: BTreeMap::new(),
            all: Vec::new(),
            entry: Vec::new(),
            framed: Vec::new(),
        };
        writer.write(&MAGIC)?;
        writer.write(&[VERSION])?;
        writer.symbols_at = writer.position;
        let mut table = Vec::new();
        put_u32(&mut table, writer.symbols.len() as u32);
        for symbol in &writer.symbols {
            put_text(&mut table, symbol);
        }
        writer.write_section(&table)?;
        writer.series_at = writer.position;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TsdbError> {
        self.position += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .map_err(|error| TsdbError::files("write to", &self.path, error))
    }

    /// Writes bytes after their count in four bytes, and their checksum.
    fn write_section(&mut self, bytes: &[u8]) -> Result<(), TsdbError> {
        self.write(&(bytes.len() as u32).to_be_bytes())?;
        self.write(bytes)?;
        self.write(&checksum(bytes).to_be_bytes())
    }

    fn align(&mut self, to: u64) -> Result<(), TsdbError> {
        let missing = self.position.next_multiple_of(to) - self.position;
        self.write(&[0; SERIES_ALIGNMENT as usize][..missing as usize])
    }

    fn symbol(&self, text: &str) -> u32 {
        let found = self.symbols.binary_search_by(|symbol| (**symbol).cmp(text));
        debug_assert!(found.is_ok(), "all symbols were named at the start");
        found.unwrap_or_else(|at| at) as u32
    }

    /// Adds a series, whose labels have to come after those of the series before.
    pub(super) fn add_series(
        &mut self,
        labels: &Labels,
        chunks: &[ChunkPlace],
    ) -> Result<(), TsdbError> {
        self.align(SERIES_ALIGNMENT)?;
        let number = SeriesNumber::try_from(self.position / SERIES_ALIGNMENT)
            .map_err(|_| TsdbError::damaged(&self.path, "it has no room for more series"))?;
        let mut entry = std::mem::take(&mut self.entry);
        entry.clear();
        put_uvarint(&mut entry, labels.len() as u64);
        for (name, value) in labels.iter() {
            let pair = (self.symbol(name), self.symbol(value));
            put_uvarint(&mut entry, u64::from(pair.0));
            put_uvarint(&mut entry, u64::from(pair.1));
            self.postings.entry(pair).or_default().push(number);
        }
        self.all.push(number);
        put_uvarint(&mut entry, chunks.len() as u64);
        let mut before: Option<&ChunkPlace> = None;
        for chunk in chunks {
            match before {
                None => put_varint(&mut entry, chunk.first_time),
                Some(before) => {
                    let distance = chunk.first_time.wrapping_sub(before.last_time);
                    put_uvarint(&mut entry, distance as u64);
                }
            }
            put_uvarint(
                &mut entry,
                chunk.last_time.wrapping_sub(chunk.first_time) as u64,
            );
            match before {
                None => put_uvarint(&mut entry, chunk.reference),
                Some(before) => {
                    let distance = chunk.reference.wrapping_sub(before.reference);
                    put_varint(&mut entry, distance as i64);
                }
            }
            before = Some(chunk);
        }
        let mut framed = std::mem::take(&mut self.framed);
        framed.clear();
        put_uvarint(&mut framed, entry.len() as u64);
        framed.extend_from_slice(&entry);
        put_u32(&mut framed, checksum(&entry));
        self.write(&framed)?;
        self.entry = entry;
        self.framed = framed;
        Ok(())
    }

    /// Writes which series have which label, and brings the index to the disk.
    pub(super) fn finish(mut self) -> Result<(), TsdbError> {
        self.align(4)?;
        let postings_at = self.position;
        let all = std::mem::take(&mut self.all);
        let mut table = Vec::new();
        let mut entries = 1_u32;
        self.write_postings(&all)?;
        put_entry(&mut table, "", "", postings_at);
        for ((name, value), series) in std::mem::take(&mut self.postings) {
            let at = self.position;
            self.write_postings(&series)?;
            let symbol = |number: u32| &*self.symbols[number as usize];
            put_entry(&mut table, symbol(name), symbol(value), at);
            entries += 1;
        }
        // What was said of labels' values here is no longer read by anyone.
        let labels_at = self.position;
        self.write_section(&[0; 4])?;
        let table_at = self.position;
        let mut counted = entries.to_be_bytes().to_vec();
        counted.append(&mut table);
        self.write_section(&counted)?;
        let mut contents = Vec::new();
        for place in [
            self.symbols_at,
            self.series_at,
            postings_at,
            labels_at,
            postings_at,
            table_at,
        ] {
            put_u64(&mut contents, place);
        }
        let sum = checksum(&contents);
        put_u32(&mut contents, sum);
        self.write(&contents)?;
        let failed = |error| TsdbError::files("write to", &self.path, error);
        let file = self
            .file
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)
    }

    fn write_postings(&mut self, series: &[SeriesNumber]) -> Result<(), TsdbError> {
        let mut list = Vec::with_capacity(4 * series.len() + 4);
        put_u32(&mut list, series.len() as u32);
        for number in series {
            put_u32(&mut list, *number);
        }
        self.write_section(&list)
    }
}

fn put_entry(table: &mut Vec<u8>, name: &str, value: &str, at: u64) {
    table.push(2);
    put_text(table, name);
    put_text(table, value);
    put_uvarint(table, at);
}
