//! The table of docs/load-conformance.md, row by row: what it calls supported behaves as in the real
//! k6, what it calls refused is refused by name before anything runs, and every row has its test.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use springtide_load::script::{Log, LogLine};
use springtide_load::session::{Session, Settings};
use springtide_load::user::{RunState, StopReason};
use support::k6;
use support::programs::{ConformanceScript, rows_in_notes};
use support::serve::serve;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

async fn compare(name: &str) {
    let script = ConformanceScript::read(&folder().join(format!("{name}.js")));
    let different = script.differences(k6().as_deref()).await;
    assert!(different.is_empty(), "{name}.js:\n{}", different.join("\n"));
}

/// A test for every script of the folder.
macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        const SCRIPTS: &[&str] = &[$(stringify!($name)),*];
        mod behaves_as_in_k6 {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::compare(stringify!($name)).await;
                }
            )*
        }
    };
}

scripts!(
    abort,
    abort_caught,
    arrivals,
    bodies,
    common_esm,
    common_script,
    cookies,
    crypto,
    execution,
    executors,
    html,
    http,
    imports_in_circles,
    interrupted,
    k6,
    life,
    locale,
    marked_as_failed,
    metrics,
    nothing_finished,
    nothing_measured,
    options_empty,
    options_env,
    options_http,
    options_numbers,
    options_tls,
    setup_throws,
    shortcut_duration,
    shortcut_stages,
    summary_full,
    summary_legacy,
    system_tags,
    teardown_counts,
    teardown_throws,
    users_apart,
    users_in_turn,
    websocket,
);

#[test]
fn every_script_of_the_folder_is_run() {
    let known: BTreeSet<&str> = SCRIPTS.iter().copied().chain(["row"]).collect();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "js") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(known.contains(name.as_str()), "{name}.js is in no test");
        }
    }
}

/// Variables of k6's remote write that are refused, with a value.
const REMOTE_WRITE_REFUSED: [(&str, &str); 3] = [
    ("K6_PROMETHEUS_RW_TREND_AS_NATIVE_HISTOGRAM", "true"),
    ("K6_PROMETHEUS_RW_SIGV4_REGION", "eu-west-1"),
    ("K6_PROMETHEUS_RW_SIGV4_ACCESS_KEY", "key"),
];

/// A row that is refused, a script that asks for it, and what the error names.
const REFUSED_AT_START: &[(&str, &str, &str)] = &[
    (
        "option.localIPs",
        "export const options = { localIPs: '127.0.0.1' };",
        "localIPs",
    ),
    (
        "option.tlsCipherSuites",
        "export const options = { tlsCipherSuites: ['X'] };",
        "tlsCipherSuites",
    ),
    (
        "option.tlsVersion-before-1.2",
        "export const options = { tlsVersion: 'tls1.1' };",
        "tls1.1",
    ),
    (
        "executor.externally-controlled",
        "export const options = { scenarios: { a: { executor: 'externally-controlled', vus: 1, duration: '1s' } } };",
        "externally-controlled",
    ),
    (
        "scenario.unknown-field",
        "export const options = { scenarios: { a: { executor: 'constant-vus', duration: '1s', nonsense: 1 } } };",
        "nonsense",
    ),
    (
        "scenario.fractions",
        "export const options = { scenarios: { a: { executor: 'constant-arrival-rate', rate: 1.5, duration: '1s', preAllocatedVUs: 1 } } };",
        "scenarios.a.rate: 1.5 is not a whole number",
    ),
    (
        "option.blockHostnames-inner-star",
        "export const options = { blockHostnames: ['*.a.*'] };",
        "invalid hostname pattern \"*.a.*\"",
    ),
    (
        "scenario.options",
        "export const options = { scenarios: { a: { executor: 'constant-vus', duration: '1s', options: { browser: {} } } } };",
        "options",
    ),
    (
        "threshold.wrong",
        "export const options = { thresholds: { http_reqs: ['p(95)<5'] } };",
        "p(95)<5",
    ),
    (
        "threshold.wrong",
        "export const options = { thresholds: { http_reqs: ['rate>>5'] } };",
        "rate>>5",
    ),
    (
        "threshold.wrong",
        "export const options = { thresholds: { nothing: ['count>5'] } };",
        "nothing",
    ),
    (
        "module.k6/browser",
        "import { browser } from 'k6/browser';",
        "k6/browser",
    ),
    (
        "module.k6/experimental/browser",
        "import { browser } from 'k6/experimental/browser';",
        "k6/experimental/browser",
    ),
    (
        "module.k6/net/grpc",
        "import grpc from 'k6/net/grpc';",
        "k6/net/grpc",
    ),
    (
        "module.k6/experimental/grpc",
        "import grpc from 'k6/experimental/grpc';",
        "k6/experimental/grpc",
    ),
    (
        "module.k6/experimental/redis",
        "import redis from 'k6/experimental/redis';",
        "k6/experimental/redis",
    ),
    (
        "module.k6/experimental/fs",
        "import { open } from 'k6/experimental/fs';",
        "k6/experimental/fs",
    ),
    (
        "module.k6/experimental/csv",
        "import csv from 'k6/experimental/csv';",
        "k6/experimental/csv",
    ),
    (
        "module.k6/experimental/streams",
        "import { ReadableStream } from 'k6/experimental/streams';",
        "k6/experimental/streams",
    ),
    (
        "module.k6/experimental/tracing",
        "import tracing from 'k6/experimental/tracing';",
        "k6/experimental/tracing",
    ),
    (
        "module.k6/secrets",
        "import secrets from 'k6/secrets';",
        "k6/secrets",
    ),
    ("module.k6/x", "import sql from 'k6/x/sql';", "k6/x/sql"),
    (
        "module.https",
        "import x from 'https://jslib.k6.io/x.js';",
        "https://jslib.k6.io/x.js",
    ),
    ("module.npm", "import _ from 'lodash';", "lodash"),
    ("module.typescript", "import './typed.ts';", "TypeScript"),
];

