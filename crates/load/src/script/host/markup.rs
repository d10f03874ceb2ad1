//! `k6/html`.

use rquickjs::{Ctx, Result, Value};

use super::Host;
use super::values::{self, Arguments};

/// Parsed pages.
#[derive(Default)]
pub(super) struct Pages;

impl Pages {
    pub(super) fn clear(&mut self) {}
}

impl Host {
    pub(super) fn call_markup<'js>(
        &self,
        ctx: &Ctx<'js>,
        name: &str,
        _arguments: &Arguments<'_, 'js>,
    ) -> Result<Value<'js>> {
        Err(values::throw(ctx, &format!("{name} is not supported")))
    }
}
