use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn service(spec: &Value) -> Arc<Service> {
    let value = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "svc", "labels": {"tier": "front"}},
        "spec": spec,
    });
    Arc::new(serde_json::from_value(value).expect("a valid Service"))
}

fn plain() -> Arc<Service> {
    service(&json!({
        "clusterIP": "10.96.0.9", "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP", "appProtocol": "http"}],
    }))
}

/// Pod `n` whose port `web` is `port`.
fn pod(n: usize, port: i32, ready: bool) -> Pod {
    let value = json!({
        "metadata": {"name": format!("web-{n:04}"), "namespace": "default", "uid": format!("uid-{n}"), "labels": {"app": "web"}},
        "spec": {"nodeName": "node", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": port, "protocol": "TCP"}]}]},
        "status": {
            "phase": "Running",
            "podIP": format!("10.244.{}.{}", n / 250, n % 250 + 1),
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
        },
    });
    serde_json::from_value(value).expect("a valid pod")
}

fn observed(service: Arc<Service>, pods: impl IntoIterator<Item = Pod>) -> Observed {
    Observed {
        service,
        pods: pods.into_iter().map(Arc::new).collect(),
        slices: Vec::new(),
    }
}

/// Does what is planned, as the API would.
fn apply(observed: &mut Observed, serial: &mut usize) -> usize {
    let actions = plan(observed);
    let count = actions.len();
    for action in actions {
        match action {
            Action::Create(mut slice) => {
                *serial += 1;
                slice.metadata.name = Some(format!("web-{serial:05}"));
                observed.slices.push(Arc::new(*slice));
            }
            Action::Update(slice) => {
                for known in &mut observed.slices {
                    if known.name_any() == slice.name_any() {
                        *known = Arc::new((*slice).clone());
                    }
                }
            }
            Action::Delete(slice) => observed
                .slices
                .retain(|known| known.name_any() != slice.name_any()),
        }
    }
    count
}

fn only(observed: &Observed) -> EndpointSlice {
    assert_eq!(observed.slices.len(), 1);
    (*observed.slices[0]).clone()
}

fn endpoints(slice: &EndpointSlice) -> Vec<Endpoint> {
    slice.endpoints.clone().unwrap_or_default()
}

#[test]
fn a_slice_says_what_the_service_and_its_pods_say() {
    let mut seen = observed(plain(), [pod(1, 8080, true)]);
    apply(&mut seen, &mut 0);
    let slice = only(&seen);
    assert_eq!(slice.labels()["kubernetes.io/service-name"], "web");
    assert_eq!(
        slice.labels()["endpointslice.kubernetes.io/managed-by"],
        "endpointslice-controller.k8s.io"
    );
    assert_eq!(slice.labels()["tier"], "front");
    assert_eq!(slice.owner_references()[0].kind, "Service");
    assert_eq!(slice.metadata.generate_name.as_deref(), Some("web-"));
    let port = &slice.ports.as_ref().expect("ports")[0];
    assert_eq!(
        (port.name.as_deref(), port.port, port.protocol.as_deref()),
        (Some("http"), Some(8080), Some("TCP"))
    );
    assert_eq!(port.app_protocol.as_deref(), Some("http"));
    let endpoint = &endpoints(&slice)[0];
    assert_eq!(endpoint.addresses, ["10.244.0.2"]);
    assert_eq!(endpoint.node_name.as_deref(), Some("node"));
    let target = endpoint.target_ref.as_ref().expect("a target");
    assert_eq!(
        (target.kind.as_deref(), target.name.as_deref()),
        (Some("Pod"), Some("web-0001"))
    );
}

#[test]
fn conditions_follow_readiness_and_termination() {
    let leaving = |mut pod: Pod| {
        pod.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH),
        );
        pod
    };
    let unready = service(
        &json!({"selector": {"app": "web"}, "publishNotReadyAddresses": true, "ports": [{"port": 80}]}),
    );
    let cases = [
        (plain(), pod(1, 1, true), (true, true, false)),
        (plain(), pod(1, 1, false), (false, false, false)),
        (plain(), leaving(pod(1, 1, true)), (false, true, true)),
        (plain(), leaving(pod(1, 1, false)), (false, false, true)),
        (Arc::clone(&unready), pod(1, 1, false), (true, false, false)),
        (unready, leaving(pod(1, 1, true)), (true, true, true)),
    ];
    for (service, pod, (ready, serving, terminating)) in cases {
        let mut seen = observed(service, [pod]);
        apply(&mut seen, &mut 0);
        let conditions = endpoints(&only(&seen))[0]
            .conditions
            .clone()
            .expect("conditions");
        assert_eq!(conditions.ready, Some(ready));
        assert_eq!(conditions.serving, Some(serving));
        assert_eq!(conditions.terminating, Some(terminating));
    }
}

