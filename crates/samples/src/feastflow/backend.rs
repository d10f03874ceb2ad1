//! The ordering API: checks orders, computes totals, and keeps them in the data tier.
//!
//! Configured by `DATABASE_URL` (default `http://feastflow-database:7000`), `PORT` (5000) and
//! `WORK_MILLISECONDS` (5), the processor time that each request costs.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use http_body_util::BodyExt;
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use springtide_machinery::instruments::{Counter, Histogram, Registry, SECONDS, Vector};
use tokio::time::Instant;

use super::database::{Line, Order};
use crate::upstream::{Upstream, sentence};
use crate::{Error, environment_number};

#[derive(Clone)]
struct Backend {
    database: Upstream,
    work: Duration,
    replica: HeaderValue,
    counters: Counters,
}

/// What the replica counts of itself, named as most instrumentation libraries name it.
#[derive(Clone)]
struct Counters {
    registry: Registry,
    requests: Vector<Counter, 3>,
    seconds: Histogram,
}

impl Counters {
    fn new() -> Self {
        let registry = Registry::new();
        Self {
            requests: registry.counters(
                "http_requests_total",
                "Requests that were answered.",
                ["method", "path", "status"],
            ),
            seconds: registry.histogram(
                "http_request_duration_seconds",
                "How long requests took.",
                SECONDS,
            ),
            registry,
        }
    }
}

/// What a customer sends.
#[derive(Debug, Deserialize)]
struct Wanted {
    restaurant_id: i64,
    customer: String,
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    dish: String,
    quantity: u32,
}

#[derive(Debug, Deserialize)]
struct Dish {
    dish: String,
    price_cents: i64,
}

/// Serves the API until SIGTERM.
///
/// # Errors
/// An environment that cannot be used, or a port that is not to be had.
pub async fn run() -> Result<(), Error> {
    let replica = super::replica();
    let backend = Backend {
        database: Upstream::from_environment("DATABASE_URL", "http://feastflow-database:7000")?,
        work: Duration::from_millis(environment_number("WORK_MILLISECONDS", 5)?),
        replica: HeaderValue::from_str(&replica).map_err(|error| Error::Environment {
            name: "POD_NAME",
            value: replica.clone(),
            reason: error.to_string(),
        })?,
        counters: Counters::new(),
    };
    let port = environment_number("PORT", 5000)?;
    crate::serve::serve("feastflow-backend", port, routes(backend)).await
}

fn routes(backend: Backend) -> Router {
    Router::new()
        .route("/api/health", get(health))
        .route("/api/restaurants", get(restaurants))
        .route("/api/restaurants/{id}/menu", get(menu))
        .route("/api/orders", get(newest_orders).post(place_order))
        .route("/api/orders/{id}", get(order))
        .layer(from_fn_with_state(backend.clone(), cost))
        // Costs nothing: a probe that waits behind the customers would take a busy replica for a
        // dead one.
        .route("/healthz", get(|| async { "ok" }))
        .route("/metrics", get(metrics))
        .with_state(backend)
}

/// What every request costs, and who answered it.
async fn cost(State(backend): State<Backend>, request: Request, next: Next) -> Response<Body> {
    let work = backend.work;
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(String::new, |path| path.as_str().to_owned());
    // Only a panic could fail it, and the work cannot panic.
    let _ = tokio::task::spawn_blocking(move || burn(work)).await;
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .insert("x-served-by", backend.replica);
    let counters = &backend.counters;
    let status = response.status();
    let labels = [method.as_str(), &path, status.as_str()];
    counters.requests.with(labels).inc();
    counters.seconds.observe(begun.elapsed().as_secs_f64());
    response
}

/// What was counted, for Prometheus.
async fn metrics(State(backend): State<Backend>) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind)], backend.counters.registry.text())
}

/// Keeps this thread busy until it has used `work` of processor time, however long that takes.
fn burn(work: Duration) {
    let used = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(
            time.tv_sec.unsigned_abs(),
            u32::try_from(time.tv_nsec).unwrap_or_default(),
        )
    };
    let end = used() + work;
    let mut state = 1_u64;
    while used() < end {
        for _ in 0..2_000 {
            state = std::hint::black_box(
                state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1),
            );
        }
    }
}

async fn health(State(backend): State<Backend>) -> Response<Body> {
    let replica = backend.replica.to_str().unwrap_or_default();
    Json(serde_json::json!({ "status": "ok", "replica": replica })).into_response()
}

async fn restaurants(State(backend): State<Backend>) -> Response<Body> {
    backend.database.get("/restaurants").await
}

async fn menu(State(backend): State<Backend>, Path(id): Path<i64>) -> Response<Body> {
    backend
        .database
        .get(&format!("/restaurants/{id}/menu"))
        .await
}

