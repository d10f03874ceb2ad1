//! What the user sees: a bar on a terminal, lines otherwise, JSON for programs.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use serde_json::json;
use springtide_migrate::copy::{CopyReport, Event, FilesReport, Progress};
use springtide_migrate::follow::{Ended, FinishStep, Finished, Lag};
use springtide_migrate::plan::{DoubtKind, Plan};
use springtide_migrate::state::Tally;
use springtide_migrate::steps::{Status, StepError};
use springtide_migrate::verify::{VerifyEvent, VerifyReport};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::options::Format;
use crate::output::{complain, say, shell_word, try_print};

/// Events that may wait to be shown; progress beyond them is left out.
const WAITING: usize = 64;
/// How often a line of progress is written where there is no terminal.
const LINES: Duration = Duration::from_secs(5);

/// Doubts that are shown before they are carried out; `plan` shows all of them.
const MOST_DOUBTS: usize = 8;

/// A number of things, in words.
fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", HumanCount(number))
}

/// Why something could not be made; the problem names it again where a statement failed.
fn not_made(name: &str, problem: &str) -> String {
    let again = format!("making {name} failed: ");
    let problem = problem.strip_prefix(&again).unwrap_or(problem);
    format!("not made: {name}: {problem}")
}

fn is_or_are(number: u64) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

/// Where things are shown.
#[derive(Clone)]
pub(super) struct Show {
    json: bool,
    bar: ProgressBar,
}

impl Show {
    pub(super) fn new(format: &Format) -> Self {
        let on_terminal = !format.is_json() && std::io::stderr().is_terminal();
        let bar = if on_terminal {
            ProgressBar::new(0)
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {msg}") {
            bar.set_style(style);
        }
        Self {
            json: format.is_json(),
            bar,
        }
    }

    fn line(&self, text: &str) {
        if !self.json {
            self.bar.suspend(|| complain!("{text}"));
        }
    }

    /// Something to know, in a sentence.
    pub(super) fn note(&self, text: &str) {
        self.object(&json!({ "event": "note", "note": text }));
        self.line(text);
    }

    fn object(&self, value: &serde_json::Value) {
        if self.json {
            // Nobody is told less by a migration that goes on when its reader does not.
            let _ = try_print(format!("{value}\n").as_bytes());
        }
    }

    /// What the plan is in doubt about, before it is carried out.
    pub(super) fn doubts(&self, plan: &Plan) {
        self.object(&json!({
            "event": "planned", "tables": plan.tables.len(),
            "doubts": plan.doubts, "skipped": plan.skipped,
        }));
        // Rows that will not arrive are never left out.
        let (lossy, others): (Vec<_>, Vec<_>) = plan
            .doubts
            .iter()
            .partition(|doubt| doubt.kind == DoubtKind::Quarantine);
        for doubt in lossy.iter().chain(others.iter().take(MOST_DOUBTS)) {
            self.line(&format!("doubt: {doubt}"));
        }
        if others.len() > MOST_DOUBTS {
            self.line(&format!(
                "and {} more, in which all rows arrive; `tide migrate plan` shows them all",
                counted((others.len() - MOST_DOUBTS) as u64, "doubt")
            ));
        }
        let (unchosen, skipped): (Vec<_>, Vec<_>) =
            (plan.skipped.iter()).partition(|skipped| skipped.is_unchosen());
        for skipped in skipped {
            self.line(&format!("left out: {skipped}"));
        }
        if !unchosen.is_empty() {
            let tables = counted(unchosen.len() as u64, "table");
            self.line(&format!("left out: {tables}, by --tables or --exclude"));
        }
    }

    pub(super) fn copy_events(&self) -> (mpsc::Sender<Event>, JoinHandle<()>) {
        let (sender, mut events) = mpsc::channel(WAITING);
        let show = self.clone();
        let task = tokio::spawn(async move {
            let mut told = None::<Instant>;
            while let Some(event) = events.recv().await {
                if let Ok(value) = serde_json::to_value(&event) {
                    show.object(&value);
                }
                show.copy_event(event, &mut told);
            }
            show.bar.set_message("");
            show.bar.finish_and_clear();
        });
        (sender, task)
    }

