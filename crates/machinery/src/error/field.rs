//! Errors that name the field they are about, worded as Kubernetes words them.

use std::fmt;

use serde_json::Value;

/// The path of a field as Kubernetes prints it, for example `spec.containers[0].env[1].name`.
///
/// A part is appended by a method that takes the path by reference, so that a loop can branch off
/// many paths from one.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(String);

impl FieldPath {
    /// A path that starts at `first`; an empty string is the root of the object.
    pub fn new(first: impl Into<String>) -> Self {
        Self(first.into())
    }

    /// The field `name` of the object at this path.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() {
            return Self(name.to_owned());
        }
        Self(format!("{}.{name}", self.0))
    }

    /// Item `index` of the list at this path.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// Entry `key` of the map at this path.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The path as text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    /// Prints the root as `<nil>`, as Kubernetes does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

impl From<&str> for FieldPath {
    fn from(path: &str) -> Self {
        Self(path.to_owned())
    }
}

impl From<String> for FieldPath {
    fn from(path: String) -> Self {
        Self(path)
    }
}

impl From<&FieldPath> for FieldPath {
    fn from(path: &FieldPath) -> Self {
        path.clone()
    }
}

/// What is wrong with a field. [`FieldErrorKind::reason`] is the machine-readable name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldErrorKind {
    /// What the value names does not exist.
    NotFound,
    /// A value is missing.
    Required,
    /// The value must be unique and is not.
    Duplicate,
    /// The value is malformed or out of bounds.
    Invalid,
    /// The value is none of a fixed set.
    NotSupported,
    /// The value may not be set here.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// The list has too many items.
    TooMany,
    /// The value could not be checked.
    Internal,
    /// The value has the wrong JSON type.
    TypeInvalid,
}

impl FieldErrorKind {
    /// The `reason` of the cause in a Status.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One thing wrong with one field.
///
/// Displays as `spec.replicas: Invalid value: -1: must be greater than or equal to 0`.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What kind of fault it is.
    pub kind: FieldErrorKind,
    /// Where it is.
    pub field: FieldPath,
    /// The offending value; `None` where the kind prints none.
    pub value: Option<Value>,
    /// What would be right; may be empty.
    pub detail: String,
}

