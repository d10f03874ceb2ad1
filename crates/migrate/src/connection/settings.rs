//! What a connection string, the environment and the service file say together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::environment::Environment;
use super::failure::ConnectionError;
use super::files;
use super::secret::without_passwords;
use super::string::{parse_keywords, parse_url};

/// Everything that a connection needs to know.
#[derive(Clone)]
pub struct Settings {
    /// The hosts to try, in order; never empty.
    pub hosts: Vec<HostAddress>,
    /// The user to log in as.
    pub user: String,
    /// The database.
    pub database: String,
    /// The password; where none is given the passfile is asked for each host.
    pub password: Option<String>,
    /// The file of passwords, and whether it was named by the user (then it must exist).
    pub passfile: Option<PathBuf>,
    /// How much the connection is protected.
    pub ssl_mode: SslMode,
    /// Certificates of the authorities to trust; `system` for those of the operating system.
    pub ssl_root_certificate: Option<String>,
    /// The client's certificate.
    pub ssl_certificate: Option<PathBuf>,
    /// The key of the client's certificate.
    pub ssl_key: Option<PathBuf>,
    /// Whether the server's name is sent in the TLS handshake.
    pub ssl_server_name: bool,
    /// Whether TLS begins at once, without PostgreSQL's request for it (17 and later).
    pub ssl_direct: bool,
    /// The lowest and highest TLS version allowed, as 12 or 13.
    pub tls_versions: (u8, u8),
    /// Whether the login must be bound to the TLS channel.
    pub channel_binding: tokio_postgres::config::ChannelBinding,
    /// What sort of server will do.
    pub session_attributes: SessionAttributes,
    /// The limit on connecting to one address.
    pub connect_timeout: Option<Duration>,
    /// The limit on unacknowledged data.
    pub tcp_user_timeout: Option<Duration>,
    /// Idle time before the first keepalive probe, its interval and count; none when turned off.
    pub keepalives: Option<Keepalives>,
    /// `options`: command line options of the server process.
    pub options: Option<String>,
    /// The name shown in `pg_stat_activity`.
    pub application_name: String,
    /// Whether hosts are tried in a random order.
    pub shuffle_hosts: bool,
    /// What was passed over, each a sentence for the user.
    pub notes: Vec<String>,
}

/// TCP keepalive; unset values are the system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keepalives {
    /// Idle time before the first probe.
    pub idle: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
    /// Lost probes after which the connection is given up.
    pub count: Option<u32>,
}

/// Where one server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostAddress {
    /// A host name or address.
    Tcp {
        /// The name, which certificates and the passfile are checked against.
        name: String,
        /// The address to use instead of looking up the name (`hostaddr`).
        address: Option<IpAddr>,
        /// The port.
        port: u16,
    },
    /// The folder of a Unix socket; the port is part of the socket's name.
    Unix {
        /// The folder.
        folder: PathBuf,
        /// The port.
        port: u16,
    },
}

impl HostAddress {
    /// As a user would write it.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Tcp {
                name,
                address: Some(address),
                port,
            } if name != &address.to_string() => format!("{name} ({address}) port {port}"),
            Self::Tcp { name, port, .. } => format!("{name} port {port}"),
            Self::Unix { folder, port } => {
                format!("the socket {}/.s.PGSQL.{port}", folder.display())
            }
        }
    }
}

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS only when the server insists.
    Allow,
    /// TLS when the server has it.
    Prefer,
    /// TLS or nothing; the certificate is checked only where authorities are named.
    Require,
    /// TLS with a certificate of a trusted authority.
    VerifyCa,
    /// TLS with a certificate of a trusted authority for the host's name.
    VerifyFull,
}

/// libpq's `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionAttributes {
    /// Any server.
    Any,
    /// One that takes writes.
    ReadWrite,
    /// One that takes none.
    ReadOnly,
    /// One that is not in recovery.
    Primary,
    /// One in recovery.
    Standby,
    /// One in recovery if there is one, else any.
    PreferStandby,
}

