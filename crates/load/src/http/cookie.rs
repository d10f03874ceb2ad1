//! Cookies (RFC 6265), as far as a client needs them.

use jiff::Timestamp;
use url::Url;

/// One cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The domain it is for; without a dot at the beginning.
    pub domain: String,
    /// The path it is for, as the server named it; empty where it named none.
    pub path: String,
    /// Only for TLS.
    pub secure: bool,
    /// Not for scripts of pages.
    pub http_only: bool,
    /// `Max-Age` as it was given, in seconds.
    pub max_age: Option<i64>,
    /// `Expires` as it was given.
    pub expires: Option<Timestamp>,
    /// The path it is for: the one named, or the folder of the URL that set it.
    folder: String,
    /// Only for exactly its host: it named no domain.
    host_only: bool,
    /// When it ends, from `max_age` or `expires`.
    ends: Option<Timestamp>,
}

/// The cookies of one user.
#[derive(Clone, Debug, Default)]
pub struct Jar(Vec<Cookie>);

// === impl Cookie ===

impl Cookie {
    /// Reads a `Set-Cookie` header that came from `url`. `None`: it is malformed.
    #[must_use]
    pub fn parse(header: &str, url: &Url, now: Timestamp) -> Option<Self> {
        let mut parts = header.split(';');
        let (name, value) = parts.next()?.split_once('=')?;
        let name = name.trim();
        if name.is_empty() {
            return None;
        }
        let mut cookie = Self {
            name: name.to_owned(),
            value: unquoted(value.trim()).to_owned(),
            ..Self::default()
        };
        for part in parts {
            let (attribute, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim();
            match attribute.trim().to_ascii_lowercase().as_str() {
                "domain" => cookie.domain = value.trim_start_matches('.').to_ascii_lowercase(),
                "path" => value.clone_into(&mut cookie.path),
                "secure" => cookie.secure = true,
                "httponly" => cookie.http_only = true,
                "max-age" => cookie.max_age = value.parse().ok(),
                "expires" => cookie.expires = http_date(value),
                _ => {}
            }
        }
        cookie.complete(url, now);
        Some(cookie)
    }

    /// Fills in what follows from where it came.
    pub fn complete(&mut self, url: &Url, now: Timestamp) {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        self.host_only = self.domain.is_empty();
        let named = Some(self.path.as_str()).filter(|path| path.starts_with('/'));
        named.unwrap_or(folder_of(url)).clone_into(&mut self.folder);
        self.ends = match self.max_age {
            Some(seconds) if seconds <= 0 => Some(Timestamp::MIN),
            Some(seconds) => now
                .checked_add(jiff::SignedDuration::from_secs(seconds))
                .ok(),
            None => self.expires,
        };
        if self.domain.is_empty() {
            self.domain = host;
        }
    }

    /// The domain that the server named; empty where it named none.
    #[must_use]
    pub fn domain_as_given(&self) -> &str {
        if self.host_only { "" } else { &self.domain }
    }

    fn is_for(&self, url: &Url, now: Timestamp) -> bool {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let domain_matches = host == self.domain
            || (!self.host_only
                && host
                    .strip_suffix(&self.domain)
                    .is_some_and(|before| before.ends_with('.')));
        domain_matches
            && path_matches(&self.folder, url.path())
            && (!self.secure || url.scheme() == "https" || url.scheme() == "wss")
            && self.ends.is_none_or(|ends| ends > now)
    }
}

// === impl Jar ===

impl Jar {
    /// Takes a cookie that `url` set; one that has ended is removed. Cookies for a foreign domain
    /// are not taken.
    pub fn set(&mut self, cookie: Cookie, url: &Url, now: Timestamp) {
        let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
        let own = host == cookie.domain
            || host
                .strip_suffix(&cookie.domain)
                .is_some_and(|before| before.ends_with('.'));
        if !own {
            return;
        }
        self.0.retain(|old| {
            (&old.name, &old.domain, &old.folder) != (&cookie.name, &cookie.domain, &cookie.folder)
        });
        if cookie.ends.is_none_or(|ends| ends > now) {
            self.0.push(cookie);
        }
    }

