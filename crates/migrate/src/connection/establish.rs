//! Opening sessions.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_postgres::tls::NoTls;
use tokio_postgres::{Client, Config};

use super::environment::Environment;
use super::failure::{ConnectionError, QueryError, Reason, causes, reason_of};
use super::files;
use super::pooler;
use super::settings::{HostAddress, SessionAttributes, Settings, SslMode};
use super::tls::{self, Handshake};

/// The limit on one address when the user sets none: nothing waits without end.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A PostgreSQL database that sessions can be opened to. Clones are of one target.
#[derive(Clone, Debug)]
pub struct Target(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    tls: Option<Arc<ClientConfig>>,
    /// Where the last session was opened, so that all of a migration meet one server.
    preferred_host: AtomicU8,
    pooled: AtomicBool,
}

/// One session of PostgreSQL. It ends when it is dropped.
#[derive(Debug)]
pub struct Session {
    client: Client,
    driver: JoinHandle<()>,
    pooled: bool,
    role: String,
}

impl Target {
    /// Reads a connection string, see [`Settings::parse`]. Nothing is connected to yet.
    ///
    /// # Errors
    /// Says what is wrong with the string or with the certificates it names.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, ConnectionError> {
        let settings = Settings::parse(text, environment)?;
        let tls = tls::client_config(&settings)?;
        Ok(Self(Arc::new(Inner {
            settings,
            tls,
            preferred_host: AtomicU8::new(0),
            pooled: AtomicBool::new(false),
        })))
    }

    /// The settings that sessions are opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// The target for messages: database, user and hosts; never the password.
    #[must_use]
    pub fn describe(&self) -> String {
        let hosts: Vec<String> = self
            .0
            .settings
            .hosts
            .iter()
            .map(HostAddress::describe)
            .collect();
        format!(
            "database {:?} as user {:?} at {}",
            self.0.settings.database,
            self.0.settings.user,
            hosts.join(", ")
        )
    }

    /// Opens a session and finds out whether a transaction pooler stands between; to be called once,
    /// before other sessions are opened.
    ///
    /// # Errors
    /// Says why no host could be used, or that the pooler's mode cannot be worked around.
    pub async fn connect_first(&self) -> Result<Session, ConnectionError> {
        let mut first = self.connect().await?;
        let second = self.connect().await?;
        let pooled = pooler::shares_server_process(&first, &second)
            .await
            .map_err(|error| {
                let doing = "asking the server for its processes";
                ConnectionError::Pooler(QueryError::while_doing(doing, &error).message)
            })?;
        if pooled {
            pooler::check(&first, &second, &self.describe())
                .await
                .map_err(ConnectionError::Pooler)?;
        }
        self.0.pooled.store(pooled, Ordering::Relaxed);
        first.pooled = pooled;
        Ok(first)
    }

    /// Opens a session, at the host where the last one was opened if that still answers.
    ///
    /// # Errors
    /// Says why each host could not be used.
    pub async fn connect(&self) -> Result<Session, ConnectionError> {
        let settings = &self.0.settings;
        let count = settings.hosts.len();
        let mut order: Vec<usize> = (0..count).collect();
        let start = usize::from(self.0.preferred_host.load(Ordering::Relaxed));
        let shuffled = if settings.shuffle_hosts {
            std::process::id() as usize
        } else {
            0
        };
        order.rotate_left((start + shuffled) % count);
        // prefer-standby looks for a standby first, then takes anything.
        let wishes: &[SessionAttributes] = match settings.session_attributes {
            SessionAttributes::PreferStandby => {
                &[SessionAttributes::Standby, SessionAttributes::Any]
            }
            ref other => std::slice::from_ref(other),
        };
        let mut failures: Vec<Failure> = Vec::new();
        for wish in wishes {
            failures.clear();
            for &index in &order {
                match self.connect_to(&settings.hosts[index], *wish).await {
                    Ok((client, driver)) => {
                        let preferred = (index + count - shuffled % count) % count;
                        self.0
                            .preferred_host
                            .store(u8::try_from(preferred).unwrap_or(0), Ordering::Relaxed);
                        return Ok(Session {
                            client,
                            driver,
                            pooled: self.0.pooled.load(Ordering::Relaxed),
                            role: settings.user.clone(),
                        });
                    }
                    // As in libpq, a wrong password is wrong for all hosts.
                    Err(failure)
                        if matches!(failure.reason, Reason::Password | Reason::MissingDatabase) =>
                    {
                        failures = vec![failure];
                        break;
                    }
                    Err(failure) => failures.push(failure),
                }
            }
        }
        let reason = failures
            .last()
            .map_or(Reason::Unreachable, |failure| failure.reason);
        let messages: Vec<String> = failures
            .into_iter()
            .map(|failure| failure.message)
            .collect();
        Err(ConnectionError::Failed {
            reason,
            message: messages.join("; "),
        })
    }

    async fn connect_to(
        &self,
        host: &HostAddress,
        wish: SessionAttributes,
    ) -> Result<(Client, JoinHandle<()>), Failure> {
        let limit = self
            .0
            .settings
            .connect_timeout
            .unwrap_or(DEFAULT_CONNECT_TIMEOUT);
        let (config, note) = self.config_for(host);
        let place = host.describe();
        // Modes in which a second attempt without, or with, TLS is made.
        let attempts: &[bool] = match (host, self.0.settings.ssl_mode) {
            (HostAddress::Unix { .. }, _) | (_, SslMode::Disable) => &[false],
            (_, SslMode::Allow) => &[false, true],
            (_, SslMode::Prefer) => &[true, false],
            _ => &[true],
        };
        let mut failure = None;
        for &encrypt in attempts {
            let attempt = tokio::time::timeout(limit, self.attempt(host, &config, encrypt)).await;
            match attempt {
                Ok(Ok(opened)) => {
                    check_session(&opened.0, wish, &place).await?;
                    return Ok(opened);
                }
                Ok(Err(AttemptError::Unreachable(said))) => return Err(unreachable(&place, &said)),
                Ok(Err(AttemptError::Postgres(error))) => {
                    let this = explain(&error, &place, &self.0.settings, note.as_deref());
                    let again = matches!(this.reason, Reason::Tls | Reason::Refused);
                    // That TLS is not to be had says less than what came of doing without.
                    if failure
                        .as_ref()
                        .is_none_or(|earlier: &Failure| earlier.reason == Reason::Tls)
                    {
                        failure = Some(this);
                    }
                    if !again {
                        break;
                    }
                }
                Err(_) => {
                    return Err(unreachable(
                        &place,
                        &format!("no answer within {} s", limit.as_secs()),
                    ));
                }
            }
        }
        Err(failure.unwrap_or_else(|| unreachable(&place, "no attempt was made")))
    }

    /// The session's parameters, and why the passfile was passed over if it was.
    fn config_for(&self, host: &HostAddress) -> (Config, Option<String>) {
        let settings = &self.0.settings;
        let mut config = Config::new();
        config
            .user(&settings.user)
            .dbname(&settings.database)
            .application_name(&settings.application_name)
            .channel_binding(settings.channel_binding);
        if let Some(options) = &settings.options {
            config.options(options);
        }
        let mut note = None;
        let mut password = settings.password.clone();
        if let (None, Some(file)) = (&password, &settings.passfile) {
            let (name, port) = match host {
                HostAddress::Tcp { name, port, .. } => (name.clone(), *port),
                HostAddress::Unix { folder, port }
                    if ["/tmp", "/var/run/postgresql", "/run/postgresql"]
                        .iter()
                        .any(|usual| folder.as_os_str() == *usual) =>
                {
                    ("localhost".to_owned(), *port)
                }
                HostAddress::Unix { folder, port } => {
                    (folder.to_string_lossy().into_owned(), *port)
                }
            };
            match files::password(file, &name, port, &settings.database, &settings.user) {
                Ok(found) => password = found,
                Err(why) => note = Some(why),
            }
        }
        if let Some(password) = password {
            config.password(password);
        }
        (config, note)
    }

    async fn attempt(
        &self,
        host: &HostAddress,
        config: &Config,
        encrypt: bool,
    ) -> Result<(Client, JoinHandle<()>), AttemptError> {
        match host {
            HostAddress::Unix { folder, port } => {
                let path = folder.join(format!(".s.PGSQL.{port}"));
                let stream =
                    if let Some(name) = path.to_str().and_then(|path| path.strip_prefix('@')) {
                        connect_abstract(name).await
                    } else {
                        UnixStream::connect(&path).await
                    };
                let stream =
                    stream.map_err(|error| AttemptError::Unreachable(error.to_string()))?;
                self.start(stream, "localhost", config, false).await
            }
            HostAddress::Tcp {
                name,
                address,
                port,
            } => {
                let stream = match address {
                    Some(address) => TcpStream::connect((*address, *port)).await,
                    None => TcpStream::connect((name.as_str(), *port)).await,
                };
                let stream =
                    stream.map_err(|error| AttemptError::Unreachable(error.to_string()))?;
                set_socket_options(&stream, &self.0.settings)
                    .map_err(|error| AttemptError::Unreachable(error.to_string()))?;
                self.start(stream, name, config, encrypt).await
            }
        }
    }

    async fn start<S>(
        &self,
        stream: S,
        name: &str,
        config: &Config,
        encrypt: bool,
    ) -> Result<(Client, JoinHandle<()>), AttemptError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut config = config.clone();
        match self.0.tls.as_ref().filter(|_| encrypt) {
            Some(tls) => {
                let name = ServerName::try_from(name.to_owned()).map_err(|_| {
                    AttemptError::Unreachable(format!(
                        "{name:?} is no host name that TLS can check"
                    ))
                })?;
                config.ssl_mode(tokio_postgres::config::SslMode::Require);
                if self.0.settings.ssl_direct {
                    config.ssl_negotiation(tokio_postgres::config::SslNegotiation::Direct);
                }
                let handshake = Handshake {
                    config: Arc::clone(tls),
                    name,
                };
                let (client, connection) = config
                    .connect_raw(stream, handshake)
                    .await
                    .map_err(AttemptError::Postgres)?;
                Ok((client, drive(connection)))
            }
            None => {
                config.ssl_mode(tokio_postgres::config::SslMode::Disable);
                let (client, connection) = config
                    .connect_raw(stream, NoTls)
                    .await
                    .map_err(AttemptError::Postgres)?;
                Ok((client, drive(connection)))
            }
        }
    }
}