/// A row that is refused where it is used, an expression that uses it, and what the error names.
const REFUSED_AT_CALL: &[(&str, &str, &str)] = &[
    (
        "http.Params.auth.ntlm",
        "http.get(url, { auth: 'ntlm' }).error",
        "ntlm",
    ),
    (
        "http.Params.compression.brotli-zstd",
        "http.post(url, 'x', { compression: 'br' }).error",
        "br",
    ),
    (
        "http.Params.compression.brotli-zstd",
        "http.post(url, 'x', { compression: 'zstd' }).error",
        "zstd",
    ),
    (
        "html.other-selectors",
        "parseHTML('<p>').find('p:containsOwn(a)')",
        "containsown",
    ),
    (
        "ws.Params.compression",
        "ws.connect(url.replace('http', 'ws'), { compression: 'deflate' }, () => {})",
        "compression",
    ),
    (
        "webcrypto.subtle.encrypt",
        "crypto.subtle.encrypt({ name: 'AES-GCM' }, {}, bytes)",
        "encrypt is not supported",
    ),
    (
        "webcrypto.subtle.decrypt",
        "crypto.subtle.decrypt({ name: 'AES-GCM' }, {}, bytes)",
        "decrypt is not supported",
    ),
    (
        "webcrypto.subtle.deriveBits",
        "crypto.subtle.deriveBits({ name: 'ECDH' }, {}, 8)",
        "deriveBits is not supported",
    ),
    (
        "webcrypto.subtle.deriveKey",
        "crypto.subtle.deriveKey({ name: 'PBKDF2' }, {}, {}, true, [])",
        "deriveKey is not supported",
    ),
    (
        "webcrypto.subtle.wrapKey",
        "crypto.subtle.wrapKey('raw', {}, {}, {})",
        "wrapKey is not supported",
    ),
    (
        "webcrypto.subtle.unwrapKey",
        "crypto.subtle.unwrapKey('raw', bytes, {}, {}, {}, true, [])",
        "unwrapKey is not supported",
    ),
    (
        "webcrypto.other-algorithms",
        "crypto.subtle.generateKey({ name: 'AES-CBC', length: 128 }, true, ['encrypt'])",
        "AES-CBC is not supported",
    ),
    (
        "webcrypto.other-algorithms",
        "crypto.subtle.importKey('raw', bytes, { name: 'PBKDF2' }, false, ['deriveKey'])",
        "PBKDF2 is not supported",
    ),
    (
        "webcrypto.other-algorithms",
        "crypto.subtle.sign({ name: 'ECDSA' }, {}, bytes)",
        "ECDSA is not supported",
    ),
];

