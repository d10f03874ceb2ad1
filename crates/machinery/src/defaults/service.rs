//! Services.

use serde_json::{Value, json};

use crate::members::{ensure, fill, fill_text, has, items, items_mut, remove, text};

/// Seconds a client stays with its endpoint: three hours.
const AFFINITY_SECONDS: i64 = 10_800;

/// Fills in a Service, but for the addresses and ports the API server hands out.
pub(crate) fn apply(service: &mut Value) {
    let spec = ensure(service, "spec");
    fill_text(spec, "type", "ClusterIP");
    let kind = text(spec, "type").to_owned();
    fill_text(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => {
            remove(spec, "sessionAffinityConfig");
        }
        "ClientIP" => {
            let client = ensure(ensure(spec, "sessionAffinityConfig"), "clientIP");
            fill(client, "timeoutSeconds", AFFINITY_SECONDS);
        }
        _ => {}
    }
    for port in items_mut(spec, "ports") {
        fill_text(port, "protocol", "TCP");
        let target = &port["targetPort"];
        if target.is_null() || target == 0 || target == "" {
            port["targetPort"] = port["port"].clone();
        }
    }
    let external = match kind.as_str() {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => items(spec, "externalIPs").next().is_some(),
        _ => false,
    };
    if external {
        fill_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        fill_text(spec, "internalTrafficPolicy", "Cluster");
        fill_text(spec, "ipFamilyPolicy", "SingleStack");
        fill(spec, "ipFamilies", json!(["IPv4"]));
        cluster_ips(spec);
    }
    if kind == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", true);
    }
    fill(ensure(service, "status"), "loadBalancer", json!({}));
}

/// `clusterIP` is the first of `clusterIPs`; clients may give either.
fn cluster_ips(spec: &mut Value) {
    let first = text(spec, "clusterIP").to_owned();
    if !first.is_empty() && !has(spec, "clusterIPs") {
        spec["clusterIPs"] = json!([first]);
    } else if first.is_empty()
        && let Some(address) = items(spec, "clusterIPs").next().cloned()
    {
        spec["clusterIP"] = address;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minimal_service_is_a_cluster_ip_that_reaches_the_same_port() {
        let mut service = json!({"spec": {"ports": [{"port": 80}]}});
        apply(&mut service);
        assert_eq!(
            service["spec"],
            json!({"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
                "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"],
                "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]})
        );
        assert_eq!(service["status"], json!({"loadBalancer": {}}));
    }

    #[test]
    fn what_is_reachable_from_outside_has_a_policy_for_it() {
        let mut service = json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80, "targetPort": "http"}]}});
        apply(&mut service);
        assert_eq!(service["spec"]["externalTrafficPolicy"], "Cluster");
        assert_eq!(service["spec"]["allocateLoadBalancerNodePorts"], true);
        assert_eq!(service["spec"]["ports"][0]["targetPort"], "http");
    }

    #[test]
    fn an_external_name_has_no_addresses() {
        let mut service = json!({"spec": {"type": "ExternalName", "externalName": "a.example"}});
        apply(&mut service);
        assert_eq!(
            service["spec"],
            json!({"type": "ExternalName", "externalName": "a.example", "sessionAffinity": "None"})
        );
    }

    #[test]
    fn client_affinity_lasts_three_hours() {
        let mut service = json!({"spec": {"sessionAffinity": "ClientIP"}});
        apply(&mut service);
        assert_eq!(
            service["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"],
            10_800
        );
    }

    #[test]
    fn a_headless_service_says_so_in_both_fields() {
        let mut service = json!({"spec": {"clusterIP": "None"}});
        apply(&mut service);
        assert_eq!(service["spec"]["clusterIPs"], json!(["None"]));
    }
}
