//! What a script orders: `(method, url, body, params)`.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use rquickjs::{Array, Ctx, FromJs, Result, Value};

use super::super::Host;
use super::super::values::{self, Arguments};
use super::target::Target;
use super::{DEFAULT_TIMEOUT, Sent};
use crate::http::{Credentials, Encoding, HttpError, Outgoing, compress};
use crate::metric::Tags;
use crate::options::Span;

/// Which statuses are no failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Those that k6 expects: 200 to 399.
    Default,
    /// Those of these ranges.
    Ranges(Vec<(u16, u16)>),
    /// Nobody asks.
    Unjudged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseType {
    Text,
    Binary,
    Nothing,
}

/// A request as the script ordered it.
pub(in super::super) struct Order {
    /// The request that is to be sent, or on its way.
    pub(super) sent: Sent,
    /// The tag `name`, where it is not the URL.
    pub(super) name: Option<String>,
    /// Cookies of this request alone, and whether each replaces one of the jar.
    pub(super) cookies: Vec<(String, String, bool)>,
    pub(super) jar: u32,
    pub(super) timeout: Duration,
    pub(super) redirects: u64,
    pub(super) redirects_given: bool,
    pub(super) response_type: ResponseType,
    pub(super) expected: Expected,
    pub(super) throw: bool,
    pub(super) tags: Tags,
    /// The request cannot be sent; it fails with this.
    pub(super) refused: Option<HttpError>,
    /// False where there is not even a request: nothing is measured then.
    pub(super) formed: bool,
    /// For digest authentication.
    pub(super) credentials: Option<Credentials>,
    /// The first request of a chain of redirects.
    pub(super) first: Option<Box<Sent>>,
}

// === impl Expected ===

