//! Sends what was ordered, follows redirects, and measures each request on the way.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Version};
use url::Url;

use super::super::{Host, LogLine, Phase};
use super::answer::go_method;
use super::order::Order;
use super::target::go_problem;
use super::{Outcome, Sent};
use crate::http::{Cookie, Encoding, Exchange, HttpError, Outgoing, Timings, TlsFacts, decompress};
use crate::metric::milliseconds;

/// What is known of one request on the way.
struct Hop {
    started: tokio::time::Instant,
    timings: Timings,
    set_cookies: Vec<Cookie>,
    /// The server asked for credentials, and will get them: no failure.
    challenged: bool,
}

impl Default for Hop {
    fn default() -> Self {
        Self {
            started: tokio::time::Instant::now(),
            timings: Timings::default(),
            set_cookies: Vec::new(),
            challenged: false,
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

impl Host {
    /// Sends an order and follows redirects. Every request on the way is measured.
    pub(in super::super) async fn perform(self: Rc<Self>, mut order: Order) -> Outcome {
        let mut hop = Hop::default();
        let timed = tokio::time::timeout(order.timeout, self.follow(&mut order, &mut hop)).await;
        let result = timed.unwrap_or_else(|_| {
            hop.timings.complete(hop.started);
            Err(HttpError::timeout())
        });
        if let Err(error) = &result {
            if order.formed {
                self.measure(&order, &hop, &Err(error.clone()));
            }
            if !order.throw {
                let method = go_method(order.sent.outgoing.method.as_str());
                let shown = format!("{method} \"{}\": {error}", order.sent.url);
                self.warn(&format!("Request Failed error={shown:?}"));
            }
        }
        Outcome {
            result,
            timings: hop.timings,
            response_type: order.response_type,
            throw: order.throw,
            sent: order.sent,
            first: order.first,
            formed: order.formed,
            set_cookies: hop.set_cookies,
        }
    }

    async fn follow(&self, order: &mut Order, hop: &mut Hop) -> Result<Exchange, HttpError> {
        let own_cookies = order.sent.outgoing.headers.get(header::COOKIE).cloned();
        let mut followed = 0;
        loop {
            if let Some(error) = order.refused.clone() {
                order.sent.outgoing.headers.clear();
                return Err(error);
            }
            self.effective.wait_for_rate().await;
            self.add_cookies(order);
            hop.started = tokio::time::Instant::now();
            let exchange = self
                .client
                .send(&order.sent.outgoing, &mut hop.timings)
                .await?;
            let exchange = restored(exchange)?;
            self.take_cookies(order, &exchange, hop);
            self.debug(&order.sent.outgoing, &exchange);
            let outgoing = &order.sent.outgoing;
            let proof = order
                .credentials
                .take_if(|_| exchange.status == 401)
                .and_then(|known| known.answer(&exchange.headers, &outgoing.method, &outgoing.url));
            hop.challenged = proof.is_some();
            let next = redirection(&exchange, &outgoing.url)?;
            self.measure(order, hop, &Ok(&exchange));
            let headers = &mut order.sent.outgoing.headers;
            if let Some(proof) = proof {
                headers.insert(header::AUTHORIZATION, proof);
                match &own_cookies {
                    Some(line) => headers.insert(header::COOKIE, line.clone()),
                    None => headers.remove(header::COOKIE),
                };
            } else {
                let Some(next) = next else {
                    return Ok(exchange);
                };
                if followed >= order.redirects {
                    if !order.redirects_given {
                        self.warn(&format!(
                            "Stopped after {followed} redirects and returned the redirection; pass {{ redirects: n }} in request params or set global maxRedirects to silence this url={}",
                            order.sent.url
                        ));
                    }
                    return Ok(exchange);
                }
                followed += 1;
                let first = order
                    .first
                    .get_or_insert_with(|| Box::new(order.sent.clone()));
                let own_referer = first.outgoing.headers.contains_key(header::REFERER);
                if next.host_str() != order.sent.outgoing.url.host_str() {
                    order.credentials = None;
                }
                order.sent.redirect(exchange.status, next, own_referer);
            }
            order.sent.cookies.clear();
            *hop = Hop::default();
        }
    }

    /// Adds the cookies of the order and of the jar to those in the request's headers.
    fn add_cookies(&self, order: &mut Order) {
        let state = self.http.borrow();
        let jar = state.jars.get(&order.jar).filter(|jar| !jar.is_empty());
        if jar.is_none() && order.cookies.is_empty() {
            return;
        }
        let outgoing = &mut order.sent.outgoing;
        let now = self.shared.settings.clock.now();
        let mut cookies = order.cookies.clone();
        let of_jar = jar.map(|jar| jar.for_url(&outgoing.url, now));
        for cookie in of_jar.unwrap_or_default() {
            let replaced = order
                .cookies
                .iter()
                .any(|(name, _, replace)| *replace && *name == cookie.name);
            if !replaced {
                cookies.push((cookie.name.clone(), cookie.value.clone(), false));
            }
        }
        let own = outgoing.headers.get(header::COOKIE);
        let mut line = own.map_or_else(Vec::new, |own| own.as_bytes().to_vec());
        for (name, value, _) in &cookies {
            if !line.is_empty() {
                line.extend(b"; ");
            }
            line.extend(format!("{name}={}", cookie_value(value)).bytes());
        }
        if let Ok(line) = HeaderValue::from_bytes(&line)
            && !line.is_empty()
        {
            outgoing.headers.insert(header::COOKIE, line);
        }
        order.sent.cookies = cookies;
    }

    fn take_cookies(&self, order: &Order, exchange: &Exchange, hop: &mut Hop) {
        if !exchange.headers.contains_key(header::SET_COOKIE) {
            return;
        }
        let now = self.shared.settings.clock.now();
        let url = &order.sent.outgoing.url;
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
        self.log(LogLine {
            level: "info",
            source: "http-debug",
            message: &text,
        });
    }

    /// Adds the samples of one request.
    fn measure(&self, order: &Order, hop: &Hop, result: &Result<&Exchange, HttpError>) {
        let (status, proto, tls, error) = match result {
            Ok(exchange) => (
                exchange.status,
                proto(exchange.version),
                exchange.tls.as_ref(),
                None,
            ),
            Err(error) => (0, "", None, Some(error)),
        };
        let expected = order
            .expected
            .judge(status)
            .map(|expected| expected || hop.challenged);
        let code = error_code(status, error);
        let shown_status = status.to_string();
        let shown_code = if code == 0 {
            String::new()
        } else {
            code.to_string()
        };
        let answering = result.as_ref().ok().map(|exchange| exchange.remote.ip());
        let ip = answering.filter(|_| self.effective.has_system_tag("ip"));
        let ip = ip.map(|ip| ip.to_string()).unwrap_or_default();
        let tags = self.built_tags(
            &order.tags,
            "http",
            &[
                order.sent.outgoing.method.as_str(),
                &order.sent.url,
                order.name.as_deref().unwrap_or_default(),
                &shown_status,
                proto,
                tls.map_or("", |tls: &TlsFacts| tls.version),
                error.map_or("", |error| error.message.as_str()),
                &shown_code,
                match expected {
                    None => "",
                    Some(true) => "true",
                    Some(false) => "false",
                },
                &ip,
            ],
            |base, parts| {
                let [
                    method,
                    url,
                    name,
                    status,
                    proto,
                    tls,
                    error,
                    code,
                    expected,
                    ip,
                ] = parts
                else {
                    return base.clone();
                };
                let name = match base.get("name") {
                    Some(name) => name,
                    None if name.is_empty() => url,
                    None => *name,
                };
                let (name, shown_url) = if name == *url {
                    let shown = without_secrets(url);
                    (shown.clone(), shown)
                } else {
                    (Cow::Borrowed(name), Cow::Borrowed(name))
                };
                let all = [
                    ("method", *method),
                    ("url", &shown_url),
                    ("name", &name),
                    ("status", *status),
                    ("proto", *proto),
                    ("tls_version", *tls),
                    ("error", *error),
                    ("error_code", *code),
                    ("expected_response", *expected),
                    ("ip", *ip),
                ];
                let wanted = all
                    .into_iter()
                    .filter(|(tag, value)| !value.is_empty() && self.effective.has_system_tag(tag));
                base.with_all(wanted.map(|(tag, value)| (Arc::from(tag), Arc::from(value))))
            },
        );
        if let Ok(exchange) = result {
            self.sink.answered(&exchange.headers);
        }
        let metrics = self.sink.registry().builtin();
        self.measured(metrics.of_request(&hop.timings), &tags);
        if let Some(expected) = expected {
            let failed = f64::from(u8::from(!expected));
            self.measured([(&metrics.http_req_failed, failed)], &tags);
        }
        let intended = self
            .iteration
            .borrow()
            .as_ref()
            .and_then(|iteration| iteration.intended_start);
        if let Some(intended) = intended
            && self.phase.get() == Phase::Iteration
        {
            let took = milliseconds(intended.elapsed());
            self.measured([(&metrics.http_req_response_time, took)], &tags);
        }
    }
}

// === impl Sent ===

impl Sent {
    /// Makes it the request that an answer of this status redirects to. Its headers go along as in
    /// Go: those about the body too, `Cookie` never, and credentials only to the same host.
    fn redirect(&mut self, status: u16, next: Url, own_referer: bool) {
        let Outgoing {
            method,
            url,
            headers,
            body,
            ..
        } = &mut self.outgoing;
        let keeps_body = matches!(status, 307 | 308);
        if !keeps_body {
            if *method != Method::HEAD {
                *method = Method::GET;
            }
            *body = Bytes::new();
        }
        if next.host_str() != url.host_str() {
            headers.remove(header::AUTHORIZATION);
        }
        headers.remove(header::COOKIE);
        headers.remove(header::HOST);
        if !own_referer {
            match referer(url, &next) {
                Some(referer) => headers.insert(header::REFERER, referer),
                None => headers.remove(header::REFERER),
            };
        }
        self.url = next.as_str().into();
        *url = Rc::new(next);
    }
}

/// What a request tells of the one that was redirected to it.
fn referer(from: &Url, to: &Url) -> Option<HeaderValue> {
    if from.scheme() == "https" && to.scheme() == "http" {
        return None;
    }
    let mut shown = from.clone();
    shown.set_fragment(None);
    let hidden = shown
        .set_username("")
        .and_then(|()| shown.set_password(None));
    hidden.ok()?;
    HeaderValue::from_str(shown.as_str()).ok()
}

/// A cookie's value as Go sends it: what may not stand in a header is left out, and one with spaces
/// or commas is quoted.
fn cookie_value(value: &str) -> Cow<'_, str> {
    let allowed = |sign: char| (' '..='~').contains(&sign) && !matches!(sign, '"' | ';' | '\\');
    let value = if value.chars().all(allowed) {
        Cow::Borrowed(value)
    } else {
        Cow::Owned(value.chars().filter(|sign| allowed(*sign)).collect())
    };
    if value.contains([' ', ',']) {
        Cow::Owned(format!("\"{value}\""))
    } else {
        value
    }
}

/// The URL without its password, as it may be shown.
fn without_secrets(url: &str) -> Cow<'_, str> {
    if !url.contains('@') {
        return url.into();
    }
    match Url::parse(url) {
        Ok(mut parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
            let hidden = parsed
                .set_username("****")
                .and_then(|()| parsed.set_password(Some("****")));
            debug_assert!(hidden.is_ok(), "a URL with credentials has room for them");
            String::from(parsed).into()
        }
        _ => url.into(),
    }
}

/// k6's number for what went wrong; 0 where nothing did.
pub(super) fn error_code(status: u16, error: Option<&HttpError>) -> u16 {
    match error {
        Some(error) => error.code,
        None if status >= 400 => 1000 + status,
        None => 0,
    }
}

pub(super) fn proto(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

/// Where the answer sends the request on to.
fn redirection(exchange: &Exchange, from: &Url) -> Result<Option<Url>, HttpError> {
    if !matches!(exchange.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = exchange.headers.get(header::LOCATION);
    let Some(location) = location.and_then(|location| location.to_str().ok()) else {
        return Ok(None);
    };
    let next = match go_problem(location) {
        Some(reason) => Err(reason),
        None => from.join(location).map_err(|error| error.to_string()),
    };
    next.map(Some).map_err(|reason| {
        let message =
            format!("failed to parse Location header {location:?}: parse {location:?}: {reason}");
        HttpError::new(1000, message)
    })
}

/// Undoes the body's compression.
fn restored(mut exchange: Exchange) -> Result<Exchange, HttpError> {
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
