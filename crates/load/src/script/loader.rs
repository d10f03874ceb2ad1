//! Finds and compiles the modules that a script imports: local files and k6's own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::{Declared, WriteOptions};
use rquickjs::{Ctx, Error, Exception, Function, Module, Result};

use super::common_js;
use super::intrinsics::Needs;
use super::isolate::Isolate;
use super::pruning;
use super::sharing::leaves_built_ins_alone;
use super::sys::load_bytecode;

/// What runs CommonJS files, which import it.
pub(super) const COMMON_JS: &str = "springtide:common-js";

/// Modules that ship with the program: name, source.
const BUILTIN: &[(&str, &str)] = &[
    ("springtide:runtime", include_str!("modules/runtime.js")),
    ("springtide:later", include_str!("modules/later.js")),
    ("springtide:console", include_str!("modules/console.js")),
    (
        "springtide:timer-globals",
        include_str!("modules/timer-globals.js"),
    ),
    ("springtide:globals", include_str!("modules/globals.js")),
    ("springtide:locale", include_str!("modules/locale.js")),
    (COMMON_JS, include_str!("modules/common-js.js")),
    ("springtide:select", include_str!("modules/select.js")),
    ("springtide:text", include_str!("modules/text.js")),
    ("springtide:forms", include_str!("modules/forms.js")),
    ("springtide:answers", include_str!("modules/answers.js")),
    ("springtide:elements", include_str!("modules/elements.js")),
    ("k6", include_str!("modules/k6.js")),
    ("k6/http", include_str!("modules/http.js")),
    ("k6/metrics", include_str!("modules/metrics.js")),
    ("k6/execution", include_str!("modules/execution.js")),
    ("k6/data", include_str!("modules/data.js")),
    ("k6/encoding", include_str!("modules/encoding.js")),
    ("k6/crypto", include_str!("modules/crypto.js")),
    (
        "k6/experimental/webcrypto",
        include_str!("modules/webcrypto.js"),
    ),
    ("k6/timers", include_str!("modules/timers.js")),
    ("k6/experimental/timers", include_str!("modules/timers.js")),
    ("k6/html", include_str!("modules/html.js")),
    ("k6/ws", include_str!("modules/ws.js")),
    ("k6/websockets", include_str!("modules/websockets.js")),
    (
        "k6/experimental/websockets",
        include_str!("modules/websockets.js"),
    ),
];

/// Those that users get without what no script uses.
const PRUNED: &[&str] = &["k6", "k6/http"];

/// Those that set globals which are not each user's own, or change built-in objects: who has them shares no
/// context.
const SEPARATE: &[&str] = &[
    "springtide:globals",
    "springtide:locale",
    COMMON_JS,
    "k6/websockets",
    "k6/experimental/websockets",
];

/// How many users share a context at most, and how many modules they have there: QuickJS looks for a
/// context's modules one by one.
const USERS_TOGETHER: usize = 64;
const MODULES_TOGETHER: usize = 512;

/// Begins the name of a module that each user of a shared context has his own of. QuickJS knows none by
/// such a name, and so asks the loader.
const OWN: &str = "own:";

/// Modules of k6 that are known and not supported.
const UNSUPPORTED: &[&str] = &[
    "k6/browser",
    "k6/experimental/browser",
    "k6/net/grpc",
    "k6/experimental/grpc",
    "k6/experimental/redis",
    "k6/experimental/fs",
    "k6/experimental/csv",
    "k6/experimental/streams",
    "k6/experimental/tracing",
    "k6/secrets",
];

/// The modules of one script, compiled once and loaded by every user.
#[derive(Debug, Default)]
pub(super) struct Modules {
    compiled: Mutex<HashMap<String, Compiled>>,
    /// The script's own by name, as they were read.
    sources: Mutex<BTreeMap<String, String>>,
    /// A module that is in no file: its name and source.
    given: Option<(String, String)>,
    /// Which module imports which, as far as the script was loaded.
    imports: Mutex<BTreeSet<(String, String)>>,
    /// Known once the script was loaded, after which no file is read: how many users may share the
    /// built-in objects of a context.
    users_together: OnceLock<usize>,
}

#[derive(Clone, Debug)]
struct Compiled {
    bytecode: Arc<[u8]>,
    needs: Needs,
    /// True: the file asks for `import.meta`.
    has_meta: bool,
}

/// Resolves and loads for the user whose script runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModuleLoader;

// === impl Modules ===

