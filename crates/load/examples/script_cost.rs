//! What scripts cost: CPU per iteration of a get and two checks, and memory per virtual user.
//!
//! `cargo run --release -p springtide-load --example script_cost -- URL [iterations] [users]`

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use springtide_load::metric::{Collector, MetricRegistry, Tags};
use springtide_load::script::{Script, ScriptSettings};
use springtide_load::user::{Iteration, RunState, ScenarioState, UserFactory, VirtualUser};
use springtide_machinery::clock::Clock;

const SCRIPT: &str = "import http from 'k6/http'; import { check } from 'k6';
export default () => { const r = http.get(__ENV.URL); check(r, { 'status is 200': (r) => r.status === 200, fast: (r) => r.timings.duration < 500 }); };";

/// Time on a processor of this process, in seconds.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: f64 = after
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|part| part.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

/// Memory in use, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status.split(' ').nth(1).and_then(|part| part.parse().ok());
    pages.unwrap_or(0_u64) * 4096
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("a URL is expected")?;
    let iterations: u64 = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let users: u64 = arguments.next().map_or(Ok(1000), |text| text.parse())?;
    let folder = std::env::temp_dir().join(format!("script-cost-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("script.js");
    std::fs::write(&path, SCRIPT)?;
    let registry = Arc::new(MetricRegistry::default());
    let collector = Collector::new(Arc::clone(&registry), false);
    let settings = ScriptSettings {
        env: BTreeMap::from([("URL".to_owned(), url)]),
        log: Arc::new(|line| eprintln!("{}", line.message)),
        registry,
        clock: Clock::system(),
        run: Arc::new(RunState::default()),
    };
    let script = Script::load(&path, settings).await?;
    std::fs::remove_dir_all(&folder)?;
    let sink = collector.sink();
    let scenario = Arc::new(ScenarioState {
        name: "default".into(),
        executor: "constant-vus",
        exec: "default".to_owned(),
        env: BTreeMap::new(),
        tags: Tags::default(),
        started: OnceLock::new(),
        lacks_users: std::sync::atomic::AtomicBool::new(false),
        progress: Box::new(|| 0.0),
    });
    let before = resident();
    let mut all = Vec::new();
    for number in 1..=users {
        all.push(script.create(number, sink.clone()).await?);
    }
    let iteration = |number| Iteration {
        scenario: Arc::clone(&scenario),
        number,
        intended_start: None,
    };
    for user in &mut all {
        user.iterate(&iteration(0)).await;
    }
    let each = (resident() - before) / users.max(1);
    println!("memory: {} KB a user, with its connection", each / 1024);
    all.truncate(50);
    let each_user = iterations / 50;
    let start = processor_time();
    let work = all.iter_mut().map(|user| async {
        for number in 0..each_user {
            user.iterate(&iteration(number)).await;
        }
    });
    futures::future::join_all(work).await;
    #[expect(clippy::cast_precision_loss)]
    let micros = (processor_time() - start) * 1e6 / (each_user * 50) as f64;
    println!("processor: {micros:.1} µs an iteration of one request and two checks");
    Ok(())
}
