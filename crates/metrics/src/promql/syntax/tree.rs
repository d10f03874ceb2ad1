use crate::series_store::Matcher;

use super::functions::{Function, Signature};

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueType {
    Scalar,
    Text,
    Vector,
    Matrix,
}

impl ValueType {
    /// The type's name in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Text => "string",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
        }
    }
}

/// A part of a query and where it starts, as a byte offset.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) start: usize,
    /// How many parts nest below, this one counted.
    pub(crate) depth: usize,
    pub(crate) kind: ExprKind,
}

#[derive(Debug, Clone)]
pub(crate) enum ExprKind {
    Number(f64),
    /// A text's bytes: escapes can make what is not UTF-8.
    Text(Vec<u8>),
    Selector(Selector),
    /// A selector and how long its window is.
    Range(Selector, Length),
    Subquery(Box<Subquery>),
    Paren(Box<Expr>),
    /// A sign before an expression that is no number literal.
    Sign {
        negative: bool,
        expr: Box<Expr>,
    },
    Binary(Box<Binary>),
    Aggregate(Box<Aggregate>),
    Call(Box<Call>),
}

#[derive(Debug, Clone)]
pub(crate) struct Selector {
    pub(crate) matchers: Vec<Matcher>,
    /// How far back from the time of evaluation.
    pub(crate) offset: Option<Length>,
    pub(crate) pin: Option<Pin>,
}

/// A length of time, which may depend on the query it is part of.
#[derive(Debug, Clone)]
pub(crate) enum Length {
    /// Milliseconds.
    Fixed(i64),
    /// The query's step.
    Step,
    /// From the query's first time to its last.
    QueryRange,
    Negative(Box<Length>),
    /// An operator on the lengths in seconds.
    Computed(Operator, Box<Length>, Box<Length>),
    Least(Box<Length>, Box<Length>),
    Greatest(Box<Length>, Box<Length>),
}

/// The `@` modifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pin {
    /// Milliseconds since the epoch.
    At(i64),
    Start,
    End,
}

#[derive(Debug, Clone)]
pub(crate) struct Subquery {
    pub(crate) expr: Expr,
    pub(crate) range: Length,
    /// The engine's default where not written.
    pub(crate) step: Option<Length>,
    pub(crate) offset: Option<Length>,
    pub(crate) pin: Option<Pin>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
}

impl Operator {
    pub(crate) fn is_comparison(self) -> bool {
        use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        matches!(
            self,
            Equal | NotEqual | Greater | Less | GreaterOrEqual | LessOrEqual
        )
    }

    pub(crate) fn is_set(self) -> bool {
        matches!(self, Operator::And | Operator::Or | Operator::Unless)
    }

    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Modulo => "%",
            Operator::Power => "^",
            Operator::Atan2 => "atan2",
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::Greater => ">",
            Operator::Less => "<",
            Operator::GreaterOrEqual => ">=",
            Operator::LessOrEqual => "<=",
            Operator::And => "and",
            Operator::Or => "or",
            Operator::Unless => "unless",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub(crate) operator: Operator,
    pub(crate) left: Expr,
    pub(crate) right: Expr,
    /// `bool`: a comparison answers 0 or 1 instead of filtering.
    pub(crate) returns_bool: bool,
    pub(crate) matching: Matching,
}

