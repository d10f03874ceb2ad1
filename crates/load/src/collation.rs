//! The order of a dictionary: letters of either case beside each other, accents after the plain letter,
//! punctuation before digits, and digits before letters. It is the root order of the Unicode collation
//! algorithm for ASCII and for Latin letters with accents; other scripts follow in the order of their code points.

use std::cmp::Ordering;

/// ASCII's signs in their order.
const SIGNS: &str = "\t\n\u{b}\u{c}\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$";

/// Compares two texts that are decomposed (NFD): letters first; where they are the same, accents; where these
/// are, too, case, the lower one first.
pub(crate) fn compare(one: &str, other: &str) -> Ordering {
    let letters =
        |text: &str| -> Vec<(u8, u32)> { letters(text).map(|(first, _)| rank(first)).collect() };
    let cases = |text: &str| -> Vec<bool> { text.chars().map(char::is_uppercase).collect() };
    letters(one)
        .cmp(&letters(other))
        .then_with(|| accents(one).cmp(accents(other)))
        .then_with(|| cases(one).cmp(&cases(other)))
}

/// Each character with the accents that follow it.
fn letters(text: &str) -> impl Iterator<Item = (char, &str)> {
    let is_letter = |char: &char| !is_accent(*char);
    text.char_indices()
        .filter(move |(_, char)| is_letter(char))
        .map(move |(at, char)| {
            let rest = &text[at + char.len_utf8()..];
            let end = rest.find(|char| is_letter(&char)).unwrap_or(rest.len());
            (char, &rest[..end])
        })
}

fn accents(text: &str) -> impl Iterator<Item = &str> {
    letters(text).map(|(_, accents)| accents)
}

/// Combining marks of the Latin script.
fn is_accent(char: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&char)
}

/// The kind of a character (sign, digit, letter) and its place in it.
fn rank(char: char) -> (u8, u32) {
    if let Some(place) = SIGNS.chars().position(|sign| sign == char) {
        return (0, u32::try_from(place).unwrap_or(u32::MAX));
    }
    let lower = char.to_lowercase().next().unwrap_or(char);
    (if char.is_ascii_digit() { 1 } else { 2 }, lower.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_as_in_a_dictionary() {
        let sorted = [
            "",
            " ",
            "_",
            "-",
            "a b",
            "a_b",
            "a-b",
            "a.b",
            "a$b",
            "a1",
            "a10",
            "a2",
            "ab",
            "aB",
            "Ab",
            "abc",
            "e",
            "E",
            "e\u{301}",
            "ea",
            "ea\u{301}",
            "e\u{301}a",
            "f",
            "z",
            "Z",
            "\u{3b1}",
        ];
        for pair in sorted.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        assert_eq!(compare("same", "same"), Ordering::Equal);
    }
}
