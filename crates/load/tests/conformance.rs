//! The same scripts through this crate's runtime and through the real k6: they write the same.

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use support::{k6, run, serve};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scripts")
        .join(name)
}

/// What k6 writes to the console; the init code's lines once, as this crate's users are counted
/// differently from k6's.
async fn by_k6(program: &Path, script: &Path, url: &str) -> Vec<String> {
    let output = tokio::process::Command::new(program)
        .args(["run", "--quiet", "--no-summary", "--log-format", "raw"])
        // Its control API would be in the way of another k6.
        .args(["--address", "127.0.0.1:0"])
        .args(["-e", &format!("URL={url}")])
        .arg(script)
        .env("K6_NO_USAGE_REPORT", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    lines(&String::from_utf8_lossy(&output.stderr), url)
}

/// Lines without what differs from run to run, and each of the init code's once.
fn lines(text: &str, url: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines().map(|line| line.replace(url, "URL")) {
        let of_init = line.starts_with("init ") || line.starts_with("open missing");
        let noise = line.trim().is_empty() || line.starts_with("Request Failed");
        let place = line.starts_with("\tat ") || line.starts_with("Stopped after");
        if !of_init && !noise && !place {
            lines.push(line);
        }
    }
    lines
}

async fn compare(name: &str) {
    let Some(program) = k6() else { return };
    let url = serve().await;
    let theirs = by_k6(&program, &script(name), &url).await;
    let ran = run(&script(name), &url, 1).await.unwrap();
    let messages: Vec<String> = ran
        .lines
        .iter()
        .filter_map(|line| {
            let (_, rest) = line.split_once(' ')?;
            rest.split_once(' ').map(|(_, message)| message.to_owned())
        })
        .collect();
    let ours = lines(&messages.join("\n"), &url);
    let different: Vec<_> = ours
        .iter()
        .zip(&theirs)
        .filter(|(ours, theirs)| ours != theirs)
        .map(|(ours, theirs)| format!("ours: {ours}\n k6s: {theirs}"))
        .collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert_eq!(ours.len(), theirs.len(), "{ours:?}\n{theirs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_give_what_k6_gives() {
    compare("calls.js").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_lives_as_in_k6() {
    compare("life.js").await;
}
