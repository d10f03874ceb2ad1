use crate::config::{NameValidation, ScrapeConfig};
use crate::exposition::{
    Entry, Format, MetricKind, ParseError, SampleEntry, is_legacy_label_name,
    is_legacy_metric_name, parse, parse_body, series_labels,
};
use crate::relabel::{LabelSet, relabel};
use crate::series_store::{Labels, METRIC_NAME};
use crate::tsdb::{AppendError, Appender, Metadata, STALE_NAN, Tsdb};

use super::cache::{Known, SeriesCache};

/// Why an answer is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntakeError {
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error("line {line}: {reason}")]
    Series { line: usize, reason: String },
    #[error("sample limit exceeded: the target has {found} samples, the limit is {limit}")]
    SampleLimit { found: u64, limit: u64 },
    #[error("label_limit exceeded (metric: {metric:?}, number of labels: {found}, limit: {limit})")]
    LabelLimit {
        metric: String,
        found: usize,
        limit: u64,
    },
    #[error(
        "label_name_length_limit exceeded (metric: {metric:?}, label name: {name:?}, length: {length}, limit: {limit})"
    )]
    LabelNameLength {
        metric: String,
        name: String,
        length: usize,
        limit: u64,
    },
    #[error(
        "label_value_length_limit exceeded (metric: {metric:?}, label name: {name:?}, length: {length}, limit: {limit})"
    )]
    LabelValueLength {
        metric: String,
        name: String,
        length: usize,
        limit: u64,
    },
}

/// What an answer gave; of one with a fault, what was read before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) samples: u64,
    pub(super) after_relabelling: u64,
    pub(super) series_added: u64,
    /// Samples that the database refused.
    pub(super) refused: u64,
}

/// What is asked of every sample of a target.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) config: &'a ScrapeConfig,
    pub(super) target: &'a Labels,
}

/// Takes an answer's samples. Nothing of an answer with a fault is taken: the appender is to be rolled back then.
///
/// Samples over the limit are counted, as Prometheus counts them, so that who raises it knows how far.
pub(super) fn take(
    body: &[u8],
    format: Format,
    rules: &Rules<'_>,
    cache: &mut SeriesCache,
    appender: &mut Appender,
    time: i64,
    tsdb: &Tsdb,
) -> (Counts, Result<(), IntakeError>) {
    let mut counts = Counts::default();
    let taken = (|| {
        let (text, format) = parse_body(body, format)?;
        let mut told = Told::default();
        for entry in parse(&text, format) {
            match entry? {
                Entry::Sample(sample) => {
                    take_sample(sample, rules, cache, appender, time, &mut counts)?;
                }
                Entry::Type { family, kind } => {
                    told.begin(&family, cache, tsdb).kind = kind.name().to_owned();
                }
                Entry::Help { family, text } => {
                    told.begin(&family, cache, tsdb).help = text.into_owned();
                }
                Entry::Unit { family, unit } => {
                    told.begin(&family, cache, tsdb).unit = unit.to_owned();
                }
            }
        }
        told.finish(cache, tsdb);
        match rules.config.sample_limit {
            Some(limit) if is_above(counts.after_relabelling, limit) => {
                Err(IntakeError::SampleLimit {
                    found: counts.after_relabelling,
                    limit,
                })
            }
            _ => Ok(()),
        }
    })();
    (counts, taken)
}

/// Whether a number is above a limit; zero is none.
fn is_above(number: u64, limit: u64) -> bool {
    limit > 0 && number > limit
}

/// What an answer has said so far of the family that it is at.
#[derive(Default)]
struct Told {
    family: String,
    metadata: Metadata,
}

impl Told {
    fn begin(&mut self, family: &str, cache: &mut SeriesCache, tsdb: &Tsdb) -> &mut Metadata {
        if self.family != family {
            self.finish(cache, tsdb);
            self.family = family.to_owned();
            self.metadata = Metadata {
                kind: MetricKind::Unknown.name().to_owned(),
                ..Metadata::default()
            };
        }
        &mut self.metadata
    }

