//! Where requests go.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use url::Url;

use crate::http::HttpError;

/// So many URLs are remembered by a thread; above this all are forgotten, and those in use come back
/// at once.
const REMEMBERED: usize = 256;

thread_local! {
    /// Scripts send to the same URLs again and again, and reading one takes long.
    static KNOWN: RefCell<HashMap<Rc<str>, Rc<Url>>> = RefCell::default();
}

/// Where a request goes.
pub(super) struct Target {
    /// As it was written.
    pub(super) text: Rc<str>,
    pub(super) parsed: Rc<Url>,
    /// False where the text is no URL at all.
    pub(super) formed: bool,
}

// === impl Target ===

impl Target {
    /// Reads a URL; with it why no request can be sent there, in k6's words.
    pub(super) fn read(text: &str) -> (Self, Option<HttpError>) {
        if let Some(known) = Self::known(text) {
            return (known, None);
        }
        if let Some(reason) = go_problem(text) {
            let target = Self {
                text: text.into(),
                parsed: Rc::new(Self::nowhere()),
                formed: false,
            };
            let message = format!("invalid URL: parse {text:?}: {reason}");
            return (target, Some(HttpError::new(1020, message)));
        }
        let scheme = HttpError::unsupported_scheme;
        let encoded = with_encoded_backslashes(text);
        let parsed = Url::parse(&encoded);
        let mut formed = true;
        let refused = match &parsed {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => Some(scheme(url.scheme())),
            Ok(_) => None,
            Err(url::ParseError::RelativeUrlWithoutBase) => Some(scheme("")),
            Err(url::ParseError::EmptyHost) => {
                Some(HttpError::new(1000, "http: no Host in request URL"))
            }
            Err(error) => {
                formed = false;
                Some(HttpError::invalid_url(text, &error.to_string()))
            }
        };
        let target = Self {
            text: encoded.into(),
            parsed: Rc::new(parsed.unwrap_or_else(|_| Self::nowhere())),
            formed,
        };
        if refused.is_none() {
            target.remember();
        }
        (target, refused)
    }

    /// No URL was given.
    pub(super) fn none() -> (Self, Option<HttpError>) {
        let target = Self {
            text: "".into(),
            parsed: Rc::new(Self::nowhere()),
            formed: false,
        };
        (target, Some(HttpError::invalid_url("", "it is no text")))
    }

    fn known(text: &str) -> Option<Self> {
        KNOWN.with_borrow(|known| {
            let (text, parsed) = known.get_key_value(text)?;
            Some(Self {
                text: Rc::clone(text),
                parsed: Rc::clone(parsed),
                formed: true,
            })
        })
    }

    fn remember(&self) {
        KNOWN.with_borrow_mut(|known| {
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(Rc::clone(&self.text), Rc::clone(&self.parsed));
        });
    }

    /// What stands for a URL that cannot be read; no request is sent there.
    fn nowhere() -> Url {
        #[expect(clippy::unwrap_used, reason = "the text is a URL")]
        Url::parse("http://invalid/").unwrap()
    }
}

/// Why Go takes a text for no URL, in its words, where other readers of URLs would take it for one.
pub(super) fn go_problem(text: &str) -> Option<String> {
    if text.bytes().any(|sign| sign.is_ascii_control()) {
        return Some("net/url: invalid control character in URL".to_owned());
    }
    let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
    let text = text.split_once('?').map_or(text, |(before, _)| before);
    if text.starts_with(':') {
        return Some("missing protocol scheme".to_owned());
    }
    let has_scheme = text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|sign: char| sign.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|sign| sign.is_ascii_alphanumeric() || matches!(sign, '+' | '-' | '.'))
    });
    let segment = text.split('/').next().unwrap_or_default();
    if !has_scheme && segment.contains(':') {
        return Some("first path segment in URL cannot contain colon".to_owned());
    }
    wrong_escape(text)
        .or_else(|| wrong_escape(fragment))
        .map(|escape| format!("invalid URL escape {escape:?}"))
}

/// The first `%` of a text that two hexadecimal digits do not follow, with what does.
fn wrong_escape(text: &str) -> Option<String> {
    text.split('%').skip(1).find_map(|after| {
        let digits = after.bytes().take(2);
        let is_byte =
            digits.len() == 2 && digits.into_iter().all(|digit| digit.is_ascii_hexdigit());
        (!is_byte).then(|| format!("%{}", after.chars().take(2).collect::<String>()))
    })
}

/// The URL with its path's backslashes as Go sends them, where other readers make slashes of them.
fn with_encoded_backslashes(text: &str) -> Cow<'_, str> {
    let path_end = text.find(['?', '#']).unwrap_or(text.len());
    let (path, rest) = text.split_at(path_end);
    if path.contains('\\') {
        Cow::Owned(format!("{}{rest}", path.replace('\\', "%5C")))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_refused_as_go_does() {
        for (text, reason) in [
            ("http://a/b?c=%zz#", None),
            ("/a:b", None),
            ("a.b+c-d:e", None),
            ("http://a/%4f", None),
            ("::", Some("missing protocol scheme")),
            (
                " http://a/",
                Some("first path segment in URL cannot contain colon"),
            ),
            (
                "1a:b",
                Some("first path segment in URL cannot contain colon"),
            ),
            ("http://a/%zz", Some("invalid URL escape \"%zz\"")),
            ("http://a/b#%zz", Some("invalid URL escape \"%zz\"")),
            ("http://a/%4", Some("invalid URL escape \"%4\"")),
            (
                "http://a/\n",
                Some("net/url: invalid control character in URL"),
            ),
        ] {
            assert_eq!(go_problem(text).as_deref(), reason, "{text}");
        }
    }
}
