//! Discovery: which groups, versions and resources there are.
//!
//! Two forms: the legacy one, a document per group version, and the aggregated one, which tells
//! all at once to clients that ask for it.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use springtide_machinery::error::ApiError;
use springtide_machinery::registry::{Found, Registry};

use crate::aggregate::Aggregated;
use crate::negotiate::media_ranges;
use crate::respond;
use crate::reviews;

/// Answers discovery.
pub(crate) struct Discovery {
    registry: Registry,
    /// Where the API is reached, as in `127.0.0.1:6443`.
    advertised: String,
}

struct Group {
    name: String,
    /// The preferred one first.
    versions: Vec<Version>,
}

struct Version {
    name: String,
    resources: Vec<Described>,
}

struct Described {
    plural: String,
    singular: String,
    kind: String,
    namespaced: bool,
    verbs: Vec<String>,
    short_names: Vec<String>,
    categories: Vec<String>,
    subresources: Vec<Part>,
}

struct Part {
    name: &'static str,
    /// Group, version and kind of its bodies.
    kind: (String, String, String),
    verbs: Vec<String>,
}

impl Discovery {
    /// Tells of a registry.
    pub(crate) fn new(registry: Registry, advertised: String) -> Discovery {
        Discovery {
            registry,
            advertised,
        }
    }

