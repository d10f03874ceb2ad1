//! `k6/html`: pages stay here, scripts hold the numbers of nodes.

use std::collections::HashMap;

use rquickjs::{Ctx, Result, Value};

use super::Host;
use super::values::{self, Arguments};
use crate::markup::{Content, NodeId, Page, Selector};

/// The pages that a script parsed in this iteration.
#[derive(Default)]
pub(super) struct Pages {
    by_number: HashMap<u32, Page>,
    last: u32,
}

impl Pages {
    pub(super) fn clear(&mut self) {
        self.by_number.clear();
    }
}

impl Host {
    pub(super) fn call_markup<'js>(
        &self,
        ctx: &Ctx<'js>,
        name: &str,
        arguments: &Arguments<'_, 'js>,
    ) -> Result<Value<'js>> {
        let mut pages = self.pages.borrow_mut();
        if name == "html.parse" {
            pages.last += 1;
            let number = pages.last;
            pages
                .by_number
                .insert(number, Page::parse(&arguments.text(0)?));
            return values::into(ctx, number);
        }
        let page = pages.by_number.get(&arguments.whole(0)?).ok_or_else(|| {
            values::throw(
                ctx,
                "this page was parsed in an earlier iteration and is gone; parse it again",
            )
        })?;
        if name == "html.find" {
            let selector = selector(ctx, &arguments.text(2)?)?;
            let scopes: Vec<NodeId> = arguments
                .get(1)
                .and_then(Value::as_array)
                .map(|list| list.iter().collect::<Result<_>>())
                .transpose()?
                .unwrap_or_default();
            let mut found: Vec<NodeId> = scopes
                .into_iter()
                .flat_map(|scope| page.descendants(scope))
                .filter(|id| selector.matches(page, *id))
                .collect();
            found.sort_unstable();
            found.dedup();
            return values::into(ctx, found);
        }
        let id: NodeId = arguments.whole(1)?;
        match name {
            "html.matches" => {
                let selector = selector(ctx, &arguments.text(2)?)?;
                values::into(ctx, selector.matches(page, id))
            }
            "html.name" => values::into(ctx, page.name(id)),
            "html.type" => values::into(
                ctx,
                match page.node(id).map(|node| &node.content) {
                    Some(Content::Element { .. }) => 1,
                    Some(Content::Text(_)) => 3,
                    Some(Content::Comment(_)) => 8,
                    Some(Content::Document) | None => 9,
                },
            ),
            "html.attribute" => {
                match page.attribute(id, &arguments.text(2)?.to_ascii_lowercase()) {
                    Some(value) => values::into(ctx, value),
                    None => Ok(Value::new_undefined(ctx.clone())),
                }
            }
            "html.attributes" => {
                let all: Vec<Vec<&str>> = page
                    .attributes(id)
                    .iter()
                    .map(|(name, value)| vec![name.as_str(), value.as_str()])
                    .collect();
                values::into(ctx, all)
            }
            "html.text" => values::into(ctx, page.text(id)),
            "html.inner" => values::into(ctx, page.inner(id)),
            "html.children" => values::into(ctx, page.element_children(id).collect::<Vec<_>>()),
            "html.contents" => {
                let children = page.node(id).map(|node| node.children.clone());
                values::into(ctx, children.unwrap_or_default())
            }
            "html.parent" => match page.node(id).and_then(|node| node.parent) {
                Some(parent) if !page.name(parent).is_empty() => values::into(ctx, parent),
                _ => Ok(Value::new_undefined(ctx.clone())),
            },
            // Unlike the parent, it may be the document itself.
            "html.above" => values::into(ctx, page.node(id).and_then(|node| node.parent)),
            other => Err(values::throw(
                ctx,
                &format!("{other} is no call of the host"),
            )),
        }
    }
}

fn selector(ctx: &Ctx<'_>, text: &str) -> Result<Selector> {
    Selector::parse(text).map_err(|error| values::throw(ctx, &error))
}
