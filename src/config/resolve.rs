//! File, environment and flags → [`Config`]: what wins over what.
//!
//! Reading goes on after a mistake, so that all mistakes are told at once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::auth;
use super::check;
use super::context::{Context, Hidden};
use super::control::control_socket;
use super::dial::{self, Common, ENDPOINT, Own};
use super::endpoints::Endpoints;
use super::expand::expand;
use super::file::{self, Entry, File, Transport};
use super::options::{CommandLine, Options, Target};
use super::shared::Shared;
use super::state;
use super::surroundings::Surroundings;
use super::{
    AdminSpec, CommandSpec, Config, EndpointSpec, Environment, GatewaySpec, LeaseSpec, LeftOut, LogFileSpec, Reach,
    RemoteSpec, ServerSpec, TlsSpec, admin, cache, defaults, fallback, gateway, instances, lease, locate, log_file,
    misnamed, paths, proxies, sharing, start, target, variables,
};
use crate::disk::joined;
use crate::endpoint::{bare, is_in_braces, is_placeholder, is_variable};
use crate::error::{Code, Place, Problem, Problems};
use crate::secrecy::{Redactor, Secret, address};
use crate::tools::ToolPolicy;
use crate::words::span;

/// What a run needs to know, and what a person should know about it.
#[derive(Debug)]
pub struct Resolved {
    /// What is to be done.
    pub config: Config,
    /// Oddities that stop nothing; to be logged as warnings.
    pub warnings: Vec<Problem>,
    /// Choices made, such as which file was taken; to be logged.
    pub notes: Vec<String>,
    /// What only a person who looks closely wants to know; to be logged at debug.
    pub details: Vec<String>,
    /// What must be seen nowhere: tokens, passwords and header values.
    pub secrets: Vec<Secret>,
    /// The names of all servers and endpoints, which are shown whole.
    pub names: Vec<String>,
}

impl Resolved {
    /// Logs what a person should know. To be called after the log has learned the secrets. `redactor` cleans the texts once more,
    /// since a person may have put other secrets into a wrong place.
    pub fn log(&self, redactor: &Redactor) {
        for warning in &self.warnings {
            tracing::warn!(event = "CONFIG_WARNING", "{}", redactor.clean_all(&warning.to_string()));
        }
        for note in &self.notes {
            tracing::info!(event = "CONFIG_NOTE", "{}", redactor.clean_all(note));
        }
        for detail in &self.details {
            tracing::debug!(event = "CONFIG_NOTE", "{}", redactor.clean_all(detail));
        }
        for spec in &self.config.servers {
            tracing::debug!(event = "CONFIG_RESOLVED", server = %spec.name, "{}", redactor.clean_all(&summary(spec)));
        }
    }
}

/// The parts of a server's entry that tell most when something goes wrong.
fn summary(spec: &ServerSpec) -> String {
    let (start, size) = (span(spec.start_timeout), spec.max_frame);
    let limits = format!("startTimeout {start}, maxFrameSize {size} bytes");
    let CommandSpec { program, args, env, cwd, .. } = match &spec.reach {
        Reach::Command(command) => command,
        Reach::Remote(remote) => return format!("is at {}; {limits}", remote.url),
        Reach::Comer(_) => return format!("comes by itself; {limits}"),
    };
    let args: String = address::shown_arguments(args).map(|arg| format!(" {arg}")).collect();
    let cwd = cwd.as_deref().map_or_else(String::new, |cwd| format!(" in {}", cwd.display()));
    let names: Vec<&str> = env.iter().map(|(name, _)| &**name).collect();
    let env = if names.is_empty() { String::new() } else { format!(", with {} set", names.join(", ")) };
    format!("starts {program}{args}{cwd}{env}; {limits}")
}

/// Where a running mcp-pipe answers `health`: `--status-socket`, then `MCP_STATUS_SOCKET`.
pub fn status_socket(options: &Options, settings: &Environment) -> Option<PathBuf> {
    options.status_socket.clone().or_else(|| settings.filled("MCP_STATUS_SOCKET").map(PathBuf::from))
}

