//! Which address and which ports one Service gets.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use serde_json::{Value, json};
use springtide_machinery::entropy::Entropy;
use springtide_machinery::error::FieldError;

use super::{ServiceRange, Taken};

/// How many random places are tried before all are looked through.
const DRAWS: usize = 16;

/// The claims of one write, while what is taken is locked.
pub(super) struct Claiming<'a> {
    pub(super) range: ServiceRange,
    pub(super) node_ports: &'a RangeInclusive<u16>,
    /// What all Services hold.
    pub(super) all: &'a mut Taken,
    /// What this Service holds already.
    pub(super) had: &'a Taken,
    /// What is claimed now.
    pub(super) claimed: &'a mut Taken,
    pub(super) entropy: &'a Entropy,
    /// Why claims were refused.
    pub(super) errors: Vec<FieldError>,
}

impl Claiming<'_> {
    /// Claims the cluster IP that the spec asks for, or any if it asks for none.
    pub(super) fn address(&mut self, spec: &mut Value) {
        if spec["type"] == "ExternalName" {
            return;
        }
        let first = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut wanted = first(&spec["clusterIP"]);
        if wanted.is_empty() {
            wanted = first(&spec["clusterIPs"][0]);
        }
        if wanted.is_empty() {
            let Some(address) = self.draw_address() else {
                self.errors.push(FieldError::internal(
                    "spec.clusterIP",
                    "failed to allocate a serviceIP: range is full",
                ));
                return;
            };
            self.all.addresses.insert(address);
            self.claimed.addresses.insert(address);
            wanted = address.to_string();
        } else if let Ok(address) = wanted.parse() {
            // "None" and what is no address is for validation to judge.
            self.given_address(address);
        }
        spec["clusterIP"] = json!(wanted);
        for (field, value) in [
            ("clusterIPs", json!([wanted])),
            ("ipFamilies", json!(["IPv4"])),
            ("ipFamilyPolicy", json!("SingleStack")),
        ] {
            let unset = spec[field].is_null() || spec[field] == json!([]);
            if unset {
                spec[field] = value;
            }
        }
    }

    fn given_address(&mut self, address: Ipv4Addr) {
        if self.had.addresses.contains(&address) {
            return;
        }
        let why = if !self.range.contains(address) {
            format!(
                "the provided IP ({address}) is not in the valid range. The range of valid IPs is {}",
                self.range
            )
        } else if self.all.addresses.insert(address) {
            self.claimed.addresses.insert(address);
            return;
        } else {
            "provided IP is already allocated".to_owned()
        };
        let detail = format!("failed to allocate IP {address}: {why}");
        let value = json!([address.to_string()]);
        self.errors
            .push(FieldError::invalid("spec.clusterIPs", value, detail));
    }

    /// Claims the node ports that the spec asks for, and draws those it leaves open.
    pub(super) fn ports(&mut self, spec: &mut Value) {
        let load_balancer = spec["type"] == "LoadBalancer";
        let draws = match spec["type"].as_str() {
            Some("NodePort") => true,
            Some("LoadBalancer") => spec["allocateLoadBalancerNodePorts"] != json!(false),
            _ => return,
        };
        let mut ports: Vec<Port> = spec["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .map(Port::of)
            .collect();
        // Those that are asked for come first, so that none is drawn from under them.
        for index in 0..ports.len() {
            if ports[index].node_port != 0 {
                let (before, rest) = ports.split_at(index);
                self.given_port(index, &rest[0], before);
            }
        }
        if draws {
            for index in 0..ports.len() {
                if ports[index].node_port != 0 {
                    continue;
                }
                let Some(number) = self.shared(&ports, index).or_else(|| self.draw_port()) else {
                    self.errors.push(FieldError::internal(
                        format!("spec.ports[{index}].nodePort"),
                        "failed to allocate a nodePort: range is full",
                    ));
                    continue;
                };
                if self.all.ports.insert(number) {
                    self.claimed.ports.insert(number);
                }
                ports[index].node_port = number.into();
                spec["ports"][index]["nodePort"] = json!(number);
            }
        }
        if load_balancer && spec["externalTrafficPolicy"] == "Local" {
            self.health_port(spec);
        }
    }

    /// The number another port of the Service has for the same port of another protocol.
    fn shared(&self, ports: &[Port], index: usize) -> Option<u16> {
        let this = &ports[index];
        let other = ports.iter().find(|other| {
            other.node_port != 0 && other.port == this.port && other.protocol != this.protocol
        })?;
        u16::try_from(other.node_port).ok()
    }

    fn given_port(&mut self, index: usize, port: &Port, before: &[Port]) {
        let path = format!("spec.ports[{index}].nodePort");
        let Some(number) = self.in_range(port.node_port) else {
            let detail = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                self.node_ports.start(),
                self.node_ports.end()
            );
            self.errors
                .push(FieldError::invalid(path, port.node_port, detail));
            return;
        };
        let of_other_protocol = before
            .iter()
            .any(|other| other.node_port == port.node_port && other.protocol != port.protocol);
        if of_other_protocol || self.had.ports.contains(&number) {
            return;
        }
        if self.all.ports.insert(number) {
            self.claimed.ports.insert(number);
        } else {
            let detail = "provided port is already allocated";
            self.errors
                .push(FieldError::invalid(path, port.node_port, detail));
        }
    }

    fn health_port(&mut self, spec: &mut Value) {
        let given = spec["healthCheckNodePort"].as_u64().unwrap_or(0);
        if given == 0 {
            if let Some(number) = self.draw_port() {
                self.all.ports.insert(number);
                self.claimed.ports.insert(number);
                spec["healthCheckNodePort"] = json!(number);
            }
            return;
        }
        let number = self.in_range(given);
        if number.is_some_and(|number| self.had.ports.contains(&number)) {
            return;
        }
        match number {
            Some(number) if self.all.ports.insert(number) => {
                self.claimed.ports.insert(number);
            }
            _ => self.errors.push(FieldError::invalid(
                "spec.healthCheckNodePort",
                given,
                "provided port is already allocated",
            )),
        }
    }

    fn in_range(&self, number: u64) -> Option<u16> {
        let number = u16::try_from(number).ok()?;
        self.node_ports.contains(&number).then_some(number)
    }

    /// A free address. The lower part of the range is left to those who choose their own, as
    /// long as the upper has room.
    fn draw_address(&self) -> Option<Ipv4Addr> {
        let size = self.range.size();
        let reserved = (size / 16).clamp(16.min(size / 2), 256);
        let at = |offset: u32| Ipv4Addr::from(u32::from(self.range.first()) + offset);
        for _ in 0..DRAWS {
            let drawn = self.entropy.below(u64::from(size - reserved));
            let address = at(reserved + u32::try_from(drawn).unwrap_or(0));
            if !self.all.addresses.contains(&address) {
                return Some(address);
            }
        }
        (reserved..size)
            .chain(0..reserved)
            .map(at)
            .find(|address| !self.all.addresses.contains(address))
    }

    fn draw_port(&self) -> Option<u16> {
        let first = *self.node_ports.start();
        let count = u64::from(*self.node_ports.end() - first) + 1;
        for _ in 0..DRAWS {
            let port = first + u16::try_from(self.entropy.below(count)).unwrap_or(0);
            if !self.all.ports.contains(&port) {
                return Some(port);
            }
        }
        self.node_ports
            .clone()
            .find(|port| !self.all.ports.contains(port))
    }
}

