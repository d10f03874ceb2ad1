//! Which EndpointSlices a Service needs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use springtide_client::pods;

use crate::ownership::controller_reference;
use crate::service::{
    HEADLESS, address_of, can_serve, hostname_of, is_headless, ports_of, protocol_of,
    publishes_unready, target_port,
};

/// Names the Service a slice belongs to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Names who writes a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] for slices of this controller.
pub const CONTROLLER: &str = "endpointslice-controller.k8s.io";
/// Endpoints in one slice; Kubernetes' default.
pub const SLICE_BOUND: usize = 100;

/// What the controller sees of one Service.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Service, which has a selector.
    pub service: Arc<Service>,
    /// The pods the selector matches, sorted by name.
    pub pods: Vec<Arc<Pod>>,
    /// The slices this controller has made for the Service, sorted by name.
    pub slices: Vec<Arc<EndpointSlice>>,
}

/// What the controller does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Creates a slice, named by the server.
    Create(Box<EndpointSlice>),
    /// Writes a slice back, if nobody else has changed it.
    Update(Box<EndpointSlice>),
    /// Deletes a slice.
    Delete(Arc<EndpointSlice>),
}

/// The endpoints that share their ports.
struct Group {
    ports: Vec<EndpointPort>,
    endpoints: BTreeMap<String, Endpoint>,
}

/// A slice to be: its ports and endpoints, and the slice that becomes it.
struct Draft {
    from: Option<Arc<EndpointSlice>>,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
}

/// Decides which slices come, change and go. Endpoints stay in the slice they are in; further
/// ones fill slices that have room; slices with other ports are reused before new ones are made.
pub fn plan(observed: &Observed) -> Vec<Action> {
    let mut spare: VecDeque<Arc<EndpointSlice>> = observed.slices.iter().cloned().collect();
    let mut drafts = Vec::new();
    let mut groups = groups(observed);
    for group in groups.values_mut() {
        let has_ports =
            |slice: &Arc<EndpointSlice>| slice.ports.clone().unwrap_or_default() == group.ports;
        let (same, others): (VecDeque<_>, VecDeque<_>) = spare.into_iter().partition(has_ports);
        spare = others;
        for slice in same {
            let kept: Vec<Endpoint> = slice
                .endpoints
                .iter()
                .flatten()
                .filter_map(|endpoint| group.endpoints.remove(&identity(endpoint)))
                .collect();
            drafts.push(Draft {
                from: Some(slice),
                ports: group.ports.clone(),
                endpoints: kept,
            });
        }
    }
    for group in groups.into_values() {
        fill(&mut drafts, group);
    }
    // A slice that has become empty is spare too.
    let (kept, empty): (Vec<Draft>, Vec<Draft>) = drafts
        .into_iter()
        .partition(|draft| !draft.endpoints.is_empty());
    drafts = kept;
    spare.extend(empty.into_iter().filter_map(|draft| draft.from));
    if drafts.is_empty() {
        // Readers tell a Service without endpoints from one not yet seen by a slice without any.
        drafts.push(Draft {
            from: None,
            ports: Vec::new(),
            endpoints: Vec::new(),
        });
    }
    let mut actions = Vec::new();
    for mut draft in drafts {
        draft.from = draft.from.or_else(|| spare.pop_front());
        actions.extend(write(observed, draft));
    }
    actions.extend(spare.into_iter().map(Action::Delete));
    actions
}

fn groups(observed: &Observed) -> BTreeMap<String, Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for pod in observed.pods.iter().filter(|pod| can_serve(pod)) {
        let Some(endpoint) = endpoint(&observed.service, pod) else {
            continue;
        };
        let ports = ports(&observed.service, pod);
        // The debug text of plain data is a total order that tells ports apart.
        let group = groups.entry(format!("{ports:?}")).or_insert_with(|| Group {
            ports,
            endpoints: BTreeMap::new(),
        });
        group.endpoints.insert(identity(&endpoint), endpoint);
    }
    groups
}

/// What makes an endpoint the same one: its pod and its address.
fn identity(endpoint: &Endpoint) -> String {
    let target = endpoint.target_ref.as_ref();
    let part = |field: Option<&String>| field.cloned().unwrap_or_default();
    let name = part(target.and_then(|target| target.name.as_ref()));
    let uid = part(target.and_then(|target| target.uid.as_ref()));
    format!("{name} {uid} {}", endpoint.addresses.join(","))
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let found = ports_of(service).iter().filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(target_port(pod, port)?),
            protocol: Some(protocol_of(port).to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
    });
    found.collect()
}

fn endpoint(service: &Service, pod: &Pod) -> Option<Endpoint> {
    let serving = pods::is_ready(pod);
    let terminating = pods::is_terminating(pod);
    Some(Endpoint {
        addresses: vec![address_of(pod)?.to_owned()],
        conditions: Some(EndpointConditions {
            ready: Some(publishes_unready(service) || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname_of(pod, service).map(str::to_owned),
        node_name: pods::node_name(pod).map(str::to_owned),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.namespace(),
            name: Some(pod.name_any()),
            uid: pod.uid(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    })
}

fn fill(drafts: &mut Vec<Draft>, group: Group) {
    let mut left: VecDeque<Endpoint> = group.endpoints.into_values().collect();
    for draft in drafts.iter_mut().filter(|draft| draft.ports == group.ports) {
        let room = SLICE_BOUND
            .saturating_sub(draft.endpoints.len())
            .min(left.len());
        draft.endpoints.extend(left.drain(..room));
    }
    while !left.is_empty() {
        let endpoints = left.drain(..left.len().min(SLICE_BOUND)).collect();
        drafts.push(Draft {
            from: None,
            ports: group.ports.clone(),
            endpoints,
        });
    }
}

fn write(observed: &Observed, draft: Draft) -> Option<Action> {
    let labels = labels(&observed.service);
    let ports = Some(draft.ports);
    let Some(from) = draft.from else {
        let service = &*observed.service;
        let metadata = ObjectMeta {
            generate_name: Some(format!("{}-", service.name_any())),
            namespace: service.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        };
        let slice = EndpointSlice {
            metadata,
            address_type: "IPv4".to_owned(),
            endpoints: Some(draft.endpoints),
            ports,
        };
        return Some(Action::Create(Box::new(slice)));
    };
    let mut changed = (*from).clone();
    changed.metadata.labels = Some(labels);
    // Whether none are written as nothing or as an empty list says the same.
    if changed.endpoints.clone().unwrap_or_default() != draft.endpoints {
        changed.endpoints = Some(draft.endpoints);
    }
    if changed.ports.clone().unwrap_or_default() != ports.clone().unwrap_or_default() {
        changed.ports = ports;
    }
    (changed != *from).then(|| Action::Update(Box::new(changed)))
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.insert(SERVICE_NAME.to_owned(), service.name_any());
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}
