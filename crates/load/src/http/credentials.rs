//! User and password in a URL.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use url::Url;

/// Takes user and password out of a URL; gives the `Authorization` header that says them.
pub(crate) fn take_credentials(url: &mut Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let credentials = format!(
        "{}:{}",
        percent_decoded(url.username()),
        percent_decoded(url.password().unwrap_or_default())
    );
    let removed = url.set_username("").and_then(|()| url.set_password(None));
    debug_assert!(
        removed.is_ok(),
        "a URL with a host has room for credentials"
    );
    HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(credentials))).ok()
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
            take_credentials(&mut url).unwrap(),
            "Basic dXNAZXI6cGFzcw=="
        );
        assert_eq!(url.as_str(), "http://host/path");
        assert_eq!(take_credentials(&mut url), None);
    }
}
