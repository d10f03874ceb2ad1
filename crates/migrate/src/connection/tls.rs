//! TLS as libpq's `sslmode` asks for it, by rustls.

use std::future::Future;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use springtide_machinery::tls::AnyCertificate;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use x509_parser::extensions::GeneralName;

use super::failure::ConnectionError;
use super::settings::{Settings, SslMode};

/// Makes the TLS configuration of some settings; none when they forbid TLS.
pub(super) fn client_config(
    settings: &Settings,
) -> Result<Option<Arc<ClientConfig>>, ConnectionError> {
    if settings.ssl_mode == SslMode::Disable {
        return Ok(None);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: Vec<&'static rustls::SupportedProtocolVersion> =
        [(12, &rustls::version::TLS12), (13, &rustls::version::TLS13)]
            .into_iter()
            .filter(|(number, _)| {
                (settings.tls_versions.0..=settings.tls_versions.1).contains(number)
            })
            .map(|(_, version)| version)
            .collect();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|_| {
            ConnectionError::Settings(
                "ssl_min_protocol_version is above ssl_max_protocol_version".to_owned(),
            )
        })?;
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier(settings, &provider)?);
    let mut config = match (&settings.ssl_certificate, &settings.ssl_key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates(certificate)?;
            let key = private_key(key)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                ConnectionError::Certificate(format!(
                    "the client certificate {} cannot be used with its key: {error}",
                    certificate.display()
                ))
            })?
        }
        (Some(certificate), None) => {
            return Err(ConnectionError::Certificate(format!(
                "the client certificate {} has no key; name it with sslkey",
                certificate.display()
            )));
        }
        _ => builder.with_no_client_auth(),
    };
    config.enable_sni = settings.ssl_server_name;
    config.alpn_protocols = if settings.ssl_direct {
        vec![b"postgresql".to_vec()]
    } else {
        Vec::new()
    };
    Ok(Some(Arc::new(config)))
}

fn verifier(
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, ConnectionError> {
    let check_name = settings.ssl_mode == SslMode::VerifyFull;
    let authorities = match settings.ssl_root_certificate.as_deref() {
        Some("system") => {
            let platform =
                rustls_platform_verifier::Verifier::new(Arc::clone(provider)).map_err(|error| {
                    ConnectionError::Certificate(format!(
                        "the system's certificate authorities cannot be read: {error}"
                    ))
                })?;
            return Ok(Arc::new(platform));
        }
        // libpq checks the certificate in these modes, too, once authorities are named.
        Some(file) if settings.ssl_mode >= SslMode::Require => certificates(Path::new(file))?,
        Some(_) => Vec::new(),
        None if settings.ssl_mode >= SslMode::VerifyCa => {
            return Err(ConnectionError::Certificate(
                "sslmode=verify-ca and verify-full need to know whom to trust: name a file of certificate authorities with sslrootcert, or use sslrootcert=system".to_owned(),
            ));
        }
        None => Vec::new(),
    };
    // What prefer and require mean without authorities: encrypt, whoever answers.
    if authorities.is_empty() {
        return Ok(Arc::new(AnyCertificate::new(provider)));
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(authorities.iter().cloned());
    let web_pki =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|error| {
                ConnectionError::Certificate(format!(
                    "none of the {added} certificates of sslrootcert can be used: {error}"
                ))
            })?;
    Ok(Arc::new(TrustAuthorities {
        web_pki,
        authorities,
        check_name,
    }))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ConnectionError> {
    let unusable = |error: &dyn std::fmt::Display| {
        ConnectionError::Certificate(format!(
            "cannot read certificates from {}: {error}",
            file.display()
        ))
    };
    let found = CertificateDer::pem_file_iter(file)
        .map_err(|error| unusable(&error))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(&error))?;
    if found.is_empty() {
        return Err(unusable(&"it holds none in PEM form"));
    }
    Ok(found)
}

/// Reads a key under libpq's rule: only its owner may read it, or root's group if it is root's.
fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, ConnectionError> {
    let unusable = |error: &dyn std::fmt::Display| {
        ConnectionError::Certificate(format!("cannot read the key {}: {error}", file.display()))
    };
    let metadata = std::fs::metadata(file).map_err(|error| unusable(&error))?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.permissions().mode() & forbidden != 0 {
        return Err(unusable(&format!(
            "others can read it; run: chmod 600 {}",
            file.display()
        )));
    }
    PrivateKeyDer::from_pem_file(file).map_err(|error| unusable(&error))
}

/// Checks the certificate's authority and, for verify-full, its name, as libpq does.
#[derive(Debug)]
struct TrustAuthorities {
    web_pki: Arc<WebPkiServerVerifier>,
    authorities: Vec<CertificateDer<'static>>,
    check_name: bool,
}

impl ServerCertVerifier for TrustAuthorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut verdict = self.web_pki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        // A server that signed its own certificate is trusted by that very certificate, which
        // rustls takes for an authority's alone.
        if verdict.is_err() && self.authorities.iter().any(|own| own == end_entity) {
            verdict = verify_own(end_entity, server_name, now);
        }
        match verdict {
            // The name is looked at last: everything else was in order.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.check_name || has_common_name(end_entity, server_name) => {
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.web_pki
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.web_pki
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.web_pki.supported_verify_schemes()
    }
}

