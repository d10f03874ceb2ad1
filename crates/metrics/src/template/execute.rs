use std::cell::Cell;

use super::builtin;
use super::parse::{Base, Branch, Node, Operand, Pipeline, Template, TemplateError};
use super::value::Value;

/// Functions and methods beyond the language's own.
pub trait Functions {
    /// Whether there is a function of that name.
    fn knows(&self, name: &str) -> bool;

    /// Calls a function that is known.
    ///
    /// # Errors
    /// Where the arguments do not fit, or what it does fails.
    fn call(&self, name: &str, args: &[Value]) -> Result<Value, String>;

    /// Calls a method of a value; `None` where it has none of that name.
    fn method(&self, on: &Value, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let _ = (on, name, args);
        None
    }
}

/// No further functions.
#[derive(Debug, Clone, Copy)]
pub struct NoFunctions;

impl Functions for NoFunctions {
    fn knows(&self, _: &str) -> bool {
        false
    }

    fn call(&self, name: &str, _: &[Value]) -> Result<Value, String> {
        Err(format!("function {name:?} not defined"))
    }
}

/// Templates call each other at most this deep.
const MAX_CALLS: usize = 100;

/// The output is at most this many bytes.
const MAX_OUTPUT: usize = 4 * 1024 * 1024;

/// Loops go round at most this often, all together.
const MAX_ROUNDS: usize = 1_000_000;

// === impl Template ===

impl Template {
    /// Checks that every function named is the language's or known otherwise.
    pub(crate) fn check_functions(
        &self,
        known: &dyn Fn(&str) -> bool,
    ) -> Result<(), TemplateError> {
        let unknown = self
            .functions()
            .into_iter()
            .find(|(_, name)| !builtin::knows(name) && !known(name));
        match unknown {
            Some((line, name)) => Err(TemplateError {
                template: self.name.to_string(),
                line,
                reason: format!("function {name:?} not defined"),
            }),
            None => Ok(()),
        }
    }

    /// The text the template makes of data.
    ///
    /// # Errors
    /// Where a function is unknown or fails, a field is missing, or a bound is met.
    pub fn execute(
        &self,
        data: &Value,
        functions: &dyn Functions,
    ) -> Result<String, TemplateError> {
        self.check_functions(&|name| functions.knows(name))?;
        let mut execution = Execution {
            template: self,
            functions,
            variables: vec![("$".to_owned(), data.clone())],
            output: String::new(),
            calls: 0,
            rounds: Cell::new(0),
        };
        match execution.nodes(&self.main, data) {
            Ok(_) => Ok(execution.output),
            Err((line, reason)) => Err(TemplateError {
                template: self.name.to_string(),
                line,
                reason: format!("executing {:?}: {reason}", &*self.name),
            }),
        }
    }
}

/// A failure and its line.
type Fault = (usize, String);

/// What follows a node.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Execution<'a> {
    template: &'a Template,
    functions: &'a dyn Functions,
    variables: Vec<(String, Value)>,
    output: String,
    calls: usize,
    rounds: Cell<usize>,
}

// === impl Execution ===

