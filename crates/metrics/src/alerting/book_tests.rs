use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("a time")
}

fn labels(text: &str) -> LabelMap {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Posts an alert that lasts an hour, or ended.
fn post(book: &mut AlertBook, text: &str, now: i64, resolved: bool) -> Vec<Change> {
    let alert = PostedAlert {
        labels: labels(text),
        starts_at: Some(at(now.min(0))),
        ends_at: Some(at(if resolved { now } else { now + 3600 })),
        ..PostedAlert::default()
    };
    let alert = alert
        .accept(at(now), SignedDuration::from_mins(5))
        .expect("valid");
    book.take(vec![alert], at(now))
}

fn book(text: &str) -> AlertBook {
    let configuration = AlertingConfiguration::parse("f", text, Path::new("")).expect("valid");
    AlertBook::new(Arc::new(configuration))
}

const ONE_WEBHOOK: &str = r#"
route: {receiver: web, group_by: [alertname], group_wait: 10s, group_interval: 60s, repeat_interval: 1h}
receivers: [{name: web, webhook_configs: [{url: "http://x/"}]}]
inhibit_rules: [{source_matchers: [severity=critical], target_matchers: [severity=warning], equal: [job]}]
"#;

/// Flushes and says it was sent: `status alert,alert` a message.
fn told(book: &mut AlertBook, now: i64) -> Vec<String> {
    let flushes = book.flush(at(now));
    let mut told = Vec::new();
    for flush in flushes {
        for message in &flush.messages {
            let alerts = message.alerts.iter().map(|told| {
                let state = if told.resolved { "-" } else { "+" };
                format!(
                    "{state}{}",
                    told.alert.labels.get("i").map_or("", String::as_str)
                )
            });
            told.push(alerts.collect::<Vec<_>>().join(" "));
        }
        book.finish(&flush, &vec![true; flush.messages.len()]);
    }
    told
}

#[test]
fn a_group_waits_then_tells_then_tells_news_then_repeats_then_tells_the_resolution_once() {
    let mut book = book(ONE_WEBHOOK);
    post(&mut book, "alertname=A,i=1", 0, false);
    assert_eq!(book.next_time(), Some(at(10)));
    assert!(told(&mut book, 9).is_empty());
    post(&mut book, "alertname=A,i=2", 9, false);
    assert_eq!(told(&mut book, 10), ["+1 +2"]);
    // Nothing new: nothing is told at the next interval.
    assert!(told(&mut book, 70).is_empty());
    post(&mut book, "alertname=A,i=3", 100, false);
    assert!(told(&mut book, 129).is_empty());
    assert_eq!(told(&mut book, 130), ["+1 +2 +3"]);
    post(&mut book, "alertname=A,i=3", 150, true);
    assert_eq!(told(&mut book, 190), ["+1 +2 -3"]);
    assert!(told(&mut book, 250).is_empty());
    post(&mut book, "alertname=A,i=1", 3000, false);
    post(&mut book, "alertname=A,i=2", 3000, false);
    assert!(told(&mut book, 3700).is_empty());
    assert_eq!(told(&mut book, 3790), ["+1 +2"], "an hour after 190");
    post(&mut book, "alertname=A,i=1", 3800, true);
    post(&mut book, "alertname=A,i=2", 3800, true);
    assert_eq!(told(&mut book, 3900), ["-1 -2"]);
    assert!(told(&mut book, 4000).is_empty());
    assert_eq!(book.next_time(), None, "the group is gone");
    book.clean(at(4000));
    assert_eq!(book.alerts().count(), 0);
}

#[test]
fn an_old_alert_of_a_new_group_does_not_wait() {
    let mut book = book(ONE_WEBHOOK);
    post(&mut book, "alertname=A,i=1", 100, false);
    assert_eq!(told(&mut book, 100), ["+1"]);
}

#[test]
fn what_was_not_sent_is_told_at_the_next_interval() {
    let mut book = book(ONE_WEBHOOK);
    post(&mut book, "alertname=A,i=1", 0, false);
    let flush = book.flush(at(10)).remove(0);
    // While it is under way the group does not tell again.
    assert!(book.flush(at(80)).is_empty());
    assert!(book.finish(&flush, &[false]).is_empty());
    assert_eq!(told(&mut book, 80), ["+1"]);
}

#[test]
fn silences_and_inhibition_keep_alerts_quiet() {
    let mut book = book(ONE_WEBHOOK);
    let silence = Silence::read(
        PostedSilence {
            id: String::new(),
            matchers: vec![PostedMatcher {
                name: "i".to_owned(),
                value: "1".to_owned(),
                is_regex: false,
                is_equal: true,
            }],
            starts_at: at(0),
            ends_at: at(300),
            created_by: "me".to_owned(),
            comment: String::new(),
        },
        String::new(),
        at(0),
    )
    .expect("valid");
    let (id, changes) = book
        .set_silence(silence, "s1".to_owned(), at(0))
        .expect("set");
    assert_eq!((id.as_str(), changes.len()), ("s1", 1));
    post(
        &mut book,
        "alertname=A,i=1,severity=critical,job=x",
        0,
        false,
    );
    post(
        &mut book,
        "alertname=B,i=2,severity=warning,job=x",
        0,
        false,
    );
    post(
        &mut book,
        "alertname=B,i=3,severity=warning,job=y",
        0,
        false,
    );
    // A silenced alert still mutes others.
    assert_eq!(told(&mut book, 10), ["+3"]);
    assert_eq!(book.standing(&labels("i=1"), at(10)).silenced_by, ["s1"]);
    assert!(book.expire_silence("s1", at(20)).is_some());
    assert!(book.expire_silence("s1", at(21)).is_none());
    assert_eq!(told(&mut book, 70), ["+1"]);
}

#[test]
fn muting_times_keep_a_route_quiet() {
    let mut book = book(
        r#"
route: {receiver: web, routes: [{receiver: web, matchers: [a=b], group_wait: 0s, mute_time_intervals: [always]}, {receiver: web, group_wait: 0s, active_time_intervals: [never]}]}
receivers: [{name: web, webhook_configs: [{url: "http://x/"}]}]
time_intervals: [{name: always, time_intervals: [{}]}, {name: never, time_intervals: [{years: ['1999']}]}]
"#,
    );
    post(&mut book, "a=b,i=1", 0, false);
    post(&mut book, "a=c,i=2", 0, false);
    assert!(told(&mut book, 1).is_empty());
    let muted: Vec<Vec<String>> = book
        .groups(at(1))
        .into_iter()
        .map(|group| group.muted_by)
        .collect();
    assert_eq!(muted, [["always"], ["never"]]);
}

#[test]
fn restarts_give_an_alert_whose_rule_is_gone_its_time_to_be_sent_again_only_once() {
    let mut running = book(ONE_WEBHOOK);
    let mut journal = post(&mut running, "alertname=A,i=gone", 0, false);
    journal.extend(post(&mut running, "alertname=A,i=there", 0, false));
    let mut restart = |now: i64, again: Option<i64>| {
        let mut book = book(ONE_WEBHOOK);
        let changes = book.restore(journal.clone(), at(now));
        journal.extend(changes);
        if let Some(again) = again {
            journal.extend(post(&mut book, "alertname=A,i=there", again, false));
        }
        let ends = book
            .alerts()
            .map(|alert| (alert.labels["i"].clone(), alert.ends_at));
        ends.collect::<BTreeMap<_, _>>()
    };
    // The default of resolve_timeout is five minutes.
    let ends = restart(10_000, Some(10_060));
    assert_eq!(ends["gone"], at(10_300));
    for now in [10_100, 10_200, 10_240] {
        let ends = restart(now, Some(now + 30));
        assert_eq!(ends["gone"], at(10_300), "after the restart at {now}");
        assert_eq!(ends["there"], at(now + 30 + 3600));
    }
    // One that was sent again between two restarts gets the whole time anew.
    let ends = restart(20_000, None);
    assert_eq!(ends["there"], at(20_300));
    // One that nothing could send, since nothing ran, is not taken for resolved at once.
    let ends = restart(90_000, None);
    assert_eq!(ends["there"], at(90_060));
}

#[test]
fn after_a_restart_nothing_is_told_twice_and_nothing_is_forgotten() {
    let mut before = book(ONE_WEBHOOK);
    let mut journal = post(&mut before, "alertname=A,i=1", 0, false);
    let flush = before.flush(at(10)).remove(0);
    journal.extend(before.finish(&flush, &[true]));
    journal.extend(post(&mut before, "alertname=B,i=2", 20, false));
    let mut after = AlertBook::new(before.configuration().clone());
    after.restore(journal.clone(), at(60));
    // A was told, B was not.
    assert_eq!(told(&mut after, 100), ["+2"]);
    post(&mut after, "alertname=A,i=1", 110, true);
    let resolved: Vec<String> = (110..400).flat_map(|now| told(&mut after, now)).collect();
    assert_eq!(resolved, ["-1"]);
    // The end that was not told before the program ended is told after.
    journal.extend(post(&mut before, "alertname=A,i=1", 30, true));
    let mut late = AlertBook::new(before.configuration().clone());
    late.restore(journal, at(60));
    let mut heard: Vec<String> = (60..200).flat_map(|now| told(&mut late, now)).collect();
    heard.sort();
    assert_eq!(heard, ["+2", "-1"]);
}

#[test]
fn every_alert_is_its_own_group_by_three_dots() {
    let mut book = book(
        r#"
route: {receiver: web, group_by: ['...'], group_wait: 0s}
receivers: [{name: web, webhook_configs: [{url: "http://x/"}]}]
"#,
    );
    post(&mut book, "alertname=A,i=1", 0, false);
    post(&mut book, "alertname=A,i=2", 0, false);
    assert_eq!(told(&mut book, 1), ["+1", "+2"]);
}

#[test]
fn a_changed_silence_is_the_same_or_a_new_one() {
    let mut book = book(ONE_WEBHOOK);
    let silence = |value: &str, until: i64, id: &str| {
        let matcher = AlertMatcher::new("a", "=", value).expect("valid");
        Silence {
            id: id.to_owned(),
            matchers: vec![matcher],
            starts_at: at(0),
            ends_at: at(until),
            updated_at: at(0),
            created_by: String::new(),
            comment: String::new(),
        }
    };
    let (id, _) = book
        .set_silence(silence("b", 100, ""), "s1".to_owned(), at(0))
        .expect("new");
    let (same, _) = book
        .set_silence(silence("b", 200, &id), "s2".to_owned(), at(10))
        .expect("longer");
    assert_eq!(same, "s1");
    let (other, _) = book
        .set_silence(silence("c", 200, &id), "s3".to_owned(), at(20))
        .expect("another");
    assert_eq!(other, "s3");
    let states: Vec<(String, SilenceState)> = book
        .silences(at(20))
        .into_iter()
        .map(|silence| (silence.id.clone(), silence.state(at(20))))
        .collect();
    assert_eq!(
        states,
        [
            ("s3".to_owned(), SilenceState::Active),
            ("s1".to_owned(), SilenceState::Expired)
        ]
    );
    assert!(
        book.set_silence(silence("b", 200, "nosuch"), "s4".to_owned(), at(20))
            .is_err()
    );
}
