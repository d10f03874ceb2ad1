//! The PostgreSQL server the other tests use: it answers, and it ends.

mod support;

use support::postgres;

#[test]
fn a_database_of_its_own_answers_over_the_socket_and_the_port() {
    let Some(first) = postgres::database() else {
        return;
    };
    let second = postgres::database().expect("the same server");
    first.sql("CREATE TABLE only_here (a int)");
    assert_eq!(
        first.sql("SELECT count(*) FROM pg_class WHERE relname = 'only_here'"),
        "1"
    );
    assert_eq!(
        second.sql("SELECT count(*) FROM pg_class WHERE relname = 'only_here'"),
        "0"
    );
    for url in [first.url(), first.socket_url()] {
        let output = first
            .psql()
            .args(["-At", "-c", "SELECT current_user", "-d", &url])
            .output()
            .expect("psql runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            postgres::USER,
            "{url}"
        );
    }
}

#[test]
fn the_server_and_its_folder_go_with_the_test() {
    let Some(programs) = postgres::programs() else {
        return;
    };
    let setup = postgres::Setup {
        settings: &["log_connections=on"],
        ..postgres::Setup::default()
    };
    let server = postgres::Server::start(&programs, &setup).expect("starts");
    let (folder, port) = (server.folder.clone(), server.port);
    assert_eq!(server.database().sql("SHOW log_connections"), "on");
    drop(server);
    let bound = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("runtime");
    bound.block_on(async {
        for _ in 0..3_000 {
            if !folder.exists() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the folder of the server at port {port} is still there");
    });
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}
