//! Queries as text, in the one form in which Prometheus prints them, and as the tree its API tells of.

use serde_json::{Value as Json, json};

use crate::config::PromDuration;
use crate::exposition::{is_legacy_label_name, is_legacy_metric_name};
use crate::series_store::{METRIC_NAME, MatchKind, Matcher, quote, quote_bytes};

use super::go_format::plain;
use super::syntax::{
    Aggregate, Aggregation, Binary, Cardinality, Expr, ExprKind, Length, Pin, Selector, Subquery,
    ValueType, Variadic,
};

/// A line longer than this is broken where the tree allows it.
const LINE: usize = 100;

/// The query on one line.
pub(super) fn on_one_line(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Number(value) => plain(*value),
        ExprKind::Text(text) => quote_bytes(text),
        ExprKind::Selector(selector) => format!("{}{}", series(selector), modifiers(selector)),
        ExprKind::Range(selector, range) => {
            format!(
                "{}[{}]{}",
                series(selector),
                length(range),
                modifiers(selector)
            )
        }
        ExprKind::Subquery(subquery) => {
            format!("{}{}", on_one_line(&subquery.expr), window(subquery))
        }
        ExprKind::Paren(inner) => format!("({})", on_one_line(inner)),
        ExprKind::Sign { negative, expr } => format!("{}{}", sign(*negative), on_one_line(expr)),
        ExprKind::Binary(binary) => format!(
            "{} {}{} {}",
            on_one_line(&binary.left),
            binary.operator.symbol(),
            matching(binary),
            on_one_line(&binary.right)
        ),
        ExprKind::Aggregate(aggregate) => {
            let parameter = aggregate
                .parameter
                .as_ref()
                .map(|expr| format!("{}, ", on_one_line(expr)));
            let parameter = parameter.unwrap_or_default();
            format!(
                "{}({parameter}{})",
                head(aggregate),
                on_one_line(&aggregate.expr)
            )
        }
        ExprKind::Call(call) => {
            let arguments: Vec<String> = call.arguments.iter().map(on_one_line).collect();
            format!("{}({})", call.signature.name, arguments.join(", "))
        }
    }
}

/// The query, broken into indented lines where it is long.
pub(super) fn on_lines(expr: &Expr, level: usize) -> String {
    let indent = "  ".repeat(level);
    let line = on_one_line(expr);
    let fits = line.len() <= LINE;
    match &expr.kind {
        ExprKind::Sign { negative, expr } => {
            format!(
                "{indent}{}{}",
                sign(*negative),
                on_lines(expr, level).trim()
            )
        }
        ExprKind::Subquery(subquery) if !fits => {
            format!("{}{}", on_lines(&subquery.expr, level), window(subquery))
        }
        ExprKind::Subquery(_) => line,
        ExprKind::Paren(inner) if !fits => {
            format!("{indent}(\n{}\n{indent})", on_lines(inner, level + 1))
        }
        ExprKind::Binary(binary) if !fits => format!(
            "{}\n{indent}{}{}\n{}",
            on_lines(&binary.left, level + 1),
            binary.operator.symbol(),
            matching(binary),
            on_lines(&binary.right, level + 1)
        ),
        ExprKind::Aggregate(aggregate) if !fits => {
            let parameter = aggregate.parameter.as_ref();
            let parameter = parameter.map(|expr| format!("{},\n", on_lines(expr, level + 1)));
            format!(
                "{indent}{}(\n{}{}\n{indent})",
                head(aggregate),
                parameter.unwrap_or_default(),
                on_lines(&aggregate.expr, level + 1)
            )
        }
        ExprKind::Call(call) if !fits => {
            let arguments: Vec<String> = call
                .arguments
                .iter()
                .map(|argument| on_lines(argument, level + 1))
                .collect();
            format!(
                "{indent}{}(\n{}\n{indent})",
                call.signature.name,
                arguments.join(",\n")
            )
        }
        _ => format!("{indent}{line}"),
    }
}

fn sign(negative: bool) -> &'static str {
    if negative { "-" } else { "+" }
}

/// The name that a selector begins with, where it is of one metric.
fn metric(selector: &Selector) -> Option<&str> {
    let is_name = |matcher: &&Matcher| {
        matcher.name == METRIC_NAME && matches!(matcher.kind, MatchKind::Equal)
    };
    let mut named = selector.matchers.iter().filter(is_name);
    named.next().map(|matcher| matcher.value.as_str())
}

