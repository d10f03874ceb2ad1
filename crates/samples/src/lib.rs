//! The programs of the example applications under `examples/`, carried by the one binary.
//!
//! They are ordinary programs: configured by their environment, serving HTTP, ending cleanly on
//! SIGTERM. Nothing in them knows that Springtide runs them.

pub mod feastflow;
mod serve;
mod upstream;

/// Why a sample program ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no sample of that name.
    #[error(
        "there is no sample {0:?}; there are feastflow-database, feastflow-backend and feastflow-frontend"
    )]
    Unknown(String),
    /// An environment variable cannot be used.
    #[error("the environment variable {name} is {value:?}: {reason}")]
    Environment {
        /// The variable's name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The port could not be listened on, or serving failed.
    #[error("cannot serve on port {port}: {source}")]
    Serve {
        /// The port.
        port: u16,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The database file could not be used.
    #[error("the database {path}: {source}")]
    Database {
        /// Where the file is.
        path: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The runtime could not be started.
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
}

/// Runs the sample with this name until it is told to stop.
///
/// # Errors
/// An unknown name, an environment that cannot be used, or a port or file that is not to be had.
pub fn run(name: &str) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Enough to keep a core's share busy, few enough that waiting requests wait in a queue.
        .max_blocking_threads(4)
        .build()
        .map_err(Error::Runtime)?;
    runtime.block_on(async {
        match name {
            "feastflow-database" => feastflow::database::run().await,
            "feastflow-backend" => feastflow::backend::run().await,
            "feastflow-frontend" => feastflow::frontend::run().await,
            other => Err(Error::Unknown(other.to_owned())),
        }
    })
}

/// An environment variable, or `default` where it is not set.
fn environment(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// A number from an environment variable, or `default` where it is not set.
fn environment_number<T: std::str::FromStr<Err: std::fmt::Display>>(
    name: &'static str,
    default: T,
) -> Result<T, Error> {
    match std::env::var(name) {
        Err(_) => Ok(default),
        Ok(value) => value.parse().map_err(|reason: T::Err| Error::Environment {
            name,
            reason: reason.to_string(),
            value,
        }),
    }
}
