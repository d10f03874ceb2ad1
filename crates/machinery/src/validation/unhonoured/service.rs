//! Services.

use serde_json::Value;

use super::{Gap, gap, gap_if, under_spec};
use crate::members::text;

/// For how long a client stays with its endpoint where a Service does not say, in seconds.
const USUAL_AFFINITY: i64 = 10_800;

/// Of every Service.
pub(super) const SERVICE: &[Gap] = &[
    gap("externalIPs[]", "nothing listens on this address"),
    gap_if(
        "externalTrafficPolicy",
        |policy| policy == "Local",
        "pods see the address of the mesh, not the client's; all pods are on the one node",
    ),
    gap("healthCheckNodePort", "no health check is served there"),
    gap_if(
        "ipFamilyPolicy",
        |policy| policy == "RequireDualStack",
        "there are IPv4 addresses only",
    ),
    gap(
        "loadBalancerClass",
        "the Service is served here, whatever its class",
    ),
    gap(
        "loadBalancerIP",
        "the Service is served at the platform's own address",
    ),
    gap(
        "loadBalancerSourceRanges",
        "every client that reaches the address is let in",
    ),
    gap_if(
        "sessionAffinityConfig.clientIP.timeoutSeconds",
        |seconds| seconds.as_i64() != Some(USUAL_AFFINITY),
        "a client stays with its pod for as long as that is ready",
    ),
];

/// Of a Service with a cluster IP.
pub(super) const BALANCED: &[Gap] = &[gap_if(
    "ports[].protocol",
    |protocol| protocol != "TCP",
    "only TCP is balanced; nothing answers on this port",
)];

/// Warns about what a Service asks for in vain.
pub(crate) fn service(service: &Value) -> Vec<String> {
    let mut warnings = under_spec(service, SERVICE);
    let spec = &service["spec"];
    if text(spec, "type") != "ExternalName" && text(spec, "clusterIP") != "None" {
        warnings.extend(under_spec(service, BALANCED));
    }
    warnings
}
