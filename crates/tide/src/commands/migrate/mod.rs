//! `tide migrate`: a SQLite database becomes PostgreSQL.

mod options;
mod show;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use futures::FutureExt as _;
use springtide_migrate::connection::without_passwords;
use springtide_migrate::copy::CopyReport;
use springtide_migrate::follow::{FinishOptions, FollowError, Until};
use springtide_migrate::plan::Plan;
use springtide_migrate::steps::{self, Places, RollbackOptions, StepError};
use springtide_migrate::{ddl, verify};
use tokio_util::sync::CancellationToken;

use super::interrupts::Interrupts;
use crate::output::{complain, print, say, sentence};
use options::{Copying, Ends, Format, Planning, Verifying};
use show::Show;

/// The exit status when rows are in quarantine, or something could not be made: everything else is in
/// the target.
const INCOMPLETE: u8 = 3;

/// The exit status when what the user wrote is wrong, as of the parser of arguments.
const WRONG_USAGE: u8 = 2;

/// Move a SQLite database to PostgreSQL; without a subcommand: plan, copy and verify.
///
/// Nothing is lost silently: a row that PostgreSQL cannot take goes to
/// springtide_migrate.quarantine with its reason, and the exit status is then 3. Each step can be
/// killed and run again: it goes on where it was. Exit status: 0 all equal, 1 an error or a
/// difference, 2 wrong usage, 3 rows in quarantine, or a key, index, view or trigger not made.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Migrate {
    #[command(subcommand)]
    step: Option<Step>,
    #[command(flatten)]
    whole: Whole,
}

/// The bare form.
#[derive(Debug, Args)]
struct Whole {
    /// The SQLite database: sqlite:FILE
    #[arg(required = true)]
    source: Option<String>,
    /// The PostgreSQL database: postgres://… or keywords, as psql takes them
    #[arg(required_unless_present_any = ["to_sql", "dry_run", "ddl"])]
    target: Option<String>,
    /// One too many; the parser would take it for a step.
    #[arg(hide = true)]
    surplus: Option<String>,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    planning: Planning,
    #[command(flatten)]
    copying: Copying,
    #[command(flatten)]
    verifying: Verifying,
    /// Print the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the SQL of the plan and change nothing
    #[arg(long)]
    ddl: bool,
    /// Write files for psql into this folder instead of connecting; no target is named then
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["target", "dry_run", "ddl", "on_existing", "jobs", "sample"]
    )]
    to_sql: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Step {
    /// Print what becomes what, with every doubt; changes nothing
    Plan(PlanStep),
    /// Copy the rows, then make keys, indexes and constraints; goes on with an interrupted copy
    Copy(CopyStep),
    /// Compare the source with the target, row by row by hashes on both sides
    Verify(VerifyStep),
    /// Keep the target current while the source is written to (copies first, if that is not done)
    Follow(FollowStep),
    /// Cut over: lock the source, replay the last changes, seal the source
    Finish(FinishStep),
    /// Remove every trace of following from the source
    Rollback(RollbackStep),
    /// Tell how far a migration is
    Status(StatusStep),
}

#[derive(Debug, Args)]
struct PlanStep {
    /// The SQLite database: sqlite:FILE
    source: String,
    /// The PostgreSQL database; not needed for a plan
    target: Option<String>,
    #[command(flatten)]
    planning: Planning,
    #[command(flatten)]
    format: Format,
    /// Print the SQL of the plan
    #[arg(long)]
    ddl: bool,
}

#[derive(Debug, Args)]
struct CopyStep {
    #[command(flatten)]
    ends: Ends,
    #[command(flatten)]
    planning: Planning,
    #[command(flatten)]
    copying: Copying,
    /// Have the source record its changes from before the first row is read, for `follow`
    #[arg(long)]
    follow: bool,
}

#[derive(Debug, Args)]
struct VerifyStep {
    #[command(flatten)]
    ends: Ends,
    #[command(flatten)]
    place: options::InTarget,
    #[command(flatten)]
    verifying: Verifying,
}

#[derive(Debug, Args)]
struct FollowStep {
    #[command(flatten)]
    ends: Ends,
    #[command(flatten)]
    planning: Planning,
    #[command(flatten)]
    copying: Copying,
    /// End as soon as the target is current, instead of going on until interrupted
    #[arg(long)]
    until_current: bool,
}

#[derive(Debug, Args)]
struct FinishStep {
    #[command(flatten)]
    ends: Ends,
    #[command(flatten)]
    place: options::InTarget,
    /// A shell command to run while the source is locked and the target complete, such as one that
    /// switches a Secret; when it fails the cut-over is undone
    #[arg(long, value_name = "COMMAND")]
    on_finish: Option<String>,
    /// Do not seal the source: writes to it will succeed, and go nowhere else
    #[arg(long)]
    leave_writable: bool,
    /// Let the target take over although rows are in quarantine: they stay behind
    #[arg(long)]
    accept_quarantine: bool,
}

