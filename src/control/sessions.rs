//! The conversations of MCP clients at the gateway, as `mcp-pipe sessions` shows them, and which of them a name means. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::secrecy::{Redactor, plain};
use crate::words::{closest, counted, listed, span};

/// The version of what `--json` prints.
const SCHEMA: u32 = 1;
/// Most characters of a text that is shown as no name of a conversation: the id of one would be longer, and is to be seen nowhere.
const SHOWN: usize = 16;
/// Most names that are listed where a name is unknown.
const NAMES: usize = 10;

/// A conversation of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClientSession {
    /// By what it is called here: a part of the hash of its id, since the id lets in.
    pub name: String,
    /// What the client calls itself, and its version, once it has said so.
    pub client: Option<String>,
    pub version: Option<String>,
    /// Where the client came to.
    pub path: String,
    /// The name of its key, where there are keys.
    pub key: Option<String>,
    /// How long there has been a conversation, and how long nothing was heard, in seconds.
    pub age_seconds: u64,
    pub idle_seconds: u64,
    /// How many streams the client reads.
    pub streams: usize,
    /// How many requests have no answer yet; `None` where nobody counts.
    pub calls: Option<usize>,
}

/// What `mcp-pipe sessions` prints.
pub(super) fn shown(sessions: &[ClientSession], json: bool, redactor: &Redactor) -> String {
    let clean = |text: &str| plain::line(&redactor.clean_all(text)).into_owned();
    if json {
        let mut sessions = sessions.to_vec();
        for session in &mut sessions {
            let texts = [&mut session.client, &mut session.version, &mut session.key].into_iter().flatten();
            texts.chain([&mut session.path]).for_each(|text| *text = clean(text));
        }
        return format!("{}\n", json!({"schema": SCHEMA, "sessions": sessions}));
    }
    let mut text = String::new();
    for session in sessions {
        let _infallible = writeln!(text, "{}", clean(&session.line()));
    }
    if text.is_empty() { "no client has a session\n".to_owned() } else { text }
}

impl ClientSession {
    fn line(&self) -> String {
        let ClientSession { name, client, version, path, key, age_seconds, idle_seconds, streams, calls } = self;
        let client = match (client.as_deref(), version.as_deref()) {
            (None | Some(""), _) => "a client without a name".to_owned(),
            (Some(client), None | Some("")) => client.to_owned(),
            (Some(client), Some(version)) => format!("{client} {version}"),
        };
        let key = key.as_ref().map_or_else(String::new, |key| format!(" with key {key}"));
        let [age, idle] = [age_seconds, idle_seconds].map(|seconds| span(Duration::from_secs(*seconds)));
        let streams = counted(*streams, "stream");
        let calls = calls.map_or_else(String::new, |calls| format!(", {} under way", counted(calls, "request")));
        format!("{name}: {client} at {path}{key}, for {age}, last heard {idle} ago, {streams}{calls}")
    }
}

/// The name of all sessions that a text means: their names begin with it, and there is one.
///
/// # Errors
/// There is none, or several, in words for a person.
pub(crate) fn meant<'a>(text: &str, names: &[&'a str]) -> Result<&'a str, String> {
    let alike: Vec<&str> = names.iter().copied().filter(|name| !text.is_empty() && name.starts_with(text)).collect();
    match alike[..] {
        [one] => Ok(one),
        [] if text.chars().count() > SHOWN => {
            Err("that is no name of a session; mcp-pipe sessions lists them, in front of the colons".to_owned())
        }
        [] => {
            let shown = text.escape_debug();
            let meant = closest(text, names.iter().copied()).map(|name| format!("did you mean {name}? "));
            let there_are = match names {
                [] => "there are none".to_owned(),
                names => format!("there are: {}", listed(names.iter().take(NAMES).collect(), names.len())),
            };
            Err(format!("no session here is called \"{shown}\"; {}{there_are}", meant.unwrap_or_default()))
        }
        _ => {
            let there_are = listed(alike.iter().take(NAMES).collect(), alike.len());
            Err(format!("several sessions are called like that: {there_are}"))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::secrecy::Secret;

    fn session(name: &str) -> ClientSession {
        ClientSession {
            name: name.to_owned(),
            client: Some("claude\u{1b}[2J".to_owned()),
            version: Some("1.2".to_owned()),
            path: "/mcp/my%20clock".to_owned(),
            key: Some("desk".to_owned()),
            age_seconds: 7200,
            idle_seconds: 5,
            streams: 1,
            calls: Some(2),
        }
    }

    #[test]
    fn each_session_is_a_line_for_a_person_or_an_object_for_a_program() {
        let redactor: Redactor = Redactor::default();
        redactor.add([Secret::new("s3cret-s3cret")]);
        let unknown = ClientSession { client: None, version: None, key: None, calls: None, ..session("b") };
        let secret = ClientSession { client: Some("s3cret-s3cret".to_owned()), ..session("c") };
        let all = [session("a"), unknown, secret];
        let said = shown(&all, false, &redactor);
        let lines: Vec<&str> = said.lines().collect();
        assert!(!lines[0].contains('\u{1b}') && lines[0].starts_with("a: claude"), "{said}");
        let rest = " 1.2 at /mcp/my%20clock with key desk, for 2 h 0 min, last heard 5.0 s ago, 1 stream, 2 requests under way";
        assert!(lines[0].ends_with(rest), "{said}");
        let unknown = "b: a client without a name at /mcp/my%20clock, for 2 h 0 min, last heard 5.0 s ago, 1 stream";
        assert_eq!(lines[1], unknown);
        assert!(!said.contains("s3cret"), "{said}");
        let json = shown(&all, true, &redactor);
        assert!(!json.contains("s3cret") && !json.contains("\\u001b"), "{json}");
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&json["schema"], &json["sessions"][0]["idleSeconds"]), (&json!(1), &json!(5)));
        assert_eq!(json["sessions"][1]["client"], Value::Null);
        assert_eq!(shown(&[], false, &redactor), "no client has a session\n");
    }

    #[test]
    fn a_session_is_meant_by_its_name_or_the_beginning_of_that() {
        let names = ["3f9a2c17d0", "3f00000000", "aa00000000"];
        let id = "A".repeat(300);
        for (text, want) in [
            ("3f9a2c17d0", Ok("3f9a2c17d0")),
            ("a", Ok("aa00000000")),
            ("3f", Err("several sessions are called like that: 3f9a2c17d0, 3f00000000")),
            (
                "3f9a2c17d1",
                Err(
                    "no session here is called \"3f9a2c17d1\"; did you mean 3f9a2c17d0? there are: 3f9a2c17d0, 3f00000000, aa00000000",
                ),
            ),
            ("", Err("no session here is called \"\"; there are: 3f9a2c17d0, 3f00000000, aa00000000")),
            (&id, Err("that is no name of a session; mcp-pipe sessions lists them, in front of the colons")),
        ] {
            assert_eq!(meant(text, &names), want.map_err(str::to_owned), "{text}");
        }
        assert!(meant("a", &[]).unwrap_err().ends_with("there are none"));
    }
}
