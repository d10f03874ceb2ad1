use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, ReplicaSet, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use springtide_client::EventType;

use super::*;

const START: i64 = 1_767_323_045;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).expect("a time in range")
}

fn deployment(replicas: i32, image: &str, change: &Value) -> Deployment {
    let mut value = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "web", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}},
        },
    });
    for (key, changed) in change.as_object().into_iter().flatten() {
        value["spec"][key] = changed.clone();
    }
    serde_json::from_value(value).expect("a valid Deployment")
}

/// A pod of the model: whether it is ready.
type Ready = bool;

/// A small model of the API, the ReplicaSet controller and the node around the plan.
struct World {
    observed: Observed,
    pods: BTreeMap<String, Vec<Ready>>,
    events: Vec<String>,
    second: i64,
}

impl World {
    fn new(deployment: Deployment) -> Self {
        let observed = Observed {
            deployment,
            replica_sets: Vec::new(),
            pods: Vec::new(),
        };
        Self {
            observed,
            pods: BTreeMap::new(),
            events: Vec::new(),
            second: 0,
        }
    }

    /// One look of the controller, applied. Returns how many actions it took.
    fn look(&mut self) -> usize {
        self.second += 1;
        let Plan { actions, .. } = plan(&self.observed, at(self.second));
        let count = actions.len();
        for action in actions {
            match action {
                Action::Create(mut set) => {
                    set.metadata.uid = Some(set.name_any());
                    set.metadata.creation_timestamp = Some(Time(at(self.second)));
                    set.metadata.generation = Some(1);
                    self.observed.replica_sets.push(*set);
                }
                Action::Update(set) => {
                    let known = self.set_mut(&set.name_any());
                    let status = known.status.take();
                    let is_resized = sets::size(known) != sets::size(&set);
                    *known = *set;
                    known.status = status;
                    let generation = &mut known.metadata.generation;
                    *generation = generation.map(|number| number + i64::from(is_resized));
                }
                Action::Delete(set) => {
                    self.observed
                        .replica_sets
                        .retain(|known| known.name_any() != set.name_any());
                    self.pods.remove(&set.name_any());
                }
                Action::Record(EventType::Normal, reason, message) => {
                    self.events.push(format!("{reason}: {message}"));
                }
                Action::Record(EventType::Warning, reason, message) => {
                    panic!("{reason}: {message}")
                }
                Action::UpdateStatus(deployment) => self.observed.deployment = *deployment,
            }
        }
        count
    }

    fn set_mut(&mut self, name: &str) -> &mut ReplicaSet {
        let found = self
            .observed
            .replica_sets
            .iter_mut()
            .find(|set| set.name_any() == name);
        found.expect("the ReplicaSet exists")
    }

    /// Brings a set's pods to its size: deletes those that are not ready first.
    fn resize(&mut self, index: usize) {
        let set = &self.observed.replica_sets[index];
        let size = usize::try_from(sets::size(set)).expect("not negative");
        let pods = self.pods.entry(set.name_any()).or_default();
        pods.sort_by_key(|ready| !ready);
        pods.resize(size, false);
    }

    /// Writes a set's status from its pods.
    fn tell(&mut self, index: usize) {
        let set = &mut self.observed.replica_sets[index];
        let pods = self.pods.get(&set.name_any()).cloned().unwrap_or_default();
        let ready = i32::try_from(pods.iter().filter(|ready| **ready).count()).expect("few");
        set.status = Some(ReplicaSetStatus {
            replicas: i32::try_from(pods.len()).expect("few"),
            ready_replicas: Some(ready),
            available_replicas: Some(ready),
            observed_generation: set.metadata.generation,
            ..ReplicaSetStatus::default()
        });
    }

    fn make_ready(&mut self) {
        self.pods
            .values_mut()
            .flatten()
            .for_each(|ready| *ready = true);
    }

    fn settle_sets(&mut self) {
        for index in 0..self.observed.replica_sets.len() {
            self.resize(index);
            self.tell(index);
        }
    }

