//! The options that several steps share.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use springtide_migrate::copy::{CopyOptions, OnExisting, default_jobs};
use springtide_migrate::plan::{Cast, Naming, PlanOptions};
use springtide_migrate::verify::VerifyOptions;

/// Source, target, and how to tell about them.
#[derive(Debug, Args)]
pub(super) struct Ends {
    /// The SQLite database: sqlite:FILE
    #[arg(required = true)]
    source: Option<String>,
    /// The PostgreSQL database: postgres://… or keywords, as psql takes them
    #[arg(required = true)]
    target: Option<String>,
    #[command(flatten)]
    pub(super) format: Format,
}

impl Ends {
    pub(super) fn both(&self) -> anyhow::Result<(String, String)> {
        match (&self.source, &self.target) {
            (Some(source), Some(target)) => Ok((source.clone(), target.clone())),
            _ => anyhow::bail!("name the source (sqlite:FILE) and the target (postgres://…)"),
        }
    }
}

/// How results are written.
#[derive(Debug, Clone, Args)]
pub(super) struct Format {
    /// Write for people or for programs: json is one object a line, a plan one object
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Format {
    pub(super) fn is_json(&self) -> bool {
        self.output == Output::Json
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Where in the target.
#[derive(Debug, Clone, Args)]
pub(super) struct InTarget {
    /// The schema of the target
    #[arg(long, value_name = "NAME", default_value = "public", value_parser = NonEmptyStringValueParser::new())]
    pub(super) schema: String,
}

/// What the plan is made with.
#[derive(Debug, Args)]
pub(super) struct Planning {
    #[command(flatten)]
    pub(super) place: InTarget,
    /// Decide a column's type: TABLE.COLUMN=TYPE[ USING unixepoch|unixmillis|unixmicros|julianday|text|utf8|latin1|YES/NO]; can be repeated
    #[arg(long, value_name = "CAST")]
    cast: Vec<Cast>,
    /// Only these tables, separated by commas; * stands for any letters
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    tables: Vec<String>,
    /// Not these tables, separated by commas; * stands for any letters
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    exclude: Vec<String>,
    /// Turn capital letters of names into small ones
    #[arg(long)]
    lower: bool,
}

impl Planning {
    /// The options that were given and that a plan is made with, by name.
    pub(super) fn given(&self) -> Vec<&'static str> {
        [
            ("--cast", !self.cast.is_empty()),
            ("--tables", !self.tables.is_empty()),
            ("--exclude", !self.exclude.is_empty()),
            ("--lower", self.lower),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect()
    }

    pub(super) fn options(&self) -> PlanOptions {
        PlanOptions {
            schema: self.place.schema.clone(),
            tables: self.tables.clone(),
            exclude: self.exclude.clone(),
            casts: self.cast.clone(),
            naming: if self.lower {
                Naming::Lower
            } else {
                Naming::Keep
            },
            ..PlanOptions::default()
        }
    }
}

/// How the copy is made.
#[derive(Debug, Args)]
pub(super) struct Copying {
    /// What happens when tables of these names are in the target
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Existing::Fail)]
    on_existing: Existing,
    /// Stop at the first row that PostgreSQL cannot take
    #[arg(long)]
    strict: bool,
    /// Readers and sessions at work at once [default: as many as processors, at most 8]
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZero<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Existing {
    /// Nothing is done
    Fail,
    /// Rows are added to them
    Append,
    /// They are dropped
    Replace,
}

impl Copying {
    pub(super) fn options(&self, followed: bool) -> CopyOptions {
        CopyOptions {
            jobs: self.jobs.map_or_else(default_jobs, std::num::NonZero::get),
            strict: self.strict,
            on_existing: match self.on_existing {
                Existing::Fail => OnExisting::Fail,
                Existing::Append => OnExisting::Append,
                Existing::Replace => OnExisting::Replace,
            },
            followed,
            ..CopyOptions::default()
        }
    }

    /// The options that were given and that only a copy obeys, by name.
    pub(super) fn given(&self) -> Vec<&'static str> {
        [
            ("--strict", self.strict),
            ("--jobs", self.jobs.is_some()),
            ("--on-existing append", self.on_existing == Existing::Append),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect()
    }

    /// Whether the first row that cannot be taken is an error.
    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Whether what is in the target is to be replaced.
    pub(super) fn replaces(&self) -> bool {
        self.on_existing == Existing::Replace
    }
}

/// How verification is made.
#[derive(Debug, Args)]
pub(super) struct Verifying {
    /// Compare only this share of each table's chunks, such as 10%
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    sample: Option<f64>,
}

impl Verifying {
    pub(super) fn options(&self) -> VerifyOptions {
        VerifyOptions {
            sample: self.sample,
            ..VerifyOptions::default()
        }
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    match number.parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err("give a percentage above 0 and up to 100, such as 10%".to_owned()),
    }
}
