use std::collections::BTreeMap;
use std::sync::Arc;

use super::lex::{Fault, Placed, Token, tokens};
use super::value::Value;

/// Why a template cannot be read or executed, worded as Go words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {template}:{line}: {reason}")]
pub struct TemplateError {
    /// The template's name.
    pub template: String,
    /// The line in its text.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// Templates that were read: one main one, and those it defines.
#[derive(Debug, Clone)]
pub struct Template {
    pub(super) name: Arc<str>,
    pub(super) main: Arc<[Node]>,
    pub(super) defined: BTreeMap<String, Arc<[Node]>>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    /// Printed, unless it sets variables.
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    /// `template`: the name, and what it is given.
    Call {
        line: usize,
        name: String,
        pipeline: Option<Pipeline>,
    },
    Break,
    Continue,
}

/// A condition, what is done where it holds, and else.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    pub(super) pipeline: Pipeline,
    pub(super) then: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub(super) line: usize,
    /// Variables that get the value; two in a `range`.
    pub(super) variables: Vec<String>,
    /// The variables are new.
    pub(super) declares: bool,
    pub(super) commands: Vec<Vec<Operand>>,
}

/// An argument, or the function a command begins with.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    pub(super) base: Base,
    /// Fields of it.
    pub(super) fields: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Base {
    Dot,
    Constant(Value),
    Variable(String),
    Function(String),
    Pipeline(Box<Pipeline>),
}

/// Actions and parentheses nest at most this deep.
const MAX_DEPTH: usize = 200;

// === impl Template ===

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Where the text is none.
    pub fn parse(name: &str, text: &str) -> Result<Template, TemplateError> {
        let mut template = Template {
            name: Arc::from(name),
            main: Arc::from([]),
            defined: BTreeMap::new(),
        };
        template.main = template.read(name, text)?.into();
        Ok(template)
    }

    /// Adds the templates that another text defines; a later definition replaces an earlier one.
    ///
    /// # Errors
    /// Where the text is no template.
    pub fn add_definitions(&mut self, name: &str, text: &str) -> Result<(), TemplateError> {
        self.read(name, text).map(|_| ())
    }

    /// These definitions with another main text.
    ///
    /// # Errors
    /// Where the text is no template.
    pub fn with_main(&self, name: &str, text: &str) -> Result<Template, TemplateError> {
        let mut template = self.clone();
        template.name = Arc::from(name);
        template.main = template.read(name, text)?.into();
        Ok(template)
    }

    /// Every function the text names and its line, so that unknown ones are found before it is executed.
    pub(crate) fn functions(&self) -> Vec<(usize, &str)> {
        let mut names = Vec::new();
        let defined = self.defined.values().flat_map(|nodes| nodes.iter());
        for node in self.main.iter().chain(defined) {
            functions_of_node(node, &mut names);
        }
        names
    }

    fn read(&mut self, name: &str, text: &str) -> Result<Vec<Node>, TemplateError> {
        let error = |fault: Fault| TemplateError {
            template: name.to_owned(),
            line: fault.line,
            reason: fault.reason,
        };
        let tokens = tokens(text).map_err(error)?;
        let mut parser = Parser {
            last_line: tokens.last().map_or(1, |last| last.line),
            tokens: Cursor {
                tokens: tokens.into(),
                at: 0,
            },
            defined: &mut self.defined,
            variables: vec!["$".to_owned()],
            ranges: 0,
            depth: 0,
        };
        let (nodes, end) = parser.list().map_err(error)?;
        match end {
            End::Text => Ok(nodes),
            End::Word(line, word) => Err(error(Fault {
                line,
                reason: format!("unexpected {{{{{word}}}}}"),
            })),
        }
    }
}

fn functions_of_node<'a>(node: &'a Node, names: &mut Vec<(usize, &'a str)>) {
    match node {
        Node::Action(pipeline) => functions_of(pipeline, names),
        Node::If(branch) | Node::With(branch) | Node::Range(branch) => {
            functions_of(&branch.pipeline, names);
            for node in branch.then.iter().chain(&branch.otherwise) {
                functions_of_node(node, names);
            }
        }
        Node::Call {
            pipeline: Some(pipeline),
            ..
        } => functions_of(pipeline, names),
        Node::Call { .. } | Node::Text(_) | Node::Break | Node::Continue => {}
    }
}

