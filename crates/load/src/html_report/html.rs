//! Text as HTML.

use std::fmt::{self, Display, Formatter};

/// A text that stands in an element or in a quoted attribute and is nothing but text there.
pub(super) struct Escaped<'text>(pub(super) &'text str);

impl Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(place) = rest.find(is_special) {
            let (plain, after) = rest.split_at(place);
            formatter.write_str(plain)?;
            let mut characters = after.chars();
            formatter.write_str(match characters.next() {
                Some('&') => "&amp;",
                Some('<') => "&lt;",
                Some('>') => "&gt;",
                Some('"') => "&quot;",
                Some('\'') => "&#39;",
                // No character of HTML.
                _ => "\u{fffd}",
            })?;
            rest = characters.as_str();
        }
        formatter.write_str(rest)
    }
}

fn is_special(character: char) -> bool {
    let is_control = character.is_control() && !matches!(character, '\n' | '\t');
    is_control || matches!(character, '&' | '<' | '>' | '"' | '\'')
}

/// A value as JSON that can stand in a `script` element.
pub(super) fn json(value: &serde_json::Value) -> String {
    value
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let text = Escaped("<a href=\"x\" b='y'>&\u{0}ä\n").to_string();
        assert_eq!(
            text,
            "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;\u{fffd}ä\n"
        );
        let value = serde_json::json!("</script><!--&");
        let text = json(&value);
        assert!(!text.contains(['<', '>', '&']), "{text}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }
}
