//! `mcp-pipe import`: looks for the files of other programs, tells what would become of the config, and writes that where it is asked to.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Import;
use super::edit::{self, Put};
use super::files::{self, Broken, Config, Lock, Writer, failure, one_line};
use super::plan::{self, Plan, Present, Source};
use super::programs::{self, PROGRAMS, Program, System};
use super::report::Report;
use crate::config::{self, Surroundings, truth};
use crate::disk::joined;
use crate::error::{Exit, Failure};
use crate::process::stdout::print;
use crate::secrecy::Redactor;
use crate::tools::Glob;
use crate::words::{brief, brief_path, closest, quoted};

pub(crate) fn run(wanted: &Import<'_>, surroundings: &Surroundings, redactor: &Redactor) -> Result<Exit, Failure> {
    let _lock = if wanted.write { Some(Lock::wait(&surroundings.place())?) } else { None };
    let config = Config::read(surroundings)?;
    let sources = sources(wanted.from, &config.path, surroundings)?;
    let plan = planned(&sources, &config, wanted.both, surroundings, redactor);
    if sources.is_empty() && !wanted.json {
        let titles: Vec<&str> = PROGRAMS.iter().map(|program| program.title).collect();
        print(&format!(
            "No servers were found. Looked for the files of {}.\nA file is named by: mcp-pipe import --from FILE\n",
            titles.join(", ")
        ));
        return Ok(Exit::Success);
    }
    let copies = if wanted.write { Some(write(&plan, &config, false)?) } else { None };
    let filled = plan.added.iter().filter(|added| !added.value.reveal().is_empty());
    let filled: Vec<&str> = filled.map(|added| added.name.as_str()).collect();
    let report = Report {
        sources: &sources,
        plan: &plan,
        config: &config.path,
        list: &config.list(),
        dotenv: &config.dotenv_path(),
        written: copies.as_deref(),
        command: command(wanted, surroundings),
        inheriting: inheriting(&config.value, &config.servers(), &filled),
    };
    print(&match wanted.json {
        true => files::shown_json(report.json(), redactor),
        false => files::shown(&report.words(), redactor),
    });
    Ok(Exit::Success)
}

/// The command that writes what was planned.
fn command(wanted: &Import<'_>, surroundings: &Surroundings) -> String {
    let mut command = "mcp-pipe import".to_owned();
    for from in wanted.from {
        command.push_str(&format!(" --from {}", quoted(from)));
    }
    if wanted.both {
        command.push_str(" --both");
    }
    if surroundings.config.is_named() {
        command.push_str(&format!(" --config {}", quoted(&surroundings.config.path.display().to_string())));
    }
    command + " --write"
}

/// The servers of a config that inherit one of these variables from `.env`.
fn inheriting(config: &Value, servers: &Map<String, Value>, added: &[&str]) -> Vec<String> {
    let everything = |all: bool| if all { vec!["*"] } else { Vec::new() };
    let said = |of: &Value| of.get("inheritEnv").filter(|it| !it.is_null()).cloned();
    let inherits = |inherit: &Value| {
        let patterns = match inherit {
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            Value::String(text) => match truth(text) {
                Some(all) => everything(all),
                None => vec![text.trim()],
            },
            Value::Bool(all) => everything(*all),
            Value::Number(number) => everything(number.as_u64() == Some(1)),
            Value::Null | Value::Object(_) => Vec::new(),
        };
        let mut globs = patterns.into_iter().map(Glob::new);
        globs.any(|glob| added.iter().any(|name| glob.matches(name)))
    };
    let default = said(config).unwrap_or(json!(true));
    let is_told = |entry: &Value| entry.get("command").is_some() && inherits(said(entry).as_ref().unwrap_or(&default));
    servers.iter().filter(|(_, entry)| is_told(entry)).map(|(name, _)| name.clone()).collect()
}

/// The plan for some files, with its secrets known to the redactor.
pub(crate) fn planned(
    sources: &[Source],
    config: &Config,
    both: bool,
    surroundings: &Surroundings,
    redactor: &Redactor,
) -> Plan {
    let present = Present {
        servers: config.servers(),
        has_endpoints: !config.value["endpoints"].is_null(),
        folder: config.folder(),
        env: &surroundings.env,
        exists: &|path| path.is_file(),
        held: config.dotenv.vars().collect(),
        both,
    };
    let plan = plan::plan(sources, &present, &|name| config.variable(surroundings, name));
    redactor.add(plan.secrets.iter().cloned());
    let names: Vec<&str> = plan.steps.iter().flat_map(|step| [&*step.written, &*step.name]).collect();
    redactor.spare(names);
    plan
}

/// The files with servers: those of the programs, and those named.
///
/// # Errors
/// One of them can't be read, or there is nothing that was named.
pub(crate) fn sources(from: &[String], config: &Path, surroundings: &Surroundings) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    let own = config.canonicalize().unwrap_or_else(|_| config.to_path_buf());
    if from.is_empty() {
        for program in PROGRAMS {
            sources.extend(of_program(program, &own, surroundings)?);
        }
        return Ok(sources);
    }
    for name in from {
        match programs::named(name) {
            Some(program) => {
                let found = of_program(program, &own, surroundings)?;
                if found.is_empty() {
                    let places = program.places(System::here(), &surroundings.env, &surroundings.cwd);
                    let looked: Vec<String> = places.iter().map(|place| brief_path(&place.path)).collect();
                    let what = format!("{} has no servers here: looked at {}", program.title, looked.join(", "));
                    return Err(failure(Exit::Usage, what, "name its file: mcp-pipe import --from FILE"));
                }
                sources.extend(found);
            }
            None => sources.push(of_file(name, surroundings)?),
        }
    }
    Ok(sources)
}

