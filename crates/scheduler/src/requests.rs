use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use springtide_machinery::quantity::Quantity;

/// Amounts of resources by name, in billionths of their unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources(BTreeMap<String, i128>);

impl Resources {
    /// The amounts of a Kubernetes list. One that cannot be read counts as none; the API server
    /// lets none in.
    pub fn of(list: &BTreeMap<String, ApiQuantity>) -> Self {
        let read = |quantity: &ApiQuantity| Quantity::parse(&quantity.0).map_or(0, Quantity::nanos);
        Self(
            list.iter()
                .map(|(name, quantity)| (name.clone(), read(quantity)))
                .collect(),
        )
    }

    /// What a pod asks for: its containers and sidecars together, or the most that is needed
    /// while it starts, whichever is more; and its overhead.
    pub fn asked_by(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else {
            return Self::default();
        };
        let mut running = Self::default();
        for container in &spec.containers {
            running.add(&requests_of(container));
        }
        let mut starting = Self::default();
        let mut sidecars = Self::default();
        for container in spec.init_containers.iter().flatten() {
            let mut needed = requests_of(container);
            if container.restart_policy.as_deref() == Some("Always") {
                sidecars.add(&needed);
                running.add(&needed);
                needed = sidecars.clone();
            } else {
                needed.add(&sidecars);
            }
            starting.raise_to(&needed);
        }
        running.raise_to(&starting);
        // What is said for the pod as a whole counts instead.
        let whole = spec
            .resources
            .as_ref()
            .and_then(|resources| resources.requests.as_ref());
        if let Some(whole) = whole {
            running.0.extend(Self::of(whole).0);
        }
        if let Some(overhead) = &spec.overhead {
            running.add(&Self::of(overhead));
        }
        running.0.retain(|_, amount| *amount != 0);
        running
    }

    /// The amount of one resource, in billionths of its unit.
    pub fn get(&self, name: &str) -> i128 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// The resources there is something of, sorted by name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Adds other amounts to these.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            *self.0.entry(name.clone()).or_default() += amount;
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let own = self.0.entry(name.clone()).or_default();
            *own = (*own).max(*amount);
        }
    }
}

fn requests_of(container: &Container) -> Resources {
    let requests = container
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    requests.map(Resources::of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asks(spec: &Value) -> (i128, i128) {
        let pod: Pod = serde_json::from_value(json!({"spec": spec})).expect("a valid pod");
        let asked = Resources::asked_by(&pod);
        (
            asked.get("cpu") / 1_000_000,
            asked.get("memory") / 1_000_000_000,
        )
    }

    fn container(cpu: &str, memory: &str) -> Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn a_pod_asks_for_its_containers_or_the_most_it_needs_to_start() {
        let mut sidecar = container("50m", "10");
        sidecar["restartPolicy"] = "Always".into();
        let cases = [
            (
                json!({"containers": [container("100m", "1Ki"), container("0.25", "1k")]}),
                (350, 2024),
            ),
            (
                json!({"containers": [container("100m", "100")], "initContainers": [container("300m", "50")]}),
                (300, 100),
            ),
            (
                json!({"containers": [container("100m", "100")], "initContainers": [sidecar.clone(), container("300m", "50")]}),
                (350, 110),
            ),
            (
                json!({"containers": [container("100m", "100")], "initContainers": [container("120m", "50"), sidecar.clone()]}),
                (150, 110),
            ),
            (
                json!({"containers": [container("100m", "100")], "overhead": {"cpu": "5m", "memory": "7"}}),
                (105, 107),
            ),
            (json!({"containers": [{"name": "c"}]}), (0, 0)),
            (
                json!({"containers": [container("100m", "100")], "resources": {"requests": {"cpu": "1"}}}),
                (1000, 100),
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(asks(&spec), expected, "{spec}");
        }
    }
}
