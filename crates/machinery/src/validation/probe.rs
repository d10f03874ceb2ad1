//! Probes and lifecycle hooks.

use serde_json::Value;

use super::{Errors, add_all, not_negative, one_of, port};
use crate::error::{FieldError, FieldPath};
use crate::members::{has, integer, items, text};
use crate::names;

/// Which probe is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    Liveness,
    Readiness,
    Startup,
}

/// Checks a probe; `grace` is the pod's grace period in seconds.
pub(crate) fn probe(
    errors: &mut Errors,
    probe: &Value,
    kind: ProbeKind,
    grace: Option<i64>,
    path: &FieldPath,
) {
    handler(errors, probe, grace, path, false);
    for name in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        not_negative(errors, probe, name, path);
    }
    let own_grace = integer(probe, "terminationGracePeriodSeconds");
    let grace_path = path.child("terminationGracePeriodSeconds");
    if let Some(seconds) = own_grace.filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid(
            &grace_path,
            seconds,
            "must be greater than 0",
        ));
    }
    match kind {
        ProbeKind::Readiness => {
            if let Some(seconds) = own_grace {
                errors.push(FieldError::invalid(
                    grace_path,
                    seconds,
                    "must not be set for readinessProbes",
                ));
            }
        }
        ProbeKind::Liveness | ProbeKind::Startup => {
            if let Some(threshold) = integer(probe, "successThreshold").filter(|n| *n != 1) {
                errors.push(FieldError::invalid(
                    path.child("successThreshold"),
                    threshold,
                    "must be 1",
                ));
            }
        }
    }
}

/// Checks a `postStart` or `preStop` hook.
pub(crate) fn hook(errors: &mut Errors, hook: &Value, grace: Option<i64>, path: &FieldPath) {
    handler(errors, hook, grace, path, true);
}

fn handler(
    errors: &mut Errors,
    value: &Value,
    grace: Option<i64>,
    path: &FieldPath,
    is_hook: bool,
) {
    let kinds: &[&str] = if is_hook {
        &["exec", "httpGet", "tcpSocket", "sleep"]
    } else {
        &["exec", "httpGet", "tcpSocket", "grpc"]
    };
    let mut count = 0;
    for kind in kinds {
        if !has(value, kind) {
            continue;
        }
        let (handler, path) = (&value[*kind], path.child(kind));
        count += 1;
        if count > 1 {
            errors.push(FieldError::forbidden(
                path,
                "may not specify more than 1 handler type",
            ));
            continue;
        }
        match *kind {
            "exec" => {
                if items(handler, "command").next().is_none() {
                    errors.push(FieldError::required(path.child("command"), ""));
                }
            }
            "httpGet" => http_get(errors, handler, &path),
            "sleep" => sleep(errors, handler, grace, &path),
            _ => port(errors, &handler["port"], &path.child("port")),
        }
    }
    if count == 0 {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
}

fn http_get(errors: &mut Errors, get: &Value, path: &FieldPath) {
    if text(get, "path").is_empty() {
        errors.push(FieldError::required(path.child("path"), ""));
    }
    port(errors, &get["port"], &path.child("port"));
    one_of(
        errors,
        text(get, "scheme"),
        &["HTTP", "HTTPS"],
        &path.child("scheme"),
    );
    for header in items(get, "httpHeaders") {
        let name = text(header, "name");
        add_all(
            errors,
            &path.child("httpHeaders"),
            name,
            names::http_header_name(name),
        );
    }
}

fn sleep(errors: &mut Errors, sleep: &Value, grace: Option<i64>, path: &FieldPath) {
    let seconds = integer(sleep, "seconds").unwrap_or(0);
    let longest = grace.unwrap_or(i64::MAX);
    if seconds < 0 || seconds > longest {
        errors.push(FieldError::invalid(
            path.child("seconds"),
            seconds,
            format!("must be non-negative and less than terminationGracePeriodSeconds ({longest})"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::sentences;
    use serde_json::json;

    fn faults(kind: ProbeKind, value: &Value) -> Vec<String> {
        let mut errors = Errors::new();
        probe(&mut errors, value, kind, Some(30), &FieldPath::new("p"));
        sentences(&errors)
    }

    #[test]
    fn a_defaulted_probe_passes() {
        let good = json!({"httpGet": {"path": "/", "port": "http", "scheme": "HTTP"}, "periodSeconds": 1,
            "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3});
        assert_eq!(faults(ProbeKind::Liveness, &good), Vec::<String>::new());
    }

    #[test]
    fn each_fault_of_a_probe_has_kubernetes_words() {
        assert_eq!(
            faults(ProbeKind::Readiness, &json!({"periodSeconds": -1})),
            [
                "p: Required value: must specify a handler type",
                "p.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
            ]
        );
        assert_eq!(
            faults(
                ProbeKind::Readiness,
                &json!({"exec": {}, "tcpSocket": {"port": 0}})
            ),
            [
                "p.exec.command: Required value",
                "p.tcpSocket: Forbidden: may not specify more than 1 handler type",
            ]
        );
        assert_eq!(
            faults(
                ProbeKind::Readiness,
                &json!({"tcpSocket": {"port": 70_000}})
            ),
            ["p.tcpSocket.port: Invalid value: 70000: must be between 1 and 65535, inclusive"]
        );
        assert_eq!(
            faults(
                ProbeKind::Liveness,
                &json!({"exec": {"command": ["a"]}, "successThreshold": 2})
            ),
            ["p.successThreshold: Invalid value: 2: must be 1"]
        );
        assert_eq!(
            faults(
                ProbeKind::Startup,
                &json!({"httpGet": {"path": "/", "port": 80, "scheme": "ftp"}})
            ),
            ["p.httpGet.scheme: Unsupported value: \"ftp\": supported values: \"HTTP\", \"HTTPS\""]
        );
    }
}
