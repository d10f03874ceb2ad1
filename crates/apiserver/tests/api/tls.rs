//! The API on a socket: TLS, client certificates, both versions of HTTP, a clean stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use springtide_apiserver::pki::{Authority, Identity, serving_names};
use springtide_apiserver::{ApiServer, MASTERS, Tls};
use springtide_machinery::clock::Clock;
use springtide_machinery::entropy::Entropy;
use springtide_store::Store;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

struct Served {
    api: ApiServer,
    authority: Authority,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

async fn serve() -> Served {
    let clock = Clock::system();
    let api = ApiServer::builder(Store::in_memory(), clock.clone(), Entropy::from_os())
        .build()
        .await
        .expect("built");
    let authority = Authority::ephemeral(&clock).expect("authority");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("port");
    let address = listener.local_addr().expect("address");
    let names = serving_names(&[address.ip()], "", "10.96.0.1".parse().expect("ip"));
    let identity = authority.serving(&names).expect("identity");
    let tls = Tls::new(&authority, &identity, &clock).expect("tls");
    let server = api.clone();
    let serving = tokio::spawn(async move { server.serve_tls(listener, tls).await });
    Served {
        api,
        authority,
        address,
        serving,
    }
}

impl Served {
    fn client(&self, identity: Option<&Identity>, protocol: &str) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let pem = self.authority.certificate_pem().as_bytes();
        roots
            .add(CertificateDer::from_pem_slice(pem).expect("certificate"))
            .expect("root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let certificate =
                    CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes());
                builder
                    .with_client_auth_cert(
                        vec![certificate.expect("certificate")],
                        key.expect("key"),
                    )
                    .expect("identity")
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    /// Sends one GET on a connection of its own.
    async fn open(
        &self,
        identity: Option<&Identity>,
        protocol: &str,
        path: &str,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.expect("connected");
        let name = ServerName::try_from("127.0.0.1").expect("name");
        let connector = self.client(identity, protocol);
        let stream = connector.connect(name, stream).await.expect("handshake");
        let stream = TokioIo::new(stream);
        let request = Request::get(format!("https://127.0.0.1{path}"))
            .header("host", "127.0.0.1")
            .body(Empty::<Bytes>::new())
            .expect("request");
        if protocol == "h2" {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream)
                .await
                .expect("h2");
            tokio::spawn(connection);
            sender.send_request(request).await.expect("answer")
        } else {
            let (mut sender, connection) = http1::handshake(stream).await.expect("http/1.1");
            tokio::spawn(connection);
            sender.send_request(request).await.expect("answer")
        }
    }

    /// Sends one GET and returns status, version and body.
    async fn get(
        &self,
        identity: Option<&Identity>,
        protocol: &str,
        path: &str,
    ) -> (u16, Version, Value) {
        let (parts, body) = self.open(identity, protocol, path).await.into_parts();
        let bytes = body.collect().await.expect("body").to_bytes();
        let value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        (parts.status.as_u16(), parts.version, value)
    }
}

#[tokio::test]
async fn a_certificate_says_who_one_is_over_both_versions_of_http() {
    let served = serve().await;
    let admin = served
        .authority
        .client("admin", &[MASTERS])
        .expect("identity");
    for (protocol, version) in [("h2", Version::HTTP_2), ("http/1.1", Version::HTTP_11)] {
        let (status, spoken, list) = served
            .get(Some(&admin), protocol, "/api/v1/namespaces")
            .await;
        assert_eq!((status, spoken), (200, version));
        assert_eq!(list["kind"], "NamespaceList");
    }
    let jane = served
        .authority
        .client("jane", &["devs"])
        .expect("identity");
    let (status, _, refused) = served.get(Some(&jane), "h2", "/api/v1/namespaces").await;
    assert_eq!(status, 403);
    assert!(
        refused["message"]
            .as_str()
            .expect("message")
            .contains("User \"jane\"")
    );
}

#[tokio::test]
async fn without_a_certificate_one_is_anonymous_and_with_a_wrong_one_unauthorized() {
    let served = serve().await;
    let (status, _, version) = served.get(None, "h2", "/version").await;
    assert_eq!((status, &version["minor"]), (200, &Value::from("36")));
    let (status, _, refused) = served.get(None, "h2", "/api/v1/namespaces").await;
    assert_eq!(
        (status, &refused["reason"]),
        (403, &Value::from("Forbidden"))
    );

    let stranger = Authority::ephemeral(&Clock::system()).expect("authority");
    let forged = stranger.client("admin", &[MASTERS]).expect("identity");
    let (status, _, refused) = served.get(Some(&forged), "h2", "/version").await;
    assert_eq!(
        (status, &refused["reason"]),
        (401, &Value::from("Unauthorized"))
    );
}

#[tokio::test]
async fn a_stop_ends_watches_and_serving() {
    for protocol in ["h2", "http/1.1"] {
        let served = serve().await;
        let admin = served.authority.client("admin", &[MASTERS]);
        let admin = admin.expect("identity");
        let path = "/api/v1/namespaces?watch=1";
        let mut watch = served.open(Some(&admin), protocol, path).await.into_body();
        let first = watch.frame().await.expect("a frame").expect("data");
        assert!(
            first
                .into_data()
                .expect("data")
                .starts_with(b"{\"type\":\"ADDED\"")
        );
        served.api.shut_down();
        let rest = async {
            while watch.frame().await.is_some() {}
            served.serving.await.expect("no panic");
        };
        let ended = tokio::time::timeout(Duration::from_secs(10), rest).await;
        ended.expect("ended in time");
    }
}
