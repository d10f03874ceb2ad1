use std::time::Duration;

use crate::promql::{Cancel, Options};
use crate::series_store::Labels;
use crate::tsdb::{Options as StorageOptions, Tsdb};

use super::engine::TsdbStorage;
use super::evaluate::elements;
use super::*;

const MINUTE: i64 = 60_000;

/// A group under a hand-driven clock.
struct Stage {
    database: Tsdb,
    group: RuleGroup,
    state: GroupState,
    surroundings: Surroundings,
}

impl Stage {
    fn new(rules: &str) -> Stage {
        let text = format!("groups:\n- name: g\n  rules:\n{rules}");
        let mut groups = read_rule_file("f.yml", &text, &Options::default()).expect("valid rules");
        let group = groups.remove(0);
        Stage {
            database: Tsdb::in_memory(StorageOptions::default()),
            state: GroupState::new(&group, true),
            group,
            surroundings: Surroundings::default(),
        }
    }

    fn set(&self, series: &str, at: i64, value: f64) {
        let labels = crate::promql::SeriesNotation::parse(series)
            .expect("a series")
            .labels;
        let mut appender = self.database.appender();
        appender.append(&labels, None, at, value).expect("in order");
        appender.commit().expect("memory");
    }

    fn evaluate(&mut self, at: i64) -> Outcome {
        evaluate_group(
            &self.group,
            Duration::from_mins(1),
            &mut self.state,
            &mut TsdbStorage(&self.database),
            at,
            &self.surroundings,
            &Cancel::default(),
        )
    }

    fn ask(&self, expr: &str, at: i64) -> Vec<String> {
        let query = crate::promql::Query::parse(expr, Options::default()).expect("a query");
        let answer = query
            .instant(&self.database, at, &Cancel::default())
            .expect("an answer");
        elements(answer.value)
            .expect("a vector")
            .iter()
            .map(|element| format!("{} {}", element.labels, element.sample.value))
            .collect()
    }

    fn states(&self) -> Vec<AlertState> {
        let report = self.state.report(&self.group, Duration::from_mins(1));
        let RuleReport::Alerting(rule) = &report.rules[0] else {
            panic!("an alerting rule");
        };
        rule.alerts.iter().map(|alert| alert.state).collect()
    }
}

