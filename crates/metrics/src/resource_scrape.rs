//! Scrapes every node's kubelet through the API.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::Request;
use k8s_openapi::api::core::v1::Node;
use kube::{Client, ResourceExt};
use springtide_client::Context;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::Usage;

/// How scraping goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time from one scrape of a node to the next.
    pub period: Duration,
    /// After this long a scrape is given up.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why a node could not be scraped.
#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Request(#[from] http::Error),
}

/// Scrapes all nodes until `stop` is cancelled. A node that is slow holds up no other.
pub async fn run(context: Context, usage: Usage, options: Options, stop: CancellationToken) {
    let nodes = context.caches.of::<Node>();
    let mut ticks = interval(options.period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = FuturesUnordered::new();
    let mut busy: BTreeSet<String> = BTreeSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            Some((node, scraped)) = under_way.next(), if !under_way.is_empty() => {
                let node: String = node;
                busy.remove(&node);
                match scraped {
                    Ok(text) => {
                        let text: String = text;
                        usage.take(&node, &text, context.clock.now());
                    }
                    Err(error) => {
                        let error: ScrapeError = error;
                        tracing::debug!(node, %error, "node not scraped");
                    }
                }
            }
            _ = ticks.tick() => {
                let known: BTreeSet<String> = nodes.list().iter().map(|node| node.name_any()).collect();
                usage.forget_others(&known, context.clock.now());
                for node in known.difference(&busy.clone()) {
                    busy.insert(node.clone());
                    under_way.push(scrape(context.client.clone(), node.clone(), options.timeout));
                }
            }
        }
    }
}

async fn scrape(
    client: Client,
    node: String,
    limit: Duration,
) -> (String, Result<String, ScrapeError>) {
    let asking = async {
        let path = format!("/api/v1/nodes/{node}/proxy/metrics/resource");
        let request = Request::get(path)
            .header(http::header::ACCEPT, "text/plain")
            .body(Vec::new())?;
        Ok(client.request_text(request).await?)
    };
    let scraped = timeout(limit, asking)
        .await
        .unwrap_or(Err(ScrapeError::Timeout(limit)));
    (node, scraped)
}