/// A config as far as it can be made, with all that was found in it.
pub(crate) struct Draft<'a> {
    pub(crate) ctx: Context<'a>,
    pub(crate) file: File,
    /// The config's name, if there is one.
    pub(crate) name: Option<String>,
    /// Its text, where it is a file.
    pub(crate) written: Option<Secret>,
    pub(crate) servers: Vec<ServerSpec>,
    pub(crate) endpoints: Vec<EndpointSpec>,
    pub(crate) gateway: Option<GatewaySpec>,
    pub(crate) admin: Option<AdminSpec>,
    pub(crate) lease: Option<LeaseSpec>,
    pub(crate) log_file: Option<LogFileSpec>,
}

/// Makes the config of a run. Reads files, and changes nothing.
///
/// # Errors
/// Every mistake that there is.
pub fn resolve(line: &CommandLine<'_>, surroundings: &Surroundings) -> Result<Resolved, Problems> {
    let Draft { ctx, file, name, written, servers, endpoints, gateway, admin, lease, log_file } =
        draft(line, surroundings);
    if !ctx.problems.mistakes.is_empty() || ctx.problems.target.is_some() {
        let redactor: Redactor = ctx.hidden.all.into_iter().collect();
        redactor.spare(file.names().iter().map(String::as_str));
        return Err(ctx.problems.cleaned(&redactor));
    }
    let (options, settings, cwd) = (line.options, ctx.settings, ctx.cwd);
    let mut inputs = inputs(&ctx, name.as_deref(), &servers, &endpoints);
    if let (Some(entry), Some(spec)) = (&file.gateway, &gateway) {
        inputs.extend(gateway::inputs(&ctx, entry, spec));
    }
    let is_run =
        |entry: &&Entry| line.target != Target::All || servers.iter().any(|server| *server.name == *entry.name);
    let (disabled, unshown): (Vec<&Entry>, Vec<&Entry>) =
        file.entries.iter().filter(|entry| !is_run(entry)).partition(|entry| entry.disabled.is_some());
    let named = |entries: Vec<&Entry>| entries.into_iter().map(|entry| entry.name.clone()).collect();
    let left_out = LeftOut { disabled: named(disabled), unshown: named(unshown) };
    let names = file.names();
    let config = Config {
        written,
        inputs,
        servers,
        endpoints,
        gateway: gateway.map(Arc::new),
        admin: admin.map(Arc::new),
        lease: lease.map(Arc::new),
        metrics_file: options.metrics_file.as_ref().map(|path| joined(cwd, path)),
        left_out,
        place: name.map_or_else(|| cwd.to_path_buf(), |name| joined(cwd, name)),
        drain_timeout: options.drain_timeout.or(file.drain_timeout).unwrap_or(defaults::DRAIN_TIMEOUT),
        local: ctx.local,
        plain: settings.filled("NO_COLOR").is_some(),
        log_contents: options.log_contents,
        control_socket: control_socket(options, settings),
        status_socket: status_socket(options, settings),
        cache_dir: cache::dir(&ctx, file.cache_dir.as_ref()),
        state_dir: ctx.state_dir.clone(),
        log_file,
        tool_budget: file.tool_budget.unwrap_or(defaults::TOOL_BUDGET),
    };
    let (secrets, warnings) = (ctx.hidden.all, ctx.problems.warnings);
    Ok(Resolved { config, warnings, notes: ctx.notes, details: ctx.details, secrets, names })
}

/// What is known of a run also where its config has mistakes.
#[derive(Debug)]
pub(crate) struct Outline {
    /// As [`Config::place`].
    pub(crate) place: PathBuf,
    pub(crate) cache_dir: Option<PathBuf>,
    pub(crate) state_dir: Option<PathBuf>,
    /// The servers that could be run.
    pub(crate) servers: Vec<ServerSpec>,
    /// The names of all servers of the config.
    pub(crate) names: Vec<String>,
    /// The variables that count for it, set or not.
    pub(crate) asked: BTreeSet<String>,
}

/// Makes as much of a run as can be made. Reads files, and changes nothing.
pub(crate) fn outline(line: &CommandLine<'_>, surroundings: &Surroundings) -> Outline {
    let Draft { ctx, file, servers, .. } = draft(line, surroundings);
    // Where there is no such file, a run that could read it had the same place.
    let place = surroundings.place();
    let cache_dir = cache::dir(&ctx, file.cache_dir.as_ref());
    let names = file.entries.into_iter().map(|entry| entry.name).collect();
    let mut asked = ctx.asked.into_inner();
    let of_proxies = proxies::ADDRESSES.as_flattened().iter().chain(&proxies::EXCEPT);
    asked.extend([ENDPOINT].iter().chain(of_proxies).map(|name| (*name).to_owned()));
    Outline { place, cache_dir, state_dir: ctx.state_dir, servers, names, asked }
}

