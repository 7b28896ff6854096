//! What a command line that can't be read most likely meant: hints, without words that may be a token.

use std::ffi::OsString;
use std::path::Path;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{TargetArgs, takes};
use crate::config::{LAUNCHERS, interpreted, is_script, key_of_option, may_have_server, on_path};
use crate::endpoint::{looks_like_endpoint, looks_like_token};
use crate::words::{begun, character, closest, meant, quoted};

/// Longest command line, in bytes, that is shown as a person should write it.
const LONGEST_SHOWN: usize = 200;

/// Adds to the parser's error what was most likely meant, and takes out what looks like an endpoint or a token.
pub(super) fn explain(mut error: clap::Error, command: &clap::Command, arguments: &[OsString]) -> clap::Error {
    let wrong = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(wrong)) => wrong.clone(),
        Some(_) | None => String::new(),
    };
    // The parser's own is about a value that looks like an option, which nobody means.
    error.remove(ContextKind::Suggested);
    let current = command_in(command, arguments);
    if matches!(error.kind(), ErrorKind::UnknownArgument) && !is_near(&error, &wrong, command, current) {
        error.remove(ContextKind::SuggestedArg);
    }
    if matches!(error.kind(), ErrorKind::UnknownArgument)
        && !(current == Some("call") && wrong == "--json")
        && let Some(hint) = another_command(command, arguments)
            .or_else(|| behind_script(command, arguments, &wrong))
            .or_else(|| of_logs(&wrong, current))
            .or_else(|| of_status(&wrong, current))
            .or_else(|| all_of(&wrong, current))
            .or_else(|| of_log(&wrong, command, current))
            .or_else(|| server_of_stdio(&wrong, current))
            .or_else(|| option_of_command(&wrong, command, current))
            .or_else(|| usual(&wrong, current))
            .or_else(|| key(&wrong))
            .or_else(|| call(command, arguments))
            .or_else(|| useless(&wrong, command, current))
            .or_else(|| line(command, arguments, near(&wrong, command).is_some()))
    {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
    }
    if let (ErrorKind::ArgumentConflict, Some(hint)) = (error.kind(), divided(command, arguments)) {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
    }
    let lacking = || program(command, arguments).or_else(|| current.and_then(about_one_server));
    if let ErrorKind::MissingRequiredArgument = error.kind()
        && let Some(hint) = lacking()
    {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
    }
    if let (ErrorKind::InvalidSubcommand, Some(hint)) = (error.kind(), command_to_explain(&error, command, arguments)) {
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
    }
    for kind in [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        let Some(ContextValue::String(text)) = error.get(kind) else { continue };
        // An address of this machine is no endpoint that should be passed otherwise.
        let is_gateway = wrong.starts_with("--listen") && text.starts_with("http");
        if is_secret(text) && !is_gateway {
            let hint = match current {
                Some(command @ ("tools" | "call" | "test" | "replay")) => {
                    format!("{command} starts servers on this machine and dials no endpoint: leave it out")
                }
                Some(_) | None => {
                    "an endpoint, token included, is passed by MCP_ENDPOINT, .env or --endpoint".to_owned()
                }
            };
            // A whole URL stays here: its secret part is cut out when the error is shown.
            if !text.contains("://") {
                error.insert(kind, ContextValue::String("…".to_owned()));
            }
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
        }
    }
    error
}

fn is_secret(text: &str) -> bool {
    looks_like_endpoint(text) || looks_like_token(text)
}

/// What to write for an order that names no server, and most likely is meant for a whole mcp-pipe.
fn about_one_server(command: &str) -> Option<String> {
    let whole = match command {
        "stop" => {
            "to end a whole mcp-pipe, end its process by its service, by Ctrl-C, or by kill PID: mcp-pipe status --json says the pid"
        }
        "restart" => {
            "to restart a whole mcp-pipe, end its process (mcp-pipe status --json says the pid) and start it again, or let its \
             service do so"
        }
        "start" => "to start a whole mcp-pipe: mcp-pipe",
        "pause" | "resume" | "pin" => "mcp-pipe status names them",
        _ => return None,
    };
    Some(format!("{command} is about one server: mcp-pipe {command} SERVER; {whole}"))
}

/// What to do about an option that is a key of the config.
fn key(option: &str) -> Option<String> {
    let name = option.strip_prefix("--")?.split('=').next()?;
    let (key, place) = key_of_option(name)?;
    Some(format!("{key} is no option but a key of the config: write \"{key}\": … {place}"))
}

/// The command of a command line, past the options before it.
fn command_in<'a>(command: &'a clap::Command, arguments: &[OsString]) -> Option<&'a str> {
    let mut words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--") else {
            return Some(command.find_subcommand(word)?.get_name());
        };
        let option = command.get_arguments().find(|option| option.get_long() == Some(name));
        if option.is_some_and(|option| option.get_action().takes_values()) {
            words.next();
        }
    }
    None
}