fn functions_of<'a>(pipeline: &'a Pipeline, names: &mut Vec<(usize, &'a str)>) {
    for operand in pipeline.commands.iter().flatten() {
        match &operand.base {
            Base::Function(name) => names.push((pipeline.line, name)),
            Base::Pipeline(inner) => functions_of(inner, names),
            Base::Dot | Base::Constant(_) | Base::Variable(_) => {}
        }
    }
}

/// How a list of nodes ends.
enum End {
    Text,
    /// At `end` or `else`, whose braces are open still.
    Word(usize, String),
}

/// The tokens still to be read; cheap to clone.
#[derive(Clone)]
struct Cursor {
    tokens: Arc<[Placed]>,
    at: usize,
}

// === impl Cursor ===

impl Cursor {
    fn peek(&self) -> Option<&Placed> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Placed> {
        let next = self.tokens.get(self.at).cloned();
        self.at += 1;
        next
    }
}

struct Parser<'t> {
    tokens: Cursor,
    defined: &'t mut BTreeMap<String, Arc<[Node]>>,
    /// Those in scope.
    variables: Vec<String>,
    ranges: usize,
    depth: usize,
    last_line: usize,
}

// === impl Parser ===

impl Parser<'_> {
    fn line(&mut self) -> usize {
        let last = self.last_line;
        self.tokens.peek().map_or(last, |placed| placed.line)
    }

    fn fault(&mut self, reason: impl Into<String>) -> Fault {
        Fault {
            line: self.line(),
            reason: reason.into(),
        }
    }

    fn skip_blank(&mut self) {
        while self.peek_is(&Token::Blank) {
            self.tokens.next();
        }
    }

    fn peek_is(&mut self, token: &Token) -> bool {
        self.tokens
            .peek()
            .is_some_and(|placed| placed.token == *token)
    }

    fn close(&mut self, context: &str) -> Result<(), Fault> {
        self.skip_blank();
        if self.peek_is(&Token::Close) {
            self.tokens.next();
            return Ok(());
        }
        let found = self.tokens.peek().map(|placed| describe(&placed.token));
        let found = found.unwrap_or_else(|| "EOF".to_owned());
        Err(self.fault(format!("unexpected {found} in {context}")))
    }

    fn descend(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fault("template nests too deeply"));
        }
        Ok(())
    }

    /// Nodes up to the text's end, or to `end` or `else`.
    fn list(&mut self) -> Result<(Vec<Node>, End), Fault> {
        self.descend()?;
        let mut nodes = Vec::new();
        while let Some(Placed { token, line }) = self.tokens.next() {
            if let Token::Text(text) = token {
                nodes.push(Node::Text(text));
                continue;
            }
            self.skip_blank();
            let word = match self.tokens.peek() {
                Some(Placed {
                    token: Token::Word(word),
                    ..
                }) => word.clone(),
                _ => String::new(),
            };
            let keyword = matches!(
                word.as_str(),
                "if" | "with"
                    | "range"
                    | "end"
                    | "else"
                    | "define"
                    | "block"
                    | "template"
                    | "break"
                    | "continue"
            );
            if keyword {
                self.tokens.next();
            }
            match word.as_str() {
                "end" | "else" => {
                    self.depth -= 1;
                    return Ok((nodes, End::Word(line, word)));
                }
                "if" => nodes.push(Node::If(self.branch("if")?)),
                "with" => nodes.push(Node::With(self.branch("with")?)),
                "range" => nodes.push(Node::Range(self.branch("range")?)),
                "define" => self.define()?,
                "block" => nodes.push(self.block(line)?),
                "template" => nodes.push(self.call(line)?),
                "break" | "continue" => {
                    self.close(&word)?;
                    if self.ranges == 0 {
                        return Err(Fault {
                            line,
                            reason: format!("{{{{{word}}}}} outside {{{{range}}}}"),
                        });
                    }
                    nodes.push(if word == "break" {
                        Node::Break
                    } else {
                        Node::Continue
                    });
                }
                _ => {
                    let pipeline = self.pipeline("command", 1)?;
                    self.close("command")?;
                    nodes.push(Node::Action(pipeline));
                }
            }
        }
        self.depth -= 1;
        Ok((nodes, End::Text))
    }

    /// After the keyword: a pipeline, nodes, perhaps `else`, `end`.
    fn branch(&mut self, keyword: &str) -> Result<Branch, Fault> {
        let scope = self.variables.len();
        let ranges = self.ranges;
        let pipeline = self.pipeline(keyword, if keyword == "range" { 2 } else { 1 })?;
        self.close(keyword)?;
        self.ranges += usize::from(keyword == "range");
        let (then, end) = self.list()?;
        self.ranges = ranges;
        let otherwise = self.rest_of_branch(keyword, end)?;
        self.variables.truncate(scope);
        Ok(Branch {
            pipeline,
            then,
            otherwise,
        })
    }

    fn rest_of_branch(&mut self, keyword: &str, end: End) -> Result<Vec<Node>, Fault> {
        match end {
            End::Text => Err(self.fault("unexpected EOF")),
            End::Word(_, word) if word == "end" => {
                self.close("end")?;
                Ok(Vec::new())
            }
            End::Word(..) => {
                self.skip_blank();
                let chained = match self.tokens.peek() {
                    Some(Placed {
                        token: Token::Word(word),
                        ..
                    }) if word == keyword && keyword != "range" => Some(word.clone()),
                    _ => None,
                };
                if let Some(word) = chained {
                    self.tokens.next();
                    let branch = self.branch(&word)?;
                    return Ok(vec![if word == "if" {
                        Node::If(branch)
                    } else {
                        Node::With(branch)
                    }]);
                }
                self.close("else")?;
                let (otherwise, end) = self.list()?;
                match end {
                    End::Word(_, word) if word == "end" => self.close("end")?,
                    End::Word(line, _) => {
                        let reason = "expected end; found {{else}}".to_owned();
                        return Err(Fault { line, reason });
                    }
                    End::Text => return Err(self.fault("unexpected EOF")),
                }
                Ok(otherwise)
            }
        }
    }

    fn quoted_name(&mut self, context: &str) -> Result<String, Fault> {
        self.skip_blank();
        match self.tokens.peek() {
            Some(Placed {
                token: Token::Quoted(name),
                ..
            }) => {
                let name = name.clone();
                self.tokens.next();
                Ok(name)
            }
            _ => Err(self.fault(format!(
                "unexpected token in {context} clause: a quoted name is needed"
            ))),
        }
    }

    fn body_of(&mut self, name: &str) -> Result<(), Fault> {
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (nodes, end) = self.list()?;
        match end {
            End::Word(_, word) if word == "end" => self.close("end")?,
            End::Word(line, word) => {
                let reason = format!("unexpected {{{{{word}}}}} in define clause");
                return Err(Fault { line, reason });
            }
            End::Text => return Err(self.fault("unexpected EOF")),
        }
        self.variables = outer;
        self.ranges = ranges;
        self.defined.insert(name.to_owned(), nodes.into());
        Ok(())
    }

    fn define(&mut self) -> Result<(), Fault> {
        let name = self.quoted_name("define")?;
        self.close("define clause")?;
        self.body_of(&name)
    }

    fn block(&mut self, line: usize) -> Result<Node, Fault> {
        let name = self.quoted_name("block")?;
        let pipeline = self.pipeline("block clause", 1)?;
        self.close("block clause")?;
        if self.defined.contains_key(&name) {
            // A block is a default: what was defined before stays.
            let kept = self.defined.get(&name).cloned();
            self.body_of(&name)?;
            if let Some(kept) = kept {
                self.defined.insert(name.clone(), kept);
            }
        } else {
            self.body_of(&name)?;
        }
        Ok(Node::Call {
            line,
            name,
            pipeline: Some(pipeline),
        })
    }

    fn call(&mut self, line: usize) -> Result<Node, Fault> {
        let name = self.quoted_name("template")?;
        self.skip_blank();
        let pipeline = if self.peek_is(&Token::Close) {
            None
        } else {
            Some(self.pipeline("template clause", 1)?)
        };
        self.close("template clause")?;
        Ok(Node::Call {
            line,
            name,
            pipeline,
        })
    }

    /// A pipeline up to what cannot belong to it; `most` variables may be set.
    fn pipeline(&mut self, context: &str, most: usize) -> Result<Pipeline, Fault> {
        self.descend()?;
        self.skip_blank();
        let line = self.line();
        let (variables, declares) = self.assignment(most)?;
        let mut commands = Vec::new();
        loop {
            let command = self.command(context)?;
            if command.is_empty() {
                let reason = format!("missing value for {context}");
                return Err(self.fault(reason));
            }
            commands.push(command);
            self.skip_blank();
            if !self.peek_is(&Token::Pipe) {
                break;
            }
            self.tokens.next();
        }
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        self.depth -= 1;
        Ok(Pipeline {
            line,
            variables,
            declares,
            commands,
        })
    }

    /// `$a :=`, `$a =` or `$a, $b :=` before a pipeline.
    fn assignment(&mut self, most: usize) -> Result<(Vec<String>, bool), Fault> {
        let mut ahead = self.tokens.clone();
        let mut names = Vec::new();
        let declares = loop {
            let Some(Placed {
                token: Token::Variable(name),
                ..
            }) = ahead.next()
            else {
                return Ok((Vec::new(), false));
            };
            names.push(name);
            while ahead
                .peek()
                .is_some_and(|placed| placed.token == Token::Blank)
            {
                ahead.next();
            }
            match ahead.next().map(|placed| placed.token) {
                Some(Token::Declare) => break true,
                Some(Token::Assign) => break false,
                Some(Token::Comma) if names.len() < most => {
                    while ahead
                        .peek()
                        .is_some_and(|placed| placed.token == Token::Blank)
                    {
                        ahead.next();
                    }
                }
                Some(Token::Comma) => return Err(self.fault("too many declarations in command")),
                _ => return Ok((Vec::new(), false)),
            }
        };
        if let Some(unknown) = names
            .iter()
            .find(|name| !declares && !self.variables.contains(name))
        {
            let reason = format!("undefined variable {unknown:?}");
            return Err(self.fault(reason));
        }
        self.tokens = ahead;
        Ok((names, declares))
    }

    /// Operands with blanks between.
    fn command(&mut self, context: &str) -> Result<Vec<Operand>, Fault> {
        let mut operands = Vec::new();
        loop {
            self.skip_blank();
            let base = match self.tokens.peek().map(|placed| placed.token.clone()) {
                Some(Token::Dot) => Base::Dot,
                Some(Token::Field(name)) => {
                    self.tokens.next();
                    let mut fields = vec![name];
                    fields.extend(self.fields());
                    operands.push(Operand {
                        base: Base::Dot,
                        fields,
                    });
                    continue;
                }
                Some(Token::Variable(name)) => {
                    if !self.variables.contains(&name) {
                        let reason = format!("undefined variable {name:?}");
                        return Err(self.fault(reason));
                    }
                    Base::Variable(name)
                }
                Some(Token::Quoted(text)) => Base::Constant(Value::from(text)),
                Some(Token::Int(number)) => Base::Constant(Value::Int(number)),
                Some(Token::Float(number)) => Base::Constant(Value::Float(number)),
                Some(Token::Word(word)) => match word.as_str() {
                    "true" => Base::Constant(Value::Bool(true)),
                    "false" => Base::Constant(Value::Bool(false)),
                    "nil" => Base::Constant(Value::Nil),
                    _ => Base::Function(word),
                },
                Some(Token::LeftParen) => {
                    self.tokens.next();
                    let inner = self.pipeline("parenthesized pipeline", 1)?;
                    self.skip_blank();
                    if !self.peek_is(&Token::RightParen) {
                        let reason = format!("unclosed left paren in {context}");
                        return Err(self.fault(reason));
                    }
                    Base::Pipeline(Box::new(inner))
                }
                _ => return Ok(operands),
            };
            self.tokens.next();
            let fields = self.fields();
            operands.push(Operand { base, fields });
        }
    }

    /// `.a.b` right after an operand.
    fn fields(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        while let Some(Placed {
            token: Token::Field(name),
            ..
        }) = self.tokens.peek()
        {
            fields.push(name.clone());
            self.tokens.next();
        }
        fields
    }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Text(_) => "text".to_owned(),
        Token::Open => "\"{{\"".to_owned(),
        Token::Close => "\"}}\"".to_owned(),
        Token::Word(word) => format!("<{word}>"),
        Token::Field(name) => format!("<.{name}>"),
        Token::Dot => "<.>".to_owned(),
        Token::Variable(name) => format!("<{name}>"),
        Token::Quoted(text) => format!("{text:?}"),
        Token::Int(number) => format!("\"{number}\""),
        Token::Float(number) => format!("\"{number}\""),
        Token::Pipe => "\"|\"".to_owned(),
        Token::Comma => "\",\"".to_owned(),
        Token::Declare => "\":=\"".to_owned(),
        Token::Assign => "\"=\"".to_owned(),
        Token::LeftParen => "\"(\"".to_owned(),
        Token::RightParen => "\")\"".to_owned(),
        Token::Blank => "blank".to_owned(),
    }
}
