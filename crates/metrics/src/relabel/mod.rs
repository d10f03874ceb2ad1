//! Relabelling: rules that choose targets, samples and alerts, and change their labels.
//!
//! The rules, their defaults and what they refuse are those of Prometheus' `relabel_config`.

mod rule;

use std::collections::BTreeMap;

use md5::{Digest, Md5};

pub use rule::{RelabelAction, RelabelError, RelabelRule};

/// Labels that are still being changed. A label with the empty value is one that is missing.
pub type LabelSet = BTreeMap<String, String>;

/// Applies rules one after the other; whether what has the labels is kept. After a rule that drops it, none is applied.
pub fn relabel(labels: &mut LabelSet, rules: &[RelabelRule]) -> bool {
    let keeps = rules.iter().all(|rule| apply(labels, rule));
    labels.retain(|_, value| !value.is_empty());
    keeps
}

fn get<'l>(labels: &'l LabelSet, name: &str) -> &'l str {
    labels.get(name).map_or("", String::as_str)
}

fn set(labels: &mut LabelSet, name: &str, value: String) {
    if value.is_empty() {
        labels.remove(name);
    } else {
        labels.insert(name.to_owned(), value);
    }
}

fn apply(labels: &mut LabelSet, rule: &RelabelRule) -> bool {
    let values: Vec<&str> = rule
        .source_labels
        .iter()
        .map(|name| get(labels, name))
        .collect();
    let joined = values.join(&rule.separator);
    let target = rule.target_label.as_str();
    match rule.action {
        RelabelAction::Drop => return !rule.pattern().matches(&joined),
        RelabelAction::Keep => return rule.pattern().matches(&joined),
        RelabelAction::DropEqual => return get(labels, target) != joined,
        RelabelAction::KeepEqual => return get(labels, target) == joined,
        RelabelAction::Replace => {
            if let Some(name) = rule.pattern().expand(&joined, target)
                && !name.is_empty()
                && let Some(value) = rule.pattern().expand(&joined, &rule.replacement)
            {
                set(labels, &name, value);
            }
        }
        RelabelAction::Lowercase => set(labels, target, joined.to_lowercase()),
        RelabelAction::Uppercase => set(labels, target, joined.to_uppercase()),
        RelabelAction::HashMod => {
            let digest = Md5::digest(joined.as_bytes());
            let last: [u8; 8] = std::array::from_fn(|at| digest[8 + at]);
            let hash = u64::from_be_bytes(last) % rule.modulus;
            set(labels, target, hash.to_string());
        }
        RelabelAction::LabelMap => {
            let renamed: Vec<(String, String)> = labels
                .iter()
                .filter_map(|(name, value)| {
                    let renamed = rule.pattern().expand(name, &rule.replacement)?;
                    Some((renamed, value.clone()))
                })
                .collect();
            for (name, value) in renamed {
                set(labels, &name, value);
            }
        }
        RelabelAction::LabelDrop => labels.retain(|name, _| !rule.pattern().matches(name)),
        RelabelAction::LabelKeep => labels.retain(|name, _| rule.pattern().matches(name)),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(yaml: &str) -> Vec<RelabelRule> {
        serde_saphyr::from_str(yaml).expect("rules")
    }

    fn labels(pairs: &[(&str, &str)]) -> LabelSet {
        let owned = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        owned.collect()
    }

    /// What is left of `a=foo, b=bar, c=baz`; `None` where it is dropped.
    fn outcome(yaml: &str) -> Option<String> {
        let mut set = labels(&[("a", "foo"), ("b", "bar"), ("c", "baz")]);
        let keeps = relabel(&mut set, &rules(yaml));
        let pairs: Vec<String> = set
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        keeps.then(|| pairs.join(" "))
    }

    #[test]
    fn each_action_does_what_prometheus_documents() {
        let cases = [
            (
                "[{source_labels: [a], regex: f(.*), target_label: d, replacement: 'ch${1}-ch${1}'}]",
                Some("a=foo b=bar c=baz d=choo-choo"),
            ),
            (
                "[{source_labels: [a, b], regex: f(.*);(.*)r, target_label: a, replacement: 'b${1}${2}m'}]",
                Some("a=boobam b=bar c=baz"),
            ),
            (
                "[{source_labels: [a], regex: f|o, target_label: d, replacement: x}]",
                Some("a=foo b=bar c=baz"),
            ),
            (
                "[{source_labels: [b], regex: '(.*)', target_label: '${1}_x', replacement: y}]",
                Some("a=foo b=bar bar_x=y c=baz"),
            ),
            (
                "[{source_labels: [missing], regex: '(.*)', target_label: a}]",
                Some("b=bar c=baz"),
            ),
            (
                "[{target_label: d, replacement: 7}]",
                Some("a=foo b=bar c=baz d=7"),
            ),
            ("[{source_labels: [a], regex: '.*o.*', action: drop}]", None),
            (
                "[{source_labels: [a], regex: 'no-match', action: drop}]",
                Some("a=foo b=bar c=baz"),
            ),
            (
                "[{source_labels: [a], regex: f.., action: keep}]",
                Some("a=foo b=bar c=baz"),
            ),
            ("[{source_labels: [a], regex: f, action: keep}]", None),
            (
                "[{source_labels: [a], target_label: b, action: keepequal}]",
                None,
            ),
            (
                "[{source_labels: [a], target_label: b, action: dropequal}]",
                Some("a=foo b=bar c=baz"),
            ),
            (
                "[{source_labels: [c], target_label: d, action: hashmod, modulus: 1000}]",
                Some("a=foo b=bar c=baz d=976"),
            ),
            (
                "[{regex: '(b|c)', replacement: 'm_$1', action: labelmap}]",
                Some("a=foo b=bar c=baz m_b=bar m_c=baz"),
            ),
            ("[{regex: b|c, action: labeldrop}]", Some("a=foo")),
            ("[{regex: b|c, action: labelkeep}]", Some("b=bar c=baz")),
            (
                "[{source_labels: [a], target_label: a, action: uppercase}]",
                Some("a=FOO b=bar c=baz"),
            ),
            (
                "[{source_labels: [a, b], separator: '-', target_label: d, action: Lowercase}]",
                Some("a=foo b=bar c=baz d=foo-bar"),
            ),
            (
                "[{source_labels: [a], regex: fo., action: drop}, {target_label: z, replacement: never}]",
                None,
            ),
        ];
        for (yaml, expected) in cases {
            assert_eq!(outcome(yaml).as_deref(), expected, "{yaml}");
        }
    }

    #[test]
    fn rules_that_make_no_sense_are_refused_with_the_reason() {
        for (yaml, reason) in [
            ("[{action: nonsense}]", "nonsense"),
            ("[{source_labels: [a]}]", "target_label"),
            (
                "[{source_labels: [a], target_label: b, action: hashmod}]",
                "modulus",
            ),
            ("[{source_labels: [a], regex: '(', action: keep}]", "regexp"),
            (
                "[{regex: a, target_label: b, action: labeldrop}]",
                "only regex",
            ),
            (
                "[{source_labels: [a], target_label: b, regex: x, action: keepequal}]",
                "only source_labels and target_label",
            ),
            ("[{source_label: [a], target_label: b}]", "source_label"),
            (
                "[{regex: a, replacement: '-', action: labelmap}]",
                "replacement",
            ),
        ] {
            let error = serde_saphyr::from_str::<Vec<RelabelRule>>(yaml).expect_err(yaml);
            assert!(error.to_string().contains(reason), "{yaml}: {error}");
        }
    }
}
