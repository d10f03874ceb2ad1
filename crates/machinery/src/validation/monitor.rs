//! ServiceMonitors and PodMonitors: what can be said of them without knowing what a scrape is. Intervals and relabelling
//! rules are checked where they are understood.

use serde_json::Value;

use super::meta;
use crate::error::{FieldError, FieldPath};
use crate::names;
use crate::registry::Part;
use crate::selector::LabelSelector;

/// Checks a new monitor.
pub(crate) fn create(monitor: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(monitor, true, names::dns1123_subdomain);
    errors.extend(selector(monitor));
    errors
}

/// Checks a change of a monitor.
pub(crate) fn update(new: &Value, old: &Value, _: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    errors.extend(selector(new));
    errors
}

fn selector(monitor: &Value) -> Vec<FieldError> {
    let path = FieldPath::new("spec").child("selector");
    LabelSelector::from_object(&monitor["spec"]["selector"], &path)
        .err()
        .unwrap_or_default()
}
