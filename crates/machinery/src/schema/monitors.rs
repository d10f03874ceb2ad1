//! The schemas of ServiceMonitor and PodMonitor, kinds of the Prometheus operator: all fields that it has, so that a
//! manifest written for it is read. Which of them are not honoured, `validation::monitor` says.

use serde_json::{Map, Value, json};

use super::definitions::REFERENCE;

const CORE: &str = "io.k8s.api.core.v1.";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const MONITORING: &str = "com.coreos.monitoring.v1.";

/// Adds the definitions.
pub(super) fn add(definitions: &mut Map<String, Value>) {
    for (name, schema) in parts() {
        definitions.insert(format!("{MONITORING}{name}"), schema);
    }
    for (kind, endpoints, endpoint, selects) in [
        ("ServiceMonitor", "endpoints", "Endpoint", "Services"),
        (
            "PodMonitor",
            "podMetricsEndpoints",
            "PodMetricsEndpoint",
            "Pods",
        ),
    ] {
        let spec = json!({
            "type": "object",
            "description": format!("{kind}Spec contains specification parameters for a {kind}."),
            "properties": properties([
                spec_fields(),
                json!({
                    endpoints: list(&own(endpoint), "Endpoints part of this monitor."),
                    "selector": reference(&format!("{META}LabelSelector")),
                }),
                if kind == "ServiceMonitor" {
                    json!({
                        "targetLabels": texts("Labels of the Service that are transferred onto the ingested metrics."),
                        "serviceDiscoveryRole": text("Endpoints or EndpointSlice."),
                    })
                } else {
                    json!({})
                },
            ]),
            "required": ["selector"],
        });
        let whole = json!({
            "type": "object",
            "description": format!("{kind} defines how metrics of {selects} are collected."),
            "properties": {
                "apiVersion": text("APIVersion defines the versioned schema of this representation of an object."),
                "kind": text("Kind is a string value representing the REST resource this object represents."),
                "metadata": reference(&format!("{META}ObjectMeta")),
                "spec": reference(&own(&format!("{kind}Spec"))),
                "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": "Which Prometheus objects of the operator use it."},
            },
            "required": ["metadata", "spec"],
        });
        definitions.insert(own(&format!("{kind}Spec")), spec);
        definitions.insert(own(kind), whole);
    }
}

/// What both kinds' specs have.
fn spec_fields() -> Value {
    let mut fields = json!({
        "jobLabel": text("Label of the object from which the job label is taken."),
        "podTargetLabels": texts("Labels of the pod that are transferred onto the ingested metrics."),
        "namespaceSelector": reference(&own("NamespaceSelector")),
        "selectorMechanism": text("RelabelConfig or RoleSelector."),
        "attachMetadata": {"type": "object", "properties": {"node": flag("Attaches node metadata.")}, "description": "Metadata that is attached to discovered targets."},
        "scrapeClass": text("The scrape class to apply."),
        "scrapeProtocols": texts("The protocols to negotiate during a scrape, in order of preference."),
        "fallbackScrapeProtocol": text("The protocol to use if a scrape returns a blank or unknown Content-Type."),
        "bodySizeLimit": text("A larger uncompressed answer fails the scrape."),
        "nativeHistogramMinBucketFactor": {"x-kubernetes-int-or-string": true, "description": "Merges buckets of native histograms."},
    });
    for name in [
        "sampleLimit",
        "targetLimit",
        "labelLimit",
        "labelNameLengthLimit",
        "labelValueLengthLimit",
        "keepDroppedTargets",
        "nativeHistogramBucketLimit",
    ] {
        fields[name] = json!({"type": "integer", "format": "int64", "description": "A limit of each scrape; none if zero."});
    }
    for name in [
        "scrapeClassicHistograms",
        "scrapeNativeHistograms",
        "convertClassicHistogramsToNHCB",
    ] {
        fields[name] = flag("About histograms.");
    }
    fields
}