/// The command for which the first word is a slip, with the whole line if that can be read then. Where the word is a server or a file, it is
/// none; where it is a program, that is told as well.
fn another_command(command: &clap::Command, arguments: &[OsString]) -> Option<String> {
    let (before, words) = target(command, arguments)?;
    let (first, rest) = words.split_first().filter(|_| ["", "--local "].contains(&&*before))?;
    let names = || command.get_subcommands().map(clap::Command::get_name);
    let meant = begun(first, names()).or_else(|| closest(first, names()))?;
    let is_script = is_script(first) || Path::new(first).exists();
    if LAUNCHERS.contains(first) || is_script || may_have_server(first, config_in(arguments)) {
        return None;
    }
    let at = arguments.len() - words.len();
    let mut written = arguments.to_vec();
    written[at] = meant.into();
    let is_read = !rest.is_empty() && super::parse(written.clone()).is_ok();
    let shown = written[1..].iter().map(|word| word.to_str()).collect::<Option<Vec<_>>>();
    let shown = shown.filter(|_| is_read).and_then(|words| plain_line(&words));
    let shown = shown.map_or_else(String::new, |words| format!(" mcp-pipe {words}"));
    let is_program = std::env::var("PATH").is_ok_and(|path| on_path(first, &path));
    let program = line(command, arguments, false).filter(|_| is_program);
    let program = program.map_or_else(String::new, |program| format!("; or {program}"));
    Some(format!("did you mean {meant}?{shown}{program}"))
}

/// The command whose help is asked for under a name that is a slip.
fn command_to_explain(error: &clap::Error, command: &clap::Command, arguments: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let names = || command.get_subcommands().map(clap::Command::get_name);
    let meant = begun(wrong, names()).or_else(|| closest(wrong, names()))?;
    (arguments.get(1)? == "help").then(|| format!("did you mean {meant}? mcp-pipe help {meant}"))
}

/// The config that a command line names, if it names one.
fn config_in(arguments: &[OsString]) -> Option<&Path> {
    let mut words = arguments.iter().filter_map(|word| word.to_str());
    let named = words.find_map(|word| word.strip_prefix("--config"))?;
    named.strip_prefix('=').or_else(|| words.next()).map(Path::new)
}

/// The option of ours, without its dashes, that one is written much like.
fn near<'a>(wrong: &str, command: &'a clap::Command) -> Option<&'a str> {
    let name = wrong.strip_prefix("--")?.split('=').next()?;
    closest(name, command.get_arguments().filter_map(clap::Arg::get_long))
}

/// What to do about an option that is written much like one which does nothing for the command.
fn useless(wrong: &str, command: &clap::Command, current: Option<&str>) -> Option<String> {
    let (current, near) =
        (current.filter(|current| ["tools", "call", "test", "replay"].contains(current))?, near(wrong, command)?);
    let option = command.get_arguments().find(|option| option.get_long() == Some(near))?;
    (!takes(current, option.get_id().as_str())).then(|| format!("--{near} does nothing for {current}: leave it out"))
}

/// An option of ours whose dashes are others, as a word processor makes them of two: a mistake, told with the option.
pub(super) fn dashes(command: &clap::Command, arguments: &[OsString]) -> Option<String> {
    let is_dash = |c: char| c == '-' || meant(c) == Some('-');
    let words = arguments.iter().skip(1).take_while(|word| *word != "--").filter_map(|word| word.to_str());
    let mut odd = words.filter_map(|word| {
        let name = word.trim_start_matches(is_dash);
        let dash = word[..word.len() - name.len()].chars().find(|c| *c != '-')?;
        let name = name.split('=').next().unwrap_or_default();
        let all = command.get_arguments().chain(command.get_subcommands().flat_map(clap::Command::get_arguments));
        let known = ["help", "version"].into_iter().chain(all.filter_map(clap::Arg::get_long));
        known.into_iter().any(|known| known == name).then(|| (name.to_owned(), dash))
    });
    let (name, dash) = odd.next()?;
    Some(format!("an option begins with two hyphens, and this one holds {}: write --{name}", character(dash)))
}

/// Whether the option that the parser suggests is written much like the wrong one, and does anything for the command.
fn is_near(error: &clap::Error, wrong: &str, command: &clap::Command, current: Option<&str>) -> bool {
    let Some(ContextValue::String(suggested)) = error.get(ContextKind::SuggestedArg) else { return false };
    let name = |option: &str| option.trim_start_matches('-').split('=').next().unwrap_or_default().to_owned();
    let (suggested, wrong) = (name(suggested), name(wrong));
    let option = command.get_arguments().find(|option| option.get_long() == Some(&suggested));
    let is_taken = option.is_none_or(|option| current.is_none_or(|current| takes(current, option.get_id().as_str())));
    is_taken && closest(&wrong, [suggested.as_str()]).is_some()
}

/// What `status` calls an option that `logs` and other programs have.
fn of_status(option: &str, current: Option<&str>) -> Option<String> {
    let is_watching = ["-f", "--follow", "-w"].contains(&option);
    (current == Some("status") && is_watching)
        .then(|| "to go on whenever something changes: mcp-pipe status --watch".to_owned())
}

