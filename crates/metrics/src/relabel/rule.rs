use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::exposition::is_legacy_label_name;
use crate::series_store::{Pattern, PatternError};

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RelabelAction {
    /// Sets the target label to the replacement, where the pattern matches.
    Replace,
    /// Keeps what the pattern matches.
    Keep,
    /// Drops what the pattern matches.
    Drop,
    /// Keeps what has the joined source labels in the target label.
    KeepEqual,
    /// Drops what has the joined source labels in the target label.
    DropEqual,
    /// Sets the target label to a hash of the joined source labels, below the modulus.
    HashMod,
    /// Copies the labels whose names match to other names.
    LabelMap,
    /// Removes the labels whose names match.
    LabelDrop,
    /// Removes the labels whose names do not match.
    LabelKeep,
    /// Sets the target label to the joined source labels in small letters.
    Lowercase,
    /// Sets the target label to the joined source labels in capital letters.
    Uppercase,
}

impl RelabelAction {
    fn named(name: &str) -> Option<RelabelAction> {
        Some(match name.to_ascii_lowercase().as_str() {
            "replace" => RelabelAction::Replace,
            "keep" => RelabelAction::Keep,
            "drop" => RelabelAction::Drop,
            "keepequal" => RelabelAction::KeepEqual,
            "dropequal" => RelabelAction::DropEqual,
            "hashmod" => RelabelAction::HashMod,
            "labelmap" => RelabelAction::LabelMap,
            "labeldrop" => RelabelAction::LabelDrop,
            "labelkeep" => RelabelAction::LabelKeep,
            "lowercase" => RelabelAction::Lowercase,
            "uppercase" => RelabelAction::Uppercase,
            _ => return None,
        })
    }
}

/// One relabelling rule, read and checked.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(try_from = "WrittenRule", into = "WrittenRule")]
pub struct RelabelRule {
    /// The labels whose values are joined.
    pub source_labels: Vec<String>,
    /// What stands between the values.
    pub separator: String,
    /// The pattern as it was written.
    pub regex: String,
    /// The number of hashes.
    pub modulus: u64,
    /// The label that is set.
    pub target_label: String,
    /// What it is set to; `$1` stands for what the pattern's first group matched.
    pub replacement: String,
    /// What the rule does.
    pub action: RelabelAction,
    pattern: Arc<Pattern>,
}

impl RelabelRule {
    pub(super) fn pattern(&self) -> &Pattern {
        &self.pattern
    }
}

/// Why a rule makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelabelError {
    /// There is no such action.
    #[error("unknown relabel action {0:?}")]
    UnknownAction(String),
    /// The pattern is none.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A field is missing that the action needs.
    #[error("relabel configuration for {action} action requires '{field}' value")]
    Missing {
        /// The action.
        action: String,
        /// The field.
        field: &'static str,
    },
    /// A field has a value that the action cannot use.
    #[error("{value:?} is invalid '{field}' for {action} action")]
    Invalid {
        /// The action.
        action: String,
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// Fields are set that the action does not know.
    #[error("{action} action requires only {allowed}, and no other fields")]
    Superfluous {
        /// The action.
        action: String,
        /// What it takes.
        allowed: &'static str,
    },
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    source_labels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    separator: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regex: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    modulus: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    target_label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    replacement: Option<String>,
    #[serde(default = "replace", skip_serializing_if = "String::is_empty")]
    action: String,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn replace() -> String {
    "replace".to_owned()
}

const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";
const DEFAULT_SEPARATOR: &str = ";";

impl TryFrom<WrittenRule> for RelabelRule {
    type Error = RelabelError;

    fn try_from(written: WrittenRule) -> Result<RelabelRule, RelabelError> {
        let action = RelabelAction::named(&written.action)
            .ok_or_else(|| RelabelError::UnknownAction(written.action.clone()))?;
        let regex = written.regex.unwrap_or_else(|| DEFAULT_REGEX.to_owned());
        let rule = RelabelRule {
            pattern: Arc::new(Pattern::new(&regex)?),
            regex,
            source_labels: written.source_labels,
            separator: written
                .separator
                .unwrap_or_else(|| DEFAULT_SEPARATOR.to_owned()),
            modulus: written.modulus,
            target_label: written.target_label,
            replacement: written
                .replacement
                .unwrap_or_else(|| DEFAULT_REPLACEMENT.to_owned()),
            action,
        };
        rule.check(&written.action)?;
        Ok(rule)
    }
}

impl RelabelRule {
    fn check(&self, action: &str) -> Result<(), RelabelError> {
        use RelabelAction::{
            DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace,
            Uppercase,
        };
        let action = action.to_owned();
        let missing = |field| RelabelError::Missing {
            action: action.clone(),
            field,
        };
        let needs_target = matches!(
            self.action,
            Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual
        );
        if needs_target && self.target_label.is_empty() {
            return Err(missing("target_label"));
        }
        if self.action == HashMod && self.modulus == 0 {
            return Err(missing("modulus"));
        }
        let plain_target = matches!(self.action, HashMod | Lowercase | Uppercase)
            && self.target_label.contains('$');
        if plain_target {
            return Err(RelabelError::Invalid {
                action,
                field: "target_label",
                value: self.target_label.clone(),
            });
        }
        if self.action == LabelMap && !is_name_template(&self.replacement) {
            return Err(RelabelError::Invalid {
                action,
                field: "replacement",
                value: self.replacement.clone(),
            });
        }
        let others_are_default = self.modulus == 0
            && self.separator == DEFAULT_SEPARATOR
            && self.replacement == DEFAULT_REPLACEMENT;
        if matches!(self.action, KeepEqual | DropEqual)
            && !(others_are_default && self.regex == DEFAULT_REGEX)
        {
            let allowed = "source_labels and target_label";
            return Err(RelabelError::Superfluous { action, allowed });
        }
        let only_regex =
            others_are_default && self.source_labels.is_empty() && self.target_label.is_empty();
        if matches!(self.action, LabelDrop | LabelKeep) && !only_regex {
            let allowed = "regex";
            return Err(RelabelError::Superfluous { action, allowed });
        }
        Ok(())
    }
}

/// Whether a template can become a label's name: groups among letters, digits and underscores.
fn is_name_template(template: &str) -> bool {
    let plain = template.replace(['$', '{', '}'], "_");
    is_legacy_label_name(&plain)
}

impl From<RelabelRule> for WrittenRule {
    fn from(rule: RelabelRule) -> WrittenRule {
        let action = match serde_json::to_value(rule.action) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        };
        WrittenRule {
            source_labels: rule.source_labels,
            separator: Some(rule.separator),
            regex: Some(rule.regex),
            modulus: rule.modulus,
            target_label: rule.target_label,
            replacement: Some(rule.replacement),
            action,
        }
    }
}
