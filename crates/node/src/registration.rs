//! The Node object, its status and its Lease: the node's sign of life.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo, ObjectReference,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as QuantityObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use springtide_client::{Context, EventType};
use springtide_machinery::quantity::{Format, Quantity};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::kubelet::config::{Config, Resources};

/// How often the Lease is renewed, in seconds, and how long it holds.
const RENEW_EVERY: Duration = Duration::from_secs(10);
const HOLDS_FOR_SECONDS: i32 = 40;
/// How often a status that did not change is written all the same.
const REPORT_EVERY: Duration = Duration::from_secs(300);
/// How soon what the API refused is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// The namespace of the nodes' Leases.
const LEASES: &str = "kube-node-lease";

/// What is known of the machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// Its name.
    pub hostname: String,
    /// What is in `status.nodeInfo`.
    pub info: NodeSystemInfo,
}

impl Machine {
    /// Reads what the system tells. `version` is the Kubernetes version this node speaks.
    #[must_use]
    pub fn detect(hostname: &str, version: &str) -> Self {
        let text = |path: &str| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            text.trim().to_owned()
        };
        let uname = rustix::system::uname();
        let os = text("/etc/os-release");
        let pretty = os
            .lines()
            .find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let machine_id = text("/etc/machine-id");
        let system_uuid = text("/sys/class/dmi/id/product_uuid");
        Self {
            hostname: hostname.to_owned(),
            info: NodeSystemInfo {
                architecture: architecture().to_owned(),
                boot_id: text("/proc/sys/kernel/random/boot_id"),
                container_runtime_version: concat!("springtide://", env!("CARGO_PKG_VERSION"))
                    .to_owned(),
                kernel_version: uname.release().to_string_lossy().into_owned(),
                kube_proxy_version: String::new(),
                kubelet_version: version.to_owned(),
                system_uuid: if system_uuid.is_empty() {
                    machine_id.clone()
                } else {
                    system_uuid
                },
                machine_id,
                operating_system: "linux".to_owned(),
                os_image: pretty.unwrap_or("Linux").trim_matches('"').to_owned(),
                swap: None,
            },
        }
    }
}

/// The architecture by the name Go has for it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The labels that every node has.
#[must_use]
pub fn labels(config: &Config, machine: &Machine) -> BTreeMap<String, String> {
    let arch = machine.info.architecture.clone();
    [
        ("kubernetes.io/hostname", config.node_name.clone()),
        ("kubernetes.io/os", "linux".to_owned()),
        ("kubernetes.io/arch", arch.clone()),
        ("beta.kubernetes.io/os", "linux".to_owned()),
        ("beta.kubernetes.io/arch", arch),
        ("node-role.kubernetes.io/control-plane", String::new()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// The status of the node. `before` is the last one, whose times are kept where nothing changed.
#[must_use]
pub fn node_status(
    config: &Config,
    machine: &Machine,
    before: Option<&NodeStatus>,
    now: Timestamp,
) -> NodeStatus {
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        let known = before
            .iter()
            .flat_map(|before| before.conditions.iter().flatten())
            .find(|known| known.type_ == kind && known.status == status);
        let since = known.and_then(|known| known.last_transition_time.clone());
        NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: Some(since.unwrap_or(Time(now))),
        }
    };
    let address = |kind: &str, address: String| NodeAddress {
        type_: kind.to_owned(),
        address,
    };
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", config.node_address.to_string()),
            address("Hostname", machine.hostname.clone()),
        ]),
        capacity: Some(amounts(config.capacity)),
        allocatable: Some(amounts(config.allocatable)),
        conditions: Some(vec![
            condition(
                "MemoryPressure",
                "False",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
            condition(
                "DiskPressure",
                "False",
                "KubeletHasNoDiskPressure",
                "kubelet has no disk pressure",
            ),
            condition(
                "PIDPressure",
                "False",
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ),
            condition(
                "Ready",
                "True",
                "KubeletReady",
                "kubelet is posting ready status",
            ),
        ]),
        node_info: Some(machine.info.clone()),
        ..NodeStatus::default()
    }
}

fn amounts(resources: Resources) -> BTreeMap<String, QuantityObject> {
    let text = |quantity: Quantity| QuantityObject(quantity.to_string());
    let kibibytes = |bytes: i64| Quantity::from_units(bytes / 1024 * 1024, Format::BinarySi);
    [
        (
            "cpu",
            text(Quantity::from_milli(
                resources.cpu_millis,
                Format::DecimalSi,
            )),
        ),
        ("memory", text(kibibytes(resources.memory_bytes))),
        (
            "ephemeral-storage",
            text(kibibytes(resources.storage_bytes)),
        ),
        (
            "pods",
            text(Quantity::from_units(resources.pods, Format::DecimalSi)),
        ),
        ("hugepages-1Gi", QuantityObject("0".to_owned())),
        ("hugepages-2Mi", QuantityObject("0".to_owned())),
    ]
    .map(|(name, quantity)| (name.to_owned(), quantity))
    .into()
}

/// Registers the node, then keeps its status and its Lease fresh until cancelled.
pub async fn run(context: Context, config: Config, machine: Machine, cancel: CancellationToken) {
    let registration = Registration {
        nodes: Api::all(context.client.clone()),
        leases: Api::namespaced(context.client.clone(), LEASES),
        context,
        config,
        machine,
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => {}
        () = registration.keep_alive() => {}
    }
}

