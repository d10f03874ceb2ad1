//! Reads the Prometheus text format, as kubelets write it: `name{label="value"} number milliseconds`.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// One line of a scrape.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: BTreeMap<&'a str, String>,
    pub(crate) value: f64,
    /// When it was measured, if the line says so.
    pub(crate) at: Option<Timestamp>,
}

/// The samples of a scrape, in order. Comments are left out, and so are lines that cannot be read: one
/// broken series must not hide the others.
pub(crate) fn samples(text: &str) -> impl Iterator<Item = Sample<'_>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(sample)
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let mut numbers = rest.split_whitespace();
    let value = numbers.next()?.parse().ok()?;
    let at = match numbers.next() {
        Some(milliseconds) => Some(Timestamp::from_millisecond(milliseconds.parse().ok()?).ok()?),
        None => None,
    };
    (!name.is_empty()).then_some(Sample {
        name,
        labels,
        value,
        at,
    })
}

/// The labels up to the closing brace, and what follows it.
fn labels(text: &str) -> Option<(BTreeMap<&str, String>, &str)> {
    let mut labels = BTreeMap::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.insert(name.trim(), value);
        rest = after.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((place, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[place + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_with_labels_and_times_are_read() {
        let text = "# HELP x y\n# TYPE x counter\n\
            x{container=\"app\",namespace=\"shop\",pod=\"web-1\"} 4.71 1633257341000\n\
            node_x 1.3e+07\n";
        let found: Vec<Sample<'_>> = samples(text).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].labels["pod"], "web-1");
        assert_eq!(found[0].value, 4.71);
        assert_eq!(found[0].at, Some("2021-10-03T10:35:41Z".parse().unwrap()));
        assert_eq!(
            (found[1].name, found[1].value, found[1].at),
            ("node_x", 1.3e7, None)
        );
    }

    #[test]
    fn escapes_in_label_values_are_undone() {
        let found: Vec<Sample<'_>> = samples(r#"x{a="q\"b\\n\nc}",} 1"#).collect();
        assert_eq!(found[0].labels["a"], "q\"b\\n\nc}");
    }

    #[test]
    fn a_line_that_cannot_be_read_hides_no_other() {
        let text = "x{a=\"open 1\nx one\nx 1 soon\n{a=\"b\"} 1\ny 2\n";
        let found: Vec<&str> = samples(text).map(|sample| sample.name).collect();
        assert_eq!(found, ["y"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            samples(&text).for_each(drop);
        }
    }
}
