//! What of a config is right as it is written, and yet most likely not as it was meant: seen without starting anything. A run finds it
//! out later.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::command;
use super::context::Context;
use super::dial::ENDPOINT;
use super::file::{Entry, File, RemoteEntry, Transport};
use super::interpreter::{self, Line};
use super::missing::{NO_PROGRAM, Sought, WINDOWS_ENDS, first_line, found_by_env, is_script, shell_only};
use super::{Mode, Naming, ServerSpec, windows};
use crate::disk::joined;
use crate::endpoint::agent::{self, Agent};
use crate::endpoint::{Endpoint, left_open};
use crate::error::{Code, Place};
use crate::secrecy::{Redactor, address};
use crate::words::{brief, brief_path, span};

/// Shortest token of which nothing is said, in bytes.
const SHORT_TOKEN: usize = 8;

/// A server that would run, and its entry.
type Served<'a> = (&'a ServerSpec, &'a Entry);

/// Warns of what can be seen ahead of a start. `now` is compared with the time until which tokens are good.
pub(crate) fn ahead(ctx: &mut Context<'_>, file: &File, servers: &[ServerSpec], now: SystemTime) {
    let entry = |server: &ServerSpec| file.entries.iter().find(|entry| *entry.name == *server.name);
    let served: Vec<Served<'_>> = servers.iter().filter_map(|server| Some((server, entry(server)?))).collect();
    for (server, entry) in &served {
        program(ctx, server, entry);
        placeholders(ctx, entry);
    }
    placeholders_in_env_files(ctx);
    file.entries.iter().filter(|entry| entry.disabled.is_some()).for_each(|entry| variables(ctx, entry));
    tokens(ctx, now);
    short_tokens(ctx);
    agents(ctx, &served);
}

/// Warns of variables that a server would need that is switched off.
fn variables(ctx: &mut Context<'_>, entry: &Entry) {
    let shared = &entry.shared;
    let texts = entry.env.iter().chain(&shared.endpoint_headers).map(|(_, text)| text);
    let texts = texts.chain(&entry.env_files).chain(&entry.cwd).chain(&shared.endpoint).chain(&shared.ca_file);
    let remote = match &entry.kind {
        Transport::Remote(remote) => Some(remote),
        Transport::Stdio(_) | Transport::Unspoken { .. } | Transport::Unknown => None,
    };
    let texts = texts.chain(remote.into_iter().flat_map(RemoteEntry::texts));
    let before = ctx.problems.mistakes.len();
    for text in texts {
        ctx.expand(text);
    }
    let mistakes = ctx.problems.mistakes.split_off(before);
    ctx.problems.warnings.extend(mistakes);
}

/// Warns of what an example left open in what a server is told.
fn placeholders(ctx: &mut Context<'_>, entry: &Entry) {
    let (args, env) =
        (entry.args.iter().map(|arg| (None, arg)), entry.env.iter().map(|(name, text)| (Some(&**name), text)));
    let remote = match &entry.kind {
        Transport::Remote(remote) => Some(remote),
        Transport::Stdio(_) | Transport::Unspoken { .. } | Transport::Unknown => None,
    };
    let url = remote.map(|remote| (None, &remote.url));
    let headers = remote.into_iter().flat_map(|remote| &remote.headers).chain(&entry.shared.endpoint_headers);
    let headers = headers.map(|(name, text)| (Some(&**name), text));
    let auth = remote.into_iter().filter_map(|remote| remote.auth.as_ref()?.secrets());
    let auth = auth.map(|text| (Some("token"), text));
    for (name, text) in args.chain(env).chain(url).chain(headers).chain(auth) {
        if let Some(example) = left_open(name, &text.value) {
            placeholder(ctx, text.place.clone(), &example);
        }
    }
}

