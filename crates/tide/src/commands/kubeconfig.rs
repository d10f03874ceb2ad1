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
    /// Name another address of the API than loopback, for other machines: see `tide up --tls-san`
    #[arg(long, value_name = "URL", conflicts_with = "path", value_parser = server_url)]
    server: Option<String>,
}

fn server_url(text: &str) -> Result<String, String> {
    match text.parse::<http::Uri>() {
        Ok(url) if url.scheme_str() == Some("https") && url.host().is_some() => Ok(text.to_owned()),
        _ => Err("write a URL such as https://tide.example:6443".to_owned()),
    }
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
            return Ok(());
        }
        let Some(server) = &self.server else {
            print(&text);
            return Ok(());
        };
        let mut config: serde_json::Value = serde_saphyr::from_str(&text)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        for cluster in config["clusters"].as_array_mut().into_iter().flatten() {
            cluster["cluster"]["server"] = server.clone().into();
        }
        print(&serde_saphyr::to_string(&config)?);
        Ok(())
    }
}