/// The options libpq knows, with the environment variable of each. What is known and cannot be
/// honoured is refused by [`Settings::from_options`].
const OPTIONS: &[(&str, &str)] = &[
    ("service", "PGSERVICE"),
    ("servicefile", "PGSERVICEFILE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("dbname", "PGDATABASE"),
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("client_encoding", "PGCLIENTENCODING"),
    ("options", "PGOPTIONS"),
    ("application_name", "PGAPPNAME"),
    ("fallback_application_name", ""),
    ("keepalives", ""),
    ("keepalives_idle", ""),
    ("keepalives_interval", ""),
    ("keepalives_count", ""),
    ("tcp_user_timeout", ""),
    ("sslmode", "PGSSLMODE"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslcompression", "PGSSLCOMPRESSION"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslcertmode", "PGSSLCERTMODE"),
    ("sslpassword", ""),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcrl", "PGSSLCRL"),
    ("sslcrldir", "PGSSLCRLDIR"),
    ("sslsni", "PGSSLSNI"),
    ("requirepeer", "PGREQUIREPEER"),
    ("require_auth", "PGREQUIREAUTH"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ("min_protocol_version", "PGMINPROTOCOLVERSION"),
    ("max_protocol_version", "PGMAXPROTOCOLVERSION"),
    ("gssencmode", "PGGSSENCMODE"),
    ("krbsrvname", "PGKRBSRVNAME"),
    ("gsslib", "PGGSSLIB"),
    ("gssdelegation", "PGGSSDELEGATION"),
    ("replication", ""),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
];

/// Options that change who may be talked to and that this program does not have: leaving them out
/// would make a connection less safe than was asked for.
const REFUSED: &[&str] = &[
    "sslpassword",
    "sslcrl",
    "sslcrldir",
    "requirepeer",
    "require_auth",
    "replication",
];

pub(super) type Options = BTreeMap<String, String>;

impl Settings {
    /// Reads a connection string: a URL (`postgres://` or `postgresql://`) or libpq's keywords
    /// (`host=db user=me`). What it does not say comes from the service, then the environment, then
    /// libpq's defaults.
    ///
    /// # Errors
    /// Says which option is wrong, unknown, or cannot be honoured.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, ConnectionError> {
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        let mut options = if is_url {
            parse_url(text)?
        } else if names_another_kind(text) {
            return Err(invalid(format!(
                "'{}' is no URL of PostgreSQL; write postgres://USER@HOST/DATABASE, such as postgres://app@localhost/app, or keywords, such as 'host=localhost dbname=app'",
                without_passwords(text)
            )));
        } else {
            parse_keywords(text)?
        };
        let from_environment: Options = OPTIONS
            .iter()
            .filter_map(|(option, variable)| {
                Some(((*option).to_owned(), environment.get(variable)?.to_owned()))
            })
            .collect();
        let service = options
            .get("service")
            .or_else(|| from_environment.get("service"))
            .cloned();
        if let Some(service) = service {
            let named = options
                .get("servicefile")
                .or_else(|| from_environment.get("servicefile"))
                .cloned();
            let of_service = files::read_service(&service, named.as_deref(), environment)?;
            for (option, value) in of_service {
                check_known(&option)?;
                options.entry(option).or_insert(value);
            }
        }
        for (option, value) in from_environment {
            options.entry(option).or_insert(value);
        }
        Self::from_options(&options, environment)
    }

    fn from_options(options: &Options, environment: &Environment) -> Result<Self, ConnectionError> {
        let get = |name: &str| {
            options
                .get(name)
                .map(String::as_str)
                .filter(|value| !value.is_empty())
        };
        if let Some(refused) = REFUSED.iter().find(|name| get(name).is_some()) {
            return Err(invalid(format!(
                "the connection option {refused} is not supported; leave it out, or connect through a proxy that honours it"
            )));
        }
        if get("gssencmode") == Some("require") {
            return Err(invalid("gssencmode=require is not supported: GSSAPI encryption is not built in; use sslmode=verify-full instead".to_owned()));
        }
        if let Some(encoding) = get("client_encoding")
            && !["utf8", "utf-8", "unicode", "auto"]
                .contains(&encoding.to_ascii_lowercase().as_str())
        {
            return Err(invalid(format!(
                "client_encoding={encoding} is not supported: SQLite's text travels as UTF8; leave the option out"
            )));
        }
        let mut notes = Vec::new();
        let home_file = |name: &str| environment.home.as_ref().map(|home| home.join(name));
        let user = get("user").map(str::to_owned).or_else(|| environment.user.clone()).ok_or_else(|| {
            invalid("no user is named and the system does not know who runs this program; add user=NAME to the connection string".to_owned())
        })?;
        let database = get("dbname").unwrap_or(&user).to_owned();
        let ssl_root_certificate = get("sslrootcert").map(str::to_owned).or_else(|| {
            home_file(".postgresql/root.crt")
                .filter(|path| path.exists())
                .map(|path| path.to_string_lossy().into_owned())
        });
        let from_system = ssl_root_certificate.as_deref() == Some("system");
        let default_mode = if from_system {
            SslMode::VerifyFull
        } else {
            SslMode::Prefer
        };
        let ssl_mode = match get("sslmode") {
            None => default_mode,
            Some("disable") => SslMode::Disable,
            Some("allow") => SslMode::Allow,
            Some("prefer") => SslMode::Prefer,
            Some("require") => SslMode::Require,
            Some("verify-ca") => SslMode::VerifyCa,
            Some("verify-full") => SslMode::VerifyFull,
            Some(other) => {
                return Err(bad_value(
                    "sslmode",
                    other,
                    "disable, allow, prefer, require, verify-ca or verify-full",
                ));
            }
        };
        if from_system && ssl_mode != SslMode::VerifyFull {
            return Err(invalid("sslrootcert=system needs sslmode=verify-full: with weaker modes anyone who has any certificate could answer".to_owned()));
        }
        let client_certificates = match get("sslcertmode") {
            None | Some("allow") => true,
            Some("disable") => false,
            Some("require") if get("sslcert").is_some() => true,
            Some("require") => {
                return Err(invalid(
                    "sslcertmode=require needs sslcert and sslkey".to_owned(),
                ));
            }
            Some(other) => {
                return Err(bad_value("sslcertmode", other, "disable, allow or require"));
            }
        };
        let ssl_certificate = get("sslcert")
            .map(PathBuf::from)
            .or_else(|| home_file(".postgresql/postgresql.crt").filter(|path| path.exists()));
        let ssl_key = get("sslkey")
            .map(PathBuf::from)
            .or_else(|| home_file(".postgresql/postgresql.key").filter(|path| path.exists()));
        if get("sslcompression") == Some("1") {
            notes.push(
                "sslcompression=1 has no effect: no supported server compresses TLS".to_owned(),
            );
        }
        let ssl_direct = match get("sslnegotiation") {
            None | Some("postgres") => false,
            Some("direct") if ssl_mode >= SslMode::Require => true,
            Some("direct") => {
                return Err(invalid(
                    "sslnegotiation=direct needs sslmode=require or stronger".to_owned(),
                ));
            }
            Some(other) => return Err(bad_value("sslnegotiation", other, "postgres or direct")),
        };
        let channel_binding = match get("channel_binding") {
            None | Some("prefer") => tokio_postgres::config::ChannelBinding::Prefer,
            Some("disable") => tokio_postgres::config::ChannelBinding::Disable,
            Some("require") => tokio_postgres::config::ChannelBinding::Require,
            Some(other) => {
                return Err(bad_value(
                    "channel_binding",
                    other,
                    "disable, prefer or require",
                ));
            }
        };
        let session_attributes = match get("target_session_attrs") {
            None | Some("any") => SessionAttributes::Any,
            Some("read-write") => SessionAttributes::ReadWrite,
            Some("read-only") => SessionAttributes::ReadOnly,
            Some("primary") => SessionAttributes::Primary,
            Some("standby") => SessionAttributes::Standby,
            Some("prefer-standby") => SessionAttributes::PreferStandby,
            Some(other) => {
                return Err(bad_value(
                    "target_session_attrs",
                    other,
                    "any, read-write, read-only, primary, standby or prefer-standby",
                ));
            }
        };
        let seconds = |name: &str| -> Result<Option<Duration>, ConnectionError> {
            Ok(whole_number(name, get(name))?
                .filter(|&value| value > 0)
                .map(Duration::from_secs))
        };
        let keepalives = if whole_number("keepalives", get("keepalives"))?.unwrap_or(1) == 0 {
            None
        } else {
            Some(Keepalives {
                idle: seconds("keepalives_idle")?,
                interval: seconds("keepalives_interval")?,
                count: whole_number("keepalives_count", get("keepalives_count"))?
                    .filter(|&count| count > 0)
                    .map(|count| count.min(127) as u32),
            })
        };
        let shuffle_hosts = match get("load_balance_hosts") {
            None | Some("disable") => false,
            Some("random") => true,
            Some(other) => return Err(bad_value("load_balance_hosts", other, "disable or random")),
        };
        Ok(Self {
            hosts: hosts(get("host"), get("hostaddr"), get("port"))?,
            user,
            database,
            password: get("password").map(str::to_owned),
            passfile: get("passfile")
                .map(PathBuf::from)
                .or_else(|| home_file(".pgpass")),
            ssl_mode,
            ssl_root_certificate,
            ssl_certificate: ssl_certificate.filter(|_| client_certificates),
            ssl_key: ssl_key.filter(|_| client_certificates),
            ssl_server_name: get("sslsni") != Some("0"),
            ssl_direct,
            tls_versions: (
                tls_version("ssl_min_protocol_version", get("ssl_min_protocol_version"))?
                    .unwrap_or(12),
                tls_version("ssl_max_protocol_version", get("ssl_max_protocol_version"))?
                    .unwrap_or(13),
            ),
            channel_binding,
            session_attributes,
            // libpq takes a limit of one second for two.
            connect_timeout: seconds("connect_timeout")?
                .map(|limit| limit.max(Duration::from_secs(2))),
            tcp_user_timeout: whole_number("tcp_user_timeout", get("tcp_user_timeout"))?
                .filter(|&value| value > 0)
                .map(Duration::from_millis),
            keepalives,
            options: get("options").map(str::to_owned),
            application_name: get("application_name")
                .or_else(|| get("fallback_application_name"))
                .unwrap_or("tide migrate")
                .to_owned(),
            shuffle_hosts,
            notes,
        })
    }
}

/// Never shows the password.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("database", &self.database)
            .field("ssl_mode", &self.ssl_mode)
            .finish_non_exhaustive()
    }
}

