//! The report of a run: one page of HTML that needs nothing beside itself.
//!
//! ```text
//! Timeline, WatchTimeline, Summary, RunEnd ─► panels, reaction (pure) ─► chart, tables ─► one page
//! ```
//!
//! Charts are SVG, drawn here. The page's only script reads values at the moment that is pointed at;
//! without it everything but that is there. A content security policy in the page allows its own style
//! and script by their hashes and nothing else, so not even a name that slipped through could load anything.

mod axis;
mod chart;
mod html;
mod panels;
mod reaction;
mod tables;
mod units;

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use crate::metric::Measured;
use crate::run::RunEnd;
use crate::scenario::ScenarioPlan;
use crate::summary::Summary;
use crate::timeline::Timeline;
use crate::user::StopReason;
use crate::watch::WatchTimeline;

use chart::TimeAxis;
use html::{Escaped, json};
use reaction::{Evenness, LoadStep, Reaction};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("cursor.js");

/// What a report tells of.
#[derive(Clone, Copy, Debug)]
pub struct Report<'run> {
    /// The script or the URL.
    pub target: &'run str,
    /// What was to be done.
    pub plans: &'run [ScenarioPlan],
    /// What was measured, by interval.
    pub timeline: &'run Timeline,
    /// What autoscalers did meanwhile.
    pub watched: Option<&'run WatchTimeline>,
    /// What was measured, as a whole.
    pub summary: &'run Summary,
    /// How the run ended.
    pub end: &'run RunEnd,
    /// Why the test failed, where that is neither a threshold's doing nor its early end.
    pub failure: Option<&'run str>,
}

/// How a run is judged.
enum Verdict {
    Good(String),
    Bad(String),
    /// There was nothing to judge it by.
    Open(String),
}

/// What the page says of how the platform reacted.
struct Findings {
    load_steps: Vec<LoadStep>,
    /// For each autoscaler.
    reactions: Vec<Vec<Reaction>>,
    evenness: Option<Evenness>,
}

// === impl Report ===

