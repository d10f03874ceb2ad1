//! FeastFlow: food ordering in three tiers.
//!
//! ```text
//! browser ──► frontend ──► backend ──► database
//!             page         rules       restaurants, menus and orders in SQLite
//! ```

pub mod backend;
pub mod database;
pub mod frontend;

/// The name of the replica that runs this program.
fn replica() -> String {
    crate::environment("POD_NAME", "local")
}
