//! The bounded history of one collection, which all its watchers read by position.

use std::collections::VecDeque;

use crate::object::{Event, Revision};

/// What an event costs beside its object's encoded bytes: the object's fixed part,
/// its key, a few labels, and the event itself. An estimate, in bytes.
const EVENT_OVERHEAD: usize = 400;

/// The newest events of one collection, oldest first.
#[derive(Debug)]
pub(crate) struct History {
    events: VecDeque<Event>,
    /// How many events were forgotten: the position of the oldest one kept.
    forgotten: u64,
    /// What the kept events cost, in bytes.
    bytes: usize,
    /// Every event after this revision is kept; those up to it may be gone.
    compacted: Revision,
}

/// A reader's position is older than the oldest event kept.
#[derive(Debug)]
pub(crate) struct Forgotten;

impl History {
    /// Makes an empty history, which knows of nothing up to `compacted`.
    pub(crate) fn starting_at(compacted: Revision) -> History {
        History {
            events: VecDeque::new(),
            forgotten: 0,
            bytes: 0,
            compacted,
        }
    }

    /// The oldest revision that can be read from: every event after it is kept.
    pub(crate) fn compacted(&self) -> Revision {
        self.compacted
    }

    /// How many events are kept.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// What the kept events cost, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds the newest event.
    pub(crate) fn push(&mut self, event: Event) {
        debug_assert!(
            self.events
                .back()
                .is_none_or(|last| last.revision < event.revision)
        );
        self.bytes += cost(&event);
        self.events.push_back(event);
    }

    /// Forgets the oldest event.
    pub(crate) fn forget_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.forgotten += 1;
            self.bytes -= cost(&event);
            self.compacted = self.compacted.max(event.revision);
        }
    }

    /// Forgets all events up to and including a revision.
    pub(crate) fn forget_through(&mut self, revision: Revision) {
        while self
            .events
            .front()
            .is_some_and(|oldest| oldest.revision <= revision)
        {
            self.forget_oldest();
        }
        self.compacted = self.compacted.max(revision);
    }

    /// Returns the events after a revision, oldest first. The caller has made sure that
    /// it is not before [`History::compacted`].
    pub(crate) fn since(&self, revision: Revision) -> impl Iterator<Item = &Event> {
        let start = self.index_after(revision);
        self.events.range(start..)
    }

    /// Returns the position of the first event after a revision, which need not have
    /// happened yet.
    pub(crate) fn position_after(&self, revision: Revision) -> u64 {
        self.forgotten + self.index_after(revision) as u64
    }

    /// Returns the events from a position on, oldest first.
    pub(crate) fn starting_with(
        &self,
        position: u64,
    ) -> Result<impl Iterator<Item = &Event>, Forgotten> {
        let start = position.checked_sub(self.forgotten).ok_or(Forgotten)?;
        let start = usize::try_from(start).map_err(|_| Forgotten)?;
        Ok(self.events.range(start.min(self.events.len())..))
    }

    fn index_after(&self, revision: Revision) -> usize {
        self.events
            .partition_point(|event| event.revision <= revision)
    }
}

fn cost(event: &Event) -> usize {
    event.object.bytes.len() + EVENT_OVERHEAD
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::object::{Draft, Key, Pairs};

    fn revision(number: u64) -> Revision {
        Revision::new(number).expect("not zero")
    }

    fn event(number: u64) -> Event {
        let draft = Draft::new("", "", Pairs::default(), Pairs::default());
        let object = draft.at(revision(number), Key::new("pods", "", "a"), None);
        Event {
            revision: object.revision,
            object: Arc::new(object),
            previous: None,
            deleted: false,
        }
    }

    fn revisions<'e>(events: impl Iterator<Item = &'e Event>) -> Vec<u64> {
        events.map(|event| event.revision.get()).collect()
    }

    #[test]
    fn a_position_stays_where_it_is_while_older_events_are_forgotten() {
        let mut history = History::starting_at(revision(1));
        for number in [3, 5, 8] {
            history.push(event(number));
        }
        let position = history.position_after(revision(3));
        history.forget_oldest();
        let events = history.starting_with(position).expect("kept");
        assert_eq!(revisions(events), [5, 8]);
        history.forget_oldest();
        assert!(history.starting_with(position).is_err());
        assert_eq!(history.compacted(), revision(5));
    }

    #[test]
    fn compacting_between_two_events_forgets_only_the_older() {
        let mut history = History::starting_at(revision(1));
        for number in [3, 5, 8] {
            history.push(event(number));
        }
        history.forget_through(revision(6));
        assert_eq!(revisions(history.since(revision(6))), [8]);
        assert_eq!(history.compacted(), revision(6));
        history.forget_through(revision(9));
        assert_eq!((history.len(), history.bytes()), (0, 0));
    }
}
