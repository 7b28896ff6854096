//! What each server starts, and with which environment.

use std::collections::BTreeSet;

use super::command::{self, Invocation};
use super::context::{Context, Hidden};
use super::file::{Entry, File, Kind};
use super::{CommandSpec, ServerSpec, secrets};
use crate::endpoint::{Secret, looks_like_endpoint};
use crate::words::closest;

/// What an entry starts. `None` if it can't, which has been noted.
pub(crate) fn of_entry(ctx: &mut Context<'_>, entry: &Entry, asked_for: bool) -> Option<CommandSpec> {
    let program = match &entry.kind {
        Kind::Stdio(program) => program,
        Kind::Unknown if asked_for && ctx.problems.mistakes.is_empty() => {
            ctx.mistake(&entry.name, "can't be run as it stands in the config", "see the warnings");
            return None;
        }
        Kind::Unknown => return None,
        Kind::Remote(by) => {
            let what = match by.value.as_str() {
                "url" => format!("makes {} a remote server, which this version can't use", entry.name),
                kind => format!("makes {} a remote server ({kind}), which this version can't use", entry.name),
            };
            if asked_for {
                ctx.mistake(&by.place, what, "choose a server with a command");
            } else {
                ctx.warning(&by.place, format!("{what}; it is left out"), "disable it to silence this");
            }
            return None;
        }
    };
    for text in std::iter::once(program).chain(&entry.args).filter(|text| text.value.contains("${")) {
        let what =
            "has a ${, which is not replaced here: a command line is no place for secrets, everybody can read it";
        ctx.warning(&text.place, what, "hand a value over in env");
    }
    let mut env = Vec::new();
    for (name, text) in entry.env.iter().filter(|(name, _)| name != "MCP_ENDPOINT") {
        if name.is_empty() || name.contains(['=', '\0']) {
            ctx.mistake(&text.place, "is no name for a variable", "use letters, digits and _");
        }
        let Some(value) = ctx.expand(text) else { continue };
        if secrets::betrays(&value, &ctx.hidden.tokens, &ctx.hidden.endpoints) {
            ctx.warning(
                &text.place,
                "holds an endpoint and is not passed on: servers don't get to see it",
                "remove it",
            );
        } else {
            env.push((name.clone(), Secret::new(value)));
        }
    }
    let cwd = match &entry.cwd {
        None => ctx.base.clone(),
        Some(text) => {
            let written = ctx.expand(text)?;
            let cwd = ctx.base.join(written);
            // No mistake: a disk may be mounted later than we start, and the other servers need not wait for it.
            if !cwd.is_dir() {
                let what = format!("names {}, which is no folder now, so {} can't start", cwd.display(), entry.name);
                ctx.warning(&text.place, what, "create it, or correct the path; it is tried again");
            }
            cwd
        }
    };
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.reveal().to_owned());
    let path = path.or_else(|| ctx.lookup("PATH")).unwrap_or_default();
    let written = program.value.trim();
    let program = if command::is_path(written) {
        ctx.base.join(written).display().to_string()
    } else {
        command::with_fallback(written, &path).to_owned()
    };
    if program == "python3" && written == "python" {
        ctx.notes.push(format!("{}: python3 is used, there is no python here", entry.name));
    }
    let args = entry.args.iter().map(|arg| arg.value.clone()).collect();
    Some(CommandSpec { program, args, env, env_remove: Vec::new(), cwd: Some(cwd) })
}

