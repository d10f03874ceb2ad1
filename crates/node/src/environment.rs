//! A container's environment: literals, ConfigMaps, Secrets, the downward API, Services, and the
//! expansion of `$(VAR)`.
//!
//! [`references`] says which objects a container needs, the kubelet fetches them into [`Sources`],
//! and [`container_env`] decides the variables from them without asking anybody.

mod downward;
mod expand;
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvFromSource, EnvVarSource, Pod, Secret, Service,
};

pub use downward::{Facts, field, format_map, resource_field};
pub use expand::expand;
pub use services::service_variables;

/// The objects that a container's environment and volumes refer to, as far as they exist.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// ConfigMaps of the pod's namespace by name.
    pub config_maps: BTreeMap<String, Arc<ConfigMap>>,
    /// Secrets of the pod's namespace by name.
    pub secrets: BTreeMap<String, Arc<Secret>>,
    /// Services of the pod's namespace, and `default/kubernetes`.
    pub services: Vec<Arc<Service>>,
}

/// The names of the objects that something refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// ConfigMaps.
    pub config_maps: BTreeSet<String>,
    /// Secrets.
    pub secrets: BTreeSet<String>,
}

impl References {
    /// Whether nothing is referred to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.config_maps.is_empty() && self.secrets.is_empty()
    }
}

/// Why a container's configuration cannot be made: the message of `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A ConfigMap that is not optional does not exist.
    #[error("configmap \"{0}\" not found")]
    NoConfigMap(String),
    /// A Secret that is not optional does not exist.
    #[error("secret \"{0}\" not found")]
    NoSecret(String),
    /// A ConfigMap or Secret lacks a key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// The key.
        key: String,
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
    },
    /// A field that the downward API does not offer.
    #[error("unsupported fieldPath: {0}")]
    UnsupportedField(String),
    /// A resource that the downward API does not offer.
    #[error("unsupported container resource: {0}")]
    UnsupportedResource(String),
    /// A quantity that cannot be read.
    #[error("invalid quantity: {0}")]
    Quantity(String),
    /// A container named in a resource reference does not exist.
    #[error("container {0} not found")]
    NoContainer(String),
    /// The container must not run as root, but would.
    #[error("{0}")]
    Identity(String),
    /// A path that leaves its volume, or a volume that does not exist.
    #[error("{0}")]
    Mount(String),
}

/// The objects that the container's environment refers to.
#[must_use]
pub fn references(container: &Container) -> References {
    let mut found = References::default();
    for source in container.env_from.iter().flatten() {
        if let Some(reference) = &source.config_map_ref {
            found.config_maps.insert(reference.name.clone());
        }
        if let Some(reference) = &source.secret_ref {
            found.secrets.insert(reference.name.clone());
        }
    }
    let sources = container.env.iter().flatten();
    for source in sources.filter_map(|variable| variable.value_from.as_ref()) {
        if let Some(selector) = &source.config_map_key_ref {
            found.config_maps.insert(selector.name.clone());
        }
        if let Some(selector) = &source.secret_key_ref {
            found.secrets.insert(selector.name.clone());
        }
    }
    found
}

/// The container's variables in the order in which they are set.
///
/// Variables of the manifest come first, as they may be referred to by later ones; a Service's
/// variable never replaces one of the manifest.
///
/// # Errors
/// What is missing, in the words of `CreateContainerConfigError`.
pub fn container_env(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    facts: &Facts,
) -> Result<Vec<(String, String)>, ConfigError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let links = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.enable_service_links)
        .unwrap_or(true);
    let mut from_services = service_variables(&sources.services, namespace, links);
    let mut set = Variables::default();

    for source in container.env_from.iter().flatten() {
        for (name, value) in env_from(source, sources)? {
            set.put(name, value);
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(text), _) if !text.is_empty() => Some(expand(text, |name| {
                set.get(name)
                    .or_else(|| from_services.get(name).map(String::as_str))
                    .map(str::to_owned)
            })),
            (_, Some(source)) => value_from(pod, container, source, sources, facts)?,
            _ => Some(String::new()),
        };
        from_services.remove(&variable.name);
        if let Some(value) = value {
            set.put(variable.name.clone(), value);
        }
    }
    for (name, value) in from_services {
        if set.get(&name).is_none() {
            set.put(name, value);
        }
    }
    Ok(set.in_order)
}

