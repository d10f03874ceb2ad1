//! What scripts can call.

mod bytes;
mod calls;
mod checks;
mod effective;
mod execution;
mod http;
mod markup;
mod options;
mod socket;
mod tag_sets;
mod thrown;
mod values;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::future::{AbortHandle, LocalBoxFuture, abortable};
use futures::stream::{FuturesUnordered, Stream};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rquickjs::function::Args as CallArgs;
use rquickjs::module::Declared;
use rquickjs::promise::PromiseState;
use rquickjs::{CatchResultExt, CaughtError, Ctx, Function, Module, Persistent, Promise, Value};

pub(super) use self::effective::Effective;
pub(super) use self::http::Records;
use self::http::{HttpState, Outcome as HttpOutcome};
use self::markup::Pages;
use self::socket::SocketEvent;
use self::thrown::IN_PROMISE;
pub(super) use self::thrown::Thrown;
use super::fiber::{Interrupted, Pause};
use super::loader::Modules;
use super::sys::KeptModule;
use super::{LogLine, Shared};
use crate::http::Client;
use crate::metric::{Metric, SampleSink, Tags, milliseconds};
use crate::user::{Iteration, ScenarioState};

/// From this length on a sleep is worth what it takes to give the stack's pages back and get new ones.
const LONG: Duration = Duration::from_millis(100);

/// What the script is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its init code.
    Init,
    /// Nothing.
    Idle,
    /// `setup`.
    Setup,
    /// An iteration.
    Iteration,
    /// `teardown`.
    Teardown,
    /// `handleSummary`.
    Summary,
}

/// What one user's script stands on.
pub(super) struct Host {
    shared: Arc<Shared>,
    effective: Arc<Effective>,
    pause: Rc<Pause>,
    /// The user's number, from 1; 0 for those that run no iterations.
    number: u64,
    sink: SampleSink,
    client: Client,
    phase: Cell<Phase>,
    stopped: Cell<bool>,
    iteration: RefCell<Option<Iteration>>,
    /// The scenario whose entries are in `__ENV`.
    environment_of: RefCell<Option<Arc<ScenarioState>>>,
    /// Iterations that this user has begun.
    begun: Cell<u64>,
    /// Iterations that this user has begun, by scenario.
    begun_in_scenario: RefCell<BTreeMap<Arc<str>, u64>>,
    /// Tags of samples now.
    tags: RefCell<Tags>,
    /// What samples carry besides, if anything.
    metadata: RefCell<Option<Tags>>,
    group: RefCell<String>,
    /// Metrics that the script made, by the number it knows them under.
    metrics: RefCell<Vec<Arc<Metric>>>,
    http: RefCell<HttpState>,
    pages: RefCell<Pages>,
    sockets: RefCell<HashMap<u64, socket::Outbox>>,
    random: RefCell<StdRng>,
    /// What was started and has not ended, and how to end it.
    operations: RefCell<FuturesUnordered<LocalBoxFuture<'static, ()>>>,
    handles: RefCell<HashMap<u64, AbortHandle>>,
    events: RefCell<VecDeque<Event>>,
    dispatch: RefCell<Option<Persistent<Function<'static>>>>,
    /// Functions of the program's own modules, by name.
    functions: RefCell<HashMap<&'static str, Persistent<Function<'static>>>>,
    /// What answers are objects of, once there was one.
    records: OnceCell<Rc<Records>>,
    /// Reasons of rejected promises that nobody handles.
    unhandled: RefCell<Vec<String>>,
    /// True while the host itself loads a module.
    loads_module: Cell<bool>,
    /// The user's own modules, by name, where others are in the same context.
    own_modules: RefCell<Vec<(Box<str>, Persistent<KeptModule<'static>>)>>,
    /// The user's own globals, where others are in the same context.
    own_globals: RefCell<Vec<(&'static str, Persistent<Value<'static>>)>>,
}

/// What happened to something that was started.
enum Event {
    Timer(u64),
    Http(u64, Box<HttpOutcome>),
    Socket(u64, SocketEvent),
}

// === impl Host ===

impl Host {
    pub(super) fn new(
        shared: Arc<Shared>,
        number: u64,
        sink: SampleSink,
        pause: Rc<Pause>,
    ) -> Self {
        let effective = Arc::clone(&shared.effective.read());
        let client = Client::new(Arc::clone(&effective.http));
        let tags = effective.tags.clone();
        Self {
            shared,
            effective,
            pause,
            number,
            sink,
            client,
            phase: Cell::new(Phase::Init),
            stopped: Cell::new(false),
            iteration: RefCell::default(),
            environment_of: RefCell::default(),
            begun: Cell::new(0),
            begun_in_scenario: RefCell::default(),
            tags: RefCell::new(tags),
            metadata: RefCell::default(),
            group: RefCell::default(),
            metrics: RefCell::default(),
            http: RefCell::default(),
            pages: RefCell::default(),
            sockets: RefCell::default(),
            random: RefCell::new(StdRng::from_os_rng()),
            operations: RefCell::default(),
            handles: RefCell::default(),
            events: RefCell::default(),
            dispatch: RefCell::default(),
            functions: RefCell::default(),
            records: OnceCell::new(),
            unhandled: RefCell::default(),
            loads_module: Cell::new(false),
            own_modules: RefCell::default(),
            own_globals: RefCell::default(),
        }
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.set(phase);
    }

