//! EndpointSlices: the first ports and addresses.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column};
use crate::members::{items, text};

/// How many ports or addresses are shown.
const SHOWN: usize = 3;

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column(
            "AddressType",
            "string",
            "addressType specifies the type of address carried by this EndpointSlice.",
        ),
        column(
            "Ports",
            "string",
            "ports specifies the list of network ports exposed by each endpoint in this slice.",
        ),
        column(
            "Endpoints",
            "string",
            "endpoints is a list of unique endpoints in this slice.",
        ),
        AGE,
    ]
}

pub(crate) fn cells(slice: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = items(slice, "ports")
        .map(|port| match port["port"].as_i64() {
            Some(number) => number.to_string(),
            None => text(port, "name").to_owned(),
        })
        .collect();
    let addresses: Vec<String> = items(slice, "endpoints")
        .flat_map(|endpoint| items(endpoint, "addresses"))
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    vec![
        slice["metadata"]["name"].clone(),
        slice["addressType"].clone(),
        json!(shortened(ports, "<unset>")),
        json!(shortened(addresses, "<unset>")),
        json!(age::of(slice, now)),
    ]
}

fn shortened(mut all: Vec<String>, none: &str) -> String {
    if all.is_empty() {
        return none.to_owned();
    }
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    let shown = all.join(",");
    if more > 0 {
        format!("{shown} + {more} more...")
    } else {
        shown
    }
}
