//! A PostgreSQL server for tests: one a test program, a database a test.
//!
//! The programs are found by `SPRINGTIDE_PG_BIN`, else in the newest `/usr/lib/postgresql/*/bin`,
//! else by `PATH`. The server runs in a temporary folder, as an ordinary user (it refuses root), on
//! a Unix socket and a free loopback port. A shell holds it: it reads a pipe whose other end only
//! the test program has, so that the server ends and its folder goes however the test ends.
#![allow(dead_code)] // Each test program uses another part of it.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The superuser of the test server.
pub(crate) const USER: &str = "springtide";
/// Its password, which the loopback port asks for and the socket does not.
pub(crate) const PASSWORD: &str = "high water";
/// The password as a URL writes it.
pub(crate) const PASSWORD_IN_URL: &str = "high%20water";

static SHARED: OnceLock<Option<Server>> = OnceLock::new();
static NEXT_DATABASE: AtomicU32 = AtomicU32::new(1);

/// Makes an empty database on the server all tests of this program share; None, with a line that
/// says so, where there is no PostgreSQL.
pub(crate) fn database() -> Option<Database> {
    let server = SHARED.get_or_init(|| {
        let programs = programs()?;
        Some(Server::start(&programs, &Setup::default()).expect("the PostgreSQL server starts"))
    });
    server.as_ref().map(Server::database)
}

/// Says on the terminal, past the harness's capture, that a test was not run.
pub(crate) fn skipped(reason: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(format!("skipped: {reason}\n").as_bytes());
}

/// The folder of `postgres`, `initdb` and `psql`; None, with a line that says so, without them.
pub(crate) fn programs() -> Option<PathBuf> {
    let found = find_programs();
    if found.is_none() {
        skipped("no PostgreSQL server programs (apt install postgresql, or set SPRINGTIDE_PG_BIN)");
    }
    found
}

fn find_programs() -> Option<PathBuf> {
    let has_server = |folder: &Path| {
        ["postgres", "initdb", "pg_ctl", "psql"]
            .iter()
            .all(|name| folder.join(name).exists())
    };
    if let Some(folder) = std::env::var_os("SPRINGTIDE_PG_BIN") {
        let folder = PathBuf::from(folder);
        return has_server(&folder).then_some(folder);
    }
    let mut installed: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, folder)| has_server(folder))
        .collect();
    installed.sort();
    if let Some((_, newest)) = installed.pop() {
        return Some(newest);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).find(|folder| has_server(folder))
}

/// What a server is started with, beside what all are.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// Settings, each `name=value`; `FOLDER` in them is the server's folder.
    pub(crate) settings: &'a [&'a str],
    /// Names and contents of files in the server's folder that only its user can read.
    pub(crate) files: &'a [(&'a str, &'a str)],
}

/// A running server.
pub(crate) struct Server {
    /// Where its programs are.
    pub(crate) programs: PathBuf,
    /// The loopback port, which asks for [`PASSWORD`].
    pub(crate) port: u16,
    /// The folder of its Unix socket, which asks for none.
    pub(crate) socket_folder: PathBuf,
    /// Its data and socket; removed by the shell that holds the server.
    pub(crate) folder: PathBuf,
    /// The programs where the server's user can reach them.
    reachable: PathBuf,
    _held_while_open: ChildStdin,
}