/// The files that a config is made from.
fn inputs(
    ctx: &Context<'_>,
    name: Option<&str>,
    servers: &[ServerSpec],
    endpoints: &[EndpointSpec],
) -> BTreeSet<PathBuf> {
    let config = name.map(|name| joined(ctx.cwd, name));
    let dotenvs = [ctx.cwd, &*ctx.base].map(|folder| folder.join(".env"));
    let dotenvs = dotenvs.into_iter().chain(ctx.dotenv.credentials().map(|file| joined(ctx.cwd, &file.path)));
    let env_files = ctx.env_files.iter().map(|(_, file)| joined(ctx.cwd, &file.path));
    let shown =
        endpoints.iter().flat_map(|endpoint| endpoint.servers.iter().map(|shown| &shown.link).chain([&endpoint.link]));
    let links = servers.iter().map(|server| &server.link).chain(shown);
    let authorities = links.filter_map(|link| link.ca_file.clone());
    let identities = servers.iter().filter_map(|server| match &server.reach {
        Reach::Command(_) | Reach::Comer(_) => None,
        Reach::Remote(remote) => remote.tls.identity.clone(),
    });
    let identities = identities.flat_map(|(cert, key)| [cert, key]);
    config.into_iter().chain(dotenvs).chain(env_files).chain(authorities).chain(identities).collect()
}

/// Makes as much of a config as can be made. Reads files, and changes nothing.
pub(crate) fn draft<'a>(line: &'a CommandLine<'a>, surroundings: &'a Surroundings) -> Draft<'a> {
    let Surroundings { env, dotenv, cwd, .. } = surroundings;
    let mut problems = Problems { warnings: surroundings.warnings.clone(), ..Problems::default() };
    let (target, local) = (line.target, line.local);
    let beginning = target::beginning(line, dial::is_named_outside(line, env, dotenv));
    let found = locate::config(&surroundings.config, cwd, line, beginning.as_deref()).unwrap_or_else(|problem| {
        problems.mistakes.push(problem);
        None
    });
    let mut notes = Vec::new();
    let mut written = None;
    let (file, base, name) = match found {
        Some(found) => {
            // What comes from a program is not to lie on a disk.
            written = surroundings.place().is_file().then(|| Secret::new(&*found.text));
            let reading = file::read(&found.name, &found.text);
            problems.mistakes.extend(reading.mistakes);
            problems.warnings.extend(reading.warnings);
            notes = reading.notes;
            (reading.file, found.base, Some(found.name))
        }
        None => (File::default(), cwd.clone(), None),
    };
    let read = dotenv.names().join(", and what that lacks from ");
    notes.extend((!read.is_empty()).then(|| format!("variables are read from {read}")));
    let credentials: Vec<&str> = dotenv.credentials().filter_map(|file| Some(file.credential()?.0)).collect();
    let credentials = credentials.join(", ");
    notes.extend((!credentials.is_empty()).then(|| format!("credentials that count as variables: {credentials}")));
    notes.extend(surroundings.disputed());
    let mut ctx = Context {
        line,
        env,
        settings: surroundings.settings(),
        dotenv,
        socket: surroundings.socket,
        env_files: Vec::new(),
        cwd,
        base,
        state_dir: None,
        asked: RefCell::default(),
        local,
        problems,
        named: Vec::new(),
        notes,
        details: Vec::new(),
        hidden: Hidden::default(),
    };
    ctx.state_dir = state::dir(&ctx, file.state_dir.as_ref());
    if target == Target::All {
        ctx.notes.extend(disabled(&file));
    }
    variables::read_files(&mut ctx, &file);
    let keys = gateway::keys(&mut ctx, file.gateway.as_ref());
    let password = lease::password(&mut ctx, file.lease.as_ref());
    hide_secrets(&mut ctx, &file, &[&keys.0[..], &keys.1, &[password]].concat());
    let (servers, endpoints) = servers(&mut ctx, &file, target, name.as_deref());
    let known = file.entries.iter().map(|entry| &*entry.name).chain(servers.iter().map(|server| &*server.name));
    let known: BTreeSet<&str> = known.collect();
    let max_frame = line.options.max_frame_size.or(file.shared.max_frame).unwrap_or(defaults::MAX_FRAME_SIZE);
    let known = known.into_iter().collect::<Vec<_>>();
    let gateway = gateway::of(&mut ctx, file.gateway.as_ref(), &keys, &known, max_frame);
    let entries = file.entries.iter().filter(|entry| entry.disabled.is_none());
    gateway::check_names(&mut ctx, file.gateway.as_ref(), entries.map(|entry| (&*entry.name, &entry.place)));
    let admin = admin::of(&mut ctx, file.admin.as_ref(), (file.gateway.as_ref(), gateway.as_ref()));
    let lease = lease::of(&mut ctx, file.lease.as_ref());
    let log_file = log_file::of(&mut ctx, file.log_file.as_ref());
    let entry = |name: &str| file.entries.iter().find(|entry| entry.name == name)?.log_file.as_ref();
    let of_servers = servers.iter().filter_map(|it| Some((&*it.name, it.log_file.as_ref()?, entry(&it.name)?)));
    let of_top = log_file.as_ref().zip(file.log_file.as_ref());
    log_file::check(&mut ctx, of_top, &of_servers.collect::<Vec<_>>(), name.as_deref());
    ctx.notes.extend(variables::withheld(&ctx));
    paths::check(&mut ctx, [file.cache_dir.as_ref(), file.state_dir.as_ref()]);
    check::tokens_in_names(&mut ctx, &file);
    Draft { ctx, file, name, written, servers, endpoints, gateway, admin, lease, log_file }
}

