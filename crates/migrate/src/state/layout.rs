//! The tables of the state, and how an older layout becomes this one.

use super::StateError;
use crate::connection::{QueryError, Session};

/// The schema's name.
pub const SCHEMA: &str = "springtide_migrate";

/// The statements that lead from each version to the next; the first makes version 1.
const VERSIONS: &[&str] = &["
    CREATE TABLE springtide_migrate.migration (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        source text NOT NULL,
        target_schema text NOT NULL,
        plan text NOT NULL,
        phase text NOT NULL,
        source_state text,
        started timestamptz NOT NULL DEFAULT now(),
        changed timestamptz NOT NULL DEFAULT now(),
        UNIQUE (source, target_schema)
    );
    CREATE TABLE springtide_migrate.setting (
        migration bigint NOT NULL REFERENCES springtide_migrate.migration ON DELETE CASCADE,
        name text NOT NULL,
        value text NOT NULL,
        PRIMARY KEY (migration, name)
    );
    CREATE TABLE springtide_migrate.piece (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        migration bigint NOT NULL REFERENCES springtide_migrate.migration ON DELETE CASCADE,
        table_name text NOT NULL,
        reached text,
        last text,
        done boolean NOT NULL DEFAULT false,
        rows bigint NOT NULL DEFAULT 0,
        bytes bigint NOT NULL DEFAULT 0,
        quarantined bigint NOT NULL DEFAULT 0
    );
    COMMENT ON COLUMN springtide_migrate.piece.reached IS 'rows up to this key are copied; null is the beginning';
    COMMENT ON COLUMN springtide_migrate.piece.last IS 'the last key of the piece; null is the end';
    CREATE INDEX ON springtide_migrate.piece (migration);
    CREATE TABLE springtide_migrate.step (
        migration bigint NOT NULL REFERENCES springtide_migrate.migration ON DELETE CASCADE,
        name text NOT NULL,
        problem text,
        PRIMARY KEY (migration, name)
    );
    COMMENT ON COLUMN springtide_migrate.step.problem IS 'why what the step makes could not be made';
    CREATE TABLE springtide_migrate.quarantine (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        migration bigint NOT NULL REFERENCES springtide_migrate.migration ON DELETE CASCADE,
        table_name text NOT NULL,
        key text,
        column_name text,
        reason text NOT NULL,
        storage_class text,
        value bytea,
        row text,
        row_hash bigint,
        row_number bigint,
        added timestamptz NOT NULL DEFAULT now()
    );
    COMMENT ON COLUMN springtide_migrate.quarantine.key IS 'the rowid, or the primary key as literals of SQLite';
    COMMENT ON COLUMN springtide_migrate.quarantine.value IS 'the stored value: bytes of text and blobs, numbers as text';
    COMMENT ON COLUMN springtide_migrate.quarantine.row IS 'the whole row: as literals of SQLite, or, of a row that broke a constraint, as JSON';
    COMMENT ON COLUMN springtide_migrate.quarantine.row_hash IS 'the hash by which verification finds the row in the source; null where the row has none';
    COMMENT ON COLUMN springtide_migrate.quarantine.row_number IS 'the rowid, where the target keeps it in a column';
    CREATE INDEX ON springtide_migrate.quarantine (migration, table_name);
"];

pub(super) async fn prepare(session: &Session) -> Result<(), StateError> {
    let failed = |error| {
        QueryError::while_doing(
            "making the schema springtide_migrate for the migration's state",
            &error,
        )
        .naming_role(session.role())
    };
    // Looked at before anything is created: a user without the right to create may still resume.
    if let Some(found) = version(session).await? {
        check(found)?;
        if found == current() {
            return Ok(());
        }
    }
    // One at a time: two runners may begin together.
    session
        .batch_execute(
            "BEGIN;
             SELECT pg_advisory_xact_lock(hashtext('springtide_migrate.version'));
             CREATE SCHEMA IF NOT EXISTS springtide_migrate;
             CREATE TABLE IF NOT EXISTS springtide_migrate.version (version integer NOT NULL);",
        )
        .await
        .map_err(failed)?;
    let found = version(session).await?.unwrap_or(0);
    check(found)?;
    for (index, statements) in VERSIONS
        .iter()
        .enumerate()
        .skip(found.unsigned_abs() as usize)
    {
        let note = format!(
            "{statements}; DELETE FROM springtide_migrate.version; INSERT INTO springtide_migrate.version VALUES ({})",
            index + 1
        );
        session.batch_execute(&note).await.map_err(failed)?;
    }
    session.batch_execute("COMMIT").await.map_err(failed)?;
    Ok(())
}

fn current() -> i32 {
    VERSIONS.len() as i32
}

fn check(found: i32) -> Result<(), StateError> {
    if found > current() {
        return Err(StateError::Newer {
            found,
            known: current(),
        });
    }
    Ok(())
}

/// The version of the layout that is there.
async fn version(session: &Session) -> Result<Option<i32>, StateError> {
    let failed = |error| {
        QueryError::while_doing(
            "reading the version of the schema springtide_migrate",
            &error,
        )
    };
    let exists = session
        .query_typed_one(
            "SELECT to_regclass('springtide_migrate.version') IS NOT NULL",
            &[],
        )
        .await
        .map_err(failed)?;
    if !exists.get::<_, bool>(0) {
        return Ok(None);
    }
    let row = session
        .query_typed_opt("SELECT version FROM springtide_migrate.version", &[])
        .await
        .map_err(failed)?;
    Ok(row.map(|row| row.get(0)))
}
