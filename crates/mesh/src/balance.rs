//! Which endpoint gets the next request or connection.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use springtide_machinery::entropy::Entropy;

use crate::table::Endpoint;

/// Chooses by least request of two random choices: of two endpoints drawn at random, the one with
/// fewer requests under way (Mitzenmacher, "The Power of Two Choices", 2001). Endpoints in `tried`
/// are left out as long as there are others. `None` where there are no endpoints.
#[must_use]
pub fn choose(
    endpoints: &[Arc<Endpoint>],
    tried: &[SocketAddr],
    entropy: &Entropy,
) -> Option<Arc<Endpoint>> {
    let untried = |endpoint: &&Arc<Endpoint>| !tried.contains(&endpoint.address);
    let fresh = if tried.is_empty() {
        endpoints.len()
    } else {
        endpoints.iter().filter(untried).count()
    };
    let nth = |index: usize| {
        if fresh == endpoints.len() || fresh == 0 {
            endpoints.get(index)
        } else {
            endpoints.iter().filter(untried).nth(index)
        }
    };
    let count = if fresh == 0 { endpoints.len() } else { fresh };
    match count {
        0 => None,
        1 => nth(0).cloned(),
        _ => {
            let first = draw(entropy, count);
            // Drawn from the rest, so that the two are never the same.
            let other = draw(entropy, count - 1);
            let second = if other >= first { other + 1 } else { other };
            let (first, second) = (nth(first)?, nth(second)?);
            let chosen = if second.requests() < first.requests() {
                second
            } else {
                first
            };
            Some(Arc::clone(chosen))
        }
    }
}

/// The endpoint a client stays with: the one of the highest weight for this client, so that an
/// endpoint which comes or goes moves only its own clients (rendezvous hashing, Thaler and
/// Ravishankar, 1998).
#[must_use]
pub fn stay(endpoints: &[Arc<Endpoint>], client: IpAddr) -> Option<Arc<Endpoint>> {
    let weight = |endpoint: &&Arc<Endpoint>| {
        let mut hasher = DefaultHasher::new();
        (client, endpoint.address).hash(&mut hasher);
        hasher.finish()
    };
    endpoints.iter().max_by_key(weight).cloned()
}

fn draw(entropy: &Entropy, bound: usize) -> usize {
    usize::try_from(entropy.below(bound as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::routes::Side;
    use crate::table::InFlight;

    fn endpoints(count: u8) -> Vec<Arc<Endpoint>> {
        (1..=count)
            .map(|last| {
                Arc::new(Endpoint::new(
                    SocketAddr::from(([10, 244, 0, last], 80)),
                    None,
                    Side::Mesh,
                ))
            })
            .collect()
    }

    #[test]
    fn an_idle_endpoint_gets_its_share_and_a_busy_one_gets_less() {
        let endpoints = endpoints(4);
        let _busy: Vec<_> = (0..50).map(|_| InFlight::begin(&endpoints[0])).collect();
        let entropy = Entropy::from_seed(7);
        let mut counts = BTreeMap::new();
        for _ in 0..4_000 {
            *counts
                .entry(choose(&endpoints, &[], &entropy).unwrap().address)
                .or_insert(0) += 1;
        }
        assert_eq!(
            counts.get(&endpoints[0].address),
            None,
            "the busier of two is never chosen: {counts:?}"
        );
        assert!(
            counts.values().all(|count| (1_150..1_550).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn requests_under_way_stay_within_one_of_each_other_when_none_ends() {
        let endpoints = endpoints(2);
        let entropy = Entropy::from_seed(7);
        let mut held = Vec::new();
        for _ in 0..100 {
            held.push(InFlight::begin(&choose(&endpoints, &[], &entropy).unwrap()));
            assert!(endpoints[0].requests().abs_diff(endpoints[1].requests()) <= 1);
        }
    }

    #[test]
    fn what_was_tried_is_left_out_unless_there_is_nothing_else() {
        let endpoints = endpoints(3);
        let entropy = Entropy::from_seed(1);
        let tried = [endpoints[0].address, endpoints[2].address];
        for _ in 0..50 {
            assert_eq!(
                choose(&endpoints, &tried, &entropy).unwrap().address,
                endpoints[1].address
            );
        }
        let all: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
        assert!(choose(&endpoints, &all, &entropy).is_some());
        assert!(choose(&[], &[], &entropy).is_none());
    }

    #[test]
    fn a_client_stays_unless_its_own_endpoint_goes() {
        let endpoints = endpoints(5);
        for last in 1..=100 {
            let client = IpAddr::from([192, 0, 2, last]);
            let before = stay(&endpoints, client).unwrap();
            for gone in 0..endpoints.len() {
                let mut fewer = endpoints.clone();
                let removed = fewer.remove(gone);
                let after = stay(&fewer, client).unwrap();
                assert!(after.address == before.address || removed.address == before.address);
            }
        }
    }
}
