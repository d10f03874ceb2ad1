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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One header's value, and the body.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Kept {
        pod: Option<String>,
        body: String,
    }

    impl Keep for Kept {
        fn headers(&mut self, headers: &[Header<'_>]) -> Result<(), Malformed> {
            let pod = headers
                .iter()
                .find(|header| header.name.eq_ignore_ascii_case("x-pod"));
            self.pod = pod.map(|header| String::from_utf8_lossy(header.value).into_owned());
            Ok(())
        }

        fn body(&mut self, bytes: &[u8]) {
            self.body += std::str::from_utf8(bytes).unwrap();
        }
    }

    struct Nothing;

    impl Keep for Nothing {
        fn headers(&mut self, _: &[Header<'_>]) -> Result<(), Malformed> {
            Ok(())
        }

        fn body(&mut self, _: &[u8]) {}
    }

    /// Reads an answer that comes in pieces, cut at these places; the end closes the connection.
    fn read(text: &str, head: bool, cuts: &[usize]) -> Result<Option<(Answer, Kept)>, Malformed> {
        let mut reader = AnswerReader::new();
        let mut kept = Kept::default();
        reader.expect(head);
        let mut begin = 0;
        for cut in cuts.iter().copied().chain([text.len()]) {
            let piece = &text.as_bytes()[begin..cut];
            begin = cut;
            if piece.is_empty() {
                continue;
            }
            if let Some(mut answer) = reader.take(piece, &mut kept)? {
                // What comes after a complete answer is nobody's.
                answer.keeps_alive &= begin == text.len();
                return Ok(Some((answer, kept)));
            }
        }
        Ok(reader.close().map(|answer| (answer, kept)))
    }

    /// An answer, and of it: is it to HEAD, its status, is the connection kept, the header's value, the
    /// body.
    type Case = (
        &'static str,
        bool,
        u16,
        bool,
        Option<&'static str>,
        &'static str,
    );

    const ANSWERS: [Case; 14] = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            false,
            200,
            true,
            None,
            "ok",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nX-Pod: a1\r\n\r\n",
            false,
            200,
            true,
            Some("a1"),
            "",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!",
            false,
            200,
            false,
            None,
            "ok",
        ),
        (
            "HTTP/1.1 204 No Content\r\n\r\n",
            false,
            204,
            true,
            None,
            "",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n",
            false,
            304,
            true,
            None,
            "",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n",
            true,
            200,
            true,
            None,
            "",
        ),
        (
            "HTTP/1.1 503 Busy\r\nConnection: Close\r\nContent-Length: 1\r\n\r\nx",
            false,
            503,
            false,
            None,
            "x",
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
            false,
            200,
            false,
            None,
            "x",
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
            false,
            200,
            true,
            None,
            "x",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\nuntil the end",
            false,
            200,
            false,
            None,
            "until the end",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
            false,
            201,
            true,
            None,
            "x",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
            false,
            200,
            true,
            None,
            "abc0123456789",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\r\n\r\r\n0\r\nTrailer: 1\r\n\r\n",
            false,
            200,
            true,
            None,
            "\r\n\r",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200",
            false,
            200,
            false,
            None,
            "",
        ),
    ];

    #[test]
    fn an_answer_ends_where_its_head_says() {
        for (text, head, status, keeps_alive, header, body) in ANSWERS {
            let (answer, kept) = read(text, head, &[]).unwrap().unwrap();
            assert_eq!(
                (
                    answer.status,
                    answer.keeps_alive,
                    kept.pod.as_deref(),
                    &*kept.body
                ),
                (status, keeps_alive, header, body),
                "{text}"
            );
        }
    }

    #[test]
    fn half_an_answer_is_none() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        ] {
            assert_eq!(read(text, false, &[]).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for text in [
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
        ] {
            assert!(read(text, false, &[]).is_err(), "{text}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(LONGEST_HEAD));
        assert!(read(&endless, false, &[]).is_err());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_an_answer_is_cut(
            which in 0..ANSWERS.len(),
            mut cuts in prop::collection::vec(0.0..1.0_f64, 0..6),
        ) {
            let (text, head, status, keeps_alive, header, body) = ANSWERS[which];
            cuts.sort_by(f64::total_cmp);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let cuts: Vec<usize> = cuts.iter().map(|part| (part * text.len() as f64) as usize).collect();
            let (answer, kept) = read(text, head, &cuts).unwrap().unwrap();
            prop_assert_eq!(
                (answer.status, answer.keeps_alive, kept.pod.as_deref(), &*kept.body),
                (status, keeps_alive, header, body)
            );
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), chunked in any::<bool>()) {
            let mut reader = AnswerReader::new();
            reader.expect(false);
            if chunked {
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                prop_assert_eq!(reader.take(head, &mut Nothing), Ok(None));
            }
            let _ = reader.take(&bytes, &mut Nothing);
        }
    }
}
