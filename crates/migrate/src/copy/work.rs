//! Workers that copy pieces of tables until none is left.
//!
//! A worker has a session and a reader. It copies a chunk from the beginning of a piece in one
//! transaction: the rows by COPY, what was refused to the quarantine, and the note how far the piece is.
//! So a chunk and its note are there together or not at all, and a copy can go on after a kill at any
//! point. When the target refuses a chunk for its data, the chunk is halved until the one row is found.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures::SinkExt;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_postgres::types::Type;
use tokio_util::sync::CancellationToken;

use super::key::Key;
use super::progress::{Counters, Event};
use super::quarantine::{self, COPY_HEADER, COPY_TRAILER, Refused};
use super::range::Range;
use super::read::{ChunkRead, Limits, ReadError, TableReader};
use super::{CopyError, refused_error};
use crate::connection::{QueryError, Reason, Session, Target};
use crate::plan::{FOLLOWED_ROWID, Plan, quote_name};
use crate::snapshot::{Reader, Snapshot, SourceError};

/// A chunk ends after this many rows or bytes: long enough that its transaction costs nothing, short
/// enough that a kill loses little.
pub(super) const CHUNK_ROWS: u64 = 400_000;
const CHUNK_BYTES: u64 = 32 << 20;
/// Buffers between a reader and its session.
const BUFFERS: usize = 4;

/// Part of a table that is still to be copied, as noted in the state.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) id: i64,
    /// The table's position in the plan.
    pub(crate) table: usize,
    pub(crate) range: Range,
    /// The most rows of the next chunk; small while a row is looked for that the target refuses.
    pub(crate) row_limit: u64,
}

impl Piece {
    pub(crate) fn new(id: i64, table: usize, range: Range) -> Self {
        Self {
            id,
            table,
            range,
            row_limit: CHUNK_ROWS,
        }
    }
}

/// What all workers share.
pub(crate) struct Work {
    pub(crate) target: Target,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) migration: i64,
    /// Takes the fence of the migration.
    pub(crate) fence: String,
    pub(crate) readers: Vec<Arc<TableReader>>,
    pub(crate) strict: bool,
    pub(crate) jobs: usize,
    pub(crate) chunk_rows: u64,
    pub(crate) counters: Arc<Counters>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) cancel: CancellationToken,
    pub(crate) queue: Queue,
}

/// Pieces that wait, and how many are in work: a piece in work may be parted or put back.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug)]
struct Waiting {
    pieces: VecDeque<Piece>,
    in_work: usize,
    /// For each table: pieces not done, rows copied and quarantined by this run.
    tables: Vec<(usize, u64, u64)>,
}

impl Queue {
    pub(crate) fn new(pieces: Vec<Piece>, tables: usize) -> Self {
        let mut counts = vec![(0, 0, 0); tables];
        for piece in &pieces {
            counts[piece.table].0 += 1;
        }
        Self {
            inner: Mutex::new(Waiting {
                pieces: pieces.into(),
                in_work: 0,
                tables: counts,
            }),
            changed: Notify::new(),
        }
    }

    /// The next piece; none when all are done.
    async fn next(&self) -> Option<Piece> {
        loop {
            let changed = self.changed.notified();
            {
                let mut waiting = self.inner.lock();
                if let Some(piece) = waiting.pieces.pop_front() {
                    waiting.in_work += 1;
                    return Some(piece);
                }
                if waiting.in_work == 0 {
                    return None;
                }
            }
            changed.await;
        }
    }

    fn waiting(&self) -> usize {
        self.inner.lock().pieces.len()
    }

    /// Ends the work on a piece; what is left of it goes to the front. Answers the table's counts when
    /// it is done.
    fn give_back(
        &self,
        table: usize,
        rest: Vec<Piece>,
        rows: u64,
        quarantined: u64,
    ) -> Option<(u64, u64)> {
        let mut waiting = self.inner.lock();
        waiting.in_work -= 1;
        let count = &mut waiting.tables[table];
        count.0 = count.0 + rest.len() - 1;
        count.1 += rows;
        count.2 += quarantined;
        let done = (count.0 == 0).then_some((count.1, count.2));
        for piece in rest.into_iter().rev() {
            waiting.pieces.push_front(piece);
        }
        drop(waiting);
        self.changed.notify_waiters();
        done
    }
}

