//! A plan for people.

use std::fmt::{self, Write as _};

use super::{Conversion, Doubt, DoubtKind, ObjectKind, Plan, Skipped, TablePlan};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: u64 = self.tables.iter().map(|table| table.rows).sum();
        writeln!(
            f,
            "{} -> schema {}: {} tables with {rows} rows, {} views, {} triggers",
            self.source.path,
            self.schema,
            self.tables.len(),
            self.views.len(),
            self.triggers.len()
        )?;
        for table in &self.tables {
            write_table(f, table)?;
        }
        let quarantined: Vec<&Doubt> = self
            .doubts
            .iter()
            .filter(|doubt| doubt.kind == DoubtKind::Quarantine)
            .collect();
        let others: Vec<&Doubt> = self
            .doubts
            .iter()
            .filter(|doubt| doubt.kind != DoubtKind::Quarantine)
            .collect();
        list(f, "Rows that will go to quarantine", &quarantined)?;
        list(f, "Doubts", &others)?;
        let (unchosen, skipped): (Vec<_>, Vec<_>) =
            (self.skipped.iter()).partition(|skipped| skipped.is_unchosen());
        list(f, "What does not come across", &skipped)?;
        match unchosen.len() {
            0 => Ok(()),
            1 => writeln!(f, "\n1 table is left out by --tables or --exclude"),
            number => writeln!(f, "\n{number} tables are left out by --tables or --exclude"),
        }
    }
}

fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, title: &str, items: &[&T]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n{title}:")?;
    items
        .iter()
        .try_for_each(|item| writeln!(f, "  - {}", item.to_string().replace('\n', "\n    ")))
}

fn write_table(f: &mut fmt::Formatter<'_>, table: &TablePlan) -> fmt::Result {
    let renamed = if table.source == table.target {
        String::new()
    } else {
        format!(" -> {}", table.target)
    };
    writeln!(f, "\n{}{renamed} ({} rows)", table.source, table.rows)?;
    let mut lines = Vec::new();
    for (position, column) in table.columns.iter().enumerate() {
        let declared = if column.declared.is_empty() {
            "-"
        } else {
            &column.declared
        };
        let mut target = column.type_.to_string();
        if column.conversion != Conversion::Exact {
            let _ = write!(target, " {}", how(&column.conversion));
        }
        let mut notes = Vec::new();
        if column.source != column.target {
            notes.push(format!("called {}", column.target));
        }
        if table
            .primary_key
            .iter()
            .flat_map(|key| &key.parts)
            .any(|part| part.column == Some(position))
        {
            notes.push("primary key".to_owned());
        }
        if let Some(identity) = table
            .identity
            .as_ref()
            .filter(|identity| identity.column == position)
        {
            notes.push(format!("identity, next {}", identity.next));
        } else if column.not_null {
            notes.push("not null".to_owned());
        }
        if let Some(default) = &column.default {
            notes.push(format!("default {default}"));
        }
        if let Some(generated) = &column.generated {
            notes.push(format!("computed as {}", generated.expression));
        }
        lines.push([
            column.source.clone(),
            declared.to_owned(),
            target,
            notes.join(", "),
        ]);
    }
    let width = |at: usize| {
        lines
            .iter()
            .map(|line| line[at].chars().count())
            .max()
            .unwrap_or(0)
    };
    let (first, second, third) = (width(0), width(1), width(2));
    for [name, declared, target, notes] in &lines {
        let line = format!("  {name:first$}  {declared:second$}  {target:third$}  {notes}");
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

/// In a word, how values are read.
fn how(conversion: &Conversion) -> &'static str {
    match conversion {
        Conversion::Exact => "",
        Conversion::BooleanFromInteger => "from 0 and 1",
        Conversion::BooleanFromText { .. } => "from words",
        Conversion::DoubleFromNumber
        | Conversion::NumericFromNumber
        | Conversion::IntegerFromNumber => "from numbers",
        Conversion::BytesFromTextOrBlob => "from texts and bytes",
        Conversion::DateFromText
        | Conversion::TimeFromText(_)
        | Conversion::TimestampFromText(_)
        | Conversion::DateTimeFromAnyText
        | Conversion::UuidFromText { .. }
        | Conversion::JsonFromText
        | Conversion::IntegerFromText
        | Conversion::NumericFromText => "from text",
        Conversion::UnixSeconds => "from seconds since 1970",
        Conversion::UnixMillis => "from milliseconds since 1970",
        Conversion::UnixMicros => "from microseconds since 1970",
        Conversion::JulianDay => "from Julian days",
        Conversion::UuidFromBlob => "from 16 bytes",
        Conversion::TextFromAny => "from any value",
        Conversion::TextFromUtf8 => "from UTF-8 bytes",
        Conversion::TextFromLatin1 => "from ISO 8859-1 bytes",
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.table, &self.column) {
            (Some(table), Some(column)) => write!(f, "{table}.{column} ")?,
            (Some(table), None) => write!(f, "{table} ")?,
            (None, _) => {}
        }
        f.write_str(&self.message)?;
        if let Some(rows) = self.rows {
            let word = if rows == 1 { "row" } else { "rows" };
            write!(f, " ({rows} {word}: {}", self.first_rows.join(", "))?;
            if rows > self.first_rows.len() as u64 {
                f.write_str(", …")?;
            }
            f.write_str(")")?;
        }
        match &self.instead {
            Some(instead) => write!(f, "; instead: {instead}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::VirtualTable => "virtual table",
            Self::Column => "column",
            Self::Default => "default of",
            Self::Check => "check",
            Self::Key => "key",
            Self::ForeignKey => "foreign key",
            Self::Generated => "computed column",
            Self::Index => "index",
            Self::View => "view",
            Self::Trigger => "trigger",
            Self::Collation => "collation",
            Self::Function => "function",
        })
    }
}
