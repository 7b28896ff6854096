//! How the servers of one endpoint share it, and whether they agree.
//!
//! `mode`, `naming`, `names`, `turn` and `resync` are a matter of a whole endpoint. Each server gets its values as for every
//! other key, from its entry, the command line, the top of the file, or the default. Servers of one endpoint whose
//! values differ are a mistake.

use std::time::Duration;

use http::HeaderName;

use super::context::Context;
use super::file::{Entry, File};
use super::reader::Located;
use super::shared::Shared;
use super::units::word;
use crate::endpoint::agent::Agent;
use crate::error::{Code, Place};
use crate::secrecy::Secret;
use crate::words::brief;

use super::{Handshake, Mode, Names, Naming, ServerSpec, Sharing, policy};

/// The values of one server, whatever those of others are.
pub(crate) fn of(ctx: &Context<'_>, own: &Shared, top: &Shared) -> Sharing {
    let Settled { mode, naming, names, turn, resync } = settle(ctx, own, top);
    Sharing { mode: mode.value, naming: naming.value, names: names.value, turn: turn.value, resync: resync.value }
}

/// Notes which new names of tools have characters that the endpoint's `names` don't allow.
fn check_names(ctx: &mut Context<'_>, given: &[Located<String>], names: Names) {
    for new in given {
        if let Err((what, remedy)) = policy::name(&new.value, names) {
            ctx.mistake(&new.place, Code::WrongName.says(what), remedy);
        }
    }
}

/// A [`Sharing`] with the place where each part was said.
struct Settled {
    mode: Located<Mode>,
    naming: Located<Naming>,
    names: Located<Names>,
    turn: Located<Duration>,
    resync: Located<bool>,
}

fn settle(ctx: &Context<'_>, own: &Shared, top: &Shared) -> Settled {
    let default = Sharing::default();
    Settled {
        mode: first(&own.mode, ctx.line.options.mode, &top.mode, default.mode),
        naming: first(&own.naming, None, &top.naming, default.naming),
        names: first(&own.names, None, &top.names, default.names),
        turn: first(&own.turn, None, &top.turn, default.turn),
        resync: first(&own.resync, None, &top.resync, default.resync),
    }
}

/// The value that counts, with the place where it was written. Only `mode` has an option.
fn first<T: Copy>(own: &Option<Located<T>>, mode: Option<T>, top: &Option<Located<T>>, default: T) -> Located<T> {
    match (own, mode, top) {
        (Some(own), _, _) => own.clone(),
        (None, Some(value), _) => Located { value, place: "--mode".into() },
        (None, None, Some(top)) => top.clone(),
        (None, None, None) => Located { value: default, place: "the default".into() },
    }
}

/// Whether `pin` is true in an entry.
pub(crate) fn is_pinned(entry: &Entry) -> bool {
    entry.pin.as_ref().is_some_and(|pin| pin.value)
}

/// Notes servers of one endpoint that disagree or are both pinned, and keys that do nothing. `entries` are the entries
/// of `servers`, in the same order; `sharers` says which of them are to share the endpoint of those that have none of their own.
/// `elsewhere`: servers as further endpoints show them, and whether such an endpoint has a name.
pub(crate) fn check(
    ctx: &mut Context<'_>,
    file: &File,
    (servers, sharers): (&[ServerSpec], &[bool]),
    entries: &[Option<&Entry>],
    elsewhere: &[(ServerSpec, bool)],
) {
    let entry_of = |server: &ServerSpec| {
        let at = servers.iter().position(|other| other.name == server.name);
        at.and_then(|at| entries.get(at).copied().flatten())
    };
    let showings: Vec<Showing<'_>> = audiences(servers, sharers)
        .into_iter()
        .zip(servers)
        .zip(entries)
        .map(|((audience, server), entry)| Showing { server, entry: *entry, audience, is_named: false })
        .chain(elsewhere.iter().map(|(server, is_named)| Showing {
            server,
            entry: entry_of(server),
            audience: agent(server).map_or(Audience::Apart, Audience::Known),
            is_named: *is_named,
        }))
        .collect();
    for (server, entry) in servers.iter().zip(entries) {
        let there = || elsewhere.iter().filter(|(shown, _)| shown.name == server.name);
        let here = (server.endpoint.is_some() || there().next().is_none()).then_some(server);
        // One that takes few characters decides.
        let mut all = there().map(|(shown, _)| shown).chain(here).map(|shown| shown.sharing.names);
        let names = if all.any(|names| names == Names::Ascii) { Names::Ascii } else { Names::Unicode };
        check_names(ctx, entry.map_or(&[], |entry| &entry.given_names), names);
    }
    let mut told = Vec::new();
    // A named endpoint says itself how its servers share it.
    let agreeing: Vec<&Showing<'_>> = showings.iter().filter(|showing| !showing.is_named).collect();
    for (i, other) in agreeing.iter().enumerate() {
        let Some(before) = agreeing[..i].iter().position(|one| one.audience.is(&other.audience)) else { continue };
        let one = agreeing[before];
        for (key, one, other) in differences(ctx, &file.shared, (one.server, one.entry), (other.server, other.entry)) {
            // Each value is told once for an endpoint, however many servers have it.
            let this = (before, key, one.value.clone(), other.value.clone());
            if !told.contains(&this) {
                told.push(this);
                disagreement(ctx, key, one, other);
            }
        }
    }
    pins(ctx, &showings);
    idle(ctx, file, servers, entries, elsewhere);
}

