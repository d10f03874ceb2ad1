//! Why a test could not begin or failed, and the statuses with which tests exit.

use crate::options::SourceError;
use crate::output::OutputError;
use crate::scenario::ScenarioError;
use crate::script::ScriptError;
use crate::thresholds::ThresholdError;
use crate::user::UserError;

/// k6's exit statuses.
pub mod exit {
    /// A threshold was crossed.
    pub const THRESHOLDS: u8 = 99;
    /// `setup` took too long.
    pub const SETUP_TIMEOUT: u8 = 100;
    /// `teardown` took too long.
    pub const TEARDOWN_TIMEOUT: u8 = 101;
    /// Options or flags are wrong.
    pub const CONFIGURATION: u8 = 104;
    /// Ended from outside.
    pub const INTERRUPTED: u8 = 105;
    /// The script threw an exception.
    pub const EXCEPTION: u8 = 107;
    /// The script ended the test.
    pub const ABORTED: u8 = 108;
    /// The script marked the test as failed.
    pub const MARKED_AS_FAILED: u8 = 110;
}

/// Why a test could not begin, or ended with its script's failure.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The script.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// A variable.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Scenarios.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// An executor wants a function that the script does not export.
    #[error(
        "There were problems with the specified script configuration:\n\t- executor {scenario}: function '{function}' not found in exports"
    )]
    Function {
        /// The scenario.
        scenario: String,
        /// The function.
        function: String,
    },
    /// Thresholds.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// A statistic of trends that there is not.
    #[error("summaryTrendStats: {0:?} is not a statistic: use avg, min, med, max, count or p(N)")]
    Statistic(String),
    /// An output.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// A file of results.
    #[error("{flag} {path}: it cannot be written: {reason}")]
    Results {
        /// What asked for it.
        flag: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A user could not be made.
    #[error(transparent)]
    User(#[from] UserError),
}

// === impl SessionError ===

impl SessionError {
    /// The exit status that k6 has for it.
    #[must_use]
    pub fn status(&self) -> u8 {
        match self {
            Self::Script(ScriptError::Exception(_) | ScriptError::File(_)) | Self::User(_) => {
                exit::EXCEPTION
            }
            Self::Script(ScriptError::Timeout { stage: "setup", .. }) => exit::SETUP_TIMEOUT,
            Self::Script(ScriptError::Timeout { .. }) => exit::TEARDOWN_TIMEOUT,
            Self::Script(ScriptError::Stopped) => exit::ABORTED,
            Self::Script(ScriptError::Options(_))
            | Self::Source(_)
            | Self::Scenario(_)
            | Self::Function { .. }
            | Self::Threshold(_)
            | Self::Statistic(_)
            | Self::Output(_)
            | Self::Results { .. } => exit::CONFIGURATION,
        }
    }
}
