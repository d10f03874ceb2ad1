use kube::Client;
use springtide_machinery::clock::Clock;
use springtide_machinery::entropy::Entropy;

use crate::{Caches, EventRecorder};

/// What a component is started with.
#[derive(Clone)]
pub struct Context {
    /// Speaks to the API as the component's own user.
    pub client: Client,
    /// The process's shared view of the API.
    pub caches: Caches,
    /// Wall time, which a simulation may set.
    pub clock: Clock,
    /// The process's one source of randomness.
    pub entropy: Entropy,
}

impl Context {
    /// A recorder that signs events as `component` (`deployment-controller`, `kubelet`, …).
    pub fn recorder(&self, component: &str) -> EventRecorder {
        EventRecorder::new(self.client.clone(), self.clock.clone(), component)
    }
}
