//! Servers in the style of httpbin, on free ports: HTTP/1.1, and TLS with HTTP/2 for those who can.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;

/// The addresses of all servers, and what a client needs for them.
pub(crate) struct Servers {
    http: String,
    tls: String,
    /// A client's certificate and key, as PEM, which the TLS server knows.
    client: (String, String),
}

// === impl Servers ===

impl Servers {
    /// What scripts find in `__ENV`.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        [
            ("URL", &self.http),
            ("TLS_URL", &self.tls),
            ("CLIENT_CERT", &self.client.0),
            ("CLIENT_KEY", &self.client.1),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into()
    }

    /// A text with names in the place of addresses.
    pub(crate) fn named(&self, text: &str) -> String {
        let bare = |url: &str| url.rsplit('/').next().unwrap_or_default().to_owned();
        text.replace(&self.http, "URL")
            .replace(&self.tls, "TLS_URL")
            .replace(&bare(&self.http), "HOST")
            .replace(&bare(&self.tls), "TLS_HOST")
    }

    /// A text with the address in the place of `$HOST`.
    pub(crate) fn inserted(&self, text: &str) -> String {
        let host = self.http.rsplit('/').next().unwrap_or_default();
        text.replace("$HOST", host)
    }
}

/// Starts all servers.
pub(crate) async fn serve_all() -> Servers {
    let authority = authority();
    let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
    params.is_ca = IsCa::NoCa;
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    Servers {
        http: serve().await,
        tls: serve_tls_for(&authority).await,
        client: (certificate.pem(), key.serialize_pem()),
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Starts a server in the style of httpbin on a free port; gives its address without a slash.
pub(crate) async fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let peer = stream.peer_addr().unwrap().port();
            tokio::spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(
                        TokioIo::new(stream),
                        service_fn(move |request| answer(request, peer)),
                    )
                    .with_upgrades();
                // A client may go at any time.
                let _ = connection.await;
            });
        }
    });
    url
}

/// Starts a server that speaks TLS, and HTTP/2 with those who can; under a certificate that nobody
/// knows.
pub(crate) async fn serve_tls() -> String {
    serve_tls_for(&authority()).await
}

/// Answers over TLS; a client may show a certificate that `clients` signed.
async fn serve_tls_for(clients: &CertifiedIssuer<'static, KeyPair>) -> String {
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(clients.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let peer = stream.peer_addr().unwrap().port();
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let shown = stream.get_ref().1.peer_certificates().is_some();
                let two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let service = service_fn(move |request: Request<Incoming>| async move {
                    if request.uri().path() == "/certificate" {
                        let body = format!("certificate: {shown}");
                        return Ok(Response::new(Full::new(Bytes::from(body))));
                    }
                    answer(request, peer).await
                });
                let stream = TokioIo::new(stream);
                // A client may go at any time.
                if two {
                    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(stream, service)
                        .await;
                } else {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(stream, service)
                        .await;
                }
            });
        }
    });
    url
}

/// The value of a name in the query.
fn queried<'query>(query: &'query str, name: &str) -> Option<&'query str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// `name=a&value=b&path=/&max=60&secure=1&http=1&domain=x` as a `Set-Cookie` line.
fn cookie_line(query: &str) -> String {
    let get = |name| queried(query, name);
    let mut line = format!(
        "{}={}; Path={}",
        get("name").unwrap_or_default(),
        get("value").unwrap_or_default(),
        get("path").unwrap_or("/")
    );
    for (name, attribute) in [("max", "; Max-Age="), ("domain", "; Domain=")] {
        if let Some(value) = get(name) {
            line.push_str(attribute);
            line.push_str(value);
        }
    }
    for (name, attribute) in [("secure", "; Secure"), ("http", "; HttpOnly")] {
        if get(name).is_some() {
            line.push_str(attribute);
        }
    }
    line
}

/// Digest authentication (RFC 7616) of user `user` with the password `secret`.
fn digest(request: &Request<Incoming>) -> http::Result<Response<Full<Bytes>>> {
    use md5::Digest as _;
    let hash =
        |text: String| springtide_machinery::hex::hexadecimal(&md5::Md5::digest(text.as_bytes()));
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.map_or("", |value| value.to_str().unwrap());
    let part = |name: &str| {
        let marked = given.split([',', ' ']).find_map(|part| {
            part.trim()
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('='))
        });
        marked.unwrap_or_default().trim_matches('"').to_owned()
    };
    let expected = hash(format!(
        "{}:{}:{}:{}:{}:{}",
        hash("user:test:secret".to_owned()),
        part("nonce"),
        part("nc"),
        part("cnonce"),
        part("qop"),
        hash(format!("{}:{}", request.method(), request.uri()))
    ));
    if given.starts_with("Digest ") && part("response") == expected {
        return Response::builder().body(Full::new(Bytes::from_static(b"welcome")));
    }
    Response::builder()
        .status(401)
        .header(
            "WWW-Authenticate",
            r#"Digest realm="test", nonce="abc", qop="auth", algorithm=MD5, opaque="xyz""#,
        )
        .body(Full::new(Bytes::from_static(b"who?")))
}

