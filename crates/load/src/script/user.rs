//! One virtual user that runs a script.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use rquickjs::function::Args;
use rquickjs::module::Evaluated;
use rquickjs::{CatchResultExt, Context, Ctx, Function, Module, Object, Persistent, Value};
use tokio::time::Instant;

use super::fiber::Fiber;
use super::host::{Host, Phase, Thrown};
use super::isolate::Isolate;
use super::{LogLine, ScriptError, Shared, common_js, sys};
use crate::metric::SampleSink;
use crate::user::{Iteration, Outcome, VirtualUser};

/// A user that runs a script.
pub struct ScriptUser {
    fiber: Fiber,
    engine: Option<Engine>,
    host: Rc<Host>,
}

/// The script's side. Made, used and dropped on the fiber, whose stack QuickJS measures.
#[derive(Clone)]
struct Engine {
    context: Context,
    exports: Persistent<Object<'static>>,
    /// What `setup` returned, parsed once.
    data: Rc<std::cell::RefCell<Option<Persistent<Value<'static>>>>>,
}

// === impl ScriptUser ===

impl ScriptUser {
    /// Makes a user and runs the script's init code.
    pub(super) async fn new(
        shared: Arc<Shared>,
        number: u64,
        sink: SampleSink,
    ) -> Result<Self, ScriptError> {
        let no_stack = |error| {
            ScriptError::File(format!(
                "virtual user {number}: no memory for its stack: {error}; the system may limit mappings (vm.max_map_count)"
            ))
        };
        let isolate = Isolate::of_thread().map_err(ScriptError::File)?;
        let mut fiber = Fiber::new(Rc::clone(&isolate)).map_err(no_stack)?;
        let host = Rc::new(Host::new(
            Arc::clone(&shared),
            number,
            sink,
            Rc::clone(fiber.pause()),
        ));
        fiber.belongs_to(&host);
        let own = Rc::clone(&host);
        let engine = fiber
            .run(move || Engine::new(&isolate, &shared, &own))
            .await
            .map_err(|thrown| ScriptError::Exception(thrown.to_string()))?;
        fiber.renew_stack().map_err(no_stack)?;
        host.set_phase(Phase::Idle);
        Ok(Self {
            fiber,
            engine: Some(engine),
            host,
        })
    }

    /// Runs a function of the engine's on the fiber.
    async fn on_fiber<T: 'static>(
        &mut self,
        function: impl FnOnce(&Ctx<'_>, &Engine, &Rc<Host>) -> T + 'static,
    ) -> T {
        let Some(engine) = self.engine.clone() else {
            unreachable!("the engine is taken only when the user is dropped");
        };
        let host = Rc::clone(&self.host);
        self.fiber
            .run(move || sys::with_context(&engine.context, |ctx| function(ctx, &engine, &host)))
            .await
    }

    /// The names of exported functions, and the exported options as JSON.
    pub(super) async fn inspect(&mut self) -> Result<(Vec<String>, Option<String>), ScriptError> {
        self.on_fiber(|ctx, engine, _| {
            let inspected = || -> rquickjs::Result<_> {
                let exports = engine.exports.clone().restore(ctx)?;
                let mut functions = Vec::new();
                for name in exports.keys::<String>() {
                    let name = name?;
                    if exports.get::<_, Value>(name.as_str())?.is_function() {
                        functions.push(name);
                    }
                }
                let options: Value = exports.get("options")?;
                let json = match ctx.json_stringify(options)? {
                    Some(json) => Some(json.to_string()?),
                    None => None,
                };
                Ok((functions, json))
            };
            inspected()
                .catch(ctx)
                .map_err(|error| ScriptError::Exception(Thrown::from(error).to_string()))
        })
        .await
    }

    /// Runs `setup` or `teardown`; gives what it returned, as JSON.
    pub(super) async fn stage(
        &mut self,
        name: &'static str,
        phase: Phase,
    ) -> Result<Option<String>, ScriptError> {
        self.host.begin_stage(name, phase);
        let result = self
            .on_fiber(move |ctx, engine, host| {
                let data = if phase == Phase::Teardown {
                    vec![engine.data(ctx, host)?]
                } else {
                    Vec::new()
                };
                let value = engine.call(ctx, host, name, data)?;
                if value.is_undefined() {
                    return Ok(None);
                }
                // As in k6, what is undefined arrives as null.
                let defined: Function = ctx
                    .eval("(_, value) => (value === undefined ? null : value)")
                    .catch(ctx)
                    .map_err(Thrown::from)?;
                let json = ctx
                    .json_stringify_replacer(value, defined)
                    .catch(ctx)
                    .map_err(Thrown::from)?;
                json.map(|json| json.to_string().catch(ctx).map_err(Thrown::from))
                    .transpose()
            })
            .await;
        self.host.end(false);
        match result {
            Ok(json) => Ok(json),
            Err(_) if self.host.stopped() => Err(ScriptError::Stopped),
            Err(thrown) => Err(ScriptError::Exception(thrown.to_string())),
        }
    }