impl Execution<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<Flow, Fault> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, Fault> {
        match node {
            Node::Text(text) => self.print(text, 0)?,
            Node::Action(pipeline) => {
                let value = self.set(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.print(&value.to_string(), pipeline.line)?;
                }
            }
            Node::If(branch) => return self.branch(branch, dot, false),
            Node::With(branch) => return self.branch(branch, dot, true),
            Node::Range(branch) => return self.range(branch, dot),
            Node::Call {
                line,
                name,
                pipeline,
            } => {
                let value = match pipeline {
                    Some(pipeline) => self.pipeline(pipeline, dot)?,
                    None => Value::Nil,
                };
                let Some(nodes) = self.template.defined.get(name) else {
                    return Err((*line, format!("template {name:?} not defined")));
                };
                self.calls += 1;
                if self.calls > MAX_CALLS {
                    let reason = format!("exceeded maximum template depth ({MAX_CALLS})");
                    return Err((*line, reason));
                }
                let outer =
                    std::mem::replace(&mut self.variables, vec![("$".to_owned(), value.clone())]);
                self.nodes(nodes, &value)?;
                self.variables = outer;
                self.calls -= 1;
            }
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn print(&mut self, text: &str, line: usize) -> Result<(), Fault> {
        if self.output.len() + text.len() > MAX_OUTPUT {
            return Err((
                line,
                format!("the output is over {MAX_OUTPUT} bytes, the limit"),
            ));
        }
        self.output.push_str(text);
        Ok(())
    }

    /// Evaluates a pipeline and sets its one variable.
    fn set(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Fault> {
        let value = self.pipeline(pipeline, dot)?;
        if let [name] = pipeline.variables.as_slice() {
            self.assign(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn assign(&mut self, name: &str, value: Value, declares: bool) {
        let known = self
            .variables
            .iter_mut()
            .rev()
            .find(|(known, _)| !declares && known == name);
        match known {
            Some((_, slot)) => *slot = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn branch(&mut self, branch: &Branch, dot: &Value, moves_dot: bool) -> Result<Flow, Fault> {
        let scope = self.variables.len();
        let value = self.set(&branch.pipeline, dot)?;
        let flow = if value.is_true() {
            self.nodes(&branch.then, if moves_dot { &value } else { dot })
        } else {
            self.nodes(&branch.otherwise, dot)
        };
        self.variables.truncate(scope);
        flow
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Result<Flow, Fault> {
        let scope = self.variables.len();
        let pipeline = &branch.pipeline;
        let items: Vec<(Value, Value)> = match self.pipeline(pipeline, dot)? {
            Value::Nil => Vec::new(),
            Value::List(items) => {
                let numbered = items.iter().cloned().enumerate();
                numbered
                    .map(|(at, item)| (Value::Int(at as i64), item))
                    .collect()
            }
            Value::Map(map) => {
                let pairs = map.iter();
                pairs
                    .map(|(key, value)| (Value::text(key), value.clone()))
                    .collect()
            }
            Value::Int(count) => {
                let count = count.clamp(0, MAX_ROUNDS as i64 + 1);
                (0..count)
                    .map(|at| (Value::Int(at), Value::Int(at)))
                    .collect()
            }
            other => {
                let reason = format!("range can't iterate over {other}");
                return Err((pipeline.line, reason));
            }
        };
        let mut flow = Flow::On;
        if items.is_empty() {
            flow = self.nodes(&branch.otherwise, dot)?;
        }
        for (key, item) in items {
            self.rounds.set(self.rounds.get() + 1);
            if self.rounds.get() > MAX_ROUNDS {
                return Err((
                    pipeline.line,
                    format!("ranges over {MAX_ROUNDS} items, the limit"),
                ));
            }
            match pipeline.variables.as_slice() {
                [value] => self.assign(value, item.clone(), pipeline.declares),
                [number, value] => {
                    self.assign(number, key, pipeline.declares);
                    self.assign(value, item.clone(), pipeline.declares);
                }
                _ => {}
            }
            let inner = self.nodes(&branch.then, &item)?;
            self.variables.truncate(scope);
            if inner == Flow::Break {
                break;
            }
        }
        Ok(flow)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, Fault> {
        let mut last: Option<Value> = None;
        for command in &pipeline.commands {
            last = Some(
                self.command(command, dot, last)
                    .map_err(|(line, reason)| (line.max(pipeline.line), reason))?,
            );
        }
        Ok(last.unwrap_or(Value::Nil))
    }

    /// Evaluates operands; what the command before gave is the last argument.
    fn command(
        &mut self,
        command: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, Fault> {
        let (first, rest) = command
            .split_first()
            .ok_or((0, "missing value".to_owned()))?;
        if let Base::Function(name) = &first.base {
            if let Some(decided) = self.short_circuit(name, rest, dot, piped.as_ref())? {
                return Ok(decided);
            }
            let mut args = Vec::with_capacity(rest.len() + 1);
            for operand in rest {
                args.push(self.operand(operand, dot)?);
            }
            args.extend(piped);
            let called =
                builtin::call(name, &args).unwrap_or_else(|| self.functions.call(name, &args));
            let value = called.map_err(|reason| (0, format!("error calling {name}: {reason}")))?;
            return self.fields(value, &first.fields, Vec::new());
        }
        let mut args = Vec::new();
        for operand in rest {
            args.push(self.operand(operand, dot)?);
        }
        args.extend(piped);
        if args.is_empty() {
            return self.operand(first, dot);
        }
        if first.fields.is_empty() {
            return Err((0, "can't give argument to non-function".to_owned()));
        }
        let base = self.base(first, dot)?;
        self.fields(base, &first.fields, args)
    }

    /// `and` and `or` evaluate no more than they need.
    fn short_circuit(
        &mut self,
        name: &str,
        rest: &[Operand],
        dot: &Value,
        piped: Option<&Value>,
    ) -> Result<Option<Value>, Fault> {
        let decisive = match name {
            "and" => false,
            "or" => true,
            _ => return Ok(None),
        };
        let mut last = None;
        for operand in rest {
            let value = self.operand(operand, dot)?;
            if value.is_true() == decisive {
                return Ok(Some(value));
            }
            last = Some(value);
        }
        let last = piped.cloned().or(last);
        last.map(Some).ok_or((
            0,
            format!("wrong number of args for {name}: want at least 1 got 0"),
        ))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Fault> {
        let base = self.base(operand, dot)?;
        self.fields(base, &operand.fields, Vec::new())
    }

    fn base(&mut self, operand: &Operand, dot: &Value) -> Result<Value, Fault> {
        match &operand.base {
            Base::Dot => Ok(dot.clone()),
            Base::Constant(value) => Ok(value.clone()),
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known
                    .map(|(_, value)| value.clone())
                    .ok_or_else(|| (0, format!("undefined variable: {name}")))
            }
            Base::Function(name) => {
                let called =
                    builtin::call(name, &[]).unwrap_or_else(|| self.functions.call(name, &[]));
                called.map_err(|reason| (0, format!("error calling {name}: {reason}")))
            }
            Base::Pipeline(pipeline) => self.set(pipeline, dot),
        }
    }

    /// Walks fields, keys and methods; arguments go to the last.
    fn fields(&self, base: Value, fields: &[String], mut args: Vec<Value>) -> Result<Value, Fault> {
        let mut value = base;
        for (at, name) in fields.iter().enumerate() {
            let given = if at + 1 == fields.len() {
                std::mem::take(&mut args)
            } else {
                Vec::new()
            };
            let method = builtin::method(&value, name, &given)
                .or_else(|| self.functions.method(&value, name, &given));
            if let Some(result) = method {
                value = result.map_err(|reason| (0, format!("error calling {name}: {reason}")))?;
                continue;
            }
            if !given.is_empty() {
                let reason = format!("{name} has arguments but cannot be invoked as function");
                return Err((0, reason));
            }
            value = match &value {
                Value::Map(map) => map.get(name).cloned().unwrap_or_else(|| Value::text("")),
                Value::Record(record) => match record.fields.get(name.as_str()) {
                    Some(field) => field.clone(),
                    None => {
                        let kind = record.type_name;
                        let reason = format!("can't evaluate field {name} in type {kind}");
                        return Err((0, reason));
                    }
                },
                Value::Nil => {
                    return Err((0, format!("nil data; no entry for key {name:?}")));
                }
                other => {
                    let kind = other.type_name();
                    let reason = format!("can't evaluate field {name} in type {kind}");
                    return Err((0, reason));
                }
            };
        }
        Ok(value)
    }
}
