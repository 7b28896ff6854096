//! How each server of the config is reached: which program is started, with which arguments, in which folder; or where it is.

use std::path::Path;

use super::command;
use super::context::Context;
use super::editor;
use super::file::{Entry, Transport};
use super::keys::is_websocket;
use super::keys::{self, Remote};
use super::missing::{Sought, is_script};
use super::reader::Located;
use super::syntax::BACKSLASH;
use super::{CommandSpec, Reach, limits, remote, variables, windows};
use crate::disk::{joined, obstacle};
use crate::error::{Code, Place};
use crate::secrecy::Secret;
use crate::words::{brief, brief_path};

/// How the server of an entry is reached. `None` if that can't be done, which has been noted.
pub(crate) fn of_entry(ctx: &mut Context<'_>, entry: &Entry, asked_for: bool) -> Option<Reach> {
    let program = match &entry.kind {
        Transport::Stdio(program) => program,
        Transport::Unknown if asked_for && ctx.problems.mistakes.is_empty() => {
            ctx.mistake(
                &*entry.name,
                Code::NoServer.says("can't be run as it stands in the config"),
                "see the warnings",
            );
            return None;
        }
        Transport::Unknown => return None,
        Transport::Remote(remote) => {
            limits::refuse(ctx, &entry.limits);
            return remote::of_entry(ctx, remote).map(|spec| Reach::Remote(spec.into()));
        }
        Transport::Unspoken { by, url } => {
            let name = brief(&entry.name);
            let kind = brief(&by.value);
            let what = if by.value == "url" {
                format!(
                    "is the address of a WebSocket, and a remote server, as {name} would be, is reached by http:// or https://"
                )
            } else {
                format!("makes {name} a remote server of a kind ({kind}) that mcp-pipe does not speak to")
            };
            let mut way_out = way_out(&by.value, url.as_deref());
            // An entry with a command and the type of a remote server is a mistake.
            if by.value != "url" && way_out.contains("\"endpoint\"") {
                way_out.push_str(", and remove the type");
            }
            if asked_for {
                let remedy = format!("choose another server, or {way_out}");
                ctx.mistake(&by.place, Code::RemoteServer.says(what), remedy);
            } else {
                let what = Code::RemoteServer.says(format!("{what}; it is left out"));
                ctx.warning(&by.place, what, format!("disable it, or {way_out}"));
            }
            return None;
        }
    };
    let env = variables::of_entry(ctx, entry);
    // Each is looked at before the first that can't be had ends it: all mistakes are told at once.
    let args: Vec<_> = entry.args.iter().map(|arg| argument(ctx, arg, entry.expand_args, &env)).collect();
    let written = program_of(ctx, program);
    let cwd = match &entry.cwd {
        None => Some(ctx.base.clone()),
        Some(text) => ctx.expand(text).map(|written| {
            let cwd = joined(&ctx.base, &written);
            if !ctx.is_mangled(text, &written) && !cwd.is_dir() {
                no_folder(ctx, text, &cwd, &written, &entry.name);
            }
            cwd
        }),
    };
    let (args, cwd) = (args.into_iter().collect::<Option<Vec<_>>>()?, cwd?);
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.reveal().to_owned());
    let path = path.or_else(|| ctx.lookup("PATH")).unwrap_or_default();
    let written = written.trim();
    ctx.is_mangled(program, written);
    let (native, args) = of_this_system(ctx, &program.place, &entry.name, &path, written.to_owned(), args);
    let program = if command::is_path(&native) && !windows::is_place(&native) {
        joined(&ctx.base, native).display().to_string()
    } else {
        command::with_fallback(&native, &path).to_owned()
    };
    beside_the_config(ctx, entry, (&program, &args), &cwd, &path);
    if program == "python3" && written == "python" {
        ctx.notes.push(format!("{}: python3 is used, there is no python here", entry.name));
    }
    let limits = limits::of(ctx, &entry.limits);
    Some(Reach::Command(CommandSpec { program, args, env, env_remove: Vec::new(), cwd: Some(cwd), limits }))
}