    pub(super) fn begin_stage(&self, name: &str, phase: Phase) {
        self.phase.set(phase);
        self.number_iteration(0);
        let group = format!("::{name}");
        let tag = self.effective.system_tag("group", &group);
        self.set_tags(self.effective.tags.with_all(tag));
        *self.group.borrow_mut() = group;
    }

    pub(super) fn begin_iteration(&self, iteration: &Iteration) {
        self.phase.set(Phase::Iteration);
        self.stopped.set(false);
        self.number_iteration(self.begun.get());
        self.begun.set(self.begun.get() + 1);
        let scenario = &iteration.scenario;
        let changed = self
            .iteration
            .borrow()
            .as_ref()
            .is_none_or(|last| !Arc::ptr_eq(&last.scenario, scenario));
        if changed {
            self.group.borrow_mut().clear();
            self.enter_scenario(scenario);
        } else if !self.group.borrow().is_empty() {
            self.set_group("");
        }
        *self
            .begun_in_scenario
            .borrow_mut()
            .entry(Arc::clone(&scenario.name))
            .or_default() += 1;
        *self.iteration.borrow_mut() = Some(iteration.clone());
    }

    /// Tells samples of which user and iteration they are, where that is wanted. k6 has it that a tag
    /// which is another in every iteration is no tag.
    fn number_iteration(&self, iteration: u64) {
        let user = Some(self.number).filter(|number| *number > 0);
        for (name, number) in [("vu", user), ("iter", Some(iteration))] {
            if let Some(number) = number
                && self.effective.has_system_tag(name)
            {
                let metadata = self.metadata.take().unwrap_or_default();
                let number = number.to_string();
                self.metadata.replace(Some(metadata.with(name, number)));
            }
        }
    }

    /// Takes what was measured just now.
    fn measured<'metric>(
        &self,
        values: impl IntoIterator<Item = (&'metric Arc<Metric>, f64)>,
        tags: &Tags,
    ) {
        let now = self.shared.settings.clock.now();
        let metadata = self.metadata.borrow();
        self.sink.add_all_with(values, tags, metadata.as_ref(), now);
    }

    /// Begins with the tags of a scenario. What the script adds to them stays while its user is in
    /// that scenario.
    fn enter_scenario(&self, scenario: &ScenarioState) {
        self.set_tags(
            self.effective
                .tags
                .with_all(self.effective.system_tag("scenario", &scenario.name))
                .with_all(self.effective.system_tag("group", ""))
                .with_all(
                    scenario
                        .tags
                        .iter()
                        // The system's own are above, where they are wanted.
                        .filter(|(name, _)| !matches!(*name, "scenario" | "group"))
                        .map(|(name, value)| (Arc::from(name), Arc::from(value))),
                ),
        );
    }

