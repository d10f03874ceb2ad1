//! The controllers, the scheduler and a hollow node over the real API server, under paused
//! time: that what the pure plans decide reaches the API, that one controller's writes wake the
//! next, and that all of it converges when requests fail, watches break off and controllers
//! restart in the middle. What a plan decides is tested beside it.

mod faults;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, PostParams, PropagationPolicy};
use kube::{Api, ResourceExt};
use serde_json::json;
use springtide_client::pods;
use springtide_sim::HollowNode;
use world::{NAMESPACE, World, deployment};

fn propagate(policy: PropagationPolicy) -> DeleteParams {
    DeleteParams {
        propagation_policy: Some(policy),
        ..DeleteParams::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_becomes_running_pods() {
    let world = World::start().await;
    world.deploy("web", 3).await;
    world.rolled_out("web").await;
    let pods = world.pods().await;
    assert_eq!(pods.len(), 3);
    assert!(
        pods.iter()
            .all(|pod| pods::is_ready(pod) && pods::node_name(pod) == Some("node"))
    );
    let set = &world.replica_sets().await[0];
    assert!(
        pods.iter()
            .all(|pod| pod.name_any().starts_with(&format!("{}-", set.name_any())))
    );
    world
        .eventually("events are written", async || {
            world.messages("Scheduled").await.len() == 3
        })
        .await;
    let name = set.name_any();
    assert_eq!(
        world.messages("ScalingReplicaSet").await,
        [format!("Scaled up replica set {name} from 0 to 3")]
    );
    assert_eq!(world.messages("SuccessfulCreate").await.len(), 3);
    let assigned = world.messages("Scheduled").await;
    assert!(
        assigned[0].starts_with(&format!("Successfully assigned default/{name}-")),
        "{assigned:?}"
    );
    assert!(assigned[0].ends_with(" to node"), "{assigned:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_template_replaces_the_pods_and_an_undo_brings_the_old_set_back() {
    let world = World::start().await;
    world.deploy("web", 4).await;
    world.rolled_out("web").await;
    world.set_image("web", "web:2").await;
    world.rolled_out("web").await;
    world.set_image("web", "web:1").await;
    world.rolled_out("web").await;
    let sets = world.replica_sets().await;
    assert_eq!(sets.len(), 2);
    let by_revision: BTreeMap<String, i32> = sets
        .iter()
        .map(|set| {
            let revision = set.annotations()["deployment.kubernetes.io/revision"].clone();
            (
                revision,
                set.status.as_ref().map_or(0, |status| status.replicas),
            )
        })
        .collect();
    assert_eq!(
        by_revision,
        BTreeMap::from([("2".to_owned(), 0), ("3".to_owned(), 4)])
    );
    let deployment: Deployment = world.get("web").await;
    assert_eq!(
        deployment.annotations()["deployment.kubernetes.io/revision"],
        "3"
    );
}

#[tokio::test(start_paused = true)]
async fn an_update_through_unready_pods_stops_and_tells_of_its_deadline() {
    let never = |pod: &Pod| {
        pod.spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .all(|container| container.image.as_deref() != Some("broken"))
    };
    let world = World::with(HollowNode::new("node").readiness(never), 1, None).await;
    world.deploy("web", 4).await;
    world
        .patch::<Deployment>("web", json!({"spec": {"progressDeadlineSeconds": 60}}))
        .await;
    world.rolled_out("web").await;
    world.set_image("web", "broken").await;
    world
        .eventually("the deadline is told", async || {
            let deployment: Deployment = world.get("web").await;
            let conditions = deployment
                .status
                .and_then(|status| status.conditions)
                .unwrap_or_default();
            conditions
                .iter()
                .any(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"))
        })
        .await;
    let ready = world
        .pods()
        .await
        .iter()
        .filter(|pod| pods::is_ready(pod))
        .count();
    assert_eq!(ready, 3, "25 % of four may be missing, no more");
    world.set_image("web", "web:1").await;
    world.rolled_out("web").await;
}

#[tokio::test(start_paused = true)]
async fn scaling_goes_up_and_down_and_fifty_pods_are_made_once() {
    let world = World::start().await;
    world
        .patch_node(json!({"cpu": "64", "memory": "64Gi", "pods": "110"}))
        .await;
    world.deploy("web", 1).await;
    world.rolled_out("web").await;
    world.scale("web", 50).await;
    world.rolled_out("web").await;
    world
        .eventually("events are written", async || {
            world.messages("Scheduled").await.len() == 50
        })
        .await;
    assert_eq!(world.list::<Pod>().await.len(), 50);
    world.scale("web", 2).await;
    world.rolled_out("web").await;
    world
        .eventually("pods are gone", async || {
            world.list::<Pod>().await.len() == 2
        })
        .await;
    world.scale("web", 0).await;
    world.rolled_out("web").await;
    assert!(world.pods().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_is_replaced() {
    let world = World::start().await;
    world.deploy("web", 2).await;
    world.rolled_out("web").await;
    let gone = world.pods().await[0].name_any();
    world
        .of::<Pod>()
        .delete(&gone, &DeleteParams::default())
        .await
        .expect("deleted");
    world
        .eventually("another pod is ready", async || {
            let pods = world.list::<Pod>().await;
            pods.len() == 2
                && pods
                    .iter()
                    .all(|pod| pods::is_ready(pod) && pod.name_any() != gone)
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_fit_waits_with_the_reason_until_there_is_room() {
    let world = World::start().await;
    world.deploy("big", 1).await;
    let asks = json!({"name": "web", "image": "web:1", "resources": {"requests": {"cpu": "3"}}});
    world
        .patch::<Deployment>(
            "big",
            json!({"spec": {"template": {"spec": {"containers": [asks]}}}}),
        )
        .await;
    world.rolled_out("big").await;
    world.deploy("web", 6).await;
    let message = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
                   1 No preemption victims found for incoming pod.";
    world
        .eventually("one pod waits", async || {
            let pods = world.pods().await;
            let waiting: Vec<&Pod> = pods
                .iter()
                .filter(|pod| pods::node_name(pod).is_none())
                .collect();
            let [pod] = waiting.as_slice() else {
                return false;
            };
            let condition = pods::condition(pod, "PodScheduled");
            condition.is_some_and(|condition| {
                condition.status == "False"
                    && condition.reason.as_deref() == Some("Unschedulable")
                    && condition.message.as_deref() == Some(message)
            })
        })
        .await;
    world
        .eventually("the event is written", async || {
            !world.messages("FailedScheduling").await.is_empty()
        })
        .await;
    assert!(
        world
            .messages("FailedScheduling")
            .await
            .iter()
            .all(|told| told == message)
    );
    world.scale("big", 0).await;
    world.rolled_out("web").await;
}

#[tokio::test(start_paused = true)]
async fn a_service_gets_slices_and_endpoints_of_its_ready_pods() {
    let world = World::start().await;
    let service = json!({
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    });
    world.create::<Service>(service).await;
    world
        .eventually("there is an empty slice", async || {
            let slices = world.list::<EndpointSlice>().await;
            slices
                .iter()
                .any(|slice| slice.name_any().starts_with("web-"))
        })
        .await;
    world.deploy("web", 3).await;
    world.rolled_out("web").await;
    let ready = async || {
        let slices = world.list::<EndpointSlice>().await;
        let slices = slices.into_iter().filter(|slice| {
            slice
                .labels()
                .get("kubernetes.io/service-name")
                .is_some_and(|name| name == "web")
        });
        let endpoints = slices.flat_map(|slice| slice.endpoints.unwrap_or_default());
        let ready = endpoints.filter(|endpoint| {
            endpoint
                .conditions
                .as_ref()
                .and_then(|conditions| conditions.ready)
                == Some(true)
        });
        ready
            .flat_map(|endpoint| endpoint.addresses)
            .collect::<BTreeSet<String>>()
    };
    let told = async || {
        let endpoints = world
            .of::<Endpoints>()
            .get_opt("web")
            .await
            .expect("an answer");
        let subsets = endpoints
            .and_then(|endpoints| endpoints.subsets)
            .unwrap_or_default();
        let addresses = subsets
            .into_iter()
            .flat_map(|subset| subset.addresses.unwrap_or_default());
        addresses
            .map(|address| address.ip)
            .collect::<BTreeSet<String>>()
    };
    let addresses = async || {
        let pods = world.pods().await;
        pods.iter()
            .filter_map(|pod| pod.status.as_ref()?.pod_ip.clone())
            .collect::<BTreeSet<String>>()
    };
    world
        .eventually("all three are endpoints", async || {
            ready().await.len() == 3 && ready().await == addresses().await
        })
        .await;
    world
        .eventually("and in Endpoints", async || {
            told().await == addresses().await
        })
        .await;
    assert_eq!(
        world
            .list::<EndpointSlice>()
            .await
            .iter()
            .filter(|slice| slice.name_any().starts_with("web-"))
            .count(),
        1
    );
    world.scale("web", 1).await;
    world
        .eventually("one is left", async || {
            ready().await.len() == 1 && told().await.len() == 1
        })
        .await;
    world
        .of::<Service>()
        .delete("web", &DeleteParams::default())
        .await
        .expect("deleted");
    world
        .eventually("slices and endpoints go with the service", async || {
            let slices = world.list::<EndpointSlice>().await;
            let endpoints = world
                .of::<Endpoints>()
                .get_opt("web")
                .await
                .expect("an answer");
            endpoints.is_none()
                && !slices
                    .iter()
                    .any(|slice| slice.name_any().starts_with("web-"))
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn deleting_a_deployment_takes_its_sets_and_pods_along() {
    for policy in [PropagationPolicy::Background, PropagationPolicy::Foreground] {
        let world = World::start().await;
        world.deploy("web", 2).await;
        world.rolled_out("web").await;
        world
            .of::<Deployment>()
            .delete("web", &propagate(policy.clone()))
            .await
            .expect("deleted");
        if policy == PropagationPolicy::Foreground {
            let deployment: Deployment = world.get("web").await;
            assert_eq!(deployment.finalizers(), ["foregroundDeletion"]);
        }
        world
            .eventually("all is gone", async || {
                world.list::<Deployment>().await.is_empty()
                    && world.list::<ReplicaSet>().await.is_empty()
                    && world.list::<Pod>().await.is_empty()
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn orphans_stay_and_are_adopted_by_the_next_owner() {
    let world = World::start().await;
    world.deploy("web", 2).await;
    world.rolled_out("web").await;
    let before: BTreeSet<String> = world
        .pods()
        .await
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    world
        .of::<Deployment>()
        .delete("web", &propagate(PropagationPolicy::Orphan))
        .await
        .expect("deleted");
    world
        .eventually("the set has no owner", async || {
            let sets = world.replica_sets().await;
            world.list::<Deployment>().await.is_empty()
                && sets.iter().all(|set| set.owner_references().is_empty())
        })
        .await;
    world.deploy("web", 2).await;
    world.rolled_out("web").await;
    let after: BTreeSet<String> = world
        .pods()
        .await
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(before, after);
    assert_eq!(world.replica_sets().await.len(), 1);
    assert_eq!(
        world.replica_sets().await[0].owner_references()[0].name,
        "web"
    );
}

#[tokio::test(start_paused = true)]
async fn an_object_whose_owner_never_was_is_collected() {
    let world = World::start().await;
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "never", "uid": "0b1c4a52-9b0c-4b57-8d51-5c0b1d8a6d11"}]);
    world
        .create::<ConfigMap>(json!({"metadata": {"name": "orphan", "ownerReferences": owner}}))
        .await;
    world
        .create::<ConfigMap>(json!({"metadata": {"name": "free"}}))
        .await;
    let names = async || {
        world
            .list::<ConfigMap>()
            .await
            .iter()
            .map(ResourceExt::name_any)
            .collect::<Vec<_>>()
    };
    world
        .eventually("the orphan is gone", async || {
            !names().await.contains(&"orphan".to_owned())
        })
        .await;
    assert!(names().await.contains(&"free".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_gets_an_account_and_is_emptied_before_it_goes() {
    let world = World::start().await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let shop =
        serde_json::from_value(json!({"metadata": {"name": "shop"}})).expect("a valid namespace");
    namespaces
        .create(&PostParams::default(), &shop)
        .await
        .expect("created");
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), "shop");
    world
        .eventually("there is a default account", async || {
            accounts
                .get_opt("default")
                .await
                .expect("an answer")
                .is_some()
        })
        .await;
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), "shop");
    let mut value = deployment("web", 3);
    value["metadata"]["namespace"] = "shop".into();
    let web: Deployment = serde_json::from_value(value).expect("a valid Deployment");
    deployments
        .create(&PostParams::default(), &web)
        .await
        .expect("created");
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "shop");
    world
        .eventually("pods run", async || {
            let listed = pods.list(&Default::default()).await.expect("listed");
            listed
                .items
                .iter()
                .filter(|pod| pods::is_ready(pod))
                .count()
                == 3
        })
        .await;
    namespaces
        .delete("shop", &DeleteParams::default())
        .await
        .expect("deleted");
    let leaving = namespaces.get("shop").await.expect("still there");
    assert_eq!(
        leaving.status.and_then(|status| status.phase).as_deref(),
        Some("Terminating")
    );
    world
        .eventually("the namespace is gone", async || {
            namespaces
                .get_opt("shop")
                .await
                .expect("an answer")
                .is_none()
        })
        .await;
    assert!(
        pods.list(&Default::default())
            .await
            .expect("listed")
            .items
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_budget_tells_how_many_pods_may_go() {
    let world = World::start().await;
    world.deploy("web", 3).await;
    let budget = json!({"metadata": {"name": "web"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}}});
    world.create::<PodDisruptionBudget>(budget).await;
    world
        .eventually("one may go", async || {
            let budget: PodDisruptionBudget = world.get("web").await;
            let status = budget.status.unwrap_or_default();
            status.disruptions_allowed == Some(1) && status.current_healthy == Some(3)
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_platform_at_rest_writes_nothing() {
    let world = World::start().await;
    world.deploy("web", 3).await;
    world.rolled_out("web").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let revision = async || {
        let listed = world
            .of::<Pod>()
            .list(&Default::default())
            .await
            .expect("listed");
        listed.metadata.resource_version.unwrap_or_default()
    };
    let before = revision().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(revision().await, before);
}
