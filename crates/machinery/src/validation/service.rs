//! Services.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Errors, add_all, labels, meta, one_of, port};
use crate::error::{FieldError, FieldPath};
use crate::members::{has, integer, items, text};
use crate::names;
use crate::registry::Part;

const AFFINITY_MAX: i64 = 86_400;
const ONLY_LOAD_BALANCER: &str = "may only be used when `type` is 'LoadBalancer'";

/// Checks a new Service. Addresses and node ports are handed out, and their ranges checked, by the
/// API server.
pub(crate) fn create(service: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(service, true, names::dns1035_label);
    spec(&mut errors, &service["spec"]);
    errors
}

/// Checks a change of a Service or of its status.
pub(crate) fn update(new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    if part == Part::Status {
        return errors;
    }
    let path = FieldPath::new("spec");
    let (after, before) = (&new["spec"], &old["spec"]);
    let needs_address = |spec: &Value| text(spec, "type") != "ExternalName";
    let (address, former) = (text(after, "clusterIP"), text(before, "clusterIP"));
    if needs_address(after) && needs_address(before) && !former.is_empty() && address != former {
        errors.push(FieldError::invalid(
            path.child("clusterIPs").index(0),
            if address.is_empty() {
                json!([])
            } else {
                json!([address])
            },
            "may not change once set",
        ));
    }
    spec(&mut errors, after);
    errors
}

fn spec(errors: &mut Errors, spec: &Value) {
    let path = FieldPath::new("spec");
    let kind = text(spec, "type");
    let headless = text(spec, "clusterIP") == "None";
    if items(spec, "ports").next().is_none() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required(path.child("ports"), ""));
    }
    one_of(
        errors,
        kind,
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        &path.child("type"),
    );
    of_type(errors, spec, kind, headless, &path);
    ports(errors, spec, kind, headless, &path);
    labels(errors, &spec["selector"], &path.child("selector"));
    affinity(errors, spec, &path);
    addresses(errors, spec, &path);
    traffic_policies(errors, spec, kind, &path);
    if kind != "LoadBalancer" {
        for name in [
            "loadBalancerSourceRanges",
            "allocateLoadBalancerNodePorts",
            "loadBalancerClass",
        ] {
            if has(spec, name) {
                errors.push(FieldError::forbidden(path.child(name), ONLY_LOAD_BALANCER));
            }
        }
    }
}

fn of_type(errors: &mut Errors, spec: &Value, kind: &str, headless: bool, path: &FieldPath) {
    let article = match kind {
        "LoadBalancer" => Some("LoadBalancer"),
        "NodePort" => Some("NodePort"),
        _ => None,
    };
    if let Some(kind) = article.filter(|_| headless) {
        errors.push(FieldError::invalid(
            path.child("clusterIPs").index(0),
            "None",
            format!("may not be set to 'None' for {kind} services"),
        ));
    }
    if kind != "ExternalName" {
        return;
    }
    if !text(spec, "clusterIP").is_empty() {
        errors.push(FieldError::forbidden(
            path.child("clusterIPs"),
            "may not be set for ExternalName services",
        ));
    }
    let target = text(spec, "externalName");
    if target.is_empty() {
        errors.push(FieldError::required(path.child("externalName"), ""));
    } else {
        // A rooted name is as good as any.
        let name = target.strip_suffix('.').unwrap_or(target);
        add_all(
            errors,
            &path.child("externalName"),
            name,
            names::dns1123_subdomain(name),
        );
    }
}

