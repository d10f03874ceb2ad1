//! `container_*`: what containers, pods and the machine use, with cAdvisor's names and labels.
//!
//! Each container has its own series, with `container`, `image`, `name` and `id`; each pod has series of the sum, whose
//! `container` and `image` are empty; the machine's have `id="/"`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use springtide_machinery::instruments::{Kind, Text};
use springtide_machinery::quantity::Quantity;

use crate::cgroups::{Direction, Traffic, Usage};
use crate::kubelet::Snapshot;
use crate::network::POD_LINK_NAME;
use crate::stats::{Measured, NodeUsage};

/// The period that CPU limits are counted in, in microseconds.
const CPU_PERIOD: f64 = 100_000.0;

/// One series' labels and measurement.
struct Series<'a> {
    namespace: &'a str,
    pod: &'a str,
    /// Empty for the sum of a pod.
    container: &'a str,
    image: String,
    id: String,
    name: String,
    at: Timestamp,
    started: Option<Timestamp>,
    usage: Usage,
    spec: Option<&'a Container>,
}

/// Writes all families.
pub(crate) fn write(
    pods: &[Snapshot],
    measured: &[Measured],
    node: Option<NodeUsage>,
    text: &mut Text,
) {
    let all = series(pods, measured);
    usages(&all, node, text);
    limits(&all, text);
    networks(pods, measured, text);
}

fn series<'a>(pods: &'a [Snapshot], measured: &'a [Measured]) -> Vec<Series<'a>> {
    let by_name: BTreeMap<(&str, &str), &Snapshot> = pods
        .iter()
        .map(|snapshot| (name_of(&snapshot.pod), snapshot))
        .collect();
    let mut sums: BTreeMap<(&str, &str), Series<'a>> = BTreeMap::new();
    let mut all = Vec::new();
    for found in measured {
        let Some(snapshot) = by_name.get(&(found.namespace.as_str(), found.pod.as_str())) else {
            continue;
        };
        let uid = snapshot.pod.metadata.uid.as_deref().unwrap_or_default();
        let spec = snapshot.pod.spec.as_ref().and_then(|spec| {
            let init = spec.init_containers.iter().flatten();
            let mut containers = spec.containers.iter().chain(init);
            containers.find(|container| container.name == found.container)
        });
        let run = &found.usage.run;
        let name = run.container_id();
        let name = name
            .rsplit("://")
            .next()
            .unwrap_or_default()
            .replace('/', "-");
        let usage = found.usage.counters;
        let sum = sums
            .entry((&found.namespace, &found.pod))
            .or_insert_with(|| Series {
                namespace: &found.namespace,
                pod: &found.pod,
                container: "",
                image: String::new(),
                id: format!("/kubepods/pod{uid}"),
                name: String::new(),
                at: found.usage.at,
                started: None,
                usage: Usage::default(),
                spec: None,
            });
        add(&mut sum.usage, &usage);
        sum.at = sum.at.max(found.usage.at);
        all.push(Series {
            namespace: &found.namespace,
            pod: &found.pod,
            container: &found.container,
            image: spec.and_then(|spec| spec.image.clone()).unwrap_or_default(),
            id: format!("/kubepods/pod{uid}/{name}"),
            name,
            at: found.usage.at,
            started: Some(found.usage.started_at),
            usage,
            spec,
        });
    }
    all.extend(sums.into_values());
    all
}

fn name_of(pod: &Pod) -> (&str, &str) {
    (
        pod.metadata.namespace.as_deref().unwrap_or_default(),
        pod.metadata.name.as_deref().unwrap_or_default(),
    )
}

fn add(sum: &mut Usage, more: &Usage) {
    sum.cpu_nanos += more.cpu_nanos;
    sum.user_nanos += more.user_nanos;
    sum.system_nanos += more.system_nanos;
    sum.periods += more.periods;
    sum.throttled_periods += more.throttled_periods;
    sum.throttled_nanos += more.throttled_nanos;
    sum.working_set_bytes += more.working_set_bytes;
    sum.rss_bytes += more.rss_bytes;
    sum.usage_bytes += more.usage_bytes;
    sum.cache_bytes += more.cache_bytes;
    sum.swap_bytes += more.swap_bytes;
    sum.processes += more.processes;
}