    fn finish(&mut self, cache: &mut SeriesCache, tsdb: &Tsdb) {
        if !self.family.is_empty() && cache.metadata.get(&self.family) != Some(&self.metadata) {
            tsdb.set_metadata(&self.family, self.metadata.clone());
            cache
                .metadata
                .insert(self.family.clone(), self.metadata.clone());
        }
    }
}

fn take_sample(
    sample: SampleEntry<'_>,
    rules: &Rules<'_>,
    cache: &mut SeriesCache,
    appender: &mut Appender,
    now: i64,
    counts: &mut Counts,
) -> Result<(), IntakeError> {
    let config = rules.config;
    // A series that cannot be read is no sample yet.
    let written = match cache.series.contains_key(sample.series) {
        true => None,
        false => Some(written_labels(&sample)?),
    };
    counts.samples += 1;
    let time = sample
        .time
        .filter(|_| config.honor_timestamps)
        .unwrap_or(now);
    let is_tracked = time == now && sample.time.is_none()
        || !config.honor_timestamps
        || config.track_timestamps_staleness;
    let limit = config.sample_limit.unwrap_or(0);
    if let Some(written) = written {
        let labels = stored_labels(&written, sample.line, rules)?;
        if labels.is_some() && is_above(counts.after_relabelling + 1, limit) {
            // Not remembered: a target over its limit must not fill the memory.
            counts.after_relabelling += 1;
            return Ok(());
        }
        let known = Known {
            labels,
            reference: None,
            seen: 0,
            seen_before: 0,
            is_tracked,
        };
        cache.series.insert(sample.series.to_owned(), known);
    }
    let Some(known) = cache.series.get_mut(sample.series) else {
        return Ok(());
    };
    if known.seen != cache.scrape {
        known.seen_before = known.seen;
        known.seen = cache.scrape;
    }
    let Some(labels) = &known.labels else {
        return Ok(());
    };
    counts.after_relabelling += 1;
    if is_above(counts.after_relabelling, limit) {
        return Ok(());
    }
    let is_new = known.reference.is_none();
    match appender.append(labels, known.reference, time, sample.value) {
        Ok(reference) => {
            known.reference = Some(reference);
            counts.series_added += u64::from(is_new);
        }
        Err(error) => {
            counts.refused += 1;
            let is_limit = matches!(error, AppendError::LimitReached { .. });
            if is_limit && counts.refused == 1 {
                tracing::warn!(%error, "a scraped sample is refused");
            } else {
                tracing::debug!(%error, "a scraped sample is refused");
            }
        }
    }
    known.is_tracked = is_tracked;
    Ok(())
}

fn written_labels(sample: &SampleEntry<'_>) -> Result<Vec<(String, String)>, IntakeError> {
    series_labels(sample.series, sample.kind).map_err(|reason| IntakeError::Series {
        line: sample.line,
        reason,
    })
}

/// The labels a series is stored under; `None` where relabelling drops it.
fn stored_labels(
    written: &[(String, String)],
    line: usize,
    rules: &Rules<'_>,
) -> Result<Option<Labels>, IntakeError> {
    let fault = |reason: String| IntakeError::Series { line, reason };
    let config = rules.config;
    if config.metric_name_validation_scheme == Some(NameValidation::Legacy) {
        let odd = written.iter().find_map(|(name, value)| {
            let is_odd_metric = name == METRIC_NAME && !is_legacy_metric_name(value);
            let odd = if is_odd_metric {
                Some(value)
            } else {
                Some(name)
            };
            odd.filter(|_| is_odd_metric || !is_legacy_label_name(name))
        });
        if let Some(odd) = odd {
            return Err(fault(format!(
                "invalid name {odd:?} under the legacy scheme"
            )));
        }
    }
    let mut labels = with_target_labels(written, rules.target, config.honor_labels);
    if !relabel(&mut labels, &config.metric_relabel_configs) || labels.is_empty() {
        return Ok(None);
    }
    if !labels.contains_key(METRIC_NAME) {
        return Err(fault(
            "the series has no metric name after relabelling".to_owned(),
        ));
    }
    check_limits(&labels, config)?;
    Ok(Some(Labels::new(labels)))
}