/// Learns every endpoint and header that the config, the flags or a variable names, also those of servers that don't run now:
/// a child must see none of them. `keys`: those of the gateway, and its tokens.
fn hide_secrets(ctx: &mut Context<'_>, file: &File, keys: &[Option<Secret>]) {
    let more = file.entries.iter().flat_map(|entry| &entry.more);
    let named = file.endpoints.iter().filter_map(|endpoint| endpoint.url.as_ref());
    let written = file.entries.iter().filter_map(dial::own).chain(&file.shared.endpoint).chain(more).chain(named);
    let mut texts: Vec<String> = written.filter_map(|text| expand(&text.value, |name| ctx.lookup(name)).ok()).collect();
    texts.extend(ctx.line.options.endpoint.iter().map(|secret| secret.reveal().to_owned()));
    let files = || ctx.dotenv.files.iter().chain(ctx.env_files.iter().map(|(_, file)| file));
    let dotenvs = files().filter_map(|file| file.get(ENDPOINT));
    texts.extend(ctx.env.get(ENDPOINT).into_iter().chain(dotenvs).map(str::to_owned));
    // Quotes around an address are no part of it. An address that can't be dialled may still hold a good token.
    let texts = || texts.iter().map(|text| bare(text));
    let real = texts().filter(|text| !is_placeholder(text));
    let remotes = || {
        file.entries.iter().filter_map(|entry| match &entry.kind {
            Transport::Remote(remote) => Some(remote),
            Transport::Stdio(_) | Transport::Unspoken { .. } | Transport::Unknown => None,
        })
    };
    let addresses = remotes().filter_map(|remote| expand(&remote.url.value, |name| ctx.lookup(name)).ok());
    let of_remotes: Vec<Secret> = addresses.flat_map(|address| address::secrets(&address)).collect();
    let pieces = files().flat_map(|file| file.pieces.iter().cloned());
    let mut secrets: Vec<Secret> = real.flat_map(address::secrets).chain(of_remotes).chain(pieces).collect();
    secrets.retain(|secret| !is_variable(secret.reveal()));
    let whole = texts().filter(|text| text.contains("://"));
    ctx.hidden.endpoints.add(secrets.iter().cloned().chain(whole.map(Secret::new)));
    let named = file.endpoints.iter().map(|endpoint| &endpoint.shared);
    let shared = file.entries.iter().map(|entry| &entry.shared).chain([&file.shared]).chain(named);
    let of_remotes = remotes().flat_map(|remote| &remote.headers);
    let headers: Vec<_> = shared.flat_map(|shared| &shared.endpoint_headers).chain(of_remotes).collect();
    let tokens: Vec<_> = remotes().filter_map(|remote| remote.auth.as_ref()?.secrets()).collect();
    headers.iter().map(|(_, text)| text).chain(tokens.iter().copied()).for_each(|text| ctx.hide_parts(&text.value));
    let values =
        headers.into_iter().filter_map(|(name, text)| Some((name, expand(&text.value, |name| ctx.lookup(name)).ok()?)));
    let headers = values.flat_map(|(name, value)| address::of_header(name, &value));
    let tokens = tokens.into_iter().filter_map(|text| expand(&text.value, |name| ctx.lookup(name)).ok());
    let headers = headers.chain(tokens.flat_map(|token| auth::secrets_of(&token)));
    let of_gateway = keys.iter().flatten().map(Secret::reveal).filter(|key| !is_placeholder(key));
    let headers = headers.chain(of_gateway.flat_map(auth::secrets_of));
    let is_name = |secret: &Secret| is_variable(secret.reveal()) || is_in_braces(secret.reveal());
    let headers: Vec<Secret> = headers.filter(|secret| !is_name(secret)).collect();
    ctx.hidden.headers.add(headers.iter().cloned());
    // Credentials of a proxy are not hidden from servers, which need proxies, too: only from the log.
    let proxies = proxies::ADDRESSES.as_flattened().iter().filter_map(|name| ctx.env.get(name));
    secrets.extend(headers.into_iter().chain(proxies.flat_map(address::secrets)));
    // Servers get those that their entries name: they are hidden from people only.
    let credentials = ctx.dotenv.credentials().filter(|file| file.get(ENDPOINT).is_none());
    let credentials = credentials.filter_map(|file| Some(file.credential()?.1.trim()));
    secrets.extend(credentials.filter(|value| !value.is_empty()).map(Secret::new));
    ctx.hidden.all = secrets;
    variables::hide(ctx);
}

