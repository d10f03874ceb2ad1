//! Blocks: folders of samples that do not change any more, in the format of Prometheus' blocks.
//!
//! ```text
//! ULID/meta.json     which time it holds, how much, and which blocks it was made of
//! ULID/index         label texts, series with their chunks, series per label value, a table of contents
//! ULID/chunks/000001 compressed chunks, each with its checksum
//! ULID/tombstones    what was deleted of it since
//! ```
//!
//! Files are read where they are asked for, at an offset; memory holds the label texts and where their lists are.

mod index_read;
mod index_write;
mod meta;
mod read;
mod segment;
mod tombstones;
mod ulid;
mod write;

pub(super) use meta::{Compaction, Meta, Parent};
pub(super) use read::{Block, BlockSeries, Selection, Texts};
pub(super) use ulid::{is_ulid, new_ulid};
pub(super) use write::{BlockWriter, ChunkSource, WrittenBlock};

/// The file that says what a block is.
pub(super) const META_FILE: &str = "meta.json";
const INDEX_FILE: &str = "index";
const CHUNKS_FOLDER: &str = "chunks";
const TOMBSTONES_FILE: &str = "tombstones";

/// A chunk of a series in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkPlace {
    pub(super) first_time: i64,
    pub(super) last_time: i64,
    /// The segment file's number, counted from zero, and the offset in it.
    pub(super) reference: u64,
}
