//! Scripts through the runtime, against a server in the same process.

mod support;

use std::sync::Arc;

use parking_lot::Mutex;
use springtide_load::metric::Collector;
use springtide_load::script::Script;
use springtide_load::user::{Iteration, Outcome, StopReason, UserFactory, VirtualUser};
use support::serve::{serve, serve_tls};
use support::{run, run_text, scenario, settings};

#[tokio::test]
async fn a_script_lives_as_in_k6() {
    let url = serve().await;
    let ran = run_text(
        r#"
        import http from 'k6/http';
        import { check, group, sleep } from 'k6';
        import { Counter, Trend } from 'k6/metrics';
        import exec from 'k6/execution';
        const mine = new Counter('mine');
        const times = new Trend('times', true);
        export const options = { vus: 1, thresholds: { http_req_duration: ['p(95)<500'] } };
        export function setup() { return { token: 'abc', at: __VU }; }
        export default function (data) {
            const response = http.get(`${__ENV.URL}/echo?i=${__ITER}`);
            console.log(response.status, response.json('query'), data.token, __VU, __ITER);
            const good = check(response, {
                'status is 200': (r) => r.status === 200,
                'fails': (r) => r.status === 201,
            });
            mine.add(2, { kind: 'x' });
            times.add(response.timings.duration);
            group('inner', () => { http.post(`${__ENV.URL}/echo`, { a: 1, b: 'x y' }); });
            console.log(good, exec.scenario.name, exec.vu.idInTest, exec.scenario.iterationInTest, exec.vu.iterationInScenario);
            sleep(0.01);
        }
        export function teardown(data) { console.log('teardown', data.token); }
        export function handleSummary(data) { return { stdout: JSON.stringify(data.state), 'a.bin': new Uint8Array([1, 2]).buffer }; }
        "#,
        &url,
        2,
    )
    .await
    .unwrap();
    assert_eq!(
        ran.console(),
        [
            "200 i=0 abc 1 0",
            "false default 1 0 0",
            "200 i=1 abc 1 1",
            "false default 1 1 1",
            "teardown abc"
        ],
        "{:?}",
        ran.lines
    );
    assert_eq!(ran.outcomes, [Outcome::Completed, Outcome::Completed]);
    for (metric, count) in [
        ("http_reqs", 4),
        ("http_req_duration", 4),
        ("checks", 4),
        ("mine", 4),
        ("times", 2),
        ("group_duration", 2),
        ("iterations", 2),
        ("iteration_duration", 2),
    ] {
        assert_eq!(ran.count(metric), count, "{metric}");
    }
    assert!(ran.count("data_sent") > 400);
    let files = ran.files.unwrap();
    assert_eq!(files["stdout"], br#"{"testRunDurationMs":5}"#);
    assert_eq!(files["a.bin"], [1, 2]);
}

#[tokio::test]
async fn an_exception_fails_its_iteration_alone_and_says_where_it_was_thrown() {
    let ran = run_text(
        "import { fail } from 'k6';\nexport default function () {\n  if (__ITER === 0) inner();\n  console.log('fine');\n}\nfunction inner() { fail('no luck'); }\n",
        "",
        2,
    )
    .await
    .unwrap();
    assert_eq!(ran.outcomes, [Outcome::Failed, Outcome::Completed]);
    assert!(
        ran.lines[0].starts_with("error stacktrace Error: no luck"),
        "{:?}",
        ran.lines
    );
    assert!(ran.lines[0].contains("script.js:6:"), "{:?}", ran.lines);
    assert_eq!(ran.console(), ["fine"]);
}

#[tokio::test]
async fn the_script_can_end_the_run() {
    let ran = run_text(
        "import exec from 'k6/execution';\nexport default () => { try { exec.test.abort('enough'); } catch (error) { console.log('caught'); } }",
        "",
        1,
    )
    .await
    .unwrap();
    assert_eq!(ran.outcomes, [Outcome::Stopped]);
    assert_eq!(
        ran.run.stop_reason(),
        Some(&StopReason::Aborted("test aborted: enough".to_owned()))
    );
    assert!(ran.console().is_empty(), "{:?}", ran.console());
}

#[tokio::test]
async fn promises_timers_and_async_requests_run_in_order() {
    let url = serve().await;
    let ran = run_text(
        r#"
        import http from 'k6/http';
        export default async function () {
            console.log('a');
            setTimeout(() => console.log('timer 30'), 30);
            setTimeout(() => console.log('timer 10'), 10);
            Promise.resolve().then(() => console.log('microtask'));
            const response = await http.asyncRequest('GET', `${__ENV.URL}/delay/50`);
            console.log('late', response.body);
            const all = await Promise.all([1, 2, 3].map((n) => http.asyncRequest('POST', `${__ENV.URL}/echo`, String(n))));
            console.log(all.map((r) => r.json().body).join());
            const number = setInterval(() => { console.log('tick'); clearInterval(number); }, 5);
        }
        "#,
        &url,
        1,
    )
    .await
    .unwrap();
    assert_eq!(
        ran.console(),
        [
            "a",
            "microtask",
            "timer 10",
            "timer 30",
            "late late",
            "1,2,3",
            "tick"
        ],
        "{:?}",
        ran.lines
    );
}

#[tokio::test]
async fn a_rejected_promise_fails_the_iteration() {
    let ran = run_text(
        "export default async function () { await null; throw new Error('later'); }",
        "",
        1,
    )
    .await
    .unwrap();
    assert_eq!(ran.outcomes, [Outcome::Failed]);
    assert!(ran.lines[0].contains("later"), "{:?}", ran.lines);
}

#[tokio::test]
async fn what_is_not_supported_fails_at_start_by_name() {
    for (source, reason) in [
        (
            "import { browser } from 'k6/browser';",
            "k6/browser is not supported",
        ),
        (
            "import x from 'https://jslib.k6.io/x.js';",
            "https://jslib.k6.io/x.js",
        ),
        ("import _ from 'lodash';", "lodash"),
        ("import './missing.js';", "missing.js"),
        (
            "import http from 'k6/http'; http.get('http://127.0.0.1/');",
            "init context",
        ),
        ("export default () => {", "script.js"),
        ("throw new Error('at once');", "at once"),
        (
            "export const options = { tlsCipherSuites: ['X'] };",
            "tlsCipherSuites",
        ),
        (
            "export const options = { scenarios: { a: { executor: 'nonsense' } } };",
            "nonsense",
        ),
    ] {
        let error = run_text(source, "", 1).await.err().unwrap();
        assert!(error.contains(reason), "{source}: {error}");
    }
}

#[tokio::test]
async fn a_name_that_a_common_js_file_exports_unseen_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("common.js", "exports['o' + 'ne'] = 1;");
    write("first.js", "import common from './common.js';");
    write("second.js", "import { one } from './common.js';");
    write("script.js", "import './first.js';\nimport './second.js';");
    let path = folder.path().join("script.js");
    let error = run(&path, "", 1).await.err().unwrap();
    assert!(
        error.contains("common.js is a CommonJS file") && error.contains("\"one\""),
        "{error}"
    );
}

