//! Passwords, tokens and certificates of a monitor's endpoint, which stand in Secrets and ConfigMaps of its namespace.

use std::fmt;

use k8s_openapi::api::core::v1::SecretKeySelector;
use serde_json::json;

use super::spec::{Endpoint, SecretOrConfigMap, Tls};
use crate::config::{Authorization, BasicAuth, ScrapeConfig, Secret, TlsConfig};

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source<'a> {
    /// In a Secret.
    Secret {
        /// Its name.
        name: &'a str,
        /// The key in it.
        key: &'a str,
    },
    /// In a ConfigMap.
    ConfigMap {
        /// Its name.
        name: &'a str,
        /// The key in it.
        key: &'a str,
    },
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name, key) = match self {
            Source::Secret { name, key } => ("Secret", name, key),
            Source::ConfigMap { name, key } => ("ConfigMap", name, key),
        };
        write!(f, "key {key:?} of {kind} {name:?}")
    }
}

/// Finds what stands somewhere: an error says that it does not, and nothing that it cannot be known yet.
pub(super) type Keys<'a> = dyn Fn(&Source<'_>) -> Result<Option<String>, String> + 'a;

/// Adds to a job how its targets are spoken to.
pub(super) fn add(
    job: &mut ScrapeConfig,
    endpoint: &Endpoint,
    keys: &Keys<'_>,
) -> Result<(), String> {
    if let Some(basic) = &endpoint.basic_auth {
        job.basic_auth = Some(BasicAuth {
            username: secret(basic.username.as_ref(), keys)?.unwrap_or_default(),
            password: secret(basic.password.as_ref(), keys)?.map(Secret::new),
            ..BasicAuth::default()
        });
    }
    if let Some(authorization) = &endpoint.authorization {
        job.authorization = Some(Authorization {
            kind: authorization.kind.clone(),
            credentials: secret(authorization.credentials.as_ref(), keys)?.map(Secret::new),
            ..Authorization::default()
        });
    }
    // An empty reference is what the operator's own objects have where they mean none.
    let token = endpoint.bearer_token_secret.as_ref();
    let token = token.filter(|token| !token.key.is_empty());
    job.bearer_token = secret(token, keys)?.map(|token| Secret::new(token.trim()));
    if let Some(tls) = &endpoint.tls_config {
        job.tls_config = Some(tls_config(tls, keys)?);
    }
    job.http_client().check()
}

fn tls_config(tls: &Tls, keys: &Keys<'_>) -> Result<TlsConfig, String> {
    let version = |name: &str, version: &Option<String>| match version {
        None => Ok(None),
        Some(version) => serde_json::from_value(json!(version))
            .map(Some)
            .map_err(|error| format!("tlsConfig.{name}: {error}")),
    };
    Ok(TlsConfig {
        ca: either(tls.ca.as_ref(), keys)?,
        cert: either(tls.cert.as_ref(), keys)?,
        key: secret(tls.key_secret.as_ref(), keys)?.map(Secret::new),
        server_name: tls.server_name.clone(),
        insecure_skip_verify: tls.insecure_skip_verify,
        min_version: version("minVersion", &tls.min_version)?,
        max_version: version("maxVersion", &tls.max_version)?,
        ..TlsConfig::default()
    })
}

fn secret(selector: Option<&SecretKeySelector>, keys: &Keys<'_>) -> Result<Option<String>, String> {
    let Some(selector) = selector else {
        return Ok(None);
    };
    let source = Source::Secret {
        name: &selector.name,
        key: &selector.key,
    };
    found(&source, selector.optional, keys)
}

fn either(selector: Option<&SecretOrConfigMap>, keys: &Keys<'_>) -> Result<Option<String>, String> {
    let Some(selector) = selector else {
        return Ok(None);
    };
    match (&selector.secret, &selector.config_map) {
        (Some(_), Some(_)) => {
            Err("tlsConfig: only one of secret and configMap must be set".to_owned())
        }
        (None, Some(map)) => {
            let source = Source::ConfigMap {
                name: &map.name,
                key: &map.key,
            };
            found(&source, map.optional, keys)
        }
        (of_secret, None) => secret(of_secret.as_ref(), keys),
    }
}

fn found(
    source: &Source<'_>,
    optional: Option<bool>,
    keys: &Keys<'_>,
) -> Result<Option<String>, String> {
    match keys(source) {
        Err(_) if optional == Some(true) => Ok(None),
        found => found,
    }
}