/// What to write for all servers, where no option says that.
fn all_of(option: &str, current: Option<&str>) -> Option<String> {
    if option != "--all" {
        return None;
    }
    match current {
        None => Some("without a name all servers run: mcp-pipe".to_owned()),
        Some(current @ ("run" | "serve" | "tools" | "test" | "status" | "logs" | "next" | "stdio")) => {
            Some(format!("without a name it is about all: mcp-pipe {current}"))
        }
        Some(current) => about_one_server(current),
    }
}

/// What a command that runs servers calls an option by which others write JSON: its log is what it writes.
fn of_log(option: &str, command: &clap::Command, current: Option<&str>) -> Option<String> {
    let has_log = current.is_none_or(|current| ["run", "serve", "stdio"].contains(&current));
    (has_log && option == "--json").then(|| {
        let other = option_of_command(option, command, current).map_or_else(String::new, |other| format!("; {other}"));
        format!("for a log in JSON: --log-format json{other}")
    })
}

/// How the server is named that a client of `stdio` sees.
fn server_of_stdio(word: &str, current: Option<&str>) -> Option<String> {
    let is_name = current == Some("stdio") && !word.starts_with('-') && !is_secret(word);
    is_name.then(|| format!("one server is named by an option: mcp-pipe stdio --server {}", quoted(word)))
}

/// What `logs` calls an option that other programs have.
fn of_logs(option: &str, current: Option<&str>) -> Option<String> {
    let name = option.split('=').next().unwrap_or_default();
    let is_number = ["--tail", "--last", "--limit", "--count", "--number", "--max", "--head"].contains(&name);
    (current == Some("logs") && is_number).then(|| "the last so many lines: mcp-pipe logs -n 20".to_owned())
}

/// What to do about an option that another command has: for one that starts no servers, a command that starts none either.
fn option_of_command(option: &str, command: &clap::Command, current: Option<&str>) -> Option<String> {
    let name = option.strip_prefix("--")?.split('=').next()?;
    let starts = |command: &str| ["run", "serve", "tools", "call", "test", "replay"].contains(&command);
    let is_fit =
        |command: &&clap::Command| current.is_none_or(|current| starts(current) || !starts(command.get_name()));
    let has_it = |command: &&clap::Command| {
        command.get_arguments().any(|option| !option.is_global_set() && option.get_long() == Some(name))
    };
    // Who names a server by an option means that it is to be run, as `usual` says; and some options alone are no command line.
    let is_named = |command: &&clap::Command| command.get_name() != "stdio" && !["all", "for", "file"].contains(&name);
    let command = command.get_subcommands().filter(is_fit).filter(is_named).find(has_it)?;
    let more = |argument: &clap::Arg| {
        argument.is_positional() || (argument.get_long() == Some(name) && argument.get_action().takes_values())
    };
    let more = if command.get_arguments().any(more) { " …" } else { "" };
    let command = command.get_name();
    Some(format!("--{name} is an option of {command}: mcp-pipe {command} --{name}{more}"))
}

/// What to write for an option that other programs have.
fn usual(option: &str, current: Option<&str>) -> Option<String> {
    let option = option.split('=').next().unwrap_or_default();
    if let ("--server" | "--name", Some(command)) = (option, current.filter(|current| takes_name(current))) {
        return Some(format!("a server is named without an option: mcp-pipe {command} NAME"));
    }
    of_gateway(option, current).or_else(|| of_any(option)).map(str::to_owned)
}

/// Whether a command takes the name of one server, and nothing behind it.
fn takes_name(command: &str) -> bool {
    ["run", "serve", "tools", "test", "status", "logs", "login", "logout"].contains(&command)
        || about_one_server(command).is_some()
}

/// The same for `serve`, whose clients have keys, and which dials nobody for them.
fn of_gateway(option: &str, current: Option<&str>) -> Option<&'static str> {
    current.filter(|current| *current == "serve")?;
    match option {
        "--host" | "--address" | "--addr" => Some("host and port are one: mcp-pipe serve --listen HOST:PORT"),
        "--api-key" | "--apikey" | "--key" | "--token" | "--auth" | "--password" | "-t" => {
            Some("the config says who is let in: \"gateway\": {\"apiKeys\": [{\"name\": \"me\", \"key\": \"${KEY}\"}]}")
        }
        _ => None,
    }
}

fn of_any(option: &str) -> Option<&'static str> {
    match option {
        "-v" | "-vv" | "-vvv" | "--verbose" | "-d" | "--debug" | "--trace" => {
            Some("for more in the log: --log-level debug")
        }
        "-q" | "--quiet" | "--silent" => Some("for less in the log: --log-level warn"),
        "--token" | "--url" | "--uri" | "--ws" | "--host" | "--server-url" | "--api-key" | "-e" | "-t" => Some(
            "an endpoint, token included, is one address: MCP_ENDPOINT=wss://host/path?token=… in .env or the environment, \
             or --endpoint",
        ),
        "-c" | "--conf" | "--cfg" | "--config-file" | "--configfile" | "-f" | "--file" => {
            Some("a config is named by --config")
        }
        "--log" | "--loglevel" => Some("the level of the log: --log-level debug"),
        "--server" | "--name" => Some("a server is named without an option: mcp-pipe NAME"),
        "--port" | "-p" | "--listen" | "--bind" => {
            Some("to listen for MCP clients, host and port are one: mcp-pipe serve --listen HOST:PORT")
        }
        _ => None,
    }
}

