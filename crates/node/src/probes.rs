//! Probes: whether a container has started, lives, and may get requests.
//!
//! [`Tally`] decides from single checks, [`Schedule`] when to check next, [`Checker`] checks, and
//! [`watch`] is the loop around them, one for each probe of each run of a container.

mod check;
mod http;
mod schedule;
mod tally;
mod tls;

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::time::Instant;

use crate::kubelet::runtime::ContainerRun;

pub use check::{Dial, HostDial, NetworkChecker};
pub use schedule::Schedule;
pub use tally::Tally;

/// Which of a container's probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Whether it has started; the others wait for it.
    Startup,
    /// Whether it lives; restarted if not.
    Liveness,
    /// Whether it may get requests.
    Readiness,
}

impl Kind {
    /// The word that begins an event's message.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// The container's probe of this kind.
    #[must_use]
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// What a check does, with its port resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Sends a GET request.
    Http(HttpCheck),
    /// Opens a connection.
    Tcp {
        /// The host when it is not the pod.
        host: Option<String>,
        /// The port.
        port: u16,
    },
    /// Runs a program in the container.
    Exec {
        /// The program and its arguments.
        command: Vec<String>,
    },
    /// Waits; a hook only.
    Sleep(Duration),
    /// Cannot be carried out, with the reason.
    Impossible(String),
}

/// A GET request as a probe or hook sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// Whether to speak TLS; certificates are not verified.
    pub tls: bool,
    /// The host when it is not the pod.
    pub host: Option<String>,
    /// The port.
    pub port: u16,
    /// The path with its query.
    pub path: String,
    /// Headers to send.
    pub headers: Vec<(String, String)>,
}

/// Where a check goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The run that is checked.
    pub run: ContainerRun,
    /// The pod's address.
    pub address: Option<IpAddr>,
    /// Whether the address is one of the host's, not one of the mesh.
    pub on_host: bool,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Success,
    /// It counts as well, but should be looked at.
    Warning(String),
    /// It is not well.
    Failure(String),
}

/// Carries out checks and hooks.
#[async_trait]
pub trait Checker: Send + Sync + 'static {
    /// Checks once, for at most `limit`.
    async fn check(&self, target: &Target, check: &Check, limit: Duration) -> Outcome;

    /// Carries out a hook, for at most `limit`. Fails as the event's message says.
    async fn hook(&self, target: &Target, check: &Check, limit: Duration) -> Result<(), String>;
}

/// What the probe does.
#[must_use]
pub fn probe_check(container: &Container, probe: &Probe) -> Check {
    if let Some(exec) = &probe.exec {
        return Check::Exec {
            command: exec.command.clone().unwrap_or_default(),
        };
    }
    if let Some(http) = &probe.http_get {
        return http_check(container, http);
    }
    if let Some(tcp) = &probe.tcp_socket {
        return match port_number(container, &tcp.port) {
            Ok(port) => Check::Tcp {
                host: tcp.host.clone().filter(|host| !host.is_empty()),
                port,
            },
            Err(message) => Check::Impossible(message),
        };
    }
    if probe.grpc.is_some() {
        return Check::Impossible("grpc probes are not supported yet by this version".to_owned());
    }
    Check::Impossible(format!("missing probe handler for {}", container.name))
}

/// What the hook does.
#[must_use]
pub fn hook_check(container: &Container, hook: &LifecycleHandler) -> Check {
    if let Some(exec) = &hook.exec {
        return Check::Exec {
            command: exec.command.clone().unwrap_or_default(),
        };
    }
    if let Some(http) = &hook.http_get {
        return http_check(container, http);
    }
    if let Some(sleep) = &hook.sleep {
        return Check::Sleep(Duration::from_secs(sleep.seconds.max(0).unsigned_abs()));
    }
    Check::Impossible("invalid handler".to_owned())
}

fn http_check(container: &Container, http: &HTTPGetAction) -> Check {
    let port = match port_number(container, &http.port) {
        Ok(port) => port,
        Err(message) => return Check::Impossible(message),
    };
    let path = http.path.as_deref().unwrap_or("/");
    let headers = http.http_headers.iter().flatten();
    Check::Http(HttpCheck {
        tls: http.scheme.as_deref() == Some("HTTPS"),
        host: http.host.clone().filter(|host| !host.is_empty()),
        port,
        path: if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        },
        headers: headers
            .map(|header| (header.name.clone(), header.value.clone()))
            .collect(),
    })
}

/// A port by its number or by the name the container gives it.
fn port_number(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => i64::from(*number),
        IntOrString::String(name) => {
            let named = container
                .ports
                .iter()
                .flatten()
                .find(|port| port.name.as_deref() == Some(name));
            match named {
                Some(port) => i64::from(port.container_port),
                None => name
                    .parse()
                    .map_err(|_| format!("couldn't find port: \"{name}\""))?,
            }
        }
    };
    match u16::try_from(number) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("invalid port number: {number}")),
    }
}

/// What a probe tells while it watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It came to a new conclusion.
    Concluded {
        /// Whether it found the container well.
        success: bool,
    },
    /// A check failed: the message of an `Unhealthy` event.
    Unhealthy(String),
    /// A check succeeded, but should be looked at: the message of a `ProbeWarning` event.
    Warned(String),
}

/// Checks again and again and reports, until it is dropped, or its probe is done: a startup probe
/// that succeeded, or one whose container is to be stopped.
pub async fn watch<F, R>(
    kind: Kind,
    probe: &Probe,
    started: Instant,
    check_once: impl Fn(Duration) -> F,
    expensive: bool,
    was_ready: bool,
    mut report: R,
) where
    F: Future<Output = Outcome>,
    R: FnMut(Report),
{
    let mut tally = Tally::new(kind, probe, was_ready);
    let mut schedule = Schedule::new(kind, probe, started, expensive, was_ready);
    let limit = Duration::from_secs(u64::from(positive(probe.timeout_seconds, 1)));
    tokio::time::sleep_until(schedule.first(Instant::now())).await;
    loop {
        let outcome = check_once(limit).await;
        let now = Instant::now();
        let success = !matches!(outcome, Outcome::Failure(_));
        match outcome {
            Outcome::Failure(message) if schedule.is_told(now) => {
                let text = format!("{} probe failed: {message}", kind.as_str());
                report(Report::Unhealthy(text));
            }
            Outcome::Warning(message) => {
                let text = format!("{} probe warning: {message}", kind.as_str());
                report(Report::Warned(text));
            }
            Outcome::Failure(_) | Outcome::Success => {}
        }
        if (success || schedule.is_counted())
            && let Some(success) = tally.count(success)
        {
            report(Report::Concluded { success });
            if (kind == Kind::Startup) || (kind == Kind::Liveness && !success) {
                return;
            }
        }
        tokio::time::sleep_until(schedule.next(success, Instant::now())).await;
    }
}

/// A number of a probe, or its default where it is not given or senseless.
fn positive(value: Option<i32>, default: u32) -> u32 {
    match value {
        Some(value) if value > 0 => value.unsigned_abs(),
        _ => default,
    }
}