/// Why a chunk was not copied.
enum ChunkError {
    /// The target refused its data.
    Data {
        error: QueryError,
        read: Option<Box<ChunkRead>>,
    },
    Other(CopyError),
}

impl From<QueryError> for ChunkError {
    fn from(error: QueryError) -> Self {
        if error.reason == Reason::Data {
            Self::Data { error, read: None }
        } else {
            Self::Other(error.into())
        }
    }
}

/// Copies pieces until none is left or something fails.
pub(crate) async fn run(work: Arc<Work>) -> Result<(), CopyError> {
    let mut session = work.target.connect().await?;
    let mut reader = Some(
        work.snapshot
            .reader()
            .ok_or_else(|| CopyError::Internal("more workers than readers".to_owned()))?,
    );
    loop {
        let piece = tokio::select! {
            biased;
            () = work.cancel.cancelled() => return Err(CopyError::Cancelled),
            piece = work.queue.next() => piece,
        };
        let Some(piece) = piece else { return Ok(()) };
        let chunk = tokio::select! {
            biased;
            () = work.cancel.cancelled() => return Err(CopyError::Cancelled),
            chunk = copy_chunk(&work, &session, &mut reader, &piece) => chunk,
        };
        let table = piece.table;
        let (rest, rows, quarantined) = match chunk {
            Ok(copied) => (copied.rest, copied.rows, copied.quarantined),
            Err(ChunkError::Other(error)) => return Err(error),
            Err(ChunkError::Data { error, read }) => {
                session = roll_back(&work, session).await?;
                match halve(&piece, read, error, work.strict)? {
                    Retry::Smaller(piece) => (vec![piece], 0, 0),
                    Retry::Quarantine { refused, hash, key } => {
                        let rest =
                            quarantine_one(&work, &session, &piece, &refused, hash, key).await?;
                        (rest, 0, 1)
                    }
                }
            }
        };
        if let Some((rows, quarantined)) = work.queue.give_back(table, rest, rows, quarantined) {
            let table = work.plan.tables[table].source.clone();
            let _ = work
                .events
                .send(Event::TableCopied {
                    table,
                    rows,
                    quarantined,
                })
                .await;
        }
    }
}

struct Copied {
    rest: Vec<Piece>,
    rows: u64,
    quarantined: u64,
}