impl Modules {
    /// Modules of which one is in no file.
    pub(super) fn with(name: String, source: String) -> Self {
        Self {
            given: Some((name, source)),
            ..Self::default()
        }
    }

    /// Says that the script was loaded and nothing new may be imported.
    pub(super) fn complete(&self) {
        let together = self.count_together();
        // From here on it is known what is used of them.
        let mut compiled = self.compiled.lock();
        compiled.retain(|name, _| !PRUNED.contains(&name.as_str()));
        // Nobody else completes them.
        let _ = self.users_together.set(together);
    }

    /// How many users may share a context.
    fn count_together(&self) -> usize {
        let compiled = self.compiled.lock();
        let is_separate = |name: &str| SEPARATE.contains(&name);
        let own: Vec<(&str, &Compiled)> = compiled
            .iter()
            .filter(|(name, _)| !Needs::defines(name))
            .map(|(name, module)| (name.as_str(), module))
            .collect();
        let are_apart = own.iter().any(|(name, _)| is_separate(name))
            || needs_of(&compiled).defining().any(is_separate)
            // QuickJS makes one such object for all modules of a file's name.
            || own.iter().any(|(_, module)| module.has_meta)
            // It resolves imports while it reads a module, which users of a context cannot find by
            // its name before it is read.
            || have_cycle(self.imports.lock().clone());
        let sources = self.sources.lock();
        if are_apart
            || !sources
                .values()
                .all(|source| leaves_built_ins_alone(source))
        {
            return 1;
        }
        (MODULES_TOGETHER / own.len().max(1)).clamp(1, USERS_TOGETHER)
    }

    fn is_complete(&self) -> bool {
        self.users_together.get().is_some()
    }

    /// How many users may share the built-in objects of a context. One as long as nobody knows.
    pub(super) fn users_together(&self) -> usize {
        self.users_together.get().copied().unwrap_or(1)
    }

    /// True if users have own modules in a context that they share with others.
    pub(super) fn users_share(&self) -> bool {
        self.users_together() > 1
    }

    /// The source of a module that ships with the program, for the users of this script.
    fn builtin(&self, name: &str, source: &str) -> String {
        let sources = self.sources.lock();
        let missing = if is_public(name) {
            pruning::missing(name, source, sources.values().map(String::as_str))
        } else {
            String::new()
        };
        if !self.is_complete() || !PRUNED.contains(&name) {
            return source.to_owned() + &missing;
        }
        let named = pruning::named(name, sources.values().map(String::as_str));
        let by_others = BUILTIN
            .iter()
            .flat_map(|(_, other)| pruning::imported(name, other));
        match named {
            None => source.to_owned() + &missing,
            Some(mut named) => {
                named.extend(by_others);
                pruning::pruned(source, &named) + &missing
            }
        }
    }