/// How the series of two vectors find each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matching {
    pub(crate) cardinality: Cardinality,
    /// `on`: only the labels count; otherwise all but the labels do.
    pub(crate) on: bool,
    pub(crate) labels: Vec<String>,
    /// Labels taken over from the one side.
    pub(crate) include: Vec<String>,
    /// What stands in for a missing left and right partner.
    pub(crate) fill_left: Option<f64>,
    pub(crate) fill_right: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Cardinality {
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregation {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    Quantile,
    CountValues,
    Topk,
    Bottomk,
    Limitk,
    LimitRatio,
}

impl Aggregation {
    pub(crate) fn named(name: &str) -> Option<Aggregation> {
        Some(match name.to_ascii_lowercase().as_str() {
            "sum" => Aggregation::Sum,
            "avg" => Aggregation::Avg,
            "min" => Aggregation::Min,
            "max" => Aggregation::Max,
            "count" => Aggregation::Count,
            "group" => Aggregation::Group,
            "stddev" => Aggregation::Stddev,
            "stdvar" => Aggregation::Stdvar,
            "quantile" => Aggregation::Quantile,
            "count_values" => Aggregation::CountValues,
            "topk" => Aggregation::Topk,
            "bottomk" => Aggregation::Bottomk,
            "limitk" => Aggregation::Limitk,
            "limit_ratio" => Aggregation::LimitRatio,
            _ => return None,
        })
    }

    /// The type of the first of two arguments, where there are two.
    pub(crate) fn parameter(self) -> Option<ValueType> {
        match self {
            Aggregation::CountValues => Some(ValueType::Text),
            Aggregation::Quantile
            | Aggregation::Topk
            | Aggregation::Bottomk
            | Aggregation::Limitk
            | Aggregation::LimitRatio => Some(ValueType::Scalar),
            _ => None,
        }
    }
}

/// `by` or `without`, and the labels.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grouping {
    pub(crate) without: bool,
    pub(crate) labels: Vec<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    pub(crate) operation: Aggregation,
    pub(crate) grouping: Grouping,
    pub(crate) parameter: Option<Expr>,
    pub(crate) expr: Expr,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) signature: &'static Signature,
    pub(crate) arguments: Vec<Expr>,
}

impl Call {
    pub(crate) fn function(&self) -> Function {
        self.signature.function
    }
}

impl Expr {
    pub(crate) fn new(start: usize, kind: ExprKind) -> Expr {
        let below = match &kind {
            ExprKind::Number(_)
            | ExprKind::Text(_)
            | ExprKind::Selector(_)
            | ExprKind::Range(..) => 0,
            ExprKind::Subquery(subquery) => subquery.expr.depth,
            ExprKind::Paren(expr) | ExprKind::Sign { expr, .. } => expr.depth,
            ExprKind::Binary(binary) => binary.left.depth.max(binary.right.depth),
            ExprKind::Aggregate(aggregate) => {
                let parameter = aggregate
                    .parameter
                    .as_ref()
                    .map_or(0, |parameter| parameter.depth);
                aggregate.expr.depth.max(parameter)
            }
            ExprKind::Call(call) => call
                .arguments
                .iter()
                .map(|argument| argument.depth)
                .max()
                .unwrap_or(0),
        };
        Expr {
            start,
            depth: below + 1,
            kind,
        }
    }

    pub(crate) fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::Text(_) => ValueType::Text,
            ExprKind::Selector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Range(..) | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Paren(expr) | ExprKind::Sign { expr, .. } => expr.value_type(),
            ExprKind::Binary(binary) => {
                let scalars = binary.left.value_type() == ValueType::Scalar
                    && binary.right.value_type() == ValueType::Scalar;
                if scalars {
                    ValueType::Scalar
                } else {
                    ValueType::Vector
                }
            }
            ExprKind::Call(call) => call.signature.returns,
        }
    }

    /// The expression without parentheses around it.
    pub(crate) fn bare(&self) -> &Expr {
        let mut bare = self;
        while let ExprKind::Paren(inner) = &bare.kind {
            bare = inner;
        }
        bare
    }

    /// Calls a function with every selector in the expression.
    pub(crate) fn each_selector<'a>(&'a self, visit: &mut dyn FnMut(&'a Selector)) {
        match &self.kind {
            ExprKind::Number(_) | ExprKind::Text(_) => {}
            ExprKind::Selector(selector) | ExprKind::Range(selector, _) => visit(selector),
            ExprKind::Subquery(subquery) => subquery.expr.each_selector(visit),
            ExprKind::Paren(expr) | ExprKind::Sign { expr, .. } => expr.each_selector(visit),
            ExprKind::Binary(binary) => {
                binary.left.each_selector(visit);
                binary.right.each_selector(visit);
            }
            ExprKind::Aggregate(aggregate) => {
                if let Some(parameter) = &aggregate.parameter {
                    parameter.each_selector(visit);
                }
                aggregate.expr.each_selector(visit);
            }
            ExprKind::Call(call) => {
                for argument in &call.arguments {
                    argument.each_selector(visit);
                }
            }
        }
    }
}
