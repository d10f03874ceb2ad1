//! A PgBouncer before the test server.
//!
//! It is found by `SPRINGTIDE_PGBOUNCER`, else in `/usr/sbin` or by `PATH`.
#![allow(dead_code)] // Each test program uses another part of it.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::postgres::{self, Account, Database, skipped};

/// A running PgBouncer; ends when it is dropped.
pub(crate) struct Pooler {
    port: u16,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// Starts one before the server of a database, with settings of the section `[pgbouncer]`; None, with
    /// a line that says so, where the program is not installed.
    pub(crate) async fn start(database: &Database, settings: &[&str]) -> Option<Self> {
        let Some(program) = find_program() else {
            skipped("no PgBouncer (apt install pgbouncer, or set SPRINGTIDE_PGBOUNCER)");
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("pgbouncer.ini");
        // `any` forgets who asks: each database is entered as the test server's superuser.
        let text = format!(
            "[databases]\n* = host={} port={} user={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n{}\n",
            database.socket_folder().display(),
            database.port(),
            postgres::USER,
            settings.join("\n")
        );
        std::fs::write(&config, text).expect("its settings");
        let mut command = match Account::of_the_server() {
            None => Command::new(&program),
            Some(account) => {
                for path in [folder.path(), &config] {
                    std::os::unix::fs::chown(path, Some(account.user), Some(account.group))
                        .expect("giving a file to the pooler's user");
                }
                account.command(&program)
            }
        };
        let child = command
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("PgBouncer starts");
        let pooler = Self {
            port,
            child,
            _folder: folder,
        };
        for _ in 0..1_000 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(pooler);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("PgBouncer does not listen at port {port}");
    }

    /// The URL of a database through it.
    pub(crate) fn url(&self, database: &Database) -> String {
        format!(
            "postgres://{}@127.0.0.1:{}/{}",
            postgres::USER,
            self.port,
            database.name
        )
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find_program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SPRINGTIDE_PGBOUNCER") {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([Path::new("/usr/sbin").to_owned()])
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| program.exists())
}
