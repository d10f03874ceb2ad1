//! Where requests go.

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
        let scheme =
            |scheme: &str| HttpError::new(1000, format!("unsupported protocol scheme {scheme:?}"));
        let parsed = Url::parse(text);
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
            text: text.into(),
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
