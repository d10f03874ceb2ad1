use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::servers::Answer;

/// How much two values may differ, as part of their size.
const TOLERANCE: f64 = 1e-12;

/// What is different between two answers; `None` where they are alike.
pub(crate) fn difference(theirs: &Answer, ours: &Answer) -> Option<String> {
    let refusal = ours.1["error"].as_str().unwrap_or_default();
    if theirs.0 == 200 && refusal.starts_with(STRICTER) {
        return None;
    }
    if theirs.0 != ours.0 {
        return Some(format!(
            "status {} / {}: {} / {}",
            theirs.0, ours.0, theirs.1, ours.1
        ));
    }
    let (theirs, ours) = (&theirs.1, &ours.1);
    for field in ["status", "errorType", "error", "warnings", "infos"] {
        if comparable(&theirs[field]) != comparable(&ours[field]) {
            return Some(format!("{field}: {} / {}", theirs[field], ours[field]));
        }
    }
    let (theirs, ours) = (&theirs["data"], &ours["data"]);
    if theirs["resultType"] != ours["resultType"] {
        return Some(format!(
            "type {} / {}",
            theirs["resultType"], ours["resultType"]
        ));
    }
    match theirs["resultType"].as_str() {
        Some("vector" | "matrix") => series(&theirs["result"], &ours["result"]),
        Some("scalar") => values(&[theirs["result"].clone()], &[ours["result"].clone()]),
        _ => (unordered(theirs) != unordered(ours)).then(|| format!("{theirs} / {ours}")),
    }
}

/// Which of several ambiguous matches Prometheus names first depends on the order of its index; that there are some
/// does not.
const AMBIGUOUS: [&str; 2] = [
    "found duplicate series for the match group",
    "multiple matches for labels:",
];
/// Later versions than 3.5 refuse an ambiguous match also where a comparison filters all but one of the pairs.
const STRICTER: &str = "multiple matches for labels: many-to-one matching must be explicit";
/// A warning that Prometheus has since 3.6.
const LATER: &str = "PromQL warning: sort is ineffective for range queries";

/// Remarks without their order, errors without what is left to chance.
fn comparable(remarks: &Json) -> Json {
    match remarks {
        Json::Array(items) => {
            let mut items: Vec<Json> = items.clone();
            items.retain(|item| !item.as_str().is_some_and(|text| text.starts_with(LATER)));
            for item in &mut items {
                // Prometheus forgets where the argument of a function over a subquery stands, and says the start.
                let text = item.as_str().unwrap_or_default();
                *item = text.rsplit_once(" (").map_or(text, |(text, _)| text).into();
            }
            items.sort_by_key(ToString::to_string);
            items.dedup();
            if items.is_empty() {
                Json::Null
            } else {
                items.into()
            }
        }
        Json::String(text) if AMBIGUOUS.iter().any(|start| text.starts_with(start)) => {
            AMBIGUOUS[0].into()
        }
        other => other.clone(),
    }
}

/// Lists in the order of their items' texts: the API promises none.
fn unordered(data: &Json) -> Json {
    match data {
        Json::Array(items) => {
            let mut items: Vec<Json> = items.iter().map(unordered).collect();
            items.sort_by_key(ToString::to_string);
            items.into()
        }
        Json::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.clone(), unordered(value)))
                .collect()
        }
        other => other.clone(),
    }
}

fn by_labels(result: &Json) -> BTreeMap<String, Vec<Json>> {
    let items = result.as_array().into_iter().flatten();
    items
        .map(|item| {
            let values = item["values"].as_array().cloned();
            let values = values.unwrap_or_else(|| vec![item["value"].clone()]);
            (item["metric"].to_string(), values)
        })
        .collect()
}

fn series(theirs: &Json, ours: &Json) -> Option<String> {
    let (theirs, ours) = (by_labels(theirs), by_labels(ours));
    let names = |of: &BTreeMap<String, Vec<Json>>| of.keys().cloned().collect::<Vec<_>>();
    if names(&theirs) != names(&ours) {
        return Some(format!("series {:?} / {:?}", names(&theirs), names(&ours)));
    }
    theirs.iter().find_map(|(name, expected)| {
        let difference = values(expected, &ours[name])?;
        Some(format!("{name}: {difference}"))
    })
}

fn values(theirs: &[Json], ours: &[Json]) -> Option<String> {
    if theirs.len() != ours.len() {
        return Some(format!("{} / {} values", theirs.len(), ours.len()));
    }
    theirs.iter().zip(ours).find_map(|(theirs, ours)| {
        let is_alike = theirs[0] == ours[0] && alike(number(theirs)?, number(ours)?);
        (!is_alike).then(|| format!("{theirs} / {ours}"))
    })
}

fn number(pair: &Json) -> Option<f64> {
    match pair[1].as_str()? {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}

fn alike(theirs: f64, ours: f64) -> bool {
    let is_same = theirs == ours || theirs.is_nan() && ours.is_nan();
    is_same || (theirs - ours).abs() <= TOLERANCE * theirs.abs().max(ours.abs())
}
