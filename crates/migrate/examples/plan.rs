//! Prints the plan for a SQLite file, or with `--ddl` the statements that it makes, or with `--json`
//! the plan as programs read it.

use rusqlite::{Connection, OpenFlags};
use springtide_migrate::{ddl, plan};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        return Err("usage: plan FILE [--ddl|--json]".into());
    };
    let form = arguments.next();
    let open = || Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let plan = plan::Plan::make(&path, &open, &plan::PlanOptions::default())?;
    match form.as_deref() {
        Some("--ddl") => print!("{}", ddl::script(&plan)),
        Some("--json") => println!("{}", serde_json::to_string_pretty(&plan)?),
        _ => print!("{plan}"),
    }
    Ok(())
}
