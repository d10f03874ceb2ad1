//! Protobuf request bodies, which kubectl sends for some creates, turned into JSON.
//!
//! A body is `k8s\0` and a `runtime.Unknown`: a kind and, inside, the message of that kind. The
//! wire format of all messages is data (`protobuf/messages.txt`, read by `protobuf/table.rs`);
//! `protobuf/wire.rs` splits bytes into fields, and this file walks both together.
//!
//! What comes out is what Go would have sent as JSON: a field that is zero is left out where Go's
//! type is plain, and kept where it is a pointer, since a pointer to zero means zero. Fields that
//! are not known are skipped, as Kubernetes does.

mod table;
mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::clock::{rfc3339, rfc3339_micro};
use crate::error::{ApiError, FieldPath};
use table::{Field, Kind, Label, MessageId, Table};
use wire::{Reader, Wire, WireError};

/// The media type of bodies that [`decode`] reads.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

/// How deep messages may lie in each other; those of Kubernetes reach 15.
const MAX_DEPTH: usize = 32;

/// Decodes a request's body (`k8s\0` and a `runtime.Unknown`) into the object it stands for, with
/// its `apiVersion` and `kind`. A body that cannot be read is refused with 400, one of a kind that
/// is not in the table with 415 (the client may send it as JSON).
pub fn decode(body: &[u8]) -> Result<Value, ApiError> {
    let Some(body) = body.strip_prefix(MAGIC) else {
        return Err(ApiError::bad_request(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]",
        ));
    };
    let unknown = Unknown::read(body)
        .map_err(|error| ApiError::bad_request(format!("unable to decode protobuf: {error}")))?;
    unknown.decode()
}

/// The envelope of every body.
#[derive(Debug, Default)]
struct Unknown<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
    encoding: &'a str,
    content_type: &'a str,
}

impl<'a> Unknown<'a> {
    fn read(body: &'a [u8]) -> Result<Self, WireError> {
        let mut unknown = Self::default();
        for field in Reader::new(body) {
            match field? {
                (1, value) => {
                    for field in Reader::new(value.bytes()?) {
                        match field? {
                            (1, value) => unknown.api_version = value.text()?,
                            (2, value) => unknown.kind = value.text()?,
                            _ => {}
                        }
                    }
                }
                (2, value) => unknown.raw = value.bytes()?,
                (3, value) => unknown.encoding = value.text()?,
                (4, value) => unknown.content_type = value.text()?,
                _ => {}
            }
        }
        Ok(unknown)
    }

    fn decode(&self) -> Result<Value, ApiError> {
        let Self {
            api_version, kind, ..
        } = *self;
        if kind.is_empty() {
            return Err(ApiError::bad_request(
                "Object 'Kind' is missing in the protobuf body",
            ));
        }
        if !self.encoding.is_empty() {
            return Err(ApiError::bad_request(format!(
                "unable to decode protobuf: content encoding {:?} is not supported",
                self.encoding
            )));
        }
        let mut object = if self.content_type == "application/json" {
            match serde_json::from_slice(self.raw) {
                Ok(Value::Object(object)) => object,
                Ok(_) => return Err(ApiError::bad_request("the body's JSON is no object")),
                Err(error) => return Err(ApiError::bad_request(error.to_string())),
            }
        } else {
            let table = Table::get();
            let Some(message) = table.message_of(api_version, kind) else {
                return Err(ApiError::unsupported_media_type(&[
                    "application/json",
                    "application/yaml",
                ]));
            };
            let mut object = Map::new();
            let place = Place {
                table,
                path: FieldPath::default(),
                depth: 0,
            };
            place
                .read_message(message, self.raw, &mut object)
                .map_err(|fault| {
                    ApiError::bad_request(format!(
                        "unable to decode protobuf of {api_version}, Kind={kind}: {}: {}",
                        fault.path, fault.error
                    ))
                })?;
            object
        };
        object.insert("apiVersion".to_owned(), api_version.into());
        object.insert("kind".to_owned(), kind.into());
        Ok(Value::Object(object))
    }
}

/// What is wrong, and with which field.
struct Fault {
    path: FieldPath,
    error: WireError,
}

/// Where in an object the reading is.
struct Place<'t> {
    table: &'t Table,
    path: FieldPath,
    depth: usize,
}

