//! What is there before the first user, and the word that it is.

use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{DynamicObject, PostParams};
use springtide_client::{Caches, Context, Seen};
use springtide_machinery::clock::Clock;
use springtide_node::keeper::Facts;

use crate::commands::status::is_ready;
use crate::data_folder::{DataFolder, Instance, process_start};
use crate::manifest::locate;
use crate::output::{shell_word, try_print};

/// How long the node may take to be ready.
const NODE_LIMIT: Duration = Duration::from_secs(30);
/// What the platform itself runs as pods, and what that needs.
const OWN_OBJECTS: &str = include_str!("own_objects.yaml");

/// Makes the platform's own objects where they are not there; what users changed stays.
pub(crate) async fn make_own_objects(context: &Context) -> anyhow::Result<()> {
    let documents: Vec<DynamicObject> = serde_saphyr::from_multiple(OWN_OBJECTS)?;
    for object in documents {
        let (api, name) = locate(context.client.clone(), &object)?;
        // Looked for first: a second Service with a fixed address is refused for its address, not for
        // its name.
        if api.get_opt(&object.name_any()).await?.is_some() {
            continue;
        }
        match api.create(&PostParams::default(), &object).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error).context(name),
        }
    }
    Ok(())
}

/// Waits until the node says that it is ready.
pub(crate) async fn wait_for_node(caches: &Caches, name: &str) -> anyhow::Result<()> {
    let nodes = caches.of::<Node>();
    let mut changes = nodes.subscribe();
    let until_ready = async {
        loop {
            if nodes.get("", name).is_some_and(|node| is_ready(&node)) {
                return;
            }
            let change: Option<Seen<Node>> = changes.next().await;
            if change.is_none() {
                return;
            }
        }
    };
    if tokio::time::timeout(NODE_LIMIT, until_ready).await.is_err() {
        bail!("the node {name} was not ready within {NODE_LIMIT:?}");
    }
    Ok(())
}

/// Notes that the instance runs, and tells the user how to use it.
pub(crate) fn announce(
    folder: &DataFolder,
    facts: &Facts,
    address: std::net::SocketAddr,
    metrics: std::net::SocketAddr,
    clock: &Clock,
    started_at: i64,
) -> anyhow::Result<()> {
    let now = clock.now();
    let process_start =
        process_start(facts.keeper_pid).context("the keeper's process cannot be found")?;
    folder.note_instance(&Instance {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: facts.keeper_pid,
        process_start,
        server: format!("https://{}", super::reachable(address)),
        metrics: format!("http://{}", super::reachable(metrics)),
        ready_since: Timestamp::from_second(now.as_second())?,
    })?;
    let kubeconfig = folder.kubeconfig();
    let lines = format!(
        "ready in {} ms\nexport KUBECONFIG={}\n",
        now.as_millisecond() - started_at,
        shell_word(&kubeconfig.to_string_lossy())
    );
    // The platform runs, whether anybody reads that or not.
    let _ = try_print(lines.as_bytes());
    Ok(())
}
