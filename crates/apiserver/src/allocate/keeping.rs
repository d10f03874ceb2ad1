//! What a changed Service keeps of its address and ports though the client leaves it out.

use serde_json::Value;

/// Puts into a changed Service what it had and the client left out, and takes out what its new
/// type has no use for.
pub(crate) fn keep_allocated(new: &mut Value, old: &Value) {
    if !new["spec"].is_object() {
        return;
    }
    let (new, old) = (&mut new["spec"], &old["spec"]);
    keep_address(new, old);
    keep_ports(new, old);
    keep_health_port(new, old);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn remove(object: &mut Value, fields: &[&str]) {
    if let Some(object) = object.as_object_mut() {
        for field in fields {
            object.remove(*field);
        }
    }
}

fn keep_address(new: &mut Value, old: &Value) {
    let external = |spec: &Value| spec["type"] == "ExternalName";
    if external(old) {
        return;
    }
    if external(new) {
        if new["clusterIP"] == old["clusterIP"] {
            remove(
                new,
                &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"],
            );
        }
        return;
    }
    let unset = text(&new["clusterIP"]).is_empty() && text(&new["clusterIPs"][0]).is_empty();
    if unset {
        for field in ["clusterIP", "clusterIPs"] {
            if !old[field].is_null() {
                new[field] = old[field].clone();
            }
        }
    }
}

fn keep_ports(new: &mut Value, old: &Value) {
    let has_ports = |spec: &Value| matches!(text(&spec["type"]), "NodePort" | "LoadBalancer");
    if !has_ports(old) {
        return;
    }
    let keeps = has_ports(new);
    let old_ports = old["ports"].as_array().cloned().unwrap_or_default();
    for port in new["ports"].as_array_mut().into_iter().flatten() {
        let before = old_ports.iter().find(|before| {
            before["port"] == port["port"] && before["protocol"] == port["protocol"]
        });
        let Some(before) = before.filter(|before| !before["nodePort"].is_null()) else {
            continue;
        };
        let unset = port["nodePort"].as_u64().unwrap_or(0) == 0;
        if keeps && unset {
            port["nodePort"] = before["nodePort"].clone();
        } else if !keeps && port["nodePort"] == before["nodePort"] {
            remove(port, &["nodePort"]);
        }
    }
}

fn keep_health_port(new: &mut Value, old: &Value) {
    let local =
        |spec: &Value| spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local";
    if !local(old) {
        return;
    }
    if local(new) {
        if new["healthCheckNodePort"].is_null() {
            new["healthCheckNodePort"] = old["healthCheckNodePort"].clone();
        }
    } else if new["healthCheckNodePort"] == old["healthCheckNodePort"] {
        remove(new, &["healthCheckNodePort"]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_that_leaves_its_ports_out_keeps_them() {
        let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.5", "clusterIPs": ["10.0.0.5"],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30_001}]}});
        let mut new =
            json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}});
        keep_allocated(&mut new, &old);
        assert_eq!(new, old);
        let mut plain = old.clone();
        plain["spec"]["type"] = json!("ClusterIP");
        keep_allocated(&mut plain, &old);
        assert_eq!(plain["spec"]["ports"][0]["nodePort"], Value::Null);
        assert_eq!(plain["spec"]["clusterIP"], "10.0.0.5");
        let mut external = old.clone();
        external["spec"]["type"] = json!("ExternalName");
        keep_allocated(&mut external, &old);
        assert_eq!(external["spec"]["clusterIP"], Value::Null);
    }
}
