//! Services: cluster IPs and node ports.

use serde_json::{Value, json};

use crate::harness::{SERVICES, Server};

fn service(name: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"type": kind, "selector": {"app": name}, "ports": [{"port": 80}]},
    })
}

#[tokio::test(start_paused = true)]
async fn a_service_gets_an_address_and_keeps_it() {
    let server = Server::start().await;
    let created = server
        .post(SERVICES, &service("a", "ClusterIP"))
        .await
        .expect(201);
    let address = created["spec"]["clusterIP"]
        .as_str()
        .expect("address")
        .to_owned();
    assert!(address.starts_with("10.96."), "{address}");
    assert_eq!(created["spec"]["clusterIPs"], json!([address]));
    let path = format!("{SERVICES}/a");
    let applied = server
        .put(&path, &service("a", "ClusterIP"))
        .await
        .expect(200);
    assert_eq!(applied["spec"]["clusterIP"], address);
    let mut moved = created.clone();
    moved["spec"]["clusterIP"] = json!("10.96.0.77");
    moved["spec"]["clusterIPs"] = json!(["10.96.0.77"]);
    server.put(&path, &moved).await.refused(422, "Invalid");
}

#[tokio::test(start_paused = true)]
async fn an_asked_for_address_is_given_once_and_again_after_a_delete() {
    let server = Server::start().await;
    let with = |name: &str, address: &str| {
        let mut body = service(name, "ClusterIP");
        body["spec"]["clusterIP"] = json!(address);
        body
    };
    server
        .post(SERVICES, &with("a", "10.96.3.4"))
        .await
        .expect(201);
    let taken = server
        .post(SERVICES, &with("b", "10.96.3.4"))
        .await
        .refused(422, "Invalid");
    assert_eq!(
        taken,
        "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.3.4\"]: failed to allocate IP 10.96.3.4: provided IP is already allocated"
    );
    let outside = server
        .post(SERVICES, &with("b", "10.1.1.1"))
        .await
        .refused(422, "Invalid");
    assert!(
        outside.contains("The range of valid IPs is 10.96.0.0/16"),
        "{outside}"
    );
    server.delete(&format!("{SERVICES}/a")).await.expect(200);
    server
        .post(SERVICES, &with("b", "10.96.3.4"))
        .await
        .expect(201);
    let headless = server.post(SERVICES, &with("h", "None")).await.expect(201);
    assert_eq!(headless["spec"]["clusterIP"], "None");
    let kubernetes = server
        .get(&format!("{SERVICES}/kubernetes"))
        .await
        .expect(200);
    assert_eq!(kubernetes["spec"]["clusterIP"], "10.96.0.1");
    server
        .post(SERVICES, &with("k", "10.96.0.1"))
        .await
        .refused(422, "Invalid");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_takes_no_address() {
    let server = Server::start().await;
    let mut body = service("a", "NodePort");
    body["spec"]["clusterIP"] = json!("10.96.3.4");
    body["spec"]["ports"][0]["nodePort"] = json!(30_080);
    server
        .post(&format!("{SERVICES}?dryRun=All"), &body)
        .await
        .expect(201);
    server.post(SERVICES, &body).await.expect(201);
}

#[tokio::test(start_paused = true)]
async fn node_ports_are_given_kept_and_given_back() {
    let server = Server::start().await;
    let path = format!("{SERVICES}/a");
    let created = server
        .post(SERVICES, &service("a", "NodePort"))
        .await
        .expect(201);
    let port = created["spec"]["ports"][0]["nodePort"].clone();
    assert!(
        (30_000..=32_767).contains(&port.as_u64().expect("port")),
        "{port}"
    );
    let applied = server
        .put(&path, &service("a", "NodePort"))
        .await
        .expect(200);
    assert_eq!(applied["spec"]["ports"][0]["nodePort"], port);

    let mut same = service("b", "NodePort");
    same["spec"]["ports"][0]["nodePort"] = port.clone();
    let taken = server.post(SERVICES, &same).await.refused(422, "Invalid");
    assert!(
        taken.contains("spec.ports[0].nodePort: Invalid value"),
        "{taken}"
    );
    assert!(
        taken.contains("provided port is already allocated"),
        "{taken}"
    );
    let mut outside = service("c", "NodePort");
    outside["spec"]["ports"][0]["nodePort"] = json!(80);
    let refused = server
        .post(SERVICES, &outside)
        .await
        .refused(422, "Invalid");
    assert!(
        refused.contains("The range of valid ports is 30000-32767"),
        "{refused}"
    );

    let plain = json!({"spec": {"type": "ClusterIP"}});
    let patched = server.patch(&path, "merge", &plain).await.expect(200);
    assert_eq!(patched["spec"]["ports"][0]["nodePort"], Value::Null);
    server.post(SERVICES, &same).await.expect(201);
}
