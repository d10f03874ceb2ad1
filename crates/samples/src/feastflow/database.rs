//! The data tier: restaurants, menus and orders in one SQLite file, behind a small HTTP interface.
//!
//! Configured by `DATABASE_FILE` (default `/var/lib/feastflow/feastflow.db`) and `PORT` (7000).

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::upstream::sentence;
use crate::{Error, environment, environment_number};

/// What the database begins with: restaurant, then its dishes with prices in cents.
const MENUS: &[(&str, &[(&str, i64)])] = &[
    (
        "Trattoria Marea",
        &[
            ("Margherita", 950),
            ("Linguine alle vongole", 1450),
            ("Tiramisù", 600),
        ],
    ),
    (
        "Golden Wok",
        &[
            ("Mapo tofu", 1100),
            ("Dan dan noodles", 1050),
            ("Spring rolls", 550),
        ],
    ),
    (
        "Casa Verde",
        &[
            ("Tacos al pastor", 900),
            ("Chiles rellenos", 1150),
            ("Horchata", 350),
        ],
    ),
];

/// A line of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The dish's name.
    pub dish: String,
    /// How many of it, at least one.
    pub quantity: u32,
    /// The price of one, in cents.
    pub price_cents: i64,
}

/// An order as the data tier keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its number; given by the database.
    #[serde(default)]
    pub id: i64,
    /// Which restaurant cooks it.
    pub restaurant_id: i64,
    /// Who ordered.
    pub customer: String,
    /// What was ordered.
    pub lines: Vec<Line>,
    /// The sum of the lines, in cents.
    pub total_cents: i64,
}

#[derive(Clone)]
struct Orders(Arc<Mutex<Connection>>);

#[derive(Deserialize)]
struct Newest {
    #[serde(default = "ten")]
    limit: u32,
}

fn ten() -> u32 {
    10
}

/// Serves the database until SIGTERM.
///
/// # Errors
/// A file or port that is not to be had.
pub async fn run() -> Result<(), Error> {
    let path = environment("DATABASE_FILE", "/var/lib/feastflow/feastflow.db");
    let port = environment_number("PORT", 7000)?;
    let connection = Connection::open(&path)
        .and_then(|connection| prepare(&connection).map(|()| connection))
        .map_err(|source| Error::Database { path, source })?;
    crate::serve::serve("feastflow-database", port, routes(connection)).await
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA foreign_keys = ON;
         CREATE TABLE IF NOT EXISTS restaurants (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
         CREATE TABLE IF NOT EXISTS dishes (
             id INTEGER PRIMARY KEY,
             restaurant_id INTEGER NOT NULL REFERENCES restaurants (id),
             name TEXT NOT NULL,
             price_cents INTEGER NOT NULL CHECK (price_cents > 0),
             UNIQUE (restaurant_id, name));
         CREATE TABLE IF NOT EXISTS orders (
             id INTEGER PRIMARY KEY AUTOINCREMENT,
             restaurant_id INTEGER NOT NULL REFERENCES restaurants (id),
             customer TEXT NOT NULL,
             lines TEXT NOT NULL,
             total_cents INTEGER NOT NULL);",
    )?;
    for (restaurant, dishes) in MENUS {
        connection.execute(
            "INSERT OR IGNORE INTO restaurants (name) VALUES (?1)",
            [restaurant],
        )?;
        for (dish, price_cents) in *dishes {
            connection.execute(
                "INSERT OR IGNORE INTO dishes (restaurant_id, name, price_cents)
                 SELECT id, ?2, ?3 FROM restaurants WHERE name = ?1",
                params![restaurant, dish, price_cents],
            )?;
        }
    }
    Ok(())
}

fn routes(connection: Connection) -> Router {
    Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/restaurants", get(restaurants))
        .route("/restaurants/{id}/menu", get(menu))
        .route("/orders", get(newest_orders).post(add_order))
        .route("/orders/{id}", get(order))
        .with_state(Orders(Arc::new(Mutex::new(connection))))
}