impl Series<'_> {
    fn labels(&self) -> [(&str, &str); 6] {
        [
            ("container", self.container),
            ("id", &self.id),
            ("image", &self.image),
            ("name", &self.name),
            ("namespace", self.namespace),
            ("pod", self.pod),
        ]
    }
}

type Value = fn(&Usage) -> f64;

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// The families that every container and pod has.
const FAMILIES: &[(&str, &str, Kind, Value)] = &[
    (
        "container_cpu_system_seconds_total",
        "Cumulative system cpu time consumed in seconds.",
        Kind::Counter,
        |usage| seconds(usage.system_nanos),
    ),
    (
        "container_cpu_user_seconds_total",
        "Cumulative user cpu time consumed in seconds.",
        Kind::Counter,
        |usage| seconds(usage.user_nanos),
    ),
    (
        "container_memory_cache",
        "Number of bytes of page cache memory.",
        Kind::Gauge,
        |usage| usage.cache_bytes as f64,
    ),
    (
        "container_memory_rss",
        "Size of RSS in bytes.",
        Kind::Gauge,
        |usage| usage.rss_bytes as f64,
    ),
    (
        "container_memory_swap",
        "Container swap usage in bytes.",
        Kind::Gauge,
        |usage| usage.swap_bytes as f64,
    ),
    (
        "container_memory_usage_bytes",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        Kind::Gauge,
        |usage| usage.usage_bytes as f64,
    ),
    (
        "container_processes",
        "Number of processes running inside the container.",
        Kind::Gauge,
        |usage| usage.processes as f64,
    ),
];

/// The families of those with a CPU limit.
const THROTTLING: &[(&str, &str, Value)] = &[
    (
        "container_cpu_cfs_periods_total",
        "Number of elapsed enforcement period intervals.",
        |usage| usage.periods as f64,
    ),
    (
        "container_cpu_cfs_throttled_periods_total",
        "Number of throttled period intervals.",
        |usage| usage.throttled_periods as f64,
    ),
    (
        "container_cpu_cfs_throttled_seconds_total",
        "Total time duration the container has been throttled.",
        |usage| seconds(usage.throttled_nanos),
    ),
];

