//! HTML for scripts: a forgiving parser and CSS selectors.
//!
//! Not the standard's tree construction, which mends every broken page in one prescribed way, but
//! enough to find things in pages: elements that need no end tag, text that is not markup
//! (`script`, `style`, `textarea`, `title`), character references, a page without `html` and
//! `body` gets them, and a table the parts that its rows and cells must stand in. (The field's libraries for this stand under a licence that this project does
//! not take.)

mod selector;

pub(crate) use selector::Selector;

/// The number of a node in its page.
pub(crate) type NodeId = usize;

/// A parsed page.
#[derive(Debug)]
pub(crate) struct Page {
    nodes: Vec<Node>,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) parent: Option<NodeId>,
    pub(crate) children: Vec<NodeId>,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Document,
    Element {
        name: String,
        attributes: Vec<(String, String)>,
    },
    Text(String),
    Comment(String),
}

const VOID: &[&str] = &[
    "area", "base", "br", "col", "embed", "hr", "img", "input", "keygen", "link", "meta", "param",
    "source", "track", "wbr",
];
const RAW: &[&str] = &["script", "style", "textarea", "title", "xmp", "noscript"];

// === impl Content ===

impl Content {
    /// An element without attributes.
    fn element(name: &str) -> Self {
        Self::Element {
            name: name.to_owned(),
            attributes: Vec::new(),
        }
    }
}

// === impl Page ===

impl Page {
    /// Parses a page or a part of one. Every text is a page.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parser = Parser {
            page: Self {
                nodes: vec![Node {
                    parent: None,
                    children: Vec::new(),
                    content: Content::Document,
                }],
            },
            open: vec![0],
        };
        parser.read(text);
        let mut page = parser.page;
        page.complete();
        page
    }

    pub(crate) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// The element's name, or an empty text.
    pub(crate) fn name(&self, id: NodeId) -> &str {
        match self.node(id).map(|node| &node.content) {
            Some(Content::Element { name, .. }) => name,
            _ => "",
        }
    }

    pub(crate) fn attribute(&self, id: NodeId, wanted: &str) -> Option<&str> {
        self.attributes(id)
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn attributes(&self, id: NodeId) -> &[(String, String)] {
        match self.node(id).map(|node| &node.content) {
            Some(Content::Element { attributes, .. }) => attributes,
            _ => &[],
        }
    }

    /// The elements among a node's children.
    pub(crate) fn element_children(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        self.node(id)
            .into_iter()
            .flat_map(|node| node.children.iter().copied())
            .filter(|child| !self.name(*child).is_empty())
    }

    /// All elements below a node, in the order of the page.
    pub(crate) fn descendants(&self, id: NodeId) -> Vec<NodeId> {
        let mut found = Vec::new();
        let mut next: Vec<NodeId> = self.element_children(id).collect();
        next.reverse();
        while let Some(id) = next.pop() {
            found.push(id);
            let children: Vec<NodeId> = self.element_children(id).collect();
            next.extend(children.into_iter().rev());
        }
        found
    }

    /// All text below a node.
    pub(crate) fn text(&self, id: NodeId) -> String {
        let mut text = String::new();
        let mut next = vec![id];
        while let Some(node) = next.pop().and_then(|id| self.node(id)) {
            if let Content::Text(part) = &node.content {
                text.push_str(part);
            }
            next.extend(node.children.iter().rev());
        }
        text
    }

    /// The markup of a node's children.
    pub(crate) fn inner(&self, id: NodeId) -> String {
        let mut markup = String::new();
        for child in self.node(id).into_iter().flat_map(|node| &node.children) {
            self.write(*child, &mut markup);
        }
        markup
    }

    fn write(&self, id: NodeId, markup: &mut String) {
        // Explicitly stacked: pages may be nested deeper than a script's stack allows.
        enum Step {
            Open(NodeId),
            Close(NodeId),
        }
        let mut steps = vec![Step::Open(id)];
        while let Some(step) = steps.pop() {
            match step {
                Step::Close(id) => {
                    markup.push_str("</");
                    markup.push_str(self.name(id));
                    markup.push('>');
                }
                Step::Open(id) => {
                    let Some(node) = self.node(id) else { continue };
                    match &node.content {
                        Content::Document => {}
                        Content::Comment(text) => {
                            markup.push_str("<!--");
                            markup.push_str(text);
                            markup.push_str("-->");
                        }
                        Content::Text(text) => {
                            let raw = node.parent.is_some_and(|parent| {
                                matches!(self.name(parent), "script" | "style")
                            });
                            if raw {
                                markup.push_str(text);
                            } else {
                                escape(text, false, markup);
                            }
                        }
                        Content::Element { name, attributes } => {
                            markup.push('<');
                            markup.push_str(name);
                            for (name, value) in attributes {
                                markup.push(' ');
                                markup.push_str(name);
                                markup.push_str("=\"");
                                escape(value, true, markup);
                                markup.push('"');
                            }
                            if VOID.contains(&name.as_str()) {
                                markup.push_str("/>");
                                continue;
                            }
                            markup.push('>');
                            steps.push(Step::Close(id));
                        }
                    }
                    steps.extend(node.children.iter().rev().map(|child| Step::Open(*child)));
                }
            }
        }
    }

    fn add(&mut self, parent: NodeId, content: Content) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(Node {
            parent: Some(parent),
            children: Vec::new(),
            content,
        });
        self.nodes[parent].children.push(id);
        id
    }

    /// Gives a page without `html` and `body` both, and one without `head` that.
    fn complete(&mut self) {
        let known = self.descendants(0);
        if let Some(html) = known.iter().find(|id| self.name(**id) == "html") {
            if !known.iter().any(|id| self.name(*id) == "head") {
                let head = self.add(*html, Content::element("head"));
                let children = &mut self.nodes[*html].children;
                children.retain(|child| *child != head);
                children.insert(0, head);
            }
            return;
        }
        let children = std::mem::take(&mut self.nodes[0].children);
        let html = self.add(0, Content::element("html"));
        let whole = children
            .iter()
            .any(|child| matches!(self.name(*child), "head" | "body"));
        let place = if whole {
            html
        } else {
            self.add(html, Content::element("head"));
            self.add(html, Content::element("body"))
        };
        for child in children {
            self.nodes[child].parent = Some(place);
            self.nodes[place].children.push(child);
        }
    }
}

