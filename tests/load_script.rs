//! `tide load SCRIPT.js` beside the real k6: the same script, the same server, the same verdicts.

// Every test uses a part of it.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use support::{Outcome, run, until, wait::PATIENCE};

/// A server on a free port that answers every request at once: `/missing` with 404, all else with 200.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(&stream));
        }
    });
    format!("http://{address}")
}

/// Answers requests until the client goes.
fn answer(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if !reader.read_line(&mut first).is_ok_and(|read| read > 0) {
            return;
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            if !reader.read_line(&mut header).is_ok_and(|read| read > 2) {
                break;
            }
            let header = header.to_ascii_lowercase();
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let status = if first.contains("/missing") {
            "404 Not Found"
        } else {
            "200 OK"
        };
        let mut writer = stream;
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A folder with a script, and both programs.
struct Stage {
    folder: tempfile::TempDir,
    url: String,
    k6: Option<PathBuf>,
}

impl Stage {
    fn new() -> Self {
        let k6 = std::env::var_os("SPRINGTIDE_K6").map(PathBuf::from);
        if k6.is_none() {
            support::skip("SPRINGTIDE_K6 names no k6 to compare with");
        }
        Self {
            folder: tempfile::tempdir().unwrap(),
            url: serve(),
            k6,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, text: &str) -> PathBuf {
        let path = self.file("script.js");
        fs::write(&path, text).unwrap();
        path
    }

    /// Runs a script by `tide load`.
    fn tide(&self, script: &Path, flags: &[&str]) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tide"));
        command.arg("load").arg(script).args(flags);
        self.run(command)
    }

    /// Runs a script by k6, where there is one.
    fn k6(&self, script: &Path, flags: &[&str]) -> Option<Outcome> {
        let mut command = Command::new(self.k6.as_ref()?);
        command
            .args(["run", "--no-color", "--address", "127.0.0.1:0"])
            .env("K6_NO_USAGE_REPORT", "true")
            .arg(script)
            .args(flags);
        Some(self.run(command))
    }

    fn run(&self, mut command: Command) -> Outcome {
        command
            .current_dir(self.folder.path())
            .env("URL", &self.url);
        run(command, PATIENCE)
    }

    /// The exit statuses of both, and what `tide` said.
    fn both(&self, text: &str, flags: &[&str]) -> (Outcome, Option<i32>) {
        let script = self.script(text);
        let ours = self.tide(&script, flags);
        let theirs = self.k6(&script, flags).and_then(|outcome| outcome.status);
        (ours, theirs)
    }
}

/// Options or code of a script, and the exit status that it has.
// rows: exit.0 exit.99 exit.100 exit.101 exit.104 exit.107 exit.108 exit.110
// rows: exec.test.abort exec.test.fail threshold.abortOnFail
const STATUSES: &[(&str, &str, i32)] = &[
    (
        "a plain run",
        "export const options = {iterations: 3}; export default function () { http.get(url); }",
        0,
    ),
    (
        "an exception of an iteration",
        "export default function () { throw new Error('x'); }",
        0,
    ),
    (
        "an exception of the init code",
        "throw new Error('x'); export default function () {}",
        107,
    ),
    (
        "an exception of setup",
        "export function setup() { throw new Error('x'); } export default function () {}",
        107,
    ),
    (
        "an aborted test",
        "export default function () { exec.test.abort('enough'); }",
        108,
    ),
    (
        "a test marked as failed",
        "export default function () { exec.test.fail('bad'); }",
        110,
    ),
    (
        "a setup that takes too long",
        "export const options = {setupTimeout: '100ms'}; export function setup() { sleep(60); } export default function () {}",
        100,
    ),
    (
        "a teardown that takes too long",
        "export const options = {teardownTimeout: '100ms'}; export function teardown() { sleep(60); } export default function () {}",
        101,
    ),
    (
        "a threshold that is crossed",
        "export const options = {iterations: 2, thresholds: {http_reqs: ['count>5']}}; export default function () { http.get(url); }",
        99,
    ),
    (
        "a threshold that aborts",
        "export const options = {vus: 1, duration: '10m', thresholds: {http_reqs: [{threshold: 'count<1', abortOnFail: true}]}}; export default function () { http.get(url); sleep(0.1); }",
        99,
    ),
    (
        "a threshold of a sub-metric",
        "export const options = {iterations: 2, thresholds: {'http_reqs{status:404}': ['count>0']}}; export default function () { http.get(url); }",
        99,
    ),
    (
        "a threshold that is none",
        "export const options = {iterations: 1, thresholds: {http_reqs: ['p(95)<5']}}; export default function () {}",
        104,
    ),
    (
        "a threshold on nothing",
        "export const options = {iterations: 1, thresholds: {nothing: ['count>5']}}; export default function () {}",
        104,
    ),
    (
        "a duration that is too short",
        "export const options = {duration: '10ms'}; export default function () {}",
        104,
    ),
    (
        "two shortcuts at once",
        "export const options = {iterations: 1, stages: [{duration: '1s', target: 1}]}; export default function () {}",
        104,
    ),
    (
        "an executor without its function",
        "export const options = {scenarios: {a: {executor: 'per-vu-iterations', exec: 'nope'}}}; export default function () {}",
        104,
    ),
    (
        "an unknown option",
        "export const options = {iterations: 1, nonsense: 3}; export default function () {}",
        0,
    ),
];

#[test]
fn exit_statuses_are_those_of_k6() {
    let stage = Stage::new();
    let head = "import http from 'k6/http'; import exec from 'k6/execution'; import { sleep } from 'k6'; const url = __ENV.URL;\n";
    for (what, text, status) in STATUSES {
        let (ours, theirs) = stage.both(&format!("{head}{text}"), &["--quiet"]);
        assert_eq!(ours.status, Some(*status), "{what}: {ours:#?}");
        if let Some(theirs) = theirs {
            assert_eq!(theirs, *status, "{what}: k6 itself");
        }
    }
}

/// A script with groups, checks, own metrics, tags, and fixed numbers of iterations.
const COUNTED: &str = r#"
import http from 'k6/http';
import { check, group } from 'k6';
import { Counter, Gauge, Rate, Trend } from 'k6/metrics';

const orders = new Counter('orders'), size = new Gauge('size'), good = new Rate('good'), took = new Trend('took', true);

export const options = {
  summaryTrendStats: ['avg', 'max', 'p(99)', 'count'],
  tags: { team: 'blue' },
  scenarios: {
    shared: { executor: 'shared-iterations', vus: 3, iterations: 20 },
    each: { executor: 'per-vu-iterations', vus: 2, iterations: 5, exec: 'each', tags: { kind: 'each' } },
  },
  thresholds: {
    orders: ['count==20'],
    checks: ['rate>0.9'],
    'http_reqs{kind:each}': ['count==10'],
    'took{team:blue}': ['max<=5'],
  },
};

export function setup() { return { url: __ENV.URL }; }

export default function (data) {
  group('order', () => {
    const answer = http.get(`${data.url}/menu`);
    check(answer, { 'is there': (r) => r.status === 200, 'is not there': (r) => r.status === 404 });
    group('pay', () => { check(http.post(`${data.url}/pay`, { sum: 5 }), { 'paid': (r) => r.body === 'ok' }); });
  });
  orders.add(1); size.add(7); good.add(true); took.add(5);
}

export function each(data) { http.get(`${data.url}/missing`, { tags: { name: 'nowhere' } }); }
"#;

/// What does not depend on time, of k6's `--summary-export`.
fn timeless(path: &Path) -> BTreeMap<String, Value> {
    let summary: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut found = BTreeMap::new();
    for (name, metric) in summary["metrics"].as_object().unwrap() {
        for field in ["count", "passes", "fails", "thresholds"] {
            let is_data = name.starts_with("data_");
            if let Some(value) = metric.get(field)
                && !is_data
            {
                found.insert(format!("{name} {field}"), value.clone());
            }
        }
    }
    found.insert("groups".to_owned(), summary["root_group"].clone());
    found
}

#[test]
fn a_script_counts_the_same_under_both_programs() {
    let stage = Stage::new();
    let script = stage.script(COUNTED);
    let ours = stage.tide(
        &script,
        &[
            "--summary-export",
            "ours.json",
            "--out",
            "json=ours.ndjson",
            "--junit",
            "ours.xml",
        ],
    );
    assert_eq!(ours.status, Some(99), "{ours:#?}");
    let ours_counted = timeless(&stage.file("ours.json"));
    assert_eq!(ours_counted["orders count"], 20);
    assert_eq!(ours_counted["http_reqs{kind:each} count"], 10);
    assert_eq!(ours_counted["iterations count"], 30);
    let junit = fs::read_to_string(stage.file("ours.xml")).unwrap();
    assert!(junit.contains("failures=\"2\""), "{junit}");
    let Some(theirs) = stage.k6(
        &script,
        &[
            "--summary-export",
            "theirs.json",
            "--out",
            "json=theirs.ndjson",
        ],
    ) else {
        return;
    };
    assert_eq!(theirs.status, Some(99), "{theirs:#?}");
    assert_eq!(ours_counted, timeless(&stage.file("theirs.json")));
    assert_eq!(
        points(&stage.file("ours.ndjson")),
        points(&stage.file("theirs.ndjson"))
    );
}

/// How many points of each metric there are with each set of tags; times and values left out.
fn points(path: &Path) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let metric = line["metric"].as_str().unwrap();
        // How often users are counted depends on time; bytes are counted at other moments.
        let depends_on_time = metric.starts_with("vus") || metric.starts_with("data_");
        if line["type"] == "Point" && !depends_on_time {
            *counts
                .entry(format!("{metric} {}", line["data"]["tags"]))
                .or_default() += 1;
        }
    }
    counts
}