/// Whether a text is the URL of something else, or the name of a source: as keywords it would be
/// the name of a database.
fn names_another_kind(text: &str) -> bool {
    let is_scheme = |scheme: &str| {
        !scheme.is_empty()
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.:".contains(&byte))
    };
    text.starts_with("sqlite:")
        || text
            .split_once("://")
            .is_some_and(|(scheme, _)| is_scheme(scheme))
}

pub(super) fn invalid(message: String) -> ConnectionError {
    ConnectionError::Settings(message)
}

fn bad_value(option: &str, value: &str, allowed: &str) -> ConnectionError {
    invalid(format!(
        "{option}={value} is not understood; it can be {allowed}"
    ))
}

pub(super) fn check_known(option: &str) -> Result<(), ConnectionError> {
    if OPTIONS.iter().any(|(known, _)| *known == option) {
        return Ok(());
    }
    Err(invalid(format!(
        "the connection option {option:?} is unknown; the options are those of libpq, such as host, port, dbname, user and sslmode"
    )))
}

fn whole_number(option: &str, value: Option<&str>) -> Result<Option<u64>, ConnectionError> {
    let Some(value) = value else { return Ok(None) };
    match value.trim().parse::<i64>() {
        Ok(number) => Ok(Some(u64::try_from(number).unwrap_or(0))),
        Err(_) => Err(bad_value(option, value, "a whole number")),
    }
}

