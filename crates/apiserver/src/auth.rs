//! Who asks, and what they may do.
//!
//! A connection's client certificate says who asks: the common name is the user, the
//! organizations are the groups. In-process clients carry a [`UserInfo`] as a request extension,
//! which nothing that comes over a socket can set.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, header};
use springtide_machinery::error::{ApiError, GroupResource, quote};

use crate::request::{Query, ResourcePath, Target};

/// The group whose members may do everything.
pub const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";
const ANONYMOUS: &str = "system:anonymous";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// The user's name, as in `system:kube-scheduler`.
    pub name: Arc<str>,
    /// The groups the user is in.
    pub groups: Arc<[Arc<str>]>,
}

/// Put by the socket layer on requests whose credentials are wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BadCredentials;

impl UserInfo {
    /// An authenticated user; `system:authenticated` is added to the groups.
    #[must_use]
    pub fn new<'a>(name: &str, groups: impl IntoIterator<Item = &'a str>) -> UserInfo {
        let mut all: Vec<Arc<str>> = groups.into_iter().map(Arc::from).collect();
        if !all.iter().any(|group| &**group == AUTHENTICATED) {
            all.push(AUTHENTICATED.into());
        }
        UserInfo {
            name: name.into(),
            groups: all.into(),
        }
    }

    /// A part of the program itself, which may do everything.
    #[must_use]
    pub fn component(name: &str) -> UserInfo {
        UserInfo::new(name, [MASTERS])
    }

    /// Nobody known.
    #[must_use]
    pub fn anonymous() -> UserInfo {
        UserInfo {
            name: ANONYMOUS.into(),
            groups: [Arc::from(UNAUTHENTICATED)].into(),
        }
    }

    /// Whether the user is in a group.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|candidate| &**candidate == group)
    }
}

/// Says who sends a request, or that their credentials are wrong.
pub(crate) fn authenticate(parts: &Parts) -> Result<UserInfo, ApiError> {
    if let Some(user) = parts.extensions.get::<UserInfo>() {
        return Ok(user.clone());
    }
    // No tokens are issued, so every token is a wrong one.
    let wrong = parts.extensions.get::<BadCredentials>().is_some()
        || parts.headers.contains_key(header::AUTHORIZATION);
    if wrong {
        return Err(ApiError::unauthorized("Unauthorized"));
    }
    Ok(UserInfo::anonymous())
}

/// What is asked for, in the terms of access reviews.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Attributes<'a> {
    /// A resource.
    Resource {
        /// As in `list`.
        verb: &'a str,
        /// The API group.
        group: &'a str,
        /// The plural, with `/SUBRESOURCE` if there is one.
        resource: String,
        /// The namespace; empty for all, or none.
        namespace: &'a str,
        /// The object's name; empty if none was named.
        name: &'a str,
    },
    /// A path that names no resource.
    Path {
        /// As in `get`.
        verb: &'a str,
        /// As in `/version`.
        path: &'a str,
    },
}

impl<'a> Attributes<'a> {
    /// The attributes of a request for a resource.
    pub(crate) fn of_resource(verb: &'a str, path: &'a ResourcePath<'a>) -> Attributes<'a> {
        let resource = match path.subresource {
            Some(subresource) => format!("{}/{subresource}", path.plural),
            None => path.plural.to_string(),
        };
        Attributes::Resource {
            verb,
            group: path.group,
            resource,
            namespace: path.namespace.as_deref().unwrap_or_default(),
            name: path.name.as_deref().unwrap_or_default(),
        }
    }
}

/// The verb of a request for a resource.
pub(crate) fn resource_verb(
    method: &Method,
    path: &ResourcePath<'_>,
    query: &Query<'_>,
) -> &'static str {
    let named = path.name.is_some();
    match *method {
        Method::GET | Method::HEAD if named && path.subresource.is_some() => "get",
        Method::GET | Method::HEAD => {
            if query.flag("watch").unwrap_or(false) && !named {
                "watch"
            } else if named {
                "get"
            } else {
                "list"
            }
        }
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => "",
    }
}

