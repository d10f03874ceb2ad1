//! A chart over the run's time, as SVG that fits any width: what lies along the time is in percent of the
//! width, what lies along the values in pixels, so that writing keeps its size on a telephone.

use std::fmt::Write as _;
use std::time::Duration;

use super::axis::{Axis, times};
use super::html::Escaped;
use super::units::{Unit, moment};

/// The height of a chart's drawing, in pixels.
const HEIGHT: f64 = 150.0;
/// Above it: room for the marks of decisions.
const ABOVE: f64 = 26.0;
/// Below it: room for the times.
const BELOW: f64 = 22.0;
/// The width of the drawing in its own units; it is stretched to the width that there is.
const WIDTH: f64 = 1000.0;
/// Beyond this ratio of the greatest to the least value an axis is logarithmic.
const WIDE: f64 = 200.0;
/// Looks that can be told apart: each has its own colour and its own dashes.
const LOOKS: usize = 8;
/// Marks closer than this part of the width stand at two heights.
const CROWDED: f64 = 0.03;

/// How series are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A line each.
    Lines,
    /// A line each; the first has its area filled.
    Area,
    /// Lines that hold a value until the next; the first has its area filled.
    Steps,
    /// Areas on top of each other.
    Stack,
}

/// One series of a chart.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// Its name.
    pub(super) name: String,
    /// Its values by seconds since the run's start; a value that is not there leaves a gap.
    pub(super) values: Vec<(f64, Option<f64>)>,
    /// What is said of it as long as nobody points at a moment.
    pub(super) at_rest: String,
    /// Its colour and its dashes, where they do not follow from its place.
    pub(super) look: Option<(usize, usize)>,
}

/// A chart.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    /// A short name, for links and styles.
    pub(super) id: String,
    /// What it shows.
    pub(super) title: String,
    /// More on that, if there is more to say.
    pub(super) note: String,
    /// What the numbers are.
    pub(super) unit: Unit,
    /// How they are drawn.
    pub(super) form: Form,
    /// The series.
    pub(super) series: Vec<Series>,
    /// The decisions that this chart numbers; the others only have their line.
    pub(super) numbered: bool,
}

/// What all charts of a page share.
#[derive(Clone, Debug, Default)]
pub(super) struct TimeAxis {
    /// How long the run was.
    pub(super) length: Duration,
    /// When load was added, in seconds.
    pub(super) load_steps: Vec<f64>,
    /// When an autoscaler decided, in seconds; numbered from 1 in this order.
    pub(super) decisions: Vec<f64>,
}

// === impl Series ===

impl Series {
    pub(super) fn greatest(&self) -> Option<f64> {
        self.present().reduce(f64::max)
    }

    fn present(&self) -> impl Iterator<Item = f64> {
        self.values.iter().filter_map(|(_, value)| *value)
    }

    /// The numbers of its colour and its dashes, if it is the `index`th of its chart.
    fn look(&self, index: usize) -> (usize, usize) {
        let (colour, dashes) = self.look.unwrap_or((index, index));
        (colour % LOOKS, dashes % LOOKS)
    }

    /// The value that held at a moment: the last one before it.
    fn at(&self, seconds: f64) -> Option<f64> {
        let after = self.values.partition_point(|(time, _)| *time <= seconds);
        self.values[..after].last()?.1
    }
}

// === impl TimeAxis ===

impl TimeAxis {
    fn part(&self, seconds: f64) -> f64 {
        (seconds / self.length.as_secs_f64().max(1e-3)).clamp(0.0, 1.0)
    }

    /// The place of a moment, in percent of the width.
    pub(super) fn percent(&self, seconds: f64) -> String {
        format!("{:.2}%", self.part(seconds) * 100.0)
    }
}

// === impl Chart ===

