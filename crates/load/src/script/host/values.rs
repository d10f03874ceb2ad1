//! Between JavaScript's values and ours.

use rquickjs::{ArrayBuffer, Ctx, Error, Exception, Function, IntoJs, Result, Value};

use super::super::intrinsics::provide_buffers;
use super::super::sys;

/// The arguments of a call.
pub(super) struct Arguments<'list, 'js> {
    ctx: &'list Ctx<'js>,
    list: &'list [Value<'js>],
}

// === impl Arguments ===

impl<'list, 'js> Arguments<'list, 'js> {
    pub(super) fn new(ctx: &'list Ctx<'js>, list: &'list [Value<'js>]) -> Self {
        Self { ctx, list }
    }

    /// Those from `index` on.
    pub(super) fn rest(&self, index: usize) -> Self {
        Self {
            ctx: self.ctx,
            list: self.list.get(index..).unwrap_or_default(),
        }
    }

    /// The value at `index`, if it is there and neither undefined nor null.
    pub(super) fn get(&self, index: usize) -> Option<&'list Value<'js>> {
        self.list
            .get(index)
            .filter(|value| !value.is_undefined() && !value.is_null())
    }

    /// The value at `index`, whatever it is, if it is there.
    pub(super) fn any(&self, index: usize) -> Option<&'list Value<'js>> {
        self.list.get(index)
    }

    pub(super) fn any_or_undefined(&self, index: usize) -> Value<'js> {
        let value = self.any(index).cloned();
        value.unwrap_or_else(|| Value::new_undefined(self.ctx.clone()))
    }

    pub(super) fn text(&self, index: usize) -> Result<String> {
        self.get(index)
            .map_or_else(|| Ok(String::new()), |value| text(self.ctx, value))
    }

    pub(super) fn optional_text(&self, index: usize) -> Result<Option<String>> {
        self.get(index)
            .map(|value| text(self.ctx, value))
            .transpose()
    }

    pub(super) fn number(&self, index: usize) -> Result<f64> {
        Ok(self
            .list
            .get(index)
            .and_then(Value::as_number)
            .unwrap_or(f64::NAN))
    }

    /// A number that counts something.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is checked to be whole and not negative"
    )]
    pub(super) fn whole<T: TryFrom<u64>>(&self, index: usize) -> Result<T> {
        let number = self.number(index)?;
        let whole = (0.0..=9e15).contains(&number).then_some(number as u64);
        whole
            .and_then(|whole| T::try_from(whole).ok())
            .ok_or_else(|| {
                throw(
                    self.ctx,
                    &format!("{number} is not a whole number that fits"),
                )
            })
    }

    pub(super) fn truth(&self, index: usize) -> bool {
        self.list
            .get(index)
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    pub(super) fn function(&self, index: usize) -> Result<Function<'js>> {
        self.list
            .get(index)
            .and_then(|value| value.as_function().cloned())
            .ok_or_else(|| throw(self.ctx, "a function is expected"))
    }

    /// A text as UTF-8, or the bytes of a buffer or view.
    pub(super) fn bytes(&self, index: usize) -> Result<Vec<u8>> {
        let value = self
            .get(index)
            .ok_or_else(|| throw(self.ctx, "a text or bytes are expected"))?;
        bytes(self.ctx, value)
    }

    /// The properties of an object, as texts; none where there is no object.
    pub(super) fn texts_by_name(&self, index: usize) -> Result<Vec<(String, String)>> {
        let Some(object) = self.get(index).and_then(Value::as_object) else {
            return Ok(Vec::new());
        };
        object
            .props::<String, Value>()
            .map(|entry| {
                let (name, value) = entry?;
                Ok((name, text(self.ctx, &value)?))
            })
            .collect()
    }
}

/// Tags by name; their values are texts, numbers, and true or false.
pub(super) fn tags<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Result<Vec<(String, String)>> {
    let Some(object) = value.as_object() else {
        return Ok(Vec::new());
    };
    object
        .props::<String, Value>()
        .map(|entry| {
            let (name, value) = entry?;
            if value.is_string() || value.is_number() || value.is_bool() {
                return Ok((name, text(ctx, &value)?));
            }
            Err(throw(
                ctx,
                &format!(
                    "invalid value for metric tag '{name}': only String, Boolean and Number types are accepted as a metric tag values"
                ),
            ))
        })
        .collect()
}

/// A value as JavaScript's `String()` gives it.
pub(super) fn text<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Result<String> {
    if let Some(text) = value.as_string() {
        return text.to_string();
    }
    if let Some(number) = value.as_int() {
        return Ok(number.to_string());
    }
    if let Some(truth) = value.as_bool() {
        return Ok(truth.to_string());
    }
    let convert: Function = ctx.globals().get("String")?;
    convert.call((value.clone(),))
}

/// A text as UTF-8, or the bytes of a buffer or view.
pub(super) fn bytes<'js>(ctx: &Ctx<'js>, value: &Value<'js>) -> Result<Vec<u8>> {
    if let Some(text) = value.as_string() {
        return Ok(text.to_string()?.into_bytes());
    }
    if let Some(bytes) = sys::bytes_of(value) {
        return Ok(bytes);
    }
    if let Some(list) = value.as_array() {
        return list.iter::<u8>().collect();
    }
    Err(throw(
        ctx,
        &format!("a text or bytes are expected, not {}", value.type_name()),
    ))
}

/// A short text for people.
pub(super) fn shown(value: &Value<'_>) -> String {
    if let Some(text) = value.as_string().and_then(|text| text.to_string().ok()) {
        return text;
    }
    let json = value.ctx().json_stringify(value.clone());
    json.ok()
        .flatten()
        .and_then(|json| json.to_string().ok())
        .unwrap_or_else(|| value.type_name().to_owned())
}

pub(super) fn into<'js>(ctx: &Ctx<'js>, value: impl IntoJs<'js>) -> Result<Value<'js>> {
    value.into_js(ctx)
}

pub(super) fn buffer<'js>(ctx: &Ctx<'js>, bytes: Vec<u8>) -> Result<Value<'js>> {
    provide_buffers(ctx)?;
    ArrayBuffer::new(ctx.clone(), bytes).map(ArrayBuffer::into_value)
}

/// Throws an `Error`.
pub(super) fn throw(ctx: &Ctx<'_>, message: &str) -> Error {
    Exception::throw_message(ctx, message)
}

/// Throws what an interrupted script sees; it is thrown again at whatever it does next.
pub(super) fn interrupt(ctx: &Ctx<'_>) -> Error {
    Exception::throw_internal(ctx, "interrupted")
}
