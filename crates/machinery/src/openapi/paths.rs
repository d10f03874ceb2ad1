//! What can be asked at which path, in the words both versions of OpenAPI share.

use crate::registry::{Found, Registry, Subresource};

use super::root;
use super::schemas::{META, list_name};

/// A method at a path.
pub(super) struct Operation {
    /// `/apis/apps/v1/namespaces/{namespace}/deployments/{name}`.
    pub(super) path: String,
    /// The HTTP method in lower case.
    pub(super) method: &'static str,
    /// `x-kubernetes-action`.
    pub(super) action: &'static str,
    /// `x-kubernetes-group-version-kind`.
    pub(super) kind: (String, String, String),
    pub(super) id: String,
    pub(super) tag: String,
    pub(super) description: String,
    pub(super) parameters: Vec<Parameter>,
    /// The definition of the body.
    pub(super) body: Option<String>,
    /// Media types of the body.
    pub(super) consumes: &'static [&'static str],
    /// The definition of the answer; nothing for plain text.
    pub(super) answer: Option<String>,
    pub(super) produces: &'static [&'static str],
}

/// A query parameter.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) description: &'static str,
}

const fn query(name: &'static str, kind: &'static str, description: &'static str) -> Parameter {
    Parameter {
        name,
        kind,
        description,
    }
}

const DRY_RUN: Parameter = query(
    "dryRun",
    "string",
    "When present, indicates that modifications should not be persisted. An invalid or unrecognized dryRun directive will result in an error response and no further processing of the request. Valid values are: - All: all dry run stages will be processed",
);
const FIELD_MANAGER: Parameter = query(
    "fieldManager",
    "string",
    "fieldManager is a name associated with the actor or entity that is making these changes. The value must be less than or 128 characters long, and only contain printable characters.",
);
const FIELD_VALIDATION: Parameter = query(
    "fieldValidation",
    "string",
    "fieldValidation instructs the server on how to handle objects in the request (POST/PUT/PATCH) containing unknown or duplicate fields. Valid values are: - Ignore - Warn (the default) - Strict",
);
const FORCE: Parameter = query(
    "force",
    "boolean",
    "Force is going to \"force\" Apply requests. It means user will re-acquire conflicting fields owned by other people. Force flag must be unset for non-apply patch requests.",
);
const WRITE: [Parameter; 3] = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const PATCH: [Parameter; 4] = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
const DELETE: [Parameter; 3] = [
    DRY_RUN,
    query(
        "gracePeriodSeconds",
        "integer",
        "The duration in seconds before the object should be deleted. Value must be non-negative integer. The value zero indicates delete immediately. If this value is nil, the default grace period for the specified type will be used.",
    ),
    query(
        "propagationPolicy",
        "string",
        "Whether and how garbage collection will be performed. Acceptable values are: 'Orphan', 'Background', 'Foreground'.",
    ),
];
const LIST: [Parameter; 10] = [
    query(
        "allowWatchBookmarks",
        "boolean",
        "allowWatchBookmarks requests watch events with type \"BOOKMARK\".",
    ),
    query(
        "continue",
        "string",
        "The continue option should be set when retrieving more results from the server.",
    ),
    query(
        "fieldSelector",
        "string",
        "A selector to restrict the list of returned objects by their fields. Defaults to everything.",
    ),
    query(
        "labelSelector",
        "string",
        "A selector to restrict the list of returned objects by their labels. Defaults to everything.",
    ),
    query(
        "limit",
        "integer",
        "limit is a maximum number of responses to return for a list call.",
    ),
    query(
        "resourceVersion",
        "string",
        "resourceVersion sets a constraint on what resource versions a request may be served from.",
    ),
    query(
        "resourceVersionMatch",
        "string",
        "resourceVersionMatch determines how resourceVersion is applied to list calls.",
    ),
    query(
        "sendInitialEvents",
        "boolean",
        "sendInitialEvents may be set together with watch=true.",
    ),
    query(
        "timeoutSeconds",
        "integer",
        "Timeout for the list/watch call.",
    ),
    query(
        "watch",
        "boolean",
        "Watch for changes to the described resources and return them as a stream of add, update, and remove notifications.",
    ),
];
const LOG: [Parameter; 9] = [
    query(
        "container",
        "string",
        "The container for which to stream logs. Defaults to only container if there is one container in the pod.",
    ),
    query(
        "follow",
        "boolean",
        "Follow the log stream of the pod. Defaults to false.",
    ),
    query(
        "limitBytes",
        "integer",
        "If set, the number of bytes to read from the server before terminating the log output.",
    ),
    query(
        "pretty",
        "string",
        "If 'true', then the output is pretty printed.",
    ),
    query(
        "previous",
        "boolean",
        "Return previous terminated container logs. Defaults to false.",
    ),
    query(
        "sinceSeconds",
        "integer",
        "A relative time in seconds before the current time from which to show logs.",
    ),
    query(
        "stream",
        "string",
        "Specify which container log stream to return to the client.",
    ),
    query(
        "tailLines",
        "integer",
        "If set, the number of lines from the end of the logs to show.",
    ),
    query(
        "timestamps",
        "boolean",
        "If true, add an RFC3339 or RFC3339Nano timestamp at the beginning of every line of log output. Defaults to false.",
    ),
];

