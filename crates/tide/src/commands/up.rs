//! `tide up`: starts the platform, as the keeper or in the background.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, anyhow, bail};
use clap::Args;
use springtide_machinery::clock::Clock;
use springtide_node::keeper;

use crate::data_folder::DataFolder;
use crate::log_filter;
use crate::output::{complain, say};
use crate::platform_options::PlatformOptions;

/// The addresses that Services get.
pub(crate) const SERVICE_RANGE: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 16);
/// The node's own address in the mesh, in neither the Services' nor the pods' range.
const MESH_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 1);

/// Start the platform: the Kubernetes API, and everything behind it. Runs until Ctrl-C or
/// `tide down`; prints `ready in N ms` and how to point kubectl at it.
#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    options: PlatformOptions,
    /// Return when the platform is ready, and leave it running in the background
    #[arg(long)]
    detach: bool,
}

impl Up {
    /// Is the keeper until told to stop; with --detach, starts one and waits until it is ready.
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        let folder = self.options.data_folder.folder()?;
        // A keeper that has become a newer program finds itself.
        let other = folder
            .instance()?
            .filter(|instance| !instance.is_this_process());
        if let Some(instance) = other {
            bail!(
                "an instance already runs on {} (process {}, {}): stop it with `tide down`, or give another --data-dir",
                folder.path().display(),
                instance.pid,
                instance.server
            );
        }
        folder.create()?;
        if self.detach {
            return self.start_in_background(&folder);
        }
        let notes = [folder.keep_to_owner()?, log_filter::fault_of_environment()];
        for note in notes.into_iter().flatten() {
            complain!("tide: note: {note}");
        }
        // Nothing before this may start a thread: the keeper forks.
        let mut brain = vec!["brain".into()];
        brain.extend(self.options.to_arguments(&folder));
        brain.extend([
            "--started-at".into(),
            Clock::system().now().as_millisecond().to_string().into(),
        ]);
        let config = keeper::Config {
            brain,
            service_range: SERVICE_RANGE,
            mesh_address: MESH_ADDRESS,
            hidden: vec![folder.path().to_owned()],
        };
        keeper::main(config).map_err(|sentence| anyhow!(sentence))
    }

    fn start_in_background(&self, folder: &DataFolder) -> anyhow::Result<ExitCode> {
        let program = std::env::current_exe().context("the running program cannot be found")?;
        let log_path = folder.log();
        let log = std::fs::File::create(&log_path)
            .with_context(|| format!("{} cannot be written", log_path.display()))?;
        let mut child = Command::new(program)
            .arg("up")
            .args(self.options.to_arguments(folder))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C in this terminal is not meant for it.
            .process_group(0)
            .spawn()
            .context("the platform cannot be started")?;
        let said = || match std::fs::read_to_string(&log_path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            read => read.context("the platform's log cannot be read"),
        };
        let output = child.stdout.take().context("the platform has no output")?;
        for line in BufReader::new(output).lines() {
            let line = line?;
            say!("{line}");
            if line.starts_with("export KUBECONFIG=") {
                let notes = said()?;
                if !notes.is_empty() {
                    complain!(
                        "{}\ntide: from here on it writes to {}",
                        notes.trim_end(),
                        log_path.display()
                    );
                }
                return Ok(ExitCode::SUCCESS);
            }
        }
        let status = child.wait()?;
        complain!(
            "{}\ntide: the platform ended before it was ready ({status})",
            said()?.trim_end()
        );
        // The same as without --detach.
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(code
            .filter(|code| *code != 0)
            .map_or(ExitCode::FAILURE, ExitCode::from))
    }
}
