//! The JavaScript engine of a thread.
//!
//! All users of a thread have their scripts in one QuickJS runtime. What is the same for all (names,
//! shapes of objects, pages of small blocks) is there once. A runtime of its own would cost a user
//! 110 KB more, and a context alone keeps users from touching each other's values just as well.
//!
//! Each user has own modules and own globals. Built-in objects are a context's, and take 30 KB: where
//! the script leaves them alone ([`super::sharing`]), some users are in a context together, and the
//! globals that this program defines are those of the user whose script runs. All others have a
//! context of their own.
//!
//! Their stacks take turns in it: see [`super::sys::Machine`].

use std::cell::{OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::{Arc, Weak as ArcWeak};

use rquickjs::context::intrinsic::{Eval, Json, Promise};
use rquickjs::object::Accessor;
use rquickjs::{CatchResultExt, Context, Ctx, Error, Exception, Runtime, Value};

use super::Shared;
use super::fiber::SCRIPT_STACK_SIZE;
use super::host::{Host, Records};
use super::loader::ModuleLoader;
use super::sys::{Frames, Machine, with_context};

thread_local! {
    static OF_THREAD: RefCell<Weak<Isolate>> = RefCell::default();
}

/// Globals that are not JavaScript's own: each user has his.
pub(super) const PER_USER: &[&str] = &[
    "__ENV",
    "__VU",
    "__ITER",
    "console",
    "setTimeout",
    "setInterval",
    "clearTimeout",
    "clearInterval",
];

/// A context that users of a script share.
struct SharedContext {
    script: ArcWeak<Shared>,
    context: Context,
    /// How many more users it takes.
    room: usize,
}

/// The JavaScript engine of a thread. It ends with the last user.
pub(super) struct Isolate {
    machine: Machine,
    /// Whose script runs right now.
    running: RefCell<Option<Rc<Host>>>,
    /// All contexts. A job in a queue names one without holding it, so they end with the runtime.
    contexts: RefCell<Vec<Context>>,
    /// Where the next user goes who may share a context.
    with_room: RefCell<Option<SharedContext>>,
    /// What answers are objects of, once a script has loaded the module that knows them.
    records: OnceCell<Rc<Records>>,
    /// What the stacks of users who are gone left behind.
    left: RefCell<Vec<Frames>>,
    // After all that lives in it.
    runtime: Runtime,
}

// === impl Isolate ===

impl Isolate {
    /// The engine of this thread, made where there is none.
    ///
    /// # Errors
    ///
    /// There is no memory for it, or it is not the engine that this was written for.
    pub(super) fn of_thread() -> Result<Rc<Self>, String> {
        let known = OF_THREAD.with_borrow(Weak::upgrade);
        if let Some(isolate) = known {
            return Ok(isolate);
        }
        let runtime = Runtime::new().map_err(|error| error.to_string())?;
        let machine =
            Machine::new(&runtime, SCRIPT_STACK_SIZE).map_err(|error| error.to_string())?;
        static INTERRUPTED: fn() -> bool = || Isolate::running().is_some_and(|host| host.tick());
        machine.ask(&INTERRUPTED);
        runtime.set_loader(ModuleLoader, ModuleLoader);
        runtime.set_host_promise_rejection_tracker(Some(Box::new(
            |ctx, _promise, reason, handled| {
                if let Some(host) = Self::running() {
                    host.rejected(&ctx, &reason, handled);
                }
            },
        )));
        let isolate = Rc::new(Self {
            machine,
            running: RefCell::default(),
            contexts: RefCell::default(),
            with_room: RefCell::default(),
            records: OnceCell::new(),
            left: RefCell::default(),
            runtime,
        });
        OF_THREAD.set(Rc::downgrade(&isolate));
        Ok(isolate)
    }

    /// Whose script runs right now on this thread.
    pub(super) fn running() -> Option<Rc<Host>> {
        let isolate = OF_THREAD.with_borrow(Weak::upgrade)?;
        let running = isolate.running.borrow();
        running.clone()
    }

    /// What the answers of this thread's scripts are objects of.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub(super) fn records(ctx: &Ctx<'_>) -> rquickjs::Result<Rc<Records>> {
        let isolate = Self::of_thread().map_err(|reason| Exception::throw_message(ctx, &reason))?;
        if let Some(records) = isolate.records.get() {
            return Ok(Rc::clone(records));
        }
        let records = Rc::new(Records::new(ctx)?);
        Ok(Rc::clone(isolate.records.get_or_init(|| records)))
    }

    /// A context for one more user of a script.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub(super) fn context(&self, script: &Arc<Shared>) -> Result<Context, String> {
        let together = script.modules.users_together();
        if together == 1 {
            return self.new_context().map_err(|error| error.to_string());
        }
        let mut with_room = self.with_room.borrow_mut();
        if let Some(shared) = &mut *with_room
            && shared.room > 0
            && ArcWeak::ptr_eq(&shared.script, &Arc::downgrade(script))
        {
            shared.room -= 1;
            return Ok(shared.context.clone());
        }
        let context = self.new_context().map_err(|error| error.to_string())?;
        with_context(&context, |ctx| {
            let defined = PER_USER
                .iter()
                .try_for_each(|name| define_per_user(ctx, name));
            defined.catch(ctx).map_err(|error| error.to_string())
        })?;
        *with_room = Some(SharedContext {
            script: Arc::downgrade(script),
            context: context.clone(),
            room: together - 1,
        });
        Ok(context)
    }

    /// A context with the built-in objects that every script has; others come with the modules that
    /// name them.
    fn new_context(&self) -> rquickjs::Result<Context> {
        let context = Context::builder()
            .with::<(Eval, Json, Promise)>()
            .build(&self.runtime)?;
        self.contexts.borrow_mut().push(context.clone());
        Ok(context)
    }

    /// Lets a stack have its turn: `resume` resumes it, and returns when it sleeps again.
    pub(super) fn turn<T>(
        &self,
        frames: &Frames,
        host: Option<&Rc<Host>>,
        resume: impl FnOnce() -> T,
    ) -> T {
        let _turn = self.machine.enter(frames);
        *self.running.borrow_mut() = host.map(Rc::clone);
        let result = resume();
        *self.running.borrow_mut() = None;
        result
    }

    /// Says that the stack on which this is called begins here.
    pub(super) fn begin_stack(&self) {
        self.machine.begin_stack();
    }

    /// Keeps what the stack of a user who is gone left behind.
    pub(super) fn retire(&self, frames: Frames) {
        self.left.borrow_mut().push(frames);
    }
}

/// Defines a global that is the running user's.
fn define_per_user<'js>(ctx: &Ctx<'js>, name: &'static str) -> rquickjs::Result<()> {
    fn running(ctx: &Ctx<'_>) -> rquickjs::Result<Rc<Host>> {
        Isolate::running().ok_or_else(|| Exception::throw_message(ctx, "no script runs"))
    }
    let read = move |ctx: Ctx<'js>| running(&ctx)?.global(&ctx, name);
    let write = move |ctx: Ctx<'js>, value: Value<'js>| {
        running(&ctx)?.set_global(&ctx, name, value);
        Ok::<_, Error>(())
    };
    let property = Accessor::new(read, write).configurable().enumerable();
    ctx.globals().prop(name, property)
}

impl Drop for Isolate {
    fn drop(&mut self) {
        for frames in self.left.get_mut() {
            self.machine.give_up(frames);
        }
    }
}
