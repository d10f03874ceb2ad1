//! `tide`: a complete platform for multi-tier applications on one machine, spoken to through the
//! Kubernetes API. One file per command; what they do is in the crates.

mod brain;
mod commands;
mod data_folder;
mod log_filter;
mod manifest;
mod output;
mod platform_options;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use springtide_migrate::connection::without_passwords;

use crate::output::{complain, say, sentence};
use commands::{
    alerts, demo, down, kubeconfig, load, metrics, migrate, query, rules, sample, silence, status,
    up,
};

/// Kubernetes on one machine, for multi-tier applications: pods as sandboxed processes, Services,
/// autoscaling and load tests, without Docker and without root
#[derive(Debug, Parser)]
#[command(name = "tide", version, arg_required_else_help = true)]
struct Tide {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Down(down::Down),
    Status(status::Status),
    Kubeconfig(kubeconfig::Kubeconfig),
    Load(Box<load::Load>),
    Migrate(Box<migrate::Migrate>),
    Metrics(Box<metrics::Metrics>),
    Query(query::Query),
    Demo(demo::Demo),
    Rules(rules::Rules),
    Alerts(alerts::Alerts),
    Silence(silence::Silence),
    /// Print the version
    Version,
    #[command(hide = true)]
    Sample(sample::Sample),
    #[command(hide = true)]
    Brain(brain::Brain),
}

fn main() -> ExitCode {
    let tide = Tide::try_parse().unwrap_or_else(|error| refuse_arguments(&error));
    match run(tide.command) {
        Ok(code) => code,
        Err(error) => {
            complain!("tide: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// Tells what is wrong with the arguments, or what was asked for by `--help`, without the passwords
/// that stand in them.
fn refuse_arguments(error: &clap::Error) -> ! {
    let said = error.to_string();
    let shown = without_passwords(&said);
    // Wrong flags of `tide load` have the exit status that k6 has for them.
    let of_load = std::env::args_os()
        .nth(1)
        .is_some_and(|name| name == "load");
    let is_wrong = error.use_stderr();
    if shown == said && !(of_load && is_wrong) {
        error.exit();
    }
    complain!("{}", shown.trim_end());
    std::process::exit(match of_load && is_wrong {
        true => i32::from(load::WRONG_FLAGS),
        false => error.exit_code(),
    });
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let done = |result: anyhow::Result<()>| result.map(|()| ExitCode::SUCCESS);
    match command {
        Command::Up(up) => up.execute(),
        Command::Down(down) => done(down.execute()),
        Command::Status(status) => status.execute(),
        Command::Kubeconfig(kubeconfig) => done(kubeconfig.execute()),
        Command::Load(load) => Ok(load.execute()),
        Command::Migrate(migrate) => migrate.execute(),
        Command::Metrics(metrics) => done(metrics.execute()),
        Command::Query(query) => done(query.execute()),
        Command::Demo(demo) => demo.execute(),
        Command::Rules(rules) => rules.execute(),
        Command::Alerts(alerts) => done(alerts.execute()),
        Command::Silence(silence) => done(silence.execute()),
        Command::Version => {
            say!("tide {}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
        Command::Sample(sample) => done(sample.execute()),
        Command::Brain(brain) => brain.execute(),
    }
}
