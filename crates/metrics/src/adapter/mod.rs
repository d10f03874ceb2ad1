//! The custom and external metrics APIs, which autoscalers read, answered from series by prometheus-adapter's rules.
//!
//! ```text
//! ConfigMap ─► Config (rules as written) ─► Rule (checked) ─┐
//! series in the database ───────────────────────────────────┴► Catalog: metric → rule and series   (every few seconds)
//! GET …/pods/*/http_requests_per_second ─► Catalog ─► PromQL ─► values by object ─► MetricValueList
//! ```
//!
//! | part | is |
//! | --- | --- |
//! | [`Config`] | the rules as users write them |
//! | `template` | the part of Go's templates that rules use |
//! | `resources` | which label names which kind of object |
//! | `rule` | a checked rule: from series to metrics, from metrics to queries |
//! | [`Catalog`] | which metrics there are now |
//! | [`Adapter`] | answers queries; [`Adapter::custom`] and [`Adapter::external`] serve the APIs |
//! | [`follow`] | keeps the rules to the ConfigMaps and the catalog to the series |

mod answer;
mod catalog;
mod config;
mod follow;
mod resources;
mod rule;
mod serve;
mod template;
#[cfg(test)]
mod tests;

pub use answer::Adapter;
pub use catalog::{Catalog, CustomMetric};
pub use config::{Config, ConfigError};
pub use follow::{CONFIG_KEY, CONFIG_NAME, follow};
pub use serve::{CUSTOM_GROUP, CUSTOM_VERSIONS, EXTERNAL_GROUP, EXTERNAL_VERSION};
