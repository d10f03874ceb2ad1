use super::Refusal;
use super::words::Words;
use crate::plan::{Collation, DateTimeFormat, Fraction, Separator, Zone, quote_literal};

/// The type of an expression: what PostgreSQL calculates with, and what SQLite takes it for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ty {
    /// NULL itself.
    Null,
    /// A truth value; for SQLite the integers 0 and 1.
    Bool,
    /// `bigint`
    Int,
    /// `double precision`
    Real,
    /// `numeric`; for SQLite an integer or a real.
    Numeric,
    /// `text`
    Text,
    /// `bytea`
    Blob,
    /// `date`; for SQLite a text `YYYY-MM-DD`.
    Date,
    /// `time`; for SQLite a text of the format.
    Time(DateTimeFormat),
    /// `timestamp`; for SQLite a text of the format.
    Timestamp(DateTimeFormat),
    /// `timestamptz`; for SQLite a text of the format.
    TimestampTz(DateTimeFormat),
    /// `uuid`; for SQLite a text of the case, with or without hyphens.
    Uuid { uppercase: bool, hyphens: bool },
    /// `json`; for SQLite a text.
    Json,
    /// `text` that holds integers and texts, told apart by their looks: what SQLite keeps in a column
    /// of INTEGER affinity that was given texts too. A text there never looks like an integer.
    Mixed,
    /// `boolean`; for SQLite one of two texts.
    Words(Words),
    /// A column whose values are another type for SQLite, by `--cast`: only NULL can be seen.
    Opaque,
}

impl Ty {
    /// Its name in PostgreSQL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null | Self::Text | Self::Mixed | Self::Opaque => "text",
            Self::Bool | Self::Words(_) => "boolean",
            Self::Int => "bigint",
            Self::Real => "double precision",
            Self::Numeric => "numeric",
            Self::Blob => "bytea",
            Self::Date => "date",
            Self::Time(_) => "time",
            Self::Timestamp(_) => "timestamp",
            Self::TimestampTz(_) => "timestamptz",
            Self::Uuid { .. } => "uuid",
            Self::Json => "json",
        }
    }

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Bool | Self::Int | Self::Real | Self::Numeric)
    }

    /// Whether SQLite sees text where PostgreSQL has another type.
    pub(crate) fn is_written_as_text(self) -> bool {
        matches!(
            self,
            Self::Date
                | Self::Time(_)
                | Self::Timestamp(_)
                | Self::TimestampTz(_)
                | Self::Uuid { .. }
                | Self::Json
                | Self::Words(_)
        )
    }
}

/// What a literal says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Integer(i64),
    Real(f64),
    Text(String),
}

/// Where an expression's collation comes from; an explicit one wins over a column's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collated {
    No,
    Column(Collation),
    Explicit(Collation),
}

/// An expression of PostgreSQL and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sql {
    pub(crate) text: String,
    pub(crate) ty: Ty,
    /// Whether it needs no brackets anywhere.
    pub(crate) atom: bool,
    pub(crate) collated: Collated,
    pub(crate) literal: Option<Literal>,
    /// Whether it is a column as it is.
    pub(crate) column: bool,
    /// Whether it gives the same answer for ever: an index or a generated column may use it.
    pub(crate) immutable: bool,
    /// Whether PostgreSQL would compare it by the nondeterministic collation of a NOCASE column.
    pub(crate) nondeterministic: bool,
}

impl Sql {
    pub(crate) fn new(text: impl Into<String>, ty: Ty) -> Self {
        Self {
            text: text.into(),
            ty,
            atom: false,
            collated: Collated::No,
            literal: None,
            column: false,
            immutable: true,
            nondeterministic: false,
        }
    }

    /// An expression that binds tighter than any operator: a call, a name, a literal.
    pub(crate) fn atom(text: impl Into<String>, ty: Ty) -> Self {
        Self {
            atom: true,
            ..Self::new(text, ty)
        }
    }

    pub(crate) fn null() -> Self {
        Self::atom("NULL", Ty::Null)
    }

