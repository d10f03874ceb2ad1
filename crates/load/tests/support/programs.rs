//! Runs one script on this crate's engine and on the real k6, and holds what comes of it together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use springtide_load::script::{Log, LogLine};
use springtide_load::session::{Session, Settings};
use springtide_load::user::RunState;

use super::serve::{Servers, serve_all};

/// A script of the table, and what its first lines say of it.
pub(crate) struct ConformanceScript {
    path: PathBuf,
    text: String,
}

/// What a run of a script came to.
#[derive(Debug, Default)]
pub(crate) struct Came {
    /// The exit status.
    pub status: i32,
    /// What was written, without what differs from run to run.
    pub lines: Vec<String>,
    /// By set of tags, how many points there are of each metric.
    points: BTreeMap<String, String>,
    /// The same of the lines of comma-separated values.
    rows: BTreeMap<String, u64>,
    /// What does not depend on time, of the summary's export.
    summary: BTreeMap<String, Value>,
}

// === impl ConformanceScript ===

impl ConformanceScript {
    pub(crate) fn read(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            text: std::fs::read_to_string(path).unwrap(),
        }
    }

    /// The values of the first lines that begin with `// NAME`.
    fn notes(&self, name: &str) -> Vec<&str> {
        let head = self.text.lines().take_while(|line| line.starts_with("//"));
        head.filter_map(|line| line.strip_prefix("// ")?.strip_prefix(name))
            .filter_map(|rest| rest.strip_prefix(':').or(rest.is_empty().then_some("")))
            .map(str::trim)
            .collect()
    }

    fn has_summary(&self) -> bool {
        self.text.contains("function handleSummary")
    }

    /// True if the usual summary is to be compared.
    fn shows_summary(&self) -> bool {
        !self.notes("summary").is_empty()
    }

    /// Variables for both programs: `// env: K6_VUS=2`.
    fn environment(&self, servers: &Servers) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = self
            .notes("env")
            .into_iter()
            .filter_map(|note| note.split_once('='))
            .map(|(name, value)| (name.to_owned(), servers.inserted(value)))
            .collect();
        all.extend(servers.variables());
        all
    }

    /// Rows that the script names: in calls of `row` and `later`, and in lines `// rows: …`.
    pub(crate) fn rows(&self) -> Vec<String> {
        let called = ["row('", "later('", "row(`", "later(`"]
            .into_iter()
            .flat_map(|call| self.text.split(call).skip(1))
            .filter_map(|rest| rest.split(['\'', '`']).next());
        // A name with a variable part stands in a line of its own.
        called
            .chain(self.notes("rows"))
            .flat_map(str::split_whitespace)
            .filter(|row| !row.contains('$'))
            .map(str::to_owned)
            .collect()
    }

    /// What differs between the two programs; empty where they agree. Without k6 it is what this
    /// program alone shows: that the script came to its end.
    pub(crate) async fn differences(&self, k6: Option<&Path>) -> Vec<String> {
        let servers = serve_all().await;
        let folder = tempfile::tempdir().unwrap();
        let ours = self.by_us(&servers, folder.path()).await;
        let mut different = self.silent(&ours);
        let Some(k6) = k6 else { return different };
        let theirs = self.by_k6(k6, &servers, folder.path()).await;
        if ours.status != theirs.status {
            different.push(format!("exit status {} {}", ours.status, theirs.status));
        }
        let sorted = !self.notes("sorted").is_empty();
        compare_lines(ours.lines, theirs.lines, sorted, &mut different);
        if !self.notes("json").is_empty() {
            compare("points", &ours.points, &theirs.points, &mut different);
        }
        if !self.notes("csv").is_empty() {
            compare("csv", &ours.rows, &theirs.rows, &mut different);
        }
        if self.notes("counts").is_empty() {
            compare("summary", &ours.summary, &theirs.summary, &mut different);
        }
        different
    }

    /// Rows that the script names and of which it wrote nothing.
    fn silent(&self, came: &Came) -> Vec<String> {
        let noted: Vec<&str> = self
            .notes("rows")
            .into_iter()
            .flat_map(str::split_whitespace)
            .collect();
        self.rows()
            .into_iter()
            .filter(|row| !noted.contains(&row.as_str()))
            .filter(|row| {
                !came.lines.iter().any(|line| {
                    line.split_once(':')
                        .is_some_and(|(rows, _)| rows.split(' ').any(|one| one == row))
                })
            })
            .map(|row| format!("{row} was never written: {:?}", came.lines))
            .collect()
    }

    async fn by_us(&self, servers: &Servers, folder: &Path) -> Came {
        let environment = self.environment(servers);
        let lines: Arc<Mutex<String>> = Arc::default();
        let told = Arc::clone(&lines);
        let log: Log = Arc::new(move |line: LogLine<'_>| {
            if line.level != "debug" {
                told.lock().push_str(&format!("{}\n", line.message));
            }
        });
        let (json, csv) = (folder.join("ours.json"), folder.join("ours.csv"));
        let export = folder.join("ours.summary");
        let settings = Settings {
            environment: environment.clone(),
            outputs: vec![
                format!("json={}", json.display()),
                format!("csv={}", csv.display()),
            ],
            summary_export: Some(export.clone()),
            threads: Some(1),
            ..Settings::default()
        };
        let came =
            match Session::load(&self.path, settings, log, Arc::new(RunState::default())).await {
                Ok(session) => session.run(|_| {}).await,
                Err(error) => Err(error),
            };
        let mut text = lines.lock().clone();
        let status = match came {
            Ok(finished) => {
                if let Some(shown) = finished.handled.as_ref().and_then(|all| all.get("stdout")) {
                    text.push_str(&String::from_utf8_lossy(shown));
                }
                if self.shows_summary() {
                    let shown = springtide_load::summary::text(&finished.summary);
                    text.push_str(&unmeasured(&shown));
                }
                finished.status
            }
            Err(error) => {
                text.push_str(&error.to_string());
                error.status()
            }
        };
        Came {
            status: status.into(),
            lines: timeless(&text, servers),
            points: points(&json, servers),
            rows: csv_rows(&csv, servers),
            summary: summary(&export, servers),
        }
    }

    async fn by_k6(&self, program: &Path, servers: &Servers, folder: &Path) -> Came {
        let (json, csv) = (folder.join("k6.json"), folder.join("k6.csv"));
        let export = folder.join("k6.summary");
        let mut command = tokio::process::Command::new(program);
        command
            .args(["run", "--quiet", "--log-format", "raw"])
            // Its control API would be in the way of another k6.
            .args(["--address", "127.0.0.1:0"])
            .arg(format!("--out=json={}", json.display()))
            .arg(format!("--out=csv={}", csv.display()))
            .arg(format!("--summary-export={}", export.display()));
        let output = command
            .arg(&self.path)
            .envs(self.environment(servers))
            .env("K6_NO_USAGE_REPORT", "true")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .await
            .unwrap();
        let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
        let shown = String::from_utf8_lossy(&output.stdout);
        if self.has_summary() {
            text.push_str(&shown);
        }
        if self.shows_summary() {
            text.push_str(&unmeasured(&shown));
        }
        Came {
            status: output.status.code().unwrap_or(-1),
            lines: timeless(&text, servers),
            points: points(&json, servers),
            rows: csv_rows(&csv, servers),
            summary: summary(&export, servers),
        }
    }
}