    fn copy_event(&self, event: Event, told: &mut Option<Instant>) {
        match event {
            Event::Started {
                tables,
                rows,
                bytes,
                resumed_rows,
            } => {
                self.bar.set_length(rows);
                let resumed = match resumed_rows {
                    0 => String::new(),
                    rows => format!(", {} of them copied before", HumanCount(rows)),
                };
                self.line(&format!(
                    "copying {}, {}{resumed}, {}",
                    counted(tables as u64, "table"),
                    counted(rows, "row"),
                    HumanBytes(bytes)
                ));
            }
            Event::Progress(progress) => {
                self.bar.set_position(progress.rows);
                self.bar.set_message(words(&progress));
                let is_due = told.is_none_or(|at| at.elapsed() >= LINES);
                if self.bar.is_hidden() && is_due && progress.rows > 0 {
                    *told = Some(Instant::now());
                    self.line(&words(&progress));
                }
            }
            Event::TableCopied {
                table,
                rows,
                quarantined,
            } => {
                let refused = match quarantined {
                    0 => String::new(),
                    rows => format!(", {} quarantined", HumanCount(rows)),
                };
                self.line(&format!("{table}: {}{refused}", counted(rows, "row")));
            }
            Event::Step { name, done, of } => {
                self.bar.set_length(of as u64);
                self.bar.set_position(done as u64);
                self.bar.set_message(name);
            }
            Event::Quarantined {
                table,
                rows,
                reason,
            } => {
                self.line(&format!(
                    "{table}: {} quarantined: {reason}",
                    counted(rows, "row")
                ));
            }
            // What could not be made is told at the end of the copy.
            Event::NotMade { .. } => {}
            Event::Note(note) => self.line(&note),
        }
    }

    pub(super) fn copied(&self, report: &CopyReport) {
        self.object(&json!({
            "event": "copied", "rows": report.tally.copied, "source_rows": report.tally.read,
            "quarantined": report.quarantined, "not_made": report.not_made, "resumed": report.resumed,
        }));
        if report.was_followed {
            self.line("copied already, and its changes are followed: see `tide migrate status`");
        } else {
            let already = if report.was_complete { " already" } else { "" };
            self.line(&format!("copied{already}: {}", sum_of(&report.tally)));
        }
        for (table, rows) in &report.quarantined {
            self.line(&format!(
                "quarantined: {} of {table}",
                counted(*rows, "row")
            ));
        }
        if !report.quarantined.is_empty() {
            self.line("see: SELECT table_name, key, column_name, reason FROM springtide_migrate.quarantine");
        }
        for (name, problem) in &report.not_made {
            self.line(&not_made(name, problem));
        }
    }

    pub(super) fn written(&self, report: &FilesReport, folder: &Path) {
        let run = format!(
            "cd {} && psql -X -f migrate.sql",
            shell_word(&folder.to_string_lossy())
        );
        self.object(&json!({
            "event": "written", "folder": folder, "rows": report.rows,
            "quarantined": report.quarantined, "run": run,
        }));
        self.line(&format!(
            "written: {}, and the statements around them",
            counted(report.rows, "row")
        ));
        for (table, rows) in &report.quarantined {
            self.line(&format!(
                "quarantined: {} of {table}",
                counted(*rows, "row")
            ));
        }
        self.line(&format!("run them with: {run} postgres://…"));
        self.line(
            "the rows are one transaction; those that are refused are in springtide_files.quarantine then, \
             those too that break a key, a check or a foreign key, which only the server finds; \
             what cannot be made is in springtide_files.not_made, and psql's exit status is then 3",
        );
    }

    pub(super) fn verify_events(&self) -> (mpsc::Sender<VerifyEvent>, JoinHandle<()>) {
        let (sender, mut events) = mpsc::channel(WAITING);
        let show = self.clone();
        let task = tokio::spawn(async move {
            show.bar.reset();
            while let Some(event) = events.recv().await {
                if let Ok(value) = serde_json::to_value(&event) {
                    show.object(&value);
                }
                match event {
                    VerifyEvent::Chunk {
                        table, done, of, ..
                    } => {
                        show.bar.set_length(of as u64);
                        show.bar.set_position(done as u64 + 1);
                        show.bar.set_message(format!("comparing {table}"));
                    }
                    VerifyEvent::Differs { table } => show.line(&format!("{table} differs")),
                }
            }
            show.bar.finish_and_clear();
        });
        (sender, task)
    }

