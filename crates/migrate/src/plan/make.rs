use rusqlite::Connection;
use sqlite3_parser::Bump;

use super::decide::{cast_conversion, mixed_type, watch};
use super::doubt::UNCHOSEN;
use super::names::{Names, needs_quotes};
use super::options::fits;
use super::{
    Cast, Collation, ColumnPlan, Doubt, DoubtKind, Naming, ObjectKind, ObjectPlan, Plan,
    PlanOptions, Skipped, TargetType, objects, quote_name,
};
use crate::profile::{self, ProfileError, TableProfile, Watch, Watched};
use crate::schema::{self, Schema, SchemaError, Table, line_of_token};
use crate::translate::{Catalog, Refusal};

/// Why no plan could be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The source cannot be opened.
    #[error("cannot open the SQLite database {path}: {cause}")]
    Open {
        /// The file.
        path: String,
        /// What SQLite said.
        cause: rusqlite::Error,
    },
    /// The schema cannot be read.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The rows cannot be read.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The schema is this program's own.
    #[error(
        "the schema springtide_migrate keeps the state of migrations; choose another with --schema"
    )]
    OwnSchema,
    /// A table that was named does not exist.
    #[error("there is no table {name} in the SQLite database; its tables are: {tables}")]
    NoSuchTable {
        /// The name, or pattern.
        name: String,
        /// Those that exist.
        tables: String,
    },
    /// A cast speaks of a column that does not exist.
    #[error("the cast of {table}.{column} fits no column that is copied; {known}")]
    NoSuchColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What there is instead, a clause.
        known: String,
    },
    /// Two casts speak of one column.
    #[error(
        "{table}.{column} is cast twice, to {first} and to {second}; leave one of the casts out"
    )]
    CastTwice {
        /// The table, or `*`.
        table: String,
        /// The column.
        column: String,
        /// One of the types.
        first: TargetType,
        /// The other.
        second: TargetType,
    },
    /// The choice of tables leaves none.
    #[error("--tables and --exclude leave no table to copy; the tables are: {tables}")]
    NothingChosen {
        /// Those that exist.
        tables: String,
    },
}

impl PlanError {
    /// Whether an option speaks of what does not exist, or contradicts another.
    #[must_use]
    pub fn is_wrong_usage(&self) -> bool {
        match self {
            Self::OwnSchema
            | Self::NoSuchTable { .. }
            | Self::NoSuchColumn { .. }
            | Self::CastTwice { .. }
            | Self::NothingChosen { .. } => true,
            Self::Open { .. } | Self::Schema(_) | Self::Profile(_) => false,
        }
    }
}

impl Plan {
    /// Makes a plan: reads the schema, scans every value, decides. `open` gives connections to the
    /// source, which `path` names for people.
    ///
    /// # Errors
    /// When the source cannot be read, or an option speaks of what does not exist.
    pub fn make(
        path: &str,
        open: &(dyn Fn() -> rusqlite::Result<Connection> + Sync),
        options: &PlanOptions,
    ) -> Result<Self, PlanError> {
        if options.schema == crate::state::SCHEMA {
            return Err(PlanError::OwnSchema);
        }
        let source = open().map_err(|cause| PlanError::Open {
            path: path.to_owned(),
            cause,
        })?;
        let arena = Bump::new();
        let schema = schema::read(&source, path, &arena)?;
        let chosen = chosen(&schema, options)?;
        let casts = Casts(&options.casts);
        casts.check(&chosen)?;
        let watched: Vec<_> = (chosen.iter())
            .map(|table| {
                let watches = table
                    .columns
                    .iter()
                    .map(|column| watch(column, casts.of(table, &column.name)).into());
                (*table, watches.collect())
            })
            .collect();
        let mut profiles = profile::scan(&watched, options.readers, open)?;
        casts.try_out(&chosen, &mut profiles, options.readers, open)?;
        let mut maker = Maker {
            naming: options.naming,
            relations: Names::new(options.naming),
            catalog: Catalog {
                schema: options.schema.clone(),
                relations: Vec::new(),
            },
            plan: Self {
                source: schema.identity.clone(),
                schema: options.schema.clone(),
                tables: Vec::new(),
                helpers: Vec::new(),
                views: Vec::new(),
                triggers: Vec::new(),
                doubts: Vec::new(),
                skipped: Vec::new(),
            },
        };
        maker.skip_what_cannot_come(&schema, &chosen);
        maker.doubt_encoding();
        let mixed: Vec<String> = (chosen.iter().zip(&profiles))
            .flat_map(|(table, profile)| table.columns.iter().zip(&profile.columns))
            .filter_map(|(column, profile)| mixed_type(column, profile))
            .collect();
        for (table, profile) in chosen.iter().zip(&profiles) {
            maker.columns(table, profile, &casts, &mixed);
        }
        for (table, profile) in chosen.iter().zip(&profiles) {
            maker.generated(table);
            maker.keys_and_checks(table, profile);
        }
        for table in &chosen {
            maker.foreign_keys(table);
        }
        maker.identities(&source, &chosen);
        maker.collations();
        objects::views(&mut maker, &schema);
        objects::triggers(&mut maker, &schema);
        maker.doubt_names();
        Ok(maker.plan)
    }
}

