//! `tide sample`: the programs of the example applications.

use clap::Args;

/// Run a program of an example application.
#[derive(Debug, Args)]
pub(crate) struct Sample {
    /// feastflow-database, feastflow-backend or feastflow-frontend
    name: String,
}

impl Sample {
    /// Runs it until it is told to stop.
    pub(crate) fn execute(&self) -> anyhow::Result<()> {
        Ok(springtide_samples::run(&self.name)?)
    }
}
