//! The API on a socket: TLS, client certificates, HTTP/1.1 and HTTP/2.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};
use springtide_machinery::clock::Clock;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use crate::auth::{BadCredentials, UserInfo, user_of_certificate};
use crate::pki::{Authority, Identity};

/// How long a handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's headers.
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// How long connections may take to finish what they do when the server stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(3);
/// How long to wait after a failed accept (usually too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How many requests (watches count) a client may have under way on one HTTP/2 connection.
const STREAMS_PER_CONNECTION: u32 = 1000;

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key is not PEM.
    #[error("cannot read a certificate or key: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// The certificate and key do not go together.
    #[error("cannot serve TLS: {0}")]
    Config(#[from] rustls::Error),
    /// The authority's certificate is of no use for checking clients.
    #[error("cannot check client certificates: {0}")]
    Clients(#[from] VerifierBuilderError),
}

/// What a TLS server needs: its own certificate, and whose client certificates count.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    clients: Arc<dyn ClientCertVerifier>,
    clock: Clock,
}

impl Tls {
    /// Serves with `identity`, and knows the clients that `authority` has signed.
    pub fn new(authority: &Authority, identity: &Identity, clock: &Clock) -> Result<Tls, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.certificate_pem().as_bytes()) {
            roots.add(certificate?)?;
        }
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()?;
        let chain = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(AnyCertificate(clients.clone())))
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            clients,
            clock: clock.clone(),
        })
    }

    /// Who a connection's certificate says it is: `Err` if the certificate is not ours, nobody
    /// if there is none.
    fn caller(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
    ) -> Result<Option<UserInfo>, BadCredentials> {
        let Some((leaf, intermediates)) = chain.and_then(<[_]>::split_first) else {
            return Ok(None);
        };
        let since_epoch = Duration::try_from(self.clock.now().as_duration()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(since_epoch);
        self.clients
            .verify_client_cert(leaf, intermediates, now)
            .map_err(|error| {
                tracing::debug!(%error, "client certificate refused");
                BadCredentials
            })?;
        user_of_certificate(leaf).map(Some).ok_or(BadCredentials)
    }
}

/// Lets every certificate through the handshake (its holder still proves to have the key), so
/// that a wrong one is answered by 401 with a Status and not by a broken connection.
/// [`Tls::caller`] decides what it is worth.
#[derive(Debug)]
struct AnyCertificate(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: some clients then send no certificate that is not named, where they should
        // hear that theirs is wrong.
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Serves `router` until `shutdown`; then takes no more connections, lets those there finish
/// their requests for a while, and closes them.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Tls,
    router: Router,
    shutdown: CancellationToken,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let connection =
                        serve_connection(stream, tls.clone(), router.clone(), shutdown.clone());
                    connections.spawn(connection);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_LIMIT, drained).await.is_err() {
        connections.shutdown().await;
    }
}

async fn serve_connection(
    stream: TcpStream,
    tls: Tls,
    router: Router,
    shutdown: CancellationToken,
) {
    if let Err(error) = try_serve_connection(stream, tls, router, shutdown).await {
        tracing::debug!(%error, "connection ended");
    }
}

async fn try_serve_connection(
    stream: TcpStream,
    tls: Tls,
    router: Router,
    shutdown: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    stream.set_nodelay(true)?;
    let handshake = tokio::time::timeout(HANDSHAKE_LIMIT, tls.acceptor.accept(stream));
    let stream = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Ok(()),
        done = handshake => done.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??,
    };
    let caller = tls.caller(stream.get_ref().1.peer_certificates());

    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        match &caller {
            Ok(Some(user)) => {
                request.extensions_mut().insert(user.clone());
            }
            Ok(None) => {}
            Err(bad) => {
                request.extensions_mut().insert(*bad);
            }
        }
        router.clone().call(request)
    });
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .max_send_buf_size(1 << 20)
        .keep_alive_interval(Duration::from_secs(30));
    let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        done = connection.as_mut() => return done,
        () = shutdown.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}
