//! `kube_deployment_*`, `kube_replicaset_*` and `kube_poddisruptionbudget_*`.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{WriteLabels, and, created, flag, gauge, named, owners, some};
use crate::instruments::Text;

pub(super) fn deployments(deployments: &[Arc<Deployment>], text: &mut Text) {
    let labels = |deployment: &Deployment, write: &mut WriteLabels<'_>| {
        write(&named(&deployment.metadata, "deployment"));
    };
    created(
        text,
        "deployment",
        deployments,
        |deployment| &deployment.metadata,
        labels,
    );
    let mut number = |name: &str, help: &str, value: &dyn Fn(&Deployment) -> Option<f64>| {
        let name = format!("kube_deployment_{name}");
        gauge(text, &name, help, deployments, |deployment, family| {
            some(
                family,
                &named(&deployment.metadata, "deployment"),
                value(deployment),
            );
        });
    };
    number(
        "metadata_generation",
        "Sequence number representing a specific generation of the desired state.",
        &|found| found.metadata.generation.map(|number| number as f64),
    );
    number(
        "spec_replicas",
        "Number of desired pods for a deployment.",
        &|found| Some(f64::from(found.spec.as_ref()?.replicas.unwrap_or(1))),
    );
    number(
        "spec_paused",
        "Whether the deployment is paused and will not be processed by the deployment controller.",
        &|found| Some(flag(found.spec.as_ref()?.paused == Some(true))),
    );
    let rolling = |found: &Deployment, surge: bool| {
        let spec = found.spec.as_ref()?;
        let rolling = spec.strategy.as_ref()?.rolling_update.as_ref()?;
        let told = if surge {
            rolling.max_surge.as_ref()
        } else {
            rolling.max_unavailable.as_ref()
        };
        share(told?, spec.replicas.unwrap_or(1), surge)
    };
    number(
        "spec_strategy_rollingupdate_max_unavailable",
        "Maximum number of unavailable replicas during a rolling update of a deployment.",
        &|found| rolling(found, false),
    );
    number(
        "spec_strategy_rollingupdate_max_surge",
        "Maximum number of replicas that can be scheduled above the desired number of replicas during a rolling update of a deployment.",
        &|found| rolling(found, true),
    );
    let told = |found: &Deployment, which: &str| {
        let status = found.status.as_ref();
        let number = status.and_then(|status| match which {
            "replicas" => status.replicas,
            "ready" => status.ready_replicas,
            "available" => status.available_replicas,
            "unavailable" => status.unavailable_replicas,
            _ => status.updated_replicas,
        });
        Some(f64::from(number.unwrap_or_default()))
    };
    number(
        "status_replicas",
        "The number of replicas per deployment.",
        &|found| told(found, "replicas"),
    );
    number(
        "status_replicas_ready",
        "The number of ready replicas per deployment.",
        &|found| told(found, "ready"),
    );
    number(
        "status_replicas_available",
        "The number of available replicas per deployment.",
        &|found| told(found, "available"),
    );
    number(
        "status_replicas_unavailable",
        "The number of unavailable replicas per deployment.",
        &|found| told(found, "unavailable"),
    );
    number(
        "status_replicas_updated",
        "The number of updated replicas per deployment.",
        &|found| told(found, "updated"),
    );
    number(
        "status_observed_generation",
        "The generation observed by the deployment controller.",
        &|found| {
            Some(
                found
                    .status
                    .as_ref()?
                    .observed_generation
                    .unwrap_or_default() as f64,
            )
        },
    );
    let help = "The current status conditions of a deployment.";
    gauge(
        text,
        "kube_deployment_status_condition",
        help,
        deployments,
        |deployment, family| {
            let conditions = deployment
                .status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten());
            for condition in conditions {
                for (status, told) in [("true", "True"), ("false", "False"), ("unknown", "Unknown")]
                {
                    let more = [
                        ("reason", condition.reason.as_deref().unwrap_or_default()),
                        ("condition", condition.type_.as_str()),
                        ("status", status),
                    ];
                    let labels = and(&named(&deployment.metadata, "deployment"), &more);
                    family.sample(&labels, flag(condition.status == told));
                }
            }
        },
    );
    gauge(
        text,
        "kube_deployment_owner",
        "Information about the Deployment's owner.",
        deployments,
        |deployment, family| {
            let owned = deployment.metadata.owner_references.as_deref();
            owners(family, &named(&deployment.metadata, "deployment"), owned);
        },
    );
}