    /// Runs `handleSummary`.
    pub(super) async fn handle_summary(
        &mut self,
        json: String,
    ) -> Result<BTreeMap<String, Vec<u8>>, ScriptError> {
        self.host.begin_stage("handleSummary", Phase::Summary);
        let result = self
            .on_fiber(move |ctx, engine, host| {
                let data = ctx.json_parse(json).catch(ctx).map_err(Thrown::from)?;
                let value = engine.call(ctx, host, "handleSummary", vec![data])?;
                let Some(files) = value.as_object() else {
                    return Err(Thrown::new("handleSummary() must return an object of contents by file name"));
                };
                let mut contents = BTreeMap::new();
                for entry in files.props::<String, Value>() {
                    let (name, value) = entry.catch(ctx).map_err(Thrown::from)?;
                    let bytes = match value.as_string() {
                        Some(text) => text.to_string().catch(ctx).map_err(Thrown::from)?.into_bytes(),
                        None => sys::bytes_of(&value).ok_or_else(|| {
                            Thrown::new(&format!(
                                "handleSummary() must return texts or bytes, and {name:?} is neither"
                            ))
                        })?,
                    };
                    contents.insert(name, bytes);
                }
                Ok(contents)
            })
            .await;
        self.host.end(false);
        result.map_err(|thrown| ScriptError::Exception(thrown.to_string()))
    }
}

impl VirtualUser for ScriptUser {
    async fn iterate(&mut self, iteration: &Iteration) -> Outcome {
        self.host.begin_iteration(iteration);
        let least = self.host.least_iteration_time();
        let exec = iteration.scenario.exec.clone();
        let start = Instant::now();
        let ended = Ended(Rc::clone(&self.host));
        let result = self
            .on_fiber(move |ctx, engine, host| {
                host.set_globals(ctx).catch(ctx).map_err(Thrown::from)?;
                let data = engine.data(ctx, host)?;
                engine.call(ctx, host, &exec, vec![data]).map(|_| ())
            })
            .await;
        let stopped = self.host.stopped();
        let interrupted = matches!(&result, Err(thrown) if thrown.is_interrupt());
        // As in k6, the iteration that ends the run counts.
        if !interrupted {
            self.host.count_iteration(start.elapsed());
        }
        drop(ended);
        match result {
            _ if stopped => Outcome::Stopped,
            Ok(()) => {
                if let Some(least) = least
                    && let Some(rest) = least.checked_sub(start.elapsed())
                {
                    tokio::time::sleep(rest).await;
                }
                Outcome::Completed
            }
            Err(thrown) => {
                if !interrupted {
                    self.host.log(LogLine {
                        level: "error",
                        source: "stacktrace",
                        message: &thrown.to_string(),
                    });
                }
                Outcome::Failed
            }
        }
    }
}

/// Cleans up after an iteration, also one that is dropped half way.
struct Ended(Rc<Host>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end(true);
    }
}

impl Drop for ScriptUser {
    fn drop(&mut self) {
        self.host.end(false);
        self.host.close();
        let engine = self.engine.take();
        self.fiber.run_now(move || drop(engine));
    }
}

// === impl Engine ===

impl Engine {
    fn new(isolate: &Isolate, shared: &Arc<Shared>, host: &Rc<Host>) -> Result<Self, Thrown> {
        let context = isolate
            .context(shared)
            .map_err(|reason| Thrown::new(&reason))?;
        let exports = sys::with_context(&context, |ctx| {
            host.install(ctx).catch(ctx).map_err(Thrown::from)?;
            let run = |name: &str| {
                let loaded = host.module(ctx, name).and_then(Module::eval);
                let (module, evaluated) = loaded.catch(ctx).map_err(Thrown::of_loading)?;
                host.finish(ctx, &evaluated).map_err(Thrown::of_init_code)?;
                Ok::<_, Thrown>(module)
            };
            run("springtide:runtime")?;
            for name in shared.modules.defining_globals() {
                run(name)?;
            }
            let module = run(&shared.entry)?;
            let exports = exports_of(&module).catch(ctx).map_err(Thrown::from)?;
            Ok::<_, Thrown>(Persistent::save(ctx, exports))
        });
        // The host lives as long as the context that calls it, which ends with the thread's last user.
        let exports = exports.inspect_err(|_| host.close())?;
        Ok(Self {
            context,
            exports,
            data: Rc::default(),
        })
    }