async fn copy_chunk(
    work: &Arc<Work>,
    session: &Session,
    reader: &mut Option<Reader>,
    piece: &Piece,
) -> Result<Copied, ChunkError> {
    let table = &work.plan.tables[piece.table];
    let doing = format!("copying table {}", table.source);
    let failed = |error: tokio_postgres::Error| QueryError::while_doing(&doing, &error);
    let begin = format!(
        "{}; SET LOCAL synchronous_commit = off; {}",
        session.begin_with_statements(),
        work.fence
    );
    session.batch_execute(&begin).await.map_err(failed)?;
    let rowid = work.readers[piece.table]
        .with_rowid()
        .then_some(FOLLOWED_ROWID);
    let copied = table
        .copied()
        .map(|column| table.columns[column].target.as_str());
    let columns: Vec<String> = rowid.into_iter().chain(copied).map(quote_name).collect();
    let statement = format!(
        "COPY {} ({}) FROM STDIN (FORMAT binary)",
        work.plan.qualified(table),
        columns.join(", ")
    );
    let sink = session
        .copy_in::<_, Bytes>(&statement)
        .await
        .map_err(failed)?;
    let mut sink = std::pin::pin!(sink);

    let (rows_to, mut rows_from) = mpsc::channel(BUFFERS);
    let taken = reader.take().ok_or_else(|| {
        ChunkError::Other(CopyError::Internal("a worker lost its reader".to_owned()))
    })?;
    let reading = {
        let (table_reader, counters, range) = (
            Arc::clone(&work.readers[piece.table]),
            Arc::clone(&work.counters),
            piece.range.clone(),
        );
        let limits = Limits {
            rows: piece.row_limit.min(work.chunk_rows),
            bytes: CHUNK_BYTES,
            strict: work.strict,
        };
        tokio::task::spawn_blocking(move || {
            let read = table_reader.read_chunk(&taken, &range, limits, &counters, &rows_to);
            (taken, read)
        })
    };
    let sent = async {
        sink.send(Bytes::from_static(COPY_HEADER)).await?;
        while let Some(rows) = rows_from.recv().await {
            sink.send(rows).await?;
        }
        Ok::<(), tokio_postgres::Error>(())
    }
    .await;
    // With the channel gone, a reader that still sends stops.
    drop(rows_from);
    let (given_back, read) = reading
        .await
        .map_err(|error| ChunkError::Other(CopyError::Internal(error.to_string())))?;
    *reader = Some(given_back);
    let outcome = match (sent, read) {
        (_, Err(ReadError::Source(error))) => {
            return Err(ChunkError::Other(
                SourceError::explain(work.snapshot.file(), &error).into(),
            ));
        }
        (_, Err(ReadError::Refused(refused))) => {
            return Err(ChunkError::Other(refused_error(&table.source, &refused)));
        }
        (Err(error), read) => (Err(error), read.ok()),
        (Ok(()), Err(ReadError::Abandoned)) => {
            return Err(ChunkError::Other(CopyError::Internal(
                "the reader stopped by itself".to_owned(),
            )));
        }
        (Ok(()), Ok(read)) => {
            let finished = async {
                sink.send(Bytes::from_static(COPY_TRAILER)).await?;
                sink.finish().await
            }
            .await;
            (finished, Some(read))
        }
    };
    let (finished, read) = match outcome {
        (Ok(finished), Some(read)) => (finished, read),
        (finished, read) => {
            if let Some(read) = &read {
                work.counters.take_back(read.rows, read.bytes);
            }
            let error = match finished {
                Err(error) => true_cause(session, &doing, error).await,
                Ok(_) => {
                    return Err(ChunkError::Other(CopyError::Internal(
                        "rows without a reader".to_owned(),
                    )));
                }
            };
            return Err(match ChunkError::from(error) {
                ChunkError::Data { error, .. } => ChunkError::Data {
                    error,
                    read: read.map(Box::new),
                },
                other @ ChunkError::Other(_) => other,
            });
        }
    };
    let only = read.only.clone();
    if finished != read.rows {
        return Err(ChunkError::Other(CopyError::Internal(format!(
            "PostgreSQL took {finished} of {} rows of table {}: a rule or trigger of the table drops rows",
            read.rows, table.source
        ))));
    }
    let quarantined = read.refused.len() as u64;
    if quarantined > 0 {
        let refused: Vec<(Refused, Option<i64>)> =
            read.refused.into_iter().map(|row| (row, None)).collect();
        quarantine::store(session, work.migration, &table.source, &refused)
            .await
            .map_err(|error| ChunkError::Other(error.into()))?;
    }
    let rest = note(
        work,
        session,
        piece,
        read.reached,
        (read.rows, read.bytes, quarantined),
    )
    .await
    .map_err(ChunkError::Other)?;
    // Constraints that wait for the end of the transaction speak now.
    session.batch_execute("COMMIT").await.map_err(|error| {
        match QueryError::while_doing(&doing, &error) {
            error if error.reason == Reason::Data => {
                let rows = read.rows;
                let read = ChunkRead {
                    reached: None,
                    rows,
                    bytes: 0,
                    refused: Vec::new(),
                    only,
                };
                ChunkError::Data {
                    error,
                    read: Some(Box::new(read)),
                }
            }
            error => ChunkError::Other(error.into()),
        }
    })?;
    Ok(Copied {
        rest,
        rows: read.rows,
        quarantined,
    })
}

/// When the server ended the COPY, the sending side only knows that the session is closed or that its
/// answer was an error: the server's words come with the next question.
async fn true_cause(session: &Session, doing: &str, error: tokio_postgres::Error) -> QueryError {
    if error.as_db_error().is_some() {
        return QueryError::while_doing(doing, &error);
    }
    match session.batch_execute("SELECT 1").await {
        Err(later) if later.as_db_error().is_some() => QueryError::while_doing(doing, &later),
        _ => QueryError::while_doing(doing, &error),
    }
}

