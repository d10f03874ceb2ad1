//! What a request is about: its path and its query, taken apart without copying.

use std::borrow::Cow;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// `/healthz`, `/livez`, `/readyz` and their single checks.
    Health {
        /// The first part, as in `readyz`.
        endpoint: &'a str,
        /// The single check, as in `ping`; empty for all.
        check: &'a str,
    },
    /// `/metrics`.
    Metrics,
    /// `/version`.
    Version,
    /// `/`.
    Root,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(&'a str),
    /// `/api/v1` or `/apis/GROUP/VERSION`; the core group is "".
    GroupVersion(&'a str, &'a str),
    /// `/openapi/v2`.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiV3Index,
    /// `/openapi/v3/` and `api/v1` or `apis/GROUP/VERSION`.
    OpenApiV3(&'a str),
    /// Anything below a group version.
    Resource(ResourcePath<'a>),
    /// Nothing that is served.
    Unknown,
}

/// The parts of `/apis/GROUP/VERSION/namespaces/NAMESPACE/PLURAL/NAME/SUBRESOURCE`.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct ResourcePath<'a> {
    /// The API group, "" for the core group.
    pub(crate) group: &'a str,
    /// The version, as in `v1`.
    pub(crate) version: &'a str,
    /// The namespace, if one was named.
    pub(crate) namespace: Option<Cow<'a, str>>,
    /// The resource's plural.
    pub(crate) plural: Cow<'a, str>,
    /// The object's name, if one was named.
    pub(crate) name: Option<Cow<'a, str>>,
    /// The subresource, if one was named.
    pub(crate) subresource: Option<&'a str>,
    /// What follows the subresource, with its slash; empty if nothing does.
    pub(crate) rest: &'a str,
}

impl<'a> Target<'a> {
    /// Takes a path apart.
    pub(crate) fn parse(path: &'a str) -> Target<'a> {
        let trimmed = path.strip_prefix('/').unwrap_or(path);
        let (first, rest) = split(trimmed);
        match first {
            "api" => versions("", rest, Target::CoreVersions),
            "apis" => {
                if rest.is_empty() {
                    return Target::Groups;
                }
                let (group, rest) = split(rest);
                versions(group, rest, Target::Group(group))
            }
            "healthz" | "livez" | "readyz" => Target::Health {
                endpoint: first,
                check: rest.trim_end_matches('/'),
            },
            "metrics" if rest.is_empty() => Target::Metrics,
            "version" if rest.is_empty() => Target::Version,
            "openapi" => match split(rest) {
                ("v2", "") => Target::OpenApiV2,
                ("v3", "") => Target::OpenApiV3Index,
                ("v3", group_version) => Target::OpenApiV3(group_version),
                _ => Target::Unknown,
            },
            "" => Target::Root,
            _ => Target::Unknown,
        }
    }
}

/// `rest` follows `/api/` or `/apis/GROUP/`.
fn versions<'a>(group: &'a str, rest: &'a str, without: Target<'a>) -> Target<'a> {
    let (version, rest) = split(rest);
    if version.is_empty() {
        return without;
    }
    if rest.is_empty() {
        return Target::GroupVersion(group, version);
    }
    Target::Resource(resource(group, version, rest))
}

fn resource<'a>(group: &'a str, version: &'a str, path: &'a str) -> ResourcePath<'a> {
    let (first, after_first) = split(path);
    if first == "namespaces" && !after_first.is_empty() {
        let (namespace, inside) = split(after_first);
        // `namespaces/X/status` and `namespaces/X/finalize` are parts of the namespace itself.
        let of_namespace = matches!(inside, "" | "status" | "finalize");
        if of_namespace {
            return ResourcePath {
                group,
                version,
                namespace: None,
                plural: Cow::Borrowed(first),
                name: Some(decode(namespace)),
                subresource: (!inside.is_empty()).then_some(inside),
                rest: "",
            };
        }
        let (plural, after) = split(inside);
        return place(group, version, Some(decode(namespace)), plural, after);
    }
    place(group, version, None, first, after_first)
}

fn place<'a>(
    group: &'a str,
    version: &'a str,
    namespace: Option<Cow<'a, str>>,
    plural: &'a str,
    after: &'a str,
) -> ResourcePath<'a> {
    let (name, after) = split(after);
    let (subresource, rest) = match after.find('/') {
        Some(slash) => after.split_at(slash),
        None => (after, ""),
    };
    ResourcePath {
        group,
        version,
        namespace,
        plural: decode(plural),
        name: (!name.is_empty()).then(|| decode(name)),
        subresource: (!subresource.is_empty()).then_some(subresource),
        rest,
    }
}

fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode(text, false)
}

/// Decodes `%41`, and `+` as a space in queries. What is no valid escape stays as it is.
fn percent_decode(text: &str, plus_is_space: bool) -> Cow<'_, str> {
    let coded = |byte: u8| byte == b'%' || (plus_is_space && byte == b'+');
    if !text.bytes().any(coded) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |place: usize| {
            let digit = char::from(*bytes.get(place)?).to_digit(16)?;
            u8::try_from(digit).ok()
        };
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high << 4 | low);
                at += 3;
            }
            (b'+', ..) if plus_is_space => {
                decoded.push(b' ');
                at += 1;
            }
            (byte, ..) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// The parameters of a query string, in order.
#[derive(Debug, Default)]
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    /// Takes a query string apart.
    pub(crate) fn parse(query: Option<&'a str>) -> Query<'a> {
        let pairs = query.unwrap_or_default().split('&').filter_map(|pair| {
            if pair.is_empty() {
                return None;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((percent_decode(name, true), percent_decode(value, true)))
        });
        Query(pairs.collect())
    }

    /// The first value of a parameter, if it was given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(candidate, _)| candidate == name)
            .map(|(_, value)| &**value)
    }

    /// The first value of a parameter that is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(crate) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0
            .iter()
            .filter(move |(candidate, _)| candidate == name)
            .map(|(_, value)| &**value)
    }

    /// A switch as Kubernetes reads it: given and neither `false` nor `0`.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        let value = self.get(name)?;
        Some(!(value.eq_ignore_ascii_case("false") || value == "0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource_of(path: &str) -> ResourcePath<'_> {
        match Target::parse(path) {
            Target::Resource(resource) => resource,
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn paths_name_what_kubernetes_says_they_name() {
        let cases = [
            ("/api", Target::CoreVersions),
            ("/api/", Target::CoreVersions),
            ("/apis", Target::Groups),
            ("/apis/apps", Target::Group("apps")),
            ("/apis/apps/v1", Target::GroupVersion("apps", "v1")),
            ("/api/v1", Target::GroupVersion("", "v1")),
            ("/openapi/v3", Target::OpenApiV3Index),
            (
                "/openapi/v3/apis/apps/v1",
                Target::OpenApiV3("apis/apps/v1"),
            ),
            (
                "/readyz/ping",
                Target::Health {
                    endpoint: "readyz",
                    check: "ping",
                },
            ),
            ("/nonsense", Target::Unknown),
        ];
        for (path, target) in cases {
            assert_eq!(Target::parse(path), target, "{path}");
        }
    }

    #[test]
    fn a_resource_path_is_taken_apart() {
        let pods = resource_of("/api/v1/namespaces/shop/pods/web/log");
        assert_eq!(pods.namespace.as_deref(), Some("shop"));
        assert_eq!(pods.plural, "pods");
        assert_eq!(pods.name.as_deref(), Some("web"));
        assert_eq!(pods.subresource, Some("log"));

        let namespace = resource_of("/api/v1/namespaces/shop/finalize");
        assert_eq!(namespace.namespace, None);
        assert_eq!(namespace.plural, "namespaces");
        assert_eq!(namespace.name.as_deref(), Some("shop"));
        assert_eq!(namespace.subresource, Some("finalize"));

        let proxy = resource_of("/api/v1/nodes/n1/proxy/metrics/resource");
        assert_eq!(proxy.subresource, Some("proxy"));
        assert_eq!(proxy.rest, "/metrics/resource");

        let everywhere = resource_of("/apis/apps/v1/deployments");
        assert_eq!((everywhere.group, everywhere.version), ("apps", "v1"));
        assert_eq!(everywhere.namespace, None);
        assert_eq!(everywhere.name, None);
    }

    #[test]
    fn escapes_are_decoded_and_broken_ones_kept() {
        assert_eq!(
            resource_of("/api/v1/nodes/a%3Ab").name.as_deref(),
            Some("a:b")
        );
        assert_eq!(percent_decode("100%", false), "100%");
        let query = Query::parse(Some("labelSelector=app%3Dweb%2Ctier+in+%28a%29&watch"));
        assert_eq!(query.get("labelSelector"), Some("app=web,tier in (a)"));
        assert_eq!(query.flag("watch"), Some(true));
        assert_eq!(query.flag("follow"), None);
        assert_eq!(Query::parse(Some("watch=0")).flag("watch"), Some(false));
    }
}