#[test]
fn flags_and_variables_win_over_the_script() {
    let stage = Stage::new();
    let script = stage.script(
        "export const options = {vus: 3, duration: '10m'}; export default function () { console.log(`env ${__ENV.WHO} ${__VU}`); }",
    );
    let ours = stage.tide(
        &script,
        &["--vus", "2", "--iterations", "2", "-e", "WHO=me", "--quiet"],
    );
    assert_eq!(ours.status, Some(0), "{ours:#?}");
    ours.expect_said(&["env me", "iterations", "vus_max"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tide"));
    command
        .arg("load")
        .arg(&script)
        .env("K6_ITERATIONS", "3")
        .env("K6_VUS", "1");
    let by_variable = stage.run(command);
    assert_eq!(by_variable.status, Some(0), "{by_variable:#?}");
    by_variable.expect_said(&["3 complete and 0 interrupted iterations"]);
}

/// Flags under k6's names, each with a value that is seen in the options or in what runs.
// rows: flag.--vus flag.--iterations flag.--max-redirects flag.--batch flag.--batch-per-host flag.--rps
// rows: flag.--user-agent flag.--no-connection-reuse flag.--no-vu-connection-reuse flag.--throw
// rows: flag.--min-iteration-duration flag.--blacklist-ip flag.--block-hostnames flag.--system-tags
// rows: flag.--summary-trend-stats flag.--summary-time-unit flag.--tag flag.--discard-response-bodies
// rows: flag.--dns flag.--env flag.--no-setup flag.--no-teardown flag.--insecure-skip-tls-verify
// rows: flag.--no-thresholds flag.--quiet flag.--summary-export flag.--summary-mode flag.--out
// rows: option.precedence
const FLAGS: &[&str] = &[
    "--vus=2",
    "--iterations=2",
    "--max-redirects=3",
    "--batch=5",
    "--batch-per-host=4",
    "--rps=300",
    "--user-agent=an agent",
    "--no-connection-reuse",
    "--no-vu-connection-reuse",
    "--throw",
    "--min-iteration-duration=20ms",
    "--blacklist-ip=10.0.0.0/8",
    "--block-hostnames=*.blocked.test",
    "--system-tags=status,method",
    "--summary-trend-stats=avg,p(99)",
    "--summary-time-unit=ms",
    "--summary-mode=legacy",
    "--tag=one=two",
    "--discard-response-bodies",
    "--dns=ttl=1m,select=first,policy=any",
    "--env=WHO=me",
    "--no-setup",
    "--no-teardown",
    "--insecure-skip-tls-verify",
    "--no-thresholds",
    "--quiet",
    "--summary-export=summary.json",
    "--out=json=points.json",
];

#[test]
fn every_flag_of_k6_does_what_it_does_there() {
    let stage = Stage::new();
    // A flag wins over a variable, and a variable over the script.
    let script = stage.script(
        "import http from 'k6/http'; import exec from 'k6/execution';\n\
         export const options = { vus: 9, duration: '1h', rps: 1, setupTimeout: '9s', teardownTimeout: '8s', thresholds: { iterations: ['count>5'] } };\n\
         export function setup() { throw new Error('setup was called'); }\n\
         export function teardown() { throw new Error('teardown was called'); }\n\
         export default function () {\n\
           const answer = http.get(__ENV.URL);\n\
           const { ext, systemTags, ...options } = exec.test.options; options.systemTags = Array.from(systemTags).sort();\n\
           const shown = (value) => (value === null || typeof value !== 'object' ? value : Array.isArray(value) ? value.map(shown) : Object.fromEntries(Object.keys(value).sort().map((name) => [name, shown(value[name])])));\n\
           console.log(`options ${JSON.stringify(shown(options))} ${__ENV.WHO} ${answer.body} ${answer.request.headers['User-Agent']}`);\n\
         }",
    );
    let said = |outcome: &Outcome| -> Vec<String> {
        let mut lines: Vec<String> = outcome
            .err
            .lines()
            .filter_map(|line| Some(line[line.find("options {")?..].replace("\\\"", "\"")))
            .map(|line| {
                // k6's log escapes the line, and says where it is from.
                line.split("\" source=")
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        lines.sort();
        lines
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_tide"));
    command.arg("load").arg(&script).args(FLAGS);
    command.env("K6_RPS", "7").env("K6_SETUP_TIMEOUT", "6s");
    let ours = stage.run(command);
    assert_eq!(ours.status, Some(0), "{ours:#?}");
    assert_eq!(said(&ours).len(), 2, "{ours:#?}");
    assert!(said(&ours)[0].contains("\"rps\":300"), "{ours:#?}");
    assert!(
        said(&ours)[0].contains("\"setupTimeout\":\"6s\""),
        "{ours:#?}"
    );
    let summary = timeless(&stage.file("summary.json"));
    assert_eq!(summary["iterations count"], 2);
    // The summary from before version 1 has no sections.
    let titled = ours.out.contains("TOTAL RESULTS");
    assert!(!titled && ours.out.contains("  iterations..."), "{ours:#?}");
    let points_of_ours = points(&stage.file("points.json"));
    let Some(k6) = &stage.k6 else { return };
    let mut command = Command::new(k6);
    command
        .args(["run", "--no-color", "--address", "127.0.0.1:0"])
        .arg(&script)
        .args(FLAGS)
        .env("K6_NO_USAGE_REPORT", "true")
        .env("K6_RPS", "7")
        .env("K6_SETUP_TIMEOUT", "6s");
    let theirs = stage.run(command);
    assert_eq!(theirs.status, Some(0), "{theirs:#?}");
    assert_eq!(said(&ours), said(&theirs));
    assert_eq!(points_of_ours, points(&stage.file("points.json")));
}

// rows: flag.--duration flag.--stage
#[test]
fn flags_stand_for_a_scenario_as_in_k6() {
    let stage = Stage::new();
    let script = stage.script(
        "import exec from 'k6/execution'; import { sleep } from 'k6';\n\
         export const options = { iterations: 5 };\n\
         export default function () { const { executor, duration, stages } = exec.test.options.scenarios.default; console.log(`scenario ${executor} ${duration} ${stages && stages.map((one) => `${one.duration}:${one.target}`)} ${__ITER}.`); sleep(2); }",
    );
    let said = |outcome: &Outcome| -> Option<String> {
        let (_, line) = outcome.err.split_once("scenario ")?;
        line.split('.').next().map(str::to_owned)
    };
    for flags in [
        &["--vus=1", "--duration=1s", "--quiet"][..],
        &["--vus=1", "--stage=500ms:1", "--stage=500ms:1", "--quiet"],
        &["--stage=1s:2,500ms:0", "--stage=200ms:1", "--quiet"],
    ] {
        let ours = stage.tide(&script, flags);
        assert_eq!(ours.status, Some(0), "{ours:#?}");
        assert!(said(&ours).is_some(), "{ours:#?}");
        if let Some(theirs) = stage.k6(&script, flags) {
            assert_eq!(said(&ours), said(&theirs), "{flags:?}");
        }
    }
}

// rows: flag.--verbose flag.--http-debug
#[test]
fn more_is_said_where_a_flag_asks_for_it() {
    let stage = Stage::new();
    let script = stage.script(
        "import http from 'k6/http'; export default function () { console.debug('for the author'); http.post(__ENV.URL, 'the body'); }",
    );
    for (flags, said) in [
        (&["--quiet"][..], [false, false, false]),
        (&["--quiet", "--verbose"], [true, false, false]),
        (&["--quiet", "--http-debug"], [false, true, false]),
        (&["--quiet", "--http-debug=full"], [false, true, true]),
    ] {
        let words = ["for the author", "Response:", "the body"];
        let ours = stage.tide(&script, flags);
        assert_eq!(
            words.map(|words| ours.err.contains(words)),
            said,
            "{ours:#?}"
        );
        if let Some(theirs) = stage.k6(&script, flags) {
            let theirs =
                words.map(|words| theirs.err.contains(words) || theirs.out.contains(words));
            assert_eq!(theirs, said, "{flags:?}: k6 itself");
        }
    }
}

#[test]
fn a_script_writes_its_own_summary() {
    let stage = Stage::new();
    let script = stage.script(
        "export const options = {iterations: 4}; export default function () {}\n\
         export function handleSummary(data) { return { stdout: `did ${data.metrics.iterations.values.count}\\n`, 'own.txt': 'kept' }; }",
    );
    let ours = stage.tide(&script, &[]);
    assert_eq!(ours.status, Some(0), "{ours:#?}");
    ours.expect_said(&["did 4"]);
    assert!(!ours.has_said("TOTAL RESULTS"));
    assert_eq!(fs::read_to_string(stage.file("own.txt")).unwrap(), "kept");
}

#[test]
fn what_cannot_be_is_said_with_the_right_status() {
    let stage = Stage::new();
    let script = stage.script("export default function () {}");
    for (flags, status, said) in [
        (&["--rate", "5"][..], 104, "--rate is for a URL"),
        (&["--vus", "1.5"], 104, "invalid value"),
        (
            &["--out", "influxdb=x"],
            104,
            "write json=FILE, csv=FILE or",
        ),
        (&["--out", "json=/nowhere/at/all"], 104, "/nowhere/at/all"),
        (&["--env", "NOTHING"], 104, "NAME=VALUE"),
        (&["--tag", "a"], 104, "NAME=VALUE"),
        (&["--stage", "1s:1.5"], 104, "1.5 is not a whole number"),
        (&["-d", "soon"], 104, "-d soon"),
        (&["-d", "1s", "--duration", "2s"], 104, "give one of them"),
        (
            &["--summary-export", "/nowhere/at/all"],
            104,
            "--summary-export /nowhere/at/all: it cannot",
        ),
        (
            &["--junit", "/nowhere/at/all"],
            104,
            "--junit /nowhere/at/all: it cannot",
        ),
        (
            &["--log-output", "file=x"],
            104,
            "--log-output is not supported",
        ),
        (&["--summary-trend-stats", "p95"], 104, "is not a statistic"),
        (&["--iterations", "many"], 104, "invalid value"),
        (
            &["--console-output", "x"],
            104,
            "--console-output is not supported",
        ),
        (&["--nonsense"], 104, "--nonsense"),
    ] {
        stage.tide(&script, flags).expect_failure(status, &[said]);
    }
    let missing = stage.file("missing.js");
    stage
        .tide(&missing, &[])
        .expect_failure(107, &["missing.js"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_tide"));
    command.args(["load", &stage.url, "--rps", "3"]);
    stage
        .run(command)
        .expect_failure(104, &["--rps is for scripts"]);
}

#[test]
fn what_is_wrong_with_a_url_is_said_once() {
    let stage = Stage::new();
    for (flags, said) in [
        (&["-d", "2s"][..], "write --duration 2s"),
        (&["-d", "a", "--body", "b"], "give one of them"),
        (&["--threshold", "nosuch=rate<1"], "there is no metric"),
        (&["--out", "json=/nowhere/x"], "No such file"),
        (&["--replay", "/nowhere/x"], "No such file"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tide"));
        command.args(["load", &stage.url]).args(flags);
        let ours = stage.run(command);
        assert_eq!(ours.err.matches(said).count(), 1, "{ours:#?}");
        ours.expect_failure(104, &[said]);
    }
}

// rows: flag.-short flag.--no-usage-report flag.--no-color
#[test]
fn short_flags_are_those_of_k6() {
    let stage = Stage::new();
    let script = stage.script(
        "import exec from 'k6/execution'; import { sleep } from 'k6';\n\
         export default function () { const { executor, vus, startVUs, duration, iterations } = exec.test.options.scenarios.default; console.log(`scenario ${[executor, vus, startVUs, duration, iterations]} ${exec.scenario.iterationInTest === 0}.`); sleep(1); }\n\
         export function handleSummary(data) { return { stdout: `colours ${!data.options.noColor}.` }; }",
    );
    for flags in [
        &["-u", "1", "-d", "1s"][..],
        &["-u", "2", "-i", "2"],
        &["-u", "1", "-s", "1s:1"],
    ] {
        let flags: Vec<&str> = flags
            .iter()
            .copied()
            .chain(["--quiet", "--no-usage-report", "--no-color"])
            .collect();
        let said = |outcome: &Outcome| {
            let line = outcome.err.split("scenario ").nth(1);
            let line = line.and_then(|line| line.split(' ').next());
            (line.map(str::to_owned), outcome.has_said("colours false."))
        };
        let ours = stage.tide(&script, &flags);
        assert_eq!(ours.status, Some(0), "{ours:#?}");
        assert!(said(&ours).0.is_some() && said(&ours).1, "{ours:#?}");
        if let Some(theirs) = stage.k6(&script, &flags) {
            assert_eq!(said(&ours), said(&theirs), "{flags:?}");
        }
    }
}

/// SIGTERM once the script has said `running`; what the program said then.
fn terminated(mut command: Command, folder: &Path) -> (Option<i32>, String) {
    let log = fs::File::create(folder.join("said")).unwrap();
    let mut child = command
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(folder.join("said")).unwrap();
    until("the script runs", PATIENCE, || {
        let said = said();
        if said.contains("it runs") {
            Ok(())
        } else {
            Err(said)
        }
    });
    let signalled = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(signalled.success());
    let status = child.wait().unwrap();
    (status.code(), said())
}

// rows: exit.105
#[test]
fn sigterm_ends_a_test_with_teardown_and_summary_as_in_k6() {
    let stage = Stage::new();
    let script = stage.script(
        "import { sleep } from 'k6'; export const options = { vus: 1, duration: '10m' };\n\
         export default function () { console.log('it runs'); sleep(600); }\n\
         export function teardown() { console.log('torn down'); }",
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_tide"));
    command.arg("load").arg(&script);
    command.args(["--summary-export", "ours.json", "--report", "ours.html"]);
    let mut runs = vec![terminated(command, stage.folder.path())];
    assert!(fs::metadata(stage.file("ours.html")).unwrap().len() > 1000);
    timeless(&stage.file("ours.json"));
    if let Some(k6) = &stage.k6 {
        let mut command = Command::new(k6);
        command.args(["run", "--no-color", "--address", "127.0.0.1:0"]);
        command.env("K6_NO_USAGE_REPORT", "true").arg(&script);
        runs.push(terminated(command, stage.folder.path()));
    }
    for (status, said) in runs {
        assert_eq!(status, Some(105), "{said}");
        assert!(
            said.contains("torn down") && said.contains("TOTAL RESULTS"),
            "{said}"
        );
    }
}

#[test]
fn results_that_cannot_be_saved_change_no_verdict() {
    let stage = Stage::new();
    let script = "export const options = {iterations: 1, thresholds: {iterations: ['count>5']}}; export default function () {}\n\
         export function handleSummary() { return { '/nowhere/at/all': 'x', 'kept.txt': 'y', stdout: 'shown' }; }";
    let (ours, theirs) = stage.both(script, &["--quiet"]);
    ours.expect_failure(99, &["/nowhere/at/all cannot be written", "shown"]);
    assert_eq!(fs::read_to_string(stage.file("kept.txt")).unwrap(), "y");
    assert!(theirs.is_none_or(|status| status == 99));
    // A device that takes nothing.
    let script = stage.script("export const options = {iterations: 1, thresholds: {iterations: ['count>5']}}; export default function () {}");
    stage
        .tide(&script, &["--quiet", "--summary-export", "/dev/full"])
        .expect_failure(
            99,
            &["--summary-export /dev/full: it cannot", "TOTAL RESULTS"],
        );
}

#[test]
fn how_a_test_ended_is_said_once() {
    let stage = Stage::new();
    let head = "import exec from 'k6/execution'; import { sleep } from 'k6';\n";
    for (text, status, said) in [
        (
            "export default function () { exec.test.abort('stop'); }",
            108,
            "error: test aborted: stop",
        ),
        (
            "throw new Error('boom'); export default function () {}",
            107,
            "tide: Error: boom",
        ),
        (
            "export const options = {vus: 1, duration: '1m', thresholds: {iterations: [{threshold: 'count<1', abortOnFail: true}]}}; export default function () { sleep(0.1); }",
            99,
            "abortOnFail, which ended the test early",
        ),
        (
            "export const options = {vus: 'x'}; export default function () {}",
            104,
            "options of the script: vus: \"x\" is not a whole number",
        ),
    ] {
        let script = stage.script(&format!("{head}{text}"));
        stage
            .tide(&script, &["--quiet"])
            .expect_failure(status, &[said]);
    }
}

#[test]
fn a_script_can_come_from_standard_input() {
    let stage = Stage::new();
    fs::write(stage.file("helper.js"), "export const one = 'imported';").unwrap();
    let script = stage.script(
        "import { one } from './helper.js'; export default () => console.log(one, open === undefined);",
    );
    let programs = [
        Some(PathBuf::from(env!("CARGO_BIN_EXE_tide"))),
        stage.k6.clone(),
    ];
    for (program, verb) in programs.iter().zip(["load", "run"]) {
        let Some(program) = program else { continue };
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"exec "$0" "$1" - <"$2""#])
            .arg(program)
            .arg(verb)
            .arg(&script);
        let outcome = stage.run(command);
        assert_eq!(outcome.status, Some(0), "{outcome:#?}");
        outcome.expect_said(&["imported false"]);
    }
}
