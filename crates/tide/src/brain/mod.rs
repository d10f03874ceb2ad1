//! The brain: one process with the API and everything behind it, wired together.
//!
//! ```text
//! store ─► API server ─► clients and caches ─► controllers, scheduler, autoscaler
//!                                          ├─► kubelet ◄─► keeper
//!                                          ├─► mesh
//!                                          └─► metrics, a part that runs as a pod
//! ```

mod monitoring;
mod parts;
mod ready;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use futures::FutureExt as _;
use springtide_apiserver::{ApiServer, MASTERS, ServiceRange, Tls, pki};
use springtide_autoscaler::horizontal;
use springtide_client::{Caches, Context, ObjectKey};
use springtide_machinery::clock::Clock;
use springtide_machinery::entropy::Entropy;
use springtide_mesh::{Mesh, routes::Hosted};
use springtide_metrics::{monitors, prometheus_rules};
use springtide_node::keeper::{self, BRAIN_GIVES_UP, KeeperError, Listen};
use springtide_node::kubelet::cluster::ApiCluster;
use springtide_node::kubelet::component::ComponentRuntime;
use springtide_node::kubelet::keeper_runtime::KeeperRuntime;
use springtide_node::kubelet::{Handler, Parts};
use springtide_node::probes::NetworkChecker;
use springtide_node::registration::{self, Machine};
use springtide_node::{Kubelet, MeshNamespace};
use springtide_store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::up::SERVICE_RANGE;
use crate::data_folder::DataFolder;
use crate::log_filter;
use crate::output::{complain, sentence};
use crate::platform_options::{PlatformOptions, ServerName};
use monitoring::Monitoring;
use parts::ProgramParts;

/// What names in the cluster end with.
const DOMAIN: &str = "cluster.local";
/// Where cluster DNS answers.
const DNS_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// The version of Kubernetes that the platform says it is.
const KUBERNETES_VERSION: &str = "v1.36.0";
/// How long containers get to end when the node ends.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The process behind `tide up`; not to be started by hand.
#[derive(Debug, Args)]
pub(crate) struct Brain {
    #[command(flatten)]
    options: PlatformOptions,
    /// When `tide up` was started, in milliseconds since 1970
    #[arg(long)]
    started_at: i64,
}

