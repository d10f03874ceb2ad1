//! `k6/http`: from a script's call to requests, and from answers to what the script sees.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};
use rquickjs::function::Args as CallArgs;
use rquickjs::{Array, Ctx, FromJs, Persistent, Result, Value};
use url::Url;

use super::values::{self, Arguments};
use super::{Event, Host};
use crate::http::{
    Cookie, Encoding, Exchange, HttpError, Jar, Outgoing, Timings, TlsFacts, compress, decompress,
};
use crate::metric::Tags;
use crate::options::Span;

/// How long a request may take where it does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests of a batch at once, in all and to one host, where the options do not say.
const DEFAULT_BATCH: u64 = 20;
const DEFAULT_BATCH_PER_HOST: u64 = 6;

/// What a user's requests share.
pub(super) struct HttpState {
    /// By number; 0 is the user's own.
    jars: HashMap<u32, Jar>,
    next_jar: u32,
    callback: Expected,
}

/// Which statuses are no failure.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    /// Those that k6 expects: 200 to 399.
    Default,
    /// Those of these ranges.
    Ranges(Vec<(u16, u16)>),
    /// Nobody asks.
    Unjudged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseType {
    Text,
    Binary,
    Nothing,
}

/// A request as the script ordered it.
pub(super) struct Order {
    method: Method,
    /// As it was written.
    url_text: String,
    url: Url,
    /// The tag `name`, where it is not the URL.
    name: Option<String>,
    headers: HeaderMap,
    body: Bytes,
    /// Cookies of this request alone, and whether each replaces one of the jar.
    cookies: Vec<(String, String, bool)>,
    jar: u32,
    timeout: Duration,
    redirects: u64,
    redirects_given: bool,
    response_type: ResponseType,
    expected: Expected,
    throw: bool,
    tags: Tags,
    /// The URL cannot be used; the request fails with this.
    refused: Option<HttpError>,
    /// The first request of a chain of redirects.
    first: Option<Sent>,
}

/// What became of an order.
pub(super) struct Outcome {
    url: String,
    result: std::result::Result<Exchange, HttpError>,
    timings: Timings,
    response_type: ResponseType,
    throw: bool,
    /// The request that was answered.
    sent: Sent,
    /// Cookies that the last answer set.
    set_cookies: Vec<Cookie>,
}

#[derive(Clone, Default)]
struct Sent {
    method: String,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    cookies: Vec<(String, String, bool)>,
}

// === impl HttpState ===

impl Default for HttpState {
    fn default() -> Self {
        Self {
            jars: HashMap::from([(0, Jar::default())]),
            next_jar: 1,
            callback: Expected::Default,
        }
    }
}

impl HttpState {
    pub(super) fn reset_cookies(&mut self) {
        if let Some(jar) = self.jars.get_mut(&0) {
            jar.clear();
        }
    }
}

// === impl Expected ===

impl Expected {
    fn read<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Result<Self> {
        if value.is_null() {
            return Ok(Self::Unjudged);
        }
        let ranges: Option<Array> = value
            .as_object()
            .and_then(|object| object.get("__statuses").ok());
        let Some(ranges) = ranges else {
            return Err(values::throw(
                ctx,
                "responseCallback: unsupported argument, expected http.expectedStatuses",
            ));
        };
        ranges
            .iter::<Vec<u16>>()
            .map(|range| {
                let range = range?;
                Ok((
                    range.first().copied().unwrap_or(0),
                    range.last().copied().unwrap_or(0),
                ))
            })
            .collect::<Result<_>>()
            .map(Self::Ranges)
    }

    /// True or false; `None` where nobody asks.
    fn judge(&self, status: u16) -> Option<bool> {
        match self {
            Self::Default => Some((200..400).contains(&status)),
            Self::Ranges(ranges) => Some(
                ranges
                    .iter()
                    .any(|(least, most)| (*least..=*most).contains(&status)),
            ),
            Self::Unjudged => None,
        }
    }
}

// === impl Host ===

