//! The decisions of alerting: who is told what, and when. Pure: the time is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::alert::{Alert, LabelMap, label_text};
use super::config::AlertingConfiguration;
use super::route::{Route, inhibited_by};
use super::silence::{Silence, SilenceState, to_millisecond};

/// All that is known of alerts, silences, and what was told.
#[derive(Debug, Clone)]
pub struct AlertBook {
    configuration: Arc<AlertingConfiguration>,
    alerts: BTreeMap<LabelMap, Alert>,
    silences: BTreeMap<String, Silence>,
    told: BTreeMap<String, Told>,
    groups: BTreeMap<String, Group>,
}

/// What was last told of a group through one integration of a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Fingerprints of the alerts that were told firing.
    pub firing: BTreeSet<String>,
    /// Fingerprints of those told resolved.
    pub resolved: BTreeSet<String>,
    /// When.
    pub at: Timestamp,
    /// When this may be forgotten.
    pub expires_at: Timestamp,
}

/// Alerts that are told together.
#[derive(Debug, Clone)]
struct Group {
    route: Arc<Route>,
    labels: LabelMap,
    alerts: BTreeSet<LabelMap>,
    next_flush: Timestamp,
    /// Whether it was told, or would have been, before.
    flushed: bool,
    /// Whether messages on it are under way.
    in_flight: bool,
}

/// What changed and is to be kept over restarts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// An alert is new, or resolved, or says something else.
    Alert(Alert),
    /// An alert is forgotten.
    AlertGone(LabelMap),
    /// A silence is new or changed.
    Silence(super::silence::PostedSilence, Timestamp),
    /// A silence is forgotten.
    SilenceGone(String),
    /// Something was told.
    Told(String, Told),
    /// What was told is forgotten.
    ToldGone(String),
}

/// A group whose time has come: messages to send.
#[derive(Debug, Clone)]
pub struct Flush {
    /// The group.
    pub group_key: String,
    /// The labels its alerts have alike.
    pub group_labels: LabelMap,
    /// Who is told.
    pub receiver: String,
    /// One an integration that has something to tell.
    pub messages: Vec<Message>,
    /// Sending is given up after this time.
    pub limit: SignedDuration,
    /// Resolved alerts that the group forgets once all is sent, as they were.
    resolved: Vec<Alert>,
}

/// What one integration of a receiver tells.
#[derive(Debug, Clone)]
pub struct Message {
    /// Which of the receiver's integrations.
    pub integration: Integration,
    /// The alerts; firing ones have no end.
    pub alerts: Vec<ToldAlert>,
    told: Told,
    told_key: String,
}

/// An alert as it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldAlert {
    /// The alert.
    pub alert: Alert,
    /// Whether it is resolved.
    pub resolved: bool,
}

/// One of a receiver's ways to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Integration {
    /// The webhook of that number.
    Webhook(usize),
    /// The mail of that number.
    Email(usize),
    /// The Slack message of that number.
    Slack(usize),
}

/// How an alert stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Silences that hold for it.
    pub silenced_by: Vec<String>,
    /// Alerts that mute it.
    pub inhibited_by: Vec<String>,
}

/// A group as the API shows it.
#[derive(Debug, Clone)]
pub struct GroupView {
    /// Its name.
    pub key: String,
    /// What its alerts have alike.
    pub labels: LabelMap,
    /// Who is told.
    pub receiver: String,
    /// Named times that mute it now.
    pub muted_by: Vec<String>,
    /// Its alerts.
    pub alerts: Vec<Alert>,
}

/// What was told and silences that ended are kept this long.
const RETENTION: SignedDuration = SignedDuration::from_hours(120);

/// An alert that an earlier restart has given time gets at least this long: rules are evaluated once a minute where
/// nothing else is said, and one that could not speak between two restarts is not taken for gone.
const LAST_GRACE: SignedDuration = SignedDuration::from_mins(1);

// === impl Integration ===

impl Integration {
    /// Its kind and number in names of what was told: `webhook[0]`.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Integration::Webhook(at) => format!("webhook[{at}]"),
            Integration::Email(at) => format!("email[{at}]"),
            Integration::Slack(at) => format!("slack[{at}]"),
        }
    }
}

