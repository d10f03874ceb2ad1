//! The variables that tell a container about the Services of its namespace.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;

/// The namespace and name of the Service that every pod is told about.
const MASTER: (&str, &str) = ("default", "kubernetes");

/// The variables for pods of `namespace`. Without `links` only `default/kubernetes` is told.
///
/// Services without a cluster IP have none. The API server's own Service yields to one of the
/// same name in the pod's namespace.
#[must_use]
pub fn service_variables(
    services: &[Arc<Service>],
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let is_master = |service: &Service| {
        service.metadata.namespace.as_deref() == Some(MASTER.0)
            && service.metadata.name.as_deref() == Some(MASTER.1)
    };
    let mut variables = BTreeMap::new();
    for service in services.iter().filter(|service| is_master(service)) {
        describe(service, &mut variables);
    }
    if links {
        let own = services
            .iter()
            .filter(|service| service.metadata.namespace.as_deref() == Some(namespace));
        for service in own {
            describe(service, &mut variables);
        }
    }
    variables
}

fn describe(service: &Service, variables: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let address = match spec.cluster_ip.as_deref() {
        None | Some("" | "None") => return,
        Some(address) => address,
    };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return };
    let name = variable_name(service.metadata.name.as_deref().unwrap_or_default());
    let host = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    };

    variables.insert(format!("{name}_SERVICE_HOST"), address.to_owned());
    variables.insert(format!("{name}_SERVICE_PORT"), first.port.to_string());
    for port in ports {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if let Some(port_name) = port.name.as_deref().filter(|text| !text.is_empty()) {
            variables.insert(
                format!("{name}_SERVICE_PORT_{}", variable_name(port_name)),
                port.port.to_string(),
            );
        }
        variables.entry(format!("{name}_PORT")).or_insert_with(|| {
            format!(
                "{}://{host}:{}",
                first.protocol.as_deref().unwrap_or("TCP").to_lowercase(),
                first.port
            )
        });
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_uppercase());
        variables.insert(prefix.clone(), url);
        variables.insert(format!("{prefix}_PROTO"), protocol.to_lowercase());
        variables.insert(format!("{prefix}_PORT"), port.port.to_string());
        variables.insert(format!("{prefix}_ADDR"), address.to_owned());
    }
}

fn variable_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}
