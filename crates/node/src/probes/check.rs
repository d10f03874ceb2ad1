//! Carrying out checks and hooks, in words that Kubernetes' users know.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::http::{self, HttpError};
use super::{Check, Checker, HttpCheck, Outcome, Target};
use crate::MeshNamespace;
use crate::kubelet::backoff::in_words;
use crate::kubelet::runtime::{ExecEnd, Runtime, RuntimeError};

/// The most of a program's output that an event shows, in bytes.
const OUTPUT_SHOWN: usize = 10 << 10;
/// How many redirects are followed.
const MOST_REDIRECTS: usize = 10;

/// Opens connections towards pods.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    /// A connection to a pod's address.
    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream>;
}

#[async_trait]
impl Dial for MeshNamespace {
    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.dial_tcp(address).await
    }
}

/// Opens connections from the host's network.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostDial;

#[async_trait]
impl Dial for HostDial {
    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect(address).await
    }
}

/// Checks over the network, and by programs in containers.
pub struct NetworkChecker {
    mesh: Arc<dyn Dial>,
    runtime: Arc<dyn Runtime>,
}

impl NetworkChecker {
    /// A checker that reaches pods through `mesh` and runs programs by `runtime`.
    #[must_use]
    pub fn new(mesh: Arc<dyn Dial>, runtime: Arc<dyn Runtime>) -> Self {
        Self { mesh, runtime }
    }

    async fn connect(
        &self,
        target: &Target,
        host: Option<&str>,
        port: u16,
    ) -> Result<(TcpStream, SocketAddr), String> {
        let address: IpAddr = match host {
            None => target.address.ok_or("the pod has no address")?,
            Some(host) => host
                .parse()
                .map_err(|_| format!("dial tcp: lookup {host}: no such host"))?,
        };
        let address = SocketAddr::new(address, port);
        let stream = if target.on_host {
            HostDial.dial(address).await
        } else {
            self.mesh.dial(address).await
        };
        match stream {
            Ok(stream) => Ok((stream, address)),
            Err(error) => Err(format!("dial tcp {address}: {}", connect_words(&error))),
        }
    }

    async fn get(
        &self,
        target: &Target,
        check: &HttpCheck,
        limit: Duration,
    ) -> Result<http::Answer, String> {
        let host = match (&check.host, target.address) {
            (Some(host), _) => host.clone(),
            (None, Some(IpAddr::V6(address))) => format!("[{address}]"),
            (None, Some(address)) => address.to_string(),
            (None, None) => String::new(),
        };
        let scheme = if check.tls { "https" } else { "http" };
        let url = format!("{scheme}://{host}:{}{}", check.port, check.path);
        let authority = format!("{host}:{}", check.port);
        let work = async {
            let host = check.host.as_deref();
            let (stream, _) = self.connect(target, host, check.port).await?;
            http::get(stream, check, &authority)
                .await
                .map_err(|error| match error {
                    HttpError::Closed => "EOF".to_owned(),
                    HttpError::Other(message) => message,
                })
        };
        match timeout(limit, work).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(message)) => Err(format!("Get \"{url}\": {message}")),
            Err(_) => Err(format!(
                "Get \"{url}\": context deadline exceeded \
                 (Client.Timeout exceeded while awaiting headers)"
            )),
        }
    }

    async fn check_http(&self, target: &Target, check: &HttpCheck, limit: Duration) -> Outcome {
        let mut check = check.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = match self.get(target, &check, limit).await {
                Ok(answer) => answer,
                Err(message) => return Outcome::Failure(message),
            };
            match answer.status {
                300..=399 => match answer.redirect(&check, target) {
                    Some(next) => check = next,
                    None => {
                        return Outcome::Warning(format!(
                            "Probe terminated redirects, Response body: {}",
                            answer.body
                        ));
                    }
                },
                200..=299 => return Outcome::Success,
                status => {
                    return Outcome::Failure(format!(
                        "HTTP probe failed with statuscode: {status}"
                    ));
                }
            }
        }
        Outcome::Failure(format!("stopped after {MOST_REDIRECTS} redirects"))
    }
}

#[async_trait]
impl Checker for NetworkChecker {
    async fn check(&self, target: &Target, check: &Check, limit: Duration) -> Outcome {
        match check {
            Check::Http(http) => self.check_http(target, http, limit).await,
            Check::Tcp { host, port } => {
                let connecting = self.connect(target, host.as_deref(), *port);
                match timeout(limit, connecting).await {
                    Ok(Ok(_)) => Outcome::Success,
                    Ok(Err(message)) => Outcome::Failure(message),
                    Err(_) => {
                        let address = target.address.map(|ip| ip.to_string());
                        let host = host.clone().or(address).unwrap_or_default();
                        Outcome::Failure(format!("dial tcp {host}:{port}: i/o timeout"))
                    }
                }
            }
            Check::Exec { command } => match self.runtime.exec(&target.run, command, limit).await {
                Ok(ExecEnd { code: Some(0), .. }) => Outcome::Success,
                Ok(ExecEnd {
                    code: Some(_),
                    output,
                }) => Outcome::Failure(beginning(&output)),
                Ok(ExecEnd { code: None, .. }) => Outcome::Failure(format!(
                    "command timed out: \"{}\" timed out after {}",
                    command.join(" "),
                    in_words(limit)
                )),
                Err(error) => Outcome::Failure(error.to_string()),
            },
            Check::Sleep(_) => Outcome::Success,
            Check::Impossible(message) => Outcome::Failure(message.clone()),
        }
    }

    async fn hook(&self, target: &Target, check: &Check, limit: Duration) -> Result<(), String> {
        match check {
            Check::Http(http) => self.get(target, http, limit).await.map(drop),
            Check::Exec { command } => {
                let words = command.join(" ");
                match self.runtime.exec(&target.run, command, limit).await {
                    Ok(ExecEnd { code: Some(0), .. }) | Err(RuntimeError::NotFound) => Ok(()),
                    Ok(ExecEnd {
                        code: Some(code),
                        output,
                    }) => Err(format!(
                        "command '{words}' exited with {code}: {}",
                        beginning(&output)
                    )),
                    Ok(ExecEnd { code: None, .. }) => Err(format!(
                        "command '{words}' timed out after {}",
                        in_words(limit)
                    )),
                    Err(error) => Err(format!("command '{words}': {error}")),
                }
            }
            Check::Sleep(length) => {
                tokio::time::sleep((*length).min(limit)).await;
                Ok(())
            }
            Check::Tcp { .. } => Err("invalid handler".to_owned()),
            Check::Impossible(message) => Err(message.clone()),
        }
    }
}

fn beginning(output: &str) -> String {
    let mut end = output.len().min(OUTPUT_SHOWN);
    while !output.is_char_boundary(end) {
        end -= 1;
    }
    output[..end].to_owned()
}

/// A failed connect as Go words it.
fn connect_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer".to_owned(),
        io::ErrorKind::TimedOut => "connect: connection timed out".to_owned(),
        _ => format!("connect: {error}"),
    }
}
