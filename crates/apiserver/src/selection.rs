//! Which objects a list, a watch or a deletecollection is about.

use springtide_machinery::error::ApiError;
use springtide_machinery::selector::{FieldSelector, LabelSelector};
use springtide_store::Object;

use crate::request::Query;
use crate::routes::Route;

/// A label selector and a field selector; both must match.
#[derive(Default)]
pub(crate) struct Selection {
    labels: Option<LabelSelector>,
    fields: Option<FieldSelector>,
    name: Option<Box<str>>,
}

impl Selection {
    /// Reads the selectors from a query.
    pub(crate) fn parse(query: &Query<'_>, route: &Route) -> Result<Selection, ApiError> {
        let labels = match query.text("labelSelector") {
            None => None,
            Some(text) => Some(
                LabelSelector::parse(text)
                    .map_err(|error| ApiError::bad_request(error.to_string()))?,
            ),
        };
        let fields = match query.text("fieldSelector") {
            None => None,
            Some(text) => {
                let selector = FieldSelector::parse(text)
                    .map_err(|error| ApiError::bad_request(error.to_string()))?;
                for requirement in selector.requirements() {
                    let known = route
                        .selectable
                        .iter()
                        .any(|name| **name == requirement.field);
                    if !known {
                        return Err(ApiError::bad_request(format!(
                            "field label not supported: {}",
                            requirement.field
                        )));
                    }
                }
                Some(selector)
            }
        };
        Ok(Selection {
            labels,
            fields,
            name: None,
        })
    }

    /// Of these only the object with this name.
    pub(crate) fn and_name(mut self, name: &str) -> Selection {
        self.name = Some(name.into());
        self
    }

    /// Whether everything is selected.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_none() && self.name.is_none()
    }

    /// Whether an object is selected.
    pub(crate) fn matches(&self, object: &Object) -> bool {
        let by_labels = self
            .labels
            .as_ref()
            .is_none_or(|selector| selector.matches(&*object.labels));
        let by_name = self
            .name
            .as_ref()
            .is_none_or(|name| **name == *object.key.name);
        by_labels
            && by_name
            && self
                .fields
                .as_ref()
                .is_none_or(|selector| selector.matches(&*object.fields))
    }
}
