//! Containers of a pod: names, images, ports, environment, mounts.

use std::collections::BTreeSet;

use serde_json::Value;

use super::probe::{ProbeKind, hook, probe};
use super::{Errors, add_all, one_of, resources, volume};
use crate::error::{FieldError, FieldPath};
use crate::members::{has, integer, is_true, items, text};
use crate::names;

/// What a container is checked against.
pub(crate) struct Surroundings<'a> {
    /// Names of the pod's volumes.
    pub(crate) volumes: BTreeSet<&'a str>,
    pub(crate) host_network: bool,
    /// The pod's grace period in seconds.
    pub(crate) grace: Option<i64>,
}

/// Which of a pod's lists a container is in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Main,
    Init,
    Ephemeral,
}

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// Checks all containers of a list; `names` collects the names of all lists.
pub(crate) fn containers<'a>(
    errors: &mut Errors,
    spec: &'a Value,
    list: &str,
    role: Role,
    around: &Surroundings<'_>,
    seen: &mut BTreeSet<&'a str>,
    path: &FieldPath,
) {
    let mut host_ports = BTreeSet::new();
    for (index, entry) in items(spec, list).enumerate() {
        let path = path.child(list).index(index);
        let name = text(entry, "name");
        let name_path = path.child("name");
        if name.is_empty() {
            errors.push(FieldError::required(&name_path, ""));
        } else {
            add_all(errors, &name_path, name, names::dns1123_label(name));
        }
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(name_path, name));
        }
        container(errors, entry, role, around, &path);
        if role == Role::Main {
            for (index, port) in items(entry, "ports").enumerate() {
                host_port_once(
                    errors,
                    port,
                    &mut host_ports,
                    &path.child("ports").index(index),
                );
            }
        }
    }
}

fn container(
    errors: &mut Errors,
    container: &Value,
    role: Role,
    around: &Surroundings<'_>,
    path: &FieldPath,
) {
    let image = text(container, "image");
    if image.is_empty() {
        errors.push(FieldError::required(path.child("image"), ""));
    } else if image.trim() != image {
        errors.push(FieldError::invalid(
            path.child("image"),
            image,
            "must not have leading or trailing whitespace",
        ));
    }
    restart_policy(errors, container, role, path);
    lifecycle_and_probes(errors, container, role, around.grace, path);
    one_of(
        errors,
        text(container, "terminationMessagePolicy"),
        &["FallbackToLogsOnError", "File"],
        &path.child("terminationMessagePolicy"),
    );
    one_of(
        errors,
        text(container, "imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
        &path.child("imagePullPolicy"),
    );
    ports(errors, container, around.host_network, path);
    for (index, variable) in items(container, "env").enumerate() {
        environment(errors, variable, &path.child("env").index(index));
    }
    for (index, source) in items(container, "envFrom").enumerate() {
        environment_from(errors, source, &path.child("envFrom").index(index));
    }
    mounts(errors, container, &around.volumes, path);
    resources::container(errors, &container["resources"], &path.child("resources"));
    security(
        errors,
        &container["securityContext"],
        &path.child("securityContext"),
    );
}

fn restart_policy(errors: &mut Errors, container: &Value, role: Role, path: &FieldPath) {
    let policy = text(container, "restartPolicy");
    if policy.is_empty() {
        return;
    }
    let supported: &[&str] = match role {
        Role::Init | Role::Main => &["Always", "Never", "OnFailure"],
        Role::Ephemeral => &[],
    };
    if !supported.contains(&policy) {
        errors.push(FieldError::not_supported(
            path.child("restartPolicy"),
            policy,
            supported,
        ));
    }
}

fn lifecycle_and_probes(
    errors: &mut Errors,
    container: &Value,
    role: Role,
    grace: Option<i64>,
    path: &FieldPath,
) {
    let sidecar = text(container, "restartPolicy") == "Always";
    let members = [
        "lifecycle",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
    ];
    if role == Role::Ephemeral || (role == Role::Init && !sidecar) {
        let why = match role {
            Role::Ephemeral => "cannot be set for an Ephemeral Container",
            _ => "may not be set for init containers without restartPolicy=Always",
        };
        for name in members {
            if has(container, name) {
                errors.push(FieldError::forbidden(path.child(name), why));
            }
        }
        return;
    }
    for name in ["postStart", "preStop"] {
        let value = &container["lifecycle"][name];
        if value.is_object() {
            hook(errors, value, grace, &path.child("lifecycle").child(name));
        }
    }
    for (name, kind) in [
        ("livenessProbe", ProbeKind::Liveness),
        ("readinessProbe", ProbeKind::Readiness),
        ("startupProbe", ProbeKind::Startup),
    ] {
        if has(container, name) {
            probe(errors, &container[name], kind, grace, &path.child(name));
        }
    }
}

fn ports(errors: &mut Errors, container: &Value, host_network: bool, path: &FieldPath) {
    let mut seen = BTreeSet::new();
    for (index, port) in items(container, "ports").enumerate() {
        let path = path.child("ports").index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            let faults = names::port_name(name);
            if faults.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(path.child("name"), name));
            }
            add_all(errors, &path.child("name"), name, faults);
        }
        let number = integer(port, "containerPort").unwrap_or(0);
        let number_path = path.child("containerPort");
        if number == 0 {
            errors.push(FieldError::required(&number_path, ""));
        } else {
            add_all(errors, &number_path, number, names::port_number(number));
        }
        let host = integer(port, "hostPort").unwrap_or(0);
        if host != 0 {
            add_all(
                errors,
                &path.child("hostPort"),
                host,
                names::port_number(host),
            );
            if host_network && host != number {
                errors.push(FieldError::invalid(
                    &number_path,
                    number,
                    "must match `hostPort` when `hostNetwork` is true",
                ));
            }
        }
        one_of(
            errors,
            text(port, "protocol"),
            &PROTOCOLS,
            &path.child("protocol"),
        );
    }
}

