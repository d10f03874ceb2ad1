//! Sets of tags that samples have again and again, made once for all users of a script.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::metric::Tags;

/// So many sets are kept; above this all are forgotten, and those in use come back at once.
const KEPT: usize = 4096;

/// Sets of tags by what they were made of.
#[derive(Debug, Default)]
pub(super) struct TagSets {
    known: HashSet<Tags>,
    built: HashMap<u64, Built, BuildHasherDefault<Mixer>>,
}

/// A hasher that is quick rather than safe from whoever wants collisions: what is found is compared.
#[derive(Debug, Default)]
struct Mixer(u64);

#[derive(Debug)]
struct Built {
    base: Tags,
    kind: &'static str,
    parts: Vec<Box<str>>,
    tags: Tags,
}

// === impl Mixer ===

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // An odd number with its bits well spread.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        // The upper bits are mixed best, and tables look at the lower ones, too.
        self.0 ^ (self.0 >> 32)
    }
}

// === impl TagSets ===

impl TagSets {
    /// The set that all users share, of those that equal this one.
    pub(super) fn shared(&mut self, tags: Tags) -> Tags {
        if let Some(known) = self.known.get(&tags) {
            return known.clone();
        }
        if self.known.len() >= KEPT {
            self.known.clear();
        }
        self.known.insert(tags.clone());
        tags
    }

    /// What `build` makes of a set and of `parts`. `kind` says which `build` it is.
    pub(super) fn built(
        &mut self,
        base: &Tags,
        kind: &'static str,
        parts: &[&str],
        build: impl FnOnce(&Tags, &[&str]) -> Tags,
    ) -> Tags {
        let mut hasher = Mixer::default();
        // A set that is kept here cannot be at the address of another one.
        base.address().hash(&mut hasher);
        kind.hash(&mut hasher);
        parts.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(known) = self.built.get(&hash)
            && known.base.address() == base.address()
            && known.kind == kind
            && known
                .parts
                .iter()
                .map(|part| &**part)
                .eq(parts.iter().copied())
        {
            return known.tags.clone();
        }
        let tags = self.shared(build(base, parts));
        if self.built.len() >= KEPT {
            self.built.clear();
        }
        let built = Built {
            base: base.clone(),
            kind,
            parts: parts.iter().map(|part| Box::from(*part)).collect(),
            tags: tags.clone(),
        };
        self.built.insert(hash, built);
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_once_is_shared() {
        let mut sets = TagSets::default();
        let base = sets.shared([("scenario", "default")].into_iter().collect());
        let same = sets.shared([("scenario", "default")].into_iter().collect());
        assert_eq!(base.address(), same.address());
        let check = |sets: &mut TagSets, name: &str| {
            sets.built(&base, "check", &[name], |base, parts| {
                base.with("check", parts[0])
            })
        };
        let first = check(&mut sets, "ok");
        assert_eq!(first.get("check"), Some("ok"));
        assert_eq!(first.address(), check(&mut sets, "ok").address());
        assert_ne!(first.address(), check(&mut sets, "other").address());
        for number in 0..=KEPT {
            check(&mut sets, &number.to_string());
        }
        assert!(sets.built.len() <= KEPT && sets.known.len() <= KEPT);
    }
}
