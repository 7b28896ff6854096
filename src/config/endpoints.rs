//! The named endpoints of the config, and the addresses in entries behind the first: which servers each shows, and how.

use std::sync::Arc;

use super::context::Context;
use super::dial::{self, Own};
use super::file::{Entry, File};
use super::named::NamedEndpoint;
use super::options::Target;
use super::shared::Shared;
use super::{EndpointSpec, LinkSpec, ServerSpec, ShownServer, sharing};
use crate::endpoint::Endpoint;
use crate::endpoint::agent::Agent;
use crate::error::{Code, Place};
use crate::tools::{Gate, Glob, ToolPolicy};
use crate::words::{brief, closest};

/// Warns of keys in an entry that are a matter of the endpoints by which alone its server is shown.
fn tell_what_is_the_endpoints(ctx: &mut Context<'_>, shared: &Shared, by: &[String]) {
    let Shared { mode, naming, names, turn, resync, .. } = shared;
    let places = [
        mode.as_ref().map(|it| &it.place),
        naming.as_ref().map(|it| &it.place),
        names.as_ref().map(|it| &it.place),
        turn.as_ref().map(|it| &it.place),
        resync.as_ref().map(|it| &it.place),
    ];
    let of = by.first().map_or_else(String::new, |name| brief(name).into_owned());
    for place in places.into_iter().flatten() {
        let what = Code::NoEffect.says("does nothing: it is a matter of the named endpoint that shows the server");
        ctx.warning(place, what, format!("write it in endpoints.{of}"));
    }
}

/// Has an endpoint let through what its `tools` say.
fn set_gate(spec: &mut EndpointSpec, named: &NamedEndpoint) {
    let ToolPolicy { allow, deny, .. } = named.tools.clone();
    if allow.is_empty() && deny.is_empty() {
        return;
    }
    let servers = spec.servers.iter().map(|shown| shown.name.clone()).collect();
    let gate = Arc::new(Gate { place: format!("endpoints.{}.tools", named.name).into(), allow, deny, servers });
    for shown in &mut spec.servers {
        shown.tools = Arc::new(ToolPolicy { gate: Some(gate.clone()), ..(*shown.tools).clone() });
    }
}

/// Warns of patterns that begin with the name of a server which the endpoint doesn't show, or with a slip for one that it shows. Which
/// tools there are is known later, and told then.
fn tell_patterns_of_others(ctx: &mut Context<'_>, spec: &EndpointSpec, named: &NamedEndpoint, file: &File) {
    let shown = || spec.servers.iter().map(|shown| &*shown.name);
    for pattern in &named.patterns {
        let Some((server, _)) = pattern.value.split_once("__") else { continue };
        let is_its = |name: &str| pattern.value.strip_prefix(name).is_some_and(|rest| rest.starts_with("__"));
        if server.is_empty() || server.contains(['*', '?']) || shown().any(is_its) {
            continue;
        }
        let (what, remedy) = if file.entries.iter().any(|entry| entry.name == server) {
            let server = brief(server);
            (
                format!("names {server}, which this endpoint does not show"),
                format!("show {server} here, or remove this"),
            )
        } else if let Some(meant) = closest(server, shown()) {
            ("fits no server of this endpoint".to_owned(), format!("did you mean {meant}__…?"))
        } else {
            // A tool's own name may look like that.
            continue;
        };
        ctx.warning(&pattern.place, Code::NoEffect.says(what), remedy);
    }
}

/// The endpoints as far as they are known before any server is, in the order of the file.
pub(crate) struct Endpoints<'a> {
    file: &'a File,
    /// Its address; `None` where that can't be used, which has been noted.
    addresses: Vec<Option<Endpoint>>,
    specs: Vec<EndpointSpec>,
    /// Which patterns have covered a server.
    fitted: Vec<Vec<bool>>,
}

impl<'a> Endpoints<'a> {
    pub(crate) fn new(ctx: &mut Context<'_>, file: &'a File) -> Self {
        let named = if ctx.local { &[][..] } else { &file.endpoints };
        let mut addresses: Vec<Option<Endpoint>> = Vec::new();
        let mut specs = Vec::new();
        for endpoint in named {
            if file.entries.iter().any(|entry| entry.name == endpoint.name) {
                let what = Code::Duplicate.says("is the name of a server too, and commands could mean either");
                ctx.mistake(&endpoint.place, what, "call one of them otherwise");
            }
            let address = endpoint.url.as_ref().and_then(|url| dial::named(ctx, url, &endpoint.shared));
            let link =
                dial::link(ctx, &endpoint.shared, &Shared::default(), &file.shared, &Own::Named(address.clone()));
            let twin = address.as_ref().and_then(|address| {
                let agent = Agent::of(address, &link.headers);
                specs.iter().find(|spec: &&EndpointSpec| Agent::of(&spec.endpoint, &spec.link.headers) == agent)
            });
            if let Some(EndpointSpec { name: Some(twin), .. }) = twin {
                let what = Code::AgentShared.says(format!("is for the same agent as {}", brief(twin)));
                ctx.mistake(
                    &endpoint.place,
                    what,
                    "write one endpoint for both, or copy the address of the other agent",
                );
            }
            addresses.push(address.clone());
            // Where the address is wrong, nothing runs; the rest is looked at all the same.
            let Some(address) = address else { continue };
            specs.push(EndpointSpec {
                name: Some(endpoint.name.as_str().into()),
                endpoint: address,
                link: Arc::new(link),
                sharing: sharing::of(ctx, &endpoint.shared, &file.shared),
                servers: Vec::new(),
            });
        }
        let fitted = named.iter().map(|it| vec![false; it.servers.as_ref().map_or(0, Vec::len)]).collect();
        Endpoints { file, addresses, specs, fitted }
    }