    /// The cookies that `url` is sent, those with longer paths first.
    #[must_use]
    pub fn for_url(&self, url: &Url, now: Timestamp) -> Vec<&Cookie> {
        let mut cookies: Vec<_> = self
            .0
            .iter()
            .filter(|cookie| cookie.is_for(url, now))
            .collect();
        cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.folder.len()));
        cookies
    }

    /// Removes the cookies that `url` is sent and that it could have set without naming a path; all, or
    /// those of one name. k6 has it so: it overwrites them with cookies that have ended.
    pub fn remove(&mut self, url: &Url, name: Option<&str>, now: Timestamp) {
        let folder = folder_of(url);
        self.0.retain(|cookie| {
            let wanted = name.is_none_or(|name| name == cookie.name);
            !(wanted && cookie.is_for(url, now) && cookie.folder == folder)
        });
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The path of the cookies that a URL sets without naming one (RFC 6265, 5.1.4).
fn folder_of(url: &Url) -> &str {
    match url.path().rfind('/') {
        None | Some(0) => "/",
        Some(end) => &url.path()[..end],
    }
}

fn path_matches(cookie: &str, request: &str) -> bool {
    request == cookie
        || request
            .strip_prefix(cookie)
            .is_some_and(|rest| cookie.ends_with('/') || rest.starts_with('/'))
}

fn unquoted(value: &str) -> &str {
    value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(value)
}

/// Reads `Wed, 09 Jun 2027 10:18:14 GMT`, with spaces or dashes in the date. As in Go, the name of
/// any zone means UTC.
pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    let date = text.split_once(',').map_or(text, |(_, date)| date).trim();
    let date = date
        .trim_end_matches(|sign: char| sign.is_ascii_uppercase())
        .trim();
    [
        "%d %b %Y %H:%M:%S",
        "%d-%b-%Y %H:%M:%S",
        "%d-%b-%y %H:%M:%S",
    ]
    .iter()
    .find_map(|format| {
        jiff::civil::DateTime::strptime(format, date)
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
    })
    .map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(jar: &Jar, url: &str, now: Timestamp) -> Vec<String> {
        jar.for_url(&url.parse().unwrap(), now)
            .iter()
            .map(|cookie| cookie.name.clone())
            .collect()
    }

    #[test]
    fn cookies_go_where_they_belong() {
        let now = Timestamp::UNIX_EPOCH;
        let url: Url = "http://a.example.com/dir/page".parse().unwrap();
        let mut jar = Jar::default();
        for header in [
            "host=1",
            "domain=1; Domain=.example.com",
            "deep=1; Path=/dir",
            "safe=1; Secure",
            "short=1; Max-Age=10",
            "gone=1; Expires=Wed, 31-Dec-1969 23:59:59 GMT",
            "foreign=1; Domain=other.com",
        ] {
            jar.set(Cookie::parse(header, &url, now).unwrap(), &url, now);
        }
        assert_eq!(
            names(&jar, "http://a.example.com/dir/x", now),
            ["host", "domain", "deep", "short"]
        );
        assert_eq!(names(&jar, "http://b.example.com/dir", now), ["domain"]);
        // Those that name no path are for the folder of the page that set them.
        assert_eq!(names(&jar, "http://a.example.com/director", now).len(), 0);
        assert!(names(&jar, "https://a.example.com/dir/", now).contains(&"safe".to_owned()));
        let later = now
            .checked_add(jiff::SignedDuration::from_secs(11))
            .unwrap();
        let left = names(&jar, "http://a.example.com/dir", later);
        assert_eq!(left, ["host", "domain", "deep"]);
        jar.remove(&"http://a.example.com/".parse().unwrap(), None, now);
        assert_eq!(names(&jar, "http://a.example.com/dir", later), left);
        jar.remove(&url, Some("deep"), now);
        let left = names(&jar, "http://a.example.com/dir", later);
        assert_eq!(left, ["host", "domain"]);
    }

    #[test]
    fn dates_are_read_in_both_spellings() {
        for text in [
            "Wed, 09 Jun 2027 10:18:14 GMT",
            "Wed, 09-Jun-2027 10:18:14 GMT",
        ] {
            assert_eq!(
                http_date(text).unwrap().to_string(),
                "2027-06-09T10:18:14Z",
                "{text}"
            );
        }
        assert_eq!(http_date("soon"), None);
    }
}