fn series(selector: &Selector) -> String {
    let name = metric(selector);
    let mut parts: Vec<String> = Vec::new();
    let mut before = String::new();
    match name {
        Some(name) if is_legacy_metric_name(name) => before.push_str(name),
        Some(name) => parts.push(quote(name)),
        None => {}
    }
    let mut skipped_name = false;
    for matcher in &selector.matchers {
        if !skipped_name && matcher.name == METRIC_NAME && Some(matcher.value.as_str()) == name {
            skipped_name = true;
            continue;
        }
        let label = if is_legacy_label_name(&matcher.name) {
            matcher.name.clone()
        } else {
            quote(&matcher.name)
        };
        parts.push(format!(
            "{label}{}{}",
            comparison(matcher),
            quote(&matcher.value)
        ));
    }
    if parts.is_empty() {
        return before;
    }
    format!("{before}{{{}}}", parts.join(","))
}

fn comparison(matcher: &Matcher) -> &'static str {
    match matcher.kind {
        MatchKind::Equal => "=",
        MatchKind::NotEqual => "!=",
        MatchKind::Matches(_) => "=~",
        MatchKind::MatchesNot(_) => "!~",
    }
}

fn modifiers(selector: &Selector) -> String {
    format!("{}{}", pin(selector.pin), offset(selector.offset.as_ref()))
}

fn pin(pin: Option<Pin>) -> String {
    match pin {
        None => String::new(),
        Some(Pin::At(millis)) => format!(" @ {:.3}", millis as f64 / 1000.0),
        Some(Pin::Start) => " @ start()".to_owned(),
        Some(Pin::End) => " @ end()".to_owned(),
    }
}

fn offset(offset: Option<&Length>) -> String {
    match offset {
        None | Some(Length::Fixed(0)) => String::new(),
        Some(offset) => format!(" offset {}", length(offset)),
    }
}

fn window(subquery: &Subquery) -> String {
    let step = subquery.step.as_ref().map(length).unwrap_or_default();
    format!(
        "[{}:{step}]{}{}",
        length(&subquery.range),
        pin(subquery.pin),
        offset(subquery.offset.as_ref())
    )
}

fn length(length: &Length) -> String {
    match length {
        Length::Fixed(millis) => {
            let size = std::time::Duration::from_millis(millis.unsigned_abs());
            let sign = if *millis < 0 { "-" } else { "" };
            format!("{sign}{}", PromDuration::from(size))
        }
        Length::Step => "step()".to_owned(),
        Length::QueryRange => "range()".to_owned(),
        Length::Negative(inner) => format!("-{}", self::length(inner)),
        Length::Computed(operator, left, right) => format!(
            "({} {} {})",
            self::length(left),
            operator.symbol(),
            self::length(right)
        ),
        Length::Least(left, right) => {
            format!("min({}, {})", self::length(left), self::length(right))
        }
        Length::Greatest(left, right) => {
            format!("max({}, {})", self::length(left), self::length(right))
        }
    }
}

fn names(labels: &[String]) -> String {
    let spelled: Vec<String> = labels
        .iter()
        .map(|label| {
            if is_legacy_label_name(label) {
                label.clone()
            } else {
                quote(label)
            }
        })
        .collect();
    spelled.join(", ")
}

fn head(aggregate: &Aggregate) -> String {
    let name = aggregation_name(aggregate.operation);
    let grouping = &aggregate.grouping;
    match (grouping.without, grouping.labels.is_empty()) {
        (true, _) => format!("{name} without ({}) ", names(&grouping.labels)),
        (false, false) => format!("{name} by ({}) ", names(&grouping.labels)),
        (false, true) => name.to_owned(),
    }
}

