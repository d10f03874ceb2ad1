//! What the script sees of an answer.

use std::cell::Cell;
use std::ffi::CStr;
use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use rquickjs::{Ctx, Function, IntoJs, Object, Result, Value};

use super::super::super::isolate::Isolate;
use super::super::super::sys::{Record, RecordClass};
use super::super::Host;
use super::super::values;
use super::exchange::{error_code, proto};
use super::order::ResponseType;
use super::{Outcome, Sent};
use crate::http::{Cookie, Exchange, Timings, TlsFacts};
use crate::metric::milliseconds;

/// An answer, as a script sees it.
pub(in super::super) struct Answer {
    outcome: Outcome,
    /// The answer's body, until the script asks for it.
    body: Cell<Vec<u8>>,
    records: Rc<Records>,
}

/// How long the steps of a request took, as a script sees it.
pub(in super::super) struct AnswerTimings(Timings);

/// What the answers of a thread's scripts are objects of.
pub(in super::super::super) struct Records {
    answers: RecordClass<Answer>,
    timings: RecordClass<AnswerTimings>,
}

// === impl Outcome ===

impl Outcome {
    /// The URL that answered; empty where there was not even a request.
    fn url(&self) -> &str {
        if self.formed { &self.sent.url } else { "" }
    }
}

// === impl Records ===

impl Records {
    pub(in super::super::super) fn new(ctx: &Ctx<'_>) -> Result<Self> {
        Ok(Self {
            answers: RecordClass::new(ctx)?,
            timings: RecordClass::new(ctx)?,
        })
    }

    /// Sets what answers and their timings inherit from in a context.
    fn set_prototypes(&self, ctx: &Ctx<'_>) -> Result<()> {
        if let Some(of_objects) = Object::new(ctx.clone())?.get_prototype() {
            self.answers.set_prototype(&of_objects);
            self.timings.set_prototype(&of_objects);
        }
        Ok(())
    }
}

// === impl Answer ===

impl Answer {
    fn exchange(&self) -> Option<&Exchange> {
        self.outcome.result.as_ref().ok()
    }

    fn tls(&self) -> Option<&TlsFacts> {
        self.exchange()?.tls.as_ref()
    }

    fn status(&self) -> u16 {
        self.exchange().map_or(0, |exchange| exchange.status)
    }

    fn body<'js>(&self, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        // An answer that cannot have a body has none, not an empty one.
        if self.exchange().is_none()
            || self.outcome.response_type == ResponseType::Nothing
            || matches!(self.status(), 204 | 304)
        {
            return Ok(Value::new_null(ctx.clone()));
        }
        let body = self.body.take();
        if self.outcome.response_type == ResponseType::Binary {
            values::buffer(ctx, body)
        } else {
            text_of(body).into_js(ctx)
        }
    }

    /// The request that the script made, not the last one that it was sent on to.
    fn sent(&self) -> &Sent {
        self.outcome.first.as_deref().unwrap_or(&self.outcome.sent)
    }

    /// A part that the module `springtide:answers` makes.
    fn part<'js>(&self, ctx: &Ctx<'js>, name: &str) -> Result<Value<'js>> {
        let pack = match name {
            "headers" => {
                let mut text = String::new();
                let headers = self.exchange().map(|exchange| &exchange.headers);
                push_headers(&mut text, headers.into_iter().flatten());
                text
            }
            "cookies" if self.outcome.set_cookies.is_empty() => String::new(),
            "cookies" => cookies_json(&self.outcome.set_cookies),
            "request" => packed(self.sent()),
            _ => self.tls().map_or("", |tls| tls.version).to_owned(),
        };
        function_of_answers(ctx, "part")?.call((name, pack))
    }
}