/// Lines that one of the two alone wrote; where there are none, the first that stands elsewhere.
fn compare_lines(
    mut ours: Vec<String>,
    mut theirs: Vec<String>,
    sorted: bool,
    different: &mut Vec<String>,
) {
    if sorted {
        ours.sort();
        theirs.sort();
    }
    if ours == theirs {
        return;
    }
    let moved = ours.iter().zip(&theirs).find(|(left, right)| left != right);
    let moved = moved.map(|(left, right)| format!("order: ours {left}\n k6s: {right}"));
    let mut left = theirs.clone();
    let mut alone = Vec::new();
    for line in ours {
        match left.iter().position(|other| *other == line) {
            Some(at) => drop(left.remove(at)),
            None => alone.push(format!("ours: {line}")),
        }
    }
    alone.extend(left.into_iter().map(|line| format!("k6s:  {line}")));
    // Those of the same row stand together.
    alone.sort_by_key(|line| {
        line.get(6..)
            .and_then(|line| line.split(':').next())
            .map(str::to_owned)
    });
    if alone.is_empty() {
        alone.extend(moved);
    }
    different.extend(alone);
}

/// Rows that a file names in lines `// rows: …`.
pub(crate) fn rows_in_notes(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("// rows: "))
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

fn compare<V: PartialEq + std::fmt::Debug>(
    what: &str,
    ours: &BTreeMap<String, V>,
    theirs: &BTreeMap<String, V>,
    different: &mut Vec<String>,
) {
    for name in ours
        .keys()
        .chain(theirs.keys().filter(|name| !ours.contains_key(*name)))
    {
        let (ours, theirs) = (ours.get(name), theirs.get(name));
        if ours != theirs {
            different.push(format!("{what} {name}: ours {ours:?} k6s {theirs:?}"));
        }
    }
}

/// Lines without what differs from run to run and between the programs' own words.
fn timeless(text: &str, servers: &Servers) -> Vec<String> {
    let noise = |line: &str| {
        line.trim().is_empty()
            || [
                "Request Failed",
                "A batch request failed",
                "Stopped after",
                // k6's command line says it; `tide load` has its own.
                "thresholds on metrics",
                "test aborted",
                // It will be relative to something else one day.
                "open() was used",
                "\tat ",
                "init ",
            ]
            .into_iter()
            .any(|start| line.trim_start_matches(' ').starts_with(start))
    };
    text.lines()
        .filter(|line| !noise(line))
        // What k6 calls an error that its own code throws.
        .map(|line| servers.named(line).replace("GoError: ", "Error: "))
        .collect()
}

