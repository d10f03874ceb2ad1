//! Whether a connection carries HTTP/1.1, by its first bytes.

use std::time::Duration;

use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::routes::Protocol;

/// How long a caller may keep silent before the server is thought to speak first.
const PATIENCE: Duration = Duration::from_millis(150);

const METHODS: [&[u8]; 9] = [
    b"GET ",
    b"POST ",
    b"PUT ",
    b"HEAD ",
    b"PATCH ",
    b"DELETE ",
    b"OPTIONS ",
    b"TRACE ",
    b"CONNECT ",
];

/// What the first bytes say; `None` when more of them are needed.
fn judge(first: &[u8]) -> Option<Protocol> {
    if METHODS.iter().any(|method| first.starts_with(method)) {
        return Some(Protocol::Http);
    }
    let undecided = METHODS.iter().any(|method| method.starts_with(first));
    (!undecided).then_some(Protocol::Tcp)
}

/// Looks at a connection's first bytes without taking them.
pub(crate) async fn protocol(stream: &TcpStream) -> Protocol {
    let look = async {
        let mut first = [0; 8];
        let mut seen = 0;
        loop {
            stream.ready(Interest::READABLE).await?;
            let count = stream.peek(&mut first).await?;
            if let Some(protocol) = judge(&first[..count]) {
                return Ok(protocol);
            }
            if count == seen {
                // Nothing new: the caller has ended its side, or sends byte by byte.
                if count == 0 {
                    return Ok(Protocol::Tcp);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            seen = count;
        }
    };
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(Ok(protocol)) => protocol,
        Ok(Err::<_, std::io::Error>(_)) | Err(_) => Protocol::Tcp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_mean_http_and_all_else_does_not() {
        for (first, expected) in [
            (&b"GET / HT"[..], Some(Protocol::Http)),
            (b"OPTIONS ", Some(Protocol::Http)),
            (b"GE", None),
            (b"", None),
            (b"GET", None),
            (b"GETX", Some(Protocol::Tcp)),
            (b"PRI * HT", Some(Protocol::Tcp)),
            (b"\x16\x03\x01", Some(Protocol::Tcp)),
            (b"*1\r\n$4", Some(Protocol::Tcp)),
        ] {
            assert_eq!(judge(first), expected, "{first:?}");
        }
    }
}