    pub(super) fn verified(&self, report: &VerifyReport) {
        self.object(&json!({ "event": "verified", "equal": report.is_equal(), "report": report }));
        for table in &report.tables {
            if table.read_whole {
                self.line(&format!(
                    "{}: read whole, since it has no integer key to take a sample by",
                    table.table
                ));
            }
            for sentence in &table.not_compared {
                self.line(&format!("{}: not compared: {sentence}", table.table));
            }
            if table.is_equal() {
                continue;
            }
            self.line(&format!(
                "{}: differs: {} in the source, {} in the target, {} in quarantine",
                table.table,
                counted(table.source_rows, "row"),
                HumanCount(table.target_rows),
                HumanCount(table.quarantined)
            ));
            if table.had_rows {
                self.line("  it had rows before the copy added to it (--on-existing append): they are only in the target");
            }
            for difference in &table.differences {
                self.line(&format!("  {difference}"));
            }
        }
        let quarantined = report.quarantined();
        if !report.is_equal() {
            let may_be_own = report
                .tables
                .iter()
                .any(|table| !table.is_equal() && table.had_rows);
            self.line(if may_be_own {
                "the target differs from the source: rows were added to tables that had some of their own"
            } else {
                "the target differs from the source; was the source written to after the copy?"
            });
            return;
        }
        let equal = report.target_rows();
        let mut words = format!(
            "verified: {} in {} {} equal",
            counted(equal, "row"),
            counted(report.tables.len() as u64, "table"),
            is_or_are(equal)
        );
        if quarantined > 0 {
            words.push_str(&format!(
                ", {} {} in quarantine",
                HumanCount(quarantined),
                is_or_are(quarantined)
            ));
        }
        words.push_str(&match report.unread() {
            0 => format!(": {} in the source", counted(report.source_rows(), "row")),
            1 => ", 1 row was not read".to_owned(),
            unread => format!(", {} were not read", counted(unread, "row")),
        });
        self.line(&words);
    }

    pub(super) fn lag(&self, lag: Lag, told: &mut Option<Instant>) {
        self.object(&json!({
            "event": "lag", "entries": lag.entries, "seconds": lag.time.as_secs_f64(),
            "replayed": lag.replayed, "quarantined": lag.quarantined,
        }));
        if self.bar.is_hidden() {
            if told.is_none_or(|at| at.elapsed() >= LINES) {
                *told = Some(Instant::now());
                self.line(&lag_words(&lag));
            }
            return;
        }
        self.bar.set_style(ProgressStyle::default_spinner());
        self.bar.set_message(lag_words(&lag));
        self.bar.tick();
    }

    pub(super) fn followed(&self, ended: Ended, lag: Lag, quarantined: u64) {
        self.bar.finish_and_clear();
        let how = match ended {
            Ended::Current => "the target is current",
            Ended::Stopped => {
                "stopped; the source goes on recording its changes: run follow again, finish, or rollback"
            }
            Ended::Relieved => "another command goes on from here",
        };
        self.object(&json!({
            "event": "followed", "ended": format!("{ended:?}").to_lowercase(), "replayed": lag.replayed,
            "quarantined": quarantined,
        }));
        self.line(&format!("{how} ({})", lag_words(&lag)));
        if quarantined > 0 {
            self.line(&format!(
                "{} {} in quarantine: see springtide_migrate.quarantine for the reasons",
                counted(quarantined, "row"),
                is_or_are(quarantined)
            ));
        }
    }