/// Whether all of a target may be names of servers, of which a person wants several.
pub(super) fn are_names(written: &TargetArgs) -> bool {
    let is_name = |word: &String| {
        !word.is_empty() && !is_secret(word) && word.chars().all(|c| c.is_alphanumeric() || "_- ".contains(c))
    };
    let is_launcher = |word: &String| LAUNCHERS.contains(&word.as_str());
    written.target.iter().all(|word| !is_launcher(word)) && written.target.iter().chain(&written.more).all(is_name)
}

/// The parser's error about a word that it should not have taken.
pub(super) fn unexpected(command: &clap::Command, word: &str) -> clap::Error {
    let mut error = clap::Error::new(ErrorKind::UnknownArgument).with_cmd(command);
    error.insert(ContextKind::InvalidArg, ContextValue::String(word.to_owned()));
    error.insert(ContextKind::Usage, ContextValue::StyledStr(command.clone().render_usage()));
    error
}

/// Whether a program was to be called: what stands behind `call --` was read as a server, a tool and its arguments.
pub(super) fn is_program_to_call(arguments: &[OsString], server: &str) -> bool {
    let behind = || arguments.iter().skip_while(|word| *word != "call").skip(1);
    behind().take_while(|word| *word != server).any(|word| word == "--")
}

/// How to write the arguments of a call that were written as options or words.
fn call(command: &clap::Command, arguments: &[OsString]) -> Option<String> {
    let words: Vec<&str> = arguments.iter().skip(1).map(|word| word.to_str()).collect::<Option<_>>()?;
    let mut words = words.into_iter().peekable();
    let mut plain = Vec::new();
    // Past what is ours, which may stand anywhere.
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").map(|word| word.split('=').next().unwrap_or_default());
        let ours = command.get_arguments().find(|option| name.is_some() && option.get_long() == name);
        match ours {
            Some(option) if option.get_action().takes_values() && !word.contains('=') => drop(words.next()),
            Some(_) => {}
            None => plain.push(word),
        }
    }
    let ["call", server, tool, rest @ ..] = plain.as_slice() else { return None };
    if plain.iter().any(|word| is_secret(word)) || server.starts_with('-') || tool.starts_with('-') {
        return None;
    }
    let start = format!("the arguments are one JSON object: mcp-pipe call {} {}", quoted(server), quoted(tool));
    let given = pairs(rest).map(|object| quoted(&object)).filter(|shown| shown.len() <= LONGEST_SHOWN);
    Some(format!("{start} {}", given.unwrap_or_else(|| "'{\"name\": value}'".to_owned())))
}

/// The JSON object that is meant by `--a 2 --b=x c=3 d:4 --e`.
fn pairs(words: &[&str]) -> Option<String> {
    let mut object = serde_json::Map::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let name = word.trim_start_matches('-');
        let is_option = word.starts_with("--") || (word.starts_with('-') && name.len() == 1);
        let (name, value) = match name.split_once(['=', ':']) {
            Some((name, value)) => (name, Some(value)),
            None if is_option => (name, words.next_if(|next| !next.starts_with("--")).copied()),
            None => return None,
        };
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
            return None;
        }
        let value = value.map_or(serde_json::Value::Bool(true), |value| {
            serde_json::from_str(value).unwrap_or_else(|_| value.to_owned().into())
        });
        object.insert(name.to_owned(), value);
    }
    (!object.is_empty()).then(|| serde_json::Value::Object(object).to_string())
}

/// How to start a script whose arguments were written behind it; `None` for a word that most likely is a slip of an option of ours.
fn behind_script(command: &clap::Command, arguments: &[OsString], wrong: &str) -> Option<String> {
    near(wrong, command).is_none().then(|| of_script(command, arguments)).flatten()
}

/// The same where `--` stands between them, also for programs that everybody knows.
fn divided(command: &clap::Command, arguments: &[OsString]) -> Option<String> {
    let at = arguments.iter().position(|word| word == "--")?;
    let joined = [&arguments[..at], &arguments[at + 1..]].concat();
    of_script(command, &joined).or_else(|| line(command, &joined, true))
}

fn of_script(command: &clap::Command, arguments: &[OsString]) -> Option<String> {
    let (before, mut words) = target(command, arguments)?;
    let script = words.first().copied().filter(|first| is_script(first))?;
    let is_local = words.contains(&"--local") && !before.contains("--local");
    words.retain(|word| *word != "--local");
    let path = std::env::var("PATH").unwrap_or_default();
    let interpreted = interpreted(script, &path)?;
    let words: Vec<&str> = interpreted.iter().map(String::as_str).chain(words[1..].iter().copied()).collect();
    let shown = plain_line(&words)?;
    let before = if is_local { format!("{before}--local ") } else { before };
    Some(format!("to start a script with arguments: mcp-pipe {before}-- {shown}"))
}

