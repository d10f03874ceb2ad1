use std::path::Path;

use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use crate::alerting::ExternalAlertmanagers;
use crate::config::Config;
use crate::rules::{AlertmanagerReports, Notice, NoticeSink};

/// The Alertmanagers of the configuration in force.
#[derive(Default)]
pub(super) struct SwitchedAlertmanagers(RwLock<Option<(ExternalAlertmanagers, CancellationToken)>>);

impl SwitchedAlertmanagers {
    /// Makes those of a configuration the ones that alerts go to.
    pub(super) fn switch(&self, config: &Config, folder: &Path) -> Result<(), String> {
        let external = config.global.external_labels.clone();
        let next = ExternalAlertmanagers::new(&config.alerting, external, folder)?;
        let stop = CancellationToken::new();
        tokio::spawn(next.clone().run(stop.clone()));
        let earlier = self.0.write().replace((next, stop));
        if let Some((_, stop)) = earlier {
            stop.cancel();
        }
        Ok(())
    }

    pub(super) fn stop(&self) {
        if let Some((_, stop)) = self.0.write().take() {
            stop.cancel();
        }
    }
}

impl NoticeSink for SwitchedAlertmanagers {
    fn take(&self, notices: Vec<Notice>) {
        if let Some((current, _)) = &*self.0.read() {
            current.take(notices);
        }
    }

    fn alertmanagers(&self) -> AlertmanagerReports {
        let current = self.0.read();
        current
            .as_ref()
            .map(|(current, _)| current.alertmanagers())
            .unwrap_or_default()
    }
}