impl Report<'_> {
    /// The page.
    #[must_use]
    pub fn page(&self) -> String {
        let findings = self.findings();
        let mut html = String::with_capacity(256 * 1024);
        self.head(&mut html);
        self.opening(&findings, &mut html);
        tables::doubts(&self.end.doubts(), &mut html);
        let data = self.charts(&findings, &mut html);
        tables::reactions(self.watched, &findings, self.timeline, &mut html);
        tables::decisions(self.watched, &mut html);
        tables::thresholds(self.summary, &mut html);
        tables::checks(self.summary, &mut html);
        tables::failures(self.timeline, &mut html);
        tables::metrics(self.summary, &mut html);
        tables::scenarios(self.plans, &mut html);
        tables::intervals(self.timeline.points(), &mut html);
        let _ = writeln!(
            html,
            "<footer><p>Written by <span translate=\"no\">tide load {}</span>. Figures of the charts are at most 0.4 % off; those of the tables are exact to three digits.</p></footer></main><script type=\"application/json\" id=\"readings\">{}</script><script>{SCRIPT}</script></body></html>",
            env!("CARGO_PKG_VERSION"),
            json(&data)
        );
        html
    }

    fn findings(&self) -> Findings {
        let load_steps = reaction::load_steps(self.plans);
        let reactions = self
            .watched
            .iter()
            .flat_map(|watched| &watched.autoscalers)
            .map(|autoscaler| reaction::reactions(&load_steps, autoscaler))
            .collect();
        Findings {
            load_steps,
            reactions,
            evenness: reaction::evenness(self.timeline.points()),
        }
    }

    fn head(&self, html: &mut String) {
        let hash = |text: &str| {
            base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text.as_bytes()))
        };
        let _ = write!(
            html,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'\"/><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/><meta name=\"color-scheme\" content=\"light dark\"/><title>Load on {}</title><style>{STYLE}</style></head><body><main>",
            hash(STYLE),
            hash(SCRIPT),
            Escaped(self.target)
        );
    }

    fn opening(&self, findings: &Findings, html: &mut String) {
        let (class, sign, words) = match self.verdict() {
            Verdict::Good(words) => ("good", "✓", words),
            Verdict::Bad(words) => ("bad", "✗", words),
            Verdict::Open(words) => ("open", "–", words),
        };
        let _ = write!(
            html,
            "<header><h1>Load on <span class=\"target\" translate=\"no\">{}</span></h1><p class=\"verdict {class}\"><span aria-hidden=\"true\">{sign}</span> {}</p><p class=\"when\">",
            Escaped(self.target),
            Escaped(&words)
        );
        if let Some(started) = self.timeline.started() {
            let (date, time) = (started.strftime("%Y-%m-%d"), started.strftime("%H:%M:%S"));
            let _ = write!(
                html,
                "<time datetime=\"{}\">{date} {time} UTC</time> · ",
                started.strftime("%Y-%m-%dT%H:%M:%SZ")
            );
        }
        let _ = write!(
            html,
            "{} of load</p></header>",
            Escaped(&units::length(self.timeline.end()))
        );
        tables::key_figures(self, findings, html);
    }

    fn verdict(&self) -> Verdict {
        let crossed = self.summary.crossed();
        match &self.end.stopped {
            Some(StopReason::Interrupted) if crossed.is_empty() => {
                return Verdict::Open("Interrupted before its end".to_owned());
            }
            Some(StopReason::Interrupted) => {
                return Verdict::Bad(format!(
                    "Interrupted before its end; thresholds crossed on {}",
                    crossed.join(", ")
                ));
            }
            Some(StopReason::Aborted(message)) => {
                return Verdict::Bad(format!("Ended by the script: {message}"));
            }
            Some(StopReason::Script(message)) => return Verdict::Bad(message.clone()),
            Some(StopReason::Threshold(metric)) => {
                return Verdict::Bad(format!("Ended early: a threshold on {metric} was crossed"));
            }
            None => {}
        }
        if let Some(reason) = self.failure {
            return Verdict::Bad(reason.to_owned());
        }
        match (crossed.len(), self.summary.verdicts.len()) {
            (0, 0) => Verdict::Open("Finished; no thresholds were set".to_owned()),
            (0, 1) => Verdict::Good("The threshold was met".to_owned()),
            (0, all) => Verdict::Good(format!("All {all} thresholds were met")),
            _ => Verdict::Bad(format!("Thresholds crossed on {}", crossed.join(", "))),
        }
    }

    /// Writes the charts; gives what can be read from them.
    fn charts(&self, findings: &Findings, html: &mut String) -> serde_json::Value {
        let time = TimeAxis {
            length: self.timeline.end(),
            load_steps: findings
                .load_steps
                .iter()
                .map(|step| step.at.as_secs_f64())
                .collect(),
            decisions: tables::all_decisions(self.watched)
                .map(|(_, decision)| decision.seconds)
                .collect(),
        };
        let at: Vec<f64> = self
            .timeline
            .points()
            .iter()
            .map(|point| point.end.as_secs_f64())
            .collect();
        let _ = write!(
            html,
            "<section class=\"charts\" tabindex=\"0\" aria-label=\"Charts over the time of the run\"><h2>Over time</h2><p class=\"readout\" role=\"status\">{}</p>",
            Escaped(&tables::legend_of_marks(&time))
        );
        tables::not_drawn(self.timeline, html);
        let mut readings: Vec<Vec<String>> = Vec::new();
        for chart in panels::charts(self.timeline, self.watched) {
            let first = readings.len();
            chart.draw(&time, first, &at, &mut readings, html);
        }
        html.push_str("</section>");
        let length = self.timeline.end().as_secs_f64().max(1e-3);
        let places: Vec<f64> = self
            .timeline
            .points()
            .iter()
            .map(|point| {
                let middle = f64::midpoint(point.start.as_secs_f64(), point.end.as_secs_f64());
                (middle / length * 1e5).round() / 1e3
            })
            .collect();
        let times: Vec<String> = self
            .timeline
            .points()
            .iter()
            .map(|point| self.moment_in_words(point.start, point.end))
            .collect();
        serde_json::json!({"places": places, "times": times, "series": readings})
    }

    /// `1:05 – 1:06 (12:00:06 UTC)`.
    fn moment_in_words(&self, start: Duration, end: Duration) -> String {
        let range = format!("{} – {}", units::moment(start), units::moment(end));
        match self.timeline.started() {
            Some(started) => format!("{range} ({} UTC)", (started + end).strftime("%H:%M:%S")),
            None => range,
        }
    }

    /// The values of a metric.
    fn measured(&self, name: &str) -> Option<&Measured> {
        self.summary
            .metrics
            .iter()
            .find(|(metric, _)| *metric.name == *name)
            .map(|(_, measured)| measured)
    }
}