#[derive(Debug, Args)]
struct RollbackStep {
    /// The SQLite database: sqlite:FILE
    source: String,
    /// The PostgreSQL database; without it only the source is cleaned
    target: Option<String>,
    #[command(flatten)]
    place: options::InTarget,
    /// Drop the tables in the target too
    #[arg(long, requires = "target")]
    drop_target: bool,
    /// Open the source of a finished migration to writers again
    #[arg(long)]
    unseal: bool,
}

#[derive(Debug, Args)]
struct StatusStep {
    #[command(flatten)]
    ends: Ends,
    #[command(flatten)]
    place: options::InTarget,
}

impl Migrate {
    /// Runs the step.
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let step = async {
            match self.step {
                None => self.whole.run().await,
                Some(Step::Plan(step)) => step.run().await,
                Some(Step::Copy(step)) => step.run().await,
                Some(Step::Verify(step)) => step.run().await,
                Some(Step::Follow(step)) => step.run().await,
                Some(Step::Finish(step)) => step.run().await,
                Some(Step::Rollback(step)) => step.run().await,
                Some(Step::Status(step)) => step.run().await,
            }
        };
        // Boxed, or the program would contain all of it three times: once for each way `block_on` may run it.
        match runtime.block_on(step.boxed_local()) {
            Err(error) if is_wrong_usage(&error) => {
                complain!("tide: {}", sentence(&error));
                Ok(ExitCode::from(WRONG_USAGE))
            }
            ended => ended,
        }
    }
}

/// Arguments that make no sense together.
#[derive(Debug)]
struct WrongUsage(String);

impl std::fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

fn is_wrong_usage(error: &anyhow::Error) -> bool {
    error.is::<WrongUsage>()
        || (error.downcast_ref::<StepError>()).is_some_and(StepError::is_wrong_usage)
}

fn print_plan(plan: &Plan, as_ddl: bool, as_json: bool) -> anyhow::Result<()> {
    let text = if as_ddl {
        ddl::script(plan)
    } else if as_json {
        format!("{}\n", serde_json::to_string_pretty(plan)?)
    } else {
        plan.to_string()
    };
    print(&text);
    Ok(())
}

/// Cancelled by Ctrl-C or a request to end.
fn interruption() -> std::io::Result<CancellationToken> {
    let mut interrupts = Interrupts::new()?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        interrupts.next().await;
        cancel.cancel();
    });
    Ok(token)
}

impl Whole {
    /// Refuses what is no source and target, first of all a step that there is not.
    fn check_arguments(&self) -> Result<(), WrongUsage> {
        let (Some(source), Some(target)) = (&self.source, &self.target) else {
            return Ok(());
        };
        let is_word = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let names_source = |text: &str| text.starts_with("sqlite:") || Path::new(text).exists();
        if is_word(source) && !names_source(source) && names_source(target) {
            let steps = Step::augment_subcommands(clap::Command::new("migrate"));
            let steps: Vec<_> = (steps.get_subcommands())
                .map(clap::Command::get_name)
                .collect();
            return Err(WrongUsage(format!(
                "there is no step '{source}'; the steps are {}, and without a step the source is planned, copied and verified",
                steps.join(", ")
            )));
        }
        match &self.surplus {
            Some(surplus) => Err(WrongUsage(format!(
                "'{}' is one argument too many behind the source and the target",
                without_passwords(surplus)
            ))),
            None => Ok(()),
        }
    }

    async fn run(self) -> anyhow::Result<ExitCode> {
        self.check_arguments()?;
        let source = self.source.unwrap_or_default();
        let path = steps::parse_source(&source)?;
        // A target that is not understood is refused before the source is scanned.
        let place = &self.planning.place.schema;
        let places = (self.target.as_deref())
            .map(|target| Places::parse(&source, target, place))
            .transpose()?;
        let plan = steps::plan(&path, &self.planning.options()).await?;
        if self.dry_run || self.ddl {
            print_plan(&plan, self.ddl, self.format.is_json())?;
            return Ok(ExitCode::SUCCESS);
        }
        let show = Show::new(&self.format);
        show.doubts(&plan);
        if let Some(folder) = &self.to_sql {
            return write_files(&path, &plan, folder, self.copying.is_strict(), &show).await;
        }
        let Some(places) = places else {
            let reason = "name the target (postgres://…), or a folder with --to-sql";
            return Err(WrongUsage(reason.to_owned()).into());
        };
        let cancel = interruption()?;
        let report = copy(&places, &plan, &self.copying, false, &show, &cancel).await?;
        verify_report(&places, &self.verifying, &show, &cancel, left_over(&report)).await
    }
}