/// The container's command line with variables expanded; empty when the manifest names none.
#[must_use]
pub fn command_line(container: &Container, env: &[(String, String)]) -> Vec<String> {
    let by_name: BTreeMap<&str, &str> = env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let words = container
        .command
        .iter()
        .flatten()
        .chain(container.args.iter().flatten());
    words
        .map(|word| {
            expand(word, |name| {
                by_name.get(name).map(|&value| value.to_owned())
            })
        })
        .collect()
}

/// Variables in the order of their first appearance, each with its last value.
#[derive(Default)]
struct Variables {
    in_order: Vec<(String, String)>,
    position: BTreeMap<String, usize>,
}

impl Variables {
    fn put(&mut self, name: String, value: String) {
        if let Some(&at) = self.position.get(&name) {
            self.in_order[at].1 = value;
            return;
        }
        self.position.insert(name.clone(), self.in_order.len());
        self.in_order.push((name, value));
    }

    fn get(&self, name: &str) -> Option<&str> {
        let at = *self.position.get(name)?;
        Some(self.in_order[at].1.as_str())
    }
}

fn env_from(
    source: &EnvFromSource,
    sources: &Sources,
) -> Result<Vec<(String, String)>, ConfigError> {
    let prefix = source.prefix.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    if let Some(reference) = &source.config_map_ref {
        match sources.config_maps.get(&reference.name) {
            Some(map) => {
                for (key, value) in map.data.iter().flatten() {
                    found.push((format!("{prefix}{key}"), value.clone()));
                }
            }
            None if reference.optional == Some(true) => {}
            None => return Err(ConfigError::NoConfigMap(reference.name.clone())),
        }
    }
    if let Some(reference) = &source.secret_ref {
        match sources.secrets.get(&reference.name) {
            Some(secret) => {
                for (key, value) in secret.data.iter().flatten() {
                    let text = String::from_utf8_lossy(&value.0).into_owned();
                    found.push((format!("{prefix}{key}"), text));
                }
            }
            None if reference.optional == Some(true) => {}
            None => return Err(ConfigError::NoSecret(reference.name.clone())),
        }
    }
    Ok(found)
}

/// The value that a source gives; `None` when an optional object or key is missing.
fn value_from(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    sources: &Sources,
    facts: &Facts,
) -> Result<Option<String>, ConfigError> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    if let Some(reference) = &source.field_ref {
        return field(pod, &reference.field_path, facts).map(Some);
    }
    if let Some(reference) = &source.resource_field_ref {
        return resource_field(pod, Some(container), reference, facts).map(Some);
    }
    if let Some(selector) = &source.config_map_key_ref {
        let optional = selector.optional == Some(true);
        let Some(map) = sources.config_maps.get(&selector.name) else {
            return missing(optional, || ConfigError::NoConfigMap(selector.name.clone()));
        };
        let value = map.data.as_ref().and_then(|data| data.get(&selector.key));
        return match value {
            Some(value) => Ok(Some(value.clone())),
            None => missing(optional, || ConfigError::NoKey {
                key: selector.key.clone(),
                kind: "ConfigMap",
                namespace,
                name: selector.name.clone(),
            }),
        };
    }
    if let Some(selector) = &source.secret_key_ref {
        let optional = selector.optional == Some(true);
        let Some(secret) = sources.secrets.get(&selector.name) else {
            return missing(optional, || ConfigError::NoSecret(selector.name.clone()));
        };
        let value = secret
            .data
            .as_ref()
            .and_then(|data| data.get(&selector.key));
        return match value {
            Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
            None => missing(optional, || ConfigError::NoKey {
                key: selector.key.clone(),
                kind: "Secret",
                namespace,
                name: selector.name.clone(),
            }),
        };
    }
    Ok(Some(String::new()))
}

fn missing(
    optional: bool,
    error: impl FnOnce() -> ConfigError,
) -> Result<Option<String>, ConfigError> {
    if optional { Ok(None) } else { Err(error()) }
}

#[cfg(test)]
mod tests;
