//! `tide down`: stops the instance.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::data_folder::{DataFolderArgument, Instance};
use crate::output::{complain, say};

/// How long an instance may take to stop before it is ended.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// Stop the instance and its pods. What it stored is there at the next `tide up`.
#[derive(Debug, Args)]
pub(crate) struct Down {
    #[command(flatten)]
    data_folder: DataFolderArgument,
}

impl Down {
    /// Stops it, and returns when it has stopped.
    pub(crate) fn execute(&self) -> anyhow::Result<()> {
        let folder = self.data_folder.folder()?;
        match folder.instance()? {
            Some(instance) => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()?;
                runtime.block_on(stop(&instance))?;
                say!("stopped");
            }
            None => say!("nothing runs on {}", folder.path().display()),
        }
        Ok(())
    }
}

/// Stops an instance, and returns when it has stopped.
pub(crate) async fn stop(instance: &Instance) -> anyhow::Result<()> {
    tell(instance, Signal::SIGTERM)?;
    if ends_within(instance, PATIENCE).await {
        return Ok(());
    }
    complain!(
        "process {} did not stop in {PATIENCE:?} and is ended",
        instance.pid
    );
    tell(instance, Signal::SIGKILL)?;
    if ends_within(instance, PATIENCE).await {
        return Ok(());
    }
    bail!("process {} does not end", instance.pid)
}

fn tell(instance: &Instance, signal: Signal) -> anyhow::Result<()> {
    match kill(Pid::from_raw(instance.pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => {
            Err(error).with_context(|| format!("process {} cannot be told to stop", instance.pid))
        }
    }
}

async fn ends_within(instance: &Instance, limit: Duration) -> bool {
    let ended = async {
        while instance.is_alive() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(limit, ended).await.is_ok()
}
