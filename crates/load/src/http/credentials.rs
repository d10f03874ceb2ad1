//! User and password in a URL.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use url::Url;

/// Who a request is from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

// === impl Credentials ===

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// True if a URL has a user or a password.
    pub(crate) fn are_in(url: &Url) -> bool {
        !url.username().is_empty() || url.password().is_some()
    }

    /// Takes user and password out of a URL, if it has any.
    pub(crate) fn take(url: &mut Url) -> Option<Self> {
        if !Self::are_in(url) {
            return None;
        }
        let credentials = Self {
            user: percent_decoded(url.username()),
            password: percent_decoded(url.password().unwrap_or_default()),
        };
        let removed = url.set_username("").and_then(|()| url.set_password(None));
        debug_assert!(
            removed.is_ok(),
            "a URL with a host has room for credentials"
        );
        Some(credentials)
    }

    /// The `Authorization` header that says them openly.
    pub(crate) fn basic(&self) -> Option<HeaderValue> {
        let said = STANDARD.encode(format!("{}:{}", self.user, self.password));
        HeaderValue::from_str(&format!("Basic {said}")).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_url_and_become_a_header() {
        let mut url = Url::parse("http://us%40er:pass@host/path").unwrap();
        // "us@er:pass"
        assert_eq!(
            Credentials::take(&mut url).unwrap().basic().unwrap(),
            "Basic dXNAZXI6cGFzcw=="
        );
        assert_eq!(url.as_str(), "http://host/path");
        assert_eq!(Credentials::take(&mut url), None);
    }
}
