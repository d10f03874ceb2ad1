//! After the data: keys, checks, foreign keys, indexes, sequences, views and triggers.
//!
//! Rows that SQLite let through and a constraint does not are moved to the quarantine, then the
//! constraint is made. Rows whose parent is missing are looked for before any foreign key exists, again
//! and again until none is left: a row that goes may be another's parent, and an existing foreign key
//! would delete or change its children. Each step is noted in its own transaction.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_postgres::types::Type;
use tokio_util::sync::CancellationToken;

use super::violators::{Place, QUARANTINE, Violators, move_orphans, orphans, violators};
use super::{CopyError, CopyOptions, Event};
use crate::connection::{QueryError, Reason, Session, Target};
use crate::ddl::{self, Statement};
use crate::plan::{FOLLOWED_ROWID, Plan, RowKey, TablePlan, quote_name};
use crate::snapshot::{Snapshot, SourceError};

/// One thing to make.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// Unique within the migration.
    pub(super) name: String,
    pub(super) statements: Vec<String>,
    /// The statement that moves the rows away that are in the way, and why they are.
    pub(super) violators: Option<Violators>,
}

#[derive(Clone)]
struct Completion {
    migration: i64,
    followed: bool,
    fence: String,
    strict: bool,
    events: mpsc::Sender<Event>,
    cancel: CancellationToken,
    done: Arc<Mutex<(usize, usize)>>,
}

#[allow(clippy::too_many_arguments)]
pub(super) async fn complete(
    target: &Target,
    session: &Session,
    snapshot: &Arc<Snapshot>,
    plan: &Arc<Plan>,
    migration: i64,
    fence: &str,
    appended: &BTreeSet<String>,
    options: &CopyOptions,
    events: &mpsc::Sender<Event>,
    cancel: &CancellationToken,
) -> Result<(), CopyError> {
    let statements: Vec<Statement> = ddl::statements(plan)
        .into_iter()
        .filter(|statement| {
            !statement
                .table
                .as_ref()
                .is_some_and(|table| appended.contains(table))
                || statement.phase >= ddl::Phase::Views
        })
        .collect();
    let of = |phase: ddl::Phase| {
        statements
            .iter()
            .filter(move |statement| statement.phase == phase)
    };
    let place = Place {
        quarantine: QUARANTINE,
        migration,
        followed: options.followed,
    };
    let keys: Vec<Vec<Step>> = plan
        .tables
        .iter()
        .map(|table| key_steps(plan, table, place, &statements))
        .collect();
    let indexes: Vec<Vec<Step>> = of(ddl::Phase::Indexes)
        .map(|statement| vec![plain(statement)])
        .collect();
    let guards: Vec<Vec<Step>> = (plan.tables.iter())
        .map(|table| foreign_key_steps(table, &statements))
        .collect();
    let statistics: Vec<Vec<Step>> = (plan.tables.iter())
        .map(|table| vec![statistics_step(plan, table)])
        .collect();
    let mut last: Vec<Step> = sequences(snapshot, plan, appended).await?;
    for phase in [ddl::Phase::Comments, ddl::Phase::Views] {
        last.extend(
            of(phase)
                .enumerate()
                .map(|(index, statement)| numbered(statement, index)),
        );
    }
    last.extend(
        of(ddl::Phase::Triggers)
            .enumerate()
            .map(|(index, statement)| numbered(statement, index)),
    );

    let count = |groups: &[Vec<Step>]| groups.iter().map(Vec::len).sum::<usize>();
    let all = count(&keys) + count(&indexes) + count(&guards) + count(&statistics) + last.len();
    let completion = Completion {
        migration,
        followed: options.followed,
        fence: fence.to_owned(),
        strict: options.strict,
        events: events.clone(),
        cancel: cancel.clone(),
        done: Arc::new(Mutex::new((0, all))),
    };
    completion.run(target, options.jobs, keys).await?;
    completion.move_orphans(session, plan, appended).await?;
    completion.run(target, options.jobs, indexes).await?;
    completion.run(target, options.jobs, guards).await?;
    completion.run(target, options.jobs, statistics).await?;
    completion.run(target, 1, vec![last]).await
}