struct Registration {
    nodes: Api<Node>,
    leases: Api<Lease>,
    context: Context,
    config: Config,
    machine: Machine,
}

impl Registration {
    async fn keep_alive(&self) {
        let recorder = self.context.recorder("kubelet");
        // The kubelet's events name its node by its name also where a UID is expected.
        let about = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(self.config.node_name.clone()),
            uid: Some(self.config.node_name.clone()),
            ..ObjectReference::default()
        };
        recorder.record(&about, EventType::Normal, "Starting", "Starting kubelet.");
        let mut status = loop {
            match self.register().await {
                Ok(status) => break status,
                Err(error) => {
                    tracing::warn!(%error, "cannot register the node");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        let message = format!("Node {} status is now: NodeReady", self.config.node_name);
        recorder.record(&about, EventType::Normal, "NodeReady", message);
        let mut reported = Instant::now();
        let mut tick = tokio::time::interval(RENEW_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, "cannot renew the node's lease");
            }
            if reported.elapsed() < REPORT_EVERY {
                continue;
            }
            reported = Instant::now();
            status = match self.report(&status).await {
                Ok(status) => status,
                Err(error) => {
                    // It may have been deleted: then it is registered anew.
                    tracing::warn!(%error, "cannot write the node's status");
                    match self.register().await {
                        Ok(status) => status,
                        Err(_) => continue,
                    }
                }
            };
        }
    }

    /// Makes the object, or brings it up to date; the status it has now.
    async fn register(&self) -> kube::Result<NodeStatus> {
        let name = &self.config.node_name;
        let labels = labels(&self.config, &self.machine);
        let known = self.nodes.get_opt(name).await?;
        match &known {
            None => {
                let node = Node {
                    metadata: ObjectMeta {
                        name: Some(name.clone()),
                        labels: Some(labels),
                        ..ObjectMeta::default()
                    },
                    spec: Some(NodeSpec {
                        pod_cidr: Some(self.config.pod_cidr()),
                        pod_cidrs: Some(vec![self.config.pod_cidr()]),
                        ..NodeSpec::default()
                    }),
                    status: None,
                };
                self.nodes.create(&PostParams::default(), &node).await?;
            }
            Some(_) => {
                let patch = json!({"metadata": {"labels": labels}});
                let parameters = PatchParams::default();
                self.nodes
                    .patch(name, &parameters, &Patch::Merge(patch))
                    .await?;
            }
        }
        let before = known.and_then(|node| node.status).unwrap_or_default();
        self.report(&before).await
    }

    async fn report(&self, before: &NodeStatus) -> kube::Result<NodeStatus> {
        let now = self.context.clock.now();
        let status = node_status(&self.config, &self.machine, Some(before), now);
        let patch = Patch::Strategic(json!({"status": status}));
        let name = &self.config.node_name;
        self.nodes
            .patch_status(name, &PatchParams::default(), &patch)
            .await?;
        Ok(status)
    }

    async fn renew(&self) -> kube::Result<()> {
        let now = MicroTime(self.context.clock.now());
        let name = &self.config.node_name;
        let patch = json!({"spec": {"holderIdentity": name,
            "leaseDurationSeconds": HOLDS_FOR_SECONDS, "renewTime": now}});
        let parameters = PatchParams::default();
        let renewed = self
            .leases
            .patch(name, &parameters, &Patch::Merge(patch))
            .await;
        match renewed {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => return other.map(drop),
        }
        let node = self.nodes.get_opt(name).await?;
        let owner = node.map(|node| OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: name.clone(),
            uid: node.metadata.uid.unwrap_or_default(),
            ..OwnerReference::default()
        });
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(LEASES.to_owned()),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(name.clone()),
                lease_duration_seconds: Some(HOLDS_FOR_SECONDS),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        };
        self.leases
            .create(&PostParams::default(), &lease)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_what_the_node_has_and_since_when_it_is_ready() {
        let folder = std::env::temp_dir();
        let node = "192.0.2.1".parse().expect("an address");
        let mut config = Config::detect(&folder, "n1", node);
        config.capacity = Resources {
            cpu_millis: 2000,
            memory_bytes: (24 << 30) + 1,
            storage_bytes: 1 << 40,
            pods: 500,
        };
        let machine = Machine::detect("n1", "v1.36.0");
        let first: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let status = node_status(&config, &machine, None, first);
        let capacity = status.capacity.clone().expect("a capacity");
        let amount = |name: &str| capacity[name].0.as_str();
        assert_eq!(
            ["cpu", "memory", "ephemeral-storage", "pods"].map(amount),
            ["2", "24Gi", "1Ti", "500"]
        );
        let later = first + Duration::from_secs(300);
        let second = node_status(&config, &machine, Some(&status), later);
        let ready = second.conditions.expect("conditions").pop().expect("one");
        assert_eq!(
            (ready.type_.as_str(), ready.status.as_str()),
            ("Ready", "True")
        );
        assert_eq!(ready.last_transition_time, Some(Time(first)));
        assert_eq!(ready.last_heartbeat_time, Some(Time(later)));
    }
}
