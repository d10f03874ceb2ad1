//! `tide kubeconfig`: how clients reach the instance.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, bail};
use clap::Args;

use crate::data_folder::DataFolderArgument;
use crate::output::{print, say};

/// Print the administrator's kubeconfig.
#[derive(Debug, Args)]
pub(crate) struct Kubeconfig {
    #[command(flatten)]
    data_folder: DataFolderArgument,
    /// Print where the file is instead of what it holds
    #[arg(long)]
    path: bool,
}

impl Kubeconfig {
    /// Prints it.
    pub(crate) fn execute(&self) -> anyhow::Result<()> {
        let path = self.data_folder.folder()?.kubeconfig();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "there is no {}: start the instance with `tide up`",
                path.display()
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("{} cannot be read", path.display()));
            }
        };
        if self.path {
            say!("{}", path.display());
        } else {
            print(&text);
        }
        Ok(())
    }
}