    pub(super) fn finishing(&self, step: &FinishStep) {
        let words = match step {
            FinishStep::CatchingUp(0) => return,
            FinishStep::CatchingUp(entries) => {
                let wait = if *entries == 1 { "waits" } else { "wait" };
                format!("catching up: {} {wait}", counted(*entries, "change"))
            }
            FinishStep::Locked => "the source is locked: writers wait".to_owned(),
            FinishStep::Running(command) => format!("running: {command}"),
            FinishStep::Unlocked => "the source is unlocked".to_owned(),
            FinishStep::Validating => "checking foreign keys".to_owned(),
        };
        self.object(&json!({ "event": "finishing", "what": words }));
        self.line(&words);
    }

    /// Says why a finish was not made.
    pub(super) fn refused(&self, error: &StepError) {
        self.bar.finish_and_clear();
        self.object(&json!({ "event": "refused", "why": error.to_string() }));
        self.line(&error.to_string());
    }

    pub(super) fn finished(&self, finished: &Finished) {
        self.object(&json!({ "event": "finished", "report": finished }));
        self.line(&format!(
            "finished: writers waited {:.0} ms; {} changes were replayed ({} under the lock), {} rows compared",
            finished.locked.as_secs_f64() * 1_000.0,
            HumanCount(finished.replayed),
            HumanCount(finished.replayed_locked),
            HumanCount(finished.compared)
        ));
        for unmet in &finished.unmet {
            self.line(&format!(
                "foreign key {} of {} holds for new rows only: rows that were in the source already break it",
                unmet.constraint, unmet.table
            ));
        }
        for (name, problem) in &finished.not_made {
            self.line(&not_made(name, problem));
        }
        if finished.quarantined > 0 {
            self.line(&format!(
                "{} {} in quarantine",
                counted(finished.quarantined, "row"),
                is_or_are(finished.quarantined)
            ));
        }
        if !finished.writable {
            self.line("the source refuses writes from now on; `tide migrate rollback --unseal` opens it again");
        }
    }

    pub(super) fn status(&self, status: &Status) -> anyhow::Result<()> {
        if self.json {
            say!("{}", serde_json::to_string(status)?);
            return Ok(());
        }
        let phase = status.phase.as_deref();
        let mut lines = vec![
            format!("source:      {}", status.source),
            format!("target:      schema {} of {}", status.schema, status.target),
            format!(
                "phase:       {}{}",
                phase.unwrap_or("nothing is known of this migration"),
                (status.unfinished)
                    .map(|command| format!(
                        ", not finished: unless it runs now, go on with `{command}`"
                    ))
                    .unwrap_or_default()
            ),
            format!("tables:      {}", status.tables),
        ];
        if let Some(rows) = &status.rows {
            let words = match status.unfinished {
                Some(_) => rows.to_string(),
                None => sum_of(&rows.tally),
            };
            lines.push(format!("rows:        {words}"));
        }
        for (table, rows) in &status.quarantined {
            lines.push(format!("quarantined: {} of {table}", counted(*rows, "row")));
        }
        lines.push(match status.waiting {
            Some(waiting) => format!("recorded:    yes, {waiting} changes wait to be replayed"),
            None => "recorded:    no".to_owned(),
        });
        say!("{}", lines.join("\n"));
        Ok(())
    }
}

/// Where the rows that a copy has read are, in numbers that add up.
fn sum_of(tally: &Tally) -> String {
    match tally.quarantined {
        0 => counted(tally.copied, "row"),
        quarantined => format!(
            "{}, and {} in quarantine: {} in the source",
            counted(tally.copied, "row"),
            HumanCount(quarantined),
            counted(tally.read, "row")
        ),
    }
}

fn words(progress: &Progress) -> String {
    let left = match progress.time_left {
        Some(left) => format!(", {} left", HumanDuration(left)),
        None => String::new(),
    };
    format!(
        "{} of {} rows, {}, {} rows/s{left}",
        HumanCount(progress.rows),
        HumanCount(progress.rows_in_all),
        HumanBytes(progress.bytes),
        HumanCount(progress.rows_per_second as u64)
    )
}

fn lag_words(lag: &Lag) -> String {
    format!(
        "{} changes wait, {:.1} s behind, {} replayed",
        HumanCount(lag.entries),
        lag.time.as_secs_f64(),
        HumanCount(lag.replayed)
    )
}
