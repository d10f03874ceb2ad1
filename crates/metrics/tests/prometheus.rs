//! Against a real Prometheus, from `SPRINGTIDE_PROMETHEUS`: the same series are written to both over remote write, and
//! the same queries must give the same answers, values equal to 1e-12 of their size, and the same errors. The requests
//! that Grafana's datasource sends must give answers of the same form. Both scrape the same targets, and tell the same of
//! those that fail. `promtool`, from `SPRINGTIDE_PROMTOOL`, must
//! print of both the same.

#[path = "prometheus/compare.rs"]
mod compare;
#[path = "prometheus/grammar.rs"]
mod grammar;
#[path = "prometheus/scrapes.rs"]
mod scrapes;
#[path = "prometheus/servers.rs"]
mod servers;

use std::process::Command;

use serde_json::Value as Json;
use springtide_machinery::entropy::Entropy;

use grammar::Grammar;
use servers::{Servers, program};

/// The time of the first sample, in milliseconds; it is a whole number of steps.
const START: i64 = 1_600_000_000_000;
const STEP: i64 = 15_000;
const SAMPLES: i64 = 120;
/// Queries of one run; `SPRINGTIDE_DIFFERENTIAL_QUERIES` says another number.
const QUERIES: usize = 400;

fn number(name: &str, otherwise: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[tokio::test(flavor = "multi_thread")]
async fn random_queries_over_random_series_are_answered_as_prometheus_answers_them() {
    let Some(servers) = Servers::start("random queries").await else {
        return;
    };
    let seed = number("SPRINGTIDE_DIFFERENTIAL_SEED", 1);
    let queries = number("SPRINGTIDE_DIFFERENTIAL_QUERIES", QUERIES as u64);
    let grammar = Grammar::new(Entropy::from_seed(seed));
    servers.write(&grammar.series(START, STEP, SAMPLES)).await;
    let mut differences = Vec::new();
    let (mut answered, mut refused) = (0, 0);
    for _ in 0..queries {
        let query = grammar.query();
        let request = grammar.request(&query, START, STEP, SAMPLES);
        let (theirs, ours) = servers.ask(&request).await;
        match compare::difference(&theirs, &ours) {
            Some(difference) => differences.push(format!("{query}\n  {request}\n  {difference}")),
            None if theirs.1["status"] == "success" => answered += 1,
            None => refused += 1,
        }
    }
    servers.say(&format!(
        "seed {seed}: {answered} answered alike, {refused} refused alike, {} differ",
        differences.len()
    ));
    assert!(
        differences.is_empty(),
        "seed {seed}, {} of {queries} differ:\n{}",
        differences.len(),
        differences
            .iter()
            .take(20)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_as_prometheus_refuses_it() {
    let Some(servers) = Servers::start("errors").await else {
        return;
    };
    let grammar = Grammar::new(Entropy::from_seed(2));
    servers.write(&grammar.series(START, STEP, SAMPLES)).await;
    for request in [
        "query?query=up(&time=1",
        "query?query=&time=1",
        "query?query=sum(a&time=1",
        "query?query=rate(m_total)&time=1",
        "query?query=nofunc(m_total)&time=1",
        "query?query=1%20and%202&time=1",
        "query?query=m_total&time=soon",
        "query?query=m_total&timeout=soon&time=1",
        "query?query=m_total&time=1&limit=-1",
        "query?query=%7B%7D&time=1",
        "query?query=m_total%5B0s%5D&time=1",
        "query?query=m_total%7Ba%3D~%22(%22%7D&time=1",
        "query_range?query=m_total&start=2&end=1&step=1",
        "query_range?query=m_total&start=1&end=2&step=0",
        "query_range?query=m_total&start=1&end=200000&step=1",
        "query_range?query=m_total%5B5m%5D&start=1&end=2&step=1",
        "query_range?query=m_total&start=&end=2&step=1",
        "query_range?query=m_total&start=1&end=2&step=x",
        "series",
        "series?match[]=%7B%7D",
        "labels?start=x",
        "rules?type=x",
        "targets/metadata",
        "admin/tsdb/snapshot",
        "query_exemplars?query=m_total&start=2&end=1",
    ] {
        let (theirs, ours) = servers.ask(request).await;
        assert_eq!(ours.0, theirs.0, "{request}: {} / {}", theirs.1, ours.1);
        assert_eq!(ours.1["errorType"], theirs.1["errorType"], "{request}");
        let (theirs, ours) = (&theirs.1["error"], &ours.1["error"]);
        if theirs != ours {
            servers.say(&format!(
                "{request}: Prometheus says {theirs}, this says {ours}"
            ));
        }
    }
}

/// The shape of a document: names and types without values; of a list, its first item's.
fn shape(json: &Json) -> Json {
    match json {
        Json::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect(),
        Json::Array(items) => items.first().map(shape).into_iter().collect(),
        Json::String(_) => "text".into(),
        Json::Number(_) => "number".into(),
        Json::Bool(_) => "bool".into(),
        Json::Null => Json::Null,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_grafana_asks_is_answered_in_prometheus_form() {
    let Some(servers) = Servers::start("Grafana's requests").await else {
        return;
    };
    let grammar = Grammar::new(Entropy::from_seed(3));
    servers.write(&grammar.series(START, STEP, SAMPLES)).await;
    let (from, until) = (START / 1000, (START + STEP * SAMPLES) / 1000);
    let span = format!("start={from}&end={until}");
    for request in [
        format!("query_range?query=sum(rate(m_total%5B1m0s%5D))%20by%20(a)&{span}&step=15"),
        format!("query?query=1%2B1&time={until}"),
        format!("labels?{span}"),
        format!("labels?{span}&match[]=m_total"),
        format!("label/__name__/values?{span}"),
        format!("label/a/values?{span}&match[]=m_total"),
        format!("series?match[]=m_total&{span}"),
        format!("series?match[]=%7B__name__%3D~%22.*%22%7D&{span}&limit=1"),
        "rules".to_owned(),
        "alerts".to_owned(),
        "alertmanagers".to_owned(),
        "targets".to_owned(),
        "scrape_pools".to_owned(),
        format!("query_exemplars?query=m_total&{span}"),
        "format_query?query=sum(m_total)by(a)".to_owned(),
        "parse_query?query=sum(rate(m_total%7Ba!%3D%22x%22%7D%5B5m%5D))by(a)%2Bon(a)group_left()n"
            .to_owned(),
    ] {
        let (theirs, ours) = servers.ask(&request).await;
        let difference = compare::difference(&theirs, &ours);
        assert_eq!(difference, None, "{request}");
    }
    for request in [
        "status/tsdb",
        "status/runtimeinfo",
        "status/config",
        "metadata?limit=5",
    ] {
        let (theirs, ours) = servers.ask(request).await;
        assert_eq!(ours.0, theirs.0, "{request}");
        assert_eq!(shape(&ours.1), shape(&theirs.1), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_prints_of_both_the_same() {
    let Some(promtool) = program("SPRINGTIDE_PROMTOOL", "promtool") else {
        return;
    };
    let Some(servers) = Servers::start("promtool").await else {
        return;
    };
    let grammar = Grammar::new(Entropy::from_seed(4));
    servers.write(&grammar.series(START, STEP, SAMPLES)).await;
    let (from, until) = (START / 1000, (START + STEP * SAMPLES) / 1000 - 15);
    let (first, last) = (from.to_string(), until.to_string());
    let at = format!("--time={until}");
    let span = [format!("--start={from}"), format!("--end={until}")];
    let commands: [Vec<&str>; 5] = [
        vec!["query", "instant", &at, "URL", "sum by (a) (m_total)"],
        vec!["query", "instant", &at, "URL", "nofunc(m_total)"],
        vec![
            "query",
            "range",
            &span[0],
            &span[1],
            "--step=1m",
            "URL",
            "rate(m_total[1m])",
        ],
        vec![
            "query", "labels", "--start", &first, "--end", &last, "URL", "a",
        ],
        vec![
            "query",
            "series",
            "--match=m_total",
            &span[0],
            &span[1],
            "URL",
        ],
    ];
    for command in commands {
        let print = |url: &str| {
            let arguments = command
                .iter()
                .map(|part| if *part == "URL" { url } else { part });
            let output = Command::new(&promtool)
                .args(arguments)
                .output()
                .expect("promtool runs");
            let text = |bytes: &[u8]| {
                let printed = String::from_utf8_lossy(bytes).replace(url, "URL");
                // Series come in any order.
                let mut lines: Vec<String> = printed.lines().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            (
                output.status.code(),
                text(&output.stdout),
                text(&output.stderr),
            )
        };
        let (theirs, ours) = (print(&servers.theirs), print(&servers.ours));
        assert_eq!(ours, theirs, "{command:?}");
    }
}
