//! The rules of each kind that ships with the program: which functions of `defaults`,
//! `validation` and `table` it uses, and what a write may change.

mod generation;
mod namespace;
mod pod;
mod service;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::members::{is_true, text};
use crate::registry::BuiltIn;
use crate::{defaults, table, validation};

use generation::{create_counted, create_numbered, create_plain, update_counted, update_plain};

/// The rules of a kind with nothing but metadata.
fn plain(namespaced: bool) -> BuiltIn {
    BuiltIn {
        defaults: defaults::none,
        prepare_create: |_| {},
        prepare_update: |_, _, _| {},
        validate_create: validation::core::create_service_account,
        validate_update: validation::core::update_metadata,
        warnings: |_| Vec::new(),
        fields: |_| Vec::new(),
        grace_seconds: |_, _| None,
        columns: table::plain::columns,
        cells: table::plain::cells,
        create_on_update: false,
        namespaced,
    }
}

pub(crate) fn config_map() -> BuiltIn {
    BuiltIn {
        validate_create: validation::config::create_config_map,
        validate_update: validation::config::update_config_map,
        columns: table::config_map::columns,
        cells: table::config_map::cells,
        ..plain(true)
    }
}

pub(crate) fn controller_revision() -> BuiltIn {
    BuiltIn {
        validate_create: validation::core::create_controller_revision,
        validate_update: validation::core::update_controller_revision,
        columns: table::controller_revision::columns,
        cells: table::controller_revision::cells,
        ..plain(true)
    }
}

pub(crate) fn deployment() -> BuiltIn {
    BuiltIn {
        defaults: defaults::apps::deployment,
        prepare_create: create_counted,
        prepare_update: generation::update_deployment,
        validate_create: validation::apps::create_deployment,
        validate_update: validation::apps::update_deployment,
        warnings: validation::pod_warnings::workload,
        columns: table::deployment::columns,
        cells: table::deployment::cells,
        ..plain(true)
    }
}

pub(crate) fn endpoint_slice() -> BuiltIn {
    BuiltIn {
        defaults: defaults::core::endpoint_slice,
        prepare_create: create_numbered,
        prepare_update: generation::update_whole,
        validate_create: validation::discovery::create_slice,
        validate_update: validation::discovery::update_slice,
        warnings: validation::unhonoured::endpoint_slice,
        columns: table::endpoint_slice::columns,
        cells: table::endpoint_slice::cells,
        ..plain(true)
    }
}

pub(crate) fn endpoints() -> BuiltIn {
    BuiltIn {
        defaults: defaults::core::endpoints,
        validate_create: validation::discovery::create_endpoints,
        validate_update: validation::discovery::update_endpoints,
        warnings: validation::unhonoured::endpoints,
        columns: table::endpoints::columns,
        cells: table::endpoints::cells,
        create_on_update: true,
        ..plain(true)
    }
}

pub(crate) fn event() -> BuiltIn {
    BuiltIn {
        defaults: defaults::core::event,
        validate_create: validation::core::create_event,
        validate_update: validation::core::update_event,
        fields: event_fields,
        columns: table::event::columns,
        cells: table::event::cells,
        create_on_update: true,
        ..plain(true)
    }
}

fn event_fields(event: &Value) -> Vec<(&'static str, String)> {
    let involved = &event["involvedObject"];
    let mut fields: Vec<(&'static str, String)> = [
        ("involvedObject.kind", "kind"),
        ("involvedObject.namespace", "namespace"),
        ("involvedObject.name", "name"),
        ("involvedObject.uid", "uid"),
        ("involvedObject.apiVersion", "apiVersion"),
        ("involvedObject.resourceVersion", "resourceVersion"),
        ("involvedObject.fieldPath", "fieldPath"),
    ]
    .into_iter()
    .map(|(label, name)| (label, text(involved, name).to_owned()))
    .collect();
    let component = text(event, "reportingComponent");
    let source = text(&event["source"], "component");
    fields.push(("reason", text(event, "reason").to_owned()));
    fields.push(("reportingComponent", component.to_owned()));
    let source = if source.is_empty() { component } else { source };
    fields.push(("source", source.to_owned()));
    fields.push(("type", text(event, "type").to_owned()));
    fields
}

pub(crate) fn horizontal_pod_autoscaler() -> BuiltIn {
    BuiltIn {
        defaults: defaults::horizontal_pod_autoscaler::apply,
        prepare_create: create_plain,
        prepare_update: update_plain,
        validate_create: validation::horizontal_pod_autoscaler::create,
        validate_update: validation::horizontal_pod_autoscaler::update,
        columns: table::horizontal_pod_autoscaler::columns,
        cells: table::horizontal_pod_autoscaler::cells,
        ..plain(true)
    }
}

pub(crate) fn lease() -> BuiltIn {
    BuiltIn {
        validate_create: validation::core::create_lease,
        validate_update: validation::core::update_lease,
        columns: table::lease::columns,
        cells: table::lease::cells,
        create_on_update: true,
        ..plain(true)
    }
}