/// A row that has no effect, a script or variable that says it, and what the warning names.
const WARNED: &[(&str, &str, &str)] = &[
    (
        "option.ext",
        "export const options = { ext: { a: 1 } };",
        "`ext`",
    ),
    (
        "option.cloud",
        "export const options = { cloud: { a: 1 } };",
        "`cloud`",
    ),
    (
        "option.executionSegment",
        "export const options = { executionSegment: '1/2' };",
        "`executionSegment`",
    ),
    (
        "option.executionSegmentSequence",
        "export const options = { executionSegmentSequence: '0,1/2,1' };",
        "`executionSegmentSequence`",
    ),
    (
        "option.paused",
        "export const options = { paused: true };",
        "`paused`",
    ),
    (
        "option.unknown",
        "export const options = { nonsense: true };",
        "nonsense",
    ),
    ("env.others", "", "K6_WEB_DASHBOARD"),
];

/// What `Session` makes of a script, and all that is said meanwhile.
struct Told {
    session: Result<Session, String>,
    lines: Arc<Mutex<Vec<String>>>,
    state: Arc<RunState>,
    _folder: tempfile::TempDir,
}

impl Told {
    async fn of(script: &str, settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("script.js");
        std::fs::write(&path, script).unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&lines);
        let log: Log = Arc::new(move |line: LogLine<'_>| told.lock().push(line.message.to_owned()));
        let state = Arc::new(RunState::default());
        let session = Session::load(&path, settings, log, Arc::clone(&state)).await;
        Self {
            session: session.map_err(|error| error.to_string()),
            lines,
            state,
            _folder: folder,
        }
    }

    /// Runs the test to its end; gives its exit status.
    async fn run(self) -> (u8, Vec<String>) {
        let finished = self.session.unwrap().run(|_| {}).await.unwrap();
        let lines = self.lines.lock().clone();
        (finished.status, lines)
    }
}

fn environment(pairs: &[(&str, &str)]) -> Settings {
    Settings {
        environment: pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        threads: Some(1),
        ..Settings::default()
    }
}