fn tls_version(option: &str, value: Option<&str>) -> Result<Option<u8>, ConnectionError> {
    match value {
        None => Ok(None),
        // Versions before 1.2 are not built in; as a lower bound they ask for nothing.
        Some("TLSv1" | "TLSv1.1") if option == "ssl_min_protocol_version" => Ok(None),
        Some("TLSv1.2") => Ok(Some(12)),
        Some("TLSv1.3") => Ok(Some(13)),
        Some(other) => Err(bad_value(option, other, "TLSv1.2 or TLSv1.3")),
    }
}

/// Puts hosts, addresses and ports together as libpq does: as many of each as of the longest list, or
/// one port for all.
fn hosts(
    host: Option<&str>,
    address: Option<&str>,
    port: Option<&str>,
) -> Result<Vec<HostAddress>, ConnectionError> {
    let list = |text: Option<&str>| {
        text.map(|text| {
            text.split(',')
                .map(|item| item.trim().to_owned())
                .collect::<Vec<_>>()
        })
    };
    let (names, addresses, ports) = (
        list(host),
        list(address),
        list(port).unwrap_or_else(|| vec![String::new()]),
    );
    if let (Some(names), Some(addresses)) = (&names, &addresses)
        && names.len() != addresses.len()
    {
        return Err(invalid(format!(
            "host names {} servers and hostaddr {}; they must be as many",
            names.len(),
            addresses.len()
        )));
    }
    let count = names.as_ref().or(addresses.as_ref()).map_or(1, Vec::len);
    if ports.len() != 1 && ports.len() != count {
        return Err(invalid(format!(
            "port lists {} numbers for {count} hosts; give one for all or one for each",
            ports.len()
        )));
    }
    (0..count)
        .map(|index| {
            let port = ports.get(index).unwrap_or(&ports[0]);
            let port = match port.as_str() {
                "" => 5432,
                text => text
                    .parse()
                    .ok()
                    .filter(|&number: &u16| number > 0)
                    .ok_or_else(|| bad_value("port", text, "a number from 1 to 65535"))?,
            };
            let name = names.as_ref().map_or("", |names| names[index].as_str());
            let address = addresses
                .as_ref()
                .map(|addresses| addresses[index].as_str())
                .filter(|text| !text.is_empty());
            let address = match address {
                Some(text) => Some(
                    text.parse::<IpAddr>()
                        .map_err(|_| bad_value("hostaddr", text, "an IP address"))?,
                ),
                None => None,
            };
            if address.is_none()
                && (name.is_empty() || name.starts_with('/') || name.starts_with('@'))
            {
                let folder = if name.is_empty() {
                    default_socket_folder()
                } else {
                    PathBuf::from(name)
                };
                return Ok(HostAddress::Unix { folder, port });
            }
            let name = if name.is_empty() {
                address
                    .map(|address| address.to_string())
                    .unwrap_or_default()
            } else {
                name.to_owned()
            };
            Ok(HostAddress::Tcp {
                name,
                address,
                port,
            })
        })
        .collect()
}

/// Distributions of Linux put the socket into /var/run/postgresql, PostgreSQL itself into /tmp.
fn default_socket_folder() -> PathBuf {
    let usual = PathBuf::from("/var/run/postgresql");
    if usual.is_dir() {
        usual
    } else {
        PathBuf::from("/tmp")
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