#[tokio::test]
async fn an_interrupted_iteration_leaves_a_user_that_can_go_on() {
    use springtide_load::metric::Collector;
    use springtide_load::script::Script;
    use springtide_load::user::{Iteration, UserFactory, VirtualUser};
    use std::sync::Arc;
    use std::time::Duration;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.js");
    std::fs::write(
        &path,
        "import { sleep } from 'k6'; let clean = false; export default () => { if (__ITER === 0) { try { sleep(60); } finally { console.log('cleanup'); clean = true; } } else if (__ITER === 1) { for (;;) {} } else console.log('alive', clean); }",
    )
    .unwrap();
    let lines = Arc::default();
    let (settings, _) = settings(&lines, "");
    let collector = Collector::new(Arc::clone(&settings.registry), false);
    let script = Script::load(&path, settings).await.unwrap();
    let mut user = script.create(1, collector.sink()).await.unwrap();
    let scenario = scenario("default");
    for number in 0..3 {
        let iteration = Iteration {
            scenario: Arc::clone(&scenario),
            number,
            intended_start: None,
        };
        let ended =
            tokio::time::timeout(Duration::from_millis(100), user.iterate(&iteration)).await;
        assert_eq!(ended.is_ok(), number == 2, "{number}");
    }
    assert_eq!(*lines.lock(), ["info console alive true"]);
    collector.collect();
    let iterations = collector.registry().builtin().iterations.id;
    assert_eq!(
        collector.totals().get(&iterations),
        Some(&springtide_load::metric::Measured::Counter { sum: 1.0 })
    );
}

#[tokio::test]
async fn an_unread_body_is_not_kept() {
    let url = serve().await;
    let ran = run_text(
        r#"
        import http from 'k6/http';
        export const options = { discardResponseBodies: true };
        export default () => {
            console.log(http.get(`${__ENV.URL}/large`).body, http.get(`${__ENV.URL}/large`, { responseType: 'text' }).body.length);
            console.log(new Uint8Array(http.get(`${__ENV.URL}/bytes`, { responseType: 'binary' }).body).join());
        };
        "#,
        &url,
        1,
    )
    .await
    .unwrap();
    assert_eq!(
        ran.console(),
        ["null 300000", "0,1,2,250,255"],
        "{:?}",
        ran.lines
    );
    assert!(ran.count("data_received") > 600_000);
}

