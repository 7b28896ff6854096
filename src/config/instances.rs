//! Whether the peers of a server share its process: what counts for each server, and what contradicts it.

use std::time::Duration;

use super::context::Context;
use super::file::Entry;
use super::shared::Shared;
use super::{Handshake, Reach, ServerSpec, Share, defaults};
use crate::error::{Code, Place};
use crate::words::brief;

/// Whether all peers of a server share its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// One process for all of them.
    Shared,
    /// Each has a process of its own.
    PerPeer(PerPeer),
    /// Several processes that are alike, each for all of them.
    Replicas(Replicas),
}

/// Processes of a server that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas {
    /// How many there are: two or more.
    pub number: usize,
    /// Whether a peer stays with the one that did its work first.
    pub sticky: bool,
}

/// The bounds of a server of which each peer has a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerPeer {
    /// Longest time that a further process lives without a call or a subscription.
    pub idle: Duration,
    /// Most processes at a time, the first included.
    pub most: usize,
}

/// The values of one server, whether or not they have an effect.
pub(crate) fn values(own: &Shared, top: &Shared) -> (Share, Duration, usize) {
    let share = own.instances.as_ref().or(top.instances.as_ref()).map(|said| said.value).unwrap_or_default();
    let idle = own.idle.as_ref().or(top.idle.as_ref()).map_or(defaults::IDLE, |said| said.value);
    let most = own.max_instances.as_ref().or(top.max_instances.as_ref());
    (share, idle, most.map_or(defaults::MAX_INSTANCES, |said| said.value))
}

/// What counts for one server.
pub(crate) fn of(own: &Shared, top: &Shared, entry: Option<&Entry>) -> Instances {
    let (share, idle, most) = values(own, top);
    let number = entry.and_then(|entry| entry.replicas.as_ref()).map_or(defaults::REPLICAS, |replicas| replicas.value);
    let sticky = entry.and_then(|entry| entry.sticky.as_ref()).map_or(defaults::STICKY, |sticky| sticky.value);
    match share {
        Share::Shared if number > 1 => Instances::Replicas(Replicas { number, sticky }),
        Share::Shared => Instances::Shared,
        Share::PerPeer => Instances::PerPeer(PerPeer { idle, most }),
    }
}

/// Where bounds are written, with the key of each.
fn bounds(said: &Shared) -> impl Iterator<Item = (&'static str, &Place)> {
    let idle = said.idle.as_ref().map(|idle| ("idle", &idle.place));
    idle.into_iter().chain(said.max_instances.as_ref().map(|most| ("maxInstances", &most.place)))
}

/// Notes what contradicts `per-peer`, and bounds that bound nothing. `entries` are those of `servers`, in the same order.
pub(crate) fn check(ctx: &mut Context<'_>, top: &Shared, servers: &[ServerSpec], entries: &[Option<&Entry>]) {
    for (server, entry) in servers.iter().zip(entries) {
        let Some(entry) = entry else { continue };
        let said = [&entry.shared, top];
        check_replicas(ctx, server, entry);
        if !matches!(server.instances, Instances::PerPeer(_)) {
            for (key, place) in bounds(&entry.shared) {
                let what = format!("does nothing, as all endpoints share the one process of {}", brief(&server.name));
                let remedy = format!("write \"instances\": \"per-peer\" beside it, or remove {key}");
                ctx.warning(place, Code::NoEffect.says(what), remedy);
            }
        } else if server.handshake == Handshake::Relay {
            let place = said.iter().find_map(|said| said.instances.as_ref()).map_or(&entry.place, |said| &said.place);
            let what = "gives each endpoint a process of its own, the first of which answers all handshakes, and \
                        \"handshake\": \"relay\" has each go to the server itself";
            let remedy = format!("remove one of the two for {}", brief(&server.name));
            ctx.mistake(place, Code::Contradiction.says(what), remedy);
        }
    }
    if !servers.is_empty() && servers.iter().all(|server| !matches!(server.instances, Instances::PerPeer(_))) {
        for (key, place) in bounds(top) {
            let what = "does nothing, as all servers that run have one process for all endpoints";
            let remedy = format!("write \"instances\": \"per-peer\" in the entry of a server, or remove {key}");
            ctx.warning(place, Code::NoEffect.says(what), remedy);
        }
    }
}

/// Notes what contradicts several processes that are alike.
fn check_replicas(ctx: &mut Context<'_>, server: &ServerSpec, entry: &Entry) {
    let name = brief(&server.name);
    let Some(replicas) = entry.replicas.as_ref().filter(|replicas| replicas.value > 1) else {
        if let Some(sticky) = entry.sticky.as_ref().filter(|sticky| sticky.value) {
            let what = format!("does nothing, as {name} is one process for all");
            ctx.warning(&sticky.place, Code::NoEffect.says(what), "write \"replicas\": 3 beside it, or remove it");
        }
        return;
    };
    let (what, remedy) = match (&server.reach, server.instances, server.handshake) {
        (Reach::Remote(_) | Reach::Comer(_), ..) => {
            ("is for servers that are started, and this one is reached at its url", "remove it".to_owned())
        }
        (_, Instances::PerPeer(_), _) => (
            "gives all endpoints several processes, and \"instances\": \"per-peer\" gives each one of its own",
            format!("remove one of the two for {name}"),
        ),
        (_, _, Handshake::Relay) => (
            "has several processes, the first of which answers all handshakes, and \"handshake\": \"relay\" has each go to the \
             server itself",
            format!("remove one of the two for {name}"),
        ),
        _ => return,
    };
    ctx.mistake(&replicas.place, Code::Contradiction.says(what), remedy);
}
