use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use springtide_machinery::clock::Clock;
use springtide_machinery::entropy::Entropy;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::rules::{Notice, NoticeSink};

use super::alert::{Alert, PostedAlert};
use super::book::{AlertBook, Change, Flush, Message, after};
use super::config::AlertingConfiguration;
use super::journal::Journal;
use super::notify;
use super::silence::{PostedSilence, Silence};

/// How an Alertmanager runs.
#[derive(Debug, Clone)]
pub struct AlertmanagerOptions {
    /// Where what must outlast a restart is kept; nowhere where `None`.
    pub folder: Option<PathBuf>,
    /// Where it is reached from outside, for links in messages.
    pub external_url: String,
    /// Where the names of silences come from.
    pub entropy: Entropy,
}

impl Default for AlertmanagerOptions {
    /// Nothing is kept over restarts.
    fn default() -> AlertmanagerOptions {
        AlertmanagerOptions {
            folder: None,
            external_url: String::new(),
            entropy: Entropy::from_os(),
        }
    }
}

/// Takes alerts and tells receivers. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Alertmanager(Arc<Shared>);

struct Shared {
    book: Mutex<AlertBook>,
    journal: Mutex<Journal>,
    clock: Clock,
    options: AlertmanagerOptions,
    started: Timestamp,
    /// Something changed that may make a group's time come earlier.
    changed: Notify,
    sent: AtomicU64,
    failed: AtomicU64,
}

/// What was resolved or ended is looked through for what can be forgotten.
const CLEANING: SignedDuration = SignedDuration::from_mins(1);

/// The clock is looked at again at least so often, since tokio's time stops in suspend.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// From one try to send a message to the next: doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(1));

// === impl Alertmanager ===

impl Alertmanager {
    /// One with what its folder has kept.
    ///
    /// # Errors
    /// Where the folder cannot be read or written.
    pub fn open(
        configuration: Arc<AlertingConfiguration>,
        options: AlertmanagerOptions,
        clock: Clock,
    ) -> io::Result<Alertmanager> {
        let now = clock.now();
        let mut book = AlertBook::new(configuration);
        let journal = match &options.folder {
            Some(folder) => {
                let (mut journal, kept) = Journal::open(folder)?;
                let changes = book.restore(kept, now);
                journal.keep(&changes, || book.snapshot())?;
                journal
            }
            None => Journal::in_memory(),
        };
        Ok(Alertmanager(Arc::new(Shared {
            book: Mutex::new(book),
            journal: Mutex::new(journal),
            clock,
            options,
            started: now,
            changed: Notify::new(),
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        })))
    }

    /// Uses another configuration from now on.
    pub fn reconfigure(&self, configuration: Arc<AlertingConfiguration>) {
        let now = self.0.clock.now();
        self.0.book.lock().reconfigure(configuration, now);
        self.0.changed.notify_one();
    }