/// A sample's labels with those of its target; where both have one, `honor_labels` decides which is kept, and
/// the sample's own is otherwise kept under `exported_NAME`.
fn with_target_labels(written: &[(String, String)], target: &Labels, honors: bool) -> LabelSet {
    let mut labels: LabelSet = written.iter().cloned().collect();
    if honors {
        for (name, value) in target.iter() {
            if !labels.contains_key(name) {
                labels.insert(name.to_owned(), value.to_owned());
            }
        }
    } else {
        let mut moved = Vec::new();
        for (name, value) in target.iter() {
            let own = labels.insert(name.to_owned(), value.to_owned());
            moved.extend(own.filter(|own| !own.is_empty()).map(|own| (name, own)));
        }
        for (name, own) in moved {
            let mut exported = format!("exported_{name}");
            while labels.contains_key(&exported) {
                exported.insert_str(0, "exported_");
            }
            labels.insert(exported, own);
        }
    }
    labels.retain(|_, value| !value.is_empty());
    labels
}

fn check_limits(labels: &LabelSet, config: &ScrapeConfig) -> Result<(), IntakeError> {
    let metric = || labels.get(METRIC_NAME).cloned().unwrap_or_default();
    let limit = config.label_limit.unwrap_or(0);
    if is_above(labels.len() as u64, limit) {
        return Err(IntakeError::LabelLimit {
            metric: metric(),
            found: labels.len(),
            limit,
        });
    }
    let name_limit = config.label_name_length_limit.unwrap_or(0);
    let value_limit = config.label_value_length_limit.unwrap_or(0);
    for (name, value) in labels {
        if is_above(name.len() as u64, name_limit) {
            return Err(IntakeError::LabelNameLength {
                metric: metric(),
                name: name.clone(),
                length: name.len(),
                limit: name_limit,
            });
        }
        if is_above(value.len() as u64, value_limit) {
            return Err(IntakeError::LabelValueLength {
                metric: metric(),
                name: name.clone(),
                length: value.len(),
                limit: value_limit,
            });
        }
    }
    Ok(())
}

/// Marks the series stale that the last good scrape had and this one has not; all of them where this one failed.
pub(super) fn mark_stale(
    cache: &mut SeriesCache,
    appender: &mut Appender,
    time: i64,
    failed: bool,
) {
    let (scrape, last_good) = (cache.scrape, cache.last_good);
    for known in cache.series.values_mut() {
        let is_gone = known.seen == last_good && (failed || known.seen != scrape);
        if !is_gone || known.seen == 0 || !known.is_tracked {
            continue;
        }
        if let Some(labels) = &known.labels {
            // A sample of the same series by another name is newer: then it is not gone.
            let _ = appender.append(labels, known.reference, time, STALE_NAN);
        }
        if failed {
            // Not to be marked again by the next scrape that fails.
            known.seen = known.seen.saturating_sub(1);
        }
    }
}

/// The metrics about a scrape, in the order Prometheus writes them.
pub(super) fn report(
    cache: &mut SeriesCache,
    target: &Labels,
    appender: &mut Appender,
    time: i64,
    values: &[(&'static str, f64)],
) {
    for (name, value) in values {
        let (labels, reference) = cache
            .reports
            .entry(name)
            .or_insert_with(|| (target.with(METRIC_NAME, name), None));
        match appender.append(labels, *reference, time, *value) {
            Ok(known) => *reference = Some(known),
            Err(error) => tracing::debug!(%error, "a metric of a scrape is refused"),
        }
    }
}
