//! Reads HTTP/1.1 answers from the bytes of a connection. Pure.

use std::mem::MaybeUninit;

pub(crate) use httparse::Header;

/// The most headers an answer may have.
const MOST_HEADERS: usize = 100;
/// The most bytes an answer's status line and headers may have together.
const LONGEST_HEAD: usize = 256 * 1024;

/// What somebody keeps of an answer.
pub(crate) trait Keep {
    /// Takes the headers.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them.
    fn headers(&mut self, headers: &[Header<'_>]) -> Result<(), Malformed>;

    /// Takes the next bytes of the body.
    fn body(&mut self, bytes: &[u8]);
}

/// Takes the bytes of one answer as they come, in pieces of any size.
#[derive(Debug)]
pub(crate) struct AnswerReader {
    /// A head of which not everything has come yet.
    partial: Vec<u8>,
    answers_head_request: bool,
    state: State,
}

/// What an answer's head said of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) is_http_10: bool,
    /// True if another request can be sent over the connection once this answer is complete.
    pub(crate) keeps_alive: bool,
}

#[derive(Debug)]
enum State {
    Head,
    Body(Answer, Body),
    Done(Answer),
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// After so many bytes.
    Length(u64),
    Chunked(Chunk),
    /// With the connection.
    Close,
}

/// What comes next of a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// The digits of a size; true once there is one.
    Size(u64, bool),
    /// The rest of a size's line, after its digits.
    Extension(u64),
    /// So many bytes of data.
    Data(u64),
    /// The line end after data.
    DataEnd,
    /// Trailers; true if the line so far is empty.
    Trailer(bool),
    End,
}

/// What is not HTTP about an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed HTTP response: {0}")]
pub(crate) struct Malformed(pub(super) String);

// === impl AnswerReader ===

impl AnswerReader {
    pub(crate) fn new() -> Self {
        Self {
            partial: Vec::new(),
            answers_head_request: false,
            state: State::Head,
        }
    }

    /// Makes ready for the answer to a request: one to HEAD has no body, whatever it says.
    pub(crate) fn expect(&mut self, answers_head_request: bool) {
        self.partial.clear();
        self.answers_head_request = answers_head_request;
        self.state = State::Head;
    }

    /// Takes what came; gives the answer once it is complete.
    pub(crate) fn take(
        &mut self,
        mut bytes: &[u8],
        keep: &mut impl Keep,
    ) -> Result<Option<Answer>, Malformed> {
        while let State::Head = self.state {
            match self.take_head(bytes, keep)? {
                Some(rest) => bytes = rest,
                None => return Ok(None),
            }
        }
        if let State::Body(answer, body) = &mut self.state {
            let (rest, complete) = body.take(bytes, keep)?;
            bytes = rest;
            if complete {
                self.state = State::Done(*answer);
            }
        }
        match &mut self.state {
            State::Done(answer) => {
                // What nobody asked for cannot be told from the next answer.
                answer.keeps_alive &= bytes.is_empty();
                Ok(Some(*answer))
            }
            State::Head | State::Body(..) => Ok(None),
        }
    }

    /// Gives the answer if the end of the connection completes it.
    pub(crate) fn close(&mut self) -> Option<Answer> {
        match &self.state {
            State::Body(answer, Body::Close) => Some(*answer),
            _ => None,
        }
    }

    /// True if all headers have come.
    pub(crate) fn has_head(&self) -> bool {
        !matches!(self.state, State::Head)
    }

    /// True if nothing of an answer has come.
    pub(crate) fn is_untouched(&self) -> bool {
        matches!(self.state, State::Head) && self.partial.is_empty()
    }

    /// Reads a head, if all of it is there; gives what comes after it.
    fn take_head<'bytes>(
        &mut self,
        bytes: &'bytes [u8],
        keep: &mut impl Keep,
    ) -> Result<Option<&'bytes [u8]>, Malformed> {
        let before = self.partial.len();
        let parsed = if before == 0 {
            parse_head(bytes, self.answers_head_request, keep)?
        } else {
            self.partial.extend_from_slice(bytes);
            parse_head(&self.partial, self.answers_head_request, keep)?
        };
        let Some((length, state)) = parsed else {
            if before == 0 {
                self.partial.extend_from_slice(bytes);
            }
            if self.partial.len() > LONGEST_HEAD {
                return Err(Malformed(format!(
                    "its headers are longer than {LONGEST_HEAD} bytes"
                )));
            }
            return Ok(None);
        };
        self.state = state;
        self.partial.clear();
        Ok(Some(&bytes[length - before..]))
    }
}

