//! Cluster IPs and node ports of Services: drawn, claimed, and given back.
//!
//! What is taken is kept in memory, read from the stored Services at start. A claim is taken
//! back when the write it was made for does not happen.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use parking_lot::Mutex;
use serde_json::{Value, json};
use springtide_machinery::entropy::Entropy;
use springtide_machinery::error::{ApiError, FieldError};
use springtide_store::{At, Store};

use crate::encode;
use crate::routes::Route;
use crate::write::{metadata_text, refuse_invalid};

/// Where Services of the platform live.
const COLLECTION: &str = "services";
/// How many random places are tried before all are looked through.
const DRAWS: usize = 16;

/// A range of IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceRange {
    /// The first address, the network's own.
    pub network: Ipv4Addr,
    /// The length of the prefix, 12 to 30.
    pub prefix: u8,
}

impl ServiceRange {
    /// Kubernetes' usual range.
    pub const DEFAULT: ServiceRange = ServiceRange {
        network: Ipv4Addr::new(10, 96, 0, 0),
        prefix: 16,
    };

    fn base(self) -> u32 {
        u32::from(self.network) & (u32::MAX << (32 - u32::from(self.prefix)))
    }

    /// How many addresses can be given out: all but the first and the last.
    fn size(self) -> u32 {
        (1 << (32 - u32::from(self.prefix))) - 2
    }

    /// The first address that can be given out: that of the API's own Service.
    #[must_use]
    pub fn first(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base() + 1)
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(self.base());
        (1..=self.size()).contains(&offset)
    }
}

impl std::fmt::Display for ServiceRange {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", Ipv4Addr::from(self.base()), self.prefix)
    }
}

/// The node ports Kubernetes gives out.
pub const NODE_PORTS: RangeInclusive<u16> = 30_000..=32_767;

/// Gives out addresses and ports.
pub(crate) struct Allocator {
    range: ServiceRange,
    node_ports: RangeInclusive<u16>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    addresses: BTreeSet<Ipv4Addr>,
    ports: BTreeSet<u16>,
}

/// What was taken for one write. Given back when dropped, unless it is kept.
pub(crate) struct Claim<'a> {
    allocator: &'a Allocator,
    taken: Taken,
    /// What the write gives up, once it is done.
    given_up: Taken,
}

impl Claim<'_> {
    /// The write was done.
    pub(crate) fn keep(mut self) {
        self.taken = Taken::default();
        let given_up = std::mem::take(&mut self.given_up);
        self.allocator.give_back(&given_up);
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.allocator.give_back(&self.taken);
    }
}

impl Allocator {
    /// Finds out what the stored Services hold.
    pub(crate) fn new(
        store: &Store,
        range: ServiceRange,
        node_ports: RangeInclusive<u16>,
    ) -> Allocator {
        let mut taken = Taken::default();
        if let Ok(listing) = store.list(COLLECTION, None, At::Latest, None) {
            for object in listing.objects {
                let held = held(&encode::parse(&object.bytes));
                taken.addresses.extend(held.addresses);
                taken.ports.extend(held.ports);
            }
        }
        Allocator {
            range,
            node_ports,
            taken: Mutex::new(taken),
        }
    }

