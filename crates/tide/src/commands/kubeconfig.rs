//! `tide kubeconfig`: how clients reach the instance.

use std::fs;

use anyhow::Context;
use clap::Args;

use crate::data_folder::DataFolderArgument;

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
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "there is no {}: start the instance with `tide up`",
                path.display()
            )
        })?;
        if self.path {
            println!("{}", path.display());
        } else {
            print!("{text}");
        }
        Ok(())
    }
}