impl Place<'_> {
    fn child(&self, name: &str) -> Self {
        Self {
            table: self.table,
            path: self.path.child(name),
            depth: self.depth + 1,
        }
    }

    fn fault(&self, error: WireError) -> Fault {
        Fault {
            path: self.path.clone(),
            error,
        }
    }

    fn read_message(
        &self,
        message: MessageId,
        bytes: &[u8],
        object: &mut Map<String, Value>,
    ) -> Result<(), Fault> {
        if self.depth > MAX_DEPTH {
            return Err(self.fault(WireError::TooDeep));
        }
        for part in Reader::new(bytes) {
            let (number, wire) = part.map_err(|error| self.fault(error))?;
            let Some(field) = self.table.field(message, number) else {
                continue;
            };
            self.child(&field.name).read_field(field, wire, object)?;
        }
        Ok(())
    }

    /// Reads one field of `object`; `self` is the field's place.
    fn read_field(
        &self,
        field: &Field,
        wire: Wire<'_>,
        object: &mut Map<String, Value>,
    ) -> Result<(), Fault> {
        let bytes = || wire.bytes().map_err(|error| self.fault(error));
        match field.label {
            Label::Inline => {
                if let Kind::Message(message) = field.kind {
                    self.read_message(message, bytes()?, object)?;
                }
            }
            Label::Map => {
                let (key, value) = self.read_entry(field.kind, bytes()?)?;
                let entries = object
                    .entry(field.name.clone())
                    .or_insert_with(|| json!({}));
                if let Value::Object(entries) = entries {
                    entries.insert(key, value);
                }
            }
            Label::List => {
                let items = object
                    .entry(field.name.clone())
                    .or_insert_with(|| json!([]));
                let Value::Array(items) = items else {
                    return Ok(());
                };
                if let (Kind::Int, Wire::Bytes(packed)) = (field.kind, wire) {
                    for number in wire::packed(packed) {
                        items.push(number.map_err(|error| self.fault(error))?.into());
                    }
                } else {
                    items.push(self.read_value(field.kind, wire, None)?);
                }
            }
            Label::Plain | Label::Kept => {
                // The parts of a message may come apart.
                let before = object.remove(&field.name);
                let value = self.read_value(field.kind, wire, before)?;
                if !value.is_null() && (field.label == Label::Kept || !is_zero(&value)) {
                    object.insert(field.name.clone(), value);
                }
            }
        }
        Ok(())
    }

    fn read_entry(&self, kind: Kind, bytes: &[u8]) -> Result<(String, Value), Fault> {
        let mut key = "";
        let mut value = None;
        for part in Reader::new(bytes) {
            match part.map_err(|error| self.fault(error))? {
                (1, wire) => key = wire.text().map_err(|error| self.fault(error))?,
                (2, wire) => value = Some(wire),
                _ => {}
            }
        }
        // An entry without a value holds the empty one.
        let value = self.read_value(kind, value.unwrap_or(Wire::Bytes(b"")), None)?;
        Ok((key.to_owned(), value))
    }

    /// Reads a value; null stands for a time that is not set.
    fn read_value(
        &self,
        kind: Kind,
        wire: Wire<'_>,
        before: Option<Value>,
    ) -> Result<Value, Fault> {
        if let Kind::Message(message) = kind {
            let bytes = wire.bytes().map_err(|error| self.fault(error))?;
            let mut object = match before {
                Some(Value::Object(object)) => object,
                _ => Map::new(),
            };
            self.read_message(message, bytes, &mut object)?;
            return Ok(Value::Object(object));
        }
        self.read_leaf(kind, wire)
            .map_err(|error| self.fault(error))
    }

    fn read_leaf(&self, kind: Kind, wire: Wire<'_>) -> Result<Value, WireError> {
        Ok(match kind {
            Kind::String => wire.text()?.into(),
            Kind::Bytes => BASE64.encode(wire.bytes()?).into(),
            Kind::Bool => (wire.number()? != 0).into(),
            Kind::Int => wire.number()?.into(),
            Kind::Double => wire.double()?.into(),
            Kind::Quantity => {
                let text = single(wire.bytes()?)?.map_or(Ok("0"), Wire::text)?;
                text.into()
            }
            Kind::IntOrString => int_or_string(wire.bytes()?)?,
            Kind::Time => time(wire.bytes()?)?.map_or(Value::Null, |time| rfc3339(time).into()),
            Kind::MicroTime => {
                time(wire.bytes()?)?.map_or(Value::Null, |time| rfc3339_micro(time).into())
            }
            Kind::RawJson => {
                let raw = single(wire.bytes()?)?.map_or(Ok(&b""[..]), Wire::bytes)?;
                if raw.is_empty() {
                    return Ok(Value::Null);
                }
                serde_json::from_slice(raw).map_err(|_| WireError::Json)?
            }
            Kind::StringList => {
                let mut items = Vec::new();
                for field in Reader::new(wire.bytes()?) {
                    items.push(Value::from(field?.1.text()?));
                }
                items.into()
            }
            Kind::Message(_) => return Err(WireError::Type),
        })
    }
}

/// Whether Go's JSON leaves a plain field with this value out.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// The field with number 1, the only one of messages that wrap a value.
fn single(bytes: &[u8]) -> Result<Option<Wire<'_>>, WireError> {
    let mut found = None;
    for field in Reader::new(bytes) {
        let (number, wire) = field?;
        if number == 1 {
            found = Some(wire);
        }
    }
    Ok(found)
}

fn int_or_string(bytes: &[u8]) -> Result<Value, WireError> {
    let (mut is_text, mut number, mut text) = (false, 0, "");
    for field in Reader::new(bytes) {
        match field? {
            (1, wire) => is_text = wire.number()? == 1,
            (2, wire) => number = wire.number()?,
            (3, wire) => text = wire.text()?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

/// A time; `None` for an empty message, which is Go's zero time.
fn time(bytes: &[u8]) -> Result<Option<Timestamp>, WireError> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Reader::new(bytes) {
        match field? {
            (1, wire) => seconds = wire.number()?,
            (2, wire) => nanos = wire.number()?,
            _ => {}
        }
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    let nanos = i32::try_from(nanos).map_err(|_| WireError::Time)?;
    Timestamp::new(seconds, nanos)
        .map(Some)
        .map_err(|_| WireError::Time)
}

#[cfg(test)]
mod tests;