fn host_port_once(
    errors: &mut Errors,
    port: &Value,
    seen: &mut BTreeSet<String>,
    path: &FieldPath,
) {
    let number = integer(port, "hostPort").unwrap_or(0);
    if number == 0 {
        return;
    }
    let key = format!(
        "{}/{}/{number}",
        text(port, "protocol"),
        text(port, "hostIP")
    );
    if !seen.insert(key.clone()) {
        errors.push(FieldError::duplicate(path.child("hostPort"), key));
    }
}

/// Fields of a pod that an environment variable can show.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const RESOURCE_FIELDS: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

fn environment(errors: &mut Errors, variable: &Value, path: &FieldPath) {
    let name = text(variable, "name");
    if name.is_empty() {
        errors.push(FieldError::required(path.child("name"), ""));
    } else {
        add_all(errors, &path.child("name"), name, names::env_var_name(name));
    }
    if !has(variable, "valueFrom") {
        return;
    }
    let (source, path) = (&variable["valueFrom"], path.child("valueFrom"));
    let mut count = 0;
    for kind in [
        "fieldRef",
        "resourceFieldRef",
        "configMapKeyRef",
        "secretKeyRef",
        "fileKeyRef",
    ] {
        if !has(source, kind) {
            continue;
        }
        count += 1;
        let (reference, path) = (&source[kind], path.child(kind));
        match kind {
            "fieldRef" => field_reference(errors, reference, &ENV_FIELDS, &path),
            "resourceFieldRef" => resource_reference(errors, reference, false, &path),
            "fileKeyRef" => {}
            _ => key_reference(errors, reference, &path),
        }
    }
    if count == 0 {
        errors.push(FieldError::invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ));
    } else if !text(variable, "value").is_empty() {
        errors.push(FieldError::invalid(
            path,
            "",
            "may not be specified when `value` is not empty",
        ));
    } else if count > 1 {
        errors.push(FieldError::invalid(
            path,
            "",
            "may not have more than one field specified at a time",
        ));
    }
}

/// Checks a reference to a field of the pod, by the fields that may be shown here.
pub(crate) fn field_reference(
    errors: &mut Errors,
    reference: &Value,
    supported: &[&str],
    path: &FieldPath,
) {
    if text(reference, "apiVersion").is_empty() {
        errors.push(FieldError::required(path.child("apiVersion"), ""));
        return;
    }
    let field = text(reference, "fieldPath");
    let path = path.child("fieldPath");
    if field.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let subscript = field
        .strip_suffix("']")
        .and_then(|start| start.split_once("['"));
    match subscript {
        Some(("metadata.labels", key)) => {
            add_all(errors, &path, key, names::label_key(key));
        }
        Some(("metadata.annotations", key)) => {
            let faults = names::label_key(&key.to_lowercase());
            add_all(errors, &path, key, faults);
        }
        Some(_) => errors.push(FieldError::invalid(
            path,
            field,
            "does not support subscript",
        )),
        None if supported.contains(&field) => {}
        None if known_field(field) => {
            errors.push(FieldError::not_supported(path, field, supported));
        }
        None => errors.push(FieldError::invalid(
            path,
            field,
            format!("error converting fieldPath: field label not supported: {field}"),
        )),
    }
}

