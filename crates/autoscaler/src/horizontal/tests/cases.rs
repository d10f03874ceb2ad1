use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;

#[test]
fn usage_over_target_adds_replicas_in_proportion() {
    let mut bench = Bench::cpu(Value::Null);
    bench.use_cpu(200);
    let ticked = bench.tick();
    assert_eq!(ticked.desired(), 3);
    assert_eq!(ticked.rule(), Rule::Ready(2));
    assert_eq!(
        ticked.events(),
        ["New size: 3; reason: cpu resource utilization (percentage of request) above target"]
    );
    assert_eq!(bench.reason("AbleToScale"), "SucceededRescale");
}

#[test]
fn utilization_is_cut_to_a_whole_percent_before_it_is_compared() {
    let mut bench = Bench::cpu(Value::Null);
    bench.scale(4);
    // 77.5 % becomes 77 %, which is within a tenth of 70 %.
    bench.use_cpu(155);
    assert_eq!(bench.tick().rule(), Rule::WithinTolerance);
}

#[test]
fn without_a_behavior_replicas_at_most_double_or_become_four() {
    let mut bench = Bench::cpu(Value::Null);
    bench.use_cpu(2000);
    let ticked = bench.tick();
    assert_eq!(ticked.desired(), 4);
    assert_eq!(bench.reason("ScalingLimited"), "ScaleUpLimit");
    bench.scale(5);
    bench.spec.max_replicas = 30;
    bench.use_cpu(2000);
    assert_eq!(bench.tick().desired(), 10);
}

#[test]
fn a_higher_recommendation_of_the_last_five_minutes_holds_off_a_scale_down() {
    let mut bench = Bench::cpu(Value::Null);
    bench.scale(6);
    bench.use_cpu(140);
    bench.tick();
    bench.wait(300);
    bench.use_cpu(20);
    let ticked = bench.tick();
    assert_eq!(
        ticked.desired(),
        6,
        "without a behavior the window's edge is in it"
    );
    assert_eq!(bench.reason("AbleToScale"), "ScaleDownStabilized");
    assert_eq!(
        ticked.explanation.stabilization.unwrap().held_by,
        Some(bench.now - SignedDuration::from_secs(300))
    );
    bench.wait(1);
    assert_eq!(bench.tick().desired(), 2);
}

#[test]
fn with_a_behavior_the_windows_edge_is_outside() {
    let mut bench = Bench::cpu(json!({"scaleDown": {"stabilizationWindowSeconds": 300}}));
    bench.scale(6);
    bench.use_cpu(140);
    bench.tick();
    bench.wait(300);
    bench.use_cpu(20);
    assert_eq!(bench.tick().desired(), 2);
}

