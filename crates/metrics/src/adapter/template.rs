//! The part of Go's templates that rules use: fields, entries of maps and lists, between `<<` and `>>`.

use std::collections::BTreeMap;

/// A template, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `<<.Name>>`
    Field(String),
    /// `<<.Map.key>>` or `<<index .Map "key">>`
    Entry(String, String),
    /// `<<index .List 0>>`
    Item(String, usize),
}

/// What a template is filled in with.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    /// Texts by name.
    pub(super) texts: BTreeMap<&'static str, String>,
    /// `.LabelValuesByName`.
    pub(super) label_values: BTreeMap<String, String>,
    /// `.GroupBySlice`.
    pub(super) group_by: Vec<String>,
}

const LABEL_VALUES: &str = "LabelValuesByName";
const GROUP_BY_SLICE: &str = "GroupBySlice";

impl Template {
    /// Takes a template apart. Only `fields` may be named, and only where `queries` is true the map and the list.
    pub(super) fn parse(text: &str, fields: &[&str], queries: bool) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("<<") {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (action, after) = after
                .split_once(">>")
                .ok_or_else(|| format!("<< without >> in {text:?}"))?;
            pieces.push(action_of(action.trim(), fields, queries)?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Template(pieces))
    }

    /// Fills it in; an entry that is not there is empty, as in Go.
    pub(super) fn fill(&self, values: &Values) -> String {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Field(name) if name == GROUP_BY_SLICE => {
                    filled.push_str(&format!("[{}]", values.group_by.join(" ")));
                }
                Piece::Field(name) => {
                    filled.push_str(values.texts.get(name.as_str()).map_or("", String::as_str));
                }
                Piece::Entry(_, key) => {
                    filled.push_str(values.label_values.get(key).map_or("", String::as_str));
                }
                Piece::Item(_, at) => {
                    filled.push_str(values.group_by.get(*at).map_or("", String::as_str));
                }
            }
        }
        filled
    }

    /// A regular expression that recognises what it makes, with a group for each field, and their names in order.
    pub(super) fn recogniser(&self) -> (String, Vec<String>) {
        let (mut pattern, mut names) = ("^".to_owned(), Vec::new());
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => pattern.push_str(&regex::escape(text)),
                Piece::Field(name) => {
                    // A group may have no name: the core group's is empty.
                    pattern.push_str(if name == "Group" { "(.*?)" } else { "(.+?)" });
                    names.push(name.clone());
                }
                Piece::Entry(..) | Piece::Item(..) => {}
            }
        }
        pattern.push('$');
        (pattern, names)
    }
}

fn action_of(action: &str, fields: &[&str], queries: bool) -> Result<Piece, String> {
    let unknown = || {
        let known: Vec<String> = fields.iter().map(|field| format!("<<.{field}>>")).collect();
        format!(
            "<<{action}>> is not supported; there are {}",
            known.join(", ")
        )
    };
    let words: Vec<&str> = action.split_whitespace().collect();
    match words.as_slice() {
        [path] => {
            let path = path.strip_prefix('.').ok_or_else(unknown)?;
            match path.split_once('.') {
                Some((LABEL_VALUES, key)) if queries => {
                    Ok(Piece::Entry(LABEL_VALUES.to_owned(), key.to_owned()))
                }
                None if fields.contains(&path) || (queries && path == GROUP_BY_SLICE) => {
                    Ok(Piece::Field(path.to_owned()))
                }
                _ => Err(unknown()),
            }
        }
        ["index", ".LabelValuesByName", key] if queries => {
            let quoted = |mark: char| key.strip_prefix(mark)?.strip_suffix(mark);
            let key = quoted('"').or_else(|| quoted('`')).ok_or_else(unknown)?;
            Ok(Piece::Entry(LABEL_VALUES.to_owned(), key.to_owned()))
        }
        ["index", ".GroupBySlice", at] if queries => {
            let at = at.parse().map_err(|_| unknown())?;
            Ok(Piece::Item(GROUP_BY_SLICE.to_owned(), at))
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_entries_and_items_are_filled_in() {
        let text = r#"sum(rate(<<.Series>>{<<.LabelMatchers>>,x="<<.LabelValuesByName.pod>>",y="<<index .LabelValuesByName "na me">>"}[2m])) by (<<index .GroupBySlice 0>>, << .GroupBy >>)"#;
        // A key with a space is not one word.
        assert!(Template::parse(text, &["Series"], true).is_err());
        let text = text.replace("na me", "namespace");
        let template =
            Template::parse(&text, &["Series", "LabelMatchers", "GroupBy"], true).unwrap();
        let values = Values {
            texts: BTreeMap::from([
                ("Series", "s".to_owned()),
                ("LabelMatchers", "a=\"b\"".to_owned()),
                ("GroupBy", "pod".to_owned()),
            ]),
            label_values: BTreeMap::from([("pod".to_owned(), "p|q".to_owned())]),
            group_by: vec!["pod".to_owned()],
        };
        assert_eq!(
            template.fill(&values),
            r#"sum(rate(s{a="b",x="p|q",y=""}[2m])) by (pod, pod)"#
        );
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        let error = Template::parse("a<<range .GroupBySlice>>", &["Series"], true).unwrap_err();
        assert_eq!(
            error,
            "<<range .GroupBySlice>> is not supported; there are <<.Series>>"
        );
        assert_eq!(
            Template::parse("a<<.Series", &["Series"], true).unwrap_err(),
            "<< without >> in \"a<<.Series\""
        );
    }
}
