//! ServiceAccounts: every namespace has one named `default`.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use springtide_client::{Cache, Context, Next, WorkQueue, feed};
use tokio_util::sync::CancellationToken;

use crate::error::{Doing, Error, is_code, is_namespace_terminating};

/// The name pods use that say none.
const DEFAULT: &str = "default";

/// The ServiceAccount a namespace lacks, if it lacks it.
pub fn plan(namespace: &Namespace, has_default: bool) -> Option<ServiceAccount> {
    let phase = namespace
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let leaves = namespace.metadata.deletion_timestamp.is_some() || phase == Some("Terminating");
    (!leaves && !has_default).then(|| ServiceAccount {
        metadata: ObjectMeta {
            name: Some(DEFAULT.to_owned()),
            namespace: Some(namespace.name_any()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    })
}

struct Controller {
    context: Context,
    namespaces: Cache<Namespace>,
    accounts: Cache<ServiceAccount>,
}

/// Runs the controller until `stop` is cancelled.
pub async fn run(context: Context, stop: CancellationToken) {
    let controller = Controller {
        namespaces: context.caches.of(),
        accounts: context.caches.of(),
        context,
    };
    let queue: WorkQueue<String> = WorkQueue::named("serviceaccount");
    let all = || {
        let namespaces = controller.namespaces.clone();
        move || namespaces.keys().into_iter().map(|key| key.name).collect()
    };
    let feeding_namespaces = feed(
        &controller.namespaces,
        &queue,
        |namespace| vec![namespace.name_any()],
        all(),
    );
    let feeding_accounts = feed(
        &controller.accounts,
        &queue,
        |account| {
            account
                .namespace()
                .filter(|_| account.name_any() == DEFAULT)
                .into_iter()
                .collect()
        },
        all(),
    );
    let working = async {
        controller.namespaces.synced().await;
        controller.accounts.synced().await;
        queue
            .serve(1, &stop, |name| controller.reconcile(name))
            .await;
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = feeding_namespaces => {}
        () = feeding_accounts => {}
        () = working => {}
    }
}

impl Controller {
    async fn reconcile(&self, name: String) -> Result<Next, Error> {
        let Some(namespace) = self.namespaces.get("", &name) else {
            return Ok(Next::Settled);
        };
        let has_default = self.accounts.get(&name, DEFAULT).is_some();
        let Some(account) = plan(&namespace, has_default) else {
            return Ok(Next::Settled);
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.context.client.clone(), &name);
        match api.create(&PostParams::default(), &account).await {
            Ok(_) => Ok(Next::Settled),
            Err(error) if is_code(&error, 409) || is_namespace_terminating(&error) => {
                Ok(Next::Settled)
            }
            Err(error) => {
                let key = springtide_client::ObjectKey::new(name, DEFAULT);
                Err(error).doing("create ServiceAccount", &key)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn a_namespace_that_stays_gets_its_default_account_once() {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some("shop".to_owned());
        let account = plan(&namespace, false).expect("one is lacking");
        assert_eq!(
            (account.name_any().as_str(), account.namespace().as_deref()),
            ("default", Some("shop"))
        );
        assert_eq!(plan(&namespace, true), None);
        namespace.metadata.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(plan(&namespace, false), None);
    }
}