#[test]
fn policies_count_what_was_changed_within_their_period() {
    let rules =
        json!({"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 30}]}});
    let mut bench = Bench::cpu(rules);
    bench.use_cpu(1000);
    let ticked = bench.tick();
    assert_eq!(ticked.desired(), 4);
    let policy = Policy::Behavior {
        kind: "Pods".to_owned(),
        value: 2,
        period_seconds: 30,
        period_start_replicas: 2,
    };
    assert_eq!(
        ticked.explanation.limit,
        Some(Limit::ScaleUp(PolicyLimit {
            replicas: 4,
            policy
        }))
    );
    bench.scale(4);
    bench.wait(15);
    bench.use_cpu(1000);
    assert_eq!(bench.tick().desired(), 4, "the period's two are used up");
    bench.wait(15);
    bench.use_cpu(1000);
    assert_eq!(bench.tick().desired(), 6);
}

#[test]
fn the_select_policy_chooses_the_greatest_or_the_smallest_change_or_none() {
    let policies = json!([{"type": "Pods", "value": 1, "periodSeconds": 60}, {"type": "Percent", "value": 50, "periodSeconds": 60}]);
    for (select, down, up) in [("Max", 4, 10), ("Min", 7, 9), ("Disabled", 8, 8)] {
        let rules =
            json!({"selectPolicy": select, "stabilizationWindowSeconds": 0, "policies": policies});
        for (usage, desired) in [(1, down), (2000, up)] {
            let mut bench = Bench::cpu(json!({"scaleUp": rules, "scaleDown": rules}));
            bench.scale(8);
            bench.use_cpu(usage);
            assert_eq!(bench.tick().desired(), desired, "{select} {usage}");
        }
    }
}

#[test]
fn percent_rounds_up_on_the_way_up_and_down_on_the_way_down() {
    let rules = json!({"policies": [{"type": "Percent", "value": 10, "periodSeconds": 60}], "stabilizationWindowSeconds": 0});
    let mut bench = Bench::cpu(json!({"scaleUp": rules, "scaleDown": rules}));
    bench.use_cpu(2000);
    assert_eq!(bench.tick().desired(), 3);
    bench.wait(60);
    bench.scale(5);
    bench.use_cpu(0);
    assert_eq!(bench.tick().desired(), 4);
}

#[test]
fn each_direction_has_its_own_tolerance() {
    let behavior = json!({"scaleUp": {"tolerance": "0"}, "scaleDown": {"tolerance": "500m", "stabilizationWindowSeconds": 0}});
    let mut bench = Bench::cpu(behavior);
    bench.scale(4);
    bench.use_cpu(142);
    assert_eq!(bench.tick().desired(), 5);
    bench.wait(60);
    bench.use_cpu(70);
    assert_eq!(bench.tick().rule(), Rule::WithinTolerance);
    bench.use_cpu(68);
    assert_eq!(bench.tick().desired(), 2);
}

#[test]
fn outside_its_bounds_an_autoscaler_corrects_without_looking_at_metrics() {
    let mut bench = Bench::cpu(Value::Null);
    bench.scale(12);
    assert!(!needs_metrics(&bench.spec, 12));
    let ticked = bench.tick();
    assert_eq!(
        ticked.events(),
        ["New size: 10; reason: Current number of replicas above Spec.MaxReplicas"]
    );
    assert_eq!(ticked.outcome.current_metrics, None);
    bench.scale(1);
    let ticked = bench.tick();
    assert_eq!(
        ticked.events(),
        ["New size: 2; reason: Current number of replicas below Spec.MinReplicas"]
    );
    assert_eq!(ticked.explanation.stage, Stage::BelowMinimum);
}

#[test]
fn no_replicas_switch_the_autoscaler_off() {
    let mut bench = Bench::cpu(Value::Null);
    bench.scale(0);
    let ticked = bench.tick();
    assert_eq!((ticked.desired(), ticked.outcome.scaled), (0, false));
    assert_eq!(bench.reason("ScalingActive"), "ScalingDisabled");
}

#[test]
fn missing_pods_hold_a_change_back() {
    let mut bench = Bench::cpu(Value::Null);
    bench.scale(4);
    bench.use_cpu(60);
    drop_samples(&mut bench, &["web-03"]);
    // 30 % of three, and 100 % assumed of the fourth, are 47 % of four.
    let ticked = bench.tick();
    assert_eq!(ticked.rule(), Rule::Adjusted(4));
    assert_eq!(
        ticked.explanation.stabilization.as_ref().unwrap().proposed,
        3
    );
    let proposal = ticked.explanation.metrics[0].proposal.as_ref().unwrap();
    assert_eq!(proposal.pods[3], ("web-03".to_owned(), PodClass::Missing));

    bench.use_cpu(180);
    drop_samples(&mut bench, &["web-03"]);
    assert_eq!(bench.tick().rule(), Rule::WithinTolerance);
    bench.use_cpu(160);
    drop_samples(&mut bench, &["web-02", "web-03"]);
    assert_eq!(bench.tick().rule(), Rule::AdjustedReverses);
}

#[test]
fn a_young_pods_cpu_does_not_count() {
    let mut bench = Bench::cpu(Value::Null);
    bench.scale(3);
    bench.use_cpu(140);
    let young = bench.now - SignedDuration::from_secs(60);
    let just_now = bench.now - SignedDuration::from_secs(2);
    bench.pods[2].start_time = Some(young);
    bench.pods[2].ready = Some(ReadyCondition {
        status: Tristate::True,
        since: just_now,
    });
    bench.readings = vec![Ok(Reading::Pods(BTreeMap::from([
        ("web-00".to_owned(), bench.sample(140)),
        ("web-01".to_owned(), bench.sample(140)),
        ("web-02".to_owned(), bench.sample(2000)),
    ])))];
    let ticked = bench.tick();
    assert_eq!(ticked.desired(), 3);
    let class = |ticked: &Ticked| {
        ticked.explanation.metrics[0]
            .proposal
            .as_ref()
            .unwrap()
            .pods[2]
            .1
    };
    assert_eq!(
        class(&ticked),
        PodClass::Unready,
        "the sample's window began before it was ready"
    );
    bench.pods[2].ready = Some(ReadyCondition {
        status: Tristate::True,
        since: bench.now - SignedDuration::from_secs(5),
    });
    assert_eq!(class(&bench.tick()), PodClass::Ready);
}

#[test]
fn a_pod_that_was_ready_once_counts_although_it_is_not_ready_now() {
    let mut bench = Bench::cpu(Value::Null);
    bench.use_cpu(140);
    let start = bench.now - SignedDuration::from_secs(3600);
    bench.pods[1].ready = Some(ReadyCondition {
        status: Tristate::False,
        since: start + SignedDuration::from_secs(29),
    });
    let class = |ticked: &Ticked| {
        ticked.explanation.metrics[0]
            .proposal
            .as_ref()
            .unwrap()
            .pods[1]
            .1
    };
    assert_eq!(class(&bench.tick()), PodClass::Unready, "it never was");
    bench.pods[1].ready = Some(ReadyCondition {
        status: Tristate::False,
        since: bench.now,
    });
    assert_eq!(class(&bench.tick()), PodClass::Ready);
}

#[test]
fn deleted_and_failed_pods_are_left_out() {
    let mut bench = Bench::cpu(Value::Null);
    bench.scale(4);
    bench.use_cpu(140);
    bench.pods[0].deleted = true;
    bench.pods[1].phase = "Failed".to_owned();
    bench.pods[2].phase = "Pending".to_owned();
    let ticked = bench.tick();
    let classes: Vec<PodClass> = ticked.explanation.metrics[0]
        .proposal
        .as_ref()
        .unwrap()
        .pods
        .iter()
        .map(|(_, class)| *class)
        .collect();
    assert_eq!(
        classes,
        [
            PodClass::Ignored,
            PodClass::Ignored,
            PodClass::Unready,
            PodClass::Ready
        ]
    );
}

#[test]
fn a_container_without_a_request_is_named() {
    let mut bench = Bench::cpu(Value::Null);
    bench.use_cpu(140);
    for pod in &mut bench.pods {
        pod.containers[0].requests.clear();
    }
    let ticked = bench.tick();
    let cause =
        "failed to get cpu utilization: missing request for cpu in container app of Pod web-00";
    let invalid = format!(
        "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: {cause}"
    );
    assert_eq!(ticked.events(), [cause, invalid.as_str()]);
    let error = ticked.outcome.error.unwrap().to_string();
    assert_eq!(
        error,
        format!(
            "failed to compute desired number of replicas based on listed metrics for Deployment/shop/web: {invalid}"
        )
    );
    assert_eq!(ticked.outcome.desired_replicas, None);
}

#[test]
fn requests_of_the_pod_as_a_whole_count_before_its_containers() {
    let mut bench = Bench::cpu(Value::Null);
    bench.use_cpu(140);
    for pod in &mut bench.pods {
        pod.containers[0].requests.clear();
        pod.pod_requests = Some(BTreeMap::from([("cpu".to_owned(), 100)]));
    }
    assert_eq!(bench.tick().desired(), 4);
    for pod in &mut bench.pods {
        pod.pod_requests = Some(BTreeMap::from([("memory".to_owned(), 100)]));
    }
    assert_eq!(
        bench.tick().events()[0],
        "failed to get cpu utilization: missing pod-level request for cpu in Pod web-00"
    );
}

#[test]
fn one_broken_metric_stops_a_scale_down_but_no_scale_up() {
    let external = json!({"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}}});
    let mut bench = Bench::new(&json!([cpu_target(70), external]), Value::Null);
    let gone = Err("no metrics returned from external metrics API".to_owned());
    bench.scale(4);
    bench.use_cpu(20);
    bench.readings.push(gone.clone());
    let ticked = bench.tick();
    assert_eq!(ticked.explanation.stage, Stage::InvalidMetrics);
    assert_eq!(bench.reason("ScalingActive"), "FailedGetExternalMetric");
    bench.use_cpu(190);
    bench.readings.push(gone);
    let ticked = bench.tick();
    assert_eq!(ticked.desired(), 6);
    assert!(matches!(
        ticked.outcome.error,
        Some(Failure::SomeMetrics(_))
    ));
    let shown = serde_json::to_value(ticked.outcome.current_metrics).unwrap();
    assert_eq!(shown[1], json!({"type": ""}));
}

#[test]
fn the_metric_that_asks_for_most_wins_and_is_named() {
    let pods = json!({"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}});
    let mut bench = Bench::new(&json!([cpu_target(70), pods]), Value::Null);
    bench.use_cpu(150);
    let samples = bench
        .pods
        .iter()
        .map(|pod| (pod.name.clone(), bench.sample(20_000)))
        .collect();
    bench.readings.push(Ok(Reading::Pods(samples)));
    let ticked = bench.tick();
    assert_eq!(ticked.explanation.chosen_metric, Some(1));
    assert_eq!(
        ticked.events(),
        ["New size: 4; reason: pods metric rps above target"]
    );
}

#[test]
fn totals_are_compared_as_a_whole_or_for_each_pod() {
    let object = |target: Value| {
        json!([{"type": "Object", "object": {
            "metric": {"name": "requests"},
            "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "front"},
            "target": target,
        }}])
    };
    let mut bench = Bench::new(
        &object(json!({"type": "Value", "value": "100"})),
        Value::Null,
    );
    bench.scale(4);
    bench.readings = vec![Ok(Reading::Object(150_000))];
    assert_eq!(bench.tick().desired(), 6);
    let shown = serde_json::to_value(bench.tick().outcome.current_metrics).unwrap();
    assert_eq!(shown[0]["object"]["current"], json!({"value": "150"}));

    let mut bench = Bench::new(
        &object(json!({"type": "AverageValue", "averageValue": "30"})),
        Value::Null,
    );
    bench.scale(4);
    bench.readings = vec![Ok(Reading::Object(150_500))];
    let ticked = bench.tick();
    assert_eq!(ticked.desired(), 6);
    let shown = serde_json::to_value(ticked.outcome.current_metrics).unwrap();
    assert_eq!(
        shown[0]["object"]["current"],
        json!({"averageValue": "37625m"})
    );
    bench.readings = vec![Err(
        "unable to fetch metrics from custom metrics API: requests not found".to_owned(),
    )];
    assert_eq!(
        bench.tick().events()[0],
        "unable to get metric requests: Service on shop front/unable to fetch metrics from custom metrics API: requests not found"
    );
}

#[test]
fn memory_is_shown_in_binary_units() {
    let memory = json!([{"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Mi"}}}]);
    let mut bench = Bench::new(&memory, Value::Null);
    bench.use_cpu(1024 * 1024 * 1000);
    let shown = serde_json::to_value(bench.tick().outcome.current_metrics).unwrap();
    assert_eq!(
        shown[0]["resource"]["current"],
        json!({"averageValue": "1Mi"})
    );
}

#[test]
fn a_selector_that_tells_no_pods_is_reported() {
    let cases = [
        (
            SelectorProblem::Missing,
            "InvalidSelector",
            "selector is required",
        ),
        (
            SelectorProblem::Ambiguous {
                selector: "app=web".to_owned(),
                autoscalers: vec![
                    ("a".to_owned(), "shop".to_owned()),
                    ("b".to_owned(), "shop".to_owned()),
                ],
            },
            "AmbiguousSelector",
            "pods by selector app=web are controlled by multiple HPAs: [{a shop} {b shop}]",
        ),
    ];
    for (problem, reason, message) in cases {
        let mut bench = Bench::cpu(Value::Null);
        let ticked = bench.tick_selected(Ok(()), Some(problem));
        assert_eq!(ticked.events(), [message, message]);
        assert_eq!(bench.reason("ScalingActive"), reason);
    }
}

#[test]
fn a_refused_scale_is_told_and_not_counted() {
    let rules =
        json!({"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}});
    let mut bench = Bench::cpu(rules);
    bench.use_cpu(1000);
    let ticked = bench.tick_with(Err("quota".to_owned()));
    assert_eq!(
        ticked.events(),
        [
            "New size: 4; reason: cpu resource utilization (percentage of request) above target; error: quota"
        ]
    );
    assert_eq!(bench.reason("AbleToScale"), "FailedUpdateScale");
    assert_eq!(ticked.outcome.desired_replicas, None);
    assert_eq!(
        ticked.outcome.error.unwrap().to_string(),
        "failed to rescale Deployment/shop/web: quota"
    );
    bench.use_cpu(1000);
    assert_eq!(
        bench.tick().desired(),
        4,
        "the refused change used up no policy"
    );
}

#[test]
fn a_condition_keeps_its_time_while_its_status_does() {
    let mut bench = Bench::cpu(Value::Null);
    bench.use_cpu(140);
    bench.tick();
    let before = bench.condition("ScalingActive").clone();
    bench.wait(15);
    bench.readings = vec![Err(
        "no metrics returned from resource metrics API".to_owned()
    )];
    bench.tick();
    assert_eq!(
        bench.condition("AbleToScale").last_transition_time,
        before.last_transition_time
    );
    assert_eq!(
        bench
            .condition("ScalingActive")
            .last_transition_time
            .as_ref()
            .map(|time| time.0),
        Some(bench.now)
    );
}

/// A pod of which the metrics API says nothing.
fn drop_samples(bench: &mut Bench, names: &[&str]) {
    if let Some(Ok(Reading::Pods(samples))) = bench.readings.first_mut() {
        samples.retain(|name, _| !names.contains(&name.as_str()));
    }
}
