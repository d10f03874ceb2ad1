//! What the API server counts of itself: requests, how long they took, what is under way and what is stored, with the
//! names and labels of Kubernetes' API server.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Weak;
use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode};
use parking_lot::RwLock;
use springtide_machinery::instruments::{Counter, Gauge, Histogram, Kind, Registry, Text, Vector};
use springtide_store::At;

use crate::api::Api;
use crate::auth;
use crate::request::{Query, ResourcePath, Target};
use crate::routes::Route;
use crate::version;

/// Upper bounds of durations in seconds: of Kubernetes' 24 those that tell fast from slow here.
const BOUNDS: &[f64] = &[0.005, 0.025, 0.1, 0.4, 1.0, 5.0, 15.0, 60.0];
const COMPONENT: &str = "apiserver";

/// The counters. Counting a request that is like an earlier one takes no lock but for reading.
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    requests: Vector<Counter, 9>,
    durations: Vector<Histogram, 8>,
    /// Read-only requests under way, and those that write.
    in_flight: [Gauge; 2],
    long_running: Vector<Gauge, 7>,
    /// By a hash of what tells requests apart.
    known: RwLock<HashMap<u64, (Counter, Histogram)>>,
}

/// A request, as metrics tell requests apart.
#[derive(Hash)]
pub(crate) struct Asked<'a> {
    verb: &'static str,
    group: &'a str,
    version: &'a str,
    resource: &'a str,
    subresource: &'a str,
    scope: &'static str,
    dry_run: bool,
}

/// One more under way, until this is dropped.
pub(crate) struct UnderWay(Gauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let registry = Registry::new();
        let requests = registry.counters(
            "apiserver_request_total",
            "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.",
            ["code", "component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version"],
        );
        let durations = registry.histograms(
            "apiserver_request_duration_seconds",
            "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.",
            BOUNDS,
            ["component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version"],
        );
        let in_flight = registry.gauges(
            "apiserver_current_inflight_requests",
            "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last second.",
            ["request_kind"],
        );
        let long_running = registry.gauges(
            "apiserver_longrunning_requests",
            "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.",
            ["component", "group", "resource", "scope", "subresource", "verb", "version"],
        );
        Metrics {
            registry,
            requests,
            durations,
            in_flight: [in_flight.with(["readOnly"]), in_flight.with(["mutating"])],
            long_running,
            known: RwLock::default(),
        }
    }

    /// Tells what is stored whenever metrics are asked for.
    pub(crate) fn tell_of(&self, api: Weak<Api>) {
        self.registry.collect(move |text| {
            if let Some(api) = api.upgrade() {
                stored(&api, text);
            }
        });
    }

    /// A request of this method is under way.
    pub(crate) fn begin(&self, method: &Method) -> UnderWay {
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        let gauge = &self.in_flight[usize::from(!reads)];
        gauge.inc();
        UnderWay(gauge.clone())
    }

    /// A watch of a resource is under way.
    pub(crate) fn watching(&self, route: &Route, scope: &'static str) -> UnderWay {
        let served = route.served();
        let plural = &route.resource().plural;
        let labels = [
            COMPONENT,
            &served.group,
            plural,
            scope,
            "",
            "WATCH",
            &served.version,
        ];
        let gauge = self.long_running.with(labels);
        gauge.inc();
        UnderWay(gauge)
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, asked: &Asked<'_>, status: StatusCode, took: Duration) {
        let mut hasher = DefaultHasher::new();
        (asked, status.as_u16()).hash(&mut hasher);
        let key = hasher.finish();
        let known = self.known.read().get(&key).cloned();
        let (count, duration) = known.unwrap_or_else(|| {
            let made = self.make(asked, status);
            self.known.write().insert(key, made.clone());
            made
        });
        count.inc();
        // How long a watch lasts says nothing about the server.
        if asked.verb != "WATCH" {
            duration.observe(took.as_secs_f64());
        }
    }

    fn make(&self, asked: &Asked<'_>, status: StatusCode) -> (Counter, Histogram) {
        let Asked {
            verb,
            group,
            version,
            resource,
            subresource,
            scope,
            dry_run,
        } = *asked;
        let dry_run = if dry_run { "All" } else { "" };
        let code = status.as_str();
        let count = self.requests.with([
            code,
            COMPONENT,
            dry_run,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ]);
        if verb == "WATCH" {
            return (count, Histogram::new(BOUNDS));
        }
        let duration = self.durations.with([
            COMPONENT,
            dry_run,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ]);
        (count, duration)
    }
}

// === impl Asked ===

impl<'a> Asked<'a> {
    /// What a request is for. What is not served is all one, or anybody could make series.
    pub(crate) fn of(api: &'a Api, parts: &Parts, target: &'a Target<'a>) -> Asked<'a> {
        let Target::Resource(path) = target else {
            return Asked::plain(&parts.method);
        };
        let Some(route) = api.routes.find(path.group, path.version, &path.plural) else {
            return Asked::plain(&parts.method);
        };
        let query = Query::parse(parts.uri.query());
        let served = route.served();
        let subresource = path
            .subresource
            .filter(|name| route.resource().subresource(name).is_some());
        Asked {
            verb: upper(auth::resource_verb(&parts.method, path, &query), path),
            group: &served.group,
            version: &served.version,
            resource: &route.resource().plural,
            subresource: subresource.unwrap_or_default(),
            scope: scope(path),
            dry_run: query.text("dryRun").is_some(),
        }
    }

    fn plain(method: &Method) -> Asked<'a> {
        let verb = match *method {
            Method::GET | Method::HEAD => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            _ => "OTHER",
        };
        Asked {
            verb,
            group: "",
            version: "",
            resource: "",
            subresource: "",
            scope: "",
            dry_run: false,
        }
    }
}

/// What a request reaches.
pub(crate) fn scope(path: &ResourcePath<'_>) -> &'static str {
    match (&path.name, &path.namespace) {
        (Some(_), _) => "resource",
        (None, Some(_)) => "namespace",
        (None, None) => "cluster",
    }
}

/// Verbs as metrics name them.
fn upper(verb: &'static str, path: &ResourcePath<'_>) -> &'static str {
    match verb {
        "create"
            if matches!(
                path.subresource,
                Some("exec" | "attach" | "portforward" | "proxy")
            ) =>
        {
            "CONNECT"
        }
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" => "POST",
        "update" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "OTHER",
    }
}

/// How many objects there are of each kind.
fn stored(api: &Api, text: &mut Text) {
    let help = "[STABLE] Number of stored objects at the time of last check split by kind.";
    let mut family = text.family("apiserver_storage_objects", help, Kind::Gauge);
    for route in api.routes.stored() {
        let listed = api
            .store
            .list(&route.resource().collection, None, At::Latest, None);
        if let Ok(listed) = listed {
            let resource = route.resource().group_resource();
            family.sample(&[("resource", &resource)], listed.objects.len() as f64);
        }
    }
    text.family(
        "apiserver_storage_revision",
        "The newest revision of the store.",
        Kind::Gauge,
    )
    .sample(&[], api.store.revision().get() as f64);
    let (git_version, minor) = (version::git_version(), version::MINOR.to_string());
    let labels = [
        ("git_version", git_version.as_str()),
        ("major", "1"),
        ("minor", minor.as_str()),
    ];
    let help = "[ALPHA] A metric with a constant '1' value labeled by major, minor and git version of the API that is served.";
    text.family("kubernetes_build_info", help, Kind::Gauge)
        .sample(&labels, 1.0);
}
