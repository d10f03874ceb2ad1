use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::ScrapeConfig;
use crate::discovery::{Environment, Groups, Sources, discover};
use crate::http_client::HttpClient;

use super::cache::SeriesCache;
use super::report::{Health, TargetReport};
use super::target::{Dropped, Target, choose_targets};
use super::worker::{Shared, Tools, Worker, end_series};

/// What a pool tells of its targets.
#[derive(Debug, Default)]
pub(super) struct PoolState {
    pub(super) active: BTreeMap<String, Arc<Shared>>,
    pub(super) dropped: Vec<Dropped>,
    pub(super) dropped_count: usize,
}

/// The targets of one job. Dropped, it stops.
pub(super) struct Pool {
    pub(super) config: Arc<ScrapeConfig>,
    pub(super) state: Arc<Mutex<PoolState>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

struct Running {
    stop: CancellationToken,
    shared: Arc<Shared>,
}

// === impl Pool ===

impl Pool {
    /// Starts to scrape a job. Targets that an earlier pool of the job had, and this one has too, go on
    /// where they were.
    pub(super) fn start(
        config: ScrapeConfig,
        tools: Tools,
        environment: Environment,
        earlier: Option<Arc<Mutex<PoolState>>>,
    ) -> Result<Pool, String> {
        let client = HttpClient::new(config.http_client(), &tools.folder)
            .map_err(|error| format!("job {:?}: {error}", config.job_name))?;
        let config = Arc::new(config);
        let state = earlier.unwrap_or_default();
        let stop = CancellationToken::new();
        let keeper = Keeper {
            config: Arc::clone(&config),
            client,
            tools,
            state: Arc::clone(&state),
            refusal: Arc::default(),
            running: BTreeMap::new(),
            workers: JoinSet::new(),
        };
        let task = tokio::spawn(keeper.run(environment, stop.clone()));
        Ok(Pool {
            config,
            state,
            stop,
            task,
        })
    }

    /// Stops all workers; their series stay as they are.
    pub(super) async fn stop(self) -> Arc<Mutex<PoolState>> {
        self.stop.cancel();
        let _ = self.task.await;
        self.state
    }
}

struct Keeper {
    config: Arc<ScrapeConfig>,
    client: HttpClient,
    tools: Tools,
    state: Arc<Mutex<PoolState>>,
    /// Why no target of the job is scraped, where none is.
    refusal: Arc<Mutex<Option<String>>>,
    running: BTreeMap<String, Running>,
    workers: JoinSet<()>,
}

impl Keeper {
    async fn run(mut self, environment: Environment, stop: CancellationToken) {
        let sources = Sources::from(&*self.config);
        let (mut groups, mut discoveries) = discover(&sources, &environment, &stop);
        loop {
            let known = groups.borrow_and_update().clone();
            self.take_up(&known, &stop);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                changed = groups.changed() => if changed.is_err() {
                    // Nothing is discovered any more; what is known stays.
                    stop.cancelled().await;
                    break;
                },
            }
        }
        for running in self.running.values() {
            running.stop.cancel();
        }
        while self.workers.join_next().await.is_some() {}
        while discoveries.join_next().await.is_some() {}
    }

    /// Starts and stops workers, so that they are those of the targets that are known now.
    fn take_up(&mut self, groups: &Groups, stop: &CancellationToken) {
        let mut chosen = choose_targets(&self.config, groups);
        for fault in &chosen.faults {
            tracing::error!(job = self.config.job_name, fault, "creating target failed");
        }
        self.refuse_too_many(chosen.targets.len());
        let mut state = self.state.lock();
        let gone: Vec<String> = state
            .active
            .keys()
            .filter(|key| !chosen.targets.contains_key(*key))
            .cloned()
            .collect();
        let now = self.tools.clock.now().as_millisecond();
        for key in gone {
            if let Some(running) = self.running.remove(&key) {
                running.stop.cancel();
            }
            if let Some(shared) = state.active.remove(&key) {
                // Its series may go on at another target: this ends them for who asks meanwhile.
                end_series(&shared, &self.tools.tsdb, now);
            }
        }
        for (key, target) in chosen.targets {
            if self.running.contains_key(&key) {
                continue;
            }
            let shared = state.active.entry(key.clone()).or_insert_with(|| {
                Arc::new(Shared {
                    status: Mutex::new(fresh_report(&self.config.job_name, &target)),
                    cache: Mutex::new(SeriesCache::default()),
                })
            });
            // Relabelling may have changed with the configuration: every series is looked at again.
            forget_labels(shared);
            let shared = Arc::clone(shared);
            let worker = Worker {
                config: Arc::clone(&self.config),
                offset: self.offset(&target),
                target,
                client: self.client.clone(),
                tsdb: self.tools.tsdb.clone(),
                clock: self.tools.clock.clone(),
                shared: Arc::clone(&shared),
                refusal: Arc::clone(&self.refusal),
            };
            let stop = stop.child_token();
            self.workers.spawn(worker.run(stop.clone()));
            self.running.insert(key, Running { stop, shared });
        }
        state.dropped_count = chosen.dropped.len();
        let most = self.config.keep_dropped_targets.unwrap_or(0);
        if most > 0 {
            chosen
                .dropped
                .truncate(usize::try_from(most).unwrap_or(usize::MAX));
        }
        state.dropped = chosen.dropped;
        drop(state);
        // Workers that ended are let go.
        while self.workers.try_join_next().is_some() {}
        self.running
            .retain(|_, running| !running.stop.is_cancelled());
        debug_assert!(
            self.running
                .values()
                .all(|running| Arc::strong_count(&running.shared) > 1)
        );
    }

    /// Has every scrape fail while the job has more targets than it may have. They stay targets, so that `up` is 0
    /// and who asks sees why.
    fn refuse_too_many(&self, found: usize) {
        let limit = self.config.target_limit.unwrap_or(0);
        let refusal = (limit > 0 && found as u64 > limit)
            .then(|| format!("target_limit exceeded (number of targets: {found}, limit: {limit})"));
        let mut current = self.refusal.lock();
        if *current != refusal
            && let Some(error) = &refusal
        {
            tracing::error!(job = self.config.job_name, error, "no target is scraped");
        }
        *current = refusal;
    }

    /// How long until the target's place in the interval, which is the same after every restart.
    fn offset(&self, target: &Target) -> Duration {
        let interval = u64::try_from(target.interval.millis()).unwrap_or(1).max(1);
        let now = self.tools.clock.now().as_millisecond();
        let now = u64::try_from(now).unwrap_or(0);
        let place = target.spread(self.tools.seed) % interval;
        let wait = (place + interval - now % interval) % interval;
        Duration::from_millis(wait)
    }
}

fn fresh_report(pool: &str, target: &Target) -> TargetReport {
    TargetReport {
        pool: pool.to_owned(),
        target: target.clone(),
        health: Health::Unknown,
        last_error: String::new(),
        last_scrape: None,
        last_duration: Duration::ZERO,
    }
}

/// Makes a worker read every series' labels again. What the last scrape had is still known, so that what is
/// gone after a reload is marked stale.
fn forget_labels(shared: &Shared) {
    let mut cache = shared.cache.lock();
    let last = cache.last_good;
    let kept = std::mem::take(&mut cache.series);
    for (at, known) in kept
        .into_values()
        .filter(|known| known.seen == last)
        .enumerate()
    {
        // No answer writes a series like this, so these go stale unless the same labels come again.
        cache.series.insert(format!("\0{at}"), known);
    }
}
