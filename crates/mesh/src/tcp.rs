//! Connections that are balanced as a whole.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use springtide_machinery::entropy::Entropy;
use tokio::net::TcpStream;

use crate::table::{InFlight, Upstream};
use crate::telemetry::Local;
use crate::worker::Dialer;

/// How many endpoints a connection may be tried on.
const ATTEMPTS: usize = 3;
/// How long connecting may take, as Istio has it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects a caller with an endpoint until either ends. A caller that nobody answers is reset.
pub(crate) async fn serve(
    caller: TcpStream,
    client: IpAddr,
    upstream: &Arc<Upstream>,
    dialer: &Dialer,
    entropy: &Entropy,
    telemetry: &Local,
) {
    let mut tried = Vec::new();
    while tried.len() < ATTEMPTS {
        let Some(endpoint) = upstream.choose(client, &tried, entropy) else {
            break;
        };
        let in_flight = InFlight::begin(&endpoint);
        match dialer.dial(&endpoint, CONNECT_TIMEOUT).await {
            Ok(mut server) => {
                let mut caller = telemetry.connected(caller, client, upstream, &endpoint);
                // Either side may end it as it likes.
                let _ = tokio::io::copy_bidirectional(&mut caller, &mut server).await;
                drop(in_flight);
                return;
            }
            Err(error) => {
                tracing::debug!(endpoint = %endpoint.address, %error, "a connection failed");
                tried.push(endpoint.address);
            }
        }
    }
    refuse(caller);
}

/// Ends a connection the way a closed port would, rather than as if all had been said.
pub(crate) fn refuse(caller: TcpStream) {
    // Without it the caller sees a clean end, which is no worse than that.
    let _ = caller.set_zero_linger();
    drop(caller);
}