impl Brain {
    /// Runs until the keeper says that the node ends.
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        let filter = log_filter::of_environment();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal() && !no_colour)
            .init();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        // Boxed, or the program would contain all of it three times: once for each way `block_on` may run it.
        match runtime.block_on(self.run().boxed_local()) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(error) => {
                complain!("tide: {}", sentence(&error));
                // What fails while everything is set up fails the next time, too.
                Ok(ExitCode::from(BRAIN_GIVES_UP))
            }
        }
    }

    async fn run(&self) -> anyhow::Result<()> {
        let folder = self.options.data_folder.folder()?;
        let clock = Clock::system();
        let entropy = Entropy::from_os();
        let (keeper, events) = keeper::Client::connect()
            .await
            .context("the brain is started by `tide up`, not by hand")?;
        let facts = keeper.facts().clone();
        if facts.restarts == 0 {
            for warning in &facts.warnings {
                complain!("tide: note: {warning}");
            }
        }
        let namespace = MeshNamespace::new(keeper.mesh_namespace())
            .context("the mesh namespace cannot be entered")?;
        let hostname = hostname()?;

        let store = Store::open(folder.path(), springtide_store::Options::default())?;
        let (listener, address) = self.api_listener(&keeper).await?;
        let api = ApiServer::builder(store.clone(), clock.clone(), entropy.clone())
            .advertised(address)
            .build()
            .await?;
        let tls = credentials(&folder, &clock, address, &hostname, &self.options.tls_san)?;

        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let serving = api.clone();
        tasks.spawn(async move { serving.serve_tls(listener, tls).await });

        let caches = Caches::new(api.client("system:apiserver"));
        let context = |user: &str| Context {
            client: api.client(user),
            caches: caches.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        ready::make_own_objects(&context("system:kube-controller-manager")).await?;
        tasks.spawn(springtide_controllers::run(
            context("system:kube-controller-manager"),
            stop.clone(),
        ));
        tasks.spawn(springtide_scheduler::run(
            context("system:kube-scheduler"),
            stop.clone(),
        ));
        let scaling = horizontal::Options {
            sync_period: self.options.horizontal_pod_autoscaler_sync_period,
            ..horizontal::Options::default()
        };
        tasks.spawn(horizontal::run(
            context("system:horizontal-pod-autoscaler"),
            scaling,
            stop.clone(),
        ));

        let (prometheus, prometheus_address) = self.prometheus_listener(&keeper).await?;
        let hosted = Hosted::from([
            (ObjectKey::new("default", "kubernetes"), address),
            (
                ObjectKey::new(monitoring::NAMESPACE, monitoring::SERVICE),
                prometheus_address,
            ),
        ]);
        let node_user = format!("system:node:{hostname}");
        let config = springtide_node::kubelet::config::Config::detect(
            folder.path(),
            &hostname,
            IpAddr::V4(facts.mesh_address),
        );
        let mesh_config = springtide_mesh::Config {
            domain: DOMAIN.to_owned(),
            own_ranges: vec![config.pod_range, SERVICE_RANGE, (facts.mesh_address, 32)],
            dns_address: DNS_ADDRESS,
            host_address: self.options.nodeport_address,
            workers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            hosted,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        };
        let mesh = Mesh::open(
            context("system:kube-proxy"),
            mesh_config,
            keeper.clone(),
            &namespace,
        )
        .await?;
        let departure = Arc::new(mesh.mesh());
        let mesh_counters = mesh.instruments();
        tasks.spawn(mesh.run(stop.clone()));

        let node = context(&node_user);
        let keeper_runtime = Arc::new(KeeperRuntime::new(keeper, events, clock.clone()));
        let namespace = Arc::new(namespace);
        let monitoring = Monitoring {
            api: api.clone(),
            context: context("system:prometheus"),
            namespace: namespace.clone(),
            node: (hostname.clone(), facts.mesh_address),
            mesh: mesh_counters,
            advertised: address,
            folder: folder.path().join("metrics"),
            listener: Arc::new(prometheus),
            address: prometheus_address,
            interval: self.options.metrics_scrape_interval,
            retention: self.options.metrics_retention,
        };
        let program_parts = Arc::new(ProgramParts::new(
            api.clone(),
            context("system:metrics-server"),
            self.options.metrics_window,
            monitoring,
        ));
        api.add_admission_check(
            prometheus_rules::COLLECTION,
            prometheus_rules::CHECK_NAME,
            prometheus_rules::check,
        );
        api.add_admission_check(
            monitors::SERVICE_MONITORS,
            monitors::CHECK_NAME,
            monitors::check_service_monitor,
        );
        api.add_admission_check(
            monitors::POD_MONITORS,
            monitors::CHECK_NAME,
            monitors::check_pod_monitor,
        );
        let component_runtime = Arc::new(ComponentRuntime::new(program_parts, clock.clone()));
        let host_checks = NetworkChecker::new(namespace.clone(), keeper_runtime.clone());
        let brain_checks = NetworkChecker::new(namespace, component_runtime.clone());
        let handlers = BTreeMap::from([
            (
                "host".to_owned(),
                Handler {
                    runtime: keeper_runtime.clone(),
                    checker: Arc::new(host_checks),
                },
            ),
            (
                "brain".to_owned(),
                Handler {
                    runtime: component_runtime,
                    checker: Arc::new(brain_checks),
                },
            ),
        ]);
        let kubelet = Kubelet::new(Parts {
            config: config.clone(),
            cluster: Arc::new(ApiCluster::new(
                node.client.clone(),
                &caches,
                node.recorder("kubelet"),
            )),
            handlers,
            departure,
            clock: clock.clone(),
        });
        api.attach_kubelet(&hostname, kubelet.router());
        let machine = Machine::detect(&hostname, KUBERNETES_VERSION);
        tasks.spawn(registration::run(node, config, machine, stop.clone()));
        let pods = caches.of();
        let kubelet_stop = CancellationToken::new();
        let mut kubelet_task = tokio::spawn(kubelet.run(pods, kubelet_stop.clone()));

        ready::wait_for_node(&caches, &hostname).await?;
        if facts.restarts == 0 {
            ready::announce(
                &folder,
                &facts,
                address,
                prometheus_address,
                &clock,
                self.started_at,
            )?;
        }

        let node_ends = keeper_runtime.stopping();
        tokio::select! {
            biased;
            () = node_ends.cancelled() => {}
            ended = &mut kubelet_task => match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "the kubelet cannot go on"),
                Err(error) => tracing::error!(%error, "the kubelet ended"),
            },
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a part of the platform ended");
                }
            }
        }
        if !node_ends.is_cancelled() {
            // A new brain takes over what runs.
            std::process::exit(1);
        }
        kubelet_stop.cancel();
        keeper_runtime.stop_everything(STOP_LIMIT).await;
        stop.cancel();
        api.shut_down();
        while tasks.join_next().await.is_some() {}
        store.close().await;
        Ok(())
    }

    /// The socket of the Prometheus API. When its address is taken, by a Prometheus perhaps, any free port does: the
    /// API is also reached as a Service.
    async fn prometheus_listener(
        &self,
        keeper: &keeper::Client,
    ) -> anyhow::Result<(std::net::TcpListener, SocketAddr)> {
        let wanted = self.options.prometheus_listen;
        let (socket, address) = match keeper.listen("prometheus", Listen::HostTcp(wanted)).await {
            Ok(listening) => listening,
            Err(error) => {
                let any = SocketAddr::new(wanted.ip(), 0);
                let listening = keeper.listen("prometheus", Listen::HostTcp(any)).await;
                let (socket, address) = listening
                    .map_err(|error| refused("the Prometheus API", error, "--prometheus-listen"))?;
                if keeper.facts().restarts == 0 {
                    complain!(
                        "tide: note: the Prometheus API is at http://{address}, since it {error}; choose with --prometheus-listen"
                    );
                }
                (socket, address)
            }
        };
        let listener = std::net::TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        Ok((listener, address))
    }

    /// The socket of the API, which the keeper holds while brains come and go.
    async fn api_listener(
        &self,
        keeper: &keeper::Client,
    ) -> anyhow::Result<(TcpListener, SocketAddr)> {
        let wanted = self.options.api_listen;
        let listening = keeper.listen("api", Listen::HostTcp(wanted)).await;
        let (socket, address) = listening
            .map_err(|error| refused("the API", error, "--api-listen (port 0 takes a free one)"))?;
        let listener = std::net::TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        Ok((TcpListener::from_std(listener)?, address))
    }
}