impl Chart {
    /// Writes the chart. `first_series` numbers its series among those of the page; `at` are the moments
    /// at which it can be read, and what is read there is added to `readings`, series by series.
    pub(super) fn draw(
        &self,
        time: &TimeAxis,
        first_series: usize,
        at: &[f64],
        readings: &mut Vec<Vec<String>>,
        html: &mut String,
    ) {
        let Self {
            id, title, note, ..
        } = self;
        let _ = write!(
            html,
            "<figure class=\"chart\" id=\"{id}\"><figcaption><h3 id=\"{id}-title\">{}</h3>",
            Escaped(title)
        );
        let axis = self.axis();
        let mut notes: Vec<String> = Vec::new();
        notes.extend((!note.is_empty()).then(|| note.clone()));
        if matches!(axis, Axis::Logarithmic { .. }) {
            notes.push("logarithmic axis".to_owned());
        }
        let _ = write!(
            html,
            "<p class=\"note\">{}</p></figcaption>",
            Escaped(&notes.join(" · "))
        );
        self.legend(first_series, html);
        let all = ABOVE + HEIGHT + BELOW;
        let _ = write!(
            html,
            "<svg class=\"plot\" width=\"100%\" height=\"{all}\" role=\"img\" aria-labelledby=\"{id}-title {id}-says\"><title id=\"{id}-says\">{}</title>",
            Escaped(&self.in_words())
        );
        self.lines_and_numbers(axis, html);
        draw_times(time, html);
        let _ = write!(
            html,
            "<svg y=\"{ABOVE}\" width=\"100%\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\">"
        );
        self.curves(axis, time, html);
        html.push_str("</svg>");
        self.marks(time, html);
        let foot = ABOVE + HEIGHT;
        let _ = write!(
            html,
            "<line class=\"cursor\" x1=\"0\" x2=\"0\" y1=\"{ABOVE}\" y2=\"{foot}\" visibility=\"hidden\"/></svg></figure>"
        );
        for series in &self.series {
            let texts = at.iter().map(|seconds| {
                series
                    .at(*seconds)
                    .map_or_else(|| "–".to_owned(), |value| self.unit.text(value))
            });
            readings.push(texts.collect());
        }
    }

    fn axis(&self) -> Axis {
        if self.form == Form::Stack {
            let count = self.series.first().map_or(0, |series| series.values.len());
            let greatest = (0..count).map(|index| self.stacked(self.series.len(), index));
            return Axis::linear(greatest.fold(0.0, f64::max), self.unit.is_whole());
        }
        let greatest = self
            .series
            .iter()
            .filter_map(Series::greatest)
            .fold(0.0, f64::max);
        let least = self
            .series
            .iter()
            .flat_map(Series::present)
            .filter(|value| *value > 0.0)
            .fold(f64::INFINITY, f64::min);
        if self.unit == Unit::Time && least.is_finite() && greatest > least * WIDE {
            return Axis::logarithmic(least, greatest);
        }
        Axis::linear(greatest, self.unit.is_whole())
    }

    /// The sum of the first `count` series at a value's place.
    fn stacked(&self, count: usize, index: usize) -> f64 {
        let values = self.series[..count]
            .iter()
            .filter_map(|series| series.values.get(index)?.1);
        values.sum()
    }

    fn legend(&self, first_series: usize, html: &mut String) {
        html.push_str("<ul class=\"legend\">");
        for (index, series) in self.series.iter().enumerate() {
            let (colour, dashes) = series.look(index);
            let key = if self.form == Form::Stack {
                format!("<rect class=\"fill c{colour}\" width=\"22\" height=\"10\"/>")
            } else {
                format!(
                    "<line class=\"curve c{colour} d{dashes}\" x1=\"0\" x2=\"22\" y1=\"5\" y2=\"5\"/>"
                )
            };
            let _ = write!(
                html,
                "<li><svg class=\"key\" width=\"22\" height=\"10\" aria-hidden=\"true\">{key}</svg> <span>{}</span> <b data-series=\"{}\">{}</b></li>",
                Escaped(&series.name),
                first_series + index,
                Escaped(&series.at_rest)
            );
        }
        html.push_str("</ul>");
    }

    /// What can be seen, for those who do not see it.
    fn in_words(&self) -> String {
        let series: Vec<String> = self
            .series
            .iter()
            .map(|series| format!("{}: {}", series.name, series.at_rest))
            .collect();
        format!(
            "{} over the time of the run. {}",
            self.title,
            series.join("; ")
        )
    }

