//! Tags: names and values that say what a sample belongs to.

use std::fmt;
use std::sync::Arc;

/// A set of tags, sorted by name. Cloning shares it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tags(Arc<[(Arc<str>, Arc<str>)]>);

/// Tags that a sample must have to count, as in `http_req_duration{status:200}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagFilter(Vec<(String, String)>);

// === impl Tags ===

impl Tags {
    /// The value of the tag `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .binary_search_by(|(key, _)| (**key).cmp(name))
            .ok()
            .map(|index| &*self.0[index].1)
    }

    /// These tags and one more, which replaces one of the same name.
    #[must_use]
    pub fn with(&self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        self.with_all([(name.into(), value.into())])
    }

    /// These tags and more, each of which replaces one of the same name.
    #[must_use]
    pub fn with_all(&self, more: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) -> Self {
        let mut all: Vec<_> = self.0.to_vec();
        for (name, value) in more {
            match all.binary_search_by(|(key, _)| key.cmp(&name)) {
                Ok(index) => all[index].1 = value,
                Err(index) => all.insert(index, (name, value)),
            }
        }
        Self(all.into())
    }

    /// All names and values, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Where the set is in memory: sets at the same address are equal.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for Tags {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl<N: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(N, V)> for Tags {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self::default().with_all(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        )
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

// === impl TagFilter ===

impl TagFilter {
    /// Reads what stands between the braces: `status:200,scenario:main`. A value may be quoted.
    ///
    /// # Errors
    ///
    /// A part that has no colon or no name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut wanted = Vec::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (name, value) = part
                .split_once(':')
                .ok_or_else(|| format!("{part:?} is not a tag; write it like status:200"))?;
            let name = unquoted(name);
            if name.is_empty() {
                return Err(format!("{part:?} has no tag name before the colon"));
            }
            wanted.push((name.to_owned(), unquoted(value).to_owned()));
        }
        wanted.sort();
        Ok(Self(wanted))
    }

    /// True if the tags have every wanted value. A wanted empty value means that the tag is absent or empty.
    #[must_use]
    pub fn matches(&self, tags: &Tags) -> bool {
        self.0
            .iter()
            .all(|(name, value)| tags.get(name).unwrap_or_default() == value)
    }
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = text
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
        {
            return inner.trim();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_tag_replaces_an_earlier_one_and_names_stay_sorted() {
        let tags: Tags = [("b", "1"), ("a", "2"), ("b", "3")].into_iter().collect();
        assert_eq!(
            tags.iter().collect::<Vec<_>>(),
            [("a", "2"), ("b", "3")],
            "sorted, replaced"
        );
        assert_eq!(tags.get("b"), Some("3"));
        assert_eq!(tags.get("c"), None);
    }

    #[test]
    fn a_filter_wants_every_tag() {
        let tags: Tags = [("status", "200"), ("name", "http://a/b")]
            .into_iter()
            .collect();
        for (text, matches) in [
            ("status:200", true),
            ("status: 200 , name:http://a/b", true),
            ("name:\"http://a/b\"", true),
            ("status:404", false),
            ("group:", true),
            ("", true),
        ] {
            assert_eq!(
                TagFilter::parse(text).unwrap().matches(&tags),
                matches,
                "{text}"
            );
        }
        assert!(TagFilter::parse("status").is_err());
        assert!(TagFilter::parse(":5").is_err());
    }
}
