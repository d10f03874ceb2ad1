//! One row of the registry, and the rules a row carries.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::error::FieldError;
use crate::schema::Schema;
use crate::table::Column;

/// A name in a row: fixed for a built-in kind, owned for a custom resource.
pub type Name = Cow<'static, str>;

/// One resource: its names, its versions and its rules.
pub struct Resource {
    /// The group that [`Resource::storage_version`] belongs to; "" is the core group.
    pub group: Name,
    /// The version objects are stored in, one of [`Resource::served`] in [`Resource::group`].
    pub storage_version: Name,
    /// The versions clients may use, the preferred one of each group first.
    pub served: Vec<Served>,
    /// The kind, as in `Deployment`.
    pub kind: Name,
    /// The kind of a list, as in `DeploymentList`.
    pub list_kind: Name,
    /// The name in URLs, as in `deployments`.
    pub plural: Name,
    /// The singular name kubectl accepts, as in `deployment`.
    pub singular: Name,
    /// Short names kubectl accepts, as in `deploy`.
    pub short_names: Vec<Name>,
    /// Categories, as in `all`.
    pub categories: Vec<Name>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// The name of the store's collection: `pods`, `apps/deployments`.
    pub collection: Arc<str>,
    /// Subresources that are served.
    pub subresources: Vec<Subresource>,
    /// Verbs of the resource itself.
    pub verbs: Vec<&'static str>,
    /// What happens to dependents when a delete does not say.
    pub default_propagation: Propagation,
    /// The rules of the kind.
    pub strategy: Arc<dyn Strategy>,
}

/// All verbs an ordinary resource has, sorted as discovery lists them.
pub(crate) const ALL_VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

impl Resource {
    /// `v1` or `apps/v1`: the apiVersion objects are stored with.
    #[must_use]
    pub fn storage_api_version(&self) -> String {
        api_version(&self.group, &self.storage_version)
    }

    /// The subresource with this name, as in `scale`.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name() == name)
    }

    /// Whether `status` is written apart from the rest.
    #[must_use]
    pub fn has_status(&self) -> bool {
        self.subresource("status").is_some()
    }

    /// `deployments.apps`, or `pods` in the core group: the name errors use.
    #[must_use]
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_string()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The served version objects are stored in.
    #[must_use]
    pub fn storage(&self) -> &Served {
        self.served
            .iter()
            .find(|served| served.group == self.group && served.version == self.storage_version)
            .unwrap_or(&self.served[0])
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Resource({})", self.group_resource())
    }
}

/// A version of a resource that clients may use.
pub struct Served {
    /// The group; it differs from the row's for the second home of a kind (events.k8s.io).
    pub group: Name,
    /// The version, as in `v1`.
    pub version: Name,
    /// The name of the schema definition, as in `io.k8s.api.apps.v1.Deployment`.
    pub definition: Name,
    /// How this version differs from the stored one; nothing if only by apiVersion.
    pub conversion: Option<Conversion>,
    /// The schema of this version; nothing accepts every field.
    pub schema: SchemaSource,
}

/// Where a served version's schema comes from.
pub enum SchemaSource {
    /// The schemas that ship with the program, found by the definition's name.
    BuiltIn,
    /// A schema made at run time.
    Given(Schema),
}

/// Turns an object of one version into another. Both ways are total: what one version cannot
/// say is kept in annotations, as Kubernetes does.
#[derive(Clone, Copy)]
pub struct Conversion {
    /// From this version to the stored one.
    pub to_storage: fn(Value) -> Value,
    /// From the stored version to this one.
    pub from_storage: fn(Value) -> Value,
}

impl Served {
    /// `v1` or `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// The schema that bodies of this version are checked against.
    #[must_use]
    pub fn schema(&self) -> Option<Schema> {
        match &self.schema {
            SchemaSource::BuiltIn => Schema::builtin(&self.definition),
            SchemaSource::Given(schema) => Some(schema.clone()),
        }
    }

    /// Turns an object of this version into the stored version.
    #[must_use]
    pub fn to_storage(&self, resource: &Resource, object: Value) -> Value {
        let converted = match self.conversion {
            Some(conversion) => (conversion.to_storage)(object),
            None => object,
        };
        with_type(converted, resource.storage_api_version(), &resource.kind)
    }

    /// Turns a stored object into this version.
    #[must_use]
    pub fn from_storage(&self, resource: &Resource, object: Value) -> Value {
        let converted = match self.conversion {
            Some(conversion) => (conversion.from_storage)(object),
            None => object,
        };
        with_type(converted, self.api_version(), &resource.kind)
    }