fn usages(all: &[Series<'_>], node: Option<NodeUsage>, text: &mut Text) {
    let root = [("id", "/")];
    let mut family = text.family(
        "container_cpu_usage_seconds_total",
        "Cumulative cpu time consumed in seconds.",
        Kind::Counter,
    );
    if let Some(node) = node {
        family.sample_at(&root, node.cpu_seconds, node.at.as_millisecond());
    }
    for series in all {
        // cAdvisor tells all cores together.
        let [container, id, image, name, namespace, pod] = series.labels();
        let labels = [container, ("cpu", "total"), id, image, name, namespace, pod];
        family.sample_at(
            &labels,
            seconds(series.usage.cpu_nanos),
            series.at.as_millisecond(),
        );
    }
    let mut family = text.family(
        "container_memory_working_set_bytes",
        "Current working set in bytes.",
        Kind::Gauge,
    );
    if let Some(node) = node {
        family.sample_at(
            &root,
            node.memory_working_set_bytes as f64,
            node.at.as_millisecond(),
        );
    }
    for series in all {
        family.sample_at(
            &series.labels(),
            series.usage.working_set_bytes as f64,
            series.at.as_millisecond(),
        );
    }
    for (name, help, kind, value) in FAMILIES {
        let mut family = text.family(name, help, *kind);
        for series in all {
            family.sample_at(
                &series.labels(),
                value(&series.usage),
                series.at.as_millisecond(),
            );
        }
    }
    for (name, help, value) in THROTTLING {
        let mut family = text.family(name, help, Kind::Counter);
        for series in all.iter().filter(|series| series.usage.periods > 0) {
            family.sample_at(
                &series.labels(),
                value(&series.usage),
                series.at.as_millisecond(),
            );
        }
    }
    for (name, help) in [
        (
            "container_last_seen",
            "Last time a container was seen by the exporter",
        ),
        (
            "container_start_time_seconds",
            "Start time of the container since unix epoch in seconds.",
        ),
    ] {
        let mut family = text.family(name, help, Kind::Gauge);
        for series in all {
            let time = if name == "container_last_seen" {
                Some(series.at)
            } else {
                series.started
            };
            if let Some(time) = time {
                family.sample_at(
                    &series.labels(),
                    time.as_second() as f64,
                    series.at.as_millisecond(),
                );
            }
        }
    }
}

/// What containers were promised, as their manifests say.
fn limits(all: &[Series<'_>], text: &mut Text) {
    let amount = |series: &Series<'_>, limit: bool, resource: &str| {
        let resources = series.spec?.resources.as_ref()?;
        let amounts = if limit {
            &resources.limits
        } else {
            &resources.requests
        };
        let found = amounts.as_ref()?.get(resource)?;
        Some(Quantity::parse(&found.0).ok()?.milli() as f64 / 1000.0)
    };
    let mut write = |name: &str, help: &str, value: &dyn Fn(&Series<'_>) -> Option<f64>| {
        let mut family = text.family(name, help, Kind::Gauge);
        for series in all.iter().filter(|series| series.spec.is_some()) {
            if let Some(value) = value(series) {
                family.sample(&series.labels(), value);
            }
        }
    };
    write(
        "container_spec_cpu_period",
        "CPU period of the container.",
        &|series| amount(series, true, "cpu").map(|_| CPU_PERIOD),
    );
    write(
        "container_spec_cpu_quota",
        "CPU quota of the container.",
        &|series| amount(series, true, "cpu").map(|cores| cores * CPU_PERIOD),
    );
    write(
        "container_spec_cpu_shares",
        "CPU share of the container.",
        &|series| {
            Some(
                amount(series, false, "cpu").map_or(2.0, |cores| (cores * 1024.0).floor().max(2.0)),
            )
        },
    );
    write(
        "container_spec_memory_limit_bytes",
        "Memory limit for the container.",
        &|series| Some(amount(series, true, "memory").unwrap_or(0.0)),
    );
}

/// A number of one direction of a link.
type Part = fn(&Direction) -> u64;

/// A pod's link is told of once, whichever of its containers it was read from.
fn networks(pods: &[Snapshot], measured: &[Measured], text: &mut Text) {
    let mut links: BTreeMap<(&str, &str), (Traffic, Timestamp)> = BTreeMap::new();
    for found in measured {
        if let Some(traffic) = found.usage.counters.traffic {
            links.insert((&found.namespace, &found.pod), (traffic, found.usage.at));
        }
    }
    let own = pods.iter().filter(|snapshot| {
        let spec = snapshot.pod.spec.as_ref();
        spec.is_some_and(|spec| spec.host_network != Some(true))
    });
    let own: Vec<(&Snapshot, Traffic, Timestamp)> = own
        .filter_map(|snapshot| {
            let (traffic, at) = links.get(&name_of(&snapshot.pod))?;
            Some((snapshot, *traffic, *at))
        })
        .collect();
    let parts: [(&str, &str, Part); 4] = [
        ("bytes", "bytes", |direction| direction.bytes),
        ("errors", "errors encountered while", |direction| {
            direction.errors
        }),
        ("packets_dropped", "packets dropped while", |direction| {
            direction.dropped
        }),
        ("packets", "packets", |direction| direction.packets),
    ];
    for (way, received) in [("receive", true), ("transmit", false)] {
        for (part, told, value) in parts {
            let name = format!("container_network_{way}_{part}_total");
            let help = format!("Cumulative count of {told} {way}d");
            let mut family = text.family(&name, &help, Kind::Counter);
            for (snapshot, traffic, at) in &own {
                let (namespace, pod) = name_of(&snapshot.pod);
                let uid = snapshot.pod.metadata.uid.as_deref().unwrap_or_default();
                let id = format!("/kubepods/pod{uid}");
                let labels = [
                    ("container", ""),
                    ("id", id.as_str()),
                    ("image", ""),
                    ("interface", POD_LINK_NAME),
                    ("name", ""),
                    ("namespace", namespace),
                    ("pod", pod),
                ];
                let direction = if received {
                    &traffic.received
                } else {
                    &traffic.sent
                };
                family.sample_at(&labels, value(direction) as f64, at.as_millisecond());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use k8s_openapi::api::core::v1::PodStatus;
    use serde_json::json;

    use super::*;
    use crate::kubelet::runtime::{ContainerRun, PodUid};

    #[test]
    fn containers_pods_and_the_machine_are_told_of_as_stock_rules_select_them() {
        let pod = serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "web-1", "uid": "u"},
            "spec": {"containers": [{"name": "app", "image": "web:1",
                "resources": {"limits": {"cpu": "500m", "memory": "1Ki"}, "requests": {"cpu": "250m"}}}]}
        }));
        let snapshot = Snapshot {
            pod: Arc::new(pod.expect("a pod")),
            status: PodStatus::default(),
        };
        let at: Timestamp = "2026-01-02T03:04:05.678Z".parse().expect("a time");
        let counters = Usage {
            cpu_nanos: 1_500_000_000,
            working_set_bytes: 4096,
            periods: 10,
            throttled_periods: 4,
            throttled_nanos: 250_000_000,
            traffic: Some(Traffic {
                received: Direction {
                    bytes: 7,
                    ..Direction::default()
                },
                ..Traffic::default()
            }),
            ..Usage::default()
        };
        let measured = Measured {
            namespace: "shop".to_owned(),
            pod: "web-1".to_owned(),
            container: "app".to_owned(),
            usage: crate::kubelet::runtime::Usage {
                run: ContainerRun {
                    pod: PodUid("u".to_owned()),
                    container: "app".to_owned(),
                    attempt: 2,
                },
                at,
                cpu: Duration::from_millis(1500),
                memory_working_set_bytes: 4096,
                started_at: "2026-01-02T03:04:00Z".parse().expect("a time"),
                counters,
            },
        };
        let node = NodeUsage {
            at,
            cpu_seconds: 12.5,
            memory_working_set_bytes: 9,
        };
        let mut text = Text::default();
        write(&[snapshot], &[measured], Some(node), &mut text);
        let text = text.into_string();
        for line in [
            r#"container_cpu_usage_seconds_total{id="/"} 12.5 1767323045678"#,
            r#"container_cpu_usage_seconds_total{container="app",cpu="total",id="/kubepods/podu/u-app-2",image="web:1",name="u-app-2",namespace="shop",pod="web-1"} 1.5 1767323045678"#,
            r#"container_memory_working_set_bytes{container="",id="/kubepods/podu",image="",name="",namespace="shop",pod="web-1"} 4096 1767323045678"#,
            r#"container_cpu_cfs_throttled_periods_total{container="app",id="/kubepods/podu/u-app-2",image="web:1",name="u-app-2",namespace="shop",pod="web-1"} 4 1767323045678"#,
            r#"container_spec_cpu_quota{container="app",id="/kubepods/podu/u-app-2",image="web:1",name="u-app-2",namespace="shop",pod="web-1"} 50000"#,
            r#"container_network_receive_bytes_total{container="",id="/kubepods/podu",image="",interface="eth0",name="",namespace="shop",pod="web-1"} 7 1767323045678"#,
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "missing: {line}\n{text}"
            );
        }
    }
}