impl Server {
    /// Starts a server.
    pub(crate) fn start(programs: &Path, setup: &Setup<'_>) -> Result<Self, String> {
        let mut last_error = String::new();
        // Another program may take the free port between its finding and its use.
        for _ in 0..5 {
            match Self::try_start(programs, setup) {
                Ok(server) => return Ok(server),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    fn try_start(programs: &Path, setup: &Setup<'_>) -> Result<Self, String> {
        let describe = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| format!("{what}: {error}")
        };
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(describe("finding a free port"))?
            .port();
        // Sockets' names are limited to 107 bytes: a short folder.
        let folder = tempfile::Builder::new()
            .prefix("tide-pg-")
            .tempdir()
            .map_err(describe("making a folder"))?
            .keep();
        let account = Account::of_the_server();
        let give = |path: &Path| match &account {
            Some(account) => {
                std::os::unix::fs::chown(path, Some(account.user), Some(account.group))
                    .map_err(describe("giving a file to the server's user"))
            }
            None => Ok(()),
        };
        give(&folder)?;
        let reachable = match &account {
            Some(account) if !account.can_run(&programs.join("postgres")) => {
                copy_programs(programs, &folder, account)?
            }
            _ => programs.to_owned(),
        };
        for (name, content) in setup.files {
            let path = folder.join(name);
            std::fs::write(&path, content).map_err(describe("writing a file of the server"))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
                .map_err(describe("closing a file of the server"))?;
            give(&path)?;
        }
        let mut options = format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={} \
             -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
             -c max_connections=200 -c max_wal_size=4GB -c autovacuum_naptime=10",
            folder.display()
        );
        for setting in setup.settings {
            options.push_str(" -c ");
            options.push_str(&setting.replace("FOLDER", &folder.display().to_string()));
        }
        let script = "\
            cd \"$FOLDER\" || exit 1
            trap '' INT TERM HUP
            printf %s \"$PASSWORD\" > password
            if \"$PROGRAMS/initdb\" -D data -U \"$SERVER_USER\" --pwfile=password -E UTF8 \
                   --locale=C.UTF-8 --auth-local=trust --auth-host=scram-sha-256 > initdb.log 2>&1 &&
               \"$PROGRAMS/pg_ctl\" -D data -l server.log -o \"$OPTIONS\" -t 120 -w start > start.log 2>&1
            then echo ready; cat > /dev/null
            else cat initdb.log start.log server.log 2> /dev/null | tr '\\n' ' '; echo
            fi
            \"$PROGRAMS/pg_ctl\" -D data -m immediate -w stop > /dev/null 2>&1
            cd / && rm -rf \"$FOLDER\"";
        let mut command = match &account {
            None => Command::new("sh"),
            Some(account) => account.command("sh"),
        };
        let mut shell = command
            .args(["-c", script])
            .env("FOLDER", &folder)
            .env("PROGRAMS", &reachable)
            .env("PASSWORD", PASSWORD)
            .env("SERVER_USER", USER)
            .env("OPTIONS", options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(describe("starting the shell that holds the server"))?;
        let stdin = shell.stdin.take().ok_or("the shell has no input")?;
        let stdout = shell.stdout.take().ok_or("the shell has no output")?;
        let mut answer = String::new();
        BufReader::new(stdout)
            .read_line(&mut answer)
            .map_err(describe("waiting for the server"))?;
        if answer.trim() != "ready" {
            return Err(format!(
                "the PostgreSQL server did not start: {}",
                answer.trim()
            ));
        }
        Ok(Self {
            programs: programs.to_owned(),
            port,
            socket_folder: folder.clone(),
            folder,
            reachable,
            _held_while_open: stdin,
        })
    }

    /// Ends the server as a crash would, and starts it again; after `between`.
    pub(crate) fn restart(&self, between: impl FnOnce()) {
        self.control(&["-m", "immediate", "stop"]);
        between();
        self.control(&["-l", "server.log", "-t", "120", "-w", "start"]);
    }

    /// Starts the server again as one that only repeats what another does, and takes no writes.
    pub(crate) fn become_standby(&self) {
        self.control(&["-m", "fast", "stop"]);
        std::fs::write(self.folder.join("data/standby.signal"), "").expect("a file of the server");
        self.control(&["-l", "server.log", "-t", "120", "-w", "start"]);
    }

    fn control(&self, arguments: &[&str]) {
        let program = self.reachable.join("pg_ctl");
        let mut command = match Account::of_the_server() {
            None => Command::new(program),
            Some(account) => account.command(program),
        };
        // What the server was started with stands beside its data.
        let options = std::fs::read_to_string(self.folder.join("data/postmaster.opts"));
        let options = options.expect("the server's options");
        let (_, options) = options.split_once(' ').expect("a program and its options");
        command.args(["-D", "data"]).args(arguments);
        if arguments.contains(&"start") {
            command.args(["-o", options.trim_end()]);
        }
        let output = command
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("pg_ctl runs");
        assert!(output.success(), "pg_ctl {arguments:?}: {output}");
    }

    /// Makes an empty database of its own.
    pub(crate) fn database(&self) -> Database {
        let name = format!("test_{}", NEXT_DATABASE.fetch_add(1, Ordering::Relaxed));
        let database = |name: &str| Database {
            name: name.to_owned(),
            programs: self.programs.clone(),
            port: self.port,
            socket_folder: self.socket_folder.clone(),
        };
        database("postgres").sql(&format!("CREATE DATABASE {name}"));
        database(&name)
    }
}

/// Copies the programs, with the libraries and files beside them, to where the server's user can
/// reach them.
fn copy_programs(programs: &Path, to: &Path, owner: &Account) -> Result<PathBuf, String> {
    let whole = programs.parent().ok_or("the programs are in no folder")?;
    let copy = to.join("programs");
    let run = |command: &mut Command| match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("copying {}: {status}", whole.display())),
        Err(error) => Err(format!("copying {}: {error}", whole.display())),
    };
    run(Command::new("cp").arg("-rL").args([whole, copy.as_path()]))?;
    // They go with the server, removed by its user.
    let owner = format!("{}:{}", owner.user, owner.group);
    run(Command::new("chown").args(["-R", &owner]).arg(&copy))?;
    Ok(copy.join("bin"))
}

