//! Laws that hold for any query over any series: a range is its instants, and no query breaks the engine.

use proptest::prelude::*;
use springtide_metrics::promql::{Cancel, Options, Query, QueryError, Span, Value};
use springtide_metrics::series_store::{Labels, stale_marker};
use springtide_metrics::tsdb::{self, AppendError, Tsdb};

const STEP: i64 = 15_000;

fn store() -> Tsdb {
    Tsdb::in_memory(tsdb::Options {
        max_lag: std::time::Duration::from_hours(1_000_000),
        ..tsdb::Options::default()
    })
}

fn append(store: &Tsdb, labels: &Labels, time: i64, value: f64) -> Result<(), AppendError> {
    let mut appender = store.appender();
    appender.append(labels, None, time, value)?;
    appender.commit().expect("in memory");
    Ok(())
}

/// Series `m_total` and `n` with labels `a` and `le`, with gaps, resets, NaNs and ends.
fn any_store() -> impl Strategy<Value = Tsdb> {
    let value = prop_oneof![
        8 => (0..50_i32).prop_map(|value| Some(f64::from(value))),
        2 => Just(None),
        1 => Just(Some(stale_marker())),
        1 => prop::sample::select(vec![Some(f64::NAN), Some(f64::INFINITY), Some(-1.5), Some(1e300)]),
    ];
    let series = (
        prop::sample::select(vec!["m_total", "n"]),
        prop::sample::select(vec!["", "x", "y"]),
        prop::sample::select(vec!["", "1", "2", "+Inf"]),
        prop::collection::vec(value, 0..60),
    );
    prop::collection::vec(series, 1..8).prop_map(|all| {
        let store = store();
        for (name, a, le, values) in all {
            let labels = Labels::new([("__name__", name), ("a", a), ("le", le)]);
            for (at, value) in values.into_iter().enumerate() {
                if let Some(value) = value {
                    // The same series may come twice: what does not fit is refused.
                    let _ = append(&store, &labels, at as i64 * STEP, value);
                }
            }
        }
        store
    })
}

fn any_scalar() -> impl Strategy<Value = String> {
    let scalars = [
        "0.5",
        "2",
        "-1",
        "time()",
        "scalar(n)",
        "NaN",
        "1e3",
        "pi() * 2",
    ];
    prop::sample::select(scalars.map(str::to_owned).to_vec())
}

fn any_matrix(vector: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let windows = [
        "[1m]",
        "[45s]",
        "[2m] offset 30s",
        "[1m] @ 300",
        "[1m] @ end()",
        "[16s]",
    ];
    let selector = prop::sample::select(vec!["m_total", "n", "{a=\"x\"}", "{le=~\".+\"}"]);
    let plain = (selector, prop::sample::select(windows.to_vec()))
        .prop_map(|(selector, window)| format!("{selector}{window}"));
    let subquery = prop::sample::select(vec!["[1m:15s]", "[2m:20s] offset 15s", "[1m:]"]);
    prop_oneof![
        3 => plain,
        1 => (vector, subquery).prop_map(|(vector, window)| format!("({vector}){window}")),
    ]
}

