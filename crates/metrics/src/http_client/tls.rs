use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;
use springtide_machinery::tls::AnyCertificate;

use super::HttpError;
use crate::config::{TlsConfig, TlsVersion};

/// What rustls needs to speak as the configuration says.
pub(super) fn client_config(tls: &TlsConfig) -> Result<ClientConfig, HttpError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let refused = |error: &dyn std::fmt::Display| HttpError::Config(format!("TLS: {error}"));
    let least = tls.min_version.unwrap_or(TlsVersion::TLS12);
    let most = tls.max_version.unwrap_or(TlsVersion::TLS13);
    let versions: Vec<&rustls::SupportedProtocolVersion> = [
        (TlsVersion::TLS13, &rustls::version::TLS13),
        (TlsVersion::TLS12, &rustls::version::TLS12),
    ]
    .into_iter()
    .filter(|(version, _)| (least..=most).contains(version))
    .map(|(_, supported)| supported)
    .collect();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| refused(&error))?;
    let verifier: Arc<dyn ServerCertVerifier> =
        match text_of(tls.ca.as_deref(), tls.ca_file.as_deref())? {
            _ if tls.insecure_skip_verify => Arc::new(AnyCertificate::new(&provider)),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(&pem)? {
                    roots.add(certificate).map_err(|error| refused(&error))?;
                }
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| refused(&error))?
            }
            None => Arc::new(Verifier::new(provider).map_err(|error| refused(&error))?),
        };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let key = tls.key.as_ref().map(crate::config::Secret::expose);
    let certificate = text_of(tls.cert.as_deref(), tls.cert_file.as_deref())?;
    match (certificate, text_of(key, tls.key_file.as_deref())?) {
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|error| refused(&format!("the key is none: {error}")))?;
            builder
                .with_client_auth_cert(certificates(&certificate)?, key)
                .map_err(|error| refused(&error))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(HttpError::Config(
            "exactly one of key or key_file must be configured when a client certificate is configured, and the other way round"
                .to_owned(),
        )),
    }
}

fn text_of(text: Option<&str>, path: Option<&Path>) -> Result<Option<String>, HttpError> {
    match (text, path) {
        (Some(text), _) => Ok(Some(text.to_owned())),
        (None, Some(path)) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(HttpError::File {
                path: path.to_owned(),
                error,
            }),
        },
        (None, None) => Ok(None),
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let read: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(HttpError::Config(
            "TLS: there is no certificate in the PEM".to_owned(),
        )),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(HttpError::Config(format!("TLS: no certificate: {error}"))),
    }
}
