//! Groups, `k6/execution`, `k6/data`, and files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rquickjs::{Ctx, Object, Result, Value};

use super::super::loader::{COMMON_JS, resolve_path};
use super::values::{self, Arguments};
use super::{Host, LogLine, Phase};
use crate::metric::{Tags, milliseconds};
use crate::user::StopReason;

/// As many calls may lie between a file's own code and `open`.
const DEEPEST_OPEN: isize = 200;

/// The modules of the functions that run, from the innermost on; `None` for one that is in no module.
fn calling_modules(ctx: &Ctx<'_>) -> impl Iterator<Item = Option<String>> {
    (0..DEEPEST_OPEN).map(|level| ctx.script_or_module_name(level)?.to_string().ok())
}

/// What parts the names of groups and checks in summaries stands in none of them.
pub(super) fn refuse_separator(ctx: &Ctx<'_>, name: &str) -> Result<()> {
    if name.contains("::") {
        return Err(values::throw(
            ctx,
            "group and check names may not contain '::'",
        ));
    }
    Ok(())
}

impl Host {
    pub(super) fn call_execution<'js>(
        &self,
        ctx: &Ctx<'js>,
        name: &str,
        arguments: &Arguments<'_, 'js>,
    ) -> Result<Value<'js>> {
        let nothing = || Ok(Value::new_undefined(ctx.clone()));
        if let Some((kind @ ("tags" | "metadata"), verb)) = name.split_once('.') {
            return self.call_labels(ctx, kind, verb, arguments);
        }
        match name {
            "group.enter" => {
                self.refuse_in_init(ctx, "using group()")?;
                let name = arguments.text(0)?;
                refuse_separator(ctx, &name)?;
                let before = self.group.borrow().clone();
                self.set_group(&format!("{before}::{name}"));
                let state = Object::new(ctx.clone())?;
                state.set("group", before)?;
                state.set("start", self.now_ms())?;
                Ok(state.into_value())
            }
            "group.leave" => {
                let Some(state) = arguments.get(0).and_then(Value::as_object) else {
                    return nothing();
                };
                let took: f64 = self.now_ms() - state.get::<_, f64>("start")?;
                let metric = &self.sink.registry().builtin().group_duration;
                self.count(metric, took, &self.tags.borrow());
                self.set_group(&state.get::<_, String>("group")?);
                nothing()
            }
            "execution" => self.execution(ctx, &arguments.text(0)?),
            "abort" => {
                self.refuse_in_init(ctx, "test.abort()")?;
                Err(self.stop(ctx, StopReason::Aborted(arguments.text(0)?)))
            }
            "test.fail" => {
                let reason = arguments.text(0)?;
                self.log(LogLine::error(&format!("test marked as failed: {reason}")));
                self.shared.settings.run.mark_failed(reason);
                nothing()
            }
            "shared.length" => match self.shared.arrays.lock().get(&arguments.text(0)?) {
                Some(array) => values::into(ctx, array.len()),
                None => {
                    self.only_in_init(
                        ctx,
                        "new SharedArray must be called in the init context: it",
                    )?;
                    nothing()
                }
            },
            "shared.make" => {
                let elements = arguments
                    .get(1)
                    .and_then(Value::as_array)
                    .ok_or_else(|| values::throw(ctx, "only arrays can be made into SharedArray"))?
                    .iter::<String>()
                    .collect::<Result<Arc<[String]>>>()?;
                let length = elements.len();
                self.shared
                    .arrays
                    .lock()
                    .insert(arguments.text(0)?, elements);
                values::into(ctx, length)
            }
            "shared.get" => {
                let array = self.shared.arrays.lock().get(&arguments.text(0)?).cloned();
                match array
                    .as_ref()
                    .and_then(|array| array.get(arguments.whole::<usize>(1).ok()?))
                {
                    Some(element) => values::into(ctx, element.as_str()),
                    None => nothing(),
                }
            }
            "open" => self.open(ctx, &arguments.text(0)?, arguments.truth(1)),
            other => Err(values::throw(
                ctx,
                &format!("{other} is no call of the host"),
            )),
        }
    }

    /// Reads and changes the tags of samples, or their metadata.
    fn call_labels<'js>(
        &self,
        ctx: &Ctx<'js>,
        kind: &str,
        verb: &str,
        arguments: &Arguments<'_, 'js>,
    ) -> Result<Value<'js>> {
        let labels = match kind {
            "metadata" => self.metadata.borrow().clone().unwrap_or_default(),
            _ => self.tags.borrow().clone(),
        };
        let set = |labels: Tags| match kind {
            "metadata" => *self.metadata.borrow_mut() = Some(labels),
            _ => self.set_tags(labels),
        };
        match verb {
            "all" => {
                let all = Object::new(ctx.clone())?;
                for (name, value) in labels.iter() {
                    all.set(name, value)?;
                }
                return Ok(all.into_value());
            }
            "get" => {
                if let Some(value) = labels.get(&arguments.text(0)?) {
                    return values::into(ctx, value);
                }
            }
            "delete" => {
                let name = arguments.text(0)?;
                set(labels.iter().filter(|(key, _)| *key != name).collect());
            }
            _ => {
                let name = arguments.text(0)?;
                let is_text =
                    |value: &&Value| value.is_string() || value.is_number() || value.is_bool();
                if arguments.get(1).filter(is_text).is_none() {
                    let (one, all) = match kind {
                        "metadata" => ("metadata", "a metric metadata value"),
                        _ => ("tag", "a metric tag values"),
                    };
                    let message = format!(
                        "invalid value for metric {one} '{name}': only String, Boolean and Number types are accepted as {all}"
                    );
                    return Err(rquickjs::Exception::throw_type(ctx, &message));
                }
                set(labels.with(name, arguments.text(1)?));
            }
        }
        Ok(Value::new_undefined(ctx.clone()))
    }

    fn now_ms(&self) -> f64 {
        milliseconds(self.shared.settings.run.started.elapsed())
    }

    pub(super) fn set_group(&self, group: &str) {
        group.clone_into(&mut self.group.borrow_mut());
        if self.effective.has_system_tag("group") {
            let base = self.tags.borrow().clone();
            let tags = self.built_tags(&base, "group", &[group], |base, parts| {
                base.with("group", parts[0])
            });
            self.set_tags(tags);
        }
    }

    /// The file whose code calls the host right now, as `file://` URL.
    pub(super) fn calling_file(&self, ctx: &Ctx<'_>) -> String {
        calling_modules(ctx)
            .take(8)
            .flatten()
            .find(|name| name.starts_with("file://"))
            .unwrap_or_else(|| self.shared.entry.clone())
    }

    /// The file that a relative path given to `open` stands in: as in k6 not the one with the call,
    /// but the one whose own code runs, be it the script's or that of a file which is required.
    fn opening_file(&self, ctx: &Ctx<'_>) -> String {
        let mut file = None;
        for name in calling_modules(ctx).flatten() {
            if name.starts_with("file://") {
                file = Some(name);
            } else if name == COMMON_JS && file.is_some() {
                break;
            }
        }
        file.unwrap_or_else(|| self.shared.entry.clone())
    }

    /// Reads a file. Every user gets what the first one got.
    fn open<'js>(&self, ctx: &Ctx<'js>, path: &str, binary: bool) -> Result<Value<'js>> {
        self.only_in_init(ctx, "the \"open\" function")?;
        if path.is_empty() {
            return Err(values::throw(
                ctx,
                "open() can't be used with an empty filename",
            ));
        }
        let path = resolve_path(&self.opening_file(ctx), path)
            .display()
            .to_string();
        let known = self.shared.files.lock().get(&path).cloned();
        let contents = match known {
            Some(contents) => contents,
            None => {
                let contents: Arc<[u8]> = std::fs::read(&path)
                    .map_err(|error| values::throw(ctx, &format!("open {path}: {error}")))?
                    .into();
                self.shared.files.lock().insert(path, Arc::clone(&contents));
                contents
            }
        };
        if binary {
            values::buffer(ctx, contents.to_vec())
        } else {
            values::into(ctx, String::from_utf8_lossy(&contents).into_owned())
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "counts and times are far below 2^52"
    )]
    fn execution<'js>(&self, ctx: &Ctx<'js>, name: &str) -> Result<Value<'js>> {
        if name.starts_with("vu.") {
            self.refuse_in_init(ctx, "getting VU information")?;
        }
        if name.starts_with("instance.") {
            self.refuse_in_init(ctx, "getting instance information")?;
        }
        let run = &self.shared.settings.run;
        let load = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed) as f64;
        let iteration = self.iteration.borrow();
        let running = iteration
            .as_ref()
            .filter(|_| self.phase.get() == Phase::Iteration);
        let outside = || {
            values::throw(
                ctx,
                "getting scenario information outside of the VU context is not supported",
            )
        };
        let number = match name {
            "vu.idInInstance" | "vu.idInTest" => self.number as f64,
            "vu.iterationInInstance" => self.begun.get().saturating_sub(1) as f64,
            "vu.iterationInScenario" => {
                let running = running.ok_or_else(outside)?;
                let begun = self.begun_in_scenario.borrow();
                begun
                    .get(&running.scenario.name)
                    .map_or(0, |begun| begun.saturating_sub(1)) as f64
            }
            "scenario.name" => {
                return values::into(ctx, &*running.ok_or_else(outside)?.scenario.name);
            }
            "scenario.executor" => {
                return values::into(ctx, running.ok_or_else(outside)?.scenario.executor);
            }
            "scenario.startTime" => running
                .ok_or_else(outside)?
                .scenario
                .started
                .get()
                .map_or(0.0, |(_, wall)| wall.as_millisecond() as f64),
            "scenario.progress" => (running.ok_or_else(outside)?.scenario.progress)(),
            "scenario.iterationInInstance" | "scenario.iterationInTest" => {
                running.ok_or_else(outside)?.number as f64
            }
            "instance.iterationsInterrupted" => load(&run.iterations_interrupted),
            "instance.iterationsCompleted" => load(&run.iterations_completed),
            "instance.vusActive" => load(&run.vus_active),
            "instance.vusInitialized" => load(&run.vus_initialized),
            "instance.currentTestRunDuration" => self.now_ms(),
            "test.options" => {
                let shown = self
                    .effective
                    .shown_options()
                    .map_err(|error| values::throw(ctx, &error.to_string()))?;
                return values::into(ctx, shown.to_string());
            }
            other => return Err(values::throw(ctx, &format!("{other} is not known"))),
        };
        values::into(ctx, number)
    }
}
