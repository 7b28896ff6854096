//! What the command line names instead of a server of the config: a script, or a program.

use std::path::{Path, PathBuf};

use super::command::{self, Invocation};
use super::context::Context;
use super::file::File;
use super::missing::{Sought, first_line, interpreted, is_script};
use super::options::{CommandLine, Target};
use super::{CommandSpec, LimitsSpec};
use super::{defaults, dial, start};
use crate::disk::joined;
use crate::endpoint::{looks_like_endpoint, looks_like_token};
use crate::error::{Code, Place};
use crate::secrecy::address;
use crate::words::{begun, closest, quoted};

/// Most files of a folder that are looked at in the search for a similar name.
const MOST_FILES: usize = 1000;

/// Whether the command line names more than one target, which is noted with how to run several.
pub(crate) fn are_several(ctx: &mut Context<'_>, file: &File) -> bool {
    let Target::Named(first) = ctx.line.target else { return false };
    let [_, ..] = ctx.line.more else { return false };
    let more = ctx.line.more.iter().map(String::as_str);
    let words: Vec<&str> = std::iter::once(first).chain(more).collect();
    let is_server = |word: &&str| file.entries.iter().any(|entry| entry.name == **word);
    let unknown = words.iter().find(|word| !is_server(word));
    let line = words.join(" ");
    let (what, remedy) = match unknown {
        None => (
            "are servers of the config, of which one can be named, or none for all".to_owned(),
            "without a name all run that are not disabled: disable the others in the config; or start mcp-pipe once for each; or \
             write a config that has only these, and name it by --config"
                .to_owned(),
        ),
        Some(_) if is_server(&first) => {
            ("are several words behind one another, and one server can be named".to_owned(), format!("write {first} alone"))
        }
        Some(_) => {
            let commands = ctx.line.commands.iter().map(String::as_str).filter(|_| ctx.line.command.is_none());
            let meant = begun(first, commands.clone()).or_else(|| closest(first, commands));
            let meant = meant.map(|meant| format!("did you mean the command {meant}?"));
            let program = program_line(ctx, file, &line).map(|line| format!("to start a program with arguments: {line}"));
            let remedy = meant.into_iter().chain(program).collect::<Vec<_>>().join(" Or, ");
            ("are several words, and one server or script can be named".to_owned(), remedy)
        }
    };
    ctx.no_target(line, Code::Target.says(what), remedy);
    true
}

/// Longest command line that is repeated, in bytes.
const LONGEST_LINE: usize = 200;

/// The same command line on an endpoint of our own, as a person should write it. Nothing is repeated that may be a secret.
pub(crate) fn on_a_local_endpoint(line: &CommandLine<'_>) -> String {
    let mut words = vec!["mcp-pipe".to_owned()];
    if let Some(config) = &line.options.config {
        words.extend(["--config".to_owned(), quoted(&config.display().to_string())]);
    }
    // Whoever looks at a config wants to run it.
    words.extend(line.command.filter(|command| *command == "run").map(str::to_owned));
    words.push("--local".to_owned());
    match line.target {
        Target::All => {}
        Target::Named(name) => words.push(quoted(name)),
        Target::Line(command) => {
            words.push("--".to_owned());
            let shown: Vec<&str> = address::shown_arguments(command).collect();
            let is_plain = |word: &&&str| !looks_like_endpoint(word) && !looks_like_token(word) && **word != "…";
            let plain = shown.iter().take_while(is_plain).count();
            words.extend(shown[..plain].iter().map(|word| quoted(word)));
            if plain < shown.len() {
                words.push("…".to_owned());
            }
        }
    }
    let line = words.join(" ");
    if line.len() > LONGEST_LINE { format!("{}…", &line[..line.floor_char_boundary(LONGEST_LINE)]) } else { line }
}

