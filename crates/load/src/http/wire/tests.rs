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