    /// All groups: those of the registry in table order, then the reviews', then other parts'.
    fn all(&self, aggregated: &Aggregated) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut add = |group: &str, version: &str, resources: Vec<Described>| {
            let version = Version {
                name: version.to_owned(),
                resources,
            };
            match groups.iter_mut().find(|known| known.name == group) {
                Some(known) => known.versions.push(version),
                None => groups.push(Group {
                    name: group.to_owned(),
                    versions: vec![version],
                }),
            }
        };
        for (group, version) in self.registry.group_versions() {
            let found = self.registry.in_group_version(&group, &version);
            add(&group, &version, found.iter().map(described).collect());
        }
        for group in ["authentication.k8s.io", "authorization.k8s.io"] {
            let rows = reviews::ROWS.iter().filter(|row| row.group == group);
            let resources = rows.map(|row| Described {
                plural: row.plural.to_owned(),
                singular: row.singular.to_owned(),
                kind: row.kind.to_owned(),
                namespaced: row.namespaced,
                verbs: vec!["create".to_owned()],
                short_names: Vec::new(),
                categories: Vec::new(),
                subresources: Vec::new(),
            });
            add(group, "v1", resources.collect());
        }
        for version in aggregated.all() {
            let resources = version.resources.iter().map(|resource| Described {
                plural: resource.plural.clone(),
                singular: resource.singular.clone(),
                kind: resource.kind.clone(),
                namespaced: resource.namespaced,
                verbs: resource.verbs.clone(),
                short_names: resource.short_names.clone(),
                categories: Vec::new(),
                subresources: Vec::new(),
            });
            add(&version.group, &version.version, resources.collect());
        }
        // The newest version first, which is the preferred one.
        for group in &mut groups {
            if aggregated
                .all()
                .iter()
                .any(|version| version.group == group.name)
            {
                group.versions.sort_by(|a, b| b.name.cmp(&a.name));
            }
        }
        groups
    }

    /// Answers `/`.
    pub(crate) fn paths(&self, aggregated: &Aggregated) -> Response {
        let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
        for group in self.all(aggregated) {
            if group.name.is_empty() {
                continue;
            }
            paths.push(format!("/apis/{}", group.name));
            for version in group.versions {
                paths.push(format!("/apis/{}/{}", group.name, version.name));
            }
        }
        paths.extend(
            [
                "/healthz",
                "/livez",
                "/metrics",
                "/openapi/v2",
                "/openapi/v3",
                "/readyz",
                "/version",
            ]
            .map(str::to_owned),
        );
        respond::json(StatusCode::OK, &json!({ "paths": paths }))
    }

    /// Answers `/api`.
    pub(crate) fn core_versions(
        &self,
        aggregated: &Aggregated,
        headers: &HeaderMap,
    ) -> Result<Response, ApiError> {
        let form = form(headers)?;
        if let Form::Aggregated(version) = form {
            let mut groups = self.all(aggregated);
            groups.retain(|group| group.name.is_empty());
            return Ok(aggregated_answer(&groups, version, headers));
        }
        let versions = json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [
                {"clientCIDR": "0.0.0.0/0", "serverAddress": self.advertised},
            ],
        });
        Ok(respond::json(StatusCode::OK, &versions))
    }

    /// Answers `/apis`.
    pub(crate) fn groups(
        &self,
        aggregated: &Aggregated,
        headers: &HeaderMap,
    ) -> Result<Response, ApiError> {
        let form = form(headers)?;
        let mut groups = self.all(aggregated);
        groups.retain(|group| !group.name.is_empty());
        if let Form::Aggregated(version) = form {
            return Ok(aggregated_answer(&groups, version, headers));
        }
        let list = json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": groups.iter().map(legacy_group).collect::<Vec<_>>(),
        });
        Ok(respond::json(StatusCode::OK, &list))
    }

    /// Answers `/apis/GROUP`.
    pub(crate) fn group(&self, aggregated: &Aggregated, name: &str) -> Result<Response, ApiError> {
        let groups = self.all(aggregated);
        let group = groups
            .iter()
            .find(|group| group.name == name && !name.is_empty())
            .ok_or_else(ApiError::unknown_resource)?;
        let mut answer = legacy_group(group);
        answer["kind"] = json!("APIGroup");
        answer["apiVersion"] = json!("v1");
        Ok(respond::json(StatusCode::OK, &answer))
    }

    /// Answers `/api/v1` and `/apis/GROUP/VERSION`.
    pub(crate) fn group_version(
        &self,
        aggregated: &Aggregated,
        group: &str,
        version: &str,
    ) -> Result<Response, ApiError> {
        let groups = self.all(aggregated);
        let found = groups
            .iter()
            .filter(|known| known.name == group)
            .flat_map(|known| &known.versions)
            .find(|known| known.name == version)
            .ok_or_else(ApiError::unknown_resource)?;
        let mut resources = Vec::new();
        for resource in &found.resources {
            let mut entry = json!({
                "name": resource.plural,
                "singularName": resource.singular,
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": resource.verbs,
            });
            if !resource.short_names.is_empty() {
                entry["shortNames"] = json!(resource.short_names);
            }
            if !resource.categories.is_empty() {
                entry["categories"] = json!(resource.categories);
            }
            resources.push(entry);
            for part in &resource.subresources {
                let (part_group, part_version, kind) = &part.kind;
                let mut entry = json!({
                    "name": format!("{}/{}", resource.plural, part.name),
                    "singularName": "",
                    "namespaced": resource.namespaced,
                    "kind": kind,
                    "verbs": part.verbs,
                });
                if part_group != group || part_version != version {
                    entry["group"] = json!(part_group);
                    entry["version"] = json!(part_version);
                }
                resources.push(entry);
            }
        }
        let list = json!({
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group_version(group, version),
            "resources": resources,
        });
        Ok(respond::json(StatusCode::OK, &list))
    }
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn described(found: &Found) -> Described {
    let resource = &found.resource;
    let served = found.served();
    let owned = |names: &[std::borrow::Cow<'static, str>]| {
        names.iter().map(|name| name.clone().into_owned()).collect()
    };
    let verbs = |verbs: &[&str]| verbs.iter().map(|&verb| verb.to_owned()).collect();
    let subresources = resource.subresources.iter().map(|part| {
        let (group, version, kind) =
            part.body_kind()
                .unwrap_or((&served.group, &served.version, &resource.kind));
        Part {
            name: part.name(),
            kind: (group.to_owned(), version.to_owned(), kind.to_owned()),
            verbs: verbs(part.verbs()),
        }
    });
    Described {
        plural: resource.plural.to_string(),
        singular: resource.singular.to_string(),
        kind: resource.kind.to_string(),
        namespaced: resource.namespaced,
        verbs: verbs(&resource.verbs),
        short_names: owned(&resource.short_names),
        categories: owned(&resource.categories),
        subresources: subresources.collect(),
    }
}

