//! Requests out, answers in: over a WebSocket that a contender has dialled, or over a bare pipe to the child.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::{Error, Message, WebSocket};

/// Where requests go and answers come from.
pub(crate) enum Exchange {
    Socket(Box<WebSocket<TcpStream>>),
    Pipe { stdin: ChildStdin, stdout: BufReader<ChildStdout>, waiting: Vec<u8>, child: Child },
}

impl Exchange {
    /// Waits to be written by [`Exchange::flush`] together with what waits already.
    pub(crate) fn send(&mut self, message: &str) {
        match self {
            Exchange::Socket(socket) => socket.write(Message::text(message)).unwrap(),
            Exchange::Pipe { waiting, .. } => {
                waiting.extend_from_slice(message.as_bytes());
                waiting.push(b'\n');
            }
        }
    }

    pub(crate) fn flush(&mut self) {
        match self {
            Exchange::Socket(socket) => socket.flush().unwrap(),
            Exchange::Pipe { stdin, waiting, .. } => {
                stdin.write_all(waiting).unwrap();
                waiting.clear();
            }
        }
    }

    /// Gives the next message to `look`. A contender that stays silent ends the run: the socket has a read timeout.
    pub(crate) fn receive<T>(&mut self, look: impl FnOnce(&str) -> T) -> T {
        match self {
            Exchange::Socket(socket) => loop {
                if let Message::Text(text) = socket.read().unwrap() {
                    return look(&text);
                }
            },
            Exchange::Pipe { stdout, .. } => {
                let mut line = Vec::new();
                stdout.read_until(b'\n', &mut line).unwrap();
                look(std::str::from_utf8(line.trim_ascii_end()).unwrap())
            }
        }
    }

    /// The same, where there is one already; `None` where there is none.
    pub(crate) fn receive_now<T>(&mut self, look: impl FnOnce(&str) -> T) -> Option<T> {
        let Exchange::Socket(socket) = self else { return Some(self.receive(look)) };
        socket.get_ref().set_nonblocking(true).unwrap();
        let read = socket.read();
        socket.get_ref().set_nonblocking(false).unwrap();
        match read {
            Ok(Message::Text(text)) => Some(look(&text)),
            // A part of one is kept there.
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => None,
            Ok(_) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The endpoint's handshake.
    pub(crate) fn greet(&mut self) {
        self.send(concat!(
            r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","#,
            r#""capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#
        ));
        self.flush();
        self.receive(|answer| assert!(answer.contains(r#""id":0"#) && answer.contains("serverInfo"), "{answer}"));
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    }

    /// The same, and one call to see that all is there.
    pub(crate) fn initialize(&mut self) {
        self.greet();
        self.round_trip(&mut Calls::new(256));
    }

    /// How long one call took.
    pub(crate) fn round_trip(&mut self, calls: &mut Calls) -> Duration {
        let began = Instant::now();
        self.send(calls.another());
        self.flush();
        self.receive(|answer| calls.check(answer));
        began.elapsed()
    }

    /// Calls a second with `depth` under way: when half of them are answered, as many are sent in one go.
    pub(crate) fn rate(&mut self, calls: &mut Calls, depth: usize, slice: Duration) -> f64 {
        let (began, mut answered) = (Instant::now(), 0);
        for _ in 0..depth {
            self.send(calls.another());
        }
        self.flush();
        while began.elapsed() < slice {
            for _ in 0..depth / 2 {
                self.receive(|answer| calls.check(answer));
                answered += 1;
            }
            for _ in 0..depth / 2 {
                self.send(calls.another());
            }
            self.flush();
        }
        let took = began.elapsed();
        for _ in 0..depth {
            self.receive(|answer| calls.check(answer));
        }
        f64::from(answered) / took.as_secs_f64()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Exchange::Pipe { child, .. } = self {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// Numbered calls of one length, and the check of their answers, which come in the same order.
pub(crate) struct Calls {
    call: String,
    answer_len: usize,
    sent: u64,
    answered: u64,
}

/// Where the id is; seven digits, so that only these change.
const ID: std::ops::Range<usize> = 22..29;

impl Calls {
    /// Calls of `len` bytes, 100 at least.
    pub(crate) fn new(len: usize) -> Self {
        let head = r#"{"jsonrpc":"2.0","id":1000000,"method":"tools/call","params":{"name":"e","arguments":{"text":""#;
        let text = len.saturating_sub(head.len() + 4);
        let call = head.to_owned() + &"x".repeat(text) + r#""}}}"#;
        let answer_len =
            r#"{"jsonrpc":"2.0","id":1000000,"result":{"content":[{"type":"text","text":""}]}}"#.len() + text;
        Calls { call, answer_len, sent: 1_000_000, answered: 1_000_000 }
    }

    fn another(&mut self) -> &str {
        self.call.replace_range(ID, &self.sent.to_string());
        self.sent += 1;
        &self.call
    }

    /// The right answer, of the right length: whoever loses, mixes up or cuts messages isn't measured.
    fn check(&mut self, answer: &str) {
        assert_eq!(answer.len(), self.answer_len, "{:.200}", answer);
        assert_eq!(&answer[ID], self.answered.to_string(), "{:.200}", answer);
        self.answered += 1;
    }
}
