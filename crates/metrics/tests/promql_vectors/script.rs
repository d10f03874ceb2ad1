//! The test language of Prometheus' engine: files of `load`, `clear` and `eval` commands.

use springtide_metrics::promql::{SeriesNotation, parse_time};

/// A command and the line it starts in.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) line: usize,
    pub(crate) kind: CommandKind,
}

#[derive(Debug)]
pub(crate) enum CommandKind {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
    /// What cannot be read, and why.
    Unreadable(String),
}

#[derive(Debug)]
pub(crate) struct Load {
    /// Milliseconds from point to point.
    pub(crate) step: i64,
    pub(crate) series: Vec<SeriesNotation>,
    /// Each classic histogram is also loaded as a native one with custom buckets.
    pub(crate) with_native: bool,
}

#[derive(Debug)]
pub(crate) struct Eval {
    pub(crate) times: Times,
    pub(crate) query: String,
    pub(crate) expected: Expected,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Times {
    At(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// What an evaluation is to give.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(crate) fail: bool,
    pub(crate) fail_text: Option<Text>,
    pub(crate) warn: bool,
    pub(crate) info: bool,
    pub(crate) no_warn: bool,
    pub(crate) no_info: bool,
    pub(crate) warn_texts: Vec<Text>,
    pub(crate) info_texts: Vec<Text>,
    pub(crate) ordered: bool,
    pub(crate) text: Option<String>,
    /// The times of a range vector an instant query gives.
    pub(crate) range_vector: Option<(i64, i64, i64)>,
    pub(crate) scalar: Option<f64>,
    pub(crate) series: Vec<SeriesNotation>,
}

/// What a message is to be.
#[derive(Debug)]
pub(crate) enum Text {
    Exactly(String),
    Matching(String),
}

impl Text {
    pub(crate) fn accepts(&self, text: &str) -> bool {
        match self {
            Text::Exactly(expected) => expected == text,
            Text::Matching(pattern) => {
                regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
            }
        }
    }
}

/// Reads a file's commands.
pub(crate) fn read(text: &str) -> Vec<Command> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .map(|line| if line.starts_with('#') { "" } else { line })
        .collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if line.is_empty() {
            at += 1;
            continue;
        }
        let body_start = at + 1;
        let has_body = line.starts_with("load") || line.starts_with("eval");
        let mut end = body_start;
        while has_body && end < lines.len() && !lines[end].is_empty() {
            end += 1;
        }
        let kind =
            read_command(line, &lines[body_start..end]).unwrap_or_else(CommandKind::Unreadable);
        commands.push(Command { line: at + 1, kind });
        at = end;
    }
    commands
}

fn read_command(line: &str, body: &[&str]) -> Result<CommandKind, String> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match word {
        "clear" => Ok(CommandKind::Clear),
        "load" | "load_with_nhcb" => {
            let step = parse_time(rest.trim()).ok_or_else(|| format!("no step: {line}"))?;
            let series = body
                .iter()
                .map(|line| SeriesNotation::parse(line).map_err(|error| error.to_string()));
            Ok(CommandKind::Load(Load {
                step,
                series: series.collect::<Result<_, _>>()?,
                with_native: word == "load_with_nhcb",
            }))
        }
        "eval" | "eval_fail" | "eval_warn" | "eval_info" | "eval_ordered" => {
            let mut expected = Expected {
                fail: word == "eval_fail",
                warn: word == "eval_warn",
                info: word == "eval_info",
                ordered: word == "eval_ordered",
                ..Expected::default()
            };
            let (times, query) =
                read_times(rest.trim()).ok_or_else(|| format!("no times: {line}"))?;
            for line in body {
                read_expectation(line, &mut expected)?;
            }
            Ok(CommandKind::Eval(Box::new(Eval {
                times,
                query,
                expected,
            })))
        }
        _ => Err(format!("unknown command: {line}")),
    }
}

fn read_times(rest: &str) -> Option<(Times, String)> {
    let mut words = Words(rest);
    if words.take()? == "instant" {
        let ("at", time) = (words.take()?, words.take()?) else {
            return None;
        };
        return Some((Times::At(parse_time(time)?), words.0.to_owned()));
    }
    let mut times = [0; 3];
    for (time, keyword) in times.iter_mut().zip(["from", "to", "step"]) {
        if words.take()? != keyword {
            return None;
        }
        *time = parse_time(words.take()?)?;
    }
    let [start, end, step] = times;
    Some((Times::Range { start, end, step }, words.0.to_owned()))
}

/// Takes words off a text's start.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn take(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        self.0 = rest.trim_start();
        (!word.is_empty()).then_some(word)
    }
}

fn read_expectation(line: &str, expected: &mut Expected) -> Result<(), String> {
    let mut words = Words(line);
    match words.take() {
        Some("expect") => return read_expect(&mut words, expected, line),
        Some("expected_fail_message") => {
            expected.fail_text = Some(Text::Exactly(words.0.to_owned()));
            return Ok(());
        }
        Some("expected_fail_regexp") => {
            expected.fail_text = Some(Text::Matching(words.0.to_owned()));
            return Ok(());
        }
        _ => {}
    }
    if let Some(scalar) = springtide_metrics::promql::parse_float(line) {
        expected.scalar = Some(scalar);
        return Ok(());
    }
    let series = SeriesNotation::parse(line).map_err(|error| error.to_string())?;
    expected.series.push(series);
    Ok(())
}

fn read_expect(words: &mut Words<'_>, expected: &mut Expected, line: &str) -> Result<(), String> {
    let what = words.take().unwrap_or_default();
    let text = words
        .0
        .strip_prefix("msg:")
        .map(|text| Text::Exactly(text.trim().to_owned()))
        .or_else(|| {
            words
                .0
                .strip_prefix("regex:")
                .map(|text| Text::Matching(text.trim().to_owned()))
        });
    match what {
        "fail" => {
            expected.fail = true;
            expected.fail_text = text;
        }
        "warn" => {
            expected.warn = true;
            expected.warn_texts.extend(text);
        }
        "info" => {
            expected.info = true;
            expected.info_texts.extend(text);
        }
        "no_warn" => expected.no_warn = true,
        "no_info" => expected.no_info = true,
        "ordered" => expected.ordered = true,
        "string" => {
            let quoted = words.0.trim();
            let quote = quoted.chars().next().unwrap_or_default();
            let inner = quoted
                .strip_prefix(quote)
                .and_then(|rest| rest.strip_suffix(quote));
            expected.text = Some(
                inner
                    .ok_or_else(|| format!("no quoted text: {line}"))?
                    .to_owned(),
            );
        }
        "range" => {
            let ("vector", Some((Times::Range { start, end, step }, _))) = (
                words.take().unwrap_or_default(),
                read_times(&format!("range {}", words.0)),
            ) else {
                return Err(format!("unknown expectation: {line}"));
            };
            expected.range_vector = Some((start, end, step));
        }
        _ => return Err(format!("unknown expectation: {line}")),
    }
    Ok(())
}
