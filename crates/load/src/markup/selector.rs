//! CSS selectors.

use super::{NodeId, Page};

/// A list of selectors, one of which must match.
#[derive(Clone, Debug)]
pub(crate) struct Selector(Vec<Vec<(Combinator, Compound)>>);

/// How a compound stands to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Combinator {
    Descendant,
    Child,
    Next,
    Later,
}

type Compound = Vec<Simple>;

#[derive(Clone, Debug)]
enum Simple {
    Any,
    Name(String),
    Attribute(String, Comparison, String),
    Not(Selector),
    Has(Selector),
    /// Every `step`th child from `first` on.
    NthChild {
        step: i64,
        first: i64,
        from_end: bool,
        /// Only children of the element's own name count.
        of_type: bool,
    },
    OnlyChild {
        of_type: bool,
    },
    Root,
    /// A field of a form.
    Input,
    Disabled,
    Enabled,
    Matches(Selector),
    Empty,
    Contains(String),
    Checked,
}

/// Elements that `:input` matches.
const FIELDS: &[&str] = &["input", "select", "textarea", "button"];

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Present,
    Equal,
    Word,
    Prefix,
    Suffix,
    Substring,
    Dash,
    Different,
}

// === impl Selector ===

impl Selector {
    /// Reads a list of selectors.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0 };
        let list = reader.list()?;
        if reader.at < text.len() {
            return Err(reader.wrong());
        }
        Ok(list)
    }

    /// True if one of the list matches the element.
    pub(crate) fn matches(&self, page: &Page, id: NodeId) -> bool {
        self.0.iter().any(|parts| matches_up_to(page, id, parts))
    }
}

fn matches_up_to(page: &Page, id: NodeId, parts: &[(Combinator, Compound)]) -> bool {
    let Some(((combinator, compound), before)) = parts.split_last() else {
        return true;
    };
    if !compound.iter().all(|simple| simple.matches(page, id)) {
        return false;
    }
    if before.is_empty() {
        return true;
    }
    match combinator {
        Combinator::Child => {
            parent(page, id).is_some_and(|parent| matches_up_to(page, parent, before))
        }
        Combinator::Descendant => {
            let mut ancestor = parent(page, id);
            while let Some(id) = ancestor {
                if matches_up_to(page, id, before) {
                    return true;
                }
                ancestor = parent(page, id);
            }
            false
        }
        Combinator::Next => earlier(page, id)
            .last()
            .is_some_and(|sibling| matches_up_to(page, *sibling, before)),
        Combinator::Later => earlier(page, id)
            .iter()
            .any(|sibling| matches_up_to(page, *sibling, before)),
    }
}

fn parent(page: &Page, id: NodeId) -> Option<NodeId> {
    page.node(id)?
        .parent
        .filter(|parent| !page.name(*parent).is_empty())
}

fn siblings(page: &Page, id: NodeId) -> Vec<NodeId> {
    page.node(id)
        .and_then(|node| node.parent)
        .map(|parent| page.element_children(parent).collect())
        .unwrap_or_default()
}

/// An element's siblings with itself, those of its own name alone where `of_type` says so.
fn counted_siblings(page: &Page, id: NodeId, of_type: bool) -> Vec<NodeId> {
    let mut all = siblings(page, id);
    if of_type {
        all.retain(|sibling| page.name(*sibling) == page.name(id));
    }
    all
}

fn earlier(page: &Page, id: NodeId) -> Vec<NodeId> {
    let mut all = siblings(page, id);
    all.truncate(all.iter().position(|sibling| *sibling == id).unwrap_or(0));
    all
}

// === impl Simple ===

