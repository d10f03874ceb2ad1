//! Both scrape the same targets, which are over limits or answer what cannot be read.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use serde_json::Value as Json;

use super::servers::Servers;

/// A job, its fields, and what its targets answer.
const JOBS: [(&str, &str, &str); 14] = [
    ("good", "", "a 1\nb 2\n"),
    ("over-the-limit", "sample_limit: 2", "a 1\nb 2\nc 3\nd 4\n"),
    (
        "over-the-limit-after-relabelling",
        "sample_limit: 2, metric_relabel_configs: [{source_labels: [__name__], regex: 'a|b', action: drop}]",
        "a 1\nb 2\nc 3\nd 4\ne 5\n",
    ),
    (
        "within-the-limit-after-relabelling",
        "sample_limit: 2, metric_relabel_configs: [{source_labels: [__name__], regex: 'a|b', action: drop}]",
        "a 1\nb 2\nc 3\nd 4\n",
    ),
    (
        "labels-at-once",
        "label_limit: 3",
        "a{x=\"1\",y=\"2\"} 1\nb 2\n",
    ),
    (
        "labels-later",
        "label_limit: 3",
        "b 2\na{x=\"1\",y=\"2\"} 1\nc 3\n",
    ),
    (
        "label-name",
        "label_name_length_limit: 8",
        "b 2\na{looooooong=\"1\"} 1\n",
    ),
    (
        "labels-over-the-limit",
        "label_limit: 3, sample_limit: 1",
        "a 1\nb 2\nc{x=\"1\",y=\"2\"} 1\n",
    ),
    ("bad-second-line", "", "a 1\nb x\nc 3\n"),
    ("bad-fourth-line", "", "# HELP a what\na 1\nb 2\n} 4\n"),
    ("bad-over-the-limit", "sample_limit: 1", "a 1\nb 2\nc x\n"),
    ("twice", "", "a 1\na 2\nb 2\na 3\n"),
    (
        "no-name",
        "metric_relabel_configs: [{source_labels: [__name__], regex: a, target_label: __name__, replacement: ''}]",
        "b 1\na 1\nc 1\n",
    ),
    ("body", "body_size_limit: 5B", "a 1\nb 2\n"),
];

/// The one whose targets are too many; each answers as the good job's.
const TOO_MANY: &str = "too-many-targets";

fn config(address: &str) -> String {
    let mut text =
        "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n".to_owned();
    let mut add = |job: &str, path: &str, fields: &str, targets: &str| {
        let comma = if fields.is_empty() { "" } else { ", " };
        text += &format!(
            "- {{job_name: {job}, metrics_path: /{path}, static_configs: [{{targets: [{targets}]}}]{comma}{fields}}}\n"
        );
    };
    for (job, fields, _) in JOBS {
        add(job, job, fields, &format!("'{address}'"));
    }
    let port = address.rsplit(':').next().expect("a port");
    let both = format!("'{address}', 'localhost:{port}'");
    add(TOO_MANY, "good", "target_limit: 1", &both);
    text
}

/// Serves each job's answer at its name.
async fn serve_answers() -> String {
    let mut router = Router::new();
    for (job, _, answer) in JOBS {
        router = router.route(&format!("/{job}"), get(move || async move { answer }));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// By job, instance and metric the value that a query gives.
fn values(answer: &Json) -> BTreeMap<String, String> {
    let series = answer["data"]["result"].as_array().expect("a result");
    let value = |series: &Json| {
        let label = |name: &str| series["metric"][name].as_str().unwrap_or("-").to_owned();
        let key = [label("job"), label("instance"), label("__name__")].join(" ");
        (
            key,
            series["value"][1].as_str().expect("a value").to_owned(),
        )
    };
    series.iter().map(value).collect()
}

/// By job and address how a target is; of those over the limit why, too.
fn targets(answer: &Json) -> BTreeMap<String, String> {
    let targets = answer["data"]["activeTargets"].as_array().expect("targets");
    let state = |target: &Json| {
        let text = |field: &str| target[field].as_str().expect("a text").to_owned();
        let reason = match text("scrapePool").as_str() {
            TOO_MANY => text("lastError"),
            _ => String::new(),
        };
        let key = [text("scrapePool"), text("scrapeUrl")].join(" ");
        (key, text("health") + " " + &reason)
    };
    targets.iter().map(state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_that_fails_is_told_of_in_the_same_numbers() {
    let config = config(&serve_answers().await);
    let Some(servers) = Servers::start_with("failing scrapes", &config).await else {
        return;
    };
    let all_are_scraped = async {
        loop {
            let (theirs, ours) = servers.ask("query?query=count(up)").await;
            let expected = (JOBS.len() + 2).to_string();
            let is_all = |answer: &Json| answer["data"]["result"][0]["value"][1] == expected;
            if is_all(&theirs.1) && is_all(&ours.1) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all_are_scraped)
        .await
        .expect("all targets are scraped");
    for query in [
        "%7B__name__=~%22up|scrape_samples_.*%22%7D",
        // The first scrape adds series, later ones none.
        "max_over_time(scrape_series_added[1h])",
    ] {
        let (theirs, ours) = servers.ask(&format!("query?query={query}")).await;
        assert_eq!(values(&ours.1), values(&theirs.1), "{query}");
    }
    let (theirs, ours) = servers.ask("targets").await;
    assert_eq!(targets(&ours.1), targets(&theirs.1));
}
