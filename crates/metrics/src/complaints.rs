//! How the parts of the platform's Prometheus tell of an object that they cannot use: by an event of the object, and
//! by a line of the log that `kubectl logs deployment/prometheus -n kube-system` shows.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use springtide_client::{Context, EventRecorder, EventType};

/// Takes lines of the log.
pub type LogLines = Arc<dyn Fn(&str) + Send + Sync>;

/// Tells of objects that cannot be used.
pub(crate) struct Complaints {
    recorder: EventRecorder,
    log: LogLines,
}

impl Complaints {
    /// Of a part that has this name in events.
    pub(crate) fn new(context: &Context, component: &str, log: LogLines) -> Complaints {
        Complaints {
            recorder: context.recorder(component),
            log,
        }
    }

    /// Tells of an object.
    pub(crate) fn tell(&self, about: &ObjectReference, reason: &str, message: &str) {
        let line = line(about, message);
        tracing::warn!(reason, "{line}");
        (self.log)(&line);
        self.recorder
            .record(about, EventType::Warning, reason, message);
    }
}

/// `Secret kube-system/alertmanager: the configuration is not used`
fn line(about: &ObjectReference, message: &str) -> String {
    let parts = [&about.namespace, &about.name];
    let named: Vec<&str> = parts.into_iter().filter_map(Option::as_deref).collect();
    let kind = about.kind.as_deref().unwrap_or_default();
    format!("{kind} {}: {message}", named.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_names_the_object() {
        let about = ObjectReference {
            kind: Some("Secret".to_owned()),
            namespace: Some("kube-system".to_owned()),
            name: Some("alertmanager".to_owned()),
            ..ObjectReference::default()
        };
        let said = "Secret kube-system/alertmanager: it is empty";
        assert_eq!(line(&about, "it is empty"), said);
    }
}
