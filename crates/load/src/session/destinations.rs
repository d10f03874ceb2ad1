//! Where every sample of a run goes.

use crate::metric::Sample;
use crate::output::Output;
use crate::script::{Log, LogLine};
use crate::summary::{Breakdown, Detail};

/// The outputs, and the sums by scenario and group where the summary shows them.
pub(super) struct Destinations {
    outputs: Vec<Box<dyn Output>>,
    breakdown: Option<Breakdown>,
    log: Log,
    /// An output lost samples while the load ran, and it was said.
    lost: bool,
}

// === impl Destinations ===

impl Destinations {
    pub(super) fn new(outputs: Vec<Box<dyn Output>>, detail: Detail, log: Log) -> Self {
        Self {
            outputs,
            breakdown: (detail == Detail::Full).then(Breakdown::default),
            log,
            lost: false,
        }
    }

    /// True if samples are wanted one by one.
    pub(super) fn want_samples(&self) -> bool {
        !self.outputs.is_empty() || self.breakdown.is_some()
    }

    /// Takes samples in. That some were lost is said once.
    pub(super) fn write(&mut self, samples: &[Sample]) {
        if let Some(breakdown) = &mut self.breakdown {
            breakdown.add(samples);
        }
        for output in &mut self.outputs {
            if let Err(error) = output.write(samples) {
                if !self.lost {
                    let said = format!("an output loses samples: {error}");
                    (self.log)(LogLine::warning(&said));
                }
                self.lost = true;
            }
        }
    }

    /// Ends the outputs; gives the sums.
    pub(super) fn finish(&mut self) -> Breakdown {
        for output in std::mem::take(&mut self.outputs) {
            if let Err(error) = output.finish() {
                let said = format!("an output is not complete: {error}");
                (self.log)(LogLine::warning(&said));
            }
        }
        self.breakdown.take().unwrap_or_default()
    }
}
