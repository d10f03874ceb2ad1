//! Services.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column, labels, or_none, wide};
use crate::members::{integer, items, text};

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column(
            "Type",
            "string",
            "type determines how the Service is exposed.",
        ),
        column(
            "Cluster-IP",
            "string",
            "clusterIP is the IP address of the service.",
        ),
        column(
            "External-IP",
            "string",
            "externalIPs is a list of IP addresses for which nodes in the cluster will also accept traffic for this service.",
        ),
        column(
            "Port(s)",
            "string",
            "The list of ports that are exposed by this service.",
        ),
        AGE,
        wide(
            "Selector",
            "string",
            "Route service traffic to pods with label keys and values matching this selector.",
        ),
    ]
}

pub(crate) fn cells(service: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &service["spec"];
    let address = text(spec, "clusterIP");
    vec![
        service["metadata"]["name"].clone(),
        spec["type"].clone(),
        json!(or_none(address.to_owned())),
        json!(external_address(service)),
        json!(ports(spec)),
        json!(age::of(service, now)),
        json!(labels(&spec["selector"])),
    ]
}

fn external_address(service: &Value) -> String {
    let spec = &service["spec"];
    let own: Vec<&str> = items(spec, "externalIPs")
        .filter_map(Value::as_str)
        .collect();
    match text(spec, "type") {
        "ExternalName" => text(spec, "externalName").to_owned(),
        "LoadBalancer" => {
            let mut all: Vec<&str> = items(&service["status"]["loadBalancer"], "ingress")
                .map(|ingress| match text(ingress, "ip") {
                    "" => text(ingress, "hostname"),
                    address => address,
                })
                .filter(|address| !address.is_empty())
                .collect();
            all.extend(own);
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        _ => or_none(own.join(",")),
    }
}

fn ports(spec: &Value) -> String {
    let all: Vec<String> = items(spec, "ports")
        .map(|port| {
            let number = integer(port, "port").unwrap_or(0);
            let protocol = text(port, "protocol");
            match integer(port, "nodePort").filter(|number| *number != 0) {
                Some(node_port) => format!("{number}:{node_port}/{protocol}"),
                None => format!("{number}/{protocol}"),
            }
        })
        .collect();
    or_none(all.join(","))
}

#[cfg(test)]
// Literals are easier to read where they need no reference.
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use super::*;

    fn row(spec: Value, ingress: Value) -> Vec<Value> {
        let service = json!({"metadata": {"name": "s"}, "spec": spec, "status": {"loadBalancer": {"ingress": ingress}}});
        cells(&service, Timestamp::UNIX_EPOCH)[1..5].to_vec()
    }

    #[test]
    fn each_type_shows_where_it_is_reached() {
        let ports = json!([{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]);
        assert_eq!(
            row(
                json!({"type": "NodePort", "clusterIP": "10.96.0.9", "ports": ports}),
                json!([])
            ),
            [
                json!("NodePort"),
                json!("10.96.0.9"),
                json!("<none>"),
                json!("80:30080/TCP,53/UDP")
            ]
        );
        assert_eq!(
            row(
                json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9", "ports": []}),
                json!([])
            )[2],
            "<pending>"
        );
        assert_eq!(
            row(
                json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9"}),
                json!([{"ip": "127.0.0.1"}])
            )[2],
            "127.0.0.1"
        );
        assert_eq!(
            row(
                json!({"type": "ExternalName", "externalName": "db.example"}),
                json!([])
            )[1..3],
            [json!("<none>"), json!("db.example")]
        );
    }
}
