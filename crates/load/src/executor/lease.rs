//! How long a user may go on: until told to finish, and at the latest until told to drop everything.

use std::sync::Arc;

use tokio::sync::watch;

/// What a user is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// Begin iterations.
    GoOn,
    /// Begin none, finish the one under way.
    Finish,
    /// Drop the one under way.
    Drop,
    /// The user has finished, and listens no more.
    Over,
}

/// A word that is given to users, and their answer that they are over. Clones are the same lease.
#[derive(Clone, Debug)]
pub(super) struct Lease(Arc<watch::Sender<Word>>);

// === impl Lease ===

impl Lease {
    /// A lease that lets users go on.
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Word::GoOn)))
    }

    /// Lets the user go on if it has not finished yet; false if it has.
    pub(super) fn renew(&self) -> bool {
        let mut renewed = true;
        self.0.send_if_modified(|word| match word {
            Word::GoOn => false,
            Word::Finish => {
                *word = Word::GoOn;
                true
            }
            Word::Drop | Word::Over => {
                renewed = false;
                false
            }
        });
        renewed
    }

    /// No iteration begins from here on.
    pub(super) fn finish(&self) {
        self.0.send_if_modified(|word| {
            let goes_on = *word == Word::GoOn;
            if goes_on {
                *word = Word::Finish;
            }
            goes_on
        });
    }

    /// The iteration under way is dropped.
    pub(super) fn drop_iteration(&self) {
        self.0.send_if_modified(|word| {
            let listens = *word != Word::Over;
            if listens {
                *word = Word::Drop;
            }
            listens
        });
    }

    /// True if an iteration may begin. Otherwise the user is over: it can no longer be renewed.
    pub(super) fn may_begin(&self) -> bool {
        if *self.0.borrow() == Word::GoOn {
            return true;
        }
        let mut goes_on = false;
        self.0.send_if_modified(|word| {
            goes_on = *word == Word::GoOn;
            if !goes_on {
                *word = Word::Over;
            }
            false
        });
        goes_on
    }

    /// Says that the user is over, whatever it was told.
    pub(super) fn end(&self) {
        self.0.send_replace(Word::Over);
    }

    /// True while no word but "go on" was given.
    pub(super) fn goes_on(&self) -> bool {
        *self.0.borrow() == Word::GoOn
    }

    /// Waits for the word to drop the iteration.
    pub(super) async fn dropped(&self) {
        let mut word = self.0.subscribe();
        // The sender lives as long as `self`.
        let _ = word.wait_for(|word| *word == Word::Drop).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_that_has_not_finished_can_be_renewed_and_one_that_has_cannot() {
        let lease = Lease::new();
        assert!(lease.may_begin());
        lease.finish();
        assert!(lease.renew());
        assert!(lease.may_begin());
        lease.finish();
        assert!(!lease.may_begin());
        assert!(!lease.renew());
    }

    #[tokio::test]
    async fn a_dropped_iteration_is_told_at_once() {
        let lease = Lease::new();
        lease.finish();
        lease.drop_iteration();
        lease.dropped().await;
        assert!(!lease.may_begin());
    }
}