/// What could not be made, and why.
pub(super) async fn not_made(
    session: &Session,
    migration: i64,
) -> Result<Vec<(String, String)>, CopyError> {
    let problems = session
        .query_typed(
            "SELECT name, problem FROM springtide_migrate.step WHERE migration = $1 AND problem IS NOT NULL ORDER BY name",
            &[(&migration, Type::INT8)],
        )
        .await
        .map_err(|error| QueryError::while_doing("reading the state of the migration", &error))?;
    Ok(problems
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect())
}

pub(super) fn plain(statement: &Statement) -> Step {
    let table = statement
        .table
        .as_ref()
        .map(|table| format!(" of {table}"))
        .unwrap_or_default();
    Step {
        name: format!("{}{table}", statement.object),
        statements: vec![statement.sql.clone()],
        violators: None,
    }
}

/// Several statements may make one object.
fn numbered(statement: &Statement, index: usize) -> Step {
    let step = plain(statement);
    Step {
        name: format!("{} ({})", step.name, index + 1),
        ..step
    }
}

/// What the planner must know before the first query: autovacuum would tell it minutes later.
fn statistics_step(plan: &Plan, table: &TablePlan) -> Step {
    Step {
        name: format!("statistics of {}", table.target),
        statements: vec![format!("ANALYZE {}", plan.qualified(table))],
        violators: None,
    }
}

/// Keys and checks of one table, one after the other.
pub(super) fn key_steps(
    plan: &Plan,
    table: &TablePlan,
    place: Place<'_>,
    statements: &[Statement],
) -> Vec<Step> {
    let own = |phase: ddl::Phase| {
        statements.iter().filter(move |statement| {
            statement.phase == phase && statement.table.as_deref() == Some(&table.target)
        })
    };
    let mut steps = Vec::new();
    let keys = table.primary_key.iter().chain(&table.uniques);
    for (key, statement) in keys.zip(own(ddl::Phase::Keys)) {
        let columns: Vec<usize> = key.parts.iter().filter_map(|part| part.column).collect();
        let parts: Vec<&str> = key
            .parts
            .iter()
            .map(|part| part.expression.as_str())
            .collect();
        let present: Vec<String> = parts
            .iter()
            .map(|part| format!("({part}) IS NOT NULL"))
            .collect();
        let condition = key
            .condition
            .as_ref()
            .map(|condition| format!(" AND ({condition})"))
            .unwrap_or_default();
        let doomed = format!(
            "SELECT ctid FROM (SELECT ctid, row_number() OVER (PARTITION BY {} ORDER BY {}) AS place FROM ONLY {} WHERE {}{condition}) AS rows WHERE place > 1",
            parts.join(", "),
            order(table),
            plan.qualified(table),
            present.join(" AND "),
        );
        let reason = format!("another row has the same values in the key {}", key.name);
        steps.push(Step {
            violators: Some(violators(plan, table, place, &doomed, &columns, &reason)),
            ..plain(statement)
        });
    }
    for (check, statement) in table.checks.iter().zip(own(ddl::Phase::Checks)) {
        let doomed = format!(
            "SELECT ctid FROM ONLY {} WHERE ({}) IS FALSE",
            plan.qualified(table),
            check.expression
        );
        let reason = format!("the check {} does not hold: {}", check.name, check.source);
        let validate = format!(
            "ALTER TABLE {} VALIDATE CONSTRAINT {}",
            plan.qualified(table),
            quote_name(&check.name)
        );
        let mut step = plain(statement);
        step.statements.push(validate);
        step.violators = Some(violators(plan, table, place, &doomed, &[], &reason));
        steps.push(step);
    }
    if place.followed && table.needs_followed_rowid() {
        let sql = format!(
            "CREATE UNIQUE INDEX ON {} ({})",
            plan.qualified(table),
            quote_name(FOLLOWED_ROWID)
        );
        steps.push(Step {
            name: format!("index of the rowids of {}", table.target),
            statements: vec![sql],
            violators: None,
        });
    }
    steps
}

pub(super) fn foreign_key_steps(table: &TablePlan, statements: &[Statement]) -> Vec<Step> {
    let own = |phase: ddl::Phase| {
        statements.iter().filter(move |statement| {
            statement.phase == phase && statement.table.as_deref() == Some(&table.target)
        })
    };
    own(ddl::Phase::ForeignKeys)
        .zip(own(ddl::Phase::Validate).skip(table.checks.len()))
        .map(|(add, validate)| {
            let mut step = plain(add);
            step.statements.push(validate.sql.clone());
            step
        })
        .collect()
}

