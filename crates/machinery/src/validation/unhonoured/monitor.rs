//! What of ServiceMonitors and PodMonitors is not honoured.

use serde_json::Value;

use super::{Gap, gap, says_something, warn};
use crate::error::FieldPath;
use crate::members::items;

const DIRECT: &str = "targets are reached directly, without a proxy";
const NO_FILE: &str =
    "files of the server are not read for an object of a namespace; name a Secret or ConfigMap";
const NO_NATIVE: &str = "native histograms are not stored; classic histograms are scraped";

/// Of the specs of both kinds.
pub(super) const SPEC: &[Gap] = &[
    gap(
        "scrapeClass",
        "there are no scrape classes; the endpoints say all of it",
    ),
    gap("attachMetadata.node", "labels of the node are not attached"),
    gap("scrapeNativeHistograms", NO_NATIVE),
    gap("convertClassicHistogramsToNHCB", NO_NATIVE),
    gap("nativeHistogramBucketLimit", NO_NATIVE),
    gap("nativeHistogramMinBucketFactor", NO_NATIVE),
];

/// Of their endpoints.
pub(super) const ENDPOINT: &[Gap] = &[
    gap(
        "oauth2",
        "is not supported, and nothing is sent instead; use authorization or basicAuth",
    ),
    gap("proxyUrl", DIRECT),
    gap("noProxy", DIRECT),
    gap("proxyFromEnvironment", DIRECT),
    gap("proxyConnectHeader", DIRECT),
    gap("bearerTokenFile", NO_FILE),
    gap("tlsConfig.caFile", NO_FILE),
    gap("tlsConfig.certFile", NO_FILE),
    gap("tlsConfig.keyFile", NO_FILE),
];

/// Warnings about a ServiceMonitor.
pub(crate) fn service_monitor(monitor: &Value) -> Vec<String> {
    warnings(monitor, "endpoints")
}

/// Warnings about a PodMonitor.
pub(crate) fn pod_monitor(monitor: &Value) -> Vec<String> {
    warnings(monitor, "podMetricsEndpoints")
}

fn warnings(monitor: &Value, endpoints: &str) -> Vec<String> {
    let spec = &monitor["spec"];
    let path = FieldPath::new("spec");
    let mut warnings = Vec::new();
    warn(&mut warnings, spec, &path, SPEC);
    let path = path.child(endpoints);
    for (index, endpoint) in items(spec, endpoints).enumerate() {
        warn(&mut warnings, endpoint, &path.index(index), ENDPOINT);
    }
    if !says_something(&spec[endpoints]) {
        warnings.push(format!("{path}: there is none, so nothing is scraped"));
    }
    warnings
}