    fn lines_and_numbers(&self, axis: Axis, html: &mut String) {
        for line in axis.lines() {
            let y = ABOVE + HEIGHT * (1.0 - axis.height(line));
            let class = if axis.height(line) == 0.0 {
                "base"
            } else {
                "grid"
            };
            let _ = write!(
                html,
                "<line class=\"{class}\" x1=\"0\" x2=\"100%\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\" stroke-opacity=\"0.2\"/>"
            );
            if axis.height(line) > 0.0 {
                let _ = write!(
                    html,
                    "<text class=\"number\" x=\"2\" y=\"{:.1}\">{}</text>",
                    y - 4.0,
                    Escaped(&self.unit.text(line))
                );
            }
        }
    }

    fn curves(&self, axis: Axis, time: &TimeAxis, html: &mut String) {
        let place = |seconds: f64, value: f64| {
            (
                time.part(seconds) * WIDTH,
                HEIGHT * (1.0 - axis.height(value)),
            )
        };
        if self.form == Form::Stack {
            for (index, series) in self.series.iter().enumerate() {
                let upper = series
                    .values
                    .iter()
                    .enumerate()
                    .map(|(at, (seconds, _))| place(*seconds, self.stacked(index + 1, at)));
                let lower = series
                    .values
                    .iter()
                    .enumerate()
                    .rev()
                    .map(|(at, (seconds, _))| place(*seconds, self.stacked(index, at)));
                let corners: Vec<String> = upper
                    .chain(lower)
                    .map(|(x, y)| format!("{x:.1},{y:.1}"))
                    .collect();
                let _ = write!(
                    html,
                    "<polygon class=\"fill c{}\" points=\"{}\"/>",
                    series.look(index).0,
                    corners.join(" ")
                );
            }
            return;
        }
        for (index, series) in self.series.iter().enumerate() {
            let (colour, dashes) = series.look(index);
            let fills = index == 0 && self.form != Form::Lines;
            let (mut curve, mut areas) = (String::new(), String::new());
            for run in runs(&series.values) {
                let places: Vec<_> = run
                    .iter()
                    .map(|(seconds, value)| place(*seconds, *value))
                    .collect();
                let drawn = self.path(&places);
                if let (true, Some((first, _)), Some((last, _))) =
                    (fills, places.first(), places.last())
                {
                    let last = if self.form == Form::Steps {
                        WIDTH
                    } else {
                        *last
                    };
                    let _ = write!(areas, "{drawn}L{last:.1},{HEIGHT}L{first:.1},{HEIGHT}Z");
                }
                curve.push_str(&drawn);
            }
            if fills {
                let _ = write!(
                    html,
                    "<path class=\"area c{colour}\" d=\"{areas}\" fill-opacity=\"0.14\"/>"
                );
            }
            let _ = write!(
                html,
                "<path class=\"curve c{colour} d{dashes}\" d=\"{curve}\" fill=\"none\" stroke=\"currentColor\" vector-effect=\"non-scaling-stroke\"/>"
            );
        }
    }

    fn path(&self, places: &[(f64, f64)]) -> String {
        let mut path = String::new();
        for (index, (x, y)) in places.iter().enumerate() {
            let _ = match (index, self.form) {
                (0, _) => write!(path, "M{x:.1},{y:.1}"),
                (_, Form::Steps) => write!(path, "H{x:.1}V{y:.1}"),
                _ => write!(path, "L{x:.1},{y:.1}"),
            };
        }
        if self.form == Form::Steps {
            // The last value held until the end.
            let _ = write!(path, "H{WIDTH}");
        } else if places.len() == 1 {
            // A line of no length is a dot.
            path.push_str("h0.01");
        }
        path
    }