#[tokio::test]
async fn pages_can_be_read_and_used() {
    let url = serve().await;
    let ran = run_text(
        r#"
        import http from 'k6/http';
        export default () => {
            const page = http.get(`${__ENV.URL}/page`);
            const doc = page.html();
            console.log(doc.find('title').text(), doc.find('li').size(), doc.find('li').last().text(), doc.find('li').eq(2).data('n'));
            console.log(JSON.stringify(doc.find('form').serializeObject()), doc.find('h1').html(), doc.find('li.one').next().text());
            console.log(doc.find('a').attr('href'), doc.find('b').closest('h1').attr('id'), doc.find('select').val());
            const form = page.submitForm({ fields: { who: 'you & me' } }).json();
            console.log(form.method, form.body);
            console.log(page.clickLink().json('query'), page.html('body').attr('class'));
        };
        "#,
        &url,
        1,
    )
    .await
    .unwrap();
    assert_eq!(
        ran.console(),
        [
            "The page 3 third & last 3",
            r#"{"who":"me","choice":"2","long":"words"} Hello <b>world</b> second"#,
            "/echo?from=link top 2",
            "POST choice=2&go=Send&long=words&who=you+%26+me",
            "from=link main big",
        ],
        "{:?}",
        ran.lines
    );
}

#[tokio::test]
async fn web_sockets_speak_by_callbacks_and_by_events() {
    let url = serve().await;
    let ran = run_text(
        r#"
        import ws from 'k6/ws';
        import { WebSocket } from 'k6/websockets';
        const url = __ENV.URL.replace('http', 'ws') + '/ws';
        export default () => {
            const response = ws.connect(url, { tags: { a: 'b' } }, (socket) => {
                socket.on('open', () => socket.send('hello'));
                socket.on('message', (text) => { console.log('got', text); socket.setTimeout(() => socket.close(), 5); });
                socket.on('close', () => console.log('closed'));
            });
            console.log(response.status);
            const socket = new WebSocket(url);
            socket.binaryType = 'arraybuffer';
            socket.onopen = () => { socket.send('text'); socket.send(new Uint8Array([1, 2]).buffer); };
            socket.onmessage = (event) => {
                console.log(typeof event.data === 'string' ? event.data : new Uint8Array(event.data).join());
                if (typeof event.data !== 'string') socket.close();
            };
            socket.onclose = (event) => console.log('closed', event.code, socket.readyState);
        };
        "#,
        &url,
        1,
    )
    .await
    .unwrap();
    assert_eq!(
        ran.console(),
        ["got hello", "closed", "101", "text", "1,2", "closed 1000 3"],
        "{:?}",
        ran.lines
    );
    assert_eq!(
        (
            ran.count("ws_sessions"),
            ran.count("ws_msgs_sent"),
            ran.count("ws_msgs_received")
        ),
        (2, 4, 3),
        "k6 counts what closes a socket too, by the interface of events"
    );
}

#[tokio::test]
async fn the_fact_validation_script_runs_unmodified() {
    use springtide_load::metric::{Collector, Measured};
    use springtide_load::script::Script;
    use springtide_load::user::{Iteration, UserFactory, VirtualUser};
    use std::sync::Arc;
    let url = serve().await;
    let lines = Arc::default();
    let (settings, _) = settings(&lines, &url);
    let collector = Collector::new(Arc::clone(&settings.registry), false);
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/fact-validation.js");
    let script = Script::load(&path, settings).await.unwrap();
    let mut options = script.options();
    assert_eq!(options.stages.as_ref().unwrap().len(), 5);
    let address = url.trim_start_matches("http://").to_owned();
    options.hosts = Some([("hak-gal.local".to_owned(), address)].into());
    script.configure(options).unwrap();
    let mut user = script.create(1, collector.sink()).await.unwrap();
    let iteration = Iteration {
        scenario: scenario("default"),
        number: 0,
        intended_start: None,
    };
    let start = tokio::time::Instant::now();
    assert_eq!(user.iterate(&iteration).await, Outcome::Completed);
    assert!(start.elapsed().as_secs_f64() >= 1.0, "it sleeps");
    collector.collect();
    let checks = collector.registry().builtin().checks.id;
    assert_eq!(
        collector.totals()[&checks],
        Measured::Rate {
            passes: 2,
            total: 2
        },
        "{:?}",
        lines.lock()
    );
}