// === impl AlertBook ===

impl AlertBook {
    /// Nothing known yet.
    #[must_use]
    pub fn new(configuration: Arc<AlertingConfiguration>) -> AlertBook {
        AlertBook {
            configuration,
            alerts: BTreeMap::new(),
            silences: BTreeMap::new(),
            told: BTreeMap::new(),
            groups: BTreeMap::new(),
        }
    }

    /// The configuration in force.
    #[must_use]
    pub fn configuration(&self) -> &Arc<AlertingConfiguration> {
        &self.configuration
    }

    /// Takes up what was kept over a restart; says what is to be kept of that. Alerts that had not been resolved
    /// get time to be sent again: once, however often there is a restart before they are.
    pub fn restore(&mut self, changes: Vec<Change>, now: Timestamp) -> Vec<Change> {
        for change in changes {
            match change {
                Change::Alert(alert) => {
                    self.alerts.insert(alert.labels.clone(), alert);
                }
                Change::AlertGone(labels) => {
                    self.alerts.remove(&labels);
                }
                Change::Silence(posted, updated_at) => {
                    let id = posted.id.clone();
                    if let Ok(silence) = Silence::read(posted, id.clone(), updated_at) {
                        self.silences.insert(id, silence);
                    }
                }
                Change::SilenceGone(id) => {
                    self.silences.remove(&id);
                }
                Change::Told(key, told) => {
                    self.told.insert(key, told);
                }
                Change::ToldGone(key) => {
                    self.told.remove(&key);
                }
            }
        }
        let resolve_timeout = signed(self.configuration.resolve_timeout);
        let mut changes = Vec::new();
        for alert in self.alerts.values_mut() {
            let was_resolved = alert.ends_at <= alert.updated_at;
            if was_resolved {
                continue;
            }
            let grace = if alert.awaited {
                resolve_timeout.min(LAST_GRACE)
            } else {
                resolve_timeout
            };
            alert.ends_at = alert.ends_at.max(after(now, grace));
            alert.awaited = true;
            changes.push(Change::Alert(alert.clone()));
        }
        self.group_all(now);
        changes
    }

