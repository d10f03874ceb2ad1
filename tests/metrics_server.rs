//! `tide metrics` as a Prometheus runs: the configuration is read again when it is told to.

// Every test uses a part of it.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use support::platform::program;
use support::process::{Outcome, Running};
use support::run;
use support::wait::{PATIENCE, until};

/// A server in a folder of its own.
struct Server {
    folder: tempfile::TempDir,
    running: Running,
    url: String,
}

impl Server {
    fn start(configuration: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("prometheus.yml"), configuration).expect("written");
        let mut command = Command::new(program());
        command
            .args(["metrics", "--web.listen-address", "127.0.0.1:0"])
            .args(options)
            .current_dir(folder.path());
        let running = Running::start(command);
        let address = until("an address", PATIENCE, || {
            let said = running.err();
            let address = said.lines().find_map(|line| line.split("address=").nth(1));
            address.map(str::to_owned).ok_or(said)
        });
        Self {
            folder,
            running,
            url: format!("http://{address}"),
        }
    }

    fn configure(&self, configuration: &str) {
        let path = self.folder.path().join("prometheus.yml");
        fs::write(path, configuration).expect("written");
    }

    fn curl(&self, arguments: &[&str], path: &str) -> Outcome {
        let mut command = Command::new("curl");
        command
            .args(["-s", "--max-time", "10", "-w", "\n%{http_code}"])
            .args(arguments)
            .arg(format!("{}{path}", self.url));
        run(command, PATIENCE)
    }

    /// Waits until the server's API says this under a path.
    #[track_caller]
    fn comes_to_say(&self, path: &str, text: &str) {
        until(path, PATIENCE, || {
            let outcome = self.curl(&[], path);
            if outcome.has_said(text) {
                Ok(())
            } else {
                Err(outcome)
            }
        });
    }

    fn ends(self) -> Outcome {
        self.running.signal(Signal::SIGTERM);
        self.running.wait(Duration::from_secs(60))
    }
}

fn scraping(job: &str) -> String {
    format!(
        "scrape_configs:\n- job_name: {job}\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  static_configs: [{{targets: ['127.0.0.1:9']}}]\n"
    )
}

const POOLS: &str = "/api/v1/scrape_pools";

#[test]
fn a_hangup_reads_the_configuration_again_and_keeps_the_earlier_where_it_is_wrong() {
    let server = Server::start(&scraping("first"), &[]);
    server.comes_to_say(POOLS, "[\"first\"]");
    server.configure(&scraping("second"));
    server.running.signal(Signal::SIGHUP);
    server.comes_to_say(POOLS, "[\"second\"]");

    server.configure("scrape_configs:\n- job_nme: third\n");
    server.running.signal(Signal::SIGHUP);
    server.comes_to_say(
        "/api/v1/status/runtimeinfo",
        "\"reloadConfigSuccess\":false",
    );
    assert!(server.curl(&[], POOLS).has_said("[\"second\"]"));
    let said = server.running.err();
    assert!(said.contains("job_nme") && said.contains("line"), "{said}");

    // Without the flag nobody on the network can reload or end it.
    for path in ["/-/reload", "/-/quit"] {
        let refused = server.curl(&["-X", "POST"], path);
        assert!(refused.has_said("403"), "{refused:?}");
    }
    server.configure(&scraping("third"));
    server.running.signal(Signal::SIGHUP);
    server.comes_to_say(POOLS, "[\"third\"]");
    server.comes_to_say("/api/v1/status/runtimeinfo", "\"reloadConfigSuccess\":true");
    assert_eq!(server.ends().status, Some(0));
}

#[test]
fn a_request_reloads_and_ends_the_server_where_the_flag_allows_it() {
    let server = Server::start(&scraping("first"), &["--web.enable-lifecycle"]);
    server.comes_to_say(POOLS, "[\"first\"]");
    server.configure(&scraping("second"));
    let reloaded = server.curl(&["-X", "POST"], "/-/reload");
    assert!(reloaded.has_said("200"), "{reloaded:?}");
    // The answer comes when the new configuration is in force.
    assert!(server.curl(&[], POOLS).has_said("[\"second\"]"));
    server.configure("scrape_configs:\n- job_nme: third\n");
    let refused = server.curl(&["-X", "POST"], "/-/reload");
    assert!(
        refused.has_said("500") && refused.has_said("job_nme"),
        "{refused:?}"
    );
    assert!(server.curl(&[], POOLS).has_said("[\"second\"]"));
    let told = server.curl(&["-X", "POST"], "/-/quit");
    assert!(told.has_said("200"), "{told:?}");
    let ended = server.running.wait(Duration::from_secs(60));
    assert_eq!(ended.status, Some(0), "{ended:?}");
}