fn escape(text: &str, quotes: bool, markup: &mut String) {
    for sign in text.chars() {
        match sign {
            '&' => markup.push_str("&amp;"),
            '<' => markup.push_str("&lt;"),
            '>' => markup.push_str("&gt;"),
            '"' if quotes => markup.push_str("&#34;"),
            _ => markup.push(sign),
        }
    }
}

struct Parser {
    page: Page,
    /// Elements that have begun and not ended, outermost first; never empty.
    open: Vec<NodeId>,
}

impl Parser {
    fn read(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            let Some(start) = rest.find('<') else {
                self.text(rest);
                return;
            };
            self.text(&rest[..start]);
            rest = &rest[start..];
            if let Some(comment) = rest.strip_prefix("<!--") {
                let (inside, after) = comment.split_once("-->").unwrap_or((comment, ""));
                let parent = self.parent();
                self.page.add(parent, Content::Comment(inside.to_owned()));
                rest = after;
            } else if rest.starts_with("<!") || rest.starts_with("<?") {
                rest = rest.split_once('>').map_or("", |(_, after)| after);
            } else if let Some(closing) = rest.strip_prefix("</") {
                let (name, after) = closing.split_once('>').unwrap_or((closing, ""));
                self.close(&name.trim().to_ascii_lowercase());
                rest = after;
            } else if rest[1..].starts_with(|first: char| first.is_ascii_alphabetic()) {
                rest = self.element(&rest[1..]);
            } else {
                self.text("<");
                rest = &rest[1..];
            }
        }
    }

    fn parent(&self) -> NodeId {
        self.open.last().copied().unwrap_or(0)
    }

    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            let parent = self.parent();
            self.page.add(parent, Content::Text(decoded(text)));
        }
    }

    /// Reads an element's beginning, and gives what follows it.
    fn element<'text>(&mut self, text: &'text str) -> &'text str {
        let end = text
            .find(|sign: char| sign.is_ascii_whitespace() || sign == '>' || sign == '/')
            .unwrap_or(text.len());
        let name = text[..end].to_ascii_lowercase();
        let mut rest = &text[end..];
        let mut attributes: Vec<(String, String)> = Vec::new();
        let mut closed = false;
        loop {
            rest = rest.trim_start_matches(|sign: char| sign.is_ascii_whitespace());
            if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break;
            }
            if let Some(after) = rest.strip_prefix('/') {
                closed = after.starts_with('>');
                rest = after;
                continue;
            }
            if rest.is_empty() {
                break;
            }
            let (attribute, after) = attribute(rest);
            if attributes.iter().all(|(name, _)| *name != attribute.0) {
                attributes.push(attribute);
            }
            rest = after;
        }
        if !self.make_place_for(&name) {
            return rest;
        }
        let parent = self.parent();
        let id = self.page.add(
            parent,
            Content::Element {
                name: name.clone(),
                attributes,
            },
        );
        if closed || VOID.contains(&name.as_str()) {
            return rest;
        }
        if RAW.contains(&name.as_str()) {
            let lower = rest.to_ascii_lowercase();
            let end = lower.find(&format!("</{name}")).unwrap_or(rest.len());
            let inside = &rest[..end];
            if !inside.is_empty() {
                let inside = if name == "textarea" {
                    decoded(without_first_break(inside))
                } else if name == "title" {
                    decoded(inside)
                } else {
                    inside.to_owned()
                };
                self.page.add(id, Content::Text(inside));
            }
            return rest[end..].split_once('>').map_or("", |(_, after)| after);
        }
        self.open.push(id);
        if name == "pre" {
            return without_first_break(rest);
        }
        rest
    }

    /// Ends elements that need no end tag, where this one begins, and begins those that it must stand
    /// in. False: it cannot stand here, and is left out.
    fn make_place_for(&mut self, name: &str) -> bool {
        const SECTIONS: &[&str] = &["tbody", "thead", "tfoot", "table"];
        // What it may stand in, and what else has to begin there.
        let (places, missing): (&[&str], &[(&str, &str)]) = match name {
            "td" | "th" => (
                &["tr", "tbody", "thead", "tfoot", "table"],
                &[
                    ("table", "tbody"),
                    ("tbody", "tr"),
                    ("thead", "tr"),
                    ("tfoot", "tr"),
                ],
            ),
            "tr" => (SECTIONS, &[("table", "tbody")]),
            "col" => (&["colgroup", "table"], &[("table", "colgroup")]),
            "tbody" | "thead" | "tfoot" | "caption" | "colgroup" => (&["table"], &[]),
            _ => {
                self.end_implied(name);
                return true;
            }
        };
        let place = |id: &NodeId| places.contains(&self.page.name(*id));
        let Some(index) = self.open.iter().rposition(place) else {
            return false;
        };
        self.open.truncate(index + 1);
        for (within, begins) in missing {
            if self.page.name(self.parent()) == *within {
                let id = self.page.add(self.parent(), Content::element(begins));
                self.open.push(id);
            }
        }
        true
    }

    /// Ends elements that need no end tag, where this one begins.
    fn end_implied(&mut self, name: &str) {
        let ends: &[&str] = match name {
            "a" => &["a"],
            "li" => &["li"],
            "option" | "optgroup" => &["option"],
            "dt" | "dd" => &["dt", "dd"],
            "p" | "div" | "ul" | "ol" | "table" | "form" | "h1" | "h2" | "h3" | "h4" | "h5"
            | "h6" | "section" | "article" | "pre" | "blockquote" | "hr" => &["p"],
            "body" => &["head"],
            _ => &[],
        };
        while ends.contains(&self.page.name(self.parent())) {
            self.open.pop();
        }
    }

    fn close(&mut self, name: &str) {
        let found = self.open.iter().rposition(|id| self.page.name(*id) == name);
        if let Some(index) = found {
            self.open.truncate(index.max(1));
        }
    }
}

