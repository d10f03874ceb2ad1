//! What `tide up` can be told, and how it tells the brain.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use springtide_load::parse_duration;
use springtide_machinery::names;

use crate::data_folder::DataFolderArgument;

/// Options of the platform; the same for `tide up` and for the brain it starts.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlatformOptions {
    #[command(flatten)]
    pub data_folder: DataFolderArgument,
    /// Where the API listens; port 0 takes a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6443")]
    pub api_listen: SocketAddr,
    /// Another name or address of this machine for the API's certificate, by which kubectl on other machines
    /// reaches it; can be repeated, or separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub tls_san: Vec<ServerName>,
    /// The address of this machine that NodePort and LoadBalancer Services listen on; 0.0.0.0 opens
    /// them to the network
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub nodeport_address: IpAddr,
    /// How often HorizontalPodAutoscalers are looked at, such as 15s
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "15s")]
    pub horizontal_pod_autoscaler_sync_period: Duration,
    /// Over how long CPU use is averaged for `kubectl top` and the autoscaler, such as 5s
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5s")]
    pub metrics_window: Duration,
    /// Where the Prometheus API listens; another port where this one is taken
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub prometheus_listen: SocketAddr,
    /// How often metrics are scraped: of the platform's own parts, and of pods and Services that ask
    /// for it by the annotation prometheus.io/scrape
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "5s")]
    pub metrics_scrape_interval: Duration,
    /// For how long scraped metrics are kept, such as 360h
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "360h")]
    pub metrics_retention: Duration,
}

impl PlatformOptions {
    /// The same options as arguments, the data folder as the absolute path `folder`.
    pub(crate) fn to_arguments(&self, folder: &crate::data_folder::DataFolder) -> Vec<OsString> {
        let milliseconds = |duration: Duration| format!("{}ms", duration.as_millis());
        let mut arguments: Vec<OsString> = vec![
            "--data-dir".into(),
            folder.path().into(),
            "--api-listen".into(),
            self.api_listen.to_string().into(),
            "--nodeport-address".into(),
            self.nodeport_address.to_string().into(),
            "--horizontal-pod-autoscaler-sync-period".into(),
            milliseconds(self.horizontal_pod_autoscaler_sync_period).into(),
            "--metrics-window".into(),
            milliseconds(self.metrics_window).into(),
            "--prometheus-listen".into(),
            self.prometheus_listen.to_string().into(),
            "--metrics-scrape-interval".into(),
            milliseconds(self.metrics_scrape_interval).into(),
            "--metrics-retention".into(),
            milliseconds(self.metrics_retention).into(),
        ];
        for name in &self.tls_san {
            arguments.extend(["--tls-san".into(), name.to_string().into()]);
        }
        arguments
    }
}

/// A name or address by which a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerName(String);

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ServerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.to_ascii_lowercase();
        let mut labels = text.strip_prefix("*.").unwrap_or(&text).split('.');
        let is_name = labels.all(|label| names::dns1123_label(label).is_empty());
        if is_name || text.parse::<IpAddr>().is_ok() {
            Ok(Self(text))
        } else {
            Err("write a host name or an IP address, without a port".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::data_folder::DataFolder;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: PlatformOptions,
    }

    #[test]
    fn a_servers_name_is_a_host_name_or_an_address() {
        for name in [
            "tide",
            "tide.example.org",
            "*.example.org",
            "192.0.2.7",
            "2001:db8::7",
        ] {
            assert!(name.parse::<ServerName>().is_ok(), "{name}");
        }
        for name in ["", "tide:6443", "https://tide", "a b", "*.", "tide..org"] {
            assert!(name.parse::<ServerName>().is_err(), "{name}");
        }
    }

    #[test]
    fn the_brain_reads_what_it_is_told() {
        let words = [
            "tide",
            "--api-listen",
            "127.0.0.1:0",
            "--metrics-window",
            "2s",
            "--nodeport-address",
            "0.0.0.0",
            "--tls-san",
            "tide.example,192.0.2.7",
            "--tls-san",
            "*.tide.example",
        ];
        let told = Line::parse_from(words).options;
        let arguments = told.to_arguments(&DataFolder::at("/data".into()));
        let words = std::iter::once(OsString::from("tide")).chain(arguments);
        let heard = Line::parse_from(words).options;
        assert_eq!(heard.data_folder.folder().unwrap().path(), "/data");
        assert_eq!(heard.api_listen, told.api_listen);
        assert_eq!(heard.nodeport_address, told.nodeport_address);
        assert_eq!(heard.metrics_window, told.metrics_window);
        let names: Vec<String> = heard.tls_san.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["tide.example", "192.0.2.7", "*.tide.example"]);
        assert_eq!(
            heard.horizontal_pod_autoscaler_sync_period,
            told.horizontal_pod_autoscaler_sync_period
        );
    }
}
