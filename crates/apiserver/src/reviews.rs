//! Reviews: questions about oneself and about others' rights, answered and not stored.

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use springtide_machinery::error::{ApiError, GroupResource};

use crate::api::read_object;
use crate::auth::{self, Attributes, UserInfo};
use crate::decode::Expected;
use crate::options::WriteOptions;
use crate::request::{Query, ResourcePath};
use crate::respond;

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// The kinds of reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Review {
    SelfSubject,
    SelfSubjectAccess,
    SelfSubjectRules,
    SubjectAccess,
    LocalSubjectAccess,
}

/// A review as discovery lists it.
pub(crate) struct Row {
    pub(crate) review: Review,
    pub(crate) group: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) namespaced: bool,
}

/// All reviews; each is served in version v1 of its group.
pub(crate) const ROWS: [Row; 5] = [
    Row {
        review: Review::SelfSubject,
        group: AUTHENTICATION,
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        singular: "selfsubjectreview",
        namespaced: false,
    },
    Row {
        review: Review::SelfSubjectAccess,
        group: AUTHORIZATION,
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        namespaced: false,
    },
    Row {
        review: Review::SelfSubjectRules,
        group: AUTHORIZATION,
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        namespaced: false,
    },
    Row {
        review: Review::SubjectAccess,
        group: AUTHORIZATION,
        kind: "SubjectAccessReview",
        plural: "subjectaccessreviews",
        singular: "subjectaccessreview",
        namespaced: false,
    },
    Row {
        review: Review::LocalSubjectAccess,
        group: AUTHORIZATION,
        kind: "LocalSubjectAccessReview",
        plural: "localsubjectaccessreviews",
        singular: "localsubjectaccessreview",
        namespaced: true,
    },
];

impl Review {
    /// The review a path names.
    pub(crate) fn find(path: &ResourcePath<'_>) -> Option<Review> {
        let named = path.name.is_some() || path.version != "v1";
        let row = ROWS
            .iter()
            .find(|row| row.group == path.group && row.plural == path.plural)?;
        (!named && row.namespaced == path.namespace.is_some()).then_some(row.review)
    }

    fn row(self) -> &'static Row {
        ROWS.iter()
            .find(|row| row.review == self)
            .unwrap_or(&ROWS[0])
    }

    /// Answers the question.
    pub(crate) async fn answer(
        self,
        user: &UserInfo,
        parts: &Parts,
        query: &Query<'_>,
        body: Body,
    ) -> Result<Response, ApiError> {
        let row = self.row();
        if parts.method != Method::POST {
            let resource = GroupResource::new(row.group, row.plural);
            let verb = parts.method.as_str().to_ascii_lowercase();
            return Err(ApiError::method_not_supported(resource, &verb));
        }
        let options = WriteOptions::parse(query, "CreateOptions")?;
        let mut decoded = read_object(parts, body, row.kind).await?;
        let api_version = format!("{}/v1", row.group);
        let expected = Expected {
            api_version: &api_version,
            kind: row.kind,
            schema: None,
        };
        let warnings = expected.check(&mut decoded, options.validation)?;
        let mut review = decoded.value;
        if !review["metadata"].is_object() {
            review["metadata"] = json!({});
        }
        review["status"] = match self {
            Review::SelfSubject => json!({"userInfo": {
                "username": &*user.name,
                "groups": groups(user),
            }}),
            Review::SelfSubjectAccess => access(user, &review["spec"])?,
            Review::SelfSubjectRules => rules(user),
            Review::SubjectAccess | Review::LocalSubjectAccess => {
                let spec = &review["spec"];
                let groups = spec["groups"].as_array().into_iter().flatten();
                let other = UserInfo::new(
                    spec["user"].as_str().unwrap_or_default(),
                    groups.filter_map(Value::as_str),
                );
                access(&other, spec)?
            }
        };
        let mut response = respond::json(StatusCode::CREATED, &review);
        respond::add_warnings(&mut response, &warnings);
        Ok(response)
    }
}

fn groups(user: &UserInfo) -> Vec<&str> {
    user.groups.iter().map(|group| &**group).collect()
}

fn access(user: &UserInfo, spec: &Value) -> Result<Value, ApiError> {
    let resource = &spec["resourceAttributes"];
    let path = &spec["nonResourceAttributes"];
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    if resource.is_null() == path.is_null() {
        return Err(ApiError::bad_request(
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    }
    let allowed = if resource.is_null() {
        let (verb, path) = (text(path, "verb"), text(path, "path"));
        auth::allowed(
            user,
            &Attributes::Path {
                verb: &verb,
                path: &path,
            },
        )
    } else {
        let mut plural = text(resource, "resource");
        let subresource = text(resource, "subresource");
        if !subresource.is_empty() {
            plural = format!("{plural}/{subresource}");
        }
        auth::allowed(
            user,
            &Attributes::Resource {
                verb: &text(resource, "verb"),
                group: &text(resource, "group"),
                resource: plural,
                namespace: &text(resource, "namespace"),
                name: &text(resource, "name"),
            },
        )
    };
    Ok(json!({ "allowed": allowed }))
}

fn rules(user: &UserInfo) -> Value {
    let everything = user.is_in(auth::MASTERS);
    let (resources, paths) = if everything {
        (
            json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]),
            json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]),
        )
    } else {
        (
            json!([
                {"verbs": ["create"], "apiGroups": [AUTHORIZATION],
                 "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]},
                {"verbs": ["create"], "apiGroups": [AUTHENTICATION],
                 "resources": ["selfsubjectreviews"]},
            ]),
            json!([{"verbs": ["get"], "nonResourceURLs": [
                "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi",
                "/openapi/*", "/readyz", "/version",
            ]}]),
        )
    };
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}
