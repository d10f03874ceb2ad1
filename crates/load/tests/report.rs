//! The report is one page that is well-formed, tells all there is, lets nothing of the target become
//! markup, asks for nothing outside itself, and fits a telephone.

#[path = "support/browser.rs"]
mod browser;
#[path = "support/page.rs"]
mod page;
#[path = "support/sample_run.rs"]
mod sample_run;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use browser::{Browser, chromium};
use page::{Piece, read};
use sample_run::{HOSTILE, SampleRun};
use serde_json::json;
use sha2::{Digest as _, Sha256};

type Attributes = BTreeMap<String, String>;

fn elements(pieces: &[Piece]) -> impl Iterator<Item = (&str, &Attributes)> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Element { name, attributes } => Some((name.as_str(), attributes)),
        Piece::Text(_) => None,
    })
}

/// The text that follows the beginning of each such element.
fn texts_of<'page>(pieces: &'page [Piece], wanted: &str) -> Vec<&'page str> {
    pieces
        .windows(2)
        .filter_map(|pair| match pair {
            [Piece::Element { name, .. }, Piece::Text(text)] if name == wanted => {
                Some(text.as_str())
            }
            _ => None,
        })
        .collect()
}

#[test]
fn the_page_is_well_formed_and_refers_only_to_itself() {
    for run in [SampleRun::full(), SampleRun::empty()] {
        let page = run.page();
        let pieces = read(&page).unwrap();
        let mut ids = BTreeSet::new();
        for (_, attributes) in elements(&pieces) {
            if let Some(id) = attributes.get("id") {
                assert!(ids.insert(id.clone()), "{id} is there twice");
            }
        }
        for (name, attributes) in elements(&pieces) {
            for (attribute, value) in attributes {
                assert!(
                    !attribute.starts_with("on") && attribute != "style",
                    "{name} {attribute}"
                );
                assert!(
                    !["src", "action", "srcset", "data"].contains(&attribute.as_str()),
                    "{name}"
                );
                match attribute.as_str() {
                    "href" => assert!(
                        value.starts_with('#') && ids.contains(&value[1..]),
                        "{value}"
                    ),
                    "aria-labelledby" => {
                        for id in value.split(' ') {
                            assert!(ids.contains(id), "{id}");
                        }
                    }
                    _ => assert!(!value.contains("//"), "{name} {attribute}={value}"),
                }
            }
            assert!(
                !["link", "img", "iframe", "object", "image", "use"].contains(&name),
                "{name}"
            );
        }
        for style in texts_of(&pieces, "style") {
            assert!(!style.contains("url(") && !style.contains("@import"));
        }
    }
}

#[test]
fn the_pages_policy_allows_its_own_style_and_script_alone() {
    let page = SampleRun::full().page();
    let pieces = read(&page).unwrap();
    let policy = elements(&pieces)
        .find(|(_, attributes)| {
            attributes
                .get("http-equiv")
                .is_some_and(|name| name == "Content-Security-Policy")
        })
        .map(|(_, attributes)| attributes["content"].replace("&#39;", "'"))
        .unwrap();
    let hash = |text: &str| {
        base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text.as_bytes()))
    };
    let scripts = texts_of(&pieces, "script");
    // The first is data, which no policy has to allow.
    assert_eq!(scripts.len(), 2);
    assert!(serde_json::from_str::<serde_json::Value>(scripts[0]).is_ok());
    assert!(
        policy.contains(&format!("script-src 'sha256-{}'", hash(scripts[1]))),
        "{policy}"
    );
    assert!(policy.contains(&format!(
        "style-src 'sha256-{}'",
        hash(texts_of(&pieces, "style")[0])
    )));
    assert!(policy.contains("default-src 'none'"));
}

#[test]
fn every_chart_and_table_is_there() {
    let page = SampleRun::full().page();
    let pieces = read(&page).unwrap();
    let figures: Vec<&str> = elements(&pieces)
        .filter(|(name, _)| *name == "figure")
        .map(|(_, attributes)| attributes["id"].as_str())
        .collect();
    let expected = [
        "rate",
        "latency",
        "failures",
        "users",
        "replicas-0",
        "utilisation-0",
        "metric-0-2",
        "shares",
    ];
    assert_eq!(figures, expected);
    let names = texts_of(&pieces, "span");
    for series in [
        "requests",
        "iterations dropped: no user was free",
        "p50",
        "p90",
        "p95",
        "p99",
        "p99 from when it was meant to start",
        "503 Service Unavailable",
        "connection refused",
        "checks failed",
        "active",
        "allocated",
        "serving",
        "wanted",
        "cpu",
        "cpu: target",
        "memory",
    ] {
        assert!(names.contains(&series), "{series}: {names:?}");
    }
    let data: serde_json::Value = serde_json::from_str(texts_of(&pieces, "script")[0]).unwrap();
    let numbered =
        elements(&pieces).filter(|(_, attributes)| attributes.contains_key("data-series"));
    assert_eq!(data["series"].as_array().unwrap().len(), numbered.count());
    for series in data["series"].as_array().unwrap() {
        assert_eq!(series.as_array().unwrap().len(), 180);
    }
    let headings = texts_of(&pieces, "h2");
    let expected = [
        "Over time",
        "How the platform reacted",
        "Scaling decisions",
        "Thresholds",
        "Checks",
        "Failed requests",
        "All metrics",
        "What was asked for",
    ];
    assert_eq!(headings, expected);
    let figures = texts_of(&pieces, "dt");
    let expected = [
        "Requests",
        "Latency, p95",
        "Failed requests",
        "Dropped iterations",
        "Virtual users",
        "Replicas serving",
        "Time to added capacity",
        "Evenness",
    ];
    assert_eq!(figures, expected);
    // The load grows at 0:30, two more replicas serve at 0:52, as is read at 52.3 s.
    assert!(texts_of(&pieces, "b").contains(&"22.3 s"));
    assert!(
        page.contains("2 → 6</td>") && page.contains("crossed</td>") && page.contains("met</td>")
    );
}