    /// Whether there are any.
    pub(crate) fn exist(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// The named endpoint that is for this agent.
    fn of_agent(&self, agent: Agent) -> Option<&str> {
        let named = self.specs.iter().filter_map(|spec| Some((spec, spec.name.as_deref()?)));
        named.into_iter().find(|(spec, _)| Agent::of(&spec.endpoint, &spec.link.headers) == agent).map(|(_, name)| name)
    }

    /// Notes a server that would be on the common endpoint, where that is for the agent of a named one which doesn't show it.
    pub(crate) fn check_common(&self, ctx: &mut Context<'_>, server: &ServerSpec, place: &Place) {
        let agent = server.endpoint.as_ref().map(|endpoint| Agent::of(endpoint, &server.link.headers));
        if let Some(twin) = agent.and_then(|agent| self.of_agent(agent)) {
            let twin = brief(twin);
            let what = format!("is for the same agent as {twin}, which does not show it");
            ctx.mistake(
                place,
                Code::AgentShared.says(what),
                format!("add it to the \"servers\" of {twin}, or have MCP_ENDPOINT be another agent's"),
            );
        }
    }

    /// All servers, each as every endpoint besides its own shows it, and whether that has a name.
    pub(crate) fn as_shown(&self, servers: &[ServerSpec]) -> Vec<(ServerSpec, bool)> {
        let of = |spec: &EndpointSpec| {
            let is_named = spec.name.is_some();
            spec.as_shown(servers).into_iter().map(move |server| (server, is_named))
        };
        self.specs.iter().flat_map(of).collect()
    }

    /// The named endpoints that show a server, by their names. `own`: what its entry says of its endpoint.
    fn taken_by(&mut self, ctx: &mut Context<'_>, name: &str, entry: Option<&Entry>, own: &Own) -> Vec<String> {
        let mut by = Vec::new();
        let named = entry.filter(|_| !ctx.local).map_or(&[][..], |entry| &entry.at);
        for at in named {
            let names = || self.file.endpoints.iter().map(|endpoint| &*endpoint.name);
            if names().any(|name| name == at.value) {
                by.push(at.value.clone());
                continue;
            }
            let hint = closest(&at.value, names()).map(|meant| format!("did you mean {meant}?"));
            let remedy = hint.unwrap_or_else(|| {
                let names: Vec<&str> = names().collect();
                format!("there are: {}", crate::words::listed(names.iter().take(8).collect(), names.len()))
            });
            let what = Code::WrongValue.says(format!("names {}, which is none of endpoints", brief(&at.value)));
            ctx.mistake(&at.place, what, remedy);
        }
        // Whoever runs a program without the config is on the common endpoint.
        if entry.is_none() || ctx.local {
            return by;
        }
        let says_nothing = named.is_empty() && matches!(own, Own::Unsaid);
        for (endpoint, fitted) in self.file.endpoints.iter().zip(&mut self.fitted) {
            let takes = match &endpoint.servers {
                None => says_nothing,
                Some(patterns) => {
                    let mut any = false;
                    for (pattern, fitted) in patterns.iter().zip(fitted) {
                        let fits = Glob::new(&pattern.value).matches(name);
                        *fitted |= fits;
                        any |= fits;
                    }
                    any
                }
            };
            if takes && !by.contains(&endpoint.name) {
                by.push(endpoint.name.clone());
            }
        }
        by
    }

    /// Has named endpoints show a server, and returns whether any does. `own`: what its entry says of its endpoint, which is taken
    /// for the named one that has the same agent.
    pub(crate) fn take(
        &mut self,
        ctx: &mut Context<'_>,
        server: &mut ServerSpec,
        entry: Option<&Entry>,
        own: &Own,
    ) -> bool {
        let mut by = self.taken_by(ctx, &server.name, entry, own);
        let own_agent = server.endpoint.as_ref().map(|endpoint| Agent::of(endpoint, &server.link.headers));
        if let Some(twin) = own_agent.and_then(|agent| self.of_agent(agent)) {
            server.endpoint = None;
            if !by.iter().any(|name| name == twin) {
                by.push(twin.to_owned());
            }
        }
        let none = Shared::default();
        let of_entry = entry.map_or(&none, |entry| &entry.shared);
        for named in self.file.endpoints.iter().filter(|named| by.contains(&named.name)) {
            let Some(spec) = self.specs.iter_mut().find(|spec| spec.name.as_deref() == Some(&*named.name)) else {
                continue;
            };
            let tools = ToolPolicy {
                slim: of_entry.slim.or(named.shared.slim).or(self.file.shared.slim).unwrap_or(super::defaults::SLIM),
                ..(*server.tools).clone()
            };
            // Headers are the endpoint's own: what lets us in there is nobody else's business.
            let headers = spec.link.headers.clone();
            let own = dial::link(ctx, of_entry, &named.shared, &self.file.shared, &Own::Named(None));
            let link = Arc::new(LinkSpec { headers, ..own });
            spec.servers.push(ShownServer { name: server.name.clone(), link, tools: Arc::new(tools) });
        }
        let is_named = !by.is_empty();
        for address in entry.filter(|_| !ctx.local).map_or(&[][..], |entry| &entry.more) {
            let Some(endpoint) = dial::named(ctx, address, of_entry) else { continue };
            let (link, sharing, tools) = (server.link.clone(), server.sharing, server.tools.clone());
            let agent = Agent::of(&endpoint, &link.headers);
            if let Some(name) = self.of_agent(agent) {
                let name = brief(name);
                let what = Code::Duplicate.says(format!("is the address of {name}"));
                ctx.mistake(&address.place, what, format!("write \"{name}\" in its place"));
                continue;
            }
            let shown = ShownServer { name: server.name.clone(), link: link.clone(), tools };
            let is_it = |spec: &&mut EndpointSpec| {
                spec.name.is_none() && Agent::of(&spec.endpoint, &spec.link.headers) == agent && spec.sharing == sharing
            };
            let known = self.specs.iter_mut().find(is_it);
            let is_shown = known.as_ref().is_some_and(|spec| spec.servers.iter().any(|it| it.name == server.name));
            if own_agent == Some(agent) || is_shown {
                let what = Code::Duplicate.says("names the agent of another endpoint of the server");
                ctx.warning(&address.place, what, "remove one of them");
                continue;
            }
            match known {
                Some(spec) => spec.servers.push(shown),
                None => self.specs.push(EndpointSpec { name: None, endpoint, link, sharing, servers: vec![shown] }),
            }
            by.push(String::new());
        }
        if is_named && by.iter().all(|name| !name.is_empty()) && server.endpoint.is_none() {
            tell_what_is_the_endpoints(ctx, of_entry, &by);
        }
        !by.is_empty()
    }

    /// All that show a server, once every server was offered to them.
    pub(crate) fn done(self, ctx: &mut Context<'_>) -> Vec<EndpointSpec> {
        let Endpoints { file, mut specs, fitted, .. } = self;
        // Whoever runs one server of many knows that others are not there.
        let all = ctx.line.target == Target::All;
        for (endpoint, fitted) in file.endpoints.iter().zip(fitted).filter(|_| all) {
            for (pattern, fits) in endpoint.servers.iter().flatten().zip(fitted) {
                if !fits {
                    let names: Vec<&str> = file.entries.iter().map(|entry| &*entry.name).collect();
                    let hint = closest(&pattern.value, names.iter().copied());
                    let remedy =
                        hint.map_or_else(|| "correct or remove it".to_owned(), |it| format!("did you mean {it}?"));
                    let is_off = names.contains(&&*pattern.value);
                    let what = if is_off { "names a server that does not run" } else { "fits no server" };
                    ctx.warning(
                        &pattern.place,
                        Code::NoEffect.says(what),
                        if is_off { "enable it, or remove it here".into() } else { remedy },
                    );
                }
            }
            let is_used =
                |spec: &EndpointSpec| spec.name.as_deref() != Some(&*endpoint.name) || !spec.servers.is_empty();
            if !specs.iter().all(is_used) {
                let what = Code::NoEffect.says("shows no server, and so is not dialled");
                ctx.warning(&endpoint.place, what, "name its servers in \"servers\", or remove it");
            }
        }
        specs.retain(|spec| !spec.servers.is_empty());
        for spec in &mut specs {
            let named = file.endpoints.iter().find(|it| Some(&*it.name) == spec.name.as_deref());
            let Some(named) = named else { continue };
            set_gate(spec, named);
            if all {
                tell_patterns_of_others(ctx, spec, named, file);
            }
        }
        specs
    }
}