    /// Calls an exported function and waits until nothing is left to do.
    fn call<'js>(
        &self,
        ctx: &Ctx<'js>,
        host: &Rc<Host>,
        name: &str,
        arguments: Vec<Value<'js>>,
    ) -> Result<Value<'js>, Thrown> {
        let exports = self
            .exports
            .clone()
            .restore(ctx)
            .catch(ctx)
            .map_err(Thrown::from)?;
        let function: Value = exports.get(name).catch(ctx).map_err(Thrown::from)?;
        let Some(function) = function.into_function() else {
            return Err(Thrown::new(&format!(
                "the script exports no function {name:?}"
            )));
        };
        let value = apply(ctx, &function, arguments)?;
        match value.clone().into_promise() {
            Some(promise) => host.finish(ctx, &promise),
            None => host.run_events(ctx).map(|()| value),
        }
    }

    /// What `setup` returned.
    fn data<'js>(&self, ctx: &Ctx<'js>, host: &Host) -> Result<Value<'js>, Thrown> {
        let known = self.data.borrow().clone();
        let restored = match known {
            Some(value) => value.restore(ctx),
            None => {
                let value = match host.setup_data() {
                    None => Value::new_undefined(ctx.clone()),
                    Some(json) => ctx
                        .json_parse(json.as_bytes().to_vec())
                        .catch(ctx)
                        .map_err(Thrown::from)?,
                };
                *self.data.borrow_mut() = Some(Persistent::save(ctx, value.clone()));
                Ok(value)
            }
        };
        restored.catch(ctx).map_err(Thrown::from)
    }
}

/// What a module exports; all of it, where a CommonJS file's names are known only now.
fn exports_of<'js>(module: &Module<'js, Evaluated>) -> rquickjs::Result<Object<'js>> {
    let namespace = module.namespace()?;
    match namespace.get::<_, Option<Object>>(common_js::MODULE)? {
        Some(common) => common.get("exports"),
        None => Ok(namespace),
    }
}

fn apply<'js>(
    ctx: &Ctx<'js>,
    function: &Function<'js>,
    arguments: Vec<Value<'js>>,
) -> Result<Value<'js>, Thrown> {
    let mut call = Args::new(ctx.clone(), arguments.len());
    call.push_args(arguments)
        .and_then(|()| call.apply(function))
        .catch(ctx)
        .map_err(Thrown::from)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Script, ScriptSettings};
    use super::*;
    use crate::metric::{Collector, MetricRegistry};
    use crate::user::{RunState, UserFactory};

    /// How many contexts four users of a script have.
    async fn contexts_of(source: &str) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script.js");
        std::fs::write(&path, source).unwrap();
        let registry = Arc::new(MetricRegistry::default());
        let collector = Collector::new(Arc::clone(&registry), false);
        let settings = ScriptSettings {
            env: BTreeMap::new(),
            log: Arc::new(|line| panic!("{}", line.message)),
            registry,
            clock: springtide_machinery::clock::Clock::system(),
            run: Arc::new(RunState::default()),
        };
        let script = Script::load(&path, settings).await.unwrap();
        let mut users = Vec::new();
        for number in 1..=4 {
            users.push(script.create(number, collector.sink()).await.unwrap());
        }
        let engines = users.iter().filter_map(|user| user.engine.as_ref());
        let contexts: BTreeSet<_> = engines.map(|engine| engine.context.as_raw()).collect();
        contexts.len()
    }

    #[tokio::test]
    async fn users_share_a_context_where_the_script_leaves_built_in_objects_alone() {
        let plain = "import http from 'k6/http'; export default () => http.get(__ENV.URL);";
        assert_eq!(contexts_of(plain).await, 1);
        for separate in [
            "Array.prototype.last = 1;",
            "globalThis.x = 1;",
            "open('script.js');",
            "import { WebSocket } from 'k6/websockets';",
            "import.meta.mine = 1;",
            "import * as own from './script.js';",
        ] {
            let script = format!("{separate} export default () => 1;");
            assert_eq!(contexts_of(&script).await, 4, "{separate}");
        }
    }
}
