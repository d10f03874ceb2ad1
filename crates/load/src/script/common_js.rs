//! CommonJS files as modules: `require`, `exports` and `module.exports`, as bundlers and older scripts write them.
//!
//! A file that neither imports nor exports is the body of a function. The module around it runs it once a user and
//! exports what it left in `module.exports`. An ES module has its names before its code runs, so these are the names
//! that the file's text assigns to, and those that other files import of it.

use std::collections::BTreeSet;

use super::pruning::listed;
use super::source::words;

/// The export that is the file's `module`.
pub(super) const MODULE: &str = "$module";

/// Whether a source is CommonJS: it has no statement of an ES module. Where the words of these occur in it nevertheless,
/// it must also name what only CommonJS has.
pub(super) fn is_common_js(source: &str) -> bool {
    let names = |known: [&str; 2]| words(source).any(|word| known.contains(&word));
    !names(["import", "export"]) || names(["exports", "require"]) && !has_module_statement(source)
}

/// True if `import` or `export` stands where a statement begins.
fn has_module_statement(source: &str) -> bool {
    ["import", "export"].into_iter().any(|keyword| {
        source.match_indices(keyword).any(|(at, _)| {
            let line = source[..at].rsplit('\n').next().unwrap_or_default();
            let begins = line.trim().is_empty() || line.trim_end().ends_with(['}', ';', '/']);
            let goes_on = source[at + keyword.len()..]
                .starts_with(|sign: char| sign.is_whitespace() || "{*'\"".contains(sign));
            begins && goes_on
        })
    })
}

/// The ES module that runs a CommonJS file. Its lines keep their numbers.
pub(super) fn as_module(name: &str, source: &str, exported: &BTreeSet<&str>) -> String {
    let url = serde_json::Value::from(name);
    let mut module = format!(
        "import {{ run as $run }} from 'springtide:common-js'; const {MODULE} = $run({url}, function (module, exports) {{{source}\n}});\nconst $exports = {MODULE}.exports ?? {{}};\nexport {{ {MODULE} }};\nexport default Object.hasOwn(Object($exports), 'default') ? $exports.default : {MODULE}.exports;\n"
    );
    for (at, exported) in exported.iter().enumerate() {
        module.push_str(&format!(
            "const ${at} = $exports.{exported};\nexport {{ ${at} as {exported} }};\n"
        ));
    }
    module
}

/// The names that a file assigns to as its exports: `exports.name =`, `exports['name'] =`,
/// `Object.defineProperty(exports, 'name'`, `module.exports = { name, … }`.
pub(super) fn assigned(source: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for (at, word) in source.match_indices("exports") {
        let after = source[at + word.len()..].trim_start();
        let literal = after.strip_prefix('=').map(str::trim_start);
        if let Some(members) = literal.and_then(|literal| literal.strip_prefix('{')) {
            names.extend(keys(members));
        } else if let Some(member) = after.strip_prefix('.') {
            let name = words(member).next().unwrap_or_default();
            let is_assigned = member
                .strip_prefix(name)
                .map(str::trim_start)
                .and_then(|rest| rest.strip_prefix('='))
                .is_some_and(|rest| !rest.starts_with('='));
            names.extend(is_assigned.then_some(name));
        } else if let Some(quoted) = after.strip_prefix(['[', ',']) {
            names.extend(quoted_text(quoted));
        }
    }
    names.retain(|name| can_be_exported(name));
    names
}

/// The names that a file imports, or passes on, of the file of this name, whatever its folder.
pub(super) fn imported<'source>(file: &str, source: &'source str) -> BTreeSet<&'source str> {
    let mut names = BTreeSet::new();
    for quote in ['\'', '"'] {
        for (end, _) in source.match_indices(&format!("{file}{quote}")) {
            let before = source[..end].rfind(quote).map(|open| &source[..open]);
            let clause = before.and_then(|before| before.trim_end().strip_suffix("from"));
            let list =
                clause.and_then(|clause| clause.trim_end().strip_suffix('}')?.rsplit('{').next());
            names.extend(list.into_iter().flat_map(listed));
        }
    }
    names.retain(|name| can_be_exported(name));
    names
}

/// The keys of an object literal, from behind its brace.
fn keys(members: &str) -> Vec<&str> {
    let mut keys = Vec::new();
    let mut depth = 0_usize;
    let mut at_key = true;
    for (at, sign) in members.char_indices() {
        match sign {
            '{' | '(' | '[' => depth += 1,
            '}' if depth == 0 => break,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => at_key = true,
            _ if sign.is_whitespace() => {}
            _ if at_key => {
                at_key = false;
                let rest = members[at..].trim_start_matches(['\'', '"']);
                keys.extend(words(rest).next().filter(|word| rest.starts_with(word)));
            }
            _ => {}
        }
    }
    keys
}

/// The text in quotes at the beginning of this.
fn quoted_text(source: &str) -> Option<&str> {
    let source = source.trim_start();
    let quote = source
        .chars()
        .next()
        .filter(|sign| matches!(sign, '\'' | '"'))?;
    source[1..].split_once(quote).map(|(text, _)| text)
}

/// `default` is always exported, and a module's own name for itself is taken.
fn can_be_exported(name: &str) -> bool {
    let begins = |sign: char| sign.is_alphabetic() || sign == '_' || sign == '$';
    let is_name = name.starts_with(begins) && words(name).next() == Some(name);
    is_name && !matches!(name, "default" | MODULE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_module_statements_that_exports_or_requires_is_common_js() {
        for (source, common) in [
            ("module.exports = 1;", true),
            ("(()=>{const a=require(\"k6\");module.exports=a})()", true),
            ("exports.a = 'import b';\nreturn;", true),
            ("import http from 'k6/http';\nexports.a = 1;", false),
            ("const a=require('k6');export{a}", false),
            ("export default () => { require('k6'); }", false),
            ("  import 'k6';\nrequire('k6')", false),
            ("(function (root) { root.a = 1; })(this);", true),
            ("/* exports */ export default 1;", false),
        ] {
            assert_eq!(is_common_js(source), common, "{source}");
        }
    }

    #[test]
    fn names_are_those_that_the_text_assigns_to() {
        let source = "exports.a = exports.b = void 0; exports['c'] = 1; if (exports.d == 2) exports.e === 3;\n\
                      Object.defineProperty(exports, \"f\", { get() {} }); exports.default = 4; exports['not a name'] = 5;";
        assert_eq!(assigned(source), ["a", "b", "c", "f"].into());
        let literal = "module.exports = { a, b: { x: 1, y }, 'c': [1, 2], d(p, q) { return { z } }, ...others, e: f };";
        assert_eq!(assigned(literal), ["a", "b", "c", "d", "e"].into());
    }

    #[test]
    fn names_are_those_that_others_import() {
        let source = "import whole, { a, b as c, default as d } from './lib/common.js';\nimport e from \"../common.js\";\n\
                      export { f } from \"common.js\"; import { g } from './other.js'; import { h } from './uncommon.js.js';";
        assert_eq!(imported("/common.js", source), ["a", "b"].into());
        assert_eq!(imported("common.js", source), ["a", "b", "f"].into());
    }
}
