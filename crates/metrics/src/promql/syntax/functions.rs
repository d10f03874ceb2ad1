//! Every function of PromQL: its arguments, what it returns, what it is.

use super::tree::ValueType;

use Variadic::{No, Unbounded, UpTo};

/// A function, by how it is evaluated.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Function {
    Absent,
    AbsentOverTime,
    Clamp,
    ClampMax,
    ClampMin,
    /// A part of a date in UTC.
    Date(DatePart),
    End,
    HistogramFraction,
    HistogramQuantile,
    HistogramQuantiles,
    LabelJoin,
    LabelReplace,
    /// A function of each value alone.
    Math(fn(f64) -> f64),
    MaxOf,
    MinOf,
    /// Reads native histograms only: there is nothing to read in floats.
    OfNativeHistograms,
    OverTime(OverTime),
    Pi,
    Range,
    Round,
    Scalar,
    Sort,
    SortByLabel,
    SortByLabelDesc,
    SortDesc,
    Start,
    Step,
    Time,
    Timestamp,
    Vector,
    /// Known by name, and refused by name.
    Unsupported,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DatePart {
    Year,
    Month,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Hour,
    Minute,
}

/// What reduces a window of samples to one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverTime {
    Avg,
    Changes,
    Count,
    Delta,
    Deriv,
    First,
    Idelta,
    Increase,
    Irate,
    Last,
    Mad,
    Max,
    Min,
    PredictLinear,
    Present,
    Quantile,
    Rate,
    Resets,
    Smoothing,
    Stddev,
    Stdvar,
    Sum,
    TimeOfFirst,
    TimeOfLast,
    TimeOfMax,
    TimeOfMin,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Signature {
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static [ValueType],
    pub(crate) variadic: Variadic,
    pub(crate) returns: ValueType,
    pub(crate) experimental: bool,
    pub(crate) function: Function,
}

/// How many more arguments there may be, or fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variadic {
    No,
    /// The last argument may be left out, or repeated up to a number of times.
    UpTo(usize),
    /// The last argument may be left out, or repeated without bound.
    Unbounded,
}

const S: ValueType = ValueType::Scalar;
const T: ValueType = ValueType::Text;
const V: ValueType = ValueType::Vector;
const M: ValueType = ValueType::Matrix;

const fn row(
    name: &'static str,
    arguments: &'static [ValueType],
    variadic: Variadic,
    returns: ValueType,
    function: Function,
) -> Signature {
    Signature {
        name,
        arguments,
        variadic,
        returns,
        experimental: false,
        function,
    }
}

const fn trial(signature: Signature) -> Signature {
    Signature {
        experimental: true,
        ..signature
    }
}

const fn math(name: &'static str, function: fn(f64) -> f64) -> Signature {
    row(name, &[V], No, V, Function::Math(function))
}

const fn date(name: &'static str, part: DatePart) -> Signature {
    row(name, &[V], UpTo(1), V, Function::Date(part))
}

const fn over(name: &'static str, function: OverTime) -> Signature {
    row(name, &[M], No, V, Function::OverTime(function))
}

const fn native(name: &'static str) -> Signature {
    row(name, &[V], No, V, Function::OfNativeHistograms)
}

const fn constant(name: &'static str, function: Function) -> Signature {
    row(name, &[], No, S, function)
}

/// The function of a name; names are case-sensitive.
pub(crate) fn signature(name: &str) -> Option<&'static Signature> {
    let at = TABLE.binary_search_by(|row| row.name.cmp(name)).ok()?;
    Some(&TABLE[at])
}

fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        value
    }
}

fn degrees(radians: f64) -> f64 {
    radians * 180.0 / std::f64::consts::PI
}

fn radians(degrees: f64) -> f64 {
    degrees * std::f64::consts::PI / 180.0
}

