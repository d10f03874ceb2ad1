//! The same platform where requests fail, answers are lost, watches break off or must list anew,
//! and controllers restart in the middle of their work.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use springtide_client::pods;
use springtide_machinery::entropy::Entropy;
use springtide_sim::{FaultRates, Faults, HollowNode};

use super::world::World;

/// Seeds tried in each run; `SPRINGTIDE_SEED` tries that one alone.
const SEEDS: std::ops::Range<u64> = 0..4;

fn seeds() -> Vec<u64> {
    let given = std::env::var("SPRINGTIDE_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    given.map_or_else(|| SEEDS.collect(), |seed| vec![seed])
}

/// One life: a Deployment is scaled and changed while all goes wrong, then failures end. Returns
/// the pods there are in the end, each with its resourceVersion, which counts all writes before.
async fn live(seed: u64) -> BTreeMap<String, Option<String>> {
    let chance = Entropy::from_seed(seed);
    let faults = Faults::new(chance.fork(), FaultRates::default());
    let mut world = World::with(HollowNode::new("node"), seed, Some(faults)).await;
    world.deploy("web", 3).await;
    for round in 0..12 {
        match chance.below(4) {
            0 => {
                world
                    .scale("web", i32::try_from(chance.below(8)).expect("few") + 1)
                    .await;
            }
            1 => {
                world
                    .set_image("web", &format!("web:{}", chance.below(4)))
                    .await;
            }
            2 => world.restart_controllers(),
            _ => {
                let pods = world.list::<Pod>().await;
                let index = usize::try_from(chance.below(pods.len().max(1) as u64)).expect("few");
                if let Some(pod) = pods.get(index) {
                    let deleted = world
                        .of::<Pod>()
                        .delete(&pod.name_any(), &Default::default())
                        .await;
                    drop(deleted);
                }
            }
        }
        let most = bound(&world).await;
        for _ in 0..chance.below(60) {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let count = world.pods().await.len();
            assert!(
                count <= most,
                "seed {seed}, round {round}: {count} pods, {most} are the most"
            );
        }
    }
    world.heal();
    world.rolled_out("web").await;
    world
        .eventually("only the wanted pods are left", async || {
            let pods = world.list::<Pod>().await;
            pods.iter().all(pods::is_ready) && pods.len() == world.pods().await.len()
        })
        .await;
    let pods = world.list::<Pod>().await;
    pods.iter()
        .map(|pod| (pod.name_any(), pod.resource_version()))
        .collect()
}

/// The most pods there may be: none beyond what is wanted and its surge, but for those that
/// answers were lost about (the pod is made, and nobody knows), and those of a larger size before.
async fn bound(world: &World) -> usize {
    let deployment: Deployment = world.get("web").await;
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let now = world.pods().await.len();
    let surge = usize::try_from(wanted).unwrap_or(0).div_ceil(4);
    let lost = 3;
    now.max(usize::try_from(wanted).unwrap_or(0) + surge) + lost
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_the_platform_converges() {
    for seed in seeds() {
        println!("seed {seed}");
        let pods = live(seed).await;
        assert!(!pods.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_life() {
    let seed = seeds()[0];
    println!("seed {seed}");
    assert_eq!(live(seed).await, live(seed).await);
}

/// Watches that are late or lost, conflicts and restarts never make a ReplicaSet have more pods
/// than it is told to. (A lost answer can: the pod is made, and nobody knows.)
#[tokio::test(start_paused = true)]
async fn a_late_watch_never_makes_too_many_pods() {
    for seed in seeds() {
        println!("seed {seed}");
        let chance = Entropy::from_seed(seed);
        let rates = FaultRates {
            answer_lost: 0,
            watch_within: Duration::from_secs(2),
            delay: Duration::from_millis(200),
            ..FaultRates::default()
        };
        let faults = Faults::new(chance.fork(), rates);
        let node = HollowNode::new("node").start_delay(Duration::from_millis(200));
        let world = World::with(node, seed, Some(faults)).await;
        world.deploy("web", 1).await;
        for wanted in [3, 7, 12, 16] {
            world.scale("web", wanted).await;
            for _ in 0..chance.below(200) {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let pods = world.pods().await;
                let most = usize::try_from(wanted).expect("few");
                assert!(
                    pods.len() <= most,
                    "seed {seed}: {} pods, {most} wanted",
                    pods.len()
                );
                if chance.below(40) == 0 && !pods.is_empty() {
                    let index = usize::try_from(chance.below(pods.len() as u64)).expect("few");
                    let name = pods[index].name_any();
                    let deleted = world
                        .of::<Pod>()
                        .delete(&name, &DeleteParams::default())
                        .await;
                    deleted.expect("deleted");
                }
            }
        }
        world.heal();
        world.rolled_out("web").await;
    }
}
