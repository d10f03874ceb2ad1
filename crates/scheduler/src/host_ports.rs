use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

/// A port of the node that a pod asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    protocol: String,
    port: i32,
    /// `0.0.0.0` stands for all addresses.
    address: String,
}

/// The ports of a node that are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPorts(BTreeSet<HostPort>);

const ANY: &str = "0.0.0.0";

impl HostPort {
    /// The ports a pod asks for.
    pub fn asked_by(pod: &Pod) -> Vec<Self> {
        let Some(spec) = &pod.spec else {
            return Vec::new();
        };
        let init = spec.init_containers.iter().flatten();
        let sidecars =
            init.filter(|container| container.restart_policy.as_deref() == Some("Always"));
        let ports = spec
            .containers
            .iter()
            .chain(sidecars)
            .flat_map(|container| container.ports.iter().flatten());
        let asked = ports.filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let text = |field: &Option<String>, fallback: &str| {
                field
                    .clone()
                    .filter(|text| !text.is_empty())
                    .unwrap_or_else(|| fallback.to_owned())
            };
            Some(Self {
                protocol: text(&port.protocol, "TCP"),
                port: number,
                address: text(&port.host_ip, ANY),
            })
        });
        asked.collect()
    }

    fn conflicts_with(&self, other: &Self) -> bool {
        let same_address =
            self.address == other.address || self.address == ANY || other.address == ANY;
        self.port == other.port && self.protocol == other.protocol && same_address
    }
}

impl HostPorts {
    /// True when none of these is taken.
    pub fn are_free(&self, asked: &[HostPort]) -> bool {
        !asked
            .iter()
            .any(|port| self.0.iter().any(|taken| taken.conflicts_with(port)))
    }

    /// Takes these.
    pub fn take(&mut self, asked: Vec<HostPort>) {
        self.0.extend(asked);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_port_is_taken_per_protocol_and_address() {
        let port = |port: i32, protocol: &str, address: Option<&str>| {
            let value = json!({"spec": {"containers": [{"name": "c", "ports": [
                {"containerPort": 1, "hostPort": port, "protocol": protocol, "hostIP": address}]}]}});
            HostPort::asked_by(&serde_json::from_value(value).expect("a valid pod"))
        };
        let mut taken = HostPorts::default();
        taken.take(port(80, "TCP", Some("127.0.0.1")));
        taken.take(port(81, "TCP", None));
        let cases = [
            (port(80, "TCP", Some("127.0.0.1")), false),
            (port(80, "TCP", Some("127.0.0.2")), true),
            (port(80, "TCP", None), false),
            (port(80, "UDP", None), true),
            (port(81, "TCP", Some("127.0.0.9")), false),
            (port(82, "TCP", None), true),
            (port(0, "TCP", None), true),
        ];
        for (asked, free) in cases {
            assert_eq!(taken.are_free(&asked), free, "{asked:?}");
        }
    }
}
