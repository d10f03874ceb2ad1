//! Keys and certificates: the authority made at first start, and what it signs.
//!
//! The authority's key and certificate live in the data folder, readable by their owner alone.
//! Serving keys are made anew at each start and are never written anywhere.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use jiff::ToSpan;
use jiff::tz::TimeZone;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use springtide_machinery::clock::Clock;

/// How long the authority's certificate holds, in days.
const AUTHORITY_DAYS: i64 = 3650;
/// How long certificates for servers and clients hold, in days; they are renewed at each start.
const LEAF_DAYS: i64 = 365;
/// Name of the authority's key in its folder.
const KEY_FILE: &str = "ca.key";
/// Name of the authority's certificate in its folder.
const CERTIFICATE_FILE: &str = "ca.crt";

/// Why the authority could not be opened or could not sign.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file of the authority could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, as in `read`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The files are there but are no key or certificate.
    #[error(
        "{} is not a usable certificate authority ({source}); restore it from a backup, or remove it to make a new one (every kubeconfig then has to be fetched again)",
        folder.display()
    )]
    Damaged {
        /// The authority's folder.
        folder: PathBuf,
        /// What is wrong.
        source: rcgen::Error,
    },
    /// A key or certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Sign(#[from] rcgen::Error),
}

/// The certificate authority of one data folder.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    clock: Clock,
}

/// A certificate with its private key, both PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate_pem: String,
    /// The private key, PKCS #8.
    pub key_pem: String,
}

impl Authority {
    /// Opens the authority in `folder`, or makes it (and the folder) when there is none.
    pub fn open(folder: &Path, clock: &Clock) -> Result<Authority, PkiError> {
        let key_path = folder.join(KEY_FILE);
        let certificate_path = folder.join(CERTIFICATE_FILE);
        let Some(certificate_pem) = read_if_there(&certificate_path)? else {
            // The certificate is written last: without it the key beside it signed nothing.
            let (authority, key_pem) = Authority::generate(clock)?;
            fs::create_dir_all(folder).map_err(|source| PkiError::File {
                action: "create",
                path: folder.to_owned(),
                source,
            })?;
            write_private(&key_path, &key_pem)?;
            write_private(&certificate_path, &authority.certificate_pem)?;
            return Ok(authority);
        };
        let key_pem = fs::read_to_string(&key_path).map_err(|source| PkiError::File {
            action: "read",
            path: key_path,
            source,
        })?;
        let damaged = |source| PkiError::Damaged {
            folder: folder.to_owned(),
            source,
        };
        let key = KeyPair::from_pem(&key_pem).map_err(damaged)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key).map_err(damaged)?;
        Ok(Authority {
            certificate_pem,
            issuer,
            clock: clock.clone(),
        })
    }

    /// An authority that is kept nowhere, for tests.
    pub fn ephemeral(clock: &Clock) -> Result<Authority, PkiError> {
        Ok(Authority::generate(clock)?.0)
    }

    fn generate(clock: &Clock) -> Result<(Authority, String), PkiError> {
        let key = KeyPair::generate()?;
        let key_pem = key.serialize_pem();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "springtide");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
        ];
        set_validity(&mut params, clock, AUTHORITY_DAYS);
        let certificate_pem = params.self_signed(&key)?.pem();
        let authority = Authority {
            certificate_pem,
            issuer: Issuer::new(params, key),
            clock: clock.clone(),
        };
        Ok((authority, key_pem))
    }

    /// The authority's certificate, PEM: what clients trust.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A certificate for a server that is reached under `names`: IP addresses or DNS names.
    pub fn serving(&self, names: &[String]) -> Result<Identity, PkiError> {
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "springtide-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A certificate that makes its holder `user` with `groups`.
    pub fn client(&self, user: &str, groups: &[&str]) -> Result<Identity, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for group in groups {
            params
                .distinguished_name
                .push(DnType::OrganizationName, *group);
        }
        params.distinguished_name.push(DnType::CommonName, user);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Identity, PkiError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, &self.clock, LEAF_DAYS);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// A kubeconfig that speaks to `server` (as in `https://127.0.0.1:6443`) as `identity`.
    #[must_use]
    pub fn kubeconfig(&self, server: &str, identity: &Identity) -> String {
        let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: springtide\n\
             \x20 cluster:\n\
             \x20   certificate-authority-data: {authority}\n\
             \x20   server: {server}\n\
             users:\n\
             - name: springtide-admin\n\
             \x20 user:\n\
             \x20   client-certificate-data: {certificate}\n\
             \x20   client-key-data: {key}\n\
             contexts:\n\
             - name: springtide\n\
             \x20 context:\n\
             \x20   cluster: springtide\n\
             \x20   user: springtide-admin\n\
             current-context: springtide\n",
            authority = encode(&self.certificate_pem),
            certificate = encode(&identity.certificate_pem),
            key = encode(&identity.key_pem),
        )
    }
}

