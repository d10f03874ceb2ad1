//! A pod's class of service, and how readily the kernel kills its containers.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use springtide_machinery::quantity::Quantity;

use crate::kubelet::view::all_containers;

/// `Guaranteed`, `Burstable` or `BestEffort`, from requests and limits of CPU and memory.
#[must_use]
pub fn qos_class(spec: &PodSpec) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    for container in all_containers(spec) {
        for resource in ["cpu", "memory"] {
            let request = amount(container, Side::Requests, resource);
            let limit = amount(container, Side::Limits, resource);
            any |= request.is_some() || limit.is_some();
            // A request that is not given is the limit.
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[derive(Clone, Copy)]
enum Side {
    Requests,
    Limits,
}

/// A resource in thousandths; `None` where it is not given or zero.
fn amount(container: &Container, side: Side, resource: &str) -> Option<i64> {
    let resources = container.resources.as_ref()?;
    let map = match side {
        Side::Requests => resources.requests.as_ref(),
        Side::Limits => resources.limits.as_ref(),
    };
    let quantity: Quantity = map?.get(resource)?.0.parse().ok()?;
    let milli = quantity.milli();
    (milli != 0).then_some(milli)
}

/// The container's `oom_score_adj`, from its pod's class and its share of the node's memory.
#[must_use]
pub(crate) fn oom_score_adj(spec: &PodSpec, container: &Container, node_memory: i64) -> i32 {
    match qos_class(spec) {
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => {
            let request = amount(container, Side::Requests, "memory").unwrap_or(0) / 1000;
            let share = 1000 - 1000_i64.saturating_mul(request) / node_memory.max(1);
            // Below every container that promised nothing, above every one that is guaranteed.
            i32::try_from(share.clamp(3, 999)).unwrap_or(999)
        }
    }
}