/// A server at an endpoint.
struct Showing<'a> {
    server: &'a ServerSpec,
    entry: Option<&'a Entry>,
    audience: Audience<'a>,
    /// The endpoint has a name.
    is_named: bool,
}

/// The agent that a server is served to.
pub(crate) fn agent(spec: &ServerSpec) -> Option<Agent> {
    spec.endpoint.as_ref().map(|endpoint| Agent::of(endpoint, &spec.link.headers))
}

/// Whom a server is served to. Found out once: each of many servers is compared with all before it.
enum Audience<'a> {
    /// An agent, perhaps with different tokens.
    Known(Agent),
    /// Whoever is behind the endpoint of all servers that have none of their own, dialled with these headers. Which endpoint that
    /// will be is not known yet.
    Awaited(&'a [(HeaderName, Secret)]),
    /// Nobody who could be shared: servers on an endpoint of our own, or with a wrong one of their own.
    Apart,
}

impl Audience<'_> {
    /// Whether both are one.
    fn is(&self, other: &Audience<'_>) -> bool {
        match (self, other) {
            (Audience::Known(one), Audience::Known(other)) => one == other,
            (Audience::Awaited(one), Audience::Awaited(other)) => one == other,
            (Audience::Known(_) | Audience::Awaited(_) | Audience::Apart, _) => false,
        }
    }
}

/// Whom each server is served to. `sharers`: which of them are to share the endpoint of those that have none of their own.
fn audiences<'a>(servers: &'a [ServerSpec], sharers: &[bool]) -> Vec<Audience<'a>> {
    let audience = |(server, shares): (&'a ServerSpec, &bool)| match agent(server) {
        Some(agent) => Audience::Known(agent),
        None if *shares => Audience::Awaited(&server.link.headers),
        None => Audience::Apart,
    };
    servers.iter().zip(sharers).map(audience).collect()
}

/// A value of one server, the place of that, whether the place is the server's own entry, and the server's name.
struct Said<'a> {
    value: String,
    place: Place,
    own: bool,
    server: &'a str,
}

type Party<'a> = (&'a ServerSpec, Option<&'a Entry>);

/// The keys in which two servers differ, as far as their mode uses them.
fn differences<'a>(
    ctx: &Context<'_>,
    top: &Shared,
    one: Party<'a>,
    other: Party<'a>,
) -> Vec<(&'static str, Said<'a>, Said<'a>)> {
    let said = |(server, entry): Party<'a>| {
        let none = Shared::default();
        let own = entry.map_or(&none, |entry| &entry.shared);
        let server = &*server.name;
        let say = |value: String, place, own| Said { value, place, own, server };
        let Settled { mode, naming, names, turn, resync } = settle(ctx, own, top);
        [
            ("mode", say(word(&mode.value), mode.place, own.mode.is_some())),
            ("naming", say(word(&naming.value), naming.place, own.naming.is_some())),
            ("names", say(word(&names.value), names.place, own.names.is_some())),
            ("turn", say(format!("{:?}", turn.value), turn.place, own.turn.is_some())),
            ("resync", say(resync.value.to_string(), resync.place, own.resync.is_some())),
        ]
    };
    let used: &[&str] = match (one.0.sharing.mode, other.0.sharing.mode) {
        (one, other) if one != other => &["mode"],
        (Mode::PerServer, _) => &[],
        (Mode::Sequential, _) => &["turn", "resync"],
        (Mode::Auto | Mode::Multiplex, _) => &["naming", "names", "resync"],
    };
    let pairs = said(one).into_iter().zip(said(other)).map(|((key, one), (_, other))| (key, one, other));
    pairs.filter(|(key, one, other)| used.contains(key) && one.value != other.value).collect()
}

fn disagreement(ctx: &mut Context<'_>, key: &str, one: Said<'_>, other: Said<'_>) {
    // The mistake is told where a person wrote the value: in the entry of the later server, else of the earlier one.
    let (here, there) = if other.own { (other, one) } else { (one, other) };
    let what = format!(
        "is {} for {}, but {} for {} ({}), and both are served on one endpoint",
        here.value, here.server, there.value, there.server, there.place
    );
    ctx.mistake(
        here.place,
        Code::Contradiction.says(what),
        format!("write the same {key} in both, or only at the top of the file"),
    );
}

