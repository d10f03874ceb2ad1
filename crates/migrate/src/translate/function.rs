use sqlite3_parser::ast::{Expr, FunctionCallOrder, FunctionTail, Over};

use super::catalog::Scope;
use super::sql::{Collated, Literal, Sql, Ty};
use super::types::{convert_to, unify};
use super::{Refusal, Translator, dates};
use crate::plan::Collation;

/// A call of a function.
pub(super) struct Call<'e> {
    /// The function's name in lower case.
    pub(super) name: String,
    pub(super) distinct: bool,
    /// Whether the argument is `*`.
    pub(super) star: bool,
    pub(super) order_by: Option<&'e FunctionCallOrder<'e>>,
    pub(super) tail: Option<&'e FunctionTail<'e>>,
}

/// Whether a call without OVER gathers rows.
pub(super) fn is_aggregate(name: &str, arguments: usize) -> bool {
    match name {
        "count" | "sum" | "total" | "avg" | "group_concat" | "string_agg" => true,
        "min" | "max" => arguments == 1,
        _ => name.starts_with("json_group_") || name.starts_with("jsonb_group_"),
    }
}

/// Whether what follows a call makes it a window function.
pub(super) fn is_windowed(tail: Option<&FunctionTail<'_>>) -> bool {
    tail.is_some_and(|tail| tail.over_clause.is_some())
}