/// Warns of a script that is named without a folder, and stands beside the config, while the server's own folder is another one: a
/// program, and what is started by it, look there only.
fn beside_the_config(ctx: &mut Context<'_>, entry: &Entry, line: (&str, &[String]), cwd: &Path, path: &str) {
    let (Some(_), Transport::Stdio(command)) = (&entry.cwd, &entry.kind) else { return };
    let (program, args) = line;
    let base = ctx.base.clone();
    let is_elsewhere = |name: &str| {
        let is_bare = is_script(name) && Path::new(name).components().count() == 1;
        is_bare && !joined(cwd, name).exists() && joined(&base, name).is_file()
    };
    let whole = |name: &str| joined(&base, name).display().to_string();
    let first = args.iter().position(|arg| !arg.starts_with('-'));
    let (place, name, remedy) = if is_elsewhere(program) && !command::on_path(program, path) {
        let whole = whole(program);
        let remedy = Sought { program: &whole, path, ours: None, cwd }.remedy_for_interpreter();
        (&command.place, program, remedy.replacen("interpreter:", "interpreter, and the whole path:", 1))
    } else if let Some(at) = first.filter(|at| is_elsewhere(&args[*at]))
        && let Some(written) = entry.args.iter().find(|written| written.value == args[at])
    {
        (&written.place, args[at].as_str(), format!("write {:?}", whole(&args[at])))
    } else {
        return;
    };
    let folder = brief_path(cwd);
    let what =
        format!("names {}, which is looked for in {folder} (key `cwd`), and stands beside the config", brief(name));
    ctx.warning(place, Code::PathMissing.says(what), remedy);
}

/// How a server can be used all the same that mcp-pipe does not speak to.
fn way_out(kind: &str, url: Option<&str>) -> String {
    let is_websocket = url.is_some_and(is_websocket);
    match keys::remote(kind) {
        Some(Remote::OpenApi) if !is_websocket => {
            "start a program that makes an MCP server of it for you".to_owned()
        }
        Some(Remote::WebSocket) if !is_websocket && url.is_some() => {
            "start a program that speaks WebSocket to it for you; if it speaks MCP over HTTP as well, write \"type\": \"http\""
                .to_owned()
        }
        _ if url.is_none() => {
            "write the address where a server of yours is to be served as \"endpoint\", beside the \"command\" that starts it"
                .to_owned()
        }
        _ => "if that address is where a server of yours is to be served: call it \"endpoint\", beside the \"command\" that \
              starts the server"
            .to_owned(),
    }
}

/// Warns that a server's folder is not there. That is no mistake: a disk may be mounted later than we start, and the other
/// servers need not wait for one.
fn no_folder(ctx: &mut Context<'_>, text: &Located<String>, cwd: &Path, written: &str, server: &str) {
    if !cfg!(windows) && windows::is_place(written) {
        ctx.warning(&text.place, Code::OtherSystem.says(elsewhere(server)), "write the folder on this machine");
    } else if let Some(obstacle) = obstacle::on_the_way(cwd) {
        let (what, remedy) = obstacle.told();
        ctx.warning(
            &text.place,
            Code::PathMissing.says(format!("names {}, which {what}, so {server} can't start", brief_path(cwd))),
            remedy,
        );
    } else {
        let what = format!("names {}, which is no folder now, so {server} can't start", brief_path(cwd));
        ctx.warning(&text.place, Code::PathMissing.says(what), "create it, or correct the path; it is tried again");
    }
}

