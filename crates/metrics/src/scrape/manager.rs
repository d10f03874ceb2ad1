use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use springtide_client::Caches;
use springtide_machinery::clock::Clock;

use crate::config::ScrapeConfig;
use crate::discovery::Environment;
use crate::relabel::LabelSet;
use crate::tsdb::{Metadata, Tsdb};

use super::pool::{Pool, PoolState};
use super::report::{MetadataReport, TargetReport};
use super::worker::Tools;

/// What scraping needs of the process.
#[derive(Clone)]
pub struct ScrapeOptions {
    /// Where samples go.
    pub tsdb: Tsdb,
    /// Wall time.
    pub clock: Clock,
    /// What relative paths in jobs are relative to.
    pub folder: PathBuf,
    /// The process's view of the Kubernetes API, where it has one.
    pub caches: Option<Caches>,
    /// Moves the targets' places in the interval; different for servers that scrape the same.
    pub seed: u64,
}

/// Scrapes jobs. Clones are the same manager.
///
/// Jobs come from `prometheus.yml` and from whoever else has some: annotations ([`crate::discovery::annotated_jobs`]),
/// and objects such as ServiceMonitors, which are jobs in another form. [`ScrapeManager::apply`] takes them all.
#[derive(Clone)]
pub struct ScrapeManager(Arc<Inner>);

struct Inner {
    options: ScrapeOptions,
    pools: Mutex<BTreeMap<String, Pool>>,
    /// One change at a time.
    applying: tokio::sync::Mutex<()>,
}

// === impl ScrapeManager ===

impl ScrapeManager {
    /// A manager without jobs.
    #[must_use]
    pub fn new(options: ScrapeOptions) -> ScrapeManager {
        ScrapeManager(Arc::new(Inner {
            options,
            pools: Mutex::default(),
            applying: tokio::sync::Mutex::default(),
        }))
    }

    /// Makes these the jobs, which must have different names. A job that did not change goes on undisturbed, a target
    /// that is in the changed job too goes on where it was, and the series of jobs that are gone are ended.
    ///
    /// # Errors
    /// A sentence for each job that cannot be started; the others are.
    pub async fn apply(&self, jobs: Vec<ScrapeConfig>) -> Result<(), Vec<String>> {
        let _one = self.0.applying.lock().await;
        let mut faults = Vec::new();
        let names: Vec<String> = jobs.iter().map(|job| job.job_name.clone()).collect();
        for job in jobs {
            let name = job.job_name.clone();
            if self.runs(&job) {
                continue;
            }
            let earlier = self.0.pools.lock().remove(&name);
            let state = match earlier {
                Some(pool) => Some(pool.stop().await),
                None => None,
            };
            let environment = Environment {
                folder: self.0.options.folder.clone(),
                caches: self.0.options.caches.clone(),
            };
            match Pool::start(job, self.tools(), environment, state) {
                Ok(pool) => {
                    self.0.pools.lock().insert(name, pool);
                }
                Err(fault) => faults.push(fault),
            }
        }
        let gone: Vec<Pool> = {
            let mut pools = self.0.pools.lock();
            let all = std::mem::take(&mut *pools);
            let (kept, gone): (BTreeMap<String, Pool>, BTreeMap<String, Pool>) =
                all.into_iter().partition(|(name, _)| names.contains(name));
            *pools = kept;
            gone.into_values().collect()
        };
        for pool in gone {
            let state = pool.stop().await;
            let now = self.0.options.clock.now().as_millisecond();
            for shared in state.lock().active.values() {
                super::worker::end_series(shared, &self.0.options.tsdb, now);
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    /// Stops scraping. Series are not ended: the next start goes on with them.
    pub async fn stop(&self) {
        let _one = self.0.applying.lock().await;
        let pools = std::mem::take(&mut *self.0.pools.lock());
        for pool in pools.into_values() {
            pool.stop().await;
        }
    }

    fn tools(&self) -> Tools {
        let options = &self.0.options;
        Tools {
            tsdb: options.tsdb.clone(),
            clock: options.clock.clone(),
            folder: options.folder.clone(),
            seed: options.seed,
        }
    }

    /// Whether the job runs as it is.
    fn runs(&self, job: &ScrapeConfig) -> bool {
        let pools = self.0.pools.lock();
        pools
            .get(&job.job_name)
            .is_some_and(|pool| same(&pool.config, job))
    }

    fn states(&self) -> Vec<(String, Arc<Mutex<PoolState>>)> {
        let pools = self.0.pools.lock();
        pools
            .iter()
            .map(|(name, pool)| (name.clone(), Arc::clone(&pool.state)))
            .collect()
    }

    /// The names of all jobs, sorted.
    #[must_use]
    pub fn pools(&self) -> Vec<String> {
        self.0.pools.lock().keys().cloned().collect()
    }

    /// All targets, by job.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetReport> {
        let mut reports = Vec::new();
        for (_, state) in self.states() {
            let state = state.lock();
            reports.extend(
                state
                    .active
                    .values()
                    .map(|shared| shared.status.lock().clone()),
            );
        }
        reports
    }

    /// The labels of targets that relabelling dropped, by job, and how many they are: not all labels may be kept.
    #[must_use]
    pub fn dropped(&self) -> Vec<(String, Vec<LabelSet>, usize)> {
        let states = self.states().into_iter();
        states
            .map(|(name, state)| {
                let state = state.lock();
                (name, state.dropped.clone(), state.dropped_count)
            })
            .collect()
    }

    /// What each target says about its metrics.
    #[must_use]
    pub fn metadata(&self) -> Vec<(TargetReport, Vec<MetadataReport>)> {
        let mut reports = Vec::new();
        for (_, state) in self.states() {
            let active: Vec<_> = state.lock().active.values().cloned().collect();
            for shared in active {
                let cache = shared.cache.lock();
                let of_metric = |(metric, metadata): (&String, &Metadata)| MetadataReport {
                    metric: metric.clone(),
                    metadata: metadata.clone(),
                };
                let metadata = cache.metadata.iter().map(of_metric).collect();
                drop(cache);
                reports.push((shared.status.lock().clone(), metadata));
            }
        }
        reports
    }
}

/// Whether two jobs are the same, secrets among it.
fn same(left: &ScrapeConfig, right: &ScrapeConfig) -> bool {
    let shown = |job: &ScrapeConfig| serde_json::to_string(job).ok();
    let secrets = |job: &ScrapeConfig| {
        let servers: Vec<_> = job
            .http_sd_configs
            .iter()
            .map(crate::config::HttpSdConfig::http_client)
            .collect();
        (job.http_client(), servers)
    };
    shown(left) == shown(right) && secrets(left) == secrets(right)
}