/// What both kinds' endpoints have.
fn endpoint_fields() -> Value {
    let mut fields = json!({
        "port": text("Name of the port."),
        "targetPort": {"x-kubernetes-int-or-string": true, "description": "Name or number of the container's port."},
        "path": text("HTTP path to scrape for metrics; /metrics if empty."),
        "scheme": text("http or https."),
        "params": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}, "description": "URL parameters."},
        "interval": text("From one scrape to the next."),
        "scrapeTimeout": text("When a scrape is given up."),
        "metricRelabelings": list(&own("RelabelConfig"), "Relabelling rules of the samples."),
        "relabelings": list(&own("RelabelConfig"), "Relabelling rules of the targets."),
        "authorization": reference(&own("SafeAuthorization")),
        "basicAuth": reference(&own("BasicAuth")),
        "bearerTokenSecret": reference(&format!("{CORE}SecretKeySelector")),
        "tlsConfig": reference(&own("TLSConfig")),
        "oauth2": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": "OAuth2 client credentials."},
        "proxyUrl": text("A proxy."),
        "noProxy": text("Addresses without a proxy."),
        "proxyConnectHeader": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": "Headers to a proxy."},
    });
    for name in [
        "honorLabels",
        "honorTimestamps",
        "trackTimestampsStaleness",
        "filterRunning",
        "followRedirects",
        "enableHttp2",
        "proxyFromEnvironment",
    ] {
        fields[name] = flag("As the field of this name in Prometheus' scrape configuration.");
    }
    fields
}

fn parts() -> [(&'static str, Value); 8] {
    let secret_or_map = json!({
        "secret": reference(&format!("{CORE}SecretKeySelector")),
        "configMap": reference(&format!("{CORE}ConfigMapKeySelector")),
    });
    let mut tls = json!({
        "ca": reference(&own("SecretOrConfigMap")),
        "cert": reference(&own("SecretOrConfigMap")),
        "keySecret": reference(&format!("{CORE}SecretKeySelector")),
        "insecureSkipVerify": flag("Takes any certificate."),
    });
    for name in [
        "serverName",
        "minVersion",
        "maxVersion",
        "caFile",
        "certFile",
        "keyFile",
    ] {
        tls[name] = text("As the field of this name in Prometheus' tls_config.");
    }
    let relabelling = json!({
        "sourceLabels": texts("The labels whose values are joined."),
        "separator": text("What stands between the values."),
        "targetLabel": text("The label that is set."),
        "regex": text("The pattern that the joined values are matched against."),
        "modulus": {"type": "integer", "format": "int64", "description": "The number of hashes."},
        "replacement": text("What the target label is set to."),
        "action": text("What the rule does: replace, keep, drop, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase, keepequal, dropequal."),
    });
    [
        (
            "NamespaceSelector",
            object(
                "In which namespaces objects are looked for; in the monitor's own if empty.",
                &json!({"any": flag("In all."), "matchNames": texts("In these.")}),
            ),
        ),
        (
            "RelabelConfig",
            object("A relabelling rule of Prometheus.", &relabelling),
        ),
        (
            "SafeAuthorization",
            object(
                "An Authorization header.",
                &json!({"type": text("Bearer if empty."), "credentials": reference(&format!("{CORE}SecretKeySelector"))}),
            ),
        ),
        (
            "BasicAuth",
            object(
                "Name and password.",
                &json!({
                    "username": reference(&format!("{CORE}SecretKeySelector")),
                    "password": reference(&format!("{CORE}SecretKeySelector")),
                }),
            ),
        ),
        (
            "SecretOrConfigMap",
            object("A key of a Secret or of a ConfigMap.", &secret_or_map),
        ),
        ("TLSConfig", object("How TLS is spoken.", &tls)),
        (
            "Endpoint",
            object(
                "Endpoint defines an endpoint serving Prometheus metrics to be scraped by Prometheus.",
                &Value::Object(properties([
                    endpoint_fields(),
                    json!({"bearerTokenFile": text("A file of the server.")}),
                ])),
            ),
        ),
        (
            "PodMetricsEndpoint",
            object(
                "PodMetricsEndpoint defines an endpoint serving Prometheus metrics to be scraped by Prometheus.",
                &Value::Object(properties([
                    endpoint_fields(),
                    json!({"portNumber": {"type": "integer", "format": "int32", "description": "Number of the container's port."}}),
                ])),
            ),
        ),
    ]
}

fn own(name: &str) -> String {
    format!("{MONITORING}{name}")
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("{REFERENCE}{name}")})
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn texts(description: &str) -> Value {
    json!({"type": "array", "items": {"type": "string"}, "description": description})
}

fn flag(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

fn list(definition: &str, description: &str) -> Value {
    json!({"type": "array", "items": reference(definition), "description": description})
}

fn object(description: &str, properties: &Value) -> Value {
    json!({"type": "object", "description": description, "properties": properties})
}

/// The fields of several objects together.
fn properties<const N: usize>(parts: [Value; N]) -> Map<String, Value> {
    let objects = parts.into_iter().filter_map(|part| match part {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    objects.flatten().collect()
}