/// The same in `.env`, whose variables servers get. The endpoint is looked at where it is read.
fn placeholders_in_env_files(ctx: &mut Context<'_>) {
    let mut found = Vec::new();
    for file in &ctx.dotenv.files {
        for (name, value) in file.vars().filter(|(name, _)| *name != ENDPOINT) {
            found.extend(left_open(Some(name), value).map(|example| (Place::set(name, file.spot(name)), example)));
        }
    }
    for (place, example) in found {
        placeholder(ctx, place, &example);
    }
}

fn placeholder(ctx: &mut Context<'_>, place: Place, example: &str) {
    // In braces it is a variable, as has been told.
    if ctx.problems.warnings.iter().any(|told| told.place == place && told.code == Code::NotReplaced) {
        return;
    }
    let what = format!("still holds the placeholder text of an example: {example}");
    ctx.warning(place, Code::Placeholder.says(what), "write your own value in its place");
}

/// Warns of a program, or of the script that an interpreter is to run, that is not there.
fn program(ctx: &mut Context<'_>, server: &ServerSpec, entry: &Entry) {
    let Transport::Stdio(written) = &entry.kind else { return };
    let is_told =
        |place: &Place| ctx.problems.warnings.iter().any(|told| told.place == *place && told.code == Code::PathMissing);
    // A script that stands elsewhere has been told of.
    if [written].into_iter().chain(&entry.args).any(|text| is_told(&text.place)) {
        return;
    }
    let Some(spec) = server.reach.command() else { return };
    let written_at = &written.place;
    // A path of Windows has been told of.
    if !cfg!(windows) && windows::is_place(&spec.program) {
        return;
    }
    let own = spec.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.reveal().to_owned());
    let set_by_entry = own.is_some() && ctx.dotenv.get("PATH").is_none_or(|of_file| own.as_deref() != Some(of_file));
    let ours = ctx.lookup("PATH").unwrap_or_default();
    let path = own.unwrap_or_else(|| ours.clone());
    let cwd = spec.cwd.as_deref().unwrap_or(ctx.cwd);
    let (program, path) = (&*spec.program, &*path);
    let sought = Sought { program, path, ours: set_by_entry.then_some(&*ours), cwd };
    let shown = brief(program);
    if command::is_path(&spec.program) {
        let place = Path::new(&spec.program);
        let fault = if place.is_dir() {
            Some(("a folder", "name the program in it".to_owned()))
        } else if !place.exists() {
            let create = create_it(&written.value, "the config's folder");
            Some(("no file", shell_only(program).map_or(create, str::to_owned)))
        } else if sought.is_script() {
            Some((NO_PROGRAM, sought.remedy_for_interpreter()))
        } else if !command::is_executable(place) {
            Some(("not executable", "make it executable: chmod +x".to_owned()))
        } else {
            None
        };
        if let Some((what, remedy)) = fault {
            let what = format!("names {}, which is {what}, so {} can't start", brief_path(place), brief(&server.name));
            ctx.warning(&written.place, Code::ProgramMissing.says(what), remedy);
        } else if let Some(line) = first_line(place).filter(|line| !line.ends_with(WINDOWS_ENDS))
            && let Some(interpreter) = found_by_env(&line).filter(|name| !command::on_path(name, path))
        {
            let (shown, interpreter) = (brief_path(place), brief(interpreter));
            let what = format!(
                "names {shown}, which {interpreter} runs, and that is in no folder of the PATH, so {} can't start",
                brief(&server.name)
            );
            let remedy = "write \"env\": {\"PATH\": \"/folder/of/it:${PATH}\"} beside it";
            ctx.warning(&written.place, Code::ProgramMissing.says(what), remedy);
        }
    } else if !command::on_path(program, path) {
        let what = format!("names {shown}, which is in no folder of the PATH, so {} can't start", brief(&server.name));
        ctx.warning(&written.place, Code::ProgramMissing.says(what), sought.remedy_for_missing());
    }
    for arg in entry.args.iter().filter(|arg| arg.value != arg.value.trim() && is_script(arg.value.trim())) {
        let what = "begins or ends with a blank, which is taken for a part of the script's name";
        ctx.warning(&arg.place, Code::WrongValue.says(what), format!("write {:?}", brief(arg.value.trim())));
    }
    let Some(cwd) = &spec.cwd else { return };
    let place = |at: usize| {
        let written = entry.args.iter().find(|arg| arg.value == spec.args[at]).or_else(|| entry.args.get(at));
        written.map_or_else(|| written_at.clone(), |arg| arg.place.clone())
    };
    let fault = match interpreter::line(&spec.program, &spec.args) {
        Line::Joined(at) => Some((at, None)),
        Line::Script(at) if joined(cwd, &spec.args[at]).exists() => None,
        Line::Script(at) if interpreter::is_joined_to_script(&spec.args[at]) => Some((at, None)),
        Line::Script(at) => {
            let is_missing = is_script(&spec.args[at]) && cwd.is_dir();
            is_missing.then(|| (at, Some(joined(cwd, &spec.args[at]))))
        }
        Line::Unknown => None,
    };
    match fault {
        Some((at, Some(file))) => {
            let what = format!("names {}, which is no file, so {} can't start", brief_path(&file), brief(&server.name));
            let remedy = create_it(&spec.args[at], "the server's cwd, else at the config's folder");
            ctx.warning(place(at), Code::PathMissing.says(what), remedy);
        }
        Some((at, None)) => {
            let what = "holds several arguments, and no shell parts them here";
            ctx.warning(place(at), Code::WrongValue.says(what), "write a text for each argument: [\"…\", \"…\"]");
        }
        None => {}
    }
}

