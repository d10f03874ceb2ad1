//! `k6/http`: from a script's call to requests, and from answers to what the script sees.

mod answer;
mod exchange;
mod order;
mod sender;
mod target;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rquickjs::{Array, Ctx, Result, Value};
use url::Url;

pub(in super::super) use self::answer::Records;
use self::order::{Expected, ResponseType};
use super::values::{self, Arguments};
use super::{Event, Host};
use crate::http::{Cookie, Exchange, HttpError, Jar, Outgoing, Timings};

/// How long a request may take where it does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests of a batch at once, in all and to one host, where the options do not say.
const DEFAULT_BATCH: u64 = 20;
const DEFAULT_BATCH_PER_HOST: u64 = 6;

/// What a user's requests share.
pub(super) struct HttpState {
    /// By number; 0 is the user's own.
    jars: BTreeMap<u32, Jar>,
    next_jar: u32,
    callback: Expected,
}

/// A request that is sent.
#[derive(Clone)]
struct Sent {
    /// Its URL as it was written.
    url: Rc<str>,
    outgoing: Outgoing,
    /// The cookies in its headers, and whether each was to replace one of the jar.
    cookies: Vec<(String, String, bool)>,
}

/// What became of an order.
pub(super) struct Outcome {
    result: std::result::Result<Exchange, HttpError>,
    timings: Timings,
    response_type: ResponseType,
    throw: bool,
    /// The request that was answered.
    sent: Sent,
    /// The request that the script made, where another one was answered in the end.
    first: Option<Box<Sent>>,
    /// False where there was not even a request.
    formed: bool,
    /// Cookies that the last answer set.
    set_cookies: Vec<Cookie>,
}

// === impl HttpState ===

impl Default for HttpState {
    fn default() -> Self {
        Self {
            jars: BTreeMap::from([(0, Jar::default())]),
            next_jar: 1,
            callback: Expected::Default,
        }
    }
}

impl HttpState {
    pub(super) fn jar(&self, number: u32) -> Option<&Jar> {
        self.jars.get(&number)
    }

    pub(super) fn reset_cookies(&mut self) {
        if let Some(jar) = self.jars.get_mut(&0) {
            jar.clear();
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
            "http.sender" => {
                let sender = self.sender(ctx, arguments.optional_text(0)?)?;
                Ok(sender.into_value())
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
                if let Some(date) = settings["expires"].as_str() {
                    let ends = crate::http::http_date(date);
                    cookie.expires = Some(ends.ok_or_else(|| {
                        values::throw(ctx, &format!("cookie jar: expires: {date:?} is no date such as Mon, 02 Jan 2006 15:04:05 GMT"))
                    })?);
                }
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
                (order.sent.outgoing.url.authority().to_owned(), gate)
            })
            .collect();
        let host = Rc::clone(self);
        let outcomes = self
            .wait(async move {
                let requests = orders.into_iter().map(|order| {
                    let host = Rc::clone(&host);
                    let gate = hosts.get(order.sent.outgoing.url.authority()).cloned();
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
}