    /// Takes alerts; each is kept before this returns.
    ///
    /// # Errors
    /// What is wrong with alerts; the others were taken.
    pub fn post(&self, alerts: Vec<PostedAlert>) -> Result<(), Vec<String>> {
        let now = self.0.clock.now();
        let timeout = self.0.book.lock().configuration().resolve_timeout;
        let timeout = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::from_mins(5));
        let mut taken: Vec<Alert> = Vec::with_capacity(alerts.len());
        let mut faults = Vec::new();
        for alert in alerts {
            match alert.accept(now, timeout) {
                Ok(alert) => taken.push(alert),
                Err(fault) => faults.push(fault),
            }
        }
        if let Err(error) = self.change(|book| book.take(taken, now)) {
            faults.push(error.to_string());
        }
        self.0.changed.notify_one();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    /// Adds or changes a silence; gives its name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn set_silence(&self, posted: PostedSilence) -> Result<String, String> {
        let now = self.0.clock.now();
        let id = posted.id.clone();
        let silence = Silence::read(posted, id, now)?;
        let new_id = self.0.options.entropy.uid();
        let mut result = Err(String::new());
        self.change(|book| match book.set_silence(silence, new_id, now) {
            Ok((id, changes)) => {
                result = Ok(id);
                changes
            }
            Err(reason) => {
                result = Err(reason);
                Vec::new()
            }
        })
        .map_err(|error| error.to_string())?;
        result
    }

    /// Ends a silence; says whether there was one.
    ///
    /// # Errors
    /// Where it cannot be kept.
    pub fn expire_silence(&self, id: &str) -> io::Result<bool> {
        let now = self.0.clock.now();
        let mut found = false;
        self.change(|book| {
            found = book.silence(id).is_some();
            book.expire_silence(id, now).into_iter().collect()
        })?;
        Ok(found)
    }

    /// Looks into the book.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&AlertBook, Timestamp) -> R) -> R {
        look(&self.0.book.lock(), self.0.clock.now())
    }

    /// Since when it runs.
    pub(crate) fn started(&self) -> Timestamp {
        self.0.started
    }

    /// How many messages were sent, and how many given up.
    #[must_use]
    pub fn messages(&self) -> (u64, u64) {
        let shared = &self.0;
        (
            shared.sent.load(Ordering::Relaxed),
            shared.failed.load(Ordering::Relaxed),
        )
    }

    /// Changes the book and keeps what changed.
    fn change(&self, change: impl FnOnce(&mut AlertBook) -> Vec<Change>) -> io::Result<()> {
        // The book is let go before the disk is waited for, and the journal's lock keeps the changes in their order.
        let mut journal = self.0.journal.lock();
        let changes = change(&mut self.0.book.lock());
        journal.keep(&changes, || self.0.book.lock().snapshot())
    }

    /// Tells receivers until cancelled.
    pub async fn run(self, cancelled: CancellationToken) {
        let mut sending: JoinSet<()> = JoinSet::new();
        let mut cleaned = self.0.clock.now();
        loop {
            let now = self.0.clock.now();
            let flushes = self.0.book.lock().flush(now);
            for flush in flushes {
                sending.spawn(self.clone().send(flush));
            }
            while sending.try_join_next().is_some() {}
            if after(cleaned, CLEANING) <= now {
                cleaned = now;
                if let Err(error) = self.change(|book| book.clean(now)) {
                    tracing::error!(%error, "alerts could not be kept");
                }
            }
            let next = self.0.book.lock().next_time();
            let wait = next.map_or(LONGEST_WAIT, |next| {
                let wait = next.duration_since(now);
                Duration::try_from(wait)
                    .unwrap_or(Duration::ZERO)
                    .min(LONGEST_WAIT)
            });
            tokio::select! {
                biased;
                () = cancelled.cancelled() => break,
                () = self.0.changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        sending.shutdown().await;
    }

    /// Sends a flush's messages, each until it is sent or its time is over.
    async fn send(self, flush: Flush) {
        let limit = Duration::try_from(flush.limit).unwrap_or(Duration::from_secs(10));
        let mut tasks = Vec::new();
        for message in &flush.messages {
            tasks.push(self.send_message(&flush, message, limit));
        }
        let sent = futures::future::join_all(tasks).await;
        if let Err(error) = self.change(|book| book.finish(&flush, &sent)) {
            tracing::error!(%error, "what was told could not be kept; it may be told again");
        }
        self.0.changed.notify_one();
    }

    async fn send_message(&self, flush: &Flush, message: &Message, limit: Duration) -> bool {
        let configuration = self.0.book.lock().configuration().clone();
        let began = tokio::time::Instant::now();
        let (mut wait, longest) = BACKOFF;
        loop {
            let now = self.0.clock.now();
            let url = &self.0.options.external_url;
            let sent = notify::send(&configuration, url, flush, message, now).await;
            let Err(failure) = sent else {
                self.0.sent.fetch_add(1, Ordering::Relaxed);
                return true;
            };
            let gives_up = !failure.again || began.elapsed() + wait >= limit;
            tracing::warn!(
                receiver = flush.receiver,
                integration = message.integration.name(),
                reason = failure.reason,
                gives_up,
                "a message on alerts was not sent"
            );
            if gives_up {
                self.0.failed.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(longest);
        }
    }
}

impl NoticeSink for Alertmanager {
    fn take(&self, notices: Vec<Notice>) {
        let alerts = notices.into_iter().map(PostedAlert::from).collect();
        if let Err(faults) = self.post(alerts) {
            tracing::warn!(reason = faults.join("; "), "alerts of rules were refused");
        }
    }
}

impl From<Notice> for PostedAlert {
    fn from(notice: Notice) -> PostedAlert {
        PostedAlert {
            labels: notice.labels,
            annotations: notice.annotations,
            starts_at: Timestamp::from_millisecond(notice.starts_at).ok(),
            ends_at: Timestamp::from_millisecond(notice.ends_at).ok(),
            generator_url: notice.generator_url,
        }
    }
}
