//! From a pod's specification to what a runtime is asked for.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use springtide_machinery::quantity::Quantity;

use super::runtime::{Bounds, Dns, PodUid, SandboxSpec, Security};
use super::view::all_containers;
use crate::environment::ConfigError;

/// What of the cluster's network every pod is told.
#[derive(Clone, Debug)]
pub struct ClusterDns {
    /// The cluster's name server.
    pub server: IpAddr,
    /// The cluster's domain.
    pub domain: String,
    /// What the host itself uses.
    pub host: Dns,
}

/// The sandbox of the pod.
#[must_use]
pub fn sandbox_spec(pod: &Pod, address: Option<Ipv4Addr>) -> SandboxSpec {
    let spec = pod.spec.clone().unwrap_or_default();
    let first = spec.containers.first();
    let single_user = first.and_then(|container| {
        let security = security(pod, container).ok()?;
        Some((security.user?, security.group.unwrap_or(0)))
    });
    SandboxSpec {
        uid: PodUid(pod.metadata.uid.clone().unwrap_or_default()),
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        hostname: hostname(pod),
        address,
        bounds: pod_bounds(&spec),
        single_user,
    }
}

/// What `hostname` prints inside the pod.
#[must_use]
pub fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let given = spec.and_then(|spec| {
        let overridden = spec.hostname_override.as_ref();
        overridden.or(spec.hostname.as_ref())
    });
    let name = given
        .filter(|name| !name.is_empty())
        .or(pod.metadata.name.as_ref())
        .cloned()
        .unwrap_or_default();
    let short: String = name.chars().take(63).collect();
    short.trim_end_matches(['-', '.']).to_owned()
}

/// The text of the pod's `/etc/hosts`.
#[must_use]
pub fn hosts_file(pod: &Pod, address: Option<IpAddr>, domain: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let hostname = hostname(pod);
    let spec = pod.spec.as_ref();
    let subdomain = spec
        .and_then(|spec| spec.subdomain.as_deref())
        .unwrap_or_default();
    if let Some(address) = address {
        if subdomain.is_empty() {
            text.push_str(&format!("{address}\t{hostname}\n"));
        } else {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            text.push_str(&format!(
                "{address}\t{hostname}.{subdomain}.{namespace}.svc.{domain}\t{hostname}\n"
            ));
        }
    }
    let aliases = spec
        .and_then(|spec| spec.host_aliases.as_deref())
        .unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.clone().unwrap_or_default().join("\t");
            text.push_str(&format!("{}\t{names}\n", alias.ip));
        }
    }
    text
}