#[tokio::test]
async fn tls_and_http_2_are_spoken_and_certificates_checked() {
    let url = serve_tls().await;
    let script = r#"
        import http from 'k6/http';
        export const options = { insecureSkipTLSVerify: SKIP };
        export default () => {
            for (let i = 0; i < 2; i += 1) {
                const r = http.post(`${__ENV.URL}/path`, 'x');
                console.log(r.status, r.proto, r.tls_version, r.tls_cipher_suite, r.body && r.json().method, r.error_code, r.timings.tls_handshaking > 0);
            }
        };
    "#;
    let ran = run_text(&script.replace("SKIP", "true"), &url, 1)
        .await
        .unwrap();
    let lines = ran.console();
    assert!(
        lines[0].starts_with("200 HTTP/2.0 tls1.3 TLS_") && lines[0].ends_with(" POST 0 true"),
        "{:?}",
        ran.lines
    );
    assert!(
        lines[1].ends_with(" POST 0 false"),
        "the connection is used again: {lines:?}"
    );
    let ran = run_text(&script.replace("SKIP", "false"), &url, 1)
        .await
        .unwrap();
    let code = ran.console()[0].split(' ').rev().nth(1).unwrap().to_owned();
    assert!(code.starts_with("13"), "{:?}", ran.lines);
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let url = serve().await;
    let ran = run_text(
        r"
        import http from 'k6/http';
        export default function () {
            const own = __ENV.URL.replace('://', '://user:secret@');
            const there = __ENV.URL.replace('127.0.0.1', 'localhost');
            const status = (to) => http.get(`${own}/sent-on?to=${to}/digest`, { auth: 'digest' }).status;
            console.log(status(''), status(there));
        }
        ",
        &url,
        1,
    )
    .await
    .unwrap();
    assert_eq!(ran.console(), ["200 401"], "{:?}", ran.lines);
}

#[tokio::test]
async fn a_request_param_that_is_unknown_is_told_of_once() {
    let url = serve().await;
    let ran = run_text(
        r"
        import http from 'k6/http';
        export default () => {
            for (let at = 0; at < 3; at += 1) http.get(`${__ENV.URL}/status/200`, { header: {}, timeout: '5s' });
        };
        ",
        &url,
        2,
    )
    .await
    .unwrap();
    assert_eq!(
        ran.lines,
        ["warning  the request param \"header\" is unknown and has no effect"]
    );
}

#[tokio::test]
async fn users_of_a_thread_take_turns_and_see_nothing_of_each_other() {
    take_turns(
        "if (Array.prototype.owner !== undefined || globalThis.owner !== undefined) throw new Error('not alone');
        Array.prototype.owner = __VU;
        globalThis.owner = __VU;",
        "[].owner",
    )
    .await;
}

#[tokio::test]
async fn users_of_a_context_take_turns_and_see_nothing_of_each_other() {
    take_turns(
        "const owner = __VU;
        class Owned { get owner() { return owner; } }
        console.log = ((log) => (...values) => log(...values.map((value) => value instanceof Owned ? value.owner : value)))(console.log);",
        "new Owned()",
    )
    .await;
}

/// Four users whose iterations wait in the middle of calls and promises. What the init code in `owned`
/// makes is each user's own, and so is the value of `owner`.
async fn take_turns(owned: &str, owner: &str) {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let (settings, _) = settings(&lines, "");
    let collector = Collector::new(Arc::clone(&settings.registry), false);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.js");
    std::fs::write(
        &path,
        r"
        import { sleep } from 'k6';
        OWNED
        let iterations = 0;
        function deep(left) {
            if (left > 0) return deep(left - 1) + 1;
            sleep(0.001 * (5 - __VU));
            return 0;
        }
        export default async function () {
            iterations += 1;
            const done = [];
            Promise.resolve().then(() => { sleep(0.002); done.push('job'); }).then(() => done.push('next'));
            // Others run meanwhile, but this user's jobs wait for the end of this function.
            deep(__VU * 20);
            done.push('function');
            let stack = '';
            try { (function mine() { deep(3); null.x; })(); } catch (error) { stack = error.stack; }
            await null;
            await null;
            await null;
            console.log(__VU, owner, OWNER, iterations, done.join(), /mine/.test(stack), stack.split('\n').length < 5);
        }
        "
        .replace("OWNED", owned)
        .replace("OWNER", owner),
    )
    .unwrap();
    let script = Script::load(&path, settings).await.unwrap();
    let mut users = Vec::new();
    for number in 1..=4 {
        users.push(script.create(number, collector.sink()).await.unwrap());
    }
    let scenario = scenario("default");
    let all = users.iter_mut().map(|user| async {
        for number in 0..3 {
            let iteration = Iteration {
                scenario: Arc::clone(&scenario),
                number,
                intended_start: None,
            };
            assert_eq!(user.iterate(&iteration).await, Outcome::Completed);
        }
    });
    futures::future::join_all(all).await;
    let mut told = lines.lock().clone();
    told.sort();
    let expected: Vec<String> = (1..=4)
        .flat_map(|user| {
            (1..=3).map(move |iteration| {
                format!("info console {user} {user} {user} {iteration} function,job,next true true")
            })
        })
        .collect();
    assert_eq!(told, expected);
}
