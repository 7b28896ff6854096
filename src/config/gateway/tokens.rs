//! The tokens of the gateway's endpoint: with one of them a tool's connection and a robot find each other. A token is kept as its
//! SHA-256, as a key is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::super::context::Context;
use super::super::{Bounds, Handshake, Instances, LinkSpec, Reach, ServerSpec, Sharing, defaults};
use super::written::{EndpointTokenEntry, Source};
use super::{Texts, fault, of_file, sha256};
use crate::error::Code;
use crate::mcp::era::Era;
use crate::secrecy::Secret;
use crate::words::brief;

/// Shortest token, in characters. Shorter than a key may be: the tokens of this field are ids, or what devices were once given.
pub(crate) const SHORTEST_TOKEN: usize = 8;

/// Longest time for which robots wait for tools that have just come, and say nothing yet: what starts a program in Python takes some
/// seconds, and the robots of this field give up after 10 s.
const START: Duration = Duration::from_secs(5);

/// A token by which tools and robots are let in.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointTokenSpec {
    /// What people call it.
    pub name: Arc<str>,
    /// The SHA-256 of the token.
    pub hash: [u8; 32],
}

impl fmt::Debug for EndpointTokenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointTokenSpec").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Who has come with one token: the servers that came with it are seen by the guests that did, and by nobody else. Two of them are the same
/// only if one is a clone of the other.
#[derive(Debug, Clone)]
pub struct Room(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    name: Arc<str>,
    max_frame: usize,
}

impl Room {
    /// A room in which nobody is. `max_frame`: the largest message there, in bytes.
    pub(crate) fn new(name: Arc<str>, max_frame: usize) -> Self {
        Room(Arc::new(Inside { name, max_frame }))
    }

    /// The name of the token.
    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// The largest message, in bytes.
    pub(crate) fn max_frame(&self) -> usize {
        self.0.max_frame
    }
}

impl ServerSpec {
    /// A server that has come to a room, of the era that those speak which dial an endpoint.
    pub(crate) fn of_comer(name: Arc<str>, room: Room) -> Self {
        let never = Duration::ZERO;
        ServerSpec {
            name,
            endpoint: None,
            // It is not dialled.
            link: Arc::new(LinkSpec {
                headers: Vec::new(),
                subprotocol: None,
                ca_file: None,
                connect_timeout: never,
                ping_interval: never,
                ping_timeout: never,
                max_backoff: never,
                epoch: None,
            }),
            hello: None,
            handshake: Handshake::Answer,
            passes_pings: false,
            era: Some(Era::Legacy),
            start_timeout: START,
            max_frame: room.max_frame(),
            reach: Reach::Comer(room),
            sharing: Sharing::default(),
            pin: defaults::PIN,
            keep_listed: false,
            log_file: None,
            instances: Instances::Shared,
            bounds: Bounds::default(),
            health_check: None,
            tools: Arc::default(),
        }
    }
}

impl PartialEq for Room {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Room {}

/// The texts of the tokens, as those of keys are told.
pub(super) fn texts(ctx: &mut Context<'_>, entries: &[EndpointTokenEntry]) -> Texts {
    let texts = entries.iter().map(|entry| match &entry.source {
        Source::Text(text) => ctx.expand(text).map(|text| Secret::new(text.trim())),
        Source::File(text) => of_file(ctx, text),
        Source::Hash(_) => None,
    });
    texts.collect()
}

/// The tokens. `texts`: what [`texts()`] has found.
pub(super) fn of(
    ctx: &mut Context<'_>,
    entries: &[EndpointTokenEntry],
    texts: &[Option<Secret>],
) -> Vec<EndpointTokenSpec> {
    let mut all: Vec<EndpointTokenSpec> = Vec::new();
    for (at, (entry, text)) in entries.iter().zip(texts).enumerate() {
        let place = entry.source.place();
        let hash = match (&entry.source, text) {
            (Source::Hash(hash), _) => hash.value,
            (Source::Text(_) | Source::File(_), Some(text)) => {
                let text = text.reveal();
                if text.contains("://") || text.contains("token=") {
                    let what = Code::WrongValue.says("is a whole address, or a part of one");
                    ctx.mistake(place, what, "write only what follows token= there");
                    continue;
                }
                if let Some((what, remedy)) = fault(text, "token", SHORTEST_TOKEN) {
                    ctx.mistake(place, what, remedy);
                    continue;
                }
                sha256(text)
            }
            // What is wrong with it has been noted.
            (Source::Text(_) | Source::File(_), None) => continue,
        };
        let named = entry.name.as_ref().map(|name| (name.value.trim().to_owned(), &name.place));
        let (name, place_of_name) = named.unwrap_or_else(|| (format!("token {}", at + 1), place));
        if all.iter().any(|other| *other.name == *name) {
            let what = format!("is \"{}\", as another token is called", brief(&name));
            ctx.mistake(place_of_name, Code::Duplicate.says(what), "give each token its own name");
        }
        if let Some(twin) = all.iter().find(|other| other.hash == hash) {
            let what = format!("is the token of {}, too, so that nobody could tell them apart", brief(&twin.name));
            ctx.mistake(place, Code::Duplicate.says(what), "write another one");
        }
        all.push(EndpointTokenSpec { name: name.into(), hash });
    }
    all
}
