//! Sees to it that every part of a query has the type its place asks for.

use super::functions::{Function, Variadic};
use super::parser::Fault;
use super::tree::{Aggregate, Aggregation, Binary, Call, Cardinality, Expr, ExprKind, ValueType};

pub(super) fn check(expr: &Expr, experimental: bool) -> Result<(), Fault> {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Selector(_) | ExprKind::Range(..) => {
            Ok(())
        }
        ExprKind::Paren(inner) => check(inner, experimental),
        ExprKind::Sign { expr: inner, .. } => {
            check(inner, experimental)?;
            match inner.value_type() {
                ValueType::Scalar | ValueType::Vector => Ok(()),
                other => {
                    let got = other.name();
                    let reason = format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {got:?}"
                    );
                    Err(Fault::new(expr.start, reason))
                }
            }
        }
        ExprKind::Subquery(subquery) => {
            check(&subquery.expr, experimental)?;
            match subquery.expr.value_type() {
                ValueType::Vector => Ok(()),
                other => {
                    let got = other.name();
                    let reason =
                        format!("subquery is only allowed on instant vector, got {got} instead");
                    Err(Fault::new(expr.start, reason))
                }
            }
        }
        ExprKind::Binary(binary) => check_binary(expr.start, binary, experimental),
        ExprKind::Aggregate(aggregate) => check_aggregate(expr.start, aggregate, experimental),
        ExprKind::Call(call) => check_call(expr.start, call, experimental),
    }
}

fn check_binary(start: usize, binary: &Binary, experimental: bool) -> Result<(), Fault> {
    check(&binary.left, experimental)?;
    check(&binary.right, experimental)?;
    let (left, right) = (binary.left.value_type(), binary.right.value_type());
    let operator = binary.operator;
    let matching = &binary.matching;
    let fault = |reason: String| Err(Fault::new(start, reason));
    if binary.returns_bool && !operator.is_comparison() {
        return fault("bool modifier can only be used on comparison operators".to_owned());
    }
    for side in [left, right] {
        if !matches!(side, ValueType::Scalar | ValueType::Vector) {
            return fault(
                "binary expression must contain only scalar and instant vector types".to_owned(),
            );
        }
    }
    let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
    if operator.is_comparison() && scalars && !binary.returns_bool {
        return fault("comparisons between scalars must use BOOL modifier".to_owned());
    }
    let one_is_scalar = left == ValueType::Scalar || right == ValueType::Scalar;
    if one_is_scalar && !matching.labels.is_empty() {
        return fault("vector matching only allowed between instant vectors".to_owned());
    }
    if operator.is_set() && one_is_scalar {
        let symbol = operator.symbol();
        return fault(format!(
            "set operator {symbol:?} not allowed in binary scalar expression"
        ));
    }
    let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
    if fills && !experimental {
        return Err(Fault::experimental(start, "the fill modifier"));
    }
    if fills && (one_is_scalar || operator.is_set()) {
        return fault("filling in missing series only allowed between instant vectors".to_owned());
    }
    if operator.is_set() && matching.cardinality != Cardinality::OneToOne {
        let symbol = operator.symbol();
        return fault(format!("no grouping allowed for {symbol:?} operation"));
    }
    let both = matching
        .include
        .iter()
        .find(|label| matching.labels.contains(label));
    if let Some(label) = both
        && matching.on
    {
        return fault(format!(
            "label {label:?} must not occur in ON and GROUP clause at once"
        ));
    }
    Ok(())
}

fn check_aggregate(start: usize, aggregate: &Aggregate, experimental: bool) -> Result<(), Fault> {
    check(&aggregate.expr, experimental)?;
    let trial = matches!(
        aggregate.operation,
        Aggregation::Limitk | Aggregation::LimitRatio
    );
    if trial && !experimental {
        return Err(Fault::experimental(
            start,
            "the aggregation limitk or limit_ratio",
        ));
    }
    expect(&aggregate.expr, ValueType::Vector, "aggregation expression")?;
    if let (Some(parameter), Some(wanted)) = (&aggregate.parameter, aggregate.operation.parameter())
    {
        check(parameter, experimental)?;
        expect(parameter, wanted, "aggregation parameter")?;
        if wanted == ValueType::Text && !matches!(parameter.bare().kind, ExprKind::Text(_)) {
            return Err(Fault::new(parameter.start, "expected a string literal"));
        }
    }
    Ok(())
}

fn check_call(start: usize, call: &Call, experimental: bool) -> Result<(), Fault> {
    let signature = call.signature;
    let name = signature.name;
    let got = call.arguments.len();
    let named = signature.arguments.len();
    let fault = |reason: String| Err(Fault::new(start, reason));
    match signature.variadic {
        Variadic::No if got != named => {
            return fault(format!(
                "expected {named} argument(s) in call to {name:?}, got {got}"
            ));
        }
        Variadic::UpTo(_) | Variadic::Unbounded if got + 1 < named => {
            let least = named - 1;
            return fault(format!(
                "expected at least {least} argument(s) in call to {name:?}, got {got}"
            ));
        }
        Variadic::UpTo(more) if got > named - 1 + more => {
            let most = named - 1 + more;
            return fault(format!(
                "expected at most {most} argument(s) in call to {name:?}, got {got}"
            ));
        }
        _ => {}
    }
    if signature.experimental && !experimental {
        return Err(Fault::experimental(start, format!("the function {name}")));
    }
    if matches!(signature.function, Function::Unsupported) {
        return Err(Fault::unsupported(start, format!("the function {name}")));
    }
    for (at, argument) in call.arguments.iter().enumerate() {
        check(argument, experimental)?;
        let wanted = signature.arguments[at.min(named - 1)];
        expect(argument, wanted, &format!("call to function {name:?}"))?;
    }
    Ok(())
}

fn expect(expr: &Expr, wanted: ValueType, context: &str) -> Result<(), Fault> {
    let got = expr.value_type();
    if got == wanted {
        return Ok(());
    }
    let (wanted, got) = (wanted.name(), got.name());
    Err(Fault::new(
        expr.start,
        format!("expected type {wanted} in {context}, got {got}"),
    ))
}