async fn restaurants(State(orders): State<Orders>) -> Response<Body> {
    orders
        .answer(|connection| {
            let mut statement = connection.prepare("SELECT id, name FROM restaurants ORDER BY id")?;
            let rows = statement.query_map([], |row| {
                Ok(serde_json::json!({ "id": row.get::<_, i64>(0)?, "name": row.get::<_, String>(1)? }))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })
        .await
}

async fn menu(State(orders): State<Orders>, Path(id): Path<i64>) -> Response<Body> {
    orders
        .answer(move |connection| {
            let mut statement =
                connection.prepare("SELECT name, price_cents FROM dishes WHERE restaurant_id = ?1 ORDER BY id")?;
            let rows = statement.query_map([id], |row| {
                Ok(serde_json::json!({ "dish": row.get::<_, String>(0)?, "price_cents": row.get::<_, i64>(1)? }))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })
        .await
}

async fn add_order(State(orders): State<Orders>, Json(order): Json<Order>) -> Response<Body> {
    let mut response = orders
        .answer(move |connection| {
            let lines = serde_json::to_string(&order.lines)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
            connection.execute(
                "INSERT INTO orders (restaurant_id, customer, lines, total_cents) VALUES (?1, ?2, ?3, ?4)",
                params![order.restaurant_id, order.customer, lines, order.total_cents],
            )?;
            Ok(Order { id: connection.last_insert_rowid(), ..order })
        })
        .await;
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::CREATED;
    }
    response
}

async fn order(State(orders): State<Orders>, Path(id): Path<i64>) -> Response<Body> {
    let found = orders
        .run(move |connection| {
            connection
                .query_row(
                    "SELECT id, restaurant_id, customer, lines, total_cents FROM orders WHERE id = ?1",
                    [id],
                    read_order,
                )
                .optional()
        })
        .await;
    match found {
        Ok(Some(order)) => Json(order).into_response(),
        Ok(None) => sentence(StatusCode::NOT_FOUND, &format!("there is no order {id}")),
        Err(error) => sentence(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn newest_orders(
    State(orders): State<Orders>,
    Query(newest): Query<Newest>,
) -> Response<Body> {
    orders
        .answer(move |connection| {
            let mut statement = connection.prepare(
                "SELECT id, restaurant_id, customer, lines, total_cents FROM orders ORDER BY id DESC LIMIT ?1",
            )?;
            let rows = statement.query_map([newest.limit.min(1000)], read_order)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })
        .await
}

fn read_order(row: &rusqlite::Row<'_>) -> rusqlite::Result<Order> {
    let lines: String = row.get(3)?;
    let lines = serde_json::from_str(&lines).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, error.into())
    })?;
    Ok(Order {
        id: row.get(0)?,
        restaurant_id: row.get(1)?,
        customer: row.get(2)?,
        lines,
        total_cents: row.get(4)?,
    })
}

// === impl Orders ===

impl Orders {
    /// Runs `work` on the connection, away from the thread that serves.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> rusqlite::Result<T> {
        let connection = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || {
            work(&connection.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match done.await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    async fn answer<T: Serialize + Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Response<Body> {
        match self.run(work).await {
            Ok(value) => Json(value).into_response(),
            Err(error) => sentence(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    fn tier() -> Router {
        let connection = Connection::open_in_memory().unwrap();
        prepare(&connection).unwrap();
        prepare(&connection).unwrap(); // a restart finds what is there
        routes(connection)
    }

    async fn ask(routes: &Router, request: Request<Body>) -> (StatusCode, serde_json::Value) {
        let response = routes.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    fn get(path: &str) -> Request<Body> {
        Request::get(path).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn menus_are_there_once() {
        let tier = tier();
        let (_, restaurants) = ask(&tier, get("/restaurants")).await;
        assert_eq!(restaurants.as_array().unwrap().len(), MENUS.len());
        let (_, menu) = ask(&tier, get("/restaurants/1/menu")).await;
        assert_eq!(
            menu[0],
            serde_json::json!({"dish": "Margherita", "price_cents": 950})
        );
    }

    #[tokio::test]
    async fn an_order_is_kept_under_its_number() {
        let tier = tier();
        let order = serde_json::json!({
            "restaurant_id": 1, "customer": "Ada", "total_cents": 950,
            "lines": [{"dish": "Margherita", "quantity": 1, "price_cents": 950}],
        });
        let post = Request::post("/orders")
            .header("content-type", "application/json")
            .body(Body::from(order.to_string()))
            .unwrap();
        let (status, kept) = ask(&tier, post).await;
        assert_eq!(
            (status, kept["id"].as_i64()),
            (StatusCode::CREATED, Some(1))
        );
        let (status, found) = ask(&tier, get("/orders/1")).await;
        assert_eq!((status, &found), (StatusCode::OK, &kept));
        let (_, newest) = ask(&tier, get("/orders?limit=5")).await;
        assert_eq!(newest, serde_json::json!([kept]));
        let (status, answer) = ask(&tier, get("/orders/2")).await;
        assert_eq!(
            (status, answer["error"].as_str()),
            (StatusCode::NOT_FOUND, Some("there is no order 2"))
        );
    }
}