/// What to do about a path that leads to no file; `start`: where it starts unless it is absolute.
fn create_it(written: &str, start: &str) -> String {
    let from = if Path::new(written.trim()).is_absolute() { "" } else { &format!(", which starts at {start}") };
    format!("create it, or correct the path{from}")
}

/// Warns of tokens that are a part of a name: such a name has to be shown, so the token can't be kept out of sight.
pub(crate) fn tokens_in_names(ctx: &mut Context<'_>, file: &File) {
    let tokens = |endpoint: &Endpoint| address::tokens(&endpoint.reveal().to_string());
    // Hardly ever there are any: a name is compared with each token only where one of them is in it.
    let all: Redactor = ctx.named.iter().flat_map(|(_, endpoint)| tokens(endpoint)).collect();
    let names: Vec<String> = file.names().into_iter().filter(|name| *all.clean(name) != **name).collect();
    if names.is_empty() {
        return;
    }
    let mut found = Vec::new();
    for (place, endpoint) in &ctx.named {
        let tokens: Redactor = tokens(endpoint).into_iter().collect();
        if let Some(name) = names.iter().find(|name| *tokens.clean(name) != ***name) {
            found.push((place.clone(), format!("has a token that is a part of the name {}", brief(name))));
        }
    }
    for (place, what) in found {
        let what = format!("{what}, and so can't be kept out of the log");
        ctx.warning(place, Code::TokenWeak.says(what), "call that otherwise, or have the endpoint take another token");
    }
}

/// Warns of tokens that are so short that many a word of the log is taken for them.
fn short_tokens(ctx: &mut Context<'_>) {
    let is_short = |endpoint: &Endpoint| {
        let tokens = address::tokens(&endpoint.reveal().to_string());
        tokens.iter().any(|token| token.reveal().len() < SHORT_TOKEN)
    };
    let places: Vec<Place> =
        ctx.named.iter().filter(|(_, endpoint)| is_short(endpoint)).map(|(place, _)| place.clone()).collect();
    for place in places {
        let what =
            format!("has a token of less than {SHORT_TOKEN} characters: it may be guessed, and hides words of the log");
        ctx.warning(place, Code::TokenWeak.says(what), "have the endpoint take a longer one");
    }
}