fn matching(binary: &Binary) -> String {
    let mut text = String::new();
    if binary.returns_bool {
        text.push_str(" bool");
    }
    let matching = &binary.matching;
    if matching.on || !matching.labels.is_empty() {
        let word = if matching.on { "on" } else { "ignoring" };
        text.push_str(&format!(" {word} ({})", names(&matching.labels)));
    }
    let side = match matching.cardinality {
        Cardinality::OneToOne => None,
        Cardinality::ManyToOne => Some("left"),
        Cardinality::OneToMany => Some("right"),
    };
    if let Some(side) = side {
        text.push_str(&format!(" group_{side} ({})", names(&matching.include)));
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left.to_bits() == right.to_bits() => {
            text.push_str(&format!(" fill ({})", plain(left)));
        }
        (left, right) => {
            for (word, value) in [("fill_left", left), ("fill_right", right)] {
                if let Some(value) = value {
                    text.push_str(&format!(" {word} ({})", plain(value)));
                }
            }
        }
    }
    text
}

fn aggregation_name(operation: Aggregation) -> &'static str {
    match operation {
        Aggregation::Sum => "sum",
        Aggregation::Avg => "avg",
        Aggregation::Min => "min",
        Aggregation::Max => "max",
        Aggregation::Count => "count",
        Aggregation::Group => "group",
        Aggregation::Stddev => "stddev",
        Aggregation::Stdvar => "stdvar",
        Aggregation::Quantile => "quantile",
        Aggregation::CountValues => "count_values",
        Aggregation::Topk => "topk",
        Aggregation::Bottomk => "bottomk",
        Aggregation::Limitk => "limitk",
        Aggregation::LimitRatio => "limit_ratio",
    }
}

/// The tree in the form of `/api/v1/parse_query`.
pub(super) fn as_json(expr: &Expr) -> Json {
    match &expr.kind {
        ExprKind::Number(value) => json!({"type": "numberLiteral", "val": plain(*value)}),
        ExprKind::Text(text) => {
            json!({"type": "stringLiteral", "val": String::from_utf8_lossy(text)})
        }
        ExprKind::Selector(selector) => of_selector("vectorSelector", selector),
        ExprKind::Range(selector, range) => {
            let mut tree = of_selector("matrixSelector", selector);
            tree["range"] = millis(Some(range));
            tree
        }
        ExprKind::Subquery(subquery) => json!({
            "type": "subquery",
            "expr": as_json(&subquery.expr),
            "range": millis(Some(&subquery.range)),
            "offset": millis(subquery.offset.as_ref()),
            "step": millis(subquery.step.as_ref()),
            "timestamp": pinned_at(subquery.pin),
            "startOrEnd": pinned_to(subquery.pin),
        }),
        ExprKind::Paren(inner) => json!({"type": "parenExpr", "expr": as_json(inner)}),
        ExprKind::Sign { negative, expr } => {
            json!({"type": "unaryExpr", "op": sign(*negative), "expr": as_json(expr)})
        }
        ExprKind::Binary(binary) => {
            let sides = [&binary.left, &binary.right];
            let of_vectors = sides
                .iter()
                .all(|side| side.value_type() == ValueType::Vector);
            json!({
                "type": "binaryExpr",
                "op": binary.operator.symbol(),
                "lhs": as_json(&binary.left),
                "rhs": as_json(&binary.right),
                "matching": if of_vectors { matching_tree(binary) } else { Json::Null },
                "bool": binary.returns_bool,
            })
        }
        ExprKind::Aggregate(aggregate) => json!({
            "type": "aggregation",
            "op": aggregation_name(aggregate.operation),
            "expr": as_json(&aggregate.expr),
            "param": aggregate.parameter.as_ref().map(as_json),
            "grouping": aggregate.grouping.labels,
            "without": aggregate.grouping.without,
        }),
        ExprKind::Call(call) => {
            let signature = call.signature;
            let types: Vec<&str> = signature
                .arguments
                .iter()
                .map(|kind| type_name(*kind))
                .collect();
            let variadic = match signature.variadic {
                Variadic::No => 0,
                Variadic::UpTo(most) => i64::try_from(most).unwrap_or(0),
                Variadic::Unbounded => -1,
            };
            json!({
                "type": "call",
                "func": {
                    "name": signature.name,
                    "argTypes": types,
                    "variadic": variadic,
                    "returnType": type_name(signature.returns),
                },
                "args": call.arguments.iter().map(as_json).collect::<Vec<Json>>(),
            })
        }
    }
}

fn type_name(kind: ValueType) -> &'static str {
    match kind {
        ValueType::Scalar => "scalar",
        ValueType::Text => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}

