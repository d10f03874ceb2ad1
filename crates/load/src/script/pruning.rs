//! Leaves out of the program's own modules what no script uses.
//!
//! A function takes a user a third of a kilobyte, and k6's modules have many that a script never
//! names. Once all of a script's files are known, its users get modules without them. Where it cannot
//! be told from the files what they use of a module, it stays whole.

use std::collections::BTreeSet;

use super::intrinsics::Needs;
use super::source::words;

/// What is declared in a piece of a module: a statement at its outermost level.
struct Piece<'source> {
    text: &'source str,
    /// None of those that only do something.
    name: Option<&'source str>,
    exported: bool,
}

/// Names that scripts may use of a module, among others; `None` where they may use all.
pub(super) fn named<'source>(
    module: &str,
    sources: impl IntoIterator<Item = &'source str>,
) -> Option<BTreeSet<&'source str>> {
    let mut names = BTreeSet::new();
    for source in sources {
        if Needs::of_script(source) == Needs::ALL {
            return None;
        }
        for clause in clauses(module, source) {
            let (whole, named) = match clause?.split_once('{') {
                Some((before, named)) => (before, named),
                None => (clause?, ""),
            };
            names.extend(words(named));
            for bound in words(whole).filter(|word| *word != "as") {
                names.extend(members(bound, source)?);
            }
        }
    }
    if names.contains("default") {
        return None;
    }
    Some(names)
}

/// The module's source without what is neither named nor needed by the rest of it.
pub(super) fn pruned(source: &str, named: &BTreeSet<&str>) -> String {
    let pieces = pieces(source);
    let is_list = |piece: &Piece<'_>| piece.text.starts_with("export default");
    let mut used: BTreeSet<&str> = pieces
        .iter()
        .filter(|piece| piece.name.is_none() && !is_list(piece))
        .flat_map(|piece| words(piece.text))
        .chain(named.iter().copied())
        .collect();
    loop {
        let before = used.len();
        for piece in &pieces {
            if piece.name.is_some_and(|name| used.contains(name)) {
                used.extend(words(piece.text));
            }
        }
        if used.len() == before {
            break;
        }
    }
    let kept = |piece: &&Piece<'_>| piece.name.is_none_or(|name| used.contains(name));
    let exports: Vec<&str> = pieces
        .iter()
        .filter(kept)
        .filter(|piece| piece.exported)
        .filter_map(|piece| piece.name)
        .collect();
    let mut rest: String = pieces
        .iter()
        .filter(kept)
        .filter(|piece| !is_list(piece))
        .map(|piece| piece.text)
        .collect();
    rest.push_str(&format!("export default {{ {} }};\n", exports.join(", ")));
    rest
}

/// The names that the source of another module imports from this one.
pub(super) fn imported<'source>(module: &str, source: &'source str) -> Vec<&'source str> {
    clauses(module, source)
        .flat_map(|clause| words(clause.unwrap_or_default()))
        .collect()
}

/// The names in the braces of an `import` or `export … from`, as the module has them.
pub(super) fn listed(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter_map(|one| words(one).next())
}

/// Statements that export, as nothing, what sources import of a module that has no such thing: k6
/// lets them.
pub(super) fn missing<'source>(
    module: &str,
    own: &str,
    sources: impl IntoIterator<Item = &'source str>,
) -> String {
    let pieces = pieces(own);
    let exported: BTreeSet<&str> = pieces
        .iter()
        .filter(|piece| piece.exported)
        .filter_map(|piece| piece.name)
        .chain(["default"])
        .collect();
    let wanted: BTreeSet<&str> = sources
        .into_iter()
        .flat_map(|source| clauses(module, source))
        .filter_map(|clause| clause?.split_once('{'))
        .flat_map(|(_, named)| listed(named))
        .filter(|name| !exported.contains(name))
        .collect();
    wanted
        .into_iter()
        .enumerate()
        .map(|(at, name)| {
            format!("const $missing{at} = undefined;\nexport {{ $missing{at} as {name} }};\n")
        })
        .collect()
}

/// A module's statements at its outermost level, which begin at the beginning of a line with a letter.
fn pieces(source: &str) -> Vec<Piece<'_>> {
    let begins = |at: &usize| source[*at..].starts_with(|sign: char| sign.is_ascii_alphabetic());
    let lines = source.match_indices('\n').map(|(at, _)| at + 1);
    let mut starts: Vec<usize> = std::iter::once(0).chain(lines).filter(begins).collect();
    starts.push(source.len());
    starts
        .windows(2)
        .map(|bounds| {
            let text = &source[bounds[0]..bounds[1]];
            // A comment at the end is about the next piece.
            let text = text.find("\n/").map_or(text, |end| &text[..=end]);
            let (exported, declaration) = match text.strip_prefix("export ") {
                Some(declaration) => (true, declaration),
                None => (false, text),
            };
            let name = declaration
                .split_once(' ')
                .filter(|(kind, _)| matches!(*kind, "const" | "let" | "class" | "function"))
                .and_then(|(_, rest)| words(rest).next());
            Piece {
                text,
                name,
                exported,
            }
        })
        .collect()
}