/// Reads a head; gives its length and what follows it, once it is complete.
fn parse_head(
    bytes: &[u8],
    answers_head_request: bool,
    keep: &mut impl Keep,
) -> Result<Option<(usize, State)>, Malformed> {
    let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, bytes, &mut headers)
        .map_err(|error| Malformed(error.to_string()))?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    let status = response.code.unwrap_or(0);
    if (100..200).contains(&status) && status != 101 {
        // An interim answer; the real one follows.
        return Ok(Some((length, State::Head)));
    }
    let is_http_10 = response.version == Some(0);
    let mut answer = Answer {
        status,
        is_http_10,
        keeps_alive: !is_http_10 && status != 101,
    };
    keep.headers(response.headers)?;
    let mut content_length = None;
    let mut chunked = false;
    let mut transfer_encoded = false;
    for found in response.headers.iter() {
        let value = found.value.trim_ascii();
        if found.name.eq_ignore_ascii_case("content-length") {
            let number = std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
                .ok_or_else(|| Malformed("its Content-Length is not a number".to_owned()))?;
            if content_length.is_some_and(|before| before != number) {
                return Err(Malformed("it has two Content-Lengths".to_owned()));
            }
            content_length = Some(number);
        } else if found.name.eq_ignore_ascii_case("transfer-encoding") {
            transfer_encoded = true;
            let last = value.rsplit(|byte| *byte == b',').next().unwrap_or(value);
            chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        } else if found.name.eq_ignore_ascii_case("connection") {
            for word in value.split(|byte| *byte == b',') {
                let word = word.trim_ascii();
                if word.eq_ignore_ascii_case(b"close") {
                    answer.keeps_alive = false;
                } else if is_http_10 && word.eq_ignore_ascii_case(b"keep-alive") {
                    answer.keeps_alive = true;
                }
            }
        }
    }
    let body = if answers_head_request || matches!(status, 101 | 204 | 304) {
        None
    } else if chunked {
        Some(Body::Chunked(Chunk::Size(0, false)))
    } else if transfer_encoded {
        Some(Body::Close)
    } else {
        match content_length {
            Some(0) => None,
            Some(length) => Some(Body::Length(length)),
            None => Some(Body::Close),
        }
    };
    answer.keeps_alive &= body != Some(Body::Close);
    let state = match body {
        None => State::Done(answer),
        Some(body) => State::Body(answer, body),
    };
    Ok(Some((length, state)))
}

// === impl Body ===

impl Body {
    /// Takes what belongs to the body; gives the rest, and whether the body is complete.
    fn take<'bytes>(
        &mut self,
        bytes: &'bytes [u8],
        keep: &mut impl Keep,
    ) -> Result<(&'bytes [u8], bool), Malformed> {
        match self {
            Self::Close => {
                keep.body(bytes);
                Ok((&[], false))
            }
            Self::Length(left) => {
                let rest = take(bytes, left, keep);
                Ok((rest, *left == 0))
            }
            Self::Chunked(chunk) => {
                let mut rest = bytes;
                while *chunk != Chunk::End {
                    if let Chunk::Data(left) = chunk
                        && *left > 0
                    {
                        rest = take(rest, left, keep);
                        if *left > 0 {
                            return Ok((rest, false));
                        }
                    }
                    let Some((byte, after)) = rest.split_first() else {
                        return Ok((rest, false));
                    };
                    *chunk = chunk.after(*byte)?;
                    rest = after;
                }
                Ok((rest, true))
            }
        }
    }
}

/// Takes as many bytes as are left of something; gives the rest.
fn take<'bytes>(bytes: &'bytes [u8], left: &mut u64, keep: &mut impl Keep) -> &'bytes [u8] {
    let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    let (taken, rest) = bytes.split_at(taken);
    *left -= taken.len() as u64;
    keep.body(taken);
    rest
}

// === impl Chunk ===

impl Chunk {
    /// What comes after this byte, which is none of the data.
    fn after(self, byte: u8) -> Result<Self, Malformed> {
        let wrong = |what: &str| Err(Malformed(format!("its chunks lack {what}")));
        match self {
            Self::Size(size, begun) => match (char::from(byte).to_digit(16), byte) {
                (Some(digit), _) => size
                    .checked_mul(16)
                    .and_then(|size| size.checked_add(u64::from(digit)))
                    .map(|size| Self::Size(size, true))
                    .ok_or_else(|| Malformed("a chunk is longer than any".to_owned())),
                (None, b'\n') if begun => Ok(Self::sized(size)),
                (None, b';' | b'\r' | b' ' | b'\t') if begun => Ok(Self::Extension(size)),
                _ => wrong("a size"),
            },
            Self::Extension(size) if byte == b'\n' => Ok(Self::sized(size)),
            Self::Extension(size) => Ok(Self::Extension(size)),
            // The data was taken: this is the line end after it.
            Self::Data(_) | Self::DataEnd => match byte {
                b'\r' => Ok(Self::DataEnd),
                b'\n' => Ok(Self::Size(0, false)),
                _ => wrong("a line end"),
            },
            Self::Trailer(empty) => Ok(match byte {
                b'\n' if empty => Self::End,
                b'\n' => Self::Trailer(true),
                b'\r' => Self::Trailer(empty),
                _ => Self::Trailer(false),
            }),
            Self::End => Ok(Self::End),
        }
    }

    fn sized(size: u64) -> Self {
        if size == 0 {
            Self::Trailer(true)
        } else {
            Self::Data(size)
        }
    }
}

#[cfg(test)]
mod tests;
