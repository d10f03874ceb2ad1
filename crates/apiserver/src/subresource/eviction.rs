//! `eviction`: a delete that asks the pod's disruption budget first.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};
use springtide_machinery::clock::rfc3339;
use springtide_machinery::error::{ApiError, Cause, FieldPath};
use springtide_machinery::labels::labels_of;
use springtide_machinery::registry::Part;
use springtide_machinery::selector::LabelSelector;
use springtide_store::At;

use crate::api::{Call, read_object};
use crate::decode::Expected;
use crate::encode;
use crate::options::{DeleteOptions, WriteOptions};
use crate::respond;
use crate::routes::Route;
use crate::write::delete::delete;
use crate::write::is_deleting;
use crate::write::update::Target;

const BUDGETS: &str = "policy/poddisruptionbudgets";
/// More disrupted pods than this make a budget wait for its controller, as in Kubernetes.
const MOST_DISRUPTED: usize = 2000;
/// When to ask again after a refusal of a budget that is not up to date, in seconds.
const RETRY_SECONDS: u32 = 10;

/// Answers a POST to `pods/NAME/eviction`.
pub(crate) async fn create(call: &Call<'_>, body: Body) -> Result<Response, ApiError> {
    let write_options = WriteOptions::parse(call.query, "CreateOptions")?;
    let mut decoded = read_object(call.parts, body, "Eviction").await?;
    let expected = Expected {
        api_version: "policy/v1",
        kind: "Eviction",
        schema: None,
    };
    expected.check(&mut decoded, write_options.validation)?;
    let body_options = Some(&decoded.value["deleteOptions"]).filter(|options| options.is_object());
    let mut options = DeleteOptions::parse(call.query, body_options)?;
    options.dry_run |= write_options.dry_run;

    let key = call.route.key(call.namespace(), call.name());
    let not_found = || ApiError::not_found(call.route.group_resource(), call.name());
    let stored = call.api.store.get(&key).ok_or_else(not_found)?;
    let pod = encode::parse(&stored.bytes);
    if !goes_freely(&pod) {
        ask_budget(call, &pod, options.dry_run).await?;
    }
    delete(
        call.api,
        call.route,
        call.namespace(),
        call.name(),
        &options,
    )
    .await?;
    let success = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": 201,
    });
    Ok(respond::json(StatusCode::CREATED, &success))
}

/// Pods that do no work (any more) are in no budget's way.
fn goes_freely(pod: &Value) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    matches!(phase, "Succeeded" | "Failed" | "Pending") || is_deleting(pod)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|conditions| {
        conditions
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    })
}

async fn ask_budget(call: &Call<'_>, pod: &Value, dry_run: bool) -> Result<(), ApiError> {
    let Some(route) = call.api.routes.of_collection(BUDGETS) else {
        return Ok(());
    };
    let labels = labels_of(pod);
    let listing = call
        .api
        .store
        .list(BUDGETS, call.namespace, At::Latest, None)
        .map_err(ApiError::internal)?;
    let mut matching = listing.objects.iter().filter_map(|object| {
        let budget = encode::parse(&object.bytes);
        let path = FieldPath::new("spec.selector");
        let selector = LabelSelector::from_object(&budget["spec"]["selector"], &path).ok()?;
        selector.matches(&labels).then_some(budget)
    });
    let Some(budget) = matching.next() else {
        return Ok(());
    };
    if matching.next().is_some() {
        return Err(ApiError::internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ));
    }
    let unready_goes = !is_ready(pod)
        && (budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
            || number(&budget, "currentHealthy") >= number(&budget, "desiredHealthy")
                && number(&budget, "desiredHealthy") > 0);
    if unready_goes {
        return Ok(());
    }
    take_disruption(call, route, &budget, dry_run).await
}

fn number(budget: &Value, field: &str) -> i64 {
    budget["status"][field].as_i64().unwrap_or(0)
}

/// Takes one of the disruptions the budget allows, or refuses.
async fn take_disruption(
    call: &Call<'_>,
    route: &Route,
    budget: &Value,
    dry_run: bool,
) -> Result<(), ApiError> {
    let name = budget["metadata"]["name"].as_str().unwrap_or_default();
    let refuse = |why: String, retry: u32| {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        ApiError::too_many_requests(message, retry).with_cause(Cause {
            reason: "DisruptionBudget".to_owned(),
            message: why,
            field: String::new(),
        })
    };
    let target = Target {
        api: call.api,
        route,
        namespace: call.namespace(),
        name,
        part: Part::Status,
    };
    let now = rfc3339(call.api.clock.now());
    let taken = target
        .overwrite(dry_run, |budget| {
            let generation = budget["metadata"]["generation"].as_i64().unwrap_or(0);
            let disrupted = budget["status"]["disruptedPods"].as_object();
            if number(budget, "observedGeneration") < generation {
                let why =
                    format!("The disruption budget {name} is still being processed by the server.");
                return Err(refuse(why, RETRY_SECONDS));
            }
            if disrupted.is_some_and(|pods| pods.len() > MOST_DISRUPTED) {
                let why = format!(
                    "The disruption budget {name} has too many disrupted pods at the moment."
                );
                return Err(refuse(why, RETRY_SECONDS));
            }
            let allowed = number(budget, "disruptionsAllowed");
            if allowed <= 0 {
                let why = format!(
                    "The disruption budget {name} needs {} healthy pods and has {} currently",
                    number(budget, "desiredHealthy"),
                    number(budget, "currentHealthy"),
                );
                return Err(refuse(why, 0));
            }
            budget["status"]["disruptionsAllowed"] = json!(allowed - 1);
            if !budget["status"]["disruptedPods"].is_object() {
                budget["status"]["disruptedPods"] = json!({});
            }
            budget["status"]["disruptedPods"][call.name()] = json!(now);
            Ok(())
        })
        .await;
    match taken {
        // The budget was deleted meanwhile.
        Err(error) if error.code() == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}
