//! Lists: bytes that exist already, one after another, in pages of one snapshot.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};
use springtide_machinery::error::ApiError;
use springtide_store::{At, ListError, Listing, Object, Revision};

use crate::api::{Api, Call};
use crate::negotiate::{Accepted, Shape};
use crate::respond;
use crate::routes::Route;
use crate::selection::Selection;
use crate::versions::{self, Asked, Continue, Match};
use crate::view;

/// Small items are gathered into pieces of about this many bytes.
const PIECE: usize = 64 << 10;

const TOKEN_TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
const VERSION_TOO_OLD: &str = "The resourceVersion for the provided list is too old.";

/// What a list found.
pub(crate) struct Page {
    /// The revision all of it is at.
    pub(crate) revision: Revision,
    /// The objects.
    pub(crate) objects: Vec<Arc<Object>>,
    /// Where the next page begins, if there is one.
    next: Option<Continue>,
    /// How many objects follow this page, where that is known.
    remaining: Option<usize>,
}

/// Answers a list.
pub(crate) async fn list(call: &Call<'_>, accepted: Accepted) -> Result<Response, ApiError> {
    let (api, route, query) = (call.api, call.route, call.query);
    let selection = call.selection()?;
    let limit = match query.text("limit") {
        None => 0,
        Some(text) => text.parse::<i64>().map_err(|_| {
            ApiError::bad_request(format!("limit: Invalid value: {text:?}: not a number"))
        })?,
    };
    let limit = usize::try_from(limit).unwrap_or(0);
    let asked = Asked::parse(query)?;
    let wanted = versions::parse_match(query, asked, false)?;
    let token = query.text("continue").map(Continue::decode).transpose()?;
    if token.is_some() && matches!(asked, Asked::At(_)) {
        return Err(ApiError::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }

    let at = match &token {
        Some(token) => token.revision.map_or(At::Latest, At::Exact),
        None => snapshot(api, asked, wanted, limit > 0).await?,
    };
    let after = token
        .as_ref()
        .map(|token| (token.after.0.as_str(), token.after.1.as_str()));
    let collection = &route.resource().collection;
    let listing = match api.store.list(collection, call.namespace, at, after) {
        Ok(listing) => listing,
        Err(ListError::Compacted { .. }) => {
            return Ok(match token {
                Some(token) => expired_token(token),
                None => respond::refusal(&ApiError::expired(VERSION_TOO_OLD)),
            });
        }
        Err(ListError::Future { requested, newest }) => {
            return Err(ApiError::too_large_resource_version(
                requested.get(),
                newest.get(),
                1,
            ));
        }
    };
    let page = page(listing, &selection, limit);
    answer(call, accepted, page).await
}

/// Which state to show.
async fn snapshot(
    api: &Api,
    asked: Asked,
    wanted: Option<Match>,
    limited: bool,
) -> Result<At, ApiError> {
    let Asked::At(revision) = asked else {
        return Ok(At::Latest);
    };
    versions::wait_for(&api.store, revision).await?;
    Ok(match wanted {
        Some(Match::Exact) => At::Exact(revision),
        // A limit with a revision has always meant this very revision.
        None if limited => At::Exact(revision),
        Some(Match::NotOlderThan) | None => At::Latest,
    })
}

/// Cuts a page out of a listing.
fn page(listing: Listing, selection: &Selection, limit: usize) -> Page {
    let revision = listing.revision;
    let mut objects = listing.objects;
    if !selection.is_everything() {
        objects.retain(|object| selection.matches(object));
    }
    if limit == 0 || objects.len() <= limit {
        return Page {
            revision,
            objects,
            next: None,
            remaining: None,
        };
    }
    let left = objects.len() - limit;
    objects.truncate(limit);
    let next = objects.last().map(|last| Continue {
        revision: Some(revision),
        after: (last.key.namespace.to_string(), last.key.name.to_string()),
    });
    Page {
        revision,
        objects,
        next,
        // With selectors the server does not count.
        remaining: selection.is_everything().then_some(left),
    }
}

/// 410 with a token that goes on with the newest state.
fn expired_token(token: Continue) -> Response {
    let fresh = Continue {
        revision: None,
        ..token
    };
    let error = ApiError::expired(TOKEN_TOO_OLD);
    let mut status = error.to_value();
    status["metadata"]["continue"] = Value::String(fresh.encode());
    respond::json(StatusCode::GONE, &status)
}

/// The metadata of a list, as JSON.
fn list_metadata(page: &Page) -> String {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), page.revision.to_string().into());
    if let Some(next) = &page.next {
        metadata.insert("continue".into(), next.encode().into());
    }
    if let Some(remaining) = page.remaining {
        metadata.insert("remainingItemCount".into(), remaining.into());
    }
    Value::Object(metadata).to_string()
}