impl Host {
    pub(super) fn call_http<'js>(
        self: &Rc<Self>,
        ctx: &Ctx<'js>,
        name: &str,
        arguments: &Arguments<'_, 'js>,
    ) -> Result<Value<'js>> {
        let nothing = || Ok(Value::new_undefined(ctx.clone()));
        match name {
            "http.response" => {
                let function = arguments.function(0)?;
                *self.make_response.borrow_mut() = Some(Persistent::save(ctx, function));
                nothing()
            }
            "http.callback" => {
                let null = Value::new_null(ctx.clone());
                let callback = Expected::read(ctx, arguments.get(0).unwrap_or(&null))?;
                self.http.borrow_mut().callback = callback;
                nothing()
            }
            "http.start" => {
                self.refuse_in_init(ctx, "making HTTP requests")?;
                let id: u64 = arguments.whole(0)?;
                let order = self.order(ctx, &arguments.rest(1))?;
                let host = Rc::downgrade(self);
                self.start(id, async move {
                    let Some(host) = host.upgrade() else { return };
                    let outcome = Rc::clone(&host).perform(order).await;
                    host.push(Event::Http(id, Box::new(outcome)));
                });
                nothing()
            }
            "http.batch" => self.batch(ctx, arguments),
            "url.join" => {
                let base = Url::parse(&arguments.text(0)?)
                    .map_err(|error| values::throw(ctx, &error.to_string()))?;
                let joined = base
                    .join(&arguments.text(1)?)
                    .map_err(|error| values::throw(ctx, &error.to_string()))?;
                values::into(ctx, joined.as_str())
            }
            _ => self.call_jar(ctx, name, arguments),
        }
    }

    fn call_jar<'js>(
        &self,
        ctx: &Ctx<'js>,
        name: &str,
        arguments: &Arguments<'_, 'js>,
    ) -> Result<Value<'js>> {
        let now = self.shared.settings.clock.now();
        let mut state = self.http.borrow_mut();
        if name == "jar.make" {
            let number = state.next_jar;
            state.next_jar += 1;
            state.jars.insert(number, Jar::default());
            return values::into(ctx, number);
        }
        let number: u32 = arguments.whole(0)?;
        if name == "jar.drop" {
            state.jars.remove(&number);
            return Ok(Value::new_undefined(ctx.clone()));
        }
        let url = Url::parse(&arguments.text(1)?)
            .map_err(|error| values::throw(ctx, &format!("cookie jar: {error}")))?;
        let jar = state.jars.entry(number).or_default();
        match name {
            "jar.cookies" => {
                let mut lists = serde_json::Map::new();
                for cookie in jar.for_url(&url, now) {
                    let list = lists
                        .entry(cookie.name.clone())
                        .or_insert_with(|| serde_json::Value::Array(Vec::new()));
                    if let serde_json::Value::Array(list) = list {
                        list.push(cookie.value.clone().into());
                    }
                }
                values::into(ctx, serde_json::Value::Object(lists).to_string())
            }
            "jar.set" => {
                let settings: serde_json::Value =
                    serde_json::from_str(&arguments.text(4)?).unwrap_or_default();
                let text = |name: &str| settings[name].as_str().unwrap_or_default().to_owned();
                let mut cookie = Cookie::default();
                cookie.name = arguments.text(2)?;
                cookie.value = arguments.text(3)?;
                cookie.domain = text("domain").trim_start_matches('.').to_ascii_lowercase();
                cookie.path = text("path");
                cookie.secure = settings["secure"].as_bool().unwrap_or(false);
                cookie.http_only = settings["http_only"].as_bool().unwrap_or(false);
                cookie.max_age = settings["max_age"].as_i64();
                cookie.expires = settings["expires"]
                    .as_str()
                    .and_then(crate::http::http_date);
                cookie.complete(&url, now);
                jar.set(cookie, &url, now);
                values::into(ctx, true)
            }
            _ => {
                jar.remove(&url, arguments.optional_text(2)?.as_deref(), now);
                Ok(Value::new_undefined(ctx.clone()))
            }
        }
    }

    fn batch<'js>(
        self: &Rc<Self>,
        ctx: &Ctx<'js>,
        arguments: &Arguments<'_, 'js>,
    ) -> Result<Value<'js>> {
        self.refuse_in_init(ctx, "using batch")?;
        let list = arguments
            .get(0)
            .and_then(Value::as_array)
            .ok_or_else(|| values::throw(ctx, "a list of requests is expected"))?;
        let mut orders = Vec::new();
        for one in list.iter::<Vec<Value>>() {
            let one = one?;
            orders.push(self.order(ctx, &Arguments::new(ctx, &one))?);
        }
        let options = &self.effective.options;
        let at_once = usize::try_from(options.batch.unwrap_or(DEFAULT_BATCH)).unwrap_or(usize::MAX);
        let per_host =
            usize::try_from(options.batch_per_host.unwrap_or(DEFAULT_BATCH_PER_HOST)).unwrap_or(0);
        let hosts: HashMap<String, Arc<tokio::sync::Semaphore>> = orders
            .iter()
            .map(|order| {
                let permits = if per_host == 0 {
                    at_once.max(1)
                } else {
                    per_host
                };
                let gate = Arc::new(tokio::sync::Semaphore::new(permits.min(100_000)));
                (order.url.authority().to_owned(), gate)
            })
            .collect();
        let host = Rc::clone(self);
        let outcomes = self
            .wait(async move {
                let requests = orders.into_iter().map(|order| {
                    let host = Rc::clone(&host);
                    let gate = hosts.get(order.url.authority()).cloned();
                    async move {
                        let _permit = match gate {
                            // It is never closed.
                            Some(gate) => gate.acquire_owned().await.ok(),
                            None => None,
                        };
                        host.perform(order).await
                    }
                });
                futures::stream::iter(requests)
                    .buffered(at_once.max(1))
                    .collect::<Vec<_>>()
                    .await
            })
            .map_err(|_| values::interrupt(ctx))?;
        let answers = Array::new(ctx.clone())?;
        for (index, outcome) in outcomes.into_iter().enumerate() {
            answers.set(index, self.response(ctx, outcome)?)?;
        }
        Ok(answers.into_value())
    }

    /// Reads a call `(method, url, body, params, name, content type)`.
    pub(super) fn order<'js>(
        &self,
        ctx: &Ctx<'js>,
        arguments: &Arguments<'_, 'js>,
    ) -> Result<Order> {
        let options = &self.effective.options;
        let method = arguments.text(0)?;
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| values::throw(ctx, &format!("{method:?} is not an HTTP method")))?;
        let url_text = arguments.text(1)?;
        let parsed = Url::parse(&url_text);
        let refused = match &parsed {
            Ok(url) if url.has_host() => None,
            Ok(_) => Some(HttpError::invalid_url(&url_text, "no host")),
            Err(error) => Some(HttpError::invalid_url(&url_text, &error.to_string())),
        };
        let Ok(url) = parsed.or_else(|_| Url::parse("http://invalid/")) else {
            return Err(values::throw(ctx, "the URL cannot be read"));
        };
        let body = arguments
            .get(2)
            .map(|body| values::bytes(ctx, body))
            .transpose()?
            .unwrap_or_default();
        let name = arguments.optional_text(4)?;
        let mut order = Order {
            method,
            url_text,
            url,
            name: name.clone(),
            headers: HeaderMap::new(),
            body: body.into(),
            cookies: Vec::new(),
            jar: 0,
            timeout: DEFAULT_TIMEOUT,
            redirects: self.effective.max_redirects,
            redirects_given: false,
            response_type: if options.discard_response_bodies == Some(true) {
                ResponseType::Nothing
            } else {
                ResponseType::Text
            },
            expected: self.http.borrow().callback.clone(),
            throw: options.throw == Some(true),
            tags: self.tags.borrow().clone(),
            refused,
            first: None,
        };
        if let Ok(agent) = HeaderValue::from_str(&self.effective.user_agent)
            && !agent.is_empty()
        {
            order.headers.insert(header::USER_AGENT, agent);
        }
        if let Some(kind) = arguments.optional_text(5)?
            && let Ok(kind) = HeaderValue::from_str(&kind)
        {
            order.headers.insert(header::CONTENT_TYPE, kind);
        }
        let mut auth = None;
        if let Some(params) = arguments.get(3).and_then(Value::as_object) {
            for entry in params.props::<String, Value>() {
                let (key, value) = entry?;
                if value.is_undefined() || (value.is_null() && key != "responseCallback") {
                    continue;
                }
                if key == "auth" {
                    auth = Some(values::text(ctx, &value)?);
                } else {
                    order.read_param(ctx, &key, &value)?;
                }
            }
        }
        order.authenticate(ctx, auth.as_deref())?;
        Ok(order)
    }

    /// Sends an order and follows redirects. Every request on the way is measured.
    pub(super) async fn perform(self: Rc<Self>, mut order: Order) -> Outcome {
        let mut hop = Hop::default();
        let timed = tokio::time::timeout(order.timeout, self.follow(&mut order, &mut hop)).await;
        let result = timed.unwrap_or_else(|_| {
            hop.timings.complete(hop.started);
            Err(HttpError::timeout())
        });
        if let Err(error) = &result {
            self.measure(&order, &hop, &Err(error.clone()));
            if !order.throw {
                self.warn(&format!(
                    "Request Failed error=\"{} \\\"{}\\\": {error}\"",
                    go_method(&hop.sent.method),
                    hop.sent.url
                ));
            }
        }
        Outcome {
            url: hop.sent.url.clone(),
            result,
            timings: hop.timings,
            response_type: order.response_type,
            throw: order.throw,
            // The script sees the request that it made, not the last one that it was sent on to.
            sent: order.first.take().unwrap_or(hop.sent),
            set_cookies: hop.set_cookies,
        }
    }

    async fn follow(
        &self,
        order: &mut Order,
        hop: &mut Hop,
    ) -> std::result::Result<Exchange, HttpError> {
        let mut method = order.method.clone();
        let mut url = order.url.clone();
        let mut url_text = order.url_text.clone();
        let mut headers = order.headers.clone();
        let mut body = order.body.clone();
        let mut followed = 0;
        loop {
            *hop = Hop::default();
            hop.sent = Sent {
                method: method.as_str().to_owned(),
                url: url_text.clone(),
                body: body.clone(),
                ..Sent::default()
            };
            if let Some(error) = order.refused.clone() {
                return Err(error);
            }
            self.effective.wait_for_rate().await;
            let outgoing = Outgoing {
                method: method.clone(),
                url: url.clone(),
                headers: self.headers_for(order, &url, &headers, hop),
                body: body.clone(),
                keep_body: order.response_type != ResponseType::Nothing,
            };
            hop.sent.headers = outgoing.headers.clone();
            if order.first.is_none() {
                order.first = Some(hop.sent.clone());
            }
            hop.started = tokio::time::Instant::now();
            let exchange = self.client.send(&outgoing, &mut hop.timings).await?;
            let exchange = restored(exchange)?;
            self.take_cookies(order, &url, &exchange, hop);
            self.debug(&outgoing, &exchange);
            self.measure(order, hop, &Ok(&exchange));
            let Some(location) = redirection(&exchange) else {
                return Ok(exchange);
            };
            if followed >= order.redirects {
                if !order.redirects_given {
                    self.warn(&format!(
                        "Stopped after {followed} redirects and returned the redirection; pass {{ redirects: n }} in request params or set global maxRedirects to silence this url={url_text}"
                    ));
                }
                return Ok(exchange);
            }
            followed += 1;
            let next = url
                .join(location)
                .map_err(|error| HttpError::invalid_url(location, &error.to_string()))?;
            let keeps_body = matches!(exchange.status, 307 | 308);
            if !keeps_body {
                if method != Method::HEAD {
                    method = Method::GET;
                }
                body = Bytes::new();
                for name in [
                    header::CONTENT_TYPE,
                    header::CONTENT_LENGTH,
                    header::CONTENT_ENCODING,
                ] {
                    headers.remove(name);
                }
            }
            if next.host_str() != url.host_str() {
                headers.remove(header::AUTHORIZATION);
            }
            headers.remove(header::HOST);
            url = next;
            url_text = url.to_string();
        }
    }

    fn headers_for(
        &self,
        order: &Order,
        url: &Url,
        headers: &HeaderMap,
        hop: &mut Hop,
    ) -> HeaderMap {
        let mut headers = headers.clone();
        let state = self.http.borrow();
        let jar = state.jars.get(&order.jar).filter(|jar| !jar.is_empty());
        if jar.is_none() && order.cookies.is_empty() {
            return headers;
        }
        let now = self.shared.settings.clock.now();
        let mut cookies = Vec::new();
        for cookie in jar.map(|jar| jar.for_url(url, now)).unwrap_or_default() {
            let replaced = order
                .cookies
                .iter()
                .any(|(name, _, replace)| *replace && *name == cookie.name);
            if !replaced {
                cookies.push((cookie.name.clone(), cookie.value.clone(), false));
            }
        }
        cookies.extend(order.cookies.iter().cloned());
        let line = cookies
            .iter()
            .map(|(name, value, _)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ");
        if let Ok(line) = HeaderValue::from_str(&line)
            && !line.is_empty()
        {
            headers.insert(header::COOKIE, line);
        }
        hop.sent.cookies = cookies;
        headers
    }

    fn take_cookies(&self, order: &Order, url: &Url, exchange: &Exchange, hop: &mut Hop) {
        if !exchange.headers.contains_key(header::SET_COOKIE) {
            return;
        }
        let now = self.shared.settings.clock.now();
        let mut state = self.http.borrow_mut();
        let jar = state.jars.entry(order.jar).or_default();
        for header in exchange.headers.get_all(header::SET_COOKIE) {
            if let Some(cookie) =
                Cookie::parse(&String::from_utf8_lossy(header.as_bytes()), url, now)
            {
                hop.set_cookies.push(cookie.clone());
                jar.set(cookie, url, now);
            }
        }
    }

    fn debug(&self, outgoing: &Outgoing, exchange: &Exchange) {
        let Some(kind) = &self.effective.options.http_debug else {
            return;
        };
        let mut text = format!("Request:\n{} {}\n", outgoing.method, outgoing.url);
        for (name, value) in &outgoing.headers {
            text.push_str(&format!(
                "{name}: {}\n",
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
        if kind == "full" {
            text.push_str(&String::from_utf8_lossy(&outgoing.body));
        }
        text.push_str(&format!(
            "\nResponse:\n{:?} {}\n",
            exchange.version, exchange.status
        ));
        for (name, value) in &exchange.headers {
            text.push_str(&format!(
                "{name}: {}\n",
                String::from_utf8_lossy(value.as_bytes())
            ));
        }
        if kind == "full" {
            text.push_str(&String::from_utf8_lossy(&exchange.body));
        }
        self.log(super::LogLine {
            level: "info",
            source: "http-debug",
            message: &text,
        });
    }

    /// Adds the samples of one request.
    fn measure(
        &self,
        order: &Order,
        hop: &Hop,
        result: &std::result::Result<&Exchange, HttpError>,
    ) {
        let (status, proto, tls, error) = match result {
            Ok(exchange) => (
                exchange.status,
                proto(exchange.version),
                exchange.tls.as_ref(),
                None,
            ),
            Err(error) => (0, "", None, Some(error)),
        };
        let expected = order.expected.judge(status);
        let code = error_code(status, error);
        let tags = self.built_tags(
            &order.tags,
            "http",
            vec![
                Arc::from(hop.sent.method.as_str()),
                Arc::from(hop.sent.url.as_str()),
                Arc::from(order.name.as_deref().unwrap_or_default()),
                Arc::from(status.to_string()),
                Arc::from(proto),
                Arc::from(tls.map_or("", |tls: &TlsFacts| tls.version)),
                Arc::from(error.map_or("", |error| error.message.as_str())),
                Arc::from(code.to_string()),
                Arc::from(match expected {
                    None => "",
                    Some(true) => "true",
                    Some(false) => "false",
                }),
            ],
            |base, parts| {
                let [method, url, name, status, proto, tls, error, code, expected] = parts else {
                    return base.clone();
                };
                let name = base.get("name").map_or_else(
                    || {
                        if name.is_empty() {
                            Arc::clone(url)
                        } else {
                            Arc::clone(name)
                        }
                    },
                    Arc::from,
                );
                let shown_url = if *name == **url {
                    without_secrets(url)
                } else {
                    Arc::clone(&name)
                };
                let name = if *name == **url {
                    Arc::clone(&shown_url)
                } else {
                    name
                };
                let all = [
                    ("method", method),
                    ("url", &shown_url),
                    ("name", &name),
                    ("status", status),
                    ("proto", proto),
                    ("tls_version", tls),
                    ("error", error),
                    ("expected_response", expected),
                ];
                let wanted = all
                    .into_iter()
                    .filter(|(tag, value)| !value.is_empty() && self.effective.has_system_tag(tag));
                let mut tags =
                    base.with_all(wanted.map(|(tag, value)| (Arc::from(tag), Arc::clone(value))));
                if &**code != "0" && self.effective.has_system_tag("error_code") {
                    tags = tags.with("error_code", Arc::clone(code));
                }
                tags
            },
        );
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        let timings = &hop.timings;
        let metrics = self.sink.registry().builtin();
        let now = self.shared.settings.clock.now();
        self.sink.add_all(
            [
                (&metrics.http_reqs, 1.0),
                (&metrics.http_req_duration, milliseconds(timings.duration())),
                (&metrics.http_req_blocked, milliseconds(timings.blocked)),
                (
                    &metrics.http_req_connecting,
                    milliseconds(timings.connecting),
                ),
                (
                    &metrics.http_req_tls_handshaking,
                    milliseconds(timings.tls_handshaking),
                ),
                (&metrics.http_req_sending, milliseconds(timings.sending)),
                (&metrics.http_req_waiting, milliseconds(timings.waiting)),
                (&metrics.http_req_receiving, milliseconds(timings.receiving)),
            ],
            &tags,
            now,
        );
        if let Some(expected) = expected {
            self.sink.add(
                &metrics.http_req_failed,
                f64::from(u8::from(!expected)),
                &tags,
                now,
            );
        }
        let intended = self
            .iteration
            .borrow()
            .as_ref()
            .and_then(|iteration| iteration.intended_start);
        if let Some(intended) = intended
            && self.phase.get() == super::Phase::Iteration
        {
            self.sink.add(
                &metrics.http_req_response_time,
                milliseconds(intended.elapsed()),
                &tags,
                now,
            );
        }
    }

    /// What the script sees of an outcome; throws where the order says so.
    pub(super) fn response<'js>(&self, ctx: &Ctx<'js>, outcome: Outcome) -> Result<Value<'js>> {
        if let Err(error) = &outcome.result
            && outcome.throw
        {
            return Err(values::throw(
                ctx,
                &format!(
                    "{} \"{}\": {error}",
                    go_method(&outcome.sent.method),
                    outcome.url
                ),
            ));
        }
        let Some(make) = self.make_response.borrow().clone() else {
            return Err(values::throw(ctx, "the module k6/http is not loaded"));
        };
        let make = make.restore(ctx)?;
        let mut call = CallArgs::new(ctx.clone(), 26);
        let (exchange, error) = match outcome.result {
            Ok(exchange) => (Some(exchange), None),
            Err(error) => (None, Some(error)),
        };
        let status = exchange.as_ref().map_or(0, |exchange| exchange.status);
        let code = error_code(status, error.as_ref());
        call.push_arg(&outcome.url)?;
        call.push_arg(status)?;
        match &exchange {
            None => {
                call.push_arg("")?;
                call.push_arg("")?;
                call.push_arg("")?;
                call.push_arg(0)?;
                call.push_arg("")?;
            }
            Some(exchange) => {
                let reason = StatusCode::from_u16(status)
                    .ok()
                    .and_then(|status| status.canonical_reason());
                call.push_arg(match reason {
                    Some(reason) => format!("{status} {reason}"),
                    None => status.to_string(),
                })?;
                call.push_arg(proto(exchange.version))?;
                call.push_arg(exchange.remote.ip().to_string())?;
                call.push_arg(exchange.remote.port())?;
                call.push_arg(flat(&exchange.headers))?;
            }
        }
        call.push_arg(if outcome.set_cookies.is_empty() {
            String::new()
        } else {
            cookies_json(&outcome.set_cookies)
        })?;
        let tls = exchange.as_ref().and_then(|exchange| exchange.tls.clone());
        match exchange {
            Some(exchange) if outcome.response_type != ResponseType::Nothing => {
                if outcome.response_type == ResponseType::Binary {
                    call.push_arg(values::buffer(ctx, exchange.body)?)?;
                } else {
                    call.push_arg(text_of(exchange.body))?;
                }
            }
            _ => call.push_arg(Value::new_null(ctx.clone()))?,
        }
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        let timings = outcome.timings;
        for time in [
            timings.duration(),
            timings.blocked,
            timings.connecting,
            timings.tls_handshaking,
            timings.sending,
            timings.waiting,
            timings.receiving,
        ] {
            call.push_arg(milliseconds(time))?;
        }
        call.push_arg(tls.as_ref().map_or("", |tls| tls.version))?;
        call.push_arg(tls.as_ref().map_or("", |tls| tls.cipher_suite.as_str()))?;
        call.push_arg(error.map(|error| error.message).unwrap_or_default())?;
        call.push_arg(code)?;
        let sent = outcome.sent;
        call.push_arg(sent.method)?;
        call.push_arg(sent.url)?;
        call.push_arg(flat(&sent.headers))?;
        call.push_arg(if sent.body.is_empty() {
            String::new()
        } else {
            String::from_utf8_lossy(&sent.body).into_owned()
        })?;
        call.push_arg(if sent.cookies.is_empty() {
            String::new()
        } else {
            let mut lists = serde_json::Map::new();
            for (name, value, replace) in &sent.cookies {
                let one = serde_json::json!({"name": name, "value": value, "replace": replace});
                if let serde_json::Value::Array(list) = lists
                    .entry(name.clone())
                    .or_insert_with(|| serde_json::Value::Array(Vec::new()))
                {
                    list.push(one);
                }
            }
            serde_json::Value::Object(lists).to_string()
        })?;
        call.apply(&make)
    }
}

/// One request on the way.
struct Hop {
    started: tokio::time::Instant,
    timings: Timings,
    sent: Sent,
    set_cookies: Vec<Cookie>,
}

impl Default for Hop {
    fn default() -> Self {
        Self {
            started: tokio::time::Instant::now(),
            timings: Timings::default(),
            sent: Sent::default(),
            set_cookies: Vec::new(),
        }
    }
}

// === impl Timings ===

impl Timings {
    /// Gives the time that nobody measured, because it ended early, to waiting.
    fn complete(&mut self, started: tokio::time::Instant) {
        let known = self.blocked + self.duration();
        self.waiting += started.elapsed().saturating_sub(known);
    }
}

// === impl Order ===

impl Order {
    fn read_param<'js>(&mut self, ctx: &Ctx<'js>, key: &str, value: &Value<'js>) -> Result<()> {
        let wrong = |what: &str| values::throw(ctx, &format!("params.{key}: {what}"));
        match key {
            "headers" => {
                for (name, value) in texts(ctx, value)? {
                    let name: HeaderName = name
                        .trim()
                        .parse()
                        .map_err(|_| wrong(&format!("{name:?} is not a header name")))?;
                    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| {
                        wrong(&format!("the value of {name} has control characters"))
                    })?;
                    // What the transport decides by itself.
                    if name != header::CONTENT_LENGTH && name != header::TRANSFER_ENCODING {
                        self.headers.insert(name, value);
                    }
                }
            }
            "cookies" => {
                let object = value
                    .as_object()
                    .ok_or_else(|| wrong("an object is expected"))?;
                for entry in object.props::<String, Value>() {
                    let (name, value) = entry?;
                    match value.as_object().filter(|_| !value.is_string()) {
                        Some(cookie) => self.cookies.push((
                            name,
                            values::text(ctx, &cookie.get::<_, Value>("value")?)?,
                            cookie.get::<_, Option<bool>>("replace")?.unwrap_or(false),
                        )),
                        None => self.cookies.push((name, values::text(ctx, &value)?, false)),
                    }
                }
            }
            "tags" => {
                let tags = texts(ctx, value)?;
                self.tags = self.tags.with_all(
                    tags.into_iter()
                        .map(|(name, value)| (name.into(), value.into())),
                );
            }
            "timeout" => {
                self.timeout = match value.as_number() {
                    Some(milliseconds) => Duration::try_from_secs_f64(milliseconds / 1000.0)
                        .map_err(|_| wrong("not a time"))?,
                    None => {
                        values::text(ctx, value)?
                            .parse::<Span>()
                            .map_err(|error| wrong(&error.to_string()))?
                            .0
                    }
                };
                if self.timeout.is_zero() {
                    self.timeout = DEFAULT_TIMEOUT;
                }
            }
            "redirects" => {
                self.redirects = u64::from_js(ctx, value.clone())?;
                self.redirects_given = true;
            }
            "responseType" => {
                self.response_type = match values::text(ctx, value)?.as_str() {
                    "text" => ResponseType::Text,
                    "binary" => ResponseType::Binary,
                    "none" => ResponseType::Nothing,
                    other => return Err(wrong(&format!("{other:?} is not text, binary or none"))),
                }
            }
            "compression" => {
                let names = values::text(ctx, value)?;
                let mut used = Vec::new();
                for name in names.split(',') {
                    let encoding = Encoding::named(name).map_err(|error| wrong(&error))?;
                    if let Some(encoding) = encoding {
                        self.body = compress(encoding, &self.body)
                            .map_err(|error| wrong(&error.to_string()))?
                            .into();
                        used.push(encoding.name());
                    }
                }
                if let Ok(line) = HeaderValue::from_str(&used.join(", ")) {
                    self.headers.insert(header::CONTENT_ENCODING, line);
                }
            }
            "jar" => {
                let jar = value
                    .as_object()
                    .ok_or_else(|| wrong("a CookieJar is expected"))?;
                self.jar = jar
                    .get::<_, Option<u32>>("__jar")?
                    .ok_or_else(|| wrong("a CookieJar is expected"))?;
            }
            "responseCallback" => self.expected = Expected::read(ctx, value)?,
            "throw" => self.throw = value.as_bool().unwrap_or(false),
            // As in k6, what is unknown has no effect.
            _ => {}
        }
        Ok(())
    }

    fn authenticate(&mut self, ctx: &Ctx<'_>, auth: Option<&str>) -> Result<()> {
        match auth {
            None | Some("" | "basic") => {}
            Some(other) => {
                return Err(values::throw(
                    ctx,
                    &format!("params.auth: {other:?} is not supported; basic is"),
                ));
            }
        }
        if self.url.username().is_empty() && self.url.password().is_none() {
            return Ok(());
        }
        let plain = |text: &str| percent_decoded(text);
        let credentials = format!(
            "{}:{}",
            plain(self.url.username()),
            plain(self.url.password().unwrap_or_default())
        );
        // They are sent in the header alone.
        let removed = self
            .url
            .set_username("")
            .and_then(|()| self.url.set_password(None));
        debug_assert!(
            removed.is_ok(),
            "a URL with a host has room for credentials"
        );
        let value = format!("Basic {}", STANDARD.encode(credentials));
        if let Ok(value) = HeaderValue::from_str(&value) {
            self.headers.entry(header::AUTHORIZATION).or_insert(value);
        }
        Ok(())
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The URL without its password, as it may be shown.
fn without_secrets(url: &Arc<str>) -> Arc<str> {
    if !url.contains('@') {
        return Arc::clone(url);
    }
    match Url::parse(url) {
        Ok(mut parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
            let hidden = parsed
                .set_username("****")
                .and_then(|()| parsed.set_password(Some("****")));
            debug_assert!(hidden.is_ok(), "a URL with credentials has room for them");
            parsed.as_str().into()
        }
        _ => Arc::clone(url),
    }
}

fn texts<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Result<Vec<(String, String)>> {
    let list = [value.clone()];
    Arguments::new(ctx, &list).texts_by_name(0)
}

/// k6's number for what went wrong; 0 where nothing did.
fn error_code(status: u16, error: Option<&HttpError>) -> u16 {
    match error {
        Some(error) => error.code,
        None if status >= 400 => 1000 + status,
        None => 0,
    }
}

fn proto(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// `Get`, as Go's errors write methods.
fn go_method(method: &str) -> String {
    let mut letters = method.chars();
    letters.next().map_or_else(String::new, |first| {
        format!("{first}{}", letters.as_str().to_ascii_lowercase())
    })
}

/// Where the answer sends the request on to.
fn redirection(exchange: &Exchange) -> Option<&str> {
    if !matches!(exchange.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    exchange.headers.get(header::LOCATION)?.to_str().ok()
}

/// Undoes the body's compression.
fn restored(mut exchange: Exchange) -> std::result::Result<Exchange, HttpError> {
    let Some(encodings) = exchange.headers.get(header::CONTENT_ENCODING) else {
        return Ok(exchange);
    };
    if exchange.body.is_empty() {
        return Ok(exchange);
    }
    let encodings = String::from_utf8_lossy(encodings.as_bytes()).into_owned();
    for name in encodings.rsplit(',') {
        let failed = |reason: String| {
            HttpError::new(
                1701,
                format!("failed to decompress response body: {reason}"),
            )
        };
        let encoding = Encoding::named(name).map_err(failed)?;
        if let Some(encoding) = encoding {
            exchange.body =
                decompress(encoding, &exchange.body).map_err(|error| failed(error.to_string()))?;
        }
    }
    Ok(exchange)
}

fn text_of(body: Vec<u8>) -> String {
    String::from_utf8(body)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Headers as `name\nvalue\n…`, which JavaScript takes apart when it is asked for them.
fn flat(headers: &HeaderMap) -> String {
    let mut text = String::with_capacity(headers.len() * 40);
    for (name, value) in headers {
        text.push_str(name.as_str());
        text.push('\n');
        match value.to_str() {
            Ok(value) => text.push_str(value),
            Err(_) => text.push_str(&String::from_utf8_lossy(value.as_bytes())),
        }
        text.push('\n');
    }
    text
}

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
            "expires": cookie.expires.map_or(0, jiff::Timestamp::as_millisecond),
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
