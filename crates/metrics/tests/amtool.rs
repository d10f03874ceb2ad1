//! Alertmanager's own command line, `amtool`, against our API.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use springtide_machinery::clock::Clock;
use springtide_metrics::alerting::{AlertingConfiguration, Alertmanager, AlertmanagerOptions, api};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn amtool_adds_and_shows_alerts_and_silences() {
    let named = std::env::var_os("SPRINGTIDE_AMTOOL").map(PathBuf::from);
    let Some(amtool) = named.filter(|path| path.is_file()) else {
        let line = b"skipped: amtool against the API, SPRINGTIDE_AMTOOL names no file\n";
        std::io::stderr().write_all(line).expect("stderr");
        return;
    };
    let example =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pake/alertmanager.yaml");
    let text = std::fs::read_to_string(&example).expect("the example");
    let address = "http://127.0.0.1:5001/alerts";
    let block = format!("webhook_configs:\n      - url: {address}");
    // The secret in flow style, which has the same line as what is shown.
    let flow = text.replace(&block, &format!("webhook_configs: [{{url: '{address}'}}]"));
    assert_ne!(flow, text);
    let configuration = AlertingConfiguration::parse("am.yml", &flow, Path::new(""));
    let configuration = Arc::new(configuration.expect("valid"));
    let options = AlertmanagerOptions::default();
    let opened = Alertmanager::open(configuration, options, Clock::system());
    let alertmanager = opened.expect("in memory");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!(
        "--alertmanager.url=http://{}",
        listener.local_addr().expect("bound")
    );
    let server =
        tokio::spawn(async move { axum::serve(listener, api::router(alertmanager)).await });
    let home = tempfile::tempdir().expect("a folder");
    let run = |args: &[&str]| {
        let output = Command::new(&amtool)
            .env("HOME", home.path())
            .arg(&url)
            .args(args)
            .output();
        let output = output.expect("amtool runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "amtool {args:?}: {said}{complained}"
        );
        said
    };
    run(&["check-config", &example.display().to_string()]);
    run(&[
        "alert",
        "add",
        "alertname=PakeHighCPU",
        "pod=a",
        "severity=warning",
        "--annotation=summary=hot",
    ]);
    run(&[
        "alert",
        "add",
        "alertname=PakeBackendDown",
        "severity=critical",
    ]);
    let shown = run(&["alert", "query", "-o", "extended"]);
    assert!(
        shown.contains("PakeHighCPU") && shown.contains("PakeBackendDown"),
        "{shown}"
    );
    let shown = run(&["alert", "query", "-o", "simple", "severity=~crit.*"]);
    assert!(
        !shown.contains("PakeHighCPU") && shown.contains("PakeBackendDown"),
        "{shown}"
    );
    let id = run(&[
        "silence",
        "add",
        "alertname=PakeHighCPU",
        "pod=~a|b",
        "--comment=quiet",
        "--author=me",
    ]);
    let id = id.trim().to_owned();
    let shown = run(&["alert", "query", "-o", "simple"]);
    assert!(!shown.contains("PakeHighCPU"), "{shown}");
    let shown = run(&["silence", "query", "-o", "extended"]);
    assert!(shown.contains(&id) && shown.contains("quiet"), "{shown}");
    let shown = run(&["silence", "query", "-q", "alertname=PakeHighCPU"]);
    assert_eq!(shown.trim(), id);
    run(&[
        "silence",
        "update",
        &id,
        "--duration=3h",
        "--comment=longer",
    ]);
    run(&["silence", "expire", &id]);
    let shown = run(&["alert", "query", "-o", "simple"]);
    assert!(shown.contains("PakeHighCPU"), "{shown}");
    let shown = run(&["config", "show"]);
    assert!(
        shown.contains("group_interval") && !shown.contains("5001"),
        "{shown}"
    );
    let shown = run(&["config", "routes", "show"]);
    assert!(shown.contains("receiver: "), "{shown}");
    server.abort();
}
