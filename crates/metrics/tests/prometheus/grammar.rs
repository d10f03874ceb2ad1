use springtide_machinery::entropy::Entropy;
use springtide_metrics::remote_write::message::{Label, Sample, TimeSeries, WriteRequest};
use springtide_metrics::tsdb::STALE_NAN;

/// Makes series, queries and requests from a seed.
pub(crate) struct Grammar {
    entropy: Entropy,
}

const AGGREGATIONS: [&str; 12] = [
    "sum",
    "avg",
    "min",
    "max",
    "count",
    "group",
    "stddev",
    "stdvar",
    "quantile(0.3, ",
    "topk(2, ",
    "bottomk(1, ",
    "count_values(\"v\", ",
];
const GROUPINGS: [&str; 6] = [
    "",
    " by (a)",
    " by (a, le)",
    " without (le)",
    " without (b, a)",
    " by ()",
];
const OVER_TIME: [&str; 22] = [
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
    "stddev_over_time",
    "stdvar_over_time",
    "present_over_time",
    "absent_over_time",
    "quantile_over_time(0.7, ",
    "predict_linear( , 60)",
    "sum_over_time",
    "rate",
];
/// Of times only: what a date makes of a NaN depends on the processor in Go.
const DATES: [&str; 4] = ["hour", "minute", "day_of_week", "days_in_month"];
const OF_VECTORS: [&str; 18] = [
    "abs",
    "ceil",
    "floor",
    "exp",
    "ln",
    "log2",
    "log10",
    "sgn",
    "sqrt",
    "round",
    "timestamp",
    "absent",
    "scalar",
    "sin",
    "deg",
    "-",
    "sort_desc",
    "clamp_max( , 3)",
];
const OPERATORS: [&str; 23] = [
    "+",
    "-",
    "*",
    "/",
    "^",
    "atan2",
    "==",
    "!=",
    ">",
    "<",
    ">=",
    "<=",
    "== bool",
    "> bool",
    "and",
    "or",
    "unless",
    "+ on (a)",
    "/ ignoring (le)",
    "* on (a) group_left (b)",
    "- on (a) group_right ()",
    "and on (a)",
    "or on (le)",
];
const SELECTORS: [&str; 12] = [
    "m_total",
    "n",
    "g",
    "h_bucket",
    "{a=\"x\"}",
    "{a!=\"x\",__name__=~\"m.*|n\"}",
    "n{b=~\"[12]\"}",
    "missing",
    "m_total offset 45s",
    "n @ 1600000300",
    "m_total @ end()",
    "g offset -30s",
];
const WINDOWS: [&str; 8] = [
    "[1m]",
    "[45s]",
    "[5m]",
    "[2m] offset 30s",
    "[1m] @ 1600000600",
    "[16s]",
    "[1m] @ start()",
    "[10m]",
];
const SUBQUERIES: [&str; 4] = ["[2m:15s]", "[3m:20s] offset 15s", "[1m:]", "[5m:1m]"];

impl Grammar {
    pub(crate) fn new(entropy: Entropy) -> Grammar {
        Grammar { entropy }
    }