/// The sentence about a certificate that one side does not accept; none when that was not the trouble.
pub(super) fn explain(
    error: &(dyn std::error::Error + 'static),
    place: &str,
    settings: &Settings,
) -> Option<String> {
    use CertificateError as Fault;
    let failed = rustls_error(error)?;
    let authorities = match settings.ssl_root_certificate.as_deref() {
        Some("system") => "the operating system trusts".to_owned(),
        Some(file) => format!("{file} holds"),
        None => "are known".to_owned(),
    };
    Some(match failed {
        rustls::Error::InvalidCertificate(Fault::UnknownIssuer) => format!(
            "the certificate of the server at {place} was issued by none of the authorities that {authorities}; name the file with its authority's certificate with sslrootcert"
        ),
        rustls::Error::InvalidCertificate(
            fault @ (Fault::NotValidForName | Fault::NotValidForNameContext { .. }),
        ) => {
            let of = match fault {
                Fault::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                    let names: Vec<&str> = presented.iter().map(|name| plain(name)).collect();
                    format!(" ({})", names.join(", "))
                }
                _ => String::new(),
            };
            format!(
                "the certificate of the server at {place} is for another name{of}; connect by a name that is in it (with host=NAME hostaddr=ADDRESS if need be), or use sslmode=verify-ca, which does not look at the name"
            )
        }
        rustls::Error::InvalidCertificate(
            Fault::Expired
            | Fault::ExpiredContext { .. }
            | Fault::NotValidYet
            | Fault::NotValidYetContext { .. },
        ) => format!(
            "the certificate of the server at {place} is out of date ({failed}); renew it, and check this machine's clock"
        ),
        rustls::Error::AlertReceived(alert) => match settings.ssl_certificate.as_deref() {
            Some(file) => format!(
                "the server at {place} broke off TLS ({alert:?}); it may not accept the client certificate {}: its authority must be in the server's ssl_ca_file",
                file.display()
            ),
            None => format!(
                "the server at {place} broke off TLS ({alert:?}); check the versions it allows, and whether it asks for a client certificate (sslcert, sslkey)"
            ),
        },
        _ => format!(
            "no TLS with the server at {place}: {failed}; check sslmode, sslrootcert and the server's certificate"
        ),
    })
}

/// The name in what rustls writes as `DnsName("db.example")`.
fn plain(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, name)| {
        name.trim_end_matches(')').trim_matches('"')
    })
}

/// What rustls said, if it was rustls.
fn rustls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        // An `io::Error` passes over the error it carries when it is asked for its source.
        let carried = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
            .and_then(|carried| carried.downcast_ref());
        if let Some(found) = carried.or_else(|| cause.downcast_ref()) {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

/// Checks what is left to check of a certificate that is known: its days and its name.
fn verify_own(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, rustls::Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < parsed.validity().not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > parsed.validity().not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
    Ok(ServerCertVerified::assertion())
}

/// Whether the server's name is the certificate's common name, which libpq takes where the certificate
/// lists no names of its own.
fn has_common_name(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
        return false;
    };
    let lists_names = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .is_some_and(|names| {
            names
                .value
                .general_names
                .iter()
                .any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_)))
        });
    let wanted = name.to_str().to_ascii_lowercase();
    !lists_names
        && parsed
            .subject()
            .iter_common_name()
            .filter_map(|common| common.as_str().ok())
            .any(|common| is_named(&common.to_ascii_lowercase(), &wanted))
}

/// Whether a name fits one of a certificate, in which `*.` stands for one label.
fn is_named(certified: &str, wanted: &str) -> bool {
    if certified == wanted {
        return true;
    }
    match (certified.strip_prefix("*."), wanted.split_once('.')) {
        (Some(parent), Some((label, rest))) => {
            !label.is_empty() && parent.contains('.') && parent == rest
        }
        _ => false,
    }
}

/// Begins TLS towards one host.
pub(super) struct Handshake {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connector = tokio_rustls::TlsConnector::from(self.config);
        Box::pin(async move { connector.connect(self.name, stream).await.map(Encrypted) })
    }
}

/// A TLS stream that can bind a login to itself.
pub(super) struct Encrypted<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    /// RFC 5929's `tls-server-end-point`: the certificate's hash by the hash of its own signature,
    /// SHA-256 where that is weaker.
    fn channel_binding(&self) -> ChannelBinding {
        let (_, connection) = self.0.get_ref();
        let Some(certificate) = connection
            .peer_certificates()
            .and_then(|chain| chain.first())
        else {
            return ChannelBinding::none();
        };
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else {
            return ChannelBinding::none();
        };
        let algorithm = match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
            // sha384 and sha512 with RSA, then with ECDSA.
            "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &ring::digest::SHA384,
            "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &ring::digest::SHA512,
            // Signatures without a hash of their own (Ed25519, PSS) have no binding defined.
            "1.3.101.112" | "1.3.101.113" | "1.2.840.113549.1.1.10" => {
                return ChannelBinding::none();
            }
            _ => &ring::digest::SHA256,
        };
        ChannelBinding::tls_server_end_point(
            ring::digest::digest(algorithm, certificate)
                .as_ref()
                .to_vec(),
        )
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::is_named;

    #[test]
    fn a_star_stands_for_one_label() {
        for (certified, wanted, fits) in [
            ("db.example.org", "db.example.org", true),
            ("*.example.org", "db.example.org", true),
            ("*.example.org", "a.db.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.org", "example.org", false),
            ("*", "db", false),
        ] {
            assert_eq!(is_named(certified, wanted), fits, "{certified} {wanted}");
        }
    }
}