#[tokio::test]
async fn what_is_refused_is_refused_by_name_before_anything_runs() {
    for (row, script, named) in REFUSED_AT_START {
        let script = format!("{script}\nexport default function () {{}}");
        let told = Told::of(&script, Settings::default()).await;
        let error = told.session.err().unwrap_or_default();
        assert!(error.contains(named), "{row}: {error}");
    }
    let plain = "export default function () {}";
    let told = Told::of(plain, environment(&[("K6_LOCAL_IPS", "127.0.0.1")])).await;
    assert!(told.session.err().unwrap_or_default().contains("localIPs"));
    let settings = Settings {
        outputs: vec!["influxdb=http://127.0.0.1".to_owned()],
        ..Settings::default()
    };
    let told = Told::of(plain, settings).await;
    assert!(told.session.err().unwrap_or_default().contains("influxdb"));
    for (name, value) in REMOTE_WRITE_REFUSED {
        let settings = Settings {
            outputs: vec!["experimental-prometheus-rw".to_owned()],
            ..environment(&[(name, value)])
        };
        let error = Told::of(plain, settings).await.session.err();
        assert!(error.is_some_and(|error| error.contains(name)), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_where_it_is_used_is_named_there() {
    let url = serve().await;
    let calls: Vec<String> = REFUSED_AT_CALL
        .iter()
        .map(|(_, call, _)| format!("() => {call}"))
        .collect();
    let script = format!(
        "import http from 'k6/http'; import ws from 'k6/ws'; import {{ parseHTML }} from 'k6/html';\n\
         const url = '{url}'; const bytes = new Uint8Array([1]);\n\
         export default async function () {{\n\
           for (const call of [{}]) {{ let said; try {{ said = await call(); }} catch (error) {{ said = error.message; }} console.log(`${{said}}`); }}\n\
         }}",
        calls.join(",\n")
    );
    let (status, lines) = Told::of(&script, environment(&[])).await.run().await;
    assert_eq!(status, 0);
    let said: Vec<&String> = lines
        .iter()
        .filter(|line| !line.starts_with("Request Failed"))
        .collect();
    assert_eq!(said.len(), REFUSED_AT_CALL.len(), "{lines:?}");
    for ((row, _, named), said) in REFUSED_AT_CALL.iter().zip(said) {
        assert!(said.contains(named), "{row}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_effect_is_named_by_a_warning() {
    for (row, script, named) in WARNED {
        let script = format!("{script}\nexport default function () {{}}");
        let told = Told::of(&script, environment(&[("K6_WEB_DASHBOARD", "true")])).await;
        let lines = told.lines.lock().clone();
        assert!(
            lines.iter().any(|line| line.contains(named)),
            "{row}: {lines:?}"
        );
    }
}

// What k6 words in its own way.
// rows: option.httpDebug env.K6_HTTP_DEBUG
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_answers_are_shown_to_who_debugs() {
    let url = serve().await;
    let script = format!(
        "import http from 'k6/http'; export const options = {{ httpDebug: 'headers' }};\n\
         export default function () {{ http.post('{url}/echo', 'the body', {{ headers: {{ 'X-Mine': 'seen' }} }}); }}"
    );
    let (_, lines) = Told::of(&script, environment(&[])).await.run().await;
    let shown = lines.join("\n").to_lowercase();
    assert!(
        shown.contains("post") && shown.contains("x-mine: seen"),
        "{shown}"
    );
    assert!(!shown.contains("the body"), "{shown}");
    let (_, lines) = Told::of(&script, environment(&[("K6_HTTP_DEBUG", "full")]))
        .await
        .run()
        .await;
    assert!(lines.join("\n").contains("the body"), "{lines:?}");
}

// rows: exit.105
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_that_is_interrupted_says_so_by_its_status() {
    let script = "import { sleep } from 'k6'; export default function () { sleep(600); }";
    let told = Told::of(script, environment(&[])).await;
    let state = Arc::clone(&told.state);
    let run = told
        .session
        .unwrap()
        .run(|_| state.stop_because(StopReason::Interrupted));
    assert_eq!(run.await.unwrap().status, 105);
    assert_eq!(
        *told.lines.lock(),
        ["the test was ended from outside, by a signal"]
    );
}

/// The rows of the table, with what each is called.
fn table() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/load-conformance.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (row, rest) = line.split_once("` | ").unwrap();
        let state = rest.split(' ').next().unwrap();
        let before = rows.insert(row.to_owned(), state.to_owned());
        assert_eq!(before, None, "{row} stands twice");
    }
    rows
}

/// The rows that tests name, by what they hold them to.
fn tested() -> BTreeMap<String, BTreeSet<String>> {
    let mut supported = BTreeSet::new();
    for name in SCRIPTS {
        supported.extend(ConformanceScript::read(&folder().join(format!("{name}.js"))).rows());
    }
    for file in [
        "tests/conformance.rs",
        "tests/remote_write.rs",
        "../../tests/load_script.rs",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        supported.extend(rows_in_notes(&std::fs::read_to_string(path).unwrap()));
    }
    let of = |list: &[(&str, &str, &str)]| -> BTreeSet<String> {
        list.iter().map(|(row, ..)| (*row).to_owned()).collect()
    };
    let mut refused = of(REFUSED_AT_START);
    refused.extend(of(REFUSED_AT_CALL));
    refused.extend(["env.K6_LOCAL_IPS", "output.others"].map(str::to_owned));
    // The command line's own parser refuses what it does not know: tests/load_script.rs.
    refused
        .extend(["flag.others", "flag.--log-output", "flag.--console-output"].map(str::to_owned));
    refused.extend(REMOTE_WRITE_REFUSED.map(|(name, _)| format!("env.{name}")));
    BTreeMap::from([
        ("supported".to_owned(), supported),
        ("refused".to_owned(), refused),
        ("warned".to_owned(), of(WARNED)),
    ])
}

#[test]
fn every_row_of_the_table_has_its_test_and_every_test_its_row() {
    let table = table();
    let tested = tested();
    let mut wrong: Vec<String> = table
        .iter()
        .filter(|(row, state)| !tested.get(*state).is_some_and(|rows| rows.contains(*row)))
        .map(|(row, state)| format!("no test shows that {row} is {state}"))
        .collect();
    for rows in tested.values() {
        let missing = rows.iter().filter(|row| !table.contains_key(*row));
        wrong.extend(missing.map(|row| format!("{row} is not in the table")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
