//! What the runtime module calls, and what is called for every iteration or metric.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring::rand::SecureRandom;
use rquickjs::convert::Coerced;
use rquickjs::function::Rest;
use rquickjs::{Ctx, FromJs, Function, Object, Persistent, Value};

use super::values::{self, Arguments};
use super::{Event, Host, LogLine, Phase, bytes};
use crate::metric::{Metric, MetricKind, Tags, ValueKind};
use crate::script::loader::resolve;
use crate::user::StopReason;

impl Host {
    /// Makes the functions through which the runtime module reaches the host.
    pub(in super::super) fn install(self: &Rc<Self>, ctx: &Ctx<'_>) -> rquickjs::Result<()> {
        let functions = Object::new(ctx.clone())?;
        let host = Rc::clone(self);
        functions.set(
            "sleep",
            hosted(ctx, move |ctx, arguments| {
                let Coerced(seconds) = Coerced::<f64>::from_js(ctx, arguments.any_or_undefined(0))?;
                // NaN and negative times do not wait.
                let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                host.sleep(time).map_err(|_| values::interrupt(ctx))?;
                Ok(Value::new_undefined(ctx.clone()))
            })?,
        )?;
        let host = Rc::clone(self);
        functions.set(
            "check",
            hosted(ctx, move |ctx, arguments| host.check(ctx, arguments))?,
        )?;
        let host = Rc::clone(self);
        functions.set(
            "add",
            hosted(ctx, move |ctx, arguments| {
                host.add_sample(ctx, arguments)?;
                Ok(Value::new_undefined(ctx.clone()))
            })?,
        )?;
        let host = Rc::clone(self);
        functions.set(
            "call",
            hosted(ctx, move |ctx, arguments| {
                let name = arguments.text(0)?;
                host.call(ctx, &name, &arguments.rest(1))
            })?,
        )?;
        let globals = ctx.globals();
        let environment = Object::new(ctx.clone())?;
        for (name, value) in &self.shared.settings.env {
            environment.set(name.as_str(), value.as_str())?;
        }
        globals.set("__ENV", environment)?;
        globals.set("__VU", self.number)?;
        globals.set("__springtide", functions)
    }

    /// Sets `__ITER` and what the scenario adds to `__ENV`.
    pub(in super::super) fn set_globals(&self, ctx: &Ctx<'_>) -> rquickjs::Result<()> {
        let globals = ctx.globals();
        globals.set("__ITER", self.begun.get().saturating_sub(1))?;
        let iteration = self.iteration.borrow();
        let Some(iteration) = &*iteration else {
            return Ok(());
        };
        let scenario = &iteration.scenario;
        let before = self.environment_of.replace(Some(Arc::clone(scenario)));
        if before
            .as_ref()
            .is_some_and(|before| Arc::ptr_eq(before, scenario))
        {
            return Ok(());
        }
        let environment: Object = globals.get("__ENV")?;
        // What the scenario that the user was in before had said holds no longer.
        for name in before.iter().flat_map(|before| before.env.keys()) {
            match self.shared.settings.env.get(name) {
                Some(value) => environment.set(name.as_str(), value.as_str())?,
                None => environment.remove(name.as_str())?,
            }
        }
        for (name, value) in &scenario.env {
            environment.set(name.as_str(), value.as_str())?;
        }
        Ok(())
    }

