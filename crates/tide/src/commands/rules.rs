//! `tide rules`: checks rule files and runs their tests, as `promtool` does.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::output::{complain, say};
use clap::{Args, Subcommand};
use springtide_metrics::promql::Options;
use springtide_metrics::rules::{duplicates, read_rule_file, unit_test};

/// The exit status for findings that `--lint-fatal` makes an error, as promtool has it.
const LINT: u8 = 3;

/// Check rule files, and run their unit tests.
#[derive(Debug, Args)]
pub(crate) struct Rules {
    #[command(subcommand)]
    command: RulesCommand,
}

#[derive(Debug, Subcommand)]
enum RulesCommand {
    /// Check whether rule files are valid
    Check(Check),
    /// Run unit tests of rules, in promtool's format
    Test(Test),
}

#[derive(Debug, Args)]
struct Check {
    /// The rule files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Do not look for rules that are written twice
    #[arg(long)]
    no_lint: bool,
    /// Exit with status 3 where rules are written twice
    #[arg(long)]
    lint_fatal: bool,
}

#[derive(Debug, Args)]
struct Test {
    /// The test files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Run only tests whose names match one of these patterns
    #[arg(long, value_name = "PATTERN")]
    run: Vec<String>,
}

impl Rules {
    /// Checks or tests.
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        match &self.command {
            RulesCommand::Check(check) => Ok(check.execute()),
            RulesCommand::Test(test) => test.execute(),
        }
    }
}

impl Check {
    fn execute(&self) -> ExitCode {
        let (mut failed, mut found_twice) = (false, false);
        for path in &self.files {
            let name = path.display().to_string();
            say!("Checking {name}");
            let groups = std::fs::read_to_string(path)
                .map_err(|error| vec![format!("{name} cannot be read: {error}")])
                .and_then(|text| {
                    read_rule_file(&name, &text, &Options::default()).map_err(|error| error.faults)
                });
            let groups = match groups {
                Ok(groups) => groups,
                Err(faults) => {
                    failed = true;
                    complain!("  FAILED:");
                    for fault in faults {
                        complain!("{fault}");
                    }
                    say!();
                    continue;
                }
            };
            let twice = if self.no_lint {
                Vec::new()
            } else {
                duplicates(&groups)
            };
            if twice.is_empty() {
                let count: usize = groups.iter().map(|group| group.rules.len()).sum();
                say!("  SUCCESS: {count} rules found");
            } else {
                found_twice = true;
                complain!(
                    "  FAILED:\nlint error {} duplicate rule(s) found.",
                    twice.len()
                );
                for rule in twice {
                    complain!("Metric: {}\nLabel(s):", rule.name);
                    for (name, value) in rule.labels {
                        complain!("\t{name}: {value}");
                    }
                }
                complain!("Might cause inconsistency while recording expressions");
            }
            say!();
        }
        match (failed, found_twice && self.lint_fatal) {
            (true, _) => ExitCode::FAILURE,
            (false, true) => ExitCode::from(LINT),
            (false, false) => ExitCode::SUCCESS,
        }
    }
}

impl Test {
    fn execute(&self) -> anyhow::Result<ExitCode> {
        let only = self.run.iter().map(|pattern| regex::Regex::new(pattern));
        let only: Vec<regex::Regex> = only.collect::<Result<_, _>>()?;
        let mut code = ExitCode::SUCCESS;
        for path in &self.files {
            say!("Unit Testing:  {}", path.display());
            match unit_test::run_test_file(path, &only) {
                Ok(()) => say!("  SUCCESS"),
                Err(failures) => {
                    code = ExitCode::FAILURE;
                    complain!("  FAILED:");
                    for failure in failures {
                        complain!("{failure}");
                    }
                }
            }
            say!();
        }
        Ok(code)
    }
}
