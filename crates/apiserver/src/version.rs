//! `/version`: which Kubernetes this is, and which build.

use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use crate::respond;

/// The minor version of Kubernetes whose behaviour is served.
pub(crate) const MINOR: u32 = 36;

/// Answers `/version`.
pub(crate) fn answer() -> Response {
    let version = json!({
        "major": "1",
        "minor": MINOR.to_string(),
        "emulationMajor": "1",
        "emulationMinor": MINOR.to_string(),
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": (MINOR - 1).to_string(),
        "gitVersion": git_version(),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("linux/{}", architecture()),
    });
    respond::json(StatusCode::OK, &version)
}

/// Which Kubernetes and which build, in one word.
pub(crate) fn git_version() -> String {
    format!("v1.{MINOR}.0+springtide-{}", env!("CARGO_PKG_VERSION"))
}

/// The machine's architecture as Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