pub(crate) fn namespace() -> BuiltIn {
    BuiltIn {
        defaults: defaults::core::namespace,
        prepare_create: namespace::create,
        prepare_update: namespace::update,
        validate_create: validation::core::create_namespace,
        validate_update: validation::core::update_namespace,
        fields: |namespace| {
            vec![(
                "status.phase",
                text(&namespace["status"], "phase").to_owned(),
            )]
        },
        columns: table::namespace::columns,
        cells: table::namespace::cells,
        ..plain(false)
    }
}

pub(crate) fn node() -> BuiltIn {
    BuiltIn {
        defaults: defaults::core::node,
        // A node is registered with the status it has.
        prepare_update: update_plain,
        validate_create: validation::core::create_node,
        validate_update: validation::core::update_node,
        fields: |node| {
            let unschedulable = is_true(&node["spec"], "unschedulable");
            vec![("spec.unschedulable", unschedulable.to_string())]
        },
        warnings: validation::unhonoured::node,
        columns: table::node::columns,
        cells: table::node::cells,
        ..plain(false)
    }
}

pub(crate) fn prometheus_rule() -> BuiltIn {
    BuiltIn {
        prepare_create: create_numbered,
        prepare_update: generation::update_whole,
        validate_create: validation::prometheus_rule::create,
        validate_update: validation::prometheus_rule::update,
        ..plain(true)
    }
}

pub(crate) fn service_monitor() -> BuiltIn {
    BuiltIn {
        warnings: validation::unhonoured::service_monitor,
        ..monitor()
    }
}

pub(crate) fn pod_monitor() -> BuiltIn {
    BuiltIn {
        warnings: validation::unhonoured::pod_monitor,
        ..monitor()
    }
}

/// The rules of a ServiceMonitor or PodMonitor.
fn monitor() -> BuiltIn {
    BuiltIn {
        prepare_create: create_numbered,
        prepare_update: generation::update_whole,
        validate_create: validation::monitor::create,
        validate_update: validation::monitor::update,
        ..plain(true)
    }
}

pub(crate) fn pod() -> BuiltIn {
    BuiltIn {
        defaults: defaults::pod::apply,
        prepare_create: pod::create,
        prepare_update: pod::update,
        validate_create: validation::pod::create,
        validate_update: validation::pod_update::update,
        warnings: validation::pod_warnings::pod,
        fields: pod::fields,
        grace_seconds: pod::grace_seconds,
        columns: table::pod::columns,
        cells: table::pod::cells,
        ..plain(true)
    }
}

pub(crate) fn pod_disruption_budget() -> BuiltIn {
    BuiltIn {
        prepare_create: create_counted,
        prepare_update: update_counted,
        validate_create: validation::policy::create,
        validate_update: validation::policy::update,
        columns: table::pod_disruption_budget::columns,
        cells: table::pod_disruption_budget::cells,
        ..plain(true)
    }
}

pub(crate) fn replica_set() -> BuiltIn {
    BuiltIn {
        defaults: defaults::apps::replica_set,
        prepare_create: create_counted,
        prepare_update: update_counted,
        validate_create: validation::apps::create_replica_set,
        validate_update: validation::apps::update_replica_set,
        warnings: validation::pod_warnings::workload,
        fields: |set| {
            let replicas = set["status"]["replicas"].as_i64().unwrap_or(0);
            vec![("status.replicas", replicas.to_string())]
        },
        columns: table::replica_set::columns,
        cells: table::replica_set::cells,
        ..plain(true)
    }
}

pub(crate) fn runtime_class() -> BuiltIn {
    BuiltIn {
        validate_create: validation::core::create_runtime_class,
        validate_update: validation::core::update_runtime_class,
        warnings: validation::unhonoured::runtime_class,
        columns: table::runtime_class::columns,
        cells: table::runtime_class::cells,
        ..plain(false)
    }
}

pub(crate) fn secret() -> BuiltIn {
    BuiltIn {
        defaults: defaults::core::secret,
        validate_create: validation::config::create_secret,
        validate_update: validation::config::update_secret,
        fields: |secret| vec![("type", text(secret, "type").to_owned())],
        columns: table::secret::columns,
        cells: table::secret::cells,
        ..plain(true)
    }
}

pub(crate) fn service() -> BuiltIn {
    BuiltIn {
        defaults: defaults::service::apply,
        prepare_create: service::create,
        prepare_update: service::update,
        validate_create: validation::service::create,
        validate_update: validation::service::update,
        warnings: service::warnings,
        fields: |service| {
            let spec = &service["spec"];
            vec![
                ("spec.clusterIP", text(spec, "clusterIP").to_owned()),
                ("spec.type", text(spec, "type").to_owned()),
            ]
        },
        columns: table::service::columns,
        cells: table::service::cells,
        create_on_update: true,
        ..plain(true)
    }
}

pub(crate) fn service_account() -> BuiltIn {
    BuiltIn {
        warnings: validation::unhonoured::service_account,
        columns: table::service_account::columns,
        cells: table::service_account::cells,
        ..plain(true)
    }
}
