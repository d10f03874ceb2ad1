//! Paths in configurations: relative to the file they stand in, with wildcards, as Go's `filepath.Join` and
//! `filepath.Glob` have them.

use std::path::{Component, Path, PathBuf};

/// The path of what a configuration in a folder names, without `.` and with `..` resolved, whether it is there or
/// not: `rules/a.yml` of `./prometheus.yml` is `rules/a.yml`.
#[must_use]
pub fn path_in(folder: &Path, path: impl AsRef<Path>) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in folder.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match cleaned.components().next_back() {
                Some(Component::Normal(_)) => {
                    cleaned.pop();
                }
                Some(Component::RootDir) => {}
                _ => cleaned.push(".."),
            },
            other => cleaned.push(other),
        }
    }
    if cleaned.as_os_str().is_empty() {
        cleaned.push(".");
    }
    cleaned
}

/// The files and folders that a path names which may hold `*`, `?` and `[a-z]`, sorted.
#[must_use]
pub fn matching_files(folder: &Path, pattern: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for component in path_in(folder, pattern).components() {
        let name = component.as_os_str().to_string_lossy();
        found = if has_wildcard(&name) {
            found
                .iter()
                .flat_map(|path| matches_in(path, &name))
                .collect()
        } else {
            found.iter().map(|path| path.join(component)).collect()
        };
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort();
    found
}

/// As [`matching_files`]. A path without wildcards that is not there is no fault in Prometheus and Alertmanager, but
/// most likely a mistake: the log names it, and the field it stands in.
#[must_use]
pub fn named_files(field: &str, folder: &Path, pattern: impl AsRef<Path>) -> Vec<PathBuf> {
    let found = matching_files(folder, &pattern);
    let path = path_in(folder, pattern);
    if found.is_empty() && !has_wildcard(&path.to_string_lossy()) {
        tracing::warn!(field, path = %path.display(), "a file that the configuration names is not there");
    }
    found
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

fn matches_in(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let listed = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let pattern: Vec<char> = pattern.chars().collect();
    let entries = std::fs::read_dir(listed).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name())
        .filter(|name| {
            let name = name.to_str().map(|name| name.chars().collect::<Vec<_>>());
            name.is_some_and(|name| matches(&pattern, &name))
        })
        .map(|name| folder.join(name))
        .collect()
}

/// Whether a name is what a pattern says: `*` is anything, `?` a character, `[a-z]` one of those, `[^a-z]` one of
/// the others, and `\` takes its meaning from what follows it. A pattern that is none matches nothing.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let Some((first, pattern)) = pattern.split_first() else {
        return name.is_empty();
    };
    if *first == '*' {
        return (0..=name.len()).any(|skipped| matches(pattern, &name[skipped..]));
    }
    let Some((next, name)) = name.split_first() else {
        return false;
    };
    match first {
        '?' => matches(pattern, name),
        '[' => {
            class_of(pattern, *next).is_some_and(|(holds, pattern)| holds && matches(pattern, name))
        }
        '\\' => pattern
            .split_first()
            .is_some_and(|(escaped, pattern)| escaped == next && matches(pattern, name)),
        _ => first == next && matches(pattern, name),
    }
}

/// Whether a character is of the class that begins here, and the pattern behind it.
fn class_of(pattern: &[char], character: char) -> Option<(bool, &[char])> {
    let (is_negated, mut rest) = match pattern.split_first()? {
        ('^', rest) => (true, rest),
        _ => (false, pattern),
    };
    let mut holds = false;
    let mut is_empty = true;
    loop {
        if rest.first()? == &']' && !is_empty {
            return Some((holds != is_negated, &rest[1..]));
        }
        let (low, after) = class_end(rest)?;
        let (high, after) = match after.split_first()? {
            ('-', after) => class_end(after)?,
            _ => (low, after),
        };
        holds |= (low..=high).contains(&character);
        is_empty = false;
        rest = after;
    }
}

/// A character at an end of a range.
fn class_end(pattern: &[char]) -> Option<(char, &[char])> {
    match pattern.split_first()? {
        ('-' | ']', _) => None,
        ('\\', rest) => rest
            .split_first()
            .map(|(character, rest)| (*character, rest)),
        (character, rest) => Some((*character, rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_joined_and_cleaned_as_go_does_it() {
        for (folder, path, expected) in [
            (".", "rules/a.yml", "rules/a.yml"),
            ("", "./rules//a.yml", "rules/a.yml"),
            (".", "../a.yml", "../a.yml"),
            ("etc/prometheus", "../rules/./a.yml", "etc/rules/a.yml"),
            ("/etc", "../../a.yml", "/a.yml"),
            ("/etc", "/srv/a.yml", "/srv/a.yml"),
            ("a", "..", "."),
        ] {
            let joined = path_in(Path::new(folder), path);
            assert_eq!(joined, Path::new(expected), "{folder} {path}");
            assert_eq!(joined.as_os_str(), expected, "{folder} {path}");
        }
    }

    #[test]
    fn wildcards_stand_for_what_they_stand_for_in_go() {
        for (pattern, name, expected) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "ac", false),
            ("a*", "a", true),
            ("a", "ab", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]*", "b.yml", true),
            ("[^a-c]*", "b.yml", false),
            ("[xb]", "b", true),
            ("[]a]", "]", false),
            ("[a", "a", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
        ] {
            let (pattern, name): (Vec<_>, Vec<_>) =
                (pattern.chars().collect(), name.chars().collect());
            assert_eq!(matches(&pattern, &name), expected, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn files_are_found_by_name_and_by_wildcards_in_any_part() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["x/b.yml", "x/a.yml", "y/a.yml", "y/a.txt"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, "").expect("written");
        }
        for (pattern, expected) in [
            ("x/a.yml", &["x/a.yml"][..]),
            ("x/*.yml", &["x/a.yml", "x/b.yml"]),
            ("*/a.yml", &["x/a.yml", "y/a.yml"]),
            ("./[xy]/?.txt", &["y/a.txt"]),
            ("x/nothere.yml", &[]),
            ("nothere/*.yml", &[]),
        ] {
            let found = matching_files(folder.path(), pattern);
            let expected: Vec<PathBuf> = expected
                .iter()
                .map(|name| folder.path().join(name))
                .collect();
            assert_eq!(found, expected, "{pattern}");
        }
    }
}