/// The files of a program in which servers are.
///
/// # Errors
/// One of them can't be used.
pub(crate) fn of_program(program: &Program, own: &Path, surroundings: &Surroundings) -> Result<Vec<Source>, Broken> {
    let mut found: Vec<Source> = Vec::new();
    for place in program.places(System::here(), &surroundings.env, &surroundings.cwd) {
        let real = place.path.canonicalize().unwrap_or_else(|_| place.path.clone());
        let is_known =
            real == own || found.iter().any(|source| source.path.canonicalize().is_ok_and(|path| path == real));
        let Some(text) = files::foreign_text(&place.path)?.filter(|_| !is_known) else { continue };
        let value = files::value(&place.path, &text)?;
        if !config::lists(&value).0.is_empty() {
            let (habits, program) = (program.habits, program.name);
            found.push(Source { program, habits, path: place.path, folder: place.folder, value });
        }
    }
    Ok(found)
}

/// A file that somebody has named.
fn of_file(name: &str, surroundings: &Surroundings) -> Result<Source, Failure> {
    let path = joined(&surroundings.cwd, name);
    let Some(text) = files::foreign_text(&path)? else {
        let meant = closest(name, PROGRAMS.iter().map(|program| program.name));
        let names: Vec<&str> = PROGRAMS.iter().map(|program| program.name).collect();
        let remedy = meant.map_or_else(
            || format!("name a file, or one of {}", names.join(", ")),
            |meant| format!("did you mean {meant}?"),
        );
        return Err(failure(Exit::Usage, format!("--from: {} is neither a program nor a file", brief(name)), remedy));
    };
    let value = files::value(&path, &text)?;
    if config::lists(&value).0.is_empty() {
        let what = format!("--from: {} has no servers", brief_path(&path));
        return Err(failure(Exit::Usage, what, "name a file with mcpServers"));
    }
    let (program, habits, folder) = programs::of_file(&path);
    Ok(Source { program, habits, path, folder, value })
}

/// Writes what was planned: `.env` first, since the config names its variables. Tells where the copies are. `is_first`: a config is made
/// also where there is nothing to put into it.
///
/// # Errors
/// What could not be written; nothing of it is.
pub(crate) fn write(plan: &Plan, config: &Config, is_first: bool) -> Result<Vec<PathBuf>, Failure> {
    let list = config.list();
    let empty = is_first.then(|| (list.clone(), json!({})));
    let puts: Vec<Put<'_>> = empty.into_iter().chain(plan.puts(&list)).collect();
    let before = config.text.clone();
    let new = match puts.is_empty() {
        true => None,
        false => Some(edit::with(before.as_deref().unwrap_or_default(), &puts).ok_or_else(|| {
            let what =
                format!("{} can't be changed without touching the rest; nothing was written", brief_path(&config.path));
            failure(Exit::Failed, what, "put in by hand what mcp-pipe import shows")
        })?),
    };
    let path = config.dotenv_path();
    let held = config.dotenv_text.clone();
    let lines = lines(plan)?;
    let mut writer = Writer::new();
    if !lines.is_empty() {
        let text = edit::with_lines(held.as_deref().unwrap_or_default(), &lines);
        writer.put(&path, held, &text, true)?;
    }
    if let Some(new) = new {
        writer.put(&config.path, before, &new, false)?;
    }
    Ok(writer.copies())
}

/// The lines that `.env` gets.
fn lines(plan: &Plan) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for added in &plan.added {
        if added.value.reveal().is_empty() {
            lines.push(format!("# For {}, to be filled in:", one_line(&added.server)));
        }
        lines.push(edit::line(&added.name, added.value.reveal()).ok_or_else(|| {
            let what = format!(
                "the value of {} has characters that no line of .env can hold; nothing was written",
                added.name
            );
            failure(Exit::Failed, what, format!("set {} in the environment, and import again", added.name))
        })?);
    }
    Ok(lines)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_inherits_what_is_added_is_told_by_what_counts_for_it() {
        let servers = json!({
            "unsaid": {"command": "x"},
            "all": {"command": "x", "inheritEnv": true},
            "none": {"command": "x", "inheritEnv": false},
            "some": {"command": "x", "inheritEnv": ["A_*"]},
            "others": {"command": "x", "inheritEnv": ["B_*"]},
            "remote": {"url": "https://h/", "inheritEnv": true},
        });
        let of = |top: Value, added: &[&str]| inheriting(&top, servers.as_object().unwrap(), added).join(" ");
        assert_eq!(of(json!({}), &["A_TOKEN"]), "unsaid all some");
        assert_eq!(of(json!({"inheritEnv": false}), &["A_TOKEN"]), "all some");
        assert_eq!(of(json!({"inheritEnv": ["B_TOKEN"]}), &["B_TOKEN"]), "unsaid all others");
        assert_eq!(of(json!({}), &[]), "");
        for (written, is_told) in
            [("\"yes\"", true), ("1", true), ("\" A_TOKEN \"", true), ("\"off\"", false), ("0", false)]
        {
            let inherit: Value = serde_json::from_str(written).unwrap();
            let told = of(json!({"inheritEnv": inherit}), &["A_TOKEN"]);
            assert_eq!(told.contains("unsaid"), is_told, "{written}");
        }
        assert!(of(json!({"inheritEnv": null}), &["A_TOKEN"]).contains("unsaid"));
    }
}