/// The beginning of a command line for a script, or with ` --` behind it for a program, that does the same as this one; `None` where
/// its command starts neither. Served is on an endpoint of our own where this one says that, and where no endpoint is known.
pub(crate) fn beginning(line: &CommandLine<'_>, has_endpoint: bool) -> Option<String> {
    let local = if line.local || !has_endpoint { " --local" } else { "" };
    match line.command {
        // Whoever looks at a config wants to run it.
        None | Some("validate" | "config") => Some(format!("mcp-pipe{local}")),
        Some("run") => Some(format!("mcp-pipe run{local}")),
        Some("serve") => Some("mcp-pipe serve".to_owned()),
        Some("tools") => Some("mcp-pipe tools".to_owned()),
        Some(_) => None,
    }
}

/// The same for one beside a config.
pub(crate) fn beginning_beside(ctx: &Context<'_>, file: &File) -> Option<String> {
    let is_named = file.shared.endpoint.is_some() || dial::is_named_outside(ctx.line, ctx.env, ctx.dotenv);
    beginning(ctx.line, is_named)
}

/// The option by which this command line has an endpoint of our own, as one to be repeated.
fn local(ctx: &Context<'_>) -> &'static str {
    if ctx.line.options.local { "--local " } else { "" }
}

/// What to write to start a program, where the command starts any.
fn program_line(ctx: &Context<'_>, file: &File, line: &str) -> Option<String> {
    beginning_beside(ctx, file).map(|beginning| format!("{beginning} -- {line}"))
}

/// A script by its file name; also its name as a server.
pub(crate) fn of_script(
    ctx: &mut Context<'_>,
    file: &File,
    name: &str,
    config: Option<&str>,
) -> Option<(String, CommandSpec)> {
    if is_endpoint(ctx, file, name) {
        return None;
    }
    let places = command::script_places(name, ctx.cwd, &ctx.base);
    let Some(path) = places.iter().find(|place| place.is_file()) else {
        not_found(ctx, file, name, config, &places);
        return None;
    };
    if is_config(name) {
        let remedy = format!("name a config by --config: mcp-pipe {}--config {name}", local(ctx));
        ctx.no_target(Place::file(path.display().to_string()), Code::Target.says("is a config, not a script"), remedy);
        return None;
    }
    let runs_itself = |invocation: &command::Invocation| invocation.args.is_empty();
    let run = match command::for_script(path, ctx.env) {
        Ok(own) if runs_itself(&own) && is_script(name) && first_line(path).is_none() => {
            Err("has no #! line, which would say what runs it")
        }
        run => run,
    };
    match run {
        Ok(invocation) => {
            ctx.notes.push(format!("{name}: taking {}, run with {}", path.display(), invocation.program));
            let stem = path.file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
            Some((stem, of_invocation(ctx, invocation)))
        }
        Err(what) => {
            let remedy = remedy_for_script(ctx, file, path);
            ctx.no_target(Place::file(path.display().to_string()), Code::Target.says(what), remedy);
            None
        }
    }
}

/// How to start a script that needs its interpreter named.
fn remedy_for_script(ctx: &Context<'_>, file: &File, script: &Path) -> String {
    let shown = script.strip_prefix(ctx.cwd).unwrap_or(script).display().to_string();
    let path = ctx.lookup("PATH").unwrap_or_default();
    let words = interpreted(&shown, &path).unwrap_or_else(|| vec!["PROGRAM".to_owned(), shown.clone()]);
    let line = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let named = match program_line(ctx, file, &line) {
        Some(line) => format!("name its interpreter: {line}"),
        // A call starts no program but that of a config.
        None => Sought { program: &shown, path: &path, ours: None, cwd: ctx.cwd }.remedy_for_interpreter(),
    };
    if command::is_executable(script) { named } else { format!("make it executable (chmod +x), or {named}") }
}

/// A program and its arguments; also its name as a server.
pub(crate) fn of_line(
    ctx: &mut Context<'_>,
    file: &File,
    program: &str,
    args: &[String],
) -> Option<(String, CommandSpec)> {
    if is_endpoint(ctx, file, program) {
        return None;
    }
    let path = ctx.lookup("PATH").unwrap_or_default();
    if program.contains(char::is_whitespace) && args.is_empty() && !ctx.cwd.join(program).exists() {
        let what = "is one word for your shell, with a blank in it, and there is no program of that name";
        let line = program_line(ctx, file, program).unwrap_or_default();
        ctx.no_target(program, Code::Target.says(what), format!("write it without quotes: {line}"));
        return None;
    }
    if let Some((what, remedy)) = script_as_program(ctx, file, program, args, &path) {
        ctx.no_target(program, Code::Target.says(what), remedy);
        return None;
    }
    let line = (program.to_owned(), args.to_vec());
    let (program, args) = start::of_this_system(ctx, &"the command line".into(), program, &path, line.0, line.1);
    let name = Path::new(&program).file_stem().map_or_else(|| program.clone(), |stem| stem.to_string_lossy().into());
    Some((name, of_invocation(ctx, Invocation { program, args })))
}

/// The command for a program that is not in the config: it starts in the working directory.
fn of_invocation(ctx: &Context<'_>, Invocation { program, args }: Invocation) -> CommandSpec {
    let program = if command::is_path(&program) { joined(ctx.cwd, program).display().to_string() } else { program };
    let (cwd, limits) = (Some(ctx.cwd.to_path_buf()), LimitsSpec::default());
    CommandSpec { program, args, env: Vec::new(), env_remove: Vec::new(), cwd, limits }
}

/// What is wrong with a script that stands where a program is named, and the remedy; `None` for what may be a program.
fn script_as_program(
    ctx: &Context<'_>,
    file: &File,
    program: &str,
    args: &[String],
    path: &str,
) -> Option<(String, String)> {
    let by_name = !command::is_path(program);
    if !is_script(program) || by_name && command::on_path(program, path) {
        return None;
    }
    let place = joined(ctx.cwd, program);
    let (is_there, starts) = (place.is_file(), command::is_executable(&place) && first_line(&place).is_some());
    if !by_name && (starts || !is_there) {
        return None;
    }
    let interpreted = interpreted(program, path)?;
    let shown = |words: Vec<&str>| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let is_plain = |arg: &&String| !looks_like_endpoint(arg) && !looks_like_token(arg);
    let plain = args.iter().take_while(is_plain).map(String::as_str);
    let whole = shown(interpreted.iter().map(String::as_str).chain(plain.clone()).collect());
    let line = program_line(ctx, file, &whole)?;
    if !is_there {
        let what =
            format!("is neither a program of the PATH nor a script in the working directory ({})", ctx.cwd.display());
        return Some((what, format!("write the script's path behind its interpreter: {line}")));
    }
    let mut remedy = format!("write {line}");
    if starts {
        let whole = shown([format!("./{program}").as_str()].into_iter().chain(plain).collect());
        let line = program_line(ctx, file, &whole)?;
        remedy.push_str(&format!(", or by its path: {line}"));
    } else if args.is_empty() && command::runs_alone(program) {
        let beginning = beginning_beside(ctx, file)?;
        remedy.push_str(&format!(", or the script alone: {beginning} {}", quoted(program)));
    }
    Some(("is a script, and behind -- stands the program that runs it".to_owned(), remedy))
}

/// Whether a target is a URL or a token, and so most likely an endpoint. That is noted, without what may be secret.
fn is_endpoint(ctx: &mut Context<'_>, file: &File, target: &str) -> bool {
    // What else the target may be a slip for.
    let names = || file.entries.iter().map(|entry| entry.name.as_str());
    let is_slip = || closest(target, names()).is_some() || ctx.cwd.join(target).exists();
    let begins = |scheme: &str| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if begins("http://") || begins("https://") {
        let what = "is the address of a remote server, which belongs into the config: others can read a command line";
        let shown = crate::words::brief(&address::shown(target)).into_owned();
        let mut remedy = format!("write {{\"mcpServers\": {{\"my-server\": {{\"url\": {shown:?}}}}}}}");
        if !matches!(ctx.line.command, Some("tools" | "call")) {
            remedy.push_str("; an endpoint begins with wss:// or ws://");
        }
        ctx.no_target("the target", Code::Target.says(what), remedy);
        return true;
    }
    let what = if looks_like_endpoint(target) {
        "is a URL, not a server, a script or a program"
    } else if looks_like_token(target) && !is_slip() {
        "looks like a token, and is no server, script or program"
    } else {
        return false;
    };
    let remedy = match ctx.line.command {
        Some("tools") => {
            "tools starts servers on this machine and dials no endpoint: name a server of the config, a script, or a program behind --"
        }
        Some("call") => {
            "call starts servers on this machine and dials no endpoint: name a server of the config, or a script"
        }
        _ if ctx.line.local => "with --local mcp-pipe serves the endpoint itself: leave one of both out",
        _ => "pass an endpoint, token included, by MCP_ENDPOINT, .env or --endpoint",
    };
    ctx.no_target("the target", Code::Target.says(what), remedy);
    true
}

/// Whether a file is most likely a config.
fn is_config(name: &str) -> bool {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    ["json", "jsonc", "json5"].iter().any(|json| json.eq_ignore_ascii_case(ending))
}

/// Notes that a target is neither a server nor a script, with what may have been meant.
fn not_found(ctx: &mut Context<'_>, file: &File, name: &str, config: Option<&str>, places: &[PathBuf]) {
    let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    let server = match config {
        Some(_) => "a server in the config nor a file".to_owned(),
        None => format!("a file nor a server, as there is no config ({})", ctx.cwd.join(defaults::CONFIG).display()),
    };
    let command = if ctx.line.command.is_none() { "a command nor " } else { "" };
    if let Some(script) = script_without_ending(name, places) {
        let what = Code::Target.says(format!("is neither {command}{server}"));
        ctx.no_target(name, what, format!("did you mean {script}?"));
        return;
    }
    let what = format!("is neither {command}{server}; looked for {}", looked.join(", "));
    if let (Some(command), true) = (ctx.line.command, ctx.line.commands.iter().any(|known| known == name)) {
        let what = format!("is a command, and behind {command} stands a server, of which none is called that");
        ctx.no_target(
            name,
            Code::Target.says(what),
            format!("write one of both: mcp-pipe {name}, or mcp-pipe {command} SERVER"),
        );
        return;
    }
    if let Some(folder) = places.iter().find(|place| place.is_dir()) {
        let remedy = "name a script in it, or a server of the config";
        ctx.no_target(Place::file(folder.display().to_string()), Code::Target.says("is a folder"), remedy);
        return;
    }
    let names: Vec<&str> = file.entries.iter().map(|entry| entry.name.as_str()).collect();
    let scripts = scripts(places);
    let commands = ctx.line.commands.iter().map(String::as_str).filter(|_| ctx.line.command.is_none());
    let options: &[&str] = match ctx.line.command {
        None => &["local", "version"],
        Some("run") => &["local"],
        Some(_) => &[],
    };
    let options = options.iter().copied();
    let begun = begun(name, commands.clone());
    let known = names.iter().copied().chain(commands).chain(scripts.iter().map(String::as_str)).chain(options);
    // A server is often called like its script: names with the same ending as the target come first.
    let same_kind = |known: &&str| Path::new(known).extension() == Path::new(name).extension();
    let meant = closest(name, known.clone().filter(same_kind)).or_else(|| closest(name, known));
    let joined = joined_to_server(name, &names);
    // A tool behind a server's name is no slip of another script.
    let meant = meant.filter(|meant| joined.is_none() || names.contains(meant) || is_slip_of_ending(name, meant));
    let is_script = is_script(name);
    let program = program_line(ctx, file, name).filter(|_| !is_script).map(|line| format!("to run a program: {line}"));
    let remedy = if name.contains(char::is_whitespace) {
        for_words(ctx, file, name)
    } else if let Some(option @ ("local" | "version")) = meant.filter(|meant| !names.contains(meant)) {
        format!("did you mean --{option}?")
    } else if let Some(meant) = meant.or(begun) {
        // Whoever writes only the beginning of a command makes no slip.
        let other = begun.filter(|begun| *begun != meant).map_or_else(String::new, |begun| format!(" or {begun}"));
        format!("did you mean {meant}{other}?")
    } else if let Some((server, rest)) = joined {
        match ctx.line.command {
            Some("call") => {
                format!("write the server and its tool as two words: mcp-pipe call {server} {rest} '{{…}}'")
            }
            _ => format!("write the server alone: {server}"),
        }
    } else if is_config(name) {
        format!("a config is named by --config: mcp-pipe {}--config {name}", local(ctx))
    } else {
        let servers = (!names.is_empty()).then(|| format!("the config has: {}", names.join(", ")));
        let create =
            (config.is_none() && program.is_none() && !is_script).then(|| "name a config by --config".to_owned());
        let path = is_script.then(|| "write its path if it is in another folder".to_owned());
        [servers, program, path, create].into_iter().flatten().collect::<Vec<_>>().join("; ")
    };
    ctx.no_target(name, Code::Target.says(what), remedy);
}

/// A server of the config and what was joined to its name, as in `server.tool`: quoted as a shell wants them.
fn joined_to_server(target: &str, names: &[&str]) -> Option<(String, String)> {
    names.iter().find_map(|server| {
        let rest = target.strip_prefix(server)?;
        let tool = ["__", ".", "/", ":", "#"].iter().find_map(|joint| rest.strip_prefix(joint))?;
        let is_name = !tool.is_empty() && tool.chars().all(|c| c.is_alphanumeric() || "_-".contains(c));
        is_name.then(|| (quoted(server), quoted(tool)))
    })
}

/// Whether a script is meant by another ending that is written much like its own, as `.pz` for `.py`.
fn is_slip_of_ending(name: &str, script: &str) -> bool {
    let (Some((stem, ending)), Some((own, right))) = (name.rsplit_once('.'), script.rsplit_once('.')) else {
        return false;
    };
    stem == own && ending.len() == right.len() && ending.bytes().zip(right.bytes()).any(|(one, other)| one == other)
}

/// The script that a target names without the ending of its file.
fn script_without_ending(name: &str, places: &[PathBuf]) -> Option<String> {
    let with = |ending: &&&str| {
        let is_there = |place: &PathBuf| {
            let mut file = place.as_os_str().to_owned();
            file.push(ending);
            Path::new(&file).is_file()
        };
        places.iter().any(is_there)
    };
    [".py", ".js", ".mjs", ".cjs", ".ts"].iter().find(with).map(|ending| format!("{name}{ending}"))
}

/// What to write for several words that came as one argument.
fn for_words(ctx: &Context<'_>, file: &File, words: &str) -> String {
    let (first, rest) = words.trim().split_once(char::is_whitespace).unwrap_or((words, ""));
    if ctx.line.command.is_none() && ctx.line.commands.iter().any(|command| command == first) {
        return format!("write it without quotes: mcp-pipe {words}");
    }
    let path = ctx.lookup("PATH").unwrap_or_default();
    let line = match interpreted(first, &path) {
        Some(line) => format!("{} {}", line.join(" "), rest.trim_start()),
        None => words.to_owned(),
    };
    program_line(ctx, file, &line).map_or_else(String::new, |line| line_of_words(words, &line))
}

/// What to write for a whole command line that came as one argument.
fn line_of_words(line: &str, program: &str) -> String {
    let mut words = line.split_whitespace();
    let is_script = |word: &&str| [".py", ".js", ".mjs", ".cjs"].iter().any(|ending| word.ends_with(ending));
    match (words.next(), words.next().filter(is_script), words.next()) {
        (Some("python" | "python3" | "node"), Some(script), None) => {
            let start = program.split(" --").next().unwrap_or_default();
            format!("write it without quotes: {program}; or the script alone: {start} {script}")
        }
        _ => format!("write it without quotes: {program}"),
    }
}

/// The names of the scripts in the folders in which the target was looked for.
fn scripts(places: &[PathBuf]) -> Vec<String> {
    let folders = places.iter().filter_map(|place| std::fs::read_dir(place.parent()?).ok());
    let names = folders.flat_map(|folder| folder.take(MOST_FILES).flatten());
    let names = names.filter_map(|file| file.file_name().into_string().ok());
    names.filter(|name| [".py", ".js", ".mjs", ".cjs"].iter().any(|ending| name.ends_with(ending))).collect()
}