/// A text of a command line, with the variables of editors replaced. Any other variable is warned about, unless the entry sets it:
/// then the program replaces the variable itself, as mcp-remote does in its headers.
fn filled(ctx: &mut Context<'_>, text: &Located<String>, env: &[(String, Secret)]) -> String {
    let filled = editor::fill(&text.value, &ctx.base, ctx.env);
    let is_handed_over =
        |rest: &str| rest.split_once('}').is_some_and(|(name, _)| env.iter().any(|(set, _)| set == name));
    let left: Vec<&str> = filled.split("${").collect();
    let found = left.windows(2).find_map(|pair| match pair {
        [before, rest] if !is_handed_over(rest) => Some((*before, *rest)),
        _ => None,
    });
    if let Some((before, rest)) = found {
        let what =
            "has a ${, which is not replaced here: a command line is no place for secrets, everybody can read it";
        ctx.warning(&text.place, Code::NotReplaced.says(what), in_command_line(before, rest));
    }
    filled
}

/// What to write in a command line for a variable, by what stands before its `${` and behind that.
fn in_command_line(before: &str, rest: &str) -> &'static str {
    let (name, behind) = rest.split_once('}').unwrap_or((rest, ""));
    let name = name.strip_prefix("env:").unwrap_or(name);
    if ["HOME", "USERPROFILE"].contains(&name) {
        "write ${userHome} for it, or the whole path"
    } else if behind.starts_with('/') || before.ends_with('/') {
        "write the whole path"
    } else {
        "hand a value over in env"
    }
}

/// The program, with the variables of editors replaced. No other variable is: nobody else would replace one.
fn program_of(ctx: &mut Context<'_>, text: &Located<String>) -> String {
    let filled = editor::fill(&text.value, &ctx.base, ctx.env);
    if filled.contains("${") {
        let what = "has a ${, which is not replaced there";
        ctx.warning(&text.place, Code::NotReplaced.says(what), "write the program's name, or its whole path");
    }
    filled
}

/// An argument as it is handed over; `None` if a variable in it can't be replaced, which has been noted.
fn argument(ctx: &mut Context<'_>, text: &Located<String>, expands: bool, env: &[(String, Secret)]) -> Option<String> {
    let filled = match expands {
        true => {
            ctx.hide_variables(&text.value);
            ctx.expand(text)?
        }
        false => filled(ctx, text, env),
    };
    if windows::has_lost_backslash(&filled) {
        ctx.warning(&text.place, Code::WrongValue.says("has a character that JSON made of a backslash"), BACKSLASH);
    } else if !cfg!(windows) && windows::is_path(&filled) {
        ctx.warning(
            &text.place,
            Code::OtherSystem.says("is a path of Windows, and this is another system"),
            "write the path on this machine",
        );
    } else if filled.starts_with("~/") {
        let what = "has a ~, which is not replaced here, as no shell reads it";
        ctx.warning(&text.place, Code::NotReplaced.says(what), "write the whole path");
    }
    Some(filled)
}

/// How a finding ends that says that a server can't start.
pub(crate) const CANT_START: &str = "can't start";

/// What is wrong with a path of Windows, for a server that needs it.
fn elsewhere(server: &str) -> String {
    format!("is a path of Windows, and this is another system, so {server} {CANT_START}")
}

/// A command line without what only Windows puts around a program (`cmd /c`, `.exe`), with a warning. A path of Windows stays,
/// with a warning that the server can't start.
pub(crate) fn of_this_system(
    ctx: &mut Context<'_>,
    place: &Place,
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
        ctx.warning(
            place,
            Code::OtherSystem.says(what),
            format!("write \"command\": \"{native}\", and in args what follows it"),
        );
        return (native, rest);
    }
    if windows::is_place(&program) {
        ctx.warning(
            place,
            Code::OtherSystem.says(elsewhere(server)),
            "write the program's path on this machine, or its name alone",
        );
    } else if let Some(native) = windows::without_ending(&program).filter(|native| command::on_path(native, path)) {
        let what = format!("is the name that the program has on Windows; {native} is started");
        ctx.warning(place, Code::OtherSystem.says(what), format!("write \"command\": \"{native}\""));
        return (native.to_owned(), args);
    }
    (program, args)
}
