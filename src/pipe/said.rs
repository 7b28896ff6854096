//! What servers log by MCP (`notifications/message`) that is for no endpoint alone: kept for `mcp-pipe logs`, and nowhere else.

use std::borrow::Cow;
use std::time::Instant;

use tracing::info;

use crate::logging::{Flood, OF_SERVERS};
use crate::mcp::object;
use crate::secrecy::Redactor;
use crate::words::counted;

/// Longest text of a message that is kept, in bytes.
const TEXT: usize = 4 * 1024;
/// Most bytes behind that which are looked at, so that a secret across the cut is known: more than the longest tokens have.
const BEHIND: usize = 4 * 1024;
/// Longest name of the part of a server that logs, in bytes, and longest name of a level.
const NAME: usize = 100;

/// The messages of one server.
pub(super) struct Said {
    flood: Flood,
}

/// One message, fit to be shown.
#[derive(Debug, PartialEq, Eq)]
struct Message<'a> {
    level: Cow<'a, str>,
    logger: Option<String>,
    text: String,
}

impl Said {
    pub(super) fn new(now: Instant) -> Self {
        Said { flood: Flood::new(now) }
    }

    /// Logs a message by its parameters, unless there are too many at once. `name`: the server's.
    pub(super) fn log(&mut self, name: &str, params: &[u8], redactor: &Redactor, now: Instant) {
        let left_out = &mut |n: u32| {
            let said = counted(n as usize, "message");
            info!(target: OF_SERVERS, event = "SERVER_LOG", server = %name, level = "warning", left_out = n, "{said} left out: too many at once");
        };
        if !self.flood.admits_line(now, left_out) {
            return;
        }
        if let Some(Message { level, logger, text }) = Message::read(params, redactor) {
            info!(target: OF_SERVERS, event = "SERVER_LOG", server = %name, level = %level, logger, "{text}");
        }
    }
}

impl<'a> Message<'a> {
    /// The message of these parameters (MCP, server/utilities/logging); `None` if they say nothing.
    fn read(params: &'a [u8], redactor: &Redactor) -> Option<Self> {
        let params = str::from_utf8(params).ok()?;
        let find = |name| object::find(params, &[name]);
        let data = find("data")?;
        let text = object::lossy_text_of(data).unwrap_or(Cow::Borrowed(data));
        let logger = find("logger").and_then(object::lossy_text_of);
        let logger = logger.filter(|logger| !logger.is_empty());
        let beginning = |text: &str, most: usize| {
            let kept = redactor.beginning(&text[..text.floor_char_boundary(most + BEHIND)], most);
            if text.len() > most && !kept.ends_with('…') { format!("{kept}…") } else { kept.into_owned() }
        };
        let logger = logger.map(|logger| beginning(&logger, NAME));
        let level = find("level").and_then(object::text_of).filter(|level| level.len() <= NAME);
        let text = match logger {
            Some(ref logger) => format!("{logger}: {}", beginning(&text, TEXT)),
            None => beginning(&text, TEXT),
        };
        Some(Message { level: level.unwrap_or(Cow::Borrowed("info")), logger, text })
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::secrecy::Secret;

    fn read(params: &serde_json::Value) -> Option<[String; 2]> {
        let redactor = [Secret::new("s3cret-0123456789")].into_iter().collect();
        let params = params.to_string();
        let message = Message::read(params.as_bytes(), &redactor)?;
        Some([message.level.into_owned(), message.text])
    }

    #[test]
    fn a_message_is_its_level_and_its_data_as_text_without_secrets() {
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        for (params, level, text) in [
            (r#"{"level":"warning","data":"low \"oil\""}"#, "warning", "low \"oil\""),
            (
                r#"{"level":"critical","logger":"db","data":{"code":7,"why":"gone"}}"#,
                "critical",
                r#"db: {"code":7,"why":"gone"}"#,
            ),
            (r#"{"data":[1,null]}"#, "info", "[1,null]"),
            (r#"{"level":5,"logger":6,"data":"x"}"#, "info", "x"),
            (r#"{"level":"info","data":"my s3cret-0123456789, that is"}"#, "info", "my …, that is"),
            (
                r#"{"level":"info","logger":"s3cret-0123456789","data":{"x":"s3cret-0123456789"}}"#,
                "info",
                r#"…: {"x":"…"}"#,
            ),
        ] {
            assert_eq!(read(&json(params)), Some([level, text].map(str::to_owned)), "{params}");
        }
        for nothing in ["{}", r#"{"level":"info"}"#, "[]"] {
            assert_eq!(read(&json(nothing)), None, "{nothing}");
        }
    }

    #[test]
    fn a_long_message_is_cut_and_a_secret_across_the_cut_is_hidden() {
        let long = "x".repeat(TEXT - 5) + "s3cret-0123456789" + &"y".repeat(TEXT);
        let [_, text] = read(&serde_json::json!({"data": long})).unwrap();
        assert!(text.len() <= TEXT + '…'.len_utf8() && text.ends_with("x…"), "{}", &text[TEXT - 10..]);
    }
}
