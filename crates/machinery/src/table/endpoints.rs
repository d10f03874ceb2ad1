//! Endpoints: the first addresses.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column, or_none};
use crate::members::{items, text};

/// How many addresses are shown.
const SHOWN: usize = 3;

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column(
            "Endpoints",
            "string",
            "The set of all endpoints is the union of all subsets.",
        ),
        AGE,
    ]
}

pub(crate) fn cells(endpoints: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        endpoints["metadata"]["name"].clone(),
        json!(addresses(endpoints)),
        json!(age::of(endpoints, now)),
    ]
}

fn addresses(endpoints: &Value) -> String {
    let mut all = Vec::new();
    for subset in items(endpoints, "subsets") {
        let ports: Vec<i64> = items(subset, "ports")
            .filter_map(|port| port["port"].as_i64())
            .collect();
        if ports.is_empty() {
            all.extend(items(subset, "addresses").map(|address| text(address, "ip").to_owned()));
        }
        for port in ports {
            for address in items(subset, "addresses") {
                all.push(format!("{}:{port}", text(address, "ip")));
            }
        }
    }
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    let shown = or_none(all.join(","));
    if more > 0 {
        format!("{shown} + {more} more...")
    } else {
        shown
    }
}

#[cfg(test)]
// Literals are easier to read where they need no reference.
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_addresses_are_shown() {
        let endpoints = |ips: &[&str]| {
            let addresses: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
            addresses_of(json!({"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]}))
        };
        assert_eq!(endpoints(&[]), "<none>");
        assert_eq!(
            endpoints(&["10.0.0.1", "10.0.0.2"]),
            "10.0.0.1:80,10.0.0.2:80"
        );
        assert_eq!(
            endpoints(&["1", "2", "3", "4", "5"]),
            "1:80,2:80,3:80 + 2 more..."
        );
    }

    fn addresses_of(object: Value) -> String {
        addresses(&object)
    }
}