    /// Lets everything happen until nothing more does.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.settle_sets();
            self.make_ready();
            self.settle_sets();
            if self.look() == 0 {
                return;
            }
        }
        panic!("never settles: {:?}", self.sizes());
    }

    fn change(&mut self, change: impl FnOnce(&mut Deployment)) {
        change(&mut self.observed.deployment);
        let generation = &mut self.observed.deployment.metadata.generation;
        *generation = generation.map(|generation| generation + 1);
    }

    fn set_image(&mut self, image: &str) {
        self.change(|deployment| {
            let spec = deployment
                .spec
                .as_mut()
                .and_then(|spec| spec.template.spec.as_mut())
                .expect("a pod spec");
            spec.containers[0].image = Some(image.to_owned());
        });
    }

    fn scale(&mut self, replicas: i32) {
        self.change(|deployment| {
            deployment.spec.as_mut().expect("a spec").replicas = Some(replicas);
        });
    }

    fn pause(&mut self, paused: bool) {
        self.change(|deployment| deployment.spec.as_mut().expect("a spec").paused = Some(paused));
    }

    fn image_of(set: &ReplicaSet) -> String {
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
        let spec = template
            .and_then(|template| template.spec.as_ref())
            .expect("a pod spec");
        spec.containers[0].image.clone().unwrap_or_default()
    }

    /// Sizes by image.
    fn sizes(&self) -> BTreeMap<String, i32> {
        self.observed
            .replica_sets
            .iter()
            .map(|set| (Self::image_of(set), sets::size(set)))
            .collect()
    }

    fn size(&self, image: &str) -> i32 {
        self.sizes()[image]
    }

    fn revision(&self, image: &str) -> String {
        let found = self
            .observed
            .replica_sets
            .iter()
            .find(|set| Self::image_of(set) == image)
            .expect("the set exists");
        found.annotations()["deployment.kubernetes.io/revision"].clone()
    }

    fn condition(&self, kind: &str) -> DeploymentCondition {
        let status = self.observed.deployment.status.as_ref().expect("a status");
        conditions::find(status, kind)
            .cloned()
            .unwrap_or_else(|| panic!("no condition {kind}"))
    }

    fn reason(&self, kind: &str) -> String {
        self.condition(kind).reason.unwrap_or_default()
    }

    fn available(&self) -> i32 {
        i32::try_from(self.pods.values().flatten().filter(|ready| **ready).count()).expect("few")
    }
}

fn settled(replicas: i32, change: &Value) -> World {
    let mut world = World::new(deployment(replicas, "v1", change));
    world.settle();
    world
}

#[test]
fn a_new_deployment_gets_one_replica_set_of_its_size() {
    let mut world = World::new(deployment(3, "v1", &json!({})));
    world.look();
    let set = world.observed.replica_sets[0].clone();
    let hash = set.labels()["pod-template-hash"].clone();
    assert_eq!(set.name_any(), format!("web-{hash}"));
    let spec = set.spec.as_ref().expect("a spec");
    assert_eq!(
        spec.selector.match_labels.as_ref().expect("labels")["pod-template-hash"],
        hash
    );
    assert_eq!(set.annotations()["deployment.kubernetes.io/revision"], "1");
    assert_eq!(
        set.annotations()["deployment.kubernetes.io/desired-replicas"],
        "3"
    );
    assert_eq!(
        set.annotations()["deployment.kubernetes.io/max-replicas"],
        "4"
    );
    assert_eq!(
        world.events,
        [format!(
            "ScalingReplicaSet: Scaled up replica set web-{hash} from 0 to 3"
        )]
    );
    assert_eq!(
        world.observed.deployment.annotations()["deployment.kubernetes.io/revision"],
        "1"
    );
    let progressing = world.condition("Progressing");
    assert_eq!(progressing.reason.as_deref(), Some("NewReplicaSetCreated"));
    assert_eq!(
        progressing.message,
        Some(format!("Created new replica set \"web-{hash}\""))
    );
    let available = world.condition("Available");
    assert_eq!(
        (available.status.as_str(), available.reason.as_deref()),
        ("False", Some("MinimumReplicasUnavailable"))
    );
    assert_eq!(
        available.message.as_deref(),
        Some("Deployment does not have minimum availability.")
    );

    world.settle();
    let progressing = world.condition("Progressing");
    assert_eq!(
        progressing.reason.as_deref(),
        Some("NewReplicaSetAvailable")
    );
    assert_eq!(
        progressing.message,
        Some(format!(
            "ReplicaSet \"web-{hash}\" has successfully progressed."
        ))
    );
    assert_eq!(world.reason("Available"), "MinimumReplicasAvailable");
    let status = world.observed.deployment.status.clone().expect("a status");
    assert_eq!(
        (
            status.replicas,
            status.updated_replicas,
            status.available_replicas
        ),
        (Some(3), Some(3), Some(3))
    );
    assert_eq!(status.unavailable_replicas, None);
}