impl Translator<'_> {
    pub(super) fn function(
        &self,
        call: &Call<'_>,
        arguments: &[Expr<'_>],
        scope: &Scope<'_>,
    ) -> Result<Sql, Refusal> {
        let name = call.name.as_str();
        let values: Vec<Sql> = arguments
            .iter()
            .map(|argument| self.expression(argument, scope))
            .collect::<Result<_, _>>()?;
        if is_windowed(call.tail) || is_aggregate(name, values.len()) {
            return self.gather(call, values, scope);
        }
        if call.distinct || call.order_by.is_some() || call.tail.is_some() || call.star {
            return Err(Refusal::new(
                name,
                format!("{name} is not an aggregate of SQLite"),
            ));
        }
        let all = values.clone();
        let made = self.scalar(name, values)?;
        Ok(made.depending_on(&all))
    }

    fn scalar(&self, name: &str, mut values: Vec<Sql>) -> Result<Sql, Refusal> {
        let count = values.len();
        let refuse = |why: &str| Err(Refusal::new(name, format!("function {name} {why}")));
        let take = |values: &mut Vec<Sql>| values.remove(0);
        match (name, count) {
            ("date" | "time" | "datetime" | "strftime" | "julianday" | "unixepoch", _) => {
                dates::call(name, &values)
            }
            ("abs", 1) => {
                let number = take(&mut values).into_number(name)?;
                Ok(Sql::atom(format!("abs({})", number.text), number.ty))
            }
            ("coalesce", 2..) | ("ifnull", 2) => {
                let (ty, texts) = unify(&values, name)?;
                let column = values.iter().all(|value| value.column);
                let collated = values[0].collated;
                let nondeterministic = values.iter().any(|value| value.nondeterministic);
                let made = Sql::atom(format!("coalesce({})", texts.join(", ")), ty);
                Ok(Sql {
                    column: column && ty == Ty::Bool,
                    collated,
                    nondeterministic,
                    ..made
                })
            }
            ("nullif", 2) => {
                let (a, b) = self.comparable(&values[0], &values[1], true, name)?;
                let value = take(&mut values);
                let text = format!("CASE WHEN {a} = {b} THEN NULL ELSE {} END", value.text);
                Ok(Sql {
                    nondeterministic: value.nondeterministic,
                    ..Sql::atom(text, value.ty)
                })
            }
            ("iif" | "if", 2..) => {
                let otherwise = if count % 2 == 1 { values.pop() } else { None };
                let mut conditions = Vec::new();
                let mut results = Vec::new();
                let mut rest = values.into_iter();
                while let (Some(condition), Some(result)) = (rest.next(), rest.next()) {
                    conditions.push(condition.into_condition()?);
                    results.push(result);
                }
                let with_else = otherwise.is_some();
                results.extend(otherwise);
                let (ty, texts) = unify(&results, name)?;
                let mut text = String::from("CASE");
                for (condition, result) in conditions.iter().zip(&texts) {
                    text.push_str(&format!(" WHEN {} THEN {result}", condition.text));
                }
                if with_else {
                    text.push_str(&format!(" ELSE {}", texts[texts.len() - 1]));
                }
                Ok(Sql::atom(format!("{text} END"), ty))
            }
            ("likely" | "unlikely", 1) | ("likelihood", 2) => Ok(take(&mut values)),
            ("length", 1) => {
                let value = take(&mut values);
                let text = match value.ty {
                    Ty::Blob => format!("octet_length({})::bigint", value.text),
                    _ => format!("length({})::bigint", value.into_text(name)?.text),
                };
                Ok(Sql::atom(text, Ty::Int))
            }
            ("octet_length", 1) => {
                let value = take(&mut values);
                let text = if value.ty == Ty::Blob {
                    value.text
                } else {
                    value.into_text(name)?.text
                };
                Ok(Sql::atom(format!("octet_length({text})::bigint"), Ty::Int))
            }
            ("lower" | "upper", 1) => {
                let value = take(&mut values).into_text(name)?;
                Ok(Sql::atom(
                    format!("{name}({} COLLATE \"C\")", value.bracketed()),
                    Ty::Text,
                ))
            }
            ("trim" | "ltrim" | "rtrim", 1 | 2) => {
                let function = if name == "trim" { "btrim" } else { name };
                let value = take(&mut values).into_text(name)?;
                let letters = match values.pop() {
                    Some(letters) => letters.into_text(name)?.text,
                    None => "' '".to_owned(),
                };
                Ok(Sql::atom(
                    format!("{function}({}, {letters})", value.text),
                    Ty::Text,
                ))
            }
            ("replace", 3) => {
                let texts: Vec<String> = (values.into_iter())
                    .map(|value| value.into_text(name).map(|value| value.text))
                    .collect::<Result<_, _>>()?;
                Ok(Sql::atom(
                    format!("replace({})", texts.join(", ")),
                    Ty::Text,
                ))
            }
            ("substr" | "substring", 2 | 3) => substring(name, values),
            ("instr", 2) => {
                let (needle, hay) = (values.remove(1), take(&mut values));
                let (needle, hay) = (needle.into_text(name)?, hay.into_text(name)?);
                Ok(Sql::atom(
                    format!(
                        "strpos({} COLLATE \"C\", {})::bigint",
                        hay.bracketed(),
                        needle.text
                    ),
                    Ty::Int,
                ))
            }
            ("hex", 1) => {
                let value = take(&mut values);
                let bytes = match value.ty {
                    Ty::Blob => value,
                    _ => {
                        let text = value.into_text(name)?;
                        Sql::atom(format!("convert_to({}, 'UTF8')", text.text), Ty::Blob)
                            .not_immutable()
                    }
                };
                let text = format!("upper(encode({}, 'hex'))", bytes.text);
                // SQLite's hex of NULL is the empty text.
                Ok(Sql::atom(format!("coalesce({text}, '')"), Ty::Text).depending_on([&bytes]))
            }
            ("unicode", 1) => {
                let value = take(&mut values).into_text(name)?;
                Ok(Sql::atom(
                    format!("ascii(nullif({}, ''))::bigint", value.text),
                    Ty::Int,
                ))
            }
            ("typeof", 1) => {
                let value = take(&mut values);
                let class = match value.ty {
                    Ty::Null => return Sql::text("null"),
                    Ty::Bool | Ty::Int => "integer",
                    Ty::Real => "real",
                    Ty::Blob => "blob",
                    Ty::Numeric | Ty::Mixed | Ty::Opaque => {
                        return refuse("asks for the class of each value, which is now one type");
                    }
                    _ => "text",
                };
                let text = format!(
                    "CASE WHEN {} IS NULL THEN 'null' ELSE '{class}' END",
                    value.bracketed()
                );
                Ok(Sql::atom(text, Ty::Text))
            }
            ("min" | "max", 2..) => {
                let (ty, mut texts) = unify(&values, name)?;
                if ty == Ty::Text
                    && (values.iter()).any(|value| {
                        !matches!(
                            value.collated,
                            Collated::No | Collated::Column(Collation::Binary)
                        )
                    })
                {
                    return refuse("compares texts by another collation than BINARY");
                }
                if ty == Ty::Text {
                    texts[0] = format!("({} COLLATE \"C\")", texts[0]);
                }
                let function = if name == "min" { "least" } else { "greatest" };
                // SQLite answers NULL as soon as one argument is; PostgreSQL passes NULLs over.
                let nulls: Vec<String> =
                    texts.iter().map(|text| format!("{text} IS NULL")).collect();
                let text = format!(
                    "CASE WHEN {} THEN NULL ELSE {function}({}) END",
                    nulls.join(" OR "),
                    texts.join(", ")
                );
                Ok(Sql::atom(text, ty))
            }
            ("random", 0) => {
                let bits = "('x' || encode(substring(uuid_send(gen_random_uuid()) FROM 9), 'hex'))::bit(64)::bigint";
                // A random UUID has fixed bits at the front of its second half: they are mixed away.
                let other = "('x' || encode(substring(uuid_send(gen_random_uuid()) FROM 1 FOR 6) || substring(uuid_send(gen_random_uuid()) FROM 1 FOR 2), 'hex'))::bit(64)::bigint";
                Ok(Sql::atom(format!("({bits} # {other})"), Ty::Int).not_immutable())
            }
            ("randomblob", 1) => match values[0].literal {
                Some(Literal::Integer(bytes @ 1..=32)) => {
                    let random = "sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))";
                    Ok(
                        Sql::atom(format!("substring({random} FROM 1 FOR {bytes})"), Ty::Blob)
                            .not_immutable(),
                    )
                }
                _ => {
                    refuse("is asked for more than 32 bytes, or for a number not known beforehand")
                }
            },
            ("zeroblob", 1) => match values[0].literal {
                Some(Literal::Integer(bytes @ 0..=1024)) => {
                    let zeros = "00".repeat(usize::try_from(bytes).unwrap_or_default());
                    Ok(Sql::atom(format!("'\\x{zeros}'::bytea"), Ty::Blob))
                }
                _ => refuse(
                    "is asked for more than 1024 bytes, or for a number not known beforehand",
                ),
            },
            ("sign", 1) => {
                let number = take(&mut values).into_number(name)?;
                Ok(Sql::atom(format!("sign({})::bigint", number.text), Ty::Int))
            }
            ("ceil" | "ceiling" | "floor", 1) => {
                let number = take(&mut values).into_number(name)?;
                if number.ty == Ty::Int {
                    return Ok(number);
                }
                Ok(Sql::atom(format!("{name}({})", number.text), Ty::Real))
            }
            ("pi", 0) => Ok(Sql::atom("pi()", Ty::Real)),
            ("sqrt", 1) => {
                let number = take(&mut values).into_number(name)?;
                let operand = number.bracketed();
                Ok(Sql::atom(
                    format!("CASE WHEN {operand} >= 0 THEN sqrt({operand}::double precision) END"),
                    Ty::Real,
                ))
            }
            ("concat", 1..) => {
                let texts: Vec<String> = (values.into_iter())
                    .map(|value| {
                        value
                            .into_text(name)
                            .map(|value| format!("coalesce({}, '')", value.text))
                    })
                    .collect::<Result<_, _>>()?;
                Ok(Sql::atom(format!("({})", texts.join(" || ")), Ty::Text))
            }
            ("char", 1..) => {
                let mut texts = Vec::new();
                for value in &values {
                    match value.literal {
                        Some(Literal::Integer(code @ 1..=0xd7ff)) => {
                            texts.push(format!("chr({code})"));
                        }
                        _ => {
                            return refuse(
                                "has an argument that is not a plain character's number",
                            );
                        }
                    }
                }
                Ok(Sql::atom(format!("({})", texts.join(" || ")), Ty::Text))
            }
            ("round", _) => refuse(
                "rounds by decimal digits of a binary number, which PostgreSQL does differently",
            ),
            ("printf" | "format", _) => refuse("has formats of its own"),
            ("last_insert_rowid" | "changes" | "total_changes", _) => {
                refuse("asks for the state of a SQLite connection")
            }
            _ if name.starts_with("json") => {
                refuse("answers differently from PostgreSQL's JSON functions")
            }
            _ => refuse(&format!(
                "with {count} arguments has no counterpart that is known to be the same"
            )),
        }
    }

    /// Aggregates and window functions.
    fn gather(
        &self,
        call: &Call<'_>,
        mut values: Vec<Sql>,
        scope: &Scope<'_>,
    ) -> Result<Sql, Refusal> {
        let name = call.name.as_str();
        let refuse = |why: &str| Err(Refusal::new(name, format!("function {name} {why}")));
        if call.order_by.is_some() && !matches!(name, "group_concat" | "string_agg") {
            return refuse("gathers rows in an order that changes nothing");
        }
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        let mut tail = String::new();
        if let Some(call_tail) = call.tail {
            if let Some(filter) = call_tail.filter_clause {
                let condition = self.expression(filter, scope)?.into_condition()?;
                tail.push_str(&format!(" FILTER (WHERE {})", condition.text));
            }
            if let Some(over) = call_tail.over_clause {
                tail.push_str(" OVER ");
                match over {
                    Over::Name(window) => {
                        tail.push_str(&crate::plan::quote_name(&crate::schema::unquote(window.0)));
                    }
                    Over::Window(window) => {
                        tail.push_str(&format!("({})", self.window(window, scope)?));
                    }
                }
            }
        }
        let first = if values.is_empty() {
            None
        } else {
            Some(values.remove(0))
        };
        let made = match (name, first, values.as_slice()) {
            ("count", None, []) => Sql::atom(format!("count(*){tail}"), Ty::Int),
            ("count", Some(value), []) => {
                Sql::atom(format!("count({distinct}{}){tail}", value.text), Ty::Int)
            }
            ("sum", Some(value), []) => {
                let number = value.into_number(name)?;
                // PostgreSQL's sum of bigint is numeric; SQLite's overflow is an error too.
                let cast = if number.ty == Ty::Int { "::bigint" } else { "" };
                Sql::atom(
                    format!("(sum({distinct}{}){tail}){cast}", number.text),
                    number.ty,
                )
            }
            ("total", Some(value), []) => {
                let number = convert_to(&value.into_number(name)?, Ty::Real, name)?;
                Sql::atom(
                    format!("coalesce(sum({distinct}{number}){tail}, 0::double precision)"),
                    Ty::Real,
                )
            }
            ("avg", Some(value), []) => {
                let number = convert_to(&value.into_number(name)?, Ty::Real, name)?;
                Sql::atom(format!("avg({distinct}{number}){tail}"), Ty::Real)
            }
            ("min" | "max", Some(value), []) => match value.ty {
                Ty::Int
                | Ty::Real
                | Ty::Numeric
                | Ty::Date
                | Ty::Time(_)
                | Ty::Timestamp(_)
                | Ty::TimestampTz(_) => {
                    Sql::atom(format!("{name}({}){tail}", value.text), value.ty)
                }
                Ty::Bool => Sql::atom(
                    format!("{name}({}::integer){tail}::bigint", value.bracketed()),
                    Ty::Int,
                ),
                Ty::Text
                    if !value.nondeterministic
                        && matches!(
                            value.collated,
                            Collated::No | Collated::Column(Collation::Binary)
                        ) =>
                {
                    Sql::atom(
                        format!("{name}({} COLLATE \"C\"){tail}", value.bracketed()),
                        Ty::Text,
                    )
                }
                _ => {
                    return refuse(&format!(
                        "takes the first of values of type {} by another order",
                        value.ty.name()
                    ));
                }
            },
            ("group_concat" | "string_agg", Some(value), rest) => {
                let text = value.into_text(name)?;
                let separator = match rest {
                    [] => "','".to_owned(),
                    [separator] => separator.clone().into_text(name)?.text,
                    _ => return refuse("has more than two arguments"),
                };
                let order = match call.order_by {
                    Some(FunctionCallOrder::SortList(terms)) => {
                        format!(" {}", self.order_by(terms, scope)?)
                    }
                    None => String::new(),
                };
                Sql::atom(
                    format!(
                        "string_agg({distinct}{}, {separator}{order}){tail}",
                        text.text
                    ),
                    Ty::Text,
                )
            }
            ("row_number" | "rank" | "dense_rank", None, []) => {
                Sql::atom(format!("{name}(){tail}"), Ty::Int)
            }
            ("percent_rank" | "cume_dist", None, []) => {
                Sql::atom(format!("{name}(){tail}"), Ty::Real)
            }
            ("ntile", Some(value), []) if value.ty == Ty::Int => Sql::atom(
                format!("ntile({}::integer){tail}::bigint", value.bracketed()),
                Ty::Int,
            ),
            ("first_value" | "last_value", Some(value), []) => Sql::atom(
                format!("{name}({}){tail}", value.clone().into_value().text),
                value.into_value().ty,
            ),
            ("lag" | "lead" | "nth_value", Some(value), rest) => {
                let value = value.into_value();
                let mut texts = vec![value.text.clone()];
                match rest {
                    [] => {}
                    [places] if places.ty == Ty::Int => {
                        texts.push(format!("{}::integer", places.bracketed()));
                    }
                    [places, otherwise] if places.ty == Ty::Int => {
                        texts.push(format!("{}::integer", places.bracketed()));
                        let otherwise = convert_to(otherwise, value.ty, name)?;
                        // Before PostgreSQL 14 both must be of one type, and a small number is not.
                        texts.push(match value.ty {
                            Ty::Int => format!("({otherwise})::bigint"),
                            _ => otherwise,
                        });
                    }
                    _ => return refuse("has a distance that is not an integer"),
                }
                Sql::atom(format!("{name}({}){tail}", texts.join(", ")), value.ty)
            }
            _ => return refuse("has no counterpart that is known to be the same"),
        };
        Ok(made.not_immutable())
    }
}

