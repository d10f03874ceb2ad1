//! The messages that can be decoded: `messages.txt`, read once.
//!
//! The file has a line `kind VERSION KIND MESSAGE` for each kind (version `*` is any), and for each
//! message a line `message NAME` followed by its fields: number, JSON name, label, type. Labels:
//! `one` (left out where zero), `kept` (kept where zero), `list`, `map` (the type is the values'),
//! `inline` (its members stand in the JSON of the message around it).

use std::collections::BTreeMap;
use std::sync::OnceLock;

const MESSAGES: &str = include_str!("messages.txt");

/// The place of a message in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageId(usize);

/// How often a field appears, and when it is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Plain,
    Kept,
    List,
    Map,
    Inline,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    String,
    Bytes,
    Bool,
    Int,
    Double,
    Quantity,
    IntOrString,
    Time,
    MicroTime,
    RawJson,
    /// A message whose JSON is the list it holds.
    StringList,
    Message(MessageId),
}

#[derive(Debug)]
pub(super) struct Field {
    number: u32,
    pub(super) name: String,
    pub(super) label: Label,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) struct Table {
    kinds: BTreeMap<(&'static str, &'static str), MessageId>,
    /// The fields of each message, sorted by number.
    messages: Vec<Vec<Field>>,
}

impl Table {
    /// The one table.
    pub(super) fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| Self::parse(MESSAGES).expect("messages.txt ships with the program"))
    }

    pub(super) fn message_of(&self, api_version: &str, kind: &str) -> Option<MessageId> {
        let named = self.kinds.get(&(api_version, kind));
        named.or_else(|| self.kinds.get(&("*", kind))).copied()
    }

    pub(super) fn field(&self, message: MessageId, number: u32) -> Option<&Field> {
        let fields = &self.messages[message.0];
        let place = fields
            .binary_search_by_key(&number, |field| field.number)
            .ok()?;
        fields.get(place)
    }

    fn parse(text: &'static str) -> Option<Self> {
        let names = text
            .lines()
            .filter_map(|line| line.strip_prefix("message "));
        let ids: BTreeMap<&str, MessageId> = names
            .enumerate()
            .map(|(index, name)| (name, MessageId(index)))
            .collect();
        let mut table = Self {
            kinds: BTreeMap::new(),
            messages: Vec::with_capacity(ids.len()),
        };
        for line in text.lines() {
            let words: Vec<&'static str> = line.split_whitespace().collect();
            match words[..] {
                ["#", ..] => {}
                ["kind", version, kind, message] => {
                    table.kinds.insert((version, kind), *ids.get(message)?);
                }
                ["message", _] => table.messages.push(Vec::new()),
                [number, name, label, kind] => {
                    table.messages.last_mut()?.push(Field {
                        number: number.parse().ok()?,
                        name: name.to_owned(),
                        label: label_named(label)?,
                        kind: kind_named(kind, &ids)?,
                    });
                }
                _ => return None,
            }
        }
        Some(table)
    }
}

fn label_named(name: &str) -> Option<Label> {
    Some(match name {
        "one" => Label::Plain,
        "kept" => Label::Kept,
        "list" => Label::List,
        "map" => Label::Map,
        "inline" => Label::Inline,
        _ => return None,
    })
}

fn kind_named(name: &str, messages: &BTreeMap<&str, MessageId>) -> Option<Kind> {
    Some(match name {
        "string" => Kind::String,
        "bytes" => Kind::Bytes,
        "bool" => Kind::Bool,
        "int" => Kind::Int,
        "double" => Kind::Double,
        "quantity" => Kind::Quantity,
        "intorstring" => Kind::IntOrString,
        "time" => Kind::Time,
        "microtime" => Kind::MicroTime,
        "rawjson" => Kind::RawJson,
        "stringlist" => Kind::StringList,
        message => Kind::Message(*messages.get(message)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Schema, Shape};

    #[test]
    fn the_table_is_whole() {
        let table = Table::get();
        assert!(table.kinds.len() > 25, "{}", table.kinds.len());
        for fields in &table.messages {
            assert!(fields.is_sorted_by(|one, other| one.number < other.number));
            for field in fields {
                let is_message = matches!(field.kind, Kind::Message(_));
                assert!(field.label != Label::Inline || is_message, "{}", field.name);
            }
        }
    }

    #[test]
    fn a_table_with_a_fault_is_none() {
        for text in [
            "kind v1 Pod x",
            "message a\n 1 b one\n",
            "message a\n x b one int",
            "message a\n 1 b one c",
        ] {
            assert!(Table::parse(text).is_none(), "{text}");
        }
    }

    /// Walks a message and the schema of the same type side by side, and collects the fields of
    /// one that the other lacks.
    fn compare(message: MessageId, schema: &Schema, path: &str, differences: &mut Vec<String>) {
        for field in &Table::get().messages[message.0] {
            let path = format!("{path}.{}", field.name);
            if let (Label::Inline, Kind::Message(inner)) = (field.label, field.kind) {
                compare(inner, schema, &path, differences);
                continue;
            }
            let Some(place) = schema.field(&field.name) else {
                differences.push(format!("{path} is not in the schema"));
                continue;
            };
            let inner = match field.label {
                Label::List => place.items(),
                Label::Map => place.field("any"),
                Label::Plain | Label::Kept | Label::Inline => Some(place),
            };
            let Some(inner) = inner else {
                differences.push(format!("{path} repeats here and not in the schema"));
                continue;
            };
            match field.kind {
                Kind::Message(message) => compare(message, &inner, &path, differences),
                Kind::RawJson | Kind::StringList => {}
                _ if inner.shape() == Shape::Scalar => {}
                _ => differences.push(format!("{path} is a scalar here and not in the schema")),
            }
        }
    }

    #[test]
    fn the_table_agrees_with_the_schemas() {
        let table = Table::get();
        let mut compared = 0;
        let mut differences = Vec::new();
        for line in MESSAGES.lines() {
            let ["kind", version, kind, message] = line.split(' ').collect::<Vec<_>>()[..] else {
                continue;
            };
            let definition = format!("io.k8s.api.{}", message.replace('/', "."));
            if let Some(schema) = Schema::builtin(&definition) {
                let message = table.message_of(version, kind).unwrap();
                compare(message, &schema, kind, &mut differences);
                compared += 1;
            }
        }
        assert_eq!(differences, Vec::<String>::new());
        assert!(compared > 15, "{compared}");
    }
}