/// What stands between `import` and `from` where this module is imported; `None` where something else
/// than that is said of it.
fn clauses<'source>(
    module: &str,
    source: &'source str,
) -> impl Iterator<Item = Option<&'source str>> {
    let places: Vec<usize> = ['\'', '"', '`']
        .into_iter()
        .flat_map(|quote| {
            let quoted = format!("{quote}{module}{quote}");
            let places = source.match_indices(&quoted).map(|(at, _)| at);
            places.collect::<Vec<_>>()
        })
        .collect();
    places.into_iter().map(|at| {
        let before = source[..at].trim_end().strip_suffix("from")?;
        let clause = &before[before.rfind("import")? + "import".len()..];
        let plain =
            |sign: char| sign.is_alphanumeric() || sign.is_whitespace() || "_${},*".contains(sign);
        clause.chars().all(plain).then_some(clause)
    })
}

/// The members that a script names of a variable; `None` where it may do more with it than that.
fn members<'source>(variable: &str, source: &'source str) -> Option<Vec<&'source str>> {
    let in_word = |sign: char| sign.is_alphanumeric() || sign == '_' || sign == '$';
    let mut members = Vec::new();
    for (at, _) in source.match_indices(variable) {
        let (before, after) = (&source[..at], &source[at + variable.len()..]);
        if before.ends_with(in_word) || after.starts_with(in_word) {
            continue;
        }
        let member = after
            .strip_prefix('.')
            .filter(|member| member.starts_with(|sign: char| sign.is_alphabetic()))
            .and_then(|member| words(member).next());
        let is_member = before.ends_with('.') && !before.ends_with("..");
        let is_url = after.starts_with("://");
        let is_module = before.ends_with("k6/");
        let is_import = before.trim_end().ends_with("import")
            || before.trim_end().ends_with("* as") && after.trim_start().starts_with("from");
        match member {
            Some(member) => members.push(member),
            None if is_member || is_url || is_module || is_import => {}
            None => return None,
        }
    }
    Some(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_used_by_name_or_stays_whole() {
        for (source, by_name) in [
            ("import http from 'k6/http';\nhttp.get('http://a/');", true),
            ("import http, { post } from \"k6/http\"; post(a);", true),
            (
                "import * as http from 'k6/http'; http.get(a, mine.http);",
                true,
            ),
            ("import { get as read } from 'k6/http'; read(a);", true),
            ("import { check } from 'k6';", true),
            ("import http from 'k6/http'; http[method](a);", false),
            ("import http from 'k6/http'; const { get } = http;", false),
            ("import http from 'k6/http'; send({ ...http });", false),
            ("import http from 'k6/http'; http?.[a]();", false),
            ("import * as http from 'k6/http'; http.default[a]();", false),
            ("import { default as h } from 'k6/http'; h[a]();", false),
            ("export * from 'k6/http';", false),
            ("import http from 'k6/http'; globalThis.h = 1;", false),
        ] {
            assert_eq!(named("k6/http", [source]).is_some(), by_name, "{source}");
        }
        let source = "import http, { put as send } from 'k6/http'; http.get('http://a/b')";
        let names = named("k6/http", [source]).unwrap();
        assert!(names.contains("get") && names.contains("put") && !names.contains("b"));
        let helper = "import http from 'k6/http'; export default http;";
        assert_eq!(named("k6/http", ["http.get()", helper]), None);
    }

    #[test]
    fn what_is_not_used_is_left_out_and_what_that_needs_too() {
        let source = "import { call } from 'host';\n\nconst most = 5;\nlet loaded;\n/** Loads. */\nconst load = () => {\n  return loaded ??= call(most);\n};\n// Does.\nexport const one = () => load();\nexport function two() {\n  return 2;\n}\ncall('begin');\n\nexport default {\n  one, two,\n};\n";
        let one = pruned(source, &["one"].into());
        assert!(one.contains("load = ") && one.contains("most") && one.contains("begin"));
        assert!(!one.contains("two"), "{one}");
        assert!(one.ends_with("export default { one };\n"), "{one}");
        let two = pruned(source, &["two"].into());
        assert!(
            !two.contains("load") && two.contains("return 2;\n}\n"),
            "{two}"
        );
    }
}
