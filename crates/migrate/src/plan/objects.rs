//! Views and triggers.

use super::make::Maker;
use super::names::Names;
use super::{DoubtKind, ObjectKind, ObjectPlan, quote_literal, quote_name};
use crate::schema::{Schema, Trigger, View};
use crate::translate::{CatalogColumn, Event, Refusal, Relation, TranslatedTrigger, Translator};

/// Translates views, each after those it reads.
pub(super) fn views(maker: &mut Maker, schema: &Schema<'_>) {
    let mut waiting: Vec<&View<'_>> = schema.views.iter().collect();
    // A view that reads another one is refused until that one is known: go round until nothing moves.
    loop {
        let before = waiting.len();
        let mut refused = Vec::new();
        for view in std::mem::take(&mut waiting) {
            if let Err(refusal) = one_view(maker, view) {
                refused.push((view, refusal));
            }
        }
        let stuck = refused.len() == before;
        for (view, refusal) in refused {
            if stuck {
                maker.refuse(ObjectKind::View, &view.name, None, refusal, &view.sql);
            } else {
                waiting.push(view);
            }
        }
        if waiting.is_empty() {
            return;
        }
    }
}

fn one_view(maker: &mut Maker, view: &View<'_>) -> Result<(), Refusal> {
    let translator = Translator {
        catalog: &maker.catalog,
    };
    let (query, types) = translator.view(view.select)?;
    if types.len() != view.columns.len() {
        let reason = format!(
            "it has {} columns in SQLite and {} as translated",
            view.columns.len(),
            types.len()
        );
        return Err(Refusal::new("SELECT", reason));
    }
    let mut names = Names::new(maker.naming);
    let columns: Vec<CatalogColumn> = (view.columns.iter().zip(&types))
        .map(|(source, value)| CatalogColumn::of_view(source, names.take(source), value))
        .collect();
    let target = maker.relations.take(&view.name);
    let qualified = format!("{}.{}", quote_name(&maker.plan.schema), quote_name(&target));
    let listed: Vec<String> = columns
        .iter()
        .map(|column| quote_name(&column.target))
        .collect();
    let statement = format!("CREATE VIEW {qualified} ({}) AS {query}", listed.join(", "));
    maker.plan.views.push(ObjectPlan {
        kind: ObjectKind::View,
        source: view.name.clone(),
        target: target.clone(),
        table: None,
        function: None,
        statements: vec![statement],
    });
    maker.catalog.relations.push(Relation {
        source: view.name.clone(),
        target,
        columns,
        rowid: None,
        primary_key: Vec::new(),
    });
    Ok(())
}

/// Translates triggers.
pub(super) fn triggers(maker: &mut Maker, schema: &Schema<'_>) {
    let mut translated: Vec<(&Trigger<'_>, TranslatedTrigger)> = Vec::new();
    for trigger in &schema.triggers {
        let translator = Translator {
            catalog: &maker.catalog,
        };
        match translator.trigger(trigger.statement) {
            Ok(made) => translated.push((trigger, made)),
            Err(refusal) => {
                maker.refuse(
                    ObjectKind::Trigger,
                    &trigger.name,
                    Some(&trigger.table),
                    refusal,
                    &trigger.sql,
                );
            }
        }
    }
    let named: Vec<(String, &TranslatedTrigger)> = name_in_order(maker, &translated);
    let mut functions = Names::new(maker.naming);
    for (number, (trigger, made)) in translated.iter().enumerate() {
        let (name, _) = &named[number];
        let function = functions.take(&format!("{}_trigger", trigger.name));
        let recursive = fires_itself(number, &translated);
        if recursive {
            let message = format!(
                "trigger {} can cause itself to fire, which SQLite does not let happen unless asked: it is told apart by a setting of the transaction",
                trigger.name
            );
            maker.doubt(DoubtKind::Meaning, Some(&trigger.table), None, message);
        }
        let plan = statements(maker, name, &function, made, recursive);
        maker.plan.triggers.push(ObjectPlan {
            source: trigger.name.clone(),
            ..plan
        });
    }
    if translated.iter().any(|(_, made)| made.time == "AFTER") {
        let message = "AFTER triggers see the table as it is when the whole statement is done; in SQLite, when their row is";
        maker.doubt(DoubtKind::Meaning, None, None, message.to_owned());
    }
}

/// PostgreSQL fires triggers in order of their names. Where several wait for the same thing and their
/// names would not fire them in the order in which they were made, numbers are put before them.
fn name_in_order<'t>(
    maker: &mut Maker,
    translated: &'t [(&Trigger<'_>, TranslatedTrigger)],
) -> Vec<(String, &'t TranslatedTrigger)> {
    let mut named = Vec::new();
    for (trigger, made) in translated {
        let same: Vec<&str> = (translated.iter())
            .filter(|(_, other)| {
                other.table == made.table && other.event == made.event && other.time == made.time
            })
            .map(|(other, _)| other.name.as_str())
            .collect();
        let name = if same.is_sorted() {
            trigger.name.clone()
        } else {
            let place = same
                .iter()
                .position(|name| *name == trigger.name)
                .unwrap_or_default()
                + 1;
            let name = format!("t{place:02}_{}", trigger.name);
            if place == 1 {
                let message = format!(
                    "triggers {} {} get numbers before their names ({name}), so that they fire in the order of creation",
                    made.time, made.on
                );
                maker.doubt(DoubtKind::Name, Some(&trigger.table), None, message);
            }
            name
        };
        // One table's triggers differ by name; SQLite's differ over all tables.
        let name = Names::new(maker.naming).take(&name);
        named.push((name, made));
    }
    named
}

