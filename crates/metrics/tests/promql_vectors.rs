//! Prometheus' own engine tests, run on this engine.
//!
//! The files are looked for under `$SPRINGTIDE_VECTORS/promql`, by default `../shared/vectors` beside the
//! workspace. What needs native histograms or other parts that are not supported is counted as
//! refused, with what it needs; a wrong answer fails the test.

#[path = "promql_vectors/judge.rs"]
mod judge;
#[path = "promql_vectors/script.rs"]
mod script;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use judge::{Judge, Verdict};

/// How many differences are printed in full.
const PRINTED: usize = 25;

fn vectors_folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    std::env::var_os("SPRINGTIDE_VECTORS")
        .map_or_else(beside, PathBuf::from)
        .join("promql")
}

fn test_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "test"))
        .collect();
    files.sort();
    files
}

#[derive(Default)]
struct Tally {
    passed: usize,
    refused: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl Tally {
    fn refused(&self) -> usize {
        self.refused.values().sum()
    }

    fn line(&self) -> String {
        format!(
            "{} passed, {} refused, {} failed",
            self.passed,
            self.refused(),
            self.failures.len()
        )
    }

    fn run(&mut self, name: &str, text: &str) {
        let mut judge = Judge::default();
        for command in script::read(text) {
            let query = match &command.kind {
                script::CommandKind::Eval(eval) => eval.query.as_str(),
                _ => "",
            };
            match judge.run(&command) {
                None => {}
                Some(Verdict::Passed) => self.passed += 1,
                Some(Verdict::Refused(what)) => *self.refused.entry(what).or_default() += 1,
                Some(Verdict::Failed(difference)) => {
                    let line = command.line;
                    self.failures
                        .push(format!("{name}:{line}: {query}\n    {difference}"));
                }
            }
        }
    }
}

#[test]
fn our_own_cases_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/promql_vectors/cases");
    let mut tally = Tally::default();
    for file in test_files(&folder) {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        tally.run(
            &name,
            &std::fs::read_to_string(&file).expect("a readable test file"),
        );
    }
    assert!(tally.failures.is_empty(), "{}", tally.failures.join("\n"));
    let refused: Vec<&str> = tally.refused.keys().map(String::as_str).collect();
    assert_eq!(
        refused,
        [
            "the function info is not supported",
            "the modifier smoothed is not supported"
        ]
    );
    assert!(tally.passed > 40);
}

#[test]
fn the_engine_answers_as_prometheus_expects() {
    let folder = vectors_folder();
    let files = test_files(&folder);
    if files.is_empty() {
        eprintln!("skipped: no files *.test in {}", folder.display());
        return;
    }
    let mut total = Tally::default();
    for file in files {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = std::fs::read_to_string(&file).expect("a readable test file");
        let mut tally = Tally::default();
        tally.run(&name, &text);
        println!("{name}: {}", tally.line());
        total.passed += tally.passed;
        total.failures.extend(tally.failures);
        for (what, count) in tally.refused {
            *total.refused.entry(what).or_default() += count;
        }
    }
    for failure in total.failures.iter().take(PRINTED) {
        println!("{failure}");
    }
    for (what, count) in &total.refused {
        println!("refused {count}: {what}");
    }
    println!("{}", total.line());
    let count = total.passed + total.refused() + total.failures.len();
    println!("{} of {count} equal", total.passed);
    assert!(
        total.failures.is_empty(),
        "{} answers differ",
        total.failures.len()
    );
}