/// The line break right after the beginning of some elements is none of their text.
fn without_first_break(text: &str) -> &str {
    let text = text.strip_prefix('\r').unwrap_or(text);
    text.strip_prefix('\n').unwrap_or(text)
}

/// Reads `name`, `name=value`, `name="value"`.
fn attribute(text: &str) -> ((String, String), &str) {
    let end = text
        .char_indices()
        .skip(1)
        .find(|(_, sign)| sign.is_ascii_whitespace() || matches!(sign, '=' | '>' | '/'))
        .map_or(text.len(), |(index, _)| index);
    let name = text[..end].to_ascii_lowercase();
    let after = text[end..].trim_start();
    let Some(value) = after.strip_prefix('=') else {
        return ((name, String::new()), &text[end..]);
    };
    let value = value.trim_start();
    for quote in ['"', '\''] {
        if let Some(inside) = value.strip_prefix(quote) {
            let (inside, after) = inside.split_once(quote).unwrap_or((inside, ""));
            return ((name, decoded(inside)), after);
        }
    }
    let end = value
        .find(|sign: char| sign.is_ascii_whitespace() || sign == '>')
        .unwrap_or(value.len());
    ((name, decoded(&value[..end])), &value[end..])
}

/// Replaces character references.
fn decoded(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        whole.push_str(&rest[..start]);
        rest = &rest[start..];
        let known = rest[1..]
            .split_once(';')
            .filter(|(name, _)| name.len() <= 10)
            .and_then(|(name, after)| reference(name).map(|sign| (sign, after)));
        match known {
            Some((sign, after)) => {
                whole.push(sign);
                rest = after;
            }
            None => {
                whole.push('&');
                rest = &rest[1..];
            }
        }
    }
    whole.push_str(rest);
    whole
}