fn legacy_group(group: &Group) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| {
            json!({
                "groupVersion": group_version(&group.name, &version.name),
                "version": version.name,
            })
        })
        .collect();
    json!({
        "name": group.name,
        "versions": versions,
        "preferredVersion": versions.first(),
    })
}

/// Which form of discovery a client asks for.
#[derive(Clone, Copy)]
enum Form {
    Legacy,
    /// `v2` or `v2beta1`.
    Aggregated(&'static str),
}

fn form(headers: &HeaderMap) -> Result<Form, ApiError> {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .unwrap_or_default();
    if accept.is_empty() {
        return Ok(Form::Legacy);
    }
    for range in media_ranges(accept) {
        if !matches!(
            range.media_type,
            "application/json" | "application/*" | "*/*"
        ) {
            continue;
        }
        match (
            range.parameter("as"),
            range.parameter("g"),
            range.parameter("v"),
        ) {
            (None, ..) => return Ok(Form::Legacy),
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => {
                return Ok(Form::Aggregated("v2"));
            }
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => {
                return Ok(Form::Aggregated("v2beta1"));
            }
            _ => {}
        }
    }
    Err(ApiError::not_acceptable(&["application/json"]))
}

fn aggregated_answer(groups: &[Group], version: &str, headers: &HeaderMap) -> Response {
    let items: Vec<Value> = groups.iter().map(aggregated_group).collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    });
    let media_type =
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    tagged(headers, &media_type, list.to_string().into_bytes())
}

fn aggregated_group(group: &Group) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| {
            let resources = aggregated_resources(group, version);
            json!({"version": version.name, "resources": resources, "freshness": "Current"})
        })
        .collect();
    json!({
        "metadata": {"name": group.name, "creationTimestamp": null},
        "versions": versions,
    })
}

/// The resources of a version. One that is named as a part of another, as metrics are (`pods/http_requests`), is told
/// under a resource that only holds such parts: this form has no other place for it.
fn aggregated_resources(group: &Group, version: &Version) -> Vec<Value> {
    let mut told: Vec<Value> = Vec::new();
    for resource in &version.resources {
        let Some((parent, part)) = resource.plural.split_once('/') else {
            told.push(aggregated_resource(group, version, resource));
            continue;
        };
        let part = json!({
            "subresource": part,
            "responseKind": {"group": group.name, "version": version.name, "kind": resource.kind},
            "verbs": resource.verbs,
        });
        let scope = if resource.namespaced {
            "Namespaced"
        } else {
            "Cluster"
        };
        let known = told
            .iter_mut()
            .find(|known| known["resource"] == parent && known["scope"] == scope);
        match known.and_then(|known| known["subresources"].as_array_mut()) {
            Some(parts) => parts.push(part),
            None => told.push(json!({
                "resource": parent,
                "responseKind": {"group": "", "version": "", "kind": ""},
                "scope": scope,
                "singularResource": "",
                "verbs": [],
                "subresources": [part],
            })),
        }
    }
    told
}

fn aggregated_resource(group: &Group, version: &Version, resource: &Described) -> Value {
    let scope = if resource.namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": {"group": group.name, "version": version.name, "kind": resource.kind},
        "scope": scope,
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
    if !resource.subresources.is_empty() {
        let parts = resource.subresources.iter().map(|part| {
            let (group, version, kind) = &part.kind;
            json!({
                "subresource": part.name,
                "responseKind": {"group": group, "version": version, "kind": kind},
                "verbs": part.verbs,
            })
        });
        entry["subresources"] = parts.collect();
    }
    entry
}

/// Answers with a document that clients keep: 304 to those who have this very one.
pub(crate) fn tagged(
    headers: &HeaderMap,
    media_type: &str,
    body: impl Into<bytes::Bytes>,
) -> Response {
    let body = body.into();
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:016X}\"", hasher.finish());
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|candidate| candidate.trim().trim_start_matches("W/") == tag);
    let media_type = HeaderValue::from_str(media_type).unwrap_or(respond::JSON);
    let mut response = if known {
        respond::with_type(StatusCode::NOT_MODIFIED, media_type, Body::empty())
    } else {
        respond::with_type(StatusCode::OK, media_type, Body::from(body))
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}
