//! Which environment variables a server gets.
//!
//! From the weakest to the strongest: the defaults for Python; `.env` and, above that, mcp-pipe's own environment, as far as
//! `inheritEnv` lets their variables through; the entry's `envFile`; the entry's `env`. Never an endpoint, nor a variable that
//! holds the token of one.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use super::context::{Braces, Context, Hidden, MOST_NAMES};
use super::defaults;
use super::dial::ENDPOINT;
use super::dotenv::DotFile;
use super::file::{Entry, File};
use super::reader::Located;
use super::shared::Inherit;
use super::{CommandSpec, Reach, ServerSpec};
use crate::disk::{joined, obstacle};
use crate::endpoint::is_variable;
use crate::error::{Code, Place};
use crate::process::systemd;
use crate::secrecy::Secret;
use crate::tools::Glob;
use crate::words::{brief, brief_path, listed};

/// Reads the files that entries name as their `envFile`, also for entries that don't run: such a file may hold an endpoint,
/// which is a secret.
pub(crate) fn read_files(ctx: &mut Context<'_>, file: &File) {
    for entry in &file.entries {
        for written in &entry.env_files {
            // Where the mistakes of an entry that doesn't run begin: they are taken back.
            let before = ctx.problems.mistakes.len();
            if let Some(path) = ctx.expand(written) {
                let path = joined(&ctx.base, path.trim());
                if path.exists() && !path.is_dir() {
                    match DotFile::read(path, &mut ctx.problems.warnings) {
                        Ok(file) => ctx.env_files.push((entry.name.clone(), file)),
                        Err(problem) => ctx.problems.warnings.push(problem),
                    }
                } else {
                    let told = obstacle::on_the_way(&path).map(|obstacle| obstacle.told());
                    let (what, remedy) = told.unwrap_or_else(|| {
                        let is_absolute = Path::new(written.value.trim()).is_absolute();
                        let start = if is_absolute { "" } else { ", which starts at the config's folder" };
                        ("is no file".to_owned(), format!("create it, or correct the path{start}"))
                    });
                    ctx.mistake(
                        &written.place,
                        Code::PathMissing.says(format!("names {}, which {what}", brief_path(&path))),
                        remedy,
                    );
                }
            }
            if entry.disabled.is_some() {
                ctx.problems.mistakes.truncate(before);
            }
        }
    }
}

/// The variables that an entry sets: by its `env`, and below that by its `envFile`. `MCP_ENDPOINT` is for mcp-pipe alone.
pub(crate) fn of_entry(ctx: &mut Context<'_>, entry: &Entry) -> Vec<(String, Secret)> {
    let mut env: Vec<(String, Secret)> = Vec::new();
    let mut set = |ctx: &mut Context<'_>, place: &Place, name: &str, value: String| {
        if ctx.hidden.endpoints.is_betrayed_by(&value) {
            ctx.warning(
                place,
                Code::Withheld.says("holds an endpoint and is not passed on: servers don't get to see it"),
                "remove it",
            );
        } else {
            env.retain(|(earlier, _)| earlier != name);
            env.push((name.to_owned(), Secret::new(value)));
        }
    };
    let of_files = ctx.env_files_of(&entry.name).flat_map(|file| {
        file.vars().map(move |(name, value)| (Place::from(file.spot(name)), name.to_owned(), value.to_owned()))
    });
    for (place, name, value) in of_files.filter(|(_, name, _)| name != ENDPOINT).collect::<Vec<_>>() {
        set(ctx, &place, &name, value);
    }
    for (name, text) in entry.env.iter().filter(|(name, _)| name != ENDPOINT) {
        if name.is_empty() || name.contains(['=', '\0']) {
            ctx.mistake(&text.place, Code::WrongName.says("is no name for a variable"), "use letters, digits and _");
        }
        if is_variable(text.value.trim()) {
            ctx.warn_of_variable(text);
        } else {
            ctx.warn_of_known_variable(text);
        }
        ctx.warn_of_braces(text, Braces::Env);
        if let Some(value) = ctx.expand(text) {
            set(ctx, &text.place, name, value);
        }
    }
    env
}

/// Whether a variable is kept from all servers.
fn is_hidden(hidden: &Hidden, name: &str, value: &str) -> bool {
    // `PATH` and `HOME` stay, whatever an endpoint's query happens to hold: nothing starts without these.
    let is_secret = || hidden.endpoints.is_betrayed_by(value) || hidden.headers.is_betrayed_by(value);
    name == ENDPOINT || (!["PATH", "HOME"].contains(&name) && (hidden.parts.contains(name) || is_secret()))
}

/// Finds the variables that no server may have.
pub(crate) fn hide(ctx: &mut Context<'_>) {
    let ours = ctx.env.iter().map(|(name, value)| (name, name.to_string_lossy(), value.to_string_lossy()));
    let in_env = ours.filter(|(_, name, value)| is_hidden(&ctx.hidden, name, value)).map(|(name, ..)| name.to_owned());
    let from_file = ctx.dotenv.vars().filter(|(name, value)| is_hidden(&ctx.hidden, name, value));
    let (in_env, in_dotenv) = (in_env.collect(), from_file.map(|(name, _)| name.to_owned()).collect());
    (ctx.hidden.in_env, ctx.hidden.in_dotenv) = (in_env, in_dotenv);
}