    pub(super) fn refuse_in_init(&self, ctx: &Ctx<'_>, what: &str) -> rquickjs::Result<()> {
        match self.phase.get() {
            Phase::Init => Err(values::throw(
                ctx,
                &format!("{what} in the init context is not supported"),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn only_in_init(&self, ctx: &Ctx<'_>, what: &str) -> rquickjs::Result<()> {
        match self.phase.get() {
            Phase::Init => Ok(()),
            _ => Err(values::throw(
                ctx,
                &format!("{what} is only available in the init stage (i.e. the global scope)"),
            )),
        }
    }

    /// Everything that is not called for every request.
    fn call<'js>(
        self: &Rc<Self>,
        ctx: &Ctx<'js>,
        name: &str,
        arguments: &Arguments<'_, 'js>,
    ) -> rquickjs::Result<Value<'js>> {
        let nothing = || Ok(Value::new_undefined(ctx.clone()));
        match name {
            // A `catch` takes the end of its iteration for an error; the test must not end for that.
            "abort" | "test.fail" if self.pause.is_interrupted() => Err(values::interrupt(ctx)),
            "log" if self.is_over() => nothing(),
            "dispatch" => {
                let function = arguments.function(0)?;
                *self.dispatch.borrow_mut() = Some(Persistent::save(ctx, function));
                nothing()
            }
            "log" => {
                let level = match arguments.text(0)?.as_str() {
                    "debug" => "debug",
                    "warning" => "warning",
                    "error" => "error",
                    _ => "info",
                };
                self.log(LogLine {
                    level,
                    source: "console",
                    message: &arguments.text(1)?,
                });
                nothing()
            }
            "timer" => {
                self.refuse_in_init(ctx, "setting a timer")?;
                let id: u64 = arguments.whole(0)?;
                let time =
                    Duration::try_from_secs_f64(arguments.number(1)? / 1000.0).unwrap_or_default();
                let host = Rc::downgrade(self);
                self.start(id, async move {
                    tokio::time::sleep(time).await;
                    if let Some(host) = host.upgrade() {
                        host.push(Event::Timer(id));
                    }
                });
                nothing()
            }
            "cancel" => {
                if let Some(handle) = self.handles.borrow_mut().remove(&arguments.whole(0)?) {
                    handle.abort();
                }
                nothing()
            }
            "seed" => {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "any number is as good a seed as another"
                )]
                let seed = (arguments.number(0)? as i64).cast_unsigned();
                *self.random.borrow_mut() = StdRng::seed_from_u64(seed);
                nothing()
            }
            "random" => values::into(ctx, self.random.borrow_mut().random::<f64>()),
            "random.bytes" => {
                let size: usize = arguments.whole(0)?;
                let mut bytes = vec![0; size.min(64 * 1024 * 1024)];
                ring::rand::SystemRandom::new()
                    .fill(&mut bytes)
                    .map_err(|_| values::throw(ctx, "the system gives no random bytes"))?;
                values::buffer(ctx, bytes)
            }
            "resolve" => {
                self.only_in_init(ctx, "the \"require\" function")?;
                let name = arguments.text(0)?;
                let url = resolve(&self.calling_file(ctx), &name).map_err(|reason| {
                    values::throw(ctx, &format!("require({name:?}): {reason}"))
                })?;
                values::into(ctx, url)
            }
            "load" => {
                let name = arguments.text(0)?;
                self.load(ctx, &name).map(Object::into_value)
            }
            "metric" => self.make_metric(ctx, arguments),
            "metric.nan" => {
                let message = arguments.text(1)?;
                if self.effective.options.throw == Some(true) {
                    return Err(values::throw(ctx, &message));
                }
                self.warn(&message);
                values::into(ctx, false)
            }
            _ => match name.split_once('.').map_or(name, |(area, _)| area) {
                "http" | "jar" | "url" => self.call_http(ctx, name, arguments),
                "group" | "execution" | "tags" | "metadata" | "abort" | "test" | "shared"
                | "open" => self.call_execution(ctx, name, arguments),
                "html" => self.call_markup(ctx, name, arguments),
                "socket" => self.call_socket(ctx, name, arguments),
                _ => bytes::call(ctx, name, arguments),
            },
        }
    }