/// Sorted by name.
static TABLE: &[Signature] = &[
    math("abs", f64::abs),
    row("absent", &[V], No, V, Function::Absent),
    row("absent_over_time", &[M], No, V, Function::AbsentOverTime),
    math("acos", f64::acos),
    math("acosh", f64::acosh),
    math("asin", f64::asin),
    math("asinh", f64::asinh),
    math("atan", f64::atan),
    math("atanh", f64::atanh),
    over("avg_over_time", OverTime::Avg),
    math("ceil", f64::ceil),
    over("changes", OverTime::Changes),
    row("clamp", &[V, S, S], No, V, Function::Clamp),
    row("clamp_max", &[V, S], No, V, Function::ClampMax),
    row("clamp_min", &[V, S], No, V, Function::ClampMin),
    math("cos", f64::cos),
    math("cosh", f64::cosh),
    over("count_over_time", OverTime::Count),
    date("day_of_month", DatePart::DayOfMonth),
    date("day_of_week", DatePart::DayOfWeek),
    date("day_of_year", DatePart::DayOfYear),
    date("days_in_month", DatePart::DaysInMonth),
    math("deg", degrees),
    over("delta", OverTime::Delta),
    over("deriv", OverTime::Deriv),
    trial(row(
        "double_exponential_smoothing",
        &[M, S, S],
        No,
        V,
        Function::OverTime(OverTime::Smoothing),
    )),
    trial(constant("end", Function::End)),
    math("exp", f64::exp),
    trial(over("first_over_time", OverTime::First)),
    math("floor", f64::floor),
    native("histogram_avg"),
    native("histogram_count"),
    row(
        "histogram_fraction",
        &[S, S, V],
        No,
        V,
        Function::HistogramFraction,
    ),
    row(
        "histogram_quantile",
        &[S, V],
        No,
        V,
        Function::HistogramQuantile,
    ),
    trial(row(
        "histogram_quantiles",
        &[V, T, S],
        UpTo(10),
        V,
        Function::HistogramQuantiles,
    )),
    native("histogram_stddev"),
    native("histogram_stdvar"),
    native("histogram_sum"),
    date("hour", DatePart::Hour),
    over("idelta", OverTime::Idelta),
    over("increase", OverTime::Increase),
    trial(row("info", &[V, V], UpTo(1), V, Function::Unsupported)),
    over("irate", OverTime::Irate),
    row(
        "label_join",
        &[V, T, T, T],
        Unbounded,
        V,
        Function::LabelJoin,
    ),
    row(
        "label_replace",
        &[V, T, T, T, T],
        No,
        V,
        Function::LabelReplace,
    ),
    over("last_over_time", OverTime::Last),
    math("ln", f64::ln),
    math("log10", f64::log10),
    math("log2", f64::log2),
    trial(over("mad_over_time", OverTime::Mad)),
    trial(row("max_of", &[S, S], No, S, Function::MaxOf)),
    over("max_over_time", OverTime::Max),
    trial(row("min_of", &[S, S], No, S, Function::MinOf)),
    over("min_over_time", OverTime::Min),
    date("minute", DatePart::Minute),
    date("month", DatePart::Month),
    constant("pi", Function::Pi),
    row(
        "predict_linear",
        &[M, S],
        No,
        V,
        Function::OverTime(OverTime::PredictLinear),
    ),
    over("present_over_time", OverTime::Present),
    row(
        "quantile_over_time",
        &[S, M],
        No,
        V,
        Function::OverTime(OverTime::Quantile),
    ),
    math("rad", radians),
    trial(constant("range", Function::Range)),
    over("rate", OverTime::Rate),
    over("resets", OverTime::Resets),
    row("round", &[V, S], UpTo(1), V, Function::Round),
    row("scalar", &[V], No, S, Function::Scalar),
    math("sgn", sign),
    math("sin", f64::sin),
    math("sinh", f64::sinh),
    row("sort", &[V], No, V, Function::Sort),
    trial(row(
        "sort_by_label",
        &[V, T],
        Unbounded,
        V,
        Function::SortByLabel,
    )),
    trial(row(
        "sort_by_label_desc",
        &[V, T],
        Unbounded,
        V,
        Function::SortByLabelDesc,
    )),
    row("sort_desc", &[V], No, V, Function::SortDesc),
    math("sqrt", f64::sqrt),
    trial(constant("start", Function::Start)),
    trial(row("start_timestamp", &[V], No, V, Function::Unsupported)),
    over("stddev_over_time", OverTime::Stddev),
    over("stdvar_over_time", OverTime::Stdvar),
    trial(constant("step", Function::Step)),
    over("sum_over_time", OverTime::Sum),
    math("tan", f64::tan),
    math("tanh", f64::tanh),
    constant("time", Function::Time),
    row("timestamp", &[V], No, V, Function::Timestamp),
    trial(over("ts_of_first_over_time", OverTime::TimeOfFirst)),
    trial(over("ts_of_last_over_time", OverTime::TimeOfLast)),
    trial(over("ts_of_max_over_time", OverTime::TimeOfMax)),
    trial(over("ts_of_min_over_time", OverTime::TimeOfMin)),
    row("vector", &[S], No, V, Function::Vector),
    date("year", DatePart::Year),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_name_is_found() {
        assert!(TABLE.is_sorted_by(|left, right| left.name < right.name));
        for row in TABLE {
            assert_eq!(signature(row.name).map(|found| found.name), Some(row.name));
        }
        assert!(signature("holt_winters").is_none());
    }
}