fn pins(ctx: &mut Context<'_>, showings: &[Showing<'_>]) {
    let pinned: Vec<(&Showing<'_>, &Located<bool>)> = showings
        .iter()
        .filter(|it| it.server.pin && it.server.sharing.mode == Mode::Sequential)
        .filter_map(|it| Some((it, it.entry?.pin.as_ref()?)))
        .collect();
    for (i, (it, pin)) in pinned.iter().enumerate() {
        if let Some((other, at)) = pinned[..i].iter().find(|(other, _)| other.audience.is(&it.audience)) {
            let what = format!(
                "pins {}, but {} has the same endpoint and is pinned too ({})",
                it.server.name, other.server.name, at.place
            );
            ctx.mistake(&pin.place, Code::Contradiction.says(what), "pin one server of an endpoint");
        }
    }
}

/// Why a server is initialized by mcp-pipe alone where it is shown so, although its `handshake` is to be relayed.
fn relays_nothing(shown: &ServerSpec) -> Option<&'static str> {
    match shown.sharing.mode {
        Mode::Multiplex => Some("in mode multiplex there is no one server to relay to"),
        Mode::Auto | Mode::PerServer | Mode::Sequential if !shown.tools.is_untouched() => {
            Some("a server whose tools are chosen or limited is initialized by mcp-pipe")
        }
        Mode::Auto | Mode::PerServer | Mode::Sequential => None,
    }
}

/// Warns about keys that do nothing in the mode of their servers: `handshake`, `pin` and `turn`.
fn idle(
    ctx: &mut Context<'_>,
    file: &File,
    servers: &[ServerSpec],
    entries: &[Option<&Entry>],
    elsewhere: &[(ServerSpec, bool)],
) {
    let takes_turns = |name: &str| {
        elsewhere.iter().any(|(server, _)| *server.name == *name && server.sharing.mode == Mode::Sequential)
    };
    for (server, entry) in servers.iter().zip(entries).filter(|(server, _)| server.handshake == Handshake::Relay) {
        let others = || elsewhere.iter().map(|(other, _)| other).filter(|other| other.name == server.name);
        // One that only named endpoints show has no mode of its own.
        let is_its_own = server.endpoint.is_some() || others().next().is_none();
        let shown: Vec<&ServerSpec> = others().chain(is_its_own.then_some(server)).collect();
        let reasons: Vec<&str> = shown.iter().filter_map(|shown| relays_nothing(shown)).collect();
        let name = brief(&server.name);
        let (what, remedy) = match (&reasons[..], shown.len()) {
            ([why, ..], n) if reasons.len() == n => (format!("does nothing for {name}: {why}"), "remove \"relay\""),
            ([why, ..], _) => (format!("does nothing for {name} on some of its endpoints: {why}"), "remove \"relay\""),
            ([], 0 | 1) => continue,
            ([], n) => (
                format!(
                    "has {name} initialized anew by each of the {n} endpoints that show it, while the others use it"
                ),
                "remove \"relay\", or show it on one endpoint",
            ),
        };
        let own = entry.and_then(|entry| entry.shared.handshake.as_ref());
        if let Some(said) = own.or(file.shared.handshake.as_ref()) {
            ctx.warning(&said.place, Code::NoEffect.says(what), remedy);
        }
    }
    let remedy = "remove it, or write \"mode\": \"sequential\"";
    for (server, entry) in servers.iter().zip(entries) {
        let Some(entry) = entry.filter(|_| server.sharing.mode != Mode::Sequential) else { continue };
        if takes_turns(&server.name) {
            continue;
        }
        let pin = entry.pin.as_ref().filter(|pin| pin.value).map(|pin| &pin.place);
        for place in pin.into_iter().chain(entry.shared.turn.as_ref().map(|turn| &turn.place)) {
            ctx.warning(
                place,
                Code::NoEffect.says(format!("does nothing in mode {}", word(&server.sharing.mode))),
                remedy,
            );
        }
    }
    let says = |shared: &Shared| shared.mode.as_ref().is_some_and(|mode| mode.value == Mode::Sequential);
    let sequential = ctx.line.options.mode == Some(Mode::Sequential)
        || says(&file.shared)
        || file.entries.iter().any(|entry| says(&entry.shared))
        || file.endpoints.iter().any(|endpoint| says(&endpoint.shared));
    if let (Some(turn), false) = (&file.shared.turn, sequential) {
        ctx.warning(&turn.place, Code::NoEffect.says("does nothing: no server is in sequential mode"), remedy);
    }
}