/// The lines of a summary, without what was measured by the clock, and without the width of columns,
/// which depends on it.
fn unmeasured(summary: &str) -> String {
    let is_time = |text: &str| {
        ["s", "m"].into_iter().any(|unit| text.ends_with(unit))
            && text.starts_with(|sign: char| sign.is_ascii_digit())
    };
    let shown = |word: &str| -> String {
        match word.split_once('=') {
            Some((name, value)) if is_time(value) => format!("{name}=TIME"),
            _ if word.ends_with("/s") => "RATE".to_owned(),
            _ => word.to_owned(),
        }
    };
    let mut lines = String::new();
    for line in summary.lines() {
        let rest = line.trim_start();
        // Those are looked at by the clock.
        if rest.starts_with("vus") {
            continue;
        }
        // And bytes are counted in portions.
        let bytes = ["data_received.", "data_sent."];
        let of_bytes = bytes.iter().any(|name| rest.starts_with(name));
        let kept = if of_bytes {
            rest.split(':').next().unwrap()
        } else {
            rest
        };
        let words: Vec<String> = kept.split_whitespace().map(shown).collect();
        let indent = &line[..line.len() - rest.len()];
        lines.push_str(&format!("{indent}{}\n", words.join(" ")));
    }
    lines
}

/// By set of tags, how many points there are of each metric; times and values left out.
fn points(path: &Path, servers: &Servers) -> BTreeMap<String, String> {
    let text = servers.named(&std::fs::read_to_string(path).unwrap_or_default());
    let mut found: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for line in text.lines() {
        let point: Value = serde_json::from_str(line).unwrap();
        let metric = point["metric"].as_str().unwrap_or_default();
        // Those are looked at by the clock, and bytes are counted in portions.
        let by_time = metric.starts_with("vus") || metric.starts_with("data_");
        // What k6 does not have.
        let our_own = metric == "http_req_response_time";
        if point["type"] == "Metric" && !by_time && !our_own {
            let mut parts: Vec<String> = point["data"]["submetrics"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|part| format!("{} {}", part["name"], part["tags"]))
                .collect();
            parts.sort();
            found
                .entry(format!("the metric {metric}"))
                .or_default()
                .insert(format!("{} {parts:?}", point["data"]["type"]), 1);
        }
        if point["type"] == "Point" && !by_time && !our_own {
            let mut labels = point["data"]["tags"].to_string();
            if !point["data"]["metadata"].is_null() {
                labels.push_str(&format!(" and {}", point["data"]["metadata"]));
            }
            *found
                .entry(labels)
                .or_default()
                .entry(metric.to_owned())
                .or_default() += 1;
        }
    }
    found
        .into_iter()
        .map(|(tags, metrics)| (tags, format!("{metrics:?}")))
        .collect()
}

/// How many lines of comma-separated values there are of each metric with each set of tags.
fn csv_rows(path: &Path, servers: &Servers) -> BTreeMap<String, u64> {
    let text = servers.named(&std::fs::read_to_string(path).unwrap_or_default());
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let [metric, _time, _value, tags] = line.splitn(4, ',').collect::<Vec<_>>()[..] else {
            continue;
        };
        // k6 writes tags that have no column, and metadata, in any order.
        let [metadata, more, columns] = tags.rsplitn(3, ',').collect::<Vec<_>>()[..] else {
            continue;
        };
        let sorted = |pairs: &str| {
            let mut pairs: Vec<&str> = pairs.split('&').collect();
            pairs.sort_unstable();
            pairs.join("&")
        };
        let tags = format!("{columns},{},{}", sorted(more), sorted(metadata));
        let of_time = ["vus", "data_", "http_req_response_time"];
        if !of_time.iter().any(|start| metric.starts_with(start)) {
            *found.entry(format!("{metric} {tags}")).or_default() += 1;
        }
    }
    found
}

/// What does not depend on time, of `--summary-export`: which metrics there are, counts, thresholds,
/// groups and checks.
fn summary(path: &Path, servers: &Servers) -> BTreeMap<String, Value> {
    let text = servers.named(&std::fs::read_to_string(path).unwrap_or_default());
    let Ok(summary) = serde_json::from_str::<Value>(&text) else {
        return BTreeMap::new();
    };
    let mut found = BTreeMap::from([("groups".to_owned(), summary["root_group"].clone())]);
    for (name, metric) in summary["metrics"].as_object().into_iter().flatten() {
        // k6 has no such metric, and looks at the users once a second only.
        if name == "http_req_response_time" || name.starts_with("vus") {
            continue;
        }
        let fields = metric.as_object().unwrap();
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        found.insert(name.clone(), names.into());
        for field in ["count", "passes", "fails", "thresholds"] {
            if let Some(value) = fields.get(field)
                && !name.starts_with("data_")
            {
                found.insert(format!("{name} {field}"), value.clone());
            }
        }
    }
    found
}
