//! Volumes of a pod.

use std::collections::BTreeSet;

use serde_json::Value;

use super::container::{field_reference, resource_reference};
use super::{Errors, add_all, one_of, resources};
use crate::error::{FieldError, FieldPath};
use crate::members::{has, integer, items, text};
use crate::names;

/// Fields of a pod that a file can show.
const FILE_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];

/// Checks a pod's volumes and returns their names.
pub(crate) fn volumes<'a>(
    errors: &mut Errors,
    spec: &'a Value,
    path: &FieldPath,
) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    for (index, entry) in items(spec, "volumes").enumerate() {
        let path = path.child("volumes").index(index);
        let name = text(entry, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        } else {
            let faults = names::dns1123_label(name);
            let well_formed = faults.is_empty();
            add_all(errors, &path.child("name"), name, faults);
            if well_formed && !seen.insert(name) {
                errors.push(FieldError::duplicate(path.child("name"), name));
            }
        }
        sources(errors, entry, &path);
    }
    seen
}

fn sources(errors: &mut Errors, volume: &Value, path: &FieldPath) {
    let mut count = 0;
    for (kind, source) in volume.as_object().into_iter().flatten() {
        if kind == "name" || source.is_null() {
            continue;
        }
        count += 1;
        let path = path.child(kind);
        if count > 1 {
            errors.push(FieldError::forbidden(
                path,
                "may not specify more than 1 volume type",
            ));
            continue;
        }
        source_of(errors, kind, source, &path);
    }
    if count == 0 {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
}

fn source_of(errors: &mut Errors, kind: &str, source: &Value, path: &FieldPath) {
    match kind {
        "emptyDir" if has(source, "sizeLimit") => {
            let size_path = path.child("sizeLimit");
            let mut found = Errors::new();
            resources::quantity(&mut found, &source["sizeLimit"], &size_path);
            if !found.is_empty() {
                errors.push(FieldError::forbidden(
                    size_path,
                    "SizeLimit field must be a valid resource quantity",
                ));
            }
        }
        "hostPath" => {
            let target = text(source, "path");
            if target.is_empty() {
                errors.push(FieldError::required(path.child("path"), ""));
            } else {
                no_backsteps(errors, target, &path.child("path"));
            }
            let kind = text(source, "type");
            if !HOST_PATH_TYPES.contains(&kind) {
                one_of(errors, kind, &HOST_PATH_TYPES, &path.child("type"));
            }
        }
        "secret" => {
            required(errors, source, "secretName", path);
            files(errors, source, path);
        }
        "configMap" => {
            required(errors, source, "name", path);
            files(errors, source, path);
        }
        "downwardAPI" => {
            mode(errors, source, "defaultMode", path);
            downward_files(errors, source, path);
        }
        "projected" => projected(errors, source, path),
        "persistentVolumeClaim" => required(errors, source, "claimName", path),
        "nfs" => {
            required(errors, source, "server", path);
            required(errors, source, "path", path);
            let target = text(source, "path");
            if !target.is_empty() && !target.starts_with('/') {
                errors.push(FieldError::invalid(
                    path.child("path"),
                    target,
                    "must be an absolute path",
                ));
            }
        }
        "csi" => required(errors, source, "driver", path),
        "ephemeral" if !has(source, "volumeClaimTemplate") => {
            errors.push(FieldError::required(path.child("volumeClaimTemplate"), ""));
        }
        _ => {}
    }
}

fn projected(errors: &mut Errors, projected: &Value, path: &FieldPath) {
    mode(errors, projected, "defaultMode", path);
    for (index, source) in items(projected, "sources").enumerate() {
        let path = path.child("sources").index(index);
        let mut count = 0;
        for kind in [
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ] {
            if !has(source, kind) {
                continue;
            }
            count += 1;
            let (source, path) = (&source[kind], path.child(kind));
            if count > 1 {
                errors.push(FieldError::forbidden(
                    path,
                    "may not specify more than 1 volume type per source",
                ));
                continue;
            }
            match kind {
                "secret" | "configMap" => {
                    required(errors, source, "name", &path);
                    files(errors, source, &path);
                }
                "downwardAPI" => downward_files(errors, source, &path),
                "serviceAccountToken" => token(errors, source, &path),
                _ => {}
            }
        }
        if count == 0 {
            errors.push(FieldError::required(
                path,
                "must specify a projected volume source",
            ));
        }
    }
}

fn token(errors: &mut Errors, source: &Value, path: &FieldPath) {
    let seconds = integer(source, "expirationSeconds").unwrap_or(0);
    let seconds_path = path.child("expirationSeconds");
    if seconds < 600 {
        errors.push(FieldError::invalid(
            seconds_path,
            seconds,
            "may not specify a duration less than 10 minutes",
        ));
    } else if seconds > 1 << 32 {
        errors.push(FieldError::invalid(
            seconds_path,
            seconds,
            "may not specify a duration larger than 2^32 seconds",
        ));
    }
    required(errors, source, "path", path);
}

fn required(errors: &mut Errors, source: &Value, name: &str, path: &FieldPath) {
    if text(source, name).is_empty() {
        errors.push(FieldError::required(path.child(name), ""));
    }
}

fn mode(errors: &mut Errors, source: &Value, name: &str, path: &FieldPath) {
    if let Some(mode) = integer(source, name).filter(|mode| !(0..=0o777).contains(mode)) {
        errors.push(FieldError::invalid(
            path.child(name),
            mode,
            "must be a number between 0 and 0777 (octal), both inclusive",
        ));
    }
}

/// Checks `defaultMode` and the `items` that say which key becomes which file.
fn files(errors: &mut Errors, source: &Value, path: &FieldPath) {
    mode(errors, source, "defaultMode", path);
    for (index, item) in items(source, "items").enumerate() {
        let path = path.child("items").index(index);
        required(errors, item, "key", &path);
        file_path(errors, item, &path);
        mode(errors, item, "mode", &path);
    }
}

fn downward_files(errors: &mut Errors, source: &Value, path: &FieldPath) {
    for (index, item) in items(source, "items").enumerate() {
        let path = path.child("items").index(index);
        file_path(errors, item, &path);
        match (has(item, "fieldRef"), has(item, "resourceFieldRef")) {
            (true, false) => field_reference(
                errors,
                &item["fieldRef"],
                &FILE_FIELDS,
                &path.child("fieldRef"),
            ),
            (false, true) => resource_reference(
                errors,
                &item["resourceFieldRef"],
                true,
                &path.child("resourceFieldRef"),
            ),
            (true, true) => errors.push(FieldError::invalid(
                &path,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            )),
            (false, false) => errors.push(FieldError::required(
                &path,
                "one of fieldRef and resourceFieldRef is required",
            )),
        }
        mode(errors, item, "mode", &path);
    }
}

fn file_path(errors: &mut Errors, item: &Value, path: &FieldPath) {
    let file = text(item, "path");
    let path = path.child("path");
    if file.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    descending_path(errors, file, &path);
    if file.starts_with("..") && !file.starts_with("../") && file != ".." {
        errors.push(FieldError::invalid(path, file, "must not start with '..'"));
    }
}

/// Checks a path that may not leave the folder it is in.
pub(crate) fn descending_path(errors: &mut Errors, target: &str, path: &FieldPath) {
    if target.starts_with('/') {
        errors.push(FieldError::invalid(path, target, "must be a relative path"));
    }
    no_backsteps(errors, target, path);
}

fn no_backsteps(errors: &mut Errors, target: &str, path: &FieldPath) {
    if target.split('/').any(|step| step == "..") {
        errors.push(FieldError::invalid(path, target, "must not contain '..'"));
    }
}
