//! A JSON line of the log, shown again: as it is to a machine, and to a person as the log itself would have been.

use std::io::IsTerminal as _;

use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::Level;

use super::{Fields, Looks, clock, json, text};
use crate::config::Environment;
use crate::secrecy::{Redactor, plain};
use crate::words::{counted, was};

/// A line as it stands in JSON.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    timestamp: String,
    level: String,
    event: Option<String>,
    server: Option<String>,
    #[serde(default)]
    servers: Vec<String>,
    endpoint: Option<String>,
    #[serde(default)]
    message: String,
    target: Option<String>,
    #[serde(default)]
    fields: Map<String, Value>,
}

/// How lines of a running mcp-pipe's log are shown on stdout.
pub(crate) struct Shown {
    looks: Looks,
    redactor: Redactor,
}

impl Shown {
    /// For whoever reads our stdout: JSON where that is wanted, else as the log looks at a terminal or in a file. Whoever sends
    /// the lines gets to show nothing that `redactor` knows.
    pub(crate) fn on_stdout(as_json: bool, env: &Environment, redactor: Redactor) -> Self {
        let looks = if as_json {
            Looks::Json
        } else if std::io::stdout().is_terminal() {
            Looks::Terminal { colour: Looks::has_colour(env) }
        } else {
            Looks::Text { time: true }
        };
        Shown { looks, redactor }
    }

    /// A line with its end, from the JSON in which it was kept; `at`: when it was logged, in seconds since 1970. `None` if it is no
    /// line of a log.
    pub(crate) fn line(&self, at: u64, kept: &str) -> Option<String> {
        let Told { timestamp, level, event, server, servers, endpoint, message, target, fields } =
            serde_json::from_str(kept).ok()?;
        let level: Level = level.parse().ok()?;
        // Nothing that is logged has a field in parts.
        let whole = fields.into_iter().filter(|(_, value)| !value.is_array() && !value.is_object());
        let others = whole.map(|(name, value)| (plain::line(&name).into_owned().into(), value)).collect();
        let mut fields = Fields { server, servers, endpoint, event, message, others };
        for text in fields.texts_mut() {
            if let std::borrow::Cow::Owned(clean) = self.redactor.clean(text) {
                *text = clean;
            }
        }
        let (target, timestamp) = (target.as_deref(), plain::line(&timestamp));
        Some(match self.looks {
            Looks::Terminal { colour } => text(level, target, &fields, &clock::local_of(at), Some(colour)),
            Looks::Text { .. } => text(level, target, &fields, &timestamp, None),
            Looks::Json => json(level, target, &fields, &timestamp),
        })
    }

    /// The line about lines that are not there any more.
    pub(crate) fn lost(&self, lines: u64) -> String {
        let said = usize::try_from(lines).unwrap_or(usize::MAX);
        match self.looks {
            Looks::Terminal { .. } | Looks::Text { .. } => format!("… {} lost\n", counted(said, "line")),
            Looks::Json => {
                let message =
                    format!("{} {} lost: no longer kept when they were to be shown", counted(said, "line"), was(said));
                let others = vec![("lines".into(), lines.into())];
                let fields = Fields { event: Some("LOG_LOST".to_owned()), message, others, ..Fields::default() };
                json(Level::WARN, None, &fields, &clock::utc())
            }
        }
    }
}

impl Fields {
    /// The line as it is kept for `mcp-pipe logs`: JSON, without an end.
    pub(in crate::logging) fn kept(&self, level: Level, target: &str) -> String {
        let mut line = json(level, super::foreign(target), self, &clock::utc());
        line.truncate(line.trim_end().len());
        line
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::secrecy::Secret;
    use crate::secrecy::plain::tests::is_plain;

    fn shown(looks: Looks) -> Shown {
        Shown { looks, redactor: [Secret::new("s3cret")].into_iter().collect() }
    }

    const LOOKS: [Looks; 3] = [Looks::Terminal { colour: false }, Looks::Text { time: true }, Looks::Json];

    #[test]
    fn a_kept_line_is_shown_as_the_log_itself_shows_it() {
        let fields = Fields {
            server: Some("a b".into()),
            event: Some("SERVER_STDERR".into()),
            message: "two\nlines \"and\" é\u{1b}".into(),
            others: vec![("pid".into(), 7.into()), ("contents".into(), "x y".into())],
            servers: Vec::new(),
            endpoint: None,
        };
        let several = Fields { server: None, servers: vec!["a".into(), "b".into()], event: None, ..fields.clone() };
        for fields in [fields, several, Fields { message: "x".into(), ..Fields::default() }] {
            for (level, target) in [(Level::WARN, "mcp_pipe::server"), (Level::INFO, "library")] {
                let kept = fields.kept(level, target);
                assert!(!kept.contains('\n'));
                let again = |looks| shown(looks).line(0, &kept).unwrap();
                let stamp = |line: &str| line.split_once(' ').unwrap().0.to_owned();
                let own = super::super::foreign(target);
                let in_file = again(LOOKS[1]);
                assert_eq!(in_file, text(level, own, &fields, &stamp(&in_file), None));
                let at_terminal = again(LOOKS[0]);
                assert_eq!(at_terminal, text(level, own, &fields, &clock::local_of(0), Some(false)));
                assert_eq!(again(LOOKS[2]), kept.clone() + "\n");
            }
        }
    }

    #[test]
    fn whoever_sends_lines_steers_no_terminal_and_shows_no_secret() {
        let sent = r#"{"timestamp":"\u001b[2J\nT","level":"WARN","server":"s3cret","message":"a\nb s3cret\u009b","fields":{"x\u001b":"s3cret","y":["\u009b"]}}"#;
        for looks in LOOKS {
            let line = shown(looks).line(0, sent).unwrap();
            assert!(is_plain(&line) && line.matches('\n').count() == 1 && !line.contains("s3cret"), "{line:?}");
        }
        for none in ["", "[]", "{}", r#"{"level":"LOUD"}"#, "\"x\""] {
            assert!(shown(Looks::Json).line(0, none).is_none(), "{none}");
        }
    }

    #[test]
    fn what_is_lost_is_counted() {
        assert_eq!(shown(LOOKS[0]).lost(1), "… 1 line lost\n");
        assert_eq!(shown(LOOKS[1]).lost(312), "… 312 lines lost\n");
        let line: Value = serde_json::from_str(&shown(Looks::Json).lost(2)).unwrap();
        assert_eq!((&line["event"], &line["fields"]["lines"]), (&"LOG_LOST".into(), &2.into()));
    }
}
