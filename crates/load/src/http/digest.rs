//! Digest authentication (RFC 7616): the answer to a server's challenge.

use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use md5::Digest as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use springtide_machinery::hex::hexadecimal;
use url::Url;

use super::Credentials;

/// What a server asks.
struct Challenge<'header> {
    parts: Vec<(&'header str, &'header str)>,
}

// === impl Credentials ===

impl Credentials {
    /// The `Authorization` header that answers the challenge of an answer's headers; `None` where
    /// they have none that can be answered.
    pub(crate) fn answer(
        &self,
        headers: &HeaderMap,
        method: &Method,
        url: &Url,
    ) -> Option<HeaderValue> {
        let client_nonce = hexadecimal(&StdRng::from_os_rng().random::<[u8; 8]>());
        headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| Challenge::read(value.to_str().ok()?))
            .find_map(|challenge| self.proof(&challenge, method, url, &client_nonce))
            .and_then(|proof| HeaderValue::from_str(&proof).ok())
    }

    fn proof(
        &self,
        challenge: &Challenge<'_>,
        method: &Method,
        url: &Url,
        client_nonce: &str,
    ) -> Option<String> {
        let algorithm = challenge.part("algorithm").unwrap_or("MD5");
        let (name, session) = match algorithm.strip_suffix("-sess") {
            Some(name) => (name, true),
            None => (algorithm, false),
        };
        let hash: fn(&str) -> String = match name.to_ascii_uppercase().as_str() {
            "MD5" => |text| hexadecimal(&md5::Md5::digest(text.as_bytes())),
            "SHA-256" => |text| hexadecimal(&sha2::Sha256::digest(text.as_bytes())),
            _ => return None,
        };
        let (realm, nonce) = (challenge.part("realm")?, challenge.part("nonce")?);
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let mut secret = hash(&format!("{}:{realm}:{}", self.user, self.password));
        if session {
            secret = hash(&format!("{secret}:{nonce}:{client_nonce}"));
        }
        let request = hash(&format!("{method}:{path}"));
        let mut proof = format!(
            "Digest username=\"{}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{path}\", algorithm={algorithm}",
            self.user
        );
        let qualities = challenge.part("qop").unwrap_or_default();
        let response = if qualities.split(',').any(|quality| quality.trim() == "auth") {
            proof.push_str(&format!(
                ", qop=auth, nc=00000001, cnonce=\"{client_nonce}\""
            ));
            hash(&format!(
                "{secret}:{nonce}:00000001:{client_nonce}:auth:{request}"
            ))
        } else if qualities.is_empty() {
            hash(&format!("{secret}:{nonce}:{request}"))
        } else {
            return None;
        };
        proof.push_str(&format!(", response=\"{response}\""));
        if let Some(opaque) = challenge.part("opaque") {
            proof.push_str(&format!(", opaque=\"{opaque}\""));
        }
        Some(proof)
    }
}

// === impl Challenge ===

impl<'header> Challenge<'header> {
    /// Reads `Digest realm="r", nonce="n", qop="auth,auth-int", algorithm=MD5`.
    fn read(header: &'header str) -> Option<Self> {
        let (scheme, mut rest) = header.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let mut parts = Vec::new();
        while let Some((name, after)) = rest.split_once('=') {
            let name = name.trim_matches([',', ' ']);
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            parts.push((name, value.trim()));
            rest = after;
        }
        Some(Self { parts })
    }

    fn part(&self, wanted: &str) -> Option<&'header str> {
        self.parts
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_that_of_the_standards_example() {
        // RFC 2617, section 3.5, which RFC 7616 replaces and keeps working.
        let known = Credentials {
            user: "Mufasa".to_owned(),
            password: "Circle Of Life".to_owned(),
        };
        let url = "http://www.example.org/dir/index.html".parse().unwrap();
        let challenge = Challenge::read(
            "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
        )
        .unwrap();
        let proof = known
            .proof(&challenge, &Method::GET, &url, "0a4f113b")
            .unwrap();
        assert!(
            proof.contains("response=\"6629fae49393a05397450978507c4ef1\""),
            "{proof}"
        );
        assert!(Challenge::read("Basic realm=\"x\"").is_none());
    }
}