#[test]
fn a_rolling_update_goes_in_the_steps_of_its_bounds() {
    let mut world = settled(4, &json!({}));
    world.set_image("v2");
    world.look();
    assert_eq!((world.size("v1"), world.size("v2")), (4, 1));
    world.settle_sets();
    world.look();
    assert_eq!((world.size("v1"), world.size("v2")), (3, 1));
    world.settle_sets();
    world.look();
    assert_eq!((world.size("v1"), world.size("v2")), (3, 2));
    world.settle();
    assert_eq!((world.size("v1"), world.size("v2")), (0, 4));
    assert_eq!(world.revision("v2"), "2");
}

#[test]
fn an_undo_reuses_the_old_replica_set_under_a_new_revision() {
    let mut world = settled(2, &json!({}));
    world.set_image("v2");
    world.settle();
    world.set_image("v1");
    world.settle();
    assert_eq!(world.observed.replica_sets.len(), 2);
    assert_eq!((world.size("v1"), world.size("v2")), (2, 0));
    assert_eq!(world.revision("v1"), "3");
    let set = world
        .observed
        .replica_sets
        .iter()
        .find(|set| World::image_of(set) == "v1")
        .expect("the set");
    assert_eq!(
        set.annotations()["deployment.kubernetes.io/revision-history"],
        "1"
    );
    assert_eq!(
        world.observed.deployment.annotations()["deployment.kubernetes.io/revision"],
        "3"
    );
    world.set_image("v2");
    world.settle();
    world.set_image("v1");
    world.settle();
    let set = world
        .observed
        .replica_sets
        .iter()
        .find(|set| World::image_of(set) == "v1")
        .expect("the set");
    assert_eq!(
        set.annotations()["deployment.kubernetes.io/revision-history"],
        "1,3"
    );
}

#[test]
fn annotations_reach_the_replica_set_but_for_the_deployments_own() {
    let mut world = settled(1, &json!({}));
    world.change(|deployment| {
        let annotations = deployment.annotations_mut();
        annotations.insert(
            "kubernetes.io/change-cause".to_owned(),
            "a reason".to_owned(),
        );
        annotations.insert(
            "kubectl.kubernetes.io/last-applied-configuration".to_owned(),
            "{}".to_owned(),
        );
    });
    world.settle();
    let set = &world.observed.replica_sets[0];
    assert_eq!(set.annotations()["kubernetes.io/change-cause"], "a reason");
    assert!(
        !set.annotations()
            .contains_key("kubectl.kubernetes.io/last-applied-configuration")
    );
}

#[test]
fn recreate_waits_for_all_old_pods_to_end() {
    let mut world = settled(3, &json!({"strategy": {"type": "Recreate"}}));
    world.set_image("v2");
    world.look();
    assert_eq!(world.sizes(), BTreeMap::from([("v1".to_owned(), 0)]));
    world.look();
    assert_eq!(world.sizes().len(), 1, "the status still counts old pods");
    let old = world.observed.replica_sets[0].clone();
    let pod = json!({"metadata": {"name": "p", "labels": {"app": "web"}, "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": old.name_any(), "uid": old.uid(), "controller": true}]},
        "status": {"phase": "Running"}});
    world.observed.pods = vec![Arc::new(serde_json::from_value(pod).expect("a valid pod"))];
    world.settle_sets();
    world.look();
    assert_eq!(world.sizes().len(), 1, "a pod still ends");
    world.observed.pods.clear();
    world.settle();
    assert_eq!((world.size("v1"), world.size("v2")), (0, 3));
    assert_eq!(world.reason("Progressing"), "NewReplicaSetAvailable");
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = settled(2, &json!({}));
    world.pause(true);
    world.set_image("v2");
    world.scale(5);
    world.settle();
    assert_eq!(world.sizes(), BTreeMap::from([("v1".to_owned(), 5)]));
    let progressing = world.condition("Progressing");
    assert_eq!(
        (progressing.status.as_str(), progressing.reason.as_deref()),
        ("Unknown", Some("DeploymentPaused"))
    );
    assert_eq!(progressing.message.as_deref(), Some("Deployment is paused"));
    world.pause(false);
    world.look();
    world.settle();
    assert_eq!((world.size("v1"), world.size("v2")), (0, 5));
    assert_eq!(world.reason("Progressing"), "NewReplicaSetAvailable");
}