#[test]
fn pods_that_have_ended_or_have_no_address_are_no_endpoints() {
    let mut ended = pod(1, 1, true);
    ended.status.as_mut().expect("a status").phase = Some("Succeeded".to_owned());
    let mut pending = pod(2, 1, false);
    pending.status.as_mut().expect("a status").pod_ip = None;
    let mut seen = observed(plain(), [ended, pending]);
    apply(&mut seen, &mut 0);
    let slice = only(&seen);
    assert!(endpoints(&slice).is_empty());
    assert_eq!(apply(&mut seen, &mut 0), 0);
}

#[test]
fn a_service_that_selects_nothing_has_one_empty_slice_that_is_filled_later() {
    let mut seen = observed(plain(), []);
    apply(&mut seen, &mut 0);
    let name = only(&seen).name_any();
    seen.pods = vec![Arc::new(pod(1, 8080, true))];
    apply(&mut seen, &mut 1);
    assert_eq!(only(&seen).name_any(), name);
    assert_eq!(endpoints(&only(&seen)).len(), 1);
}

#[test]
fn pods_with_other_ports_of_the_name_get_a_slice_of_their_own() {
    let mut seen = observed(
        plain(),
        [pod(1, 8080, true), pod(2, 9090, true), pod(3, 8080, true)],
    );
    apply(&mut seen, &mut 0);
    let mut sizes: Vec<(i32, usize)> = seen
        .slices
        .iter()
        .map(|slice| {
            (
                slice
                    .ports
                    .as_ref()
                    .and_then(|ports| ports[0].port)
                    .unwrap_or(0),
                endpoints(slice).len(),
            )
        })
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [(8080, 2), (9090, 1)]);
}

#[test]
fn a_pod_without_the_named_port_serves_the_other_ports() {
    let two = service(&json!({"selector": {"app": "web"}, "ports": [
        {"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 81, "targetPort": "admin"}]}));
    let mut seen = observed(two, [pod(1, 8080, true)]);
    apply(&mut seen, &mut 0);
    let ports = only(&seen).ports.expect("ports");
    assert_eq!(ports.len(), 1);
    assert_eq!(ports[0].name.as_deref(), Some("http"));
}

#[test]
fn a_headless_service_is_labeled_and_gives_host_names() {
    let headless = service(&json!({"clusterIP": "None", "selector": {"app": "web"}}));
    let mut named = pod(1, 1, true);
    let spec = named.spec.as_mut().expect("a spec");
    spec.hostname = Some("first".to_owned());
    spec.subdomain = Some("web".to_owned());
    let mut seen = observed(headless, [named]);
    apply(&mut seen, &mut 0);
    assert_eq!(only(&seen).labels()["service.kubernetes.io/headless"], "");
    assert_eq!(
        endpoints(&only(&seen))[0].hostname.as_deref(),
        Some("first")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However pods come and go: each is in exactly one slice, no slice is too large, endpoints
    /// that stay do not move, and a plan that is done leaves nothing to do.
    #[test]
    fn every_pod_is_in_exactly_one_slice(steps in prop::collection::vec(prop::collection::btree_set(0..350_usize, 0..350), 1..6)) {
        let mut seen = observed(plain(), []);
        let mut serial = 0;
        for names in steps {
            let before: Vec<(String, String)> = places(&seen);
            seen.pods = names.iter().map(|n| Arc::new(pod(*n, 8080 + i32::from(n % 7 == 0), n % 3 != 0))).collect();
            apply(&mut seen, &mut serial);
            prop_assert_eq!(apply(&mut seen, &mut serial), 0);
            let after = places(&seen);
            let pods: BTreeSet<&String> = after.iter().map(|(pod, _)| pod).collect();
            prop_assert_eq!(pods.len(), after.len());
            prop_assert_eq!(pods.len(), names.len());
            prop_assert!(seen.slices.iter().all(|slice| endpoints(slice).len() <= SLICE_BOUND));
            for (pod, slice) in before {
                let stays = after.iter().find(|(name, _)| *name == pod);
                prop_assert!(stays.is_none_or(|(_, now)| *now == slice), "{} moved", pod);
            }
        }
    }
}

fn places(observed: &Observed) -> Vec<(String, String)> {
    let in_slice = |slice: &Arc<EndpointSlice>| {
        let name = slice.name_any();
        let pods = endpoints(slice)
            .into_iter()
            .filter_map(|endpoint| endpoint.target_ref?.name);
        pods.map(|pod| (pod, name.clone())).collect::<Vec<_>>()
    };
    observed.slices.iter().flat_map(in_slice).collect()
}
