//! Notices that the source's schema is no longer the plan's.
//!
//! SQLite raises `PRAGMA schema_version` with every change, also with those that leave the
//! statements as they were (VACUUM, ANALYZE, the installing of triggers); the digest of the
//! statements then decides.

use rusqlite::Connection;
use sqlite3_parser::Bump;

use super::FollowError;
use crate::plan::Plan;
use crate::schema;

/// What was last seen of the source's schema.
#[derive(Debug, Clone, Default)]
pub struct SchemaWatch {
    version: Option<i64>,
    renumbered: bool,
}

impl SchemaWatch {
    /// A watch that has seen the schema at a version, before this process.
    #[must_use]
    pub fn since(version: Option<i64>) -> Self {
        Self {
            version,
            renumbered: false,
        }
    }

    /// Looks, within a transaction of the source.
    ///
    /// # Errors
    /// [`FollowError::SchemaChanged`] when statements changed.
    pub fn check(&mut self, source: &Connection, plan: &Plan) -> Result<(), FollowError> {
        let version = schema_version(source)?;
        if self.version == Some(version) {
            return Ok(());
        }
        expect_digest(source, plan)?;
        // The statements are the same: it may have been VACUUM, which gives new rowids to rows of
        // tables in which no column is the rowid.
        self.renumbered |= self.version.is_some();
        self.version = Some(version);
        Ok(())
    }

    /// The version last seen, to be kept.
    #[must_use]
    pub fn version(&self) -> Option<i64> {
        self.version
    }

    /// Whether rowids may have changed without a trace since this was last asked.
    pub fn take_renumbered(&mut self) -> bool {
        std::mem::take(&mut self.renumbered)
    }
}

/// `PRAGMA schema_version`.
///
/// # Errors
/// When the source cannot be read.
pub fn schema_version(source: &Connection) -> Result<i64, FollowError> {
    Ok(source.query_row("PRAGMA schema_version", [], |row| row.get(0))?)
}

/// Makes sure that the source's statements are those the plan was made from.
///
/// # Errors
/// [`FollowError::SchemaChanged`] when they are not.
pub fn expect_digest(source: &Connection, plan: &Plan) -> Result<(), FollowError> {
    let arena = Bump::new();
    let digest = match schema::read(source, &plan.source.path, &arena) {
        Ok(schema) => schema.identity.schema_digest,
        Err(schema::SchemaError::Sqlite(error)) => return Err(error.into()),
        // What cannot be read is not what the plan was made from.
        Err(schema::SchemaError::Unreadable { table, .. }) => table,
    };
    if digest == plan.source.schema_digest {
        return Ok(());
    }
    Err(FollowError::SchemaChanged {
        path: plan.source.path.clone(),
    })
}
