//! Services: what a change of type takes along, and what an update that leaves things out keeps.

use serde_json::{Value, json};

use super::generation::keep_all_but_status;
use crate::members::{has, integer, items, items_mut, remove, restore, text};
use crate::registry::Part;
use crate::validation::unhonoured;

pub(super) fn create(service: &mut Value) {
    service["status"] = json!({"loadBalancer": {}});
}

pub(super) fn update(service: &mut Value, old: &Value, part: Part) {
    if part == Part::Status {
        keep_all_but_status(service, old);
        return;
    }
    restore(service, "status", old);
    let (after, before) = (&mut service["spec"], &old["spec"]);
    keep_handed_out(after, before);
    drop_what_the_type_lacks(after, before);
    if text(after, "type") != "LoadBalancer" {
        service["status"] = json!({"loadBalancer": {}});
    }
}

fn has_address(spec: &Value) -> bool {
    text(spec, "type") != "ExternalName"
}

fn has_node_ports(spec: &Value) -> bool {
    match text(spec, "type") {
        "NodePort" => true,
        "LoadBalancer" => spec["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

/// Whether a balancer in front asks a port of its own whether this node has a pod.
fn has_health_port(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

/// A client that writes the service anew without its address and node ports keeps them.
fn keep_handed_out(after: &mut Value, before: &Value) {
    if has_address(after) && has_address(before) {
        if text(after, "clusterIP").is_empty() {
            restore(after, "clusterIP", before);
        }
        if !has(after, "clusterIPs") && after["clusterIP"] == before["clusterIP"] {
            restore(after, "clusterIPs", before);
        }
    }
    if has_health_port(after)
        && has_health_port(before)
        && integer(after, "healthCheckNodePort").unwrap_or(0) == 0
    {
        restore(after, "healthCheckNodePort", before);
    }
    if has_node_ports(after) && has_node_ports(before) {
        let number = |port: &Value| integer(port, "nodePort").unwrap_or(0);
        let mut used: Vec<i64> = items(after, "ports").map(number).collect();
        for port in items_mut(after, "ports") {
            if number(port) != 0 {
                continue;
            }
            let former = items(before, "ports")
                .find(|other| text(other, "name") == text(port, "name"))
                .map_or(0, number);
            if former != 0 && !used.contains(&former) {
                port["nodePort"] = former.into();
                used.push(former);
            }
        }
    }
}

/// Fields that belong to the former type go, unless the client set them to something else (then
/// validation says what is wrong).
fn drop_what_the_type_lacks(after: &mut Value, before: &Value) {
    let former = text(before, "type");
    let lost_address = has_address(before) && !has_address(after);
    let lost_node_ports = has_node_ports(before) && !has_node_ports(after);
    let lost_health_port = has_health_port(before) && !has_health_port(after);
    let lost_balancer = former == "LoadBalancer" && text(after, "type") != "LoadBalancer";
    let lost_outside = ["LoadBalancer", "NodePort"].contains(&former)
        && !["LoadBalancer", "NodePort"].contains(&text(after, "type"))
        && items(after, "externalIPs").next().is_none();
    let mut drop_unchanged = |names: &[&str]| {
        for name in names {
            if after.get(*name) == before.get(*name) {
                remove(after, name);
            }
        }
    };
    if lost_address {
        drop_unchanged(&[
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ]);
    }
    if lost_balancer {
        drop_unchanged(&["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    if lost_outside {
        drop_unchanged(&["externalTrafficPolicy"]);
    }
    if lost_health_port {
        drop_unchanged(&["healthCheckNodePort"]);
    }
    if lost_node_ports {
        let ports = |spec: &Value| -> Vec<Value> {
            items(spec, "ports")
                .map(|port| port["nodePort"].clone())
                .collect()
        };
        if ports(after) == ports(before) {
            for port in items_mut(after, "ports") {
                remove(port, "nodePort");
            }
        }
    }
}

/// Kubernetes' warnings, and those about what is not honoured here.
pub(super) fn warnings(service: &Value) -> Vec<String> {
    let mut warnings = unhonoured::service(service);
    let spec = &service["spec"];
    if text(spec, "type") == "ExternalName" && has(spec, "selector") {
        warnings.push("spec.selector is ignored for services of type 'ExternalName'".to_owned());
    }
    if text(spec, "clusterIP") == "None" && !text(spec, "loadBalancerIP").is_empty() {
        warnings.push("spec.loadBalancerIP is ignored for headless services".to_owned());
    }
    if text(spec, "sessionAffinity") == "ClientIP" && text(spec, "clusterIP") == "None" {
        warnings.push("spec.SessionAffinity is ignored for headless services".to_owned());
    }
    warnings
}

#[cfg(test)]
// Literals are easier to read where they need no reference.
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use super::*;

    fn changed(old: Value, new: Value) -> Value {
        let old = json!({"spec": old, "status": {"loadBalancer": {}}});
        let mut new = json!({"spec": new});
        update(&mut new, &old, Part::Main);
        new["spec"].clone()
    }

    #[test]
    fn what_was_handed_out_is_kept_when_left_out() {
        let old = json!({"type": "NodePort", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"],
            "ports": [{"port": 80, "nodePort": 30080}]});
        let new = changed(
            old.clone(),
            json!({"type": "NodePort", "ports": [{"port": 80}]}),
        );
        assert_eq!(new, old);
    }

    #[test]
    fn a_port_for_health_checks_is_kept_as_long_as_it_is_needed() {
        let old = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30_001});
        let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"});
        assert_eq!(changed(old.clone(), local), old);
        let mut written = old.clone();
        written["externalTrafficPolicy"] = json!("Cluster");
        assert_eq!(
            changed(old, written),
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Cluster"})
        );
    }

    #[test]
    fn a_change_of_type_gives_up_what_the_new_type_lacks() {
        let old = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"],
            "allocateLoadBalancerNodePorts": true, "externalTrafficPolicy": "Cluster", "ports": [{"port": 80, "nodePort": 30080}]});
        let mut written = old.clone();
        written["type"] = json!("ClusterIP");
        assert_eq!(
            changed(old.clone(), written),
            json!({"type": "ClusterIP", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "ports": [{"port": 80}]})
        );
        let mut written = old.clone();
        written["type"] = json!("ExternalName");
        written["externalName"] = json!("a.example");
        assert_eq!(
            changed(old, written),
            json!({"type": "ExternalName", "externalName": "a.example", "ports": [{"port": 80}]})
        );
    }
}
