//! What the command line names instead of a server of the config: a script, or a program.

use std::path::{Path, PathBuf};

use super::CommandSpec;
use super::command::{self, Invocation};
use super::context::Context;
use super::file::File;
use super::start;
use crate::endpoint::{looks_like_endpoint, looks_like_token};
use crate::words::closest;

/// Most files of a folder that are looked at in the search for a similar name.
const MOST_FILES: usize = 1000;

/// A script by its file name; also its name as a server.
pub(crate) fn of_script(ctx: &mut Context<'_>, file: &File, name: &str) -> Option<(String, CommandSpec)> {
    let names: Vec<&str> = file.entries.iter().map(|entry| entry.name.as_str()).collect();
    if is_endpoint(ctx, name, &names) {
        return None;
    }
    let places = command::script_places(name, ctx.cwd, &ctx.base);
    let Some(path) = places.iter().find(|place| place.is_file()) else {
        not_found(ctx, file, name, &places);
        return None;
    };
    if is_config(name) {
        let remedy = format!("name a config by --config: mcp-pipe --config {name}");
        ctx.no_target(path.display().to_string(), "is a config, not a script", remedy);
        return None;
    }
    match command::for_script(path, ctx.env) {
        Ok(invocation) => {
            ctx.notes.push(format!("{name}: taking {}, run with {}", path.display(), invocation.program));
            let stem = path.file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
            Some((stem, of_invocation(ctx, invocation)))
        }
        Err((what, remedy)) => {
            ctx.no_target(path.display().to_string(), what, remedy);
            None
        }
    }
}

/// A program and its arguments; also its name as a server.
pub(crate) fn of_line(ctx: &mut Context<'_>, program: &str, args: &[String]) -> Option<(String, CommandSpec)> {
    if is_endpoint(ctx, program, &[]) {
        return None;
    }
    let path = ctx.lookup("PATH").unwrap_or_default();
    if program.contains(char::is_whitespace) && args.is_empty() && !ctx.cwd.join(program).exists() {
        let what = "is one word for your shell, with a blank in it, and there is no program of that name";
        ctx.no_target(program, what, format!("write it without quotes: mcp-pipe -- {program}"));
        return None;
    }
    let line = (program.to_owned(), args.to_vec());
    let (program, args) = start::of_this_system(ctx, "the command line", program, &path, line.0, line.1);
    let name = Path::new(&program).file_stem().map_or_else(|| program.clone(), |stem| stem.to_string_lossy().into());
    Some((name, of_invocation(ctx, Invocation { program, args })))
}

/// The command for a program that is not in the config: it starts in the working directory.
fn of_invocation(ctx: &Context<'_>, Invocation { program, args }: Invocation) -> CommandSpec {
    let program = if command::is_path(&program) { ctx.cwd.join(program).display().to_string() } else { program };
    CommandSpec { program, args, env: Vec::new(), env_remove: Vec::new(), cwd: Some(ctx.cwd.to_path_buf()) }
}

/// Whether a target is a URL or a token, and so most likely an endpoint. That is noted, without the text. `names`: what else
/// the target may be a slip for.
fn is_endpoint(ctx: &mut Context<'_>, target: &str, names: &[&str]) -> bool {
    let is_slip = || closest(target, names.iter().copied()).is_some() || ctx.cwd.join(target).exists();
    let what = if looks_like_endpoint(target) {
        "is a URL, not a server, a script or a program"
    } else if looks_like_token(target) && !is_slip() {
        "looks like a token, and is no server, script or program"
    } else {
        return false;
    };
    let remedy = "pass an endpoint, token included, by MCP_ENDPOINT, .env or --endpoint";
    ctx.no_target("the target", what, remedy);
    true
}

/// Whether a file is most likely a config.
fn is_config(name: &str) -> bool {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ["json", "jsonc", "json5"].iter().any(|json| json.eq_ignore_ascii_case(ending))
}

/// Notes that a target is neither a server nor a script, with what may have been meant.
fn not_found(ctx: &mut Context<'_>, file: &File, name: &str, places: &[PathBuf]) {
    let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    let what = format!("is neither a command nor a server in the config nor a file; looked for {}", looked.join(", "));
    if let Some(folder) = places.iter().find(|place| place.is_dir()) {
        let remedy = "name a script in it, or a server of the config";
        ctx.no_target(folder.display().to_string(), "is a folder", remedy);
        return;
    }
    let names: Vec<&str> = file.entries.iter().map(|entry| entry.name.as_str()).collect();
    let scripts = scripts(places);
    let commands = ctx.line.other_commands.iter().map(String::as_str);
    let known = names.iter().copied().chain(commands).chain(scripts.iter().map(String::as_str));
    // A server is often called like its script: names with the same ending as the target come first.
    let same_kind = |known: &&str| Path::new(known).extension() == Path::new(name).extension();
    let meant = closest(name, known.clone().filter(same_kind)).or_else(|| closest(name, known));
    let remedy = if name.contains(char::is_whitespace) {
        line_of_words(name)
    } else if let Some(meant) = meant {
        format!("did you mean {meant}?")
    } else if is_config(name) {
        format!("a config is named by --config: mcp-pipe --config {name}")
    } else if names.is_empty() {
        format!("to run a program: mcp-pipe -- {name}")
    } else {
        format!("the config has: {}; to run a program: mcp-pipe -- {name}", names.join(", "))
    };
    ctx.no_target(name, what, remedy);
}

/// What to write for a whole command line that came as one argument.
fn line_of_words(line: &str) -> String {
    let mut words = line.split_whitespace();
    let is_script = |word: &&str| [".py", ".js", ".mjs", ".cjs"].iter().any(|ending| word.ends_with(ending));
    match (words.next(), words.next().filter(is_script), words.next()) {
        (Some("python" | "python3" | "node"), Some(script), None) => {
            format!("write it without quotes: mcp-pipe -- {line}; or the script alone: mcp-pipe {script}")
        }
        _ => format!("write it without quotes: mcp-pipe -- {line}"),
    }
}

/// The names of the scripts in the folders in which the target was looked for.
fn scripts(places: &[PathBuf]) -> Vec<String> {
    let folders = places.iter().filter_map(|place| std::fs::read_dir(place.parent()?).ok());
    let names = folders.flat_map(|folder| folder.take(MOST_FILES).flatten());
    let names = names.filter_map(|file| file.file_name().into_string().ok());
    names.filter(|name| [".py", ".js", ".mjs", ".cjs"].iter().any(|ending| name.ends_with(ending))).collect()
}