    /// Ends what is still under way. Called also where an iteration was dropped.
    pub(super) fn end(&self, samples: bool) {
        self.operations.borrow_mut().clear();
        self.handles.borrow_mut().clear();
        self.sockets.borrow_mut().clear();
        self.events.borrow_mut().clear();
        self.unhandled.borrow_mut().clear();
        self.pages.borrow_mut().clear();
        if self.phase.get() == Phase::Iteration {
            if self.effective.options.no_vu_connection_reuse == Some(true) {
                self.client.close_idle();
            }
            if self.effective.options.no_cookies_reset != Some(true) {
                self.http.borrow_mut().reset_cookies();
            }
        }
        let (sent, received) = self.client.take_bytes();
        if samples || sent + received > 0 {
            self.count_bytes(sent, received);
        }
        self.phase.set(Phase::Idle);
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes are far below 2^52")]
    fn count_bytes(&self, sent: u64, received: u64) {
        let metrics = self.sink.registry().builtin();
        self.measured(
            [
                (&metrics.data_sent, sent as f64),
                (&metrics.data_received, received as f64),
            ],
            &self.tags.borrow(),
        );
    }

    /// Counts an iteration that came to its end.
    pub(super) fn count_iteration(&self, took: Duration) {
        let metrics = self.sink.registry().builtin();
        self.measured(
            [
                (&metrics.iteration_duration, milliseconds(took)),
                (&metrics.iterations, 1.0),
            ],
            &self.tags.borrow(),
        );
    }

    pub(super) fn least_iteration_time(&self) -> Option<Duration> {
        self.effective
            .options
            .min_iteration_duration
            .map(|span| span.0)
    }

    /// True if the script asked for the end of the run in what ran last.
    pub(super) fn stopped(&self) -> bool {
        self.stopped.get()
    }

    pub(super) fn setup_data(&self) -> Option<Arc<str>> {
        self.shared.setup_data.lock().clone()
    }

    /// Lets go of connections, and of values, which must not outlive the runtime.
    pub(super) fn close(&self) {
        self.client.close_idle();
        self.dispatch.borrow_mut().take();
        self.functions.borrow_mut().clear();
        self.own_modules.borrow_mut().clear();
        self.own_globals.borrow_mut().clear();
    }

    /// The user's module of this name, loaded where it is not yet.
    pub(super) fn module<'js>(
        &self,
        ctx: &Ctx<'js>,
        name: &str,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        if !self.modules().users_share() {
            return self.modules().load(ctx, name);
        }
        let own = self.own_modules.borrow();
        let known = own.iter().find(|(known, _)| **known == *name);
        if let Some((_, module)) = known {
            return module.clone().restore(ctx).map(|KeptModule(module)| module);
        }
        drop(own);
        let module = self.modules().load(ctx, name)?;
        let kept = Persistent::save(ctx, KeptModule(module.clone()));
        self.own_modules.borrow_mut().push((name.into(), kept));
        Ok(module)
    }