#[test]
fn a_deployment_scaled_mid_rollout_scales_in_proportion() {
    // As in Kubernetes' documentation: 10 replicas, surge 3, unavailable 2, then 15.
    let rolling = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}});
    let mut world = settled(10, &rolling);
    world.set_image("v2");
    for _ in 0..4 {
        world.look();
        world.settle_sets();
    }
    assert_eq!((world.size("v1"), world.size("v2")), (8, 5));
    world.scale(15);
    world.look();
    assert_eq!((world.size("v1"), world.size("v2")), (11, 7));
    world.settle();
    assert_eq!((world.size("v1"), world.size("v2")), (0, 15));
    world.set_image("v3");
    world.look();
    world.scale(0);
    world.settle();
    assert!(world.sizes().values().all(|size| *size == 0));
}

#[test]
fn history_beyond_the_limit_is_deleted_oldest_first() {
    let mut world = settled(1, &json!({"revisionHistoryLimit": 2}));
    for image in ["v2", "v3", "v4", "v5"] {
        world.set_image(image);
        world.settle();
    }
    let images: Vec<String> = world.sizes().into_keys().collect();
    assert_eq!(images, ["v3", "v4", "v5"]);
}

#[test]
fn a_rollout_without_progress_fails_after_its_deadline() {
    let mut world = settled(2, &json!({"progressDeadlineSeconds": 60}));
    world.set_image("broken");
    for _ in 0..5 {
        world.look();
        world.settle_sets();
    }
    let due = plan(&world.observed, at(world.second))
        .look_again
        .expect("a time to look again");
    world.second = due.as_second() - START - 5;
    world.look();
    assert_ne!(world.reason("Progressing"), "ProgressDeadlineExceeded");
    world.second = due.as_second() - START;
    world.look();
    let progressing = world.condition("Progressing");
    assert_eq!(
        (progressing.status.as_str(), progressing.reason.as_deref()),
        ("False", Some("ProgressDeadlineExceeded"))
    );
    assert!(
        progressing
            .message
            .unwrap_or_default()
            .ends_with("has timed out progressing.")
    );
    assert_eq!(plan(&world.observed, at(world.second)).look_again, None);
    // A pause does not hide it, and new progress ends it.
    world.settle();
    assert_eq!(world.reason("Progressing"), "NewReplicaSetAvailable");
}

#[test]
fn a_failure_of_a_replica_set_is_the_deployments_too() {
    let mut world = settled(1, &json!({}));
    world.observed.replica_sets[0]
        .status
        .as_mut()
        .expect("a status")
        .conditions = Some(vec![k8s_openapi::api::apps::v1::ReplicaSetCondition {
        type_: "ReplicaFailure".to_owned(),
        status: "True".to_owned(),
        reason: Some("FailedCreate".to_owned()),
        message: Some("no quota".to_owned()),
        last_transition_time: None,
    }]);
    world.look();
    let failure = world.condition("ReplicaFailure");
    assert_eq!(
        (failure.reason.as_deref(), failure.message.as_deref()),
        (Some("FailedCreate"), Some("no quota"))
    );
    world.settle();
    let status = world.observed.deployment.status.as_ref().expect("a status");
    assert!(conditions::find(status, "ReplicaFailure").is_none());
}

#[test]
fn a_name_that_another_template_has_is_a_collision() {
    let mut world = World::new(deployment(1, "v1", &json!({})));
    world.look();
    let taken = world.observed.replica_sets[0].clone();
    let fresh = Observed {
        deployment: deployment(1, "v1", &json!({})),
        replica_sets: Vec::new(),
        pods: Vec::new(),
    };
    assert_eq!(on_name_taken(&fresh, &taken), None);
    let mut stranger = taken.clone();
    stranger.metadata.owner_references = None;
    let collided = on_name_taken(&fresh, &stranger).expect("a collision");
    assert_eq!(
        collided
            .status
            .as_ref()
            .and_then(|status| status.collision_count),
        Some(1)
    );
    let mut again = World::new(collided);
    again.look();
    assert_ne!(again.observed.replica_sets[0].name_any(), taken.name_any());
}