impl Simple {
    fn matches(&self, page: &Page, id: NodeId) -> bool {
        match self {
            Self::Any => !page.name(id).is_empty(),
            Self::Name(name) => page.name(id) == name,
            Self::Attribute(name, comparison, wanted) => {
                let value = page.attribute(id, name);
                comparison.holds(value, wanted)
            }
            Self::Not(selector) => !selector.matches(page, id),
            Self::Has(selector) => page
                .descendants(id)
                .into_iter()
                .any(|below| selector.matches(page, below)),
            Self::NthChild {
                step,
                first,
                from_end,
                of_type,
            } => {
                let all = counted_siblings(page, id, *of_type);
                let Some(index) = all.iter().position(|sibling| *sibling == id) else {
                    return false;
                };
                let index = if *from_end {
                    all.len() - index
                } else {
                    index + 1
                };
                let distance = i64::try_from(index).unwrap_or(i64::MAX) - first;
                if *step == 0 {
                    distance == 0
                } else {
                    distance % step == 0 && distance / step >= 0
                }
            }
            Self::OnlyChild { of_type } => counted_siblings(page, id, *of_type).len() == 1,
            Self::Root => parent(page, id).is_none() && page.name(id) == "html",
            Self::Input => FIELDS.contains(&page.name(id)),
            Self::Disabled => page.attribute(id, "disabled").is_some(),
            Self::Enabled => {
                FIELDS.contains(&page.name(id)) && page.attribute(id, "disabled").is_none()
            }
            Self::Matches(selector) => selector.matches(page, id),
            Self::Empty => page.node(id).is_some_and(|node| node.children.is_empty()),
            Self::Contains(text) => page.text(id).contains(text.as_str()),
            Self::Checked => {
                page.attribute(id, "checked").is_some() || page.attribute(id, "selected").is_some()
            }
        }
    }
}

// === impl Comparison ===

impl Comparison {
    fn holds(self, value: Option<&str>, wanted: &str) -> bool {
        let Some(value) = value else {
            return matches!(self, Self::Different);
        };
        match self {
            Self::Present => true,
            Self::Equal => value == wanted,
            Self::Word => value.split_ascii_whitespace().any(|word| word == wanted),
            Self::Prefix => !wanted.is_empty() && value.starts_with(wanted),
            Self::Suffix => !wanted.is_empty() && value.ends_with(wanted),
            Self::Substring => !wanted.is_empty() && value.contains(wanted),
            Self::Dash => {
                value == wanted
                    || value
                        .strip_prefix(wanted)
                        .is_some_and(|rest| rest.starts_with('-'))
            }
            Self::Different => value != wanted,
        }
    }
}

struct Reader<'text> {
    text: &'text str,
    at: usize,
}

// === impl Reader ===

impl<'text> Reader<'text> {
    fn wrong(&self) -> String {
        format!(
            "selector {:?}: {:?} cannot be read",
            self.text,
            &self.text[self.at..]
        )
    }