/// A number of pods, or a share of them: of a surge rounded up, else down.
fn share(told: &IntOrString, of: i32, up: bool) -> Option<f64> {
    match told {
        IntOrString::Int(number) => Some(f64::from(*number)),
        IntOrString::String(percent) => {
            let percent: f64 = percent.strip_suffix('%')?.parse().ok()?;
            let exact = percent * f64::from(of) / 100.0;
            Some(if up { exact.ceil() } else { exact.floor() })
        }
    }
}

pub(super) fn replica_sets(sets: &[Arc<ReplicaSet>], text: &mut Text) {
    let labels = |set: &ReplicaSet, write: &mut WriteLabels<'_>| {
        write(&named(&set.metadata, "replicaset"));
    };
    created(text, "replicaset", sets, |set| &set.metadata, labels);
    let mut number = |name: &str, help: &str, value: &dyn Fn(&ReplicaSet) -> Option<f64>| {
        let name = format!("kube_replicaset_{name}");
        gauge(text, &name, help, sets, |set, family| {
            some(family, &named(&set.metadata, "replicaset"), value(set));
        });
    };
    number(
        "metadata_generation",
        "Sequence number representing a specific generation of the desired state.",
        &|set| set.metadata.generation.map(|number| number as f64),
    );
    number(
        "spec_replicas",
        "Number of desired pods for a ReplicaSet.",
        &|set| Some(f64::from(set.spec.as_ref()?.replicas.unwrap_or(1))),
    );
    number(
        "status_replicas",
        "The number of replicas per ReplicaSet.",
        &|set| Some(f64::from(set.status.as_ref()?.replicas)),
    );
    number(
        "status_fully_labeled_replicas",
        "The number of fully labeled replicas per ReplicaSet.",
        &|set| {
            Some(f64::from(
                set.status
                    .as_ref()?
                    .fully_labeled_replicas
                    .unwrap_or_default(),
            ))
        },
    );
    number(
        "status_ready_replicas",
        "The number of ready replicas per ReplicaSet.",
        &|set| {
            Some(f64::from(
                set.status.as_ref()?.ready_replicas.unwrap_or_default(),
            ))
        },
    );
    number(
        "status_observed_generation",
        "The generation observed by the ReplicaSet controller.",
        &|set| Some(set.status.as_ref()?.observed_generation.unwrap_or_default() as f64),
    );
    gauge(
        text,
        "kube_replicaset_owner",
        "Information about the ReplicaSet's owner.",
        sets,
        |set, family| {
            let owned = set.metadata.owner_references.as_deref();
            owners(family, &named(&set.metadata, "replicaset"), owned);
        },
    );
}

pub(super) fn disruption_budgets(budgets: &[Arc<PodDisruptionBudget>], text: &mut Text) {
    let labels = |budget: &PodDisruptionBudget, write: &mut WriteLabels<'_>| {
        write(&named(&budget.metadata, "poddisruptionbudget"));
    };
    created(
        text,
        "poddisruptionbudget",
        budgets,
        |budget| &budget.metadata,
        labels,
    );
    for (name, help) in [
        ("current_healthy", "Current number of healthy pods"),
        ("desired_healthy", "Minimum desired number of healthy pods"),
        (
            "pod_disruptions_allowed",
            "Number of pod disruptions that are currently allowed",
        ),
        (
            "expected_pods",
            "Total number of pods counted by this disruption budget",
        ),
        (
            "observed_generation",
            "Most recent generation observed when updating this PDB status",
        ),
    ] {
        let full = format!("kube_poddisruptionbudget_status_{name}");
        gauge(text, &full, help, budgets, |budget, family| {
            let value = budget.status.as_ref().map(|status| match name {
                "current_healthy" => f64::from(status.current_healthy.unwrap_or_default()),
                "desired_healthy" => f64::from(status.desired_healthy.unwrap_or_default()),
                "pod_disruptions_allowed" => {
                    f64::from(status.disruptions_allowed.unwrap_or_default())
                }
                "expected_pods" => f64::from(status.expected_pods.unwrap_or_default()),
                _ => status.observed_generation.unwrap_or_default() as f64,
            });
            some(
                family,
                &named(&budget.metadata, "poddisruptionbudget"),
                value,
            );
        });
    }
}