    /// Whether stored bytes can be sent as they are in this version.
    #[must_use]
    pub fn is_storage(&self, resource: &Resource) -> bool {
        self.group == resource.group && self.version == resource.storage_version
    }
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn with_type(mut object: Value, api_version: String, kind: &str) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".to_owned(), Value::String(api_version));
        fields.insert("kind".to_owned(), Value::String(kind.to_owned()));
    }
    object
}

/// What a delete without `propagationPolicy` does to dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Dependents are deleted afterwards.
    Background,
    /// Dependents stay.
    Orphan,
}

/// A part of an object with an URL of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// `status`: written by the kind's controller.
    Status,
    /// `scale`: autoscaling/v1 Scale over paths of the object.
    Scale(ScalePaths),
    /// `pods/log`.
    Log,
    /// `pods/binding`.
    Binding,
    /// `pods/eviction`.
    Eviction,
    /// `pods/exec`.
    Exec,
    /// `pods/attach`.
    Attach,
    /// `pods/portforward`.
    PortForward,
    /// `pods/ephemeralcontainers`.
    EphemeralContainers,
    /// `pods/resize`.
    Resize,
    /// `namespaces/finalize`.
    Finalize,
    /// `serviceaccounts/token`.
    Token,
    /// `proxy` of nodes, pods and services.
    Proxy,
}

/// Where a kind keeps what a Scale shows: paths from the object's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// Path of the wanted number, as in `["spec", "replicas"]`.
    pub spec_replicas: Vec<Name>,
    /// Path of the present number.
    pub status_replicas: Vec<Name>,
    /// Path of the selector: a LabelSelector object, or a string in selector syntax.
    pub selector: Option<Vec<Name>>,
}

impl ScalePaths {
    /// `.spec.replicas`, `.status.replicas` and `.spec.selector`.
    #[must_use]
    pub fn usual() -> ScalePaths {
        let path = |names: [&'static str; 2]| names.map(Cow::Borrowed).to_vec();
        ScalePaths {
            spec_replicas: path(["spec", "replicas"]),
            status_replicas: path(["status", "replicas"]),
            selector: Some(path(["spec", "selector"])),
        }
    }
}

impl Subresource {
    /// The name in URLs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Subresource::Status => "status",
            Subresource::Scale(_) => "scale",
            Subresource::Log => "log",
            Subresource::Binding => "binding",
            Subresource::Eviction => "eviction",
            Subresource::Exec => "exec",
            Subresource::Attach => "attach",
            Subresource::PortForward => "portforward",
            Subresource::EphemeralContainers => "ephemeralcontainers",
            Subresource::Resize => "resize",
            Subresource::Finalize => "finalize",
            Subresource::Token => "token",
            Subresource::Proxy => "proxy",
        }
    }

    /// The verbs discovery lists.
    #[must_use]
    pub fn verbs(&self) -> &'static [&'static str] {
        match self {
            Subresource::Status
            | Subresource::Scale(_)
            | Subresource::EphemeralContainers
            | Subresource::Resize => &["get", "patch", "update"],
            Subresource::Log => &["get"],
            Subresource::Binding | Subresource::Eviction | Subresource::Token => &["create"],
            Subresource::Exec | Subresource::Attach | Subresource::PortForward => {
                &["create", "get"]
            }
            Subresource::Finalize => &["update"],
            Subresource::Proxy => &["create", "delete", "get", "patch", "update"],
        }
    }

    /// Group, version and kind of the bodies, where they are not the resource's own.
    #[must_use]
    pub fn body_kind(&self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Subresource::Scale(_) => Some(("autoscaling", "v1", "Scale")),
            Subresource::Binding => Some(("", "v1", "Binding")),
            Subresource::Eviction => Some(("policy", "v1", "Eviction")),
            Subresource::Exec => Some(("", "v1", "PodExecOptions")),
            Subresource::Attach => Some(("", "v1", "PodAttachOptions")),
            Subresource::PortForward => Some(("", "v1", "PodPortForwardOptions")),
            Subresource::Token => Some(("authentication.k8s.io", "v1", "TokenRequest")),
            Subresource::Proxy => Some(("", "v1", "NodeProxyOptions")),
            Subresource::Status
            | Subresource::Log
            | Subresource::EphemeralContainers
            | Subresource::Resize
            | Subresource::Finalize => None,
        }
    }
}

/// Which part of an object an update may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A write to the object itself: everything but the status.
    Main,
    /// A write to `status`.
    Status,
    /// A write to `ephemeralcontainers`.
    EphemeralContainers,
    /// A write to `resize`: the containers' resources.
    Resize,
    /// A write to `finalize`: a namespace's `spec.finalizers`.
    Finalize,
}

