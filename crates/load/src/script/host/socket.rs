//! `k6/ws` and `k6/websockets`.

use std::rc::Rc;

use rquickjs::function::Args as CallArgs;
use rquickjs::{Ctx, Result, Value};

use super::Host;
use super::values::{self, Arguments};

/// What is to be sent.
pub(super) struct Outbox;

/// What happened on a socket.
pub(super) enum SocketEvent {}

impl SocketEvent {
    pub(super) fn push<'js>(self, _ctx: &Ctx<'js>, _call: &mut CallArgs<'js>) -> Result<()> {
        match self {}
    }
}

impl Host {
    pub(super) fn call_socket<'js>(
        self: &Rc<Self>,
        ctx: &Ctx<'js>,
        name: &str,
        _arguments: &Arguments<'_, 'js>,
    ) -> Result<Value<'js>> {
        Err(values::throw(ctx, &format!("{name} is not supported")))
    }
}
