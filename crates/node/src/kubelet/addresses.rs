//! Pod addresses: one each from the node's range, none given again soon.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::runtime::PodUid;

/// The addresses of the pods of this node.
#[derive(Clone, Debug)]
pub struct AddressPool {
    first: u32,
    last: u32,
    next: u32,
    given: BTreeMap<u32, PodUid>,
    by_pod: BTreeMap<PodUid, u32>,
}

/// Every address of the range is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to allocate for range 0: no IP addresses available in range set: {first}-{last}")]
pub struct Exhausted {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl AddressPool {
    /// A pool of the addresses of `network/prefix` but its first two, which are the network's own
    /// and the node's, and its last one.
    #[must_use]
    pub fn new(network: Ipv4Addr, prefix: u8) -> Self {
        let size = 1_u64 << (32 - u32::from(prefix.min(32)));
        let mask = u32::try_from(size - 1).unwrap_or(u32::MAX);
        let base = u32::from(network) & !mask;
        let first = base.saturating_add(2);
        Self {
            first,
            last: (base | mask).saturating_sub(1),
            next: first,
            given: BTreeMap::new(),
            by_pod: BTreeMap::new(),
        }
    }

    /// The pod's address: the one it has, or the next one that is free.
    ///
    /// # Errors
    /// No address is free.
    pub fn take(&mut self, pod: &PodUid) -> Result<Ipv4Addr, Exhausted> {
        if let Some(&address) = self.by_pod.get(pod) {
            return Ok(address.into());
        }
        let exhausted = Exhausted {
            first: self.first.into(),
            last: self.last.into(),
        };
        if self.first > self.last {
            return Err(exhausted);
        }
        let candidates = (self.next..=self.last).chain(self.first..self.next);
        let free = candidates
            .into_iter()
            .find(|address| !self.given.contains_key(address))
            .ok_or(exhausted)?;
        self.next = if free == self.last {
            self.first
        } else {
            free + 1
        };
        self.given.insert(free, pod.clone());
        self.by_pod.insert(pod.clone(), free);
        Ok(free.into())
    }

    /// Notes that a pod has an address already. An address that another pod has is left to it.
    pub fn adopt(&mut self, pod: &PodUid, address: Ipv4Addr) {
        let address = u32::from(address);
        if self.given.contains_key(&address) || self.by_pod.contains_key(pod) {
            return;
        }
        self.given.insert(address, pod.clone());
        self.by_pod.insert(pod.clone(), address);
        if (self.next..=self.last).contains(&address) {
            self.next = if address == self.last {
                self.first
            } else {
                address + 1
            };
        }
    }

    /// Takes back the pod's address, if it has one.
    pub fn release(&mut self, pod: &PodUid) {
        if let Some(address) = self.by_pod.remove(pod) {
            self.given.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> PodUid {
        PodUid(name.to_owned())
    }

    #[test]
    fn every_pod_has_its_own_address_and_none_is_given_again_at_once() {
        let mut pool = AddressPool::new(Ipv4Addr::new(10, 244, 0, 0), 29);
        let taken: Vec<String> = ["a", "b", "c"]
            .iter()
            .map(|name| pool.take(&pod(name)).expect("free").to_string())
            .collect();
        assert_eq!(taken, ["10.244.0.2", "10.244.0.3", "10.244.0.4"]);
        assert_eq!(pool.take(&pod("b")), Ok(Ipv4Addr::new(10, 244, 0, 3)));
        pool.release(&pod("a"));
        assert_eq!(pool.take(&pod("d")), Ok(Ipv4Addr::new(10, 244, 0, 5)));
        assert_eq!(pool.take(&pod("e")), Ok(Ipv4Addr::new(10, 244, 0, 6)));
        assert_eq!(pool.take(&pod("f")), Ok(Ipv4Addr::new(10, 244, 0, 2)));
        let error = pool.take(&pod("g")).expect_err("none is free");
        assert!(error.to_string().contains("10.244.0.2-10.244.0.6"));
    }

    #[test]
    fn adopted_addresses_are_not_given_to_others() {
        let mut pool = AddressPool::new(Ipv4Addr::new(10, 244, 0, 0), 16);
        pool.adopt(&pod("a"), Ipv4Addr::new(10, 244, 0, 2));
        pool.adopt(&pod("b"), Ipv4Addr::new(10, 244, 0, 3));
        assert_eq!(pool.take(&pod("c")), Ok(Ipv4Addr::new(10, 244, 0, 4)));
        assert_eq!(pool.take(&pod("a")), Ok(Ipv4Addr::new(10, 244, 0, 2)));
    }
}
