//! `mcp-pipe init`: a first config, from what a person says and what other programs have.

use std::io;
use std::str::FromStr as _;

use serde_json::{Map, Value, json};

use super::ask;
use super::files::{self, Config, Lock, failure, one_line};
use super::import::{self, planned};
use super::moved::Added;
use super::plan::{Outcome, Source, Step};
use super::programs::{self, PROGRAMS};
use crate::config::{self, ENDPOINT, Surroundings};
use crate::endpoint::Endpoint;
use crate::error::{Exit, Failure};
use crate::process::stdout::print;
use crate::secrecy::{Redactor, Secret, address, plain};
use crate::words::{brief_path, counted, quoted};

/// How often an address that is none may be typed.
const TRIES: usize = 3;

pub(crate) fn run(yes: bool, surroundings: &Surroundings, redactor: &Redactor) -> Result<Exit, Failure> {
    let _lock = Lock::wait(&surroundings.place())?;
    let config = Config::read(surroundings)?;
    if config.text.is_some() {
        let what = format!("{} is there already, and is not written over", brief_path(&config.path));
        return Err(failure(Exit::Usage, what, "mcp-pipe import adds servers to it; --config names another file"));
    }
    if !yes && !ask::is_possible() {
        let what = "init asks, and there is no terminal";
        return Err(failure(Exit::Usage, what, "mcp-pipe init --yes does what would be offered"));
    }
    let answers = Answers { yes, redactor };
    let (is_set, endpoint) = answers.endpoint(&config, surroundings)?;
    let mut sources = Vec::new();
    for program in PROGRAMS {
        match import::of_program(program, &config.path, surroundings) {
            Ok(found) => sources.extend(found),
            // It costs only itself.
            Err(broken) => print(&broken.passed_over().shown(redactor)),
        }
    }
    let sources = answers.chosen(sources, (&config, surroundings), endpoint.is_some()).map_err(unasked)?;
    let mut plan = planned(&sources, &config, false, surroundings, redactor);
    if plan.new_servers().next().is_none() && answers.yes("Add a first example server?").map_err(unasked)? {
        plan.steps.push(example(surroundings));
    }
    if let Some(endpoint) = &endpoint {
        plan.added.retain(|added| added.name != ENDPOINT);
        let (name, server) = (ENDPOINT.to_owned(), "mcp-pipe".to_owned());
        plan.added.insert(0, Added { name, value: endpoint.clone(), server });
    }
    let has_endpoint = is_set || plan.has_endpoint();
    let mut to_set = Vec::new();
    if !plan.added.is_empty() {
        let names: Vec<&str> = plan.added.iter().map(|added| added.name.as_str()).collect();
        let question = format!("Write {} into {}, for you alone?", names.join(", "), brief_path(&config.dotenv_path()));
        if !answers.yes(&question).map_err(unasked)? {
            to_set = plan.added.drain(..).map(|added| added.name).collect();
        }
    }
    import::write(&plan, &config, true)?;
    let mut out = format!("{}: {}\n", brief_path(&config.path), counted(plan.new_servers().count(), "server"));
    for step in &plan.steps {
        let name = one_line(&step.written);
        match &step.outcome {
            Outcome::Unusable(why) => out.push_str(&format!("  left out: {name}: {}\n", plain::line(why))),
            Outcome::Taken(_) => {
                out.push_str(&format!("  left out: {name}: another server has its name; see mcp-pipe import\n"))
            }
            Outcome::New(_) | Outcome::Same => {}
        }
        for (key, why) in step.left.iter().filter(|(key, _)| !key.is_empty()) {
            out.push_str(&format!("  left out: {name}: {}: {}\n", one_line(key), plain::line(why)));
        }
    }
    for added in plan.added.iter().filter(|added| added.value.reveal().is_empty()) {
        out.push_str(&format!("  to be filled in, in .env: {}\n", added.name));
    }
    if !to_set.is_empty() {
        out.push_str(&format!("To be set where mcp-pipe runs: {}\n", to_set.join(", ")));
    }
    let named = if surroundings.config.is_named() {
        format!(" --config {}", quoted(&config.path.display().to_string()))
    } else {
        String::new()
    };
    let next = if has_endpoint { format!("mcp-pipe{named}") } else { format!("mcp-pipe{named} --local") };
    out.push_str(&format!("Next: {next}\n"));
    print(&files::shown(&out, redactor));
    Ok(Exit::Success)
}

