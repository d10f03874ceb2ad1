//! EndpointSlices and Endpoints.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::{Errors, add_all, immutable, meta, one_of};
use crate::error::{FieldError, FieldPath};
use crate::members::{has, integer, items, text};
use crate::names;
use crate::registry::Part;

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// Checks a new EndpointSlice.
pub(crate) fn create_slice(slice: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(slice, true, names::dns1123_subdomain);
    self::slice(&mut errors, slice);
    errors
}

/// Checks a change of an EndpointSlice.
pub(crate) fn update_slice(new: &Value, old: &Value, _: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    immutable(&mut errors, new, old, "addressType", &FieldPath::default());
    slice(&mut errors, new);
    errors
}

fn slice(errors: &mut Errors, slice: &Value) {
    let kind = text(slice, "addressType");
    one_of(
        errors,
        kind,
        &["FQDN", "IPv4", "IPv6"],
        &FieldPath::new("addressType"),
    );
    let path = FieldPath::new("endpoints");
    let count = items(slice, "endpoints").count();
    if count > ENDPOINTS_MAX {
        errors.push(FieldError::too_many(&path, count, ENDPOINTS_MAX));
        return;
    }
    for (index, endpoint) in items(slice, "endpoints").enumerate() {
        let path = path.index(index).child("addresses");
        let count = items(endpoint, "addresses").count();
        if count == 0 {
            errors.push(FieldError::required(
                &path,
                "must contain at least 1 address",
            ));
        } else if count > ADDRESSES_MAX {
            errors.push(FieldError::too_many(&path, count, ADDRESSES_MAX));
        }
        for (index, address) in items(endpoint, "addresses").enumerate() {
            let address = address.as_str().unwrap_or_default();
            let faults = match kind {
                "FQDN" => names::dns1123_subdomain(address),
                _ => endpoint_address(address),
            };
            add_all(errors, &path.index(index), address, faults);
        }
    }
    let path = FieldPath::new("ports");
    let mut seen = BTreeSet::new();
    for (index, port) in items(slice, "ports").enumerate() {
        let path = path.index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            add_all(
                errors,
                &path.child("name"),
                name,
                names::dns1123_label(name),
            );
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path.child("name"), name));
        }
        one_of(
            errors,
            text(port, "protocol"),
            &PROTOCOLS,
            &path.child("protocol"),
        );
    }
}

/// Checks the address of an endpoint, which is none that means another place to each who reads it.
fn endpoint_address(text: &str) -> Vec<String> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return names::ip_address(text);
    };
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let is_link_local_multicast = match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] == 0xff02,
    };
    [
        (
            address.is_unspecified(),
            "may not be unspecified (0.0.0.0 or ::)",
        ),
        (
            address.is_loopback(),
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            is_link_local,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ),
        (
            is_link_local_multicast,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    ]
    .into_iter()
    .filter(|(is_special, _)| *is_special)
    .map(|(_, fault)| fault.to_owned())
    .collect()
}

/// Checks a new Endpoints object.
pub(crate) fn create_endpoints(endpoints: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(endpoints, true, names::dns1123_subdomain);
    subsets(&mut errors, endpoints);
    errors
}

/// Checks a change of an Endpoints object.
pub(crate) fn update_endpoints(new: &Value, old: &Value, _: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    subsets(&mut errors, new);
    errors
}

fn subsets(errors: &mut Errors, endpoints: &Value) {
    for (index, subset) in items(endpoints, "subsets").enumerate() {
        let path = FieldPath::new("subsets").index(index);
        if !has(subset, "addresses") && !has(subset, "notReadyAddresses") {
            errors.push(FieldError::required(
                &path,
                "must specify `addresses` or `notReadyAddresses`",
            ));
        }
        for list in ["addresses", "notReadyAddresses"] {
            for (index, address) in items(subset, list).enumerate() {
                let ip = text(address, "ip");
                let path = path.child(list).index(index).child("ip");
                add_all(errors, &path, ip, endpoint_address(ip));
            }
        }
        let several = items(subset, "ports").count() > 1;
        for (index, port) in items(subset, "ports").enumerate() {
            let path = path.child("ports").index(index);
            let name = text(port, "name");
            if several && name.is_empty() {
                errors.push(FieldError::required(path.child("name"), ""));
            }
            let number = integer(port, "port").unwrap_or(0);
            add_all(
                errors,
                &path.child("port"),
                number,
                names::port_number(number),
            );
            one_of(
                errors,
                text(port, "protocol"),
                &PROTOCOLS,
                &path.child("protocol"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::sentences;
    use serde_json::json;

    #[test]
    fn a_slice_holds_addresses_of_its_type() {
        let slice = |endpoints: Value| {
            let slice = json!({"metadata": {"name": "s", "namespace": "d"}, "addressType": "IPv4",
                "endpoints": endpoints, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]});
            sentences(&create_slice(&slice))
        };
        assert_eq!(
            slice(json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}])),
            Vec::<String>::new()
        );
        assert_eq!(
            slice(json!([{"addresses": []}, {"addresses": ["web"]}])),
            [
                "endpoints[0].addresses: Required value: must contain at least 1 address",
                "endpoints[1].addresses[0]: Invalid value: \"web\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ]
        );
    }

    #[test]
    fn an_endpoint_is_at_no_address_that_each_machine_has() {
        let faults = |kind: &str, address: &str| {
            let slice = json!({"metadata": {"name": "s", "namespace": "d"}, "addressType": kind,
                "endpoints": [{"addresses": [address]}]});
            sentences(&create_slice(&slice))
        };
        for (kind, address, fault) in [
            ("IPv4", "0.0.0.0", "may not be unspecified (0.0.0.0 or ::)"),
            (
                "IPv4",
                "127.0.0.1",
                "may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
            (
                "IPv4",
                "169.254.1.1",
                "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            ),
            (
                "IPv6",
                "fe80::1",
                "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            ),
            (
                "IPv4",
                "224.0.0.9",
                "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            ),
        ] {
            let expected =
                format!("endpoints[0].addresses[0]: Invalid value: \"{address}\": {fault}");
            assert_eq!(faults(kind, address), [expected]);
        }
        for (kind, address) in [
            ("IPv4", "192.0.2.7"),
            ("IPv6", "2001:db8::7"),
            ("FQDN", "db.example"),
        ] {
            assert_eq!(faults(kind, address), Vec::<String>::new());
        }
    }

    #[test]
    fn a_subset_has_addresses() {
        let endpoints = json!({"metadata": {"name": "s", "namespace": "d"}, "subsets": [{"ports": [{"port": 0, "protocol": "TCP"}]}]});
        assert_eq!(
            sentences(&create_endpoints(&endpoints)),
            [
                "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
                "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ]
        );
    }
}