const ANY: [&str; 1] = ["*/*"];
const JSON: [&str; 2] = ["application/json", "application/yaml"];
const LISTED: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/json;stream=watch",
];
const PATCHES: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
const TEXT: [&str; 1] = ["text/plain"];

/// All operations of a group version, sorted by path.
pub(super) fn operations(registry: &Registry, group: &str, version: &str) -> Vec<Operation> {
    let mut all = Vec::new();
    for found in registry.in_group_version(group, version) {
        of_resource(&found, group, version, &mut all);
    }
    all.sort_by(|a, b| (&a.path, a.method).cmp(&(&b.path, b.method)));
    all
}

struct Builder<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    namespaced: bool,
    definition: &'a str,
}

impl Builder<'_> {
    fn operation(&self, path: &str, method: &'static str, action: &'static str) -> Operation {
        let verb = match (method, action) {
            ("get", "list") => "list",
            ("get", _) => "read",
            ("post", _) => "create",
            ("put", _) => "replace",
            ("patch", _) => "patch",
            ("delete", "deletecollection") => "deleteCollection",
            _ => "delete",
        };
        let group = self.group.split('.').next().filter(|name| !name.is_empty());
        let group = group.unwrap_or("core");
        let scope = if path.contains("{namespace}") {
            "Namespaced"
        } else {
            ""
        };
        let suffix = if self.namespaced && scope.is_empty() {
            "ForAllNamespaces"
        } else {
            ""
        };
        let is_patch = method == "patch";
        let has_body = ["post", "put", "patch", "delete"].contains(&method);
        let patch_name = || format!("{META}Patch");
        Operation {
            path: path.to_owned(),
            method,
            action,
            kind: (
                self.group.to_owned(),
                self.version.to_owned(),
                self.kind.to_owned(),
            ),
            id: format!(
                "{verb}{}{}{scope}{}{suffix}",
                capitalized(group),
                capitalized(self.version),
                self.kind
            ),
            tag: format!("{group}_{}", self.version),
            description: description(verb, self.kind),
            parameters: match verb {
                "list" => LIST.to_vec(),
                "create" | "replace" => WRITE.to_vec(),
                "patch" => PATCH.to_vec(),
                "delete" => DELETE.to_vec(),
                "deleteCollection" => LIST.iter().chain(&DELETE).copied().collect(),
                _ => Vec::new(),
            },
            body: has_body.then(|| match method {
                "patch" => patch_name(),
                "delete" => format!("{META}DeleteOptions"),
                _ => self.definition.to_owned(),
            }),
            consumes: if is_patch { &PATCHES } else { &ANY },
            answer: Some(match verb {
                "list" => list_name(self.definition),
                "delete" | "deleteCollection" => format!("{META}Status"),
                _ => self.definition.to_owned(),
            }),
            produces: if verb == "list" { &LISTED } else { &JSON },
        }
    }
}