pub(super) struct Casts<'c>(&'c [Cast]);

impl Casts<'_> {
    /// The cast that speaks of a column, one by the table's name before one by `*`.
    pub(super) fn of(&self, table: &Table<'_>, column: &str) -> Option<&Cast> {
        let fitting = || {
            self.0
                .iter()
                .filter(|cast| cast.is_for(&table.name, column))
        };
        fitting()
            .find(|cast| cast.table != "*")
            .or_else(|| fitting().next())
    }

    /// Looks into the tables whose columns are cast once more, since how a cast reads a column
    /// follows from what is stored: every value that it refuses is found.
    fn try_out(
        &self,
        tables: &[&Table<'_>],
        profiles: &mut [TableProfile],
        readers: usize,
        open: &(dyn Fn() -> rusqlite::Result<Connection> + Sync),
    ) -> Result<(), ProfileError> {
        let is_cast = |table: &Table<'_>| {
            (table.columns.iter()).any(|column| self.of(table, &column.name).is_some())
        };
        let (mut watched, mut places) = (Vec::new(), Vec::new());
        for (place, table) in tables
            .iter()
            .enumerate()
            .filter(|(_, table)| is_cast(table))
        {
            let columns = table.columns.iter().zip(&profiles[place].columns);
            let columns = columns.map(|(column, profile)| Watched {
                watch: Watch::Plain,
                conversion: self.of(table, &column.name).map(|cast| {
                    (
                        cast_conversion(table, column, profile, cast),
                        cast.type_.clone(),
                    )
                }),
            });
            watched.push((*table, columns.collect()));
            places.push(place);
        }
        if watched.is_empty() {
            return Ok(());
        }
        let found = profile::scan(&watched, readers, open)?;
        for (place, found) in places.into_iter().zip(found) {
            for (column, found) in profiles[place].columns.iter_mut().zip(found.columns) {
                column.refused = found.refused;
                column.refusal = found.refusal;
            }
        }
        Ok(())
    }

    fn check(&self, tables: &[&Table<'_>]) -> Result<(), PlanError> {
        for (at, cast) in self.0.iter().enumerate() {
            let twice = self.0[..at].iter().find(|earlier| {
                earlier.table.eq_ignore_ascii_case(&cast.table)
                    && earlier.column.eq_ignore_ascii_case(&cast.column)
            });
            if let Some(earlier) = twice {
                return Err(PlanError::CastTwice {
                    table: cast.table.clone(),
                    column: cast.column.clone(),
                    first: earlier.type_.clone(),
                    second: cast.type_.clone(),
                });
            }
            let speaks = |table: &&&Table<'_>| {
                table
                    .columns
                    .iter()
                    .any(|column| cast.is_for(&table.name, &column.name))
            };
            if tables.iter().any(|table| speaks(&table)) {
                continue;
            }
            let table = tables
                .iter()
                .find(|table| table.name.eq_ignore_ascii_case(&cast.table));
            let known = match table {
                Some(table) => {
                    let columns = table.columns.iter().map(|column| column.name.as_str());
                    let columns = columns.collect::<Vec<_>>().join(", ");
                    format!("the columns of {} are: {columns}", table.name)
                }
                None if cast.table == "*" => "no table has such a column".to_owned(),
                None => {
                    let tables = tables.iter().map(|table| table.name.as_str());
                    let tables = tables.collect::<Vec<_>>().join(", ");
                    format!(
                        "no table {} is copied; the tables are: {tables}",
                        cast.table
                    )
                }
            };
            return Err(PlanError::NoSuchColumn {
                table: cast.table.clone(),
                column: cast.column.clone(),
                known,
            });
        }
        Ok(())
    }
}