/// A note on the variables that servers don't get. `MCP_ENDPOINT` is not named: nobody expects it there.
pub(crate) fn withheld(ctx: &Context<'_>) -> Option<String> {
    let Hidden { in_env, in_dotenv, .. } = &ctx.hidden;
    let names = in_env.iter().map(|name| name.to_string_lossy()).chain(in_dotenv.iter().map(Into::into));
    let names: BTreeSet<_> = names.filter(|name| name != ENDPOINT).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then(|| format!("not handed on to servers, for the token or header value in it: {names}"))
}

/// Whether a server inherits a variable of this name.
fn is_inherited(inherit: &Inherit, name: &str) -> bool {
    match inherit {
        Inherit::All => true,
        Inherit::Only(patterns) => {
            let is = |needed: &&str| if cfg!(windows) { needed.eq_ignore_ascii_case(name) } else { **needed == *name };
            defaults::NEEDED.iter().any(is)
                || name.starts_with("LC_")
                || patterns.iter().any(|pattern| pattern.matches(name))
        }
    }
}

/// Whether a variable tells this process alone something of systemd.
fn is_of_systemd(name: &OsStr) -> bool {
    systemd::VARIABLES.iter().any(|of_systemd| name == *of_systemd)
}

/// Gives a program of ours that is no server the variables that a server inherits.
pub(crate) fn with_ours(ctx: &Context<'_>, mut command: CommandSpec) -> CommandSpec {
    let Hidden { in_env, in_dotenv, .. } = &ctx.hidden;
    let of_files = ctx.dotenv.vars().filter(|(name, _)| ctx.env.get(name).is_none() && !in_dotenv.contains(*name));
    command.env = of_files.map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
    let of_systemd = ctx.env.iter().map(|(name, _)| name).filter(|name| is_of_systemd(name));
    command.env_remove = in_env.iter().cloned().chain(of_systemd.map(ToOwned::to_owned)).collect();
    command
}

/// Adds the variables that a server inherits to those that its entry sets, and takes out whatever would give away an endpoint.
/// `written` is the `inheritEnv` that counts.
pub(crate) fn with_inherited(
    ctx: &mut Context<'_>,
    mut server: ServerSpec,
    written: Option<&Located<Inherit>>,
) -> ServerSpec {
    let inherit = written.map_or(&defaults::INHERIT_ENV, |written| &written.value);
    let Reach::Command(command) = &mut server.reach else { return server };
    let own: Vec<String> = command.env.iter().map(|(name, _)| name.clone()).collect();
    let is_own = |name: &str| own.iter().any(|own| own == name);
    let Hidden { in_env, in_dotenv, .. } = &ctx.hidden;
    let told = defaults::PYTHON.iter().filter(|(name, _)| ctx.env.iter().all(|(ours, _)| ours != *name));
    let told = told.filter(|(name, _)| ctx.dotenv.get(name).is_none()).map(|(name, value)| (*name, *value));
    let of_files = ctx.dotenv.vars().filter(|(name, _)| ctx.env.get(name).is_none() && is_inherited(inherit, name));
    let of_files = of_files.filter(|(name, _)| !in_dotenv.contains(*name));
    let more = told.chain(of_files).filter(|(name, _)| !is_own(name));
    let mut all: Vec<(String, Secret)> = more.map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
    all.append(&mut command.env);
    command.env = all;

    let removed = ctx.env.iter().filter(|(name, _)| {
        let text = name.to_string_lossy();
        !is_own(&text) && (in_env.contains(*name) || is_of_systemd(name) || !is_inherited(inherit, &text))
    });
    command.env_remove = removed.map(|(name, _)| name.to_owned()).collect();
    let ours = ctx.env.iter().map(|(name, _)| name.to_string_lossy().into_owned());
    let names = ours.chain(ctx.dotenv.vars().map(|(name, _)| name.to_owned()));
    let names: BTreeSet<String> = names.filter(|name| !is_own(name) && !is_inherited(inherit, name)).collect();
    if !names.is_empty() {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        ctx.details.push(format!("{}: not inherited, as inheritEnv says: {names}", server.name));
    }
    if let Some(Located { value: Inherit::Only(patterns), place }) = written {
        let is_set = |pattern: &&Glob| {
            let ours = ctx.env.iter().any(|(name, _)| pattern.matches(&name.to_string_lossy()));
            ours || ctx.dotenv.vars().any(|(name, _)| pattern.matches(name))
        };
        let unset = patterns.iter().filter(|pattern| !is_set(pattern)).map(Glob::pattern);
        let unset: Vec<&str> = unset.collect();
        if !unset.is_empty() {
            let shown = unset.iter().take(MOST_NAMES).map(|name| brief(name)).collect();
            let what = format!("names {}, which neither the environment nor .env sets", listed(shown, unset.len()));
            ctx.warning(place, Code::Variable.says(what), "correct the name, or remove it");
        }
    }
    server
}