/// Whether the user may do it.
pub(crate) fn allowed(user: &UserInfo, wanted: &Attributes<'_>) -> bool {
    if user.is_in(MASTERS) {
        return true;
    }
    match wanted {
        Attributes::Path { verb: "get", path } => {
            let open = matches!(Target::parse(path), Target::Health { .. } | Target::Version);
            let discovery = matches!(
                Target::parse(path),
                Target::Root
                    | Target::CoreVersions
                    | Target::Groups
                    | Target::Group(_)
                    | Target::GroupVersion(..)
                    | Target::OpenApiV2
                    | Target::OpenApiV3Index
                    | Target::OpenApiV3(_)
            );
            open || (discovery && user.is_in(AUTHENTICATED))
        }
        Attributes::Path { .. } => false,
        Attributes::Resource {
            verb,
            group,
            resource,
            ..
        } => {
            let about_self = matches!(
                (*group, resource.as_str()),
                (
                    "authorization.k8s.io",
                    "selfsubjectaccessreviews" | "selfsubjectrulesreviews"
                ) | ("authentication.k8s.io", "selfsubjectreviews")
            );
            about_self && *verb == "create" && user.is_in(AUTHENTICATED)
        }
    }
}

/// Refuses what the user may not do, in Kubernetes' words.
pub(crate) fn authorize(user: &UserInfo, wanted: &Attributes<'_>) -> Result<(), ApiError> {
    if allowed(user, wanted) {
        return Ok(());
    }
    let who = quote(&user.name);
    Err(match wanted {
        Attributes::Path { verb, path } => ApiError::forbidden(
            GroupResource::new("", ""),
            "",
            format!("User {who} cannot {verb} path {}", quote(path)),
        ),
        Attributes::Resource {
            verb,
            group,
            resource,
            namespace,
            name,
        } => {
            let plural = resource.split('/').next().unwrap_or_default();
            let place = if namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {}", quote(namespace))
            };
            ApiError::forbidden(
                GroupResource::new(group, plural),
                name,
                format!(
                    "User {who} cannot {verb} resource {} in API group {} {place}",
                    quote(resource),
                    quote(group),
                ),
            )
        }
    })
}

/// The user a client certificate names; none if it names nobody.
pub(crate) fn user_of_certificate(der: &[u8]) -> Option<UserInfo> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    let groups = subject
        .iter_organization()
        .filter_map(|group| group.as_str().ok());
    (!name.is_empty()).then(|| UserInfo::new(name, groups))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_may_ask_for_health_and_version_only() {
        let nobody = UserInfo::anonymous();
        for path in ["/healthz", "/livez/ping", "/readyz", "/version"] {
            assert!(
                allowed(&nobody, &Attributes::Path { verb: "get", path }),
                "{path}"
            );
        }
        let refused = authorize(
            &nobody,
            &Attributes::Path {
                verb: "get",
                path: "/api",
            },
        )
        .expect_err("refused");
        assert_eq!(refused.code(), 403);
        assert_eq!(
            refused.message(),
            "forbidden: User \"system:anonymous\" cannot get path \"/api\""
        );
    }

    #[test]
    fn a_refusal_says_who_may_not_do_what_where() {
        let wanted = Attributes::Resource {
            verb: "list",
            group: "apps",
            resource: "deployments".to_owned(),
            namespace: "shop",
            name: "",
        };
        let jane = UserInfo::new("jane", ["devs"]);
        let refused = authorize(&jane, &wanted).expect_err("refused");
        assert_eq!(
            refused.message(),
            "deployments.apps is forbidden: User \"jane\" cannot list resource \"deployments\" in API group \"apps\" in the namespace \"shop\""
        );
        assert!(authorize(&UserInfo::component("me"), &wanted).is_ok());
    }
}
