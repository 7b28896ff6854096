//! `mcp-pipe replay`: calls that `mcp-pipe tap` recorded, made again through the whole pipe, and their answers compared in shape.
//!
//! # Theory of operation
//!
//! The file is read and paired to calls (`recorded`) before anything starts. The server is started as `call` starts it, and called
//! once for each call that the file holds, one after the other, in their order: a later call may build on an earlier one. What is
//! compared is the shape of an answer (`shape`), since clocks and numbers differ each time.

mod file;
mod recorded;
mod report;
mod shape;

use std::io::Write;
use std::sync::Arc;

use serde_json::{Map, Value};

pub(crate) use self::file::{Calls, read};
use self::recorded::{Recorded, Side};
use self::report::{Replayed, Replays, Verdict};
use self::shape::Outcome;
use crate::config::{Config, Mode, Names, Naming, ServerSpec};
use crate::control::status::Status;
use crate::inspect::{Form, InspectError, Waiting, at_local_endpoint, catalogue, longest, only_reads, write};
use crate::local::{Catalogue, Client, LocalError};
use crate::process::stop::Stop;
use crate::router::names::{Letters, publish};
use crate::tools::ToolPolicy;

/// What is made again, and how that is shown.
pub(crate) struct Replay<'a> {
    pub(crate) calls: Calls,
    /// Calls of tools, too, that are not marked as some that only read.
    pub(crate) all: bool,
    pub(crate) form: Form,
    pub(crate) status: &'a Status,
}

impl Replay<'_> {
    /// Makes the calls again at the first server of `config`, and prints what came of each. Returns whether all is well.
    ///
    /// `serve` runs the server's pipe until the stop; everything is printed before the server is stopped.
    ///
    /// # Errors
    /// The server could not be asked: as [`InspectError`] says.
    pub(crate) async fn run(
        self,
        mut config: Config,
        stop: Stop,
        serve: impl AsyncFnOnce(Config, Stop),
        out: &mut dyn Write,
    ) -> Result<bool, InspectError> {
        config.tool_budget = usize::MAX;
        let Some(server) = config.servers.first_mut() else {
            return Err(InspectError::Stopped); // resolving a config without servers has failed already
        };
        // The calls are those that the server gets, whatever the config publishes of its tools.
        let policy = std::mem::take(&mut server.tools);
        server.sharing.mode = Mode::PerServer;
        let spec = server.clone();
        at_local_endpoint(config, &stop, serve, async |client| {
            let waiting = Waiting::default();
            let asked = catalogue(&client, self.status, &waiting, &spec);
            let catalogue = waiting.during(asked, self.status).await?;
            let it = Callee { spec: &spec, policy: &policy, catalogue: &catalogue, client: &client };
            let mut calls = Vec::new();
            for call in &self.calls.calls {
                let (tool, known) = it.find(call);
                let replayed = match self.reason_to_skip(call, known) {
                    Some((verdict, words)) => Replayed { line: call.line, tool, verdict, words },
                    None => {
                        let _over = waiting.begin_call(&spec.name, &tool, longest(&policy, &tool));
                        waiting.during(it.call_again(call, &tool), self.status).await
                    }
                };
                calls.push(replayed);
            }
            let replays = Replays { server: &spec.name, calls, lost: self.calls.lost };
            let redactor = self.status.redactor();
            let text = match self.form {
                Form::Json => replays.as_json(redactor),
                Form::Table { width, colour } => replays.render((width, colour), redactor),
            };
            write(out, &text)?;
            Ok(replays.are_well())
        })
        .await
    }

    /// Why a call is not made again, if it is not. `known`: the tool, as the server lists it now.
    fn reason_to_skip(&self, call: &Recorded, known: Option<&Value>) -> Option<(Verdict, String)> {
        let skipped = |why: &str| Some((Verdict::Skipped, format!("because {why}")));
        let had_result = match &call.outcome {
            Some(Outcome::Result { is_error, .. }) => !is_error,
            Some(Outcome::Error(_)) => false,
            None => return skipped("the file has no answer to compare with"),
        };
        if call.arguments.is_none() {
            return skipped("its contents are not in the file");
        }
        match known {
            Some(tool) if self.all || only_reads(tool) => None,
            Some(_) => skipped("the tool is not marked readOnlyHint: true; --all calls such tools, too"),
            None if call.side == Side::Peer => skipped(
                "the server has no tool that is published so; a file written for the server has its own names: mcp-pipe tap SERVER",
            ),
            None if had_result => Some((Verdict::Differs, "the server has this tool no more".to_owned())),
            None => skipped("the server has no such tool, and the answer was an error then, too"),
        }
    }
}