    pub(crate) fn integer(value: i64) -> Self {
        let text = value.to_string();
        // The smallest integer cannot be written as a negated literal of its own type.
        let text = if value == i64::MIN {
            "(-9223372036854775807 - 1)".to_owned()
        } else {
            text
        };
        Self {
            literal: Some(Literal::Integer(value)),
            atom: value >= 0 || value == i64::MIN,
            ..Self::new(text, Ty::Int)
        }
    }

    pub(crate) fn real(value: f64) -> Self {
        let text = if value.is_infinite() {
            let sign = if value < 0.0 { "-" } else { "" };
            format!("'{sign}Infinity'::double precision")
        } else {
            format!("'{value:?}'::double precision")
        };
        Self {
            literal: Some(Literal::Real(value)),
            ..Self::atom(text, Ty::Real)
        }
    }

    pub(crate) fn text(value: &str) -> Result<Self, Refusal> {
        if value.contains('\0') {
            return Err(Refusal::new(
                "",
                "a text literal contains NUL, which PostgreSQL's text cannot hold",
            ));
        }
        Ok(Self {
            literal: Some(Literal::Text(value.to_owned())),
            ..Self::atom(quote_literal(value), Ty::Text)
        })
    }

    /// The text, in brackets unless it needs none.
    pub(crate) fn bracketed(&self) -> String {
        if self.atom {
            self.text.clone()
        } else {
            format!("({})", self.text)
        }
    }

    /// Marks the expression as one that depends on time or settings, if any of its parts does.
    pub(crate) fn depending_on<'s>(mut self, parts: impl IntoIterator<Item = &'s Self>) -> Self {
        self.immutable &= parts.into_iter().all(|part| part.immutable);
        self
    }

    pub(crate) fn not_immutable(mut self) -> Self {
        self.immutable = false;
        self
    }

    /// As a truth value: a number is true when it is not zero.
    pub(crate) fn into_condition(self) -> Result<Self, Refusal> {
        let text = match self.ty {
            Ty::Bool => return Ok(self),
            Ty::Null => "NULL::boolean".to_owned(),
            Ty::Int | Ty::Real | Ty::Numeric => format!("{} <> 0", self.bracketed()),
            _ => {
                return Err(Refusal::new(
                    self.text.trim_matches('"'),
                    format!(
                        "{} stands where SQLite turns a text into a truth value",
                        self.text
                    ),
                ));
            }
        };
        Ok(Self::new(text, Ty::Bool).depending_on([&self]))
    }

    /// As a value that is stored or shown: a truth value that is not a boolean column is 0 or 1.
    pub(crate) fn into_value(self) -> Self {
        if self.ty == Ty::Bool && !self.column {
            let text = format!("{}::integer", self.bracketed());
            return Self {
                atom: true,
                ..Self::new(text, Ty::Int)
            }
            .depending_on([&self]);
        }
        self
    }

    /// As a number to calculate with.
    pub(crate) fn into_number(self, token: &str) -> Result<Self, Refusal> {
        let text = match self.ty {
            Ty::Int | Ty::Real => return Ok(self),
            Ty::Null => return Ok(Self::atom("NULL::bigint", Ty::Int)),
            Ty::Bool => {
                let text = format!("{}::integer::bigint", self.bracketed());
                return Ok(Self::atom(text, Ty::Int).depending_on([&self]));
            }
            Ty::Numeric => format!("{}::double precision", self.bracketed()),
            _ => {
                let reason = format!(
                    "{token} calculates with {}, which is {} here",
                    self.text,
                    self.ty.name()
                );
                return Err(Refusal::new(token, reason));
            }
        };
        Ok(Self::atom(text, Ty::Real).depending_on([&self]))
    }

    /// As the text that SQLite would make of it, compared by bytes.
    pub(crate) fn into_text(self, token: &str) -> Result<Self, Refusal> {
        let operand = self.bracketed();
        let (text, immutable) = match self.ty {
            Ty::Text if self.nondeterministic => (format!("({operand} COLLATE \"C\")"), true),
            Ty::Text => return Ok(self),
            Ty::Mixed => {
                return Ok(Self {
                    ty: Ty::Text,
                    column: false,
                    ..self
                });
            }
            Ty::Null => ("NULL::text".to_owned(), true),
            Ty::Int => match self.literal {
                Some(Literal::Integer(value)) => return Self::text(&value.to_string()),
                _ => (format!("{operand}::text"), true),
            },
            Ty::Bool => (format!("{operand}::integer::text"), true),
            Ty::Date => (format!("to_char({operand}, 'YYYY-MM-DD')"), false),
            Ty::Time(format) => (
                format!("to_char({operand}, {})", clock_pattern(format)),
                false,
            ),
            Ty::Timestamp(format) => (timestamp_text(&operand, format), false),
            Ty::TimestampTz(format) => (
                timestamp_text(&format!("({operand} AT TIME ZONE 'UTC')"), format),
                false,
            ),
            Ty::Uuid { uppercase, hyphens } => {
                let mut text = format!("{operand}::text");
                if !hyphens {
                    text = format!("replace({text}, '-', '')");
                }
                (
                    if uppercase {
                        format!("upper({text})")
                    } else {
                        text
                    },
                    true,
                )
            }
            Ty::Json => (format!("{operand}::text"), true),
            Ty::Words(words) => (words.written(&operand), true),
            Ty::Real | Ty::Numeric => {
                let reason = format!(
                    "{token} turns the real {} into text, which the two programs write differently",
                    self.text
                );
                return Err(Refusal::new(token, reason));
            }
            Ty::Blob | Ty::Opaque => {
                return Err(Refusal::new(
                    token,
                    format!("{token} turns {} ({}) into text", self.text, self.ty.name()),
                ));
            }
        };
        let made = Self::atom(text, Ty::Text).depending_on([&self]);
        Ok(if immutable {
            made
        } else {
            made.not_immutable()
        })
    }

    /// A text as it is compared in an index or key.
    pub(crate) fn with_key_collation(self, collation: Collation) -> Self {
        let operand = self.bracketed();
        let text = match collation {
            Collation::Binary if self.nondeterministic => format!("{operand} COLLATE \"C\""),
            Collation::Binary if self.column => return self,
            Collation::Binary => format!("{operand} COLLATE \"C\""),
            Collation::NoCase => format!("lower({operand} COLLATE \"C\")"),
            Collation::Rtrim => format!("rtrim({operand}, ' ') COLLATE \"C\""),
        };
        Self::new(text, Ty::Text).depending_on([&self])
    }
}