    /// All that a restart needs.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Change> {
        let alerts = self.alerts.values().cloned().map(Change::Alert);
        let silences = self.silences.values();
        let silences =
            silences.map(|silence| Change::Silence(silence.posted(), silence.updated_at));
        let told = self.told.iter();
        let told = told.map(|(key, told)| Change::Told(key.clone(), told.clone()));
        alerts.chain(silences).chain(told).collect()
    }

    /// Uses another configuration; alerts are grouped anew.
    pub fn reconfigure(&mut self, configuration: Arc<AlertingConfiguration>, now: Timestamp) {
        self.configuration = configuration;
        self.groups.clear();
        self.group_all(now);
    }

    fn group_all(&mut self, now: Timestamp) {
        let alerts: Vec<Alert> = self.alerts.values().cloned().collect();
        for alert in alerts {
            self.group(&alert, now);
        }
    }

    /// Takes alerts; says what is to be kept.
    pub fn take(&mut self, alerts: Vec<Alert>, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        for alert in alerts {
            let known = self.alerts.get(&alert.labels);
            let merged = match known {
                Some(known) => known.merged_with(alert),
                None => alert,
            };
            let news = known.is_none_or(|known| {
                known.is_resolved(now) != merged.is_resolved(now)
                    || known.awaited != merged.awaited
                    || known.annotations != merged.annotations
                    || known.starts_at != merged.starts_at
                    || known.generator_url != merged.generator_url
            });
            if news {
                changes.push(Change::Alert(merged.clone()));
            }
            self.group(&merged, now);
            self.alerts.insert(merged.labels.clone(), merged);
        }
        changes
    }

    /// Puts an alert into the groups of its routes.
    fn group(&mut self, alert: &Alert, now: Timestamp) {
        for route in self.configuration.route.taken_by(&alert.labels) {
            let labels = route.group_by.group_labels(&alert.labels);
            let key = format!("{}:{}", route.key, label_text(&labels));
            // A resolved alert that no group waits for is no news.
            if alert.is_resolved(now) && !self.groups.contains_key(&key) && !self.was_told(&key) {
                continue;
            }
            let wait = signed(route.group_wait);
            let group = self.groups.entry(key).or_insert_with(|| Group {
                next_flush: after(now, wait),
                route,
                labels,
                alerts: BTreeSet::new(),
                flushed: false,
                in_flight: false,
            });
            group.alerts.insert(alert.labels.clone());
            if !group.flushed && after(alert.starts_at, wait) < now {
                group.next_flush = group.next_flush.min(now);
            }
        }
    }

    fn was_told(&self, group_key: &str) -> bool {
        let prefix = format!("{group_key}|");
        let mut of_group = self.told.range(prefix.clone()..);
        of_group
            .next()
            .is_some_and(|(key, told)| key.starts_with(&prefix) && !told.firing.is_empty())
    }

    /// When something is to be done next.
    #[must_use]
    pub fn next_time(&self) -> Option<Timestamp> {
        let waiting = self.groups.values().filter(|group| !group.in_flight);
        waiting.map(|group| group.next_flush).min()
    }

    /// The groups whose time has come, and what is told of them.
    pub fn flush(&mut self, now: Timestamp) -> Vec<Flush> {
        let due: Vec<String> = self
            .groups
            .iter()
            .filter(|(_, group)| !group.in_flight && group.next_flush <= now)
            .map(|(key, _)| key.clone())
            .collect();
        due.iter()
            .filter_map(|key| self.flush_group(key, now))
            .collect()
    }

    fn flush_group(&mut self, key: &str, now: Timestamp) -> Option<Flush> {
        let group = self.groups.get(key)?;
        let route = group.route.clone();
        let alerts: Vec<Alert> = group
            .alerts
            .iter()
            .filter_map(|labels| self.alerts.get(labels).cloned())
            .collect();
        let resolved: Vec<Alert> = alerts
            .iter()
            .filter(|alert| alert.is_resolved(now))
            .cloned()
            .collect();
        let mut told: Vec<ToldAlert> = Vec::new();
        if self.muting_times(&route, now).is_empty() {
            for alert in alerts {
                if self.standing(&alert.labels, now) == Standing::default() {
                    let resolved = alert.is_resolved(now);
                    told.push(ToldAlert { alert, resolved });
                }
            }
        }
        told.sort_by(|left, right| order(&left.alert).cmp(&order(&right.alert)));
        let messages = if told.is_empty() {
            Vec::new()
        } else {
            self.messages(key, &route, &told, now)
        };
        let flush = Flush {
            group_key: key.to_owned(),
            group_labels: group.labels.clone(),
            receiver: route.receiver.clone(),
            limit: signed(route.group_interval).max(SignedDuration::from_secs(10)),
            messages,
            resolved,
        };
        let group = self.groups.get_mut(key)?;
        group.flushed = true;
        group.next_flush = after(now, signed(route.group_interval));
        group.in_flight = !flush.messages.is_empty();
        if flush.messages.is_empty() {
            self.forget_resolved(&flush);
            return None;
        }
        Some(flush)
    }

    /// What each integration of the receiver has to tell, if anything.
    fn messages(
        &self,
        key: &str,
        route: &Route,
        alerts: &[ToldAlert],
        now: Timestamp,
    ) -> Vec<Message> {
        let Some(receiver) = self.configuration.receivers.get(&route.receiver) else {
            return Vec::new();
        };
        let webhooks = receiver.webhook_configs.iter().enumerate();
        let webhooks = webhooks.map(|(at, it)| (Integration::Webhook(at), it.send_resolved));
        let mails = receiver.email_configs.iter().enumerate();
        let mails = mails.map(|(at, it)| (Integration::Email(at), it.send_resolved));
        let slacks = receiver.slack_configs.iter().enumerate();
        let slacks = slacks.map(|(at, it)| (Integration::Slack(at), it.send_resolved));
        let prints = |resolved: bool| -> BTreeSet<String> {
            let chosen = alerts.iter().filter(|told| told.resolved == resolved);
            chosen.map(|told| told.alert.fingerprint()).collect()
        };
        let (firing, resolved) = (prints(false), prints(true));
        let repeat = signed(route.repeat_interval);
        let mut messages = Vec::new();
        for (integration, send_resolved) in webhooks.chain(mails).chain(slacks) {
            let told_key = format!("{key}|{}/{}", route.receiver, integration.name());
            let before = self.told.get(&told_key);
            if !has_news(before, &firing, &resolved, send_resolved, repeat, now) {
                continue;
            }
            let chosen: Vec<ToldAlert> = alerts
                .iter()
                .filter(|told| send_resolved || !told.resolved)
                .cloned()
                .collect();
            messages.push(Message {
                integration,
                alerts: chosen,
                told: Told {
                    firing: firing.clone(),
                    resolved: resolved.clone(),
                    at: now,
                    expires_at: after(now, RETENTION.min(repeat * 2)),
                },
                told_key,
            });
        }
        messages
    }

    /// Takes the result of a flush: which of its messages were sent. Says what is to be kept.
    pub fn finish(&mut self, flush: &Flush, sent: &[bool]) -> Vec<Change> {
        let mut changes = Vec::new();
        for (message, sent) in flush.messages.iter().zip(sent) {
            if *sent {
                self.told
                    .insert(message.told_key.clone(), message.told.clone());
                changes.push(Change::Told(message.told_key.clone(), message.told.clone()));
            }
        }
        if let Some(group) = self.groups.get_mut(&flush.group_key) {
            group.in_flight = false;
        }
        if sent.iter().all(|sent| *sent) {
            self.forget_resolved(flush);
        }
        changes
    }

    /// The group forgets the resolved alerts that were told, unless they changed meanwhile.
    fn forget_resolved(&mut self, flush: &Flush) {
        let Some(group) = self.groups.get_mut(&flush.group_key) else {
            return;
        };
        for alert in &flush.resolved {
            let unchanged = self
                .alerts
                .get(&alert.labels)
                .is_none_or(|known| known.ends_at == alert.ends_at);
            if unchanged {
                group.alerts.remove(&alert.labels);
            }
        }
        if group.alerts.is_empty() {
            self.groups.remove(&flush.group_key);
        }
    }

    /// Forgets what no longer matters: resolved alerts that no group waits for, silences and messages long ago.
    pub fn clean(&mut self, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        let waited_for: BTreeSet<LabelMap> = self
            .groups
            .values()
            .flat_map(|group| group.alerts.iter().cloned())
            .collect();
        self.alerts.retain(|labels, alert| {
            let keep = !alert.is_resolved(now) || waited_for.contains(labels);
            if !keep {
                changes.push(Change::AlertGone(labels.clone()));
            }
            keep
        });
        self.silences.retain(|id, silence| {
            let keep = after(silence.ends_at, RETENTION) > now;
            if !keep {
                changes.push(Change::SilenceGone(id.clone()));
            }
            keep
        });
        self.told.retain(|key, told| {
            let keep = told.expires_at > now;
            if !keep {
                changes.push(Change::ToldGone(key.clone()));
            }
            keep
        });
        changes
    }

    /// What keeps an alert from being told.
    #[must_use]
    pub fn standing(&self, labels: &LabelMap, now: Timestamp) -> Standing {
        let silences = self.silences.values();
        let silenced_by = silences
            .filter(|silence| silence.silences(labels, now))
            .map(|silence| silence.id.clone());
        let firing = self.alerts.values().filter(|alert| !alert.is_resolved(now));
        Standing {
            silenced_by: silenced_by.collect(),
            inhibited_by: inhibited_by(&self.configuration.inhibitions, labels, &firing),
        }
    }

    /// The named times that mute a route now.
    fn muting_times(&self, route: &Route, now: Timestamp) -> Vec<String> {
        let holds = |name: &&String| {
            let intervals = self.configuration.intervals.get(*name);
            intervals.is_some_and(|all| all.iter().any(|interval| interval.contains(now)))
        };
        let mut muting: Vec<String> = route.mute_times.iter().filter(holds).cloned().collect();
        if !route.active_times.is_empty() && !route.active_times.iter().any(|name| holds(&name)) {
            muting.extend(route.active_times.iter().cloned());
        }
        muting
    }

    /// The alerts, resolved ones too as long as they are waited for.
    pub fn alerts(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values()
    }

    /// The receivers that an alert's routes name.
    #[must_use]
    pub fn receivers_of(&self, labels: &LabelMap) -> Vec<String> {
        let routes = self.configuration.route.taken_by(labels);
        routes.iter().map(|route| route.receiver.clone()).collect()
    }

    /// The groups.
    #[must_use]
    pub fn groups(&self, now: Timestamp) -> Vec<GroupView> {
        let groups = self.groups.iter();
        groups
            .map(|(key, group)| GroupView {
                key: key.clone(),
                labels: group.labels.clone(),
                receiver: group.route.receiver.clone(),
                muted_by: self.muting_times(&group.route, now),
                alerts: group
                    .alerts
                    .iter()
                    .filter_map(|labels| self.alerts.get(labels).cloned())
                    .collect(),
            })
            .collect()
    }

    /// The silences, those that hold first, then by their end.
    #[must_use]
    pub fn silences(&self, now: Timestamp) -> Vec<Silence> {
        let mut silences: Vec<Silence> = self.silences.values().cloned().collect();
        silences.sort_by_key(|silence| (silence.state(now), silence.ends_at, silence.id.clone()));
        silences
    }

    /// A silence.
    #[must_use]
    pub fn silence(&self, id: &str) -> Option<&Silence> {
        self.silences.get(id)
    }

    /// Adds a silence, or changes one; says its name. One that can only become this by being another ends, and a new
    /// one begins.
    ///
    /// # Errors
    /// Where it names a silence that is not there.
    pub fn set_silence(
        &mut self,
        mut silence: Silence,
        new_id: String,
        now: Timestamp,
    ) -> Result<(String, Vec<Change>), String> {
        let mut changes = Vec::new();
        if silence.id.is_empty() {
            silence.id = new_id;
            silence.starts_at = silence.starts_at.max(to_millisecond(now));
        } else {
            let Some(known) = self.silences.get(&silence.id) else {
                return Err("silence not found".to_owned());
            };
            if !known.can_become(&silence, now) {
                if known.state(now) != SilenceState::Expired {
                    let id = silence.id.clone();
                    changes.extend(self.expire_silence(&id, now));
                }
                silence.id = new_id;
                silence.starts_at = silence.starts_at.max(to_millisecond(now));
            }
        }
        if silence.ends_at <= now || silence.ends_at < silence.starts_at {
            return Err("invalid silence: end time can't be in the past".to_owned());
        }
        let id = silence.id.clone();
        changes.push(Change::Silence(silence.posted(), now));
        self.silences.insert(id.clone(), silence);
        Ok((id, changes))
    }

    /// Ends a silence now; `None` where there is none of that name that has not ended.
    pub fn expire_silence(&mut self, id: &str, now: Timestamp) -> Option<Change> {
        let silence = self.silences.get_mut(id)?;
        match silence.state(now) {
            SilenceState::Expired => return None,
            SilenceState::Active => silence.ends_at = now,
            SilenceState::Pending => (silence.starts_at, silence.ends_at) = (now, now),
        }
        silence.updated_at = now;
        Some(Change::Silence(silence.posted(), now))
    }
}

/// Whether there is something to tell beyond what was told before.
fn has_news(
    before: Option<&Told>,
    firing: &BTreeSet<String>,
    resolved: &BTreeSet<String>,
    send_resolved: bool,
    repeat: SignedDuration,
    now: Timestamp,
) -> bool {
    let Some(before) = before else {
        return !firing.is_empty();
    };
    if !firing.is_subset(&before.firing) {
        return true;
    }
    if firing.is_empty() {
        return !before.firing.is_empty();
    }
    if send_resolved && !resolved.is_subset(&before.resolved) {
        return true;
    }
    after(before.at, repeat) <= now
}

/// Alerts are told by job and instance, then by all labels.
fn order(alert: &Alert) -> (&str, &str, &LabelMap) {
    let of = |name: &str| alert.labels.get(name).map_or("", String::as_str);
    (of("job"), of("instance"), &alert.labels)
}

fn signed(duration: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(RETENTION)
}

/// A time so much later; the end of time where that is beyond it.
pub(crate) fn after(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}