#[test]
fn a_deployment_that_would_select_everything_is_refused() {
    let observed = Observed {
        deployment: deployment(1, "v1", &json!({"selector": {}})),
        replica_sets: Vec::new(),
        pods: Vec::new(),
    };
    let Plan { actions, .. } = plan(&observed, at(0));
    let Action::Record(EventType::Warning, reason, message) = &actions[0] else {
        panic!("{actions:?}")
    };
    assert_eq!(*reason, "SelectingAll");
    assert_eq!(
        message,
        "This deployment is selecting all pods. A non-empty selector is required."
    );
}

#[test]
fn min_ready_seconds_reaches_the_replica_set() {
    let mut world = settled(1, &json!({}));
    world
        .change(|deployment| deployment.spec.as_mut().expect("a spec").min_ready_seconds = Some(7));
    world.settle();
    let spec = world.observed.replica_sets[0]
        .spec
        .as_ref()
        .expect("a spec");
    assert_eq!(spec.min_ready_seconds, Some(7));
}

/// What happens in the model, in any order.
#[derive(Clone, Debug)]
enum Step {
    Look,
    Resize(usize),
    Tell(usize),
    Ready(usize),
    Image(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Look),
        4 => (0..4_usize).prop_map(Step::Resize),
        4 => (0..4_usize).prop_map(Step::Tell),
        4 => (0..40_usize).prop_map(Step::Ready),
        1 => (0..4_u8).prop_map(Step::Image),
    ]
}

fn bound() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0..6_i32).prop_map(Value::from),
        (0..=100_i32).prop_map(|percent| format!("{percent}%").into())
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever order pods, statuses and looks come in, and however late statuses are: no more
    /// pods are asked for than the surge allows, no fewer are available than the bound, and the
    /// newest template wins in the end.
    #[test]
    fn a_rolling_update_stays_within_its_bounds(
        replicas in 0..12_i32,
        surge in bound(),
        unavailable in bound(),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let rolling = json!({"strategy": {"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}});
        let mut world = settled(replicas, &rolling);
        let most = replicas + sets::max_surge(&world.observed.deployment);
        let least = replicas - sets::max_unavailable(&world.observed.deployment);
        for step in steps {
            let count = world.observed.replica_sets.len();
            match step {
                Step::Look => {
                    world.look();
                }
                Step::Resize(index) => world.resize(index % count),
                Step::Tell(index) => world.tell(index % count),
                Step::Ready(index) => {
                    let mut pods: Vec<&mut Ready> = world.pods.values_mut().flatten().collect();
                    let length = pods.len().max(1);
                    if let Some(pod) = pods.get_mut(index % length) {
                        **pod = true;
                    }
                }
                Step::Image(number) => world.set_image(&format!("v{number}")),
            }
            let total: i32 = world.sizes().values().sum();
            prop_assert!(total <= most, "{total} pods asked for, {most} allowed");
            prop_assert!(world.available() >= least, "{} available, {least} needed", world.available());
        }
        world.settle();
        let image = World::image_of(world.observed.replica_sets.iter().max_by_key(|set| sets::revision(set)).expect("a set"));
        for (other, size) in world.sizes() {
            prop_assert_eq!(size, if other == image { replicas } else { 0 });
        }
    }

    /// However a Deployment is scaled in the middle of a rollout, it comes to rest at its size.
    #[test]
    fn scaling_in_a_rollout_comes_to_rest(sizes in prop::collection::vec((0..15_i32, 0..4_u8, 0..5_usize), 1..8)) {
        let mut world = settled(3, &json!({}));
        for (replicas, image, looks) in sizes {
            world.scale(replicas);
            world.set_image(&format!("v{image}"));
            for _ in 0..looks {
                world.look();
                world.settle_sets();
            }
            let total: i32 = world.sizes().values().sum();
            prop_assert!(total >= 0);
        }
        world.settle();
        let wanted = sets::wanted(&world.observed.deployment);
        prop_assert_eq!(world.sizes().values().sum::<i32>(), wanted);
        prop_assert_eq!(world.sizes().values().filter(|size| **size > 0).count(), usize::from(wanted > 0));
    }
}
