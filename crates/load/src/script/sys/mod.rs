//! The places where the script engine needs `unsafe`, each with its argument.
#![expect(unsafe_code, reason = "each block says why it is sound")]

mod machine;
mod record;

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use corosensei::Yielder;
use rquickjs::context::Intrinsic;
use rquickjs::module::Declared;
use rquickjs::{ArrayBuffer, Context, Ctx, JsLifetime, Module, Value, qjs};

pub(super) use self::machine::{Frames, Machine};
pub(super) use self::record::{Record, RecordClass};
use super::fiber::Wait;

/// The way out of the coroutine that runs right now, if one does.
#[derive(Debug, Default)]
pub(super) struct Exit {
    yielder: Cell<Option<NonNull<Yielder<(), Wait>>>>,
    /// True between a resumption and the next suspension.
    running: Cell<bool>,
    /// The address of something in the innermost frame of ours, of a suspended coroutine.
    innermost: Cell<usize>,
}

/// Takes the exit away when the coroutine's function ends, however it ends.
pub(super) struct Open<'exit>(&'exit Exit);

// === impl Exit ===

impl Exit {
    /// Lets the coroutine whose yielder this is be suspended, until the guard is dropped. Called
    /// first thing in the coroutine's function.
    pub(super) fn open(&self, yielder: &Yielder<(), Wait>) -> Open<'_> {
        self.yielder.set(Some(NonNull::from(yielder)));
        Open(self)
    }

    /// Says that the coroutine is about to be resumed, or has just been suspended or ended.
    pub(super) fn set_running(&self, running: bool) {
        self.running.set(running);
    }

    /// Suspends the coroutine until what it waits for is there, if it is the one that runs.
    pub(super) fn suspend(&self, wait: Wait) {
        let Some(yielder) = self.yielder.get().filter(|_| self.running.get()) else {
            return;
        };
        let here = 0_u8;
        self.innermost.set((&raw const here).addr());
        // SAFETY: the pointer comes from a reference that lives as long as the coroutine's function
        // runs, and `Open` takes it away when that ends. `running` is true only between resumption
        // and suspension of this very coroutine, all on one thread (`Exit` is not Sync), so this is
        // called on that coroutine's own stack, as `Yielder::suspend` demands.
        unsafe { yielder.as_ref() }.suspend(wait);
    }
}

/// What a switch to another stack may write below our innermost frame, amply.
const SWITCH_FRAME: usize = 1024;

/// Gives the pages of a suspended coroutine's stack that no frame is on back to the system: those
/// from the stack's `limit` up to the innermost frame. They are there again, empty, when they are used.
pub(super) fn free_unused(exit: &Exit, limit: NonZeroUsize) {
    // SAFETY: it only reads a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let (Ok(page), innermost) = (usize::try_from(page), exit.innermost.get()) else {
        return;
    };
    let Some(end) = innermost
        .checked_sub(SWITCH_FRAME)
        .map(|end| end - end % page)
    else {
        return;
    };
    if exit.running.get() || end <= limit.get() {
        return;
    }
    let start = std::ptr::with_exposed_provenance_mut(limit.get());
    // SAFETY: the stack is one private, anonymous mapping from `limit` up, of which this is a part. The
    // coroutine is suspended (`running` is false) in a call of `Exit::suspend`, whose frame is at
    // `innermost`: all frames that will go on are above `end`, and what is below is dead.
    let _ = unsafe { libc::madvise(start, end - limit.get(), libc::MADV_DONTNEED) };
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.yielder.set(None);
    }
}

/// Loads a module from bytecode.
pub(super) fn load_bytecode<'js>(
    ctx: &Ctx<'js>,
    bytecode: &[u8],
) -> rquickjs::Result<Module<'js, Declared>> {
    // SAFETY: QuickJS trusts bytecode. This comes from `Module::write` of the same library in the
    // same process (`loader::Modules` makes it and keeps it in memory), never from a file.
    unsafe { Module::load(ctx.clone(), bytecode) }
}

/// A module, in a form that can be kept by [`rquickjs::Persistent`].
#[derive(Clone)]
pub(super) struct KeptModule<'js>(pub(super) Module<'js, Declared>);

// SAFETY: what the lifetime speaks of in a module is its context, which it holds, and which holds the
// module. `Module` has the lifetime in no other place, and this is the same type with another one.
unsafe impl<'js> JsLifetime<'js> for KeptModule<'js> {
    type Changed<'to> = KeptModule<'to>;
}

/// A copy of the bytes of an `ArrayBuffer` or of a view of one (typed array, `DataView`).
pub(super) fn bytes_of(value: &Value<'_>) -> Option<Vec<u8>> {
    if let Some(buffer) = buffer_of(value.clone()) {
        // SAFETY: the slice is copied at once, before any script can run that would change,
        // detach or free the buffer.
        return unsafe { buffer.as_bytes() }.map(<[u8]>::to_vec);
    }
    let view = value.as_object()?;
    let buffer = buffer_of(view.get("buffer").ok()?)?;
    let offset: usize = view.get("byteOffset").ok()?;
    let length: usize = view.get("byteLength").ok()?;
    // SAFETY: as above; reading the two numbers was the last that touched the script's objects.
    let whole = unsafe { buffer.as_bytes() }?;
    whole
        .get(offset..offset.checked_add(length)?)
        .map(<[u8]>::to_vec)
}

/// A value as the buffer that it may be.
fn buffer_of(value: Value<'_>) -> Option<ArrayBuffer<'_>> {
    let ctx = value.ctx().clone();
    let buffer = ArrayBuffer::from_value(value);
    if buffer.is_none() {
        // QuickJS throws where a value is none, and nobody would catch that.
        ctx.catch();
    }
    buffer
}

/// Runs a function with a context of a runtime in which stacks take turns. [`Context::with`] holds
/// the runtime's lock to its end, which would keep every other stack out while this one waits.
pub(super) fn with_context<T>(context: &Context, function: impl FnOnce(&Ctx<'_>) -> T) -> T {
    // SAFETY: the lock exists to keep calls on the runtime apart. They are: a runtime belongs to one
    // thread (it is not Send), where one stack at a time has its turn, and what is called here
    // returns only on the stack on which it was called. The lifetime is that of this call alone,
    // since the function takes any.
    let ctx = unsafe { Ctx::from_raw(context.as_raw()) };
    function(&ctx)
}

/// Adds built-in objects to a context.
pub(super) fn add_intrinsic<I: Intrinsic>(ctx: &Ctx<'_>) {
    // SAFETY: the context is alive, and these functions may be called at any time.
    unsafe { I::add_intrinsic(ctx.as_raw()) };
}

/// Adds `atob`, `btoa` and what they throw to a context.
pub(super) fn add_base64(ctx: &Ctx<'_>) {
    // SAFETY: as above. A context without memory for them goes on without them.
    let _ = unsafe { qjs::JS_AddIntrinsicAToB(ctx.as_raw().as_ptr()) };
}