async fn newest_orders(State(backend): State<Backend>) -> Response<Body> {
    backend.database.get("/orders").await
}

async fn order(State(backend): State<Backend>, Path(id): Path<i64>) -> Response<Body> {
    backend.database.get(&format!("/orders/{id}")).await
}

async fn place_order(State(backend): State<Backend>, Json(wanted): Json<Wanted>) -> Response<Body> {
    let answer = backend
        .database
        .get(&format!("/restaurants/{}/menu", wanted.restaurant_id))
        .await;
    if !answer.status().is_success() {
        return answer;
    }
    let menu: Vec<Dish> = match answer.into_body().collect().await {
        Ok(body) => serde_json::from_slice(&body.to_bytes()).unwrap_or_default(),
        Err(error) => return sentence(StatusCode::BAD_GATEWAY, &error.to_string()),
    };
    match price(&wanted, &menu) {
        Ok(order) => {
            backend
                .database
                .post("/orders", serde_json::json!(order).to_string().into())
                .await
        }
        Err(reason) => sentence(StatusCode::UNPROCESSABLE_ENTITY, &reason),
    }
}

/// The order with its prices, or what is wrong with it.
fn price(wanted: &Wanted, menu: &[Dish]) -> Result<Order, String> {
    if menu.is_empty() {
        return Err(format!("there is no restaurant {}", wanted.restaurant_id));
    }
    if wanted.customer.trim().is_empty() {
        return Err("an order needs the customer's name".to_owned());
    }
    if wanted.items.is_empty() {
        return Err("an order needs at least one dish".to_owned());
    }
    let line = |item: &Item| {
        let dish = menu
            .iter()
            .find(|dish| dish.dish == item.dish)
            .ok_or_else(|| format!("restaurant {} has no {:?}", wanted.restaurant_id, item.dish))?;
        match item.quantity {
            1..=100 => Ok(Line {
                dish: dish.dish.clone(),
                quantity: item.quantity,
                price_cents: dish.price_cents,
            }),
            other => Err(format!("{other} of {:?}: order 1 to 100", item.dish)),
        }
    };
    let lines = wanted
        .items
        .iter()
        .map(line)
        .collect::<Result<Vec<_>, String>>()?;
    let total_cents = lines
        .iter()
        .map(|line| line.price_cents * i64::from(line.quantity))
        .sum();
    Ok(Order {
        id: 0,
        restaurant_id: wanted.restaurant_id,
        customer: wanted.customer.trim().to_owned(),
        lines,
        total_cents,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn menu() -> Vec<Dish> {
        vec![
            Dish {
                dish: "Margherita".to_owned(),
                price_cents: 950,
            },
            Dish {
                dish: "Tiramisù".to_owned(),
                price_cents: 600,
            },
        ]
    }

    fn wanted(customer: &str, items: &[(&str, u32)]) -> Wanted {
        let item = |(dish, quantity): &(&str, u32)| Item {
            dish: (*dish).to_owned(),
            quantity: *quantity,
        };
        Wanted {
            restaurant_id: 1,
            customer: customer.to_owned(),
            items: items.iter().map(item).collect(),
        }
    }

    #[test]
    fn a_total_is_the_sum_of_the_menus_prices() {
        let order = price(
            &wanted(" Ada ", &[("Margherita", 2), ("Tiramisù", 1)]),
            &menu(),
        )
        .unwrap();
        assert_eq!((order.total_cents, order.customer.as_str()), (2500, "Ada"));
    }

    #[test]
    fn an_order_that_makes_no_sense_is_refused_with_the_reason() {
        for (order, reason) in [
            (wanted("", &[("Margherita", 1)]), "customer's name"),
            (wanted("Ada", &[]), "at least one dish"),
            (wanted("Ada", &[("Ramen", 1)]), "has no \"Ramen\""),
            (wanted("Ada", &[("Margherita", 0)]), "order 1 to 100"),
        ] {
            assert!(price(&order, &menu()).unwrap_err().contains(reason));
        }
        assert!(
            price(&wanted("Ada", &[("Margherita", 1)]), &[])
                .unwrap_err()
                .contains("no restaurant")
        );
    }

    #[test]
    fn a_request_costs_its_processor_time() {
        let used = || clock_gettime(ClockId::ThreadCPUTime);
        let before = used();
        burn(Duration::from_millis(20));
        let after = used();
        let nanoseconds =
            (after.tv_sec - before.tv_sec) * 1_000_000_000 + after.tv_nsec - before.tv_nsec;
        assert!(nanoseconds >= 20_000_000, "{nanoseconds} ns");
    }
}
