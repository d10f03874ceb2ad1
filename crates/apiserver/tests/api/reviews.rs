//! Health, version, rights, and questions about oneself.

use axum::body::Body;
use http::{Method, Request};
use serde_json::json;
use springtide_apiserver::UserInfo;

use crate::harness::{Answer, CONFIG_MAPS, Server, read};

async fn call_as(
    server: &Server,
    user: UserInfo,
    method: Method,
    path: &str,
    body: &str,
) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .extension(user)
        .body(Body::from(body.to_owned()))
        .expect("request");
    read(server.send(request).await).await
}

async fn anonymous(server: &Server, path: &str) -> Answer {
    let request = Request::get(path).body(Body::empty()).expect("request");
    read(server.send(request).await).await
}

#[tokio::test(start_paused = true)]
async fn nobody_may_ask_for_health_and_version_and_nothing_else() {
    let server = Server::start().await;
    for path in ["/healthz", "/livez", "/readyz", "/readyz/ping"] {
        assert_eq!(anonymous(&server, path).await.text, "ok", "{path}");
    }
    let version = anonymous(&server, "/version").await.expect(200);
    assert_eq!(
        (&version["major"], &version["minor"]),
        (&json!("1"), &json!("36"))
    );
    for path in [CONFIG_MAPS, "/api", "/apis", "/openapi/v3"] {
        anonymous(&server, path).await.refused(403, "Forbidden");
    }
    let with_token = Request::get("/version")
        .header("authorization", "Bearer nonsense")
        .body(Body::empty())
        .expect("request");
    let refused = read(server.send(with_token).await).await;
    refused.refused(401, "Unauthorized");
}

#[tokio::test(start_paused = true)]
async fn health_is_told_check_by_check() {
    let server = Server::start().await;
    let told = anonymous(&server, "/readyz?verbose").await;
    assert!(told.text.contains("[+]etcd ok\n"), "{}", told.text);
    assert!(
        told.text.ends_with("readyz check passed\n"),
        "{}",
        told.text
    );
    server
        .api
        .add_ready_check("node", || Err("no node yet".to_owned()));
    let failed = anonymous(&server, "/readyz").await;
    assert_eq!(failed.status.as_u16(), 500);
    assert!(
        failed.text.contains("[-]node failed: no node yet\n"),
        "{}",
        failed.text
    );
    assert_eq!(anonymous(&server, "/livez").await.text, "ok");
    assert_eq!(anonymous(&server, "/readyz?exclude=node").await.text, "ok");
    assert_eq!(
        anonymous(&server, "/readyz/none").await.status.as_u16(),
        404
    );
}

#[tokio::test(start_paused = true)]
async fn a_user_may_discover_and_ask_about_themselves_only() {
    let server = Server::start().await;
    let jane = UserInfo::new("jane", ["devs"]);
    let get = |path: &'static str| call_as(&server, jane.clone(), Method::GET, path, "");
    get("/api").await.expect(200);
    let refused = get("/api/v1/namespaces/default/configmaps").await;
    assert_eq!(
        refused.refused(403, "Forbidden"),
        "configmaps is forbidden: User \"jane\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let review = call_as(&server, jane.clone(), Method::POST, path, "{}")
        .await
        .expect(201);
    assert_eq!(review["status"]["userInfo"]["username"], "jane");
    let groups = &review["status"]["userInfo"]["groups"];
    assert_eq!(groups, &json!(["devs", "system:authenticated"]));

    let question = json!({"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let question = question.to_string();
    let ask = |user: UserInfo| call_as(&server, user, Method::POST, path, &question);
    assert_eq!(ask(jane).await.expect(201)["status"]["allowed"], false);
    assert_eq!(
        ask(UserInfo::component("me")).await.expect(201)["status"]["allowed"],
        true
    );
}

#[tokio::test(start_paused = true)]
async fn rules_are_listed() {
    let server = Server::start().await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let rules = server
        .post(path, &json!({"spec": {"namespace": "default"}}))
        .await
        .expect(201);
    assert_eq!(rules["status"]["resourceRules"][0]["verbs"], json!(["*"]));
    server.get(path).await.refused(405, "MethodNotAllowed");
}