/// Notes how far the piece is and parts what is left when other workers have nothing to do.
async fn note(
    work: &Work,
    session: &Session,
    piece: &Piece,
    reached: Option<Key>,
    counts: (u64, u64, u64),
) -> Result<Vec<Piece>, CopyError> {
    let failed = |error| QueryError::while_doing("noting how far the copy is", &error);
    let done = reached.is_none();
    let rest = Range {
        reached,
        last: piece.range.last.clone(),
    };
    let parted = if !done && work.queue.waiting() < work.jobs && piece.row_limit >= CHUNK_ROWS {
        rest.part()
    } else {
        None
    };
    let (first, second) = match parted {
        Some((first, second)) => (first, Some(second)),
        None => (rest, None),
    };
    let stored = |key: &Option<Key>| key.as_ref().map(Key::to_stored);
    session
        .execute_typed(
            "UPDATE springtide_migrate.piece SET reached = $2, last = $3, done = $4,
                 rows = rows + $5, bytes = bytes + $6, quarantined = quarantined + $7 WHERE id = $1",
            &[
                (&piece.id, Type::INT8),
                (&stored(&first.reached), Type::TEXT),
                (&stored(&first.last), Type::TEXT),
                (&done, Type::BOOL),
                (&counts.0.cast_signed(), Type::INT8),
                (&counts.1.cast_signed(), Type::INT8),
                (&counts.2.cast_signed(), Type::INT8),
            ],
        )
        .await
        .map_err(failed)?;
    let mut pieces = Vec::new();
    if !done {
        // After a search for a bad row, chunks grow again.
        let row_limit = piece.row_limit.saturating_mul(2).min(CHUNK_ROWS);
        pieces.push(Piece {
            range: first,
            row_limit,
            ..piece.clone()
        });
    }
    if let Some(second) = second {
        let row = session
            .query_typed_one(
                "INSERT INTO springtide_migrate.piece (migration, table_name, reached, last) VALUES ($1, $2, $3, $4) RETURNING id",
                &[
                    (&work.migration, Type::INT8),
                    (&work.plan.tables[piece.table].source, Type::TEXT),
                    (&stored(&second.reached), Type::TEXT),
                    (&stored(&second.last), Type::TEXT),
                ],
            )
            .await
            .map_err(failed)?;
        pieces.push(Piece::new(row.get(0), piece.table, second));
    }
    Ok(pieces)
}

/// Ends the failed transaction; a session that is beyond that is replaced.
async fn roll_back(work: &Work, session: Session) -> Result<Session, CopyError> {
    if session.batch_execute("ROLLBACK").await.is_ok() {
        return Ok(session);
    }
    Ok(work.target.connect().await?)
}

enum Retry {
    Smaller(Piece),
    Quarantine {
        refused: Box<Refused>,
        hash: Option<i64>,
        key: Key,
    },
}

/// Halves a chunk that was refused, down to the row.
fn halve(
    piece: &Piece,
    read: Option<Box<ChunkRead>>,
    error: QueryError,
    strict: bool,
) -> Result<Retry, CopyError> {
    if piece.row_limit > 1 {
        let rows = read
            .map_or(piece.row_limit, |read| read.rows.max(2))
            .min(piece.row_limit);
        return Ok(Retry::Smaller(Piece {
            row_limit: (rows / 2).max(1),
            ..piece.clone()
        }));
    }
    match read.and_then(|read| read.only) {
        Some((mut refused, hash, key)) => {
            refused.reason = format!(
                "PostgreSQL refuses the row: {}",
                error.server_message.as_deref().unwrap_or(&error.message)
            );
            if strict {
                return Err(CopyError::Target(error));
            }
            Ok(Retry::Quarantine {
                refused: Box::new(refused),
                hash,
                key,
            })
        }
        None => Err(CopyError::Target(error)),
    }
}

/// Passes over the one row of a chunk, noting it in the quarantine.
async fn quarantine_one(
    work: &Work,
    session: &Session,
    piece: &Piece,
    refused: &Refused,
    hash: Option<i64>,
    key: Key,
) -> Result<Vec<Piece>, CopyError> {
    let table = &work.plan.tables[piece.table].source;
    let failed = |error| QueryError::while_doing("writing to the quarantine", &error);
    let begin = format!("{}; {}", session.begin_with_statements(), work.fence);
    session.batch_execute(&begin).await.map_err(failed)?;
    quarantine::store(session, work.migration, table, &[(refused.clone(), hash)]).await?;
    let rest = note(work, session, piece, Some(key), (0, 0, 1)).await?;
    session.batch_execute("COMMIT").await.map_err(failed)?;
    Ok(rest)
}
