//! What a client asks on the control socket, and what it is told: one JSON object a line, in both directions. Pure.
//!
//! A client connects, sends one [`Request`], and reads [`Reply`]s until `done` or `failed`; then the daemon closes the connection. Either
//! side ignores members that it doesn't know, so that another version is understood as far as that goes. Whoever follows the log keeps its own
//! side open, and says nothing more: that it closes it is how the daemon learns that it is gone.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::history::Told;
use super::orders::Order;
use super::picture::Picture;
use super::sessions::ClientSession;

/// Longest request, in bytes: a name or two.
pub(super) const MAX_REQUEST: usize = 64 << 10;
/// Longest line of an answer, in bytes: the state of ten thousand servers is smaller.
pub(super) const MAX_REPLY: usize = 8 << 20;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "camelCase")]
pub(super) enum Request {
    /// Who are you? Answered by [`Reply::Daemon`].
    Daemon,
    /// What does each server and link do? Answered by [`Reply::Daemon`] and [`Reply::Picture`].
    Status {
        /// Again whenever something changes, until one of the two ends.
        #[serde(default)]
        watch: bool,
    },
    /// Which lines were logged? Answered by [`Reply::Log`] and [`Reply::Lost`].
    Logs {
        /// About this server alone.
        #[serde(default)]
        server: Option<String>,
        /// The last so many; all that are kept without.
        #[serde(default)]
        last: Option<u64>,
        /// Also those that are logged from now on, until one of the two ends.
        #[serde(default)]
        follow: bool,
    },
    /// Which messages pass? Answered by [`Reply::Seen`] and [`Reply::Lost`], until one of the two ends.
    Tap {
        /// Only at servers, and about tools, of such a name.
        #[serde(default)]
        pattern: Option<String>,
        /// The messages themselves as well.
        #[serde(default)]
        contents: bool,
    },
    /// From which level on are lines shown in the log? Or: show them from another one on. Answered by [`Reply::Carried`].
    LogLevel {
        /// That one, as `--log-level` takes it.
        #[serde(default)]
        level: Option<String>,
        /// For so many milliseconds; until somebody says otherwise without.
        #[serde(default)]
        millis: Option<u64>,
    },
    /// What did the servers do in the last 24 hours? Answered by [`Reply::History`].
    History {
        /// This one alone.
        #[serde(default)]
        server: Option<String>,
    },
    /// Which clients have sessions at the gateway? Answered by [`Reply::Sessions`].
    Sessions,
    /// Let a guest in. Answered by [`Reply::Daemon`]; from then on both sides say messages of MCP, one a line.
    Mcp {
        /// The server that is to be seen; all without.
        #[serde(default)]
        server: Option<String>,
    },
    /// Do something. Answered by [`Reply::Given`], and when it is done by [`Reply::Carried`].
    Order(Order),
}

/// A line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reply {
    /// Who answers.
    Daemon(Daemon),
    /// The state of all servers and links.
    Picture(Box<Picture>),
    /// What servers did, a line for each.
    History(Box<Told>),
    /// The sessions of clients.
    Sessions(Vec<ClientSession>),
    /// A line of the log.
    Log(LogLine),
    /// A message that has passed.
    Seen(LogLine),
    /// So many lines are gone that would have come next.
    Lost(u64),
    /// The order is given. What comes of it is told within so many seconds.
    Given(u64),
    /// The order is carried out, in words for people.
    Carried(String),
    /// Nothing, or nothing more, comes of it.
    Failed(Failed),
    /// That was all.
    Done {},
}

/// Who answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Daemon {
    /// Its process number.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Its config file; the folder that it was started in where there is none.
    pub config: String,
}

impl Daemon {
    /// This one, with a config at this place.
    pub(super) fn of_config(config: String) -> Self {
        Daemon { pid: std::process::id(), version: env!("CARGO_PKG_VERSION").to_owned(), config }
    }
}

/// A line of the log, or a message.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LogLine {
    /// When, in seconds since 1970.
    pub at: u64,
    /// A JSON object; of the log as a JSON log has it.
    pub line: Box<RawValue>,
}

/// Why a client does not get what it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failed {
    /// For programs.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// Why a client does not get what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reason {
    /// That is no request that this daemon knows.
    NotUnderstood,
    /// No server has the name.
    UnknownServer,
    /// It is not clear what is meant.
    Unclear,
    /// The order is not carried out.
    NotDone,
    /// The config has mistakes.
    Mistakes,
    /// Too many clients are connected.
    Busy,
    /// The daemon does not have it.
    Unavailable,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

impl Reply {
    /// A refusal.
    pub(super) fn failed(reason: Reason, message: impl Into<String>) -> Self {
        Reply::Failed(Failed { reason, message: message.into() })
    }

