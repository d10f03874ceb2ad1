use std::os::unix::fs::PermissionsExt;

use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment {
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        home: None,
        user: Some("someone".to_owned()),
    }
}

fn parse(text: &str) -> Settings {
    Settings::parse(text, &environment(&[])).unwrap()
}

fn refusal(text: &str) -> String {
    Settings::parse(text, &environment(&[]))
        .unwrap_err()
        .to_string()
}

fn tcp(name: &str, port: u16) -> HostAddress {
    HostAddress::Tcp {
        name: name.to_owned(),
        address: None,
        port,
    }
}

#[test]
fn a_url_says_all_that_libpq_reads_from_it() {
    let settings = parse(
        "postgresql://me:p%40ss%2Fword@db.example:6543/my%20base?sslmode=verify-full&application_name=x+y&connect_timeout=1",
    );
    assert_eq!(settings.hosts, [tcp("db.example", 6543)]);
    assert_eq!(
        (settings.user.as_str(), settings.password.as_deref()),
        ("me", Some("p@ss/word"))
    );
    assert_eq!(
        (
            settings.database.as_str(),
            settings.application_name.as_str()
        ),
        ("my base", "x+y")
    );
    assert_eq!(settings.ssl_mode, SslMode::VerifyFull);
    assert_eq!(settings.connect_timeout, Some(Duration::from_secs(2)));
}

#[test]
fn hosts_can_be_several_addresses_and_sockets() {
    assert_eq!(
        parse("postgres://a,b:1,[::1]:2/x").hosts,
        [tcp("a", 5432), tcp("b", 1), tcp("::1", 2)]
    );
    let socket = HostAddress::Unix {
        folder: PathBuf::from("/run/pg"),
        port: 5433,
    };
    assert_eq!(
        parse("postgres://%2Frun%2Fpg:5433/x").hosts,
        std::slice::from_ref(&socket)
    );
    assert_eq!(
        parse("postgres:///x?host=/run/pg&port=5433").hosts,
        [socket]
    );
    let with_address = parse("host=db.example hostaddr=10.0.0.7 port=5433");
    assert_eq!(
        with_address.hosts,
        [HostAddress::Tcp {
            name: "db.example".to_owned(),
            address: Some([10, 0, 0, 7].into()),
            port: 5433
        }]
    );
    assert_eq!(parse("host=a,b port=7").hosts, [tcp("a", 7), tcp("b", 7)]);
    assert!(matches!(
        parse("dbname=x").hosts[..],
        [HostAddress::Unix { port: 5432, .. }]
    ));
}

#[test]
fn keywords_can_be_quoted_and_escaped() {
    let settings = parse(r"host = a user='it\'s' dbname='a \'b\' c' password=x\ y");
    assert_eq!(settings.database, "a 'b' c");
    assert_eq!(settings.password.as_deref(), Some("x y"));
    assert_eq!(parse("justaname").database, "justaname");
}

#[test]
fn user_and_database_have_libpqs_defaults() {
    let settings = parse("host=a");
    assert_eq!(
        (settings.user.as_str(), settings.database.as_str()),
        ("someone", "someone")
    );
    assert_eq!(settings.ssl_mode, SslMode::Prefer);
}

#[test]
fn the_string_wins_over_the_service_and_the_service_over_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services");
    std::fs::write(
        &file,
        "# ours\n[other]\nuser=no\n\n[prod]\nhost=from.service\nuser=service\ndbname=base\n",
    )
    .unwrap();
    let variables = [
        ("PGSERVICEFILE", file.to_str().unwrap()),
        ("PGUSER", "env"),
        ("PGPORT", "77"),
        ("PGHOST", "from.env"),
    ];
    let settings = Settings::parse("service=prod dbname=mine", &environment(&variables)).unwrap();
    assert_eq!(settings.hosts, [tcp("from.service", 77)]);
    assert_eq!(
        (settings.user.as_str(), settings.database.as_str()),
        ("service", "mine")
    );
    let missing = Settings::parse("service=dev", &environment(&variables))
        .unwrap_err()
        .to_string();
    assert!(
        missing.contains("\"dev\"") && missing.contains("services"),
        "{missing}"
    );
}

#[test]
fn the_passfile_is_read_only_when_it_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pass");
    std::fs::write(&file, "# comment\nother:*:*:*:no\ndb:5432:*:me:se\\:cret\\\\\n*:*:*:*:any\nlocalhost:*:x:me:socket\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let look = |host: &str, user: &str| files::password(&file, host, 5432, "x", user);
    assert_eq!(look("db", "me").unwrap(), Some("se:cret\\".to_owned()));
    assert_eq!(look("db", "you").unwrap(), Some("any".to_owned()));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = look("db", "me").unwrap_err();
    assert!(refused.contains("chmod 600"), "{refused}");
    assert_eq!(
        files::password(&folder.path().join("none"), "db", 5432, "x", "me").unwrap(),
        None
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (text, expected) in [
        ("postgres://a/b?sslmode=maybe", "sslmode=maybe"),
        ("postgres://a/b?colour=red", "\"colour\""),
        ("host=a port=x", "port=x"),
        ("host=a,b port=1,2,3", "3 numbers for 2 hosts"),
        ("host='a", "closing quote"),
        ("host=a user", "\"user\""),
        ("postgres://a%2/b", "%25"),
        ("host=a sslcrl=/x", "sslcrl"),
        (
            "mysql://me@a/b",
            "'mysql://me@a/b' is no URL of PostgreSQL; write postgres://USER@HOST/DATABASE",
        ),
        ("Postgres://a/b", "is no URL of PostgreSQL"),
        ("jdbc:postgresql://a/b", "is no URL of PostgreSQL"),
        ("sqlite:app.db", "'sqlite:app.db' is no URL of PostgreSQL"),
        ("host=a gssencmode=require", "gssencmode"),
        ("host=a client_encoding=LATIN1", "client_encoding"),
        ("host=a sslrootcert=system sslmode=require", "verify-full"),
        (
            "host=a target_session_attrs=leader",
            "target_session_attrs=leader",
        ),
    ] {
        let message = refusal(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn a_password_is_never_shown() {
    let settings = parse("postgres://me:hidden@a/b");
    assert!(!format!("{settings:?}").contains("hidden"));
    for text in [
        "mysql://me:hidden@a/b",
        "postgres://me:hidden%zz@a/b",
        "postgres://me:p@hidden@a/b",
        "postgres://me:p/hidden@a/b",
        "postgres://a/b?password=hidden%zz",
    ] {
        let message = refusal(text);
        assert!(!message.contains("hidden"), "{text}: {message}");
    }
}