fn substring(name: &str, mut values: Vec<Sql>) -> Result<Sql, Refusal> {
    let refuse = || {
        Refusal::new(
            name,
            format!("{name} counts from a place that is not known beforehand"),
        )
    };
    let length = if values.len() == 3 {
        values.pop()
    } else {
        None
    };
    let (Some(start), Some(value)) = (values.pop(), values.pop()) else {
        return Err(refuse());
    };
    let is_blob = value.ty == Ty::Blob;
    // The empty blob answers NULL.
    let value = if is_blob {
        let text = format!("nullif({}, ''::bytea)", value.text);
        Sql { text, ..value }
    } else {
        value.into_text(name)?
    };
    let length = match length {
        None => None,
        Some(length) => match length.literal {
            Some(Literal::Integer(count @ 0..=2_147_483_647)) => Some(count),
            _ => return Err(refuse()),
        },
    };
    match (start.literal, length) {
        // Place 0 is one before the first letter, for both.
        (Some(Literal::Integer(start @ 0..=2_147_483_647)), Some(length)) => Ok(Sql::atom(
            format!("substr({}, {start}, {length})", value.text),
            value.ty,
        )),
        (Some(Literal::Integer(start @ 0..=2_147_483_647)), None) => Ok(Sql::atom(
            format!("substr({}, {start})", value.text),
            value.ty,
        )),
        (Some(Literal::Integer(start @ -2_147_483_647..=-1)), None) if !is_blob => Ok(Sql::atom(
            format!("right({}, {})", value.text, -start),
            Ty::Text,
        )),
        _ => Err(refuse()),
    }
}