    /// Loads a module: one that ships with the program, or a file.
    fn load<'js>(&self, ctx: &Ctx<'js>, name: &str) -> rquickjs::Result<Object<'js>> {
        self.loads_module.set(true);
        let unhandled = self.unhandled.borrow().len();
        let imported = rquickjs::Module::import(ctx, name);
        self.loads_module.set(false);
        let loaded = imported?.finish();
        if loaded.is_err() {
            // What the module threw is thrown from here; nobody else handles its promises.
            self.unhandled.borrow_mut().truncate(unhandled);
        }
        loaded
    }

    /// A function of a module that ships with the program, which is loaded when the first is asked for.
    pub(super) fn module_function<'js>(
        &self,
        ctx: &Ctx<'js>,
        module: &str,
        name: &'static str,
    ) -> rquickjs::Result<Function<'js>> {
        let known = self.functions.borrow().get(name).cloned();
        if let Some(known) = known {
            return known.restore(ctx);
        }
        let function: Function = self.load(ctx, module)?.get(name)?;
        let kept = Persistent::save(ctx, function.clone());
        self.functions.borrow_mut().insert(name, kept);
        Ok(function)
    }

    fn make_metric<'js>(
        &self,
        ctx: &Ctx<'js>,
        arguments: &Arguments<'_, 'js>,
    ) -> rquickjs::Result<Value<'js>> {
        if self.phase.get() != Phase::Init {
            return Err(values::throw(
                ctx,
                "metrics must be declared in the init context",
            ));
        }
        let kind = match arguments.text(0)?.as_str() {
            "counter" => MetricKind::Counter,
            "gauge" => MetricKind::Gauge,
            "rate" => MetricKind::Rate,
            _ => MetricKind::Trend,
        };
        let contains = if arguments.truth(2) {
            ValueKind::Time
        } else {
            ValueKind::Default
        };
        let metric = self
            .sink
            .registry()
            .register(&arguments.text(1)?, kind, contains)
            .map_err(|error| values::throw(ctx, &error.to_string()))?;
        let mut metrics = self.metrics.borrow_mut();
        metrics.push(metric);
        values::into(ctx, metrics.len() - 1)
    }

    fn add_sample<'js>(
        &self,
        ctx: &Ctx<'js>,
        arguments: &Arguments<'_, 'js>,
    ) -> rquickjs::Result<()> {
        self.refuse_in_init(ctx, "adding a value to a metric")?;
        let index: usize = arguments.whole(0)?;
        let Some(metric) = self.metrics.borrow().get(index).cloned() else {
            return Err(values::throw(ctx, "the metric is of another user"));
        };
        let value = arguments.number(1)?;
        let tags = self.with_tags(ctx, arguments, 2)?;
        self.count(&metric, value, &tags);
        Ok(())
    }

    /// Counts what the script measures, unless its iteration is over.
    pub(super) fn count(&self, metric: &Arc<Metric>, value: f64, tags: &Tags) {
        if !self.is_over() {
            self.measured([(metric, value)], tags);
        }
    }

    /// True once the iteration was cut short, or the script ended the test: what runs then, in `catch`
    /// and `finally`, cleans up and is no part of the results. In k6 a `catch` does not even run.
    fn is_over(&self) -> bool {
        self.pause.is_interrupted() || self.stopped.get()
    }

    /// The present tags with those of an argument that may be there.
    pub(super) fn with_tags<'js>(
        &self,
        ctx: &Ctx<'js>,
        arguments: &Arguments<'_, 'js>,
        index: usize,
    ) -> rquickjs::Result<Tags> {
        let more = match arguments.get(index) {
            Some(tags) => values::tags(ctx, tags)?,
            None => Vec::new(),
        };
        let base = self.tags.borrow().clone();
        if more.is_empty() {
            return Ok(base);
        }
        let more = more
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        Ok(self.shared_tags(base.with_all(more)))
    }

    /// Ends the run, and what runs now.
    pub(super) fn stop(&self, ctx: &Ctx<'_>, reason: StopReason) -> rquickjs::Error {
        let message = match &reason {
            StopReason::Aborted(message) => message.clone(),
            StopReason::Threshold(message) | StopReason::Script(message) => message.clone(),
            StopReason::Interrupted => "interrupted".to_owned(),
        };
        self.stopped.set(true);
        self.shared.settings.run.stop_because(reason);
        values::throw(ctx, &message)
    }
}

/// A JavaScript function that calls the host.
pub(super) fn hosted<'js, F>(ctx: &Ctx<'js>, function: F) -> rquickjs::Result<Function<'js>>
where
    F: Fn(&Ctx<'js>, &Arguments<'_, 'js>) -> rquickjs::Result<Value<'js>> + 'js,
{
    Function::new(
        ctx.clone(),
        move |ctx: Ctx<'js>, arguments: Rest<Value<'js>>| {
            function(&ctx, &Arguments::new(&ctx, &arguments.0))
        },
    )
}