    fn pick<'a>(&self, list: &[&'a str]) -> &'a str {
        list[self.entropy.below(list.len() as u64) as usize]
    }

    fn chance(&self, percent: u64) -> bool {
        self.entropy.below(100) < percent
    }

    /// Counters with resets, gauges with gaps, odd numbers and ends, and a histogram.
    pub(crate) fn series(&self, start: i64, step: i64, samples: i64) -> WriteRequest {
        let mut timeseries = Vec::new();
        for name in ["m_total", "n", "g"] {
            for a in ["", "x", "y"] {
                for b in ["1", "2"] {
                    let pairs = [("__name__", name), ("a", a), ("b", b)];
                    let points = self.points(name == "m_total", start, step, samples);
                    timeseries.push(series_of(&pairs, points));
                }
            }
        }
        for a in ["x", "y"] {
            let bounds = ["0.1", "1", "10", "+Inf"];
            let mut counts = [0.0; 4];
            let mut rows = vec![Vec::new(); 4];
            for at in 0..samples {
                let first = self.entropy.below(4) as usize;
                for count in &mut counts[first..] {
                    *count += 1.0;
                }
                for (row, count) in rows.iter_mut().zip(counts) {
                    row.push((start + at * step, count));
                }
            }
            for (le, points) in bounds.iter().zip(rows) {
                let pairs = [("__name__", "h_bucket"), ("a", a), ("le", le)];
                timeseries.push(series_of(&pairs, points));
            }
        }
        WriteRequest {
            timeseries,
            metadata: Vec::new(),
        }
    }

    fn points(&self, is_counter: bool, start: i64, step: i64, samples: i64) -> Vec<(i64, f64)> {
        let mut value = 0.0;
        let mut points = Vec::new();
        for at in 0..samples {
            let jitter = if self.chance(20) {
                self.entropy.below(400) as i64
            } else {
                0
            };
            let time = start + at * step + jitter;
            if self.chance(5) {
                continue;
            }
            if self.chance(2) {
                points.push((time, STALE_NAN));
                continue;
            }
            value = match (is_counter, self.entropy.below(100)) {
                (true, 0..3) => 0.0,
                (true, _) => value + self.entropy.fraction() * 10.0,
                (false, 0) => f64::NAN,
                (false, 1) => f64::INFINITY,
                (false, 2) => -1e300,
                (false, 3..40) => self.entropy.below(5) as f64,
                (false, _) => self.entropy.fraction() * 200.0 - 100.0,
            };
            points.push((time, value));
            if !value.is_finite() || value.abs() > 1e100 {
                value = 0.0;
            }
        }
        points
    }

    /// A query; most of them are valid.
    pub(crate) fn query(&self) -> String {
        self.vector(3)
    }

    fn vector(&self, depth: u32) -> String {
        if depth == 0 {
            return self.pick(&SELECTORS).to_owned();
        }
        match self.entropy.below(12) {
            0 => self.pick(&SELECTORS).to_owned(),
            1..=3 => {
                let name = self.pick(&AGGREGATIONS);
                let inner = match name.split('(').next() {
                    // Which of equal values is chosen is left to chance.
                    Some("topk" | "bottomk") => "rate(m_total[2m])".to_owned(),
                    // What is left of nearly equal numbers depends on the order in which they are added.
                    Some("stddev" | "stdvar") => self.pick(&["g", "n", "m_total"]).to_owned(),
                    // The last digits of a computed value would be a label's.
                    Some("count_values") => self.pick(&SELECTORS).to_owned(),
                    _ => self.vector(depth - 1),
                };
                let grouping = self.pick(&GROUPINGS);
                match name.split_once('(') {
                    Some((name, parameter)) => format!("{name}{grouping} ({parameter}{inner})"),
                    None => format!("{name}{grouping} ({inner})"),
                }
            }
            4..=6 => called(self.pick(&OVER_TIME), &self.matrix(depth - 1)),
            7 if self.chance(20) => called(self.pick(&DATES), "timestamp(g)"),
            7 => called(self.pick(&OF_VECTORS), &self.vector(depth - 1)),
            8 | 9 => {
                let operator = self.pick(&OPERATORS);
                format!(
                    "({} {operator} {})",
                    self.vector(depth - 1),
                    self.vector(depth - 1)
                )
            }
            10 => {
                let scalar = self.pick(&[
                    "2",
                    "0.5",
                    "-1",
                    "(time() - 1600000000)",
                    "scalar(n{a=\"x\",b=\"1\"})",
                    "NaN",
                ]);
                let operator = self.pick(&["+", "-", "*", "/", "%", "^", ">", "<= bool"]);
                if operator == "%" {
                    // A remainder keeps the last digits only.
                    return format!("({} % {scalar})", self.pick(&SELECTORS));
                }
                format!("({} {operator} {scalar})", self.vector(depth - 1))
            }
            _ => match self.entropy.below(3) {
                0 => format!(
                    "histogram_quantile({}, rate(h_bucket[2m]))",
                    self.pick(&["0.5", "0.99", "0", "-1"])
                ),
                1 => format!(
                    "label_replace({}, \"c\", \"$1-x\", \"a\", \"(.*)\")",
                    self.vector(depth - 1)
                ),
                _ => format!(
                    "label_join({}, \"c\", \"-\", \"a\", \"b\")",
                    self.vector(depth - 1)
                ),
            },
        }
    }

    fn matrix(&self, depth: u32) -> String {
        if depth > 0 && self.chance(25) {
            return format!("({}){}", self.vector(depth - 1), self.pick(&SUBQUERIES));
        }
        let selector = self.pick(&[
            "m_total",
            "n",
            "g",
            "{a=\"y\"}",
            "n{b=\"1\"}",
            "h_bucket",
            "missing",
        ]);
        format!("{selector}{}", self.pick(&WINDOWS))
    }

    /// A request for a query: at a time, or over a range.
    pub(crate) fn request(&self, query: &str, start: i64, step: i64, samples: i64) -> String {
        let escaped: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let span = (step * samples) as u64;
        let at = start + self.entropy.below(span) as i64;
        let seconds = |millis: i64| millis as f64 / 1000.0;
        if self.chance(50) {
            return format!("query?query={escaped}&time={}", seconds(at));
        }
        let end = at + self.entropy.below(span / 2) as i64;
        let step = self.pick(&["15", "7", "60", "20.5"]);
        format!(
            "query_range?query={escaped}&start={}&end={}&step={step}",
            seconds(at),
            seconds(end)
        )
    }
}

/// `name(argument)`; a name with a parenthesis has other arguments, around a blank for this one or before it.
fn called(name: &str, argument: &str) -> String {
    match name.split_once('(') {
        None => format!("{name}({argument})"),
        Some((name, others)) if others.starts_with(' ') => {
            format!("{name}({argument}{}", others.trim_start())
        }
        Some((name, others)) => format!("{name}({others}{argument})"),
    }
}

fn series_of(pairs: &[(&str, &str)], points: Vec<(i64, f64)>) -> TimeSeries {
    let labels = pairs.iter().filter(|(_, value)| !value.is_empty());
    TimeSeries {
        labels: labels
            .map(|(name, value)| Label {
                name: (*name).to_owned(),
                value: (*value).to_owned(),
            })
            .collect(),
        samples: points
            .into_iter()
            .map(|(timestamp, value)| Sample { value, timestamp })
            .collect(),
        histograms: Vec::new(),
    }
}
