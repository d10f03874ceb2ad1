use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use http::Uri;

use crate::config::{PromDuration, ScrapeConfig};
use crate::discovery::{ADDRESS, Groups};
use crate::relabel::{LabelSet, relabel};
use crate::series_store::Labels;

/// What is scraped.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The labels its series get.
    pub labels: Labels,
    /// The labels before relabelling.
    pub discovered: LabelSet,
    /// Where it is asked.
    pub url: Uri,
    /// Time from one scrape to the next.
    pub interval: PromDuration,
    /// When a scrape is given up.
    pub timeout: PromDuration,
}

/// A target that relabelling dropped: its labels before.
pub type Dropped = LabelSet;

// === impl Target ===

impl Target {
    /// What tells targets of a job apart.
    pub(super) fn key(&self) -> String {
        format!(
            "{} {} {} {}",
            self.url, self.labels, self.interval, self.timeout
        )
    }

    /// A number that spreads targets over the interval.
    pub(super) fn spread(&self, seed: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.key(), seed).hash(&mut hasher);
        hasher.finish()
    }
}

/// What became of the targets that discovery knows.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// By key: the same target found twice is scraped once.
    pub(super) targets: BTreeMap<String, Target>,
    pub(super) dropped: Vec<Dropped>,
    /// Targets that make no sense, and why.
    pub(super) faults: Vec<String>,
}

/// The targets that a job has.
pub(super) fn choose_targets(config: &ScrapeConfig, groups: &Groups) -> Chosen {
    let mut chosen = Chosen::default();
    for group in groups.values().flatten() {
        for labels in &group.targets {
            let mut discovered = group.labels.clone();
            discovered.extend(labels.clone());
            match target_of(config, discovered) {
                Ok(Ok(target)) => {
                    chosen.targets.insert(target.key(), target);
                }
                Ok(Err(dropped)) => chosen.dropped.push(dropped),
                Err(reason) => {
                    chosen
                        .faults
                        .push(format!("target in group {}: {reason}", group.source));
                }
            }
        }
    }
    chosen
}

/// What relabelling makes of one target.
///
/// # Errors
/// A sentence, where the labels make no target.
fn target_of(config: &ScrapeConfig, found: LabelSet) -> Result<Result<Target, Dropped>, String> {
    let mut discovered = found;
    let defaults = [
        ("job", config.job_name.clone()),
        ("__scrape_interval__", config.interval().to_string()),
        ("__scrape_timeout__", config.timeout().to_string()),
        ("__metrics_path__", config.metrics_path.clone()),
        ("__scheme__", config.scheme.name().to_owned()),
    ];
    for (name, value) in defaults {
        discovered.entry(name.to_owned()).or_insert(value);
    }
    for (name, values) in &config.params {
        if let Some(first) = values.first() {
            discovered.insert(format!("__param_{name}"), first.clone());
        }
    }
    discovered.retain(|_, value| !value.is_empty());
    let mut labels = discovered.clone();
    if !relabel(&mut labels, &config.relabel_configs) || !labels.contains_key(ADDRESS) {
        return Ok(Err(discovered));
    }
    let label = |name: &str| labels.get(name).map_or("", String::as_str);
    let address = label(ADDRESS).to_owned();
    if address.contains('/') {
        return Err(format!("{address:?} is not a valid hostname"));
    }
    let length = |name: &str| {
        PromDuration::parse(label(name))
            .filter(|length| !length.is_zero())
            .ok_or_else(|| {
                format!(
                    "error parsing {name}: {:?} is no duration above zero",
                    label(name)
                )
            })
    };
    let (interval, timeout) = (
        length("__scrape_interval__")?,
        length("__scrape_timeout__")?,
    );
    if timeout > interval {
        return Err(format!(
            "scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})"
        ));
    }
    let url = url_of(config, &labels)?;
    labels.entry("instance".to_owned()).or_insert(address);
    labels.retain(|name, _| !name.starts_with("__"));
    Ok(Ok(Target {
        labels: Labels::new(labels),
        discovered,
        url,
        interval,
        timeout,
    }))
}

fn url_of(config: &ScrapeConfig, labels: &LabelSet) -> Result<Uri, String> {
    let label = |name: &str| labels.get(name).map_or("", String::as_str);
    let mut params: BTreeMap<&str, Vec<&str>> = config
        .params
        .iter()
        .map(|(name, values)| (name.as_str(), values.iter().map(String::as_str).collect()))
        .collect();
    for (name, value) in labels {
        if let Some(name) = name.strip_prefix("__param_") {
            let values = params.entry(name).or_default();
            match values.first_mut() {
                Some(first) => *first = value,
                None => values.push(value),
            }
        }
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, values) in &params {
        for value in values {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    let path = label("__metrics_path__");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mark = match (query.is_empty(), path.contains('?')) {
        (true, _) => "",
        (false, true) => "&",
        (false, false) => "?",
    };
    let text = format!(
        "{}://{}{slash}{path}{mark}{query}",
        label("__scheme__"),
        label(ADDRESS)
    );
    let url: Uri = text
        .parse()
        .map_err(|error| format!("{text:?} is no URL: {error}"))?;
    match url.scheme_str() {
        Some("http" | "https") if url.host().is_some() => Ok(url),
        _ => Err(format!("{text:?} is no URL of http or https with a host")),
    }
}