    fn rest(&self) -> &'text str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) -> bool {
        let trimmed = self.rest().trim_start();
        let skipped = self.rest().len() - trimmed.len();
        self.at += skipped;
        skipped > 0
    }

    fn take(&mut self, sign: char) -> bool {
        let found = self.rest().starts_with(sign);
        if found {
            self.at += sign.len_utf8();
        }
        found
    }

    fn name(&mut self) -> Result<String, String> {
        let end = self
            .rest()
            .find(|sign: char| !(sign.is_alphanumeric() || matches!(sign, '-' | '_')))
            .unwrap_or(self.rest().len());
        if end == 0 {
            return Err(self.wrong());
        }
        let name = self.rest()[..end].to_owned();
        self.at += end;
        Ok(name)
    }

    fn value(&mut self, until: char) -> Result<String, String> {
        self.skip_space();
        for quote in ['"', '\''] {
            if self.take(quote) {
                let (inside, _) = self.rest().split_once(quote).ok_or_else(|| self.wrong())?;
                self.at += inside.len() + 1;
                self.skip_space();
                return Ok(inside.to_owned());
            }
        }
        let (inside, _) = self.rest().split_once(until).ok_or_else(|| self.wrong())?;
        self.at += inside.len();
        Ok(inside.trim().to_owned())
    }

    fn list(&mut self) -> Result<Selector, String> {
        let mut all = Vec::new();
        loop {
            all.push(self.complex()?);
            self.skip_space();
            if !self.take(',') {
                return Ok(Selector(all));
            }
        }
    }

    fn complex(&mut self) -> Result<Vec<(Combinator, Compound)>, String> {
        self.skip_space();
        let mut parts = vec![(Combinator::Descendant, self.compound()?)];
        loop {
            let space = self.skip_space();
            let combinator = if self.take('>') {
                Combinator::Child
            } else if self.take('+') {
                Combinator::Next
            } else if self.take('~') {
                Combinator::Later
            } else if space && !self.rest().is_empty() && !self.rest().starts_with([',', ')']) {
                Combinator::Descendant
            } else {
                return Ok(parts);
            };
            self.skip_space();
            parts.push((combinator, self.compound()?));
        }
    }

    fn compound(&mut self) -> Result<Compound, String> {
        let mut simples = Vec::new();
        if self.take('*') {
            simples.push(Simple::Any);
        } else if self.rest().starts_with(|sign: char| sign.is_alphabetic()) {
            simples.push(Simple::Name(self.name()?.to_ascii_lowercase()));
        }
        loop {
            if self.take('#') {
                let name = self.name()?;
                simples.push(Simple::Attribute("id".to_owned(), Comparison::Equal, name));
            } else if self.take('.') {
                let name = self.name()?;
                simples.push(Simple::Attribute(
                    "class".to_owned(),
                    Comparison::Word,
                    name,
                ));
            } else if self.take('[') {
                simples.push(self.attribute()?);
            } else if self.take(':') {
                simples.push(self.pseudo()?);
            } else if simples.is_empty() {
                return Err(self.wrong());
            } else {
                return Ok(simples);
            }
        }
    }

    fn attribute(&mut self) -> Result<Simple, String> {
        self.skip_space();
        let name = self.name()?.to_ascii_lowercase();
        self.skip_space();
        let signs = [
            ('=', Comparison::Equal),
            ('~', Comparison::Word),
            ('^', Comparison::Prefix),
            ('$', Comparison::Suffix),
            ('*', Comparison::Substring),
            ('|', Comparison::Dash),
            ('!', Comparison::Different),
        ];
        let mut comparison = Comparison::Present;
        for (sign, meaning) in signs {
            if self.take(sign) {
                if sign != '=' && !self.take('=') {
                    return Err(self.wrong());
                }
                comparison = meaning;
                break;
            }
        }
        let value = match comparison {
            Comparison::Present => String::new(),
            _ => self.value(']')?,
        };
        if !self.take(']') {
            return Err(self.wrong());
        }
        Ok(Simple::Attribute(name, comparison, value))
    }

    fn pseudo(&mut self) -> Result<Simple, String> {
        let start = self.at;
        let name = self.name()?.to_ascii_lowercase();
        let of_type = name.ends_with("-of-type");
        let nth = |step, first, from_end| Simple::NthChild {
            step,
            first,
            from_end,
            of_type,
        };
        let simple = match name.as_str() {
            "first-child" | "first-of-type" => nth(0, 1, false),
            "last-child" | "last-of-type" => nth(0, 1, true),
            "only-child" | "only-of-type" => Simple::OnlyChild { of_type },
            "root" => Simple::Root,
            "input" => Simple::Input,
            "disabled" => Simple::Disabled,
            "enabled" => Simple::Enabled,
            "empty" => Simple::Empty,
            "checked" | "selected" => Simple::Checked,
            "not" | "has" | "matches" | "contains" | "nth-child" | "nth-last-child"
            | "nth-of-type" | "nth-last-of-type" => {
                if !self.take('(') {
                    return Err(self.wrong());
                }
                let simple = match name.as_str() {
                    "not" => Simple::Not(self.list()?),
                    "has" => Simple::Has(self.list()?),
                    "matches" => Simple::Matches(self.list()?),
                    "contains" => Simple::Contains(self.value(')')?),
                    _ => {
                        let formula = self.value(')')?;
                        let (step, first) = nth_formula(&formula).ok_or_else(|| self.wrong())?;
                        nth(step, first, name.starts_with("nth-last"))
                    }
                };
                self.skip_space();
                if !self.take(')') {
                    return Err(self.wrong());
                }
                simple
            }
            _ => {
                self.at = start;
                return Err(format!(
                    "selector {:?}: the pseudo-class :{name} is not supported",
                    self.text
                ));
            }
        };
        Ok(simple)
    }
}

/// Reads `odd`, `even`, `3`, `2n+1`, `-n+3`.
fn nth_formula(text: &str) -> Option<(i64, i64)> {
    let text: String = text
        .chars()
        .filter(|sign| !sign.is_whitespace())
        .collect::<String>()
        .to_ascii_lowercase();
    match text.as_str() {
        "odd" => return Some((2, 1)),
        "even" => return Some((2, 0)),
        _ => {}
    }
    let Some((step, first)) = text.split_once('n') else {
        return Some((0, text.parse().ok()?));
    };
    let step = match step {
        "" | "+" => 1,
        "-" => -1,
        number => number.parse().ok()?,
    };
    let first = if first.is_empty() {
        0
    } else {
        first.parse().ok()?
    };
    Some((step, first))
}
