//! The downward API: what a pod can be told about itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use springtide_machinery::quantity::Quantity;

use super::ConfigError;

/// What is known about a pod beside its object while its containers are being configured.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The pod's address.
    pub pod_ip: Option<IpAddr>,
    /// The node's address.
    pub host_ip: Option<IpAddr>,
    /// What pods may use of the node's CPU, in thousandths of a core.
    pub allocatable_cpu_millis: i64,
    /// What pods may use of the node's memory, in bytes.
    pub allocatable_memory_bytes: i64,
    /// What pods may use of the node's disk, in bytes.
    pub allocatable_storage_bytes: i64,
}

/// The value of a field of the pod, as `fieldRef` asks for it.
///
/// # Errors
/// A path that the downward API does not offer.
pub fn field(pod: &Pod, path: &str, facts: &Facts) -> Result<String, ConfigError> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let address = |value: Option<IpAddr>| value.map(|ip| ip.to_string()).unwrap_or_default();
    if let Some(key) = subscript(path, "metadata.labels") {
        return Ok(text(metadata.labels.as_ref().and_then(|map| map.get(key))));
    }
    if let Some(key) = subscript(path, "metadata.annotations") {
        return Ok(text(
            metadata.annotations.as_ref().and_then(|map| map.get(key)),
        ));
    }
    match path {
        "metadata.name" => Ok(text(metadata.name.as_ref())),
        "metadata.namespace" => Ok(text(metadata.namespace.as_ref())),
        "metadata.uid" => Ok(text(metadata.uid.as_ref())),
        "metadata.labels" => Ok(format_map(metadata.labels.as_ref())),
        "metadata.annotations" => Ok(format_map(metadata.annotations.as_ref())),
        "spec.nodeName" => Ok(text(spec.and_then(|spec| spec.node_name.as_ref()))),
        "spec.serviceAccountName" => Ok(text(
            spec.and_then(|spec| spec.service_account_name.as_ref()),
        )),
        "status.podIP" | "status.podIPs" => Ok(address(facts.pod_ip)),
        "status.hostIP" | "status.hostIPs" => Ok(address(facts.host_ip)),
        other => Err(ConfigError::UnsupportedField(other.to_owned())),
    }
}

/// The key in `prefix['key']`.
fn subscript<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix)?
        .strip_prefix("['")?
        .strip_suffix("']")
}

/// A map as a downward file shows it: a line `key="value"` each, sorted, values escaped.
#[must_use]
pub fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    let mut text = String::new();
    for (key, value) in map.into_iter().flatten() {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = write!(text, "{key}={}", quoted(value));
    }
    text
}

/// A string between double quotes, escaped as Go's `%q` does for what labels can hold.
fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            other if (other as u32) < 0x20 || other == '\u{7f}' => {
                let _ = write!(text, "\\x{:02x}", other as u32);
            }
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// The value of a container's resource, as `resourceFieldRef` asks for it: rounded up to the
/// divisor. A limit that is not set is what the node can give.
///
/// # Errors
/// A resource that the downward API does not offer, or a container that does not exist.
pub fn resource_field(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    facts: &Facts,
) -> Result<String, ConfigError> {
    let named = selector
        .container_name
        .as_deref()
        .filter(|name| !name.is_empty());
    let container = match named {
        Some(name) => pod
            .spec
            .iter()
            .flat_map(|spec| {
                spec.containers
                    .iter()
                    .chain(spec.init_containers.iter().flatten())
            })
            .find(|container| container.name == name)
            .ok_or_else(|| ConfigError::NoContainer(name.to_owned()))?,
        None => own.ok_or_else(|| ConfigError::NoContainer(String::new()))?,
    };
    let resources = container.resources.as_ref();
    let limit = |name: &str| resources.and_then(|all| all.limits.as_ref()?.get(name));
    let request = |name: &str| resources.and_then(|all| all.requests.as_ref()?.get(name));
    let divisor = selector
        .divisor
        .as_ref()
        .map(|quantity| quantity.0.as_str())
        .filter(|text| !text.is_empty() && *text != "0")
        .unwrap_or("1");
    let divisor = parse(divisor)?;

    let (side, resource) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| ConfigError::UnsupportedResource(selector.resource.clone()))?;
    let quantity = match side {
        "limits" => limit(resource),
        "requests" => request(resource),
        _ => return Err(ConfigError::UnsupportedResource(selector.resource.clone())),
    };
    let quantity = quantity.map(|quantity| parse(&quantity.0)).transpose()?;
    let (amount, divisor) = match resource {
        "cpu" => {
            let unset = if side == "limits" {
                facts.allocatable_cpu_millis
            } else {
                0
            };
            let amount = quantity.map_or(unset, Quantity::milli);
            (amount, divisor.milli())
        }
        "memory" | "ephemeral-storage" => {
            let node = if resource == "memory" {
                facts.allocatable_memory_bytes
            } else {
                facts.allocatable_storage_bytes
            };
            let unset = if side == "limits" { node } else { 0 };
            let amount = quantity.map_or(unset, Quantity::value);
            (amount, divisor.value())
        }
        _ => return Err(ConfigError::UnsupportedResource(selector.resource.clone())),
    };
    let divisor = divisor.max(1);
    Ok((amount.saturating_add(divisor - 1) / divisor).to_string())
}

fn parse(text: &str) -> Result<Quantity, ConfigError> {
    text.parse()
        .map_err(|_| ConfigError::Quantity(text.to_owned()))
}
