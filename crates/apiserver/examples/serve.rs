//! Serves the API alone on a free loopback port, to point kubectl at.
//!
//! ```sh
//! cargo run -p springtide-apiserver --example serve -- [DATA_FOLDER]
//! ```
//!
//! Without a folder everything is in memory, and the kubeconfig in a temporary file. Ends at
//! Ctrl-C.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use springtide_apiserver::{ApiServer, MASTERS, ServiceRange, Tls, pki};
use springtide_machinery::clock::Clock;
use springtide_machinery::entropy::Entropy;
use springtide_store::Store;
use tokio::net::TcpListener;

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let folder = std::env::args().nth(1).map(PathBuf::from);
    let temporary = tempfile::tempdir()?;
    let keys = folder.as_deref().unwrap_or(temporary.path());

    let store = match &folder {
        Some(folder) => Store::open(folder, springtide_store::Options::default())?,
        None => Store::in_memory(),
    };
    let clock = Clock::system();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let api = ApiServer::builder(store, clock.clone(), Entropy::from_os())
        .advertised(address)
        .build()
        .await?;

    let authority = pki::Authority::open(&keys.join("pki"), &clock)?;
    let service_ip = IpAddr::from(ServiceRange::DEFAULT.first());
    let names = pki::serving_names(&[address.ip()], "", service_ip);
    let tls = Tls::new(&authority, &authority.serving(&names)?, &clock)?;
    let admin = authority.client("kubernetes-admin", &[MASTERS])?;
    let kubeconfig = keys.join("kubeconfig");
    let content = authority.kubeconfig(&format!("https://{address}"), &admin);
    pki::write_private(&kubeconfig, &content)?;
    println!("export KUBECONFIG={}", kubeconfig.display());

    let stopping = api.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stopping.shut_down();
        }
    });
    api.serve_tls(listener, tls).await;
    Ok(())
}
