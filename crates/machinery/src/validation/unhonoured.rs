//! What the other parts of the program do not honour: a field that asks for it is stored, and
//! answered with a warning that says what happens instead.
//!
//! Each kind has a table of [`Gap`]s. A test walks the schemas and fails for a field that is in no
//! table and not known to be honoured either, so that none is forgotten when a version adds it.

mod monitor;
mod pod;
mod service;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::error::FieldPath;
use crate::members::text;

pub(crate) use monitor::{pod_monitor, service_monitor};
pub(crate) use pod::spec as pod_spec;
pub(crate) use service::service;

/// A field that is not honoured, or not with all values.
struct Gap {
    /// Where it is, as in `containers[].securityContext.privileged`: `[]` is each item of a list,
    /// `[key]` the entry of a map.
    field: &'static str,
    /// Which values ask for what there is not.
    when: fn(&Value) -> bool,
    /// What happens instead, to follow the field's path.
    instead: &'static str,
}

/// A field that is not honoured whenever it says anything.
const fn gap(field: &'static str, instead: &'static str) -> Gap {
    gap_if(field, says_something, instead)
}

/// A field that is not honoured for some values.
const fn gap_if(field: &'static str, when: fn(&Value) -> bool, instead: &'static str) -> Gap {
    Gap {
        field,
        when,
        instead,
    }
}

/// Warns about every place below `path` where one of `gaps` matters.
fn warn(warnings: &mut Vec<String>, object: &Value, path: &FieldPath, gaps: &[Gap]) {
    for gap in gaps {
        visit(object, gap.field, path, &mut |value, path| {
            if (gap.when)(value) {
                warnings.push(format!("{path}: {}", gap.instead));
            }
        });
    }
}

/// Calls `found` for each value at `field`, with its whole path.
fn visit(
    object: &Value,
    field: &str,
    path: &FieldPath,
    found: &mut impl FnMut(&Value, &FieldPath),
) {
    let (first, rest) = match field.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (field, None),
    };
    let (name, key) = match first
        .strip_suffix(']')
        .and_then(|text| text.split_once('['))
    {
        Some((name, key)) => (name, Some(key)),
        None => (first, None),
    };
    let Some(value) = object.get(name).filter(|value| !value.is_null()) else {
        return;
    };
    let path = path.child(name);
    let mut go_on = |value: &Value, path: &FieldPath| match rest {
        Some(rest) => visit(value, rest, path, found),
        None => found(value, path),
    };
    match key {
        None => go_on(value, &path),
        Some("") => {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                go_on(item, &path.index(index));
            }
        }
        Some(key) => {
            if let Some(entry) = value.get(key).filter(|entry| !entry.is_null()) {
                go_on(entry, &path.key(key));
            }
        }
    }
}

/// Neither null, empty, false nor zero.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(_) => true,
    }
}

/// Warnings about a Node.
pub(crate) fn node(node: &Value) -> Vec<String> {
    let gaps = [gap_if(
        "taints[].effect",
        |effect| effect == "NoExecute",
        "keeps new pods away as NoSchedule does; pods that run already are not evicted",
    )];
    under_spec(node, &gaps)
}

/// Warnings about a ServiceAccount.
pub(crate) fn service_account(account: &Value) -> Vec<String> {
    let gaps = [
        gap("imagePullSecrets[]", pod::NO_PULL),
        gap("automountServiceAccountToken", pod::NO_TOKEN),
    ];
    let mut warnings = Vec::new();
    warn(&mut warnings, account, &FieldPath::new(""), &gaps);
    warnings
}

/// Warnings about a RuntimeClass.
pub(crate) fn runtime_class(class: &Value) -> Vec<String> {
    let gaps = [gap_if(
        "handler",
        |handler| handler != "host" && handler != "brain",
        "there is no runtime of this name; pods of this class wait with a FailedCreatePodSandBox event",
    )];
    let mut warnings = Vec::new();
    warn(&mut warnings, class, &FieldPath::new(""), &gaps);
    warnings
}

/// Warnings about an EndpointSlice.
pub(crate) fn endpoint_slice(slice: &Value) -> Vec<String> {
    let gaps = [gap_if(
        "addressType",
        |kind| kind != "IPv4",
        "nothing is sent to these addresses; pods and Services have IPv4 addresses only",
    )];
    let mut warnings = Vec::new();
    warn(&mut warnings, slice, &FieldPath::new(""), &gaps);
    warnings
}

/// Warnings about Endpoints.
pub(crate) fn endpoints(endpoints: &Value) -> Vec<String> {
    let labels = &endpoints["metadata"]["labels"];
    if text(labels, "endpoints.kubernetes.io/managed-by") == "endpoint-controller" {
        return Vec::new();
    }
    let gaps = [gap(
        "subsets",
        "nothing is sent to these addresses, since Endpoints are not mirrored; make an EndpointSlice \
         with the label kubernetes.io/service-name",
    )];
    let mut warnings = Vec::new();
    warn(&mut warnings, endpoints, &FieldPath::new(""), &gaps);
    warnings
}

fn under_spec(object: &Value, gaps: &[Gap]) -> Vec<String> {
    let mut warnings = Vec::new();
    warn(
        &mut warnings,
        &object["spec"],
        &FieldPath::new("spec"),
        gaps,
    );
    warnings
}
