//! The functions of `k6/http` that send: `get`, `post` and the others.

use std::rc::Rc;

use futures::future::LocalBoxFuture;
use rquickjs::{Ctx, Function, IntoJs, Result, Value};

use super::super::Host;
use super::super::calls::hosted;
use super::super::values::{self, Arguments};
use super::Outcome;

impl Host {
    /// A function that sends a request and waits for its answer: one of this method, or where there is
    /// none, one that is told the method first.
    pub(super) fn sender<'js>(
        self: &Rc<Self>,
        ctx: &Ctx<'js>,
        method: Option<String>,
    ) -> Result<Function<'js>> {
        let host = Rc::clone(self);
        hosted(ctx, move |ctx, arguments| {
            host.refuse_in_init(ctx, "making HTTP requests")?;
            let performed = host.performed(ctx, method.as_deref(), arguments)?;
            let outcome = host.wait(performed).map_err(|_| values::interrupt(ctx))?;
            host.response(ctx, outcome)
        })
    }

    /// Reads an order, and sends it when it is waited for. By itself and never inlined: what this takes
    /// of the script's stack is free again while the answer is waited for.
    #[inline(never)]
    fn performed<'js>(
        self: &Rc<Self>,
        ctx: &Ctx<'js>,
        method: Option<&str>,
        arguments: &Arguments<'_, 'js>,
    ) -> Result<LocalBoxFuture<'static, Outcome>> {
        let undefined = || Value::new_undefined(ctx.clone());
        let at = |index| arguments.any_or_undefined(index);
        let (name, [target, body, params]) = match method {
            None => (arguments.text(0)?, [at(1), at(2), at(3)]),
            Some("HEAD") => ("HEAD".to_owned(), [at(0), undefined(), at(1)]),
            // As k6 has it, a body may be given, and nobody does.
            Some("GET") if arguments.any(2).is_none() && !at(1).is_null() => {
                ("GET".to_owned(), [at(0), undefined(), at(1)])
            }
            Some(method) => (method.to_owned(), [at(0), at(1), at(2)]),
        };
        let is_plain =
            target.is_string() && (body.is_undefined() || body.is_null() || body.is_string());
        let list = [name.into_js(ctx)?, target, body, params];
        let order = if is_plain {
            self.order(ctx, &Arguments::new(ctx, &list))?
        } else {
            let [name, target, body, params] = list;
            let prepared: Vec<Value> = self
                .module_function(ctx, "springtide:forms", "prepared")?
                .call((name, target, body, params))?;
            self.order(ctx, &Arguments::new(ctx, &prepared))?
        };
        Ok(Box::pin(Rc::clone(self).perform(order)))
    }
}