impl Expected {
    pub(super) fn read<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Result<Self> {
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
    pub(super) fn judge(&self, status: u16) -> Option<bool> {
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

impl Host {
    /// Reads a call `(method, url, body, params, name, content type)`. What cannot be read makes an
    /// order that fails, or throws where the option `throw` is set.
    pub(in super::super) fn order<'js>(
        &self,
        ctx: &Ctx<'js>,
        arguments: &Arguments<'_, 'js>,
    ) -> Result<Order> {
        let mut order = self.empty_order(arguments)?;
        if let Err(error) = self.read_order(ctx, arguments, &mut order) {
            if order.throw || !error.is_exception() {
                return Err(error);
            }
            let message = match ctx.catch().into_exception() {
                Some(exception) => exception.message().unwrap_or_default(),
                None => error.to_string(),
            };
            order.refused = Some(HttpError::new(0, message));
            order.formed = false;
        }
        Ok(order)
    }

    /// An order for a URL, with what the options say of all requests.
    fn empty_order(&self, arguments: &Arguments<'_, '_>) -> Result<Order> {
        let options = &self.effective.options;
        let (url, refused) = match arguments.optional_text(1)? {
            Some(text) => Target::read(&text),
            None => Target::none(),
        };
        Ok(Order {
            sent: Sent {
                url: url.text,
                outgoing: Outgoing {
                    method: Method::GET,
                    url: url.parsed,
                    headers: HeaderMap::new(),
                    body: Bytes::new(),
                    keep_body: true,
                },
                cookies: Vec::new(),
            },
            formed: url.formed,
            refused,
            name: arguments.optional_text(4)?,
            cookies: Vec::new(),
            jar: 0,
            timeout: DEFAULT_TIMEOUT,
            redirects: self.effective.max_redirects,
            redirects_given: options.max_redirects.is_some(),
            response_type: if options.discard_response_bodies == Some(true) {
                ResponseType::Nothing
            } else {
                ResponseType::Text
            },
            expected: self.http.borrow().callback.clone(),
            throw: options.throw == Some(true),
            tags: self.tags.borrow().clone(),
            credentials: None,
            first: None,
        })
    }

    fn read_order<'js>(
        &self,
        ctx: &Ctx<'js>,
        arguments: &Arguments<'_, 'js>,
        order: &mut Order,
    ) -> Result<()> {
        let method = arguments.text(0)?;
        let outgoing = &mut order.sent.outgoing;
        outgoing.method = Method::from_bytes(method.as_bytes())
            .map_err(|_| values::throw(ctx, &format!("net/http: invalid method {method:?}")))?;
        if let Some(body) = arguments.get(2) {
            if body.is_array() {
                return Err(values::throw(ctx, "unknown request body type: an array"));
            }
            outgoing.body = values::bytes(ctx, body)?.into();
        }
        if let Some(agent) = &self.effective.user_agent {
            outgoing.headers.insert(header::USER_AGENT, agent.clone());
        }
        if let Some(kind) = arguments.optional_text(5)?
            && let Ok(kind) = HeaderValue::from_str(&kind)
        {
            outgoing.headers.insert(header::CONTENT_TYPE, kind);
        }
        let (mut auth, mut compression) = (None, None);
        if let Some(params) = arguments.get(3).and_then(Value::as_object) {
            for entry in params.props::<String, Value>() {
                let (key, value) = entry?;
                if value.is_undefined() || (value.is_null() && key != "responseCallback") {
                    continue;
                }
                if key == "auth" {
                    auth = Some(values::text(ctx, &value)?);
                } else if key == "compression" {
                    compression = Some(values::text(ctx, &value)?);
                } else if !order.read_param(ctx, &key, &value)? {
                    self.warn_of_param(&key);
                }
            }
        }
        if let Some(names) = compression {
            let has_body = arguments
                .get(2)
                .is_some_and(|body| !body.is_null() && !body.is_undefined());
            order.compress(ctx, &names, has_body)?;
        }
        order.tags = self.shared_tags(order.tags.clone());
        order.sent.outgoing.keep_body = order.response_type != ResponseType::Nothing;
        order.authenticate(ctx, auth.as_deref())
    }

    /// Says, once in a run, that a param has no effect.
    fn warn_of_param(&self, key: &str) {
        let mut warned = self.shared.unknown_params.lock();
        if !warned.contains(key) {
            warned.insert(key.to_owned());
            self.warn(&format!(
                "the request param {key:?} is unknown and has no effect"
            ));
        }
    }
}

// === impl Order ===

impl Order {
    /// Takes one of the request's params. False: there is none of this name, and as in k6 it has no
    /// effect.
    fn read_param<'js>(&mut self, ctx: &Ctx<'js>, key: &str, value: &Value<'js>) -> Result<bool> {
        let wrong = |what: &str| values::throw(ctx, &format!("params.{key}: {what}"));
        match key {
            "headers" => {
                for (name, value) in texts(ctx, value)? {
                    self.add_header(&name, &value);
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
                let tags = values::tags(ctx, value)?;
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
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Adds a header; one that cannot be sent makes the request fail.
    fn add_header(&mut self, name: &str, value: &str) {
        let Ok(parsed) = name.trim().parse::<HeaderName>() else {
            let message = format!("net/http: invalid header field name {name:?}");
            self.refused = Some(HttpError::new(1000, message));
            return;
        };
        let value = value.trim_matches([' ', '\t']);
        let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else {
            let message = format!("net/http: invalid header field value for {name:?}");
            self.refused = Some(HttpError::new(1000, message));
            return;
        };
        // What the transport decides by itself.
        if parsed != header::CONTENT_LENGTH && parsed != header::TRANSFER_ENCODING {
            self.sent.outgoing.headers.insert(parsed, value);
        }
    }

    /// Compresses the body by each of these encodings. Without a body there is nothing to compress.
    fn compress(&mut self, ctx: &Ctx<'_>, names: &str, has_body: bool) -> Result<()> {
        let wrong = |what: &str| values::throw(ctx, &format!("params.compression: {what}"));
        let mut used = Vec::new();
        for name in names.split(',') {
            let encoding = Encoding::named(name).map_err(|error| wrong(&error))?;
            if let Some(encoding) = encoding.filter(|_| has_body) {
                self.sent.outgoing.body = compress(encoding, &self.sent.outgoing.body)
                    .map_err(|error| wrong(&error.to_string()))?
                    .into();
                used.push(encoding.name());
            }
        }
        if !used.is_empty()
            && let Ok(line) = HeaderValue::from_str(&used.join(", "))
        {
            self.sent
                .outgoing
                .headers
                .insert(header::CONTENT_ENCODING, line);
        }
        Ok(())
    }

    fn authenticate(&mut self, ctx: &Ctx<'_>, auth: Option<&str>) -> Result<()> {
        if auth == Some("ntlm") {
            return Err(values::throw(
                ctx,
                "params.auth: \"ntlm\" is not supported; basic and digest are",
            ));
        }
        let url = &mut self.sent.outgoing.url;
        if !Credentials::are_in(url) {
            return Ok(());
        }
        // They are sent in the header alone.
        let Some(credentials) = Credentials::take(Rc::make_mut(url)) else {
            return Ok(());
        };
        if auth == Some("digest") {
            self.sent.url = self.sent.outgoing.url.as_str().into();
            self.credentials = Some(credentials);
        } else if let Some(value) = credentials.basic() {
            self.sent
                .outgoing
                .headers
                .entry(header::AUTHORIZATION)
                .or_insert(value);
        }
        Ok(())
    }
}

fn texts<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Result<Vec<(String, String)>> {
    let list = [value.clone()];
    Arguments::new(ctx, &list).texts_by_name(0)
}
