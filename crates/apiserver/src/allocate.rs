//! Cluster IPs and node ports of Services: drawn, claimed, and given back.
//!
//! What is taken is kept in memory, read from the stored Services at start. A claim is taken
//! back when the write it was made for does not happen.

mod claiming;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use parking_lot::Mutex;
use serde_json::Value;
use springtide_machinery::entropy::Entropy;
use springtide_machinery::error::ApiError;
use springtide_store::{At, Store};

use self::claiming::Claiming;
use crate::encode;
use crate::routes::Route;
use crate::write::{metadata_text, refuse_invalid};

/// Where Services of the platform live.
const COLLECTION: &str = "services";

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
        self.claim(route, service, &Taken::default(), entropy)
    }

    /// Gives a changed Service what it needs beyond what it has, and notes what it gives up.
    pub(crate) fn claim_for_update(
        &self,
        route: &Route,
        service: &mut Value,
        old: &Value,
        entropy: &Entropy,
    ) -> Result<Claim<'_>, ApiError> {
        self.claim(route, service, &held(old), entropy)
    }

    fn claim(
        &self,
        route: &Route,
        service: &mut Value,
        had: &Taken,
        entropy: &Entropy,
    ) -> Result<Claim<'_>, ApiError> {
        let mut claim = self.nothing();
        if &*route.resource().collection != COLLECTION || !service["spec"].is_object() {
            return Ok(claim);
        }
        let mut claiming = Claiming {
            range: self.range,
            node_ports: &self.node_ports,
            all: &mut self.taken.lock(),
            had,
            claimed: &mut claim.taken,
            entropy,
            errors: Vec::new(),
        };
        claiming.address(&mut service["spec"]);
        claiming.ports(&mut service["spec"]);
        let errors = claiming.errors;
        refuse_invalid(route, metadata_text(service, "name"), &errors)?;
        let has = held(service);
        claim.given_up = Taken {
            addresses: had.addresses.difference(&has.addresses).copied().collect(),
            ports: had.ports.difference(&has.ports).copied().collect(),
        };
        Ok(claim)
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
        let allocator = Allocator::new(&Store::in_memory(), ServiceRange::DEFAULT, NODE_PORTS);
        let mut claim = allocator.nothing();
        allocator.taken.lock().ports.insert(30_001);
        claim.taken.ports.insert(30_001);
        drop(claim);
        assert!(allocator.taken.lock().ports.is_empty());
    }
}