fn chosen<'s, 'b>(
    schema: &'s Schema<'b>,
    options: &PlanOptions,
) -> Result<Vec<&'s Table<'b>>, PlanError> {
    let names = || schema.tables.iter().map(|table| table.name.as_str());
    for pattern in options.tables.iter().chain(&options.exclude) {
        let others = schema
            .virtual_tables
            .iter()
            .map(|table| table.name.as_str());
        if !pattern.contains('*') && !names().chain(others).any(|name| fits(pattern, name)) {
            let tables = names().collect::<Vec<_>>().join(", ");
            return Err(PlanError::NoSuchTable {
                name: pattern.clone(),
                tables,
            });
        }
    }
    let wanted = |name: &str| {
        (options.tables.is_empty() || options.tables.iter().any(|pattern| fits(pattern, name)))
            && !options.exclude.iter().any(|pattern| fits(pattern, name))
    };
    let chosen: Vec<_> = (schema.tables.iter())
        .filter(|table| wanted(&table.name))
        .collect();
    let is_choice = !(options.tables.is_empty() && options.exclude.is_empty());
    if chosen.is_empty() && is_choice {
        let tables = names().collect::<Vec<_>>().join(", ");
        return Err(PlanError::NothingChosen { tables });
    }
    Ok(chosen)
}

/// A plan in the making.
pub(super) struct Maker {
    pub(super) naming: Naming,
    /// Names of tables, views, indexes and sequences, which share one space in PostgreSQL.
    pub(super) relations: Names,
    pub(super) catalog: Catalog,
    pub(super) plan: Plan,
}

impl Maker {
    fn skip_what_cannot_come(&mut self, schema: &Schema<'_>, chosen: &[&Table<'_>]) {
        for table in &schema.tables {
            if !chosen.iter().any(|chosen| chosen.name == table.name) {
                let reason = UNCHOSEN.to_owned();
                self.skip(ObjectKind::Table, &table.name, None, reason, None);
            }
        }
        for table in &schema.virtual_tables {
            let shadows = if table.shadows.is_empty() {
                String::new()
            } else {
                format!(
                    "; its data tables {} are skipped with it",
                    table.shadows.join(", ")
                )
            };
            let reason = format!(
                "it is a virtual table of {}, which PostgreSQL does not have{shadows}",
                table.module
            );
            self.skip(ObjectKind::VirtualTable, &table.name, None, reason, None);
        }
        for object in &schema.unread {
            let table = (object.kind != ObjectKind::View).then_some(object.table.as_str());
            self.skip(
                object.kind,
                &object.name,
                table,
                object.reason.clone(),
                object.line,
            );
        }
    }

    /// SQLite hands out UTF-8, and makes it of UTF-16 without saying what was no valid UTF-16.
    fn doubt_encoding(&mut self) {
        let encoding = &self.plan.source.encoding;
        if !encoding.starts_with("UTF-16") {
            return;
        }
        let message = format!(
            "the database stores text as {encoding}: where a text holds half of a surrogate pair, which is no character, \
             SQLite itself makes another character of it and the next one while reading; no program can see that, \
             so such a text arrives changed and its row is not quarantined (all other text is exact). At the end of a \
             text SQLite makes invalid UTF-8 of it: that row is quarantined"
        );
        self.doubt(DoubtKind::Meaning, None, None, message);
    }

    pub(super) fn skip(
        &mut self,
        kind: ObjectKind,
        name: &str,
        table: Option<&str>,
        reason: String,
        line: Option<u64>,
    ) {
        let table = table.map(str::to_owned);
        self.plan.skipped.push(Skipped {
            kind,
            name: name.to_owned(),
            table,
            reason,
            line,
        });
    }

    pub(super) fn refuse(
        &mut self,
        kind: ObjectKind,
        name: &str,
        table: Option<&str>,
        refusal: Refusal,
        sql: &str,
    ) {
        let line = if refusal.token.is_empty() {
            None
        } else {
            line_of_token(sql, &refusal.token)
        };
        self.skip(kind, name, table, refusal.reason, line);
    }

    pub(super) fn doubt(
        &mut self,
        kind: DoubtKind,
        table: Option<&str>,
        column: Option<&str>,
        message: String,
    ) {
        self.plan.doubts.push(Doubt {
            kind,
            table: table.map(str::to_owned),
            column: column.map(str::to_owned),
            message,
            rows: None,
            first_rows: Vec::new(),
            instead: None,
        });
    }
}