fn of_resource(found: &Found, group: &str, version: &str, all: &mut Vec<Operation>) {
    let resource = &found.resource;
    let builder = Builder {
        group,
        version,
        kind: &resource.kind,
        namespaced: resource.namespaced,
        definition: &found.served().definition,
    };
    let root = root(group, version);
    let plural = &resource.plural;
    let collection = if resource.namespaced {
        all.push(builder.operation(&format!("/{root}/{plural}"), "get", "list"));
        format!("/{root}/namespaces/{{namespace}}/{plural}")
    } else {
        format!("/{root}/{plural}")
    };
    for (method, action) in [
        ("get", "list"),
        ("post", "post"),
        ("delete", "deletecollection"),
    ] {
        all.push(builder.operation(&collection, method, action));
    }
    let item = format!("{collection}/{{name}}");
    for (method, action) in [
        ("get", "get"),
        ("put", "put"),
        ("patch", "patch"),
        ("delete", "delete"),
    ] {
        all.push(builder.operation(&item, method, action));
    }
    for sub in &resource.subresources {
        of_subresource(&builder, sub, &item, all);
    }
}

fn of_subresource(builder: &Builder<'_>, sub: &Subresource, item: &str, all: &mut Vec<Operation>) {
    let (kind, definition) = match sub {
        Subresource::Scale(_) => (
            ("autoscaling", "v1", "Scale"),
            "io.k8s.api.autoscaling.v1.Scale",
        ),
        Subresource::Binding => (("", "v1", "Binding"), "io.k8s.api.core.v1.Binding"),
        Subresource::Eviction => (
            ("policy", "v1", "Eviction"),
            "io.k8s.api.policy.v1.Eviction",
        ),
        Subresource::Token => (
            ("authentication.k8s.io", "v1", "TokenRequest"),
            "io.k8s.api.authentication.v1.TokenRequest",
        ),
        Subresource::Status
        | Subresource::Log
        | Subresource::EphemeralContainers
        | Subresource::Resize
        | Subresource::Finalize => (
            (builder.group, builder.version, builder.kind),
            builder.definition,
        ),
        // Streams and proxies have no bodies to describe.
        Subresource::Exec | Subresource::Attach | Subresource::PortForward | Subresource::Proxy => {
            return;
        }
    };
    let path = format!("{item}/{}", sub.name());
    for verb in sub.verbs() {
        let (method, action) = match *verb {
            "get" => ("get", "get"),
            "update" => ("put", "put"),
            "patch" => ("patch", "patch"),
            "create" => ("post", "post"),
            _ => continue,
        };
        let mut operation = builder.operation(&path, method, action);
        operation.kind = (kind.0.to_owned(), kind.1.to_owned(), kind.2.to_owned());
        operation.id.push_str(&capitalized(sub.name()));
        if method != "patch" {
            operation.body = operation.body.map(|_| definition.to_owned());
        }
        operation.answer = Some(definition.to_owned());
        if matches!(sub, Subresource::Log) {
            operation.parameters = LOG.to_vec();
            operation.answer = None;
            operation.produces = &TEXT;
        }
        all.push(operation);
    }
}

fn description(verb: &str, kind: &str) -> String {
    match verb {
        "list" => format!("list or watch objects of kind {kind}"),
        "read" => format!("read the specified {kind}"),
        "create" => format!("create a {kind}"),
        "replace" => format!("replace the specified {kind}"),
        "patch" => format!("partially update the specified {kind}"),
        "deleteCollection" => format!("delete collection of {kind}"),
        _ => format!("delete a {kind}"),
    }
}

fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