fn any_query() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "m_total",
        "n",
        "{a=\"x\"}",
        "n offset 20s",
        "m_total @ 200",
        "vector(1)",
        "{le!=\"\"}",
        "n @ start()",
    ]);
    leaf.prop_map(str::to_owned)
        .boxed()
        .prop_recursive(3, 16, 3, |inner| {
            let one = prop::sample::select(vec![
                "abs",
                "ceil",
                "exp",
                "ln",
                "sgn",
                "sqrt",
                "timestamp",
                "absent",
                "round",
                "hour",
                "day_of_month",
                "-",
            ]);
            let over = prop::sample::select(vec![
                "rate",
                "increase",
                "delta",
                "irate",
                "idelta",
                "changes",
                "resets",
                "deriv",
                "avg_over_time",
                "min_over_time",
                "max_over_time",
                "sum_over_time",
                "count_over_time",
                "last_over_time",
                "first_over_time",
                "stddev_over_time",
                "stdvar_over_time",
                "mad_over_time",
                "present_over_time",
                "absent_over_time",
                "ts_of_max_over_time",
            ]);
            let operator = prop::sample::select(vec![
                "+",
                "-",
                "*",
                "/",
                "%",
                "^",
                "atan2",
                "==",
                "!= bool",
                ">",
                "< bool",
                "and",
                "or",
                "unless",
                "+ on (a)",
                "/ ignoring (le)",
                "* on (a) group_left ()",
                "- on (a) group_right (le)",
                "and on (a)",
                "or on ()",
            ]);
            let aggregation = prop::sample::select(vec![
                "sum",
                "avg by (a)",
                "min without (le)",
                "max by (le)",
                "count",
                "group by (a)",
                "stddev",
                "stdvar by (a)",
                "topk by (a) (1,",
                "bottomk(2,",
                "quantile(0.4,",
                "count_values by (a) (\"v\",",
                "limitk(1,",
                "limit_ratio(0.5,",
            ]);
            let sum_open = |open: &str, inner: &str| match open.ends_with(',') {
                true => format!("{open} {inner})"),
                false => format!("{open} ({inner})"),
            };
            prop_oneof![
                (one, inner.clone()).prop_map(|(function, inner)| format!("{function}({inner})")),
                (over, any_matrix(inner.clone()))
                    .prop_map(|(function, matrix)| format!("{function}({matrix})")),
                (inner.clone(), operator, inner.clone())
                    .prop_map(|(left, operator, right)| format!("({left}) {operator} ({right})")),
                (
                    inner.clone(),
                    prop::sample::select(vec!["+", ">", "==", "% "]),
                    any_scalar()
                )
                    .prop_map(|(left, operator, right)| format!("({left}) {operator} {right}")),
                (aggregation, inner.clone()).prop_map(move |(open, inner)| sum_open(open, &inner)),
                (any_scalar(), inner.clone())
                    .prop_map(|(phi, inner)| format!("histogram_quantile({phi}, {inner})")),
                (any_scalar(), any_matrix(inner.clone()))
                    .prop_map(|(phi, matrix)| format!("quantile_over_time({phi}, {matrix})")),
                (any_matrix(inner.clone()), any_scalar())
                    .prop_map(|(matrix, ahead)| format!("predict_linear({matrix}, {ahead})")),
                inner.clone().prop_map(|inner| format!(
                    "label_replace({inner}, \"a\", \"$1z\", \"__name__\", \"(.).*\")"
                )),
                (inner, any_scalar())
                    .prop_map(|(inner, least)| format!("clamp_min({inner}, {least})")),
            ]
        })
}

/// An answer's values at one time, NaNs made comparable.
fn at_time(value: &Value, time: i64) -> Vec<(Labels, u64)> {
    let bits = |value: f64| {
        if value.is_nan() {
            f64::NAN.to_bits()
        } else {
            value.to_bits()
        }
    };
    let mut found: Vec<(Labels, u64)> = match value {
        Value::Vector(elements) => elements
            .iter()
            .map(|element| (element.labels.clone(), bits(element.sample.value)))
            .collect(),
        Value::Matrix(matrix) => matrix
            .iter()
            .flat_map(|series| {
                series
                    .samples
                    .iter()
                    .map(|sample| (series.labels.clone(), *sample))
            })
            .filter(|(_, sample)| sample.time == time)
            .map(|(labels, sample)| (labels, bits(sample.value)))
            .collect(),
        Value::Scalar(sample) => vec![(Labels::empty(), bits(sample.value))],
        Value::Text(_) => Vec::new(),
    };
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_range_query_gives_what_an_instant_query_gives_at_each_step(
        store in any_store(), query in any_query(), delayed_name_removal: bool, start in 0..600_i64,
    ) {
        // What refers to the query's own times differs by intention.
        prop_assume!(!query.contains("start()") && !query.contains("end()"));
        let options = Options { experimental: true, delayed_name_removal, ..Options::default() };
        let parsed = Query::parse(&query, options).expect(&query);
        let span = Span { start: start * 1000, end: start * 1000 + 200_000, step: 20_000 };
        let cancel = Cancel::default();
        let range = parsed.range(&store, span, &cancel);
        let mut failed = None;
        for time in (span.start..=span.end).step_by(20_000) {
            match (&range, parsed.instant(&store, time, &cancel)) {
                (Ok(range), Ok(instant)) => {
                    prop_assert_eq!(at_time(&range.value, time), at_time(&instant.value, time), "{} at {}", query, time);
                }
                (Ok(_), Err(error)) => prop_assert!(false, "{query} at {time}: {error}"),
                (Err(_), Err(error)) => failed = Some(error),
                (Err(_), Ok(_)) => {}
            }
        }
        if let Err(error) = range {
            // A range fails where an instant fails; series that are apart in time may meet in it only
            // through a subquery, which an instant has as well.
            prop_assert!(failed.is_some(), "{query}: {error}");
        }
    }

    #[test]
    fn any_query_over_any_series_is_answered_or_refused(
        store in any_store(), query in any_query(), start in -100..1000_i64, step in 1..100_i64,
    ) {
        let parsed = Query::parse(&query, Options { experimental: true, ..Options::default() }).expect(&query);
        let span = Span { start: start * 1000, end: (start + 300) * 1000, step: step * 1000 };
        let outcome = parsed.range(&store, span, &Cancel::default());
        if let Ok(answer) = outcome {
            let Value::Matrix(matrix) = answer.value else {
                panic!("a range query gives a matrix");
            };
            prop_assert!(matrix.is_sorted_by(|left, right| left.labels < right.labels));
            prop_assert!(matrix.iter().all(|series| !series.samples.is_empty()));
        }
    }
}

