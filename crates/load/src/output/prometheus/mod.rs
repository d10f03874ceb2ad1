//! Prometheus remote write, as k6's `experimental-prometheus-rw` sends it.
//!
//! ```text
//! samples ─► SeriesBook (adds up) ─► every few seconds: the series that changed ─► a thread that sends
//! ```
//!
//! A receiver that is slow holds nothing up: while it is still busy with two requests, what changes goes
//! into the next one.

mod sender;
mod series;
mod settings;

use std::collections::BTreeMap;
use std::io;

use tokio::time::Instant;

use super::Output;
use crate::metric::Sample;
use sender::Sender;
use series::SeriesBook;
pub(crate) use settings::PREFIX;
use settings::Settings;

/// k6's `--out experimental-prometheus-rw`.
pub struct PrometheusOutput {
    settings: Settings,
    book: SeriesBook,
    sender: Sender,
    pushed: Instant,
}

// === impl PrometheusOutput ===

impl PrometheusOutput {
    /// Sends to `url`, or where the environment says if it is empty.
    ///
    /// # Errors
    /// A sentence, where the settings cannot be used.
    pub fn start(url: &str, environment: &BTreeMap<String, String>) -> Result<Self, String> {
        let settings = Settings::read(url, environment)?;
        let sender = Sender::start(&settings)?;
        Ok(Self {
            book: SeriesBook::new(settings.statistics.clone()),
            sender,
            settings,
            pushed: Instant::now(),
        })
    }
}

impl Output for PrometheusOutput {
    fn write(&mut self, samples: &[Sample]) -> io::Result<()> {
        for sample in samples {
            self.book.add(sample);
        }
        if self.pushed.elapsed() >= self.settings.push_interval && self.sender.has_room() {
            self.pushed = Instant::now();
            if let Some(request) = self.book.take_changed() {
                self.sender.send(&request)?;
            }
        }
        self.sender.take_fault()
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if let Some(request) = self.book.take_changed() {
            self.sender.send(&request)?;
        }
        if self.settings.stale_markers
            && let Some(request) = self.book.stale()
        {
            self.sender.send(&request)?;
        }
        self.sender.finish()
    }
}
