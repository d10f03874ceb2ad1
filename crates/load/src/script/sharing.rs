//! Which scripts leave the built-in objects as they are.
//!
//! The built-in objects of a context take half of the memory of a user. Users of a script that changes
//! none of them cannot tell whether others have the same ones, so a few dozen share a context: each
//! has own modules and own globals there, and only what JavaScript itself brings is shared.
//!
//! What a script does to built-in objects is read off its text, and where that does not show, it is
//! taken for one that changes them. A script can reach a built-in object to change it by its global
//! name, or from a value by its prototype or constructor. So names of globals may stand only where they
//! are called or asked for something, and the names of those ways may not be there at all.
//!
//! What this does not see: a property that is set on a method of a value (`[].push.mine = 1`), a
//! function that is handed to the script's own method of an array method's name, and names that are
//! made while the script runs (`'__pro' + 'to__'`, or data with such a name). Users that change
//! built-in objects in these ways change them for their neighbours.

use super::intrinsics::Needs;
use super::source::{ends_line, is_of_word, without_texts, words, words_at};

/// What JavaScript itself brings and a script could change.
const BUILT_IN: &[&str] = &[
    "AggregateError",
    "Array",
    "ArrayBuffer",
    "AsyncDisposableStack",
    "Atomics",
    "BigInt",
    "BigInt64Array",
    "BigUint64Array",
    "Boolean",
    "DOMException",
    "DataView",
    "Date",
    "DisposableStack",
    "Error",
    "EvalError",
    "FinalizationRegistry",
    "Float16Array",
    "Float32Array",
    "Float64Array",
    "Int16Array",
    "Int32Array",
    "Int8Array",
    "InternalError",
    "Iterator",
    "JSON",
    "Map",
    "Math",
    "Number",
    "Object",
    "Promise",
    "Proxy",
    "RangeError",
    "ReferenceError",
    "Reflect",
    "RegExp",
    "Set",
    "SharedArrayBuffer",
    "String",
    "SuppressedError",
    "Symbol",
    "SyntaxError",
    "TypeError",
    "URIError",
    "Uint16Array",
    "Uint32Array",
    "Uint8Array",
    "Uint8ClampedArray",
    "WeakMap",
    "WeakRef",
    "WeakSet",
    "atob",
    "btoa",
    "decodeURI",
    "decodeURIComponent",
    "encodeURI",
    "encodeURIComponent",
    "escape",
    "isFinite",
    "isNaN",
    "parseFloat",
    "parseInt",
    "performance",
    "queueMicrotask",
    "unescape",
];

/// Ways from a value to the built-in objects that it has its properties from, and what changes some.
const WAYS: &[&str] = &[
    "prototype",
    "__proto__",
    "getPrototypeOf",
    "setPrototypeOf",
    "__defineGetter__",
    "__defineSetter__",
    "__lookupGetter__",
    "__lookupSetter__",
    // It sets `Math.random`.
    "randomSeed",
];

/// Those that are no functions, so that nothing can call them.
const NO_FUNCTIONS: &[&str] = &["Atomics", "JSON", "Math", "Reflect", "performance"];

/// Members that are values and cannot be set.
const CONSTANTS: &[&str] = &[
    "BYTES_PER_ELEMENT",
    "E",
    "EPSILON",
    "LN10",
    "LN2",
    "LOG10E",
    "LOG2E",
    "MAX_SAFE_INTEGER",
    "MAX_VALUE",
    "MIN_SAFE_INTEGER",
    "MIN_VALUE",
    "NEGATIVE_INFINITY",
    "PI",
    "POSITIVE_INFINITY",
    "SQRT1_2",
    "SQRT2",
    "asyncIterator",
    "hasInstance",
    "isConcatSpreadable",
    "iterator",
    "species",
    "toPrimitive",
    "toStringTag",
];

/// Methods of arrays that call what they are given and do nothing else with it.
const CALLING: &[&str] = &[
    ".map", ".filter", ".flatMap", ".forEach", ".every", ".some", ".find",
];

/// True if a script's text shows that it changes no built-in object.
pub(super) fn leaves_built_ins_alone(source: &str) -> bool {
    let has_hidden_names = ["\\x", "\\\n", "\\\r"]
        .iter()
        .any(|escape| source.contains(escape));
    if has_hidden_names
        || Needs::of_script(source) == Needs::ALL
        || words(source).any(|word| WAYS.contains(&word))
    {
        return false;
    }
    let code = without_texts(source);
    let has_comments = code.is_none();
    let code = code.as_deref().unwrap_or(source);
    // Code asks a value for it, or a class declares it. As a text it is asked for as well.
    let named = words(source).filter(|word| *word == "constructor").count();
    let declared = words_at(code)
        .filter(|(at, word)| {
            *word == "constructor"
                && code[..*at].trim_end().ends_with(['{', '}', ';'])
                && code[at + word.len()..].trim_start().starts_with('(')
        })
        .count();
    named == declared
        && words_at(code)
            .filter(|(_, word)| BUILT_IN.contains(word))
            .all(|(at, word)| {
                let line = code[..at].rsplit(ends_line).next().unwrap_or_default();
                // Nobody knows whether this is the end of a comment, which says nothing.
                let before = if has_comments && line.contains("//") {
                    ""
                } else {
                    line
                };
                is_used(before.trim_end(), word, &code[at + word.len()..])
            })
}

