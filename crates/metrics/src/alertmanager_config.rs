//! Alertmanager's configuration from the API: the Secret or ConfigMap that holds it. Without one alerts are kept and
//! shown, and nobody is told.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use springtide_client::{Context, reference};
use tokio_util::sync::CancellationToken;

use crate::alerting::{AlertingConfiguration, Alertmanager};
use crate::complaints::{Complaints, LogLines};

/// The namespace of the object.
pub const NAMESPACE: &str = "kube-system";
/// The name of the Secret or ConfigMap; the Secret counts where both are there.
pub const NAME: &str = "alertmanager";
/// The key of the file in it, in either spelling.
pub const KEYS: [&str; 2] = ["alertmanager.yaml", "alertmanager.yml"];
fn read(text: &str) -> Result<AlertingConfiguration, String> {
    // Relative paths make no sense in an object: nothing is there.
    AlertingConfiguration::parse(NAME, text, Path::new("/")).map_err(|error| error.to_string())
}

/// Keeps an Alertmanager to the object until `stop` is cancelled. One that is wrong is told of by an event and in
/// the log, and the configuration before it stays.
pub async fn follow(
    context: Context,
    alertmanager: Alertmanager,
    log: LogLines,
    stop: CancellationToken,
) {
    let (secrets, maps) = (
        context.caches.of::<Secret>(),
        context.caches.of::<ConfigMap>(),
    );
    let complaints = Complaints::new(&context, "alertmanager", log);
    let (mut secret_changes, mut map_changes) = (secrets.subscribe(), maps.subscribe());
    let mut used: Option<String> = None;
    loop {
        let seen = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            seen = secret_changes.next() => seen.is_some(),
            seen = map_changes.next() => seen.is_some(),
        };
        if !seen {
            return;
        }
        let secret = secrets.get(NAMESPACE, NAME);
        let map = maps.get(NAMESPACE, NAME);
        let from_secret = secret.as_ref().and_then(|secret| {
            let data = secret.data.as_ref()?;
            let file = KEYS.iter().find_map(|key| data.get(*key))?;
            Some((
                String::from_utf8_lossy(&file.0).into_owned(),
                reference(secret.as_ref()),
            ))
        });
        let from_map = || {
            let map = map.as_ref()?;
            let data = map.data.as_ref()?;
            let file = KEYS.iter().find_map(|key| data.get(*key))?;
            Some((file.clone(), reference(map.as_ref())))
        };
        let found = from_secret.or_else(from_map);
        let text = found.as_ref().map(|(text, _)| text.clone());
        if text == used {
            continue;
        }
        used = text;
        let configuration = used
            .as_deref()
            .map_or_else(|| Ok(AlertingConfiguration::silent()), read);
        match configuration {
            Ok(configuration) => alertmanager.reconfigure(Arc::new(configuration)),
            Err(error) => {
                if let Some((_, about)) = &found {
                    let message = format!("the configuration is not used: {error}");
                    complaints.tell(about, "InvalidConfiguration", &message);
                }
            }
        }
    }
}