/// The pattern for `to_char` of a time of day, quoted; optional digits are handled by the caller.
fn clock_pattern(format: DateTimeFormat) -> String {
    quote_literal(&clock(format))
}

fn clock(format: DateTimeFormat) -> String {
    let mut pattern = String::from("HH24:MI");
    if format.seconds {
        pattern.push_str(":SS");
    }
    match format.fraction {
        Fraction::None => {}
        Fraction::Digits(digits) => pattern.push_str(&format!(".FF{digits}")),
        Fraction::SixOrNone => pattern.push_str(".FF6"),
    }
    match format.zone {
        Zone::None => {}
        Zone::Z => pattern.push_str("\"Z\""),
        Zone::Zero => pattern.push_str("\"+00:00\""),
    }
    pattern
}

fn timestamp_text(operand: &str, format: DateTimeFormat) -> String {
    let separator = match format.separator {
        Separator::Space => " ",
        Separator::T => "\"T\"",
    };
    let pattern = |format| quote_literal(&format!("YYYY-MM-DD{separator}{}", clock(format)));
    if format.fraction == Fraction::SixOrNone {
        let short = pattern(DateTimeFormat {
            fraction: Fraction::None,
            ..format
        });
        let whole = format!("{operand} = date_trunc('second', {operand})");
        return format!(
            "to_char({operand}, CASE WHEN {whole} THEN {short} ELSE {} END)",
            pattern(format)
        );
    }
    format!("to_char({operand}, {})", pattern(format))
}
