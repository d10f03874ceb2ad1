//! What becomes of the metrics' proposal: stabilization windows, scaling policies, minimum and maximum.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec,
};
use serde::Serialize;

use super::explanation::{Limit, Policy, PolicyLimit, Stabilization};
use super::integer::to_i32;
use super::observed::Constants;

/// What an autoscaler remembers between its decisions. It is kept in memory only: after a restart it
/// begins anew, as Kubernetes' does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct History {
    /// Empty only before the first decision.
    recommendations: Vec<Recommendation>,
    ups: Vec<Change>,
    downs: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Recommendation {
    replicas: i32,
    at: Timestamp,
}

/// A change of the number of replicas, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Change {
    replicas: i32,
    at: Timestamp,
    /// Its place may be used for a newer one. It still counts for policies that look back that far.
    outdated: bool,
}

/// The numbers a proposal is fitted into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) current: i32,
    pub(super) min: i32,
    pub(super) max: i32,
}

/// What the windows made of the proposal, and how conditions tell it.
pub(super) struct Stabilized {
    pub(super) told: Stabilization,
    /// Reason and message where the windows changed the proposal.
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

/// What the limits made of it, and how conditions tell it.
pub(super) struct Limited {
    pub(super) replicas: i32,
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
    pub(super) limit: Limit,
}

const WITHIN_RANGE: (&str, &str) = (
    "DesiredWithinRange",
    "the desired count is within the acceptable range",
);
const TOO_FEW: (&str, &str) = (
    "TooFewReplicas",
    "the desired replica count is less than the minimum replica count",
);
const TOO_MANY: (&str, &str) = (
    "TooManyReplicas",
    "the desired replica count is more than the maximum replica count",
);
const UP_LIMIT: (&str, &str) = (
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
);
const DOWN_LIMIT: (&str, &str) = (
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
);
const UP_STABILIZED: (&str, &str) = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const DOWN_STABILIZED: (&str, &str) = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);

/// A behavior with its defaults.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Behavior {
    up: Rules,
    down: Rules,
}