/// The order in which rows of one key came: the first stays.
fn order(table: &TablePlan) -> String {
    match &table.key {
        RowKey::Rowid {
            column: Some(column),
            ..
        } => quote_name(&table.columns[*column].target),
        _ => "ctid".to_owned(),
    }
}

async fn sequences(
    snapshot: &Arc<Snapshot>,
    plan: &Arc<Plan>,
    appended: &BTreeSet<String>,
) -> Result<Vec<Step>, CopyError> {
    let reader = snapshot
        .reader()
        .ok_or_else(|| CopyError::Internal("the snapshot has no reader left".to_owned()))?;
    let (plan, appended, file) = (
        Arc::clone(plan),
        appended.clone(),
        snapshot.file().to_owned(),
    );
    let asked = tokio::task::spawn_blocking(move || {
        let mut steps = Vec::new();
        for table in plan
            .tables
            .iter()
            .filter(|table| !appended.contains(&table.target))
        {
            let Some(identity) = &table.identity else {
                continue;
            };
            let next: i64 = reader.query_row(&identity.next_query(table), [], |row| row.get(0))?;
            let statements = ddl::set_sequence(&plan, table, next).into_iter().collect();
            steps.push(Step {
                name: format!("sequence of {}", table.target),
                statements,
                violators: None,
            });
        }
        Ok(steps)
    });
    let steps = asked
        .await
        .map_err(|error| CopyError::Internal(error.to_string()))?;
    steps.map_err(|error| SourceError::explain(&file, &error).into())
}

impl Completion {
    /// Runs groups of steps on this many sessions; steps of one group follow each other.
    async fn run(
        &self,
        target: &Target,
        jobs: usize,
        groups: Vec<Vec<Step>>,
    ) -> Result<(), CopyError> {
        let groups: VecDeque<Vec<Step>> = groups
            .into_iter()
            .filter(|group| !group.is_empty())
            .collect();
        let workers = jobs.clamp(1, groups.len().max(1));
        if groups.is_empty() {
            return Ok(());
        }
        let queue = Arc::new(Mutex::new(groups));
        let mut running = JoinSet::new();
        for _ in 0..workers {
            let (this, target, queue) = (self.clone(), target.clone(), Arc::clone(&queue));
            running.spawn(async move {
                let session = target.connect().await?;
                loop {
                    let group = queue.lock().pop_front();
                    let Some(group) = group else {
                        return Ok::<(), CopyError>(());
                    };
                    for step in &group {
                        this.make(&session, step).await?;
                    }
                }
            });
        }
        let mut outcome = Ok(());
        while let Some(ended) = running.join_next().await {
            let ended = ended.unwrap_or_else(|error| Err(CopyError::Internal(error.to_string())));
            if outcome.is_ok() && ended.is_err() {
                queue.lock().clear();
                outcome = ended;
            }
        }
        outcome
    }

    async fn make(&self, session: &Session, step: &Step) -> Result<(), CopyError> {
        if self.cancel.is_cancelled() {
            return Err(CopyError::Cancelled);
        }
        let (done, of) = {
            let mut done = self.done.lock();
            done.0 += 1;
            (done.0 - 1, done.1)
        };
        let _ = self
            .events
            .send(Event::Step {
                name: step.name.clone(),
                done,
                of,
            })
            .await;
        let Some(mut error) = self.attempt(session, step, false).await? else {
            return Ok(());
        };
        // 23xxx: rows are in the way.
        if error
            .code
            .as_deref()
            .is_some_and(|code| code.starts_with("23"))
            && step.violators.is_some()
        {
            if self.strict {
                return Err(CopyError::Strict {
                    message: format!("{} (--strict stops at the first such row)", error.message),
                });
            }
            match self.attempt(session, step, true).await? {
                None => return Ok(()),
                Some(later) => error = later,
            }
        }
        // Anything else that is not the connection's fault is noted: no data is lost by it.
        let failed = |error| QueryError::while_doing("noting what could not be made", &error);
        session
            .execute_typed(
                "INSERT INTO springtide_migrate.step (migration, name, problem) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                &[(&self.migration, Type::INT8), (&step.name, Type::TEXT), (&error.message, Type::TEXT)],
            )
            .await
            .map_err(failed)?;
        let _ = self
            .events
            .send(Event::NotMade {
                name: step.name.clone(),
                problem: error.message,
            })
            .await;
        Ok(())
    }