#[test]
fn limits_and_cancellation_stop_a_query() {
    let store = store();
    for at in 0..1000 {
        let labels = Labels::new([("__name__", "m")]);
        append(&store, &labels, at * 1000, at as f64).expect("in order");
    }
    let few = Options {
        max_samples: 100,
        ..Options::default()
    };
    for text in [
        "sum_over_time(m[1000s])",
        "sum_over_time(vector(1)[1000s:1s])",
        "sum_over_time(m[1000000d:1ms])",
    ] {
        let outcome = Query::parse(text, few.clone()).expect("valid").instant(
            &store,
            999_000,
            &Cancel::default(),
        );
        assert_eq!(
            outcome,
            Err(QueryError::TooManySamples { limit: 100 }),
            "{text}"
        );
    }
    let cancel = Cancel::default();
    cancel.cancel();
    let outcome = Query::parse("m", Options::default())
        .expect("valid")
        .instant(&store, 0, &cancel);
    assert_eq!(outcome, Err(QueryError::Cancelled));
    let wide = Span {
        start: 0,
        end: 1_000_000_000,
        step: 1,
    };
    let outcome = Query::parse("m", Options::default()).expect("valid").range(
        &store,
        wide,
        &Cancel::default(),
    );
    assert!(
        matches!(outcome, Err(QueryError::Execution(reason)) if reason.contains("11,000 points"))
    );
}

#[test]
fn the_deepest_query_that_is_read_is_evaluated_on_a_small_stack() {
    let chain = vec!["vector(1)"; 250].join(" + ");
    let nested = format!("{}1{}", "(1 + ".repeat(45), ")".repeat(45));
    for text in [chain, nested] {
        let store = store();
        let query = Query::parse(&text, Options::default()).expect("valid");
        assert!(query.instant(&store, 0, &Cancel::default()).is_ok());
    }
}

#[test]
fn work_shared_among_threads_gives_the_same_answer() {
    let store = store();
    for series in 0..40 {
        let labels = Labels::new([
            ("__name__", "m_total".to_owned()),
            ("a", series.to_string()),
        ]);
        for at in 0..8000_i64 {
            append(
                &store,
                &labels,
                at * 1000,
                ((at * (series + 1)) % 977) as f64,
            )
            .expect("in order");
        }
    }
    let span = Span {
        start: 600_000,
        end: 7_900_000,
        step: 1000,
    };
    let query = |text: &str| {
        let query = Query::parse(text, Options::default()).expect("valid");
        query
            .range(&store, span, &Cancel::default())
            .expect("answered")
            .value
    };
    let Value::Matrix(all) = query("rate(m_total[10s])") else {
        panic!("a matrix");
    };
    assert_eq!(all.len(), 40);
    let Value::Matrix(one) = query("rate(m_total{a=\"7\"}[10s])") else {
        panic!("a matrix");
    };
    assert!(all.contains(&one[0]));
}