#[test]
fn nothing_of_the_target_becomes_markup() {
    let page = SampleRun::full().page();
    let pieces = read(&page).unwrap();
    assert!(!page.contains("alert('"), "a name stands as it is");
    let scripts = elements(&pieces)
        .filter(|(name, _)| *name == "script")
        .count();
    assert_eq!(scripts, 2);
    // Yet it is told: target, scenario, check and its group, replicas, autoscaler, metric, reason, fault.
    let escaped = HOSTILE
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;");
    for context in [
        "{}/checkout.js",
        "rush {}",
        "order {} ›",
        "status is 200 {}",
        "backend-{}-5",
        "hpa/web{}",
        "queue {}: target",
        "below target {}",
        "could not be read: {}",
    ] {
        let wanted = context.replace("{}", &escaped);
        assert!(page.contains(&wanted), "{wanted}");
    }
}

#[tokio::test]
async fn the_page_works_in_a_browser_wide_and_narrow() {
    let Some(program) = chromium() else { return };
    let folder = std::env::var_os("SPRINGTIDE_KEEP_REPORT");
    let temporary = tempfile::tempdir().unwrap();
    let folder = folder.map_or_else(|| temporary.path().to_owned(), std::path::PathBuf::from);
    let path = folder.join("report.html");
    std::fs::write(&path, SampleRun::full().page()).unwrap();
    let mut browser = Browser::start(&program).await;
    browser.open(&format!("file://{}", path.display())).await;
    for (width, mobile) in [(1280, false), (390, true)] {
        let metrics =
            json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": mobile});
        browser
            .call("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        let overflow =
            "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(
            browser.evaluate(overflow).await,
            0,
            "nothing is wider than {width} pixels"
        );
    }
    let read = "document.querySelector('#latency [data-series]').textContent";
    let at_rest = browser.evaluate(read).await;
    assert!(at_rest.as_str().unwrap().ends_with(" in all"), "{at_rest}");
    browser
        .evaluate("document.querySelector('.charts').focus()")
        .await;
    for (key, moment) in [
        ("ArrowRight", "0:00 – 0:01 "),
        ("ArrowRight", "0:01 – 0:02 "),
        ("End", "2:59 – 3:00 "),
    ] {
        for kind in ["keyDown", "keyUp"] {
            browser
                .call("Input.dispatchKeyEvent", json!({"type": kind, "key": key}))
                .await;
        }
        let readout = browser
            .evaluate("document.querySelector('.readout').textContent")
            .await;
        assert!(
            readout.as_str().unwrap().starts_with(moment),
            "{key}: {readout}"
        );
    }
    let pointed = browser.evaluate(read).await;
    assert!(pointed.as_str().unwrap().ends_with(" ms"), "{pointed}");
    let place = "(() => { const box = document.querySelector('#rate .plot').getBoundingClientRect(); \
         return [box.left + box.width / 2, box.top + 60] })()";
    browser
        .evaluate("document.querySelector('#rate').scrollIntoView()")
        .await;
    let place = browser.evaluate(place).await;
    let event = json!({"type": "mouseMoved", "x": place[0], "y": place[1]});
    browser.call("Input.dispatchMouseEvent", event).await;
    let readout = browser
        .evaluate("document.querySelector('.readout').textContent")
        .await;
    assert!(
        readout.as_str().unwrap().starts_with("1:"),
        "the middle of three minutes: {readout}"
    );
    assert!(browser.complaints.is_empty(), "{:#?}", browser.complaints);
}

#[test]
fn what_setup_and_teardown_sent_counts_in_every_total_of_the_page() {
    let run = SampleRun::with_setup();
    let page = run.page();
    let pieces = read(&page).unwrap();
    let requests = match run
        .summary
        .metrics
        .iter()
        .find(|(metric, _)| *metric.name == *"http_reqs")
    {
        Some((_, springtide_load::metric::Measured::Counter { sum })) => *sum,
        _ => panic!("requests were counted"),
    };
    let told: f64 = run.timeline.whole().map(|(_, point)| point.requests).sum();
    assert_eq!(told, requests);
    let drawn: f64 = run
        .timeline
        .points()
        .iter()
        .map(|point| point.requests)
        .sum();
    assert_eq!(drawn + 7.0, requests);
    assert!(
        page.contains("The 7 requests of setup and teardown"),
        "{page}"
    );
    // The rate is that of the summary: over the whole test.
    let rate = requests / run.summary.elapsed.as_secs_f64();
    assert!(page.contains(&format!("{rate:.1}/s on average")), "{rate}");
    let cells = texts_of(&pieces, "td");
    assert!(cells.contains(&"setup"), "{cells:?}");
    assert!(cells.contains(&"teardown"), "{cells:?}");
}
