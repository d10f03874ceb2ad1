//! The JSON schemas `k8s-openapi` has for the kinds of this program, by definition name.

use k8s_openapi::api::{
    apps, authentication, autoscaling, coordination, core, discovery, events, node, policy,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// Where references in the generated schemas point to.
pub(crate) const REFERENCE: &str = "#/components/schemas/";

macro_rules! add {
    ($generator:ident, $($kind:ty),+ $(,)?) => {
        $( $generator.subschema_for::<$kind>(); )+
    };
}

/// Generates the schemas of all kinds, their lists and all they refer to. Some megabytes: the
/// caller drops them when it has what it needs.
pub(crate) fn generate() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    add!(
        generator,
        core::v1::Namespace,
        core::v1::Node,
        core::v1::Pod,
        core::v1::Service,
        core::v1::Endpoints,
        core::v1::ConfigMap,
        core::v1::Secret,
        core::v1::ServiceAccount,
        core::v1::Event,
        events::v1::Event,
        coordination::v1::Lease,
        node::v1::RuntimeClass,
        discovery::v1::EndpointSlice,
        apps::v1::Deployment,
        apps::v1::ReplicaSet,
        apps::v1::ControllerRevision,
        autoscaling::v1::HorizontalPodAutoscaler,
        autoscaling::v2::HorizontalPodAutoscaler,
        policy::v1::PodDisruptionBudget,
        autoscaling::v1::Scale,
        core::v1::Binding,
        policy::v1::Eviction,
        authentication::v1::TokenRequest,
        meta::DeleteOptions,
        meta::ListMeta,
        meta::Status,
    );
    let mut definitions = generator.take_definitions(false);
    super::shipped::add(&mut definitions);
    definitions
}
