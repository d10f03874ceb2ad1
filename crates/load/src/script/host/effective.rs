//! The options that hold, in the form in which users need them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::tag_sets::TagSets;
use crate::http::{Addresses, Settings, TlsConfigs};
use crate::metric::Tags;
use crate::options::Options;

/// The `User-Agent` where the options do not say.
const USER_AGENT: &str = concat!("tide-load/", env!("CARGO_PKG_VERSION"));

/// The options that hold.
#[derive(Debug)]
pub(in super::super) struct Effective {
    pub(in super::super) options: Options,
    pub(super) http: Arc<Settings>,
    /// Tags of every sample.
    pub(super) tags: Tags,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) max_redirects: u64,
    pub(super) tag_sets: Mutex<TagSets>,
    system_tags: BTreeSet<String>,
    rate: Option<Rate>,
}

/// Lets requests of all users through at a rate.
#[derive(Debug)]
struct Rate {
    between: Duration,
    next: Mutex<Option<Instant>>,
}

// === impl Effective ===

impl Effective {
    pub(in super::super) fn new(options: Options) -> Result<Self, String> {
        if options.local_ips.is_some() {
            return Err("localIPs is not supported; remove it".to_owned());
        }
        let http = Arc::new(Settings {
            addresses: Addresses::new(&options)?,
            tls: TlsConfigs::new(&options)?,
            no_connection_reuse: options.no_connection_reuse.unwrap_or(false),
        });
        let tags = options.tags.iter().flatten();
        Ok(Self {
            http,
            tags: tags
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
            user_agent: HeaderValue::from_str(options.user_agent.as_deref().unwrap_or(USER_AGENT))
                .ok()
                .filter(|agent| !agent.is_empty()),
            tag_sets: Mutex::default(),
            max_redirects: options.max_redirects.unwrap_or(10),
            system_tags: options.wanted_system_tags(),
            rate: options.rps.filter(|rate| *rate > 0).map(|rate| Rate {
                between: Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX),
                next: Mutex::default(),
            }),
            options,
        })
    }

    pub(super) fn has_system_tag(&self, name: &str) -> bool {
        self.system_tags.contains(name)
    }

    /// The tag, if it is one of those that are wanted.
    pub(super) fn system_tag(
        &self,
        name: &'static str,
        value: &str,
    ) -> Option<(Arc<str>, Arc<str>)> {
        self.has_system_tag(name)
            .then(|| (Arc::from(name), Arc::from(value)))
    }

    /// Waits until the rate of requests (`rps`) allows one more.
    pub(super) async fn wait_for_rate(&self) {
        let Some(rate) = &self.rate else { return };
        let turn = {
            let now = Instant::now();
            let mut next = rate.next.lock();
            let turn = next.unwrap_or(now).max(now);
            *next = Some(turn + rate.between);
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}
