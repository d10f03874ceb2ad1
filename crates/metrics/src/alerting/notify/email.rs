//! Mail by SMTP: a client of its own, because the field's library brings tables of all the world's scripts for the
//! names of mail domains. It speaks EHLO, STARTTLS, AUTH PLAIN and LOGIN, and sends one message a connection.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::config::EmailConfig;
use super::templates::{MessageTemplates, html_text};
use super::{NotSent, secret_of};

/// The port on which TLS begins at once.
const IMPLICIT_TLS: u16 = 465;

/// An answer of the server is at most this many lines.
const MOST_LINES: usize = 100;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(super) async fn send(
    config: &EmailConfig,
    templates: &MessageTemplates<'_>,
    folder: &Path,
    now: Timestamp,
) -> Result<(), NotSent> {
    let from = templates.expand(config.from.as_deref().unwrap_or_default())?;
    let to = templates.expand(&config.to)?;
    let mail = mail(config, templates, &from, &to, now)?;
    let smarthost = config.smarthost.clone().unwrap_or_default();
    let (host, port) = smarthost
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host.to_owned(), port.parse::<u16>().ok()?)))
        .ok_or_else(|| NotSent::for_good(format!("smarthost {smarthost:?} is not HOST:PORT")))?;
    let tcp = TcpStream::connect((host.as_str(), port))
        .await
        .map_err(|error| {
            NotSent::for_now(format!("establish connection to {smarthost}: {error}"))
        })?;
    let mut tls = config.tls_config.clone().unwrap_or_default();
    if tls.server_name.is_empty() {
        tls.server_name.clone_from(&host);
    }
    let secured = |stream| async {
        let client = crate::http_client::tls_client_config(&tls, folder)
            .map_err(|error| NotSent::for_good(error.to_string()))?;
        let name = ServerName::try_from(tls.server_name.clone())
            .map_err(|error| NotSent::for_good(error.to_string()))?;
        let connector = TlsConnector::from(Arc::new(client));
        let secured = connector.connect(name, stream).await;
        secured.map_err(|error| NotSent::for_now(format!("TLS with {smarthost}: {error}")))
    };
    let hello = match config.hello.as_deref() {
        None | Some("") => "localhost",
        Some(hello) => hello,
    };
    let mut is_secure = port == IMPLICIT_TLS;
    let stream: Box<dyn Stream> = if is_secure {
        Box::new(secured(tcp).await?)
    } else {
        let mut plain = Session::new(tcp);
        plain.expect(&[220]).await?;
        let offers = plain.greet(hello).await?;
        let offers_tls = offers.iter().any(|offer| offer == "STARTTLS");
        if offers_tls {
            plain.command("STARTTLS", &[220]).await?;
            is_secure = true;
            Box::new(secured(plain.stream.into_inner()).await?)
        } else if config.require_tls.unwrap_or(true) {
            let reason = "require_tls is true (the default) but the server does not offer STARTTLS";
            return Err(NotSent::for_good(reason));
        } else {
            Box::new(plain.stream.into_inner())
        }
    };
    let mut session = Session::new(stream);
    if port == IMPLICIT_TLS {
        session.expect(&[220]).await?;
    }
    let offers = session.greet(hello).await?;
    if config.auth_username.is_some() {
        let password = secret_of(
            config.auth_password.as_ref(),
            config.auth_password_file.as_deref(),
            folder,
        )?;
        let is_local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if !is_secure && !is_local {
            return Err(NotSent::for_good(
                "the password is not sent over an unencrypted connection",
            ));
        }
        log_in(&mut session, config, &password.unwrap_or_default(), &offers).await?;
    }
    session
        .command(&format!("MAIL FROM:<{}>", address(&from)), &[250])
        .await?;
    for recipient in to.split(',').map(str::trim).filter(|to| !to.is_empty()) {
        let command = format!("RCPT TO:<{}>", address(recipient));
        session.command(&command, &[250, 251]).await?;
    }
    session.command("DATA", &[354]).await?;
    session.command(&mail, &[250]).await?;
    // The message is the server's now: how it takes leave does not matter.
    let _ = session.command("QUIT", &[221]).await;
    Ok(())
}

async fn log_in(
    session: &mut Session<Box<dyn Stream>>,
    config: &EmailConfig,
    password: &str,
    offers: &[String],
) -> Result<(), NotSent> {
    let user = config.auth_username.as_deref().unwrap_or_default();
    let identity = config.auth_identity.as_deref().unwrap_or_default();
    let mechanisms = offers
        .iter()
        .find_map(|offer| offer.strip_prefix("AUTH "))
        .unwrap_or_default()
        .to_owned();
    if mechanisms.split(' ').any(|mechanism| mechanism == "PLAIN") {
        let plain = BASE64.encode(format!("{identity}\0{user}\0{password}"));
        return session
            .command(&format!("AUTH PLAIN {plain}"), &[235])
            .await
            .map(drop);
    }
    if mechanisms.split(' ').any(|mechanism| mechanism == "LOGIN") {
        session.command("AUTH LOGIN", &[334]).await?;
        session.command(&BASE64.encode(user), &[334]).await?;
        return session
            .command(&BASE64.encode(password), &[235])
            .await
            .map(drop);
    }
    Err(NotSent::for_good(format!(
        "the mail server offers none of the mechanisms PLAIN and LOGIN, but {mechanisms:?}"
    )))
}