fn servers(
    ctx: &mut Context<'_>,
    file: &File,
    named: Target<'_>,
    config: Option<&str>,
) -> (Vec<ServerSpec>, Vec<EndpointSpec>) {
    let mut chosen: Vec<(String, Reach, Option<&Entry>)> = Vec::new();
    match named {
        Target::Named(_) if target::are_several(ctx, file) => return (Vec::new(), Vec::new()),
        Target::All => {
            for entry in file.entries.iter().filter(|entry| entry.disabled.is_none()) {
                if let Some(reach) = start::of_entry(ctx, entry, false) {
                    chosen.push((entry.name.clone(), reach, Some(entry)));
                }
            }
            let is_needed = !gateway::has_endpoint(ctx, file.gateway.as_ref());
            if let (true, true, Some(config)) =
                (chosen.is_empty() && is_needed, ctx.problems.mistakes.is_empty(), config)
            {
                let beginning = target::beginning_beside(ctx, file);
                let alone = beginning.map(|line| format!(", or a command without the config: {line} -- CMD"));
                let remedy = format!("add or enable one, run a disabled one by its name{}", alone.unwrap_or_default());
                ctx.mistake(
                    Place::file(config),
                    Code::NoServer.says(format!("names no server that can run{}", why_none(file))),
                    remedy,
                );
            }
        }
        Target::Named(name) => match file.entries.iter().find(|entry| entry.name == name) {
            Some(entry) => {
                if let Some(reach) = start::of_entry(ctx, entry, true) {
                    chosen.push((entry.name.clone(), reach, Some(entry)));
                }
            }
            None => {
                let script = target::of_script(ctx, file, name, config);
                chosen.extend(script.map(|(name, command)| (name, Reach::Command(command), None)));
            }
        },
        Target::Line([program, args @ ..]) => {
            let line = target::of_line(ctx, file, program, args);
            chosen.extend(line.map(|(name, command)| (name, Reach::Command(command), None)));
        }
        Target::Line([]) => {}
    }
    let none = Shared::default();
    let has_gateway = gateway::is_on(ctx, file.gateway.as_ref());
    // The common endpoint is looked up when the first server needs it: one that no server needs may be wrong.
    let mut common: Option<Common> = ctx.local.then_some(Common::Missing);
    let (mut servers, mut entries, mut without) = (Vec::new(), Vec::new(), Vec::new());
    let mut endpoints = Endpoints::new(ctx, file);
    let mut sharers = Vec::new();
    let fallbacks: Vec<String> =
        chosen.iter().filter_map(|(_, _, entry)| entry.as_ref()?.bounds.fallback(ctx).map(str::to_owned)).collect();
    for (name, reach, entry) in chosen {
        let stands_in = fallbacks.contains(&name);
        let shared = entry.map_or(&none, |entry| &entry.shared);
        let own = match entry {
            Some(entry) if !ctx.local => dial::of_entry(ctx, entry),
            Some(_) | None => Own::Unsaid,
        };
        let endpoint = if let Own::Named(endpoint) = &own { endpoint.clone() } else { None };
        let link = Arc::new(dial::link(ctx, shared, &none, &file.shared, &own));
        let reach = match reach {
            reach @ (Reach::Command(_) | Reach::Comer(_)) => reach,
            // Whom an entry trusts, and for how long it waits, it says once for whatever is dialled.
            Reach::Remote(remote) => Reach::Remote(Arc::new(RemoteSpec {
                tls: TlsSpec { ca_file: link.ca_file.clone(), ..remote.tls.clone() },
                connect_timeout: link.connect_timeout,
                ..(*remote).clone()
            })),
        };
        let sharing = sharing::of(ctx, shared, &file.shared);
        let (options, top) = (ctx.line.options, &file.shared);
        let mut server = ServerSpec {
            name: name.as_str().into(),
            endpoint,
            link,
            hello: None,
            era: shared.era.or(top.era).unwrap_or_default().era(),
            handshake: shared.handshake.as_ref().or(top.handshake.as_ref()).map(|said| said.value).unwrap_or_default(),
            passes_pings: false,
            start_timeout: shared
                .start_timeout
                .or(options.start_timeout)
                .or(top.start_timeout)
                .unwrap_or(defaults::START_TIMEOUT),
            max_frame: shared
                .max_frame
                .or(options.max_frame_size)
                .or(top.max_frame)
                .unwrap_or(defaults::MAX_FRAME_SIZE),
            sharing,
            pin: entry.map_or(defaults::PIN, sharing::is_pinned),
            keep_listed: shared.keep_listed.or(top.keep_listed).unwrap_or(defaults::KEEP_LISTED),
            instances: instances::of(shared, top, entry),
            health_check: entry.and_then(|entry| entry.health_check.clone()),
            log_file: match &reach {
                Reach::Command(_) => log_file::of(ctx, entry.and_then(|entry| entry.log_file.as_ref())),
                // Nothing is written here.
                Reach::Remote(_) | Reach::Comer(_) => None,
            },
            reach,
            tools: Arc::new(ToolPolicy {
                slim: shared.slim.or(top.slim).unwrap_or(defaults::SLIM),
                timeout: shared.timeout.or(top.timeout),
                max_result: shared.max_result.or(top.max_result),
                ..entry.map(|entry| entry.tools.clone()).unwrap_or_default()
            }),
            bounds: entry.map(|entry| entry.bounds.bounds(ctx, stands_in)).unwrap_or_default(),
        };
        if stands_in {
            // Nothing shows it: what it takes comes by the server for which it stands in.
            server.endpoint = None;
            sharers.push(false);
            let inherit = shared.inherit.as_ref().or(top.inherit.as_ref());
            servers.push(variables::with_inherited(ctx, server, inherit));
            entries.push(entry);
            continue;
        }
        let is_taken = endpoints.take(ctx, &mut server, entry, &own);
        if let (Own::Unsaid | Own::Blank, false) = (&own, is_taken) {
            match common.get_or_insert_with(|| dial::common(ctx, file)) {
                Common::Given(endpoint) => {
                    server.endpoint = Some(endpoint.clone());
                    let place = entry.map_or_else(|| Place::from("mcpServers"), |entry| entry.place.clone());
                    endpoints.check_common(ctx, &server, &place);
                }
                Common::Wrong => {}
                // Whoever has named one that there is not, or can't be read, has been told.
                Common::Missing if file.endpoints_unread => {}
                Common::Missing if entry.is_some_and(|entry| !entry.at.is_empty()) => {}
                Common::Missing if has_gateway => {}
                Common::Missing if endpoints.exist() => {
                    let place = entry.map_or_else(|| Place::from("mcpServers"), |entry| entry.place.clone());
                    let what = Code::NoEffect.says("is shown by no endpoint, so it is not started");
                    ctx.warning(place, what, "name it in the \"servers\" of one, or set MCP_ENDPOINT for the rest");
                    continue;
                }
                Common::Missing => without.push(name),
            }
        }
        // Also one that is not known yet, or wrong.
        sharers.push(!ctx.local && !is_taken && matches!(own, Own::Unsaid | Own::Blank));
        let inherit = shared.inherit.as_ref().or(top.inherit.as_ref());
        servers.push(variables::with_inherited(ctx, server, inherit));
        entries.push(entry);
    }
    if let (Some((_, first)), None, false) = (file.shared.endpoint_headers.first(), &common, servers.is_empty()) {
        let what = "is sent nowhere: each server that runs has an endpoint of its own, and headers of the top go to the shared one";
        ctx.warning(&first.place, Code::NoEffect.says(what), "write it in the entries whose endpoints want it");
    }
    instances::check(ctx, &file.shared, &servers, &entries);
    fallback::check(ctx, &servers, &entries);
    sharing::check(ctx, file, (&servers, &sharers), &entries, &endpoints.as_shown(&servers));
    if !ctx.local && !without.is_empty() {
        missing_endpoint(ctx, &without, config, entries.iter().any(Option::is_some));
    }
    let endpoints = endpoints.done(ctx);
    (servers, endpoints)
}

