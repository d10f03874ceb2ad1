//! Serving until SIGTERM, and finishing the requests under way.

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::Error;

/// Serves `routes` on every address of this machine's (or pod's) network until SIGTERM or SIGINT.
pub(crate) async fn serve(name: &str, port: u16, routes: Router) -> Result<(), Error> {
    let failed = |source| Error::Serve { port, source };
    let listener = TcpListener::bind(("0.0.0.0", port)).await.map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    println!("{name} listens on port {port}");
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            println!("told to stop; finishing the requests under way");
        })
        .await
        .map_err(failed)?;
    println!("stopped");
    Ok(())
}
