//! Lets several stacks take turns in one QuickJS runtime.
//!
//! QuickJS keeps in its runtime what belongs to the stack that runs: the innermost frame, the
//! promise whose reaction is being made, how deep the stack may grow, and the queue of jobs. With
//! one stack they change hands by themselves. Here each stack has [`Frames`], into which they go
//! when it is left and from which they come when it is entered, so that every stack finds the
//! runtime as if it were alone: stack traces walk its own frames, and only its own jobs are run.
//!
//! QuickJS has no functions for that, so this knows where the fields are. [`Machine::new`] tries
//! them out on the very runtime that it is for, and refuses one that is laid out differently.

use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr::{self, NonNull};

use rquickjs::{Context, Function, Runtime, qjs};

/// How many sizes of small blocks QuickJS allocates in pages of their own.
const BLOCK_SIZES: usize = 31;

#[repr(C)]
#[derive(Clone, Copy)]
struct Link {
    previous: *mut Link,
    next: *mut Link,
}

/// `JSRuntime` of QuickJS-ng 0.15 as far as the queue of jobs, built without assertions.
#[repr(C)]
struct Layout {
    functions: qjs::JSMallocFunctions,
    malloc_state: [usize; 4],
    arenas: [[Link; BLOCK_SIZES]; 2],
    zero_size_block: u64,
    info: *const c_void,
    atom_counts: [i32; 4],
    atoms: [*mut c_void; 2],
    atom_free: i32,
    class_ids: [i32; 2],
    classes: *mut c_void,
    lists: [Link; 4],
    gc_phase: u8,
    gc_threshold: usize,
    stack_size: usize,
    stack_top: usize,
    stack_limit: usize,
    exception: [u64; 2],
    flags: [bool; 3],
    frame: *mut c_void,
    interrupt: [*mut c_void; 2],
    promise_hook: [*mut c_void; 2],
    parent_promise: *mut c_void,
    rejection_tracker: [*mut c_void; 2],
    jobs: Link,
}

/// A runtime in which stacks take turns.
#[derive(Debug)]
pub(in super::super) struct Machine {
    runtime: NonNull<qjs::JSRuntime>,
    /// True while a stack is in it.
    entered: Cell<bool>,
}

/// What a stack leaves behind while another one runs.
#[derive(Debug)]
pub(in super::super) struct Frames(Box<UnsafeCell<Left>>);

#[derive(Debug)]
struct Left {
    frame: *mut c_void,
    parent_promise: *mut c_void,
    stack_top: usize,
    stack_limit: usize,
    jobs: Link,
}

/// A stack's turn; dropping it ends the turn.
pub(in super::super) struct Turn<'machine> {
    machine: &'machine Machine,
    frames: &'machine Frames,
}

/// The runtime is laid out differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the JavaScript engine is not the one that this program was written for ({0})")]
pub(in super::super) struct Unknown(&'static str);

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Link")
    }
}

// === impl Link ===

impl Link {
    const fn nowhere() -> Self {
        Self {
            previous: ptr::null_mut(),
            next: ptr::null_mut(),
        }
    }

    /// Moves all that is in one list to the end of another.
    ///
    /// # Safety
    ///
    /// Both point to heads of sound lists, and to different ones.
    unsafe fn append(from: *mut Self, to: *mut Self) {
        // SAFETY: a sound list's neighbours are sound, and its head is its own only neighbour where
        // it is empty.
        unsafe {
            if (*from).next == from {
                return;
            }
            (*(*from).next).previous = (*to).previous;
            (*(*to).previous).next = (*from).next;
            (*(*from).previous).next = to;
            (*to).previous = (*from).previous;
            (*from).next = from;
            (*from).previous = from;
        }
    }
}

// === impl Frames ===

impl Frames {
    /// Those of a stack that was never in the runtime.
    pub(in super::super) fn new() -> Self {
        let frames = Self(Box::new(UnsafeCell::new(Left {
            frame: ptr::null_mut(),
            parent_promise: ptr::null_mut(),
            stack_top: 0,
            stack_limit: 0,
            jobs: Link::nowhere(),
        })));
        let left = frames.0.get();
        // SAFETY: nobody else knows of it yet.
        unsafe {
            let head = &raw mut (*left).jobs;
            (*left).jobs = Link {
                previous: head,
                next: head,
            };
        }
        frames
    }
}

// === impl Machine ===

impl Machine {
    /// Finds out whether the runtime is laid out as expected.
    ///
    /// # Errors
    ///
    /// It is not.
    pub(in super::super) fn new(runtime: &Runtime, stack_size: usize) -> Result<Self, Unknown> {
        runtime.set_max_stack_size(stack_size);
        let context = Context::full(runtime).map_err(|_| Unknown("no context"))?;
        // SAFETY: the context is alive.
        let raw = unsafe { qjs::JS_GetRuntime(context.as_raw().as_ptr()) };
        let machine = Self {
            runtime: NonNull::new(raw).ok_or(Unknown("no runtime"))?,
            entered: Cell::new(false),
        };
        machine.check(&context, stack_size)?;
        Ok(machine)
    }

