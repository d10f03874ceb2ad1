//! What `resourceVersion` and its companions ask for, and waiting for a revision to come.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use springtide_machinery::error::{ApiError, FieldError};
use springtide_store::{Revision, Store};

use crate::options;
use crate::request::Query;

/// How long a request waits for a revision that is ahead of the server.
const WAIT_LIMIT: Duration = Duration::from_secs(3);

/// A `resourceVersion` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Not given: the newest.
    Unset,
    /// `0`: any.
    Any,
    /// A revision.
    At(Revision),
}

impl Asked {
    /// Reads the parameter.
    pub(crate) fn parse(query: &Query<'_>) -> Result<Asked, ApiError> {
        match query.text("resourceVersion") {
            None => Ok(Asked::Unset),
            Some("0") => Ok(Asked::Any),
            Some(text) => text.parse().map(Asked::At).map_err(|error| {
                ApiError::bad_request(format!("resourceVersion: Invalid value: {text:?}: {error}"))
            }),
        }
    }
}

/// A `resourceVersionMatch` parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// At least as new.
    NotOlderThan,
    /// Exactly this one.
    Exact,
}

/// Reads `resourceVersionMatch` and `sendInitialEvents` and refuses what does not go together.
pub(crate) fn parse_match(
    query: &Query<'_>,
    asked: Asked,
    watch: bool,
) -> Result<Option<Match>, ApiError> {
    let mut errors = Vec::new();
    let initial_events = query.flag("sendInitialEvents");
    let text = query.text("resourceVersionMatch");
    let wanted = match text {
        Some("NotOlderThan") => Some(Match::NotOlderThan),
        Some("Exact") => Some(Match::Exact),
        _ => None,
    };
    let field = "resourceVersionMatch";
    if let Some(text) = text {
        if watch && initial_events.is_none() {
            errors.push(FieldError::forbidden(
                field,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if !watch && asked == Asked::Unset {
            errors.push(FieldError::forbidden(
                field,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !watch && query.text("continue").is_some() {
            errors.push(FieldError::forbidden(
                field,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        let known: &[&str] = if watch {
            &["NotOlderThan"]
        } else {
            &["Exact", "NotOlderThan"]
        };
        if !known.contains(&text) {
            errors.push(FieldError::not_supported(field, text, known));
        }
        if !watch && wanted == Some(Match::Exact) && asked == Asked::Any {
            errors.push(FieldError::forbidden(
                field,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
    }
    if initial_events.is_some() {
        if !watch {
            errors.push(FieldError::forbidden(
                "sendInitialEvents",
                "sendInitialEvents is forbidden for list",
            ));
        } else if text.is_none() {
            errors.push(FieldError::forbidden(
                field,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
        }
    }
    options::refuse("ListOptions", &errors)?;
    Ok(wanted)
}

/// Waits until the store has reached a revision, at most three seconds.
pub(crate) async fn wait_for(store: &Store, revision: Revision) -> Result<(), ApiError> {
    if store.revision() >= revision {
        return Ok(());
    }
    let reached = tokio::time::timeout(WAIT_LIMIT, store.reached(revision)).await;
    reached.map_err(|_| {
        ApiError::too_large_resource_version(revision.get(), store.revision().get(), 1)
    })
}

/// Where the next page of a list begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Continue {
    /// The snapshot all pages show; none goes on with the newest state.
    pub(crate) revision: Option<Revision>,
    /// The last object's namespace and name.
    pub(crate) after: (String, String),
}

#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

impl Continue {
    /// The token clients send back.
    pub(crate) fn encode(&self) -> String {
        let revision = self.revision.map_or(-1, |revision| {
            i64::try_from(revision.get()).unwrap_or(i64::MAX)
        });
        let token = Token {
            v: TOKEN_VERSION.to_owned(),
            rv: revision,
            start: format!("{}\0{}", self.after.0, self.after.1),
        };
        let text = serde_json::to_string(&token).expect("a token is JSON");
        URL_SAFE_NO_PAD.encode(text)
    }

    /// Reads a token.
    pub(crate) fn decode(token: &str) -> Result<Continue, ApiError> {
        let broken = || ApiError::bad_request("continue key is not valid");
        let text = URL_SAFE_NO_PAD.decode(token).map_err(|_| broken())?;
        let token: Token = serde_json::from_slice(&text).map_err(|_| broken())?;
        let (namespace, name) = token.start.split_once('\0').ok_or_else(broken)?;
        if token.v != TOKEN_VERSION {
            return Err(broken());
        }
        let revision = match token.rv {
            -1 => None,
            number => {
                let number = u64::try_from(number).map_err(|_| broken())?;
                Some(Revision::new(number).ok_or_else(broken)?)
            }
        };
        Ok(Continue {
            revision,
            after: (namespace.to_owned(), name.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continue_token_reads_back() {
        for revision in [None, Revision::new(7)] {
            let place = Continue {
                revision,
                after: ("shop".to_owned(), "web".to_owned()),
            };
            assert_eq!(Continue::decode(&place.encode()).expect("token"), place);
        }
        assert_eq!(Continue::decode("x").expect_err("refused").code(), 400);
    }

    #[test]
    fn options_that_do_not_go_together_are_422() {
        let cases = [
            ("resourceVersionMatch=Exact", false),
            ("resourceVersionMatch=Exact&resourceVersion=0", false),
            (
                "resourceVersionMatch=NotOlderThan&resourceVersion=1&continue=x",
                false,
            ),
            ("resourceVersionMatch=Newest&resourceVersion=1", false),
            ("sendInitialEvents=true", false),
            ("sendInitialEvents=true", true),
            ("resourceVersionMatch=NotOlderThan&resourceVersion=1", true),
            ("sendInitialEvents=true&resourceVersionMatch=Exact", true),
        ];
        for (text, watch) in cases {
            let query = Query::parse(Some(text));
            let asked = Asked::parse(&query).expect("version");
            let refused = parse_match(&query, asked, watch).expect_err(text);
            assert_eq!(refused.code(), 422, "{text}");
        }
        let query = Query::parse(Some(
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
        ));
        assert!(parse_match(&query, Asked::Unset, true).is_ok());
    }
}