/// The ordinary user a server runs as when the test is root.
pub(crate) struct Account {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

impl Account {
    pub(crate) fn of_the_server() -> Option<Self> {
        let id = |arguments: &[&str]| {
            let output = Command::new("id").args(arguments).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            text.trim().parse::<u32>().ok()
        };
        if id(&["-u"]) != Some(0) {
            return None;
        }
        ["postgres", "nobody"].iter().find_map(|name| {
            Some(Self {
                user: id(&["-u", name])?,
                group: id(&["-g", name])?,
            })
        })
    }

    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={}", self.user))
            .arg(format!("--regid={}", self.group))
            .args(["--clear-groups", "--"])
            .arg(program);
        command
    }

    fn can_run(&self, program: &Path) -> bool {
        let looked = self.command("test").arg("-x").arg(program).status();
        looked.is_ok_and(|status| status.success())
    }
}

/// One test's database.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// Its name on the server.
    pub(crate) name: String,
    programs: PathBuf,
    port: u16,
    socket_folder: PathBuf,
}

impl Database {
    /// The URL over the loopback port, with the password.
    pub(crate) fn url(&self) -> String {
        format!(
            "postgres://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{}/{}",
            self.port, self.name
        )
    }

    /// The URL over the Unix socket, which needs no password.
    pub(crate) fn socket_url(&self) -> String {
        let folder = self.socket_folder.display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{folder}:{}/{}", self.port, self.name)
    }

    /// The loopback port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The folder of the Unix socket.
    pub(crate) fn socket_folder(&self) -> &Path {
        &self.socket_folder
    }

    /// `psql`, with this database and no start-up file, as a command to add to.
    pub(crate) fn psql(&self) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h"])
            .arg(&self.socket_folder)
            .args(["-p", &self.port.to_string(), "-U", USER, "-d", &self.name])
            .env("PGCLIENTENCODING", "UTF8");
        command
    }

    /// What `psql` prints for these statements: a line a row, columns parted by `|`, without a
    /// heading. Panics with the server's words when a statement fails.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.try_sql(statements)
            .unwrap_or_else(|error| panic!("{statements}: {error}"))
    }

    /// As [`Self::sql`], with the server's words as the error.
    pub(crate) fn try_sql(&self, statements: &str) -> Result<String, String> {
        let arguments: [OsString; 3] = ["-At".into(), "-c".into(), statements.into()];
        let output = self
            .psql()
            .args(arguments)
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            let text = String::from_utf8_lossy(&output.stdout);
            Ok(text.trim_end_matches('\n').to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}