    /// A claim of nothing.
    pub(crate) fn nothing(&self) -> Claim<'_> {
        Claim {
            allocator: self,
            taken: Taken::default(),
            given_up: Taken::default(),
        }
    }

    /// Gives a new Service its address and ports.
    pub(crate) fn claim_for_create(
        &self,
        route: &Route,
        service: &mut Value,
        entropy: &Entropy,
    ) -> Result<Claim<'_>, ApiError> {
        self.claim(route, service, Taken::default(), entropy)
    }

    /// Gives a changed Service what it needs beyond what it has, and notes what it gives up.
    pub(crate) fn claim_for_update(
        &self,
        route: &Route,
        service: &mut Value,
        old: &Value,
        entropy: &Entropy,
    ) -> Result<Claim<'_>, ApiError> {
        self.claim(route, service, held(old), entropy)
    }

    fn claim(
        &self,
        route: &Route,
        service: &mut Value,
        had: Taken,
        entropy: &Entropy,
    ) -> Result<Claim<'_>, ApiError> {
        let mut claim = self.nothing();
        if &*route.resource().collection != COLLECTION || !service["spec"].is_object() {
            return Ok(claim);
        }
        let mut errors = Vec::new();
        {
            let mut all = self.taken.lock();
            self.claim_address(
                &mut all,
                &mut claim.taken,
                service,
                &had,
                entropy,
                &mut errors,
            );
            self.claim_ports(
                &mut all,
                &mut claim.taken,
                service,
                &had,
                entropy,
                &mut errors,
            );
        }
        refuse_invalid(route, metadata_text(service, "name"), &errors)?;
        let has = held(service);
        claim.given_up = Taken {
            addresses: had.addresses.difference(&has.addresses).copied().collect(),
            ports: had.ports.difference(&has.ports).copied().collect(),
        };
        Ok(claim)
    }

    fn claim_address(
        &self,
        all: &mut Taken,
        claimed: &mut Taken,
        service: &mut Value,
        had: &Taken,
        entropy: &Entropy,
        errors: &mut Vec<FieldError>,
    ) {
        let spec = &mut service["spec"];
        if spec["type"] == "ExternalName" {
            return;
        }
        let given = spec["clusterIP"].as_str().unwrap_or_default();
        let given = if given.is_empty() {
            spec["clusterIPs"][0].as_str().unwrap_or_default()
        } else {
            given
        }
        .to_owned();
        match given.as_str() {
            "None" => {
                spec["clusterIP"] = json!("None");
                spec["clusterIPs"] = json!(["None"]);
            }
            "" => match self.draw_address(all, entropy) {
                Some(address) => {
                    all.addresses.insert(address);
                    claimed.addresses.insert(address);
                    spec["clusterIP"] = json!(address.to_string());
                    spec["clusterIPs"] = json!([address.to_string()]);
                }
                None => errors.push(FieldError::internal(
                    "spec.clusterIP",
                    "failed to allocate a serviceIP: range is full",
                )),
            },
            text => {
                spec["clusterIP"] = json!(text);
                spec["clusterIPs"] = json!([text]);
                let refuse = |why: String| {
                    let detail = format!("failed to allocate IP {text}: {why}");
                    FieldError::invalid("spec.clusterIPs", json!([text]), detail)
                };
                // What is no address is validation's to refuse.
                let Ok(address) = text.parse::<Ipv4Addr>() else {
                    return;
                };
                if had.addresses.contains(&address) {
                } else if !self.range.contains(address) {
                    errors.push(refuse(format!(
                        "the provided IP ({address}) is not in the valid range. The range of valid IPs is {}",
                        self.range
                    )));
                } else if all.addresses.insert(address) {
                    claimed.addresses.insert(address);
                } else {
                    errors.push(refuse("provided IP is already allocated".to_owned()));
                }
            }
        }
        for (field, value) in [
            ("ipFamilies", json!(["IPv4"])),
            ("ipFamilyPolicy", json!("SingleStack")),
        ] {
            if spec[field].is_null() {
                spec[field] = value;
            }
        }
    }

    fn claim_ports(
        &self,
        all: &mut Taken,
        claimed: &mut Taken,
        service: &mut Value,
        had: &Taken,
        entropy: &Entropy,
        errors: &mut Vec<FieldError>,
    ) {
        let spec = &mut service["spec"];
        let wants_all = match spec["type"].as_str() {
            Some("NodePort") => true,
            Some("LoadBalancer") => spec["allocateLoadBalancerNodePorts"] != json!(false),
            _ => return,
        };
        let local = spec["externalTrafficPolicy"] == "Local" && spec["type"] == "LoadBalancer";
        // One number may serve TCP and UDP of one port.
        let mut of_service: Vec<(u16, String, Value)> = Vec::new();
        let mut ports = match spec["ports"].as_array_mut() {
            Some(ports) => std::mem::take(ports),
            None => return,
        };
        // Ports that are asked for come first, so that none is drawn from under them.
        let order = |port: &Value| port["nodePort"].as_u64().unwrap_or(0) == 0;
        for drawn in [false, true] {
            for (index, port) in ports.iter_mut().enumerate() {
                if order(port) != drawn {
                    continue;
                }
                let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
                if drawn {
                    if !wants_all {
                        continue;
                    }
                    let shared = of_service
                        .iter()
                        .find(|(_, other, number)| *other != protocol && *number == port["port"]);
                    let number = match shared {
                        Some((number, ..)) => Some(*number),
                        None => self.draw_port(all, entropy),
                    };
                    let Some(number) = number else {
                        errors.push(FieldError::internal(
                            format!("spec.ports[{index}].nodePort"),
                            "failed to allocate a nodePort: range is full",
                        ));
                        continue;
                    };
                    if all.ports.insert(number) {
                        claimed.ports.insert(number);
                    }
                    port["nodePort"] = json!(number);
                    of_service.push((number, protocol, port["port"].clone()));
                    continue;
                }
                let path = format!("spec.ports[{index}].nodePort");
                let given = port["nodePort"].as_u64().unwrap_or(0);
                let number = u16::try_from(given)
                    .ok()
                    .filter(|number| self.node_ports.contains(number));
                let Some(number) = number else {
                    let detail = format!(
                        "provided port is not in the valid range. The range of valid ports is {}-{}",
                        self.node_ports.start(),
                        self.node_ports.end()
                    );
                    errors.push(FieldError::invalid(path, given, detail));
                    continue;
                };
                let other_protocol = of_service
                    .iter()
                    .any(|(taken, other, _)| *taken == number && *other != protocol);
                if had.ports.contains(&number) || other_protocol {
                } else if all.ports.insert(number) {
                    claimed.ports.insert(number);
                } else {
                    errors.push(FieldError::invalid(
                        path,
                        given,
                        "provided port is already allocated",
                    ));
                }
                of_service.push((number, protocol, port["port"].clone()));
            }
        }
        spec["ports"] = ports.into();

        let health = spec["healthCheckNodePort"].as_u64().unwrap_or(0);
        if local && health == 0 {
            if let Some(number) = self.draw_port(all, entropy) {
                all.ports.insert(number);
                claimed.ports.insert(number);
                spec["healthCheckNodePort"] = json!(number);
            }
        } else if local
            && let Ok(number) = u16::try_from(health)
            && !had.ports.contains(&number)
        {
            if self.node_ports.contains(&number) && all.ports.insert(number) {
                claimed.ports.insert(number);
            } else {
                errors.push(FieldError::invalid(
                    "spec.healthCheckNodePort",
                    health,
                    "provided port is already allocated",
                ));
            }
        }
    }

    /// A free address. The lower part of the range is left to those who choose their own, as
    /// long as the upper has room.
    fn draw_address(&self, all: &Taken, entropy: &Entropy) -> Option<Ipv4Addr> {
        let size = self.range.size();
        let reserved = (size / 16).clamp(16.min(size / 2), 256);
        let at = |offset: u32| Ipv4Addr::from(self.range.base() + 1 + offset);
        let upper = u64::from(size - reserved);
        for _ in 0..DRAWS {
            let drawn = u32::try_from(entropy.below(upper)).unwrap_or(0);
            let address = at(reserved + drawn);
            if !all.addresses.contains(&address) {
                return Some(address);
            }
        }
        (reserved..size)
            .chain(0..reserved)
            .map(at)
            .find(|address| !all.addresses.contains(address))
    }

    fn draw_port(&self, all: &Taken, entropy: &Entropy) -> Option<u16> {
        let (first, last) = (*self.node_ports.start(), *self.node_ports.end());
        let count = u64::from(last - first) + 1;
        for _ in 0..DRAWS {
            let drawn = u16::try_from(entropy.below(count)).unwrap_or(0);
            let port = first + drawn;
            if !all.ports.contains(&port) {
                return Some(port);
            }
        }
        self.node_ports
            .clone()
            .find(|port| !all.ports.contains(port))
    }

    /// Gives back all that a deleted Service had.
    pub(crate) fn release(&self, route: &Route, service: &Value) {
        if &*route.resource().collection == COLLECTION {
            self.give_back(&held(service));
        }
    }

    fn give_back(&self, taken: &Taken) {
        if taken.addresses.is_empty() && taken.ports.is_empty() {
            return;
        }
        let mut all = self.taken.lock();
        for address in &taken.addresses {
            all.addresses.remove(address);
        }
        for port in &taken.ports {
            all.ports.remove(port);
        }
    }

    /// Puts into a changed Service what it had and the client left out, and takes out what its
    /// new type has no use for.
    pub(crate) fn keep_allocated(&self, new: &mut Value, old: &Value) {
        if !new["spec"].is_object() {
            return;
        }
        let has_address = |spec: &Value| spec["type"] != "ExternalName";
        let has_ports = |spec: &Value| spec["type"] == "NodePort" || spec["type"] == "LoadBalancer";
        let (new, old) = (&mut new["spec"], &old["spec"]);
        if has_address(new) && has_address(old) {
            let unset = new["clusterIP"].as_str().unwrap_or_default().is_empty()
                && new["clusterIPs"][0].as_str().unwrap_or_default().is_empty();
            if unset {
                for field in ["clusterIP", "clusterIPs"] {
                    if !old[field].is_null() {
                        new[field] = old[field].clone();
                    }
                }
            }
        } else if !has_address(new) && has_address(old) && new["clusterIP"] == old["clusterIP"] {
            if let Some(fields) = new.as_object_mut() {
                for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                    fields.remove(field);
                }
            }
        }
        let old_ports = old["ports"].as_array().cloned().unwrap_or_default();
        let had_ports = has_ports(old);
        let keeps_ports = has_ports(new);
        for port in new["ports"].as_array_mut().into_iter().flatten() {
            let before = old_ports.iter().find(|before| {
                before["port"] == port["port"] && before["protocol"] == port["protocol"]
            });
            let number = port["nodePort"].as_u64().unwrap_or(0);
            if keeps_ports && had_ports {
                if number == 0
                    && let Some(before) = before
                    && !before["nodePort"].is_null()
                {
                    port["nodePort"] = before["nodePort"].clone();
                }
            } else if !keeps_ports && had_ports {
                let same = before.is_some_and(|before| before["nodePort"] == port["nodePort"]);
                if same && let Some(fields) = port.as_object_mut() {
                    fields.remove("nodePort");
                }
            }
        }
        let local = |spec: &Value| {
            spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
        };
        if local(old) && !local(new) && new["healthCheckNodePort"] == old["healthCheckNodePort"] {
            if let Some(fields) = new.as_object_mut() {
                fields.remove("healthCheckNodePort");
            }
        } else if local(old) && local(new) && new["healthCheckNodePort"].is_null() {
            new["healthCheckNodePort"] = old["healthCheckNodePort"].clone();
        }
    }
}

