//! Writes the torture database to a file that does not exist yet.

use rusqlite::Connection;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(path) = std::env::args().nth(1) else {
        return Err("usage: torture FILE".into());
    };
    if std::path::Path::new(&path).exists() {
        return Err(format!("{path} exists already").into());
    }
    springtide_migrate::torture::fill(&Connection::open(path)?)?;
    Ok(())
}
