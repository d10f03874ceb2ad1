//! Creates, gets and lists ConfigMaps as fast as a number of clients can, against the cluster that
//! KUBECONFIG names, and prints how many a second as one line of JSON.
//!
//! usage: bench-api-client [CONFIGMAPS] [CLIENTS]     (default 6000 16); run by `bench/api`

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use kube::Client;
use kube::api::{GetParams, ListParams, PostParams};
use kube::core::Request;
use serde_json::json;
use tokio::time::Instant;

const NAMESPACE: &str = "bench";
/// How long gets and lists are measured.
const PERIOD: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (config_maps, clients) = (number(6000)?, number(16)?);
    let client = Client::try_default()
        .await
        .context("KUBECONFIG names no cluster")?;
    let namespace = json!({"metadata": {"name": NAMESPACE}}).to_string();
    let namespaces = Request::new("/api/v1/namespaces");
    client
        .request_text(namespaces.create(&PostParams::default(), namespace.into_bytes())?)
        .await?;

    let creates = create(&client, config_maps, clients).await?;
    let gets = repeat(clients, |request| {
        let name = format!("settings-{}", request % config_maps);
        send(&client, path().get(&name, &GetParams::default()))
    })
    .await?;
    // Two at a time: as many as there were cores where the recorded figures were taken.
    let lists = repeat(2, |_| send(&client, path().list(&ListParams::default()))).await?;
    let bytes = send(&client, path().list(&ListParams::default())).await?;
    println!(
        "{}",
        json!({"creates_per_second": creates, "gets_per_second": gets, "lists_per_second": lists,
               "list_megabytes": megabytes(bytes)})
    );
    Ok(())
}

fn path() -> Request {
    Request::new(format!("/api/v1/namespaces/{NAMESPACE}/configmaps"))
}

/// Each client has one connection of its own in use at a time.
async fn create(client: &Client, config_maps: usize, clients: usize) -> Result<f64> {
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let workers = (0..clients).map(|_| async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= config_maps {
                return anyhow::Ok(());
            }
            let body = json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": format!("settings-{number}"), "labels": {"app": "bench"}},
                "data": {"number": number.to_string(), "text": "x".repeat(200)},
            });
            send(
                client,
                path().create(&PostParams::default(), body.to_string().into_bytes()),
            )
            .await?;
        }
    });
    try_join_all(workers).await?;
    Ok(rate(config_maps, started))
}

/// Lets clients repeat a request for the measured period.
async fn repeat<F: Future<Output = Result<usize>>>(
    clients: usize,
    request: impl Fn(usize) -> F,
) -> Result<f64> {
    let sent = AtomicUsize::new(0);
    let started = Instant::now();
    let workers = (0..clients).map(|_| async {
        while started.elapsed() < PERIOD {
            request(sent.fetch_add(1, Ordering::Relaxed)).await?;
        }
        anyhow::Ok(())
    });
    try_join_all(workers).await?;
    Ok(rate(sent.into_inner(), started))
}

/// Sends a request and returns the length of its answer in bytes.
async fn send(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<usize> {
    Ok(client.request_text(request?).await?.len())
}

#[allow(clippy::cast_precision_loss)] // counts far below 2^52
fn rate(count: usize, started: Instant) -> f64 {
    (count as f64 / started.elapsed().as_secs_f64()).round()
}

#[allow(clippy::cast_precision_loss)]
fn megabytes(bytes: usize) -> f64 {
    (bytes as f64 / 1e5).round() / 10.0
}