/// True if a built-in object is called here, or asked for something, and no more. `before` is what
/// stands before it in its line.
fn is_used(before: &str, name: &str, after: &str) -> bool {
    let after = after.trim_start();
    // Something else has a property of this name.
    if before.ends_with('.') && !before.ends_with("...") {
        return true;
    }
    let word_before = before.rsplit(|sign| !is_of_word(sign)).next();
    let is_of_property = word_before.is_some_and(|word| {
        before[..before.len() - word.len()]
            .trim_end()
            .ends_with('.')
    });
    let goes_on = after.starts_with(['.', '[', '?', '`']);
    if matches!(
        word_before,
        Some("instanceof" | "extends" | "new" | "typeof")
    ) && !is_of_property
        && !goes_on
    {
        return true;
    }
    let is_called = |rest: &str| {
        let given_to = before.strip_suffix('(').map(str::trim_end);
        rest.starts_with('(')
            || rest.starts_with(')')
                && given_to.is_some_and(|to| CALLING.iter().any(|method| to.ends_with(method)))
    };
    if !NO_FUNCTIONS.contains(&name) && is_called(after) {
        return true;
    }
    let Some(member) = after.strip_prefix('.').map(str::trim_start) else {
        return false;
    };
    let end = member
        .find(|sign| !is_of_word(sign))
        .unwrap_or(member.len());
    let (member, rest) = member.split_at(end);
    CONSTANTS.contains(&member) || is_called(rest.trim_start())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rquickjs::{Context, Runtime};

    use super::super::isolate::PER_USER;
    use super::*;

    #[test]
    fn a_script_that_calls_and_asks_built_in_objects_leaves_them_alone() {
        for source in [
            "import http from 'k6/http'; export default () => { http.get('http://x/'); };",
            "JSON.stringify({ id: Math.floor(Math.random() * 10) }); new Date().toISOString();",
            "const found = [1, 2].map(String).filter(Boolean).map(Math.round);",
            "if (error instanceof TypeError) throw new Error(`no ${String(error)}`);",
            "class Own extends Error { constructor(text) { super(text); } }",
            "x = Number.MAX_SAFE_INTEGER; for (const [a] of Object.entries(b)) c[Symbol.iterator]();",
            "check(r, { 'JSON is fine, no Error': (r) => r.status === 200 }); // Math.random = x",
            "new Map; typeof performance; response.Date; own?.Map; 1 + Math.PI",
            "const half = parseInt('2') / 2; // one",
            "socket.on('open', () => JSON.stringify({})); // No Error",
            "const half = x / 2;\nconst y = Math.floor(half); // Math.floor(x)",
        ] {
            assert!(leaves_built_ins_alone(source), "{source}");
        }
    }

    #[test]
    fn a_script_that_may_change_built_in_objects_is_known() {
        for source in [
            "Math.random = () => 4;",
            "Math . random = () => 4;",
            "Math/* */.random = 4;",
            "[Math.random] = [() => 4];",
            "delete Math.random;",
            "Object.assign(Math, { random });",
            "const { random } = Math; const own = JSON; own.parse = f;",
            "f(...Math); x = [Array]; y = { Array };",
            "JSON['parse'] = f; JSON?.parse.call(x); Error.stackTraceLimit = 1;",
            "Array.prototype.last = f;",
            "const a = [].__proto__; a.b = 1;",
            "[]['constructor'].from = f;",
            "[].constructor.from = f;",
            "const { constructor } = [];",
            "Object.getPrototypeOf([]).x = 1;",
            "globalThis.x = 1;",
            "`${Math.random = f}`",
            "const half = x / 2; const m = Math;",
            "patch(Number); xs.reduce(Math.max);",
            "import { randomSeed } from 'k6';",
            "JSON = {};",
            "extend(new.target, Error)",
            "String.raw.x = 1",
            "const half = 6 / 2; // Mine.\nMath.random = f;",
            "const half = 6 / 2; /* a\nb. */ Math.random = f;",
            "const half = 6 / 2; // The next is new\nDate = class {};",
            "const half = 6 / 2; // a.map( Math",
            "let x = 1.\nMath.random = f",
            "let z = y.new\nDate = class {}",
            "Symbol.mine ??= 1; ",
            "Math.TAU = 1;",
            "for (Math.FOO of xs);",
            "[]['__pr\\x6fto__'].first = 1;",
            "[]['__pro\\\nto__'].first = 1;",
            "(() => 1)./* */constructor('return this')()",
            "// x\u{2028}Math.random = f",
            "t.map(JSON)",
            "x.new Date",
        ] {
            assert!(!leaves_built_ins_alone(source), "{source}");
        }
    }

    #[test]
    fn all_that_a_context_brings_is_known() {
        let runtime = Runtime::new().unwrap();
        let context = Context::full(&runtime).unwrap();
        let present: Vec<String> =
            context.with(|ctx| ctx.eval("Object.getOwnPropertyNames(globalThis)").unwrap());
        assert!(present.len() > 50, "{present:?}");
        // Those that nobody can change, and those that are ways to all others.
        let others = [
            "globalThis",
            "eval",
            "Function",
            "undefined",
            "NaN",
            "Infinity",
        ];
        let unknown: BTreeSet<&String> = present
            .iter()
            .filter(|name| {
                let name = name.as_str();
                !BUILT_IN.contains(&name) && !others.contains(&name) && !PER_USER.contains(&name)
            })
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