impl Record for Answer {
    const CLASS: &'static CStr = c"Response";
    const NAMES: &'static [&'static str] = &[
        "remote_ip",
        "remote_port",
        "url",
        "status",
        "status_text",
        "proto",
        "headers",
        "cookies",
        "body",
        "timings",
        "tls_version",
        "tls_cipher_suite",
        "ocsp",
        "error",
        "error_code",
        "request",
        "clickLink",
        "html",
        "json",
        "submitForm",
    ];

    fn make<'js>(&self, ctx: &Ctx<'js>, object: &Object<'js>, index: usize) -> Result<Value<'js>> {
        let exchange = self.exchange();
        let error = self.outcome.result.as_ref().err();
        let text = |text: Option<String>| text.unwrap_or_default().into_js(ctx);
        match Self::NAMES[index] {
            "status" => self.status().into_js(ctx),
            "timings" => {
                let timings = AnswerTimings(self.outcome.timings);
                let timings = self.records.timings.object(ctx, timings)?;
                Ok(timings.into_value())
            }
            "body" => self.body(ctx),
            "remote_ip" => text(exchange.map(|exchange| exchange.remote.ip().to_string())),
            "remote_port" => exchange
                .map_or(0, |exchange| exchange.remote.port())
                .into_js(ctx),
            "url" => self.outcome.url().into_js(ctx),
            "status_text" => text(exchange.map(|exchange| status_text(exchange.status))),
            "proto" => exchange
                .map_or("", |exchange| proto(exchange.version))
                .into_js(ctx),
            "tls_version" => self.tls().map_or("", |tls| tls.version).into_js(ctx),
            "tls_cipher_suite" => self.tls().map_or("", |tls| &tls.cipher_suite).into_js(ctx),
            "error" => error.map_or("", |error| &error.message).into_js(ctx),
            "error_code" => error_code(self.status(), error).into_js(ctx),
            // As in k6 they are the answer's also where they are called without it.
            method @ ("clickLink" | "html" | "json" | "submitForm") => {
                function_of_answers(ctx, "method")?.call((method, object.clone()))
            }
            part => self.part(ctx, part),
        }
    }

    fn is_made_once(index: usize) -> bool {
        matches!(
            Self::NAMES[index],
            "headers" | "cookies" | "body" | "timings" | "ocsp" | "request"
        )
    }
}

// === impl AnswerTimings ===

impl Record for AnswerTimings {
    const CLASS: &'static CStr = c"Timings";
    const NAMES: &'static [&'static str] = &[
        "duration",
        "blocked",
        "looking_up",
        "connecting",
        "tls_handshaking",
        "sending",
        "waiting",
        "receiving",
    ];

    fn make<'js>(&self, ctx: &Ctx<'js>, _: &Object<'js>, index: usize) -> Result<Value<'js>> {
        let Self(timings) = self;
        let time = match Self::NAMES[index] {
            "duration" => timings.duration(),
            "blocked" => timings.blocked,
            "connecting" => timings.connecting,
            "tls_handshaking" => timings.tls_handshaking,
            "sending" => timings.sending,
            "waiting" => timings.waiting,
            "receiving" => timings.receiving,
            // As k6 does it: looking up is part of `blocked`.
            _ => Duration::ZERO,
        };
        milliseconds(time).into_js(ctx)
    }

    fn is_made_once(_: usize) -> bool {
        false
    }
}

// === impl Host ===

impl Host {
    /// What the script sees of an outcome; throws where the order says so.
    pub(in super::super) fn response<'js>(
        &self,
        ctx: &Ctx<'js>,
        mut outcome: Outcome,
    ) -> Result<Value<'js>> {
        if let Err(error) = &outcome.result
            && outcome.throw
        {
            return Err(values::throw(
                ctx,
                &format!(
                    "{} \"{}\": {error}",
                    go_method(outcome.sent.outgoing.method.as_str()),
                    outcome.url()
                ),
            ));
        }
        let records = self.records(ctx)?;
        let body = outcome
            .result
            .as_mut()
            .map(|exchange| std::mem::take(&mut exchange.body));
        let answer = Answer {
            body: Cell::new(body.unwrap_or_default()),
            outcome,
            records: Rc::clone(&records),
        };
        records.answers.object(ctx, answer).map(Object::into_value)
    }

    /// What answers are objects of; made known to the user's context when the first is asked for.
    fn records(&self, ctx: &Ctx<'_>) -> Result<Rc<Records>> {
        if let Some(records) = self.records.get() {
            return Ok(Rc::clone(records));
        }
        let records = Isolate::records(ctx)?;
        records.set_prototypes(ctx)?;
        Ok(Rc::clone(self.records.get_or_init(|| records)))
    }
}