    /// Begins the transaction of a step, and notes in it that the step is made; false if it was
    /// made before. It need not be on the disk before the next: a crash takes the step with its note.
    async fn begin(&self, session: &Session, step: &str) -> Result<bool, tokio_postgres::Error> {
        session
            .batch_execute(&format!(
                "BEGIN; SET LOCAL synchronous_commit = off; {}",
                self.fence
            ))
            .await?;
        let noted = session
            .execute_typed(
                "INSERT INTO springtide_migrate.step (migration, name) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                &[(&self.migration, Type::INT8), (&step, Type::TEXT)],
            )
            .await?;
        Ok(noted > 0)
    }

    /// Makes a step in one transaction, unless it is made; answers why it could not be, if that is the
    /// step's own fault.
    async fn attempt(
        &self,
        session: &Session,
        step: &Step,
        move_violators: bool,
    ) -> Result<Option<QueryError>, CopyError> {
        let doing = format!("making {}", step.name);
        let failed = |error: tokio_postgres::Error| QueryError::while_doing(&doing, &error);
        let is_new = self.begin(session, &step.name).await.map_err(failed)?;
        let mut moved = 0;
        let outcome = async {
            if !is_new {
                return Ok(());
            }
            let (first, rest) = step
                .statements
                .split_at(usize::from(move_violators && step.statements.len() > 1));
            // A check is added before rows that break it are moved, a key after.
            for statement in first {
                session.batch_execute(statement).await?;
            }
            if move_violators && let Some(violators) = &step.violators {
                let row = session.query_typed_one(&violators.statement, &[]).await?;
                moved = row.get::<_, i64>(0).unsigned_abs();
            }
            for statement in rest {
                session.batch_execute(statement).await?;
            }
            session.batch_execute("COMMIT").await
        }
        .await;
        match outcome {
            Ok(()) if !is_new => {
                session.batch_execute("ROLLBACK").await.map_err(failed)?;
                Ok(None)
            }
            Ok(()) => {
                if let (Some(violators), 1..) = (&step.violators, moved) {
                    let event = Event::Quarantined {
                        table: violators.table.clone(),
                        rows: moved,
                        reason: violators.reason.clone(),
                    };
                    let _ = self.events.send(event).await;
                }
                Ok(None)
            }
            Err(error) => {
                let error = failed(error);
                if matches!(
                    error.reason,
                    Reason::Lost
                        | Reason::DiskFull
                        | Reason::Busy
                        | Reason::Timeout
                        | Reason::Unreachable
                ) {
                    return Err(error.into());
                }
                session.batch_execute("ROLLBACK").await.map_err(failed)?;
                Ok(Some(error))
            }
        }
    }

    /// Moves rows whose parent is missing, until every row has its own. One transaction: with all of
    /// them, or none.
    async fn move_orphans(
        &self,
        session: &Session,
        plan: &Plan,
        appended: &BTreeSet<String>,
    ) -> Result<(), CopyError> {
        let doing = "looking for rows whose foreign key leads nowhere";
        let failed = |error: tokio_postgres::Error| QueryError::while_doing(doing, &error);
        let keys: Vec<Violators> = plan
            .tables
            .iter()
            .filter(|table| !appended.contains(&table.target))
            .flat_map(|table| {
                orphans(
                    plan,
                    table,
                    Place {
                        quarantine: QUARANTINE,
                        migration: self.migration,
                        followed: self.followed,
                    },
                )
            })
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        let is_new = self
            .begin(session, "rows without a parent")
            .await
            .map_err(failed)?;
        let moved = if is_new {
            move_orphans(session, &keys).await.map_err(failed)?
        } else {
            vec![0; keys.len()]
        };
        let first = keys.iter().zip(&moved).find(|(_, rows)| **rows > 0);
        if let (true, Some((orphans, rows))) = (self.strict, first) {
            session.batch_execute("ROLLBACK").await.map_err(failed)?;
            return Err(CopyError::Strict {
                message: format!(
                    "table {}: {rows} rows: {} (--strict stops there)",
                    orphans.table, orphans.reason
                ),
            });
        }
        session.batch_execute("COMMIT").await.map_err(failed)?;
        for (orphans, rows) in keys.into_iter().zip(moved).filter(|(_, rows)| *rows > 0) {
            let event = Event::Quarantined {
                table: orphans.table,
                rows,
                reason: orphans.reason,
            };
            let _ = self.events.send(event).await;
        }
        Ok(())
    }
}
