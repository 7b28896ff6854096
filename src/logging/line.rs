//! An event as a line of text or JSON.

pub(super) mod told;

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::Level;
use tracing::field::{Field, Visit};

use super::{clock, names};
use crate::config::Environment;
use crate::secrecy::plain;
use crate::words::{counted, was};

/// The fields of an event: those that have a place of their own in every line, and the others in order.
#[derive(Default, Clone)]
pub(super) struct Fields {
    pub(super) server: Option<String>,
    /// The servers' names, in the place of `server`, where an event is about several.
    servers: Vec<String>,
    /// The name of the endpoint that they are at, if it has one.
    endpoint: Option<String>,
    event: Option<String>,
    message: String,
    others: Vec<(Cow<'static, str>, Value)>,
}

/// The servers that an event is about, as [`Names`](super::Names) writes them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Servers {
    Alone(Vec<String>),
    At { endpoint: String, servers: Vec<String> },
}

impl Fields {
    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            "server" => self.server = Some(text),
            "servers" => {
                let (mut names, endpoint) = match serde_json::from_str::<Servers>(&text) {
                    Ok(Servers::Alone(names)) => (names, None),
                    Ok(Servers::At { endpoint, servers }) => (servers, Some(endpoint)),
                    Err(_) => (vec![text], None),
                };
                self.endpoint = endpoint;
                match names.len() {
                    1 => self.server = names.pop(),
                    _ => self.servers = names,
                }
            }
            "event" => self.event = Some(text),
            name => self.others.push((name.into(), Value::String(text))),
        }
    }

    /// Every text that an event brought along, without what a line adds: keys, level, time.
    pub(super) fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let others = self.others.iter_mut().filter_map(|(_, value)| match value {
            Value::String(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        });
        let servers = self.server.iter_mut().chain(&mut self.servers).chain(&mut self.endpoint);
        servers.chain(&mut self.event).chain([&mut self.message]).chain(others)
    }

    /// The servers that this is about.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.server.iter().chain(&self.servers).map(String::as_str)
    }

    /// The same with at most so many bytes of text: what is beyond is cut off.
    pub(super) fn bounded(&self, most: usize) -> Cow<'_, Fields> {
        let mut cut = self.clone_if_longer(most);
        if let Cow::Owned(cut) = &mut cut {
            let mut left = most;
            for text in cut.texts_mut() {
                if text.len() > left {
                    text.truncate(text.floor_char_boundary(left));
                    text.push('…');
                }
                left = left.saturating_sub(text.len());
            }
        }
        cut
    }

    fn clone_if_longer(&self, most: usize) -> Cow<'_, Fields> {
        let others = self.others.iter().map(|(_, value)| value.as_str().map_or(0, str::len));
        let length = self.names().map(str::len).chain(others).sum::<usize>() + self.message.len();
        if length > most { Cow::Owned(self.clone()) } else { Cow::Borrowed(self) }
    }

    /// The label of the server or servers that the event is about.
    fn label(&self) -> Option<String> {
        let endpoint = self.endpoint.as_deref();
        match &self.server {
            Some(server) if endpoint.is_none() => Some(server.clone()),
            Some(server) => Some(names::label(&[server], endpoint)),
            None if self.servers.is_empty() => self.endpoint.clone(),
            None => Some(names::label(&self.servers, endpoint)),
        }
    }

    /// The level of a server's own log message, from MCP's name of it, as near as ours come.
    pub(super) fn servers_level(&self) -> Option<Level> {
        let (_, name) = self.others.iter().find(|(name, _)| name == "level")?;
        Some(match name.as_str()? {
            "debug" => Level::DEBUG,
            "info" | "notice" => Level::INFO,
            "warning" => Level::WARN,
            "error" | "critical" | "alert" | "emergency" => Level::ERROR,
            _ => return None,
        })
    }

    fn number(&mut self, field: &Field, number: impl Into<Value>) {
        self.others.push((field.name().into(), number.into()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.number(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.text(field, text);
    }
}

/// How lines look.
#[derive(Clone, Copy)]
pub(super) enum Looks {
    /// `HH:MM:SS LEVEL [server] message name=value`, for a person who is looking on.
    Terminal {
        /// Whether the terminal knows colours, and its user wants them.
        colour: bool,
    },
    /// `TIME LEVEL [server] message name=value event=NAME`, for a file or a program that reads lines.
    Text {
        /// Whether a line has the time: systemd's journal notes that itself.
        time: bool,
    },
    /// A JSON object with timestamp, level, event, server or servers, message and fields.
    Json,
}

/// The events that are a server's own words, not ours: a line of its stderr, and what it logs by MCP.
const OF_SERVER: [&str; 2] = ["SERVER_STDERR", "SERVER_LOG"];

#[derive(Serialize)]
struct Json<'a> {
    timestamp: &'a str,
    level: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    servers: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    message: &'a str,
    /// The target of an event that isn't from this crate.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

impl Looks {
    /// Whether a terminal knows colours, and its user wants them.
    pub(super) fn has_colour(env: &Environment) -> bool {
        env.filled("NO_COLOR").is_none() && env.get("TERM") != Some("dumb")
    }

    /// The whole line, with its end.
    pub(super) fn line(self, level: Level, target: &str, fields: &Fields) -> String {
        let target = foreign(target);
        match self {
            Looks::Terminal { colour } => text(level, target, fields, &clock::local(), Some(colour)),
            Looks::Text { time } => {
                let now = if time { clock::utc() } else { String::new() };
                text(level, target, fields, &now, None)
            }
            Looks::Json => json(level, target, fields, &clock::utc()),
        }
    }

    /// The line about lines that nobody read in time.
    pub(super) fn missed(self, lines: u64, why: &str) -> String {
        let mut fields = Fields { event: Some("LOG_LOST".to_owned()), ..Fields::default() };
        let n = usize::try_from(lines).unwrap_or(usize::MAX);
        fields.message = format!("{} of this log {} dropped: {why}", counted(n, "line"), was(n));
        fields.others.push(("lines".into(), lines.into()));
        self.line(Level::WARN, module_path!(), &fields)
    }
}

/// The crate that says something, where it isn't this one.
fn foreign(target: &str) -> Option<&str> {
    Some(target).filter(|target| !target.starts_with("mcp_pipe"))
}

fn json(level: Level, target: Option<&str>, fields: &Fields, timestamp: &str) -> String {
    let line = Json {
        timestamp,
        level: level.as_str(),
        event: fields.event.as_deref(),
        server: fields.server.as_deref(),
        servers: &fields.servers,
        endpoint: fields.endpoint.as_deref(),
        message: &fields.message,
        target,
        fields: fields.others.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
    };
    // Texts, numbers and a map with text keys always become JSON.
    plain::json(&serde_json::to_string(&line).unwrap_or_default()).into_owned() + "\n"
}

/// A line of text. `terminal`: whether the terminal has colours; `None` where the line is for no terminal.
fn text(level: Level, target: Option<&str>, fields: &Fields, time: &str, terminal: Option<bool>) -> String {
    let colour = terminal == Some(true);
    let (dim, bold, end) = if colour { ("\x1b[2m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
    let level_colour = match level {
        _ if !colour => "",
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => dim,
    };
    let mut line = String::with_capacity(128);
    if !time.is_empty() {
        line += &format!("{dim}{time}{end} ");
    }
    line += &format!("{level_colour}{:<5}{end}", level.as_str());
    if let Some(label) = fields.label() {
        line += &format!(" {bold}[");
        escape(&label, &mut line);
        line += &format!("]{end}");
    }
    if let Some(target) = target {
        line += &format!(" {dim}{target}:{end}");
    }
    line.push(' ');
    if terminal.is_some() && fields.event.as_deref().is_some_and(|event| OF_SERVER.contains(&event)) {
        line += &format!("{dim}│ ");
        escape(&fields.message, &mut line);
        line += end;
    } else {
        escape(&fields.message, &mut line);
    }
    let details = details(fields, terminal.is_none());
    if !details.is_empty() {
        line += &format!("{dim}{details}{end}");
    }
    line.push('\n');
    line
}

/// What follows a message: each ` name=value`, and with `with_event` the event.
fn details(fields: &Fields, with_event: bool) -> String {
    let mut line = String::new();
    // The message of an event of ours says what the fields hold, but for `contents`, which are too long.
    let said = |name: &str| fields.event.is_some() && name != "contents";
    for (name, value) in fields.others.iter().filter(|(name, _)| !said(name)) {
        line += &format!(" {name}=");
        match value {
            Value::String(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
                line.push('"');
                escape(&text.replace('\\', "\\\\").replace('"', "\\\""), &mut line);
                line.push('"');
            }
            Value::String(text) => escape(text, &mut line),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                line += &value.to_string()
            }
        }
    }
    if let (Some(event), true) = (&fields.event, with_event) {
        line += " event=";
        escape(event, &mut line);
    }
    line
}

/// Writes a text without anything that moves the cursor, ends the line or turns the direction of writing.
fn escape(text: &str, to: &mut String) {
    to.push_str(&plain::line(text));
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::secrecy::plain::tests::is_plain;
    use proptest::prelude::*;

    fn fields(message: &str) -> Fields {
        Fields {
            server: Some("calculator".into()),
            servers: Vec::new(),
            endpoint: None,
            event: Some("SERVER_STARTED".into()),
            message: message.into(),
            others: vec![("pid".into(), 12.into()), ("path".into(), "a b".into())],
        }
    }

    #[test]
    fn text_is_what_happened_then_the_details() {
        assert_eq!(
            text(Level::INFO, None, &fields("started"), "2026-01-02T03:04:05.678Z", None),
            "2026-01-02T03:04:05.678Z INFO  [calculator] started event=SERVER_STARTED\n"
        );
        let other = Fields { event: None, ..fields("started") };
        assert_eq!(text(Level::INFO, None, &other, "", None), "INFO  [calculator] started pid=12 path=\"a b\"\n");
        let coloured = text(Level::WARN, Some("hyper"), &fields("x"), "", Some(true));
        assert!(coloured.starts_with("\x1b[33mWARN ") && coloured.contains("hyper:"), "{coloured:?}");
    }

    #[test]
    fn at_a_terminal_a_line_has_the_time_of_day_and_no_event_and_a_servers_own_words_stand_apart() {
        let line = |fields: &Fields, colour| text(Level::INFO, None, fields, "03:04:05", Some(colour));
        assert_eq!(line(&fields("started"), false), "03:04:05 INFO  [calculator] started\n");
        let said = Fields { event: Some("SERVER_STDERR".into()), others: Vec::new(), ..fields("ready") };
        assert_eq!(line(&said, false), "03:04:05 INFO  [calculator] │ ready\n");
        assert!(line(&said, true).contains(" \x1b[2m│ ready"), "{:?}", line(&said, true));
        assert!(!text(Level::INFO, None, &said, "", None).contains('│'));
        assert_eq!(&Looks::Terminal { colour: false }.line(Level::INFO, "mcp_pipe", &fields("x"))[2..3], ":");
    }

    #[test]
    fn a_line_about_several_servers_has_a_list_for_machines_and_a_label_for_people() {
        let of = |servers: &[&str]| {
            let mut fields = Fields { server: None, others: Vec::new(), ..fields("connected") };
            let servers: Vec<String> = servers.iter().map(|name| (*name).to_owned()).collect();
            if servers.len() == 1 {
                fields.server = Some(servers[0].clone())
            } else {
                fields.servers = servers
            }
            fields
        };
        let parsed = |fields: &Fields| serde_json::from_str::<Value>(&json(Level::INFO, None, fields, "T")).unwrap();
        let two = parsed(&of(&["a", "b"]));
        assert_eq!((&two["servers"], two.get("server")), (&serde_json::json!(["a", "b"]), None));
        let one = parsed(&of(&["a"]));
        assert_eq!((one.get("servers"), &one["server"]), (None, &Value::from("a")));
        assert!(text(Level::INFO, None, &of(&["a", "b"]), "", None).starts_with("INFO  [a+b] connected"));
    }

    #[test]
    fn json_is_one_object_with_fields_of_their_own() {
        let line = json(Level::INFO, None, &fields("two\nlines"), "T");
        assert_eq!(
            line,
            "{\"timestamp\":\"T\",\"level\":\"INFO\",\"event\":\"SERVER_STARTED\",\"server\":\"calculator\",\
             \"message\":\"two\\nlines\",\"fields\":{\"pid\":12,\"path\":\"a b\"}}\n"
        );
    }

    #[test]
    fn one_line_that_was_lost_is_one() {
        let missed = |n| Looks::Text { time: false }.missed(n, "nobody read it for a while");
        assert!(missed(1).contains(" 1 line of this log was dropped"), "{}", missed(1));
        assert!(missed(2).contains(" 2 lines of this log were dropped"), "{}", missed(2));
    }

    #[test]
    fn a_child_cannot_forge_a_line_or_steer_the_terminal() {
        let line = text(Level::INFO, None, &fields("a\nERROR b\r\x1b[2Jc\u{9b}d\te\u{202e}f"), "", Some(false));
        assert!(line.contains(r"a\nERROR b\r\u{1b}[2Jc\u{9b}d"), "{line:?}");
        assert!(line.contains("\te"), "{line:?}");
    }

    proptest! {
        #[test]
        fn whatever_an_event_holds_it_is_one_line(message in any::<String>()) {
            for line in [text(Level::WARN, None, &fields(&message), "", None), json(Level::WARN, None, &fields(&message), "")] {
                prop_assert_eq!(line.matches('\n').count(), 1);
                prop_assert!(is_plain(&line), "{:?}", line);
            }
            let parsed: Value = serde_json::from_str(&json(Level::WARN, None, &fields(&message), "")).unwrap();
            prop_assert_eq!(&parsed["message"], &Value::String(message));
        }
    }
}