/// A script by its file name; also its name as a server.
pub(crate) fn of_script(ctx: &mut Context<'_>, file: &File, name: &str) -> Option<(String, CommandSpec)> {
    if is_url(ctx, name) {
        return None;
    }
    let places = command::script_places(name, ctx.cwd, &ctx.base);
    let Some(path) = places.iter().find(|place| place.is_file()) else {
        let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        let names: Vec<&str> = file.entries.iter().map(|entry| entry.name.as_str()).collect();
        let commands = &ctx.line.other_commands;
        let known = names.iter().copied().chain(commands.iter().map(String::as_str));
        let remedy = match (closest(name, known), names.as_slice()) {
            (Some(close), _) => format!("did you mean {close}?"),
            (None, []) => format!("to run a program: mcp-pipe -- {name}"),
            (None, names) => format!("the config has: {}; to run a program: mcp-pipe -- {name}", names.join(", ")),
        };
        let what =
            format!("is neither a command nor a server in the config nor a file; looked for {}", looked.join(", "));
        ctx.no_target(name, what, remedy);
        return None;
    };
    match command::for_script(path, ctx.env) {
        Ok(invocation) => {
            ctx.notes.push(format!("{name}: taking {}, run with {}", path.display(), invocation.program));
            let stem = path.file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
            Some((stem, of_line(ctx, invocation)))
        }
        Err((what, remedy)) => {
            ctx.no_target(path.display().to_string(), what, remedy);
            None
        }
    }
}

/// Whether a target is a URL, which is noted without its text: most likely it is an endpoint, with its token.
pub(crate) fn is_url(ctx: &mut Context<'_>, target: &str) -> bool {
    let is_url = looks_like_endpoint(target);
    if is_url {
        let remedy = "pass an endpoint by MCP_ENDPOINT, .env or --endpoint";
        ctx.no_target("the target", "is a URL, not a server, a script or a program", remedy);
    }
    is_url
}

/// A command that the config says nothing about: it starts in the working directory.
pub(crate) fn of_line(ctx: &Context<'_>, Invocation { program, args }: Invocation) -> CommandSpec {
    let program = if command::is_path(&program) { ctx.cwd.join(program).display().to_string() } else { program };
    CommandSpec { program, args, env: Vec::new(), env_remove: Vec::new(), cwd: Some(ctx.cwd.to_path_buf()) }
}

/// Whether no server may have a variable.
fn is_hidden(hidden: &Hidden, name: &str, value: &str) -> bool {
    let Hidden { endpoints, tokens, headers } = hidden;
    // Never taken out, whatever an endpoint's query happens to hold: nothing starts without them.
    name == "MCP_ENDPOINT"
        || (!["PATH", "HOME"].contains(&name)
            && (secrets::betrays(value, tokens, endpoints) || secrets::betrays(value, headers, &[])))
}

/// The names of the variables that servers don't get, for people. `MCP_ENDPOINT` is not for servers anyway.
pub(crate) fn withheld(ctx: &Context<'_>) -> Option<String> {
    let ours = ctx.env.iter().map(|(name, value)| (name.to_string_lossy(), value.to_string_lossy()));
    let from_file = ctx.dotenv.vars().map(|(name, value)| (name.into(), value.into()));
    let names: BTreeSet<_> = ours
        .chain(from_file)
        .filter(|(name, value)| name != "MCP_ENDPOINT" && is_hidden(&ctx.hidden, name, value))
        .map(|(name, _)| name)
        .collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then(|| format!("not handed on to servers, for the token or header value in it: {names}"))
}

/// Adds what `.env` sets, and takes out whatever would give away an endpoint.
pub(crate) fn with_clean_environment(ctx: &Context<'_>, mut server: ServerSpec) -> ServerSpec {
    let hidden = |name: &str, value: &str| is_hidden(&ctx.hidden, name, value);
    let env = &mut server.command.env;
    let own: Vec<String> = env.iter().map(|(name, _)| name.clone()).collect();
    let mut all: Vec<(String, Secret)> = ctx
        .dotenv
        .vars()
        .filter(|(name, value)| ctx.env.get(name).is_none() && own.iter().all(|o| o != name) && !hidden(name, value))
        .map(|(name, value)| (name.to_owned(), Secret::new(value)))
        .collect();
    all.append(env);
    *env = all;
    let variables = ctx.env.iter().filter(|(name, value)| hidden(&name.to_string_lossy(), &value.to_string_lossy()));
    server.command.env_remove =
        variables.map(|(name, _)| name.to_owned()).filter(|n| !own.iter().any(|o| *n == **o)).collect();
    server
}
