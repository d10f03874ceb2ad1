//! The version 2 document in protobuf: the messages of `openapi.v2` (gnostic), as far as the
//! documents made here use them.

use serde_json::{Map, Value};

use crate::members::{entries, is_true, items, text};

/// Encodes a document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, text(document, "swagger"));
    let mut info = Message::default();
    info.text(1, text(&document["info"], "title"));
    info.text(2, text(&document["info"], "version"));
    out.message(2, &info);
    let mut paths = Message::default();
    for (path, item) in entries(document, "paths") {
        paths.named(2, path, &path_item(item));
    }
    out.message(8, &paths);
    let mut definitions = Message::default();
    for (name, value) in entries(document, "definitions") {
        definitions.named(1, name, &schema(value));
    }
    out.message(9, &definitions);
    out.0
}

/// A message being written: fields in any order.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            // The low seven bits, with the mark that more follow.
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A string; an empty one is not written.
    fn text(&mut self, field: u64, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    /// A list of strings.
    fn texts(&mut self, field: u64, list: &[Value]) {
        for item in list {
            self.bytes(field, item.as_str().unwrap_or_default().as_bytes());
        }
    }

    fn flag(&mut self, field: u64, set: bool) {
        if set {
            self.varint(field << 3);
            self.varint(1);
        }
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }

    /// A pair of name and value, as protobuf of that time writes maps.
    fn named(&mut self, field: u64, name: &str, value: &Message) {
        let mut pair = Message::default();
        pair.text(1, name);
        pair.message(2, value);
        self.message(field, &pair);
    }

    /// Members that begin with `x-`, as YAML, of which JSON is a part.
    fn extensions(&mut self, field: u64, members: &Value) {
        let own = members.as_object().into_iter().flatten();
        for (name, value) in own.filter(|(name, _)| name.starts_with("x-")) {
            self.named(field, name, &any(value));
        }
    }
}

fn any(value: &Value) -> Message {
    let mut out = Message::default();
    out.text(2, &value.to_string());
    out
}

fn list<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    items(object, name).as_slice()
}

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    for (field, method) in [
        (2, "get"),
        (3, "put"),
        (4, "post"),
        (5, "delete"),
        (8, "patch"),
    ] {
        if item[method].is_object() {
            out.message(field, &operation(&item[method]));
        }
    }
    for value in list(item, "parameters") {
        out.message(9, &parameter(value));
    }
    out
}

fn operation(operation: &Value) -> Message {
    let mut out = Message::default();
    out.texts(1, list(operation, "tags"));
    out.text(3, text(operation, "description"));
    out.text(5, text(operation, "operationId"));
    out.texts(6, list(operation, "produces"));
    out.texts(7, list(operation, "consumes"));
    for value in list(operation, "parameters") {
        out.message(8, &parameter(value));
    }
    let mut responses = Message::default();
    for (code, value) in entries(operation, "responses") {
        responses.named(1, code, &response(value));
    }
    out.message(9, &responses);
    out.texts(10, list(operation, "schemes"));
    out.extensions(13, operation);
    out
}

/// `ResponseValue{response}`.
fn response(value: &Value) -> Message {
    let mut response = Message::default();
    response.text(1, text(value, "description"));
    if value["schema"].is_object() {
        // `SchemaItem{schema}`.
        let mut item = Message::default();
        item.message(1, &schema(&value["schema"]));
        response.message(2, &item);
    }
    let mut out = Message::default();
    out.message(1, &response);
    out
}

/// `ParametersItem{parameter: Parameter{body or non-body}}`.
fn parameter(value: &Value) -> Message {
    let mut parameter = Message::default();
    if text(value, "in") == "body" {
        let mut body = Message::default();
        body.text(1, text(value, "description"));
        body.text(2, text(value, "name"));
        body.text(3, text(value, "in"));
        body.flag(4, is_true(value, "required"));
        body.message(5, &schema(&value["schema"]));
        parameter.message(1, &body);
    } else {
        let is_path = text(value, "in") == "path";
        let mut simple = Message::default();
        simple.flag(1, is_true(value, "required"));
        simple.text(2, text(value, "in"));
        simple.text(3, text(value, "description"));
        simple.text(4, text(value, "name"));
        // A query parameter has `allowEmptyValue` before its type.
        simple.text(if is_path { 5 } else { 6 }, text(value, "type"));
        simple.flag(if is_path { 18 } else { 19 }, is_true(value, "uniqueItems"));
        let mut non_body = Message::default();
        non_body.message(if is_path { 4 } else { 3 }, &simple);
        parameter.message(2, &non_body);
    }
    let mut out = Message::default();
    out.message(1, &parameter);
    out
}

fn schema(value: &Value) -> Message {
    let mut out = Message::default();
    out.text(1, text(value, "$ref"));
    out.text(2, text(value, "format"));
    out.text(4, text(value, "description"));
    out.texts(19, list(value, "required"));
    let additional = &value["additionalProperties"];
    if additional.is_object() {
        let mut item = Message::default();
        item.message(1, &schema(additional));
        out.message(21, &item);
    }
    if let Some(kind) = value["type"].as_str() {
        let mut item = Message::default();
        item.text(1, kind);
        out.message(22, &item);
    }
    if value["items"].is_object() {
        let mut item = Message::default();
        item.message(1, &schema(&value["items"]));
        out.message(23, &item);
    }
    if let Some(properties) = value["properties"].as_object() {
        out.message(25, &named_schemas(properties));
    }
    out.extensions(31, value);
    out
}

fn named_schemas(properties: &Map<String, Value>) -> Message {
    let mut out = Message::default();
    for (name, value) in properties {
        out.named(1, name, &schema(value));
    }
    out
}