/// A function of the module that makes what few scripts ask an answer for.
fn function_of_answers<'js>(ctx: &Ctx<'js>, name: &'static str) -> Result<Function<'js>> {
    let host = Isolate::running().ok_or_else(|| values::throw(ctx, "no script runs"))?;
    host.module_function(ctx, "springtide:answers", name)
}

/// Such as `200 OK`.
fn status_text(status: u16) -> String {
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    match reason {
        Some(reason) => format!("{status} {reason}"),
        None => status.to_string(),
    }
}

/// `Get`, as Go's errors write methods.
pub(super) fn go_method(method: &str) -> String {
    let mut letters = method.chars();
    letters.next().map_or_else(String::new, |first| {
        format!("{first}{}", letters.as_str().to_ascii_lowercase())
    })
}

fn text_of(body: Vec<u8>) -> String {
    String::from_utf8(body)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// What the module `springtide:answers` makes a request of: its headers, cookies, method, URL and body,
/// with zeros between them.
fn packed(sent: &Sent) -> String {
    let outgoing = &sent.outgoing;
    let mut text = String::with_capacity(256 + outgoing.body.len());
    push_headers(&mut text, &outgoing.headers);
    text.push('\0');
    if !sent.cookies.is_empty() {
        text.push_str(&sent_cookies_json(&sent.cookies));
    }
    for part in ["\0", outgoing.method.as_str(), "\0", &sent.url, "\0"] {
        text.push_str(part);
    }
    text.push_str(&String::from_utf8_lossy(&outgoing.body));
    text
}

/// Adds headers as `name\nvalue\n…`.
fn push_headers<'headers>(
    text: &mut String,
    headers: impl IntoIterator<Item = (&'headers HeaderName, &'headers HeaderValue)>,
) {
    for (name, value) in headers {
        text.push_str(name.as_str());
        text.push('\n');
        match value.to_str() {
            Ok(value) => text.push_str(value),
            Err(_) => text.push_str(&String::from_utf8_lossy(value.as_bytes())),
        }
        text.push('\n');
    }
}

fn sent_cookies_json(cookies: &[(String, String, bool)]) -> String {
    let mut lists = serde_json::Map::new();
    for (name, value, replace) in cookies {
        let one = serde_json::json!({"name": name, "value": value, "replace": replace});
        if let serde_json::Value::Array(list) = lists
            .entry(name.clone())
            .or_insert_with(|| serde_json::Value::Array(Vec::new()))
        {
            list.push(one);
        }
    }
    serde_json::Value::Object(lists).to_string()
}

/// What k6 has as the end of a cookie that names none: the zero time of Go, in milliseconds.
const NEVER: i64 = -6_795_364_578_871;

fn cookies_json(cookies: &[Cookie]) -> String {
    let mut lists = serde_json::Map::new();
    for cookie in cookies {
        let one = serde_json::json!({
            "name": cookie.name,
            "value": cookie.value,
            "domain": cookie.domain_as_given(),
            "path": cookie.path,
            "http_only": cookie.http_only,
            "secure": cookie.secure,
            "max_age": cookie.max_age.unwrap_or(0),
            "expires": cookie.expires.map_or(NEVER, jiff::Timestamp::as_millisecond),
        });
        if let serde_json::Value::Array(list) = lists
            .entry(cookie.name.clone())
            .or_insert_with(|| serde_json::Value::Array(Vec::new()))
        {
            list.push(one);
        }
    }
    serde_json::Value::Object(lists).to_string()
}