    /// The modules that define the globals that the script names; all of them until it was loaded,
    /// since nobody knows before.
    pub(super) fn defining_globals(&self) -> impl Iterator<Item = &'static str> {
        let needs = if self.is_complete() {
            needs_of(&self.compiled.lock())
        } else {
            Needs::ALL
        };
        needs.defining()
    }

    /// The module of this name, compiled at the first call.
    pub(super) fn load<'js>(&self, ctx: &Ctx<'js>, name: &str) -> Result<Module<'js, Declared>> {
        let known = self.compiled.lock().get(name).cloned();
        if let Some(compiled) = known {
            compiled.needs.provide(ctx)?;
            let module = load_bytecode(ctx, &compiled.bytecode)?;
            if compiled.has_meta {
                describe(&module, name)?;
            }
            return Ok(module);
        }
        let builtin = BUILTIN.iter().find(|(builtin, _)| *builtin == name);
        let source = match builtin {
            Some((_, source)) => self.builtin(name, source),
            None if self.is_complete() => {
                return Err(Error::new_loading_message(
                    name,
                    "modules are imported in the init code only, the same for every user",
                ));
            }
            None => match &self.given {
                Some((given, source)) if given == name => source.clone(),
                _ => std::fs::read_to_string(name.trim_start_matches("file://"))
                    .map_err(|error| Error::new_loading_message(name, error.to_string()))?,
            },
        };
        let needs = if builtin.is_some() {
            Needs::of_builtin(&source)
        } else {
            // Before it is compiled, which loads what it imports.
            let mut sources = self.sources.lock();
            sources.insert(name.to_owned(), source.clone());
            drop(sources);
            Needs::of_script(&source)
        };
        needs.provide(ctx)?;
        let source = if builtin.is_none() && common_js::is_common_js(&source) {
            self.around_common_js(name, &source)
        } else {
            source
        };
        let has_meta = builtin.is_none() && source.contains("import.meta");
        let module = Module::declare(ctx.clone(), name, source.as_str())?;
        let bytecode = module.write(WriteOptions {
            strip_source: true,
            ..WriteOptions::default()
        })?;
        let compiled = Compiled {
            bytecode: bytecode.into(),
            needs,
            has_meta,
        };
        self.compiled.lock().insert(name.to_owned(), compiled);
        if has_meta {
            describe(&module, name)?;
        }
        Ok(module)
    }

    /// True for a file of the script that is CommonJS.
    fn is_common_js(&self, name: &str) -> bool {
        let sources = self.sources.lock();
        sources
            .get(name)
            .is_some_and(|source| common_js::is_common_js(source))
    }

    /// A line of a file of the script, from 1; none of a CommonJS file, which the engine reads with
    /// something before it.
    pub(super) fn line(&self, name: &str, number: usize) -> Option<String> {
        if self.is_common_js(name) {
            return None;
        }
        let sources = self.sources.lock();
        let line = sources.get(name)?.lines().nth(number.checked_sub(1)?)?;
        Some(line.to_owned())
    }

    /// The module that runs a CommonJS file.
    fn around_common_js(&self, name: &str, source: &str) -> String {
        let file = name.rsplit('/').next().unwrap_or(name);
        let sources = self.sources.lock();
        let by_others = sources
            .values()
            .flat_map(|other| common_js::imported(file, other));
        let exported = common_js::assigned(source)
            .into_iter()
            .chain(by_others)
            .collect();
        common_js::as_module(name, source, &exported)
    }
}

/// What all modules need, but those that define globals.
fn needs_of(compiled: &HashMap<String, Compiled>) -> Needs {
    compiled
        .iter()
        .filter(|(name, _)| !Needs::defines(name))
        .fold(Needs::default(), |needs, (_, module)| {
            needs.and(module.needs)
        })
}

/// True if a module imports itself, by way of others or not.
fn have_cycle(mut imports: BTreeSet<(String, String)>) -> bool {
    loop {
        let importing: BTreeSet<String> = imports.iter().map(|(base, _)| base.clone()).collect();
        let before = imports.len();
        // What imports nothing is in no cycle, and then nor is what imports only that.
        imports.retain(|(_, imported)| importing.contains(imported));
        if imports.len() == before {
            return before > 0;
        }
    }
}

/// Sets what a file finds in its `import.meta`.
fn describe(module: &Module<'_, Declared>, name: &str) -> Result<()> {
    let meta = module.meta()?;
    meta.set("url", name)?;
    let base = name.to_owned();
    let resolve = move |ctx: Ctx<'_>, path: String| {
        location(&base, &path)
            .ok_or_else(|| Exception::throw_message(&ctx, &format!("{path:?} names no file")))
    };
    meta.set("resolve", Function::new(module.ctx().clone(), resolve)?)
}

/// The URL of what a file names by this path.
fn location(base: &str, path: &str) -> Option<String> {
    if !is_path(path) {
        return None;
    }
    let mut whole = PathBuf::new();
    for part in resolve_path(base, path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                whole.pop();
            }
            part => whole.push(part),
        }
    }
    Some(format!("file://{}", whole.display()))
}

/// True for what names a file, relative to another one or not.
fn is_path(name: &str) -> bool {
    ["./", "../", "/", "file://"]
        .iter()
        .any(|start| name.starts_with(start))
}

// === impl ModuleLoader ===

impl Resolver for ModuleLoader {
    fn resolve<'js>(
        &mut self,
        _ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        let host = Isolate::running();
        let by_host = host.as_ref().is_some_and(|host| host.loads_module());
        let found = if name == COMMON_JS || by_host && name.starts_with("springtide:") {
            name.to_owned()
        } else {
            resolve(base, name).map_err(|reason| {
                Error::new_resolving_message(base.to_owned(), name.to_owned(), reason)
            })?
        };
        let Some(host) = host else {
            return Ok(found);
        };
        if host.modules().users_share() {
            return Ok(format!("{OWN}{found}"));
        }
        if !host.modules().is_complete() {
            let import = (base.to_owned(), found.clone());
            host.modules().imports.lock().insert(import);
        }
        Ok(found)
    }
}