fn ports(errors: &mut Errors, spec: &Value, kind: &str, headless: bool, path: &FieldPath) {
    let several = items(spec, "ports").count() > 1;
    let mut names_seen = BTreeSet::new();
    let mut ports_seen = BTreeSet::new();
    let mut node_ports_seen = BTreeSet::new();
    for (index, entry) in items(spec, "ports").enumerate() {
        let path = path.child("ports").index(index);
        let name = text(entry, "name");
        if name.is_empty() {
            if several {
                errors.push(FieldError::required(path.child("name"), ""));
            }
        } else {
            add_all(
                errors,
                &path.child("name"),
                name,
                names::dns1123_label(name),
            );
            if !names_seen.insert(name) {
                errors.push(FieldError::duplicate(path.child("name"), name));
            }
        }
        let number = integer(entry, "port").unwrap_or(0);
        add_all(
            errors,
            &path.child("port"),
            number,
            names::port_number(number),
        );
        let protocol = text(entry, "protocol");
        one_of(
            errors,
            protocol,
            &["SCTP", "TCP", "UDP"],
            &path.child("protocol"),
        );
        if !(headless && entry["targetPort"].is_null()) {
            port(errors, &entry["targetPort"], &path.child("targetPort"));
        }
        if has(entry, "appProtocol") {
            let name = text(entry, "appProtocol");
            add_all(
                errors,
                &path.child("appProtocol"),
                name,
                names::label_key(name),
            );
        }
        let node_port = integer(entry, "nodePort").unwrap_or(0);
        if node_port != 0 {
            if kind == "ClusterIP" || kind == "ExternalName" {
                errors.push(FieldError::forbidden(
                    path.child("nodePort"),
                    format!("may not be used when `type` is '{kind}'"),
                ));
            } else if !node_ports_seen.insert((protocol, node_port)) {
                errors.push(FieldError::duplicate(path.child("nodePort"), node_port));
            }
        }
        if !ports_seen.insert((protocol, number)) {
            errors.push(FieldError::duplicate(
                path,
                json!({"protocol": protocol, "port": number}),
            ));
        }
    }
}

fn affinity(errors: &mut Errors, spec: &Value, path: &FieldPath) {
    let mode = text(spec, "sessionAffinity");
    one_of(
        errors,
        mode,
        &["ClientIP", "None"],
        &path.child("sessionAffinity"),
    );
    let config_path = path.child("sessionAffinityConfig");
    if mode == "ClientIP" {
        let seconds = integer(&spec["sessionAffinityConfig"]["clientIP"], "timeoutSeconds");
        let seconds = seconds.unwrap_or(0);
        if !(1..=AFFINITY_MAX).contains(&seconds) {
            errors.push(FieldError::invalid(
                config_path.child("clientIP").child("timeoutSeconds"),
                seconds,
                format!("must be greater than 0 and less than {AFFINITY_MAX}"),
            ));
        }
    }
}

fn addresses(errors: &mut Errors, spec: &Value, path: &FieldPath) {
    for (index, address) in items(spec, "clusterIPs").enumerate() {
        let address = address.as_str().unwrap_or_default();
        if address != "None" {
            let path = path.child("clusterIPs").index(index);
            add_all(errors, &path, address, names::ip_address(address));
        }
    }
    let (first, single) = (items(spec, "clusterIPs").next(), text(spec, "clusterIP"));
    if first.is_some_and(|first| first != single) {
        errors.push(FieldError::invalid(
            path.child("clusterIP"),
            single,
            "first value in `clusterIPs` must match `clusterIP`",
        ));
    }
    for (index, address) in items(spec, "externalIPs").enumerate() {
        let address = address.as_str().unwrap_or_default();
        let path = path.child("externalIPs").index(index);
        add_all(errors, &path, address, names::ip_address(address));
    }
    for (index, family) in items(spec, "ipFamilies").enumerate() {
        let family = family.as_str().unwrap_or_default();
        let path = path.child("ipFamilies").index(index);
        if family == "IPv6" {
            errors.push(FieldError::invalid(
                path,
                json!([family]),
                "not configured on this cluster",
            ));
        } else if family != "IPv4" {
            one_of(errors, family, &["IPv4", "IPv6"], &path);
        }
    }
    if has(spec, "ipFamilyPolicy") {
        one_of(
            errors,
            text(spec, "ipFamilyPolicy"),
            &["PreferDualStack", "RequireDualStack", "SingleStack"],
            &path.child("ipFamilyPolicy"),
        );
    }
}

