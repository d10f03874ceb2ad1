//! The objects that are always there.

use serde_json::{Value, json};

use crate::allocate::ServiceRange;
use crate::api::Api;
use crate::server::BuildError;
use crate::write::create::create;

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// The class whose pods run programs of the host.
const HOST_CLASS: &str = "host";

/// Makes those that are missing.
pub(crate) async fn make_well_known(
    api: &Api,
    range: ServiceRange,
    port: u16,
) -> Result<(), BuildError> {
    for name in NAMESPACES {
        let namespace = json!({"metadata": {"name": name}});
        make(api, ("", "v1", "namespaces"), "", namespace).await?;
    }
    let class = json!({"metadata": {"name": HOST_CLASS}, "handler": HOST_CLASS});
    make(api, ("node.k8s.io", "v1", "runtimeclasses"), "", class).await?;
    let service = json!({
        "metadata": {
            "name": "kubernetes",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": range.first().to_string(),
            "clusterIPs": [range.first().to_string()],
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    });
    make(api, ("", "v1", "services"), "default", service).await
}

async fn make(
    api: &Api,
    (group, version, plural): (&str, &str, &str),
    namespace: &str,
    mut object: Value,
) -> Result<(), BuildError> {
    let Some(route) = api.routes.find(group, version, plural) else {
        // A registry without this kind has no use for the object.
        return Ok(());
    };
    let name = object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if api.store.get(&route.key(namespace, &name)).is_some() {
        return Ok(());
    }
    object["apiVersion"] = json!(route.storage_api_version);
    object["kind"] = json!(route.kind());
    let made = create(api, route, namespace, object, false, &mut Vec::new()).await;
    made.map(|_| ()).map_err(|source| BuildError::WellKnown {
        what: format!("{plural}/{name}"),
        source,
    })
}