/// How names are resolved inside the pod.
#[must_use]
pub fn dns(pod: &Pod, cluster: &ClusterDns) -> Dns {
    let spec = pod.spec.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let domain = &cluster.domain;
    let mut searches = vec![
        format!("{namespace}.svc.{domain}"),
        format!("svc.{domain}"),
        domain.clone(),
    ];
    searches.extend(cluster.host.searches.iter().cloned());
    let cluster_first = Dns {
        servers: vec![cluster.server.to_string()],
        searches,
        options: vec!["ndots:5".to_owned()],
    };
    let on_host = spec.host_network == Some(true);
    let mut dns = match spec.dns_policy.as_deref() {
        Some("None") => Dns::default(),
        Some("Default") => cluster.host.clone(),
        Some("ClusterFirstWithHostNet") => cluster_first,
        _ if on_host => cluster.host.clone(),
        _ => cluster_first,
    };
    if let Some(config) = &spec.dns_config {
        append(
            &mut dns.servers,
            config.nameservers.iter().flatten().cloned(),
        );
        append(&mut dns.searches, config.searches.iter().flatten().cloned());
        for option in config.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            // An option that is given again replaces the one before.
            dns.options
                .retain(|known| known.split(':').next() != Some(name.as_str()));
            dns.options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    dns
}

fn append(list: &mut Vec<String>, more: impl Iterator<Item = String>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

/// What the text of a `resolv.conf` says.
#[must_use]
pub fn read_resolv_conf(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            Some("search") => dns.searches = words.map(str::to_owned).collect(),
            Some("options") => dns.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    dns
}

/// Who the container's process is and what it may do.
///
/// # Errors
/// The container must not run as root, but would.
pub fn security(pod: &Pod, container: &Container) -> Result<Security, ConfigError> {
    let of_pod = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref());
    let own = container.security_context.as_ref();
    let user = own
        .and_then(|own| own.run_as_user)
        .or_else(|| of_pod.and_then(|of_pod| of_pod.run_as_user));
    let group = own
        .and_then(|own| own.run_as_group)
        .or_else(|| of_pod.and_then(|of_pod| of_pod.run_as_group));
    let not_root = own
        .and_then(|own| own.run_as_non_root)
        .or_else(|| of_pod.and_then(|of_pod| of_pod.run_as_non_root))
        .unwrap_or(false);
    if not_root && user.unwrap_or(0) == 0 {
        let metadata = &pod.metadata;
        let whose = format!(
            "(pod: \"{}_{}({})\", container: {})",
            metadata.name.as_deref().unwrap_or_default(),
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.uid.as_deref().unwrap_or_default(),
            container.name
        );
        return Err(ConfigError::Identity(match user {
            Some(_) => format!("container's runAsUser breaks non-root policy {whose}"),
            None => {
                format!("container has runAsNonRoot and image will run as root {whose}")
            }
        }));
    }
    let id = |number: i64| {
        u32::try_from(number)
            .map_err(|_| ConfigError::Identity(format!("invalid user or group ID: {number}")))
    };
    let more = of_pod.into_iter().flat_map(|of_pod| {
        let supplemental = of_pod.supplemental_groups.iter().flatten().copied();
        supplemental.chain(of_pod.fs_group)
    });
    let capabilities = own.and_then(|own| own.capabilities.as_ref());
    let names = |list: Option<&Vec<String>>| list.cloned().unwrap_or_default();
    Ok(Security {
        user: user.map(id).transpose()?,
        group: group.map(id).transpose()?,
        groups: more.map(id).collect::<Result<_, _>>()?,
        read_only_root: own.and_then(|own| own.read_only_root_filesystem) == Some(true),
        add_capabilities: names(capabilities.and_then(|all| all.add.as_ref())),
        drop_capabilities: names(capabilities.and_then(|all| all.drop.as_ref())),
    })
}

/// What a container may use.
#[must_use]
pub fn bounds(resources: Option<&ResourceRequirements>) -> Bounds {
    let requests = resources.and_then(|all| all.requests.as_ref());
    let limits = resources.and_then(|all| all.limits.as_ref());
    let amount = |map: Option<&std::collections::BTreeMap<_, _>>, name: &str| {
        let quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity = map?.get(name)?;
        quantity.0.parse::<Quantity>().ok()
    };
    let positive = |number: i64| u64::try_from(number).ok().filter(|number| *number > 0);
    let milli = |quantity: Option<Quantity>| positive(quantity?.milli());
    let bytes = |quantity: Option<Quantity>| positive(quantity?.value());
    Bounds {
        cpu_request_millis: milli(amount(requests, "cpu")),
        cpu_limit_millis: milli(amount(limits, "cpu")),
        memory_request_bytes: bytes(amount(requests, "memory")),
        memory_limit_bytes: bytes(amount(limits, "memory")),
    }
}

/// What all containers of the pod may use together: a limit only where each has one.
fn pod_bounds(spec: &PodSpec) -> Bounds {
    let own = spec
        .resources
        .as_ref()
        .map(|resources| bounds(Some(resources)));
    let all: Vec<Bounds> = spec
        .containers
        .iter()
        .map(|container| bounds(container.resources.as_ref()))
        .collect();
    let init: Vec<Bounds> = all_containers(spec)
        .take(spec.init_containers.iter().flatten().count())
        .map(|container| bounds(container.resources.as_ref()))
        .collect();
    let sum = |of: fn(&Bounds) -> Option<u64>| {
        let total: u64 = all.iter().filter_map(of).sum();
        let most = init.iter().filter_map(of).max().unwrap_or(0);
        Some(total.saturating_add(most)).filter(|total| *total > 0)
    };
    let limit = |of: fn(&Bounds) -> Option<u64>| {
        let every = all.iter().chain(&init).all(|bounds| of(bounds).is_some());
        every.then(|| sum(of)).flatten()
    };
    let own = own.unwrap_or_default();
    Bounds {
        cpu_request_millis: own
            .cpu_request_millis
            .or_else(|| sum(|all| all.cpu_request_millis)),
        cpu_limit_millis: own
            .cpu_limit_millis
            .or_else(|| limit(|all| all.cpu_limit_millis)),
        memory_request_bytes: own
            .memory_request_bytes
            .or_else(|| sum(|all| all.memory_request_bytes)),
        memory_limit_bytes: own
            .memory_limit_bytes
            .or_else(|| limit(|all| all.memory_limit_bytes)),
    }
}

/// Where a pod's logs are, as under `/var/log/pods`.
#[must_use]
pub fn log_folder(root: &Path, pod: &Pod) -> PathBuf {
    let metadata = &pod.metadata;
    root.join(format!(
        "{}_{}_{}",
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
        metadata.uid.as_deref().unwrap_or_default()
    ))
}

/// Where one run's log is.
#[must_use]
pub fn log_path(root: &Path, pod: &Pod, container: &str, attempt: u32) -> PathBuf {
    log_folder(root, pod)
        .join(container)
        .join(format!("{attempt}.log"))
}

/// Signals in the order of their numbers, from 1 on, as they are on x86-64 and arm64.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The number of a signal by the name a manifest gives it, as in `SIGUSR1` or `SIGRTMIN+3`.
#[must_use]
pub fn signal_number(name: &str) -> Option<i32> {
    /// The first and the last of the real-time signals as the C library counts them.
    const REAL_TIME: (i32, i32) = (34, 64);
    let name = name.strip_prefix("SIG")?;
    let (first, last) = REAL_TIME;
    if let Some(above) = name.strip_prefix("RTMIN") {
        let above: i32 = if above.is_empty() {
            0
        } else {
            above.strip_prefix('+')?.parse().ok()?
        };
        return Some(first + above).filter(|number| *number <= last);
    }
    if let Some(below) = name.strip_prefix("RTMAX") {
        let below: i32 = if below.is_empty() {
            0
        } else {
            below.strip_prefix('-')?.parse().ok()?
        };
        return Some(last - below).filter(|number| *number >= first);
    }
    let at = SIGNALS.iter().position(|known| *known == name)?;
    i32::try_from(at + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web-0", "namespace": "shop", "uid": "u"}, "spec": spec
        }))
        .expect("a pod")
    }

    fn cluster() -> ClusterDns {
        ClusterDns {
            server: "10.96.0.10".parse().expect("an address"),
            domain: "cluster.local".to_owned(),
            host: read_resolv_conf("# c\nsearch corp\nnameserver 192.0.2.53\noptions edns0\n"),
        }
    }

    #[test]
    fn names_are_resolved_as_the_policy_says() {
        let table = [
            (
                json!({"containers": []}),
                "search shop.svc.cluster.local svc.cluster.local cluster.local corp\n\
                 nameserver 10.96.0.10\noptions ndots:5\n",
            ),
            (
                json!({"containers": [], "dnsPolicy": "Default"}),
                "search corp\nnameserver 192.0.2.53\noptions edns0\n",
            ),
            (
                json!({"containers": [], "dnsPolicy": "ClusterFirst", "hostNetwork": true}),
                "search corp\nnameserver 192.0.2.53\noptions edns0\n",
            ),
            (
                json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {
                    "nameservers": ["192.0.2.1"], "searches": ["a"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]}}),
                "search a\nnameserver 192.0.2.1\noptions ndots:2 rotate\n",
            ),
            (
                json!({"containers": [], "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}}),
                "search shop.svc.cluster.local svc.cluster.local cluster.local corp\n\
                 nameserver 10.96.0.10\noptions ndots:2\n",
            ),
        ];
        for (spec, expected) in table {
            assert_eq!(dns(&pod(&spec), &cluster()).resolv_conf(), expected);
        }
    }

    #[test]
    fn the_hosts_file_names_the_pod_and_its_aliases() {
        let pod = pod(&json!({"containers": [], "subdomain": "db",
            "hostAliases": [{"ip": "192.0.2.7", "hostnames": ["a", "b"]}]}));
        let address = "10.244.0.3".parse().ok();
        let text = hosts_file(&pod, address, "cluster.local");
        let end = "10.244.0.3\tweb-0.db.shop.svc.cluster.local\tweb-0\n\n\
                   # Entries added by HostAliases.\n192.0.2.7\ta\tb\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn who_must_not_be_root_is_refused_to_be() {
        let spec = json!({"securityContext": {"runAsNonRoot": true, "fsGroup": 7,
                "supplementalGroups": [5]},
            "containers": [{"name": "a"}, {"name": "b", "securityContext": {"runAsUser": 0}},
                {"name": "c", "securityContext": {"runAsUser": 9, "runAsGroup": 8}}]});
        let pod = pod(&spec);
        let of = |at: usize| security(&pod, &pod.spec.as_ref().expect("a spec").containers[at]);
        assert_eq!(
            of(0).expect_err("root").to_string(),
            "container has runAsNonRoot and image will run as root \
             (pod: \"web-0_shop(u)\", container: a)"
        );
        assert_eq!(
            of(1).expect_err("root").to_string(),
            "container's runAsUser breaks non-root policy \
             (pod: \"web-0_shop(u)\", container: b)"
        );
        let security = of(2).expect("not root");
        assert_eq!(
            (security.user, security.group, security.groups),
            (Some(9), Some(8), vec![5, 7])
        );
    }

    #[test]
    fn a_pod_is_bound_only_where_each_of_its_containers_is() {
        let spec = json!({"containers": [
            {"name": "a", "resources": {"requests": {"cpu": "100m"},
                "limits": {"cpu": "200m", "memory": "64Mi"}}},
            {"name": "b", "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "1"}}}]});
        let found = sandbox_spec(&pod(&spec), None).bounds;
        let expected = Bounds {
            cpu_request_millis: Some(150),
            cpu_limit_millis: Some(1200),
            memory_request_bytes: None,
            memory_limit_bytes: None,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn signals_have_their_numbers() {
        let table = [
            ("SIGTERM", Some(15)),
            ("SIGUSR1", Some(10)),
            ("SIGWINCH", Some(28)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMAX", Some(64)),
            ("SIGRTMAX-99", None),
            ("TERM", None),
            ("SIGNOPE", None),
        ];
        for (name, number) in table {
            assert_eq!(signal_number(name), number, "{name}");
        }
    }
}
