use super::*;

fn parse(text: &str) -> Result<AlertingConfiguration, String> {
    AlertingConfiguration::parse("am.yml", text, Path::new("")).map_err(|error| error.to_string())
}

#[test]
fn routes_inherit_and_receivers_take_the_global_part() {
    let configuration = parse(
        r#"
global: {resolve_timeout: 1m, smtp_smarthost: "mail:25", smtp_from: a@b, slack_api_url: "http://s/"}
route:
  receiver: web
  group_by: [alertname]
  group_wait: 1s
  routes:
  - matchers: ['severity="page"', team=~"a|b"]
    receiver: mail
    group_by: ['...']
    continue: true
    routes: [{match: {x: y}, match_re: {z: 'q.*'}, repeat_interval: 1h}]
receivers:
- name: web
  webhook_configs: [{url: "http://h/"}]
- name: mail
  email_configs: [{to: ops@x}]
  slack_configs: [{channel: '#x'}]
inhibit_rules:
- {source_matchers: [severity=critical], target_match: {severity: warning}, equal: [job]}
"#,
    )
    .expect("valid");
    assert_eq!(configuration.resolve_timeout, Duration::from_mins(1));
    let child = &configuration.route.routes[0];
    assert_eq!(child.group_by, GroupBy::All);
    assert_eq!(child.group_wait, Duration::from_secs(1));
    assert_eq!(child.key, r#"{}/{severity="page",team=~"a|b"}"#);
    let grandchild = &child.routes[0];
    assert_eq!(grandchild.receiver, "mail");
    assert_eq!(grandchild.repeat_interval, Duration::from_hours(1));
    let mail = &configuration.receivers["mail"].email_configs[0];
    assert_eq!(mail.smarthost.as_deref(), Some("mail:25"));
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    for (text, said) in [
        ("receivers: []", "no route provided in config"),
        (
            "route: {}\nreceivers: []",
            "root route must specify a default receiver",
        ),
        ("route: {receiver: x}", "undefined receiver \"x\""),
        (
            "route: {receiver: x, matchers: [a=b]}\nreceivers: [{name: x}]",
            "must not have any matchers",
        ),
        (
            "route: {receiver: x}\nreceivers: [{name: x, pagerduty_configs: []}]",
            "pagerduty_configs",
        ),
        (
            "route: {receiver: x, routes: [{mute_time_intervals: [m]}]}\nreceivers: [{name: x}]",
            "undefined time interval \"m\"",
        ),
        (
            "route: {receiver: x}\nreceivers: [{name: x, email_configs: [{to: a}]}]",
            "no global SMTP smarthost set",
        ),
        (
            "route: {receiver: x}\nreceivers: [{name: x}, {name: x}]",
            "is not unique",
        ),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(said), "{text}: {error}");
    }
    assert!(
        AlertingConfiguration::silent()
            .receivers
            .contains_key("none")
    );
}
