//! `attach`: what a container writes from now on, over a WebSocket as [`super::exec`] speaks it.
//!
//! It is read from the container's log, so both outputs come as stdout. A container's stdin is
//! empty here, and what the client sends to it is not passed on.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::protocol::Message;

use super::exec::{STDOUT, WebSocketError, conclude, connect, open, running, status};
use super::{LogError, is_running, status_of};
use crate::kubelet::Shared;
use crate::kubelet::prepare::log_path;
use crate::kubelet::runtime::ContainerRun;
use crate::logs::{LogOptions, stream};

/// Answers a request to listen to a container.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    mut request: Request,
) -> Result<Response, LogError> {
    let (snapshot, run) = running(&shared, &namespace, pod, container)?;
    let logs = &shared.config.log_dir;
    let path = log_path(logs, &snapshot.pod, &run.container, run.attempt);
    let options = LogOptions {
        follow: true,
        tail: Some(0),
        ..LogOptions::default()
    };
    let (response, upgrade) = open(&mut request)?;
    tokio::spawn(async move {
        let follows = (Arc::clone(&shared), run.clone());
        let lines = stream(path, options, move || is_running(&follows.0, &follows.1));
        if let Err(error) = pass_on(upgrade, lines, &shared, &run).await {
            tracing::debug!(%error, "an attached connection broke");
        }
    });
    Ok(response)
}

async fn pass_on(
    upgrade: OnUpgrade,
    lines: impl futures::Stream<Item = std::io::Result<bytes::Bytes>>,
    shared: &Shared,
    run: &ContainerRun,
) -> Result<(), WebSocketError> {
    let (mut sink, mut source) = connect(upgrade).await?;
    sink.send(Message::binary(vec![STDOUT])).await?;
    let mut lines = std::pin::pin!(lines);
    loop {
        tokio::select! {
            biased;
            line = lines.next() => match line {
                Some(line) => {
                    let mut message = vec![STDOUT];
                    message.extend_from_slice(&line?);
                    sink.send(Message::binary(message)).await?;
                }
                None => break,
            },
            heard = source.next() => match heard {
                Some(Ok(message)) if !message.is_close() => {}
                _ => return Ok(()),
            },
        }
    }
    conclude(&mut sink, &status(exit_code(shared, run), &[])).await
}

/// How the run ended, as far as its pod's status says.
fn exit_code(shared: &Shared, run: &ContainerRun) -> Option<i32> {
    let id = run.container_id();
    let snapshots = shared.snapshots();
    let states = snapshots
        .iter()
        .filter_map(|snapshot| status_of(&snapshot.status, &run.container))
        .flat_map(|status| [status.state.as_ref(), status.last_state.as_ref()]);
    let mut ends = states
        .flatten()
        .filter_map(|state| state.terminated.as_ref());
    ends.find(|end| end.container_id.as_deref() == Some(&id))
        .map(|end| end.exit_code)
}