#[test]
fn an_alert_is_pending_then_fires_then_is_resolved_and_its_series_end() {
    let mut stage = Stage::new("  - {alert: Down, expr: up == 0, for: 2m}\n");
    for at in 0..=2 {
        stage.set("up{job=\"a\"}", at * MINUTE, 0.0);
        let outcome = stage.evaluate(at * MINUTE);
        assert_eq!(outcome.notices.len(), usize::from(at == 2), "at {at}");
        let expected = if at < 2 {
            AlertState::Pending
        } else {
            AlertState::Firing
        };
        assert_eq!(stage.states(), [expected]);
    }
    assert_eq!(
        stage.ask("ALERTS", 2 * MINUTE),
        [r#"{__name__="ALERTS", alertname="Down", alertstate="firing", job="a"} 1"#]
    );
    assert_eq!(
        stage.ask("ALERTS_FOR_STATE", 2 * MINUTE),
        [r#"{__name__="ALERTS_FOR_STATE", alertname="Down", job="a"} 0"#]
    );
    stage.set("up{job=\"a\"}", 3 * MINUTE, 1.0);
    let outcome = stage.evaluate(3 * MINUTE);
    assert_eq!(outcome.notices.len(), 1);
    assert_eq!(outcome.notices[0].ends_at, 3 * MINUTE);
    assert_eq!(stage.states(), []);
    assert!(stage.ask("{__name__=~\"ALERTS.*\"}", 3 * MINUTE).is_empty());
    // The resolution is repeated for a quarter of an hour, a minute apart, and then forgotten.
    assert_eq!(stage.evaluate(4 * MINUTE).notices.len(), 0);
    assert_eq!(stage.evaluate(5 * MINUTE).notices.len(), 1);
    assert_eq!(stage.evaluate(19 * MINUTE).notices.len(), 0);
    assert_eq!(stage.evaluate(30 * MINUTE).notices.len(), 0);
}

#[test]
fn a_firing_alert_is_sent_again_after_the_resend_delay_and_holds_for_four_intervals() {
    let mut stage = Stage::new("  - {alert: Down, expr: up == 0}\n");
    let mut sent = Vec::new();
    for second in 0..=130 {
        stage.set("up", second * 1000, 0.0);
        let outcome = stage.evaluate(second * 1000);
        sent.extend(
            outcome
                .notices
                .iter()
                .map(|notice| (second, notice.ends_at / 1000)),
        );
    }
    assert_eq!(sent, [(0, 240), (61, 301), (122, 362)]);
}

#[test]
fn keep_firing_for_bridges_a_gap() {
    let mut stage = Stage::new("  - {alert: Down, expr: up == 0, keep_firing_for: 2m}\n");
    stage.set("up", 0, 0.0);
    stage.evaluate(0);
    stage.set("up", MINUTE, 1.0);
    stage.evaluate(MINUTE);
    stage.evaluate(2 * MINUTE);
    assert_eq!(stage.states(), [AlertState::Firing]);
    stage.evaluate(3 * MINUTE);
    assert_eq!(stage.states(), []);
}

#[test]
fn a_later_rule_sees_what_an_earlier_one_recorded_and_vanished_series_end() {
    let mut stage =
        Stage::new("  - {record: a, expr: up * 2, labels: {x: y}}\n  - {record: b, expr: a + 1}\n");
    stage.set("up{i=\"1\"}", 0, 1.0);
    stage.evaluate(0);
    assert_eq!(stage.ask("b", 0), [r#"{__name__="b", i="1", x="y"} 3"#]);
    stage.set(
        "up{i=\"1\"}",
        1000,
        f64::from_bits(crate::series_store::STALE_BITS),
    );
    stage.evaluate(1000);
    assert!(stage.ask("a or b", 1000).is_empty());
}

#[test]
fn a_limit_is_an_error_and_forgets_the_alerts() {
    let mut stage = Stage::new("  - {alert: Down, expr: up == 0}\n");
    stage.group.limit = 1;
    stage.set("up{i=\"1\"}", 0, 0.0);
    stage.set("up{i=\"2\"}", 0, 0.0);
    let outcome = stage.evaluate(0);
    assert_eq!(
        outcome.failures,
        ["Down: exceeded limit of 1 with 2 alerts"]
    );
    assert_eq!(stage.states(), []);
}

#[test]
fn alerts_that_become_one_by_their_labels_are_an_error() {
    let mut stage = Stage::new("  - {alert: Down, expr: up == 0, labels: {i: same}}\n");
    stage.set("up{i=\"1\"}", 0, 0.0);
    stage.set("up{i=\"2\"}", 0, 0.0);
    let outcome = stage.evaluate(0);
    assert_eq!(
        outcome.failures,
        ["Down: vector contains metrics with the same labelset after applying alert labels"]
    );
}

#[test]
fn the_query_offset_moves_the_question_and_the_samples() {
    let mut stage = Stage::new("  - {record: a, expr: up}\n");
    stage.group.query_offset = Some(Duration::from_mins(1));
    stage.set("up", 0, 1.0);
    stage.set("up", MINUTE, 2.0);
    stage.evaluate(MINUTE);
    assert_eq!(stage.ask("a", 0), [r#"{__name__="a"} 1"#]);
}

#[test]
fn a_failing_template_is_said_in_the_text() {
    let rules =
        "  - {alert: Down, expr: up == 0, annotations: {a: '{{ query \"none\" | first }}'}}\n";
    let mut stage = Stage::new(rules);
    stage.set("up", 0, 0.0);
    let outcome = stage.evaluate(0);
    let text = &outcome.notices[0].annotations["a"];
    assert!(text.starts_with("<error expanding template: "), "{text}");
}

#[test]
fn after_a_restart_an_alert_keeps_the_time_it_has_waited() {
    let rules = "  - {alert: Down, expr: up == 0, for: 30m}\n";
    let mut stage = Stage::new(rules);
    for at in 0..=15 {
        stage.set("up", at * MINUTE, 0.0);
        stage.evaluate(at * MINUTE);
    }
    // Five minutes of outage, then a program that remembers nothing.
    stage.state = GroupState::new(&stage.group, false);
    for at in 20..=21 {
        stage.set("up", at * MINUTE, 0.0);
        stage.evaluate(at * MINUTE);
    }
    let Stage {
        database,
        group,
        state,
        surroundings,
    } = &mut stage;
    let restored = restore_group(group, state, database, 21 * MINUTE, surroundings);
    assert_eq!(restored, Ok(1));
    for at in 22..=37 {
        stage.set("up", at * MINUTE, 0.0);
        stage.evaluate(at * MINUTE);
        let fires = at >= 36;
        let expected = if fires {
            AlertState::Firing
        } else {
            AlertState::Pending
        };
        assert_eq!(stage.states(), [expected], "at {at}");
    }
}

#[test]
fn a_changed_group_keeps_the_alerts_of_rules_that_stay_and_ends_the_series_of_those_that_go() {
    let mut stage = Stage::new("  - {alert: Down, expr: up == 0}\n  - {record: gone, expr: up}\n");
    stage.set("up", 0, 0.0);
    stage.evaluate(0);
    let to = Stage::new("  - {record: other, expr: up}\n  - {alert: Down, expr: up == 0}\n").group;
    let state = std::mem::take(&mut stage.state);
    stage.state = state.carried_over(&stage.group, &to);
    stage.group = to;
    let outcome = stage.evaluate(1000);
    assert!(outcome.notices.is_empty(), "it was sent a second ago");
    assert!(stage.ask("gone", 1000).is_empty());
    assert_eq!(stage.ask("other", 1000).len(), 1);
    assert_eq!(Labels::empty().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_engine_evaluates_groups_at_their_times_and_hands_alerts_on() {
    use springtide_machinery::clock::Clock;
    use std::sync::Arc;

    struct Collect(parking_lot::Mutex<Vec<Notice>>);
    impl NoticeSink for Collect {
        fn take(&self, notices: Vec<Notice>) {
            self.0.lock().extend(notices);
        }
    }
    let clock = Clock::simulated("2026-01-02T03:04:05Z".parse().expect("a time"));
    let database = Tsdb::in_memory(StorageOptions::default());
    let sink = Arc::new(Collect(parking_lot::Mutex::default()));
    let engine = RuleEngine::new(database, clock.clone(), vec![sink.clone()]);
    let groups = |expr: &str| {
        let text =
            format!("groups:\n- {{name: g, interval: 10s, rules: [{{alert: A, expr: {expr}}}]}}\n");
        read_rule_file("f.yml", &text, &Options::default()).expect("valid")
    };
    engine.set_groups(groups("vector(1)"), EngineOptions::default());
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(sink.0.lock().len(), 1);
    assert_eq!(engine.alerts().len(), 1);
    assert_eq!(engine.groups()[0].interval, 10.0);
    engine.set_groups(groups("vector(1) > 2"), EngineOptions::default());
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(engine.alerts().len(), 0);
    let resolved = sink.0.lock().last().cloned().expect("a notice");
    assert!(resolved.ends_at <= clock.now().as_millisecond());
    engine.set_groups(Vec::new(), EngineOptions::default());
    assert!(engine.groups().is_empty());
    engine.stop();
}
