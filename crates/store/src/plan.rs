//! Decides a batch of writes: which are done, with which revisions, and which conflict.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::WriteError;
use crate::object::{Change, Event, Expect, Key, Object, Revision};
use crate::visible::Visible;

/// A write as it was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) key: Key,
    pub(crate) expect: Expect,
    pub(crate) change: Change,
}

/// What becomes of a write once its batch is durable.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is done; the object is as it left it.
    Done(Arc<Object>),
    /// The object, or its absence, is not what the writer expected.
    Conflict(Option<Arc<Object>>),
}

/// A decided batch.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One for each write, in order.
    pub(crate) outcomes: Vec<Outcome>,
    /// The writes that are done, in order.
    pub(crate) events: Vec<Event>,
}

impl Outcome {
    /// Returns what the writer is told.
    pub(crate) fn into_result(self) -> Result<Arc<Object>, WriteError> {
        match self {
            Outcome::Done(object) => Ok(object),
            Outcome::Conflict(current) => Err(WriteError::Conflict { current }),
        }
    }
}

/// Decides the writes in order. Each sees those before it, which nobody else does until
/// they are durable.
pub(crate) fn plan<'w>(visible: &Visible, writes: impl Iterator<Item = &'w Write>) -> Plan {
    let mut newest = visible.newest();
    let mut undurable: HashMap<&Key, Option<Arc<Object>>> = HashMap::new();
    let mut outcomes = Vec::new();
    let mut events = Vec::new();
    for write in writes {
        let current = match undurable.get(&write.key) {
            Some(current) => current.clone(),
            None => visible.get(&write.key),
        };
        if !expected(write, current.as_deref()) {
            outcomes.push(Outcome::Conflict(current));
            continue;
        }
        newest = newest.next();
        let event = perform(visible, write, current, newest);
        let left = (!event.deleted).then(|| event.object.clone());
        undurable.insert(&write.key, left);
        outcomes.push(Outcome::Done(event.object.clone()));
        events.push(event);
    }
    Plan { outcomes, events }
}

/// Whether a write may be done to an object in this state.
fn expected(write: &Write, current: Option<&Object>) -> bool {
    let as_expected = match write.expect {
        Expect::Absent => current.is_none(),
        Expect::Revision(revision) => current.is_some_and(|current| current.revision == revision),
        Expect::Any => true,
    };
    let possible = match write.change {
        Change::Put(_) => true,
        Change::Delete(_) => current.is_some(),
    };
    as_expected && possible
}

fn perform(
    visible: &Visible,
    write: &Write,
    current: Option<Arc<Object>>,
    revision: Revision,
) -> Event {
    let key = match &current {
        Some(current) => current.key.clone(),
        None => visible.intern(write.key.clone()),
    };
    let (draft, deleted) = match &write.change {
        Change::Put(draft) => (draft, false),
        Change::Delete(draft) => (draft, true),
    };
    Event {
        revision,
        object: Arc::new(draft.at(revision, key, current.as_deref())),
        previous: current,
        deleted,
    }
}