async fn answer(
    request: Request<Incoming>,
    peer: u16,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let response = Response::builder().header("Server", "test");
    let text = |status: u16, body: &str| {
        Response::builder()
            .status(status)
            .header("Content-Type", "text/plain")
            .body(Full::new(Bytes::from(body.to_owned())))
    };
    let built = match parts[..] {
        ["status", "204"] => response.status(204).body(Full::default()),
        ["status", status] => text(status.parse().unwrap(), "status"),
        ["redirect", "0"] => text(200, "arrived"),
        ["redirect", left] => {
            let left: u32 = left.parse().unwrap();
            response
                .status(302)
                .header("Location", format!("/redirect/{}", left - 1))
                .body(Full::default())
        }
        ["moved", status] => response
            .status(status.parse::<u16>().unwrap())
            .header("Location", "/echo")
            .body(Full::default()),
        ["sent-on"] => response
            .status(302)
            .header("Location", queried(&query, "to").unwrap_or_default())
            .body(Full::default()),
        ["cookies", "set"] => response
            .header("Set-Cookie", cookie_line(&query))
            .body(Full::default()),
        ["cookies", "redirect"] => response
            .status(302)
            .header("Location", "/echo")
            .header("Set-Cookie", cookie_line(&query))
            .body(Full::default()),
        ["digest"] => digest(&request),
        ["connection"] => text(200, &peer.to_string()),
        ["gzip"] => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(b"compressed text").unwrap();
            response
                .header("Content-Encoding", "gzip")
                .body(Full::new(encoder.finish().unwrap().into()))
        }
        ["delay", milliseconds] => {
            tokio::time::sleep(Duration::from_millis(milliseconds.parse().unwrap())).await;
            text(200, "late")
        }
        ["bytes"] => response.body(Full::new(Bytes::from_static(&[0, 1, 2, 250, 255]))),
        ["page"] => response
            .header("Content-Type", "text/html")
            .body(Full::new(Bytes::from_static(PAGE.as_bytes()))),
        ["large"] => response.body(Full::new(vec![b'x'; 300_000].into())),
        ["mirror"] => {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            response.body(Full::new(body))
        }
        ["ws"] => return Ok(web_socket(request, &query)),
        _ => {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let headers: BTreeMap<_, _> = head
                .headers
                .iter()
                .filter(|(name, _)| *name != "host" && *name != "user-agent")
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()))
                .collect();
            let echo = serde_json::json!({
                "method": head.method.as_str(),
                "path": head.uri.path(),
                "query": head.uri.query(),
                "headers": headers,
                "body": String::from_utf8_lossy(&body),
                "size": body.len(),
                "list": [{"name": "a", "n": 1}, {"name": "b", "n": 2}],
            });
            response
                .header("Content-Type", "application/json")
                .header("X-Two", "1")
                .header("X-Two", "2")
                .body(Full::new(echo.to_string().into()))
        }
    };
    Ok(built.unwrap())
}

/// Answers a WebSocket handshake, and then every message with the same message; or closes it with a
/// code, `?close=4001`; or leaves without a word, `?drop`.
fn web_socket(mut request: Request<Incoming>, query: &str) -> Response<Full<Bytes>> {
    let close: Option<u16> = queried(query, "close").map(|code| code.parse().unwrap());
    let drops = query == "drop";
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
    use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
    let key = request.headers()["sec-websocket-key"].clone();
    let accept = derive_accept_key(key.as_bytes());
    tokio::spawn(async move {
        use futures::{SinkExt, StreamExt};
        let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
        let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(
            TokioIo::new(upgraded),
            Role::Server,
            None,
        )
        .await;
        if drops {
            return;
        }
        if let Some(code) = close {
            let reason = "so it is".into();
            let frame = CloseFrame {
                code: code.into(),
                reason,
            };
            socket.close(Some(frame)).await.unwrap();
        }
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                break;
            }
        }
    });
    Response::builder()
        .status(101)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Accept", accept)
        .body(Full::default())
        .unwrap()
}

const PAGE: &str = r#"<!DOCTYPE html>
<html><head><title>The page</title></head>
<body class="main big">
  <h1 id="top">Hello <b>world</b></h1>
  <ul><li class="one">first</li><li>second</li><li data-n="3">third &amp; last</li></ul>
  <form action="/echo" method="post">
    <input type="text" name="who" value="me">
    <input type="checkbox" name="on" checked>
    <input type="checkbox" name="off">
    <select name="choice"><option value="1">One</option><option value="2" selected>Two</option></select>
    <textarea name="long">words</textarea>
    <input type="submit" name="go" value="Send">
  </form>
  <a href="/echo?from=link">a link</a>
</body></html>"#;
