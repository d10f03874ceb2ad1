//! What `tide up` can be told, and how it tells the brain.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use springtide_load::parse_duration;

use crate::data_folder::DataFolderArgument;

/// Options of the platform; the same for `tide up` and for the brain it starts.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlatformOptions {
    #[command(flatten)]
    pub data_folder: DataFolderArgument,
    /// Where the API listens; port 0 takes a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6443")]
    pub api_listen: SocketAddr,
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
        vec![
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
        ]
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
    fn the_brain_reads_what_it_is_told() {
        let words = [
            "tide",
            "--api-listen",
            "127.0.0.1:0",
            "--metrics-window",
            "2s",
            "--nodeport-address",
            "0.0.0.0",
        ];
        let told = Line::parse_from(words).options;
        let arguments = told.to_arguments(&DataFolder::at("/data".into()));
        let words = std::iter::once(OsString::from("tide")).chain(arguments);
        let heard = Line::parse_from(words).options;
        assert_eq!(heard.data_folder.folder().unwrap().path(), "/data");
        assert_eq!(heard.api_listen, told.api_listen);
        assert_eq!(heard.nodeport_address, told.nodeport_address);
        assert_eq!(heard.metrics_window, told.metrics_window);
        assert_eq!(
            heard.horizontal_pod_autoscaler_sync_period,
            told.horizontal_pod_autoscaler_sync_period
        );
    }
}