impl Session {
    /// The role that the session was opened for.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Whether each transaction may run in another server process: settings, prepared statements and
    /// session locks do not last beyond one then.
    #[must_use]
    pub fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// The statements that begin a transaction in which a prepared statement can be made: behind a
    /// pooler, one of the same name may be left from another client. Those that the pooler made under
    /// names of its own stay, since it counts on them.
    #[must_use]
    pub fn begin_with_statements(&self) -> &'static str {
        if self.pooled {
            "BEGIN; DO $$ DECLARE left_over text; BEGIN \
             FOR left_over IN SELECT name FROM pg_prepared_statements WHERE name ~ '^s[0-9]+$' \
             LOOP EXECUTE 'DEALLOCATE ' || left_over; END LOOP; END $$"
        } else {
            "BEGIN"
        }
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

enum AttemptError {
    Unreachable(String),
    Postgres(tokio_postgres::Error),
}

struct Failure {
    reason: Reason,
    message: String,
}

fn drive<S, T>(connection: tokio_postgres::Connection<S, T>) -> JoinHandle<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            // Whoever waits for an answer is told that the session is closed.
            tracing::debug!(%error, "a session of PostgreSQL ended");
        }
    })
}

async fn connect_abstract(name: &str) -> std::io::Result<UnixStream> {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    let stream = std::os::unix::net::UnixStream::connect_addr(&address)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

fn set_socket_options(stream: &TcpStream, settings: &Settings) -> std::io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    if let Some(keepalives) = settings.keepalives {
        sockopt::set_socket_keepalive(stream, true)?;
        if let Some(idle) = keepalives.idle {
            sockopt::set_tcp_keepidle(stream, idle)?;
        }
        if let Some(interval) = keepalives.interval {
            sockopt::set_tcp_keepintvl(stream, interval)?;
        }
        if let Some(count) = keepalives.count {
            sockopt::set_tcp_keepcnt(stream, count)?;
        }
    }
    if let Some(limit) = settings.tcp_user_timeout {
        sockopt::set_tcp_user_timeout(
            stream,
            u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
        )?;
    }
    Ok(())
}