    fn check(&self, context: &Context, stack_size: usize) -> Result<(), Unknown> {
        let expect = |holds: bool, what| if holds { Ok(()) } else { Err(Unknown(what)) };
        // SAFETY: a runtime is alive as long as a context of it.
        unsafe { qjs::JS_UpdateStackTop(self.runtime.as_ptr()) };
        // SAFETY: these reads stay within `Layout`, which is no larger than any `JSRuntime` that
        // fulfils what is expected before.
        let (size, top, limit) = unsafe {
            let layout = self.layout();
            (
                (*layout).stack_size,
                (*layout).stack_top,
                (*layout).stack_limit,
            )
        };
        expect(size == stack_size, "stack size")?;
        expect(limit == top.wrapping_sub(size), "stack limit")?;
        let here = (&raw const limit).addr();
        expect(here.abs_diff(top) < 64 * 1024, "stack top")?;
        let layout = self.layout();
        // SAFETY: as above.
        let state = move || unsafe {
            let jobs = &raw mut (*layout).jobs;
            (
                (*layout).frame,
                (*layout).parent_promise,
                (*jobs).next == jobs,
            )
        };
        let rest = (ptr::null_mut(), ptr::null_mut(), true);
        expect(state() == rest, "at rest")?;
        let seen = std::rc::Rc::new(Cell::new(None));
        let told = std::rc::Rc::clone(&seen);
        let tried = context.with(|ctx| {
            let look = Function::new(ctx.clone(), move || told.set(Some(state())))?;
            let start: Function =
                ctx.eval("(look) => { Promise.resolve().then(() => look()); }")?;
            start.call::<_, ()>((look,))?;
            let waiting = state();
            while ctx.execute_pending_job() {}
            Ok::<_, rquickjs::Error>(waiting)
        });
        let waiting = tried.map_err(|_| Unknown("a job"))?;
        expect(
            waiting == (ptr::null_mut(), ptr::null_mut(), false),
            "a job",
        )?;
        let (frame, promise, empty) = seen.get().ok_or(Unknown("a call"))?;
        expect(promise.is_null() && empty, "a call")?;
        expect(frame.addr().abs_diff(top) < 64 * 1024, "a frame")?;
        expect(state() == rest, "at the end")
    }

    fn layout(&self) -> *mut Layout {
        self.runtime.as_ptr().cast()
    }

    /// Lets a stack have its turn. To be called on another stack, which then resumes it.
    ///
    /// # Panics
    ///
    /// When another stack has its turn.
    pub(in super::super) fn enter<'turn>(&'turn self, frames: &'turn Frames) -> Turn<'turn> {
        assert!(!self.entered.replace(true), "stacks take turns");
        let (layout, left) = (self.layout(), frames.0.get());
        // SAFETY: `Machine::new` found the fields to be what `Layout` says. The values are those
        // that the stack left, or those of a runtime at rest. Only the one turn reads and writes
        // both, on one thread. Both lists are sound: QuickJS and `Link::append` keep them so.
        unsafe {
            (*layout).frame = (*left).frame;
            (*layout).parent_promise = (*left).parent_promise;
            (*layout).stack_top = (*left).stack_top;
            (*layout).stack_limit = (*left).stack_limit;
            Link::append(&raw mut (*left).jobs, &raw mut (*layout).jobs);
        }
        Turn {
            machine: self,
            frames,
        }
    }

    /// Says that the stack on which this is called begins here.
    pub(in super::super) fn begin_stack(&self) {
        // SAFETY: the runtime outlives the machine: see `Isolate`.
        unsafe { qjs::JS_UpdateStackTop(self.runtime.as_ptr()) };
    }

    /// Asks `interrupted`, now and then while a script computes, whether it is to end.
    pub(in super::super) fn ask(&self, interrupted: &'static fn() -> bool) {
        unsafe extern "C" fn handler(_: *mut qjs::JSRuntime, asked: *mut c_void) -> c_int {
            // SAFETY: it is the reference below.
            let interrupted = unsafe { &*asked.cast::<fn() -> bool>() };
            c_int::from(interrupted())
        }
        let asked = ptr::from_ref(interrupted).cast_mut().cast();
        // SAFETY: the handler only reads what lives for ever. It may be called again before it
        // returned, on another stack, which rquickjs's own does not allow.
        unsafe { qjs::JS_SetInterruptHandler(self.runtime.as_ptr(), Some(handler), asked) };
    }

    /// Gives jobs that nobody will run to the runtime, which frees them at its end.
    pub(in super::super) fn give_up(&self, frames: &Frames) {
        let (layout, left) = (self.layout(), frames.0.get());
        // SAFETY: as in `enter`.
        unsafe { Link::append(&raw mut (*left).jobs, &raw mut (*layout).jobs) };
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let (layout, left) = (self.machine.layout(), self.frames.0.get());
        // SAFETY: as in `enter`. A runtime that no stack is in has no limit, for what frees it.
        unsafe {
            (*left).frame = std::mem::replace(&mut (*layout).frame, ptr::null_mut());
            (*left).parent_promise =
                std::mem::replace(&mut (*layout).parent_promise, ptr::null_mut());
            (*left).stack_top = (*layout).stack_top;
            (*left).stack_limit = std::mem::replace(&mut (*layout).stack_limit, 0);
            Link::append(&raw mut (*layout).jobs, &raw mut (*left).jobs);
        }
        self.machine.entered.set(false);
    }
}

const _: () = assert!(
    size_of::<usize>() == 8 && offset_of!(Layout, gc_phase) % 8 == 0,
    "the layout is that of 64-bit systems"
);