/// The address of `Name <address>`, without what would end the command.
fn address(text: &str) -> String {
    let bare = text
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or(text, |(address, _)| address);
    bare.chars()
        .filter(|char| !char.is_control() && !matches!(char, '<' | '>'))
        .collect()
}

/// A header's text: one line, encoded where it is not ASCII.
fn header(text: &str) -> String {
    let line: String = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if line.is_ascii() {
        return line;
    }
    format!("=?utf-8?B?{}?=", BASE64.encode(&line))
}

/// The whole message, ended by a dot.
fn mail(
    config: &EmailConfig,
    templates: &MessageTemplates<'_>,
    from: &str,
    to: &str,
    now: Timestamp,
) -> Result<String, NotSent> {
    let date = now
        .to_zoned(TimeZone::UTC)
        .strftime("%a, %d %b %Y %H:%M:%S +0000")
        .to_string();
    let domain = from
        .rsplit('@')
        .next()
        .unwrap_or("localhost")
        .trim_end_matches('>');
    let mut headers = vec![
        ("From".to_owned(), header(from)),
        ("To".to_owned(), header(to)),
        ("Date".to_owned(), date),
        (
            "Message-Id".to_owned(),
            format!("<{}.springtide@{domain}>", now.as_nanosecond()),
        ),
    ];
    let has_subject = config
        .headers
        .keys()
        .any(|name| name.eq_ignore_ascii_case("subject"));
    if !has_subject {
        let subject = templates.expand(r#"{{ template "email.default.subject" . }}"#)?;
        headers.push(("Subject".to_owned(), header(&subject)));
    }
    for (name, text) in &config.headers {
        let text = header(&templates.expand(text)?);
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        headers.push((name.clone(), text));
    }
    let html = match config.html.as_deref() {
        None => Some(r#"{{ template "email.default.html" . }}"#),
        Some("") => None,
        Some(html) => Some(html),
    };
    let mut parts = Vec::new();
    if let Some(text) = config.text.as_deref().filter(|text| !text.is_empty()) {
        parts.push(("text/plain", templates.expand(text)?));
    }
    if let Some(html) = html {
        parts.push(("text/html", templates.expand(html)?));
    }
    if parts.is_empty() {
        parts.push(("text/html", html_text(to)));
    }
    let boundary = format!("springtide-{:x}", now.as_nanosecond());
    let mut mail = String::new();
    for (name, text) in headers {
        mail += &format!("{name}: {text}\r\n");
    }
    mail += &format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary={boundary}\r\n\r\n"
    );
    for (kind, text) in parts {
        mail += &format!(
            "--{boundary}\r\nContent-Type: {kind}; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        );
        let encoded = BASE64.encode(text);
        for line in encoded.as_bytes().chunks(76) {
            mail += &String::from_utf8_lossy(line);
            mail += "\r\n";
        }
    }
    mail += &format!("--{boundary}--\r\n.");
    Ok(mail)
}

/// A conversation with a mail server.
struct Session<S> {
    stream: BufReader<S>,
}

// === impl Session ===

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(stream: S) -> Session<S> {
        Session {
            stream: BufReader::new(stream),
        }
    }

    /// Says a line and waits for an answer with one of the codes.
    async fn command(&mut self, line: &str, codes: &[u16]) -> Result<Vec<String>, NotSent> {
        let broken = |error: std::io::Error| NotSent::for_now(format!("mail server: {error}"));
        let stream = self.stream.get_mut();
        stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await
            .map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        self.expect(codes).await
    }

    async fn expect(&mut self, codes: &[u16]) -> Result<Vec<String>, NotSent> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line).await;
            let read = read.map_err(|error| NotSent::for_now(format!("mail server: {error}")))?;
            if read == 0 || lines.len() > MOST_LINES {
                return Err(NotSent::for_now("the mail server ended the connection"));
            }
            let line = line.trim_end();
            let code: u16 = line
                .get(..3)
                .and_then(|code| code.parse().ok())
                .unwrap_or(0);
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            if codes.contains(&code) {
                return Ok(lines);
            }
            return Err(NotSent::for_now(format!(
                "the mail server answered {line:?}"
            )));
        }
    }

    /// Says hello; gives what the server offers.
    async fn greet(&mut self, hello: &str) -> Result<Vec<String>, NotSent> {
        let lines = self.command(&format!("EHLO {hello}"), &[250]).await?;
        Ok(lines.iter().map(|line| line.to_ascii_uppercase()).collect())
    }
}