impl Maker {
    pub(super) fn position(&self, table: &str) -> Option<usize> {
        self.plan
            .tables
            .iter()
            .position(|plan| plan.source == table)
    }

    fn collations(&mut self) {
        let is_nocase =
            |column: &ColumnPlan| column.collation == Collation::NoCase && column.type_.is_text();
        let with: Vec<(String, String)> = (self.plan.tables.iter())
            .flat_map(|table| {
                let columns = table.columns.iter().filter(|column| is_nocase(column));
                columns.map(|column| (table.source.clone(), column.source.clone()))
            })
            .collect();
        if with.is_empty() {
            return;
        }
        let name = super::NOCASE;
        let statement = format!(
            "CREATE COLLATION IF NOT EXISTS {}.{} (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
            quote_name(&self.plan.schema),
            quote_name(name)
        );
        self.plan.helpers.push(ObjectPlan {
            kind: ObjectKind::Collation,
            source: "NOCASE".to_owned(),
            target: name.to_owned(),
            table: None,
            function: None,
            statements: vec![statement],
        });
        let columns: Vec<String> = with
            .iter()
            .map(|(table, column)| format!("{table}.{column}"))
            .collect();
        let message = format!(
            "NOCASE columns ({}) get the collation {name}, which ignores the case of all letters, not only of ASCII, \
             and sorts as dictionaries do; LIKE on them needs COLLATE \"C\" before PostgreSQL 18",
            columns.join(", ")
        );
        self.doubt(DoubtKind::Meaning, None, None, message);
        let rtrim = self.plan.tables.iter().flat_map(|table| {
            let columns = table
                .columns
                .iter()
                .filter(|column| column.collation == Collation::Rtrim && column.type_.is_text());
            columns.map(|column| (table.source.clone(), column.source.clone()))
        });
        for (table, column) in rtrim.collect::<Vec<_>>() {
            let message =
                "ignores spaces at the end in SQLite; PostgreSQL compares them, but in keys"
                    .to_owned();
            self.doubt(DoubtKind::Meaning, Some(&table), Some(&column), message);
        }
    }

    fn doubt_names(&mut self) {
        let mut changed: Vec<(String, Option<String>, String)> = Vec::new();
        let mut quoted: Vec<String> = Vec::new();
        let mut look = |source: &str, target: &str, table: Option<&str>| {
            if source != target && !source.is_empty() {
                changed.push((
                    source.to_owned(),
                    table.map(str::to_owned),
                    target.to_owned(),
                ));
            }
            if needs_quotes(target) {
                quoted.push(match table {
                    Some(table) => format!("{table}.{target}"),
                    None => target.to_owned(),
                });
            }
        };
        for table in &self.plan.tables {
            look(&table.source, &table.target, None);
            for column in &table.columns {
                look(&column.source, &column.target, Some(&table.source));
            }
            for (source, target) in table
                .indexes
                .iter()
                .map(|index| (&index.source, &index.name))
            {
                if source != target {
                    look(source, target, None);
                }
            }
        }
        for view in &self.plan.views {
            look(&view.source, &view.target, None);
        }
        for (source, table, target) in changed {
            let (table, column) = match table {
                Some(table) => (table, Some(source)),
                None => (source, None),
            };
            self.doubt(
                DoubtKind::Name,
                Some(&table),
                column.as_deref(),
                format!("is called {target} in the target"),
            );
        }
        if !quoted.is_empty() {
            let count = quoted.len();
            quoted.truncate(12);
            let more = if count > quoted.len() {
                format!(" and {} more", count - quoted.len())
            } else {
                String::new()
            };
            let instead = match self.naming {
                Naming::Keep => "; --lower takes capitals away",
                Naming::Lower => "",
            };
            let message = format!(
                "these names must be written in double quotes in PostgreSQL: {}{more}{instead}",
                quoted.join(", ")
            );
            self.doubt(DoubtKind::Name, None, None, message);
        }
    }
}
