//! The statuses as Kubernetes words them.

use super::*;

const PODS: GroupResource<'static> = GroupResource {
    group: "",
    resource: "pods",
};
const DEPLOYMENTS: GroupResource<'static> = GroupResource {
    group: "apps",
    resource: "deployments",
};

#[test]
fn messages_are_worded_as_kubernetes_words_them() {
    let cases = [
        (
            ApiError::not_found(PODS, "x"),
            404,
            "NotFound",
            "pods \"x\" not found",
        ),
        (
            ApiError::already_exists(DEPLOYMENTS, "x"),
            409,
            "AlreadyExists",
            "deployments.apps \"x\" already exists",
        ),
        (
            ApiError::modified(DEPLOYMENTS, "x"),
            409,
            "Conflict",
            "Operation cannot be fulfilled on deployments.apps \"x\": the object has been modified; please apply your changes to the latest version and try again",
        ),
        (
            ApiError::forbidden(PODS, "x", "no"),
            403,
            "Forbidden",
            "pods \"x\" is forbidden: no",
        ),
        (
            ApiError::forbidden(PODS, "", "no"),
            403,
            "Forbidden",
            "pods is forbidden: no",
        ),
        (
            ApiError::forbidden(GroupResource::new("", ""), "", "no"),
            403,
            "Forbidden",
            "forbidden: no",
        ),
        (
            ApiError::method_not_supported(DEPLOYMENTS, "delete"),
            405,
            "MethodNotAllowed",
            "delete is not supported on resources of kind \"deployments.apps\"",
        ),
        (
            ApiError::server_timeout(PODS, "list", 2),
            500,
            "ServerTimeout",
            "The list operation against pods could not be completed at this time, please try again.",
        ),
        (
            ApiError::timeout("slow", 0),
            504,
            "Timeout",
            "Timeout: slow",
        ),
        (
            ApiError::too_large("limit is 3145728"),
            413,
            "RequestEntityTooLarge",
            "Request entity too large: limit is 3145728",
        ),
        (
            ApiError::unsupported_media_type(&["application/json", "application/yaml"]),
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml",
        ),
        (
            ApiError::internal("oops"),
            500,
            "InternalError",
            "Internal error occurred: oops",
        ),
    ];
    for (error, code, reason, message) in cases {
        assert_eq!(
            (error.code(), error.reason(), error.message()),
            (code, reason, message)
        );
    }
}

#[test]
fn invalid_names_kind_fields_and_causes() {
    let kind = GroupKind::new("apps", "Deployment");
    let one = [FieldError::required("spec.selector", "")];
    assert_eq!(
        ApiError::invalid(kind, "x", &one).message(),
        "Deployment.apps \"x\" is invalid: spec.selector: Required value"
    );
    let two = [
        one[0].clone(),
        FieldError::invalid("spec.replicas", -1, "must be >= 0"),
    ];
    let error = ApiError::invalid(kind, "x", &two);
    assert_eq!(
        error.message(),
        "Deployment.apps \"x\" is invalid: [spec.selector: Required value, spec.replicas: Invalid value: -1: must be >= 0]"
    );
    assert_eq!(
        error.to_value(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": error.message(), "reason": "Invalid", "code": 422,
            "details": {"name": "x", "group": "apps", "kind": "Deployment", "causes": [
                {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector"},
                {"reason": "FieldValueInvalid", "message": "Invalid value: -1: must be >= 0", "field": "spec.replicas"},
            ]},
        })
    );
}

#[test]
fn a_status_leaves_out_what_it_does_not_know() {
    assert_eq!(
        ApiError::bad_request("no").to_value(),
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
               "message": "no", "reason": "BadRequest", "code": 400})
    );
    assert_eq!(
        Status::success(DEPLOYMENTS, "x", "u")["details"],
        json!({"name": "x", "group": "apps", "kind": "deployments", "uid": "u"})
    );
}

#[test]
fn retry_after_is_told_in_details_and_as_a_duration() {
    let error = ApiError::too_large_resource_version(9, 5, 1);
    assert_eq!(
        error.message(),
        "Timeout: Too large resource version: 9, current: 5"
    );
    assert_eq!(error.to_value()["details"]["retryAfterSeconds"], 1);
    assert_eq!(
        error.to_value()["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    assert_eq!(ApiError::bad_request("x").retry_after(), None);
}
