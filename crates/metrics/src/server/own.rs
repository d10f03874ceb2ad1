//! What a server tells of itself at `/metrics`, with Prometheus' names.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::exporters::process;
use crate::http_api::LoadedConfig;
use crate::instruments::{Kind, Text};
use crate::scrape::ScrapeManager;
use crate::tsdb::Tsdb;

pub(super) struct OwnMetrics {
    pub(super) tsdb: Tsdb,
    pub(super) scrapes: ScrapeManager,
    pub(super) version: String,
    pub(super) config: Arc<RwLock<LoadedConfig>>,
}

impl OwnMetrics {
    pub(super) fn text(&self) -> String {
        let mut text = Text::default();
        process::write(&mut text);
        process::write_build_info(&self.version, &mut text);
        let stats = self.tsdb.stats();
        let counters = &stats.counters;
        let config = self.config.read().clone();
        let gauges = [
            (
                "prometheus_tsdb_head_series",
                "Total number of series in the head block.",
                stats.series as f64,
            ),
            (
                "prometheus_tsdb_head_chunks",
                "Total number of chunks in the head block.",
                stats.chunks as f64,
            ),
            (
                "prometheus_tsdb_blocks_loaded",
                "Number of currently loaded data blocks",
                stats.blocks as f64,
            ),
            (
                "prometheus_tsdb_storage_blocks_bytes",
                "The number of bytes that are currently used for local storage by all blocks.",
                stats.block_bytes as f64,
            ),
            (
                "prometheus_config_last_reload_successful",
                "Whether the last configuration reload attempt was successful.",
                f64::from(u8::from(config.last_reload_succeeded)),
            ),
            (
                "prometheus_config_last_reload_success_timestamp_seconds",
                "Timestamp of the last successful configuration reload.",
                config.loaded_at.as_millisecond() as f64 / 1000.0,
            ),
            (
                "prometheus_sd_discovered_targets",
                "Current number of discovered targets.",
                self.scrapes.targets().len() as f64,
            ),
        ];
        for (name, help, value) in gauges {
            text.family(name, help, Kind::Gauge).sample(&[], value);
        }
        let refusals = &counters.refusals;
        let counts = [
            (
                "prometheus_tsdb_head_samples_appended_total",
                "Total number of appended samples.",
                counters.appended,
            ),
            (
                "prometheus_tsdb_head_series_created_total",
                "Total number of series created in the head",
                counters.series_created,
            ),
            (
                "prometheus_tsdb_head_series_removed_total",
                "Total number of series removed in the head",
                counters.series_removed,
            ),
            (
                "prometheus_tsdb_out_of_order_samples_total",
                "Total number of out of order samples ingestion failed attempts due to out of order being disabled.",
                refusals.out_of_order,
            ),
            (
                "prometheus_tsdb_out_of_bound_samples_total",
                "Total number of out of bound samples ingestion failed attempts with out of order support disabled.",
                refusals.out_of_bounds,
            ),
            (
                "prometheus_target_scrapes_sample_duplicate_timestamp_total",
                "Total number of samples rejected due to duplicate timestamps but different values.",
                refusals.duplicate,
            ),
            (
                "prometheus_tsdb_compactions_total",
                "Total number of compactions that were executed.",
                counters.compactions,
            ),
            (
                "prometheus_tsdb_compactions_failed_total",
                "Total number of compactions that failed.",
                counters.compactions_failed,
            ),
        ];
        for (name, help, value) in counts {
            text.family(name, help, Kind::Counter)
                .sample(&[], value as f64);
        }
        text.into_string()
    }
}