    /// As it is sent, with its end.
    pub(super) fn append_to(&self, to: &mut Vec<u8>) {
        // Texts, numbers and lists always become JSON, and a vector takes all.
        let _infallible = serde_json::to_writer(&mut *to, self);
        to.push(b'\n');
    }
}

/// Appends a [`Reply::Log`] or, as `seen`, a [`Reply::Seen`], whose line is not looked at once more.
pub(super) fn append_line(kind: &str, at: u64, line: &str, to: &mut Vec<u8>) {
    to.extend_from_slice(format!("{{\"{kind}\":{{\"at\":{at},\"line\":").as_bytes());
    to.extend_from_slice(line.as_bytes());
    to.extend_from_slice(b"}}\n");
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written_like_this_and_members_of_later_versions_do_no_harm() {
        let all = |line: &str| serde_json::from_str::<Request>(line).unwrap();
        assert_eq!(all(r#"{"ask":"status"}"#), Request::Status { watch: false });
        assert_eq!(all(r#"{"ask":"status","watch":true}"#), Request::Status { watch: true });
        assert_eq!(all(r#"{"ask":"daemon","later":1}"#), Request::Daemon);
        assert_eq!(all(r#"{"ask":"sessions"}"#), Request::Sessions);
        assert_eq!(all(r#"{"ask":"history"}"#), Request::History { server: None });
        assert_eq!(all(r#"{"ask":"history","server":"x"}"#), Request::History { server: Some("x".into()) });
        assert_eq!(all(r#"{"ask":"logLevel"}"#), Request::LogLevel { level: None, millis: None });
        let level = Request::LogLevel { level: Some("debug".into()), millis: Some(600_000) };
        assert_eq!(all(r#"{"ask":"logLevel","level":"debug","millis":600000,"later":1}"#), level);
        assert_eq!(all(r#"{"ask":"mcp"}"#), Request::Mcp { server: None });
        assert_eq!(all(r#"{"ask":"mcp","server":"x","later":1}"#), Request::Mcp { server: Some("x".into()) });
        let logs = Request::Logs { server: Some("x".into()), last: Some(3), follow: true };
        assert_eq!(all(r#"{"ask":"logs","server":"x","last":3,"follow":true,"later":[]}"#), logs);
        assert_eq!(all(r#"{"ask":"logs"}"#), Request::Logs { server: None, last: None, follow: false });
        let restart = Request::Order(Order::Restart { name: "x".into(), connection: false });
        assert_eq!(all(r#"{"ask":"order","order":"restart","name":"x","later":1}"#), restart);
        assert_eq!(all(r#"{"ask":"order","order":"next"}"#), Request::Order(Order::Next { endpoint: None }));
        let pin = Request::Order(Order::Pin { name: "x".into(), off: true });
        assert_eq!(all(&serde_json::to_string(&pin).unwrap()), pin);
        for none in [r#"{"ask":"order"}"#, r#"{"ask":"order","order":"stop"}"#, r#"{"ask":"order","order":"later"}"#] {
            assert!(serde_json::from_str::<Request>(none).is_err(), "{none}");
        }
        for none in ["", "{}", "[]", "\"status\"", r#"{"ask":"later"}"#, r#"{"ask":"logs","last":-1}"#] {
            assert!(serde_json::from_str::<Request>(none).is_err(), "{none}");
        }
        let written = serde_json::to_string(&logs).unwrap();
        assert_eq!(all(&written), logs);
    }

    #[test]
    fn replies_are_a_line_each_and_are_read_as_they_were_meant() {
        let mut sent = Vec::new();
        Reply::Daemon(Daemon { pid: 7, version: "1".into(), config: "/a\nb".into() }).append_to(&mut sent);
        append_line("log", 5, r#"{"level":"INFO","message":"a \"b\"","x":1.0}"#, &mut sent);
        Reply::Lost(3).append_to(&mut sent);
        Reply::failed(Reason::Busy, "no").append_to(&mut sent);
        Reply::Done {}.append_to(&mut sent);
        let sent = String::from_utf8(sent).unwrap();
        let lines: Vec<&str> = sent.lines().collect();
        assert_eq!(
            lines[1..],
            [
                r#"{"log":{"at":5,"line":{"level":"INFO","message":"a \"b\"","x":1.0}}}"#,
                r#"{"lost":3}"#,
                r#"{"failed":{"reason":"busy","message":"no"}}"#,
                r#"{"done":{}}"#
            ]
        );
        let read = |line: &str| serde_json::from_str::<Reply>(line).unwrap();
        assert!(matches!(read(lines[0]), Reply::Daemon(Daemon { pid: 7, .. })));
        assert!(matches!(read(lines[1]), Reply::Log(LogLine { at: 5, line }) if line.get().ends_with(r#""x":1.0}"#)));
        let later = r#"{"failed":{"reason":"later","message":"","more":1}}"#;
        assert!(matches!(read(later), Reply::Failed(Failed { reason: Reason::Other, .. })));
    }
}