fn of_selector(kind: &str, selector: &Selector) -> Json {
    let matchers: Vec<Json> = selector
        .matchers
        .iter()
        .map(|matcher| {
            json!({"name": matcher.name, "value": matcher.value, "type": comparison(matcher)})
        })
        .collect();
    json!({
        "type": kind,
        "name": metric(selector).unwrap_or_default(),
        "matchers": matchers,
        "offset": millis(selector.offset.as_ref()),
        "timestamp": pinned_at(selector.pin),
        "startOrEnd": pinned_to(selector.pin),
    })
}

fn millis(length: Option<&Length>) -> Json {
    match length {
        None => json!(0),
        Some(Length::Fixed(millis)) => json!(millis),
        Some(other) => json!(self::length(other)),
    }
}

fn pinned_at(pin: Option<Pin>) -> Json {
    match pin {
        Some(Pin::At(millis)) => json!(millis),
        _ => Json::Null,
    }
}

fn pinned_to(pin: Option<Pin>) -> Json {
    match pin {
        Some(Pin::Start) => json!("start"),
        Some(Pin::End) => json!("end"),
        _ => Json::Null,
    }
}

fn matching_tree(binary: &Binary) -> Json {
    let matching = &binary.matching;
    let card = match matching.cardinality {
        _ if binary.operator.is_set() => "many-to-many",
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
    };
    json!({
        "card": card,
        "labels": matching.labels,
        "on": matching.on,
        "include": matching.include,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Options, Query};

    fn printed(text: &str) -> String {
        let query = Query::parse(text, Options::default()).expect(text);
        query.one_line()
    }

    #[test]
    fn queries_print_as_prometheus_prints_them() {
        for (text, expected) in [
            (
                "sum by(job,a)(rate(x{b='c',d=~\"e\"}[5m]))",
                "sum by (job, a) (rate(x{b=\"c\",d=~\"e\"}[5m]))",
            ),
            ("a+on(b)group_left(c)d", "a + on (b) group_left (c) d"),
            ("a / ignoring (x) b", "a / ignoring (x) b"),
            ("a > bool 1.5", "a > bool 1.5"),
            ("topk(3,-(a))", "topk(3, -(a))"),
            (
                "a[1h30m:1m] @ 12.5 offset -5m",
                "a[1h30m:1m] @ 12.500 offset -5m",
            ),
            ("a[5m:] @ start()", "a[5m:] @ start()"),
            ("{a='b'} offset 90s", "{a=\"b\"} offset 1m30s"),
            (
                "count_values(\"v\", a) without ()",
                "count_values without () (\"v\", a)",
            ),
            (
                "{\"my.metric\",\"x y\"=\"z\"}",
                "{\"my.metric\",\"x y\"=\"z\"}",
            ),
        ] {
            assert_eq!(printed(text), expected);
            assert_eq!(printed(expected), expected, "printed again");
        }
    }

    #[test]
    fn a_long_query_is_broken_into_lines() {
        let text = "sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{namespace=\"shop\"}[5m])) / on (namespace, pod) group_left () kube_pod_container_resource_limits";
        let query = Query::parse(text, Options::default()).expect("valid");
        let expected = "  sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{namespace=\"shop\"}[5m]))\n/ on (namespace, pod) group_left ()\n  kube_pod_container_resource_limits";
        assert_eq!(query.pretty(), expected);
        let short = Query::parse("a  +  b", Options::default()).expect("valid");
        assert_eq!(short.pretty(), "a + b");
    }

    #[test]
    fn the_tree_is_told_with_its_parts() {
        let query = Query::parse(
            "sum(rate(a{b!=\"c\"}[5m] offset 1m)) > 2",
            Options::default(),
        );
        let tree = query.expect("valid").tree_as_json();
        assert_eq!(tree["type"], "binaryExpr");
        assert_eq!(tree["matching"], serde_json::Value::Null);
        let call = &tree["lhs"]["expr"];
        assert_eq!(call["func"]["argTypes"][0], "matrix");
        assert_eq!(call["args"][0]["range"], 300_000);
        assert_eq!(call["args"][0]["offset"], 60_000);
        assert_eq!(
            call["args"][0]["matchers"].as_array().map(Vec::len),
            Some(2)
        );
    }
}