/// Which of the file's servers are left out because they are disabled.
fn disabled(file: &File) -> Option<String> {
    let disabled = file.entries.iter().filter(|entry| entry.disabled.is_some());
    let names: Vec<&str> = disabled.map(|entry| &*entry.name).collect();
    (!names.is_empty()).then(|| format!("disabled in the config, so not run: {}", names.join(", ")))
}

/// Why none of the file's servers can run, for the end of a sentence. The reasons of a few servers stand for all.
fn why_none(file: &File) -> String {
    let reason = |entry: &Entry| match (&entry.disabled, &entry.kind) {
        (Some(place), _) => Some(format!("{} is disabled ({place})", entry.name)),
        (None, Transport::Unspoken { .. }) => {
            Some(format!("{} is a remote server, and not reached by http:// or https://", entry.name))
        }
        (None, Transport::Stdio(_) | Transport::Remote(_) | Transport::Unknown) => None,
    };
    let reasons: Vec<String> = file.entries.iter().filter_map(reason).take(5).collect();
    if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) }
}

fn missing_endpoint(ctx: &mut Context<'_>, without: &[String], config: Option<&str>, has_entry: bool) {
    let names = without.join(", ");
    let mut ways = "MCP_ENDPOINT=wss://… in the environment or in a file .env; --endpoint wss://…".to_owned();
    if config.is_some() {
        ways.push_str("; \"endpoint\" at the top of the config");
    }
    if has_entry {
        ways.push_str(", or in a server's entry for that one alone");
    }
    let local = format!("r try it without an account: {}", target::on_a_local_endpoint(ctx.line));
    let ways = format!("set it in one of these ways: {ways}. O{local}");
    let remedy = match dial::under_another_name(ctx) {
        Some(name) => format!("{name} holds an address: if it is that, call it MCP_ENDPOINT. Else {ways}"),
        None => ways,
    };
    let remedy = match misnamed::told(&ctx.base, ctx.cwd) {
        Some(told) => format!("{told}. Or {remedy}"),
        None => remedy,
    };
    let nowhere = format!("so there is nowhere to serve {names}");
    let spoilt = ctx.dotenv.files.iter().find_map(|file| file.spoilt.as_ref()).or(ctx.dotenv.unread.first());
    if let Some(Problem { place, code: _, what, remedy }) = spoilt.cloned() {
        // Told as what it is: the reason for the mistake.
        ctx.problems.warnings.retain(|warning| warning.place != place);
        ctx.mistake(ENDPOINT, Code::EndpointMissing.says(format!("is not set: {place} {what}, {nowhere}")), remedy);
        return;
    }
    let in_environment = ctx.env.get(ENDPOINT).map(|_| "the environment".to_owned());
    let in_files =
        ctx.dotenv.files.iter().filter(|file| file.get(ENDPOINT).is_some()).map(|file| file.spot(ENDPOINT).to_string());
    let empty = in_environment.into_iter().chain(in_files).collect::<Vec<_>>().join(" and in ");
    if !empty.is_empty() {
        let remedy = format!("write the endpoint's whole address there, {ENDPOINT}=wss://host/path?token=…; o{local}");
        ctx.mistake(ENDPOINT, Code::EndpointMissing.says(format!("is empty in {empty}, {nowhere}")), remedy);
        return;
    }
    let looked = match ctx.dotenv.names().join(" or ").as_str() {
        "" => String::new(),
        files => format!(" in the environment, nor in {files}"),
    };
    ctx.mistake(ENDPOINT, Code::EndpointMissing.says(format!("is not set{looked}, {nowhere}")), remedy);
}
