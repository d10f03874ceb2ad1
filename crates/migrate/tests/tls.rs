//! TLS to PostgreSQL: every `sslmode`, with right and wrong authorities, names and client certificates,
//! each compared with what psql does.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use springtide_migrate::connection::{Environment, Target};
use support::postgres::{self, PASSWORD, Server, Setup};

/// Who may come in how: by TLS only, without it only, by a certificate, with any password.
const ACCESS: &str = "
local   all all         trust
hostssl all encrypted   127.0.0.1/32 scram-sha-256
hostnossl all plain     127.0.0.1/32 scram-sha-256
hostssl all certified   127.0.0.1/32 cert
hostssl all trusted     127.0.0.1/32 trust
";

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

struct Certificate {
    pem: String,
    key: String,
}

fn parameters(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).expect("names");
    parameters.distinguished_name = DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    parameters
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut parameters = parameters(&[], name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = parameters.self_signed(&key).expect("a certificate").pem();
        Self {
            issuer: Issuer::new(parameters, key),
            pem,
        }
    }

    fn issue(&self, names: &[&str], common_name: &str) -> Certificate {
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters(names, common_name)
            .signed_by(&key, &self.issuer)
            .expect("a certificate");
        Certificate {
            pem: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// A certificate of its own making, which names itself an authority: what `openssl req -x509` makes.
fn self_signed(name: &str) -> Certificate {
    let mut parameters = parameters(&[name], name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    Certificate {
        pem: parameters.self_signed(&key).expect("a certificate").pem(),
        key: key.serialize_pem(),
    }
}

/// A server with TLS, and the users of [`ACCESS`].
fn server(certificate: &Certificate, authority: &str) -> Option<Server> {
    let programs = postgres::programs()?;
    let setup = Setup {
        settings: &[
            "ssl=on",
            "ssl_cert_file=FOLDER/server.crt",
            "ssl_key_file=FOLDER/server.key",
            "ssl_ca_file=FOLDER/authority.crt",
            "hba_file=FOLDER/access.conf",
        ],
        files: &[
            ("server.crt", &certificate.pem),
            ("server.key", &certificate.key),
            ("authority.crt", authority),
            ("access.conf", ACCESS),
        ],
    };
    let server = Server::start(&programs, &setup).expect("the PostgreSQL server starts");
    let database = server.database();
    for user in ["encrypted", "plain", "certified", "trusted"] {
        database.sql(&format!("CREATE USER {user} PASSWORD '{PASSWORD}'"));
    }
    Some(server)
}

/// A file with certificates or a key, readable by its owner alone.
fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("closed");
    path
}

const QUERY: &str = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

/// Whether the session is encrypted, or why there is none.
async fn try_connect(text: &str) -> Result<bool, String> {
    let target = Target::parse(text, &Environment::default()).map_err(|error| error.to_string())?;
    let session = target.connect().await.map_err(|error| error.to_string())?;
    let row = session
        .query_typed_one(QUERY, &[])
        .await
        .map_err(|error| error.to_string())?;
    Ok(row.get::<_, String>(0) == "true")
}

/// The same by psql; None where it was built without TLS.
fn try_psql(programs: &Path, text: &str, home: &Path) -> Option<Result<bool, String>> {
    let output = Command::new(programs.join("psql"))
        .args(["-X", "-w", "-At", "-c", QUERY, text])
        .env("HOME", home)
        .output()
        .expect("psql runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if error.contains("SSL support is not compiled in") {
        return None;
    }
    Some(if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim() == "true")
    } else {
        Err(error)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sslmode_does_what_psql_does() {
    let authority = Authority::new("our authority");
    let other = Authority::new("another authority");
    let Some(server) = server(
        &authority.issue(&["db.example"], "the server"),
        &authority.pem,
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let ours = file(&folder, "ours.crt", &authority.pem);
    let others = file(&folder, "others.crt", &other.pem);
    let (ours, others) = (ours.display(), others.display());
    let client = authority.issue(&[], "certified");
    let (certificate, key) = (
        file(&folder, "client.crt", &client.pem),
        file(&folder, "client.key", &client.key),
    );
    let mine = format!("sslcert={} sslkey={}", certificate.display(), key.display());
    let foreign = other.issue(&[], "certified");
    let (certificate, key) = (
        file(&folder, "foreign.crt", &foreign.pem),
        file(&folder, "foreign.key", &foreign.key),
    );
    let foreign = format!("sslcert={} sslkey={}", certificate.display(), key.display());
    let cases: &[(&str, String, Result<bool, &str>)] = &[
        ("plain", "sslmode=disable".into(), Ok(false)),
        (
            "encrypted",
            "sslmode=disable".into(),
            Err("does not let user \"encrypted\" in"),
        ),
        ("plain", "sslmode=allow".into(), Ok(false)),
        ("encrypted", "sslmode=allow".into(), Ok(true)),
        ("plain", "sslmode=prefer".into(), Ok(false)),
        ("encrypted", "sslmode=prefer".into(), Ok(true)),
        ("encrypted", String::new(), Ok(true)),
        (
            "plain",
            "sslmode=require".into(),
            Err("does not let user \"plain\" in"),
        ),
        ("encrypted", "sslmode=require".into(), Ok(true)),
        // With authorities at hand, require checks them.
        (
            "encrypted",
            format!("sslmode=require sslrootcert={ours}"),
            Ok(true),
        ),
        (
            "encrypted",
            format!("sslmode=require sslrootcert={others}"),
            Err("issued by none of the authorities that"),
        ),
        (
            "encrypted",
            format!("sslmode=verify-ca sslrootcert={ours}"),
            Ok(true),
        ),
        (
            "encrypted",
            format!("sslmode=verify-ca sslrootcert={others}"),
            Err("issued by none of the authorities that"),
        ),
        (
            "encrypted",
            format!("sslmode=verify-full sslrootcert={ours}"),
            Ok(true),
        ),
        (
            "encrypted",
            format!("host=127.0.0.1 sslmode=verify-full sslrootcert={ours}"),
            Err("is for another name (db.example)"),
        ),
        (
            "encrypted",
            "sslmode=verify-full".into(),
            Err("name a file of certificate authorities with sslrootcert"),
        ),
        (
            "encrypted",
            "sslmode=verify-ca sslrootcert=/no/such/file".into(),
            Err("cannot read certificates from /no/such/file"),
        ),
        ("certified", format!("sslmode=require {mine}"), Ok(true)),
        (
            "certified",
            "sslmode=require".into(),
            Err("name it with sslcert"),
        ),
        (
            "certified",
            format!("sslmode=require {foreign}"),
            Err("client certificate"),
        ),
        (
            "encrypted",
            "channel_binding=require sslmode=require".into(),
            Ok(true),
        ),
        (
            "plain",
            "channel_binding=require sslmode=disable".into(),
            Err("channel_binding=require asks for"),
        ),
        (
            "trusted",
            "channel_binding=require sslmode=require".into(),
            Err("channel_binding=require asks for"),
        ),
        (
            "encrypted",
            "sslmode=require ssl_min_protocol_version=TLSv1.3".into(),
            Ok(true),
        ),
        (
            "encrypted",
            "sslmode=require ssl_max_protocol_version=TLSv1.2".into(),
            Ok(true),
        ),
    ];
    for (user, options, expected) in cases {
        let named = if options.contains("host=") {
            ""
        } else {
            "host=db.example"
        };
        let text = format!(
            "{named} hostaddr=127.0.0.1 port={} dbname=postgres user={user} password='{PASSWORD}' {options}",
            server.port
        );
        let found = try_connect(&text).await;
        match (expected, &found) {
            (Ok(encrypted), Ok(found)) if encrypted == found => {}
            (Err(words), Err(found)) if found.contains(words) => {}
            _ => panic!("{text}: {found:?} instead of {expected:?}"),
        }
        let by_psql = try_psql(&server.programs, &text, folder.path());
        if let Some(by_psql) = by_psql {
            assert_eq!(
                by_psql.clone().ok(),
                found.ok(),
                "{text}: psql: {by_psql:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_their_own_authority_or_have_a_common_name_only_do_as_for_psql() {
    let authority = Authority::new("our authority");
    for (certificate, trusted) in [
        (self_signed("db.example"), None),
        (authority.issue(&[], "db.example"), Some(&authority.pem)),
        (authority.issue(&[], "*.db.example"), Some(&authority.pem)),
        (
            authority.issue(&["elsewhere.example"], "db.example"),
            Some(&authority.pem),
        ),
    ] {
        let trusted = trusted.unwrap_or(&certificate.pem);
        let Some(server) = server(&certificate, trusted) else {
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let ours = file(&folder, "ours.crt", trusted);
        for (name, mode) in [
            ("db.example", "verify-full"),
            ("one.db.example", "verify-full"),
            ("db.example", "verify-ca"),
        ] {
            let text = format!(
                "host={name} hostaddr=127.0.0.1 port={} dbname=postgres user=encrypted password='{PASSWORD}' sslmode={mode} sslrootcert={}",
                server.port,
                ours.display()
            );
            let found = try_connect(&text).await;
            if mode == "verify-ca" {
                assert_eq!(found, Ok(true), "{text}");
            }
            if let Err(error) = &found {
                assert!(error.contains("is for another name"), "{text}: {error}");
            }
            if let Some(by_psql) = try_psql(&server.programs, &text, folder.path()) {
                assert_eq!(
                    by_psql.clone().ok(),
                    found.ok(),
                    "{text}: psql: {by_psql:?}"
                );
            }
        }
    }
}

/// What the test of the system's authorities runs in a process with authorities of its own.
const TRUSTING: &str = "SPRINGTIDE_TEST_TRUSTING";

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_trusts_the_system() {
    let Ok(text) = std::env::var(TRUSTING) else {
        return;
    };
    assert_eq!(try_connect(&text).await, Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_systems_authorities_are_trusted_when_asked_for() {
    let authority = Authority::new("our authority");
    let Some(server) = server(
        &authority.issue(&["db.example"], "the server"),
        &authority.pem,
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let ours = file(&folder, "ours.crt", &authority.pem);
    let text = format!(
        "host=db.example hostaddr=127.0.0.1 port={} dbname=postgres user=encrypted password='{PASSWORD}' sslrootcert=system",
        server.port
    );
    let error = try_connect(&text).await.unwrap_err();
    assert!(
        error.contains("none of the authorities that the operating system trusts"),
        "{error}"
    );
    let error = try_connect(&format!("{text} sslmode=verify-ca"))
        .await
        .unwrap_err();
    assert!(error.contains("needs sslmode=verify-full"), "{error}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_program_that_trusts_the_system"])
        .env(TRUSTING, &text)
        .env("SSL_CERT_FILE", &ours)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_can_read_is_not_used_and_direct_tls_works_where_the_server_has_it() {
    use std::os::unix::fs::PermissionsExt;
    let authority = Authority::new("our authority");
    let Some(server) = server(
        &authority.issue(&["db.example"], "the server"),
        &authority.pem,
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let client = authority.issue(&[], "certified");
    let (certificate, key) = (
        file(&folder, "client.crt", &client.pem),
        file(&folder, "client.key", &client.key),
    );
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let text = format!(
        "host=db.example hostaddr=127.0.0.1 port={} dbname=postgres user=certified sslmode=require sslcert={} sslkey={}",
        server.port,
        certificate.display(),
        key.display()
    );
    let error = try_connect(&text).await.unwrap_err();
    assert!(error.contains("chmod 600"), "{error}");

    let version: u32 = server
        .database()
        .sql("SHOW server_version_num")
        .parse()
        .unwrap();
    let text = format!(
        "host=db.example hostaddr=127.0.0.1 port={} dbname=postgres user=encrypted password='{PASSWORD}' sslmode=require sslnegotiation=direct",
        server.port
    );
    let found = try_connect(&text).await;
    if version >= 170_000 {
        assert_eq!(found, Ok(true));
    } else {
        let error = found.unwrap_err();
        assert!(error.contains("sslnegotiation=direct"), "{error}");
    }
}
