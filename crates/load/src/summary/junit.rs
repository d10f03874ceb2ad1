//! A summary as JUnit's XML, for what shows test results.

use std::fmt::Write as _;

use super::Summary;

/// One test case a threshold and a check.
#[must_use]
pub fn junit(summary: &Summary, name: &str) -> String {
    let failed_checks = summary
        .checks
        .checks()
        .iter()
        .filter(|check| check.fails > 0)
        .count();
    let failures = summary
        .verdicts
        .iter()
        .filter(|verdict| !verdict.met)
        .count()
        + failed_checks;
    let tests = summary.verdicts.len() + summary.checks.checks().len();
    let name = escaped(name);
    let seconds = summary.elapsed.as_secs_f64();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\" time=\"{seconds:.3}\">\n"
    );
    let mut case = |class: &str, name: &str, failure: Option<String>| {
        let (class, name) = (escaped(class), escaped(name));
        let _ = match failure {
            None => writeln!(xml, "<testcase classname=\"{class}\" name=\"{name}\"/>"),
            Some(message) => writeln!(
                xml,
                "<testcase classname=\"{class}\" name=\"{name}\"><failure message=\"{}\"/></testcase>",
                escaped(&message)
            ),
        };
    };
    for verdict in &summary.verdicts {
        let failure = (!verdict.met).then(|| {
            format!(
                "{} of {} is {}",
                verdict.aggregation(),
                verdict.metric,
                verdict.value
            )
        });
        case(
            "thresholds",
            &format!("{}: {}", verdict.metric, verdict.condition),
            failure,
        );
    }
    for check in summary.checks.checks() {
        let failure = (check.fails > 0).then(|| {
            format!(
                "failed {} of {} times",
                check.fails,
                check.fails + check.passes
            )
        });
        case(
            "checks",
            format!("{}::{}", check.group, check.name).trim_start_matches("::"),
            failure,
        );
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // XML 1.0 has no other control characters, not even escaped.
            '\t' | '\n' | '\r' => escaped.push(' '),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