impl PlanStep {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let path = steps::parse_source(&self.source)?;
        let plan = steps::plan(&path, &self.planning.options()).await?;
        if let Some(target) = &self.target {
            Places::parse(&self.source, target, &plan.schema)?;
        }
        print_plan(&plan, self.ddl, self.format.is_json())?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn copy(
    places: &Places,
    plan: &Plan,
    copying: &Copying,
    followed: bool,
    show: &Show,
    cancel: &CancellationToken,
) -> anyhow::Result<CopyReport> {
    let (events, shown) = show.copy_events();
    let report = steps::copy(
        places,
        plan,
        &copying.options(followed),
        events,
        cancel.clone(),
    )
    .await;
    shown.await?;
    let report = report?;
    show.copied(&report);
    Ok(report)
}

/// Files instead of a connection.
async fn write_files(
    path: &Path,
    plan: &Plan,
    folder: &Path,
    strict: bool,
    show: &Show,
) -> anyhow::Result<ExitCode> {
    let (events, shown) = show.copy_events();
    let report = steps::to_sql(path, plan, folder, strict, events, interruption()?).await;
    shown.await?;
    let report = report?;
    show.written(&report, folder);
    Ok(status_of(
        report.quarantined.iter().map(|(_, rows)| rows).sum(),
    ))
}

impl CopyStep {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (source, target) = self.ends.both()?;
        let places = Places::parse(&source, &target, &self.planning.place.schema)?;
        let plan = steps::plan(&places.path, &self.planning.options()).await?;
        let show = Show::new(&self.ends.format);
        show.doubts(&plan);
        let cancel = interruption()?;
        let report = copy(&places, &plan, &self.copying, self.follow, &show, &cancel).await?;
        Ok(status_of(left_over(&report)))
    }
}

/// How many things of the source a copy could not bring over: rows, keys, indexes, views and triggers.
fn left_over(report: &CopyReport) -> u64 {
    let rows: u64 = report.quarantined.iter().map(|(_, rows)| rows).sum();
    rows + report.not_made.len() as u64
}

fn status_of(left_over: u64) -> ExitCode {
    if left_over > 0 {
        ExitCode::from(INCOMPLETE)
    } else {
        ExitCode::SUCCESS
    }
}

impl VerifyStep {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (source, target) = self.ends.both()?;
        let places = Places::parse(&source, &target, &self.place.schema)?;
        let show = Show::new(&self.ends.format);
        verify_report(&places, &self.verifying, &show, &interruption()?, 0).await
    }
}

async fn verify_report(
    places: &Places,
    verifying: &Verifying,
    show: &Show,
    cancel: &CancellationToken,
    left_over: u64,
) -> anyhow::Result<ExitCode> {
    let (events, shown) = show.verify_events();
    let report: Result<verify::VerifyReport, _> =
        steps::verify(places, &verifying.options(), events, cancel.clone()).await;
    shown.await?;
    let report = report?;
    show.verified(&report);
    if !report.is_equal() {
        return Ok(ExitCode::FAILURE);
    }
    Ok(status_of(report.quarantined().max(left_over)))
}

impl FollowStep {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (source, target) = self.ends.both()?;
        let show = Show::new(&self.ends.format);
        let cancel = interruption()?;
        let places = Places::parse(&source, &target, &self.planning.place.schema)?;
        if steps::is_copied(&places, self.copying.replaces()).await? {
            let given = [self.planning.given(), self.copying.given()].concat();
            if !given.is_empty() {
                show.note(&format!(
                    "without effect: {}: the copy is made, and its plan goes on; with --on-existing replace it is made anew",
                    given.join(", ")
                ));
            }
        } else {
            let plan = steps::plan(&places.path, &self.planning.options()).await?;
            show.doubts(&plan);
            copy(&places, &plan, &self.copying, true, &show, &cancel).await?;
        }
        let until = if self.until_current {
            Until::Current
        } else {
            Until::Stopped(cancel.clone())
        };
        let mut told = None;
        let (ended, lag, quarantined) =
            steps::follow(&places, &until, |lag| show.lag(lag, &mut told)).await?;
        show.followed(ended, lag, quarantined);
        Ok(status_of(quarantined))
    }
}

impl FinishStep {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (source, target) = self.ends.both()?;
        let show = Show::new(&self.ends.format);
        let places = Places::parse(&source, &target, &self.place.schema)?;
        let options = FinishOptions {
            on_finish: self.on_finish,
            leave_writable: self.leave_writable,
            accept_quarantine: self.accept_quarantine,
        };
        let finished = match steps::finish(&places, &options, |step| show.finishing(&step)).await {
            Err(error @ StepError::Follow(FollowError::Quarantined { .. })) => {
                show.refused(&error);
                return Ok(ExitCode::from(INCOMPLETE));
            }
            finished => finished?,
        };
        show.finished(&finished);
        let unmade = finished.unmet.len() + finished.not_made.len();
        Ok(status_of(finished.quarantined + unmade as u64))
    }
}

impl RollbackStep {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let path = steps::parse_source(&self.source)?;
        let places = match &self.target {
            Some(target) => Some(Places::parse(&self.source, target, &self.place.schema)?),
            None => None,
        };
        let options = RollbackOptions {
            drop_target: self.drop_target,
            unseal: self.unseal,
        };
        let done = steps::rollback(&path, places.as_ref(), options).await?;
        say!(
            "removed {} triggers and tables from the source, {} tables from the target",
            done.source_objects,
            done.target_tables
        );
        Ok(ExitCode::SUCCESS)
    }
}

impl StatusStep {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let (source, target) = self.ends.both()?;
        let places = Places::parse(&source, &target, &self.place.schema)?;
        let status = steps::status(&places).await?;
        Show::new(&self.ends.format).status(&status)?;
        Ok(ExitCode::SUCCESS)
    }
}
