//! The families, and which labels a request or connection has.

use std::sync::Arc;

use http::StatusCode;
use springtide_client::ObjectKey;
use springtide_machinery::instruments::{Counter, Histogram, Instrument, Registry, Vector};

use super::identity::Identity;

/// Upper bounds of durations in milliseconds: Istio's, up to a minute.
const MILLISECONDS: &[f64] = &[
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0,
    30_000.0, 60_000.0,
];
/// Upper bounds of bodies in bytes.
const BYTES: &[f64] = &[
    1.0,
    100.0,
    1000.0,
    10_000.0,
    100_000.0,
    1_000_000.0,
    10_000_000.0,
];
const UNKNOWN: &str = "unknown";
/// The only cluster there is, as Istio calls one that has no name.
const CLUSTER: &str = "Kubernetes";

/// Istio's labels of both requests and connections.
const COMMON: usize = 22;
const LABELS: [&str; COMMON] = [
    "reporter",
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_canonical_service",
    "source_canonical_revision",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "destination_canonical_service",
    "destination_canonical_revision",
    "destination_cluster",
    "request_protocol",
    "connection_security_policy",
];
/// Those of requests.
const REQUEST: usize = COMMON + 3;

/// Who speaks with whom.
pub(super) struct Between {
    pub(super) source: Option<Arc<Identity>>,
    pub(super) destination: Option<Arc<Identity>>,
    /// Whether there was an endpoint.
    pub(super) reached: bool,
    pub(super) service: ObjectKey,
    pub(super) domain: Arc<str>,
}

/// The families of HTTP.
#[derive(Clone)]
pub(super) struct Requests {
    count: Vector<Counter, REQUEST>,
    milliseconds: Vector<Histogram, REQUEST>,
    request_bytes: Vector<Histogram, REQUEST>,
    response_bytes: Vector<Histogram, REQUEST>,
}

/// The families of TCP.
#[derive(Clone)]
pub(super) struct Connections {
    opened: Vector<Counter, COMMON>,
    closed: Vector<Counter, COMMON>,
    sent: Vector<Counter, COMMON>,
    received: Vector<Counter, COMMON>,
}

/// The handles of requests of one kind.
pub(super) struct Request {
    pub(super) count: Counter,
    pub(super) milliseconds: Histogram,
    pub(super) request_bytes: Histogram,
    pub(super) response_bytes: Histogram,
}

/// The handles of connections between the same two.
pub(super) struct Connection {
    pub(super) opened: Counter,
    pub(super) closed: Counter,
    /// Bytes to the caller, as Istio counts them.
    pub(super) sent: Counter,
    /// Bytes from the caller.
    pub(super) received: Counter,
}

// === impl Between ===

impl Between {
    /// Who has a sidecar's part in it; the first makes the counter, a second is the same counter by another name.
    fn reporters(&self) -> Vec<&'static str> {
        match (self.source.is_some(), self.reached) {
            (true, true) => vec!["destination", "source"],
            (_, true) => vec!["destination"],
            (_, false) => vec!["source"],
        }
    }

    /// The values of [`LABELS`].
    fn values<'a>(
        &'a self,
        reporter: &'a str,
        protocol: &'a str,
        host: &'a str,
    ) -> [&'a str; COMMON] {
        let of = |identity: &'a Option<Arc<Identity>>, part: fn(&Identity) -> &String| -> &'a str {
            identity
                .as_deref()
                .map_or(UNKNOWN, |identity| part(identity).as_str())
        };
        let (source, destination) = (&self.source, &self.destination);
        [
            reporter,
            of(source, |found| &found.workload),
            of(source, |found| &found.namespace),
            UNKNOWN,
            of(source, |found| &found.app),
            of(source, |found| &found.version),
            of(source, |found| &found.canonical_service),
            source
                .as_ref()
                .map_or("latest", |found| &found.canonical_revision),
            if source.is_some() { CLUSTER } else { UNKNOWN },
            of(destination, |found| &found.workload),
            of(destination, |found| &found.namespace),
            UNKNOWN,
            of(destination, |found| &found.app),
            of(destination, |found| &found.version),
            host,
            &self.service.name,
            &self.service.namespace,
            of(destination, |found| &found.canonical_service),
            destination
                .as_ref()
                .map_or("latest", |found| &found.canonical_revision),
            if destination.is_some() {
                CLUSTER
            } else {
                UNKNOWN
            },
            protocol,
            // Nothing is encrypted on the way within one machine.
            "none",
        ]
    }

    fn host(&self) -> String {
        format!(
            "{}.{}.svc.{}",
            self.service.name, self.service.namespace, self.domain
        )
    }
}