/// Why there is no socket, and what to do.
fn refused(what: &str, error: KeeperError, option: &str) -> anyhow::Error {
    match error {
        KeeperError::Listen(why) => anyhow!("{what} {why}; give another address with {option}"),
        other => other.into(),
    }
}

/// The server's keys, made if they are not there, and the administrator's kubeconfig.
fn credentials(
    folder: &DataFolder,
    clock: &Clock,
    address: SocketAddr,
    hostname: &str,
    more_names: &[ServerName],
) -> anyhow::Result<Tls> {
    let authority = pki::Authority::open(&folder.path().join("pki"), clock)?;
    let service_ip = IpAddr::from(ServiceRange::DEFAULT.first());
    let mut names = pki::serving_names(&[address.ip()], hostname, service_ip);
    names.extend(more_names.iter().map(ToString::to_string));
    let tls = Tls::new(&authority, &authority.serving(&names)?, clock)?;
    let administrator = authority.client("kubernetes-admin", &[MASTERS])?;
    let server = format!("https://{}", reachable(address));
    pki::write_private(
        &folder.kubeconfig(),
        &authority.kubeconfig(&server, &administrator),
    )?;
    Ok(tls)
}

/// The address by which this machine reaches a listener.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]),
    };
    SocketAddr::new(ip, listening.port())
}

/// The machine's name as a node's name: in lower case, since names of objects are.
fn hostname() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname().context("the machine's name cannot be read")?;
    Ok(name.to_string_lossy().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_reached_by_loopback() {
        for (listening, reached) in [
            ("127.0.0.1:6443", "127.0.0.1:6443"),
            ("0.0.0.0:6443", "127.0.0.1:6443"),
            ("[::]:6443", "[::1]:6443"),
            ("192.0.2.7:443", "192.0.2.7:443"),
        ] {
            assert_eq!(reachable(listening.parse().unwrap()).to_string(), reached);
        }
    }
}
