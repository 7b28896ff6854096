//! The head of an HTTP response, and not a byte more than the peer sent.

use std::io;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest head, in bytes. A longer one is an attack or no HTTP: servers commonly accept 8 KiB themselves.
const MAX_HEAD: usize = 16 * 1024;
/// Most headers in a head: as many as servers commonly take.
const MAX_HEADERS: usize = 64;
/// Longest part of an error's body that is read, in bytes: enough to find the sentence in a page of HTML.
const MAX_BODY: usize = 4096;

/// A response head, and what came behind it.
pub(in crate::net) struct Head {
    pub(in crate::net) status: u16,
    pub(in crate::net) headers: HeaderMap,
    /// Bytes that were read with the head and belong to what follows it.
    pub(in crate::net) rest: Vec<u8>,
}

/// Why there is no head.
pub(in crate::net) enum HeadError {
    /// The connection failed, or ended before the head did.
    Lost(io::Error),
    /// TLS where plain text was expected.
    Tls,
    /// Anything else that is no HTTP.
    NotHttp,
    /// More than a head may hold.
    TooLong,
}

/// Reads the head of a response. Interim responses before it (RFC 9110 section 15.2) are skipped, but not a 101.
pub(in crate::net) async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Head, HeadError> {
    let mut buf = Vec::with_capacity(1024);
    loop {
        if buf.len() >= MAX_HEAD {
            return Err(HeadError::TooLong);
        }
        match stream.read_buf(&mut buf).await {
            Ok(0) => return Err(HeadError::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) => return Err(HeadError::Lost(error)),
        }
        while let Some((end, status, headers)) = parse(&buf)? {
            let rest = buf.split_off(end);
            if status >= 200 || status == 101 {
                return Ok(Head { status, headers, rest });
            }
            buf = rest;
        }
    }
}

/// The length, status and headers of the head at the start of `buf`, once it is all there.
fn parse(buf: &[u8]) -> Result<Option<(usize, u16, HeaderMap)>, HeadError> {
    // A TLS record: an alert (21) or a handshake (22), of major version 3.
    if matches!(buf, [21 | 22, 3, ..]) {
        return Err(HeadError::Tls);
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let end = match response.parse(buf) {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLong),
        Err(_) => return Err(HeadError::NotHttp),
    };
    let pairs = response.headers.iter().filter_map(|h| {
        Some((HeaderName::from_bytes(h.name.as_bytes()).ok()?, HeaderValue::from_bytes(h.value).ok()?))
    });
    Ok(Some((end, response.code.unwrap_or_default(), pairs.collect())))
}

/// Reads the body behind a head, to its end or to as much as may be shown.
///
/// The bytes go into `body` and are not returned, so that a caller that runs out of patience keeps what came.
pub(in crate::net) async fn read_body<S: AsyncRead + Unpin>(stream: &mut S, headers: &HeaderMap, body: &mut Vec<u8>) {
    let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.trim().parse::<usize>().ok());
    let enough = length.unwrap_or(MAX_BODY).min(MAX_BODY);
    // An end or an error of the connection ends the body; there is nothing to report about either.
    while body.len() < enough && matches!(stream.read_buf(body).await, Ok(1..)) {}
    body.truncate(enough);
}

/// The text of a body: chunks joined, HTML reduced to its words.
pub(in crate::net) fn body_text(headers: &HeaderMap, body: &[u8]) -> String {
    let says = |name, word: &str| {
        headers.get(name).and_then(|v| v.to_str().ok()).is_some_and(|v| v.to_ascii_lowercase().contains(word))
    };
    let body = if says(TRANSFER_ENCODING, "chunked") { joined(body) } else { body.to_vec() };
    let text = String::from_utf8_lossy(&body);
    if !says(CONTENT_TYPE, "html") {
        return text.into_owned();
    }
    let mut in_tag = false;
    let words = text.chars().filter_map(|c| match c {
        '<' => {
            in_tag = true;
            None
        }
        '>' if in_tag => {
            in_tag = false;
            Some(' ')
        }
        c => (!in_tag).then_some(c),
    });
    words.collect()
}

/// The contents of the chunks (RFC 9112 section 7.1) that have come, the last one perhaps in part.
fn joined(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(line_end) = body.iter().position(|&b| b == b'\n') {
        let size = std::str::from_utf8(&body[..line_end]).unwrap_or_default();
        let size = size.split(';').next().unwrap_or_default().trim();
        body = &body[line_end + 1..];
        let Ok(size @ 1..) = usize::from_str_radix(size, 16) else { break };
        let (chunk, after) = body.split_at(size.min(body.len()));
        out.extend_from_slice(chunk);
        body = after.strip_prefix(b"\r\n").unwrap_or(after);
    }
    out
}

/// The time of a `Retry-After` in either form (RFC 9110 section 10.2.3). A date in the past gives zero.
pub(in crate::net) fn retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let value = value.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    async fn head(mut bytes: &[u8]) -> Result<Head, HeadError> {
        read_head(&mut bytes).await
    }

    #[tokio::test]
    async fn a_head_ends_at_its_blank_line_and_interim_ones_are_passed_over() {
        let head = head(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 101 ok\r\nA: b\r\n\r\n\x81\x02hi").await;
        let head = head.ok().unwrap();
        assert_eq!((head.status, head.rest.as_slice()), (101, &b"\x81\x02hi"[..]));
        assert_eq!(head.headers["a"], "b");
    }

    #[tokio::test]
    async fn what_is_no_head_is_told_apart() {
        let long = [b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &[b'x'; 20_000]].concat();
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(100));
        assert!(matches!(head(b"\x15\x03\x01\x00\x02\x02\x28").await, Err(HeadError::Tls)));
        assert!(matches!(head(b"SSH-2.0-OpenSSH\r\n").await, Err(HeadError::NotHttp)));
        assert!(matches!(head(b"HTTP/1.1 200 OK\r\n").await, Err(HeadError::Lost(_))));
        assert!(matches!(head(&long).await, Err(HeadError::TooLong)));
        assert!(matches!(head(many.as_bytes()).await, Err(HeadError::TooLong)));
    }

    #[test]
    fn a_body_is_shown_without_chunks_and_tags() {
        let headers = |name, value| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        let html = body_text(&headers(CONTENT_TYPE, "text/html"), b"<h1>502 Bad Gateway</h1><hr>nginx");
        assert_eq!(html.split_whitespace().collect::<Vec<_>>(), ["502", "Bad", "Gateway", "nginx"]);
        let chunked = headers(TRANSFER_ENCODING, "chunked");
        assert_eq!(body_text(&chunked, b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"), "abcde");
        assert_eq!(body_text(&chunked, b"ffffffffffffffff\r\nab"), "ab", "a chunk cut off, of any claimed size");
        assert_eq!(body_text(&chunked, b"zz\r\nab"), "");
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:00 GMT").unwrap();
        for (value, want) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("soon", None),
            ("", None),
        ] {
            let value = HeaderValue::from_static(value);
            assert_eq!(retry_after(&value, now), want.map(Duration::from_secs), "{value:?}");
        }
    }
}
