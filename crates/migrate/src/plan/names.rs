use std::collections::HashSet;

use md5::{Digest, Md5};

use super::Naming;

/// The longest name PostgreSQL keeps, in bytes.
const LONGEST: usize = 63;

/// Names that every table of PostgreSQL has already.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// Words that PostgreSQL does not take as a column's or table's name without quotes.
const RESERVED: [&str; 77] = [
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "system_user",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
];

/// Gives out names that differ from each other and that PostgreSQL keeps whole.
#[derive(Debug)]
pub(super) struct Names {
    naming: Naming,
    taken: HashSet<String>,
}

impl Names {
    pub(super) fn new(naming: Naming) -> Self {
        Self {
            naming,
            taken: HashSet::new(),
        }
    }

    /// For the columns of a table.
    pub(super) fn of_columns(naming: Naming) -> Self {
        Self {
            naming,
            taken: SYSTEM_COLUMNS.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    /// The name in the target: the wanted one where that is possible.
    pub(super) fn take(&mut self, wanted: &str) -> String {
        let mut name: String = wanted.chars().filter(|&letter| letter != '\0').collect();
        if self.naming == Naming::Lower {
            name.make_ascii_lowercase();
        }
        if name.is_empty() {
            name.push_str("unnamed");
        }
        let plain = shortened(&name, "");
        let mut chosen = plain;
        let mut number = 1;
        while self.taken.contains(&chosen) {
            number += 1;
            chosen = shortened(&name, &format!("_{number}"));
        }
        self.taken.insert(chosen.clone());
        chosen
    }
}

/// The name with an ending, cut to what PostgreSQL keeps; a cut name ends in a digest of the whole.
fn shortened(name: &str, ending: &str) -> String {
    if name.len() + ending.len() <= LONGEST {
        return format!("{name}{ending}");
    }
    let digest: String = Md5::digest(name.as_bytes())
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut room = LONGEST - ending.len() - digest.len() - 1;
    while !name.is_char_boundary(room) {
        room -= 1;
    }
    format!("{}_{digest}{ending}", &name[..room])
}

/// Whether a name must be written in double quotes in PostgreSQL.
pub(crate) fn needs_quotes(name: &str) -> bool {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.starts_with(|first: char| first.is_ascii_digit());
    !plain || RESERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_are_never_cut_by_postgres() {
        let mut names = Names::new(Naming::Lower);
        assert_eq!(names.take("Users"), "users");
        assert_eq!(names.take("USERS"), "users_2");
        assert_eq!(names.take(""), "unnamed");
        let long = "ä".repeat(40);
        let (one, two) = (names.take(&long), names.take(&format!("{long}x")));
        assert!(
            one.len() <= 63 && two.len() <= 63 && one != two,
            "{one} {two}"
        );
        let third = names.take(&long);
        assert!(third.len() <= 63 && third != one, "{third}");
    }

    #[test]
    fn a_column_does_not_take_the_name_of_a_system_column() {
        assert_eq!(Names::of_columns(Naming::Keep).take("ctid"), "ctid_2");
    }

    #[test]
    fn reserved_and_mixed_case_names_need_quotes() {
        for (name, needs) in [
            ("users", false),
            ("Users", true),
            ("order", true),
            ("a b", true),
            ("1st", true),
            ("ä", true),
        ] {
            assert_eq!(needs_quotes(name), needs, "{name}");
        }
    }
}
