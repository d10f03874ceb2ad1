//! The rules of each kind that ships with the program: which functions of `defaults`,
//! `validation` and `table` a kind uses, and what a write may change.

use serde_json::Value;

use crate::registry::{BuiltIn, Part};

/// The rules of a kind with nothing but metadata.
fn plain(namespaced: bool) -> BuiltIn {
    BuiltIn {
        defaults: |_| {},
        prepare_create: |_| {},
        prepare_update: |_: &mut Value, _: &Value, _: Part| {},
        validate_create: |_| Vec::new(),
        validate_update: |_, _, _| Vec::new(),
        warnings: |_| Vec::new(),
        fields: |_| Vec::new(),
        grace_seconds: |_, _| None,
        columns: Vec::new,
        cells: |_, _| Vec::new(),
        create_on_update: false,
        namespaced,
    }
}

pub(crate) fn config_map() -> BuiltIn { plain(true) }
pub(crate) fn endpoints() -> BuiltIn { plain(true) }
pub(crate) fn event() -> BuiltIn { plain(true) }
pub(crate) fn namespace() -> BuiltIn { plain(false) }
pub(crate) fn node() -> BuiltIn { plain(false) }
pub(crate) fn pod() -> BuiltIn { plain(true) }
pub(crate) fn secret() -> BuiltIn { plain(true) }
pub(crate) fn service_account() -> BuiltIn { plain(true) }
pub(crate) fn service() -> BuiltIn { plain(true) }
pub(crate) fn controller_revision() -> BuiltIn { plain(true) }
pub(crate) fn deployment() -> BuiltIn { plain(true) }
pub(crate) fn replica_set() -> BuiltIn { plain(true) }
pub(crate) fn horizontal_pod_autoscaler() -> BuiltIn { plain(true) }
pub(crate) fn lease() -> BuiltIn { plain(true) }
pub(crate) fn endpoint_slice() -> BuiltIn { plain(true) }
pub(crate) fn runtime_class() -> BuiltIn { plain(false) }
pub(crate) fn pod_disruption_budget() -> BuiltIn { plain(true) }