    fn marks(&self, time: &TimeAxis, html: &mut String) {
        let foot = ABOVE + HEIGHT;
        for step in &time.load_steps {
            let x = time.percent(*step);
            let _ = write!(
                html,
                "<svg class=\"step\" x=\"{x}\" y=\"{}\" width=\"1\" height=\"1\" overflow=\"visible\"><path d=\"M0,0L5,8H-5Z\"/></svg>",
                foot - 1.0
            );
        }
        let mut crowded = false;
        let mut before = f64::NEG_INFINITY;
        for (index, decision) in time.decisions.iter().enumerate() {
            let x = time.percent(*decision);
            let _ = write!(
                html,
                "<line class=\"decision\" x1=\"{x}\" x2=\"{x}\" y1=\"{ABOVE}\" y2=\"{foot}\" stroke=\"currentColor\" stroke-opacity=\"0.4\" stroke-dasharray=\"3 3\"/>"
            );
            if !self.numbered {
                continue;
            }
            let part = time.part(*decision);
            crowded = part - before < CROWDED && !crowded;
            before = part;
            let y = if crowded { ABOVE + 12.0 } else { ABOVE - 13.0 };
            let _ = write!(
                html,
                "<a href=\"#decision-{0}\"><circle class=\"bubble\" cx=\"{x}\" cy=\"{y}\" r=\"9\"/><text class=\"bubble-number\" x=\"{x}\" y=\"{1}\" text-anchor=\"middle\">{0}</text></a>",
                index + 1,
                y + 4.0
            );
        }
    }
}

/// Stretches of values without a gap.
fn runs(values: &[(f64, Option<f64>)]) -> impl Iterator<Item = Vec<(f64, f64)>> {
    values
        .split(|(_, value)| value.is_none())
        .filter(|run| !run.is_empty())
        .map(|run| {
            run.iter()
                .filter_map(|(seconds, value)| Some((*seconds, (*value)?)))
                .collect()
        })
}

fn draw_times(time: &TimeAxis, html: &mut String) {
    let foot = ABOVE + HEIGHT;
    for at in times(time.length) {
        let part = time.part(at.as_secs_f64());
        let anchor = if part < 0.02 {
            "start"
        } else if part > 0.98 {
            "end"
        } else {
            "middle"
        };
        let _ = write!(
            html,
            "<text class=\"number\" x=\"{0}\" y=\"{1}\" text-anchor=\"{anchor}\">{2}</text>",
            time.percent(at.as_secs_f64()),
            foot + 18.0,
            moment(at)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(form: Form, values: Vec<Vec<(f64, Option<f64>)>>) -> String {
        let chart = Chart {
            id: "rate".to_owned(),
            title: "<Requests>".to_owned(),
            note: String::new(),
            unit: Unit::PerSecond,
            form,
            series: values
                .into_iter()
                .map(|values| Series {
                    name: "a & b".to_owned(),
                    values,
                    at_rest: "peak".to_owned(),
                    look: None,
                })
                .collect(),
            numbered: true,
        };
        let time = TimeAxis {
            length: Duration::from_secs(10),
            load_steps: vec![0.0],
            decisions: vec![5.0],
        };
        let (mut html, mut readings) = (String::new(), Vec::new());
        chart.draw(&time, 0, &[0.0, 5.0, 9.0], &mut readings, &mut html);
        html.push_str(&format!("{readings:?}"));
        html
    }

    #[test]
    fn a_line_goes_through_its_values_and_stops_where_there_are_none() {
        let values = vec![
            (0.0, Some(0.0)),
            (2.0, Some(50.0)),
            (4.0, None),
            (6.0, Some(100.0)),
        ];
        let html = chart(Form::Lines, vec![values]);
        assert!(
            html.contains("d=\"M0.0,150.0L200.0,75.0M600.0,0.0h0.01\""),
            "{html}"
        );
        assert!(html.contains("&lt;Requests&gt;") && html.contains("a &amp; b"));
        assert!(html.contains(r##"href="#decision-1""##));
        assert!(html.ends_with(r#"[["0/s", "–", "100/s"]]"#), "{html}");
    }

    #[test]
    fn steps_hold_until_the_end_and_stacks_stand_on_each_other() {
        let html = chart(Form::Steps, vec![vec![(0.0, Some(2.0)), (5.0, Some(4.0))]]);
        assert!(html.contains("d=\"M0.0,75.0H500.0V0.0H1000\""), "{html}");
        let one = vec![(0.0, Some(1.0)), (10.0, Some(1.0))];
        let html = chart(Form::Stack, vec![one.clone(), one]);
        assert!(
            html.contains("points=\"0.0,75.0 1000.0,75.0 1000.0,150.0 0.0,150.0\""),
            "{html}"
        );
        assert!(
            html.contains("points=\"0.0,0.0 1000.0,0.0 1000.0,75.0 0.0,75.0\""),
            "{html}"
        );
    }
}