    /// The user's global of this name.
    pub(super) fn global<'js>(&self, ctx: &Ctx<'js>, name: &str) -> rquickjs::Result<Value<'js>> {
        let own = self.own_globals.borrow();
        match own.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => value.clone().restore(ctx),
            None => Ok(Value::new_undefined(ctx.clone())),
        }
    }

    /// Sets the user's global of this name.
    pub(super) fn set_global<'js>(&self, ctx: &Ctx<'js>, name: &'static str, value: Value<'js>) {
        let kept = Persistent::save(ctx, value);
        let mut own = self.own_globals.borrow_mut();
        match own.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = kept,
            None => own.push((name, kept)),
        }
    }

    /// True while the host itself loads a module: it may name those that scripts may not.
    pub(super) fn loads_module(&self) -> bool {
        self.loads_module.get()
    }

    /// The modules of the script.
    pub(super) fn modules(&self) -> &Modules {
        &self.shared.modules
    }

    pub(super) fn log(&self, line: LogLine<'_>) {
        (self.shared.settings.log)(line);
    }

    fn warn(&self, message: &str) {
        self.log(LogLine::warning(message));
    }

    fn set_tags(&self, tags: Tags) {
        let tags = self.shared_tags(tags);
        *self.tags.borrow_mut() = tags;
    }

    /// The set of tags that all users share, of those that equal this one.
    fn shared_tags(&self, tags: Tags) -> Tags {
        if tags.address() == self.tags.borrow().address() {
            return tags;
        }
        self.effective.tag_sets.lock().shared(tags)
    }

    /// Tags made of others and of `parts`, as `build` does it.
    fn built_tags(
        &self,
        base: &Tags,
        kind: &'static str,
        parts: &[&str],
        build: impl FnOnce(&Tags, &[&str]) -> Tags,
    ) -> Tags {
        let mut sets = self.effective.tag_sets.lock();
        sets.built(base, kind, parts, build)
    }

    /// Waits on the fiber, and lets what was started go on meanwhile.
    fn wait<F>(self: &Rc<Self>, future: F) -> Result<F::Output, Interrupted>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.pause.wait(self.beside_operations(future))
    }

    /// Lets the script sleep.
    fn sleep(self: &Rc<Self>, time: Duration) -> Result<(), Interrupted> {
        let sleep = self.beside_operations(tokio::time::sleep(time));
        if time >= LONG {
            self.pause.rest(sleep)
        } else {
            self.pause.wait(sleep)
        }
    }

    /// Lets what was started go on while a future is waited for.
    fn beside_operations<F: Future>(
        self: &Rc<Self>,
        future: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let host = Rc::clone(self);
        async move {
            let mut future = pin!(future);
            poll_fn(|context| {
                host.poll_operations(context);
                future.as_mut().poll(context)
            })
            .await
        }
    }

    fn poll_operations(&self, context: &mut std::task::Context<'_>) {
        let mut operations = self.operations.borrow_mut();
        while let Poll::Ready(Some(())) = std::pin::Pin::new(&mut *operations).poll_next(context) {}
    }

    /// Lets other users of this thread run, where a script computes for long. True: it is to end.
    pub(super) fn tick(self: &Rc<Self>) -> bool {
        self.pause.is_interrupted() || self.wait(tokio::task::yield_now()).is_err()
    }

    /// Starts something that ends later.
    fn start(self: &Rc<Self>, id: u64, operation: impl Future<Output = ()> + 'static) {
        let (operation, handle) = abortable(operation);
        self.handles.borrow_mut().insert(id, handle);
        let host = Rc::downgrade(self);
        self.operations.borrow_mut().push(Box::pin(async move {
            // An operation that was cancelled has nothing to say.
            let _ = operation.await;
            if let Some(host) = host.upgrade() {
                host.handles.borrow_mut().remove(&id);
            }
        }));
    }

    fn push(&self, event: Event) {
        self.events.borrow_mut().push_back(event);
    }

    /// Notes a rejected promise, or that it was handled after all.
    pub(super) fn rejected(&self, ctx: &Ctx<'_>, reason: &Value<'_>, handled: bool) {
        let mut unhandled = self.unhandled.borrow_mut();
        if handled {
            unhandled.pop();
            return;
        }
        let text = match reason.clone().into_exception() {
            Some(exception) => Thrown::from(CaughtError::Exception(exception)).text,
            None => values::shown(reason),
        };
        let _ = ctx;
        unhandled.push(text);
    }

    /// Runs promise jobs and events until nothing is left to do.
    pub(super) fn run_events(self: &Rc<Self>, ctx: &Ctx<'_>) -> Result<(), Thrown> {
        loop {
            while ctx.execute_pending_job() {
                if self.pause.is_interrupted() {
                    return Err(Thrown::interrupted());
                }
            }
            if let Some(reason) = self.unhandled.borrow_mut().pop() {
                return Err(Thrown::new(&format!("{IN_PROMISE}{reason}")));
            }
            let event = self.events.borrow_mut().pop_front();
            if let Some(event) = event {
                self.dispatch(ctx, event)?;
                continue;
            }
            if self.operations.borrow().is_empty() {
                return Ok(());
            }
            let host = Rc::clone(self);
            let waited = self.wait(poll_fn(move |_| {
                if host.events.borrow().is_empty() && !host.operations.borrow().is_empty() {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            }));
            if waited.is_err() {
                return Err(Thrown::interrupted());
            }
        }
    }

    /// Runs until nothing is left to do, then gives what a promise became.
    pub(super) fn finish<'js>(
        self: &Rc<Self>,
        ctx: &Ctx<'js>,
        promise: &Promise<'js>,
    ) -> Result<Value<'js>, Thrown> {
        let events = self.run_events(ctx);
        match promise.state() {
            PromiseState::Resolved | PromiseState::Rejected => {
                let result = match promise.result::<Value>() {
                    Some(result) => result.catch(ctx).map_err(Thrown::from),
                    None => Ok(Value::new_undefined(ctx.clone())),
                };
                match (result, events) {
                    (Err(thrown), _) if thrown.interrupt => Err(thrown),
                    (Err(thrown), _) => Err(Thrown::new(&format!("{IN_PROMISE}{thrown}"))),
                    (Ok(_), Err(thrown)) => Err(thrown),
                    (Ok(value), Ok(())) => Ok(value),
                }
            }
            // Nothing will ever resolve it; k6 ends the iteration there as well.
            PromiseState::Pending => events.map(|()| Value::new_undefined(ctx.clone())),
        }
    }

    fn dispatch(self: &Rc<Self>, ctx: &Ctx<'_>, event: Event) -> Result<(), Thrown> {
        let Some(dispatch) = self.dispatch.borrow().clone() else {
            return Ok(());
        };
        let send = || -> rquickjs::Result<()> {
            let dispatch = dispatch.restore(ctx)?;
            let mut call = CallArgs::new_unsized(ctx.clone());
            match event {
                Event::Timer(id) => {
                    call.push_arg(id)?;
                    call.push_arg(true)?;
                }
                Event::Http(id, outcome) => {
                    call.push_arg(id)?;
                    call.push_arg(true)?;
                    match self.response(ctx, *outcome) {
                        Ok(response) => {
                            call.push_arg(false)?;
                            call.push_arg(response)?;
                        }
                        Err(error) if error.is_exception() => {
                            call.push_arg(true)?;
                            call.push_arg(ctx.catch())?;
                        }
                        Err(error) => return Err(error),
                    }
                }
                Event::Socket(id, event) => {
                    call.push_arg(id)?;
                    event.push(ctx, &mut call)?;
                }
            }
            call.apply::<Value>(&dispatch).map(|_| ())
        };
        send().catch(ctx).map_err(Thrown::from)
    }
}
