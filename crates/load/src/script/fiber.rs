//! A stack of its own for a script, so that its calls can wait without blocking the thread.
//!
//! `http.get` returns its answer, so the script's call must wait, while the thread goes on with
//! other users. QuickJS cannot leave a native call half way and come back, so each user's script
//! runs on a stack of its own, a coroutine: a call that waits gives what it waits for to the thread's
//! executor and lets the coroutine sleep.
//!
//! The stacks of a thread take turns in its one QuickJS runtime: see [`super::isolate`].

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use corosensei::stack::{DefaultStack, Stack};
use corosensei::{Coroutine, CoroutineResult};

use super::host::Host;
use super::isolate::Isolate;
use super::sys::{Exit, Frames, free_unused};

/// Address space of a stack. Only pages that were touched take memory.
const STACK_SIZE: usize = 1024 * 1024;
/// How much of it the script may use; the rest is for what scripts call.
pub(super) const SCRIPT_STACK_SIZE: usize = 640 * 1024;

/// What a coroutine waits for.
pub(super) type Wait = Pin<Box<dyn Future<Output = ()>>>;

/// A stack, and at most one function that runs on it.
pub(super) struct Fiber {
    isolate: Rc<Isolate>,
    frames: Frames,
    stack: Option<DefaultStack>,
    pause: Rc<Pause>,
    /// Whose functions run on it.
    host: Option<Rc<Host>>,
}

/// Lets functions that run on a [`Fiber`] wait.
#[derive(Debug, Default)]
pub(super) struct Pause {
    exit: Exit,
    interrupted: Cell<bool>,
    /// True while it is waited for long.
    resting: Cell<bool>,
}

/// The wait was interrupted: the iteration is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interrupted;

// === impl Pause ===

impl Pause {
    /// Waits for a future. Called on the fiber.
    ///
    /// # Errors
    ///
    /// The fiber was interrupted before the future was done; or this is not called on it: a script's
    /// clean-up may run while another script collects garbage, and cannot wait there.
    pub(super) fn wait<F>(&self, future: F) -> Result<F::Output, Interrupted>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        if self.interrupted.get() {
            return Err(Interrupted);
        }
        let slot = Rc::new(Cell::new(None));
        let output = Rc::clone(&slot);
        self.exit.suspend(Box::pin(async move {
            output.set(Some(future.await));
        }));
        slot.take().ok_or(Interrupted)
    }

    /// Waits for a future for long: the part of the stack that is not in use takes no memory meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    pub(super) fn rest<F>(&self, future: F) -> Result<F::Output, Interrupted>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.resting.set(true);
        let output = self.wait(future);
        self.resting.set(false);
        output
    }

    /// True if what runs is to end as soon as it can.
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted.get()
    }
}

// === impl Fiber ===

impl Fiber {
    /// A fiber that runs nothing yet.
    ///
    /// # Errors
    ///
    /// There is no address space for its stack.
    pub(super) fn new(isolate: Rc<Isolate>) -> io::Result<Self> {
        Ok(Self {
            isolate,
            frames: Frames::new(),
            stack: Some(DefaultStack::new(STACK_SIZE)?),
            pause: Rc::default(),
            host: None,
        })
    }

    /// Says whose functions run on it.
    pub(super) fn belongs_to(&mut self, host: &Rc<Host>) {
        self.host = Some(Rc::clone(host));
    }

    /// Takes a new stack. Init code goes deeper than iterations do, and pages that were touched once
    /// stay in memory.
    ///
    /// # Errors
    ///
    /// There is no address space for it.
    pub(super) fn renew_stack(&mut self) -> io::Result<()> {
        self.stack = None;
        self.stack = Some(DefaultStack::new(STACK_SIZE)?);
        Ok(())
    }

    /// What functions on this fiber wait with.
    pub(super) fn pause(&self) -> &Rc<Pause> {
        &self.pause
    }

