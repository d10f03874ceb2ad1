//! A watch: a position in a collection's history.

use std::sync::Arc;

use crate::error::WatchError;
use crate::history::Forgotten;
use crate::object::{Event, Revision};
use crate::visible::{Collection, Contents, Visible};

/// Reads the changes of a collection, or of one namespace of it, in order.
///
/// It holds nothing but its position in the collection's history: it costs a write
/// nothing however slowly it reads, and is cut off when the history no longer has what
/// it has not read.
#[derive(Debug)]
pub struct Watch {
    visible: Arc<Visible>,
    collection: Arc<Collection>,
    namespace: Option<Box<str>>,
    /// The position of the first event that was not looked at.
    position: u64,
    /// The last event returned, or where the watch started.
    seen: Revision,
}

impl Watch {
    /// Starts after a revision.
    pub(crate) fn start(
        visible: Arc<Visible>,
        collection: &str,
        namespace: Option<&str>,
        after: Revision,
    ) -> Result<Watch, WatchError> {
        if visible.is_closed() {
            return Err(WatchError::Closed);
        }
        let collection = visible.collection(collection);
        let position = {
            let contents = collection.contents.read();
            let (oldest, newest) = (contents.history.compacted(), visible.newest());
            let requested = after;
            if requested > newest {
                return Err(WatchError::Future { requested, newest });
            }
            if requested < oldest {
                return Err(WatchError::Compacted { requested, oldest });
            }
            contents.history.position_after(after)
        };
        Ok(Watch {
            visible,
            collection,
            namespace: namespace.map(Box::from),
            position,
            seen: after,
        })
    }

    /// Returns the next event, in revision order. The future may be dropped while it
    /// waits: no event is lost. An error ends the watch.
    pub async fn next(&mut self) -> Result<Event, WatchError> {
        let collection = self.collection.clone();
        loop {
            let changed = collection.changed.notified();
            tokio::pin!(changed);
            // Waiting begins before the look, so no wake-up is missed between them.
            changed.as_mut().enable();
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            changed.await;
        }
    }

    /// Returns the next event if there is one already.
    pub fn try_next(&mut self) -> Result<Option<Event>, WatchError> {
        // Asked before the look: what was written before the closing is still returned.
        let closed = self.visible.is_closed();
        let contents = self.collection.contents.read();
        let (found, position) = match self.pending(&contents)? {
            Some((position, event)) => (Some(event.clone()), position + 1),
            None => (None, contents.history.position_after(self.visible.newest())),
        };
        drop(contents);
        self.position = position;
        match found {
            Some(event) => {
                self.seen = event.revision;
                Ok(Some(event))
            }
            None if closed => Err(WatchError::Closed),
            None => Ok(None),
        }
    }

    /// Returns a revision up to which all events of this watch were returned: what a
    /// bookmark may say. It never goes back.
    pub fn progress(&self) -> Revision {
        let contents = self.collection.contents.read();
        match self.pending(&contents) {
            Ok(None) => self.visible.newest(),
            Ok(Some((_, event))) => event.revision.before(),
            Err(_) => self.seen,
        }
    }

    /// Finds the next event of this watch and its position.
    fn pending<'c>(&self, contents: &'c Contents) -> Result<Option<(u64, &'c Event)>, WatchError> {
        let lagged = |Forgotten| WatchError::Lagged {
            seen: self.seen,
            oldest: contents.history.compacted(),
        };
        let unseen = contents
            .history
            .starting_with(self.position)
            .map_err(lagged)?;
        Ok((self.position..).zip(unseen).find(|(_, event)| {
            self.namespace
                .as_ref()
                .is_none_or(|wanted| **wanted == *event.object.key.namespace)
        }))
    }
}
