//! Watches: events in the store's order, bookmarks, and what selectors make of them.
//!
//! A watch is a response body that is read as fast as its client takes it. Nothing is queued
//! here: what a slow client has not read yet waits in the store's history, and when it has left
//! that, the watch ends with 410 and the client lists again. No event is ever skipped.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use http::StatusCode;
use serde_json::{Map, Value, json};
use springtide_machinery::clock::Clock;
use springtide_machinery::error::ApiError;
use springtide_store::{At, Event, Object, Revision, Watch, WatchError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Call;
use crate::encode;
use crate::metrics;
use crate::negotiate::{Accepted, Shape};
use crate::respond;
use crate::routes::Route;
use crate::selection::Selection;
use crate::versions::{self, Asked};
use crate::view;

/// The shortest watch when the client names no timeout; the longest is twice this.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How often a quiet watch is told how far it is.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// How long before its end a watch is told how far it is.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// Events that are there already are gathered into pieces of about this many bytes.
const PIECE: usize = 64 << 10;

/// Answers a watch.
pub(crate) async fn watch(call: &Call<'_>, accepted: Accepted) -> Result<Response, ApiError> {
    let stream = match open(call, accepted).await {
        Ok(stream) => stream,
        // Refused options are answered as such; what the store says comes as an event.
        Err(Refusal::Options(error)) => return Err(error),
        Err(Refusal::Store(error)) => {
            let event = error_event(&error);
            return Ok(respond::json_bytes(StatusCode::OK, event));
        }
    };
    let under_way = call
        .api
        .metrics
        .watching(call.route, metrics::scope(call.path));
    let state = (Box::new(stream), under_way);
    let body = stream::unfold(state, |(mut stream, under_way)| async move {
        let piece = stream.next_piece().await?;
        Some((Ok::<_, Infallible>(piece), (stream, under_way)))
    });
    Ok(respond::with_type(
        StatusCode::OK,
        respond::JSON,
        Body::from_stream(body),
    ))
}

enum Refusal {
    Options(ApiError),
    Store(ApiError),
}

impl From<WatchError> for Refusal {
    fn from(error: WatchError) -> Refusal {
        Refusal::Store(store_error(error))
    }
}

fn store_error(error: WatchError) -> ApiError {
    match error {
        WatchError::Compacted { requested, oldest } => {
            ApiError::expired(format!("too old resource version: {requested} ({oldest})"))
        }
        WatchError::Lagged { seen, oldest } => {
            ApiError::expired(format!("too old resource version: {seen} ({oldest})"))
        }
        WatchError::Future { requested, newest } => {
            ApiError::too_large_resource_version(requested.get(), newest.get(), 1)
        }
        WatchError::Closed => ApiError::unavailable("the server is stopping"),
    }
}

async fn open(call: &Call<'_>, accepted: Accepted) -> Result<Stream, Refusal> {
    let (api, query) = (call.api, call.query);
    let selection = call.selection().map_err(Refusal::Options)?;
    let asked = Asked::parse(query).map_err(Refusal::Options)?;
    versions::parse_match(query, asked, true).map_err(Refusal::Options)?;
    let bookmarks = query.flag("allowWatchBookmarks").unwrap_or(false);
    let timeout = match query.text("timeoutSeconds") {
        None => None,
        Some(text) => {
            let seconds: u64 = text.parse().map_err(|_| {
                let text = format!("timeoutSeconds: Invalid value: {text:?}: not a number");
                Refusal::Options(ApiError::bad_request(text))
            })?;
            (seconds > 0).then(|| Duration::from_secs(seconds))
        }
    };
    let timeout = timeout.unwrap_or_else(|| {
        let more = api.entropy.below(DEFAULT_TIMEOUT.as_millis() as u64);
        DEFAULT_TIMEOUT + Duration::from_millis(more)
    });

    if let Asked::At(revision) = asked {
        versions::wait_for(&api.store, revision)
            .await
            .map_err(Refusal::Store)?;
    }
    let send_initial = query.flag("sendInitialEvents");
    let initial_wanted = send_initial.unwrap_or(!matches!(asked, Asked::At(_)));
    let collection = &call.route.resource().collection;
    let mut initial = VecDeque::new();
    let start = if initial_wanted {
        let listing = api
            .store
            .list(collection, call.namespace, At::Latest, None)
            .map_err(|error| Refusal::Store(ApiError::internal(error)))?;
        initial = listing.objects.into();
        initial.retain(|object| selection.matches(object));
        listing.revision
    } else if let Asked::At(revision) = asked {
        revision
    } else {
        api.store.revision()
    };
    let watch = api.store.watch(collection, call.namespace, start)?;
    let now = Instant::now();
    Ok(Stream {
        route: call.route.clone(),
        selection,
        shape: accepted.shape,
        clock: api.clock.clone(),
        watch,
        initial,
        initial_end: (send_initial == Some(true) && bookmarks).then_some(start),
        bookmarks,
        told: start,
        next_bookmark: now + BOOKMARK_PERIOD.min(timeout.saturating_sub(LAST_BOOKMARK)),
        end: now + timeout,
        columns_sent: false,
        ended: false,
        shutdown: api.shutdown.clone(),
    })
}

/// A watch under way.
struct Stream {
    route: Arc<Route>,
    selection: Selection,
    shape: Shape,
    clock: Clock,
    watch: Watch,
    /// Objects that were there at the start and are still to be told.
    initial: VecDeque<Arc<Object>>,
    /// Where the initial events end, until the bookmark that says so was sent.
    initial_end: Option<Revision>,
    bookmarks: bool,
    /// The last revision the client knows of.
    told: Revision,
    next_bookmark: Instant,
    end: Instant,
    /// A Table's columns come in the first event only.
    columns_sent: bool,
    ended: bool,
    shutdown: CancellationToken,
}

impl Stream {
    /// What to send next; nothing when the watch is over.
    async fn next_piece(&mut self) -> Option<Bytes> {
        let mut piece = Vec::new();
        while let Some(object) = self.initial.pop_front() {
            self.write_event(&mut piece, "ADDED", &object.bytes);
            if piece.len() >= PIECE {
                return Some(piece.into());
            }
        }
        if let Some(revision) = self.initial_end.take() {
            self.write_bookmark(&mut piece, revision, true);
        }
        while piece.is_empty() {
            if self.ended {
                return None;
            }
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                next = self.watch.next() => self.take(&mut piece, next),
                () = tokio::time::sleep_until(self.next_bookmark) => {
                    self.periodic_bookmark(&mut piece);
                }
                () = tokio::time::sleep_until(self.end) => return None,
            }
        }
        // What else is there goes along.
        while piece.len() < PIECE && !self.ended {
            match self.watch.try_next() {
                Ok(Some(event)) => self.take(&mut piece, Ok(event)),
                Ok(None) => break,
                Err(error) => self.take(&mut piece, Err(error)),
            }
        }
        Some(piece.into())
    }

    fn take(&mut self, piece: &mut Vec<u8>, next: Result<Event, WatchError>) {
        match next {
            Ok(event) => self.write_change(piece, &event),
            Err(WatchError::Closed) => self.ended = true,
            Err(error) => {
                piece.extend_from_slice(&error_event(&store_error(error)));
                self.ended = true;
            }
        }
    }

    /// An object that enters the selection is added, one that leaves it is deleted: as it was,
    /// at the revision of the change.
    fn write_change(&mut self, piece: &mut Vec<u8>, event: &Event) {
        let object = &event.object;
        let was = event
            .previous
            .as_ref()
            .filter(|previous| self.selection.matches(previous));
        let is = !event.deleted && self.selection.matches(object);
        match (was, is) {
            (None, false) => return,
            (None, true) => self.write_event(piece, "ADDED", &object.bytes),
            (Some(_), true) => self.write_event(piece, "MODIFIED", &object.bytes),
            (Some(_), false) if event.deleted => {
                self.write_event(piece, "DELETED", &object.bytes);
            }
            (Some(previous), false) => {
                let left = encode::at_revision(&previous.bytes, event.revision);
                self.write_event(piece, "DELETED", &left);
            }
        }
        self.told = event.revision;
    }

    fn write_event(&mut self, piece: &mut Vec<u8>, kind: &str, stored: &Bytes) {
        piece.extend_from_slice(br#"{"type":""#);
        piece.extend_from_slice(kind.as_bytes());
        piece.extend_from_slice(br#"","object":"#);
        match self.shape {
            Shape::Object => piece.extend_from_slice(&view::object(&self.route, stored)),
            Shape::Metadata { version } => {
                piece.extend_from_slice(&view::metadata(stored, version));
            }
            Shape::Table { version, include } => {
                let columns = if self.columns_sent {
                    "null".to_owned()
                } else {
                    view::column_definitions(&self.route)
                };
                self.columns_sent = true;
                let table = view::one_row_table(
                    &self.route,
                    stored,
                    version,
                    include,
                    view::revision(stored),
                    &columns,
                    self.clock.now(),
                );
                piece.extend_from_slice(&table);
            }
        }
        piece.extend_from_slice(b"}\n");
    }

    /// About once a minute and shortly before the end, so that a client that comes back need
    /// not start over.
    fn periodic_bookmark(&mut self, piece: &mut Vec<u8>) {
        let now = Instant::now();
        let last = self.end - LAST_BOOKMARK.min(self.end.saturating_duration_since(now));
        let next = now + BOOKMARK_PERIOD;
        self.next_bookmark = if now >= last {
            // No further one before the end.
            self.end + BOOKMARK_PERIOD
        } else {
            next.min(last)
        };
        if self.bookmarks {
            self.write_bookmark(piece, self.watch.progress(), false);
        }
    }

    fn write_bookmark(&mut self, piece: &mut Vec<u8>, revision: Revision, initial_end: bool) {
        let revision = revision.max(self.told);
        self.told = revision;
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), revision.to_string().into());
        metadata.insert("creationTimestamp".into(), Value::Null);
        if initial_end {
            let annotations = json!({"k8s.io/initial-events-end": "true"});
            metadata.insert("annotations".into(), annotations);
        }
        let object = match self.shape {
            Shape::Object => json!({
                "kind": self.route.kind(),
                "apiVersion": self.route.api_version,
                "metadata": metadata,
            }),
            Shape::Metadata { version } => json!({
                "kind": "PartialObjectMetadata",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": metadata,
            }),
            Shape::Table { version, .. } => json!({
                "kind": "Table",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": {"resourceVersion": revision.to_string()},
                "columnDefinitions": null,
                "rows": [{
                    "cells": [],
                    "object": {
                        "kind": "PartialObjectMetadata",
                        "apiVersion": format!("meta.k8s.io/{version}"),
                        "metadata": metadata,
                    },
                }],
            }),
        };
        let event = json!({"type": "BOOKMARK", "object": object});
        piece.extend_from_slice(event.to_string().as_bytes());
        piece.push(b'\n');
    }
}

fn error_event(error: &ApiError) -> Vec<u8> {
    let event = json!({"type": "ERROR", "object": error.to_value()});
    format!("{event}\n").into_bytes()
}