async fn answer(call: &Call<'_>, accepted: Accepted, page: Page) -> Result<Response, ApiError> {
    let (api, route) = (call.api, call.route);
    let metadata = list_metadata(&page);
    let body = match accepted.shape {
        Shape::Object => {
            let head = head(
                &format!("{}", route.resource().list_kind),
                &route.api_version,
                &metadata,
            );
            body(head, &page.objects, |object| {
                view::object(route, &object.bytes)
            })
        }
        Shape::Metadata { version } => {
            let api_version = format!("meta.k8s.io/{version}");
            let head = head("PartialObjectMetadataList", &api_version, &metadata);
            body(head, &page.objects, |object| {
                view::metadata(&object.bytes, version).into()
            })
        }
        Shape::Table { version, include } => {
            let columns = view::column_definitions(route);
            let head = view::table_head(version, &metadata, &columns);
            let now = api.clock.now();
            body(head, &page.objects, |object| {
                view::row(route, &object.bytes, include, now).into()
            })
        }
    };
    if accepted.yaml {
        let all = body.collect().await.unwrap_or_else(|never| match never {});
        return view::yaml(StatusCode::OK, &all.to_bytes());
    }
    Ok(respond::with_type(
        StatusCode::OK,
        respond::JSON,
        Body::new(body),
    ))
}

fn head(kind: &str, api_version: &str, metadata: &str) -> String {
    format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#)
}

/// All objects of a list body, as a JSON array's items.
fn body(head: String, objects: &[Arc<Object>], show: impl Fn(&Object) -> Bytes) -> Pieces {
    Pieces::new(head, objects.iter().map(|object| show(object)).collect())
}

/// A list of bodies of objects, sent in pieces.
pub(crate) fn of_objects(route: &Route, revision: Revision, objects: &[Arc<Object>]) -> Body {
    let metadata = format!(r#"{{"resourceVersion":"{revision}"}}"#);
    let head = head(&route.resource().list_kind, &route.api_version, &metadata);
    Body::new(body(head, objects, |object| {
        view::object(route, &object.bytes)
    }))
}

/// A body of known length: a head, items with commas between them, and `]}`.
struct Pieces {
    head: Option<String>,
    items: VecDeque<Bytes>,
    /// Bytes that are still to be sent.
    left: u64,
    done: bool,
}

impl Pieces {
    fn new(head: String, items: VecDeque<Bytes>) -> Pieces {
        let commas = items.len().saturating_sub(1);
        let length = head.len() + items.iter().map(Bytes::len).sum::<usize>() + commas + 2;
        Pieces {
            head: Some(head),
            items,
            left: length as u64,
            done: false,
        }
    }

    fn next_piece(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let mut piece = Vec::with_capacity(self.left.min(PIECE as u64 * 2) as usize);
        if let Some(head) = self.head.take() {
            piece.extend_from_slice(head.as_bytes());
        }
        while let Some(item) = self.items.pop_front() {
            piece.extend_from_slice(&item);
            if !self.items.is_empty() {
                piece.push(b',');
            }
            if piece.len() >= PIECE {
                break;
            }
        }
        if self.items.is_empty() {
            piece.extend_from_slice(b"]}");
            self.done = true;
        }
        self.left -= piece.len() as u64;
        Some(piece.into())
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(
            self.get_mut()
                .next_piece()
                .map(|piece| Ok(Frame::data(piece))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_as_long_as_it_says_and_valid_json() {
        for count in [0, 1, 3, 5000] {
            let items: VecDeque<Bytes> = (0..count)
                .map(|number| {
                    format!(r#"{{"n":{number},"text":"0123456789012345678901234"}}"#).into()
                })
                .collect();
            let mut pieces = Pieces::new(r#"{"items":["#.to_owned(), items);
            let promised = pieces.left;
            let mut all = Vec::new();
            while let Some(piece) = pieces.next_piece() {
                all.extend_from_slice(&piece);
            }
            assert_eq!(all.len() as u64, promised);
            let value: Value = serde_json::from_slice(&all).expect("JSON");
            assert_eq!(value["items"].as_array().expect("items").len(), count);
        }
    }
}