/// That a person did not answer.
fn unasked(error: io::Error) -> Failure {
    let what = if error.kind() == io::ErrorKind::UnexpectedEof {
        "the input has ended".to_owned()
    } else {
        format!("the terminal can't be read: {error}")
    };
    failure(Exit::Failed, format!("{what}; nothing was written"), "")
}

/// Who is asked, or what is taken in their place.
struct Answers<'a> {
    yes: bool,
    redactor: &'a Redactor,
}

impl Answers<'_> {
    fn yes(&self, question: &str) -> io::Result<bool> {
        if self.yes { Ok(true) } else { ask::yes(&files::shown(question, self.redactor).trim_end().replace('\n', " ")) }
    }

    /// Whether there is an endpoint already, else the one that is typed.
    fn endpoint(&self, config: &Config, surroundings: &Surroundings) -> Result<(bool, Option<Secret>), Failure> {
        if config.variable(surroundings, ENDPOINT).is_some() {
            return Ok((true, None));
        }
        if self.yes {
            return Ok((false, None));
        }
        let question =
            "Endpoint, with its token (wss://host/path?token=…; not shown while you paste it; nothing for none):";
        for _ in 0..TRIES {
            let said = ask::hidden(question).map_err(unasked)?;
            if said.is_empty() {
                return Ok((false, None));
            }
            self.redactor.add(address::secrets(&said));
            match Endpoint::from_str(&said) {
                Ok(_) => return Ok((false, Some(Secret::new(said)))),
                Err(error) => print(&files::shown(&format!("That {error}"), self.redactor)),
            }
        }
        Err(failure(Exit::Usage, "no endpoint could be read", "set MCP_ENDPOINT in .env, and call init again"))
    }

    /// The files whose servers are wanted. `is_typed`: an endpoint for all was typed, which counts.
    fn chosen(
        &self,
        sources: Vec<Source>,
        (config, surroundings): (&Config, &Surroundings),
        is_typed: bool,
    ) -> io::Result<Vec<Source>> {
        let mut chosen = Vec::new();
        for source in sources {
            let plan = planned(std::slice::from_ref(&source), config, false, surroundings, self.redactor);
            let has_endpoint = if is_typed { !plan.endpoints.is_empty() } else { plan.has_endpoint() };
            let endpoint = has_endpoint.then(|| "its endpoint".to_owned());
            let names: Vec<_> = plan.new_servers().map(|(name, _)| one_line(name)).chain(endpoint).collect();
            let title = programs::named(source.program).map_or("A file", |program| program.title);
            let question = format!("Import from {title} ({}): {}?", brief_path(&source.path), names.join(", "));
            if !names.is_empty() && self.yes(&question)? {
                chosen.push(source);
            }
        }
        Ok(chosen)
    }
}

/// A server that runs without anything else, by whichever launcher there is.
fn example(surroundings: &Surroundings) -> Step {
    let path = surroundings.env.get("PATH").unwrap_or_default();
    let (name, entry) = if !config::on_path("uvx", path) && config::on_path("npx", path) {
        ("everything", json!({ "command": "npx", "args": ["-y", "@modelcontextprotocol/server-everything"] }))
    } else {
        ("time", json!({ "command": "uvx", "args": ["mcp-server-time"] }))
    };
    let entry: Map<String, Value> = entry.as_object().cloned().unwrap_or_default();
    let (written, name) = (name.to_owned(), name.to_owned());
    Step { source: 0, written, name, outcome: Outcome::New(entry), variables: Vec::new(), left: Vec::new() }
}