    /// Runs a function on the fiber. When the future is dropped before its end, whatever the
    /// function waits for fails from then on, and it is run to its end.
    ///
    /// # Panics
    ///
    /// When the function panics.
    pub(super) async fn run<T: 'static>(&mut self, function: impl FnOnce() -> T + 'static) -> T {
        // `run` borrows the fiber exclusively and puts the stack back in any case.
        let Some(stack) = self.stack.take() else {
            unreachable!("a fiber has its stack while it runs nothing");
        };
        let pause = Rc::clone(&self.pause);
        let isolate = Rc::clone(&self.isolate);
        pause.interrupted.set(false);
        let limit: NonZeroUsize = stack.limit();
        let coroutine = Coroutine::with_stack(stack, move |yielder, ()| {
            let _open = pause.exit.open(yielder);
            isolate.begin_stack();
            function()
        });
        let mut run = Run {
            coroutine: Some(coroutine),
            fiber: self,
        };
        loop {
            match run.resume() {
                CoroutineResult::Return(output) => return output,
                CoroutineResult::Yield(mut wait) => {
                    if run.fiber.pause.resting.get() {
                        free_unused(&run.fiber.pause.exit, limit);
                    }
                    poll_fn(|context| wait.as_mut().poll(context)).await;
                }
            }
        }
    }

    /// Runs a function that does not wait, at once.
    pub(super) fn run_now<T: 'static>(
        &mut self,
        function: impl FnOnce() -> T + 'static,
    ) -> Option<T> {
        let mut run = std::pin::pin!(self.run(function));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match run.as_mut().poll(&mut context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        let frames = std::mem::replace(&mut self.frames, Frames::new());
        self.isolate.retire(frames);
    }
}

/// A function on its way; puts the stack back when it is dropped.
struct Run<'fiber, T: 'static> {
    coroutine: Option<Coroutine<(), Wait, T, DefaultStack>>,
    fiber: &'fiber mut Fiber,
}

impl<T> Run<'_, T> {
    fn resume(&mut self) -> CoroutineResult<Wait, T> {
        let Some(coroutine) = &mut self.coroutine else {
            unreachable!("the coroutine is taken only when this is dropped");
        };
        let fiber = &*self.fiber;
        fiber.isolate.turn(&fiber.frames, fiber.host.as_ref(), || {
            fiber.pause.exit.set_running(true);
            let result = coroutine.resume(());
            fiber.pause.exit.set_running(false);
            result
        })
    }
}

impl<T> Drop for Run<'_, T> {
    fn drop(&mut self) {
        if self
            .coroutine
            .as_ref()
            .is_some_and(|coroutine| coroutine.started() && !coroutine.done())
        {
            self.fiber.pause.interrupted.set(true);
            while let CoroutineResult::Yield(_) = self.resume() {}
        }
        self.fiber.stack = self.coroutine.take().map(Coroutine::into_stack);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn functions_wait_without_blocking_their_thread() {
        let start = tokio::time::Instant::now();
        let mut users = Vec::new();
        for number in 0..20_u64 {
            users.push(async move {
                let mut fiber = Fiber::new(Isolate::of_thread().unwrap()).unwrap();
                let pause = Rc::clone(fiber.pause());
                fiber
                    .run(move || {
                        for _ in 0..3 {
                            pause
                                .wait(tokio::time::sleep(Duration::from_secs(number)))
                                .unwrap();
                        }
                        number
                    })
                    .await
            });
        }
        let numbers = futures::future::join_all(users).await;
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        assert_eq!(start.elapsed().as_secs(), 57, "they wait at the same time");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_on_the_stack_outlasts_a_rest() {
        fn sum_of_many(number: u64) -> u64 {
            std::hint::black_box([number; 30_000]).iter().sum()
        }
        let mut fiber = Fiber::new(Isolate::of_thread().unwrap()).unwrap();
        let pause = Rc::clone(fiber.pause());
        let sums = fiber.run(move || {
            let kept = std::hint::black_box([7_u64; 3000]);
            let mut sums = Vec::new();
            for number in 1..4 {
                sums.push(sum_of_many(number));
                pause
                    .rest(tokio::time::sleep(Duration::from_secs(1)))
                    .unwrap();
                sums.push(kept.iter().sum());
            }
            sums
        });
        assert_eq!(sums.await, [30_000, 21_000, 60_000, 21_000, 90_000, 21_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_interrupted_function_runs_to_its_end_and_the_fiber_can_be_used_again() {
        let mut fiber = Fiber::new(Isolate::of_thread().unwrap()).unwrap();
        let pause = Rc::clone(fiber.pause());
        let seen = Rc::new(Cell::new(None));
        let told = Rc::clone(&seen);
        let long = fiber.run(move || {
            let first = pause.wait(std::future::pending::<()>());
            let second = pause.wait(std::future::ready(()));
            told.set(Some((first, second)));
        });
        assert!(
            tokio::time::timeout(Duration::from_secs(1), long)
                .await
                .is_err()
        );
        assert_eq!(seen.get(), Some((Err(Interrupted), Err(Interrupted))));
        let pause = Rc::clone(fiber.pause());
        assert_eq!(
            fiber
                .run(move || pause.wait(std::future::ready(5)).unwrap())
                .await,
            5
        );
        assert_eq!(fiber.run_now(|| 6), Some(6));
    }
}
