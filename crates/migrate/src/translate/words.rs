//! Columns of two words, such as `'t'` and `'f'`, that become `boolean`.

use super::sql::{Literal, Sql, Ty};
use crate::plan::quote_literal;

/// Bytes of the longest word that is known to expressions: `--cast` may name longer ones.
const LONGEST: usize = 22;

/// The texts that mean true and false in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Words {
    true_text: Word,
    false_text: Word,
}

/// A short text, kept in place so that types can be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word {
    bytes: [u8; LONGEST],
    length: u8,
}

impl Word {
    fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; LONGEST];
        bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        let length = u8::try_from(text.len()).ok()?;
        Some(Self { bytes, length })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes[..usize::from(self.length)]).into_owned()
    }
}

impl Words {
    /// None where the words are too long, or alike for some collation: then nothing can be said
    /// of a comparison.
    pub(super) fn new(true_text: &str, false_text: &str) -> Option<Self> {
        let alike = (true_text.trim_end_matches(' '))
            .eq_ignore_ascii_case(false_text.trim_end_matches(' '));
        if alike {
            return None;
        }
        Some(Self {
            true_text: Word::new(true_text)?,
            false_text: Word::new(false_text)?,
        })
    }

    /// What a text literal means beside the column, as PostgreSQL's literal.
    pub(super) fn truth(&self, value: &Sql) -> Option<String> {
        let Some(Literal::Text(text)) = &value.literal else {
            return None;
        };
        if *text == self.true_text.text() {
            Some("true".to_owned())
        } else if *text == self.false_text.text() {
            Some("false".to_owned())
        } else {
            None
        }
    }

    /// The text that SQLite keeps, of a boolean operand.
    pub(super) fn written(&self, operand: &str) -> String {
        format!(
            "CASE {operand} WHEN true THEN {} WHEN false THEN {} END",
            quote_literal(&self.true_text.text()),
            quote_literal(&self.false_text.text())
        )
    }

    /// Whether the words sort as false and true do, under every collation.
    pub(super) fn sort_as_booleans(&self) -> bool {
        let (yes, no) = (self.true_text.text(), self.false_text.text());
        no < yes && no.to_ascii_lowercase() < yes.to_ascii_lowercase()
    }
}

impl Sql {
    /// Whether PostgreSQL would sort it otherwise than SQLite, as it stands.
    pub(super) fn sorts_otherwise(&self) -> bool {
        self.nondeterministic || matches!(self.ty, Ty::Words(words) if !words.sort_as_booleans())
    }

    /// A column of words whose booleans sort otherwise than the words, as its words.
    pub(super) fn sorted_as_text(self) -> Self {
        match self.ty {
            Ty::Words(words) if !words.sort_as_booleans() => {
                let text = words.written(&self.bracketed());
                Self::atom(text, Ty::Text).depending_on([&self])
            }
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_cannot_be_told_apart_or_kept_are_not_known() {
        for (yes, no, known) in [
            ("t", "f", true),
            ("activated", "deactivated", true),
            ("a", "A", false),
            ("a ", "a", false),
            ("a word that is longer than a word is", "no", false),
        ] {
            assert_eq!(Words::new(yes, no).is_some(), known, "{yes} {no}");
        }
    }
}
