//! From a host name to an address: `hosts`, blocked names and networks, and a cache of answers.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::HttpError;
use crate::options::{Dns, Options, Span};

/// Which of several addresses is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Always the first.
    First,
    /// Any.
    Random,
    /// One after the other.
    RoundRobin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    PreferV4,
    PreferV6,
    OnlyV4,
    OnlyV6,
    Any,
}

/// Finds addresses for all users of a run.
#[derive(Debug)]
pub struct Addresses {
    hosts: BTreeMap<String, (IpAddr, Option<u16>)>,
    blocked_names: Vec<String>,
    blocked_networks: Vec<(IpAddr, u8)>,
    /// How long an answer is kept; `None` is for ever.
    time_to_live: Option<Duration>,
    selection: Selection,
    family: Family,
    known: Mutex<HashMap<String, (Vec<IpAddr>, Instant)>>,
    turn: AtomicUsize,
}

// === impl Addresses ===

impl Addresses {
    /// What the options say of names and networks.
    ///
    /// # Errors
    ///
    /// An address, network or word that cannot be read, by name.
    pub fn new(options: &Options) -> Result<Self, String> {
        let mut hosts = BTreeMap::new();
        for (name, address) in options.hosts.iter().flatten() {
            let target = address
                .parse::<IpAddr>()
                .map(|address| (address, None))
                .or_else(|_| {
                    address
                        .parse::<SocketAddr>()
                        .map(|socket| (socket.ip(), Some(socket.port())))
                })
                .map_err(|_| format!("hosts: {address:?} for {name:?} is not an IP address"))?;
            hosts.insert(name.to_ascii_lowercase(), target);
        }
        let blocked_networks = options
            .blacklist_ips
            .iter()
            .flatten()
            .map(|text| network(text))
            .collect::<Result<_, _>>()?;
        for name in options.block_hostnames.iter().flatten() {
            if name.chars().skip(1).any(|sign| sign == '*') {
                return Err(format!(
                    "blockHostnames: invalid hostname pattern {name:?}: a * stands at the beginning alone"
                ));
            }
        }
        let defaults = Dns::default();
        let dns = options.dns.as_ref().unwrap_or(&defaults);
        let time_to_live = match dns.ttl.as_deref() {
            None => Some(Duration::from_secs(300)),
            Some("inf" | "-1") => None,
            Some(text) => Some(
                text.parse::<Span>()
                    .map_err(|error| format!("dns.ttl: {error}"))?
                    .0,
            ),
        };
        let selection = match dns.select.as_deref() {
            None | Some("random") => Selection::Random,
            Some("first") => Selection::First,
            Some("roundRobin") => Selection::RoundRobin,
            Some(other) => {
                return Err(format!(
                    "dns.select: {other:?} is not first, random or roundRobin"
                ));
            }
        };
        let family = match dns.policy.as_deref() {
            None | Some("preferIPv4") => Family::PreferV4,
            Some("preferIPv6") => Family::PreferV6,
            Some("onlyIPv4") => Family::OnlyV4,
            Some("onlyIPv6") => Family::OnlyV6,
            Some("any") => Family::Any,
            Some(other) => {
                return Err(format!(
                    "dns.policy: {other:?} is not preferIPv4, preferIPv6, onlyIPv4, onlyIPv6 or any"
                ));
            }
        };
        Ok(Self {
            hosts,
            blocked_names: options
                .block_hostnames
                .iter()
                .flatten()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
            blocked_networks,
            time_to_live,
            selection,
            family,
            known: Mutex::default(),
            turn: AtomicUsize::new(0),
        })
    }