/// What a Service holds.
fn held(service: &Value) -> Taken {
    let spec = &service["spec"];
    let mut held = Taken::default();
    let addresses = spec["clusterIPs"].as_array().into_iter().flatten();
    for address in addresses.chain([&spec["clusterIP"]]) {
        if let Some(Ok(address)) = address.as_str().map(str::parse) {
            held.addresses.insert(address);
        }
    }
    let ports = spec["ports"].as_array().into_iter().flatten();
    let numbers = ports
        .map(|port| &port["nodePort"])
        .chain([&spec["healthCheckNodePort"]]);
    for number in numbers {
        let number = number
            .as_u64()
            .and_then(|number| u16::try_from(number).ok());
        if let Some(number) = number.filter(|number| *number != 0) {
            held.ports.insert(number);
        }
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allocator(prefix: u8) -> Allocator {
        let range = ServiceRange {
            network: Ipv4Addr::new(10, 0, 0, 0),
            prefix,
        };
        Allocator::new(&Store::in_memory(), range, 30_000..=30_002)
    }

    #[test]
    fn every_address_is_given_out_once_and_no_more() {
        let allocator = allocator(28);
        let entropy = Entropy::from_seed(1);
        let mut all = Taken::default();
        for _ in 0..14 {
            let address = allocator.draw_address(&all, &entropy).expect("room");
            assert!(allocator.range.contains(address));
            assert!(all.addresses.insert(address));
        }
        assert_eq!(allocator.draw_address(&all, &entropy), None);
    }

    #[test]
    fn the_range_has_no_network_and_no_broadcast_address() {
        let range = ServiceRange::DEFAULT;
        assert_eq!(range.to_string(), "10.96.0.0/16");
        assert_eq!(range.first(), Ipv4Addr::new(10, 96, 0, 1));
        assert!(!range.contains(Ipv4Addr::new(10, 96, 0, 0)));
        assert!(!range.contains(Ipv4Addr::new(10, 96, 255, 255)));
        assert!(range.contains(Ipv4Addr::new(10, 96, 255, 254)));
        assert!(!range.contains(Ipv4Addr::new(10, 97, 0, 1)));
    }

    #[test]
    fn a_claim_that_is_dropped_is_given_back() {
        let allocator = allocator(28);
        let mut claim = allocator.nothing();
        allocator.taken.lock().ports.insert(30_001);
        claim.taken.ports.insert(30_001);
        drop(claim);
        assert!(allocator.taken.lock().ports.is_empty());
    }

    #[test]
    fn a_service_that_leaves_its_ports_out_keeps_them() {
        let allocator = allocator(28);
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.5", "clusterIPs": ["10.0.0.5"],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30_001}]}});
        let mut new =
            json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
        allocator.keep_allocated(&mut new, &old);
        assert_eq!(new, old);
        let mut plain = old.clone();
        plain["spec"]["type"] = json!("ClusterIP");
        allocator.keep_allocated(&mut plain, &old);
        assert_eq!(plain["spec"]["ports"][0]["nodePort"], Value::Null);
        assert_eq!(plain["spec"]["clusterIP"], "10.0.0.5");
    }
}