/// What counts of one of a Service's ports.
struct Port {
    port: u64,
    protocol: String,
    /// 0 if none was asked for.
    node_port: u64,
}

impl Port {
    fn of(value: &Value) -> Port {
        Port {
            port: value["port"].as_u64().unwrap_or(0),
            protocol: value["protocol"].as_str().unwrap_or("TCP").to_owned(),
            node_port: value["nodePort"].as_u64().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(spec: &mut Value, all: &mut Taken) -> Vec<FieldError> {
        let mut claiming = Claiming {
            range: ServiceRange {
                network: Ipv4Addr::new(10, 0, 0, 0),
                prefix: 28,
            },
            node_ports: &(30_000..=30_002),
            all,
            had: &Taken::default(),
            claimed: &mut Taken::default(),
            entropy: &Entropy::from_seed(1),
            errors: Vec::new(),
        };
        claiming.address(spec);
        claiming.ports(spec);
        claiming.errors
    }

    #[test]
    fn every_address_is_given_out_once_and_no_more() {
        let mut all = Taken::default();
        for _ in 0..14 {
            let mut spec = json!({"type": "ClusterIP"});
            assert_eq!(claim(&mut spec, &mut all), []);
        }
        assert_eq!(all.addresses.len(), 14);
        let errors = claim(&mut json!({"type": "ClusterIP"}), &mut all);
        assert!(errors[0].body().contains("range is full"));
    }

    #[test]
    fn one_port_of_two_protocols_has_one_number() {
        let mut all = Taken::default();
        let mut spec = json!({"type": "NodePort", "ports": [
            {"port": 53, "protocol": "TCP"},
            {"port": 53, "protocol": "UDP"},
            {"port": 80, "protocol": "TCP", "nodePort": 30_001},
        ]});
        assert_eq!(claim(&mut spec, &mut all), []);
        assert_eq!(spec["ports"][0]["nodePort"], spec["ports"][1]["nodePort"]);
        assert_eq!(spec["ports"][2]["nodePort"], 30_001);
        assert_eq!(all.ports.len(), 2);
    }

    #[test]
    fn ports_run_out_with_a_clear_sentence() {
        let mut all = Taken::default();
        let ports: Vec<Value> = (1..=4).map(|port| json!({"port": port})).collect();
        let errors = claim(&mut json!({"type": "NodePort", "ports": ports}), &mut all);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].body().contains("range is full"));
    }
}