/// The server that is called.
struct Callee<'a> {
    spec: &'a ServerSpec,
    policy: &'a Arc<ToolPolicy>,
    catalogue: &'a Catalogue,
    client: &'a Client,
}

impl Callee<'_> {
    /// The server's own name for the tool of a call, and the tool, as far as the server has it.
    fn find(&self, call: &Recorded) -> (String, Option<&Value>) {
        let tool = |name: &str| self.catalogue.tools.iter().find(|tool| tool["name"] == name);
        if let Some(known) = tool(&call.tool) {
            return (call.tool.clone(), Some(known));
        }
        let names: Vec<&str> = self.catalogue.names().collect();
        let own =
            (call.side == Side::Peer).then(|| own_name(&call.tool, &self.spec.name, &names, self.policy)).flatten();
        match own {
            Some(own) => (own.to_owned(), tool(own)),
            None => (call.tool.clone(), None),
        }
    }

    /// Makes a call again, and compares what comes of it.
    async fn call_again(&self, call: &Recorded, tool: &str) -> Replayed {
        let arguments = match &call.arguments {
            Some(Value::Null) | None => Value::Object(Map::new()),
            Some(arguments) => arguments.clone(),
        };
        let answer = self.client.call(&self.spec.name, tool, arguments, longest(self.policy, tool)).await;
        let (now, said) = match answer {
            Ok(result) => (Ok(Outcome::of_result(&result)), said_by(&result)),
            Err(LocalError::Rpc { error, .. }) if !error.is_no_answer() => {
                (Ok(Outcome::Error(error.code)), Some(error.message))
            }
            Err(gone) => (Err(gone.to_string()), None),
        };
        let (verdict, words) = match (&call.outcome, now) {
            (_, Err(why)) => (Verdict::Failed, why),
            (Some(before), Ok(now)) => match before.difference(&now) {
                None => (Verdict::Same, "answered in the same shape".to_owned()),
                Some(words) => {
                    (Verdict::Differs, said.map_or_else(|| words.clone(), |said| format!("{words}; it says: {said}")))
                }
            },
            (None, Ok(_)) => (Verdict::Skipped, "because the file has no answer to compare with".to_owned()),
        };
        Replayed { line: call.line, tool: tool.to_owned(), verdict, words }
    }
}

/// What a tool says in a result that is an error, for a person: the beginning of it.
fn said_by(result: &Value) -> Option<String> {
    let text = result["content"].as_array()?.iter().find_map(|block| block["text"].as_str())?;
    (result["isError"] == true).then(|| crate::words::brief(text.trim()).into_owned())
}

/// The server's own name for a tool that was called as an endpoint sees it: as the config renames it, behind the server's name, or
/// with other letters.
fn own_name<'a>(published: &str, server: &str, names: &[&'a str], policy: &ToolPolicy) -> Option<&'a str> {
    let shown: Vec<String> = names.iter().map(|name| policy.name_of(name).to_string()).collect();
    let place = shown.iter().position(|name| name == published).or_else(|| {
        let items: Vec<(usize, &str)> = shown.iter().map(|name| (0, name.as_str())).collect();
        let ways = [Naming::Auto, Naming::Prefix].into_iter().flat_map(|naming| {
            [Names::Ascii, Names::Unicode].into_iter().map(move |letters| (naming, Letters::Of(letters)))
        });
        ways.map(|(naming, letters)| publish(naming, letters, &[server], &items))
            .find_map(|all| all.iter().position(|name| name == published))
    })?;
    names.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_found_by_each_name_that_an_endpoint_may_know_it_by() {
        let policy = ToolPolicy { rename: vec![("sub".into(), "minus".into())], ..ToolPolicy::default() };
        let names = ["add", "sub", "get.time"];
        for (published, want) in [
            ("add", Some("add")),
            ("calc__add", Some("add")),
            ("minus", Some("sub")),
            ("calc__minus", Some("sub")),
            ("get_time", Some("get.time")),
            ("calc__get_time", Some("get.time")),
            ("sub", None),
            ("other__add", None),
        ] {
            assert_eq!(own_name(published, "calc", &names, &policy), want, "{published}");
        }
    }
}
