//! Which program each server of the config starts, with which arguments, in which folder.

use std::path::Path;

use super::CommandSpec;
use super::command;
use super::context::Context;
use super::editor;
use super::file::{Entry, Transport};
use super::reader::Located;
use super::syntax::BACKSLASH;
use super::{variables, windows};
use crate::disk::obstacle;
use crate::secrecy::address;

/// The command that an entry starts. `None` if there is none, which has been noted.
pub(crate) fn of_entry(ctx: &mut Context<'_>, entry: &Entry, asked_for: bool) -> Option<CommandSpec> {
    let program = match &entry.kind {
        Transport::Stdio(program) => program,
        Transport::Unknown if asked_for && ctx.problems.mistakes.is_empty() => {
            ctx.mistake(&entry.name, "can't be run as it stands in the config", "see the warnings");
            return None;
        }
        Transport::Unknown => return None,
        Transport::Remote { by, url } => {
            let what = match by.value.as_str() {
                "url" => format!("makes {} a remote server, which this version can't use", entry.name),
                kind => format!("makes {} a remote server ({kind}), which this version can't use", entry.name),
            };
            let way_out = way_out(url.as_deref());
            if asked_for {
                ctx.mistake(&by.place, what, format!("choose a server with a command, or {way_out}"));
            } else {
                ctx.warning(&by.place, format!("{what}; it is left out"), format!("disable it, or {way_out}"));
            }
            return None;
        }
    };
    let args = entry.args.iter().map(|arg| argument(ctx, arg)).collect();
    let written = filled(ctx, program);
    let env = variables::of_entry(ctx, entry);
    let cwd = match &entry.cwd {
        None => ctx.base.clone(),
        Some(text) => {
            let written = ctx.expand(text)?;
            let cwd = ctx.base.join(&written);
            if !is_mangled(ctx, text, &written) && !cwd.is_dir() {
                no_folder(ctx, text, &cwd, &written, &entry.name);
            }
            cwd
        }
    };
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.reveal().to_owned());
    let path = path.or_else(|| ctx.lookup("PATH")).unwrap_or_default();
    let written = written.trim();
    is_mangled(ctx, program, written);
    let (native, args) = of_this_system(ctx, &program.place, &entry.name, &path, written.to_owned(), args);
    let program = if command::is_path(&native) && !windows::is_path(&native) {
        ctx.base.join(native).display().to_string()
    } else {
        command::with_fallback(&native, &path).to_owned()
    };
    if program == "python3" && written == "python" {
        ctx.notes.push(format!("{}: python3 is used, there is no python here", entry.name));
    }
    Some(CommandSpec { program, args, env, env_remove: Vec::new(), cwd: Some(cwd) })
}

/// How a remote server can be used all the same. What in its address may be a token is not repeated.
fn way_out(url: Option<&str>) -> String {
    if url.is_some_and(|url| ["ws:", "wss:"].iter().any(|scheme| url.to_ascii_lowercase().starts_with(scheme))) {
        return "if that address is where a server of yours is to be served: call it \"endpoint\", beside the \"command\" that \
                starts the server"
            .to_owned();
    }
    let url = url.map_or_else(|| "URL".to_owned(), address::shown);
    format!(
        "start a program that speaks to it for you: \"command\": \"npx\", \"args\": [\"-y\", \"mcp-remote\", {url:?}]"
    )
}

/// Warns that a server's folder is not there. That is no mistake: a disk may be mounted later than we start, and the other
/// servers need not wait for one.
fn no_folder(ctx: &mut Context<'_>, text: &Located<String>, cwd: &Path, written: &str, server: &str) {
    if !cfg!(windows) && windows::is_path(written) {
        ctx.warning(&text.place, elsewhere(server), "write the folder on this machine");
    } else if let Some(obstacle) = obstacle::on_the_way(cwd) {
        let (what, remedy) = obstacle.told();
        ctx.warning(&text.place, format!("names {}, which {what}, so {server} can't start", cwd.display()), remedy);
    } else {
        let what = format!("names {}, which is no folder now, so {server} can't start", cwd.display());
        ctx.warning(&text.place, what, "create it, or correct the path; it is tried again");
    }
}

/// A text of a command line, with the variables of editors replaced. Any other variable is warned about.
fn filled(ctx: &mut Context<'_>, text: &Located<String>) -> String {
    let filled = editor::fill(&text.value, &ctx.base, ctx.env);
    if filled.contains("${") {
        let what =
            "has a ${, which is not replaced here: a command line is no place for secrets, everybody can read it";
        ctx.warning(&text.place, what, "hand a value over in env");
    }
    filled
}

fn argument(ctx: &mut Context<'_>, text: &Located<String>) -> String {
    let filled = filled(ctx, text);
    if windows::has_lost_backslash(&filled) {
        ctx.warning(&text.place, "has a character that JSON made of a backslash", BACKSLASH);
    } else if !cfg!(windows) && windows::is_path(&filled) {
        ctx.warning(&text.place, "is a path of Windows, and this is another system", "write the path on this machine");
    }
    filled
}

/// Whether a path holds what JSON made of a backslash, which is noted as a mistake.
fn is_mangled(ctx: &mut Context<'_>, text: &Located<String>, path: &str) -> bool {
    let Some((control, letter)) = windows::swallowed_backslash(path) else { return false };
    let what = format!("has a {}, which is what \\{letter} means in JSON", crate::words::character(control));
    ctx.mistake(&text.place, what, BACKSLASH);
    true
}

/// What is wrong with a path of Windows, for a server that needs it.
fn elsewhere(server: &str) -> String {
    format!("is a path of Windows, and this is another system, so {server} can't start")
}

/// A command line without what only Windows puts around a program (`cmd /c`, `.exe`), with a warning. A path of Windows stays,
/// with a warning that the server can't start.
pub(crate) fn of_this_system(
    ctx: &mut Context<'_>,
    place: &str,
    server: &str,
    path: &str,
    program: String,
    args: Vec<String>,
) -> (String, Vec<String>) {
    // In Linux under Windows, programs of Windows are on the PATH.
    if cfg!(windows) || command::on_path(&program, path) {
        return (program, args);
    }
    if let Some((native, rest)) = windows::behind_prompt(&program, &args) {
        let what =
            format!("is the command prompt of Windows, and this is another system; {native} is started without it");
        ctx.warning(place, what, format!("write \"command\": \"{native}\", and in args what follows it"));
        return (native, rest);
    }
    if windows::is_path(&program) {
        ctx.warning(place, elsewhere(server), "write the program's path on this machine, or its name alone");
    } else if let Some(native) = windows::without_ending(&program).filter(|native| command::on_path(native, path)) {
        let what = format!("is the name that the program has on Windows; {native} is started");
        ctx.warning(place, what, format!("write \"command\": \"{native}\""));
        return (native.to_owned(), args);
    }
    (program, args)
}
