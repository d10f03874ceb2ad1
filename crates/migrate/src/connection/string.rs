//! Connection strings as options: URLs and libpq's keywords.

use super::failure::ConnectionError;
use super::settings::{Options, check_known, invalid};

/// Reads `keyword = value` pairs; values with spaces stand in single quotes, and a backslash takes the
/// next character as it is.
pub(super) fn parse_keywords(text: &str) -> Result<Options, ConnectionError> {
    let mut options = Options::new();
    let mut rest = text.trim_start();
    // A plain name is a database, as psql takes it.
    if !rest.is_empty() && !rest.contains('=') {
        options.insert("dbname".to_owned(), rest.trim_end().to_owned());
        return Ok(options);
    }
    while !rest.is_empty() {
        let Some((keyword, after)) = rest.split_once('=') else {
            return Err(invalid(format!(
                "in the connection string, {:?} has no value; write keyword=value",
                rest.trim_end()
            )));
        };
        let keyword = keyword.trim();
        check_known(keyword)?;
        let after = after.trim_start();
        let quoted = after.starts_with('\'');
        let mut characters = after.char_indices().skip(usize::from(quoted)).peekable();
        let mut value = String::new();
        let mut end = None;
        while let Some((position, character)) = characters.next() {
            match character {
                '\\' => value.extend(characters.next().map(|(_, next)| next)),
                '\'' if quoted => {
                    end = Some(position + 1);
                    break;
                }
                space if !quoted && space.is_ascii_whitespace() => {
                    end = Some(position);
                    break;
                }
                other => value.push(other),
            }
        }
        if quoted && end.is_none() {
            return Err(invalid(format!(
                "in the connection string, the value of {keyword} lacks its closing quote"
            )));
        }
        options.insert(keyword.to_owned(), value);
        rest = after[end.unwrap_or(after.len())..].trim_start();
    }
    Ok(options)
}

/// Reads `postgresql://user:password@host:port,host:port/database?option=value&…`.
pub(super) fn parse_url(text: &str) -> Result<Options, ConnectionError> {
    let mut options = Options::new();
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let (rest, query) = rest
        .split_once('?')
        .map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (authority, database) = rest
        .split_once('/')
        .map_or((rest, None), |(authority, database)| {
            (authority, Some(database))
        });
    if !authority.contains('@') && database.is_some_and(|database| database.contains('@')) {
        return Err(invalid(
            "in the URL, an @ stands behind the first /; write a / in a password as %2F, and an @ in a database's name as %40"
                .to_owned(),
        ));
    }
    let (user, hosts) = authority
        .split_once('@')
        .map_or((None, authority), |(user, hosts)| (Some(user), hosts));
    if let Some(user) = user {
        let (user, password) = user
            .split_once(':')
            .map_or((user, None), |(user, password)| (user, Some(password)));
        if !user.is_empty() {
            options.insert("user".to_owned(), decode(user)?);
        }
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            options.insert("password".to_owned(), decode_secret(password)?);
        }
    }
    if hosts.contains('@') {
        return Err(invalid(
            "in the URL, more than one @ stands before the host; write one in a user's name or password as %40"
                .to_owned(),
        ));
    }
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = if let Some(inner) = host.strip_prefix('[') {
            let Some((address, after)) = inner.split_once(']') else {
                return Err(invalid(format!(
                    "in the URL, the address {host:?} lacks its closing bracket"
                )));
            };
            match after.strip_prefix(':') {
                Some(port) => (address, port),
                None if after.is_empty() => (address, ""),
                None => {
                    return Err(invalid(format!(
                        "in the URL, {after:?} stands behind the address {address}; a port begins with a colon"
                    )));
                }
            }
        } else {
            host.split_once(':').unwrap_or((host, ""))
        };
        names.push(decode(name)?);
        ports.push(decode(port)?);
    }
    if names.iter().any(|name| !name.is_empty()) {
        options.insert("host".to_owned(), names.join(","));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        options.insert("port".to_owned(), ports.join(","));
    }
    if let Some(database) = database.filter(|database| !database.is_empty()) {
        options.insert("dbname".to_owned(), decode(database)?);
    }
    for pair in query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|pair| !pair.is_empty())
    {
        let Some((option, value)) = pair.split_once('=') else {
            return Err(invalid(format!(
                "in the URL, the option {pair:?} has no value; write option=value"
            )));
        };
        let option = decode(option)?;
        let value = if option.contains("password") {
            decode_secret(value)?
        } else {
            decode(value)?
        };
        // What JDBC's URLs say.
        if option == "ssl" && value == "true" {
            options.insert("sslmode".to_owned(), "require".to_owned());
            continue;
        }
        check_known(&option)?;
        options.insert(option, value);
    }
    Ok(options)
}

/// As [`decode`]; what is wrong with it is said without showing it.
fn decode_secret(text: &str) -> Result<String, ConnectionError> {
    decode(text).map_err(|_| {
        invalid(
            "in the URL, the password holds a percent sign without two hexadecimal digits, or is not UTF-8 once decoded; write % as %25"
                .to_owned(),
        )
    })
}

/// Undoes percent encoding. A plus sign is itself, as in libpq.
fn decode(text: &str) -> Result<String, ConnectionError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let byte = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .filter(|&byte| byte != 0);
        let Some(byte) = byte else {
            return Err(invalid(format!(
                "in the URL, {text:?} holds a percent sign without two hexadecimal digits (and not 00); write % as %25"
            )));
        };
        bytes.push(byte);
        rest = &after[2..];
    }
    String::from_utf8(bytes)
        .map_err(|_| invalid(format!("in the URL, {text:?} is not UTF-8 once decoded")))
}