/// The rules of a kind. All objects are in the storage version.
///
/// The order on a create is: [`Strategy::defaults`], `prepare_create`, (admission), the metadata
/// checks of [`crate::validation::meta`] and `validate_create`; on an update: `defaults`,
/// `prepare_update`, `validate_update`, each with the part that is written.
pub trait Strategy: Send + Sync {
    /// Fills in what the client left out.
    fn defaults(&self, object: &mut Value);

    /// Takes out what a client may not set and puts in what the server sets: status,
    /// `metadata.generation`, a namespace's phase.
    fn prepare_create(&self, object: &mut Value);

    /// Puts back what this write may not change, and counts `metadata.generation` up if the
    /// desired state changed.
    fn prepare_update(&self, object: &mut Value, old: &Value, part: Part);

    /// All faults of a new object, metadata included; empty if there are none.
    fn validate_create(&self, object: &Value) -> Vec<FieldError>;

    /// All faults of a change, metadata included; empty if there are none.
    fn validate_update(&self, object: &Value, old: &Value, part: Part) -> Vec<FieldError>;

    /// What is accepted but deserves a `Warning` header.
    fn warnings(&self, object: &Value) -> Vec<String>;

    /// What a field selector can ask for, `metadata.name` (and `metadata.namespace`) first.
    fn selectable_fields(&self, object: &Value) -> Vec<(Name, String)>;

    /// Seconds the object lingers after a delete, `None` if it goes at once. `requested` is the
    /// client's `gracePeriodSeconds`.
    fn grace_seconds(&self, object: &Value, requested: Option<i64>) -> Option<i64>;

    /// The columns kubectl prints, with those of `-o wide` at priority 1.
    fn columns(&self) -> Vec<Column>;

    /// One cell per column, ages counted at `now`.
    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value>;

    /// Whether a PUT to a name that does not exist creates it.
    fn create_on_update(&self) -> bool {
        false
    }

    /// Whether a PUT without resourceVersion overwrites.
    fn unconditional_update(&self) -> bool {
        true
    }
}

/// The rules of a kind that ships with the program: one function each.
pub struct BuiltIn {
    /// See [`Strategy::defaults`].
    pub defaults: fn(&mut Value),
    /// See [`Strategy::prepare_create`].
    pub prepare_create: fn(&mut Value),
    /// See [`Strategy::prepare_update`].
    pub prepare_update: fn(&mut Value, &Value, Part),
    /// See [`Strategy::validate_create`].
    pub validate_create: fn(&Value) -> Vec<FieldError>,
    /// See [`Strategy::validate_update`].
    pub validate_update: fn(&Value, &Value, Part) -> Vec<FieldError>,
    /// See [`Strategy::warnings`].
    pub warnings: fn(&Value) -> Vec<String>,
    /// Fields beside `metadata.name` and `metadata.namespace`.
    pub fields: fn(&Value) -> Vec<(&'static str, String)>,
    /// See [`Strategy::grace_seconds`].
    pub grace_seconds: fn(&Value, Option<i64>) -> Option<i64>,
    /// See [`Strategy::columns`].
    pub columns: fn() -> Vec<Column>,
    /// See [`Strategy::cells`].
    pub cells: fn(&Value, Timestamp) -> Vec<Value>,
    /// See [`Strategy::create_on_update`].
    pub create_on_update: bool,
    /// Whether objects have a namespace.
    pub namespaced: bool,
}

impl Strategy for BuiltIn {
    fn defaults(&self, object: &mut Value) {
        (self.defaults)(object);
    }

    fn prepare_create(&self, object: &mut Value) {
        (self.prepare_create)(object);
    }

    fn prepare_update(&self, object: &mut Value, old: &Value, part: Part) {
        (self.prepare_update)(object, old, part);
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        (self.validate_create)(object)
    }

    fn validate_update(&self, object: &Value, old: &Value, part: Part) -> Vec<FieldError> {
        (self.validate_update)(object, old, part)
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        (self.warnings)(object)
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(Name, String)> {
        let meta = |field: &str| {
            object["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let mut fields = vec![(Cow::Borrowed("metadata.name"), meta("name"))];
        if self.namespaced {
            fields.push((Cow::Borrowed("metadata.namespace"), meta("namespace")));
        }
        let own = (self.fields)(object);
        fields.extend(own.into_iter().map(|(name, value)| (name.into(), value)));
        fields
    }

    fn grace_seconds(&self, object: &Value, requested: Option<i64>) -> Option<i64> {
        (self.grace_seconds)(object, requested)
    }

    fn columns(&self) -> Vec<Column> {
        (self.columns)()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        (self.cells)(object, now)
    }

    fn create_on_update(&self) -> bool {
        self.create_on_update
    }
}
