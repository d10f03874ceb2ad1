use std::collections::BTreeMap;

use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;

use crate::relabel::LabelSet;
use crate::rules::{GroupReport, RuleReport};
use crate::scrape::{Health, TargetReport};
use crate::series_store::{Labels, METRIC_NAME, Matcher};

use super::Api;
use super::answer::{ApiError, Reply};
use super::form::{Form, invalid};

/// Go's time that was never set.
pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TargetView {
    discovered_labels: LabelSet,
    labels: LabelSet,
    scrape_pool: String,
    scrape_url: String,
    global_url: String,
    last_error: String,
    last_scrape: String,
    last_scrape_duration: f64,
    health: Health,
    scrape_interval: String,
    scrape_timeout: String,
}

fn owned(labels: &Labels) -> LabelSet {
    let owned = labels
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    owned.collect()
}

fn shown(time: Option<Timestamp>) -> String {
    time.map_or_else(|| NEVER.to_owned(), |time| time.to_string())
}

impl From<TargetReport> for TargetView {
    fn from(report: TargetReport) -> TargetView {
        let url = report.target.url.to_string();
        TargetView {
            labels: owned(&report.target.labels),
            discovered_labels: report.target.discovered,
            scrape_pool: report.pool,
            global_url: url.clone(),
            scrape_url: url,
            last_error: report.last_error,
            last_scrape: shown(report.last_scrape),
            last_scrape_duration: report.last_duration.as_secs_f64(),
            health: report.health,
            scrape_interval: report.target.interval.to_string(),
            scrape_timeout: report.target.timeout.to_string(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DroppedView {
    discovered_labels: LabelSet,
    scrape_pool: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TargetsView {
    active_targets: Vec<TargetView>,
    dropped_targets: Vec<DroppedView>,
    dropped_target_counts: BTreeMap<String, usize>,
}

/// `/api/v1/targets`
pub(super) async fn targets(State(api): State<Api>, form: Form) -> Result<Reply, ApiError> {
    let state = form.get("state").to_ascii_lowercase();
    let pool = form.get("scrapePool");
    let is_wanted = |name: &str| pool.is_empty() || pool == name;
    let mut view = TargetsView {
        active_targets: Vec::new(),
        dropped_targets: Vec::new(),
        dropped_target_counts: BTreeMap::new(),
    };
    let Some(scrapes) = &api.parts.scrapes else {
        return Reply::of(&view);
    };
    if matches!(state.as_str(), "" | "any" | "active") {
        let all = scrapes.targets().into_iter();
        let chosen = all.filter(|report| is_wanted(&report.pool));
        view.active_targets = chosen.map(TargetView::from).collect();
    }
    for (name, dropped, count) in scrapes.dropped() {
        if !is_wanted(&name) {
            continue;
        }
        if matches!(state.as_str(), "" | "any" | "dropped") {
            let views = dropped.into_iter().map(|discovered_labels| DroppedView {
                discovered_labels,
                scrape_pool: name.clone(),
            });
            view.dropped_targets.extend(views);
        }
        view.dropped_target_counts.insert(name, count);
    }
    Reply::of(&view)
}

#[derive(Serialize)]
struct TargetMetadataView {
    target: LabelSet,
    metric: String,
    #[serde(rename = "type")]
    kind: String,
    help: String,
    unit: String,
}

/// `/api/v1/targets/metadata`
pub(super) async fn metadata(State(api): State<Api>, form: Form) -> Result<Reply, ApiError> {
    let limit = form.limit()?.unwrap_or(usize::MAX);
    let matchers = match form.get("match_target") {
        "" => Vec::new(),
        _ => form
            .selectors("match_target")?
            .into_iter()
            .next()
            .unwrap_or_default(),
    };
    let metric = form.get("metric");
    let mut views = Vec::new();
    for (target, reports) in api
        .parts
        .scrapes
        .iter()
        .flat_map(crate::scrape::ScrapeManager::metadata)
    {
        if !accepts(&matchers, &target.target.labels) {
            continue;
        }
        for report in reports {
            if views.len() < limit && (metric.is_empty() || metric == report.metric) {
                views.push(TargetMetadataView {
                    target: owned(&target.target.labels),
                    metric: report.metric,
                    kind: report.metadata.kind,
                    help: report.metadata.help,
                    unit: report.metadata.unit,
                });
            }
        }
    }
    Reply::of(&views)
}

fn accepts(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers
        .iter()
        .all(|matcher| matcher.accepts_series(labels))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PoolsView {
    scrape_pools: Vec<String>,
}

/// `/api/v1/scrape_pools`
pub(super) async fn scrape_pools(State(api): State<Api>) -> Result<Reply, ApiError> {
    let scrapes = api.parts.scrapes.as_ref();
    let scrape_pools = scrapes
        .map(crate::scrape::ScrapeManager::pools)
        .unwrap_or_default();
    Reply::of(&PoolsView { scrape_pools })
}

#[derive(Serialize)]
struct UrlView {
    url: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AlertmanagersView {
    active_alertmanagers: Vec<UrlView>,
    dropped_alertmanagers: Vec<UrlView>,
}

/// `/api/v1/alertmanagers`
pub(super) async fn alertmanagers(State(api): State<Api>) -> Result<Reply, ApiError> {
    let reports = api.parts.rules.alertmanagers();
    let views = |urls: Vec<String>| urls.into_iter().map(|url| UrlView { url }).collect();
    Reply::of(&AlertmanagersView {
        active_alertmanagers: views(reports.active),
        dropped_alertmanagers: views(reports.dropped),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RulesView {
    groups: Vec<GroupReport>,
    #[serde(skip_serializing_if = "String::is_empty")]
    group_next_token: String,
}

/// `/api/v1/rules`
pub(super) async fn rules(State(api): State<Api>, form: Form) -> Result<Reply, ApiError> {
    let (alerting, recording) = match form.get("type").to_ascii_lowercase().as_str() {
        "" => (true, true),
        "alert" => (true, false),
        "record" => (false, true),
        other => return Err(invalid("type", &format!("not supported value {other:?}"))),
    };
    let without_alerts = match form.get("exclude_alerts") {
        "" => false,
        text => matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True"),
    };
    let selectors = form.selectors("match[]")?;
    let lists = [
        form.all("rule_name[]"),
        form.all("rule_group[]"),
        form.all("file[]"),
    ];
    let [names, groups, files] =
        lists.map(|list| move |name: &str| list.is_empty() || list.contains(&name));
    let mut chosen = api.parts.rules.groups();
    chosen.retain(|group| groups(&group.name) && files(&group.file));
    for group in &mut chosen {
        group.rules.retain_mut(|rule| {
            let (name, labels, is_wanted) = match rule {
                RuleReport::Alerting(rule) => {
                    if without_alerts {
                        rule.alerts.clear();
                    }
                    (&rule.name, &rule.labels, alerting)
                }
                RuleReport::Recording(rule) => (&rule.name, &rule.labels, recording),
            };
            let labels = Labels::new(labels.clone()).with(METRIC_NAME, "");
            let matches =
                selectors.is_empty() || selectors.iter().any(|matchers| accepts(matchers, &labels));
            is_wanted && names(name) && matches
        });
    }
    chosen.retain(|group| !group.rules.is_empty());
    let (chosen, group_next_token) = page(chosen, &form)?;
    Reply::of(&RulesView {
        groups: chosen,
        group_next_token,
    })
}

/// `group_limit` groups after the one that `group_next_token` names, and the token of the last where more follow.
fn page(groups: Vec<GroupReport>, form: &Form) -> Result<(Vec<GroupReport>, String), ApiError> {
    let token = form.get("group_next_token");
    let limit = form.get("group_limit");
    if limit.is_empty() {
        if token.is_empty() {
            return Ok((groups, String::new()));
        }
        let reason = "group_limit needs to be present in order to paginate over the groups";
        return Err(invalid("group_limit", reason));
    }
    let limit: usize = limit
        .parse()
        .ok()
        .filter(|limit| *limit > 0)
        .ok_or_else(|| invalid("group_limit", "group_limit needs to be greater than 0"))?;
    let name_of = |group: &GroupReport| format!("{};{}", group.file, group.name);
    let first = match token {
        "" => 0,
        token => {
            let at = groups.iter().position(|group| name_of(group) == token);
            at.map(|at| at + 1).ok_or_else(|| {
                invalid(
                    "group_next_token",
                    "group_next_token is of no group; start again without it",
                )
            })?
        }
    };
    let more = groups.len() > first + limit;
    let shown: Vec<GroupReport> = groups.into_iter().skip(first).take(limit).collect();
    let next = shown
        .last()
        .filter(|_| more)
        .map(name_of)
        .unwrap_or_default();
    Ok((shown, next))
}

#[derive(Serialize)]
struct AlertsView {
    alerts: Vec<crate::rules::AlertReport>,
}

/// `/api/v1/alerts`
pub(super) async fn alerts(State(api): State<Api>) -> Result<Reply, ApiError> {
    Reply::of(&AlertsView {
        alerts: api.parts.rules.alerts(),
    })
}
