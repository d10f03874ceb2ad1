//! Parts of the program that are pods: started and stopped by the kubelet like any other.

use std::time::Duration;

use super::monitoring::Monitoring;
use futures::FutureExt;
use springtide_apiserver::{AggregatedResource, ApiServer};
use springtide_client::Context;
use springtide_metrics::{GROUP, Options, SERVED, Usage, VERSION, router, run};
use springtide_node::kubelet::component::{Component, LogSink, RunningComponent};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Starts the program's parts by their names.
pub(crate) struct ProgramParts {
    api: ApiServer,
    metrics: Context,
    metrics_window: Duration,
    monitoring: Monitoring,
}

impl ProgramParts {
    /// Parts that serve through `api`.
    pub(crate) fn new(
        api: ApiServer,
        metrics: Context,
        metrics_window: Duration,
        monitoring: Monitoring,
    ) -> Self {
        Self {
            api,
            metrics,
            metrics_window,
            monitoring,
        }
    }

    fn start_metrics_server(&self, log: LogSink, stop: CancellationToken) -> RunningComponent {
        let context = self.metrics.clone();
        let usage = Usage::new(self.metrics_window);
        let resources = SERVED
            .iter()
            .map(|served| AggregatedResource {
                kind: served.kind.to_owned(),
                plural: served.plural.to_owned(),
                singular: String::new(),
                namespaced: served.namespaced,
                verbs: served.verbs.iter().map(|verb| (*verb).to_owned()).collect(),
                short_names: Vec::new(),
            })
            .collect();
        let routes = router(usage.clone(), &context.caches, context.clock.clone());
        self.api.aggregate(GROUP, VERSION, resources, routes);
        let (tell_ready, ready) = watch::channel(true);
        let api = self.api.clone();
        let work = async move {
            let options = Options::default();
            log.line(&format!(
                "serving {GROUP}/{VERSION}, reading every node once in {:?}",
                options.period
            ));
            run(context, usage, options, stop).await;
            api.remove_aggregated(GROUP, VERSION);
            log.line("stopped");
            drop(tell_ready);
            Ok(())
        };
        RunningComponent {
            ready,
            work: work.boxed(),
        }
    }
}

impl Component for ProgramParts {
    fn start(
        &self,
        name: &str,
        _arguments: &[String],
        log: LogSink,
        stop: CancellationToken,
    ) -> Option<RunningComponent> {
        match name {
            "metrics-server" => Some(self.start_metrics_server(log, stop)),
            "prometheus" => Some(self.monitoring.start(log, stop)),
            _ => None,
        }
    }
}