/// The names a server is reached under: the given addresses, loopback, and what pods call it.
#[must_use]
pub fn serving_names(addresses: &[IpAddr], hostname: &str, service_ip: IpAddr) -> Vec<String> {
    let mut names: Vec<String> = addresses
        .iter()
        .filter(|address| !address.is_unspecified())
        .map(ToString::to_string)
        .collect();
    names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    names.push(service_ip.to_string());
    names.extend(
        [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ]
        .map(str::to_owned),
    );
    if !hostname.is_empty() {
        names.push(hostname.to_owned());
    }
    names.sort();
    names.dedup();
    names
}

/// Valid from the day before (clocks differ) for so many days.
fn set_validity(params: &mut CertificateParams, clock: &Clock, days: i64) {
    let today = clock.now().to_zoned(TimeZone::UTC).date();
    let day = |date: jiff::civil::Date| {
        rcgen::date_time_ymd(
            i32::from(date.year()),
            date.month().unsigned_abs(),
            date.day().unsigned_abs(),
        )
    };
    params.not_before = day(today.saturating_sub(1.day()));
    params.not_after = day(today.saturating_add(days.days()));
}

fn read_if_there(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File {
            action: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

/// Writes a file only its owner can read; a crash leaves the old file or the new one.
pub fn write_private(path: &Path, content: &str) -> Result<(), PkiError> {
    let half = path.with_extension("new");
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&half);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&half)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        fs::rename(&half, path)
    };
    write().map_err(|source| PkiError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_authority_is_made_once_private_and_found_again() {
        let folder = tempfile::tempdir().expect("folder");
        let clock = Clock::system();
        let first = Authority::open(&folder.path().join("pki"), &clock).expect("made");
        let again = Authority::open(&folder.path().join("pki"), &clock).expect("found");
        assert_eq!(first.certificate_pem(), again.certificate_pem());
        for name in [KEY_FILE, CERTIFICATE_FILE] {
            let mode = fs::metadata(folder.path().join("pki").join(name))
                .expect("file")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_damaged_authority_says_what_to_do() {
        let folder = tempfile::tempdir().expect("folder");
        let clock = Clock::system();
        Authority::open(folder.path(), &clock).expect("made");
        fs::write(folder.path().join(KEY_FILE), "nonsense").expect("write");
        let error = Authority::open(folder.path(), &clock)
            .err()
            .expect("refused");
        assert!(error.to_string().contains("restore it from a backup"));
    }

    #[test]
    fn names_of_the_server_have_no_wildcard_address_and_no_duplicates() {
        let names = serving_names(
            &[
                "0.0.0.0".parse().expect("ip"),
                "127.0.0.1".parse().expect("ip"),
            ],
            "box",
            "10.96.0.1".parse().expect("ip"),
        );
        assert!(!names.contains(&"0.0.0.0".to_owned()));
        assert_eq!(names.iter().filter(|name| *name == "127.0.0.1").count(), 1);
        assert!(names.contains(&"10.96.0.1".to_owned()) && names.contains(&"box".to_owned()));
    }
}