impl Loader for ModuleLoader {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        let Some(host) = Isolate::running() else {
            return Err(Error::new_loading_message(name, "no script runs"));
        };
        host.module(ctx, name.strip_prefix(OWN).unwrap_or(name))
    }
}

/// True for a module that scripts may name.
fn is_public(name: &str) -> bool {
    !name.starts_with("springtide:") && BUILTIN.iter().any(|(builtin, _)| *builtin == name)
}

/// The name under which an import is loaded: a built-in's, or a file's `file://` URL.
///
/// # Errors
///
/// Says why there is no such module.
pub(super) fn resolve(base: &str, name: &str) -> std::result::Result<String, String> {
    if is_public(name) || (name.starts_with("springtide:") && !base.starts_with("file://")) {
        return Ok(name.to_owned());
    }
    if UNSUPPORTED.contains(&name) || name == "k6" || name.starts_with("k6/") {
        return Err(format!("the module {name} is not supported"));
    }
    if name.starts_with("http://") || name.starts_with("https://") {
        return Err(
            "remote modules are not fetched; download it and import the local file".to_owned(),
        );
    }
    if !is_path(name) {
        return Err(
            "npm packages are not looked up; bundle it into a local file and import that with ./"
                .to_owned(),
        );
    }
    let path = resolve_path(base, name);
    if path
        .extension()
        .is_some_and(|extension| extension == "ts" || extension == "tsx")
    {
        return Err("TypeScript is not supported; compile it to JavaScript first".to_owned());
    }
    let path = path
        .canonicalize()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(format!("file://{}", path.display()))
}

/// What to say instead where an import fails because a CommonJS file does not show that it has the name.
pub(super) fn lacks_exports(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("Could not find export '")?;
    let (export, rest) = rest.split_once("' in module '")?;
    // The engine cuts long names.
    let (beginning, _) = rest.split_once('\'')?;
    let host = Isolate::running()?;
    let compiled = host.modules().compiled.lock();
    let mut known = compiled.keys().filter(|name| name.starts_with(beginning));
    let name = known.find(|name| host.modules().is_common_js(name))?;
    Some(format!(
        "{name} is a CommonJS file whose text does not tell that it exports {export:?}: import its default, and take {export} of that"
    ))
}

/// A path that is written in the module `base`.
pub(super) fn resolve_path(base: &str, path: &str) -> PathBuf {
    let path = path.trim_start_matches("file://");
    Path::new(base.trim_start_matches("file://"))
        .parent()
        .unwrap_or(Path::new("/"))
        .join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_url_from_another() {
        for (path, url) in [
            ("./x.json", "file:///a/b/x.json"),
            ("../.././x", "file:///x"),
            ("/y", "file:///y"),
            ("file:///z", "file:///z"),
        ] {
            let found = location("file:///a/b/c.js", path);
            assert_eq!(found.as_deref(), Some(url), "{path}");
        }
        assert_eq!(location("file:///a/b/c.js", "k6/http"), None);
    }

    #[test]
    fn modules_that_import_each_other_are_known() {
        let cyclic = |imports: &[(&str, &str)]| {
            let imports = imports.iter();
            have_cycle(imports.map(|(a, b)| ((*a).into(), (*b).into())).collect())
        };
        assert!(!cyclic(&[]));
        assert!(!cyclic(&[("a", "b"), ("a", "c"), ("b", "c"), ("d", "a")]));
        assert!(cyclic(&[("a", "a")]));
        assert!(cyclic(&[("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]));
    }

    #[test]
    fn what_is_not_a_local_file_or_a_known_module_is_refused_by_name() {
        for (name, reason) in [
            (
                "https://jslib.k6.io/k6-utils/1.4.0/index.js",
                "remote modules",
            ),
            ("lodash", "npm"),
            ("k6/browser", "k6/browser is not supported"),
            ("k6/nonsense", "k6/nonsense is not supported"),
            ("springtide:runtime", "npm"),
            ("./missing.js", "missing.js"),
            ("./typed.ts", "TypeScript"),
        ] {
            let error = resolve("file:///tmp/script.js", name).unwrap_err();
            assert!(error.contains(reason), "{name}: {error}");
        }
        assert_eq!(
            resolve("file:///tmp/script.js", "k6/http").unwrap(),
            "k6/http"
        );
        assert!(resolve("k6/http", "springtide:runtime").is_ok());
    }
}