fn reference(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "copy" => '©',
        "reg" => '®',
        "trade" => '™',
        "hellip" => '…',
        "mdash" => '—',
        "ndash" => '–',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "laquo" => '«',
        "raquo" => '»',
        "bull" => '•',
        "middot" => '·',
        "times" => '×',
        "euro" => '€',
        "pound" => '£',
        "yen" => '¥',
        "sect" => '§',
        "deg" => '°',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "Auml" => 'Ä',
        "Ouml" => 'Ö',
        "Uuml" => 'Ü',
        "szlig" => 'ß',
        "eacute" => 'é',
        "egrave" => 'è',
        "agrave" => 'à',
        "ccedil" => 'ç',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(markup: &str, selector: &str) -> Vec<String> {
        let page = Page::parse(markup);
        let selector = Selector::parse(selector).unwrap();
        page.descendants(0)
            .into_iter()
            .filter(|id| selector.matches(&page, *id))
            .map(|id| page.text(id))
            .collect()
    }

    const LIST: &str =
        "<ul id=l class='a b'><li class=x>1<li data-n='2'>2<li>3 &amp; 4</ul><p>after<p>again";

    #[test]
    fn selectors_find_what_css_says() {
        for (selector, texts) in [
            ("li", vec!["1", "2", "3 & 4"]),
            ("#l > li.x", vec!["1"]),
            ("ul.b.a li", vec!["1", "2", "3 & 4"]),
            ("li[data-n]", vec!["2"]),
            ("li[data-n='2'], .x", vec!["1", "2"]),
            ("li:first-child", vec!["1"]),
            ("li:last-child", vec!["3 & 4"]),
            ("li:nth-child(2n+1)", vec!["1", "3 & 4"]),
            ("li:not(.x)", vec!["2", "3 & 4"]),
            ("li.x + li", vec!["2"]),
            ("li.x ~ li", vec!["2", "3 & 4"]),
            ("p:contains('again')", vec!["again"]),
            ("body > p", vec!["after", "again"]),
            ("div", vec![]),
        ] {
            assert_eq!(find(LIST, selector), texts, "{selector}");
        }
        assert!(Selector::parse("li[").is_err());
        assert!(Selector::parse("li:hover").is_err());
    }

    #[test]
    fn markup_is_written_as_it_was_read() {
        let page =
            Page::parse("<html><body><a href=\"/x?a=1&amp;b=2\">A<br>B</a><!--c--></body></html>");
        assert_eq!(
            page.inner(0),
            "<html><head></head><body><a href=\"/x?a=1&amp;b=2\">A<br/>B</a><!--c--></body></html>"
        );
        let page = Page::parse("<script>if (a < b) {}</script>");
        assert_eq!(page.inner(1), "if (a < b) {}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_page(text in "[<>/a-z=\"' &;!-]{0,80}") {
            let page = Page::parse(&text);
            let again = Page::parse(&page.inner(0));
            prop_assert!(again.node(0).is_some());
        }
    }
}
