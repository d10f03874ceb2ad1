//! Which label names which kind of object.

use std::collections::BTreeMap;

use regex::Regex;
use springtide_machinery::registry::{Registry, Resource};
use std::sync::Arc;

use super::config::{GroupResource, ResourcesConfig};
use super::template::{Template, Values};
use crate::series_store::Labels;

/// A kind of object that metrics can be of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKind {
    /// The API group; empty for the core group.
    pub group: String,
    /// As in `pods`.
    pub plural: String,
}

/// From labels to kinds and back.
#[derive(Clone, Debug)]
pub(super) struct ResourceLabels {
    by_label: BTreeMap<String, ObjectKind>,
    by_kind: BTreeMap<ObjectKind, String>,
    template: Option<(Template, Regex, Vec<String>)>,
}

impl ObjectKind {
    /// The kind of namespaces.
    #[must_use]
    pub fn namespaces() -> ObjectKind {
        ObjectKind {
            group: String::new(),
            plural: "namespaces".to_owned(),
        }
    }

    /// Finds a kind by any of its names.
    #[must_use]
    pub fn find(group: &str, name: &str) -> Option<ObjectKind> {
        let resource = row(group, name)?;
        Some(ObjectKind {
            group: resource.group.to_string(),
            plural: resource.plural.to_string(),
        })
    }

    /// The row of the table of kinds.
    #[must_use]
    pub fn row(&self) -> Option<Arc<Resource>> {
        row(&self.group, &self.plural)
    }

    /// As in `pods` or `deployments.apps`.
    #[must_use]
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }
}

/// The first kind of the table with one of these names; the group may be left out, as kubectl's users do.
fn row(group: &str, name: &str) -> Option<Arc<Resource>> {
    let registry = Registry::builtin();
    let name = name.to_ascii_lowercase();
    let found = registry.iter().find(|resource| {
        (group.is_empty() || resource.group == group)
            && (resource.plural == name.as_str()
                || resource.singular == name.as_str()
                || resource
                    .short_names
                    .iter()
                    .any(|short| *short == name.as_str()))
    });
    found.cloned()
}

impl ResourceLabels {
    pub(super) fn new(config: &ResourcesConfig) -> Result<ResourceLabels, String> {
        let mut labels = ResourceLabels {
            by_label: BTreeMap::new(),
            by_kind: BTreeMap::new(),
            template: None,
        };
        if !config.template.is_empty() {
            let template = Template::parse(&config.template, &["Resource", "Group"], false)?;
            let (pattern, names) = template.recogniser();
            let pattern = Regex::new(&pattern).map_err(|error| error.to_string())?;
            if !names.iter().any(|name| name == "Resource") {
                return Err(format!(
                    "the template {:?} must hold <<.Resource>>",
                    config.template
                ));
            }
            labels.template = Some((template, pattern, names));
        }
        for (label, GroupResource { group, resource }) in &config.overrides {
            let kind = ObjectKind::find(group, resource).ok_or_else(|| {
                format!(
                    "overrides.{label}: there is no resource {resource:?} in the group {group:?}"
                )
            })?;
            labels.by_label.insert(label.clone(), kind.clone());
            labels.by_kind.insert(kind, label.clone());
        }
        Ok(labels)
    }

    /// The label that names objects of a kind.
    pub(super) fn label_of(&self, kind: &ObjectKind) -> Option<String> {
        if let Some(label) = self.by_kind.get(kind) {
            return Some(label.clone());
        }
        let (template, ..) = self.template.as_ref()?;
        let singular = kind.row()?.singular.to_string();
        let group = kind.group.replace(['.', '-'], "_");
        let texts = BTreeMap::from([("Resource", singular), ("Group", group)]);
        Some(template.fill(&Values {
            texts,
            ..Values::default()
        }))
    }

    /// The kinds of objects that a series names, and whether it names a namespace.
    pub(super) fn kinds_of(&self, series: &Labels) -> (Vec<ObjectKind>, bool) {
        let kinds: Vec<ObjectKind> = series
            .iter()
            .filter_map(|(label, _)| self.kind_of(label))
            .collect();
        let namespaced = kinds.contains(&ObjectKind::namespaces());
        (kinds, namespaced)
    }

    fn kind_of(&self, label: &str) -> Option<ObjectKind> {
        if let Some(kind) = self.by_label.get(label) {
            return Some(kind.clone());
        }
        let (_, pattern, names) = self.template.as_ref()?;
        let found = pattern.captures(label)?;
        let part = |wanted: &str| {
            let at = names.iter().position(|name| name == wanted)?;
            Some(found.get(at + 1)?.as_str())
        };
        let resource = part("Resource")?;
        let Some(group) = part("Group") else {
            return ObjectKind::find("", resource);
        };
        // In a label a group's dots are underscores.
        let registry = Registry::builtin();
        let groups = registry.iter().map(|resource| resource.group.to_string());
        let group = groups
            .into_iter()
            .find(|known| known.replace(['.', '-'], "_") == group)?;
        let kind = ObjectKind::find(&group, resource)?;
        (kind.group == group).then_some(kind)
    }
}
