//! What is stored: keys, revisions, drafts and the objects they become.

use std::fmt;
use std::num::{NonZeroU64, ParseIntError};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

/// The position of a write in the one order of all writes. It only ever grows,
/// also across restarts, and is never 0. An empty store is at [`Revision::FIRST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(NonZeroU64);

/// Where an object lives. Ordered by collection, then namespace, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kind of object, for example `pods` or `apps/deployments`.
    pub collection: Arc<str>,
    /// The namespace; empty for objects that live in none.
    pub namespace: Arc<str>,
    /// The name, unique within collection and namespace.
    pub name: Arc<str>,
}

/// Names and values by which objects are selected, sorted by name, each name once.
/// The store keeps them with the object and never looks into them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Arc<[(Box<str>, Box<str>)]>);

/// An encoded object that does not know its revision yet: the writer puts the
/// revision's decimal digits between `before` and `after`.
#[derive(Clone, Debug)]
pub struct Draft {
    before: Bytes,
    after: Bytes,
    labels: Pairs,
    fields: Pairs,
}

/// An object as one write left it. Never changes; shared by the current state,
/// the history and everyone who reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Object {
    /// Where it lives.
    pub key: Key,
    /// The write that made this state.
    pub revision: Revision,
    /// The whole encoded object, its revision included.
    pub bytes: Bytes,
    /// Its labels.
    pub labels: Pairs,
    /// Its selectable fields.
    pub fields: Pairs,
}

/// What a writer believes about the object it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is no such object: the write creates it.
    Absent,
    /// The object is exactly as this write left it.
    Revision(Revision),
    /// The writer does not care. A deletion still needs an object to delete.
    Any,
}

/// What a write does.
#[derive(Clone, Debug)]
pub enum Change {
    /// Creates or replaces the object.
    Put(Draft),
    /// Removes the object. The draft is its last state, which watchers are shown
    /// at the deletion's revision.
    Delete(Draft),
}

/// One write as watchers see it.
#[derive(Clone, Debug)]
pub struct Event {
    /// The write's revision, which is also the object's.
    pub revision: Revision,
    /// The new state or, for a deletion, the last.
    pub object: Arc<Object>,
    /// The state before; none for a creation.
    pub previous: Option<Arc<Object>>,
    /// Whether the object is gone.
    pub deleted: bool,
}

// === impl Revision ===

impl Revision {
    /// Where an empty store stands. No write ever has this revision.
    pub const FIRST: Revision = Revision(NonZeroU64::MIN);

    /// Makes a revision of a number; none for 0.
    pub const fn new(number: u64) -> Option<Revision> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Revision(number)),
            None => None,
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the revision after this one.
    pub(crate) fn next(self) -> Revision {
        Revision(self.0.checked_add(1).expect("fewer than 2^64 writes"))
    }

    /// Returns the revision before this one, or the first.
    pub(crate) fn before(self) -> Revision {
        Revision::new(self.get() - 1).unwrap_or(Revision::FIRST)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Revision {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Revision, ParseIntError> {
        text.parse().map(Revision)
    }
}

// === impl Key ===

impl Key {
    /// Makes a key of its three parts; `namespace` is empty for objects in none.
    pub fn new(
        collection: impl Into<Arc<str>>,
        namespace: impl Into<Arc<str>>,
        name: impl Into<Arc<str>>,
    ) -> Key {
        Key {
            collection: collection.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.collection, self.name)
        } else {
            write!(f, "{}/{}/{}", self.collection, self.namespace, self.name)
        }
    }
}

// === impl Pairs ===

impl Pairs {
    /// Returns the value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let index = self
            .0
            .binary_search_by(|(candidate, _)| (**candidate).cmp(name));
        index.ok().map(|index| &*self.0[index].1)
    }
}

impl Deref for Pairs {
    type Target = [(Box<str>, Box<str>)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Sorts by name; of a name given twice the last value stays.
impl<N: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(N, V)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Pairs {
        let mut sorted: Vec<(Box<str>, Box<str>)> = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        sorted.dedup_by(|later, kept| {
            let same_name = later.0 == kept.0;
            if same_name {
                kept.1 = std::mem::take(&mut later.1);
            }
            same_name
        });
        Pairs(sorted.into())
    }
}

// === impl Draft ===

impl Draft {
    /// Makes a draft of the bytes before and after the revision's digits.
    pub fn new(
        before: impl Into<Bytes>,
        after: impl Into<Bytes>,
        labels: Pairs,
        fields: Pairs,
    ) -> Draft {
        Draft {
            before: before.into(),
            after: after.into(),
            labels,
            fields,
        }
    }

    /// Encodes the object as it is at `revision`. Labels and fields that are those
    /// of the state before share its memory.
    pub(crate) fn at(&self, revision: Revision, key: Key, previous: Option<&Object>) -> Object {
        let digits = revision.to_string();
        let mut encoded = Vec::with_capacity(self.before.len() + digits.len() + self.after.len());
        encoded.extend_from_slice(&self.before);
        encoded.extend_from_slice(digits.as_bytes());
        encoded.extend_from_slice(&self.after);
        let share = |new: &Pairs, old: Option<&Pairs>| match old {
            Some(old) if old == new => old.clone(),
            _ => new.clone(),
        };
        Object {
            key,
            revision,
            bytes: Bytes::from(encoded),
            labels: share(&self.labels, previous.map(|previous| &previous.labels)),
            fields: share(&self.fields, previous.map(|previous| &previous.fields)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_reads_back_as_it_is_written_and_is_never_zero() {
        let revision: Revision = "42".parse().expect("a revision");
        assert_eq!(revision.to_string(), "42");
        assert!("0".parse::<Revision>().is_err());
        assert!("-1".parse::<Revision>().is_err());
        assert_eq!(Revision::new(0), None);
    }

    #[test]
    fn pairs_are_sorted_and_the_last_of_a_name_stays() {
        let pairs: Pairs = [("tier", "web"), ("app", "shop"), ("tier", "db")]
            .into_iter()
            .collect();
        assert_eq!(pairs.len(), 2);
        assert_eq!(&*pairs[0].0, "app");
        assert_eq!(pairs.get("tier"), Some("db"));
        assert_eq!(pairs.get("zone"), None);
    }

    #[test]
    fn a_draft_gets_its_revision_between_its_halves() {
        let draft = Draft::new("{\"rv\":\"", "\"}", Pairs::default(), Pairs::default());
        let revision = Revision::new(7).expect("not zero");
        let object = draft.at(revision, Key::new("pods", "a", "b"), None);
        assert_eq!(&object.bytes[..], b"{\"rv\":\"7\"}");
    }
}