fn known_field(field: &str) -> bool {
    ENV_FIELDS.contains(&field)
        || [
            "metadata.labels",
            "metadata.annotations",
            "spec.restartPolicy",
            "spec.schedulerName",
            "status.phase",
        ]
        .contains(&field)
}

/// Checks a reference to a request or limit.
pub(crate) fn resource_reference(
    errors: &mut Errors,
    reference: &Value,
    container_needed: bool,
    path: &FieldPath,
) {
    if container_needed && text(reference, "containerName").is_empty() {
        errors.push(FieldError::required(path.child("containerName"), ""));
        return;
    }
    let resource = text(reference, "resource");
    let resource_path = path.child("resource");
    if resource.is_empty() {
        errors.push(FieldError::required(resource_path, ""));
    } else if !RESOURCE_FIELDS.contains(&resource)
        && !resource.starts_with("limits.hugepages-")
        && !resource.starts_with("requests.hugepages-")
    {
        errors.push(FieldError::not_supported(
            resource_path,
            resource,
            &RESOURCE_FIELDS,
        ));
    }
    if has(reference, "divisor") {
        resources::quantity(errors, &reference["divisor"], &path.child("divisor"));
    }
}

fn key_reference(errors: &mut Errors, reference: &Value, path: &FieldPath) {
    let name = text(reference, "name");
    add_all(
        errors,
        &path.child("name"),
        name,
        names::dns1123_subdomain(name),
    );
    let key = text(reference, "key");
    if key.is_empty() {
        errors.push(FieldError::required(path.child("key"), ""));
    } else {
        add_all(errors, &path.child("key"), key, names::config_map_key(key));
    }
}

fn environment_from(errors: &mut Errors, source: &Value, path: &FieldPath) {
    let prefix = text(source, "prefix");
    if !prefix.is_empty() {
        let faults = names::env_var_name(prefix);
        add_all(errors, &path.child("prefix"), prefix, faults);
    }
    let mut count = 0;
    for kind in ["configMapRef", "secretRef"] {
        if has(source, kind) {
            count += 1;
            let name = text(&source[kind], "name");
            let name_path = path.child(kind).child("name");
            if name.is_empty() {
                errors.push(FieldError::required(name_path, ""));
            } else {
                add_all(errors, &name_path, name, names::dns1123_subdomain(name));
            }
        }
    }
    if count == 0 {
        errors.push(FieldError::invalid(
            path,
            "",
            "must specify one of: `configMapRef` or `secretRef`",
        ));
    } else if count > 1 {
        errors.push(FieldError::invalid(
            path,
            "",
            "may not have more than one field specified at a time",
        ));
    }
}

fn mounts(errors: &mut Errors, container: &Value, volumes: &BTreeSet<&str>, path: &FieldPath) {
    let mut seen = BTreeSet::new();
    for (index, mount) in items(container, "volumeMounts").enumerate() {
        let path = path.child("volumeMounts").index(index);
        let name = text(mount, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        } else if !volumes.contains(name) {
            errors.push(FieldError::not_found(path.child("name"), name));
        }
        let target = text(mount, "mountPath");
        if target.is_empty() {
            errors.push(FieldError::required(path.child("mountPath"), ""));
        } else if !seen.insert(target) {
            errors.push(FieldError::invalid(
                path.child("mountPath"),
                target,
                "must be unique",
            ));
        }
        let sub = text(mount, "subPath");
        if !sub.is_empty() {
            volume::descending_path(errors, sub, &path.child("subPath"));
        }
        let expression = text(mount, "subPathExpr");
        if !expression.is_empty() {
            if !sub.is_empty() {
                errors.push(FieldError::invalid(
                    path.child("subPathExpr"),
                    expression,
                    "subPathExpr and subPath are mutually exclusive",
                ));
            }
            volume::descending_path(errors, expression, &path.child("subPathExpr"));
        }
    }
}

fn security(errors: &mut Errors, context: &Value, path: &FieldPath) {
    for name in ["runAsUser", "runAsGroup"] {
        if let Some(id) = integer(context, name) {
            let faults = names::in_range(id, 0, i64::from(i32::MAX));
            add_all(errors, &path.child(name), id, faults);
        }
    }
    let forbids = context["allowPrivilegeEscalation"] == false;
    if forbids && is_true(context, "privileged") {
        errors.push(FieldError::invalid(
            path,
            context.clone(),
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ));
    }
    let adds_admin = items(&context["capabilities"], "add")
        .any(|name| name == "CAP_SYS_ADMIN" || name == "SYS_ADMIN");
    if forbids && adds_admin {
        errors.push(FieldError::invalid(
            path,
            context.clone(),
            "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
        ));
    }
}