    /// The address to connect to for this host and port.
    ///
    /// # Errors
    ///
    /// The name has no address, or it or the address is blocked.
    pub async fn find(&self, host: &str, port: u16) -> Result<SocketAddr, HttpError> {
        if self
            .blocked_names
            .iter()
            .any(|pattern| name_matches(pattern, host))
        {
            return Err(HttpError::new(
                1111,
                format!("hostname ({host}) is in a blocked pattern"),
            ));
        }
        let mapped = self
            .hosts
            .get(&format!("{host}:{port}"))
            .or_else(|| self.hosts.get(host))
            .or_else(|| {
                self.hosts
                    .iter()
                    .find(|(pattern, _)| pattern.starts_with('*') && name_matches(pattern, host))
                    .map(|(_, target)| target)
            });
        let address = match mapped {
            Some((address, other_port)) => SocketAddr::new(*address, other_port.unwrap_or(port)),
            None => match host.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(address) => SocketAddr::new(address, port),
                Err(_) => SocketAddr::new(self.resolve(host).await?, port),
            },
        };
        let blocked = self
            .blocked_networks
            .iter()
            .find(|(base, bits)| in_network(address.ip(), *base, *bits));
        match blocked {
            Some((base, bits)) => Err(HttpError::new(
                1110,
                format!(
                    "IP ({}) is in a blacklisted range ({base}/{bits})",
                    address.ip()
                ),
            )),
            None => Ok(address),
        }
    }

    async fn resolve(&self, host: &str) -> Result<IpAddr, HttpError> {
        let fresh = self.known.lock().get(host).and_then(|(addresses, since)| {
            self.time_to_live
                .is_none_or(|limit| since.elapsed() < limit)
                .then(|| addresses.clone())
        });
        let addresses = match fresh {
            Some(addresses) => addresses,
            None => {
                let found = tokio::net::lookup_host((host, 0))
                    .await
                    .map_err(|error| HttpError::lookup(host, &error))?;
                let addresses = self.of_family(found.map(|socket| socket.ip()).collect());
                self.known
                    .lock()
                    .insert(host.to_owned(), (addresses.clone(), Instant::now()));
                addresses
            }
        };
        let index = match self.selection {
            Selection::First => 0,
            // Users' requests come in no order, so a shared turn is as good as a throw of dice.
            Selection::Random | Selection::RoundRobin => self.turn.fetch_add(1, Ordering::Relaxed),
        };
        if addresses.is_empty() {
            return Err(HttpError::new(1101, "lookup: no such host"));
        }
        Ok(addresses[index % addresses.len()])
    }

    fn of_family(&self, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
        addresses.dedup();
        let preferred = |address: &IpAddr| match self.family {
            Family::PreferV4 | Family::OnlyV4 => address.is_ipv4(),
            Family::PreferV6 | Family::OnlyV6 => address.is_ipv6(),
            Family::Any => true,
        };
        let chosen: Vec<_> = addresses.iter().copied().filter(preferred).collect();
        let only = matches!(self.family, Family::OnlyV4 | Family::OnlyV6);
        if chosen.is_empty() && !only {
            addresses
        } else {
            chosen
        }
    }
}

/// True if the name is the pattern, or ends as a pattern that begins with `*` does.
pub(super) fn name_matches(pattern: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    pattern
        .strip_prefix('*')
        .map_or_else(|| pattern == name, |end| name.ends_with(end))
}

fn network(text: &str) -> Result<(IpAddr, u8), String> {
    let wrong = || format!("blacklistIPs: {text:?} is not a network such as 10.0.0.0/8");
    let (base, bits) = text
        .split_once('/')
        .map_or((text, None), |(base, bits)| (base, Some(bits)));
    let base: IpAddr = base.parse().map_err(|_| wrong())?;
    let most = if base.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(bits) => bits
            .parse()
            .ok()
            .filter(|bits| *bits <= most)
            .ok_or_else(wrong)?,
    };
    Ok((base, bits))
}

fn in_network(address: IpAddr, base: IpAddr, bits: u8) -> bool {
    let (address, base, width) = match (address, base) {
        (IpAddr::V4(address), IpAddr::V4(base)) => (
            u128::from(address.to_bits()),
            u128::from(base.to_bits()),
            32,
        ),
        (IpAddr::V6(address), IpAddr::V6(base)) => (address.to_bits(), base.to_bits(), 128),
        _ => return false,
    };
    let shift = width - u32::from(bits);
    shift == 128 || address >> shift == base >> shift
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(json: serde_json::Value) -> Addresses {
        Addresses::new(&serde_json::from_value(json).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn names_are_mapped_and_blocked_as_the_options_say() {
        let addresses = addresses(serde_json::json!({
            "hosts": {"a.local": "127.0.0.5", "b.local": "127.0.0.6:99", "*.c.local": "127.0.0.7"},
            "blockHostnames": ["*.evil.com"],
            "blacklistIPs": ["10.0.0.0/8"],
        }));
        assert_eq!(
            addresses.find("a.local", 80).await.unwrap().to_string(),
            "127.0.0.5:80"
        );
        assert_eq!(
            addresses.find("b.local", 80).await.unwrap().to_string(),
            "127.0.0.6:99"
        );
        assert_eq!(
            addresses.find("x.c.local", 80).await.unwrap().to_string(),
            "127.0.0.7:80"
        );
        assert_eq!(
            addresses.find("x.evil.com", 80).await.unwrap_err().code,
            1111
        );
        assert_eq!(addresses.find("10.1.2.3", 80).await.unwrap_err().code, 1110);
        assert_eq!(
            addresses.find("11.1.2.3", 80).await.unwrap().to_string(),
            "11.1.2.3:80"
        );
    }
}