fn unreachable(place: &str, said: &str) -> Failure {
    Failure {
        reason: Reason::Unreachable,
        message: format!(
            "no PostgreSQL answers at {place}: {said}; check host and port, and that the server runs and listens there"
        ),
    }
}

fn explain(
    error: &tokio_postgres::Error,
    place: &str,
    settings: &Settings,
    note: Option<&str>,
) -> Failure {
    let note = note.map(|note| format!(" ({note})")).unwrap_or_default();
    let Some(db) = error.as_db_error() else {
        let said = causes(error);
        if said.contains("password missing") {
            return Failure {
                reason: Reason::Password,
                message: format!(
                    "the server at {place} wants a password for user {:?} and none was given; set PGPASSWORD or add the user to the passfile{note}",
                    settings.user
                ),
            };
        }
        if let Some(message) = tls::explain(error, place, settings) {
            return Failure {
                reason: Reason::Tls,
                message,
            };
        }
        let reason = if said.contains("TLS") {
            Reason::Tls
        } else {
            Reason::Lost
        };
        let message = if said.contains("server does not support TLS") {
            format!(
                "the server at {place} does not offer TLS, and the sslmode asks for it; turn ssl on in postgresql.conf, or use sslmode=disable where the network can be trusted"
            )
        } else if settings.ssl_direct {
            format!(
                "the server at {place} broke off TLS ({said}); sslnegotiation=direct needs PostgreSQL 17 or later: leave it out for an older one"
            )
        } else if said.contains("channel binding") {
            format!(
                "the login at {place} cannot be bound to the TLS channel ({said}), which channel_binding=require asks for: that takes TLS and a password kept as scram-sha-256; leave the option out, or use sslmode=verify-full"
            )
        } else {
            format!(
                "what answers at {place} broke off the login: {said}; check that it is a PostgreSQL server"
            )
        };
        return Failure { reason, message };
    };
    let said = db.message();
    let reason = reason_of(db.code());
    let message = match reason {
        Reason::Password => format!(
            "the password for user {:?} is wrong at {place}: {said}{note}; check the URL, PGPASSWORD or the passfile",
            settings.user
        ),
        Reason::MissingDatabase => format!(
            "there is no database {0:?} at {place}; create it with: createdb {0}",
            settings.database
        ),
        Reason::Refused if said.contains("client certificate") => format!(
            "the server at {place} asks user {:?} for a certificate: {said}; name it with sslcert and its key with sslkey",
            settings.user
        ),
        Reason::Refused => format!(
            "the server at {place} does not let user {:?} in: {said}{note}; see pg_hba.conf there",
            settings.user
        ),
        Reason::Busy => format!(
            "the server at {place} takes no session now: {said}; try again, or raise max_connections"
        ),
        Reason::Permission => format!(
            "user {:?} may not use database {:?} at {place}: {said}",
            settings.user, settings.database
        ),
        _ if said.contains("unsupported startup parameter") => format!(
            "the pooler at {place} takes no such connection option: {said}; leave it out, or add it to ignore_startup_parameters in pgbouncer.ini"
        ),
        _ => format!(
            "the login at {place} failed: {said} (SQLSTATE {})",
            db.code().code()
        ),
    };
    Failure { reason, message }
}

async fn check_session(
    client: &Client,
    wish: SessionAttributes,
    place: &str,
) -> Result<(), Failure> {
    if wish == SessionAttributes::Any {
        return Ok(());
    }
    let asked = client
        .query_typed_one(
            "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'",
            &[],
        )
        .await
        .and_then(|row| Ok((row.try_get::<_, bool>(0)?, row.try_get::<_, bool>(1)?)));
    let (recovery, read_only) = asked.map_err(|error| Failure {
        reason: Reason::Lost,
        message: format!("the server at {place} does not say what it is: {error}"),
    })?;
    let (fits, wanted) = match wish {
        SessionAttributes::Any | SessionAttributes::PreferStandby => (true, ""),
        SessionAttributes::ReadWrite => (!read_only, "one that takes writes"),
        SessionAttributes::ReadOnly => (read_only, "a read-only one"),
        SessionAttributes::Primary => (!recovery, "a primary"),
        SessionAttributes::Standby => (recovery, "a standby"),
    };
    if fits {
        return Ok(());
    }
    Err(Failure {
        reason: Reason::WrongServer,
        message: format!(
            "the server at {place} is not {wanted}, which target_session_attrs asks for"
        ),
    })
}
