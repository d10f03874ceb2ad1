//! Metrics: the resource metrics API, `metrics.k8s.io/v1beta1`, which says what nodes, pods and containers use right
//! now; and time series with PromQL over them.
//!
//! ```text
//! kubelets ── /api/v1/nodes/NAME/proxy/metrics/resource ──> scrape ──> Usage ──> Router ──> kubectl top, autoscaler
//! ```
//!
//! | part | is |
//! | --- | --- |
//! | [`adapter`] | the custom and external metrics APIs, by prometheus-adapter's rules |
//! | [`instruments`] | counters, gauges and histograms of the parts themselves |
//! | [`config`] | the configuration file, `prometheus.yml` |
//! | [`discovery`] | where targets come from: written down, files, servers, the Kubernetes API |
//! | [`relabel`] | rules that choose targets and samples and change their labels |
//! | [`mod@scrape`] | scrapes targets at their intervals into the database |
//! | [`server`] | all of it together, as a Prometheus server runs |
//! | [`show`] | answers as tables and charts for people |
//! | [`http_api`] | Prometheus' HTTP API |
//! | [`remote_write`] | samples from other servers, and to them |
//! | [`http_client`] | how servers are asked: authentication, TLS, compression |
//! | [`exposition`] | the formats in which metrics are exposed: negotiation, the strict reader, the writer |
//! | `series` | counters of the last seconds, and the rate they went at |
//! | [`Usage`] | what is known of every node and pod, fed one scrape at a time |
//! | [`run`] | scrapes every node through the API, once a second |
//! | [`series_store`] | what series are made of: labels, matchers, compressed chunks, an index of labels |
//! | [`tsdb`] | the database: log, head, blocks, limits |
//! | [`promql`] | queries over time series, as Prometheus answers them |
//! | [`rules`] | recording and alerting rules |
//! | [`alerting`] | what becomes of alerts: routes, silences, notices, Alertmanager's API |
//! | [`template`] | Go's template language, for rules and notifications |
//! | [`prometheus_rules`] | PrometheusRule objects: checked, and evaluated while they are there |
//! | [`monitors`] | ServiceMonitor and PodMonitor objects: checked, and scraped while they are there |
//! | [`alertmanager_config`] | Alertmanager's configuration from a Secret or ConfigMap |
//! | [`platform`] | all of it put together, as the platform's own Prometheus |
//! | [`router`] | serves NodeMetrics and PodMetrics, to be aggregated by the API server |

pub mod adapter;
pub mod alerting;
pub mod alertmanager_config;
pub mod complaints;
pub mod config;
pub mod discovery;
pub mod exporters;
pub mod exposition;
pub mod http_api;
pub mod http_client;
pub mod instruments;
pub mod monitors;
pub mod platform;
pub mod prometheus_rules;
pub mod promql;
pub mod relabel;
pub mod remote_write;
mod resource_metrics_api;
mod resource_scrape;
pub mod rules;
pub mod scrape;
mod series;
pub mod series_store;
pub mod server;
pub mod show;
mod sys;
pub mod template;
pub mod tsdb;
mod usage;

pub use resource_metrics_api::{GROUP, SERVED, ServedResource, VERSION, router};
pub use resource_scrape::{Options, run};
pub use usage::{ContainerUsage, NodeUsage, PodUsage, Usage};
