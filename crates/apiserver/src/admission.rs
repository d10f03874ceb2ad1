//! What the server fills in or refuses beyond a kind's own rules.

pub(crate) mod checks;
pub(crate) mod namespace;
pub(crate) mod pod;

use serde_json::Value;
use springtide_machinery::error::ApiError;

use crate::api::Api;
use crate::routes::Route;

/// Looks at a new object, after its defaults and before its validation.
pub(crate) fn on_create(api: &Api, route: &Route, object: &mut Value) -> Result<(), ApiError> {
    api.checks.ask(route, object)?;
    match &*route.resource().collection {
        "pods" => pod::on_create(api, route, object),
        "namespaces" => namespace::on_create(object),
        _ => Ok(()),
    }
}

/// Looks at a changed object, after its defaults and before its validation.
pub(crate) fn on_update(api: &Api, route: &Route, new: &mut Value) -> Result<(), ApiError> {
    api.checks.ask(route, new)?;
    match &*route.resource().collection {
        "namespaces" => namespace::on_create(new),
        _ => Ok(()),
    }
}
