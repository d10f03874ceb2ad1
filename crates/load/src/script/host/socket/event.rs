//! What happens on a socket, and how it ends.

use http::header::HeaderMap;
use rquickjs::function::Args as CallArgs;
use rquickjs::{Ctx, Result};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::super::values;

/// What happened on a socket.
pub(in super::super) enum SocketEvent {
    Open {
        protocol: String,
        status: u16,
        headers: HeaderMap,
    },
    Text(String),
    Binary(Vec<u8>),
    Ping,
    Pong,
    Error(Failure),
    Close {
        code: u16,
        reason: String,
    },
}

/// What went wrong with a socket, and what the server answered where it refused the handshake.
#[derive(Default)]
pub(in super::super) struct Failure {
    pub(super) message: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// How a socket ended.
pub(super) struct End {
    pub(super) failure: Option<Failure>,
    pub(super) code: u16,
    pub(super) reason: String,
}

// === impl SocketEvent ===

impl SocketEvent {
    fn is_last(&self) -> bool {
        matches!(self, Self::Close { .. })
    }

    /// Adds the event to a call: whether it is the last, its kind, and what belongs to it.
    pub(in super::super) fn push<'js>(
        self,
        ctx: &Ctx<'js>,
        call: &mut CallArgs<'js>,
    ) -> Result<()> {
        call.push_arg(self.is_last())?;
        match self {
            Self::Open {
                protocol,
                status,
                headers,
            } => {
                call.push_arg("open")?;
                call.push_arg(0)?;
                call.push_arg(protocol)?;
                call.push_arg(status)?;
                call.push_arg(shown(&headers))
            }
            Self::Text(text) => {
                call.push_arg("text")?;
                call.push_arg(text)
            }
            Self::Binary(bytes) => {
                call.push_arg("binary")?;
                call.push_arg(values::buffer(ctx, bytes)?)
            }
            Self::Ping => call.push_arg("ping"),
            Self::Pong => call.push_arg("pong"),
            Self::Error(failure) => {
                call.push_arg("error")?;
                call.push_arg(failure.message)?;
                call.push_arg(failure.body)?;
                call.push_arg(failure.status)?;
                call.push_arg(shown(&failure.headers))
            }
            Self::Close { code, reason } => {
                call.push_arg("close")?;
                call.push_arg(code)?;
                call.push_arg(reason)
            }
        }
    }
}

// === impl End ===

impl End {
    /// It failed, or the other side was gone.
    pub(super) fn failed(failure: Failure) -> Self {
        Self {
            failure: Some(failure),
            code: 1006,
            reason: String::new(),
        }
    }

    /// It failed with these words.
    pub(super) fn of_failure(message: impl Into<String>) -> Self {
        let message = message.into();
        Self::failed(Failure {
            message,
            ..Failure::default()
        })
    }

    /// Nobody said that it would end.
    pub(super) fn lost() -> Self {
        Self::of_failure(format!("{}: unexpected EOF", described(1006, "")))
    }

    /// It was closed as this script asked.
    pub(super) fn asked(frame: &CloseFrame) -> Self {
        Self {
            failure: None,
            code: frame.code.into(),
            reason: frame.reason.to_string(),
        }
    }

    /// The server said that it closes it, maybe because it was asked to. All but what ends well is
    /// a failure.
    pub(super) fn told(frame: Option<&CloseFrame>) -> Self {
        let (code, reason) = frame.map_or((1005, ""), |frame| {
            (frame.code.into(), frame.reason.as_str())
        });
        let failure = (!matches!(code, 1000 | 1001)).then(|| Failure {
            message: described(code, reason),
            ..Failure::default()
        });
        Self {
            failure,
            code,
            reason: reason.to_owned(),
        }
    }
}

/// How a close reads, in k6's words.
fn described(code: u16, reason: &str) -> String {
    let name = match code {
        1002 => " (protocol error)",
        1003 => " (unsupported data)",
        1005 => " (no status)",
        1006 => " (abnormal closure)",
        1007 => " (invalid payload data)",
        1008 => " (policy violation)",
        1009 => " (message too big)",
        1010 => " (mandatory extension missing)",
        1011 => " (internal server error)",
        _ => "",
    };
    let colon = if reason.is_empty() { "" } else { ": " };
    format!("websocket: close {code}{name}{colon}{reason}")
}

/// Headers as JSON.
fn shown(headers: &HeaderMap) -> String {
    let headers: serde_json::Map<String, serde_json::Value> = headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (canonical(name.as_str()), value.into())
        })
        .collect();
    serde_json::Value::Object(headers).to_string()
}

/// `Content-Type`, as Go writes header names.
fn canonical(name: &str) -> String {
    name.split('-')
        .map(|part| {
            let mut letters = part.chars();
            letters.next().map_or_else(String::new, |first| {
                format!("{}{}", first.to_ascii_uppercase(), letters.as_str())
            })
        })
        .collect::<Vec<_>>()
        .join("-")
}
