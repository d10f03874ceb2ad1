//! Endpoints: the older form of EndpointSlices, for those who still read it (`kubectl get endpoints`).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use springtide_client::{Cache, Context, Next, ObjectKey, WorkQueue, feed, pods};
use tokio_util::sync::CancellationToken;

use crate::error::{Doing, Error, gone_is_fine, is_namespace_terminating};
use crate::service::{
    HEADLESS, address_of, can_serve, hostname_of, is_headless, pods_of, ports_of, protocol_of,
    publishes_unready, selector_of, services_of, target_port,
};

/// Services worked on at once; Kubernetes' default.
const WORKERS: usize = 5;
/// Tells Endpoints of this controller from a user's own.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpoint-controller";
/// Addresses in one Endpoints object; Kubernetes' bound.
const ADDRESS_BOUND: usize = 1000;
/// Says that there were more addresses than the bound.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// What the controller sees of one Service.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Service, which has a selector; `None` if it is gone.
    pub service: Option<Arc<Service>>,
    /// The pods the selector matches, sorted by name.
    pub pods: Vec<Arc<Pod>>,
    /// The Endpoints of the Service's name.
    pub endpoints: Option<Arc<Endpoints>>,
}

/// What the controller does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Creates the Endpoints.
    Create(Box<Endpoints>),
    /// Writes the Endpoints back, if nobody else has changed them.
    Update(Box<Endpoints>),
    /// Deletes the Endpoints.
    Delete,
}