fn statements(
    maker: &Maker,
    name: &str,
    function: &str,
    made: &TranslatedTrigger,
    guarded: bool,
) -> ObjectPlan {
    let schema = quote_name(&maker.plan.schema);
    let function_name = format!("{schema}.{}", quote_name(function));
    let table = maker
        .catalog
        .find(&made.table)
        .map(|relation| relation.target.clone())
        .unwrap_or_default();
    let mut lines = vec!["BEGIN".to_owned()];
    let setting = quote_literal(&format!("sqlite_trigger.{}", digest(&function_name)));
    if guarded {
        lines.push(format!("  IF current_setting({setting}, true) = 'on' THEN"));
        lines.push(format!("    RETURN {};", made.returns));
        lines.push("  END IF;".to_owned());
        lines.push(format!("  PERFORM set_config({setting}, 'on', true);"));
    }
    for line in &made.body {
        if guarded && line.trim() == "RETURN NULL;" {
            lines.push(format!(
                "  {}",
                line.replace(
                    "RETURN NULL;",
                    &format!("PERFORM set_config({setting}, 'off', true);")
                )
            ));
        }
        lines.push(format!("  {line}"));
    }
    if guarded {
        lines.push(format!("  PERFORM set_config({setting}, 'off', true);"));
    }
    lines.push(format!("  RETURN {};", made.returns));
    lines.push("END".to_owned());
    let body = lines.join("\n");
    // The body may hold any text: its quotes must not occur in it.
    let mut quote = "$trigger$".to_owned();
    while body.contains(&quote) {
        quote.insert(quote.len() - 1, '_');
    }
    let create_function = format!(
        "CREATE FUNCTION {function_name}() RETURNS trigger LANGUAGE plpgsql AS {quote}\n{body}\n{quote}"
    );
    let create_trigger = format!(
        "CREATE TRIGGER {} {} {} ON {schema}.{} FOR EACH ROW EXECUTE FUNCTION {function_name}()",
        quote_name(name),
        made.time,
        made.on,
        quote_name(&table)
    );
    ObjectPlan {
        kind: ObjectKind::Trigger,
        source: String::new(),
        target: name.to_owned(),
        table: Some(table),
        function: Some(function_name),
        statements: vec![create_function, create_trigger],
    }
}

fn digest(text: &str) -> String {
    use md5::{Digest, Md5};
    let digest: String = Md5::digest(text.as_bytes())
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("t{digest}")
}

/// Whether what a trigger changes can make it fire again, directly or by others.
fn fires_itself(start: usize, all: &[(&Trigger<'_>, TranslatedTrigger)]) -> bool {
    let fired = |by: usize| {
        let writes: &[(String, Event)] = &all[by].1.writes;
        (0..all.len()).filter(move |&other| {
            let made = &all[other].1;
            writes.iter().any(|(table, event)| {
                table.eq_ignore_ascii_case(&made.table) && *event == made.event
            })
        })
    };
    let mut seen = vec![false; all.len()];
    let mut next: Vec<usize> = fired(start).collect();
    while let Some(at) = next.pop() {
        if at == start {
            return true;
        }
        if !std::mem::replace(&mut seen[at], true) {
            next.extend(fired(at));
        }
    }
    false
}