/// A command line as it may be shown: not too long, and without what may be a secret.
fn plain_line(words: &[&str]) -> Option<String> {
    let shown = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    (!words.iter().any(|word| is_secret(word)) && shown.len() <= LONGEST_SHOWN).then_some(shown)
}

/// How to start a program that everybody knows, where its own command was read as one of ours: `uv run x.py`.
pub(super) fn program(command: &clap::Command, arguments: &[OsString]) -> Option<String> {
    line(command, arguments, true)
}

/// How to start a program whose arguments were written behind the name of a server. `is_slip`: the wrong option is written much like
/// one of ours, so that only a program which everybody knows takes it.
fn line(command: &clap::Command, arguments: &[OsString], is_slip: bool) -> Option<String> {
    let (before, words) = target(command, arguments)?;
    if words.len() < 2 || is_slip && !words.first().is_some_and(|first| LAUNCHERS.contains(first)) {
        return None;
    }
    let hint = format!("to start a program with arguments: mcp-pipe {before}-- {}", plain_line(&words)?);
    Some(match &words[..] {
        ["python" | "python3" | "node", script] if !script.starts_with('-') => {
            format!("{hint}; or a script alone: mcp-pipe {before}{script}")
        }
        _ => hint,
    })
}

/// The target of a command line and all that stands behind it; and what stands before it, as it is to be written again: a command that
/// takes a program, and `--local`.
fn target<'a>(command: &clap::Command, arguments: &'a [OsString]) -> Option<(String, Vec<&'a str>)> {
    let words: Vec<&str> = arguments.iter().skip(1).map(|word| word.to_str()).collect::<Option<_>>()?;
    let find = |word: &str| {
        let name = word.strip_prefix("--")?.split('=').next();
        command.get_arguments().find(|option| option.get_long() == name)
    };
    let is_ours = |word: &str| find(word).is_some();
    let takes_value =
        |word: &str| !word.contains('=') && find(word).is_some_and(|option| option.get_action().takes_values());
    let mut at = 0;
    let (mut before, mut local) = (String::new(), "");
    // The target stands behind the options, and behind a command that takes a program.
    let target = loop {
        let word = *words.get(at)?;
        if word.starts_with('-') {
            // What stands behind an option that there is not may be its value.
            if !is_ours(word) {
                return None;
            }
            if word == "--local" {
                local = "--local ";
            }
            at += if takes_value(word) { 2 } else { 1 };
        } else if before.is_empty() && ["run", "serve", "tools", "test"].contains(&word) {
            before = format!("{word} ");
            at += 1;
        } else if command.find_subcommand(word).is_some() {
            return None;
        } else {
            break at;
        }
    };
    before.push_str(local);
    Some((before, words[target..].to_vec()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use clap::error::ErrorKind;

    use super::super::parse;
    use crate::secrecy::Redactor;

    fn refused(line: &[&str]) -> String {
        let line = std::iter::once("mcp-pipe").chain(line.iter().copied()).map(Into::into);
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn a_program_with_arguments_is_told_where_it_belongs() {
        for (line, want) in [
            (&["python", "x.py"][..], "mcp-pipe -- python x.py; or a script alone: mcp-pipe x.py"),
            (&["npx", "-y", "some-server"], "mcp-pipe -- npx -y some-server"),
            (&["--log-level", "debug", "--local", "npx", "--flag"], "mcp-pipe --local -- npx --flag"),
            (
                &["run", "--local", "python", "x.py"],
                "mcp-pipe run --local -- python x.py; or a script alone: mcp-pipe run --local x.py",
            ),
            (&["tools", "python3", "my x.py", "--json"], "mcp-pipe tools -- python3 'my x.py' --json"),
            (&["run", "node", "x.js"], "mcp-pipe run -- node x.js; or a script alone: mcp-pipe run x.js"),
        ] {
            let error = refused(line);
            assert!(error.contains(&format!("tip: to start a program with arguments: {want}\n")), "{line:?}: {error}");
        }
        for line in ["uv run x.py", "docker run -i image", "npm start", "npm run x", "deno run x.ts", "node test"] {
            let error = refused(&line.split(' ').collect::<Vec<_>>());
            assert!(error.contains(&format!("mcp-pipe -- {line}")), "{error}");
        }
        assert!(refused(&["clock", "tools"]).contains("for example: mcp-pipe tools calculator"));
    }

    #[test]
    fn a_script_with_arguments_is_told_with_its_interpreter() {
        let path = std::env::var("PATH").unwrap_or_default();
        let python = &crate::config::interpreted("x.py", &path).unwrap()[0];
        for (line, want) in [
            (&["--local", "my.py", "arg1"][..], "mcp-pipe --local -- python my.py arg1"),
            (&["--local", "my.py", "--port", "3"], "mcp-pipe --local -- python my.py --port 3"),
            (&["my.py", "--host", "0.0.0.0", "--local"], "mcp-pipe --local -- python my.py --host 0.0.0.0"),
            (&["my.py", "--verbose"], "mcp-pipe -- python my.py --verbose"),
            (&["my.py", "--json"], "mcp-pipe -- python my.py --json"),
            (&["tools", "my.py", "--db", "x.db"], "mcp-pipe tools -- python my.py --db x.db"),
            (&["run", "--local", "d/my.js", "x"], "mcp-pipe run --local -- node d/my.js x"),
            (&["serve", "my.ts", "x"], "mcp-pipe serve -- npx -y tsx my.ts x"),
            (&["--local", "my.py", "--", "arg1"], "mcp-pipe --local -- python my.py arg1"),
            (&["run", "npx", "--", "-y", "x"], "mcp-pipe run -- npx -y x"),
        ] {
            let (error, want) = (refused(line), want.replace("python", python));
            assert!(error.contains(&format!(" with arguments: {want}\n")), "{line:?}: {error}");
            let written = want.split(' ').map(Into::into);
            assert!(parse(written).is_ok(), "{want}");
        }
    }

    #[test]
    fn a_command_line_that_is_told_for_an_option_of_another_command_can_be_read() {
        let all = super::super::command();
        let mut told = 0;
        for command in all.get_subcommands() {
            for option in
                command.get_arguments().filter(|option| !option.is_global_set()).filter_map(clap::Arg::get_long)
            {
                for current in ["serve", "status", "validate", "pause"] {
                    let line = ["mcp-pipe".into(), current.into(), format!("--{option}").into()];
                    let Some(error) = parse(line).err().filter(|error| error.kind() == ErrorKind::UnknownArgument)
                    else {
                        continue;
                    };
                    let error = error.to_string();
                    let tip = error.split_once("tip: ").and_then(|(_, tip)| tip.lines().next()).unwrap_or_default();
                    let Some((_, line)) = tip.split_once(": mcp-pipe ").filter(|_| tip.contains("is an option of"))
                    else {
                        continue;
                    };
                    let value = match option {
                        "listen" => "127.0.0.1:1",
                        "lines" => "3",
                        "client" | "http" => "cursor",
                        "suite" => "smoke",
                        "last-good" => "show",
                        "user" | "dry-run" | "path" => "install",
                        _ => "x",
                    };
                    let line = format!("mcp-pipe {}", line.replace('…', value));
                    assert!(parse(line.split(' ').map(Into::into)).is_ok(), "{error}");
                    told += 1;
                }
            }
        }
        assert!(told > 10, "{told}");
    }

    #[test]
    fn an_order_without_a_server_is_told_what_it_is_about() {
        for (line, want) in [
            (
                &["stop"][..],
                "tip: stop is about one server: mcp-pipe stop SERVER; to end a whole mcp-pipe, end its process by its service, \
                 by Ctrl-C, or by kill PID: mcp-pipe status --json says the pid",
            ),
            (&["start"], "tip: start is about one server: mcp-pipe start SERVER; to start a whole mcp-pipe: mcp-pipe"),
            (
                &["restart"],
                "tip: restart is about one server: mcp-pipe restart SERVER; to restart a whole mcp-pipe, end its process",
            ),
            (&["pause"], "tip: pause is about one server: mcp-pipe pause SERVER; mcp-pipe status names them"),
            (
                &["stop", "--all"],
                "tip: stop is about one server: mcp-pipe stop SERVER; to end a whole mcp-pipe, end its process",
            ),
            (
                &["restart", "--all"],
                "tip: restart is about one server: mcp-pipe restart SERVER; to restart a whole mcp-pipe",
            ),
            (&["status", "--all"], "tip: without a name it is about all: mcp-pipe status\n"),
            (&["--all"], "tip: without a name all servers run: mcp-pipe\n"),
        ] {
            let told = refused(line);
            assert!(told.contains(want), "{line:?}: {told}");
        }
    }

    #[test]
    fn an_address_to_listen_on_with_a_scheme_is_told_without_it_and_without_a_word_of_endpoints() {
        for line in
            [&["serve", "--listen", "http://127.0.0.1:8765"][..], &["serve", "--listen=http://localhost:8765/mcp"]]
        {
            let told = refused(line);
            assert!(told.contains("write 127.0.0.1:8765") && !told.contains("endpoint"), "{told}");
        }
        let told = refused(&["serve", "--listen", "wss://h.example/?token=abcdef"]);
        assert!(told.contains("is passed by MCP_ENDPOINT"), "{told}");
    }

    #[test]
    fn an_address_behind_a_command_that_dials_none_is_told_so() {
        for line in [
            &["tools", "--json", "a", "--wss://h/?token=abcdef"][..],
            &["call", "a", "b", "{}", "wss://h/?token=abcdef"],
        ] {
            let told = refused(line);
            assert!(told.contains("starts servers on this machine and dials no endpoint: leave it out"), "{told}");
            assert!(!told.contains("by MCP_ENDPOINT"), "{told}");
        }
    }

    #[test]
    fn a_slip_of_a_command_is_told_before_what_follows_from_it() {
        for (line, want) in [
            (&["lgos", "-f"][..], "did you mean logs? mcp-pipe logs -f\n"),
            (&["lgos", "-n", "5"], "did you mean logs? mcp-pipe logs -n 5\n"),
            (&["statsu", "--json"], "did you mean status? mcp-pipe status --json\n"),
            (&["stauts", "--json"], "did you mean status? mcp-pipe status --json\n"),
            (&["stats", "weather", "--json"], "did you mean status? mcp-pipe status weather --json\n"),
            (&["valdiate", "--json"], "did you mean validate? mcp-pipe validate --json\n"),
            (&["validat", "mcp_config.json"], "did you mean validate? mcp-pipe validate mcp_config.json\n"),
            (&["stdoi", "--server", "weather"], "did you mean stdio? mcp-pipe stdio --server weather\n"),
            (
                &["cal", "weather", "add", r#"{"a":1,"b":2}"#],
                r#"did you mean call? mcp-pipe call weather add '{"a":1,"b":2}'"#,
            ),
            (&["--local", "tolls", "--size"], "did you mean tools?\n"),
            // What would not be read either is not told as a line.
            (&["lgos", "--nonsense"], "did you mean logs?\n"),
            (&["help", "stats"], "did you mean status? mcp-pipe help status\n"),
            (&["restrat", "x", "--connection"], "did you mean restart? mcp-pipe restart x --connection\n"),
        ] {
            let error = refused(line);
            assert!(error.contains(&format!("tip: {want}")), "{line:?}: {error}");
        }
        // A file of that name is no slip, nor is what a launcher starts.
        for line in [&["src", "--json"][..], &["node", "logs", "-f"], &["run", "lgos", "-f"]] {
            let error = refused(line);
            assert!(!error.contains("did you mean"), "{line:?}: {error}");
        }
    }

    #[test]
    fn an_option_of_other_programs_is_told_what_to_write_and_never_to_be_passed_on_as_a_value() {
        for (line, want) in [
            (&["-v"][..], Some("--log-level debug")),
            (&["--verbose", "calculator"], Some("--log-level debug")),
            (&["tools", "-v"], Some("--log-level debug")),
            (&["-q"], Some("--log-level warn")),
            (&["--token", "x"], Some("MCP_ENDPOINT=wss://host/path?token=… in .env")),
            (&["--token=x"], Some("or --endpoint")),
            (&["-c", "x.json"], Some("a config is named by --config")),
            (&["--port", "80"], Some("mcp-pipe serve --listen HOST:PORT")),
            (&["--port", "8080", "--local"], Some("mcp-pipe serve --listen HOST:PORT")),
            (&["--loglevel", "debug", "--local"], Some("--log-level debug")),
            (&["--server", "calculator", "--local"], Some("mcp-pipe NAME")),
            (&["--url", "wss://h.example/"], Some("or --endpoint")),
            (&["serve", "--host", "0.0.0.0"], Some("tip: host and port are one: mcp-pipe serve --listen HOST:PORT\n")),
            (&["serve", "--port", "80"], Some("mcp-pipe serve --listen HOST:PORT")),
            (&["serve", "--api-key", "abc"], Some("\"gateway\": {\"apiKeys\": [")),
            (&["tools", "--server", "calculator"], Some("mcp-pipe tools NAME")),
            (&["status", "-f"], Some("mcp-pipe status --watch")),
            (&["status", "--follow"], Some("mcp-pipe status --watch")),
            (&["--json"], Some("--log-format json")),
            (&["stdio", "calculator"], Some("mcp-pipe stdio --server calculator")),
            (&["--such", "x", "y"], None),
            (&["-x"], None),
            (&["health", "-x"], None),
        ] {
            let error = refused(line);
            assert!(!error.contains("as a value") && !error.contains("-- -"), "{line:?}: {error}");
            assert!(want.map_or(!error.contains("tip:"), |want| error.contains(want)), "{line:?}: {error}");
        }
    }

    #[test]
    fn the_arguments_of_a_call_are_shown_as_the_object_that_was_meant() {
        for (line, want) in [
            (&["--a", "2", "--b", "3"][..], r#"'{"a":2,"b":3}'"#),
            (&["--text=it is", "--loud"], r#"'{"text":"it is","loud":true}'"#),
            (&["{a:2", "b=3"], r#"'{"name": value}'"#),
            (&["a:2", "b:[1]"], r#"'{"a":2,"b":[1]}'"#),
            (&["--log-level", "debug", "--a", "-2"], r#"'{"a":-2}'"#),
            (&["2", "3"], r#"'{"name": value}'"#),
            (&["-a", "it's"], r#"'{"a":"it'\''s"}'"#),
        ] {
            let error = refused(&[&["call", "calculator", "add"], line].concat());
            let want = format!("tip: the arguments are one JSON object: mcp-pipe call calculator add {want}\n");
            assert!(error.contains(&want), "{line:?}: {error}");
        }
    }

    #[test]
    fn a_program_that_is_to_be_called_is_told_what_call_takes() {
        for line in
            [&["call", "--", "/path/python", "clock.py", "now"][..], &["call", "--log-contents", "--", "x", "y"]]
        {
            let error = refused(line);
            assert!(error.contains("call takes a server of the config or a script"), "{error}");
        }
        let line = ["mcp-pipe", "call", "calculator", "add", "--", "-"].map(Into::into);
        assert!(parse(line).is_ok(), "behind the tool it only ends the options");
    }

    #[test]
    fn an_option_that_is_a_key_of_the_config_is_told_so() {
        for (option, key) in [
            ("--ping-interval", "pingInterval"),
            ("--pingTimeout=5s", "pingTimeout"),
            ("--naming", "naming"),
            ("--inherit-env", "inheritEnv"),
            ("--cwd", "cwd"),
            ("--cacheDir", "cacheDir"),
        ] {
            for line in [&[option][..], &["tools", option], &[option, "x"]] {
                let error = refused(line);
                assert!(
                    error.contains(&format!("tip: {key} is no option but a key of the config")),
                    "{line:?}: {error}"
                );
            }
        }
        assert!(refused(&["--naming"]).contains("at the top of the config or in the entry of a server"));
        assert!(refused(&["--mod", "x"]).contains("'--mode'"), "a slip is still told");
        let other = refused(&["calculator", "--json"]);
        let want = "tip: for a log in JSON: --log-format json; --json is an option of tools: mcp-pipe tools --json …\n";
        assert!(other.contains(want), "{other}");
    }

    #[test]
    fn only_near_options_that_the_command_takes_are_suggested() {
        for (line, want) in [
            (&["logs", "--tail", "5"][..], Some("mcp-pipe logs -n 20")),
            (&["logs", "--last=5"], Some("mcp-pipe logs -n 20")),
            (&["logs", "--folow"], Some("'--follow'")),
            (&["health", "--json"], Some("mcp-pipe status --json …")),
            (&["--control-socket", "/s", "restart", "a", "--json"], Some("mcp-pipe status --json …")),
            (&["config", "show", "--strict"], Some("mcp-pipe validate --strict …")),
            (&["status", "--confg", "x"], Some("'--config'")),
            (&["call", "a", "b", "--json"], None),
            (&["call", "--json", "a", "b"], None),
            (&["status", "--loca"], None),
            (&["health", "--mod", "x"], None),
        ] {
            let error = refused(line);
            let tip = error.split_once("tip:").map(|(_, tip)| tip);
            assert!(want.map_or(tip.is_none(), |want| tip.is_some_and(|tip| tip.contains(want))), "{line:?}: {error}");
        }
    }

    #[test]
    fn a_slip_of_an_option_behind_a_server_is_told_as_one() {
        for (line, want) in [
            (&["ok", "--locl"][..], "similar argument exists: '--local'"),
            (&["run", "ok", "--locl"], "similar argument exists: '--local'"),
            (&["calculator.py", "--locl"], "similar argument exists: '--local'"),
            (&["ok", "--confg=x"], "similar argument exists: '--config'"),
            (&["tools", "ok", "--confg", "x"], "similar argument exists: '--config'"),
            (&["tools", "ok", "--locl"], "tip: --local does nothing for tools: leave it out"),
            (&["npx", "--locl"], "mcp-pipe -- npx --locl"),
            (&["ok", "--flag"], "mcp-pipe -- ok --flag"),
        ] {
            let error = refused(line);
            assert!(error.contains(want) && !error.contains("-- ok --loc"), "{line:?}: {error}");
        }
    }

    #[test]
    fn dashes_of_a_word_processor_are_told_with_the_hyphens_to_write() {
        for (line, want) in [
            (&["–-local"][..], "– (U+2013, en dash): write --local"),
            (&["—local"], "— (U+2014, em dash): write --local"),
            (&["-–local", "ok"], "write --local"),
            (&["−−config=x.json"], "write --config"),
            (&["tools", "ok", "—json"], "write --json"),
            (&["–version"], "write --version"),
        ] {
            let error = refused(line);
            assert!(error.contains(want), "{line:?}: {error}");
        }
        assert!(super::super::parse(["mcp-pipe", "--", "x", "—local"].map(Into::into)).is_ok());
        assert!(super::super::parse(["mcp-pipe", "–mine"].map(Into::into)).is_ok());
    }

    #[test]
    fn a_token_in_the_wrong_place_is_not_repeated() {
        const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.c2VjcmV0IQ.s3cr3t";
        let url = format!("wss://h/?token={TOKEN}");
        for secret in [TOKEN, &url, &url["wss://".len()..]] {
            for line in [
                &["calculator", secret][..],
                &["tools", "calculator", secret],
                &["call", "a", "b", "{}", secret],
                &["python", secret],
                &["--log-format", secret],
            ] {
                let remedy = if ["tools", "call"].contains(&line[0]) { "dials no endpoint" } else { "MCP_ENDPOINT" };
                let line = std::iter::once("mcp-pipe").chain(line.iter().copied()).map(Into::into);
                let failure = crate::error::Failure::Usage(parse(line).unwrap_err());
                let error = failure.shown(&Redactor::default());
                assert!(!error.contains("s3cr3t") && error.contains(remedy), "{error}");
            }
        }
    }
}