/// Warns of tokens that say of themselves that they are good no longer.
fn tokens(ctx: &mut Context<'_>, now: SystemTime) {
    let ends = |endpoint| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(agent::good_until(endpoint)?));
    let over = |end: SystemTime| now.duration_since(end).ok().filter(|past| !past.is_zero());
    let named = ctx.named.iter().filter_map(|(place, endpoint)| Some((place.clone(), over(ends(endpoint)?)?)));
    for (place, past) in named.collect::<Vec<_>>() {
        let what = format!("has a token that expired {} ago, by what the token says of itself", span(past));
        ctx.warning(
            place,
            Code::TokenExpired.says(what),
            "copy a fresh endpoint URL, with its token, from its console",
        );
    }
}

/// Warns where servers are served to one agent in a way that its writer may not know, and of what they are called there.
fn agents(ctx: &mut Context<'_>, served: &[Served<'_>]) {
    let agents: Vec<Option<Agent>> = served.iter().map(|(server, _)| super::sharing::agent(server)).collect();
    for (i, (server, entry)) in served.iter().enumerate() {
        let others = || (0..served.len()).filter(|at| *at != i && agents[i].is_some() && agents[*at] == agents[i]);
        if let Some(before) = others().find(|at| *at < i) {
            shared(ctx, &served[before], &(server, entry));
        }
        let is_merged = matches!(server.sharing.mode, Mode::Auto | Mode::Multiplex) && others().next().is_some();
        if is_merged {
            names(ctx, &(server, entry), &others().map(|at| served[at]).collect::<Vec<_>>());
        }
    }
}

/// Warns of a server on the agent of an earlier one: by another address, or where each has a connection whatever happens.
fn shared(ctx: &mut Context<'_>, (one, _): &Served<'_>, (other, entry): &Served<'_>) {
    let named = |server: &ServerSpec| ctx.named.iter().find(|(_, named)| server.endpoint.as_ref() == Some(named));
    let place = |server: &ServerSpec| named(server).map(|(place, _)| place.clone());
    let (first, name) = (brief(&one.name), brief(&other.name));
    if one.endpoint != other.endpoint {
        let there = place(one).map_or_else(String::new, |place: Place| format!(" ({place})"));
        let what = format!(
            "is for the agent that {first}{there} is served to, by another address or token: they share its connections"
        );
        let remedy = "if that is meant, write one address for both; if not, copy the address of the other agent";
        let place = place(other).unwrap_or_else(|| entry.place.clone());
        ctx.warning(place, Code::AgentShared.says(what), remedy);
    } else if other.sharing.mode == Mode::PerServer {
        let what = format!(
            "is served to the agent of {first}, and in mode per-server each has a connection of its own, of which most endpoints take \
             one or two"
        );
        let remedy =
            format!("leave the mode at auto, write \"mode\": \"multiplex\", or give {name} an endpoint of its own");
        ctx.warning(&entry.place, Code::AgentShared.says(what), remedy);
    }
}

/// Warns of names that an endpoint will not see as they are written, where servers share a connection.
fn names(ctx: &mut Context<'_>, (server, entry): &Served<'_>, others: &[Served<'_>]) {
    let name = brief(&server.name);
    let strange = server.name.chars().find(|c| !server.sharing.names.has(*c));
    if let (Some(c), Naming::Prefix) = (strange, server.sharing.naming) {
        let what = format!(
            "has {c:?} in its name, which no tool's name may have, so its tools are not published as {name}__… but under altered names"
        );
        ctx.warning(&entry.place, Code::NameChanged.says(what), "call the server by letters, digits, _ and -");
    }
    for given in &entry.given_names {
        let has_it = |(_, other): &&Served<'_>| other.given_names.iter().any(|theirs| theirs.value == given.value);
        if let (Some((other, _)), Naming::Auto) = (others.iter().find(has_it), server.sharing.naming) {
            let new = brief(&given.value);
            let what = format!(
                "is \"{new}\", as a tool of {} is: on one connection both are published behind the names of their servers",
                brief(&other.name)
            );
            ctx.warning(&given.place, Code::NameChanged.says(what), "give each tool its own name");
        }
    }
}