// === impl Requests ===

impl Requests {
    pub(super) fn new(registry: &Registry) -> Self {
        let labels = with_three(
            LABELS,
            ["response_code", "grpc_response_status", "response_flags"],
        );
        Self {
            count: registry.counters(
                "istio_requests_total",
                "Requests through Services, by who asked whom and the answer.",
                labels,
            ),
            milliseconds: registry.histograms(
                "istio_request_duration_milliseconds",
                "How long requests took, from their head to the end of the answer.",
                MILLISECONDS,
                labels,
            ),
            request_bytes: registry.histograms(
                "istio_request_bytes",
                "Sizes of requests' bodies.",
                BYTES,
                labels,
            ),
            response_bytes: registry.histograms(
                "istio_response_bytes",
                "Sizes of answers' bodies.",
                BYTES,
                labels,
            ),
        }
    }

    pub(super) fn with(&self, between: &Between, code: StatusCode, flag: &str) -> Request {
        let host = between.host();
        let keys: Vec<[&str; REQUEST]> = between
            .reporters()
            .into_iter()
            .map(|reporter| {
                with_three(
                    between.values(reporter, "http", &host),
                    [code.as_str(), "", flag],
                )
            })
            .collect();
        Request {
            count: member(&self.count, &keys),
            milliseconds: member(&self.milliseconds, &keys),
            request_bytes: member(&self.request_bytes, &keys),
            response_bytes: member(&self.response_bytes, &keys),
        }
    }
}

// === impl Connections ===

impl Connections {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            opened: registry.counters(
                "istio_tcp_connections_opened_total",
                "Connections that were opened.",
                LABELS,
            ),
            closed: registry.counters(
                "istio_tcp_connections_closed_total",
                "Connections that have ended.",
                LABELS,
            ),
            sent: registry.counters(
                "istio_tcp_sent_bytes_total",
                "Bytes sent to callers.",
                LABELS,
            ),
            received: registry.counters(
                "istio_tcp_received_bytes_total",
                "Bytes received from callers.",
                LABELS,
            ),
        }
    }

    pub(super) fn with(&self, between: &Between) -> Connection {
        let host = between.host();
        let keys: Vec<[&str; COMMON]> = between
            .reporters()
            .into_iter()
            .map(|reporter| between.values(reporter, "tcp", &host))
            .collect();
        Connection {
            opened: member(&self.opened, &keys),
            closed: member(&self.closed, &keys),
            sent: member(&self.sent, &keys),
            received: member(&self.received, &keys),
        }
    }
}

/// The member by its first name, known by its other names, too.
fn member<M: Instrument, const N: usize>(family: &Vector<M, N>, names: &[[&str; N]]) -> M {
    let made = family.with(names[0]);
    for name in &names[1..] {
        family.put(*name, made.clone());
    }
    made
}

fn with_three<'a>(common: [&'a str; COMMON], more: [&'a str; 3]) -> [&'a str; REQUEST] {
    let mut all = [""; REQUEST];
    all[..COMMON].copy_from_slice(&common);
    all[COMMON..].copy_from_slice(&more);
    all
}
