//! `kube_configmap_*`, `kube_secret_*`, `kube_serviceaccount_*` and `kube_lease_*`.

use std::sync::Arc;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{WriteLabels, and, created, gauge, named, some};
use crate::instruments::Text;

fn version(metadata: &ObjectMeta) -> Option<f64> {
    metadata.resource_version.as_deref()?.parse().ok()
}

pub(super) fn config_maps(maps: &[Arc<ConfigMap>], text: &mut Text) {
    let labels = |map: &ConfigMap, write: &mut WriteLabels<'_>| {
        write(&named(&map.metadata, "configmap"));
    };
    created(text, "configmap", maps, |map| &map.metadata, labels);
    gauge(
        text,
        "kube_configmap_info",
        "Information about configmap.",
        maps,
        |map, family| {
            family.sample(&named(&map.metadata, "configmap"), 1.0);
        },
    );
    let help = "Resource version representing a specific version of the configmap.";
    gauge(
        text,
        "kube_configmap_metadata_resource_version",
        help,
        maps,
        |map, family| {
            some(
                family,
                &named(&map.metadata, "configmap"),
                version(&map.metadata),
            );
        },
    );
}

pub(super) fn secrets(secrets: &[Arc<Secret>], text: &mut Text) {
    let labels = |secret: &Secret, write: &mut WriteLabels<'_>| {
        write(&named(&secret.metadata, "secret"));
    };
    created(text, "secret", secrets, |secret| &secret.metadata, labels);
    gauge(
        text,
        "kube_secret_info",
        "Information about secret.",
        secrets,
        |secret, family| {
            family.sample(&named(&secret.metadata, "secret"), 1.0);
        },
    );
    gauge(
        text,
        "kube_secret_type",
        "Type about secret.",
        secrets,
        |secret, family| {
            let kind = secret.type_.as_deref().unwrap_or("Opaque");
            family.sample(
                &and(&named(&secret.metadata, "secret"), &[("type", kind)]),
                1.0,
            );
        },
    );
    let help = "Resource version representing a specific version of secret.";
    gauge(
        text,
        "kube_secret_metadata_resource_version",
        help,
        secrets,
        |secret, family| {
            some(
                family,
                &named(&secret.metadata, "secret"),
                version(&secret.metadata),
            );
        },
    );
}

pub(super) fn service_accounts(accounts: &[Arc<ServiceAccount>], text: &mut Text) {
    fn labels(account: &ServiceAccount) -> Vec<(&str, &str)> {
        let uid = account.metadata.uid.as_deref().unwrap_or_default();
        and(&named(&account.metadata, "serviceaccount"), &[("uid", uid)])
    }
    created(
        text,
        "serviceaccount",
        accounts,
        |found| &found.metadata,
        |found, write| write(&labels(found)),
    );
    let help = "Information about a service account";
    gauge(
        text,
        "kube_serviceaccount_info",
        help,
        accounts,
        |found, family| {
            let mounted = match found.automount_service_account_token {
                Some(true) => "true",
                Some(false) => "false",
                None => "",
            };
            family.sample(&and(&labels(found), &[("automount_token", mounted)]), 1.0);
        },
    );
}

pub(super) fn leases(leases: &[Arc<Lease>], text: &mut Text) {
    gauge(
        text,
        "kube_lease_owner",
        "Information about the Lease's owner.",
        leases,
        |lease, family| {
            let owner = lease
                .metadata
                .owner_references
                .as_ref()
                .and_then(|owners| owners.first());
            let holder = lease
                .spec
                .as_ref()
                .and_then(|spec| spec.holder_identity.as_deref());
            let [namespace, name] = named(&lease.metadata, "lease");
            let labels = [
                name,
                ("owner_kind", owner.map_or("", |owner| &owner.kind)),
                ("owner_name", owner.map_or("", |owner| &owner.name)),
                namespace,
                ("lease_holder", holder.unwrap_or_default()),
            ];
            family.sample(&labels, 1.0);
        },
    );
    gauge(
        text,
        "kube_lease_renew_time",
        "Kube lease renew time.",
        leases,
        |lease, family| {
            let renewed = lease
                .spec
                .as_ref()
                .and_then(|spec| spec.renew_time.as_ref());
            let [namespace, name] = named(&lease.metadata, "lease");
            some(
                family,
                &[name, namespace],
                renewed.map(|time| time.0.as_second() as f64),
            );
        },
    );
}
