use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn policy() -> impl Strategy<Value = Value> {
    (prop::bool::ANY, 1..200_i32, 1..120_i32).prop_map(|(pods, value, period)| {
        json!({"type": if pods { "Pods" } else { "Percent" }, "value": value, "periodSeconds": period})
    })
}

fn rules() -> impl Strategy<Value = Value> {
    let select = prop::sample::select(vec!["Max", "Min", "Disabled"]);
    let tolerance = prop::sample::select(vec!["0", "50m", "100m", "1"]);
    (
        prop::collection::vec(policy(), 1..4),
        select,
        0..400_i32,
        tolerance,
    )
        .prop_map(|(policies, select, window, tolerance)| {
            json!({
                "policies": policies,
                "selectPolicy": select,
                "stabilizationWindowSeconds": window,
                "tolerance": tolerance,
            })
        })
}

fn behavior() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        (rules(), rules()).prop_map(|(up, down)| json!({"scaleUp": up, "scaleDown": down})),
    ]
}

/// What happens to a pod before a tick.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Fine,
    Silent,
    Pending,
    Failed,
    Deleted,
    Unready,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop::sample::select(vec![
        Fate::Fine,
        Fate::Fine,
        Fate::Fine,
        Fate::Silent,
        Fate::Pending,
        Fate::Failed,
        Fate::Deleted,
        Fate::Unready,
    ])
}

fn befall(bench: &mut Bench, usage: i64, fates: &[Fate]) {
    bench.scale(bench.replicas);
    bench.use_cpu(usage);
    let now = bench.now;
    for (pod, fate) in bench.pods.iter_mut().zip(fates.iter().cycle()) {
        match fate {
            Fate::Fine | Fate::Silent => {}
            Fate::Pending => pod.phase = "Pending".to_owned(),
            Fate::Failed => pod.phase = "Failed".to_owned(),
            Fate::Deleted => pod.deleted = true,
            Fate::Unready => {
                pod.start_time = Some(now);
                pod.ready = Some(ReadyCondition {
                    status: Tristate::False,
                    since: now,
                });
            }
        }
    }
    let silent = fates
        .iter()
        .cycle()
        .zip(&bench.pods)
        .filter(|(fate, _)| matches!(fate, Fate::Silent));
    let silent: Vec<String> = silent.map(|(_, pod)| pod.name.clone()).collect();
    if let Some(Ok(Reading::Pods(samples))) = bench.readings.first_mut() {
        samples.retain(|name, _| !silent.contains(name));
    }
}

proptest! {
    #[test]
    fn replicas_never_leave_the_bounds(
        behavior in behavior(),
        start in 1..40_i32,
        ticks in prop::collection::vec((0..3000_i64, 1..200_i64, prop::collection::vec(fate(), 1..6)), 1..30),
    ) {
        let mut bench = Bench::cpu(behavior);
        bench.scale(start);
        for (usage, wait, fates) in ticks {
            befall(&mut bench, usage, &fates);
            let ticked = bench.tick();
            prop_assert!((2..=10).contains(&ticked.desired()), "{:?}", ticked.explanation);
            prop_assert_eq!(ticked.outcome.scaled, ticked.desired() != bench.replicas);
            bench.scale(ticked.desired());
            bench.wait(wait);
        }
    }

    #[test]
    fn more_usage_never_gives_fewer_replicas(
        behavior in behavior(),
        replicas in 2..10_i32,
        less in 0..2000_i64,
        more in 0..2000_i64,
    ) {
        let desired = |usage| {
            let mut bench = Bench::cpu(behavior.clone());
            bench.scale(replicas);
            bench.use_cpu(usage);
            bench.tick().desired()
        };
        prop_assert!(desired(less.min(more)) <= desired(less.max(more)));
    }

    #[test]
    fn what_is_not_known_of_a_pod_never_turns_the_direction(
        replicas in 2..10_i32,
        usage in 0..3000_i64,
        fates in prop::collection::vec(fate(), 1..8),
    ) {
        let mut bench = Bench::cpu(Value::Null);
        bench.scale(replicas);
        befall(&mut bench, usage, &fates);
        let ticked = bench.tick();
        if let Ok(proposal) = &ticked.explanation.metrics[0].proposal
            && proposal.adjusted_ratio.is_some()
        {
            let (up, down) = (proposal.replicas > replicas, proposal.replicas < replicas);
            let turned = (up && proposal.ratio < 1.0) || (down && proposal.ratio > 1.0);
            prop_assert!(!turned, "{proposal:?}");
        }
    }

    #[test]
    fn a_policy_allows_no_more_than_its_value_within_its_period(
        value in 1..5_i32,
        period in 10..90_i64,
        waits in prop::collection::vec(1..40_i64, 1..40),
    ) {
        let rules = json!({
            "policies": [{"type": "Pods", "value": value, "periodSeconds": period}],
            "stabilizationWindowSeconds": 0,
        });
        let mut bench = Bench::cpu(json!({"scaleUp": rules}));
        bench.spec.max_replicas = 1000;
        let mut changes: Vec<(Timestamp, i32)> = Vec::new();
        for wait in waits {
            bench.use_cpu(5000);
            let ticked = bench.tick();
            changes.push((bench.now, ticked.desired() - bench.replicas));
            let cutoff = bench.now - SignedDuration::from_secs(period);
            let recent: i32 = changes.iter().filter(|(at, _)| *at > cutoff).map(|(_, added)| added).sum();
            prop_assert!(recent <= value, "{recent} within {period} s");
            bench.scale(ticked.desired());
            bench.wait(wait);
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_decision(
        behavior in behavior(),
        usages in prop::collection::vec(0..3000_i64, 1..10),
    ) {
        let run = || {
            let mut bench = Bench::cpu(behavior.clone());
            usages.iter().map(|usage| {
                bench.use_cpu(*usage);
                let ticked = bench.tick();
                bench.scale(ticked.desired());
                bench.wait(15);
                ticked.explanation
            }).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }
}
