//! Checks that other parts bring: what a kind's own rules cannot say, such as whether an expression is PromQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;
use springtide_machinery::error::ApiError;

use crate::routes::Route;

type Check = Arc<dyn Fn(&Value) -> Result<(), String> + Send + Sync>;

/// The checks by collection.
#[derive(Default)]
pub(crate) struct Checks(RwLock<BTreeMap<String, (String, Check)>>);

impl Checks {
    /// Adds a check of a collection's objects, in place of an earlier one; `name` is told when it refuses.
    pub(crate) fn add(&self, collection: &str, name: &str, check: Check) {
        self.0
            .write()
            .insert(collection.to_owned(), (name.to_owned(), check));
    }

    /// Asks the check of the object's collection.
    pub(crate) fn ask(&self, route: &Route, object: &Value) -> Result<(), ApiError> {
        let checks = self.0.read();
        let Some((name, check)) = checks.get(&*route.resource().collection) else {
            return Ok(());
        };
        check(object).map_err(|why| {
            let object = object["metadata"]["name"].as_str().unwrap_or_default();
            let why = format!("admission check {name:?} denied the request: {why}");
            ApiError::forbidden(route.group_resource(), object, why)
        })
    }
}