#[derive(Debug, Clone, PartialEq)]
struct Rules {
    window_seconds: i32,
    select: Select,
    policies: Vec<HPAScalingPolicy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Select {
    Max,
    Min,
    Disabled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

// === impl Behavior ===

impl Behavior {
    /// The spec's behavior; `None` has rules of its own.
    pub(super) fn of(spec: &HorizontalPodAutoscalerSpec, downscale_seconds: i32) -> Option<Self> {
        let HorizontalPodAutoscalerBehavior {
            scale_up,
            scale_down,
        } = spec.behavior.as_ref()?;
        let policy = |kind: &str, value| HPAScalingPolicy {
            type_: kind.to_owned(),
            value,
            period_seconds: 15,
        };
        let up = || vec![policy("Pods", 4), policy("Percent", 100)];
        let down = || vec![policy("Percent", 100)];
        Some(Self {
            up: Rules::of(scale_up.as_ref(), 0, up),
            down: Rules::of(scale_down.as_ref(), downscale_seconds, down),
        })
    }
}

impl Rules {
    fn of(
        given: Option<&HPAScalingRules>,
        window: i32,
        policies: impl FnOnce() -> Vec<HPAScalingPolicy>,
    ) -> Self {
        let select = given.and_then(|rules| rules.select_policy.as_deref());
        Self {
            window_seconds: given
                .and_then(|rules| rules.stabilization_window_seconds)
                .unwrap_or(window),
            select: match select {
                Some("Disabled") => Select::Disabled,
                Some("Min") => Select::Min,
                _ => Select::Max,
            },
            policies: given
                .and_then(|rules| rules.policies.clone())
                .unwrap_or_else(policies),
        }
    }

    fn longest_period(&self) -> i32 {
        self.policies
            .iter()
            .map(|policy| policy.period_seconds)
            .max()
            .unwrap_or_default()
    }
}

// === impl History ===

impl History {
    /// Remembers the replicas found at the first look, so that a restart changes nothing at once.
    pub(super) fn begin(&mut self, replicas: i32, now: Timestamp) {
        if self.recommendations.is_empty() {
            self.recommendations
                .push(Recommendation { replicas, at: now });
        }
    }

    /// The rules for a spec without a behavior: a higher recommendation of the last minutes wins, its
    /// exact age included.
    pub(super) fn stabilize_plain(
        &mut self,
        proposed: i32,
        window_seconds: i64,
        now: Timestamp,
    ) -> Stabilized {
        let cutoff = earlier(now, window_seconds);
        let recent = self
            .recommendations
            .iter()
            .filter(|known| known.at >= cutoff);
        let highest = recent
            .max_by_key(|known| (known.replicas, known.at))
            .filter(|known| known.replicas > proposed);
        let replicas = highest.map_or(proposed, |known| known.replicas);
        let told = Stabilization {
            proposed,
            replicas,
            up_window_seconds: 0,
            down_window_seconds: window_seconds,
            held_by: highest.map(|known| known.at),
        };
        self.recommend(proposed, now, |known| known.at < cutoff);
        let (reason, message) = DOWN_STABILIZED;
        Stabilized {
            told,
            reason,
            message,
        }
    }

    /// The rules for a spec with a behavior: the lowest of the up window and the highest of the down
    /// window bound the change, recommendations of exactly a window's age excluded.
    pub(super) fn stabilize(
        &mut self,
        behavior: &Behavior,
        current: i32,
        proposed: i32,
        now: Timestamp,
    ) -> Stabilized {
        let up_cutoff = earlier(now, i64::from(behavior.up.window_seconds));
        let down_cutoff = earlier(now, i64::from(behavior.down.window_seconds));
        let since = |cutoff: Timestamp| {
            self.recommendations
                .iter()
                .filter(move |known| known.at > cutoff)
        };
        let lowest = since(up_cutoff).min_by_key(|known| (known.replicas, known.at));
        let highest = since(down_cutoff).max_by_key(|known| (known.replicas, known.at));
        let floor = lowest.map_or(proposed, |known| known.replicas.min(proposed));
        let ceiling = highest.map_or(proposed, |known| known.replicas.max(proposed));
        let replicas = current.max(floor).min(ceiling);
        let held_by = if replicas < proposed { lowest } else { highest };
        let told = Stabilization {
            proposed,
            replicas,
            up_window_seconds: i64::from(behavior.up.window_seconds),
            down_window_seconds: i64::from(behavior.down.window_seconds),
            held_by: held_by
                .filter(|_| replicas != proposed)
                .map(|known| known.at),
        };
        self.recommend(proposed, now, |known| {
            known.at < up_cutoff && known.at < down_cutoff
        });
        let (reason, message) = if proposed >= current {
            UP_STABILIZED
        } else {
            DOWN_STABILIZED
        };
        Stabilized {
            told,
            reason,
            message,
        }
    }

    /// Remembers a recommendation in the place of the last one that is of no more use.
    fn recommend(
        &mut self,
        replicas: i32,
        at: Timestamp,
        is_old: impl Fn(&Recommendation) -> bool,
    ) {
        let newest = Recommendation { replicas, at };
        match self.recommendations.iter().rposition(is_old) {
            Some(place) => self.recommendations[place] = newest,
            None => self.recommendations.push(newest),
        }
    }

    /// Remembers that the number of replicas was changed.
    pub(super) fn scaled(
        &mut self,
        behavior: Option<&Behavior>,
        from: i32,
        to: i32,
        now: Timestamp,
    ) {
        // Without a behavior nobody asks.
        let Some(behavior) = behavior else { return };
        let (changes, rules, replicas) = if to > from {
            (&mut self.ups, &behavior.up, to.wrapping_sub(from))
        } else {
            (&mut self.downs, &behavior.down, from.wrapping_sub(to))
        };
        let cutoff = earlier(now, i64::from(rules.longest_period()));
        for change in changes.iter_mut().filter(|change| change.at < cutoff) {
            change.outdated = true;
        }
        let newest = Change {
            replicas,
            at: now,
            outdated: false,
        };
        match changes.iter().rposition(|change| change.outdated) {
            Some(place) => changes[place] = newest,
            None => changes.push(newest),
        }
    }

    /// Fits stabilized replicas into the policies, the minimum and the maximum.
    pub(super) fn limit(
        &self,
        behavior: &Behavior,
        range: Range,
        replicas: i32,
        now: Timestamp,
    ) -> Limited {
        if replicas > range.current {
            let found = self.fastest(&behavior.up, Direction::Up, range.current, now);
            let found = PolicyLimit {
                replicas: found.replicas.max(range.current),
                ..found
            };
            if range.max > found.replicas {
                if replicas > found.replicas {
                    return limited(found.replicas, UP_LIMIT, Limit::ScaleUp(found));
                }
            } else if replicas > range.max {
                return limited(range.max, TOO_MANY, Limit::Maximum(range.max));
            }
        } else if replicas < range.current {
            let found = self.fastest(&behavior.down, Direction::Down, range.current, now);
            let found = PolicyLimit {
                replicas: found.replicas.min(range.current),
                ..found
            };
            if range.min < found.replicas {
                if replicas < found.replicas {
                    return limited(found.replicas, DOWN_LIMIT, Limit::ScaleDown(found));
                }
            } else if replicas < range.min {
                return limited(range.min, TOO_FEW, Limit::Minimum(range.min));
            }
        }
        limited(replicas, WITHIN_RANGE, Limit::None)
    }

    /// How far the rules allow to go now.
    fn fastest(
        &self,
        rules: &Rules,
        direction: Direction,
        current: i32,
        now: Timestamp,
    ) -> PolicyLimit {
        if rules.select == Select::Disabled {
            return PolicyLimit {
                replicas: current,
                policy: Policy::Disabled,
            };
        }
        let proposals = rules.policies.iter().map(|policy| {
            let added = sum_since(&self.ups, earlier(now, i64::from(policy.period_seconds)));
            let removed = sum_since(&self.downs, earlier(now, i64::from(policy.period_seconds)));
            let start = current.wrapping_sub(added).wrapping_add(removed);
            let percent = f64::from(policy.value) / 100.0;
            let replicas = match (policy.type_.as_str(), direction) {
                ("Pods", Direction::Up) => start.wrapping_add(policy.value),
                ("Pods", Direction::Down) => start.wrapping_sub(policy.value),
                // Rounded up, or one replica could never become two.
                (_, Direction::Up) => to_i32((f64::from(start) * (1.0 + percent)).ceil()),
                (_, Direction::Down) => to_i32(f64::from(start) * (1.0 - percent)),
            };
            let policy = Policy::Behavior {
                kind: policy.type_.clone(),
                value: policy.value,
                period_seconds: policy.period_seconds,
                period_start_replicas: start,
            };
            PolicyLimit { replicas, policy }
        });
        // The greatest change is the highest number upwards and the lowest downwards; the first policy wins a tie.
        let highest = (direction == Direction::Up) == (rules.select == Select::Max);
        let better = |best: PolicyLimit, next: PolicyLimit| {
            let wins = if highest {
                next.replicas > best.replicas
            } else {
                next.replicas < best.replicas
            };
            if wins { next } else { best }
        };
        let none = if highest { i32::MIN } else { i32::MAX };
        proposals.reduce(better).unwrap_or(PolicyLimit {
            replicas: none,
            policy: Policy::Disabled,
        })
    }
}

/// Fits stabilized replicas into what holds without a behavior.
pub(super) fn limit_plain(constants: &Constants, range: Range, replicas: i32) -> Limited {
    let fastest = to_i32(
        (constants.scale_up_factor * f64::from(range.current)).max(constants.scale_up_minimum),
    );
    if replicas < range.min {
        limited(range.min, TOO_FEW, Limit::Minimum(range.min))
    } else if range.max > fastest && replicas > fastest {
        let found = PolicyLimit {
            replicas: fastest,
            policy: Policy::BuiltIn,
        };
        limited(fastest, UP_LIMIT, Limit::ScaleUp(found))
    } else if range.max <= fastest && replicas > range.max {
        limited(range.max, TOO_MANY, Limit::Maximum(range.max))
    } else {
        limited(replicas, WITHIN_RANGE, Limit::None)
    }
}

fn limited(
    replicas: i32,
    (reason, message): (&'static str, &'static str),
    limit: Limit,
) -> Limited {
    Limited {
        replicas,
        reason,
        message,
        limit,
    }
}

fn sum_since(changes: &[Change], cutoff: Timestamp) -> i32 {
    let recent = changes.iter().filter(|change| change.at > cutoff);
    recent.fold(0_i32, |sum, change| sum.wrapping_add(change.replicas))
}

fn earlier(now: Timestamp, seconds: i64) -> Timestamp {
    now.saturating_sub(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MIN)
}
