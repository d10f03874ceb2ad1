//! `check` of the module `k6`.

use rquickjs::convert::Coerced;
use rquickjs::{Ctx, Exception, FromJs, Result, Value};

use super::Host;
use super::execution::refuse_separator;
use super::values::Arguments;
use crate::metric::Tags;

impl Host {
    /// Tries conditions, given by name, on a value; true if all hold. Each counts.
    pub(super) fn check<'js>(
        &self,
        ctx: &Ctx<'js>,
        arguments: &Arguments<'_, 'js>,
    ) -> Result<Value<'js>> {
        self.refuse_in_init(ctx, "using check()")?;
        let Some(conditions) = arguments.get(1) else {
            let message = "check: no conditions were given";
            return Err(Exception::throw_type(ctx, message));
        };
        let value = arguments.any_or_undefined(0);
        let tags = self.with_tags(ctx, arguments, 2)?;
        let mut all = true;
        if let Some(conditions) = conditions.as_object() {
            for entry in conditions.props::<String, Value>() {
                let (name, condition) = entry?;
                refuse_separator(ctx, &name)?;
                let passed = match condition.as_function() {
                    Some(function) => function.call((value.clone(),)),
                    None => Ok(condition),
                };
                // A condition that throws has failed.
                if passed.is_err() {
                    self.add_check(&name, false, &tags);
                }
                let passed: Value = passed?;
                if passed.is_promise() {
                    return Err(Exception::throw_type(
                        ctx,
                        &format!(
                            "check {name:?}: async functions are not supported as conditions; await the value before the check"
                        ),
                    ));
                }
                let Coerced(passed) = Coerced::<bool>::from_js(ctx, passed)?;
                self.add_check(&name, passed, &tags);
                all &= passed;
            }
        }
        Ok(Value::new_bool(ctx.clone(), all))
    }

    fn add_check(&self, name: &str, passed: bool, tags: &Tags) {
        let with_name;
        let tags = if self.effective.has_system_tag("check") {
            with_name = self.built_tags(tags, "check", &[name], |base, parts| {
                base.with("check", parts[0])
            });
            &with_name
        } else {
            tags
        };
        let metric = &self.sink.registry().builtin().checks;
        self.count(metric, f64::from(u8::from(passed)), tags);
    }
}
