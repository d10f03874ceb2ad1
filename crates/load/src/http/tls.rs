//! TLS settings of a run: which certificates are accepted, which are shown, which versions are spoken.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, SupportedProtocolVersion};
use rustls_platform_verifier::BuilderVerifierExt;
use springtide_machinery::tls::AnyCertificate;

use super::address::name_matches;
use crate::options::{ClientCertificate, Options};

/// TLS settings, by host.
#[derive(Debug)]
pub struct TlsConfigs {
    /// Patterns of host names and the settings that show them a certificate.
    by_host: Vec<(Vec<String>, Arc<ClientConfig>)>,
    other: Arc<ClientConfig>,
}

// === impl TlsConfigs ===

impl TlsConfigs {
    /// What the options say of TLS.
    ///
    /// # Errors
    ///
    /// A version or certificate that cannot be used, by name.
    pub fn new(options: &Options) -> Result<Self, String> {
        let versions = versions(options.tls_version.as_ref())?;
        if options.tls_cipher_suites.is_some() {
            return Err(
                "tlsCipherSuites is not supported: rustls offers its safe suites; remove it"
                    .to_owned(),
            );
        }
        let insecure = options.insecure_skip_tls_verify.unwrap_or(false);
        let mut by_host = Vec::new();
        for certificate in options.tls_auth.iter().flatten() {
            let patterns = certificate.domains.clone().unwrap_or_default();
            let patterns = if patterns.is_empty() {
                vec!["*".to_owned()]
            } else {
                patterns
            };
            by_host.push((
                patterns
                    .iter()
                    .map(|pattern| pattern.to_ascii_lowercase())
                    .collect(),
                config(insecure, &versions, Some(certificate))?,
            ));
        }
        Ok(Self {
            by_host,
            other: config(insecure, &versions, None)?,
        })
    }

    /// The settings for this host.
    #[must_use]
    pub fn for_host(&self, host: &str) -> Arc<ClientConfig> {
        let own = self
            .by_host
            .iter()
            .find(|(patterns, _)| patterns.iter().any(|pattern| name_matches(pattern, host)));
        Arc::clone(own.map_or(&self.other, |(_, config)| config))
    }
}

fn config(
    insecure: bool,
    versions: &[&'static SupportedProtocolVersion],
    certificate: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| format!("TLS: {error}"))?;
    let builder = if insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(&provider)))
    } else {
        builder
            .with_platform_verifier()
            .map_err(|error| format!("TLS: {error}"))?
    };
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            if certificate.password.is_some() {
                return Err(
                    "tlsAuth: encrypted keys are not supported; decrypt the key and leave out password"
                        .to_owned(),
                );
            }
            let chain = CertificateDer::pem_slice_iter(certificate.cert.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| format!("tlsAuth: cert is not PEM: {error}"))?;
            let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())
                .map_err(|error| format!("tlsAuth: key is not PEM: {error}"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("tlsAuth: {error}"))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// One version, or `{min, max}`. TLS 1.2 and 1.3 are spoken.
fn versions(
    option: Option<&serde_json::Value>,
) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let number = |value: &serde_json::Value| match value.as_str() {
        Some("tls1.2") => Ok(2),
        Some("tls1.3") => Ok(3),
        Some(old @ ("tls1.0" | "tls1.1" | "ssl3.0")) => Err(format!(
            "tlsVersion: {old} is not supported; use tls1.2 or tls1.3"
        )),
        _ => Err(format!("tlsVersion: {value} is not tls1.2 or tls1.3")),
    };
    let (least, most) = match option {
        None | Some(serde_json::Value::Null) => (2, 3),
        Some(serde_json::Value::Object(range)) => {
            // An old minimum allows more than is spoken, which does no harm.
            let least = match range.get("min") {
                Some(serde_json::Value::String(old))
                    if matches!(old.as_str(), "tls1.0" | "tls1.1" | "ssl3.0" | "") =>
                {
                    2
                }
                Some(value) => number(value)?,
                None => 2,
            };
            (least, range.get("max").map_or(Ok(3), number)?)
        }
        Some(one) => {
            let version = number(one)?;
            (version, version)
        }
    };
    let mut versions = Vec::new();
    if least <= 2 && most >= 2 {
        versions.push(&rustls::version::TLS12);
    }
    if least <= 3 && most >= 3 {
        versions.push(&rustls::version::TLS13);
    }
    Ok(versions)
}