fn traffic_policies(errors: &mut Errors, spec: &Value, kind: &str, path: &FieldPath) {
    let external = ["LoadBalancer", "NodePort"].contains(&kind)
        || (kind == "ClusterIP" && items(spec, "externalIPs").next().is_some());
    let policy = text(spec, "externalTrafficPolicy");
    let policy_path = path.child("externalTrafficPolicy");
    if external {
        one_of(errors, policy, &["Cluster", "Local"], &policy_path);
    } else if !policy.is_empty() {
        errors.push(FieldError::invalid(
            policy_path,
            policy,
            "may only be set for externally-accessible services",
        ));
    }
    if has(spec, "internalTrafficPolicy") {
        one_of(
            errors,
            text(spec, "internalTrafficPolicy"),
            &["Cluster", "Local"],
            &path.child("internalTrafficPolicy"),
        );
    }
    if has(spec, "trafficDistribution") {
        one_of(
            errors,
            text(spec, "trafficDistribution"),
            &["PreferClose", "PreferSameNode", "PreferSameZone"],
            &path.child("trafficDistribution"),
        );
    }
}

#[cfg(test)]
// Literals are easier to read where they need no reference.
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use super::*;
    use crate::defaults;
    use crate::validation::sentences;

    fn service(spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "web", "namespace": "d"}, "spec": spec});
        defaults::service::apply(&mut object);
        object
    }

    fn faults(spec: Value) -> Vec<String> {
        sentences(&create(&service(spec)))
    }

    #[test]
    fn usual_services_pass() {
        for spec in [
            json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}),
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}),
            json!({"type": "LoadBalancer", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80, "protocol": "UDP"}]}),
            json!({"clusterIP": "None"}),
            json!({"type": "ExternalName", "externalName": "db.example.com."}),
            json!({"sessionAffinity": "ClientIP", "ports": [{"port": 1}]}),
        ] {
            assert_eq!(faults(spec.clone()), Vec::<String>::new(), "{spec}");
        }
    }

    #[test]
    fn ports_are_needed_named_and_unique() {
        assert_eq!(faults(json!({})), ["spec.ports: Required value"]);
        assert_eq!(
            faults(json!({"ports": [{"port": 80}, {"port": 80, "name": "b"}]})),
            [
                "spec.ports[0].name: Required value",
                "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}",
            ]
        );
        assert_eq!(
            faults(json!({"ports": [{"port": 0, "targetPort": "no_port", "nodePort": 30000}]})),
            [
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: \"no_port\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            ]
        );
    }

    #[test]
    fn fields_of_other_types_are_refused() {
        assert_eq!(
            faults(json!({"type": "NodePort", "clusterIP": "None", "ports": [{"port": 1}]})),
            [
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"
            ]
        );
        assert_eq!(
            faults(json!({"type": "ExternalName"})),
            ["spec.externalName: Required value"]
        );
        assert_eq!(
            faults(json!({"externalTrafficPolicy": "Local", "ports": [{"port": 1}]})),
            [
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"
            ]
        );
        assert_eq!(
            faults(json!({"type": "Magic", "ports": [{"port": 1}]})),
            [
                "spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\""
            ]
        );
        assert_eq!(
            faults(json!({"clusterIP": "10.0.0", "ports": [{"port": 1}]})),
            [
                "spec.clusterIPs[0]: Invalid value: \"10.0.0\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            ]
        );
    }

    #[test]
    fn a_services_name_is_a_dns_1035_label() {
        let mut object = service(json!({"ports": [{"port": 1}]}));
        object["metadata"]["name"] = json!("1web");
        let found = sentences(&create(&object));
        assert!(
            found[0].starts_with("metadata.name: Invalid value: \"1web\": a DNS-1035 label must"),
            "{found:?}"
        );
    }

    #[test]
    fn the_cluster_address_stays() {
        let old = service(json!({"clusterIP": "10.96.0.5", "ports": [{"port": 1}]}));
        let new = service(json!({"clusterIP": "10.96.0.6", "ports": [{"port": 1}]}));
        assert_eq!(
            sentences(&update(&new, &old, Part::Main)),
            ["spec.clusterIPs[0]: Invalid value: [\"10.96.0.6\"]: may not change once set"]
        );
        let external = service(json!({"type": "ExternalName", "externalName": "a"}));
        assert!(update(&external, &old, Part::Main).is_empty());
    }
}