/// Decides what the Service's Endpoints should say.
pub fn plan(observed: &Observed) -> Option<Action> {
    let Some(service) = &observed.service else {
        let is_own = |endpoints: &Arc<Endpoints>| {
            endpoints
                .labels()
                .get(MANAGED_BY)
                .is_some_and(|by| by == CONTROLLER)
        };
        return observed
            .endpoints
            .as_ref()
            .is_some_and(is_own)
            .then_some(Action::Delete);
    };
    if selector_of(service).is_none() || service.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let (subsets, over_capacity) = subsets(service, &observed.pods);
    let current = observed.endpoints.as_deref();
    let mut wanted = current.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            name: Some(service.name_any()),
            namespace: service.namespace(),
            ..ObjectMeta::default()
        },
        subsets: None,
    });
    wanted.metadata.labels = Some(labels(service));
    let annotations = wanted.metadata.annotations.get_or_insert_default();
    if over_capacity {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else {
        annotations.remove(OVER_CAPACITY);
    }
    if annotations.is_empty() {
        wanted.metadata.annotations = None;
    }
    wanted.subsets = (!subsets.is_empty()).then_some(subsets);
    match current {
        None => Some(Action::Create(Box::new(wanted))),
        Some(current) => (*current != wanted).then(|| Action::Update(Box::new(wanted))),
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}

/// The addresses, those with the same ports together, and whether some were left out.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> (Vec<EndpointSubset>, bool) {
    let publishes_unready = publishes_unready(service);
    let is_shown =
        |pod: &&Arc<Pod>| can_serve(pod) && (publishes_unready || !pods::is_terminating(pod));
    let mut shown: Vec<&Arc<Pod>> = pods.iter().filter(is_shown).collect();
    let over_capacity = shown.len() > ADDRESS_BOUND;
    if over_capacity {
        // Ready ones are kept before others.
        shown.sort_by_key(|pod| !pods::is_ready(pod));
        shown.truncate(ADDRESS_BOUND);
    }
    let mut subsets: BTreeMap<String, EndpointSubset> = BTreeMap::new();
    for pod in shown {
        let Some(address) = address(service, pod) else {
            continue;
        };
        let ports = ports(service, pod);
        if ports.is_empty() && !ports_of(service).is_empty() {
            continue;
        }
        let subset = subsets
            .entry(format!("{ports:?}"))
            .or_insert_with(|| EndpointSubset {
                ports: (!ports.is_empty()).then_some(ports),
                ..EndpointSubset::default()
            });
        let is_ready = publishes_unready || pods::is_ready(pod);
        let list = if is_ready {
            &mut subset.addresses
        } else {
            &mut subset.not_ready_addresses
        };
        list.get_or_insert_default().push(address);
    }
    let mut subsets: Vec<EndpointSubset> = subsets.into_values().collect();
    for subset in &mut subsets {
        for list in [&mut subset.addresses, &mut subset.not_ready_addresses]
            .into_iter()
            .flatten()
        {
            list.sort_by_key(|address| address.ip.parse::<std::net::Ipv4Addr>().ok());
        }
    }
    (subsets, over_capacity)
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let found = ports_of(service).iter().filter_map(|port| {
        Some(EndpointPort {
            name: port.name.clone().filter(|name| !name.is_empty()),
            port: target_port(pod, port)?,
            protocol: Some(protocol_of(port).to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
    });
    found.collect()
}

fn address(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    Some(EndpointAddress {
        ip: address_of(pod)?.to_owned(),
        hostname: hostname_of(pod, service).map(str::to_owned),
        node_name: pods::node_name(pod).map(str::to_owned),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.namespace(),
            name: Some(pod.name_any()),
            uid: pod.uid(),
            ..ObjectReference::default()
        }),
    })
}

struct Controller {
    context: Context,
    services: Cache<Service>,
    pods: Cache<Pod>,
    endpoints: Cache<Endpoints>,
}

/// Runs the controller until `stop` is cancelled.
pub async fn run(context: Context, stop: CancellationToken) {
    let controller = Controller {
        services: context.caches.of(),
        pods: context.caches.of(),
        endpoints: context.caches.of(),
        context,
    };
    let queue = WorkQueue::named("endpoint");
    let feeding = controller.feed(&queue);
    let working = async {
        controller.services.synced().await;
        controller.pods.synced().await;
        controller.endpoints.synced().await;
        queue
            .serve(WORKERS, &stop, |key| controller.reconcile(key))
            .await;
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = feeding => {}
        () = working => {}
    }
}

impl Controller {
    async fn feed(&self, queue: &WorkQueue<ObjectKey>) {
        let all = || {
            let (services, endpoints) = (self.services.clone(), self.endpoints.clone());
            move || [services.keys(), endpoints.keys()].concat()
        };
        let services = self.services.clone();
        tokio::join!(
            biased;
            feed(&self.services, queue, |service| vec![ObjectKey::of(service)], all()),
            feed(&self.pods, queue, move |pod| services_of(&services, pod), all()),
            feed(&self.endpoints, queue, |endpoints| vec![ObjectKey::of(endpoints)], all()),
        );
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let service = self.services.find(&key);
        let pods = service
            .as_ref()
            .map(|service| pods_of(&self.pods, service))
            .unwrap_or_default();
        let observed = Observed {
            service,
            pods,
            endpoints: self.endpoints.find(&key),
        };
        let api: Api<Endpoints> = Api::namespaced(self.context.client.clone(), &key.namespace);
        match plan(&observed) {
            None => {}
            Some(Action::Create(endpoints)) => {
                match api.create(&PostParams::default(), &endpoints).await {
                    Ok(_) => {}
                    Err(error) if is_namespace_terminating(&error) => {}
                    Err(error) => return Err(error).doing("create the Endpoints of", &key),
                }
            }
            Some(Action::Update(endpoints)) => {
                let written = api
                    .replace(&key.name, &PostParams::default(), &endpoints)
                    .await;
                written.doing("update the Endpoints of", &key)?;
            }
            Some(Action::Delete) => {
                let deleted = api.delete(&key.name, &DeleteParams::default()).await;
                gone_is_fine(deleted).doing("delete the Endpoints of", &key)?;
            }
        }
        Ok(Next::Settled)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Arc<Service> {
        let value = json!({
            "metadata": {"name": "web", "namespace": "default", "labels": {"a": "b"}},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        });
        Arc::new(serde_json::from_value(value).expect("a valid Service"))
    }

    fn pod(n: u8, ready: bool, leaving: bool) -> Arc<Pod> {
        let mut value = json!({
            "metadata": {"name": format!("web-{n}"), "namespace": "default", "labels": {"app": "web"}},
            "spec": {"containers": []},
            "status": {
                "phase": "Running", "podIP": format!("10.244.0.{n}"),
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
            },
        });
        if leaving {
            value["metadata"]["deletionTimestamp"] = "2026-01-02T00:00:00Z".into();
        }
        Arc::new(serde_json::from_value(value).expect("a valid pod"))
    }

    fn ips(addresses: Option<&Vec<EndpointAddress>>) -> Vec<&str> {
        addresses
            .into_iter()
            .flatten()
            .map(|address| address.ip.as_str())
            .collect()
    }

    #[test]
    fn ready_and_other_addresses_are_told_apart_and_sorted_and_leaving_pods_left_out() {
        let pods = vec![
            pod(10, true, false),
            pod(9, true, false),
            pod(2, false, false),
            pod(3, true, true),
        ];
        let mut observed = Observed {
            service: Some(service()),
            pods,
            endpoints: None,
        };
        let Some(Action::Create(created)) = plan(&observed) else {
            panic!("to be created")
        };
        let subsets = created.subsets.as_ref().expect("subsets");
        assert_eq!(subsets.len(), 1);
        assert_eq!(
            ips(subsets[0].addresses.as_ref()),
            ["10.244.0.9", "10.244.0.10"]
        );
        assert_eq!(ips(subsets[0].not_ready_addresses.as_ref()), ["10.244.0.2"]);
        assert_eq!(subsets[0].ports.as_ref().expect("ports")[0].port, 8080);
        assert_eq!(created.labels()["a"], "b");
        observed.endpoints = Some(Arc::new(*created));
        assert_eq!(plan(&observed), None);
    }

    #[test]
    fn endpoints_of_a_service_that_is_gone_are_deleted_and_a_users_own_are_kept() {
        let mut observed = Observed {
            service: Some(service()),
            pods: Vec::new(),
            endpoints: None,
        };
        let Some(Action::Create(created)) = plan(&observed) else {
            panic!("to be created")
        };
        observed = Observed {
            service: None,
            pods: Vec::new(),
            endpoints: Some(Arc::new(*created)),
        };
        assert_eq!(plan(&observed), Some(Action::Delete));
        observed.endpoints = Some(Arc::new(Endpoints::default()));
        assert_eq!(plan(&observed), None);
    }

    #[test]
    fn at_most_a_thousand_addresses_are_told() {
        let pods: Vec<Arc<Pod>> = (0..1001)
            .map(|n| {
                let mut pod = (*pod(1, n != 0, false)).clone();
                pod.metadata.name = Some(format!("web-{n:04}"));
                Arc::new(pod)
            })
            .collect();
        let observed = Observed {
            service: Some(service()),
            pods,
            endpoints: None,
        };
        let Some(Action::Create(created)) = plan(&observed) else {
            panic!("to be created")
        };
        assert_eq!(created.annotations()[OVER_CAPACITY], "truncated");
        let subsets = created.subsets.expect("subsets");
        assert_eq!(subsets[0].addresses.as_ref().map(Vec::len), Some(1000));
        assert!(subsets[0].not_ready_addresses.is_none());
    }
}