impl FieldError {
    fn build(
        kind: FieldErrorKind,
        field: impl Into<FieldPath>,
        value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            field: field.into(),
            value,
            detail: detail.into(),
        }
    }

    /// A value is missing (also: an empty string, null or empty list). `detail` may be empty.
    pub fn required(field: impl Into<FieldPath>, detail: impl Into<String>) -> Self {
        Self::build(FieldErrorKind::Required, field, None, detail)
    }

    /// The value is malformed or out of bounds; `detail` says what would be right.
    pub fn invalid(
        field: impl Into<FieldPath>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::build(FieldErrorKind::Invalid, field, Some(value.into()), detail)
    }

    /// The value has the wrong JSON type.
    pub fn type_invalid(
        field: impl Into<FieldPath>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::build(
            FieldErrorKind::TypeInvalid,
            field,
            Some(value.into()),
            detail,
        )
    }

    /// The value is none of `supported`, which are listed in the order given.
    pub fn not_supported(
        field: impl Into<FieldPath>,
        value: impl Into<Value>,
        supported: &[&str],
    ) -> Self {
        let mut detail = String::new();
        for (index, value) in supported.iter().enumerate() {
            detail.push_str(if index == 0 {
                "supported values: "
            } else {
                ", "
            });
            detail.push_str(&quote(value));
        }
        Self::build(
            FieldErrorKind::NotSupported,
            field,
            Some(value.into()),
            detail,
        )
    }

    /// The value must be unique and is not.
    pub fn duplicate(field: impl Into<FieldPath>, value: impl Into<Value>) -> Self {
        Self::build(FieldErrorKind::Duplicate, field, Some(value.into()), "")
    }

    /// What the value names does not exist.
    pub fn not_found(field: impl Into<FieldPath>, value: impl Into<Value>) -> Self {
        Self::build(FieldErrorKind::NotFound, field, Some(value.into()), "")
    }

    /// The field may not be set, or not be changed.
    pub fn forbidden(field: impl Into<FieldPath>, detail: impl Into<String>) -> Self {
        Self::build(FieldErrorKind::Forbidden, field, None, detail)
    }

    /// The value is longer than `max` bytes.
    pub fn too_long(field: impl Into<FieldPath>, max: usize) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {max} {unit}");
        Self::build(FieldErrorKind::TooLong, field, None, detail)
    }

    /// The list has `actual` items and may have `max`.
    pub fn too_many(field: impl Into<FieldPath>, actual: usize, max: usize) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        let detail = format!("must have at most {max} {unit}");
        Self::build(FieldErrorKind::TooMany, field, Some(actual.into()), detail)
    }

    /// The field could not be checked, for a reason the client is not to blame for.
    pub fn internal(field: impl Into<FieldPath>, detail: impl Into<String>) -> Self {
        Self::build(FieldErrorKind::Internal, field, None, detail)
    }

    /// The message without the field: what a cause in a Status holds.
    pub fn body(&self) -> String {
        let mut body = self.kind.words().to_owned();
        if let Some(value) = &self.value {
            body.push_str(": ");
            match value {
                Value::Null => body.push_str("\"null\""),
                Value::String(text) => body.push_str(&quote(text)),
                other => body.push_str(&other.to_string()),
            }
        }
        if !self.detail.is_empty() {
            body.push_str(": ");
            body.push_str(&self.detail);
        }
        body
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for FieldError {}

/// Joins messages as Kubernetes joins a list of errors: one alone as it is, several as `[a, b]`,
/// repeated ones once.
pub fn aggregate<I>(errors: I) -> String
where
    I: IntoIterator,
    I::Item: fmt::Display,
{
    let mut messages: Vec<String> = Vec::new();
    for error in errors {
        let message = error.to_string();
        if !messages.contains(&message) {
            messages.push(message);
        }
    }
    match messages.len() {
        1 => messages.remove(0),
        _ => format!("[{}]", messages.join(", ")),
    }
}

/// Quotes text as Go's `%q` does, which is how Kubernetes shows values in messages.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{07}' => quoted.push_str("\\a"),
            '\u{08}' => quoted.push_str("\\b"),
            '\u{0c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{0b}' => quoted.push_str("\\v"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            // Other spaces than ' ' and invisible characters would be mistaken for something else.
            c if c.is_control() || (c.is_whitespace() && c != ' ') => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{feff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_print_as_kubernetes_prints_them() {
        let containers = FieldPath::new("spec").child("containers");
        assert_eq!(
            containers.index(0).child("name").to_string(),
            "spec.containers[0].name"
        );
        let annotations = FieldPath::new("metadata").child("annotations");
        assert_eq!(
            annotations.key("a/b").to_string(),
            "metadata.annotations[a/b]"
        );
        assert_eq!(FieldPath::default().to_string(), "<nil>");
        assert_eq!(FieldPath::default().child("kind").to_string(), "kind");
    }

    #[test]
    fn each_kind_of_error_has_kubernetes_words() {
        let cases = [
            (FieldError::required("a", ""), "a: Required value"),
            (
                FieldError::required("a", "name or x"),
                "a: Required value: name or x",
            ),
            (
                FieldError::invalid("a.b", "X", "bad"),
                "a.b: Invalid value: \"X\": bad",
            ),
            (
                FieldError::invalid("a", -1, "bad"),
                "a: Invalid value: -1: bad",
            ),
            (FieldError::invalid("a", true, ""), "a: Invalid value: true"),
            (
                FieldError::invalid("a", Value::Null, "bad"),
                "a: Invalid value: \"null\": bad",
            ),
            (
                FieldError::invalid("a", json!({"b": [1]}), "field is immutable"),
                "a: Invalid value: {\"b\":[1]}: field is immutable",
            ),
            (
                FieldError::not_supported("a", "x", &["P", "Q"]),
                "a: Unsupported value: \"x\": supported values: \"P\", \"Q\"",
            ),
            (
                FieldError::not_supported("a", "x", &[]),
                "a: Unsupported value: \"x\"",
            ),
            (
                FieldError::duplicate("a[1]", "x"),
                "a[1]: Duplicate value: \"x\"",
            ),
            (FieldError::not_found("a", "x"), "a: Not found: \"x\""),
            (FieldError::forbidden("a", "no"), "a: Forbidden: no"),
            (
                FieldError::too_long("a", 63),
                "a: Too long: may not be more than 63 bytes",
            ),
            (
                FieldError::too_many("a", 5, 1),
                "a: Too many: 5: must have at most 1 item",
            ),
            (FieldError::internal("a", "oops"), "a: Internal error: oops"),
            (
                FieldError::type_invalid("a", 1, "string"),
                "a: Invalid value: 1: string",
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn several_errors_are_listed_once_each() {
        assert_eq!(aggregate(["a"]), "a");
        assert_eq!(aggregate(["a", "b", "a"]), "[a, b]");
        assert_eq!(aggregate(["a", "a"]), "a");
    }

    #[test]
    fn quoting_escapes_what_cannot_be_seen() {
        assert_eq!(
            quote("a\"b\\c\n\t\u{1}\u{7f}é"),
            "\"a\\\"b\\\\c\\n\\t\\x01\\x7fé\""
        );
        assert_eq!(quote("\u{a0}\u{200b}"), "\"\\u00a0\\u200b\"");
    }
}
