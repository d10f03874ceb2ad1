//! Where words and comments stand in a statement: the parser's tree has no positions and drops
//! comments.

/// A stretch of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Open,
    Close,
    Comma,
    Comment(&'a str),
    Word(&'a str),
}

/// Cuts a statement into words, brackets, commas and comments; each with its line, from 1, and
/// whether it is the first thing on it.
fn pieces(sql: &str) -> Vec<(Piece<'_>, u64, bool)> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut line, mut fresh) = (0, 1, true);
    while at < bytes.len() {
        let start = at;
        let piece = match bytes[at] {
            b'\n' => {
                line += 1;
                fresh = true;
                at += 1;
                continue;
            }
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'-' if bytes.get(at + 1) == Some(&b'-') => {
                at = sql[at..].find('\n').map_or(bytes.len(), |end| at + end);
                Piece::Comment(sql[start + 2..at].trim())
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let end = sql[at + 2..].find("*/").map(|end| at + 2 + end);
                at = end.map_or(bytes.len(), |end| end + 2);
                Piece::Comment(sql[start + 2..end.unwrap_or(bytes.len())].trim())
            }
            quote @ (b'\'' | b'"' | b'`' | b'[') => {
                let close = if quote == b'[' { b']' } else { quote };
                at += 1;
                while at < bytes.len() {
                    if bytes[at] == close {
                        if close != b']' && bytes.get(at + 1) == Some(&close) {
                            at += 2;
                            continue;
                        }
                        at += 1;
                        break;
                    }
                    at += 1;
                }
                Piece::Word(&sql[start..at])
            }
            b'(' | b')' | b',' => {
                at += 1;
                match bytes[start] {
                    b'(' => Piece::Open,
                    b')' => Piece::Close,
                    _ => Piece::Comma,
                }
            }
            byte if is_word(byte) => {
                while at < bytes.len() && is_word(bytes[at]) {
                    at += 1;
                }
                Piece::Word(&sql[start..at])
            }
            _ => {
                at += 1;
                Piece::Word(&sql[start..at])
            }
        };
        found.push((piece, line, fresh));
        fresh = false;
        line += sql[start..at].bytes().filter(|&byte| byte == b'\n').count() as u64;
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// The line, from 1, of the first word of a statement that is `token`, whatever its case and quotes.
pub(crate) fn line_of_token(sql: &str, token: &str) -> Option<u64> {
    pieces(sql)
        .into_iter()
        .find_map(|(piece, line, _)| match piece {
            Piece::Word(word) if super::unquote(word).eq_ignore_ascii_case(token) => Some(line),
            _ => None,
        })
}

/// The comments of a `CREATE TABLE` statement.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comments {
    /// What belongs to no column.
    pub(super) table: Option<String>,
    /// What belongs to the column at the position.
    pub(super) columns: Vec<Option<String>>,
}

/// Finds which comment of a `CREATE TABLE` belongs to which column: one behind a column on its last
/// line (also behind its comma), or one on lines of its own right before it. All others are the table's.
pub(super) fn comments(sql: &str, column_count: usize) -> Comments {
    let mut table: Vec<&str> = Vec::new();
    let mut columns: Vec<Vec<&str>> = vec![Vec::new(); column_count];
    let mut waiting: Vec<&str> = Vec::new();
    let (mut depth, mut item, mut item_started, mut last_line) = (0_usize, 0_usize, false, 0);
    for (piece, line, fresh) in pieces(sql) {
        match piece {
            Piece::Comment("") => {}
            Piece::Comment(text) if depth == 0 => table.push(text),
            Piece::Comment(text) => {
                let behind = line == last_line && !fresh;
                let owner = if item_started {
                    Some(item)
                } else {
                    item.checked_sub(1)
                };
                match owner {
                    Some(owner) if owner < column_count && (behind || item_started) => {
                        columns[owner].push(text);
                    }
                    None if behind => table.push(text),
                    _ => waiting.push(text),
                }
            }
            Piece::Open | Piece::Close | Piece::Comma | Piece::Word(_) => {
                match piece {
                    Piece::Open => depth += 1,
                    Piece::Close => depth = depth.saturating_sub(1),
                    Piece::Comma if depth == 1 => {
                        item += 1;
                        item_started = false;
                    }
                    Piece::Word(_) if depth == 1 && !item_started => {
                        item_started = true;
                        let owner = columns.get_mut(item).unwrap_or(&mut table);
                        owner.append(&mut waiting);
                    }
                    _ => {}
                }
                last_line = line;
            }
        }
    }
    table.append(&mut waiting);
    let join = |texts: Vec<&str>| (!texts.is_empty()).then(|| texts.join("\n"));
    Comments {
        table: join(table),
        columns: columns.into_iter().map(join).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_belongs_to_the_column_it_stands_behind_or_right_above() {
        let found = comments(
            "CREATE TABLE t ( -- people\n  id INTEGER, -- the number\n  -- as they\n  -- write it\n  name TEXT /* full */ CHECK (length(name) > 1 -- not empty\n),\n  age\n  -- in all\n)",
            3,
        );
        assert_eq!(found.table.as_deref(), Some("people"));
        assert_eq!(found.columns[0].as_deref(), Some("the number"));
        assert_eq!(
            found.columns[1].as_deref(),
            Some("as they\nwrite it\nfull\nnot empty")
        );
        assert_eq!(found.columns[2].as_deref(), Some("in all"));
    }

    #[test]
    fn what_looks_like_a_comment_within_quotes_is_none() {
        let found = comments(
            "CREATE TABLE t(\"a--b\" TEXT DEFAULT '/* no */', [c--d])",
            2,
        );
        assert_eq!(
            found,
            Comments {
                table: None,
                columns: vec![None, None]
            }
        );
    }

    #[test]
    fn a_word_is_found_on_its_line_whatever_its_quotes() {
        let sql = "CREATE VIEW v AS\nSELECT 'strftime',\n  StrFTime('%Y')";
        assert_eq!(line_of_token(sql, "v"), Some(1));
        assert_eq!(line_of_token("a\nb\n[c d]", "C D"), Some(3));
        assert_eq!(line_of_token(sql, "missing"), None);
    }
}
