//! `mcp-pipe tap`: the messages of a running mcp-pipe, as they pass.

mod saved;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use self::saved::Saved;
use super::commands::{Asking, told};
use super::protocol::{LogLine, Reply, Request};
use crate::error::{Exit, Failure};
use crate::logging::local_of;
use crate::secrecy::plain;
use crate::words::counted;

/// What `mcp-pipe tap` is asked for.
#[derive(Debug)]
pub(crate) struct Tapping<'a> {
    /// Only what passes at servers, or concerns tools, of such a name.
    pub(crate) pattern: Option<&'a str>,
    /// The messages themselves as well.
    pub(crate) contents: bool,
    /// For a program.
    pub(crate) json: bool,
    /// Where all of it is kept, too.
    pub(crate) save: Option<&'a Path>,
}

/// A message, or a client that was refused.
#[derive(Debug, Deserialize)]
struct Told {
    #[serde(default)]
    time: String,
    kind: String,
    #[serde(default)]
    why: String,
    way: Option<String>,
    #[serde(default)]
    name: String,
    id: Option<Box<RawValue>>,
    method: Option<String>,
    tool: Option<String>,
    trace: Option<String>,
    #[serde(default)]
    bytes: usize,
    ms: Option<f64>,
    outcome: Option<String>,
    contents: Option<Box<RawValue>>,
}

impl Asking<'_> {
    /// `mcp-pipe tap`: prints a line for each message, until it or the mcp-pipe ends.
    ///
    /// # Errors
    /// Which mcp-pipe is meant is not clear, or it does not answer, or breaks off; or the file can't be made or written.
    pub(crate) fn tap(self, tapping: &Tapping<'_>) -> Result<Exit, Failure> {
        let mut saved = tapping.save.map(Saved::create).transpose()?;
        self.run(async {
            let request = Request::Tap { pattern: tapping.pattern.map(str::to_owned), contents: tapping.contents };
            let mut answer = self.ask(&request).await?;
            let mut out = io::stdout().lock();
            if io::stdout().is_terminal() {
                // Nothing may happen for hours.
                let _gone = writeln!(out, "the messages of mcp-pipe, as they pass; Ctrl-C ends this")
                    .and_then(|()| out.flush());
            }
            while let Some(reply) = answer.next_in_time().await.map_err(told)? {
                let (kept, shown) = match reply {
                    Reply::Seen(LogLine { at, line }) => {
                        let line = plain::json(&self.redactor.clean_json(line.get())).into_owned();
                        let shown = if tapping.json { Some(line.clone()) } else { words(at, &line) };
                        (line, shown.unwrap_or_default())
                    }
                    Reply::Lost(n) => {
                        let (json, text) = (format!("{{\"kind\":\"lost\",\"lines\":{n}}}"), lost(n));
                        (json.clone(), if tapping.json { json } else { text })
                    }
                    Reply::Daemon(_)
                    | Reply::Picture(_)
                    | Reply::Sessions(_)
                    | Reply::History(_)
                    | Reply::Log(_)
                    | Reply::Given(_)
                    | Reply::Carried(_)
                    | Reply::Failed(_)
                    | Reply::Done {} => continue,
                };
                if let Some(saved) = &mut saved
                    && let Some(full) = saved.write(&kept)?
                {
                    // Not to stdout, where a program may read JSON. Where nobody reads this, the file says it.
                    let _gone = writeln!(io::stderr(), "{full}");
                }
                if writeln!(out, "{shown}").and_then(|()| out.flush()).is_err() {
                    // A reader that went away has seen enough.
                    break;
                }
            }
            Ok(Exit::Success)
        })
    }
}

fn lost(n: u64) -> String {
    format!("… {} lost: more passed than was read", counted(usize::try_from(n).unwrap_or(usize::MAX), "line"))
}

/// A line for a person; `None` for what is no message.
fn words(at: u64, line: &str) -> Option<String> {
    let told: Told = serde_json::from_str(line).ok()?;
    let time = format!("{}{}", local_of(at), told.time.get(19..23).unwrap_or_default());
    if told.kind == "refused" {
        return Some(plain::line(&format!("{time} {}", told.why)).into_owned());
    }
    let arrow = if told.way.as_deref() == Some("from") { "→" } else { "←" };
    let what = told.method.or_else(|| told.outcome.is_some().then(|| "an answer".to_owned()));
    // A link is often called by its only server.
    let who = if told.kind == "server" { told.name } else { format!("{} {}", told.kind, told.name) };
    let mut said = vec![format!("{time} {who} {arrow} {}", what.as_deref().unwrap_or("no message"))];
    said.extend(told.tool);
    if let Some(id) = told.id {
        said.push(format!("id {id}"));
    }
    said.extend(told.trace.map(|trace| format!("trace {trace}")));
    let mut details = vec![counted(told.bytes, "byte")];
    details.extend(told.ms.map(|ms| format!("{ms} ms")));
    details.extend(told.outcome.map(|outcome| match &*outcome {
        "tool_error" => "the tool reports an error".to_owned(),
        "rpc_error" => "an error".to_owned(),
        "timeout" => "an error: the server did not answer in time".to_owned(),
        "server_down" => "an error: the server is down".to_owned(),
        "refused" => "an error: it was not passed on".to_owned(),
        _ => outcome,
    }));
    let contents = told.contents.map_or_else(String::new, |contents| format!("\n    {contents}"));
    Some(format!("{}{}", plain::line(&format!("{}: {}", said.join(" "), details.join(", "))), plain::lines(&contents)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn each_line_says_who_tells_whom_what_and_how_it_went() {
        let shown = |line: &str| words(0, line).unwrap().split_once(' ').unwrap().1.to_owned();
        let asked = r#"{"time":"2026-01-02T03:04:05.678Z","way":"from","kind":"endpoint","name":"kitchen","id":7,"method":"tools/call","tool":"add","bytes":120}"#;
        assert_eq!(shown(asked), "endpoint kitchen → tools/call add id 7: 120 bytes");
        let traced = asked.replace(r#""bytes""#, r#""trace":"0af7","bytes""#);
        assert_eq!(shown(&traced), "endpoint kitchen → tools/call add id 7 trace 0af7: 120 bytes");
        assert!(words(0, asked).unwrap()[8..].starts_with(".678 ") || words(0, asked).unwrap().contains("Z.678 "));
        let answered = r#"{"time":"","way":"to","kind":"endpoint","name":"kitchen","id":"a","method":"tools/call","tool":"add","bytes":1,"ms":7.125,"outcome":"tool_error","contents":{"id":"a"}}"#;
        assert_eq!(
            shown(answered),
            "endpoint kitchen ← tools/call add id \"a\": 1 byte, 7.125 ms, the tool reports an error\n    {\"id\":\"a\"}"
        );
        let unknown = r#"{"time":"","way":"from","kind":"server","name":"c\u001b[2J","id":1,"bytes":2,"outcome":"ok"}"#;
        assert_eq!(shown(unknown), r"c\u{1b}[2J → an answer id 1: 2 bytes, ok");
        assert_eq!(
            shown(r#"{"time":"","kind":"refused","why":"a client was refused (401)"}"#),
            "a client was refused (401)"
        );
        assert_eq!((words(0, "[]"), words(0, "{}")), (None, None));
        assert_eq!(lost(1), "… 1 line lost: more passed than was read");
    }
}
