//! Where a browser is sent back with the answer of an authorization server: an address on loopback, for one login (RFC 8252 section 7.3).

use std::io;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The path of the address.
pub(super) const PATH: &str = "/callback";
/// Longest head of a request, in bytes, and longest time for it.
const MAX_HEAD: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);
/// Most connections at a time: browsers open some ahead.
const MAX_CONNECTIONS: usize = 16;

/// What the answer has to be like.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    /// By which it is known as the answer to this login, and to no other.
    pub(super) state: String,
    /// The authorization server that was asked.
    pub(super) issuer: String,
    /// Whether the answer has to name it (RFC 9207 section 2.4).
    pub(super) names_issuer: bool,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The code for which there is a token.
    Code(String),
    /// There is none, and why: the end of a sentence that begins with the authorization server.
    Refused(String),
    /// It is no answer to this login.
    Foreign,
}

/// The answer in the query of an address.
pub(super) fn read(query: &str, expected: &Expected) -> Answer {
    let value = |name: &str| {
        let pair = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(of, _)| *of == name)?;
        Some(percent_decode_str(&pair.1.replace('+', " ")).decode_utf8_lossy().into_owned())
    };
    if value("state").as_deref() != Some(&*expected.state) {
        return Answer::Foreign;
    }
    match value("iss") {
        Some(issuer) if issuer != expected.issuer => {
            return Answer::Refused("was not the one that answered: the answer names another one".to_owned());
        }
        None if expected.names_issuer => {
            return Answer::Refused("says that it names itself in each answer, and this one lacks that".to_owned());
        }
        Some(_) | None => {}
    }
    match (value("error"), value("code").filter(|code| !code.is_empty())) {
        (Some(error), _) => {
            let more = value("error_description").map_or_else(String::new, |more| format!(": {more}"));
            Answer::Refused(format!("says no ({error}{more})"))
        }
        (None, Some(code)) => Answer::Code(code),
        (None, None) => Answer::Refused("answers without a code".to_owned()),
    }
}

/// Waits for the answer. A request with anything else is answered and costs nothing: whoever guesses must not end the login.
pub(super) async fn wait(listener: TcpListener, expected: &Expected) -> io::Result<Answer> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                let (stream, expected) = (accepted?.0, expected.clone());
                connections.spawn(async move { timeout(PATIENCE, serve(stream, &expected)).await.ok().flatten() });
            }
            Some(done) = connections.join_next() => {
                if let Ok(Some(answer)) = done {
                    return Ok(answer);
                }
            }
        }
    }
}

async fn serve(mut stream: TcpStream, expected: &Expected) -> Option<Answer> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() > MAX_HEAD || stream.read_buf(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&head);
    let target = head.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let answer = if path == PATH { read(query, expected) } else { Answer::Foreign };
    let (status, text) = match &answer {
        Answer::Code(_) => ("200 OK", "mcp-pipe has the answer. This page can be closed; see the terminal."),
        Answer::Refused(_) => ("400 Bad Request", "The login has not come about; see the terminal."),
        Answer::Foreign => ("404 Not Found", "This is not the answer to the login that mcp-pipe waits for."),
    };
    let length = text.len();
    let reply = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\ncache-control: no-store\r\n\
         referrer-policy: no-referrer\r\nconnection: close\r\n\r\n{text}"
    );
    // The answer counts whether or not the browser stays for ours.
    let _gone = stream.write_all(reply.as_bytes()).await;
    let _gone = stream.shutdown().await;
    (answer != Answer::Foreign).then_some(answer)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn expected(names_issuer: bool) -> Expected {
        Expected { state: "s1".into(), issuer: "https://as".into(), names_issuer }
    }

    #[test]
    fn an_answer_counts_if_it_is_to_this_login_and_from_whom_was_asked() {
        let refused = |why: &str| Answer::Refused(why.to_owned());
        let other = "was not the one that answered: the answer names another one";
        for (query, names_issuer, want) in [
            ("code=a%2Bb&state=s1", false, Answer::Code("a+b".into())),
            ("iss=https%3A%2F%2Fas&state=s1&code=c", true, Answer::Code("c".into())),
            ("code=c&state=s2", false, Answer::Foreign),
            ("code=c", false, Answer::Foreign),
            ("code=c&state=", false, Answer::Foreign),
            ("", false, Answer::Foreign),
            ("code=c&state=s1&iss=https%3A%2F%2Fevil", false, refused(other)),
            ("code=c&state=s1&iss=https%3A%2F%2Fas%2F", false, refused(other)),
            ("code=c&state=s1", true, refused("says that it names itself in each answer, and this one lacks that")),
            ("state=s1&code=", false, refused("answers without a code")),
            (
                "error=access_denied&error_description=not+now&state=s1",
                false,
                refused("says no (access_denied: not now)"),
            ),
            ("error=access_denied&state=s2", false, Answer::Foreign),
        ] {
            assert_eq!(read(query, &expected(names_issuer)), want, "{query}");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_ends_nothing_and_nobody_holds_up_the_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ask = async |text: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut reply = String::new();
            stream.read_to_string(&mut reply).await.unwrap();
            reply
        };
        let expected = expected(false);
        let asks = async {
            let _silent = TcpStream::connect(address).await.unwrap();
            for (text, status) in [
                ("GET /favicon.ico HTTP/1.1\r\n\r\n", "404"),
                ("GET /callback?code=c&state=guess HTTP/1.1\r\n\r\n", "404"),
                ("POST /callback?code=c&state=s1 HTTP/1.1\r\n\r\n", "404"),
                ("GET /callback?code=c&state=s1 HTTP/1.1\r\nhost: x\r\n\r\n", "200"),
            ] {
                let reply = ask(text).await;
                assert!(
                    reply.starts_with(&format!("HTTP/1.1 {status}")) && !reply.contains("guess"),
                    "{text}: {reply}"
                );
            }
        };
        let (answer, ()) = tokio::join!(wait(listener, &expected), asks);
        assert_eq!(answer.unwrap(), Answer::Code("c".into()));
    }
}
