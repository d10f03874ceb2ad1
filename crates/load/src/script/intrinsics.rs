//! Built-in objects and globals that a context gets only when something is loaded that can name them.
//!
//! All of JavaScript's built-in objects take 53 KB a context, half of them for things that few
//! scripts ever mention. A module that names one of these brings its group with it, before its code
//! runs. A script that could come to them without naming them (by `globalThis`, `eval`, an escaped
//! name) gets them all.

use rquickjs::Ctx;
use rquickjs::context::intrinsic::{
    Date, MapSet, Performance, Proxy, RegExp, TypedArrays, WeakRef,
};

use super::source::{without_texts, words};
use super::sys::{add_base64, add_intrinsic};

/// Objects that come together.
struct Group {
    /// One of them; where it is there, so are the others.
    present: &'static str,
    names: &'static [&'static str],
    add: fn(&Ctx<'_>),
}

const GROUPS: [Group; 8] = [
    Group {
        present: "Date",
        names: &["Date"],
        add: add_intrinsic::<Date>,
    },
    Group {
        present: "Map",
        names: &["Map", "Set", "WeakMap", "WeakSet"],
        add: add_intrinsic::<MapSet>,
    },
    Group {
        present: "ArrayBuffer",
        names: &[
            "ArrayBuffer",
            "SharedArrayBuffer",
            "DataView",
            "Atomics",
            "Int8Array",
            "Uint8Array",
            "Uint8ClampedArray",
            "Int16Array",
            "Uint16Array",
            "Int32Array",
            "Uint32Array",
            "BigInt64Array",
            "BigUint64Array",
            "Float16Array",
            "Float32Array",
            "Float64Array",
        ],
        add: add_intrinsic::<TypedArrays>,
    },
    Group {
        present: "WeakRef",
        names: &["WeakRef", "FinalizationRegistry"],
        add: add_intrinsic::<WeakRef>,
    },
    Group {
        present: "Proxy",
        names: &["Proxy"],
        add: add_intrinsic::<Proxy>,
    },
    Group {
        present: "performance",
        names: &["performance"],
        add: add_intrinsic::<Performance>,
    },
    Group {
        present: "atob",
        names: &["atob", "btoa", "DOMException"],
        add: add_base64,
    },
    Group {
        present: "RegExp",
        // Literals are looked for as well.
        names: &["RegExp", "match", "matchAll", "search"],
        add: add_intrinsic::<RegExp>,
    },
];

/// The bit of regular expressions.
const REGULAR_EXPRESSIONS: u16 = 1 << 7;

/// The program's own modules that define globals, and which.
const DEFINING: [(&str, &[&str]); 5] = [
    ("springtide:console", &["console"]),
    (
        "springtide:timer-globals",
        &["setTimeout", "setInterval", "clearTimeout", "clearInterval"],
    ),
    (
        "springtide:globals",
        &[
            "open",
            "crypto",
            "TextEncoder",
            "TextDecoder",
            "queueMicrotask",
        ],
    ),
    ("springtide:common-js", &["require"]),
    (
        "springtide:locale",
        &["localeCompare", "toLocaleString", "toLocaleTimeString"],
    ),
];

/// Names by which a script can come to any other.
const WAYS_TO_ALL: &[&str] = &[
    "globalThis",
    "global",
    "self",
    "window",
    "eval",
    "Function",
    "require",
];

/// What a module needs, one bit for each of [`GROUPS`] and then for each of [`DEFINING`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs(u16);

// === impl Needs ===

impl Needs {
    /// What the program's own modules name.
    pub(super) fn of_builtin(source: &str) -> Self {
        let code = without_texts(source);
        let mut needs = if code.is_none() {
            REGULAR_EXPRESSIONS
        } else {
            0
        };
        for word in words(code.as_deref().unwrap_or(source)) {
            let groups = GROUPS.iter().map(|group| group.names);
            let names = groups.chain(DEFINING.iter().map(|(_, names)| *names));
            for (bit, names) in names.enumerate() {
                if names.contains(&word) {
                    needs |= 1 << bit;
                }
            }
        }
        Self(needs)
    }

    /// What a script can come to.
    pub(super) fn of_script(source: &str) -> Self {
        let to_all = source.contains("\\u")
            || source.contains(".constructor")
            // What is imported later may name anything.
            || source.contains("import(")
            || words(source).any(|word| WAYS_TO_ALL.contains(&word));
        if to_all {
            return Self::ALL;
        }
        Self::of_builtin(source)
    }

    /// All that there is.
    pub(super) const ALL: Self = Self(u16::MAX);

    /// What this one or that one needs.
    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The modules that define the globals among it.
    pub(super) fn defining(self) -> impl Iterator<Item = &'static str> {
        (GROUPS.len()..)
            .zip(DEFINING)
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, (module, _))| module)
    }

    /// True for a module that defines globals.
    pub(super) fn defines(module: &str) -> bool {
        DEFINING.iter().any(|(defining, _)| *defining == module)
    }

    /// Adds to a context the built-in objects that are not there yet.
    ///
    /// # Errors
    ///
    /// The script's global object cannot be read.
    pub(super) fn provide(self, ctx: &Ctx<'_>) -> rquickjs::Result<()> {
        let globals = ctx.globals();
        for (bit, group) in GROUPS.iter().enumerate() {
            if self.0 & (1 << bit) != 0 && !globals.contains_key(group.present)? {
                (group.add)(ctx);
            }
        }
        Ok(())
    }
}

/// Adds what buffers of bytes need, where the script never names them and is given one.
///
/// # Errors
///
/// The script's global object cannot be read.
pub(super) fn provide_buffers(ctx: &Ctx<'_>) -> rquickjs::Result<()> {
    Needs::of_builtin("ArrayBuffer").provide(ctx)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_needs_what_it_names_and_all_that_it_could_come_to() {
        let none = Needs(0);
        for (source, needs) in [
            ("export default () => { http.get(url, {}); }", none),
            ("mapped.map((x) => x); const update = 1;", none),
            ("new Date()", Needs(1)),
            ("x = new Map([[1, new Set()]])", Needs(2)),
            ("new Uint8Array(3)", Needs(4)),
            ("globalThis[name]", Needs::ALL),
            ("await import('k6/ws')", Needs::ALL),
            ("console.log(1)", Needs(1 << GROUPS.len())),
            ("'a'.replace(/a/g, 'b')", Needs(REGULAR_EXPRESSIONS)),
            ("`a/${b / 2}/`", Needs(REGULAR_EXPRESSIONS)),
            ("text.match(pattern)", Needs(REGULAR_EXPRESSIONS)),
            ("socket.on('open', f); // new Date()", none),
            (
                "socket.on('open', f) / 2",
                Needs(REGULAR_EXPRESSIONS | 1 << (GROUPS.len() + 2)),
            ),
            (
                "'http://a/\\'/' // a/b\n/* c/d */ + `e/${{ f: '/' }}/${g}/`",
                none,
            ),
            ("new \\u0044ate()", Needs::ALL),
            ("(() => {}).constructor('return this')", Needs::ALL),
        ] {
            assert_eq!(Needs::of_script(source), needs, "{source}");
        }
    }
}
